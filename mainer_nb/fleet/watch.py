"""Look at a fleet: one reading for each canister, and what of it is not as it should be.

    readings = watch.look(net, fleet.of(net))
    [reading.days for reading in readings]                        # until each freezes
    watch.marks(readings[0], watch.Bounds(days=60))               # ["freezes in 41 days by idle burn, less than 60"]
    watch.keep(net, readings)                                     # as samples, by which burn is measured

Nothing is raised for a canister that does not answer: a figure that was not told is None, and `untold` says why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from .. import artifacts, conditions, management, stopping, upload
from ..canister import Canister
from ..conditions import Condition
from ..errors import ArgumentError, ArtifactError, CallError, CanisterError, MainerError, PreconditionError, RejectError
from ..network import CHALLENGER, CREATOR, GAME_STATE, JUDGE, Network
from ..operate import NEEDED
from ..progress import Progress, Silent
from . import authority, samples, work
from .members import Fleet, Member, Role, canister, offers
from .samples import Burn, Sample

AT_ONCE = 8
NOT_OFFERED, MAY_NOT_SEE, NO_ANSWER = "not offered", "not told to the caller", "no answer"
HEALTHY = "200"
#: What is held against the code of a canister: files/ and, for what it makes, the creator.
Code = Literal["current", "not that of files/", "not that of the creator", "of neither files/ nor creator", "unknown"]
_MADE = "MainerControllerWasm"  # the creator's name for the code of mAIners
_TARGETS: dict[Role, str] = {"Own": _MADE, "ShareService": _MADE, "ShareAgent": _MADE, "LLM": "LlmWasm"}
_FILES: dict[Role, str] = {
    "Game State": GAME_STATE,
    "Creator": CREATOR,
    "Challenger": CHALLENGER,
    "Judge": JUDGE,
    "Own": upload.CONTROLLER,
    "ShareService": upload.CONTROLLER,
    "ShareAgent": upload.CONTROLLER,
}


@dataclass(frozen=True)
class Reading:
    """A canister as it was found; what was not told is None.

    Attributes:
        state: "running", or in words why it does not work.
        module_hash: sha256, hex.
        code: how that compares with the code in files/ and at the creator.
        memory: bytes.
        frozen_below: the balance below which it is frozen.
        burn: what it uses up, measured by samples if there are enough, else idle.
        unexpected: controllers that are neither the caller nor owner, creator or mAIner of it, nor said to be expected.
        llms: how many a mAIner, a Challenger or a Judge has.
        queue: challenges that wait in a mAIner; answers that wait for a Judge in a Game State.
        oldest_queued: when the oldest of them was queued.
        judging, oldest_judging: at a Game State, answers that a Judge has taken and not scored yet, and since when.
        last_submission: of a mAIner; at a Game State the last one of all.
        health: "200" if it is healthy, else what it says.
        untold: by name of the figure, why there is none.
    """

    member: Member
    taken: datetime
    state: str
    module_hash: str | None = None
    code: Code = "unknown"
    memory: int | None = None
    cycles: int | None = None
    frozen_below: int | None = None
    idle_per_day: int | None = None
    burn: Burn | None = None
    unexpected: tuple[str, ...] = ()
    llms: int | None = None
    queue: int | None = None
    oldest_queued: datetime | None = None
    judging: int | None = None
    oldest_judging: datetime | None = None
    last_submission: datetime | None = None
    timers: bool | None = None
    maintenance: bool | None = None
    health: str | None = None
    untold: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def days(self) -> float | None:
        """Until it freezes if it goes on as `burn` says; infinity if it uses up nothing."""
        if self.cycles is None or self.frozen_below is None or self.burn is None:
            return None
        left = max(0, self.cycles - self.frozen_below)
        return left / self.burn.cycles_per_day if self.burn.cycles_per_day else math.inf

    @property
    def queue_age(self) -> float | None:
        """Seconds that the oldest entry of the queue has waited."""
        return self.since(self.oldest_queued)

    def since(self, moment: datetime | None) -> float | None:
        """Seconds from a moment until this reading; None if there is no such moment."""
        return None if moment is None else (self.taken - moment).total_seconds()


@dataclass(frozen=True)
class Bounds:
    """From where on a reading is marked. None: not at all.

    Attributes:
        days: until it freezes, at least.
        cycles: a balance, at least; a mAIner that would pause for lack of cycles is marked in any case.
        memory: bytes, at most.
        queue: challenges that wait in a mAIner, at most.
        queue_hours: that the oldest of them waits, at most; not of a mAIner whose timers are stopped, where all wait.
        unjudged: answers that wait for a Judge, at most.
        unjudged_hours: that the oldest of them waits, at most.
        judging_hours: that a Judge may take for an answer.
        silent_hours: since the last submission of a mAIner, at most.
        current: whether code that is not current is marked.
        timers: whether a mAIner whose timers do not run is marked.
        controllers: whether controllers that are not expected are marked.
        health: whether a canister that is not healthy is marked.

    Raises:
        ArgumentError: a figure is negative or no number.
    """

    days: float | None = 30
    cycles: int | None = None
    memory: int | None = 16 * 2**30
    queue: int | None = 5
    queue_hours: float | None = 24
    unjudged: int | None = None
    unjudged_hours: float | None = None
    judging_hours: float | None = 1
    silent_hours: float | None = None
    current: bool = True
    timers: bool = False
    controllers: bool = True
    health: bool = True

    def __post_init__(self) -> None:
        for each in fields(self):
            value, switch = getattr(self, each.name), isinstance(each.default, bool)
            if value is None and not switch:
                continue
            if isinstance(value, bool) != switch:
                raise ArgumentError(f"bound {each.name} is {value!r}, but must be {_EXPECTED[switch]}")
            if not switch and not (isinstance(value, int | float) and value >= 0):
                raise ArgumentError(f"bound {each.name} is {value!r}, but must be {_EXPECTED[switch]}")


_EXPECTED = {True: "True or False", False: "a number from 0 on, or None"}


@dataclass(frozen=True)
class _Reference:
    """What readings are compared with: hashes by role, controllers that are expected of every canister, samples."""

    files: Mapping[Role, str]
    creator: Mapping[Role, frozenset[str]]
    expected: frozenset[str]
    history: Sequence[Sample]
    by_creator: bool


def look(
    net: Network,
    fleet: Fleet,
    history: Sequence[Sample] | None = None,
    expected: Iterable[str] = (),
    by_creator: bool = True,
) -> list[Reading]:
    """Read every canister of a fleet, several at once.

    Args:
        history: samples to measure burn by; None: those on disk.
        expected: principals that may be controllers, beside the caller and those that belong together.
        by_creator: whether a mAIner that the caller does not control is looked at through the creator, if the caller
            controls that. The creator keeps a record of it each time.

    Raises:
        TransportError, NetworkNotRunning: the network does not answer.
    """
    creators = {net.ids.get(CREATOR) or "", *(member.canister_id for member in fleet.of_role("Creator"))}
    reference = _Reference(
        _in_files(),
        _at_creator(net),
        frozenset({net.caller, *creators, *expected}),
        samples.read(net) if history is None else history,
        by_creator,
    )
    return stopping.every(lambda member: _read(net, member, reference), fleet.members, AT_ONCE)


def repeat(net: Network, fleet: Fleet, times: int, seconds: float, progress: Progress | None = None) -> list[Reading]:
    """Look several times and keep what is read; the last readings. Errors as of `look` and `keep`.

    Args:
        seconds: between two looks.
    """
    with (progress or Silent()).task("watch the fleet", times, "looks") as task:
        for number in range(times):
            if number:
                stopping.pause(seconds)
            readings = look(net, fleet)
            keep(net, readings)
            task.advance(1)
    return readings


def keep(net: Network, readings: Iterable[Reading]) -> Path:
    """Keep readings as samples on disk; the file. Errors as of `samples.append`."""
    return samples.append(net, map(sample, readings))


def sample(reading: Reading) -> Sample:
    """What of a reading is kept."""
    age = reading.queue_age
    return Sample(
        reading.taken,
        reading.member.canister_id,
        reading.member.name,
        reading.member.role,
        reading.state,
        reading.cycles,
        reading.memory,
        reading.idle_per_day,
        reading.queue,
        None if age is None else round(age),
        reading.health or "",
        reading.module_hash or "",
    )


def marks(reading: Reading, bounds: Bounds | None = None) -> list[str]:
    """What of a reading is out of bounds, in words."""
    bound = bounds or Bounds()
    found = [] if reading.state == "running" else [reading.state]
    found += _low(reading, bound)
    if _above(reading.memory, bound.memory):
        found.append(f"has {reading.memory:,} B of memory, more than {bound.memory:,}")
    most = bound.queue if reading.member.is_mainer else bound.unjudged
    if _above(reading.queue, most):
        found.append(f"{reading.queue} wait in its queue, more than {most}")
    found += _late(reading, bound)
    if bound.current and reading.code not in ("current", "unknown"):
        found.append(f"its code is {reading.code}")
    if bound.timers and reading.timers is False:
        found.append("its timers do not run")
    if bound.controllers and reading.unexpected:
        found.append(f"has controllers that are not expected: {', '.join(reading.unexpected)}")
    if bound.health and reading.state == "running" and reading.health not in (None, HEALTHY):
        found.append(f"is not healthy: {reading.health}")
    return found


def _late(reading: Reading, bound: Bounds) -> list[str]:
    """What takes too long."""
    mainer = reading.member.is_mainer
    submitted = reading.last_submission if mainer else None
    queued = None if mainer and reading.timers is False else reading.oldest_queued
    waits = (
        ("the oldest of its queue waits", queued, bound.queue_hours if mainer else bound.unjudged_hours),
        ("a Judge has an answer and gives no score", reading.oldest_judging, bound.judging_hours),
        ("has submitted nothing", submitted, bound.silent_hours),
    )
    return [
        f"{what} since {moment:%Y-%m-%d %H:%M} UTC"
        for what, moment, hours in waits
        if moment is not None and _above(reading.since(moment), None if hours is None else hours * 3600)
    ]


def _low(reading: Reading, bound: Bounds) -> list[str]:
    """What of its cycles is too little."""
    found = []
    if reading.days is not None and reading.burn is not None and _above(bound.days, reading.days):
        by = "measured" if reading.burn.measured else "idle"
        found.append(f"freezes in {reading.days:,.0f} days by {by} burn, less than {bound.days:g}")
    needed = max(NEEDED.get(reading.member.role, 0), bound.cycles or 0)
    if _above(needed, reading.cycles):
        found.append(f"has {reading.cycles:,} cycles, less than {needed:,}")
    return found


def _above(value: float | None, bound: float | None) -> bool:
    return value is not None and bound is not None and value > bound


# --- what readings are compared with ---


def _in_files() -> dict[Role, str]:
    """The sha256 of the code in files/, by role; without what is not there."""
    found: dict[Role, str] = {}
    for role, name in _FILES.items():
        try:
            found[role] = artifacts.canister_wasm(name).sha256
        except ArtifactError:  # 02_upload says what is wrong with it
            continue
    if llm := artifacts.llm_wasm_sha256():
        found["LLM"] = llm
    return found


def _at_creator(net: Network) -> dict[Role, frozenset[str]]:
    """The sha256 of the code that the creator holds, by role; an LLM canister's for each model."""
    try:
        held = upload.stored(net)
    except MainerError:  # there is no creator, or it does not answer, which its own reading says
        return {}
    return {role: frozenset(file.sha256 for file in held if file.target == target) for role, target in _TARGETS.items()}


def compared(module_hash: str | None, in_files: str | None, at_creator: frozenset[str]) -> Code:
    """How the code of a canister compares with that in files/, and with that which the creator holds for its role."""
    if module_hash is None or not (in_files or at_creator):
        return "unknown"
    as_files, as_creator = in_files in (None, module_hash), not at_creator or module_hash in at_creator
    if as_creator:
        return "current" if as_files else "not that of files/"
    return "not that of the creator" if as_files else "of neither files/ nor creator"


# --- one canister ---


def _read(net: Network, member: Member, reference: _Reference) -> Reading:
    taken = datetime.now(UTC)
    condition = _condition(net, member, reference.by_creator)
    untold: dict[str, str] = {}
    told = _of_network(net, member, condition, reference, untold)
    if condition.module_hash is not None and condition.problem in ("", conditions.STOPPED):
        told |= _of_itself(net, member, untold) if not condition.problem else {}
    return Reading(member, taken, condition.problem or "running", **told, untold=untold)


def _condition(net: Network, member: Member, by_creator: bool) -> Condition:
    found = conditions.of(net, [member.canister_id])[member.canister_id]
    if found.status is None and found.problem != conditions.DELETED and member.of_creator and by_creator:
        with suppress(PreconditionError, CallError):  # then it is not told
            return conditions.of_status(authority.status(net, member.canister_id))
    return found


def _of_network(
    net: Network, member: Member, condition: Condition, reference: _Reference, untold: dict[str, str]
) -> dict[str, Any]:
    """What the network says of a canister, by field of `Reading`."""
    told: dict[str, Any] = {
        "module_hash": condition.module_hash,
        "code": compared(
            condition.module_hash,
            reference.files.get(member.role),
            reference.creator.get(member.role, frozenset()),
        ),
    }
    if condition.problem == conditions.DELETED:
        return told
    controllers = management.controllers(net.agent, member.canister_id)
    expected = reference.expected | {member.owner, member.parent}
    told["unexpected"] = tuple(each for each in controllers if each not in expected)
    status = condition.status
    if status is None:
        names = ("memory", "cycles", "frozen_below", "idle_per_day", "burn")
        untold |= dict.fromkeys(names, MAY_NOT_SEE)
        return told
    idle = Burn(status.cycles_per_day, None)
    return told | {
        "memory": status.memory,
        "cycles": status.cycles,
        "frozen_below": status.frozen_below,
        "idle_per_day": status.cycles_per_day,
        "burn": samples.burn(reference.history, member.canister_id) or idle,
    }


def _of_itself(net: Network, member: Member, untold: dict[str, str]) -> dict[str, Any]:
    """What a canister says of itself, by field of `Reading`; why it does not goes into `untold`."""
    try:
        asked = canister(net, member)
    except ArgumentError:  # it does not tell what it offers
        return {}
    told: dict[str, Any] = {}
    if offers(asked, "health"):
        told["health"] = _health(asked)
    else:
        untold["health"] = NOT_OFFERED
    if member.is_mainer:
        told |= _of_mainer(asked, untold)
    if member.is_mainer or member.role in ("Challenger", "Judge"):
        told |= _of_worker(asked, member, untold)
    if member.role == "Game State":
        told |= _of_game_state(asked, untold)
    return told


def _health(asked: Canister) -> str:
    try:
        return str(asked.health()["status_code"])
    except CallError as error:
        return str(error)


def _of_worker(asked: Canister, member: Member, untold: dict[str, str]) -> dict[str, Any]:
    """Of a canister that has LLMs and works by itself."""
    told: dict[str, Any] = {}
    if member.role != "ShareAgent":
        llms = _answer(asked, "getLlmCanisters", untold, "llms")
        told["llms"] = None if llms is None else len(llms)
    status = _answer(asked, work.STATUS, untold, "timers", "maintenance")
    if status is not None:
        doing = work.told(status)
        told |= {"timers": doing.timers, "maintenance": doing.maintenance}
    return told


def _of_mainer(asked: Canister, untold: dict[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    waiting = _answer(asked, "getChallengeQueueAdmin", untold, "queue", "oldest_queued")
    if waiting is not None:
        told |= _queue([entry["challengeQueuedTimestamp"] for entry in waiting])
    submitted = _answer(asked, "getRecentSubmittedResponsesAdmin", untold, "last_submission")
    told["last_submission"] = _latest(record["submittedTimestamp"] for record in submitted or ())
    return told


def _of_game_state(asked: Canister, untold: dict[str, str]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    to_judge = _answer(asked, "getOpenSubmissionsAdmin", untold, "queue", "oldest_queued")
    if to_judge is not None:
        told |= _queue([record["submittedTimestamp"] for record in to_judge])
    judging = _answer(asked, "getJudgingSubmissionsAdmin", untold, "judging", "oldest_judging")
    if judging is not None:
        begun = [entry["judgingTimestamp"] for entry in judging]
        told |= {"judging": len(begun), "oldest_judging": _moment(min(begun)) if begun else None}
    submitted = _answer(asked, "getSubmissionsAdmin", untold, "last_submission")
    told["last_submission"] = _latest(record["submittedTimestamp"] for record in submitted or ())
    return told


def _answer(asked: Canister, method: str, untold: dict[str, str], *figures: str) -> Any:
    """What a method answers; if it does not, None, and why for these figures."""
    try:
        if offers(asked, method):
            return getattr(asked, method)()
        why = NOT_OFFERED
    except RejectError as error:
        why = NOT_OFFERED if error.not_offered else NO_ANSWER
    except CanisterError as error:
        why = MAY_NOT_SEE if error.unauthorized else NO_ANSWER
    except CallError:
        why = NO_ANSWER
    untold |= dict.fromkeys(figures, why)
    return None


def _queue(queued: Sequence[int]) -> dict[str, Any]:
    return {"queue": len(queued), "oldest_queued": _moment(min(queued)) if queued else None}


def _latest(nanoseconds: Iterable[int]) -> datetime | None:
    last = max(nanoseconds, default=None)
    return None if last is None else _moment(last)


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds / 1e9, UTC)
