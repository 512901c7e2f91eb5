"""Upgrade the canisters of a fleet: plan, run, resume.

    planned = upgrade.plan(net, whole)                     # what would be done, what it costs, what it would break
    report = upgrade.run(net, planned, progress.auto(), carry_out=True)
    upgrade.resume(net)                                    # what is left after a kill of this process or the network

Each canister is stopped when what is under way has ended, kept in a snapshot, upgraded, and asked; whatever is wrong
then, its old code and state come back by themselves (`switch`). With a journal on disk each is upgraded once.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from .. import artifacts, calls, conditions, management, network, places, population, stopping, upload
from ..conditions import FROZEN
from ..errors import ArgumentError, ArtifactMissing, CallError, MainerError, PreconditionError
from ..localnet import cycles as prices
from ..localnet import wasm
from ..management import CanisterStatusResult
from ..network import CREATOR, GAME_STATE, Network
from ..progress import Progress, ProgressTask, Silent
from ..protocol import did
from ..protocol.candid import ServiceChange, service_change
from . import authority
from .journal import Journal
from .members import AT_ONCE, MAINER_ROLES, Fleet, Member, Role
from .switch import LlmSwitch, MainerSwitch, Switch, Upgraded, UpgradeTask, WayBack, breaks, told

Action = Literal["upgrade", "left alone"]

PATIENCE = 900.0  # seconds that what is under way in a canister may take: an answer takes up to thirty calls of an LLM
CANISTERS_AT_ONCE = 4
COMPILING = 6_000  # instructions that the network counts for a byte of code
JOURNAL = "journal.jsonl"
#: Who goes first. The creator does: it acts for whoever is not a controller of a mAIner.
PHASES: tuple[tuple[Role, ...], ...] = (
    ("Creator",),
    ("Game State",),
    ("Challenger", "Judge", "other"),
    MAINER_ROLES,
    ("LLM",),
)


@dataclass(frozen=True)
class Code:
    """New code for canisters of a role.

    Attributes:
        sha256: hex.
        size: bytes.
        executed: bytes of its functions.
        interface: the .did that it tells, or that is beside its file; None if there is neither.
    """

    path: Path
    sha256: str
    size: int
    executed: int
    interface: str | None


@dataclass(frozen=True)
class PlannedUpgrade:
    """What is to be done with a member.

    Attributes:
        reason: why it is left alone; "" if it is not.
        module: the sha256 of what is installed, hex; None if nothing is.
        code: None if none is known for its role.
        change: of its interface; None if old or new one is not told.
        way_back: how old code and state come back if that is necessary.
        cycles: about what it takes: the snapshot, receiving and compiling the code.
        rehearsed: whether this upgrade was rehearsed with success.
    """

    member: Member
    action: Action
    reason: str
    module: str | None
    code: Code | None
    change: ServiceChange | None = None
    way_back: WayBack = "snapshot"
    cycles: int = 0
    rehearsed: bool = False

    @property
    def breaks(self) -> str:
        """What the new interface breaks for clients of the old one, in words; "" if nothing is known."""
        return breaks(self.change) if self.change else ""


@dataclass(frozen=True)
class UpgradePlan:
    """What is to be done with a fleet; `allow_breaking` and `keep_snapshots` as of `plan`."""

    rows: tuple[PlannedUpgrade, ...]
    allow_breaking: bool = False
    keep_snapshots: bool = False

    @property
    def due(self) -> tuple[PlannedUpgrade, ...]:
        """Those that are to be upgraded."""
        return tuple(row for row in self.rows if row.action == "upgrade")

    @property
    def cycles(self) -> int:
        """About what all of it takes."""
        return sum(row.cycles for row in self.due)


@dataclass(frozen=True)
class UpgradeReport:
    """What happened, in the order in which it was begun; `journal`: where it is written down."""

    rows: tuple[Upgraded, ...]
    journal: Path | None

    @property
    def complete(self) -> bool:
        """Whether nothing is left to be done."""
        return all(row.outcome not in ("planned", "interrupted") for row in self.rows)

    @property
    def modules(self) -> frozenset[tuple[str, str]]:
        """The modules before and after of what was upgraded: after a rehearsal, what `plan` is to be told."""
        return frozenset((row.before, row.module) for row in self.rows if row.outcome == "upgraded")


def plan(
    net: Network,
    fleet: Fleet,
    codes: Mapping[Role, Path] | None = None,
    *,
    rehearsed: Collection[tuple[str, str]] = (),
    allow_breaking: bool = False,
    keep_snapshots: bool = False,
    progress: Progress | None = None,
) -> UpgradePlan:
    """What an upgrade of a fleet would do; nothing is changed. What has the code already is left alone.

    Args:
        codes: wasm files by role; None: those of the project (`files/`).
        rehearsed: pairs of modules, before and after, whose upgrade was rehearsed with success: the `modules` of the
            report of that.
        allow_breaking: whether an upgrade may drop methods, or change them so that clients of the old interface break;
            else it is taken back.
        keep_snapshots: whether snapshots stay after success; they cost the canister storage.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    known = _codes(fleet, codes, progress)
    made = _made_again(net, fleet)

    def row(member: Member) -> PlannedUpgrade:
        return _planned(net, member, known.get(member.role), made.get(member.canister_id, ""), rehearsed)

    rows = stopping.every(row, fleet.members, AT_ONCE)
    return UpgradePlan(tuple(rows), allow_breaking, keep_snapshots)


def run(
    net: Network,
    planned: UpgradePlan,
    progress: Progress | None = None,
    *,
    carry_out: bool = False,
    at_once: int = CANISTERS_AT_ONCE,
    stop_at_failure: bool = False,
    patience: float = PATIENCE,
) -> UpgradeReport:
    """Carry out a plan, and before it what an earlier run has left. A second run does only what is left.

    The protocol's canisters come first, one at a time; then the mAIners, a ShareService and its ShareAgents one after
    the other; then LLMs, those of a mAIner one after the other, so that it goes on answering with the others.

    Args:
        carry_out: otherwise nothing is done, and the report says what is planned.
        at_once: how many canisters at the same time.
        stop_at_failure: whether no further canister is begun once one was returned to its old code, or failed.
        patience: seconds that what is under way in a canister may take to end.

    Raises:
        ArgumentError: `at_once` is below 1.
        PreconditionError: the journal cannot be written. Nothing is changed.
    """
    if at_once < 1:
        raise ArgumentError(f"at_once is {at_once}: give at least 1")
    if not carry_out:
        return UpgradeReport(tuple(Upgraded(row.member, "planned") for row in planned.due), None)
    tasks = [_task(planned, row) for row in planned.due]
    codes = {row.code.sha256: row.code.path for row in planned.due if row.code}
    return _carry_out(net, tasks, codes, _Manner(at_once, stop_at_failure, patience), progress)


def resume(
    net: Network,
    progress: Progress | None = None,
    *,
    at_once: int = CANISTERS_AT_ONCE,
    patience: float = PATIENCE,
) -> UpgradeReport:
    """Carry out what an interrupted run has left, with the code that it had; no rows if there is nothing. Arguments and
    errors as of `run`.
    """
    return _carry_out(net, [], {}, _Manner(at_once, False, patience), progress)


def interrupted(net: Network) -> tuple[Member, ...]:
    """The canisters that an interrupted run has begun or planned, and not carried out to the end."""
    path = _folder(net) / JOURNAL
    if not path.is_file():
        return ()
    with Journal(path) as journal:
        return tuple(task.member for task in _left(journal))


# --- planning ---


def _codes(fleet: Fleet, given: Mapping[Role, Path] | None, progress: Progress | None) -> dict[Role, Code]:
    """The new code for each role that the fleet has and code is known for."""
    there = {member.role for member in fleet.members}
    if given is not None:
        return {role: _code(places.given(path)) for role, path in given.items() if role in there}
    shipped: dict[Role, str] = {"Creator": CREATOR, "Game State": GAME_STATE}
    shipped |= dict.fromkeys(MAINER_ROLES, upload.CONTROLLER)
    found = {role: _code(artifacts.canister_wasm(name).path) for role, name in shipped.items() if role in there}
    if "LLM" in there:
        llm = artifacts.llm_wasm(progress)
        found["LLM"] = _code(llm.path, places.files() / f"{calls.LLM}.did")
    return found


def _code(path: Path, interface: Path | None = None) -> Code:
    artifact = artifacts.given_wasm(path)
    module = wasm.decompress(artifact.data())
    told_by_module = wasm.inspect(module).metadata().get(calls.INTERFACE_SECTION)
    beside = interface or path.with_suffix(".did")
    text = told_by_module[1].decode(errors="replace") if told_by_module else None
    if text is None and beside.is_file():
        text = beside.read_text(encoding="utf-8")
    return Code(path, artifact.sha256, artifact.size, len(wasm.code_section(module)), text)


def _made_again(net: Network, fleet: Fleet) -> dict[str, str]:
    """The LLMs that the creator can make again as they are, each with the module that it would install."""
    llms = {member.canister_id for member in fleet.of_role("LLM") if member.of_creator}
    if not llms:
        return {}
    held = {(file.target, file.model): file.sha256 for file in upload.stored(net)}
    return {
        llm.canister_id: held.get(("LlmWasm", llm.model), "")
        for mainer in population.mainers(net)
        for llm in mainer.llms
        if llm.canister_id in llms and llm.model_sha256 and held.get(("LlmModel", llm.model)) == llm.model_sha256
    }


def _planned(
    net: Network, member: Member, code: Code | None, made_of: str, rehearsed: Collection[tuple[str, str]]
) -> PlannedUpgrade:
    module = management.module_hash(net.agent, member.canister_id)
    alone = PlannedUpgrade(member, "left alone", "", module, code)
    if code is None:
        return replace(alone, reason=f"no code is given for a canister of role {member.role}")
    if module is None:
        return replace(alone, reason="it is empty: create it anew, or delete it")
    if module == code.sha256:
        return replace(alone, reason="it has this code")
    try:
        status = authority.status(net, member.canister_id)
        authority.check_upgrade(net, member.canister_id, code.sha256)
    except (CallError, PreconditionError) as error:
        return replace(alone, reason=f"it cannot be upgraded by {net.caller}: {error}")
    if conditions.of_status(status).problem == FROZEN:
        return replace(alone, reason=f"it {FROZEN}: give it some first (fleet.funds.refill)")
    way_back: WayBack = "made again" if made_of == module else "snapshot"
    return PlannedUpgrade(
        member,
        "upgrade",
        "",
        module,
        code,
        change=_change(net, member, code),
        way_back=way_back,
        cycles=_cycles(status, code, way_back),
        rehearsed=(module, code.sha256) in rehearsed,
    )


def _change(net: Network, member: Member, code: Code) -> ServiceChange | None:
    if code.interface is None:
        return None
    try:
        old = did.parse(calls.told(net, member.canister_id))
        return service_change(did.parse(code.interface).service, old.service)
    except (ArgumentError, did.DidError):
        return None


def _cycles(status: CanisterStatusResult, code: Code, way_back: WayBack) -> int:
    """About what an upgrade takes, without what the code itself does in it."""
    taking = prices.execution(prices.SNAPSHOT_INSTRUCTIONS + status.memory) if way_back == "snapshot" else 0
    return taking + prices.ingress(code.size) + prices.execution(COMPILING * code.executed)


def _task(planned: UpgradePlan, row: PlannedUpgrade) -> UpgradeTask:
    assert row.module is not None
    assert row.code is not None
    return UpgradeTask(
        row.member, row.module, row.code.sha256, row.way_back, planned.allow_breaking, planned.keep_snapshots
    )


# --- carrying out ---


@dataclass(frozen=True)
class _Manner:
    """How a run is done; as the arguments of `run`."""

    at_once: int
    stop_at_failure: bool
    patience: float


def _folder(net: Network) -> Path:
    return places.state() / "fleet" / network.file_name(net.name) / "upgrade"


def _carry_out(
    net: Network, tasks: Sequence[UpgradeTask], codes: Mapping[str, Path], manner: _Manner, progress: Progress | None
) -> UpgradeReport:
    folder = _folder(net)
    with (
        (progress or Silent()).task("upgrade", len(tasks), "canisters") as shown,
        network.alone(net.name, "upgrade", lambda: shown.note("waits for another process that upgrades")),
    ):
        if not tasks and not (folder / JOURNAL).is_file():
            return UpgradeReport((), None)
        with Journal(folder / JOURNAL) as journal:
            left = _left(journal)
            there = {task.member.canister_id for task in left}
            new = [task for task in tasks if task.member.canister_id not in there and not _has_it(net, task)]
            _keep_codes(folder, codes, new)
            for task in new:
                journal.begin(task.member.canister_id, task=task.record())
            due = [*left, *new]
            shown.reach(0, len(due))
            rows = _in_order(net, journal, due, folder, manner, shown)
        return _put_away(folder, rows)


def _has_it(net: Network, task: UpgradeTask) -> bool:
    """Whether another process has upgraded a canister since this was planned."""
    return management.module_hash(net.agent, task.member.canister_id) == task.after


def _left(journal: Journal) -> list[UpgradeTask]:
    """What is planned in a journal and not carried out to the end."""
    return [task for task in _tasks(journal) if journal.find(task.member.canister_id, "done") is None]


def _tasks(journal: Journal) -> list[UpgradeTask]:
    """All that is planned in a journal."""
    return [UpgradeTask.of(journal.begun(canister_id).data["task"]) for canister_id in journal.canister_ids]


def _keep_codes(folder: Path, codes: Mapping[str, Path], tasks: Iterable[UpgradeTask]) -> None:
    """Copy the code beside the journal: files may be others when it goes on."""
    for sha256 in {task.after for task in tasks}:
        kept = _code_path(folder, sha256)
        if not kept.is_file():
            draft = kept.with_suffix(".draft")
            try:
                shutil.copyfile(codes[sha256], draft)
                draft.replace(kept)
            except OSError as error:
                remedy = "have the state elsewhere: MAINER_NB_STATE"
                raise PreconditionError(places.unwritable(draft, error, remedy)) from error


def _code_path(folder: Path, sha256: str) -> Path:
    return folder / f"{sha256}.wasm"


def _in_order(
    net: Network, journal: Journal, tasks: Sequence[UpgradeTask], folder: Path, manner: _Manner, shown: ProgressTask
) -> list[Upgraded]:
    rows: dict[str, Upgraded] = {}

    def bad() -> bool:
        return manner.stop_at_failure and any(row.outcome in ("returned", "failed") for row in rows.values())

    def go_through(group: Sequence[UpgradeTask]) -> None:
        for task in group:
            if bad():
                return
            shown.note(task.member.name)
            rows[task.member.canister_id] = _switched(net, journal, task, folder, manner.patience)
            shown.advance(1)

    for roles in PHASES:
        groups = _groups([task for task in tasks if task.member.role in roles])
        at_once = manner.at_once if roles in (MAINER_ROLES, ("LLM",)) else 1
        for _ in stopping.parallel(go_through, groups, at_once):
            pass
    return [rows.get(task.member.canister_id) or told(journal, task) for task in _tasks(journal)]


def _groups(tasks: Sequence[UpgradeTask]) -> list[list[UpgradeTask]]:
    """Those that are not to be away at the same time: a ShareService and its ShareAgents, the LLMs of a mAIner."""
    groups: dict[str, list[UpgradeTask]] = {}
    for task in sorted(tasks, key=lambda task: task.member.role == "ShareAgent"):
        groups.setdefault(task.member.parent or task.member.canister_id, []).append(task)
    return list(groups.values())


def _switched(net: Network, journal: Journal, task: UpgradeTask, folder: Path, patience: float) -> Upgraded:
    """One canister; an error that leaves open what happened makes it one that is interrupted."""
    kind = MainerSwitch if task.member.is_mainer else LlmSwitch if task.member.role == "LLM" else Switch
    try:
        code = _code_path(folder, task.after)
        if not code.is_file():
            raise ArtifactMissing(f"{code} is gone: put the wasm with this sha256 there")
        return kind(net, journal, task, code, folder, patience).run()
    except MainerError as error:
        return replace(told(journal, task), reason=f"it goes on when it is run again: {error}")


def _put_away(folder: Path, rows: Sequence[Upgraded]) -> UpgradeReport:
    """Give a journal that is complete another name, so that the next run begins a new one."""
    report = UpgradeReport(tuple(rows), folder / JOURNAL)
    if not report.complete:
        return report
    name = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%fZ.jsonl")
    (folder / JOURNAL).rename(folder / name)
    for path in (*folder.glob("*.wasm"), *folder.glob("*.did")):
        path.unlink()
    return replace(report, journal=folder / name)
