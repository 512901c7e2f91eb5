"""The proxy: what is wrong with a call is said before anything is sent."""

from __future__ import annotations

from pathlib import Path

import ic
import pytest

from mainer_nb.agent import Agent, PrincipalLike, to_principal
from mainer_nb.canister import Canister, case
from mainer_nb.errors import ArgumentError, ArtifactMissing, ArtifactOutdated
from mainer_nb.identity import Identity
from mainer_nb.protocol import principal

INTERFACE = """
type Kind = variant { Own; ShareAgent; Other : text };
service : {
  create : (kind : Kind, owner : opt text) -> (variant { Ok : record { id : text }; Err : variant { Unauthorized } });
  health : () -> (record { status_code : nat16 }) query;
}
"""
ID = "rrkah-fqaaa-aaaaa-aaaaq-cai"


@pytest.fixture
def agent() -> Agent:
    return Agent(Identity(None, "anonymous"), "http://127.0.0.1:9")


def test_methods_are_listed_with_their_signatures(agent: Agent) -> None:
    canister = Canister(agent, ID, INTERFACE, "creator")
    assert {"create", "health"} <= set(dir(canister))
    assert canister.create.__name__ == "create"
    assert "Own" in (canister.create.__doc__ or "")
    assert "query" in (canister.health.__doc__ or "")


def test_an_unknown_method_lists_those_there_are(agent: Agent) -> None:
    with pytest.raises(AttributeError, match="creator has no method 'helth'; it has create, health"):
        _ = Canister(agent, ID, INTERFACE, "creator").helth


def test_an_interface_of_an_older_version_is_named_with_what_helps(agent: Agent, tmp_path: Path) -> None:
    path = tmp_path / "files" / "mainer_creator_canister.did"
    path.parent.mkdir()
    path.write_text(INTERFACE)
    creator = Canister(agent, ID, path, "creator")
    with pytest.raises(
        ArtifactOutdated, match=r"mainer_creator_canister\.did lacks the method registerMainers"
    ) as caught:
        _ = creator.registerMainers
    assert "mainer-nb init" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert not hasattr(creator, "registerMainers")
    with pytest.raises(AttributeError, match="creator has no method 'helth'; it has create, health"):
        _ = creator.helth


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("Own",), "2 arguments are expected"),
        (("Mine", None), "argument 1.*Mine"),
        (("Own", 3), "argument 2.*3"),
    ],
)
def test_a_wrong_argument_is_named(agent: Agent, arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        Canister(agent, ID, INTERFACE, "creator").create(*arguments)
    assert "creator.create" in str(caught.value)


@pytest.mark.parametrize("text", ["", "hello", "rrkah-fqaaa-aaaaa-aaaaq-caa", "RRKAH-FQAAA-AAAAA-AAAAQ-CAI", "äöü"])
def test_a_malformed_principal_is_named(agent: Agent, text: str) -> None:
    with pytest.raises(ArgumentError, match="id of creator") as caught:
        Canister(agent, text, INTERFACE, "creator")
    assert repr(text) in str(caught.value)


def test_principals_are_taken_in_every_form() -> None:
    octets = principal.from_text(ID)
    assert to_principal(ID) == to_principal(octets) == to_principal(ic.Principal.from_str(ID)) == octets


@pytest.mark.parametrize("value", [bytes(30), ic.Principal(bytes(30))])
def test_a_principal_of_too_many_bytes_is_refused(value: PrincipalLike) -> None:
    with pytest.raises(ArgumentError, match=r"controller: .* has 30 bytes"):
        to_principal(value, "controller")


def test_a_missing_or_wrong_interface_is_named(agent: Agent, tmp_path: Path) -> None:
    with pytest.raises(ArtifactMissing, match=r"nothing\.did"):
        Canister(agent, ID, tmp_path / "nothing.did")
    path = tmp_path / "wrong.did"
    path.write_text("service : {")
    with pytest.raises(ArgumentError, match=r"wrong\.did"):
        Canister(agent, ID, path)


def test_cases_of_variants() -> None:
    assert (case("Own"), case({"Own": None}), case({"Other": "x"})) == ("Own", "Own", "Other")
