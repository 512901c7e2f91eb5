"""The notebooks' expectations: what must hold after each step.

    expect.deployed(deploy.deploy(net))
    expect.refused(lambda: create.add_llm(net, agent.controller_id), because="ShareAgent")

Each function returns a sentence that says what was found, or raises ExpectationFailed, which names what is wrong. In a
run of notebooks each is noted, so that a report for machines can have them all: see `noted`.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from .artifacts import Artifact, InventoryItem
from .check import ENDPOINTS, Check
from .costs import COPIED, Costs
from .create import KINDS, Mainer, Plan
from .deploy import Deployed
from .errors import CallError, ExpectationFailed
from .fleet import watch
from .fleet.upgrade import UpgradeReport
from .fleet.watch import Bounds, Reading
from .network import CREATOR, GAME_STATE, Network
from .operate import Challenge, Queued, Submission
from .population import of_kind
from .table import how_many
from .upload import StoredFile, Uploaded

NOTES = "MAINER_NB_EXPECTATIONS"  # names the file in which the kernels of a run note what was expected

_Arguments = ParamSpec("_Arguments")
_Found = TypeVar("_Found")
_busy: list[str] = []  # expectations that are being checked, one within the other


@dataclass(frozen=True)
class Expectation:
    """What was expected in a cell of a notebook, and what came of it.

    Attributes:
        name: of the function here.
        execution: the execution count of the cell.
        found: the sentence that says what was found.
        problem: what is wrong; "" if nothing is.
    """

    name: str
    execution: int
    seconds: float
    found: str
    problem: str


def _expectation(check: Callable[_Arguments, _Found]) -> Callable[_Arguments, _Found]:
    """A function that checks something, which is noted if that is wanted; only the outermost of several."""

    @wraps(check)
    def noting(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Found:
        begun = time.monotonic()
        _busy.append(check.__name__)
        found, problem = "", "interrupted"
        try:
            result = check(*args, **kwargs)
            found, problem = str(result or ""), ""
            return result
        except Exception as error:
            problem = str(error) or type(error).__name__
            raise
        finally:
            _busy.pop()
            if not _busy and NOTES in os.environ:
                _note(Expectation(check.__name__, _execution(), time.monotonic() - begun, found, problem))

    return noting


def _note(expectation: Expectation) -> None:
    with suppress(OSError), Path(os.environ[NOTES]).open("a", encoding="utf-8") as notes:
        notes.write(json.dumps(asdict(expectation)) + "\n")


def _execution() -> int:
    """The execution count of the cell that runs; 0 outside a kernel."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    return int(shell.displayhook.prompt_count) if shell else 0  # its own count is the next cell's, since IPython 9


@contextmanager
def noted() -> Iterator[Callable[[], list[Expectation]]]:
    """While the `with` block lasts, kernels that start note what they expect; a function that returns what was noted
    since it was called last.
    """
    before = os.environ.get(NOTES)
    with tempfile.TemporaryDirectory(prefix="mainer-nb-") as folder:
        notes = Path(folder) / "expectations"
        os.environ[NOTES] = str(notes)

        def take() -> list[Expectation]:
            lines = notes.read_text(encoding="utf-8").splitlines() if notes.exists() else []
            notes.unlink(missing_ok=True)
            return [Expectation(**json.loads(line)) for line in lines]

        try:
            yield take
        finally:
            os.environ.pop(NOTES)
            if before is not None:
                os.environ[NOTES] = before


@_expectation
def that(condition: object, message: str) -> None:
    """Check a condition.

    Raises:
        ExpectationFailed: it does not hold; the text is `message`.
    """
    if not condition:
        raise ExpectationFailed(message)


@_expectation
def whole(items: Sequence[InventoryItem]) -> str:
    """Every file of the project is there and is what the manifest says. One of the user's own that cannot be used stops
    nothing as long as it is not chosen.
    """
    wrong = [item.problem for item in items if item.problem and item.shipped]
    that(not wrong, "; ".join(wrong))
    unusable = [item.name for item in items if item.problem]
    if unusable:
        return f"All files of the project are whole. Of your own, {', '.join(unusable)} cannot be used."
    return f"All {len(items)} files are whole."


@_expectation
def deployed(canisters: Sequence[Deployed]) -> str:
    """Both canisters answer and are healthy."""
    roles = {canister.role for canister in canisters}
    that(roles == {GAME_STATE, CREATOR}, f"expected {GAME_STATE} and {CREATOR}, found {', '.join(roles) or 'none'}")
    for canister in canisters:
        that(
            canister.health == 200,
            f"{canister.role} ({canister.canister_id}) answers health with {canister.health} instead of 200",
        )
        that(canister.module_hash, f"{canister.role} ({canister.canister_id}) has no code")
    started = [canister.role for canister in canisters if canister.action == "started"]
    if started:
        return (
            f"{' and '.join(started)} had been stopped, as by an upgrade that was cut short: started again. "
            "Both canisters are installed and healthy."
        )
    return "Both canisters are installed and healthy."


@_expectation
def installed(module_hash: str | None, wasm: Artifact) -> str:
    """The sha256 that the network gives of an installed program is that of the file."""
    that(
        module_hash == wasm.sha256,
        f"the network says that {module_hash or 'nothing'} is installed, but {wasm.name} has the sha256 {wasm.sha256}",
    )
    return f"What is installed is {wasm.name}, byte for byte: both have the sha256 {wasm.sha256[:12]}…"


@_expectation
def registered(net: Network) -> str:
    """The creator's master is the Game State."""
    game_state, master = net.canister_id(GAME_STATE), net.canister(CREATOR).getMasterCanisterId()
    that(
        master == game_state, f"the creator's master canister is {master or 'not set'}, not the Game State {game_state}"
    )
    return f"The creator's master is the Game State {game_state}."


@_expectation
def uploaded(files: Sequence[Uploaded], stored: Sequence[StoredFile]) -> str:
    """The creator lists every uploaded file, as what it was sent, with size and sha256 of the file here."""
    there = {(file.target, file.model, file.size, file.sha256) for file in stored}
    missing = [sent.file for sent in files if (sent.target, sent.model, sent.size, sent.sha256) not in there]
    that(not missing, f"the creator does not list {', '.join(missing)} with size and sha256 of the file here")
    return f"The creator has {how_many(len(files), 'file')} of these with the size and sha256 they have here."


@_expectation
def population(mainers: Sequence[Mainer], plan: Plan) -> str:
    """The mAIners are those of the plan, with their LLMs, each ShareAgent with its ShareService."""
    wanted = {
        "Own": (plan.own, plan.llms_per_own),
        "ShareService": (plan.services, plan.llms_per_service),
        "ShareAgent": (plan.agents, 0),
    }
    for kind, (count, llms) in wanted.items():
        found = [mainer for mainer in mainers if mainer.kind == kind]
        enough = len(found) >= count if kind == "ShareService" else len(found) == count  # agents bring theirs along
        that(enough, f"expected {count} mAIners of type {kind}, found {len(found)}")
        for mainer in found:
            that(len(mainer.llm_ids) >= llms, f"{mainer.name} has {len(mainer.llm_ids)} LLMs, not {llms}")
    services = {mainer.controller_id for mainer in mainers if mainer.kind == "ShareService"}
    for mainer in mainers:
        that(
            mainer.kind != "ShareAgent" or mainer.share_service_id in services,
            f"{mainer.name} uses {mainer.share_service_id or 'nothing'}, which is no ShareService",
        )
    return f"{_population(mainers)}{_beyond(mainers, wanted)}."


def _population(mainers: Sequence[Mainer]) -> str:
    """The mAIners in words, by type."""
    parts = []
    for kind in KINDS:
        found = [mainer for mainer in mainers if mainer.kind == kind]
        llms = sum(len(mainer.llm_ids) for mainer in found)
        if found:
            parts.append(of_kind(len(found), kind) + (f" with {how_many(llms, 'LLM')}" if kind != "ShareAgent" else ""))
    return f"{how_many(len(mainers), 'mAIner')}: {', '.join(parts)}" if parts else "No mAIner"


def _beyond(mainers: Sequence[Mainer], wanted: Mapping[str, tuple[int, int]]) -> str:
    """That this is what was planned, or what there is more of."""
    services = sum(mainer.kind == "ShareService" for mainer in mainers) - wanted["ShareService"][0]
    more = [f"{how_many(services, 'ShareService')}, which ShareAgents use"] if services > 0 else []
    for mainer in mainers:
        if (extra := len(mainer.llm_ids) - wanted[mainer.kind][1]) > 0:
            more.append(f"{how_many(extra, 'LLM')} of {mainer.name}")
    return f". More than planned: {', '.join(more)}" if more else ", as planned"


@_expectation
def refused(action: Callable[[], object], because: str) -> str:
    """The action is refused by a canister, and the reason speaks of `because`; the reason."""
    try:
        action()
    except CallError as error:
        that(because.lower() in str(error).lower(), f"refused, but not because of '{because}': {error}")
        return f"Refused, as it should be: {error}"
    raise ExpectationFailed(f"this should have been refused because of '{because}', but it was carried out")


@_expectation
def healthy(checks: Sequence[Check]) -> str:
    """Every helper endpoint of every mAIner answered as it should."""
    wrong = [
        f"{found.mainer.name} ({found.mainer.controller_id}) {endpoint}: {text}"
        for found in checks
        for endpoint, text in found.problems.items()
    ]
    that(not wrong, "; ".join(wrong))
    return f"All {len(ENDPOINTS)} helper endpoints of {how_many(len(checks), 'mAIner')} answer as they should."


@_expectation
def watched(readings: Sequence[Reading], bounds: Bounds | None = None) -> str:
    """No canister of a fleet is out of bounds."""
    marked = [
        f"{reading.member.name} ({reading.member.canister_id}) {mark}"
        for reading in readings
        for mark in watch.marks(reading, bounds)
    ]
    that(not marked, "; ".join(marked))
    untold = sum(reading.cycles is None for reading in readings)
    unseen = f" The balance of {untold} was not told." if untold else ""
    return f"None of {how_many(len(readings), 'canister')} is out of bounds.{unseen}"


@_expectation
def upgraded(report: UpgradeReport) -> str:
    """Every canister of an upgrade has the new code, or nothing was to be done with it."""
    wrong = [
        f"{row.member.name} ({row.member.canister_id}) {row.outcome}: {row.reason}"
        for row in report.rows
        if row.outcome not in ("planned", "upgraded")
    ]
    that(not wrong, "; ".join(wrong))
    planned = sum(row.outcome == "planned" for row in report.rows)
    if planned:
        return f"{how_many(planned, 'canister')} would be upgraded."
    return f"{how_many(len(report.rows), 'canister')} upgraded."


@_expectation
def opened(challenges: Sequence[Challenge], number: int) -> str:
    """So many challenges were opened and are open."""
    closed = [challenge.challenge_id for challenge in challenges if challenge.status != "Open"]
    that(len(challenges) == number, f"expected {number} new challenges, found {len(challenges)}")
    that(not closed, f"these challenges are not open: {', '.join(closed)}")
    return f"{how_many(number, 'new challenge')} open."


@_expectation
def queued(queues: Mapping[str, Sequence[Queued]], service: Mainer, agents: Sequence[Mainer]) -> str:
    """Each ShareAgent waits for an answer, and its ShareService has the challenge of each."""
    held = {(entry.challenge_id, entry.queued_by) for entry in queues[service.controller_id]}
    for agent in agents:
        that(queues[agent.controller_id], f"the queue of {agent.name} is empty after it was triggered")
        for entry in queues[agent.controller_id]:
            that(
                (entry.challenge_id, agent.controller_id) in held,
                f"challenge {entry.challenge_id} waits in {agent.name}, but not in {service.name}, which it uses",
            )
    waiting = sum(
        entry.queued_by in {agent.controller_id for agent in agents} for entry in queues[service.controller_id]
    )
    return f"{how_many(waiting, 'challenge')} of {how_many(len(agents), 'ShareAgent')} in the queue of {service.name}."


@_expectation
def emptied(queues: Mapping[str, Sequence[Queued]], of: Sequence[Mainer]) -> str:
    """In these mAIners no challenge waits any more."""
    full = [f"{len(queues[mainer.controller_id])} in {mainer.name}" for mainer in of if queues[mainer.controller_id]]
    that(not full, f"challenges still wait: {', '.join(full)}")
    return f"No challenge waits in {', '.join(mainer.name for mainer in of)} any more."


@_expectation
def answered(new: Sequence[Submission], by: Sequence[Mainer]) -> str:
    """Each of these mAIners submitted an answer in words."""
    for mainer in by:
        answers = [submission for submission in new if submission.submitted_by == mainer.controller_id]
        that(answers, f"the Game State has no new submission by {mainer.name}")
        that(all(submission.answer.strip() for submission in answers), f"an answer by {mainer.name} is empty")
    number = sum(submission.submitted_by in {mainer.controller_id for mainer in by} for submission in new)
    return f"{how_many(len(by), 'mAIner')} submitted {how_many(number, 'answer')}."


@_expectation
def covered(opened: Sequence[Challenge], left: Sequence[Challenge]) -> str:
    """How many of the challenges have an answer, and which have none; that is no fault, they are drawn at random."""
    number = f"{len(opened) - len(left)} of {how_many(len(opened), 'challenge')} answered"
    return f"{number}." if not left else f"{number}; not yet: {', '.join(challenge.question for challenge in left)}"


def kept(submitted: Mapping[str, Sequence[Submission]], at_game_state: Sequence[Submission]) -> str:
    """What mAIners keep as submitted is what the Game State got from them, word for word."""
    there = {submission.submission_id: submission for submission in at_game_state}
    archived = 0
    for address, answers in submitted.items():
        for submission in answers:
            found = there.get(submission.submission_id)
            if found is None:
                archived += 1  # with its challenge
                continue
            that(
                (found.answer, found.submitted_by) == (submission.answer, address),
                f"submission {submission.submission_id} of {address} reads {submission.answer!r}, "
                f"at the Game State {found.answer!r}",
            )
    compared = how_many(sum(map(len, submitted.values())) - archived, "submission")
    gone = f" {how_many(archived, 'further one')} the Game State has no more." if archived else ""
    return f"What {how_many(len(submitted), 'mAIner')} submitted, {compared}, reads as in the Game State.{gone}"


@_expectation
def counted(costs: Costs) -> str:
    """Everything that was done took something, and an LLM canister takes more than a mAIner canister."""
    for entry in costs.entries:
        that(entry.cycles > 0, f"{entry.unit} took {entry.cycles} cycles, which cannot be")
        that(
            entry.instructions is None or entry.instructions > 0, f"{entry.unit} took {entry.instructions} instructions"
        )
    controller, llm = costs.of("mAIner canister").cycles, costs.of(COPIED).cycles
    that(
        llm > controller, f"an LLM canister took {llm:,.0f} cycles, no more than a mAIner canister ({controller:,.0f})"
    )
    return f"{how_many(len(costs.entries), 'cost')} counted with {costs.model}."
