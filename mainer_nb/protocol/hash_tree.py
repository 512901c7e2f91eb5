"""Hash trees: labelled values under one hash, of which parts can be shown (IC interface specification, section
"Certification").

    >>> whole = tree({b"time": b"\\x01", b"canister": {b"a": {b"certified_data": b""}, b"b": {}}})
    >>> shown = prune(whole, [[b"time"]])
    >>> shown.digest == whole.digest
    True
    >>> lookup([b"time"], shown), lookup([b"canister"], shown)
    (Leaf(b'\\x01'), <Absence.UNKNOWN: 'unknown'>)

Nodes never change and remember their digest once it was asked for, so a tree that shares nodes with an earlier one is
hashed at the cost of what is new. `put` and `remove` give the tree with one label changed, in logarithmic time.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

Path = Sequence[bytes]
Digest = bytes  # SHA-256, 32 bytes


class TreeError(ValueError):
    """Data that is not a hash tree, or a tree that is not of the shape that a path asks for."""


class Absence(enum.Enum):
    """What a tree says of a path without a value: it proves that there is none, or that part of it is not shown."""

    ABSENT = "absent"
    UNKNOWN = "unknown"


ABSENT, UNKNOWN = Absence.ABSENT, Absence.UNKNOWN


def _domain(name: str) -> bytes:
    return bytes([len(name)]) + name.encode()


_EMPTY, _FORK, _LABELED, _LEAF = (_domain(f"ic-hashtree-{kind}") for kind in ("empty", "fork", "labeled", "leaf"))


class Empty:
    """A tree without labels."""

    __slots__ = ()
    digest: Digest = hashlib.sha256(_EMPTY).digest()
    first: bytes | None = None

    def __repr__(self) -> str:
        return "Empty()"


class Fork:
    """The labels of two trees, all of the left before those of the right."""

    __slots__ = ("_digest", "first", "left", "right", "size")

    def __init__(self, left: Node, right: Node) -> None:
        self.left = left
        self.right = right
        self.first: bytes | None = left.first  # the lowest label; None in a tree that is not complete
        self.size: int = _size(left) + _size(right)  # number of labels
        self._digest: Digest | None = None

    @property
    def digest(self) -> Digest:
        if self._digest is None:
            self._digest = hashlib.sha256(_FORK + self.left.digest + self.right.digest).digest()
        return self._digest

    def __repr__(self) -> str:
        return f"Fork({self.left!r}, {self.right!r})"


class Labeled:
    """One label and what is under it."""

    __slots__ = ("_digest", "label", "tree")

    def __init__(self, label: bytes, tree: Node) -> None:
        self.label = label
        self.tree = tree
        self._digest: Digest | None = None

    @property
    def first(self) -> bytes | None:
        return self.label

    @property
    def digest(self) -> Digest:
        if self._digest is None:
            self._digest = hashlib.sha256(_LABELED + self.label + self.tree.digest).digest()
        return self._digest

    def __repr__(self) -> str:
        return f"Labeled({self.label!r}, {self.tree!r})"


class Leaf:
    """A value."""

    __slots__ = ("_digest", "value")
    first: bytes | None = None

    def __init__(self, value: bytes) -> None:
        self.value = value
        self._digest: Digest | None = None

    @property
    def digest(self) -> Digest:
        if self._digest is None:
            hasher = hashlib.sha256(_LEAF)
            hasher.update(self.value)
            self._digest = hasher.digest()
        return self._digest

    def __repr__(self) -> str:
        return f"Leaf({self.value!r})"


class Pruned:
    """A tree of which only the digest is shown."""

    __slots__ = ("digest",)
    first: bytes | None = None

    def __init__(self, digest: Digest) -> None:
        self.digest = digest

    def __repr__(self) -> str:
        return f"Pruned({self.digest.hex()})"


Node = Empty | Fork | Labeled | Leaf | Pruned
Labels = Mapping[bytes, "bytes | Node | Labels"]

EMPTY = Empty()


# Building


def tree(labels: Labels) -> Node:
    """The balanced tree of these labels.

    Args:
        labels: what is under each label: the content of a leaf, a mapping of labels, or a node that exists already.
    """
    return _balanced([Labeled(label, _value(labels[label])) for label in sorted(labels)])


def _value(value: bytes | Node | Labels) -> Node:
    if isinstance(value, bytes):
        return Leaf(value)
    return tree(value) if isinstance(value, Mapping) else value


def _balanced(nodes: list[Labeled]) -> Node:
    if not nodes:
        return EMPTY
    if len(nodes) == 1:
        return nodes[0]
    middle = len(nodes) // 2
    return Fork(_balanced(nodes[:middle]), _balanced(nodes[middle:]))


def put(node: Node, label: bytes, subtree: Node) -> Node:
    """The complete tree `node` with `subtree` under `label`, in place of what was there.

    Raises:
        TreeError: `node` is a value, or parts of it are pruned.
    """
    match node:
        case Empty():
            return Labeled(label, subtree)
        case Labeled():
            if label == node.label:
                return Labeled(label, subtree)
            new = Labeled(label, subtree)
            return Fork(new, node) if label < node.label else Fork(node, new)
        case Fork():
            if label < _first(node.right):
                return _rebalanced(put(node.left, label, subtree), node.right)
            return _rebalanced(node.left, put(node.right, label, subtree))
    raise TreeError(f"a {type(node).__name__} has no labels")


def remove(node: Node, label: bytes) -> Node:
    """The complete tree `node` without `label`; `node` itself if it does not have it."""
    match node:
        case Labeled() if label == node.label:
            return EMPTY
        case Fork():
            in_left = label < _first(node.right)
            old = node.left if in_left else node.right
            new = remove(old, label)
            if new is old:
                return node
            if isinstance(new, Empty):
                return node.right if in_left else node.left
            return _rebalanced(new, node.right) if in_left else _rebalanced(node.left, new)
    return node


def get(node: Node, label: bytes) -> Node | None:
    """What is under `label` in the complete tree `node`, in logarithmic time; None if nothing is."""
    while isinstance(node, Fork):
        node = node.left if label < _first(node.right) else node.right
    return node.tree if isinstance(node, Labeled) and node.label == label else None


def _size(node: Node) -> int:
    return node.size if isinstance(node, Fork) else 1


def _first(node: Node) -> bytes:
    if node.first is None:
        raise TreeError("the tree is not complete: parts of it are pruned")
    return node.first


def _rebalanced(left: Node, right: Node) -> Fork:
    """The fork of two trees that were balanced until a label came or went (a weight-balanced tree, weights 3 and 2)."""
    if isinstance(right, Fork) and right.size > 3 * _size(left):
        if isinstance(right.left, Fork) and _size(right.left) >= 2 * _size(right.right):
            return Fork(Fork(left, right.left.left), Fork(right.left.right, right.right))
        return Fork(Fork(left, right.left), right.right)
    if isinstance(left, Fork) and left.size > 3 * _size(right):
        if isinstance(left.right, Fork) and _size(left.right) >= 2 * _size(left.left):
            return Fork(Fork(left.left, left.right.left), Fork(left.right.right, right))
        return Fork(left.left, Fork(left.right, right))
    return Fork(left, right)


# Showing parts


def prune(node: Node, paths: Iterable[Path]) -> Node:
    """The smallest tree with the digest of the complete tree `node` that answers `paths`.

    Under each path everything is shown; for a path that does not exist, the neighbours that prove it.
    """
    wanted: dict[bytes, list[Path] | None] = {}  # None: show that the label is there, not what is under it
    for path in paths:
        if not path:
            return node
        label = path[0]
        if get(node, label) is not None:
            wanted[label] = [*(wanted.get(label) or []), path[1:]]
        else:
            for neighbour in _neighbours(node, label):
                wanted.setdefault(neighbour, None)
    return _shown(node, wanted, sorted(wanted))


def _shown(node: Node, wanted: dict[bytes, list[Path] | None], labels: list[bytes]) -> Node:
    """`node` with these of its labels, in order, as `wanted` says, and all others pruned."""
    if isinstance(node, Labeled) and labels:
        paths = wanted[node.label]
        return Labeled(node.label, Pruned(node.tree.digest) if paths is None else prune(node.tree, paths))
    if isinstance(node, Fork) and labels:
        first = _first(node.right)
        left = [label for label in labels if label < first]
        return Fork(_shown(node.left, wanted, left), _shown(node.right, wanted, labels[len(left) :]))
    return node if isinstance(node, Empty | Pruned) else Pruned(node.digest)


def _neighbours(node: Node, label: bytes) -> Iterator[bytes]:
    """The labels next to where `label`, which is not there, would be."""
    after: bytes | None = None
    while isinstance(node, Fork):
        if label < _first(node.right):
            after = _first(node.right)
            node = node.left
        else:
            node = node.right
    if isinstance(node, Labeled):
        yield node.label
        if after is not None and node.label < label:
            yield after


# Looking up


def lookup(path: Path, node: Node) -> Node | Absence:
    """What the tree, complete or not, has at `path` (section "Lookup").

    Raises:
        TreeError: a value stands where `path` goes on.
    """
    for label in path:
        found = _find_label(label, node)
        if isinstance(found, Absence):
            return found
        node = found
    return UNKNOWN if isinstance(node, Pruned) else node


def lookup_value(path: Path, node: Node) -> bytes | Absence:
    """The value at `path`.

    Raises:
        TreeError: labels stand there, or a value where `path` goes on.
    """
    found = lookup(path, node)
    if isinstance(found, Empty):
        return ABSENT
    if isinstance(found, Fork | Labeled):
        raise TreeError(f"there are labels, not a value, at {path_text(path)}")
    return found.value if isinstance(found, Leaf) else UNKNOWN if isinstance(found, Pruned) else found


def _find_label(label: bytes, node: Node) -> Node | Absence:
    known_until: bytes | None = b""  # all labels up to here are known; None after a pruned part
    for part in _flat(node):
        if isinstance(part, Pruned):
            known_until = None
        elif isinstance(part, Labeled):
            if part.label == label:
                return part.tree
            if label < part.label:
                return UNKNOWN if known_until is None else ABSENT
            known_until = part.label
        else:
            raise TreeError(f"there is a value, not the label {path_text([label])}")
    return UNKNOWN if known_until is None else ABSENT


def _flat(node: Node) -> Iterator[Labeled | Leaf | Pruned]:
    pending = [node]
    while pending:
        part = pending.pop()
        if isinstance(part, Fork):
            pending += (part.right, part.left)
        elif not isinstance(part, Empty):
            yield part


def check_well_formed(node: Node) -> None:
    """Checks that a tree of somebody else is one (section "Lookup", ``well_formed``): labels once each, in order.

    Raises:
        TreeError: it is not.
    """
    pending = [node]
    while pending:
        part = pending.pop()
        if isinstance(part, Leaf):
            continue
        before: bytes | None = None
        for child in _flat(part):
            if isinstance(child, Leaf):
                raise TreeError("a value stands beside labels")
            if isinstance(child, Labeled):
                if before is not None and child.label <= before:
                    raise TreeError("the labels of the tree are not in order")
                before = child.label
                pending.append(child.tree)


def shown_values(node: Node) -> list[bytes]:
    """The contents of all leaves that the tree shows, in order of their labels."""
    if isinstance(node, Leaf):
        return [node.value]
    return [value for part in _flat(node) if isinstance(part, Labeled) for value in shown_values(part.tree)]


def path_text(path: Path) -> str:
    """A path as people write it: labels with slashes between, hexadecimal where they are not text."""
    return "/".join(
        label.decode() if label.isascii() and label.decode().isprintable() and label else f"0x{label.hex()}"
        for label in path
    )


# CBOR


def to_cbor(node: Node) -> list[Any]:
    """The tree as nested lists, which CBOR encodes (section "Encoding of certificates")."""
    match node:
        case Empty():
            return [0]
        case Fork():
            return [1, to_cbor(node.left), to_cbor(node.right)]
        case Labeled():
            return [2, node.label, to_cbor(node.tree)]
        case Leaf():
            return [3, node.value]
        case Pruned():
            return [4, node.digest]


def from_cbor(data: object) -> Node:
    """The tree of nested lists: the inverse of `to_cbor`.

    Args:
        data: what came out of CBOR, of any kind.

    Raises:
        TreeError: it is not a hash tree.
    """
    try:
        match data:
            case [0]:
                return EMPTY
            case [1, left, right]:
                return Fork(from_cbor(left), from_cbor(right))
            case [2, bytes(label), subtree]:
                return Labeled(label, from_cbor(subtree))
            case [3, bytes(value)]:
                return Leaf(value)
            case [4, bytes(digest)] if len(digest) == 32:
                return Pruned(digest)
    except RecursionError:
        raise TreeError("the hash tree is nested too deeply") from None
    raise TreeError(f"not a hash tree: {str(data)[:80]}")
