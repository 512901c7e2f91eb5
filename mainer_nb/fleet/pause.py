"""Pause the protocol so that nothing is lost, and resume it; maintenance of single mAIners.

    pause.pause(net, whole)                  # who worked by itself is kept on disk
    pause.resume(net, whole)                 # starts those again, and only those
    pause.maintain(net, whole.only(["Own 1"]))              # takes no challenges, and says so
    pause.maintain(net, whole.only(["Own 1"]), on=False)

The order follows a challenge on its way: Challengers first, so that no new one comes; then the mAIners that pull; then
ShareServices, when they have answered what they have; Judges last, when they have scored what was submitted. Resuming
goes backwards, so that whoever gets something is there. What waits in a queue stays there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from .. import management, places
from ..errors import ArgumentError, NetworkError, PreconditionError, RejectError, WaitTimeout
from ..network import GAME_STATE, Network, file_name
from ..progress import Progress, Silent, amount
from . import work
from .members import Fleet, Member, Role, canister, offers

#: Who stops after whom.
ORDER: tuple[tuple[Role, ...], ...] = (("Challenger",), ("Own", "ShareAgent"), ("ShareService",), ("Judge",))
MAINTENANCE = "setMaintenanceFlagAdmin"  # beyond the original interface
JUDGE_PATIENCE = 180.0  # seconds without a score, after which no Judge is at work: its timers run every minute
NOT_TOLD = "it does not tell whether its timers ran (the original interface): "

#: Whether timers ran before: "untold" if the canister does not say.
Before = Literal["ran", "stood", "untold"]
Change = Literal["pause", "resume"]
CHANGES: tuple[Change, ...] = get_args(Change)


@dataclass(frozen=True)
class Paused:
    """What pausing or resuming did to a member.

    Attributes:
        done: in words.
        missing: what it does not offer or what could not be done; "" if nothing.
    """

    member: Member
    before: Before
    done: str
    missing: str = ""


@dataclass(frozen=True)
class Maintained:
    """A mAIner that was put into maintenance or taken out of it; `problem`: why not, "" if it was."""

    member: Member
    on: bool
    problem: str = ""


def pause(net: Network, fleet: Fleet, timeout: float = work.TIMEOUT, progress: Progress | None = None) -> list[Paused]:
    """Stop the timers of a fleet, each stage when the one before has nothing under way.

    Args:
        timeout: seconds that a stage may take to finish what it has; then it is stopped with what is left in its
            queue, where it stays, and the record says so.

    Raises:
        CallError: a member refuses. Those before it are paused; run it again for the rest. One that takes no calls, as
            it is stopped or out of cycles, is left alone.
    """
    memory = _Memory.of(net)
    done: list[Paused] = []
    with (progress or Silent()).task("pause", len(fleet.of_role(*sum(ORDER, ()))), "canisters") as task:
        for roles in ORDER:
            stage = fleet.of_role(*roles)
            left = _ENDS[roles[0]](net, stage, timeout) if roles[0] in _ENDS else ""
            for member in stage:
                task.note(member.name)
                done.append(_stop(net, member, memory, left))
                task.advance(1)
            for member in stage:
                with suppress(WaitTimeout, RejectError):  # what is under way then ends by itself
                    work.wait_until_idle(net, member, timeout)
    return done


def resume(net: Network, fleet: Fleet, start_untold: bool = False, progress: Progress | None = None) -> list[Paused]:
    """Start the timers that ran before `pause`, in the opposite order.

    Args:
        start_untold: also those that do not tell whether they ran.

    Raises:
        CallError: a member does not answer. Those before it are started; run it again for the rest.
    """
    memory = _Memory.of(net)
    done = []
    with (progress or Silent()).task("resume", len(memory.before), "canisters") as task:
        for roles in reversed(ORDER):
            for member in fleet.of_role(*roles):
                if (before := memory.before.get(member.canister_id)) is None:
                    continue
                done.append(_start(net, member, before, start_untold))
                memory.forget(member.canister_id)
                task.advance(1)
        for canister_id in [each for each in memory.before if not management.exists(net.agent, each)]:
            memory.forget(canister_id)  # it was removed meanwhile
    return done


def change(
    net: Network, fleet: Fleet, to: Change | None, timeout: float = work.TIMEOUT, progress: Progress | None = None
) -> list[Paused]:
    """Pause or resume a fleet, as somebody chose; None: leave it as it is. Errors as of `pause` and `resume`.

    Raises:
        ArgumentError: it is neither.
    """
    if to is None:
        return []
    if to not in CHANGES:
        raise ArgumentError(f"unknown change {to!r}: choose one of {', '.join(CHANGES)}")
    return pause(net, fleet, timeout, progress) if to == "pause" else resume(net, fleet, progress=progress)


def paused(net: Network) -> dict[str, Before]:
    """Whose timers `pause` has stopped and `resume` has not started again, by canister id."""
    return dict(_Memory.of(net).before)


def maintain(net: Network, fleet: Fleet, on: bool = True, timeout: float = work.TIMEOUT) -> list[Maintained]:
    """Put the mAIners of a fleet into maintenance, or take them out of it: they finish what is under way and begin
    nothing, take nothing from others, and answer so. Their queues stay as they are.

    Raises:
        CallError: a mAIner does not answer.
        WaitTimeout: what is under way does not end in time; it is in maintenance all the same.
    """
    done = []
    for member in fleet.mainers:
        mainer = canister(net, member)
        if not offers(mainer, MAINTENANCE):
            done.append(Maintained(member, False, f"it does not offer {MAINTENANCE} (the original interface)"))
            continue
        getattr(mainer, MAINTENANCE)(on)
        if on:
            work.wait_until_idle(net, member, timeout)
        done.append(Maintained(member, on))
    return done


# --- one member ---


def _stop(net: Network, member: Member, memory: _Memory, left: str) -> Paused:
    """`left`: what its stage has not done in time, in words."""
    try:
        found = work.of(net, member)
    except RejectError as error:
        return Paused(member, "untold", "left alone: it takes no calls", str(error))
    before: Before = "untold" if found is None else "ran" if found.timers else "stood"
    before = memory.note(member.canister_id, before)
    if found is not None and not found.timers:
        return Paused(member, before, "its timers stood" if before == "stood" else "it was paused already")
    canister(net, member).stopTimerExecutionAdmin()
    missing = [f"{NOT_TOLD}resume starts them only when told to"] if before == "untold" else []
    if left and (found is None or found.waiting):
        missing.append(left if found is None else f"{left}; {found.waiting} stay in its queue")
    return Paused(member, before, "its timers are stopped", "; ".join(missing))


def _start(net: Network, member: Member, before: Before, start_untold: bool) -> Paused:
    if before == "stood":
        return Paused(member, before, "left as it was: its timers stood before")
    if before == "untold" and not start_untold:
        start = f"start them with operate.start_timers(net, {member.canister_id!r}) if they did"
        return Paused(member, before, "left alone", f"{NOT_TOLD}{start}")
    canister(net, member).startTimerExecutionAdmin()
    return Paused(member, before, "its timers are started")


def _answered(net: Network, services: tuple[Member, ...], timeout: float) -> str:
    """Let ShareServices that work by themselves answer what they have; what is left, in words."""
    working = [service for service in services if _works(net, service)]

    def done() -> bool:
        return all((found := work.of(net, service)) is None or not found.waiting for service in working)

    try:
        work.wait_until(done, "answering what is queued", timeout)
    except WaitTimeout as error:
        return str(error)
    return ""


def _works(net: Network, member: Member) -> bool:
    with suppress(RejectError):
        return (found := work.of(net, member)) is not None and found.timers
    return False


def _judged(net: Network, judges: tuple[Member, ...], timeout: float) -> str:
    """Let Judges score what was submitted, as long as that becomes less; what is left, in words."""
    if not judges:
        return ""
    game_state = net.canister(GAME_STATE)
    left = int(game_state.getNumOpenSubmissionsAdmin())
    while left:
        before = left

        def fewer(before: int = before) -> bool:
            return int(game_state.getNumOpenSubmissionsAdmin()) < before

        try:
            work.wait_until(fewer, "a score", min(timeout, JUDGE_PATIENCE))
        except WaitTimeout:
            return f"{amount(left, 'submissions')} wait to be judged"
        left = int(game_state.getNumOpenSubmissionsAdmin())
    return ""


#: What a stage ends before it is stopped.
_ENDS: dict[Role, Callable[[Network, tuple[Member, ...], float], str]] = {"ShareService": _answered, "Judge": _judged}


# --- what is kept on disk ---


class _Memory:
    """Whose timers ran before a pause: written before a timer is stopped, so that it outlives this process."""

    def __init__(self, path: Path, before: dict[str, Before]) -> None:
        self.path = path
        self.before = before

    @classmethod
    def of(cls, net: Network) -> _Memory:
        path = places.state() / "fleet" / f"{file_name(net.name)}.paused.json"
        try:
            return cls(path, json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return cls(path, {})
        except (OSError, ValueError) as error:
            raise PreconditionError(
                f"cannot read {path}: {error}. Correct it, or delete it if nothing is paused."
            ) from error

    def note(self, canister_id: str, before: Before) -> Before:
        """Keep what a canister's timers did; what they did before an earlier pause that was not resumed counts more."""
        known = self.before.get(canister_id)
        kept = before if known is None or before == "ran" else known
        self.before[canister_id] = kept
        self._write()
        return kept

    def forget(self, canister_id: str) -> None:
        del self.before[canister_id]
        self._write()

    def _write(self) -> None:
        draft = self.path.with_suffix(f".{os.getpid()}.draft")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            draft.write_text(json.dumps(self.before, indent=2) + "\n", encoding="utf-8")
            draft.replace(self.path)
        except OSError as error:
            raise NetworkError(
                places.unwritable(self.path, error, "have the state elsewhere: MAINER_NB_STATE")
            ) from error
