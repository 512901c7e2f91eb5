"""Hash trees: digests, witnesses, absence, updates."""

import hashlib
import random

import pytest

from mainer_nb.protocol import hash_tree
from mainer_nb.protocol.hash_tree import ABSENT, EMPTY, UNKNOWN, Fork, Labeled, Leaf, Pruned, TreeError

# The example of the interface specification, section "Certification encoding".
EXAMPLE = Fork(
    Fork(
        Labeled(
            b"a",
            Fork(
                Fork(Labeled(b"x", Leaf(b"hello")), EMPTY),
                Labeled(b"y", Leaf(b"world")),
            ),
        ),
        Labeled(b"b", Leaf(b"good")),
    ),
    Fork(Labeled(b"c", EMPTY), Labeled(b"d", Leaf(b"morning"))),
)
EXAMPLE_DIGEST = "eb5c5b2195e62d996b84c9bcc8259d19a83786a2f59e0878cec84c811f669aa0"


def test_digest_of_the_specs_example() -> None:
    assert EXAMPLE.digest.hex() == EXAMPLE_DIGEST


def test_the_specs_pruned_example() -> None:
    pruned = Fork(
        Fork(
            Labeled(
                b"a",
                Fork(
                    Pruned(bytes.fromhex("1b4feff9bef8131788b0c9dc6dbad6e81e524249c879e9f10f71ce3749f5a638")),
                    Labeled(b"y", Leaf(b"world")),
                ),
            ),
            Labeled(b"b", Pruned(bytes.fromhex("7b32ac0c6ba8ce35ac82c255fc7906f7fc130dab2a090f80fe12f9c2cae83ba6"))),
        ),
        Fork(
            Pruned(bytes.fromhex("ec8324b8a1f1ac16bd2e806edba78006479c9877fed4eb464a25485465af601d")),
            Labeled(b"d", Leaf(b"morning")),
        ),
    )
    assert pruned.digest.hex() == EXAMPLE_DIGEST
    assert hash_tree.lookup([b"a", b"a"], pruned) is UNKNOWN
    assert hash_tree.lookup_value([b"a", b"y"], pruned) == b"world"
    assert hash_tree.lookup([b"aa"], pruned) is ABSENT
    assert hash_tree.lookup([b"ax"], pruned) is ABSENT
    assert hash_tree.lookup([b"b"], pruned) is UNKNOWN
    assert hash_tree.lookup([b"bb"], pruned) is UNKNOWN
    assert hash_tree.lookup_value([b"d"], pruned) == b"morning"
    assert hash_tree.lookup([b"e"], pruned) is ABSENT
    with pytest.raises(TreeError, match="not the label x"):
        hash_tree.lookup([b"d", b"x"], pruned)
    with pytest.raises(TreeError, match="there are labels, not a value, at a"):
        hash_tree.lookup_value([b"a"], pruned)


def test_digests_by_hand() -> None:
    def digest(domain: str, *parts: bytes) -> bytes:
        return hashlib.sha256(bytes([len(domain)]) + domain.encode() + b"".join(parts)).digest()

    leaf = digest("ic-hashtree-leaf", b"1")
    left, right = digest("ic-hashtree-labeled", b"a", leaf), digest("ic-hashtree-labeled", b"b", leaf)
    assert hash_tree.tree({b"b": b"1", b"a": b"1"}).digest == digest("ic-hashtree-fork", left, right)
    assert hash_tree.tree({}).digest == digest("ic-hashtree-empty")


WHOLE = hash_tree.tree(
    {
        b"time": b"\x01",
        b"canister": {bytes([n]): {b"certified_data": bytes([n] * 32), b"module_hash": b"m"} for n in range(1, 40, 2)},
        b"request_status": {},
        b"subnet": hash_tree.tree({b"s": b"key"}),
    }
)


@pytest.mark.parametrize(
    "path",
    [
        [b"time"],
        [b"canister", b"\x07", b"certified_data"],
        [b"canister", b"\x27", b"module_hash"],
        [b"subnet", b"s"],
    ],
)
def test_witness_of_a_value(path: list[bytes]) -> None:
    shown = hash_tree.prune(WHOLE, [path])
    assert shown.digest == WHOLE.digest
    assert hash_tree.lookup_value(path, shown) == hash_tree.lookup_value(path, WHOLE)
    assert hash_tree.lookup([b"canister", b"\x0b", b"certified_data"], shown) is UNKNOWN


@pytest.mark.parametrize(
    "path",
    [
        [b"canister", b"\x00"],
        [b"canister", b"\x08"],
        [b"canister", b"\x08", b"certified_data"],
        [b"canister", b"\xff"],
        [b"canister", b"\x07", b"controllers"],
        [b"a"],
        [b"d"],
        [b"zzz"],
        [b"request_status", b"any"],
    ],
)
def test_witness_of_absence(path: list[bytes]) -> None:
    shown = hash_tree.prune(WHOLE, [path])
    assert shown.digest == WHOLE.digest
    assert hash_tree.lookup(path, shown) is ABSENT
    assert hash_tree.lookup([b"canister", b"\x0b", b"certified_data"], shown) is UNKNOWN


def test_witness_shows_everything_under_a_path_and_nothing_else() -> None:
    shown = hash_tree.prune(WHOLE, [[b"canister", b"\x07"], [b"canister", b"\x07", b"module_hash"], [b"time"]])
    assert shown.digest == WHOLE.digest
    assert hash_tree.lookup_value([b"canister", b"\x07", b"module_hash"], shown) == b"m"
    assert hash_tree.lookup_value([b"canister", b"\x07", b"certified_data"], shown) == b"\x07" * 32
    assert hash_tree.shown_values(shown) == [b"\x07" * 32, b"m", b"\x01"]
    assert hash_tree.shown_values(hash_tree.prune(WHOLE, [])) == []
    assert hash_tree.prune(WHOLE, [[]]) is WHOLE


def test_random_witnesses() -> None:
    generator = random.Random(7)
    for _ in range(200):
        labels = {
            bytes([generator.randrange(60)]): bytes([generator.randrange(256)]) for _ in range(generator.randrange(20))
        }
        node = hash_tree.tree(labels)
        asked = [bytes([generator.randrange(60)]) for _ in range(3)]
        shown = hash_tree.prune(node, [[label] for label in asked])
        assert shown.digest == node.digest
        for label in asked:
            assert hash_tree.lookup_value([label], shown) == labels.get(label, ABSENT)


def test_put_and_remove_agree_with_a_dict_and_stay_balanced() -> None:
    generator = random.Random(11)
    node, labels = hash_tree.tree({}), dict[bytes, bytes]()
    for step in range(3000):
        label = generator.randrange(400).to_bytes(2, "big")
        if generator.random() < (0.7 if step < 1500 else 0.3):
            labels[label] = bytes([step % 256])
            node = hash_tree.put(node, label, Leaf(labels[label]))
        else:
            labels.pop(label, None)
            node = hash_tree.remove(node, label)
    assert labels
    for number in range(400):
        found = hash_tree.get(node, number.to_bytes(2, "big"))
        assert (found.value if isinstance(found, Leaf) else found) == labels.get(number.to_bytes(2, "big"))
    assert hash_tree.shown_values(node) == [labels[label] for label in sorted(labels)]


def test_growing_in_order_stays_balanced() -> None:
    node = hash_tree.tree({})
    for number in range(4096):
        node = hash_tree.put(node, number.to_bytes(2, "big"), EMPTY)

    def depth(node: hash_tree.Node) -> int:
        return 1 + max(depth(node.left), depth(node.right)) if isinstance(node, Fork) else 1

    assert depth(node) <= 24


def test_what_did_not_change_is_shared() -> None:
    node = hash_tree.tree({bytes([n]): bytes(32) for n in range(64)})
    again = hash_tree.put(node, b"\x00", Leaf(b"new"))
    assert isinstance(node, Fork)
    assert isinstance(again, Fork)
    assert again.right is node.right
    assert again.digest != node.digest
    assert hash_tree.remove(node, b"missing") is node


def test_cbor_there_and_back() -> None:
    shown = hash_tree.prune(WHOLE, [[b"canister", b"\x08"], [b"time"]])
    assert hash_tree.from_cbor(hash_tree.to_cbor(shown)).digest == WHOLE.digest


@pytest.mark.parametrize("data", [None, [], [5], [0, 1], [1, [0]], [2, "text", [0]], [3, "text"], [4, b"short"], "x"])
def test_what_is_not_a_tree(data: object) -> None:
    with pytest.raises(TreeError, match="not a hash tree"):
        hash_tree.from_cbor(data)


def test_a_pruned_tree_cannot_be_changed() -> None:
    with pytest.raises(TreeError, match=r"not complete|has no labels"):
        hash_tree.put(hash_tree.prune(WHOLE, []), b"time", EMPTY)
