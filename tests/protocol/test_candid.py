"""The Candid codec: the spec's rules, known bytes, other implementations, hostile input."""

import struct
from typing import Any

import icp_candid
import pytest
from ic.principal import Principal

from mainer_nb.protocol import candid, did
from mainer_nb.protocol.candid import CandidError

DEFINITIONS = """
type Opt = opt Opt;
type Tree = vec Tree;
type Loop = record { Loop };
type List = opt record { head : int; tail : List };
type Chain = variant { nil; cons : record { head : int; tail : Chain } };
"""


def types_of(text: str) -> tuple[candid.Type, ...]:
    """The argument types in a text such as `nat, opt text`; the names in DEFINITIONS may be used."""
    return did.parse(f"{DEFINITIONS} service : {{ method : ({text}) -> () }}").methods["method"].args


def message(text: str) -> bytes:
    """Hexadecimal digits, with everything in quotes as it is: `'DIDL' 00 01 71 02 'hi'`."""
    parts = text.split("'")
    return b"".join(part.encode() if i % 2 else bytes.fromhex(part) for i, part in enumerate(parts))


GOOD: list[tuple[str, str, list[Any]]] = [
    ("", "00 00", []),
    ("", "80 00 00", []),  # overlong lengths are allowed
    ("", "01 6e 6f 00", []),  # so are unused types
    ("null", "00 01 7f", [None]),
    ("bool, bool", "00 02 7e 7e 00 01", [False, True]),
    ("nat, nat, nat", "00 03 7d 7d 7d 00 7f 80 01", [0, 127, 128]),
    ("nat", "00 01 7d ff 00", [127]),
    ("nat", "00 01 7d 80 80 98 f4 e9 b5 ca 6a", [60_000_000_000_000_000]),
    ("int, int, int, int", "00 04 7c 7c 7c 7c 01 7f 40 80 7f", [1, -1, -64, -128]),
    ("int, int", "00 02 7c 7c ff 00 ff 7f", [127, -1]),
    ("int", "00 01 7c 80 80 e8 8b 96 ca b5 95 7f", [-60_000_000_000_000_000]),
    ("int", "00 01 7d 80 01", [128]),  # nat <: int
    ("nat8, nat16, nat32", "00 03 7b 7a 79 ff ff ff 01 00 00 00", [255, 65535, 1]),
    ("nat64, int64", "00 02 78 74" + "ff" * 16, [2**64 - 1, -1]),
    ("int8, int16, int32", "00 03 77 76 75 80 00 80 ff ff ff ff", [-128, -32768, -1]),
    ("float32, float64", "00 02 73 72 00 00 00 bf 00 00 00 00 00 00 08 40", [-0.5, 3.0]),
    ("text", "00 01 71 03 e2 98 83", ["\u2603"]),
    ("reserved, reserved", "00 02 71 7d 01 41 80 01", [None, None]),
    ("principal", "00 01 68 01 03 ca ff ee", [b"\xca\xff\xee"]),
    ("opt int", "01 6e 7c 01 00 00", [None]),
    ("opt int", "01 6e 7c 01 00 01 2a", [42]),
    ("opt opt int", "02 6e 01 6e 7c 01 00 01 01 2a", [(42,)]),
    ("opt opt int", "02 6e 01 6e 7c 01 00 01 00", [(None,)]),
    ("opt opt int", "02 6e 01 6e 7c 01 00 00", [None]),
    ("Opt", "01 6e 00 01 00 01 01 00", [((None,),)]),
    ("vec int", "01 6d 7c 01 00 02 01 7f", [[1, -1]]),
    ("vec int8", "01 6d 7c 01 00 00", [[]]),  # no element, no mismatch
    ("blob", "01 6d 7b 01 00 02 01 02", [b"\1\2"]),
    ("vec nat16", "01 6d 7a 01 00 02 01 00 02 00", [[1, 2]]),
    ("vec null", "01 6d 7f 01 00 e8 07", [[None] * 1000]),
    ("Tree", "01 6d 00 01 00 02 00 00", [[[], []]]),
    ("record {}", "01 6c 00 01 00", [{}]),
    ("record { 1 : opt int }", "01 6c 01 01 7c 01 00 2a", [{1: 42}]),
    ("record { 1 : reserved }", "01 6c 01 01 7c 01 00 2a", [{1: None}]),
    ("record {}", "01 6c 01 01 7c 01 00 2a", [{}]),  # unknown fields are skipped
    ("record { 2 : opt int }", "01 6c 01 01 7c 01 00 2a", [{2: None}]),
    ("record { foo : reserved }", "01 6c 00 01 00", [{"foo": None}]),
    ("record { int; bool }", "01 6c 02 00 7c 01 7e 01 00 2a 01", [(42, True)]),
    ("record { 1 : bool }", "01 6c 02 00 7c 01 7e 01 00 2a 01", [{1: True}]),
    ("record { foo : int; bar : bool }", "01 6c 02 d3e3aa02 7e 868eb702 7c 01 00 01 2a", [{"foo": 42, "bar": True}]),
    ("variant { a; b }", "01 6b 01 61 7f 01 00 00", [{"a": None}]),
    ("variant { 0; 1; 2 }", "01 6b 02 00 7f 01 7f 01 00 01", [{1: None}]),
    ("variant { 0 : int; 1 : int }", "01 6b 02 00 7f 01 7c 01 00 01 2a", [{1: 42}]),
    ("variant { Ok : text; Err : text }", "01 6b 02 bc8a01 71 c5fed201 71 01 00 00 04 'good'", [{"Ok": "good"}]),
    ("opt variant { 0 : int }", "02 6e 01 6b 01 00 7e 01 00 01 00 01", [None]),
    ("opt variant { 0 }", "02 6e 01 6b 02 00 7f 01 7f 01 00 01 01", [None]),  # a tag of a later version
    ("opt bool", "00 00", [None]),  # a missing argument
    ("opt bool", "00 01 7e 01", [True]),  # t <: opt t
    ("opt nat", "01 6e 7e 01 00 01 01", [None]),  # opt bool <: opt nat
    ("opt nat", "00 01 70", [None]),  # reserved <: opt t
    ("opt opt bool", "00 01 7e 01", [None]),
    ("opt opt null", "01 6e 7f 01 00 00", [None]),
    ("opt opt nat", "02 6e 01 6e 7e 01 00 01 01 01", [(None,)]),
    ("opt vec nat", "01 6d 71 01 00 01 01 'a'", [None]),
    ("record { a : opt nat; b : nat }", "01 6c 02 61 71 62 7d 01 00 01 'x' 07", [{"a": None, "b": 7}]),
    (
        "List",
        "02 6e 01 6c 02 a0d2aca804 7c 90eddae704 00 01 00 01 01 01 02 00",
        [{"head": 1, "tail": {"head": 2, "tail": None}}],
    ),
    (
        "Chain, opt Chain, reserved",
        "02 6b 02 d1a7cf02 7f f1f3928e04 01 6c 02 a0d2aca804 7c 90eddae704 00 01 00 01 05 00",
        [{"cons": {"head": 5, "tail": {"nil": None}}}, None, None],
    ),
    ("service {}", "01 69 00 01 00 01 03 ca ff ee", [b"\xca\xff\xee"]),
    ("principal", "01 69 00 01 00 01 03 ca ff ee", [b"\xca\xff\xee"]),
    ("func () -> ()", "01 6a 00 00 00 01 00 01 01 03 ca ff ee 01 'a'", [(b"\xca\xff\xee", "a")]),
    ("func (text, opt text) -> ()", "01 6a 01 71 01 7d 00 01 00 01 01 00 01 'a'", [(b"", "a")]),
    ("opt empty, bool", "01 67 03 'ABC' 02 00 7e 05 00 'hello' 01", [None, True]),  # a future type
]


@pytest.mark.parametrize(("types", "data", "values"), GOOD)
def test_decodes(types: str, data: str, values: list[Any]) -> None:
    assert candid.decode(types_of(types), message("'DIDL'" + data)) == values


@pytest.mark.parametrize(("types", "data", "values"), GOOD)
def test_what_was_decoded_survives_another_round(types: str, data: str, values: list[Any]) -> None:
    assert candid.decode(types_of(types), candid.encode(types_of(types), values)) == values


@pytest.mark.parametrize(
    ("types", "data", "why"),
    [
        ("", "00", "byte 5: it ends within a number|ends"),
        ("", "00 00 00", "1 bytes follow"),
        ("", "00 01 6e", "neither a primitive type nor an entry"),
        ("", "01 6e 00", "ends|announced"),
        ("", "01 00 00", "0 does not begin a type definition"),
        ("", "01 7f 00", "-1 does not begin"),
        ("", "01 68 00", "-24 does not begin"),
        ("", "01 6e 01 00", "1 is neither a primitive type nor an entry"),
        ("", "00 03 7f 7f", "3 arguments are announced"),
        ("", "80 94 eb dc 03 00", "1000000000 types are announced"),
        ("", "01 6c 80 94 eb dc 03 00 7f 00 7f", "1000000000 fields are announced"),
        ("null", "00 00", "argument 1 of type null is missing"),
        ("null", "00 01 7e 00", "argument 1: at byte 7: expected null, the message has bool"),
        ("bool", "00 01 7e 02", "byte 7: byte 2 is not a bool"),
        ("bool", "00 01 7e", "byte 7: it ends too early"),
        ("nat", "00 01 7d 80", "ends within a number"),
        ("nat", "00 01 7c 01", "expected nat, the message has int"),
        ("nat64", "00 01 78 00 00", "ends within a nat64"),
        ("nat64", "00 01 7d 05", "expected nat64, the message has nat"),
        ("text", "00 01 71 07 'Motoko'", "7 bytes are announced, 6 are left"),
        ("text", "00 01 71 03 e2 28 a1", "not UTF-8"),
        ("reserved", "00 01 71 03 e2 28 a1", "not UTF-8"),
        ("empty", "00 01 6f", "type empty has no values"),
        ("principal", "00 01 68 00", "opaque references"),
        ("principal", "00 01 68 01 1e" + "00" * 30, "a principal of 30 bytes"),
        ("opt int", "01 6e 7c 01 00 02 2a", "byte 2 does not begin an option"),
        ("opt nat", "01 6e 7e 01 00 01 02", "byte 2 is not a bool"),  # malformed, not merely another type
        ("vec int", "01 6d 7c 01 00 02 01", "2 elements are announced"),
        ("vec bool", "01 6d 7e 01 00 80 94 eb dc 03 00", "1000000000 elements are announced"),
        ("vec nat64", "01 6d 78 01 00 80 94 eb dc 03 00", "8000000000 bytes are announced"),
        ("record { 2 : int }", "01 6c 01 01 7c 01 00 2a", "field 2 is missing"),
        ("record {}", "01 6c 02 00 7c 00 7e 01 00 2a 01", "ids must ascend"),
        ("record {}", "01 6c 02 01 7c 00 7e 01 00 2a 01", "ids must ascend"),
        ("record {}", "01 6c 01 80 e4 97 d0 12 7c 01 00 2a", "below 2\\^32"),
        ("Loop", "01 6c 01 00 00 01 00", "nested too deeply"),
        ("reserved", "01 6c 01 00 00 01 00", "nested too deeply"),
        ("variant { 0 }", "01 6b 01 00 7f 01 00 01", "tag number 1 of a variant with 1 tags"),
        ("variant { 1 }", "01 6b 01 00 7f 01 00 00", "the message has variant tag 0"),
        ("service { f : () -> () }", "01 69 00 01 00 01 00", "expected service"),
        ("func (text) -> (nat)", "01 6a 00 00 00 01 00 01 01 00 00", "expected func"),
        ("func () -> () query", "01 6a 00 00 00 01 00 01 01 00 00", "expected func"),
        ("reserved", "01 6a 00 00 01 09 01 00 01 01 00 00", "9 is not a function annotation"),
        ("reserved", "02 6e 7e 69 01 01 'f' 00 01 01 01 00", "method 'f' is not a function"),
        ("reserved", "02 6a 00 00 00 69 02 01 'g' 00 01 'f' 00 01 01 01 00", "method names must ascend"),
    ],
)
def test_refuses(types: str, data: str, why: str) -> None:
    with pytest.raises(CandidError, match=why):
        candid.decode(types_of(types), message("'DIDL'" + data))


def test_refuses_what_is_not_candid() -> None:
    for data in (b"", b"DADL\0\0", b"DID"):
        with pytest.raises(CandidError, match="does not begin with DIDL"):
            candid.decode([], data)


def test_every_truncation_is_refused() -> None:
    types = types_of("record { a : nat; b : opt vec text; c : principal; d : variant { x : blob } }, List")
    whole = candid.encode(
        types, [{"a": 300, "b": ["x", "yz"], "c": b"\1\2", "d": {"x": b"abc"}}, {"head": 1, "tail": None}]
    )
    for length in range(len(whole)):
        with pytest.raises(CandidError):
            candid.decode(types, whole[:length])


@pytest.mark.parametrize("types", ["", "reserved", "opt nat", "vec opt nat"])
@pytest.mark.parametrize(
    "data",
    [
        "01 6d 7f 01 00 80 94 eb dc 03",  # vec null, a billion
        "01 6d 70 01 00 80 94 eb dc 03",  # vec reserved
        "02 6d 01 6c 00 01 00 80 ad e2 04",  # vec record {}, ten million
        "02 6d 01 6d 7f 01 00 05 ff ff 3f ff ff 3f ff ff 3f ff ff 3f ff ff 3f",  # vec vec null, five times a million
    ],
)
def test_few_bytes_cannot_ask_for_much_work(types: str, data: str) -> None:
    with pytest.raises(CandidError, match="more values than its"):
        candid.decode(types_of(types), message("'DIDL'" + data))


def test_types_that_double_at_every_level() -> None:
    pairs = b"".join(bytes([0x6C, 2, 0, level + 1, 1, level + 1]) for level in range(40))
    bomb = b"DIDL" + bytes([41]) + pairs + b"\x6c\0" + b"\1\0"
    with pytest.raises(CandidError, match="more values than its"):
        candid.decode([candid.RESERVED], bomb)


def test_deep_nesting_is_an_error_not_a_crash() -> None:
    tree = b"DIDL\1\x6d\0\1\0" + b"\1" * 100_000 + b"\0"
    with pytest.raises(CandidError, match="nested too deeply"):
        candid.decode(types_of("Tree"), tree)
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(CandidError, match="nested too deeply"):
        candid.encode(types_of("Tree"), [value])


def test_long_numbers() -> None:
    numbers = [
        sign * (1 << bits) + less
        for bits in (6, 7, 13, 14, 55, 56, 57, 63, 64, 4000)
        for sign in (1, -1)
        for less in (0, -1)
    ]
    types = [candid.Vec(candid.INT)]
    assert candid.decode(types, candid.encode(types, [numbers])) == [numbers]
    naturals = [number for number in numbers if number >= 0]
    assert candid.decode([candid.Vec(candid.NAT)], candid.encode([candid.Vec(candid.NAT)], [naturals])) == [naturals]


@pytest.mark.parametrize("before", ["", "\0", "\0\1\x71", "\1\x6d\x7b\1\0", "\1\x6c", "\1\x69\1", "\1", "\0\1\x68\1"])
def test_a_length_of_thousands_of_digits_is_refused(before: str) -> None:
    with pytest.raises(CandidError, match="at most 64 are accepted"):
        candid.decode(None, b"DIDL" + before.encode() + b"\xff" * 5000 + b"\1")


def test_a_mismatch_between_long_types_is_told_briefly() -> None:
    many = candid.record({f"field{n}": candid.NAT for n in range(5000)})
    data = candid.encode([many], [{f"field{n}": n for n in range(5000)}])
    with pytest.raises(CandidError) as failed:
        candid.decode([candid.variant({f"tag{n}": candid.TEXT for n in range(5000)})], data)
    assert len(str(failed.value)) < 1000


def test_without_types_fields_have_numbers() -> None:
    types = types_of("record { foo : nat; 7 : opt text }, variant { Ok : blob }, record { nat; text }")
    data = candid.encode(types, [{"foo": 1, 7: "x"}, {"Ok": b"\1"}, (5, "five")])
    foo, ok = candid.field_hash("foo"), candid.field_hash("Ok")
    assert candid.decode(None, data) == [{foo: 1, 7: "x"}, {ok: b"\1"}, (5, "five")]


def test_records_keep_the_declared_order() -> None:
    types = types_of("record { zebra : nat; apple : nat; mango : nat }")
    (value,) = candid.decode(types, candid.encode(types, [{"apple": 1, "mango": 2, "zebra": 3}]))
    assert list(value) == ["zebra", "apple", "mango"]


def test_field_hash() -> None:
    assert candid.field_hash("foo") == 5_097_222
    assert candid.field_hash("\u2603") == 11_272_781


def test_accepted_forms() -> None:
    text = "rrkah-fqaaa-aaaaa-aaaaq-cai"
    octets = bytes.fromhex("00000000000000010101")
    types = types_of("principal, principal, principal, blob, blob, vec nat, variant { On; Off }, float64")
    values = [text, octets, Principal.from_str(text), bytearray(b"ab"), [97, 98], range(2), "On", 3]
    assert candid.decode(types, candid.encode(types, values)) == [
        octets,
        octets,
        octets,
        b"ab",
        b"ab",
        [0, 1],
        {"On": None},
        3.0,
    ]


def test_principals_become_what_the_caller_wants() -> None:
    types = types_of("vec principal, func () -> (), service {}")
    data = candid.encode(types, [[b"\4"], (b"", "f"), b"\4"])
    values = candid.decode(types, data, principal=lambda octets: Principal(octets).to_str())
    assert values == [["2vxsx-fae"], ("aaaaa-aa", "f"), "2vxsx-fae"]


@pytest.mark.parametrize(
    ("types", "values", "error"),
    [
        ("nat", [-1], "argument 1: expected nat, got int -1"),
        ("nat", [True], "argument 1: expected nat, got bool True"),
        ("nat", ["1"], "argument 1: expected nat, got str '1'"),
        ("text, nat8", ["", 256], "argument 2: expected nat8, got int 256"),
        ("nat8", [10**5000], "expected nat8, got int of 16610 bits"),
        ("nat", [[10**5000]], "expected nat, got list \\(not printable\\)"),
        ("nat64", [1.0], "expected nat64, got float 1.0"),
        ("float32", [1e300], "too large for float32"),
        ("bool", [1], "expected bool, got int 1"),
        ("text", [b"x"], "expected text, got bytes b'x'"),
        ("text", ["\ud800"], "no UTF-8 form"),
        ("text", [None], "expected text, got null"),
        ("null", [0], "expected null, got int 0"),
        ("empty", [None], "type empty has no values"),
        ("blob", ["text"], "expected bytes, got str 'text'"),
        ("blob", [[1, 300]], "expected bytes, got list"),
        ("principal", [bytes(30)], "at most 29 bytes, got 30"),
        ("principal", ["aaaaa-aaa"], "'aaaaa-aaa' is not a principal"),
        ("vec nat", ["abc"], "expected vec nat, got str 'abc'"),
        ("vec nat32", [[1, 2, -3]], "argument 1 \\[2\\]: expected nat32, got int -3"),
        ("vec nat32", [[1, True]], "argument 1 \\[1\\]: expected nat32, got bool"),
        ("opt opt nat", [5], "expected opt opt nat as None or a one-tuple, got int 5"),
        ("record { a : nat }", [{}], "argument 1 .a: the field is missing"),
        ("record { a : nat }", [{"a": 1, "b": 2}], "unknown field 'b'; the fields are a"),
        ("record { nat; nat }", [(1,)], "expected 2 values, got 1"),
        ("record { nat; nat }", [(1, "x")], "argument 1 .1: expected nat, got str 'x'"),
        ("variant { Ok; Err : text }", [{"Er": "x"}], "unknown tag 'Er'; the tags are Ok, Err"),
        ("variant { Ok; Err : text }", ["Err"], "argument 1 .Err: expected text, got null"),
        ("variant { Ok; Err : text }", [{}], "a dict with one of the keys Ok, Err"),
        ("func () -> ()", ["f"], "func as \\(principal, method name\\)"),
        (
            "text, record { settings : opt record { controllers : vec principal } }",
            ["", {"settings": {"controllers": [b"", b"\4", 5]}}],
            "argument 2 .settings.controllers\\[2\\]: expected principal, got int 5",
        ),
        ("nat, text", [1], "2 arguments are expected \\(nat, text\\), 1 are given"),
    ],
)
def test_encoding_errors_name_the_place(types: str, values: list[Any], error: str) -> None:
    with pytest.raises(CandidError, match=error):
        candid.encode(types_of(types), values)


def test_two_megabytes_of_bytes() -> None:
    types = types_of("record { filename : text; chunk : blob; offset : nat64 }")
    value = {"filename": "model.gguf", "chunk": bytes(range(256)) * 8000, "offset": 7}
    assert candid.decode(types, candid.encode(types, [value])) == [value]


def test_icp_py_core_agrees() -> None:
    theirs = icp_candid.Types
    their_type = theirs.Record(
        {
            "name": theirs.Text,
            "size": theirs.Nat64,
            "big": theirs.Nat,
            "chunk": theirs.Vec(theirs.Nat8),
            "tags": theirs.Vec(theirs.Text),
            "parent": theirs.Opt(theirs.Int),
            "status": theirs.Variant({"Ok": theirs.Null, "Err": theirs.Text}),
        }
    )
    types = types_of(
        "record { name : text; size : nat64; big : nat; chunk : blob; tags : vec text; parent : opt int;"
        " status : variant { Ok; Err : text } }"
    )
    value = {
        "name": "n",
        "size": 9,
        "big": 10**30,
        "chunk": b"\0\xff",
        "tags": ["a", "b"],
        "parent": -5,
        "status": {"Err": "e"},
    }
    theirs_bytes = icp_candid.encode([{"type": their_type, "value": {**value, "parent": [-5]}}])
    assert candid.decode(types, theirs_bytes) == [value]
    (decoded,) = icp_candid.decode(candid.encode(types, [value]), [their_type])
    assert bytes(decoded["value"]["chunk"]) == value["chunk"]
    assert decoded["value"]["big"] == value["big"]
    assert decoded["value"]["status"] == {"Err": "e"}


@pytest.mark.parametrize(
    ("sub", "sup", "holds"),
    [
        ("nat", "int", True),
        ("int", "nat", False),
        ("text", "reserved", True),
        ("empty", "text", True),
        ("text", "opt nat", True),
        ("record { a : nat; b : nat }", "record { a : int }", True),
        ("record {}", "record { a : opt nat }", True),
        ("record {}", "record { a : nat }", False),
        ("variant { a }", "variant { a; b }", True),
        ("variant { a; b }", "variant { a }", False),
        ("vec nat", "vec text", False),
        ("func (text) -> (nat)", "func (text, opt text) -> ()", True),
        ("func (int) -> (nat)", "func (nat) -> (int)", True),
        ("func () -> ()", "func () -> () query", False),
        ("service { f : () -> (); g : () -> () }", "service { f : () -> () }", True),
        ("service {}", "service { f : () -> () }", False),
        ("service {}", "principal", True),
        ("List", "List", True),
        ("List", "opt record { head : int; tail : opt empty }", True),
        ("Chain", "variant { nil; cons : record { head : int; tail : Chain } }", True),
    ],
)
def test_subtyping(sub: str, sup: str, holds: bool) -> None:
    types = types_of(f"{sub}, {sup}")
    assert candid.is_subtype(types[0], types[1]) is holds


def test_types_print_as_candid() -> None:
    text = (
        'record { name : text; "opt" : opt nat; 3 : vec blob; pair : record { nat; int }; v : variant { A; B : null } }'
    )
    (type_,) = types_of(text)
    assert str(type_) == text.replace("B : null", "B")
    assert types_of(str(type_)) == (type_,)


def test_floats_keep_their_bits() -> None:
    types = types_of("float64, float32")
    nan, infinity = candid.decode(
        types, candid.encode(types, [struct.unpack("<d", b"\1" * 6 + b"\xf0\x7f")[0], float("inf")])
    )
    assert nan != nan
    assert infinity == float("inf")


def test_a_type_defined_only_as_itself() -> None:
    rec = candid.Rec("A")
    rec.define(rec)
    with pytest.raises(CandidError, match="type A is only defined as itself"):
        candid.encode([rec], [1])
    with pytest.raises(CandidError, match="type B is not defined"):
        candid.encode([candid.Rec("B")], [1])


def test_constructors() -> None:
    tree = candid.Rec("Tree")
    tree.define(candid.variant({"leaf": candid.NAT, "fork": candid.record([tree, tree])}))
    value = {"fork": ({"leaf": 1}, {"fork": ({"leaf": 2}, {"leaf": 3})})}
    assert candid.decode([tree], candid.encode([tree], [value])) == [value]
    assert candid.variant(["A", "B"]) == types_of("variant { A; B }")[0]
    with pytest.raises(CandidError, match="have the same id"):
        candid.record({5_097_222: candid.NAT, "foo": candid.NAT})
