"""Management canister: settings about who sees what, and about the cycles of incoming calls."""

from __future__ import annotations

from typing import Any

import pytest

from mainer_nb.localnet.errors import Reject
from tests.localnet import universal as u
from tests.localnet.driver import ALICE, BOB, Driver
from tests.localnet.outcomes import rejected, replied


@pytest.fixture
def canister(ic: Driver) -> bytes:
    return ic.create(u.universal(), arg=b"")


def _set(ic: Driver, canister: bytes, **settings: Any) -> Any:
    return ic.manage("update_settings", {"canister_id": canister, "settings": settings})


@pytest.mark.parametrize(
    ("setting", "method"),
    [("status_visibility", "canister_status"), ("snapshot_visibility", "list_canister_snapshots")],
)
def test_controllers_decide_who_sees_status_and_snapshots(
    ic: Driver, canister: bytes, setting: str, method: str
) -> None:
    """status_visibility and snapshot_visibility let others than controllers see the status, or the snapshots"""
    arg = {"canister_id": canister}
    for visibility, seen in (
        ({"controllers": None}, False),
        ({"public": None}, True),
        ({"allowed_viewers": [ALICE]}, False),
        ({"allowed_viewers": [BOB]}, True),
    ):
        assert _set(ic, canister, **{setting: visibility}) is None
        assert isinstance(ic.manage(method, arg, BOB), Reject) is not seen
        assert not isinstance(ic.manage(method, arg, ALICE), Reject)


@pytest.mark.parametrize("setting", ["log_visibility", "status_visibility", "snapshot_visibility"])
def test_at_most_ten_viewers_are_allowed(ic: Driver, canister: bytes, setting: str) -> None:
    """at most ten principals may be allowed to view each of log, status and snapshots"""
    rejected(_set(ic, canister, **{setting: {"allowed_viewers": [BOB] * 11}}), "", "allowed_viewers")


def test_calls_of_other_canisters_bring_the_minimum_of_cycles(ic: Driver, canister: bytes) -> None:
    """a call of another canister with less than minimum_incoming_canister_call_cycles is rejected; others are not"""
    assert _set(ic, canister, minimum_incoming_canister_call_cycles=1000) is None
    other = ic.create(u.universal(), arg=b"")
    code, text = u.rejected(replied(ic.update(other, "update", u.call(canister, "update", u.reply(), cycles=999))))
    assert code == 5
    assert "1000 cycles, not 999" in text
    paid = u.call(canister, "update", u.reply(u.blob(b"served")), cycles=1000)
    assert replied(ic.update(other, "update", paid)) == b"served"
    assert replied(ic.update(canister, "update", u.call(canister, "update", u.reply(u.blob(b"own"))))) == b"own"
    assert replied(ic.update(canister, "update", u.reply(u.blob(b"ingress")))) == b"ingress"
