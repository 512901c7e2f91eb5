"""Time: timers, heartbeats, the hook for low memory, expiry of requests; all with the time in the test's hands."""

from __future__ import annotations

import pytest

from mainer_nb.localnet import ticks
from mainer_nb.protocol import hash_tree
from tests.localnet import universal as u
from tests.localnet.driver import REINSTALL, UPGRADE, Driver, eventually
from tests.localnet.outcomes import number, rejected, replied

COUNT = u.store(1024, u.basic("add", u.stored(1024), 1))


@pytest.fixture
def canister(ic: Driver) -> bytes:
    """A universal canister; the network's time stands still."""
    ic.pause()
    return ic.create(u.universal(), arg=b"")


def _counted(ic: Driver, canister: bytes) -> int:
    return number(ic.query(canister, "query", u.reply(u.i64(u.stored(1024)))))


def _set_timer(ic: Driver, canister: bytes, seconds: float, program: bytes = COUNT) -> None:
    at = ic.time() + round(seconds * 10**9)
    set_ = u.hook("canister_global_timer", program) + u.ignore(u.api("global_timer_set", at))
    assert replied(ic.update(canister, "update", set_ + u.reply())) == b""


# Time.


def test_time_stands_still_while_it_is_paused(ic: Driver, canister: bytes) -> None:
    """the network's time stands still while a test has paused it"""
    program = u.reply(u.i64(u.api("time")))
    now = ic.time()
    assert number(ic.update(canister, "update", program)) == now
    assert number(ic.query(canister, "query", program)) == now


def test_time_is_advanced_by_hand(ic: Driver, canister: bytes) -> None:
    """a test can advance the network's time"""
    now = ic.time()
    ic.advance_time(3600)
    assert number(ic.query(canister, "query", u.reply(u.i64(u.api("time"))))) == now + 3600 * 10**9


def test_time_is_set(ic: Driver, canister: bytes) -> None:
    """a test can set the network's time"""
    ic.set_time(2_000_000_000 * 10**9)
    assert number(ic.query(canister, "query", u.reply(u.i64(u.api("time"))))) == 2_000_000_000 * 10**9


def test_time_does_not_go_backwards(ic: Driver, canister: bytes) -> None:
    """the network's time cannot be set backwards"""
    with pytest.raises(ValueError, match="never goes backwards"):
        ic.set_time(ic.time() - 1)
    with pytest.raises(ValueError, match="never goes backwards"):
        ic.advance_time(-1)


def test_time_runs_on_from_where_it_was_set(ic: Driver, canister: bytes) -> None:
    ic.advance_time(10**6)
    now = ic.time()
    ic.resume()
    assert now < ic.time() < now + 60 * 10**9


def test_certificates_tell_the_networks_time(ic: Driver, canister: bytes) -> None:
    """certificates have the network's time"""
    ic.advance_time(10**6)
    certificate = replied(ic.query(canister, "query", u.reply(u.taken("data_certificate"))))
    found = ic.certified(certificate, [b"time"])
    assert isinstance(found, bytes)
    assert hash_tree_number(found) == ic.time()


def hash_tree_number(value: bytes) -> int:
    """A number in LEB128, as the state tree has it."""
    return sum((byte & 0x7F) << 7 * i for i, byte in enumerate(value))


def test_storage_is_paid_as_time_passes(ic: Driver, canister: bytes) -> None:
    ic.update(canister, "update", u.stable_grow(1600) + u.reply())
    ic.tick()
    before = ic.cycles(canister)
    ic.advance_time(24 * 3600)
    ic.tick()
    size = ic.network.subnet.canisters[canister].state.memory_size()
    expected = size * 127_000 * 24 * 3600 // 2**30
    assert abs(before - ic.cycles(canister) - expected) < expected // 10


# Timers.


def test_a_timer_fires_when_its_time_has_come(ic: Driver, canister: bytes) -> None:
    _set_timer(ic, canister, 60)
    ic.advance_time(59)
    ic.tick()
    assert _counted(ic, canister) == 0
    ic.advance_time(1)
    ic.tick()
    assert _counted(ic, canister) == 1


def test_a_timer_fires_once(ic: Driver, canister: bytes) -> None:
    _set_timer(ic, canister, 1)
    for _ in range(3):
        ic.advance_time(10)
        ic.tick()
    assert _counted(ic, canister) == 1
    assert number(ic.update(canister, "update", u.reply(u.i64(u.api("global_timer_set", 0))))) == 0


def test_a_timer_in_the_past_fires_at_once(ic: Driver, canister: bytes) -> None:
    _set_timer(ic, canister, -100)
    ic.tick()
    assert _counted(ic, canister) == 1


def test_a_timer_is_set_again_by_itself(ic: Driver, canister: bytes) -> None:
    """a timer can set itself again"""
    again = COUNT + u.ignore(u.api("global_timer_set", u.basic("add", u.api("time"), 10**9)))
    _set_timer(ic, canister, 1, again)
    for _ in range(5):
        ic.advance_time(1)
        ic.tick()
    assert _counted(ic, canister) == 5


def test_a_timer_is_moved_and_deactivated(ic: Driver, canister: bytes) -> None:
    """a timer can be moved and deactivated"""
    _set_timer(ic, canister, 10)
    _set_timer(ic, canister, 100)
    ic.advance_time(50)
    ic.tick()
    assert _counted(ic, canister) == 0
    ic.update(canister, "update", u.ignore(u.api("global_timer_set", 0)) + u.reply())
    ic.advance_time(100)
    ic.tick()
    assert _counted(ic, canister) == 0


@pytest.mark.parametrize("mode", [UPGRADE, REINSTALL], ids=["upgrade", "reinstall"])
def test_a_timer_is_deactivated_by_new_code(ic: Driver, canister: bytes, mode: dict[str, None]) -> None:
    _set_timer(ic, canister, 10)
    ic.install(canister, u.universal(), mode, u.hook("canister_global_timer", COUNT))
    ic.advance_time(20)
    ic.tick()
    assert _counted(ic, canister) == 0


def test_a_timer_that_was_set_by_the_installation_fires(ic: Driver, canister: bytes) -> None:
    start = u.hook("canister_global_timer", COUNT) + u.ignore(u.api("global_timer_set", ic.time() + 10**9))
    ic.install(canister, u.universal(), REINSTALL, start)
    ic.advance_time(2)
    ic.tick()
    assert _counted(ic, canister) == 1


def test_a_timer_of_a_trapping_message_is_not_set(ic: Driver, canister: bytes) -> None:
    ic.update(canister, "update", u.hook("canister_global_timer", COUNT) + u.reply())
    rejected(ic.update(canister, "update", u.ignore(u.api("global_timer_set", 1)) + u.trap()))
    ic.tick()
    assert _counted(ic, canister) == 0


def test_a_timer_that_traps_changes_nothing(ic: Driver, canister: bytes) -> None:
    _set_timer(ic, canister, 1, COUNT + u.trap("in the timer"))
    ic.advance_time(2)
    ic.tick()
    assert _counted(ic, canister) == 0
    logs = [text for _, _, text in ic.network.subnet.canisters[canister].logs]
    assert b"in the timer" in logs[-1]


def test_a_timer_that_comes_due_while_its_canister_is_stopped_fires_when_it_is_started(
    ic: Driver, canister: bytes
) -> None:
    _set_timer(ic, canister, 1)
    ic.manage("stop_canister", {"canister_id": canister})
    ic.advance_time(2)
    ic.tick()
    ic.manage("start_canister", {"canister_id": canister})
    ic.tick()
    assert _counted(ic, canister) == 1


def test_a_timer_calls_other_canisters(ic: Driver, canister: bytes) -> None:
    other = ic.create(u.universal(), arg=b"")
    _set_timer(ic, canister, 1, u.call(other, "update", COUNT + u.reply(), on_reply=COUNT))
    ic.advance_time(2)
    ic.tick()
    assert (_counted(ic, canister), _counted(ic, other)) == (1, 1)


def test_timers_survive_a_restart(ic: Driver, canister: bytes) -> None:
    _set_timer(ic, canister, 3600)
    ic.restart()
    ic.tick()
    assert _counted(ic, canister) == 0
    ic.advance_time(4000)
    ic.tick()
    assert _counted(ic, canister) == 1


def test_timers_of_several_canisters_fire_in_order(ic: Driver, canister: bytes) -> None:
    book = ic.create(u.universal(), arg=b"")
    canisters = [ic.create(u.universal(), arg=b"") for _ in range(3)]
    twice = u.basic("add", u.stored(1024), u.stored(1024))
    for digit, seconds in ((0, 30), (1, 10), (1, 20)):
        note = u.store(1024, u.basic("add", twice, digit))
        _set_timer(ic, canisters.pop(), seconds, u.call(book, "update", note + u.reply(), on_reply=b""))
    order = []
    for _ in range(3):
        ic.advance_time(10)
        ic.tick()
        order.append(_counted(ic, book))
    assert order == [0b1, 0b11, 0b110]


# Heartbeats and the hook for low memory.


def test_a_heartbeat_comes_with_each_tick(ic: Driver, canister: bytes) -> None:
    """a heartbeat runs with each tick of a test"""
    ic.update(canister, "update", u.hook("canister_heartbeat", COUNT) + u.reply())
    ic.tick()
    first = _counted(ic, canister)
    ic.tick(3)
    assert _counted(ic, canister) == first + 3


def test_heartbeats_come_by_themselves(ic: Driver, canister: bytes) -> None:
    """heartbeats run without a tick as time passes"""
    ic.resume()
    ic.update(canister, "update", u.hook("canister_heartbeat", COUNT) + u.reply())
    before = _counted(ic, canister)
    ic.advance_time(2)
    eventually(lambda: _counted(ic, canister) > before)


def test_a_heartbeat_cannot_respond(ic: Driver, canister: bytes) -> None:
    ic.update(canister, "update", u.hook("canister_heartbeat", COUNT + u.reply()) + u.reply())
    ic.tick()
    assert _counted(ic, canister) == 0


def _low_memory(ic: Driver, threshold: int, pages: int = 10) -> bytes:
    """A canister that may have `pages` pages of heap and counts the calls of its hook."""
    settings = {"wasm_memory_limit": pages * 65536, "wasm_memory_threshold": threshold}
    return ic.create(u.universal(), arg=u.hook("canister_on_low_wasm_memory", COUNT), **settings)


def test_the_hook_for_low_memory_runs_when_the_threshold_is_crossed(ic: Driver) -> None:
    canister = _low_memory(ic, 4 * 65536)
    ic.update(canister, "update", u.ignore(u.basic("grow", 3)) + u.reply())
    ic.tick()
    assert _counted(ic, canister) == 0
    ic.update(canister, "update", u.ignore(u.basic("grow", 1)) + u.reply())
    ic.tick()
    assert _counted(ic, canister) == 1


def test_the_hook_for_low_memory_runs_once_for_a_crossing(ic: Driver) -> None:
    canister = _low_memory(ic, 6 * 65536)
    for _ in range(3):
        ic.update(canister, "update", u.ignore(u.basic("grow", 2)) + u.reply())
        ic.tick()
    assert _counted(ic, canister) == 1


def test_the_hook_for_low_memory_does_not_run_without_a_threshold(ic: Driver) -> None:
    canister = _low_memory(ic, 0)
    ic.update(canister, "update", u.ignore(u.basic("grow", 6)) + u.reply())
    ic.tick()
    assert _counted(ic, canister) == 0


# Requests.


def test_an_accepted_message_is_not_executed_after_its_expiry(ic: Driver, canister: bytes) -> None:
    ic.hold(canister)
    request = ic.submit(canister, "update", COUNT + u.reply())
    assert isinstance(request, bytes)
    ic.advance_time(600)
    ic.go_on(canister)
    refusal = rejected(ic.response(request), "IC0202", "timed out waiting to start executing")
    assert refusal.code == 2
    assert _counted(ic, canister) == 0


def test_a_response_can_be_read_for_five_minutes_even_after_the_expiry(ic: Driver, canister: bytes) -> None:
    request = ic.submit(canister, "update", u.reply())
    assert isinstance(request, bytes)
    ic.response(request)
    ic.advance_time(ticks.RESPONSE_LIFETIME // 10**9 - 1)  # the expiry was after four minutes
    ic.tick()
    assert ic.network.subnet.requests[request].status == "replied"


def test_a_request_is_forgotten_after_its_expiry_and_five_minutes(ic: Driver, canister: bytes) -> None:
    request = ic.submit(canister, "update", u.reply())
    assert isinstance(request, bytes)
    ic.response(request)
    ic.advance_time(600)
    ic.tick()
    assert request not in ic.network.subnet.requests
    path = [b"request_status", request]
    assert hash_tree.lookup([*path, b"status"], ic.network.state_tree()) is hash_tree.ABSENT


def test_a_request_that_has_not_expired_is_done_when_its_response_is_forgotten(ic: Driver, canister: bytes) -> None:
    """a request that has not expired gets the status "done" when its response is forgotten"""
    request = ic.submit(canister, "update", u.reply())
    assert isinstance(request, bytes)
    ic.response(request)
    ic.network.subnet.requests[request].expiry += 600 * 10**9
    ic.advance_time(400)
    ic.tick()
    tree = ic.network.state_tree()
    assert hash_tree.lookup_value([b"request_status", request, b"status"], tree) == b"done"
    assert hash_tree.lookup([b"request_status", request, b"reply"], tree) is hash_tree.ABSENT
