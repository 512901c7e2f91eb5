"""What the instructions of a canister module cost, and how they come to be counted.

The engine counts each instruction it executes as one unit of fuel. On the Internet Computer instructions have
weights: a call counts as 5, a division as 10. `weigh` puts padding, ``i32.const 0; drop``, before an instruction
that counts as more than the engine takes for it: the pair takes one unit, and no machine code is made of it. So
what a canister is charged is what the public table says, at the speed of the bare module.

Sources: weights and limits as mainnet has them (dfinity/ic, `instruction_to_cost`, `wasm_function_complexity`);
the binary format of instructions (https://webassembly.github.io/spec/core/binary/instructions.html). Blocks of
memory and tables that an instruction copies or fills are counted by the engine, a unit per byte or element, as on
mainnet; so is one for entering a function.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..protocol.leb128 import leb128
from .wasm import InvalidModule, read_uleb

#: Counted for each instruction of a module that is compiled, and for one that the network has compiled before.
COMPILE_INSTRUCTION = 6_000
RECOMPILE_INSTRUCTION = COMPILE_INSTRUCTION // 100
#: Limit of one function. An instruction adds at least 1 to its complexity: it has no more instructions either.
MAX_FUNCTION_COMPLEXITY = 1_000_000
#: Increase it when the output of `weigh` changes: it is part of the key of cached compiled modules.
VERSION = 1

_LEB = rb"[\x80-\xff]*[\x00-\x7f]"
_MEMARG = rb"(?:[\x00-\x3f]|[\x40-\x7f]" + _LEB + rb")" + _LEB
_TABLE_BRANCH = 0x0E
_PREFIXED = (0xFC, 0xFD)

#: One instruction with its immediates, but for the labels of a ``br_table``, which are counted by a number.
_INSTRUCTION = re.compile(
    rb"[\x00\x01\x05\x0b\x0f\x1a\x1b\xd1\x45-\xc4]"
    rb"|[\x02-\x04\x0c\x0d\x10\x12\x20-\x26\x3f-\x42\xd0\xd2]"
    + _LEB
    + rb"|[\x28-\x3e]"
    + _MEMARG
    + rb"|[\x11\x13]"
    + _LEB
    + _LEB
    + rb"|\x1c\x01"
    + _LEB
    + rb"|\x43.{4}|\x44.{8}"
    rb"|\xfc(?:[\x00-\x07]|[\x08\x0a\x0c\x0e]" + _LEB + _LEB + rb"|[\x09\x0b\x0d\x0f-\x11]" + _LEB + rb")"
    rb"|\xfd(?:[\x00-\x0b\x5c\x5d]" + _MEMARG + rb"|[\x0c\x0d].{16}|[\x15-\x22].|[\x54-\x5b]" + _MEMARG + rb"."
    rb"|[\x0e-\x14\x23-\x53\x5e-\x7f]|[\x80-\xff]\x01)"
    rb"|.",
    re.DOTALL,
)


def _weights() -> dict[int, int]:
    """What an instruction counts as, by opcode: the byte, or the prefix byte and the number behind it (``0xFC08``)."""
    weights = dict.fromkeys([*range(0x20, 0x25), *range(0x28, 0x43), *range(0x45, 0xC5)], 1)
    weights |= dict.fromkeys([0x00, 0x01, 0x0F, 0x1A, 0x1B, 0x1C, 0x41, 0x42, 0x43, 0x44, 0xD0], 1)
    weights |= dict.fromkeys([0x02, 0x03, 0x05, 0x0B], 0)  # block, loop, else, end
    weights |= dict.fromkeys([0x04, 0x0C, 0x0D, 0x0E], 2)  # if, br, br_if, br_table
    weights |= {0x10: 5, 0x11: 10, 0x12: 3, 0x13: 60}  # call, call_indirect, return_call, return_call_indirect
    weights |= dict.fromkeys([0x23, 0x24], 2)  # global.get, global.set
    weights |= {0x25: 5, 0x26: 5, 0x3F: 20, 0x40: 300}  # table.get, table.set, memory.size, memory.grow
    weights |= dict.fromkeys([*range(0x5B, 0x67)], 3)  # comparisons of floats
    weights |= dict.fromkeys([*range(0x6D, 0x71), *range(0x7F, 0x83)], 10)  # div and rem of integers
    for first, divide, root, sign in ((0x8B, 3, 5, 2), (0x99, 5, 8, 3)):  # f32, f64
        weights |= dict.fromkeys(range(first + 2, first + 6), 2)  # ceil, floor, trunc, nearest
        weights |= dict.fromkeys(range(first + 7, first + 10), 2)  # add, sub, mul
        weights |= {first + 6: root, first + 10: divide, first + 11: 18, first + 12: 18, first + 13: sign}
    weights |= dict.fromkeys([*range(0xA8, 0xAC), *range(0xAE, 0xB2)], 20)  # floats to integers
    weights |= dict.fromkeys([0xB2, 0xB4, 0xB7, 0xB9], 3)  # signed integers to floats
    weights |= dict.fromkeys([0xB3, 0xB5, 0xB8, 0xBA], 16)  # unsigned ones
    weights |= {0xD1: 5, 0xD2: 130}  # ref.is_null, ref.func
    weights |= dict.fromkeys(range(0xFC00, 0xFC08), 20)  # floats to integers, saturating
    weights |= dict.fromkeys([0xFC08, 0xFC0A, 0xFC0B, 0xFC0C, 0xFC0E, 0xFC11], 100)  # init, copy, fill
    weights |= {0xFC09: 300, 0xFC0D: 300, 0xFC0F: 300, 0xFC10: 100}  # data.drop, elem.drop, table.grow, table.size
    weights |= dict.fromkeys(range(0xFD00, 0xFE00), 1)
    return weights | {0xFD00 + opcode: weight for weight, opcodes in _VECTOR_WEIGHTS.items() for opcode in opcodes}


#: Vector instructions that count as more than 1, by the number behind the prefix.
_VECTOR_WEIGHTS = {
    2: (
        *(0x26, 0x28, 0x30, 0x32, 0x3A, 0x3C),  # unsigned lt and gt
        *(0x6D, 0x7D, 0x8B, 0x8C, 0x8D, 0x9D, 0x9F),  # i8x16.shr_u; pairwise u; i16x8 shifts; extmul_high of i8x16
        *(0xAB, 0xAC, 0xAD, 0xB5, 0xBC, 0xBD, 0xBE, 0xBF),  # i32x4 shifts, mul, extmul
        *(0xCB, 0xCD),  # i64x2.shl, shr_u
        *(0x67, 0x68, 0x69, 0x6A, 0x74, 0x75, 0x7A, 0x94),  # ceil, floor, trunc, nearest
        *(0xE0, 0xE1, 0xE4, 0xE5, 0xE6, 0xEC, 0xED, 0xF0, 0xF1, 0xF2),  # abs, neg, add, sub, mul of floats
        *(0xF8, 0xFC),  # i32x4.trunc_sat_f32x4_s, trunc_sat_f64x2_s_zero
    ),
    3: (0x0D, 0x62, 0x6B, 0x6C, 0x7F, 0xCC, 0xFD),  # shuffle, popcnt, i8x16.shl, shr_s, i32x4 pairwise u, shr_s, ...
    4: (0xD5, 0xE8, 0xE9, 0xF4, 0xF9, 0xFB),  # i64x2.mul; min, max of f32x4; f64x2.min; to and from unsigned
    5: (0xE3, 0xF5),  # f32x4.sqrt, f64x2.max
    10: (0xE7,),  # f32x4.div
    12: (0xF3,),  # f64x2.div
    14: (0xEF,),  # f64x2.sqrt
}
_LOADS_AND_STORES = frozenset([*range(0x28, 0x3F), *range(0xFD00, 0xFD0C), *range(0xFD54, 0xFD5E)])
#: What the engine does not count.
_FREE = frozenset([0x00, 0x01, 0x02, 0x03, 0x05, 0x0B, 0x0F, 0x1A])


def _complexities() -> dict[int, int]:
    """How much an instruction adds to the complexity of a function, if more than 1."""
    found = dict.fromkeys([0x02, 0x03, 0x04, 0x0C, 0x0D, 0x0E, 0x10, 0x11, 0x40], 50)
    found |= dict.fromkeys([0x1B, 0x1C, 0x23, 0x3F, 0x45, 0x46, *range(0x36, 0x3F), *range(0x47, 0x61)], 2)
    found |= dict.fromkeys([*range(0x62, 0x67), 0x69, 0x7B, 0xA7, 0xBB, *range(0xBC, 0xC5)], 2)
    found |= dict.fromkeys([0x8D, 0x8E, 0x8F, 0x91, 0x9B, 0x9C, 0x9D, 0x9F], 2)  # ceil, floor, trunc, sqrt
    found |= dict.fromkeys([*range(0x28, 0x36), 0x61, *range(0x6D, 0x71), *range(0x7F, 0x83), 0x98, 0xA6], 3)
    found |= dict.fromkeys([*range(0xFC00, 0xFC08), 0xFC0B], 3)
    found |= dict.fromkeys([0x8B, 0x8C, 0x99, 0x9A, 0xFC0A], 4)
    found |= dict.fromkeys([*range(0xA8, 0xBB)], 5)
    return found | {0x25: 14, 0xD1: 6, 0xD2: 8}


_COMPLEXITIES = _complexities()
_WEIGHTS = _weights()


def _paddings(memory64: bool) -> dict[int, bytes]:
    """What goes before an instruction so that the engine counts its weight."""
    paddings = {}
    for opcode, weight in _WEIGHTS.items():
        wanted = weight + (memory64 and opcode in _LOADS_AND_STORES)
        paddings[opcode] = b"\x41\x00\x1a" * (wanted - (opcode not in _FREE))
    return paddings


_PADDINGS = {memory64: _paddings(memory64) for memory64 in (False, True)}


@dataclass(frozen=True)
class Weighed:
    """A code section with weights, and how many instructions the module has in all."""

    code: bytes
    instructions: int


def weigh(code: bytes, memory64: bool) -> Weighed:
    """The content of a code section as it is to be executed.

    Args:
        code: the content of a valid code section.
        memory64: the module has a 64-bit memory, whose loads and stores count as 2.

    Raises:
        InvalidModule: a function is more complex than the Internet Computer allows, or has an instruction
            that canisters cannot have.
    """
    paddings, instructions = _PADDINGS[memory64], 0
    count, offset = read_uleb(code, 0)
    out = [leb128(count)]
    for index in range(count):
        size, start = read_uleb(code, offset)
        offset = start + size
        found = list(_instructions(code, _after_locals(code, start), offset))
        instructions += len(found)
        _check_function(index, found)
        try:
            parts = [paddings[opcode] + token for opcode, token in found]
        except KeyError as error:
            raise InvalidModule(
                f"Wasm module contains a function at index {index} with unsupported instruction 0x{error.args[0]:02x}."
            ) from None
        body = code[start : _after_locals(code, start)] + b"".join(parts)
        out += [leb128(len(body)), body]
    return Weighed(b"".join(out), instructions)


def _after_locals(code: bytes, offset: int) -> int:
    groups, offset = read_uleb(code, offset)
    for _ in range(groups):
        _, offset = read_uleb(code, offset)
        offset += 1
    return offset


def _instructions(code: bytes, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """The instructions in ``code[start:end]``: their opcodes and bytes."""
    while start < end:
        for match in _INSTRUCTION.finditer(code, start, end):
            token = match[0]
            opcode = token[0]
            if opcode in _PREFIXED and len(token) > 1:
                opcode = opcode << 8 | (token[1] if token[1] < 0x80 else token[1] & 0x7F | token[2] << 7)
            elif opcode == _TABLE_BRANCH:
                token = code[start : _after_labels(code, start + 1)]
            start += len(token)
            yield opcode, token
            if opcode == _TABLE_BRANCH:
                break  # to go on behind its labels


def _after_labels(code: bytes, offset: int) -> int:
    count, offset = read_uleb(code, offset)
    for _ in range(count + 1):
        _, offset = read_uleb(code, offset)
    return offset


def _check_function(index: int, found: list[tuple[int, bytes]]) -> None:
    complexity = sum(_COMPLEXITIES.get(opcode, 1) for opcode, _ in found)
    if complexity > MAX_FUNCTION_COMPLEXITY:
        raise InvalidModule(
            f"Wasm module contains a function at index {index} with complexity {complexity} which exceeds the maximum"
            f" complexity allowed {MAX_FUNCTION_COMPLEXITY}."
        )
