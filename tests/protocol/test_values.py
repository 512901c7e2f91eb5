"""Values as people write them: Candid text and JSON, read, printed, and both again for values of every shape."""

from __future__ import annotations

import json
import math
import random
import struct
from contextlib import suppress
from typing import Any

import pytest

from mainer_nb.protocol import candid, did, principal
from mainer_nb.protocol.candid import CandidError, json_form, printing, values

DEFINITIONS = (
    "type List = opt record { head : int; tail : List }; type Tree = variant { leaf; fork : record { Tree; Tree } };"
)


def types_of(text: str) -> tuple[candid.Type, ...]:
    return did.parse(f"{DEFINITIONS} service : {{ method : ({text}) -> () }}").methods["method"].args


#: types, text, what it stands for, how it is printed if that differs
READ: list[tuple[str, str, list[Any], str | None]] = [
    ("", "()", [], ""),
    ("nat", "( 1_234_567 )", [1234567], "(1_234_567 : nat)"),
    ("nat, int, int8", "(0x_2a, -42, +5,)".replace("_", ""), [42, -42, 5], "(42 : nat, -42 : int, 5 : int8)"),
    ("nat64", "(0xFFFF_ffff_ffff_ffff)", [2**64 - 1], "(18_446_744_073_709_551_615 : nat64)"),
    ("float64, float64", "(42., 1.5e-3)", [42.0, 0.0015], "(42.0 : float64, 0.0015 : float64)"),
    ("float64, float64", "(0x1.8p1, -1e21)", [3.0, -1e21], "(3.0 : float64, -1000000000000000000000.0 : float64)"),
    ("float32, float64", "(0.1, 3)", [0.1, 3.0], "(0.1 : float32, 3.0 : float64)"),
    ("nat8, float64", "(5 : nat8, (1 : float64))", [5, 1.0], "(5 : nat8, 1.0 : float64)"),
    ("int", "(5 : nat)", [5], "(5 : int)"),
    ("bool, null, reserved", "(true, null, vec { 1 })", [True, None, None], "(true, null : null, null : reserved)"),
    ("text", r'("\"\\\n\t\'\u{1F4_2a}\e2\98\83 ☃")', ["\"\\\n\t'\U0001f42a☃ ☃"], r"""("\"\\\n\t\'🐪☃ ☃")"""),
    ("text", '("two\nlines")', ["two\nlines"], r'("two\nlines")'),
    ("text", r'("\00\7f\u{200b}")', ["\0\x7f\u200b"], r'("\u{0}\u{7f}\u{200b}")'),
    ("principal", '(principal "aaaaa-aa")', [b""], ""),
    ("service {}, func () -> ()", '(service "aaaaa-aa", func "aaaaa-aa"."a b")', [b"", (b"", "a b")], ""),
    ("func () -> ()", '(func "aaaaa-aa".raw_rand)', [(b"", "raw_rand")], ""),
    ("blob", r'(blob "ab\00\ff")', [b"ab\0\xff"], r'(blob "\61\62\00\ff")'),
    ("blob", r'(blob "don\'t\n")', [b"don't\n"], r'(blob "don\27t\0a")'),
    ("blob, vec nat8", "(vec { 1; 2 }, vec {})", [b"\1\2", b""], r'(blob "\01\02", blob "")'),
    ("vec int", "(vec { 1; -2; })", [[1, -2]], "(vec { 1 : int; -2 : int })"),
    ("opt text, opt text", '(opt "x", null)', ["x", None], ""),
    ("opt nat, opt opt nat", "(opt 5, opt null)", [5, (None,)], "(opt (5 : nat), opt null)"),
    ("opt opt nat, opt null", "(opt opt 5, opt null)", [(5,), (None,)], "(opt opt (5 : nat), opt (null : null))"),
    ("nat, opt nat, opt nat", "(1, opt 2)", [1, 2, None], "(1 : nat, opt (2 : nat), null)"),
    ("record { nat; text }", '(record { 5; "x" })', [(5, "x")], '(record { 5 : nat; "x" })'),
    (
        "record { 0 : nat; 2 : text }",
        '(record { 5; 0x2 = "x" })',
        [{0: 5, 2: "x"}],
        '(record { 0 = 5 : nat; 2 = "x" })',
    ),
    ("record { nat; 7 : nat; nat }", "(record { 1; 7 = 2; 3 })", [{0: 1, 7: 2, 8: 3}], None),
    ('record { a : nat; "b c" : opt bool }', '(record { "a" = 1 })', [{"a": 1, "b c": None}], None),
    ("record { a : nat }", "(record { 97 = 1 })", [{"a": 1}], "(record { a = 1 : nat })"),
    ("record {}", "(record {})", [{}], ""),
    ("variant { Own; Share : text }", "(variant {Own})", [{"Own": None}], "(variant { Own })"),
    ("variant { Own; Share : text }", '(variant { "Share" = "x"; })', [{"Share": "x"}], '(variant { Share = "x" })'),
    ("variant { A : opt nat }", "(variant { A = opt 1 })", [{"A": 1}], "(variant { A = opt (1 : nat) })"),
    ("variant { 5 }", "(variant { 5 = null })", [{5: None}], "(variant { 5 })"),
    ("List", "(opt record { head = 1; tail = null })", [{"head": 1, "tail": None}], None),
    (
        "Tree",
        "(variant { fork = record { variant { leaf }; variant { leaf } } })",
        [{"fork": ({"leaf": None},) * 2}],
        "",
    ),
    ("nat", "/* a /* nested */ one */ (1) // the end", [1], "(1 : nat)"),
]


@pytest.mark.parametrize(("types", "text", "stands_for", "printed"), READ)
def test_text_is_read_and_printed(types: str, text: str, stands_for: list[Any], printed: str | None) -> None:
    expected = types_of(types)
    read = values.parse(expected, text)
    assert read == stands_for
    candid.encode(expected, read)
    shown = printing.show(expected, read)
    assert values.parse(expected, shown) == read
    if printed is not None:
        assert shown == (printed or text)


def test_floats_that_are_no_numbers_are_read_and_printed() -> None:
    types = types_of("float64, float64, float32")
    read = values.parse(types, "(inf, -inf, NaN)")
    assert read[:2] == [math.inf, -math.inf]
    assert math.isnan(read[2])
    assert printing.show(types, read) == "(inf : float64, -inf : float64, NaN : float32)"


def test_what_does_not_fit_a_line_has_a_line_for_each_part() -> None:
    types = types_of(
        "vec record { answer : text; seed : nat32; status : variant { Judged : record { score : nat } } }, nat"
    )
    answer = {"answer": "Paris, of course, which everybody knows", "seed": 7, "status": {"Judged": {"score": 1000}}}
    assert printing.show(types, [[answer], 5]) == "\n".join(
        (
            "(",
            "  vec {",
            "    record {",
            "      status = variant { Judged = record { score = 1_000 : nat } };",
            "      seed = 7 : nat32;",
            '      answer = "Paris, of course, which everybody knows";',
            "    };",
            "  },",
            "  5 : nat,",
            ")",
        )
    )


WRONG = [
    ("nat", "1", r"the value, line 1, column 1: expected '\(' before the values, found 1"),
    ("nat", "(1", r"column 3: expected ',' or '\)', found the end"),
    ("nat", "(1))", r"column 4: expected the end, found \)"),
    ("nat", "(1 2)", r"column 4: expected ',' or '\)', found 2"),
    ("nat", "(-1)", "column 2: -1 is not a nat"),
    ("nat8", "(256)", "256 is not a nat8, 0 to 255"),
    ("int8", "(-129)", "-129 is not a int8, -128 to 127"),
    ("nat", "(1.0)", "expected nat, found a number with a fraction"),
    ("nat", "(1__0)", "unexpected '1__0"),
    ("nat", "(- x)", "expected a number after the sign, found x"),
    ("float32", "(1e39)", r"1e\+39 is too large for float32"),
    ("float64", "(1e400)", "1e400 is too large for float64"),
    ("text", "(Paris)", 'expected a value, found Paris. A text is written in quotes: "Paris"'),
    ("text", '("Paris)', "column 2: the text that begins here has no end"),
    ("text", r'("a\q")', r"column 4: unknown escape \\q"),
    ("text", r'("\u{d800}")', "is not a character of Unicode"),
    ("text", r'("\u{110000}")', "is not a character of Unicode"),
    ("text", r'("\ff")', "the text is not UTF-8"),
    ("text", '(principal "aaaaa-aa")', "expected text, found a principal"),
    ("principal", '("aaaaa-aa")', "expected principal, found a text: write principal before it"),
    ("principal", '(principal "aaaaa")', "column 12: .*aaaaa"),
    ("principal", "(principal aaaaa-aa)", "expected a principal in quotes, found aaaaa"),
    ("opt text", '("x")', "expected opt text, found a text: write opt before it"),
    ("vec nat", r'(blob "a")', "expected vec nat, found a blob"),
    ("variant { Own; Share }", "(variant { Mine })", "unknown tag Mine; the tags are Own, Share"),
    ("variant { Own; Share }", "(variant { Own; Share })", "expected '}' after the variant, which has one tag"),
    ("variant { Own : text }", "(variant { Own })", "expected text, found null"),
    ("record { a : nat; b : opt nat }", "(record { b = opt 1 })", "column 2: the field a : nat is missing"),
    ("record { a : nat }", "(record { a = 1; c = 2 })", "unknown field c; the fields are a"),
    ("record { a : nat }", "(record { a = 1; 97 = 2 })", "the fields a and 97 have the same id 97"),
    ("nat", "(5 : nat8)", "expected nat, found a value of type nat8"),
    ("nat8", "(500 : nat8)", "500 is not a nat8"),
    ("nat", "(5 : natural)", "unknown type natural"),
    ("nat", "()", "column 3: a value of type nat is missing: 1 are expected"),
    ("nat", "(1, 2)", r"column 5: 1 arguments are expected \(nat\), 2 are given"),
    ("", "(1)", r"0 arguments are expected \(none\), 1 are given"),
    ("opt nat", "(" + "opt " * 100_000 + "1)", "the value is nested too deeply"),
    ("nat", "(" + "9" * 5000 + ")", "a number of 5000 digits is too long"),
    ("nat", "/* (1)", "the comment that begins here has no end"),
]


@pytest.mark.parametrize(("types", "text", "said"), WRONG)
def test_wrong_text_is_refused_with_its_place(types: str, text: str, said: str) -> None:
    with pytest.raises(CandidError, match=said):
        values.parse(types_of(types), text)


def test_what_is_missing_is_called_by_its_name() -> None:
    with pytest.raises(CandidError, match="a value of type text for controllerId is missing"):
        values.parse(types_of("text"), "()", names=["controllerId"])


JSON = [
    ("nat, nat64, nat32", [12345678901234567890, 1, 2], '["12345678901234567890", "1", 2]'),
    ("opt text, opt text, opt opt nat", ["x", None, (None,)], '[["x"], [], [[]]]'),
    ("opt vec nat8, opt null", [b"a", (None,)], "[[[97]], [null]]"),
    ("blob, principal", [b"\0\xff", b""], '[[0, 255], "aaaaa-aa"]'),
    ("variant { Own; Other : text }", [{"Own": None}], '[{"Own": null}]'),
    ("record { a : nat8; b : opt bool }", [{"a": 1, "b": None}], '[{"a": 1, "b": []}]'),
    ("record { nat8; text }", [(1, "x")], '[{"0": 1, "1": "x"}]'),
    ("float64, float32", [0.5, math.inf], '[0.5, "Infinity"]'),
    ("func () -> ()", [(b"", "f")], '[{"principal": "aaaaa-aa", "code": "f"}]'),
]


@pytest.mark.parametrize(("types", "given", "text"), JSON)
def test_json_is_written_as_dfx_does_and_read(types: str, given: list[Any], text: str) -> None:
    expected = types_of(types)
    written = [json_form.to_json(type_, value) for type_, value in zip(expected, given, strict=True)]
    assert written == json.loads(text)
    read = json_form.arguments_from_json(expected, written)
    assert candid.encode(expected, read) == candid.encode(expected, given)


@pytest.mark.parametrize(
    ("types", "text", "stands_for"),
    [
        ("variant { Own; Share }, opt text", '["Own", null]', ["Own", None]),
        ("opt text, opt nat", '["x", 5]', ["x", 5]),
        ("nat", "5", [5]),
        ("record { nat; text }", '[[1, "x"]]', [(1, "x")]),
        ("record { a : nat }, opt nat", '{"a": "1_000"}', [{"a": 1000}, None]),
        ("", "[]", []),
    ],
)
def test_json_is_also_read_as_people_write_it(types: str, text: str, stands_for: list[Any]) -> None:
    expected = types_of(types)
    read = json_form.arguments_from_json(expected, json.loads(text))
    assert candid.encode(expected, read) == candid.encode(expected, stands_for)


@pytest.mark.parametrize(
    ("types", "text", "said"),
    [
        ("nat", "[1, 2]", r"1 arguments are expected \(nat\), 2 are given.*\[\[…\]\]"),
        ("text, nat", '"x"', "2 arguments are expected"),
        ("nat", '["1.5"]', "argument 1: expected nat, digits only, got '1.5'"),
        ("nat8", "[256]", "argument 1: expected nat8"),
        ("vec nat", '[{"a": 1}]', "argument 1: expected vec nat, got an object"),
        ("record { a : vec nat8 }", '[{"a": [1, 300]}]', r"argument 1 \.a: expected bytes"),
        (
            "record { a : record { b : variant { X } } }",
            '[{"a": {"b": 5}}]',
            r"argument 1\.a\.b: expected variant .* a number",
        ),
        ("variant { Own }", '["Mine"]', "unknown tag 'Mine'; the tags are Own"),
        ("record { a : nat }", '[{"a": 1, "c": 2}]', "unknown field 'c'; the fields are a"),
        ("opt nat", "[[1, 2]]", r"expected opt nat as null, \[\] or a list of one, got 2 values"),
    ],
)
def test_wrong_json_is_refused_with_the_path_to_it(types: str, text: str, said: str) -> None:
    expected = types_of(types)
    with pytest.raises(CandidError, match=said):
        candid.encode(expected, json_form.arguments_from_json(expected, json.loads(text)))


class Chance(random.Random):
    """Random types, and random values of them."""

    def type(self, depth: int = 4) -> candid.Type:
        simple: list[candid.Type] = [type_ for type_ in candid.PRIMS.values() if type_ != candid.EMPTY]
        others: list[candid.Type] = [candid.Service(), candid.Func()]
        if depth == 0 or self.random() < 0.3:
            return self.choice([*simple, candid.BLOB, *others])
        match self.randrange(5):
            case 0:
                return candid.Opt(self.type(depth - 1))
            case 1:
                return candid.Vec(self.type(depth - 1))
            case 2:
                return candid.record([self.type(depth - 1) for _ in range(self.randrange(4))])
            case 3:
                return candid.record({label: self.type(depth - 1) for label in self.labels()})
        return candid.variant({label: self.type(depth - 1) for label in self.labels()})

    def labels(self) -> list[str | int]:
        found: set[str | int] = {
            "a",
            self.text() or "b",
            self.choice(sorted(candid.KEYWORDS)),
            self.randrange(1 << 32),
            self.randrange(3),
        }
        by_id = {candid.Field(label, candid.NULL).id: label for label in found}
        return self.sample(sorted(by_id.values(), key=str), self.randint(1, len(by_id)))

    def text(self) -> str:
        alphabet = "abc 'é☃\"\\\n\t\r\0\u0301\u200b\U0001f42a\ufeff"
        return "".join(self.choice(alphabet) for _ in range(self.randrange(8)))

    def value(self, type_: candid.Type) -> Any:
        match type_:
            case candid.Opt(of):
                present = self.value(of)
                wrapped = isinstance(of, candid.Opt) or of in (candid.NULL, candid.RESERVED)
                return self.choice([None, (present,) if wrapped else present])
            case candid.Vec(of):
                size = self.choice((0, 1, 3, 12))
                return self.randbytes(size) if of == candid.NAT8 else [self.value(of) for _ in range(size)]
            case candid.Record(fields):
                content = {field.label: self.value(field.type) for field in fields}
                labels = sorted(field.id for field in fields)
                in_order = bool(fields) and sorted(content, key=str) == [*range(len(labels))]
                return tuple(content[number] for number in range(len(labels))) if in_order else content
            case candid.Variant(fields):
                field = self.choice(fields)
                return {field.label: self.value(field.type)}
            case candid.Func():
                return self.randbytes(self.randrange(30)), self.text()
            case candid.Service():
                return self.randbytes(self.randrange(30))
            case candid.Prim():
                return self.primitive(type_)
        raise AssertionError(type_)

    def primitive(self, type_: candid.Prim) -> Any:
        match type_.name:
            case "null" | "reserved":
                return None
            case "bool":
                return self.choice([True, False])
            case "text":
                return self.text()
            case "principal":
                return self.randbytes(self.randrange(30))
            case "float64":
                return self.choice([0.0, -0.0, 1e300, 5e-324, math.inf, self.uniform(-1e9, 1e9)])
            case "float32":
                return struct.unpack("<f", struct.pack("<f", self.choice([0.1, 1e-45, 3e38, self.uniform(-1e9, 1e9)])))[
                    0
                ]
            case "nat":
                return self.getrandbits(self.choice((1, 8, 70)))
            case "int":
                return self.getrandbits(self.choice((1, 8, 70))) * self.choice((1, -1))
        kind, size = type_.name.rstrip("0123456789"), int(type_.name.lstrip("nati"))
        number = self.getrandbits(size)
        return number if kind == "nat" else number - (1 << size - 1)


@pytest.mark.parametrize("seed", range(300))
def test_what_is_printed_reads_as_the_same_bytes(seed: int) -> None:
    chance = Chance(seed)
    types = [chance.type() for _ in range(chance.randrange(4))]
    given = [chance.value(type_) for type_ in types]
    encoded = candid.encode(types, given)
    decoded = candid.decode(types, encoded, principal.to_text if seed % 2 else bytes)

    assert candid.encode(types, values.parse(types, printing.show(types, decoded))) == encoded
    as_json = json.dumps([json_form.to_json(type_, value) for type_, value in zip(types, decoded, strict=True)])
    assert candid.encode(types, json_form.arguments_from_json(types, json.loads(as_json))) == encoded


@pytest.mark.parametrize("seed", range(300))
def test_damaged_text_is_refused_or_read_never_anything_else(seed: int) -> None:
    chance = Chance(seed)
    types = [chance.type() for _ in range(2)]
    text = list(printing.show(types, [chance.value(type_) for type_ in types]))
    for _ in range(20):
        damaged = text.copy()
        at = chance.randrange(len(damaged))
        damaged[at : at + chance.randrange(3)] = chance.choice(
            [[], ["("], ["}"], ['"'], ["\\"], ["5"], [":"], ["opt "]]
        )
        with suppress(CandidError):
            candid.encode(types, values.parse(types, "".join(damaged)))
