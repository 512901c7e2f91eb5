"""Logs of canisters: of one and of all, since a time, as they come, and for whom."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from itertools import islice

import pytest
import wasmtime

from mainer_nb import management, stopping
from mainer_nb.errors import PreconditionError
from mainer_nb.fleet import Fleet, Member, logs
from mainer_nb.network import Network

# A canister that logs what it is told.
TALKER = """
(module
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory 1)
  (func (export "canister_update say")
    (call $copy (i32.const 0) (i32.const 0) (call $size))
    (call $print (i32.const 0) (call $size))
    (call $reply)))
"""


def say(net: Network, member: Member, *words: bytes) -> None:
    for word in words:
        net.agent.update_bytes(member.canister_id, "say", word)


def talker(net: Network, name: str) -> Member:
    canister_id = management.create_canister(net.agent, 10 * management.TRILLION)
    management.install_code(net.agent, canister_id, bytes(wasmtime.wat2wasm(TALKER)), "install")
    return Member(canister_id, "other", name)


@pytest.fixture
def talkers(deployed: Network) -> Fleet:
    """Two canisters that have said something."""
    first, second = talker(deployed, "first"), talker(deployed, "second")
    say(deployed, first, b"one", b"two")
    say(deployed, second, b"three")
    say(deployed, first, b"four \xff")
    return Fleet((first, second))


def test_the_lines_of_all_are_in_the_order_of_time(deployed: Network, talkers: Fleet) -> None:
    found = logs.fetch(deployed, talkers)
    assert [(line.name, line.number, line.text) for line in found.lines] == [
        ("first", 0, "one"),
        ("first", 1, "two"),
        ("second", 0, "three"),
        ("first", 2, "four \ufffd"),
    ]
    assert found.unseen == {}


def test_lines_since_a_time(deployed: Network, talkers: Fleet) -> None:
    third = logs.fetch(deployed, talkers).lines[2]
    found = logs.fetch(deployed, talkers, since=third.time)
    assert [line.text for line in found.lines][-2:] == ["three", "four \ufffd"]
    assert logs.fetch(deployed, talkers, since=found.lines[-1].time + timedelta(seconds=1)).lines == ()


def test_a_log_that_is_longer_than_a_response_is_read_to_its_end(deployed: Network) -> None:
    member = talker(deployed, "long")
    words = [b"%04d" % number + b"." * 900 for number in range(60)]
    say(deployed, member, *words)
    found = [line.text.encode() for line in logs.fetch(deployed, Fleet((member,))).lines]
    assert found == words[-len(found) :]
    assert len(found) > 2


def test_following_gives_each_line_once(deployed: Network, talkers: Fleet) -> None:
    first, second = talkers.members
    known = logs.fetch(deployed, talkers).lines
    following = logs.follow(deployed, talkers, since=known[0].time, seconds=0.05)
    assert list(islice(following, 4)) == list(known)
    say(deployed, second, b"five")
    assert next(following).text == "five"
    say(deployed, first, b"six")
    say(deployed, second, b"seven")
    assert [line.text for line in islice(following, 2)] == ["six", "seven"]


def test_following_begins_now(deployed: Network, talkers: Fleet) -> None:
    following = logs.follow(deployed, talkers, seconds=0.05)

    def look(*_: object) -> None:
        say(deployed, talkers.members[0], b"new")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stopping, "pause", look)
        assert next(following).text == "new"


def test_whose_log_cannot_be_seen_is_said(
    deployed: Network, talkers: Fleet, as_stranger: Callable[[Network], Network]
) -> None:
    stranger = as_stranger(deployed)
    first, second = talkers.members
    with pytest.raises(
        PreconditionError, match=rf"{stranger.caller} may not see the log of first \({first.canister_id}"
    ):
        logs.fetch(stranger, talkers)
    management.update_settings(deployed.agent, second.canister_id, controllers=[deployed.caller, stranger.caller])
    found = logs.fetch(stranger, talkers)
    assert [line.text for line in found.lines] == ["three"]
    assert found.unseen.keys() == {first.canister_id}
    assert "log_visibility" in found.unseen[first.canister_id]


def test_a_fleet_of_nobody_says_nothing(deployed: Network) -> None:
    assert logs.fetch(deployed, Fleet(())) == logs.Logs(())


def test_who_controls_all_sees_the_logs_of_all(uploaded: Network, whole: Fleet) -> None:
    assert logs.fetch(uploaded, whole).unseen == {}
