"""What an upgrade of a service means to its clients: the rules of the Candid specification, with reasons in words."""

from __future__ import annotations

import pytest

from mainer_nb.protocol import candid, did
from mainer_nb.protocol.candid import ServiceChange

DEFINITIONS = """
type List = opt record { head : nat; tail : List };
type Chain = variant { nil; cons : record { head : nat; tail : Chain } };
type LongChain = variant { nil; cons : record { head : int; tail : LongChain }; more };
type Even = opt record { next : Odd };
type Odd = record { next : Even; mark : nat };
type OddOfText = record { next : EvenOfText; mark : text };
type EvenOfText = opt record { next : OddOfText };
"""


def service(methods: str) -> candid.Service:
    return did.parse(f"{DEFINITIONS} service : {{ {methods} }}").service


def change(new: str, old: str) -> ServiceChange:
    return candid.service_change(service(new), service(old))


def of_types(new: str, old: str) -> ServiceChange:
    """Of a service whose only method has a result of another type."""
    return change(f"f : () -> ({new})", f"f : () -> ({old})")


def of_arguments(new: str, old: str) -> ServiceChange:
    return change(f"f : ({new}) -> ()", f"f : ({old}) -> ()")


UNCHANGED = ServiceChange((), (), (), ())


@pytest.mark.parametrize(
    ("sub", "sup"),
    [
        ("nat", "nat"),
        ("nat", "int"),
        ("text", "reserved"),
        ("empty", "text"),
        ("empty", "record { a : nat }"),
        ("vec nat", "vec int"),
        ("blob", "vec nat8"),
        ("opt nat", "opt int"),
        ("nat", "opt nat"),
        ("nat", "opt int"),
        ("null", "opt nat"),
        ("reserved", "opt nat"),
        ("record { a : nat; b : text }", "record { a : int }"),
        ("record { a : nat }", "record { a : nat; b : opt text; d : reserved }"),
        ("record { nat; text }", "record { nat }"),
        ("variant { a }", "variant { a; b }"),
        ("variant { a : nat }", "variant { a : int }"),
        ("func (int, opt text) -> (nat, text)", "func (nat) -> (int)"),
        ("func () -> () query", "func () -> () query"),
        ("service { f : () -> (); g : () -> () }", "service { f : () -> () }"),
        ("service { f : () -> () }", "principal"),
        ("Chain", "LongChain"),
        ("Even", "opt record { next : Odd }"),
    ],
)
def test_what_can_stand_for_what(sub: str, sup: str) -> None:
    """Results may become subtypes, arguments supertypes."""
    assert of_types(sub, sup) == UNCHANGED
    assert of_arguments(sup, sub) == UNCHANGED


@pytest.mark.parametrize(
    ("new", "old", "reason"),
    [
        ("int", "nat", "f, result 1: int cannot stand for nat"),
        ("nat8", "nat16", "f, result 1: nat8 cannot stand for nat16"),
        ("nat32", "nat", "f, result 1: nat32 cannot stand for nat"),
        ("float32", "float64", "f, result 1: float32 cannot stand for float64"),
        ("reserved", "text", "f, result 1: reserved cannot stand for text"),
        ("text", "empty", "f, result 1: text cannot stand for empty"),
        ("opt nat", "nat", "f, result 1: opt nat cannot stand for nat"),
        ("null", "nat", "f, result 1: null cannot stand for nat"),
        ("vec int", "vec nat", "f, result 1: int cannot stand for nat"),
        ("principal", "service {}", "f, result 1: principal cannot stand for service {  }"),
        ("record {}", "record { a : nat }", "f, result 1: the field a : nat is missing"),
        ("record {}", "record { a : null }", "f, result 1: the field a : null is missing"),
        ("record { b : record { a : text } }", "record { b : record { a : nat } }", "f, result 1, field b, field a: "),
        ("record { a : nat }", "variant { a : nat }", "f, result 1: record { a : nat } cannot stand for variant"),
        ("variant { a; b }", "variant { a }", "f, result 1: the case b is not expected"),
        ("variant { a : text }", "variant { a }", "f, result 1, case a: text cannot stand for null"),
        ("func (nat) -> ()", "func (int) -> ()", "f, result 1, argument 1: int cannot stand for nat"),
        ("func () -> (int)", "func () -> (nat)", "f, result 1, result 1: int cannot stand for nat"),
        ("func () -> ()", "func () -> (nat)", "f, result 1, result 1: nat is missing"),
        ("func () -> () query", "func () -> ()", "f, result 1: a query cannot stand for an update"),
        ("service {}", "service { g : () -> () }", "f, result 1: the method g is missing"),
        ("service { g : (nat) -> () }", "service { g : (int) -> () }", "f, result 1, method g, argument 1: int"),
        ("LongChain", "Chain", "f, result 1, case cons, field head: int cannot stand for nat"),
        ("OddOfText", "Odd", "f, result 1, field mark: text cannot stand for nat"),
    ],
)
def test_why_a_result_breaks_its_readers(new: str, old: str, reason: str) -> None:
    (said,) = of_types(new, old).broken
    assert said.startswith(reason)
    assert not of_types(new, old).compatible


@pytest.mark.parametrize(
    ("new", "old", "reason"),
    [
        ("nat", "int", "f, argument 1: int cannot stand for nat"),
        ("nat, text", "nat", "f, argument 2: text is missing"),
        ("record { a : nat; b : nat }", "record { a : nat }", "f, argument 1: the field b : nat is missing"),
        ("variant { a }", "variant { a; b }", "f, argument 1: the case b is not expected"),
        (
            "record { v : variant { a } }",
            "record { v : variant { a; b } }",
            "f, argument 1, field v: the case b",
        ),
    ],
)
def test_why_an_argument_is_not_taken_any_more(new: str, old: str, reason: str) -> None:
    (said,) = of_arguments(new, old).broken
    assert said.startswith(reason)


@pytest.mark.parametrize(
    ("new", "old"),
    [
        ("nat, opt text", "nat"),
        ("nat", "nat, text"),
        ("record { a : nat; b : opt nat }", "record { a : nat }"),
        ("variant { a; b }", "variant { a }"),
        ("nat, reserved", "nat"),
        ("record { a : nat }", "record { a : nat; b : nat }"),
    ],
)
def test_what_may_be_added_to_arguments_and_left_out_of_them(new: str, old: str) -> None:
    assert of_arguments(new, old) == UNCHANGED


@pytest.mark.parametrize(
    ("new", "old", "reason"),
    [
        ("opt text", "opt nat", "f, result 1: text cannot stand for nat"),
        ("text", "opt nat", "f, result 1: text cannot stand for nat"),
        ("record { a : opt int }", "record { a : opt nat }", "f, result 1, field a: int cannot stand for nat"),
        ("EvenOfText", "Even", "f, result 1, field next, field mark: text cannot stand for nat"),
        ("List", "opt record { head : nat; tail : opt empty }", "f, result 1, field tail: record { head : nat"),
    ],
)
def test_what_is_read_as_null_is_said_and_breaks_nothing(new: str, old: str, reason: str) -> None:
    found = of_types(new, old)
    assert found.compatible
    assert found.broken == ()
    assert found.lossy[0].startswith(reason)


def test_methods_that_come_and_go() -> None:
    found = change("a : () -> (); c : () -> ()", "a : () -> (); b : () -> ()")
    assert found == ServiceChange(dropped=("b",), broken=(), lossy=(), added=("c",))
    assert not found.compatible
    assert change("a : () -> (); c : () -> ()", "a : () -> ()").compatible


def test_every_method_that_breaks_has_its_reason() -> None:
    found = change(
        "a : () -> (int); b : () -> () query; c : (nat) -> ()", "a : () -> (nat); b : () -> (); c : () -> ()"
    )
    assert found.broken == (
        "a, result 1: int cannot stand for nat",
        "b: a query cannot stand for an update",
        "c, argument 1: nat is missing",
    )


def test_a_comparison_that_fails_leaves_no_wrong_assumption_behind() -> None:
    """While (A, B) is compared it is assumed that A fits B. It does not; so what was found by that is not kept."""
    types = did.parse(
        "type A = record { link : opt_a; bad : text }; type opt_a = vec A;"
        "type B = record { link : opt_b; bad : nat }; type opt_b = vec B; service : {}"
    ).types
    compared: dict[tuple[int, int], tuple[str, ...] | None] = {}
    assert not candid.is_subtype(types["A"], types["B"], compared)
    assert not candid.is_subtype(types["opt_a"], types["opt_b"], compared)


def test_long_types_are_cut_in_reasons() -> None:
    wide = "record { " + "; ".join(f"field_{number} : nat" for number in range(100)) + " }"
    (said,) = of_types("text", wide).broken
    assert len(said) < 150


def test_every_interface_is_a_subtype_of_itself() -> None:
    text = f"{DEFINITIONS} service : {{ f : (List, Chain) -> (Even, opt func (Odd) -> () oneway) query }}"
    assert candid.service_change(did.parse(text).service, did.parse(text).service) == UNCHANGED
