"""Query calls: what queries may do, and composite queries with the queries that they call."""

from __future__ import annotations

import pytest

from mainer_nb.localnet import composite, management
from mainer_nb.protocol import candid, principal
from tests.localnet import universal as u
from tests.localnet.driver import ALICE, BOB, Driver
from tests.localnet.outcomes import number, rejected, replied


@pytest.fixture
def pair(ic: Driver) -> tuple[bytes, bytes]:
    """Two universal canisters."""
    return ic.create(u.universal(), arg=b""), ic.create(u.universal(), arg=b"")


def _composite(ic: Driver, canister: bytes, program: bytes) -> bytes:
    return replied(ic.query(canister, "composite_query", program))


# Queries.


def test_a_query_sees_the_committed_state_and_changes_nothing(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    ic.update(pair[0], "update", u.store(1024, 5) + u.reply())
    seen = u.append(u.i64(u.stored(1024))) + u.store(1024, 6) + u.reply(u.i64(u.stored(1024)))
    for _ in range(2):
        assert replied(ic.query(pair[0], "query", seen))[::8] == b"\5\6"


def test_stable_memory_grown_by_a_query_is_forgotten(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    grow = u.stable_grow(3) + u.stable_write(0, u.blob(b"gone")) + u.reply(u.i64(u.api("stable64_size")))
    assert number(ic.query(pair[0], "query", grow)) == 3
    assert number(ic.query(pair[0], "query", u.reply(u.i64(u.api("stable64_size"))))) == 0
    data = replied(ic.update(pair[0], "update", u.stable_grow(1) + u.reply(u.stable_read(0, 4))))
    assert data == bytes(4)


def test_a_query_cannot_call(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    rejected(ic.query(pair[0], "query", u.call(pair[1], "query", u.reply())), "IC0504", "non replicated query mode")


def test_a_query_cannot_certify_data(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    rejected(ic.query(pair[0], "query", u.api("certified_data_set", u.blob(b"x"))), "IC0504")


def test_a_query_that_traps_is_rejected(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    assert rejected(ic.query(pair[0], "query", u.trap("oh")), "IC0503", "'oh'").code == 5


def test_an_update_method_cannot_be_queried(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    rejected(ic.query(pair[0], "update", u.reply()), "IC0536", "no query method 'update'")


def test_a_stopped_canister_cannot_be_queried(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    ic.manage("stop_canister", {"canister_id": pair[0]})
    assert rejected(ic.query(pair[0], "query", u.reply()), "IC0508").code == 5


def test_a_frozen_canister_cannot_be_queried(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    ic.manage("update_settings", {"canister_id": pair[0], "settings": {"freezing_threshold": 2**60}})
    assert rejected(ic.query(pair[0], "query", u.reply()), "IC0207").code == 2


def test_a_canister_without_code_or_existence_cannot_be_queried(ic: Driver) -> None:
    """a canister that has no code, or does not exist, cannot be queried"""
    assert rejected(ic.query(ic.create(), "query", b""), "IC0537").code == 5
    assert rejected(ic.query(principal.canister_id(1000), "query", b""), "IC0301").code == 3


# Composite queries.


def test_a_composite_query_without_calls_is_a_query(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    assert _composite(ic, pair[0], u.reply(u.blob(b"alone"))) == b"alone"


def test_a_composite_query_calls_a_query_of_another_canister(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    assert _composite(ic, pair[0], u.call(pair[1], "query", u.reply(u.taken("canister_self")))) == pair[1]


def test_the_called_query_sees_the_calling_canister(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    """a query that is called by a composite query sees the calling canister"""
    assert _composite(ic, pair[0], u.call(pair[1], "query", u.reply(u.caller()))) == pair[0]


def test_a_callback_of_a_composite_query_sees_the_user(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    program = u.call(pair[1], "query", u.reply(), on_reply=u.reply(u.caller()))
    assert replied(ic.query(pair[0], "composite_query", program, BOB)) == BOB


def test_a_composite_query_calls_a_composite_query(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    third = ic.create(u.universal(), arg=b"")
    inner = u.call(third, "query", u.reply(u.caller()))
    assert _composite(ic, pair[0], u.call(pair[1], "composite_query", inner)) == pair[1]


def test_a_composite_query_calls_itself(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    inner = u.call(pair[0], "query", u.reply(u.blob(b"me")))
    assert _composite(ic, pair[0], u.call(pair[0], "composite_query", inner)) == b"me"


def test_a_composite_query_makes_several_calls(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    count = u.store(1024, u.basic("add", u.stored(1024), 1))
    answer = count + u.unless_zero(u.basic("eq", u.stored(1024), 3), u.reply(u.i64(u.stored(1024))))
    assert _composite(ic, pair[0], u.call(pair[1], "query", u.reply(), on_reply=answer) * 3)[0] == 3


def test_a_callback_of_a_composite_query_calls_again(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    """a callback of a composite query can make calls"""
    again = u.call(pair[1], "query", u.reply(u.blob(b"second")))
    assert _composite(ic, pair[0], u.call(pair[1], "query", u.reply(), on_reply=again)) == b"second"


def test_callbacks_see_what_the_composite_query_has_changed(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    before = u.store(1024, 7) + u.stable_grow(1) + u.stable_write(0, u.blob(b"kept")) + u.basic("global_set", 8)
    seen = u.append(u.i64(u.stored(1024))) + u.append(u.stable_read(0, 4)) + u.reply(u.i64(u.basic("global_get")))
    data = _composite(ic, pair[0], before + u.call(pair[1], "query", u.reply(), on_reply=seen))
    assert (data[0], data[8:12], data[12]) == (7, b"kept", 8)


def test_nothing_of_a_composite_query_is_kept(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    """all changes of a composite query are forgotten when it has answered"""
    change = u.store(1024, 7) + u.stable_grow(1) + u.basic("global_set", 8)
    _composite(ic, pair[0], change + u.call(pair[1], "query", change + u.reply(), on_reply=change + u.reply()))
    seen = u.append(u.i64(u.stored(1024))) + u.append(u.i64(u.api("stable64_size")))
    for canister in pair:
        for entry in ("query", "composite_query"):
            data = replied(ic.query(canister, entry, seen + u.reply(u.i64(u.basic("global_get")))))
            assert data == bytes(24)


def test_a_query_below_sees_the_committed_state_not_that_of_the_query_above(
    ic: Driver, pair: tuple[bytes, bytes]
) -> None:
    """a query that a composite query calls on its own canister sees the committed state, not the caller's changes"""
    program = u.store(1024, 7) + u.call(pair[0], "query", u.reply(u.i64(u.stored(1024))))
    assert _composite(ic, pair[0], program) == bytes(8)


@pytest.mark.parametrize(
    ("payload", "code", "text"),
    [(u.reject("no"), 4, "no"), (u.trap("ouch"), 5, "'ouch'"), (b"", 5, "did not produce a response")],
    ids=["reject", "trap", "no response"],
)
def test_a_failed_query_reaches_the_reject_callback(
    ic: Driver, pair: tuple[bytes, bytes], payload: bytes, code: int, text: str
) -> None:
    """a composite query's call of a query that fails runs the reject callback"""
    found, message = u.rejected(_composite(ic, pair[0], u.call(pair[1], "query", payload)))
    assert found == code
    assert text in message


def test_an_update_method_cannot_be_called_by_a_composite_query(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    code, text = u.rejected(_composite(ic, pair[0], u.call(pair[1], "update", u.reply())))
    assert code == 5
    assert "no query method 'update'" in text


def test_a_missing_canister_reaches_the_reject_callback(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    """a composite query's call to a canister that does not exist runs the reject callback"""
    missing = u.call(principal.canister_id(1000), "query", u.reply())
    assert u.rejected(_composite(ic, pair[0], missing))[0] == 3


@pytest.mark.parametrize("method", ["canister_status", "canister_metrics", "canister_info", "fetch_canister_logs"])
def test_composite_management(ic: Driver, pair: tuple[bytes, bytes], method: str) -> None:
    """a composite query calls the management canister's queries, with the calling canister as their caller"""
    caller, other = pair
    ic.manage("update_settings", {"canister_id": other, "settings": {"controllers": [ALICE, caller]}})
    asked = ic.encoded(method, {"canister_id": other})
    results = management.INTERFACE.methods[method].results
    (found,) = candid.decode(results, _composite(ic, caller, u.call(principal.MANAGEMENT, method, asked)))
    (expected,) = candid.decode(results, replied(ic.query(principal.MANAGEMENT, method, asked)))
    assert found.keys() == expected.keys()
    for name in ("version", "controllers", "module_hash", "canister_log_records"):
        assert found.get(name) == expected.get(name)


@pytest.mark.parametrize(
    ("method", "code"),
    [("canister_status", 5), ("canister_metrics", 5), ("fetch_canister_logs", 4), ("canister_info", None)],
)
def test_composite_management_access(ic: Driver, pair: tuple[bytes, bytes], method: str, code: int | None) -> None:
    """what a composite query may ask the management canister is decided by the rights of the calling canister"""
    program = u.call(principal.MANAGEMENT, method, ic.encoded(method, {"canister_id": pair[1]}))
    data = _composite(ic, pair[0], program)
    if code is not None:
        assert u.rejected(data)[0] == code
    else:
        (found,) = candid.decode(management.INTERFACE.methods[method].results, data)
        assert found["controllers"] == [ALICE]


@pytest.mark.parametrize("method", ["raw_rand", "stored_chunks", "start_canister", "no_such_method"])
def test_composite_management_others(ic: Driver, pair: tuple[bytes, bytes], method: str) -> None:
    """calls of composite queries to the management canister's methods that are no queries are rejected"""
    code, text = u.rejected(_composite(ic, pair[0], u.call(principal.MANAGEMENT, method)))
    assert code == 5
    assert f"no query method '{method}'" in text


def test_a_composite_query_that_does_not_respond_is_rejected(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    rejected(ic.query(pair[0], "composite_query", u.call(pair[1], "query", u.reply(), on_reply=b"")), "IC0506")


def test_a_trap_in_a_composite_callback_undoes_it_and_runs_the_cleanup(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    trapping = u.store(1024, 1) + u.stable_grow(5) + u.ignore(u.basic("grow", 9)) + u.trap()
    noted = u.store(1032, u.basic("add", u.stored(1024), 10)) + u.api("debug_print", u.i64(u.stored(1032)))
    first = u.call(pair[1], "query", u.reply(), on_reply=trapping, on_cleanup=noted)
    seen = u.append(u.i64(u.stored(1024))) + u.append(u.i64(u.stored(1032))) + u.append(u.i64(u.basic("pages")))
    second = u.call(pair[1], "query", u.reply(), on_reply=seen + u.reply(u.i64(u.api("stable64_size"))))
    data = _composite(ic, pair[0], u.stable_grow(1) + first + second)
    values = [int.from_bytes(data[i : i + 8], "little") for i in range(0, 32, 8)]
    assert values == [0, 10, 3, 1]


def test_a_composite_query_whose_callback_traps_is_rejected(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    program = u.call(pair[1], "query", u.reply(), on_reply=u.trap("in the callback"))
    rejected(ic.query(pair[0], "composite_query", program), "IC0503", "in the callback")


def test_a_trap_in_a_composite_cleanup_undoes_the_cleanup(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    cleanup = u.store(1024, 1) + u.trap()
    first = u.call(pair[1], "query", u.reply(), on_reply=u.trap(), on_cleanup=cleanup)
    second = u.call(pair[1], "query", u.reply(), on_reply=u.reply(u.i64(u.stored(1024))))
    assert _composite(ic, pair[0], first + second) == bytes(8)


def test_the_depth_of_calls_is_bounded(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    """the depth of calls in a composite query is bounded"""
    program = u.reply(u.blob(b"deep enough"))
    for _ in range(composite.MAX_DEPTH):
        program = u.call(pair[0], "composite_query", program)
    assert _composite(ic, pair[1], program) == b"deep enough"
    too_deep = u.call(pair[0], "composite_query", program)
    rejected(ic.query(pair[1], "composite_query", too_deep), "IC0525", "exceeded the maximum call depth")


def test_all_calls_of_an_evaluation_share_the_instruction_limit(
    ic: Driver, pair: tuple[bytes, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """a composite query and all the queries that it calls share one instruction limit"""
    monkeypatch.setattr("mainer_nb.localnet.limits.QUERY_LIMIT", 10_000_000)
    monkeypatch.setattr("mainer_nb.localnet.limits.UPDATE_LIMIT", 10_000_000)
    work = u.ignore(u.basic("grow", 100)) + u.basic("fill", 140_000, 4_000_000) + u.reply()
    twice = u.call(pair[1], "query", work)
    assert _composite(ic, pair[0], twice) == b""
    endless = u.call(pair[1], "query", work, on_reply=u.call(pair[1], "query", work, on_reply=twice))
    code, text = u.rejected(_composite(ic, pair[0], endless))
    assert code == 5
    assert "exceeded the limit of" in text


def test_cycles_cannot_be_attached_in_a_composite_query(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    program = u.call(pair[1], "query", u.reply(), cycles=5)
    rejected(ic.query(pair[0], "composite_query", program), "IC0504", "composite query mode")


def test_calls_go_on_while_composite_queries_are_evaluated(ic: Driver, pair: tuple[bytes, bytes]) -> None:
    """update calls are executed while composite queries are evaluated"""
    requests = [ic.submit(canister, "update", u.store(1024, 1) + u.reply()) for canister in pair * 10]
    crossed = [(pair[0], pair[1]), (pair[1], pair[0])] * 5
    for first, second in crossed:
        assert _composite(ic, first, u.call(second, "composite_query", u.reply(u.blob(b"ok")))) == b"ok"
    assert all(replied(ic.response(request)) == b"" for request in requests if isinstance(request, bytes))
