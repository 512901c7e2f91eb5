"""Candid messages: type tables and values of any shape, right ones for given types, and damaged ones."""

from __future__ import annotations

import random
from typing import Any

from mainer_nb.localnet import management
from mainer_nb.protocol import candid, principal
from mainer_nb.protocol.leb128 import leb128, sleb128
from tests.localnet.fuzz import cbor, envelopes
from tests.localnet.fuzz.cases import Request, Target, damaged, edge, text

#: Opcodes of types (Candid specification, "Types").
PRIMS = range(-17, 0)
_OPT, _VEC, _RECORD, _VARIANT, _FUNC, _SERVICE, _PRINCIPAL, _FUTURE = range(-18, -26, -1)
#: Sizes of the values of fixed size, by opcode.
_FIXED = {-2: 1, -5: 1, -6: 2, -7: 4, -8: 8, -9: 1, -10: 2, -11: 4, -12: 8, -13: 4, -14: 8}


class Wild:
    """A message of a random type table, cycles included, and values that follow it as far as `budget` lasts."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._size = chance.choice((0, 1, 1, 2, 3, 5, 10, 50))
        self.budget = chance.choice((10, 100, 200))
        self._table = [self._entry() for _ in range(self._size)]

    def _entry(self) -> tuple[int, list[tuple[int, int]]]:
        chance = self._chance
        opcode = chance.choice((_OPT, _VEC, _VEC, _RECORD, _RECORD, _VARIANT, _FUNC, _SERVICE, _FUTURE, -99))
        few = chance.choice((0, 1, 1, 2, 3, 10))
        ids = sorted({edge(chance) % (1 << 32) if chance.random() < 0.3 else n for n in range(few)})
        return opcode, [(number, self._reference()) for number in ids or [0]]

    def _reference(self) -> int:
        chance = self._chance
        if self._size and chance.random() < 0.5:
            return chance.randrange(self._size)
        return int(chance.choice((*PRIMS, _PRINCIPAL, -16, -1)))

    def octets(self) -> bytes:
        """The message."""
        arguments = [self._reference() for _ in range(self._chance.choice((0, 1, 1, 2, 5)))]
        table = b"".join(map(self._definition, self._table))
        types = leb128(len(arguments)) + b"".join(map(sleb128, arguments))
        return b"DIDL" + leb128(self._size) + table + types + b"".join(map(self._value, arguments))

    def _definition(self, entry: tuple[int, list[tuple[int, int]]]) -> bytes:
        opcode, parts = entry
        first = sleb128(parts[0][1])
        listed = leb128(len(parts)) + b"".join(sleb128(inner) for _, inner in parts)
        match opcode:
            case -18 | -19:
                return sleb128(opcode) + first
            case -20 | -21:
                fields = b"".join(leb128(number) + sleb128(inner) for number, inner in parts)
                return sleb128(opcode) + leb128(len(parts)) + fields
            case -22:
                return sleb128(opcode) + listed + listed + self._chance.choice((b"\0", b"\1\1", b"\1\2", b"\1\4"))
            case -23:
                methods = b"".join(b"\2" + b"m%c" % (65 + n) + sleb128(p[1]) for n, p in enumerate(parts))
                return sleb128(opcode) + leb128(len(parts)) + methods
        return sleb128(opcode) + b"\3abc"

    def _value(self, code: int) -> bytes:
        """A value of a type, or nothing once the budget is spent (and for recursion that does not end by itself)."""
        chance = self._chance
        self.budget -= 1
        if self.budget < 0:
            return b""
        if code < 0:
            return self._prim(code)
        opcode, parts = self._table[code]
        match opcode:
            case -18:
                return b"\1" + self._value(parts[0][1]) if chance.random() < 0.7 else b"\0"
            case -19:
                length = chance.choice((0, 1, 2, 3, 20))
                if chance.random() < 0.1:
                    return leb128(edge(chance))
                return leb128(length) + b"".join(self._value(parts[0][1]) for _ in range(length))
            case -20:
                return b"".join(self._value(inner) for _, inner in parts)
            case -21:
                index = chance.randrange(len(parts))
                return leb128(index) + self._value(parts[index][1])
            case -22:
                return b"\1" + self._prim(_PRINCIPAL) + self._prim(-15)
            case -23:
                return self._prim(_PRINCIPAL)
        return b"\2\0xy"

    def _prim(self, code: int) -> bytes:
        chance = self._chance
        if code in _FIXED:
            return bytes([chance.randrange(2)]) if code == -2 else chance.randbytes(_FIXED[code])
        match code:
            case -3:
                return leb128(edge(chance))
            case -4:
                return sleb128(chance.choice((-1, 1)) * edge(chance))
            case -15:
                octets = text(chance).encode()
                return leb128(len(octets)) + octets
            case -24:
                octets = chance.randbytes(chance.choice((0, 1, 10, 29, 30)))
                return b"\1" + leb128(len(octets)) + octets
        return b""


def bombs(chance: random.Random) -> bytes:
    """Few bytes that ask for much: of memory, of time, of stack."""
    many = chance.choice((10**4, 10**6, 10**9, 2**32, 2**63, 10**100))
    depth = chance.choice((100, 500, 500, 9999)) if chance.random() < 0.3 else 400
    match chance.randrange(12):
        case 0:  # a vec of nothing
            return b"DIDL\1\x6d" + sleb128(chance.choice((-1, -16, -17))) + b"\1\0" + leb128(many)
        case 1:  # vecs of vecs of nothing
            inner = chance.choice((100, 1000))
            return b"DIDL\2\x6d\1\x6d\x7f\1\0" + leb128(inner) + leb128(many) * inner
        case 2:  # a record in itself
            return b"DIDL\1\x6c\1\0\0\1\0"
        case 3:  # records in records, twice each
            table = b"".join(b"\x6c\2\0" + sleb128(n + 1) + b"\1" + sleb128(n + 1) for n in range(depth))
            return b"DIDL" + leb128(depth + 1) + table + b"\x6c\0\1\0"
        case 4:  # a long chain of options, or of records
            link = chance.choice((b"\x6e", b"\x6c\1\0", b"\x6d"))
            table = b"".join(link + sleb128(n + 1) for n in range(depth))
            return b"DIDL" + leb128(depth + 1) + table + b"\x6e\x7f\1\0" + b"\1" * depth + b"\0"
        case 5:  # an option in itself
            return b"DIDL\1\x6e\0\1\0" + b"\1" * depth + b"\0"
        case 6:  # a record that has itself as an option
            return b"DIDL\2\x6c\1\0\1\x6e\0\1\0" + b"\1" * depth + b"\0"
        case 7:  # a number of many digits
            kind = chance.choice((b"\x7d", b"\x7c"))
            return b"DIDL\0\1" + kind + b"\xff" * chance.choice((20, 3000, 500_000)) + b"\1"
        case 8:  # lengths that are not there
            return b"DIDL" + chance.choice((b"", b"\0", b"\0\1\x71", b"\1\x6d\x7b\1\0", b"\1\x6c")) + leb128(many)
        case 9:  # an announcement with many digits
            return b"DIDL" + chance.choice((b"", b"\0", b"\0\1\x71")) + b"\xff" * 5000 + b"\1"
        case 10:  # functions in functions
            return b"DIDL\2\x6a\2\0\1\2\1\0\0\x69\1\1a\0\2\0\1" + b"\1\1\0\0" * 2
        case _:  # a record of many fields of nothing, many times
            fields = b"".join(leb128(n) + b"\x7f" for n in range(1000))
            return b"DIDL\2\x6c\xe8\7" + fields + b"\x6d\0\1\1" + leb128(many)


def value(chance: random.Random, type_: candid.Type, depth: int = 0) -> Any:
    """A value of a type, as `candid.encode` takes it."""
    type_ = candid.resolve(type_)
    match type_:
        case candid.Opt(of):
            inner = candid.resolve(of)
            if depth > 8 or chance.random() < 0.4:
                return None
            found = value(chance, of, depth + 1)
            return (found,) if isinstance(inner, candid.Opt) or inner in (candid.NULL, candid.RESERVED) else found
        case candid.Vec(candid.NAT8):
            return chance.randbytes(chance.choice((0, 1, 29, 32, 33, 1000)))
        case candid.Vec(of):
            return [value(chance, of, depth + 1) for _ in range(chance.choice((0, 1, 2, 11, 21)) if depth < 4 else 0)]
        case candid.Record(fields):
            return {field.label: value(chance, field.type, depth + 1) for field in fields}
        case candid.Variant(fields):
            one = chance.choice(fields if depth < 8 else fields[:1])
            return {one.label: value(chance, one.type, depth + 1)}
        case candid.Func():
            return chance.randbytes(10), text(chance)
        case candid.Service():
            return chance.randbytes(10)
    return _prim(chance, type_)


def _prim(chance: random.Random, type_: Any) -> Any:
    if type_ in (candid.NULL, candid.RESERVED):
        return None
    if type_ == candid.BOOL:
        return chance.random() < 0.5
    if type_ == candid.TEXT:
        return text(chance)
    if type_ == candid.PRINCIPAL:
        return chance.randbytes(chance.choice((0, 1, 10, 29)))
    if type_ in (candid.FLOAT32, candid.FLOAT64):
        return chance.choice((0.0, -0.0, float("nan"), float("inf"), 1.5))
    if type_ in (candid.NAT, candid.INT):
        huge = chance.getrandbits(chance.choice((200, 20_000, 300_000))) if chance.random() < 0.1 else edge(chance)
        return -huge if type_ == candid.INT and chance.random() < 0.5 else huge
    bits = 8 * _FIXED[type_.opcode]
    low, high = (0, 2**bits - 1) if type_.name.startswith("nat") else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    return min(max(chance.choice((-1, 1)) * edge(chance), low), high)


def managed(chance: random.Random, target: Target) -> tuple[str, bytes, bytes]:
    """A call of the management canister: method, argument, canister that it is about."""
    name = chance.choice(list(management.INTERFACE.methods))
    types = management.INTERFACE.methods[name].args
    victim = chance.choice(target.victims)
    values = [value(chance, type_) for type_ in types]
    for found in values:
        for label in ("canister_id", "target_canister", "specified_id"):
            if label in found and found[label] is not None and chance.random() < 0.95:
                found[label] = None if label == "specified_id" else victim
        for label in ("snapshot_id", "replace_snapshot"):
            if found.get(label) is not None and chance.random() < 0.9:  # maybe one that is there, and maybe another's
                found[label] = chance.randrange(10).to_bytes(8, "big") + chance.choice((victim, *target.victims))
        for label in ("wasm_memory_size", "stable_memory_size"):
            if label in found and chance.random() < 0.8:
                found[label] = 65536 * chance.randrange(10)
        if isinstance(found.get("settings"), dict) and chance.random() < 0.9:
            found["settings"]["controllers"] = None  # else the victim is lost
    if name in ("delete_canister", "uninstall_code", "stop_canister") and chance.random() < 0.9:
        return managed(chance, target)
    return name, candid.encode(types, values), victim


def over_http(chance: random.Random, target: Target) -> Request:
    """A call or query with an argument that is odd Candid: of the management canister, or of a Motoko canister."""
    if chance.random() < 0.5:
        method, arg, effective = managed(chance, target)
        canister_id = principal.MANAGEMENT
        often = 0.95 if management.is_only_query(method) else 0.5
        is_query = chance.random() < (often if management.INTERFACE.methods[method].mode == "query" else 0.05)
    else:
        method, types, mode = chance.choice(target.motoko_methods)
        arg, canister_id = candid.encode(types, [value(chance, type_) for type_ in types]), target.motoko
        effective, is_query = canister_id, mode != "update"
    match chance.randrange(4):
        case 0:
            arg = damaged(chance, arg)
        case 1:
            arg = bombs(chance) if chance.random() < 0.5 else Wild(chance).octets()
    kind = "query" if is_query else "call"
    content = {
        "request_type": kind,
        "sender": principal.ANONYMOUS,
        "canister_id": canister_id,
        "method_name": method,
        "arg": arg[:1_900_000],
        "ingress_expiry": target.now() + 240 * 10**9,
        "nonce": chance.randbytes(8),
    }
    where = f"/api/v3/canister/{principal.to_text(effective)}/{kind}"
    return Request(b"POST", where.encode(), envelopes.CBOR, cbor.encode({"content": content}))


def decode(chance: random.Random) -> str:
    """Gives the decoder a message by itself; the class of what it says.

    What it accepts without knowing the types, and encodes again, it must read as the same.
    """
    pool = [method.args for method in management.INTERFACE.methods.values() if method.args]
    types = chance.choice(pool)
    match chance.randrange(4):
        case 0:
            data = Wild(chance).octets()
        case 1:
            data = bombs(chance)
        case _:
            data = candid.encode(types, [value(chance, type_) for type_ in types])
            if chance.random() < 0.7:
                data = damaged(chance, data)
    try:
        candid.decode(types, data)
        known = "accepted"
    except candid.CandidError:
        known = "refused"
    try:
        values = candid.decode(None, data)
    except candid.CandidError:
        return f"decoder {known}, without types refused"
    types_ = candid.types_of(data)
    if not _encodable(types_):
        return f"decoder {known}, without types accepted"
    again = candid.decode(None, candid.encode(types_, values))
    assert _same(again, values), "what was encoded again reads differently"
    return f"decoder {known}, without types accepted"


def _same(one: Any, other: Any) -> bool:
    """Equality, but a number that is none equals itself."""
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    return bool(one == other or one != one)


def _encodable(types: list[candid.Type]) -> bool:
    try:
        candid.encode(types, [None] * len(types))
    except candid.CandidError as error:
        return "cannot be encoded" not in str(error)
    return True
