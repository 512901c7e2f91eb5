"""Interface descriptions: grammar, names, errors with their place."""

import pytest

from mainer_nb.protocol import candid, did
from mainer_nb.protocol.did import DidError

EXAMPLE = """
// a comment, and /* another */ in it
/* nested /* comment */ with type Hidden = nat; */
type List = opt record { head : int; tail : List };
type Callback = func (blob) -> () oneway;
type Result = variant { Ok : nat; Err : Error };
type Error = variant { Unauthorized; Other : text; "StatusCode" : nat16; 7 };
type Even = opt Odd; type Odd = opt Even;
service example : (owner : principal, opt text) -> {
  greet : (name : text, age : nat8) -> (text, when : int) query;
  "with spaces" : (record { 3 : nat; text; 0x10 : blob }) -> (Result);
  watch : Callback;
  "query" : (vec opt principal) -> (List) composite_query;
  other : (service { ping : () -> () }, Even) -> ();
};
"""


def test_the_whole_grammar() -> None:
    service = did.parse(EXAMPLE)
    assert list(service.methods) == ["greet", "with spaces", "watch", "query", "other"]
    assert service.init_args == (candid.PRINCIPAL, candid.Opt(candid.TEXT))
    assert set(service.types) == {"List", "Callback", "Result", "Error", "Even", "Odd"}

    greet = service.methods["greet"]
    assert greet.args == (candid.TEXT, candid.NAT8)
    assert greet.results == (candid.TEXT, candid.INT)
    assert greet.arg_names == ("name", "age")
    assert {name: method.mode for name, method in service.methods.items()} == {
        "greet": "query",
        "with spaces": "update",
        "watch": "oneway",
        "query": "composite_query",
        "other": "update",
    }
    (numbered,) = service.methods["with spaces"].args
    assert isinstance(numbered, candid.Record)
    assert [(field.label, field.type) for field in numbered.fields] == [
        (3, candid.NAT),
        (4, candid.TEXT),
        (16, candid.BLOB),
    ]
    assert service.types["Result"] == candid.variant(
        {
            "Ok": candid.NAT,
            "Err": candid.Variant(
                (
                    candid.Field("Unauthorized", candid.NULL),
                    candid.Field("Other", candid.TEXT),
                    candid.Field("StatusCode", candid.NAT16),
                    candid.Field(7, candid.NULL),
                )
            ),
        }
    )
    assert str(service.methods["watch"]) == "watch : (blob) -> () oneway"


def test_recursive_types_work_in_messages() -> None:
    service = did.parse(EXAMPLE)
    value = {"head": 1, "tail": {"head": 2, "tail": None}}
    types = service.methods["query"].results
    assert candid.decode(types, candid.encode(types, [value])) == [value]
    even = [service.types["Even"]]
    assert candid.decode(even, candid.encode(even, [((None,),)])) == [((None,),)]


def test_escapes_in_names() -> None:
    service = did.parse(r'service : { "a\"b\\c\n\u{2603}\41" : () -> () }')
    assert list(service.methods) == ['a"b\\c\n\u2603A']


def test_service_given_by_name() -> None:
    service = did.parse("type S = service { f : F }; type F = func (S) -> (); service : S")
    assert list(service.methods) == ["f"]
    assert isinstance(service.methods["f"].args[0], candid.Rec)


def test_only_types() -> None:
    service = did.parse("type A = record { b : B }; type B = nat;")
    assert service.methods == {}
    assert service.types["A"] == candid.record({"b": candid.NAT})
    assert did.parse("") == did.Interface({}, (), {})


def test_parse_type() -> None:
    assert did.parse_type("vec record { text; nat }") == candid.Vec(candid.record([candid.TEXT, candid.NAT]))
    with pytest.raises(DidError, match="expected the end, found nat"):
        did.parse_type("nat nat")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (
            "service : { f : (nat) -> nat }",
            "line 1, column 26: expected '\\(' before the types of arguments or results",
        ),
        ("service : {\n  f : (Missing) -> ()\n}", "line 2, column 8: unknown type Missing"),
        ("type A = B; type B = A;", "only defined as itself"),
        ("type A = nat; type A = text;", "column 20: type A is defined twice"),
        ("type nat = text;", "nat is a keyword"),
        ("type A nat;", "expected '=' after 'type A'"),
        ("type A = record { a : nat; a : text }", "the labels a and a have the same id 97"),
        ("type A = record { 97 : nat; a : text }", "the labels 97 and a have the same id 97"),
        ("type A = record { 4294967296 : nat }", "not below 2\\^32"),
        ("type A = record { a : nat b : nat }", "expected ';' or '}' in the record, found b"),
        ("type A = variant { nat : nat }", 'as a name it must be quoted: "nat"'),
        ("type A = record { a : nat", "expected ';' or '}' in the record, found the end"),
        ("type A = opt", "expected a type, found the end"),
        ("type A = query", "expected a type, found the keyword query"),
        ('import "other.did"; service : {}', "imports are not supported"),
        ("service : { f : () -> (nat) oneway }", "a oneway function has no results"),
        ("service : { f : () -> () query oneway }", "cannot be both query and oneway"),
        ("service : { f : () -> (); f : () -> () }", "method f is declared twice"),
        ("type N = nat; service : { f : N }", "the type of method f is not a function type"),
        ("type S = service { f : S }; service : S", "the type of method f is not a function type"),
        ("type N = nat; service : N", "N is not a service type"),
        ("service : { f : (a : nat, a : nat) -> () }", "two arguments are called a"),
        ("service : {}; type A = nat", "the service must come last"),
        ("service : { f : () -> () } /* open", "the comment that begins here has no end"),
        ("service : { f : (na#t) -> () }", "column 20: unexpected '#t\\) -> \\(\\) '"),
        ('service : { "a\\q" : () -> () }', "column 15: unknown escape"),
        ("nonsense", "expected 'type' or 'service', found nonsense"),
        ("type A = " + "opt " * 100_000 + "nat", "nested too deeply"),
    ],
)
def test_errors_say_where_and_why(text: str, error: str) -> None:
    with pytest.raises(DidError, match=error):
        did.parse(text)


def test_errors_name_the_source() -> None:
    with pytest.raises(DidError, match=r"^files/a\.did, line 1, column 1: "):
        did.parse("?", source="files/a.did")
