"""Rejections: the texts and codes that users and calling canisters read."""

from __future__ import annotations

import pytest

from mainer_nb.localnet.errors import Reject, RejectCode
from mainer_nb.localnet.rejections import advice
from mainer_nb.localnet.state import CanisterStatus
from mainer_nb.protocol import principal
from tests.localnet import universal as u
from tests.localnet.driver import REINSTALL, Driver
from tests.localnet.outcomes import replied

HANDLE = (
    "Consider gracefully handling failures from this canister or altering the canister to handle exceptions."
    " See documentation: https://docs.internetcomputer.org/references/execution-errors#"
)


@pytest.fixture
def caller(ic: Driver) -> bytes:
    return ic.create(u.universal(), arg=b"")


@pytest.fixture
def callee(ic: Driver) -> bytes:
    return ic.create(u.universal(), arg=b"")


def _told(ic: Driver, caller: bytes, callee: bytes, payload: bytes = b"", method: str = "update") -> tuple[int, str]:
    """Reject code and text that a canister reads of a call that it makes."""
    return u.rejected(replied(ic.update(caller, "update", u.call(callee, method, payload))))


def _told_in_composite(ic: Driver, caller: bytes, callee: bytes, payload: bytes, method: str) -> tuple[int, str]:
    return u.rejected(replied(ic.query(caller, "composite_query", u.call(callee, method, payload))))


@pytest.mark.parametrize(
    ("payload", "method", "code", "text"),
    [
        (
            u.trap("ouch"),
            "update",
            "IC0503",
            f"Canister called `ic0.trap` with message: 'ouch'.\n{HANDLE}trapped-explicitly",
        ),
        (
            u.api("stable64_read", 1024, 0, 1),
            "update",
            "IC0502",
            f"Canister trapped: stable memory out of bounds.\n{HANDLE}trapped",
        ),
        (
            u.reply() + u.reply(),
            "update",
            "IC0504",
            "Canister violated contract: ic0.msg_reply: the call is already replied",
        ),
        (b"", "nowhere", "IC0536", f"Canister has no update method 'nowhere'..\n{advice('method-not-found')}"),
    ],
    ids=["trap", "wasm trap", "violation", "no method"],
)
def test_what_the_callee_does_wrong_is_told_with_error_code_to_canisters_and_beside_it_to_users(
    ic: Driver, caller: bytes, callee: bytes, payload: bytes, method: str, code: str, text: str
) -> None:
    """canisters read the error code of a callee's failure in the text, users read it in a field of its own"""
    described = f"Error from Canister {principal.to_text(callee)}: {text}"
    seen, message = _told(ic, caller, callee, payload, method)
    assert seen == 5
    assert message.startswith(f"{code}: {described}")
    outcome = ic.update(callee, method, payload)
    assert isinstance(outcome, Reject)
    assert (outcome.code, outcome.error_code) == (5, code)
    assert message == f"{code}: {outcome.message}"


def test_in_a_composite_query_the_error_code_is_not_told(ic: Driver, caller: bytes, callee: bytes) -> None:
    """callbacks of a composite query are not told the error code of a rejection"""
    name = principal.to_text(callee)
    text = f"Error from Canister {name}: Canister called `ic0.trap` with message: 'ouch'.\n{HANDLE}trapped-explicitly"
    assert _told_in_composite(ic, caller, callee, u.trap("ouch"), "query") == (5, text)
    assert _told_in_composite(ic, caller, callee, b"", "query") == (5, f"Canister {name} did not produce a response")


def test_a_composite_query_in_replicated_mode(ic: Driver, caller: bytes, callee: bytes) -> None:
    """a composite query that is called as an update is rejected with IC0527"""
    text = "Composite query cannot be called in replicated mode"
    assert _told(ic, caller, callee, u.reply(), "composite_query") == (5, f"IC0527: {text}")
    assert ic.update(callee, "composite_query", u.reply()) == Reject(RejectCode.CANISTER_ERROR, text, "IC0527")


def test_silence_is_told_to_canisters_without_error_code(ic: Driver, caller: bytes, callee: bytes) -> None:
    """a callee that does not respond is told to canisters without an error code"""
    name = principal.to_text(callee)
    for method in ("update", "query"):
        assert _told(ic, caller, callee, b"", method) == (5, "No response")
        told = ic.update(callee, method, b"")
        assert isinstance(told, Reject)
        assert (told.message, told.error_code) == (f"Canister {name} did not reply to the call", "IC0506")
    assert ic.query(callee, "query", b"") == Reject(
        RejectCode.CANISTER_ERROR, f"Canister {name} did not produce a response", "IC0506"
    )


def test_a_missing_callee_is_told_without_error_code(ic: Driver, caller: bytes) -> None:
    """a callee that does not exist is told to canisters without an error code"""
    missing, nobody = principal.canister_id(1000), principal.self_authenticating(b"no canister")
    assert _told(ic, caller, missing) == (3, f"Canister {principal.to_text(missing)} not found")
    assert _told(ic, caller, nobody) == (3, f"No route to canister {principal.to_text(nobody)}")


@pytest.mark.parametrize("method", ["update", "query"])
def test_a_stopped_callee_is_told_without_error_code(ic: Driver, caller: bytes, callee: bytes, method: str) -> None:
    """a callee that is stopped is told to canisters without an error code"""
    ic.manage("stop_canister", {"canister_id": callee})
    name = principal.to_text(callee)
    assert _told(ic, caller, callee, u.reply(), method) == (5, f"Canister {name} is stopped")
    outcome = ic.update(callee, method, u.reply())
    assert isinstance(outcome, Reject)
    assert (outcome.message, outcome.error_code) == (f"Canister {name} is stopped", "IC0508")


def test_a_query_of_a_stopped_canister(ic: Driver, callee: bytes) -> None:
    """a query to a stopped canister is rejected with IC0508, to a stopping canister with IC0509"""
    ic.manage("stop_canister", {"canister_id": callee})
    text = f"Canister {principal.to_text(callee)} is stopped and therefore does not have a CallContextManager"
    assert ic.query(callee, "query", u.reply()) == Reject(RejectCode.CANISTER_ERROR, text, "IC0508")


def test_a_callee_that_stops_before_the_call_is_executed(ic: Driver, caller: bytes, callee: bytes) -> None:
    """a call is rejected when its callee stops before it is executed"""
    ic.hold(callee)
    request = ic.submit(caller, "update", u.call(callee, "update", u.reply()))
    assert isinstance(request, bytes)
    assert ic.network.scheduler.wait_until_idle(30)
    with ic.network.subnet.lock:
        ic.network.subnet.canisters[callee].state.status = CanisterStatus.STOPPED
    ic.go_on(callee)
    told = u.rejected(replied(ic.response(request)))
    assert told == (5, f"IC0508: Canister {principal.to_text(callee)} is not running")


def test_a_callee_without_code(ic: Driver, caller: bytes) -> None:
    """a call to a canister without code is rejected with IC0537"""
    empty = ic.create()
    text = (
        f"Error from Canister {principal.to_text(empty)}: Attempted to execute a message, but the canister contains no"
        f" Wasm module..\n{advice('wasm-module-not-found')}"
    )
    assert _told(ic, caller, empty) == (5, f"IC0537: {text}")
    assert ic.update(empty, "update") == Reject(RejectCode.CANISTER_ERROR, text, "IC0537")


def test_a_callee_that_is_uninstalled_while_it_is_called(ic: Driver, caller: bytes, callee: bytes) -> None:
    """a call whose callee is uninstalled meanwhile is rejected, and its caller is told so"""
    held = ic.create(u.universal(), arg=b"")
    ic.hold(held)
    request = ic.submit(caller, "update", u.call(callee, "update", u.call(held, "update", u.reply())))
    assert isinstance(request, bytes)
    assert ic.network.scheduler.wait_until_idle(30)
    ic.manage("uninstall_code", {"canister_id": callee})
    assert u.rejected(replied(ic.response(request))) == (4, "Canister has been uninstalled.")
    ic.go_on(held)
    assert ic.install(callee, u.universal(), REINSTALL, b"") is None


def test_a_rejection_of_the_management_canister(ic: Driver, caller: bytes, callee: bytes) -> None:
    """a rejection of the management canister is told to canisters and users in the same words"""
    payload = b"not candid"
    code, text = _told(ic, caller, principal.MANAGEMENT, payload, "canister_status")
    assert code == 4
    assert text.startswith("IC0408: Error decoding candid: ")
    told = _told(ic, caller, principal.MANAGEMENT, payload, "make_coffee")
    assert told == (5, "IC0536: Management canister has no method 'make_coffee'")


def test_a_cleanup_that_traps_too(ic: Driver, caller: bytes, callee: bytes) -> None:
    """the rejection after a trap in a callback and in its cleanup names both traps"""
    options = {"on_reply": u.trap("first"), "on_cleanup": u.trap("second")}
    text = (
        f"Error from Canister {principal.to_text(caller)}: Canister called `ic0.trap` with message: 'first'\n\n"
        "call_on_cleanup also failed:\n\nCanister called `ic0.trap` with message: 'second'"
    )
    assert ic.update(caller, "update", u.call(callee, "update", u.reply(), **options)) == Reject(
        RejectCode.CANISTER_ERROR, text, "IC0503"
    )
    outcome = ic.query(caller, "composite_query", u.call(callee, "query", u.reply(), **options))
    assert outcome == Reject(RejectCode.CANISTER_ERROR, text, "IC0503")


def test_a_long_text_is_shortened_in_the_middle_for_canisters(ic: Driver, caller: bytes, callee: bytes) -> None:
    """a long text of a rejection is shortened in the middle for canisters"""
    long = b"<" + b"x" * 9000 + b">"
    code, text = _told(ic, caller, callee, u.api("msg_reject", u.blob(long)))
    assert (code, len(text)) == (4, 8 * 1024)
    assert (text[0], text[-1], text[6141:6144]) == ("<", ">", "...")
    outcome = ic.update(callee, "update", u.api("msg_reject", u.blob(long)))
    assert isinstance(outcome, Reject)
    assert outcome.message == long.decode()
