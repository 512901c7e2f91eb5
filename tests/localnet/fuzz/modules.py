"""Wasm modules: made at random; changed in sections, fields, instructions and bytes; hostile ones.

The loops and functions that are made here count down a global and trap at zero, so that a module does not
use up the limit of a message, which takes a while; some of the hostile ones do.
"""

from __future__ import annotations

import functools
import gzip
import random
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

from wasmtime import wat2wasm

from mainer_nb.protocol.leb128 import leb128, sleb128
from tests.localnet.fuzz.cases import damaged, edge, text
from tests.localnet.universal import EVERYWHERE, SIGNATURES

MAGIC = b"\0asm\1\0\0\0"
I32, I64, F32, F64, V128, FUNCREF, EXTERNREF = 0x7F, 0x7E, 0x7D, 0x7C, 0x7B, 0x70, 0x6F
NUMBERS = (I32, I32, I64, F32, F64)
STEPS = 3000
ENTRIES = (
    *("canister_update go", "canister_query see", "canister_composite_query all", "canister_init"),
    *("canister_inspect_message", "canister_pre_upgrade", "canister_post_upgrade", "canister_heartbeat"),
    *("canister_global_timer", "canister_on_low_wasm_memory"),
)
#: Instructions without immediates by the type of their result and operands.
_PLAIN: dict[int, list[tuple[int, tuple[int, ...]]]] = {
    I32: [
        *((op, (I32, I32)) for op in (*range(0x46, 0x50), *range(0x6A, 0x79))),
        *((op, (I64, I64)) for op in range(0x51, 0x5B)),
        *((op, (F32, F32)) for op in range(0x5B, 0x61)),
        *((op, (F64, F64)) for op in range(0x61, 0x67)),
        *((op, (I32,)) for op in (0x45, 0x67, 0x68, 0x69, 0xC0, 0xC1)),
        *((0x50, (I64,)), (0xA7, (I64,)), (0xA8, (F32,)), (0xAB, (F64,)), (0xBC, (F32,))),
    ],
    I64: [
        *((op, (I64, I64)) for op in range(0x7C, 0x8B)),
        *((op, (I64,)) for op in (0x79, 0x7A, 0x7B, 0xC2, 0xC3, 0xC4)),
        *((0xAC, (I32,)), (0xAD, (I32,)), (0xAE, (F32,)), (0xB1, (F64,)), (0xBD, (F64,))),
    ],
    F32: [
        *((op, (F32, F32)) for op in range(0x92, 0x99)),
        *((op, (F32,)) for op in range(0x8B, 0x92)),
        *((0xB2, (I32,)), (0xB5, (I64,)), (0xB6, (F64,)), (0xBE, (I32,))),
    ],
    F64: [
        *((op, (F64, F64)) for op in range(0xA0, 0xA7)),
        *((op, (F64,)) for op in range(0x99, 0xA0)),
        *((0xB7, (I32,)), (0xBA, (I64,)), (0xBB, (F32,)), (0xBF, (I64,))),
    ],
}
_LOADS = {I32: (0x28, 0x2C, 0x2D, 0x2E, 0x2F), I64: (0x29, 0x30, 0x31, 0x34), F32: (0x2A,), F64: (0x2B,)}
_STORES = {I32: (0x36, 0x3A, 0x3B), I64: (0x37, 0x3C, 0x3E), F32: (0x38,), F64: (0x39,)}
#: Instructions of proposals that a canister may not, or need not, use: atomics, GC, exceptions, tail calls, SIMD.
_FOREIGN = (
    *(b"\xfe\x03\0", b"\xfe\x10\2\0", b"\xfb\x1c", b"\xfb\0\0", b"\x08\0", b"\x1f\x40\0\x0b", b"\x12\0", b"\x13\0\0"),
    *(b"\x14\0", b"\x15\0", b"\xd3", b"\xd5\0", b"\xfd\x80\2", b"\xfd\x0c" + bytes(16) + b"\x1a", b"\xe0\0", b"\x27"),
    *(b"\xfc\x08\0\0", b"\xfc\x09\0", b"\xfc\x0c\0\0", b"\xfc\x0d\0", b"\xfc\x7f", b"\xd0\x6f\x1a", b"\xd2\0\x1a"),
)


def vec(items: list[bytes]) -> bytes:
    return leb128(len(items)) + b"".join(items)


def name(of: str | bytes) -> bytes:
    octets = of.encode() if isinstance(of, str) else of
    return leb128(len(octets)) + octets


@dataclass
class Module:
    """The sections of a module, as lists of their encoded items."""

    types: list[bytes] = field(default_factory=list)
    imports: list[bytes] = field(default_factory=list)
    functions: list[bytes] = field(default_factory=list)
    tables: list[bytes] = field(default_factory=list)
    memories: list[bytes] = field(default_factory=list)
    globals: list[bytes] = field(default_factory=list)
    exports: list[bytes] = field(default_factory=list)
    start: bytes | None = None
    elements: list[bytes] = field(default_factory=list)
    codes: list[bytes] = field(default_factory=list)
    data: list[bytes] = field(default_factory=list)
    custom: list[bytes] = field(default_factory=list)

    def lists(self) -> list[tuple[int, list[bytes]]]:
        """The sections that are lists, in the order of the format."""
        found = [(1, self.types), (2, self.imports), (3, self.functions), (4, self.tables), (5, self.memories)]
        found += [(6, self.globals), (7, self.exports), (9, self.elements), (10, self.codes), (11, self.data)]
        return found

    def sections(self) -> list[tuple[int, bytes]]:
        found = [(number, vec(items)) for number, items in self.lists() if items]
        if self.start is not None:
            found.insert(sum(number < 8 for number, _ in found), (8, self.start))
        return found + [(0, content) for content in self.custom]

    def octets(self) -> bytes:
        return joined(self.sections())


def joined(sections: list[tuple[int, bytes]]) -> bytes:
    """A module of these sections."""
    return MAGIC + b"".join(bytes([number]) + leb128(len(content)) + content for number, content in sections)


class Maker:
    """Makes a valid module with random code."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.module = Module()
        self.memory64 = chance.random() < 0.2
        self.address = I64 if self.memory64 else I32
        self.signatures: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self.callable: list[tuple[tuple[int, ...], tuple[int, ...]]] = []
        self.locals: list[int] = []
        self.globals: list[int] = [I64]
        self.labels = 0
        self.odd = chance.choice((0.0, 0.0, 0.0, 0.01))
        self.tables = chance.random() < 0.8

    def _type(self, params: tuple[int, ...], results: tuple[int, ...]) -> int:
        if (params, results) not in self.signatures:
            self.signatures.append((params, results))
            self.module.types.append(b"\x60" + vec([bytes([t]) for t in params]) + vec([bytes([t]) for t in results]))
        return self.signatures.index((params, results))

    def make(self) -> Module:
        chance, module = self.chance, self.module
        known = EVERYWHERE if self.memory64 else SIGNATURES
        for function in chance.sample(list(known), chance.choice((0, 1, 3, 6, 12))):
            params, results = (
                tuple(self.address if t == "I" else {"i32": I32, "i64": I64}[t] for t in types)
                for types in (known[function].params, known[function].results)
            )
            module.imports.append(name("ic0") + name(function) + b"\0" + leb128(self._type(params, results)))
            self.callable.append((params, results))
        imported = len(self.callable)
        inner = chance.choice((1, 2, 4, 8))
        for _ in range(inner):
            params = tuple(chance.choice(NUMBERS) for _ in range(chance.choice((0, 0, 1, 2, 4))))
            self.callable.append((params, tuple(chance.choice(NUMBERS) for _ in range(chance.choice((0, 0, 1, 1, 2))))))
        entries = chance.sample(ENTRIES, chance.choice((1, 2, 4)))
        if "canister_update go" not in entries:
            entries.append("canister_update go")
        module.globals.append(bytes([I64, 1]) + b"\x42\0\x0b")
        for _ in range(chance.choice((0, 1, 3))):
            kind = chance.choice(NUMBERS)
            self.globals.append(kind)
            module.globals.append(bytes([kind, 1]) + self.constant(kind) + b"\x0b")
        for params, results in self.callable[imported:]:
            module.functions.append(leb128(self._type(params, results)))
            module.codes.append(self.code(params, results))
        nothing = leb128(self._type((), ()))
        for at, entry in enumerate(entries):
            module.functions.append(nothing)
            called = imported + chance.randrange(inner)
            module.codes.append(self._entry(called))
            module.exports.append(name(entry) + b"\0" + leb128(imported + inner + at))
        flags = 4 if self.memory64 else 0
        most = chance.choice((None, 1, 10, 65536))
        limits = bytes([flags | (most is not None)]) + leb128(1) + (b"" if most is None else leb128(most))
        module.memories.append(limits)
        if self.tables:
            module.tables.append(b"\x70\0" + leb128(chance.choice((1, 10, 1000))))
            module.elements.append(b"\0\x41\0\x0b" + vec([leb128(imported)]))
        if chance.random() < 0.2:
            module.start = leb128(imported + inner + chance.randrange(len(entries)))
        for _ in range(chance.choice((0, 1, 3))):
            offset = sleb128(chance.choice((0, 100, 60_000)))
            code = b"\x42" if self.memory64 else b"\x41"
            module.data.append(b"\0" + code + offset + b"\x0b" + name(chance.randbytes(chance.choice((0, 5, 5000)))))
        if chance.random() < 0.3:
            label = chance.choice(("icp:public ", "icp:private ", "icp:", "name", "")) + text(chance)
            module.custom.append(name(label) + chance.randbytes(20))
        return module

    def _entry(self, called: int) -> bytes:
        params, results = self.callable[called]
        body = b"\x42" + sleb128(STEPS) + b"\x24\0" + b"".join(map(self.constant, params))
        body += b"\x10" + leb128(called) + b"\x1a" * len(results) + b"\x0b"
        return name(b"\0" + body)

    def code(self, params: tuple[int, ...], results: tuple[int, ...]) -> bytes:
        """A function's locals and body, with its size."""
        mine = [self.chance.choice(NUMBERS) for _ in range(self.chance.choice((0, 2, 5)))]
        self.locals = [*params, *mine]
        body = self._step() + self.statements(3) + b"".join(self.expression(kind, 3) for kind in results) + b"\x0b"
        return name(vec([b"\1" + bytes([kind]) for kind in mine]) + body)

    def _step(self) -> bytes:
        return b"\x23\0\x50\x04\x40\0\x0b\x23\0\x42\1\x7d\x24\0"

    def constant(self, kind: int) -> bytes:
        chance = self.chance
        if kind == I32:
            return b"\x41" + sleb128(chance.choice((0, 1, 8, 100, -1, 2**31 - 1, -(2**31), chance.randrange(70_000))))
        if kind == I64:
            return b"\x42" + sleb128(chance.choice((0, 1, 8, 100, -1, 2**63 - 1, -(2**63), chance.randrange(70_000))))
        number = chance.choice((0.0, -0.0, 1.5, -1e30, float("nan"), float("inf")))
        return b"\x43" + struct.pack("<f", number) if kind == F32 else b"\x44" + struct.pack("<d", number)

    def expression(self, kind: int, depth: int) -> bytes:
        """Code that leaves a value of a type."""
        chance = self.chance
        mine = [n for n, t in enumerate(self.locals) if t == kind]
        if depth == 0 or chance.random() < 0.15:
            if mine and chance.random() < 0.6:
                return b"\x20" + leb128(chance.choice(mine))
            return self.constant(kind)
        match chance.randrange(10):
            case 0:
                at = self.pointer(depth - 1)
                return at + bytes([chance.choice(_LOADS[kind])]) + b"\0" + leb128(chance.choice((0, 4, 1000, 2**31)))
            case 1:
                found = [n for n, t in enumerate(self.globals) if t == kind and n]
                if found:
                    return b"\x23" + leb128(chance.choice(found))
            case 2:
                found = [n for n, (_, results) in enumerate(self.callable) if results == (kind,)]
                if found:
                    return self.call(chance.choice(found), depth - 1)
            case 3:
                condition, one = self.expression(I32, depth - 1), self.expression(kind, depth - 1)
                other = self.expression(kind, depth - 1)
                return condition + b"\x04" + bytes([kind]) + one + b"\x05" + other + b"\x0b"
            case 4:
                both = self.expression(kind, depth - 1) + self.expression(kind, depth - 1)
                return both + self.expression(I32, depth - 1) + b"\x1b"
            case 5 if kind == self.address:
                if chance.random() < 0.5:
                    return b"\x3f\0"
                return self.constant(kind) + b"\x40\0"
            case 6 if mine:
                return self.expression(kind, depth - 1) + b"\x22" + leb128(chance.choice(mine))
        opcode, operands = chance.choice(_PLAIN[kind])
        return b"".join(self.expression(operand, depth - 1) for operand in operands) + bytes([opcode])

    def pointer(self, depth: int) -> bytes:
        """An address, mostly of a byte that is there."""
        if self.chance.random() < 0.8:
            return (b"\x42" if self.memory64 else b"\x41") + sleb128(self.chance.randrange(60_000))
        return self.expression(self.address, depth)

    def call(self, function: int, depth: int) -> bytes:
        """A call with its arguments, mostly small numbers."""
        params, _ = self.callable[function]
        few = [self.pointer(depth) if param == self.address else self.expression(param, depth) for param in params]
        return b"".join(few) + b"\x10" + leb128(function)

    def statements(self, depth: int) -> bytes:
        return b"".join(self.statement(depth) for _ in range(self.chance.choice((0, 1, 2, 3))))

    def statement(self, depth: int) -> bytes:
        """Code that leaves nothing."""
        chance = self.chance
        if chance.random() < self.odd:
            return chance.choice(_FOREIGN)
        kind = chance.choice(NUMBERS)
        match chance.randrange(12 if depth else 5):
            case 0:
                return self.expression(kind, depth) + b"\x1a"
            case 1:
                mine = [n for n, t in enumerate(self.locals) if t == kind]
                return self.expression(kind, depth) + (b"\x21" + leb128(chance.choice(mine)) if mine else b"\x1a")
            case 2:
                found = [n for n, t in enumerate(self.globals) if t == kind and n]
                return self.expression(kind, depth) + (b"\x24" + leb128(chance.choice(found)) if found else b"\x1a")
            case 3:
                store = bytes([chance.choice(_STORES[kind])])
                return (
                    self.pointer(depth) + self.expression(kind, depth) + store + b"\0" + leb128(chance.choice((0, 8)))
                )
            case 4:
                function = chance.randrange(len(self.callable))
                return self.call(function, depth) + b"\x1a" * len(self.callable[function][1])
            case 5 | 6:
                return self.block(b"\x02\x40", depth)
            case 7:
                return self.block(b"\x03\x40" + self._step(), depth)
            case 8:
                return self.expression(I32, depth) + self.block(b"\x04\x40", depth)
            case 9 if self.labels:
                return self.expression(I32, depth) + b"\x0d" + leb128(chance.randrange(self.labels))
            case 10 if self.labels:
                targets = [leb128(chance.randrange(self.labels)) for _ in range(chance.choice((0, 1, 5)))]
                table = b"\x0e" + vec(targets) + leb128(chance.randrange(self.labels))
                return b"\x02\x40" + self.expression(I32, depth) + table + b"\x0b"
            case 11:
                return self.bulk(depth)
        return b"\x01"

    def block(self, opening: bytes, depth: int) -> bytes:
        self.labels += 1
        inside = self.statements(depth - 1)
        self.labels -= 1
        return opening + inside + b"\x0b"

    def bulk(self, depth: int) -> bytes:
        """Of memories and tables as a whole; an indirect call."""
        chance = self.chance
        match chance.randrange(6):
            case 0:
                return self.pointer(depth) + self.expression(I32, depth) + self.pointer(depth) + b"\xfc\x0b\0"
            case 1:
                return self.pointer(depth) + self.pointer(depth) + self.pointer(depth) + b"\xfc\x0a\0\0"
            case 2 if self.tables:
                return b"\xd0\x70" + self.expression(I32, 1) + b"\xfc\x0f\0\x1a"
            case 3 if self.tables:
                return self.expression(I32, 1) + b"\xd0\x70\x26\0"
            case 4 if self.tables:
                return self.expression(I32, 1) + b"\xd0\x70" + self.expression(I32, 1) + b"\xfc\x11\0"
            case 5 if self.tables:
                return self.expression(I32, 1) + b"\x11" + leb128(self._type((), ())) + b"\0"
        return b"\x01"


def made(chance: random.Random) -> bytes:
    """A module at random: as made, or with something of it changed."""
    module = Maker(chance).make()
    kind = chance.random()
    if kind < 0.35:
        return module.octets()
    if kind < 0.6:
        return _fields_changed(chance, module)
    if kind < 0.75:
        return _code_changed(chance, module)
    if kind < 0.9:
        return joined(_sections_changed(chance, module.sections()))
    return damaged(chance, module.octets())


def _fields_changed(chance: random.Random, module: Module) -> bytes:
    for _ in range(chance.choice((1, 1, 2))):
        _, items = chance.choice([(number, items) for number, items in module.lists() if items])
        at = chance.randrange(len(items))
        match chance.randrange(8):
            case 0:
                del items[at]
            case 1:
                items.append(items[at])
            case 2:
                items[at] = damaged(chance, items[at], 1)
            case 3:
                module.start = leb128(edge(chance) if chance.random() < 0.3 else chance.randrange(30))
            case 4:
                low, high = leb128(edge(chance) % 2**64), leb128(edge(chance) % 2**64)
                flags = chance.choice((0, 1, 2, 3, 4, 5, 7, 8, 9))
                where = chance.choice((module.memories, module.tables))
                element = b"" if where is module.memories else bytes([chance.choice((FUNCREF, EXTERNREF, 0x63, 0x69))])
                where[:1] = [element + bytes([flags]) + low + (high if flags & 1 else b"")]
            case 5:
                of = chance.choice((I32, I64, F32, F64, V128, FUNCREF, EXTERNREF))
                init = chance.choice((b"\xd0\x70", b"\xd2\0", b"\x23\0", b"\x41\0\x41\1\x6a", b"\xfd\x0c" + bytes(16)))
                module.globals.append(bytes([of, chance.randrange(3)]) + init + b"\x0b")
            case 6:
                named = chance.choice(
                    (*ENTRIES, "canister_update " + text(chance), text(chance), "ic:memory", "memory")
                )
                module.exports.append(name(named) + bytes([chance.randrange(6)]) + leb128(chance.randrange(20)))
            case _:
                offset = chance.choice((b"\x41", b"\x42")) + sleb128(edge(chance) - 2**31)
                module.data.append(bytes([chance.randrange(3)]) + offset + b"\x0b" + name(bytes(100)))
    return module.octets()


def _code_changed(chance: random.Random, module: Module) -> bytes:
    at = chance.randrange(len(module.codes))
    code = module.codes[at]
    body = code[len(leb128(len(code))) :]
    if chance.random() < 0.5:
        where = chance.randrange(len(body) + 1)
        body = body[:where] + chance.choice(_FOREIGN) + body[where:]
    else:
        body = damaged(chance, body, 1)
    module.codes[at] = name(body)
    return module.octets()


def _sections_changed(chance: random.Random, sections: list[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
    at = chance.randrange(len(sections))
    number, content = sections[at]
    match chance.randrange(7):
        case 0:
            del sections[at]
        case 1:
            sections.insert(chance.randrange(len(sections)), sections[at])
        case 2:
            chance.shuffle(sections)
        case 3:
            sections[at] = (chance.randrange(20), content)
        case 4:
            sections[at] = (number, damaged(chance, content))
        case 5:
            sections[at] = (number, leb128(edge(chance) % 2**40) + content[1:])
        case _:
            sections.insert(
                at, (0, chance.choice((b"", b"\xff\xff\xff\xff\x0f", name(b"\xff\xfe"), name("icp:public x"))))
            )
    return sections


@functools.cache
def _assembled(body: str) -> bytes:
    return bytes(wat2wasm(f"(module {body})"))


def _one(body: bytes, locals_: list[bytes] | None = None, **more: list[bytes]) -> bytes:
    """A module with one update method of this code."""
    module = Module([b"\x60\0\0"], functions=[b"\0"], exports=[name("canister_update go") + b"\0\0"])
    module.codes = [name(vec(locals_ or []) + body + b"\x0b")]
    for section, items in more.items():
        getattr(module, section).extend(items)
    return module.octets()


def _data(segments: list[bytes]) -> bytes:
    return _one(b"", memories=[b"\0\1"], data=segments)


def _bomb(chance: random.Random) -> bytes:
    return _packed(chance.choice((1_000_000, 100 * 1024 * 1024 - 8, 100 * 1024 * 1024, 300_000_000)))


@functools.cache
def _packed(size: int) -> bytes:
    return gzip.compress(MAGIC + bytes(size), 1)


def _big_function(chance: random.Random) -> bytes:
    """Much work for a compiler: many values that live long, many branches, many calls."""
    times = chance.choice((1000, 10_000, 60_000))
    piece = chance.choice(
        (b"\x41\1\x45\x1a", b"\x02\x40\x41\1\x0d\0\x0b", b"\x10\0", b"\x20\0\x20\1\x6a\x21\0", b"\x41\0\x28\2\0\x1a")
    )
    return _one(piece * times, [b"\2\x7f"], memories=[b"\0\1"])


_HOSTILE: list[Callable[[random.Random], bytes]] = [
    _bomb,
    _big_function,
    lambda chance: _one(b"", tables=[b"\x70\0" + leb128(chance.choice((999_999, 1_000_001, 10_000_001, 2**32 - 1)))]),
    lambda chance: _one(b"", tables=[b"\x70\0" + leb128(1_000_000)] * chance.choice((2, 20, 101))),
    lambda chance: _one(b"", memories=[b"\0" + leb128(chance.choice((65_535, 65_536, 65_537, 2**32 - 1)))]),
    lambda chance: _one(b"", memories=[b"\4" + leb128(chance.choice((98_304, 98_305, 2**32, 2**48, 2**63)))]),
    lambda chance: _one(b"", memories=[b"\0\1"] * chance.choice((2, 200))),
    lambda chance: _one(b"", functions=[b"\0"] * (n := chance.choice((49_999, 50_000))), codes=[b"\2\0\x0b"] * n),
    lambda chance: _one(b"", [leb128(chance.choice((49_999, 50_001, 2**32 - 1))) + b"\x7e"] * chance.choice((1, 9))),
    lambda chance: _one(b"\x41\0\x0e" + vec([b"\0"] * chance.choice((1000, 300_000))) + b"\0"),
    lambda chance: _one((b"\x41\0\x0e" + vec([b"\0"] * 2000) + b"\0\x01") * chance.choice((1, 50))),
    lambda chance: _one(b"\x02\x40" * (n := chance.choice((100, 1000, 100_000))) + b"\x0b" * n),
    lambda chance: _one(b"\x41\0" * (n := chance.choice((1000, 100_000))) + b"\x1a" * n),
    lambda chance: _one(b"", types=[b"\x60" + vec([b"\x7f"] * chance.choice((999, 1001, 100_000))) + b"\0"]),
    lambda chance: _one(b"", types=[b"\x60\0\0"] * chance.choice((10_000, 1_000_001 // 2))),
    lambda chance: _one(b"", exports=[name(f"e{n}") + b"\0\0" for n in range(chance.choice((999, 100_000)))]),
    lambda chance: _one(b"", exports=[name(f"canister_query {n}") + b"\0\0" for n in range(999 + chance.randrange(2))]),
    lambda chance: _one(b"", globals=[b"\x7f\1\x41\0\x0b"] * chance.choice((1000, 1001, 100_000))),
    lambda chance: _one(b"", globals=[bytes([V128, 1]) + b"\xfd\x0c" + bytes(16) + b"\x0b"]),
    lambda chance: _data([b"\0\x41" + sleb128(chance.choice((65_536, 65_537, -1))) + b"\x0b\0"]),
    lambda chance: _data([b"\0\x41\0\x0b\1x"] * chance.choice((1000, 10_000, 100_001))),
    lambda chance: _one(b"", custom=[name(f"icp:public {n}") + b"x" for n in range(chance.choice((16, 17)))]),
    lambda chance: _one(b"", custom=[name("icp:public x") + bytes(chance.choice((1_048_576, 1_048_577)))]),
    lambda chance: _one(b"", tables=[b"\x6f\0\1"]),
    lambda chance: joined([(1, b"\1\x60\0\0"), (13, b"\1\0\0")]),
    lambda chance: b"\0asm" + chance.choice((b"\x0d\0\1\0", b"\2\0\0\0", b"\1\0\0", b"")),
    lambda chance: MAGIC + chance.choice((b"\0", b"\0\0", b"\1" + b"\xff" * 9 + b"\1", b"\xff\0", b"\0\1\5")),
    lambda chance: _assembled(chance.choice(_TEXTS)),
    lambda chance: _assembled(chance.choice(_TEXTS)),
    lambda chance: _started(chance.choice((b"\x60\2\x7e\x7e\1\x7e", b"\x60\1\x7f\0", b"\x60\0\1\x7f")), b"\x20\0"),
    lambda chance: _started(b"\x60\0\0", chance.choice((b"\0", b"\x10\0", b""))),
]
#: Modules that recurse, fill, or use what belongs to proposals that canisters may not use.
_TEXTS: tuple[str, ...] = (
    '(func $f (export "canister_update go") (call $f))',
    """(func $f (param i32 i64 f64) (local v128 v128) (call $f (i32.const 0) (i64.const 0) (f64.const 0)))
    (func (export "canister_update go") (call $f (i32.const 0) (i64.const 0) (f64.const 0)))""",
    """(import "ic0" "call_new" (func $call (param i32 i32 i32 i32 i32 i32 i32 i32)))
    (import "ic0" "call_perform" (func $perform (result i32)))
    (table 1 externref) (memory 1) (global $0 i32 (i32.const 0))
    (func (export "canister_update go")
      (call $call (global.get $0) (global.get $0) (global.get $0) (global.get $0)
        (global.get $0) (global.get $0) (global.get $0) (global.get $0))
      (drop (call $perform)))""",
    """(memory 1) (func (export "canister_update go")
      (drop (memory.grow (i32.const 65535)))
      (memory.fill (i32.const 0) (i32.const 1) (i32.const 200000000)))""",
    """(table 10 funcref) (func (export "canister_update go")
      (drop (table.grow (ref.null func) (i32.const 999990))) (drop (table.grow (ref.null func) (i32.const -1))))""",
    '(type $t (func)) (func (export "canister_update go") (call_ref $t (ref.null $t)))',
    '(tag $t) (export "t" (tag $t)) (func (export "canister_update go") (throw $t))',
    """(type $s (struct)) (global (mut (ref null $s)) (ref.null $s))
    (func (export "canister_update go") (drop (struct.new $s)))""",
    '(type $s (struct)) (func (export "canister_update go")) (func (export "x") (param (ref null $s)))',
    '(type $f (func)) (func (export "canister_update go")) (func (export "x") (result (ref null $f)) (ref.null $f))',
    """(type $s (array i8)) (func (export "canister_update go")
      (loop $again (drop (array.new $s (i32.const 0) (i32.const 100000000))) (br $again)))""",
)
#: These use up the limit of instructions, which takes a while.
_ENDLESS = (
    '(func (export "canister_update go") (loop (br 0)))',
    '(func $f (export "canister_update go") (return_call $f))',
    '(func (export "canister_query see") (loop (br 0))) (func (export "canister_update go"))',
)


def _started(type_: bytes, body: bytes) -> bytes:
    module = Module([type_, b"\x60\0\0"], functions=[b"\0", b"\1"], start=b"\0")
    module.codes = [name(b"\0" + body + b"\x0b"), b"\2\0\x0b"]
    module.exports = [name("canister_update go") + b"\0\1"]
    return module.octets()


def module(chance: random.Random) -> bytes:
    """The module of a case."""
    kind = chance.random()
    if kind < 0.0006:
        return _assembled(chance.choice(_ENDLESS))
    if kind < 0.1:
        return chance.choice(_HOSTILE)(chance)
    octets = made(chance)
    return gzip.compress(octets) if chance.random() < 0.1 else octets
