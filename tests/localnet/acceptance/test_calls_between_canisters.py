"""Inter-canister calls: building them, their callbacks, their cycles, best-effort responses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from mainer_nb.localnet import execution
from mainer_nb.localnet.errors import Reject, RejectCode, Response
from mainer_nb.protocol import principal
from tests.localnet import universal as u
from tests.localnet.driver import REINSTALL, UPGRADE, Driver
from tests.localnet.outcomes import number, rejected, replied


@dataclass
class Pair:
    """A network, a canister that calls and one that is called."""

    ic: Driver
    caller: bytes
    callee: bytes

    def calls(self, payload: bytes = b"", method: str = "update", before: bytes = b"", **options: object) -> Response:
        """What the caller's user gets if it calls the callee with `payload`."""
        program = before + u.call(self.callee, method, payload, **options)
        return self.ic.update(self.caller, "update", program)

    def submits(self, payload: bytes = b"", **options: Any) -> bytes:
        """Like `calls`, but waits until the callee's turn, not for the outcome."""
        submitted = self.ic.submit(self.caller, "update", u.call(self.callee, "update", payload, **options))
        assert isinstance(submitted, bytes)
        assert self.ic.network.scheduler.wait_until_idle(30)
        return submitted

    def stored(self, address: int, canister: bytes | None = None) -> int:
        """The number at an address of the caller's heap."""
        return number(self.ic.query(canister or self.caller, "query", u.reply(u.i64(u.stored(address)))))


@pytest.fixture
def pair(ic: Driver) -> Pair:
    return Pair(ic, ic.create(u.universal(), arg=b""), ic.create(u.universal(), arg=b""))


# Calling.


def test_a_reply_reaches_the_reply_callback(pair: Pair) -> None:
    assert replied(pair.calls(u.reply(u.blob(b"back")))) == b"back"


def test_the_callee_sees_the_calling_canister(pair: Pair) -> None:
    assert replied(pair.calls(u.reply(u.caller()))) == pair.caller


def test_a_callback_sees_the_original_caller(pair: Pair) -> None:
    """a callback of an update sees who called the update, not who answers"""
    assert replied(pair.calls(u.reply(), on_reply=u.reply(u.caller()))) == pair.ic.user


def test_a_query_method_can_be_called(pair: Pair) -> None:
    """a canister can call a query method of another in an update; it is executed replicated"""
    assert replied(pair.calls(u.reply(u.blob(b"read")), method="query")) == b"read"


def test_a_composite_query_method_cannot_be_called_by_an_update(pair: Pair) -> None:
    code, text = u.rejected(replied(pair.calls(u.reply(), method="composite_query")))
    assert code == RejectCode.CANISTER_ERROR
    assert "replicated mode" in text


def test_a_composite_query_method_cannot_be_called_as_an_ingress_message(pair: Pair) -> None:
    rejected(pair.ic.update(pair.caller, "composite_query", u.reply()), "IC0527")


def test_a_rejection_by_the_callee_has_code_4(pair: Pair) -> None:
    """a call that the callee rejects with ic0.msg_reject is rejected with code 4"""
    assert u.rejected(replied(pair.calls(u.reject("not today")))) == (4, "not today")


def test_a_trap_of_the_callee_has_code_5(pair: Pair) -> None:
    """a call whose callee traps is rejected with code 5"""
    code, text = u.rejected(replied(pair.calls(u.trap("ouch"))))
    assert code == 5
    assert "'ouch'" in text


def test_a_callee_that_does_not_respond_has_code_5(pair: Pair) -> None:
    """a call whose callee returns without a response is rejected with code 5"""
    code, text = u.rejected(replied(pair.calls(u.store(1024, 1))))
    assert (code, text) == (5, "No response")


def test_a_missing_method_has_code_5(pair: Pair) -> None:
    """a call of a method that the callee does not have is rejected with code 5"""
    code, text = u.rejected(replied(pair.calls(method="nowhere")))
    assert code == 5
    assert "no update method 'nowhere'" in text


def test_a_missing_canister_has_code_3(pair: Pair) -> None:
    """a call to a canister that does not exist is rejected with code 3"""
    pair.callee = principal.canister_id(1000)
    assert u.rejected(replied(pair.calls(u.reply())))[0] == 3


def test_a_callee_without_code_has_code_5(pair: Pair) -> None:
    """a call to a canister without code is rejected with code 5"""
    pair.callee = pair.ic.create()
    assert u.rejected(replied(pair.calls(u.reply())))[0] == 5


def test_a_stopped_callee_has_code_5(pair: Pair) -> None:
    """a call to a stopped canister is rejected with code 5"""
    pair.ic.manage("stop_canister", {"canister_id": pair.callee})
    code, text = u.rejected(replied(pair.calls(u.reply())))
    assert code == 5
    assert "is stopped" in text


def test_a_canister_can_call_itself(pair: Pair) -> None:
    pair.callee = pair.caller
    assert replied(pair.calls(u.reply(u.blob(b"me")))) == b"me"


def test_several_calls_of_a_message_are_all_made(pair: Pair) -> None:
    """a message can make several calls, and all of them are made"""
    note = u.store(1024, u.basic("add", u.stored(1024), 1))
    calls = u.call(pair.callee, "update", u.reply(), on_reply=note) * 5
    assert replied(pair.ic.update(pair.caller, "update", calls + u.reply())) == b""
    pair.ic.tick()
    assert pair.stored(1024) == 5


def test_calls_to_the_same_canister_arrive_in_order(pair: Pair) -> None:
    program = b"".join(
        u.call(pair.callee, "update", u.store(1024, u.basic("add", u.basic("add", *[u.stored(1024)] * 2), digit)))
        for digit in (1, 0, 1, 1)
    )
    pair.ic.update(pair.caller, "update", program + u.reply())
    pair.ic.tick()
    assert pair.stored(1024, pair.callee) == 0b1011


def test_a_chain_of_calls_answers_from_its_end(pair: Pair) -> None:
    """in a chain of calls the last canister answers first, and its answer travels back to the first caller"""
    third = pair.ic.create(u.universal(), arg=b"")
    assert replied(pair.calls(u.call(third, "update", u.reply(u.blob(b"far"))))) == b"far"


def test_a_callback_can_call_again(pair: Pair) -> None:
    """a callback can make calls"""
    again = u.call(pair.callee, "update", u.reply(u.blob(b"second")))
    assert replied(pair.calls(u.reply(u.blob(b"first")), on_reply=again)) == b"second"


def test_a_message_may_respond_before_its_calls_return(pair: Pair) -> None:
    note = u.store(1024, 9)
    assert replied(pair.calls(u.reply(), before=u.reply(u.blob(b"early")), on_reply=note)) == b"early"
    pair.ic.tick()
    assert pair.stored(1024) == 9


def test_responding_in_a_callback_after_having_responded_traps(pair: Pair) -> None:
    late = u.store(1024, 9) + u.reply()
    assert replied(pair.calls(u.reply(), before=u.reply(u.blob(b"early")), on_reply=late)) == b"early"
    pair.ic.tick()
    assert pair.stored(1024) == 0


def test_calls_of_a_message_that_traps_are_not_made(pair: Pair) -> None:
    program = u.call(pair.callee, "update", u.store(1024, 1) + u.reply()) + u.trap()
    rejected(pair.ic.update(pair.caller, "update", program), "IC0503")
    pair.ic.tick()
    assert pair.stored(1024, pair.callee) == 0


def test_a_call_that_is_not_performed_is_dropped(pair: Pair) -> None:
    """a call that is begun and not performed is dropped at the end of the message"""
    program = u.new_call(pair.callee, "update", u.store(1024, 1) + u.reply(), cycles=10**9) + u.reply()
    before = pair.ic.cycles(pair.caller)
    assert replied(pair.ic.update(pair.caller, "update", program)) == b""
    pair.ic.tick()
    assert pair.stored(1024, pair.callee) == 0
    assert before - pair.ic.cycles(pair.caller) < 10**8


@pytest.mark.parametrize(
    "step",
    [
        u.api("call_on_cleanup", 0, 0),
        u.api("call_data_append", 0, 0),
        u.api("call_with_best_effort_response", 1),
        u.api("call_cycles_add128", 0, 0),
        u.ignore(u.api("call_perform")),
    ],
    ids=["call_on_cleanup", "call_data_append", "call_with_best_effort_response", "call_cycles_add128", "call_perform"],
)
def test_without_a_call_under_construction_traps(pair: Pair, step: bytes) -> None:
    """ic0.call_on_cleanup, call_data_append, call_cycles_add and call_perform trap without a call under construction"""
    rejected(pair.ic.update(pair.caller, "update", step), "IC0504", "called when no call is under construction")
    performed = u.call(pair.callee, "update", u.reply()) + step
    rejected(pair.ic.update(pair.caller, "update", performed), "IC0504", "called when no call is under construction")


@pytest.mark.parametrize("step", ["call_on_cleanup", "call_with_best_effort_response"])
def test_can_be_set_once_only(pair: Pair, step: str) -> None:
    """the cleanup callback and the timeout of a call can be set once only: the second time traps"""
    again = u.api(step, *([0, 0] if "cleanup" in step else [5])) * 2
    rejected(pair.ic.update(pair.caller, "update", u.new_call(pair.callee, "update") + again), "IC0504")


@pytest.mark.parametrize(
    ("callee", "method", "text"),
    [
        (bytes(30), b"m", "29 bytes"),
        (b"", b"m" * 20_001, "exceeds the allowed limit of 20000"),
        (b"", b"\xff", "not UTF-8"),
    ],
    ids=["principal too long", "name too long", "name not UTF-8"],
)
def test_call_new_traps(pair: Pair, callee: bytes, method: bytes, text: str) -> None:
    """ic0.call_new traps if the callee is no principal, or the method's name is too long or not UTF-8"""
    program = u.api("call_new", u.blob(callee), u.blob(method), 0, 0, 0, 0)
    rejected(pair.ic.update(pair.caller, "update", program), "IC0504", text)


def test_the_argument_may_be_appended_in_parts(pair: Pair) -> None:
    """the argument of a call may be appended in parts"""
    payload = u.reply(u.argument())
    parts = u.new_call(pair.callee, "update")
    for i in range(0, len(payload), 3):
        parts += u.api("call_data_append", u.blob(payload[i : i + 3]))
    performed = parts + u.ignore(u.api("call_perform"))
    assert replied(pair.ic.update(pair.caller, "update", performed)) == payload


def test_an_argument_may_not_be_larger_than_10_mib(pair: Pair) -> None:
    """ic0.call_data_append traps when the argument of a call has more than 10 MiB"""
    program = u.ignore(u.basic("grow", 200)) + u.new_call(pair.callee, "update")
    rejected(
        pair.ic.update(pair.caller, "update", program + u.api("call_data_append", 0, 10 * 1024 * 1024 + 1)), "IC0504"
    )


def test_a_callback_that_is_not_in_the_table_traps_when_the_response_comes(pair: Pair) -> None:
    program = u.api("call_new", u.blob(pair.callee), u.blob(b"update"), 10**6, 0, 10**6, 0)
    program += u.api("call_data_append", u.blob(u.reply())) + u.ignore(u.api("call_perform"))
    rejected(
        pair.ic.update(pair.caller, "update", program), "IC0513", "non-existent Wasm function 1000000 from table 0"
    )


def _failures(callee: bytes, calls: int) -> bytes:
    """Calls a canister so often, and adds 2 to what is stored for each call that is not performed."""
    one = u.new_call(callee, "update", u.reply(), on_reply=b"", on_reject=b"")
    return u.store(1024, u.basic("add", u.stored(1024), one + u.api("call_perform"))) * calls


def test_calls_fail_to_be_performed_when_too_many_to_one_canister_are_open(pair: Pair) -> None:
    """ic0.call_perform gives 2 when 500 calls to the callee are open"""
    program = _failures(pair.callee, execution.MAX_CALLS_TO_ONE + 3) + u.reply(u.i64(u.stored(1024)))
    assert number(pair.ic.update(pair.caller, "update", program)) == 3 * 2


def test_a_canister_may_have_more_calls_open_to_many_canisters(pair: Pair) -> None:
    """a canister may have more than 500 calls open, if they are to several canisters"""
    other = pair.ic.create(u.universal(), arg=b"")
    program = _failures(pair.callee, 400) + _failures(other, 400) + u.reply(u.i64(u.stored(1024)))
    assert number(pair.ic.update(pair.caller, "update", program)) == 0


def test_calls_fail_to_be_performed_when_too_many_are_open_in_all(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """ic0.call_perform gives 2 when too many calls of the canister are open in all"""
    monkeypatch.setattr(execution, "MAX_OPEN_CALLS", 30)
    other = pair.ic.create(u.universal(), arg=b"")
    program = _failures(pair.callee, 20) + _failures(other, 20) + u.reply(u.i64(u.stored(1024)))
    assert number(pair.ic.update(pair.caller, "update", program)) == 10 * 2


def test_calls_fail_to_be_performed_when_they_would_freeze_the_canister(pair: Pair) -> None:
    """ic0.call_perform gives 2 when paying for the call would freeze the canister"""
    poor = pair.ic.create(u.universal(), arg=b"", cycles=10**12)
    pair.ic.manage("update_settings", {"canister_id": poor, "settings": {"freezing_threshold": 2**40}})
    program = u.new_call(pair.callee, "update", u.reply()) + u.reply(u.i64(u.api("call_perform")))
    rejected(pair.ic.update(poor, "update", program), "IC0207")  # frozen: not executed at all
    pair.ic.manage("update_settings", {"canister_id": poor, "settings": {"freezing_threshold": 0}})
    spend = u.api("cycles_burn128", 0, 990_000_000_000, 2048) + program
    assert number(pair.ic.update(poor, "update", spend)) == 2


# Callbacks.


def test_a_trap_in_a_callback_undoes_the_callback_alone(pair: Pair) -> None:
    trapping = u.store(1032, 1) + u.trap("in the callback")
    rejected(pair.calls(u.reply(), before=u.store(1024, 1), on_reply=trapping), "IC0503", "in the callback")
    assert (pair.stored(1024), pair.stored(1032)) == (1, 0)


@pytest.mark.parametrize("kind", ["reply", "reject"])
def test_the_cleanup_runs_if_the_callback_traps(pair: Pair, kind: str) -> None:
    payload = u.reply() if kind == "reply" else u.reject("no")
    note = u.store(1024, u.basic("add", 100, u.api("msg_reject_code")))
    options: dict[str, Any] = {"on_reply": u.trap(), "on_reject": u.trap(), "on_cleanup": note}
    rejected(pair.calls(payload, **options), "IC0503")
    assert pair.stored(1024) == (100 if kind == "reply" else 104)


def test_the_cleanup_does_not_run_if_the_callback_returns(pair: Pair) -> None:
    assert replied(pair.calls(u.reply(), on_cleanup=u.store(1024, 1))) == b""
    assert pair.stored(1024) == 0


def test_a_trap_in_the_cleanup_undoes_the_cleanup(pair: Pair) -> None:
    options: dict[str, Any] = {"on_reply": u.trap("first"), "on_cleanup": u.store(1024, 1) + u.trap("second")}
    rejected(pair.calls(u.reply(), **options), "IC0503", "'first'")
    assert pair.stored(1024) == 0


def test_the_reject_code_is_0_in_a_reply_callback(pair: Pair) -> None:
    """ic0.msg_reject_code gives 0 in a reply callback"""
    assert number(pair.calls(u.reply(), on_reply=u.reply(u.i64(u.api("msg_reject_code"))))) == 0


def test_responses_to_a_replaced_canister_find_their_callbacks_by_table_index(pair: Pair) -> None:
    """after an upgrade, the response to an earlier call runs the callback at the same table index of the new module"""
    pair.ic.hold(pair.callee)
    request = pair.submits(u.reply(u.blob(b"after the upgrade")))
    assert pair.ic.install(pair.caller, u.universal(), UPGRADE, b"") is None
    pair.ic.go_on(pair.callee)
    refusal = pair.ic.response(request)  # the heap is new, so the callback's program is gone
    assert isinstance(refusal, Reject)
    assert refusal.error_code in ("IC0502", "IC0506")


def test_uninstalling_rejects_open_calls_and_drops_late_responses(pair: Pair) -> None:
    pair.ic.hold(pair.callee)
    request = pair.submits(u.reply())
    pair.ic.manage("uninstall_code", {"canister_id": pair.caller})
    rejected(pair.ic.response(request), "", "uninstalled")
    pair.ic.go_on(pair.callee)
    pair.ic.tick()
    assert pair.ic.install(pair.caller, u.universal(), REINSTALL, b"") is None
    assert pair.stored(1024) == 0


# Cycles.


def test_cycles_travel_with_a_call_and_what_is_not_accepted_comes_back(pair: Pair) -> None:
    accept = u.reply(u.amount("msg_cycles_accept128", 0, 400))
    both = u.append(u.argument()) + u.reply(u.amount("msg_cycles_refunded128"))
    data = replied(pair.calls(accept, cycles=1000, on_reply=both))
    assert [int.from_bytes(data[i : i + 16], "little") for i in (0, 16)] == [400, 600]


def test_the_callee_sees_the_cycles_that_are_available(pair: Pair) -> None:
    seen = u.append(u.amount("msg_cycles_available128")) + u.ignore(u.api("msg_cycles_accept", 300))
    data = replied(pair.calls(seen + u.reply(u.amount("msg_cycles_available128")), cycles=1000))
    assert [int.from_bytes(data[i : i + 16], "little") for i in (0, 16)] == [1000, 700]


def test_no_more_cycles_are_accepted_than_are_available(pair: Pair) -> None:
    assert number(pair.calls(u.reply(u.i64(u.api("msg_cycles_accept", 5000))), cycles=1000)) == 1000


def test_nothing_is_available_after_responding(pair: Pair) -> None:
    """no cycles of the call are available after responding"""
    late = u.reply() + u.store(1024, u.api("msg_cycles_available")) + u.store(1032, u.api("msg_cycles_accept", 9))
    replied(pair.calls(late, cycles=1000))
    assert (pair.stored(1024, pair.callee), pair.stored(1032, pair.callee)) == (0, 0)


@pytest.mark.parametrize("payload", [u.trap(), u.reject("no"), b""], ids=["trap", "reject", "no response"])
def test_cycles_come_back_if_the_call_fails(pair: Pair, payload: bytes) -> None:
    """the cycles of a call that is rejected come back to its caller"""
    assert number(pair.calls(payload, cycles=1000, on_reject=u.reply(u.i64(u.api("msg_cycles_refunded"))))) == 1000


def test_cycles_come_back_from_a_canister_that_does_not_exist(pair: Pair) -> None:
    pair.callee = principal.canister_id(1000)
    assert number(pair.calls(b"", cycles=1000, on_reject=u.reply(u.i64(u.api("msg_cycles_refunded"))))) == 1000


def test_cycles_accepted_by_a_trapping_canister_come_back(pair: Pair) -> None:
    accept = u.ignore(u.api("msg_cycles_accept", 1000)) + u.trap()
    assert number(pair.calls(accept, cycles=1000, on_reject=u.reply(u.i64(u.api("msg_cycles_refunded"))))) == 1000


def test_a_query_method_called_by_a_canister_accepts_cycles(pair: Pair) -> None:
    accept = u.reply(u.i64(u.api("msg_cycles_accept", 400)))
    refund = u.append(u.argument()) + u.reply(u.i64(u.api("msg_cycles_refunded")))
    data = replied(pair.calls(accept, method="query", cycles=1000, on_reply=refund))
    assert [int.from_bytes(data[i : i + 8], "little") for i in (0, 8)] == [400, 600]


def test_more_cycles_than_the_canister_has_cannot_be_attached(pair: Pair) -> None:
    program = u.new_call(pair.callee, "update", u.reply(), cycles=2**100)
    rejected(pair.ic.update(pair.caller, "update", program), "IC0504", "not enough cycles")


def test_the_balance_is_less_while_cycles_are_attached_and_more_when_the_call_is_dropped(pair: Pair) -> None:
    """cycles attached to a call leave the balance at once, and come back when the call is dropped"""
    balance = u.append(u.amount("canister_cycle_balance128"))
    program = balance + u.new_call(pair.callee, "update", cycles=10**9) + balance
    program += u.new_call(pair.callee, "update") + balance + u.reply()
    data = replied(pair.ic.update(pair.caller, "update", program))
    first, second, third = (int.from_bytes(data[i : i + 16], "little") for i in (0, 16, 32))
    assert (second, third) == (first - 10**9, first)


def test_amounts_beyond_64_bits_trap_in_the_64_bit_functions(pair: Pair) -> None:
    """the functions for 64-bit amounts of cycles trap if an amount needs more bits"""
    rich = pair.ic.create(u.universal(), arg=b"", cycles=2**70)
    rejected(
        pair.ic.query(rich, "query", u.reply(u.i64(u.api("canister_cycle_balance")))),
        "IC0502",
        "cycles amount exceeds 64-bit representation",
    )
    pair.caller = rich
    code, text = u.rejected(replied(pair.calls(u.ignore(u.api("msg_cycles_available")), cycles=2**65)))
    assert code == 5
    assert "cycles amount exceeds 64-bit representation" in text


def test_amounts_beyond_64_bits_can_be_sent(pair: Pair) -> None:
    """amounts of cycles beyond 64 bits can be sent and accepted"""
    pair.caller = pair.ic.create(u.universal(), arg=b"", cycles=2**70)
    data = replied(pair.calls(u.reply(u.amount("msg_cycles_accept128", 2, 0)), cycles=2**65 + 7))
    assert int.from_bytes(data, "little") == 2**65


def test_the_cycles_that_a_message_may_cost_are_kept_back_while_it_runs(pair: Pair) -> None:
    """updates and callbacks see the balance without the cycles that their execution may cost; queries see all of it"""
    balance = u.reply(u.amount("canister_cycle_balance128"))

    def seen(program: bytes, method: str = "update") -> int:
        return int.from_bytes(replied(pair.ic.update(pair.caller, method, program)), "little")

    kept_back = 5_000_000 + 40_000_000_000
    callback = u.call(pair.callee, "update", u.reply(), on_reply=balance)
    for program, method in ((balance, "update"), (balance, "query"), (callback, "update")):
        before = pair.ic.cycles(pair.caller)
        assert 0 < before - kept_back - seen(program, method) < 20_000_000
    found = int.from_bytes(replied(pair.ic.query(pair.caller, "query", balance)), "little")
    assert found == pair.ic.cycles(pair.caller)


def test_a_message_that_spends_all_it_may_does_not_freeze_the_canister(pair: Pair) -> None:
    """a message cannot burn or attach the cycles of the freezing threshold"""
    liquid = u.amount("canister_liquid_cycle_balance128") + u.basic("drop")
    attached = u.new_call(pair.callee, "update") + u.api("call_cycles_add128", 0, u.basic("load", liquid)) + u.reply()
    burnt = u.reply(u.amount("cycles_burn128", 2**60, 0))
    for program in (attached, burnt):
        assert pair.ic.cycles(pair.caller) > 9 * 10**13
        replied(pair.ic.update(pair.caller, "update", program))
    status = pair.ic.manage("canister_status", {"canister_id": pair.caller})
    assert status["cycles"] >= 30 * status["idle_cycles_burned_per_day"]


def test_cycles_can_be_burnt_down_to_the_freezing_threshold(pair: Pair) -> None:
    program = u.append(u.amount("canister_liquid_cycle_balance128")) + u.append(u.amount("cycles_burn128", 2**60, 0))
    data = replied(pair.ic.update(pair.caller, "update", program + u.reply(u.amount("cycles_burn128", 0, 1))))
    liquid, burnt, more = (int.from_bytes(data[i : i + 16], "little") for i in (0, 16, 32))
    assert (burnt, more) == (liquid, 0)
    assert liquid > 9 * 10**13


# Best-effort responses.


def test_a_best_effort_call_is_answered_like_any_other(pair: Pair) -> None:
    """a best-effort call is answered like any other call"""
    assert replied(pair.calls(u.reply(u.blob(b"in time")), timeout=10)) == b"in time"


def test_the_callee_of_a_best_effort_call_sees_the_deadline(pair: Pair) -> None:
    """the callee of a best-effort call sees its deadline"""
    before = pair.ic.time()
    deadline = number(pair.calls(u.reply(u.i64(u.api("msg_deadline"))), timeout=10))
    assert before + 10 * 10**9 <= deadline <= pair.ic.time() + 10 * 10**9


def test_a_timeout_is_at_most_300_seconds(pair: Pair) -> None:
    """a best-effort call waits for at most 300 seconds, even if it asks for more"""
    deadline = number(pair.calls(u.reply(u.i64(u.api("msg_deadline"))), timeout=2**31))
    assert deadline <= pair.ic.time() + 300 * 10**9


def test_a_query_method_sees_no_deadline(pair: Pair) -> None:
    """a query method that is called with a timeout sees the deadline 0"""
    assert number(pair.calls(u.reply(u.i64(u.api("msg_deadline"))), method="query", timeout=10)) == 0


def test_after_the_deadline_the_caller_gets_sys_unknown(pair: Pair) -> None:
    """a best-effort call that is not answered by its deadline is rejected with code 6 (SYS_UNKNOWN)"""
    pair.ic.pause()
    pair.ic.hold(pair.callee)
    request = pair.submits(u.reply(), timeout=10)
    pair.ic.advance_time(9)
    assert pair.ic.network.scheduler.wait_until_idle(30)
    assert pair.ic.network.subnet.requests[request].response is None
    pair.ic.advance_time(2)
    assert u.rejected(replied(pair.ic.response(request))) == (6, "Call deadline has expired.")


def test_a_call_that_has_expired_is_not_executed(pair: Pair) -> None:
    """a best-effort call that waited until its deadline is not executed"""
    pair.ic.pause()
    pair.ic.hold(pair.callee)
    request = pair.submits(u.store(1024, 1) + u.reply(), timeout=10)
    pair.ic.advance_time(11)
    pair.ic.response(request)
    pair.ic.go_on(pair.callee)
    pair.ic.tick()
    assert pair.stored(1024, pair.callee) == 0


def test_a_late_response_is_dropped_and_its_cycles_are_lost(pair: Pair) -> None:
    """a response to a best-effort call that comes after the deadline is dropped, and its cycles are lost"""
    pair.ic.pause()
    third = pair.ic.create(u.universal(), arg=b"")
    pair.ic.hold(third)
    refund = u.reply(u.i64(u.api("msg_cycles_refunded")))
    waiting = u.call(third, "update", u.reply())  # the callee answers only after the third canister
    request = pair.submits(waiting, timeout=10, cycles=10**12, on_reject=refund)
    pair.ic.advance_time(11)
    assert number(pair.ic.response(request)) == 0
    before = pair.ic.cycles(pair.caller)
    pair.ic.go_on(third)
    pair.ic.tick()
    assert pair.ic.cycles(pair.caller) <= before


def test_deadlines_survive_a_restart(pair: Pair) -> None:
    """the deadlines of best-effort calls survive a restart of the network"""
    pair.callee = pair.ic.create(u.universal(), arg=b"", controllers=[pair.ic.user])
    settings = {"controllers": [pair.ic.user, pair.callee]}
    pair.ic.manage("update_settings", {"canister_id": pair.callee, "settings": settings})
    # A canister that waits for itself to stop waits for ever.
    stuck = u.call(b"", "stop_canister", pair.ic.encoded("stop_canister", {"canister_id": pair.callee}))
    request = pair.submits(stuck, timeout=10)
    pair.ic.restart()
    assert pair.ic.network.subnet.requests[request].response is None
    pair.ic.advance_time(11)
    assert u.rejected(replied(pair.ic.response(request)))[0] == 6
