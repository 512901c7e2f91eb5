"""System API: what each function does, and when it traps."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from mainer_nb.localnet import system_api
from mainer_nb.localnet.errors import Reply
from mainer_nb.protocol import candid, principal
from tests.localnet import universal as u
from tests.localnet.driver import ALICE, BOB, INSTALL, REINSTALL, UPGRADE, Driver
from tests.localnet.outcomes import number, rejected, replied

BEYOND = 2**31 - 8


@pytest.fixture
def canister(ic: Driver) -> bytes:
    """A universal canister with a 32-bit memory."""
    return ic.create(u.universal(), arg=b"")


def _query(ic: Driver, canister: bytes, value: bytes) -> bytes:
    return replied(ic.query(canister, "query", u.reply(value)))


# Method arguments.


def test_the_argument_is_what_the_caller_sent(ic: Driver, canister: bytes) -> None:
    program = u.reply(u.argument())
    assert replied(ic.update(canister, "update", program)) == program


def test_copying_beyond_the_end_of_the_argument_traps(ic: Driver, canister: bytes) -> None:
    program = u.api("msg_arg_data_copy", 1024, 0, 1_000)
    rejected(ic.update(canister, "update", program), "IC0504", "copy of 1000 bytes at offset 0")


def test_copying_beyond_the_end_of_the_memory_traps(ic: Driver, canister: bytes) -> None:
    rejected(ic.update(canister, "update", u.api("msg_arg_data_copy", BEYOND, 0, 9)), "IC0504", "heap access")


def test_the_caller_of_a_user_is_the_user(ic: Driver, canister: bytes) -> None:
    """ic0.msg_caller gives the user who called"""
    assert replied(ic.update(canister, "update", u.reply(u.caller()), BOB)) == BOB
    assert replied(ic.query(canister, "query", u.reply(u.caller()), principal.ANONYMOUS)) == principal.ANONYMOUS


def test_the_caller_of_an_installation_is_who_asked_for_it(ic: Driver) -> None:
    canister = ic.create(u.universal(), arg=u.stable_grow(1) + u.stable_write(0, u.caller()))
    assert _query(ic, canister, u.stable_read(0, len(ALICE))) == ALICE


def test_the_caller_of_a_system_task_is_the_management_canister(ic: Driver, canister: bytes) -> None:
    noted = u.store(1024, u.basic("add", u.api("msg_caller_size"), 100))
    ic.update(canister, "update", u.hook("canister_global_timer", noted) + u.ignore(u.api("global_timer_set", 1)))
    ic.tick()
    assert _query(ic, canister, u.i64(u.stored(1024))) == (100).to_bytes(8, "little")


def test_callers_that_sign_with_a_key_have_no_further_information(ic: Driver, canister: bytes) -> None:
    """ic0.msg_caller_info_data is empty for callers that sign with a key"""
    for name in ("msg_caller_info_data", "msg_caller_info_signer"):
        assert _query(ic, canister, u.taken(name)) == b""


def test_the_deadline_of_an_ingress_message_is_0(ic: Driver, canister: bytes) -> None:
    """ic0.msg_deadline gives 0 for an ingress message"""
    assert number(ic.update(canister, "update", u.reply(u.i64(u.api("msg_deadline"))))) == 0


# Responding.


def test_a_reply_may_be_appended_in_parts(ic: Driver, canister: bytes) -> None:
    program = u.append(u.blob(b"one, ")) + u.append(u.blob(b"two")) + u.reply()
    assert replied(ic.update(canister, "update", program)) == b"one, two"


def test_a_reply_may_be_empty(ic: Driver, canister: bytes) -> None:
    """a reply may be empty"""
    assert replied(ic.update(canister, "update", u.reply())) == b""


def test_what_was_appended_is_dropped_by_a_rejection(ic: Driver, canister: bytes) -> None:
    """ic0.msg_reject drops what was appended to the reply"""
    refusal = rejected(ic.update(canister, "update", u.append(u.blob(b"lost")) + u.reject("no")))
    assert (refusal.code, refusal.message, refusal.error_code) == (4, "no", "")


@pytest.mark.parametrize(
    "second", [u.reply(), u.reject("no"), u.append(u.blob(b"more"))], ids=["reply", "reject", "append"]
)
@pytest.mark.parametrize("first", [u.reply(), u.reject("no")], ids=["reply", "reject"])
def test_responding_twice_traps(ic: Driver, canister: bytes, first: bytes, second: bytes) -> None:
    rejected(ic.update(canister, "update", first + second), "IC0504", "the call is already replied")


def test_not_responding_is_a_rejection(ic: Driver, canister: bytes) -> None:
    """a message that does not respond is rejected"""
    assert rejected(ic.update(canister, "update", b""), "IC0506", "did not reply").code == 5
    assert rejected(ic.query(canister, "query", b""), "IC0506", "did not produce a response").code == 5


def test_a_rejection_that_is_not_utf8_traps(ic: Driver, canister: bytes) -> None:
    """ic0.msg_reject traps for a text that is not UTF-8"""
    rejected(ic.update(canister, "update", u.api("msg_reject", u.blob(b"\xff\xfe"))), "IC0504", "not UTF-8")


def test_a_reply_of_2_mib_is_the_largest(ic: Driver, canister: bytes) -> None:
    """a reply of an update has at most 2 MiB"""
    enough = u.ignore(u.basic("grow", 40)) + u.append(u.number(0) + u.number(system_api.MAX_REPLY))
    assert len(replied(ic.update(canister, "update", enough + u.reply()))) == system_api.MAX_REPLY
    too_much = enough + u.append(u.number(0) + u.number(1))
    rejected(ic.update(canister, "update", too_much + u.reply()), "IC0504", "cannot be larger than 2097152")


def test_the_reply_of_a_query_has_3_mib_at_most(ic: Driver, canister: bytes) -> None:
    """a reply of a query, composite ones too, has at most 3 MiB; of a query method that is called as an update 2 MiB"""
    enough = u.ignore(u.basic("grow", 60)) + u.append(u.number(0) + u.number(system_api.MAX_QUERY_REPLY))
    beyond = enough + u.append(u.number(0) + u.number(1))
    for method in ("query", "composite_query"):
        assert len(replied(ic.query(canister, method, enough + u.reply()))) == 3 * 2**20
        rejected(ic.query(canister, method, beyond + u.reply()), "IC0504", "cannot be larger than 3145728")
    rejected(ic.update(canister, "query", enough + u.reply()), "IC0504", "cannot be larger than 2097152")


def test_replying_from_outside_of_the_memory_traps(ic: Driver, canister: bytes) -> None:
    rejected(ic.update(canister, "update", u.append(u.number(BEYOND) + u.number(16))), "IC0504", "heap access")


# Ingress message inspection.


def test_the_inspection_sees_method_argument_and_caller(ic: Driver, canister: bytes) -> None:
    """canister_inspect_message sees the method, the argument and the caller"""
    seen = u.api("debug_print", u.taken("msg_method_name")) + u.api("debug_print", u.caller())
    ic.update(canister, "update", u.hook("canister_inspect_message", seen + u.api("debug_print", u.argument())))
    refusal = rejected(ic.update(canister, "update", b"argument", BOB), "IC0406")
    assert refusal.code == 4
    logs = [text for _, _, text in ic.network.subnet.canisters[canister].logs]
    assert logs == []  # the inspection leaves nothing behind
    ic.install(canister, u.universal(), REINSTALL, b"")
    wanted = u.unless_zero(u.basic("eq", u.api("msg_method_name_size"), 6), u.api("accept_message"))
    ic.update(canister, "update", u.hook("canister_inspect_message", wanted))
    assert replied(ic.update(canister, "update", u.reply())) == b""
    rejected(ic.update(canister, "query", u.reply()), "IC0406")


def test_accepting_twice_traps(ic: Driver, canister: bytes) -> None:
    """ic0.accept_message traps the second time"""
    twice = u.api("accept_message") + u.api("accept_message")
    ic.update(canister, "update", u.hook("canister_inspect_message", twice))
    rejected(ic.update(canister, "update", u.reply()), "IC0504", "already called")


def test_the_inspection_changes_nothing(ic: Driver, canister: bytes) -> None:
    """canister_inspect_message changes nothing of the canister"""
    ic.update(canister, "update", u.hook("canister_inspect_message", u.store(1024, 5) + u.api("accept_message")))
    assert number(ic.update(canister, "update", u.reply(u.i64(u.stored(1024))))) == 0


def test_calls_of_canisters_and_queries_are_not_inspected(ic: Driver, canister: bytes) -> None:
    other = ic.create(u.universal(), arg=b"")
    ic.update(canister, "update", u.hook("canister_inspect_message", u.trap()))
    assert replied(ic.query(canister, "query", u.reply(u.blob(b"ok")))) == b"ok"
    assert replied(ic.update(other, "update", u.call(canister, "update", u.reply(u.blob(b"ok"))))) == b"ok"


# Self-identification, status, version.


def test_a_canister_knows_itself_and_its_subnet(ic: Driver, canister: bytes) -> None:
    """a canister can read its own id and that of its subnet"""
    assert _query(ic, canister, u.taken("canister_self")) == canister
    assert _query(ic, canister, u.taken("subnet_self")) == ic.network.subnet_id
    assert _query(ic, canister, u.i64(u.api("subnet_self_node_count"))) == (1).to_bytes(8, "little")


def test_a_running_canister_sees_status_1(ic: Driver, canister: bytes) -> None:
    assert _query(ic, canister, u.i64(u.api("canister_status"))) == (1).to_bytes(8, "little")


def test_a_stopped_canister_sees_status_3_in_its_upgrade(ic: Driver, canister: bytes) -> None:
    before = u.stable_grow(1) + u.stable_write(0, u.i64(u.api("canister_status")))
    ic.update(canister, "update", u.hook("canister_pre_upgrade", before))
    assert ic.manage("stop_canister", {"canister_id": canister}) is None
    assert ic.install(canister, u.universal(), UPGRADE, u.store(1024, u.api("canister_status"))) is None
    ic.manage("start_canister", {"canister_id": canister})
    assert _query(ic, canister, u.stable_read(0, 8)) == (3).to_bytes(8, "little")
    assert _query(ic, canister, u.i64(u.stored(1024))) == (3).to_bytes(8, "little")


def test_a_stopping_canister_sees_status_2_in_its_callbacks(ic: Driver, canister: bytes) -> None:
    other = ic.create(u.universal(), arg=b"")
    ic.hold(other)
    call = ic.submit(
        canister, "update", u.call(other, "update", u.reply(), on_reply=u.reply(u.i64(u.api("canister_status"))))
    )
    assert isinstance(call, bytes)
    ic.network.scheduler.wait_until_idle(30)
    arg = {"canister_id": canister}
    stop = ic.submit(principal.MANAGEMENT, "stop_canister", ic.encoded("stop_canister", arg))
    assert isinstance(stop, bytes)
    ic.network.scheduler.wait_until_idle(30)
    ic.go_on(other)
    assert number(ic.response(call)) == 2
    assert replied(ic.response(stop))


def test_the_version_grows_with_every_change(ic: Driver, canister: bytes) -> None:
    """the canister version grows with every change"""

    def version() -> int:
        return number(ic.query(canister, "query", u.reply(u.i64(u.api("canister_version")))))

    seen = [version()]
    steps: list[Callable[[], object]] = [
        lambda: ic.update(canister, "update", u.reply()),
        lambda: ic.update(canister, "query", u.reply()),
        lambda: ic.manage("update_settings", {"canister_id": canister, "settings": {"freezing_threshold": 5}}),
        lambda: ic.install(canister, u.universal(), UPGRADE, b""),
        lambda: ic.install(canister, u.universal(), REINSTALL, b""),
    ]
    for step in steps:
        step()
        seen.append(version())
    assert seen == sorted(set(seen))
    assert version() == seen[-1]  # a query changes nothing


def test_an_upgrade_sees_the_old_version_before_and_the_new_one_after(ic: Driver, canister: bytes) -> None:
    """canister_pre_upgrade sees the old canister version, canister_post_upgrade the new one"""
    before = u.stable_grow(1) + u.stable_write(0, u.i64(u.api("canister_version")))
    ic.update(canister, "update", u.hook("canister_pre_upgrade", before))
    now = number(ic.query(canister, "query", u.reply(u.i64(u.api("canister_version")))))
    ic.install(canister, u.universal(), UPGRADE, u.store(1024, u.api("canister_version")))
    assert int.from_bytes(_query(ic, canister, u.stable_read(0, 8)), "little") == now
    assert int.from_bytes(_query(ic, canister, u.i64(u.stored(1024))), "little") == now + 1


# Stable memory.


def test_stable_memory_is_empty_at_first_and_grows(ic: Driver, canister: bytes) -> None:
    program = u.append(u.i64(u.api("stable64_size"))) + u.append(u.i64(u.api("stable64_grow", 2)))
    program += u.append(u.i64(u.api("stable64_grow", 3))) + u.reply(u.i64(u.api("stable64_size")))
    data = replied(ic.update(canister, "update", program))
    assert [int.from_bytes(data[i : i + 8], "little") for i in range(0, 32, 8)] == [0, 0, 2, 5]


def test_new_stable_memory_is_zero(ic: Driver, canister: bytes) -> None:
    data = replied(ic.update(canister, "update", u.stable_grow(1) + u.reply(u.stable_read(0, 65536))))
    assert data == bytes(65536)


@pytest.mark.parametrize("pages", [2**63, 2**64 - 1, 500 * 1024**3 // 65536 + 1])
def test_growing_beyond_the_limit_gives_minus_1(ic: Driver, canister: bytes, pages: int) -> None:
    """growing the stable memory beyond 500 GiB gives -1"""
    assert number(ic.update(canister, "update", u.reply(u.i64(u.api("stable64_grow", pages))))) == 2**64 - 1


@pytest.mark.parametrize("name", ["stable64_read", "stable64_write", "stable_read", "stable_write"])
def test_access_beyond_the_stable_memory_traps(ic: Driver, canister: bytes, name: str) -> None:
    program = u.stable_grow(1) + u.api(name, *((1024, 65530, 7) if "read" in name else (65530, 1024, 7)))
    rejected(ic.update(canister, "update", program), "IC0502", "stable memory out of bounds")


def test_access_beyond_64_bits_traps(ic: Driver, canister: bytes) -> None:
    """reading or writing stable memory traps if offset and size add up to more than 64 bits"""
    program = u.stable_grow(1) + u.api("stable64_read", 1024, 2**64 - 1, 2)
    rejected(ic.update(canister, "update", program), "IC0502", "stable memory out of bounds")


def test_stable_access_from_outside_of_the_heap_traps(ic: Driver, canister: bytes) -> None:
    rejected(
        ic.update(canister, "update", u.stable_grow(1) + u.api("stable64_write", 0, BEYOND, 9)), "IC0504", "heap access"
    )


def test_empty_access_at_the_end_of_the_stable_memory_is_allowed(ic: Driver, canister: bytes) -> None:
    program = u.api("stable64_write", 0, 1024, 0) + u.api("stable64_read", 1024, 0, 0) + u.stable_grow(1)
    program += u.api("stable64_write", 65536, 1024, 0) + u.api("stable64_read", 1024, 65536, 0)
    assert replied(ic.update(canister, "update", program + u.reply())) == b""
    rejected(ic.update(canister, "update", u.api("stable64_read", 1024, 65537, 0)), "IC0502")


def test_the_32_bit_functions_share_the_stable_memory(ic: Driver, canister: bytes) -> None:
    """the 32-bit and the 64-bit functions work on the same stable memory"""
    program = u.ignore(u.api("stable_grow", 1)) + u.stable_write(9, u.blob(b"shared"))
    program += u.api("stable_read", 1024, 9, 6) + u.reply(u.number(1024) + u.number(6))
    assert replied(ic.update(canister, "update", program)) == b"shared"
    assert number(ic.query(canister, "query", u.reply(u.i64(u.api("stable_size"))))) == 1


def test_the_32_bit_functions_end_at_4_gib(ic: Driver, canister: bytes) -> None:
    """the 32-bit functions for stable memory grow it to 4 GiB, and trap if it is larger"""
    grow = u.reply(u.i64(u.api("stable_grow", 65537)))
    assert number(ic.update(canister, "update", grow)) == 2**32 - 1
    assert number(ic.update(canister, "update", u.stable_grow(65537) + u.reply())) == 0
    for name in ("stable_size", "stable_grow"):
        rejected(
            ic.update(canister, "update", u.api(name, *([0] if "grow" in name else []))), "IC0502", "larger than 4GB"
        )


def test_stable_memory_survives_upgrades_and_not_reinstallations(ic: Driver, canister: bytes) -> None:
    ic.update(canister, "update", u.stable_grow(1) + u.stable_write(3, u.blob(b"kept")) + u.reply())
    ic.install(canister, u.universal(), UPGRADE, b"")
    assert _query(ic, canister, u.stable_read(3, 4)) == b"kept"
    ic.install(canister, u.universal(), REINSTALL, b"")
    assert _query(ic, canister, u.i64(u.api("stable64_size"))) == bytes(8)


def test_stable_memory_of_a_trapping_message_is_unchanged(ic: Driver, canister: bytes) -> None:
    ic.update(canister, "update", u.stable_grow(1) + u.stable_write(0, u.blob(b"old")) + u.reply())
    rejected(ic.update(canister, "update", u.stable_grow(7) + u.stable_write(0, u.blob(b"new")) + u.trap()))
    assert _query(ic, canister, u.append(u.i64(u.api("stable64_size"))) + u.stable_read(0, 3))[8:] == b"old"


# System time, timer, counters.


def test_the_time_is_the_networks_and_constant_within_a_message(ic: Driver, canister: bytes) -> None:
    """the time is the network's, and constant within a message"""
    before = ic.time()
    data = _query(ic, canister, u.append(u.i64(u.api("time"))) + u.i64(u.api("time")))
    assert data[:8] == data[8:]
    assert before <= int.from_bytes(data[:8], "little") <= ic.time()


def test_setting_the_timer_gives_the_previous_value(ic: Driver, canister: bytes) -> None:
    later = ic.time() + 10**15
    for value, before in ((later, 0), (later + 1, later), (0, later + 1), (0, 0)):
        assert number(ic.update(canister, "update", u.reply(u.i64(u.api("global_timer_set", value))))) == before


def test_the_performance_counter_grows_with_work(ic: Driver, canister: bytes) -> None:
    counter = u.i64(u.api("performance_counter", 0))
    data = _query(ic, canister, u.append(counter) + u.basic("fill", 40_000, 10_000) + counter)
    first, second = (int.from_bytes(data[i : i + 8], "little") for i in (0, 8))
    assert first + 10_000 < second < first + 20_000


def test_the_counter_of_the_call_includes_the_messages_before(ic: Driver, canister: bytes) -> None:
    """performance counter 1 includes the messages of the call before this one"""
    both = u.append(u.i64(u.api("performance_counter", 0))) + u.reply(u.i64(u.api("performance_counter", 1)))
    work = u.basic("fill", 40_000, 50_000)
    data = replied(ic.update(canister, "update", work + u.call(canister, "update", u.reply(), on_reply=both)))
    this, total = (int.from_bytes(data[i : i + 8], "little") for i in (0, 8))
    assert this < 50_000 < total - this


def test_an_unknown_performance_counter_traps(ic: Driver, canister: bytes) -> None:
    """ic0.performance_counter traps for a counter that there is not"""
    rejected(ic.query(canister, "query", u.ignore(u.api("performance_counter", 2))), "IC0504", "counter type 2")


def test_replicated_execution_is_told_apart(ic: Driver, canister: bytes) -> None:
    """ic0.in_replicated_execution tells replicated from other execution"""
    program = u.reply(u.i64(u.api("in_replicated_execution")))
    assert [number(ic.update(canister, method, program)) for method in ("update", "query")] == [1, 1]
    assert [number(ic.query(canister, method, program)) for method in ("query", "composite_query")] == [0, 0]


def test_controllers_are_known(ic: Driver) -> None:
    """ic0.is_controller tells controllers from others"""
    canister = ic.create(u.universal(), arg=b"", controllers=[ALICE, BOB])
    for who, expected in ((ALICE, 1), (BOB, 1), (canister, 0), (b"", 0)):
        assert number(ic.query(canister, "query", u.reply(u.i64(u.api("is_controller", u.blob(who)))))) == expected


def test_asking_about_a_principal_that_is_too_long_traps(ic: Driver, canister: bytes) -> None:
    """ic0.is_controller traps for bytes that are no principal"""
    rejected(ic.query(canister, "query", u.ignore(u.api("is_controller", u.blob(bytes(30))))), "IC0504", "29 bytes")


# Certified data.


def test_certified_data_is_in_the_certificate_of_a_query(ic: Driver, canister: bytes) -> None:
    ic.update(canister, "update", u.api("certified_data_set", u.blob(b"certain")) + u.reply())
    for method in ("query", "composite_query"):
        certificate = replied(ic.query(canister, method, u.reply(u.taken("data_certificate"))))
        found = ic.certified(certificate, [b"canister", canister, b"certified_data"])
        assert found == b"certain"


def test_certified_data_has_at_most_32_bytes(ic: Driver, canister: bytes) -> None:
    rejected(
        ic.update(canister, "update", u.api("certified_data_set", u.blob(bytes(33)))),
        "IC0504",
        "no larger than 32 bytes. Found 33 bytes",
    )
    assert replied(ic.update(canister, "update", u.api("certified_data_set", u.blob(bytes(32))) + u.reply())) == b""


def test_certified_data_survives_upgrades_and_not_reinstallations(ic: Driver, canister: bytes) -> None:
    ic.update(canister, "update", u.api("certified_data_set", u.blob(b"certain")) + u.reply())
    for mode, expected in ((UPGRADE, b"certain"), (REINSTALL, b"")):
        ic.install(canister, u.universal(), mode, b"")
        certificate = _query(ic, canister, u.taken("data_certificate"))
        assert ic.certified(certificate, [b"canister", canister, b"certified_data"]) == expected


def test_a_certificate_is_present_in_queries_only(ic: Driver, canister: bytes) -> None:
    """the data certificate is present in queries only"""
    present = u.reply(u.i64(u.api("data_certificate_present")))
    assert [number(ic.query(canister, method, present)) for method in ("query", "composite_query")] == [1, 1]
    assert [number(ic.update(canister, method, present)) for method in ("update", "query")] == [0, 0]


def test_a_certificate_is_absent_below_the_first_canister_and_in_callbacks(ic: Driver, canister: bytes) -> None:
    """in a composite query the data certificate is absent in the queries that it calls and in callbacks"""
    present = u.reply(u.i64(u.api("data_certificate_present")))
    other = ic.create(u.universal(), arg=b"")
    assert number(ic.query(canister, "composite_query", u.call(other, "query", present))) == 0
    assert number(ic.query(canister, "composite_query", u.call(other, "query", u.reply(), on_reply=present))) == 0


def test_the_root_key_is_known_in_replicated_execution(ic: Driver, canister: bytes) -> None:
    """a canister can read the root key in replicated execution"""
    assert replied(ic.update(canister, "update", u.reply(u.taken("root_key")))) == ic.network.root_key


# Costs and environment variables.


def test_the_cost_of_a_call_covers_the_call(ic: Driver, canister: bytes) -> None:
    """ic0.cost_call gives no less than what a call costs"""
    price = int.from_bytes(_query(ic, canister, u.amount("cost_call", 6, 100)), "little")
    other = ic.create(u.universal(), arg=b"")
    before = ic.cycles(canister)
    ic.update(canister, "update", u.call(other, "update", u.reply().ljust(100, b"\0")))
    assert 0 < before - ic.cycles(canister) < price


def test_the_cost_of_a_call_is_the_same_from_everywhere(ic: Driver, canister: bytes) -> None:
    """the cost of a call is the same in updates, queries, installations, inspections, timers and callbacks"""
    kept = u.store(1024, u.basic("load", u.amount("cost_call", 6, 100) + u.basic("drop")))
    told = u.reply(u.i64(u.stored(1024)))
    expected = (260_000 + 106 * 1_000 + 2 * 2**20 * 1_000 + 5_000_000 + 40_000_000_000).to_bytes(8, "little")
    assert replied(ic.query(canister, "query", kept + told)) == expected
    assert replied(ic.update(canister, "update", kept + told)) == expected
    assert replied(ic.update(canister, "query", kept + told)) == expected
    assert replied(ic.query(canister, "composite_query", kept + told)) == expected
    callback = u.call(canister, "query", u.reply(), on_reply=kept + told)
    assert replied(ic.update(canister, "update", callback)) == expected
    assert replied(ic.query(canister, "composite_query", callback)) == expected
    for code, arg in ((u.universal(), kept), (u.universal(start=kept), b"")):
        assert replied(ic.query(ic.create(code, arg=arg), "query", told)) == expected
    ic.update(canister, "update", u.hook("canister_global_timer", kept) + u.ignore(u.api("global_timer_set", 1)))
    ic.tick()
    assert replied(ic.query(canister, "query", told)) == expected
    wide = (260_000 + 106 * 1_000 + 2 * 2**20 * 1_000 + 5_000_000 + 80_000_000_000).to_bytes(8, "little")
    assert replied(ic.query(ic.create(u.universal(memory64=True), arg=b""), "query", kept + told)) == wide


def test_the_cost_of_a_creation_is_500_billion(ic: Driver, canister: bytes) -> None:
    """ic0.cost_create_canister gives 500 billion"""
    assert int.from_bytes(_query(ic, canister, u.amount("cost_create_canister")), "little") == 500_000_000_000


def test_the_cost_of_an_outcall_is_that_of_the_price_table(ic: Driver, canister: bytes) -> None:
    """ic0.cost_http_request gives the price of pricing version 1"""
    expected = (3_000_000 + 60_000 * 13) * 13 + 100 * 400 * 13 + 2_000 * 800 * 13
    assert int.from_bytes(_query(ic, canister, u.amount("cost_http_request", 100, 2_000)), "little") == expected


COUNTS = candid.record(dict.fromkeys(("min_responses", "max_responses", "total_requests"), candid.NAT32))
KIND = candid.variant({"fully_replicated": candid.NULL, "non_replicated": candid.NULL, "flexible": candid.Opt(COUNTS)})
OUTCALL = {
    "request_bytes": 1_000,
    "http_roundtrip_time_ms": 2_000,
    "raw_response_bytes": 30_000,
    "transformed_response_bytes": 20_000,
    "transform_instructions": 1_300_000,
}


def _outcall(kind: object, **more: int) -> bytes:
    type_ = candid.record({**dict.fromkeys(OUTCALL, candid.NAT64), "outcall_type": candid.Opt(KIND)})
    return candid.encode([type_], [{**OUTCALL, **more, "outcall_type": kind}])


def test_the_cost_of_an_outcall_of_version_2_is_base_usage_and_a_reserve_for_the_delivery(
    ic: Driver, canister: bytes
) -> None:
    """ic0.cost_http_request_v2 gives base fee, usage and a reserve for the delivery of an outcall"""

    def cost(arg: bytes) -> int:
        return int.from_bytes(_query(ic, canister, u.amount("cost_http_request_v2", u.blob(arg))), "little")

    usage = 50 * 30_000 + 300 * 2_000 + 100_000
    replicated = 13 * (1_000_000 + 50_000 + 140_000 * 13 + 800 * 169) + 13 * usage + -(-9_490 * 20_000 // 9) * 13
    assert cost(_outcall({"fully_replicated": None})) == cost(_outcall(None)) == replicated
    one = 13 * (1_000_000 + 50_000 + 90_000 * 13 + 126_000) + usage + 50 * 13 * 20_000 + 9_490 * 20_000
    assert cost(_outcall({"non_replicated": None})) == one
    base = 13 * (1_000_000 + 50_000 + 90_000 * 13 + 126_000 * 9)
    flexible = base + 13 * (usage + 50 * 13 * 20_000 + 9_490 * 20_181 + 126_000 * 4)
    assert cost(_outcall({"flexible": None})) == flexible
    counts = {"min_responses": 9, "max_responses": 13, "total_requests": 13}
    assert cost(_outcall({"flexible": counts})) == flexible
    unanswered = {"min_responses": 0, "max_responses": 0, "total_requests": 2}
    nothing = 13 * (1_000_000 + 50_000 + 90_000 * 13) + 2 * (usage + 50 * 13 * 20_000)
    assert cost(_outcall({"flexible": unanswered})) == nothing
    small = _outcall(None, transformed_response_bytes=0)
    assert replicated - cost(small) == (-(-9_490 * 20_000 // 9) - -(-9_490 * 1_025 // 9)) * 13


@pytest.mark.parametrize("arg", [b"", b"DIDL", _outcall(None) + b"x", bytes(2_000)])
def test_wrong_parameters_of_an_outcalls_cost_trap(ic: Driver, canister: bytes, arg: bytes) -> None:
    """ic0.cost_http_request_v2 traps if its parameters are not Candid of the specified type"""
    outcome = ic.query(canister, "query", u.amount("cost_http_request_v2", u.blob(arg)))
    rejected(outcome, "IC0504", "ic0.cost_http_request_v2: parameters")


@pytest.mark.parametrize("name", ["cost_sign_with_ecdsa", "cost_sign_with_schnorr", "cost_vetkd_derive_key"])
def test_the_cost_of_a_signature_depends_on_algorithm_and_key(ic: Driver, canister: bytes, name: str) -> None:
    """ic0.cost_sign_* and cost_vetkd_derive_key give the fee of the key, 1 for another algorithm, 2 for another key"""

    def cost(key: bytes, algorithm: int) -> bytes:
        return _query(ic, canister, u.append(u.i64(u.api(name, u.blob(key), algorithm, 1024))) + u.i64(u.stored(1024)))

    assert cost(b"test_key_1", 0) == bytes(8) + (10_000_000_000).to_bytes(8, "little")
    assert cost(b"test_key_1", 9) == (1).to_bytes(8, "little") + bytes(8)
    assert cost(b"nobody's key", 0) == (2).to_bytes(8, "little") + bytes(8)
    assert cost(b"k" * 200, 0) == (2).to_bytes(8, "little") + bytes(8)
    curves = {"cost_sign_with_ecdsa": 2, "cost_sign_with_schnorr": 2, "cost_vetkd_derive_key": 1}[name]
    for algorithm in range(3):
        price = 26_153_846_153 if algorithm < curves else 0
        assert cost(b"key_1", algorithm)[8:] == price.to_bytes(8, "little")
    outside = u.reply(u.i64(u.api(name, u.blob(b"nobody's key"), 0, BEYOND)))
    rejected(ic.query(canister, "query", outside), "IC0504", "heap access out of bounds")


def test_environment_variables_are_listed_and_looked_up(ic: Driver) -> None:
    variables = [{"name": "CITY", "value": "Basel"}, {"name": "YEAR", "value": "2026"}]
    canister = ic.create(u.universal(), arg=b"", environment_variables=variables)
    assert _query(ic, canister, u.i64(u.api("env_var_count"))) == (2).to_bytes(8, "little")
    names = u.append(u.taken("env_var_name", 0)) + u.taken("env_var_name", 1)
    assert _query(ic, canister, names) == b"CITYYEAR"
    assert _query(ic, canister, u.taken("env_var_value", u.blob(b"CITY"))) == b"Basel"
    exists = u.append(u.i64(u.api("env_var_name_exists", u.blob(b"YEAR"))))
    assert _query(ic, canister, exists + u.i64(u.api("env_var_name_exists", u.blob(b"DAY"))))[::8] == b"\1\0"


@pytest.mark.parametrize(
    "program",
    [
        u.ignore(u.api("env_var_name_size", 0)),
        u.ignore(u.api("env_var_value_size", u.blob(b"MISSING"))),
        u.ignore(u.api("env_var_name_exists", u.blob(b"\xff"))),
        u.ignore(u.api("env_var_name_exists", u.blob(bytes(129)))),
    ],
    ids=["index out of bounds", "unknown name", "not UTF-8", "too long"],
)
def test_wrong_environment_variables_trap(ic: Driver, canister: bytes, program: bytes) -> None:
    """asking for an environment variable that there is not, or with a name that is too long or not UTF-8, traps"""
    rejected(ic.query(canister, "query", program), "IC0504")


# Debugging aids.


def test_printing_never_traps(ic: Driver, canister: bytes) -> None:
    """ic0.debug_print never traps, even for bytes outside of the memory"""
    program = u.api("debug_print", u.blob(b"fine")) + u.api("debug_print", BEYOND, 100) + u.reply()
    assert isinstance(ic.update(canister, "update", program), Reply)
    logs = [text for _, _, text in ic.network.subnet.canisters[canister].logs]
    assert logs == [b"fine", b"(debug_print message out of memory bounds)"]


def test_a_trap_leaves_out_what_is_not_utf8(ic: Driver, canister: bytes) -> None:
    """bytes that are not UTF-8 are left out of the text of ic0.trap"""
    refusal = rejected(ic.update(canister, "update", u.api("trap", u.blob(b"be\xffcause"))), "IC0503")
    assert "with message: 'because'." in refusal.message


def test_a_trap_from_outside_of_the_memory_is_still_a_trap(ic: Driver, canister: bytes) -> None:
    """ic0.trap traps even for bytes outside of the memory"""
    rejected(ic.update(canister, "update", u.api("trap", BEYOND, 100)), "IC0503", "out of memory bounds")


def test_an_installation_without_canister_init_is_fine(ic: Driver) -> None:
    """a module without canister_init can be installed"""
    canister = ic.create()
    assert ic.install(canister, b"\0asm\1\0\0\0", INSTALL) is None
    rejected(ic.update(canister, "anything"), "IC0536")
