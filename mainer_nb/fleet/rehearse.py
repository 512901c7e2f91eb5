"""A fleet on a copy: its canisters as they are, on a fresh embedded network, to try there what is to be done to them.

    whole = fleet.of(net)
    rehearse.rehearse(net, whole).plan                    # what it would do: cost, and how long canisters are stopped
    done = rehearse.rehearse(net, whole, carry_out=True)
    done.copy                                             # a network like any other: check, upgrade, ask
    rehearse.upgraded(done)                               # the upgrade of the fleet, on the copy
    upgrade.plan(net, whole, rehearsed=rehearse.proven(net))
    rehearse.load(net, done.folder)                       # the same again from disk, without touching the original
    rehearse.discard(done.folder)

The copies have the ids, code, memory, controllers, settings and balances of the originals, so everybody may do there
what they may do here, and ids in their memories stay valid. Their timers are off. They do not reach canisters that were
not copied, nor anything outside. Of the original network nothing changes but the snapshots, which are deleted again
(`saving`). Not copied are logs, history and the number of a canister's version. No call is under way when a canister is
stopped.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from .. import check, create, management, network, places, population, stopping, upload
from ..check import Check
from ..errors import ArgumentError, CallError, MainerError, NetworkError, PreconditionError
from ..localnet import cycles as prices
from ..localnet import server
from ..network import CREATOR, Network
from ..progress import Progress, Silent, amount
from . import saving, snapshots, upgrade
from .members import NAMED, Fleet, Member, Role
from .saving import AT_ONCE, Saved, SavedFleet
from .upgrade import UpgradeReport

#: What becomes of LLM canisters: copied whole; made on the copy by its creator, from the model file that it has; left
#: empty.
Llms = Literal["copy", "model file", "leave out"]
LLMS: tuple[Llms, ...] = get_args(Llms)

PROVEN = "proven.json"
STAGE_CYCLES = 10**18  # of the canister on the copy that uploads go through, so that the copies do not pay for them
MESSAGE = 200  # bytes of a call of the management canister
MESSAGES = 6  # to each canister: status twice, stop, take, start, delete
CALL_SECONDS = {True: 2.0, False: 0.1}  # that an update call takes, on mainnet and elsewhere
#: What is taken in a second, by a canister on mainnet in instructions (a byte is one), on a disk in bytes.
PER_SECOND = {True: 2e9, False: 3e8}


@dataclass(frozen=True)
class PlannedCopy:
    """What is to be done with a canister.

    Attributes:
        how: "copy": code and memory; or as of `Llms`.
        bytes: of its memory, at most so many are downloaded.
        cycles: that it costs the original.
        problem: why it cannot be done; "" if nothing is known against it.
    """

    member: Member
    how: Llms
    bytes: int
    cycles: int
    problem: str = ""


@dataclass(frozen=True)
class CopyPlan:
    """What a rehearsal does.

    Attributes:
        network: where the originals are.
        stopped_seconds: about how long they are stopped, all at the same time, besides waiting for open calls to end.
    """

    network: str
    canisters: tuple[PlannedCopy, ...]
    stopped_seconds: float

    @property
    def bytes(self) -> int:
        """To download, at most; the disk needs three times as much."""
        return sum(each.bytes for each in self.canisters)

    @property
    def cycles(self) -> int:
        """What it costs the originals together."""
        return sum(each.cycles for each in self.canisters)

    @property
    def problems(self) -> tuple[str, ...]:
        return tuple(f"{each.member.name}: {each.problem}" for each in self.canisters if each.problem)


@dataclass(frozen=True)
class Rehearsal:
    """A plan, and what came of it.

    Attributes:
        copy: the network with the copies; None: it was only planned.
        folder: where the copies are kept.
        saved: the originals as they were; None: it was only planned.
        seconds: that loading them onto the network took.
    """

    plan: CopyPlan
    folder: Path
    copy: Network | None = None
    saved: SavedFleet | None = None
    seconds: float = 0.0

    @property
    def text(self) -> str:
        """What is to be done or was, in a sentence."""
        number, plan = amount(len(self.plan.canisters), "canisters"), self.plan
        if self.saved is None:
            return (
                f"{number} would be copied, at most {amount(plan.bytes, 'B')}; that takes "
                f"{plan.cycles / management.TRILLION:.2f} T of their cycles, and stops them for about "
                f"{plan.stopped_seconds:.0f} s, besides waiting for what is under way."
            )
        stood = max((each.seconds for each in self.saved.canisters), default=0.0)
        return (
            f"{number} copied, {amount(self.saved.bytes, 'B')}: saved in {self.saved.seconds:.0f} s, of which they "
            f"were stopped for {stood:.1f} s at most; loaded in {self.seconds:.0f} s."
        )


def rehearse(
    net: Network,
    fleet: Fleet,
    *,
    carry_out: bool = False,
    llms: Llms = "copy",
    timers: bool = False,
    folder: Path | None = None,
    progress: Progress | None = None,
) -> Rehearsal:
    """Copy a fleet onto a fresh embedded network. Repeated, it copies the fleet as it is then.

    Args:
        carry_out: whether it is done; otherwise it is only said what would be done. It stops the canisters for a
            moment, and costs them cycles.
        llms: what becomes of the LLMs.
        timers: whether timers run on the copy as they did.
        folder: for copies and network; None: a folder of the project's for each network.

    Raises:
        ArgumentError: the fleet is empty, or `llms` unknown.
        PreconditionError: something cannot be copied; the error names it, and nothing was done.
        RejectError: a canister could not be stopped or saved. All run as before, and no snapshot is left.
    """
    folder = folder or _folder(net)
    plan = planned(net, fleet, llms)
    if not carry_out:
        return Rehearsal(plan, folder)
    if plan.problems:
        raise PreconditionError(f"{'; '.join(plan.problems)}. Nothing was done.")
    whole = [each.member.canister_id for each in plan.canisters if each.how == "copy"]
    saved = saving.save(net, fleet.members, whole, folder / "saved", progress)
    begun = time.monotonic()
    copy = load(net, folder, timers=timers, progress=progress)
    if llms == "model file":
        _make_llms(copy, fleet.of_role("LLM"), progress)
    return Rehearsal(plan, folder, copy, saved, time.monotonic() - begun)


def load(net: Network, folder: Path, *, timers: bool = False, progress: Progress | None = None) -> Network:
    """Put what `rehearse` saved in a folder onto a fresh network, in place of the one that is there.

    Args:
        net: whose caller calls there.
        timers: as of `rehearse`.

    Returns:
        The network; its name is that of the original with "rehearsal of".

    Raises:
        ArtifactMissing, ArtifactCorrupt: there is nothing to load, or it is damaged.
        PreconditionError: the saving was interrupted.
    """
    saved = saving.read(folder / "saved")
    if saved.phase != "saved":
        raise PreconditionError(
            f"what is saved in {folder} is not complete: repeat the rehearsal, which goes on with it"
        )
    _reset(folder)
    name = f"rehearsal of {saved.network}"
    shutil.rmtree(places.state() / "fleet" / network.file_name(name), ignore_errors=True)  # of the copy before
    copy = network.beside(folder / "network", name, net)
    with (progress or Silent()).task(f"load {amount(len(saved.canisters), 'canisters')}") as task:
        stopping.every(lambda each: _create(copy, each), saved.canisters, AT_ONCE)
        stage = management.create_canister(copy.agent, STAGE_CYCLES)
        loaded = None
        for each in saved.canisters:
            task.note(each.member.name)
            if each.folder is not None:
                there = folder / "saved" / each.folder
                loaded = snapshots.upload(copy.agent, stage, there, loaded, timers, progress)
                snapshots.load(copy.agent, each.member.canister_id, loaded)
        management.delete(copy.agent, stage)
        for wave in saving.waves([each for each in saved.canisters if each.running], called_first=True):
            stopping.every(lambda each: management.start(copy.agent, each.member.canister_id), wave, AT_ONCE)
        stopping.every(lambda each: _settle(copy, each), saved.canisters, AT_ONCE)
    for name, role in NAMED.items():
        for each in saved.canisters:
            if each.member.role == role:
                copy.ids.set(name, each.member.canister_id)
    return copy


def discard(folder: Path) -> bool:
    """Stop the network of a rehearsal and remove it with what was saved; False if there is none.

    Raises:
        NetworkError: it does not stop.
        PreconditionError: a saving was interrupted, and something may be stopped or left on the original network.
    """
    if not folder.is_dir():
        return False
    if (folder / "saved" / saving.NOTES).is_file() and saving.read(folder / "saved").phase != "saved":
        raise PreconditionError(
            f"saving to {folder} was interrupted: repeat the rehearsal first, so that nothing stays stopped and no "
            "snapshot is left on the original network"
        )
    _reset(folder)
    shutil.rmtree(folder)
    return True


# --- on the copy ---


def upgraded(
    rehearsal: Rehearsal, codes: Mapping[Role, Path] | None = None, progress: Progress | None = None
) -> UpgradeReport:
    """Upgrade the copies as the originals would be, and note what succeeded, for `proven`.

    Args:
        codes: as of `upgrade.plan`.

    Returns:
        What happened; nothing if the rehearsal was only planned.

    Raises:
        ArtifactError: a file is missing or damaged.
    """
    copy = rehearsal.copy
    if copy is None:
        return UpgradeReport((), None)
    plan = upgrade.plan(copy, _fleet(rehearsal), codes, progress=progress)
    report = upgrade.run(copy, plan, progress, carry_out=True)
    good = {row.member.canister_id for row in report.rows if row.outcome == "upgraded"}
    tried = {(row.module or "", row.code.sha256): row.member.canister_id for row in plan.due if row.code}
    failed = {
        (row.module or "", row.code.sha256) for row in plan.due if row.code and row.member.canister_id not in good
    }
    _note_proven(rehearsal.folder, tried.keys() - failed, failed)
    return report


def checked(rehearsal: Rehearsal) -> list[Check]:
    """What the helper endpoints of the mAIners on the copy answer; nothing if the rehearsal was only planned."""
    if (copy := rehearsal.copy) is None:
        return []
    fleet = _fleet(rehearsal)
    return stopping.every(lambda member: check.check(copy, _mainer(fleet, member)), fleet.mainers, AT_ONCE)


def _mainer(fleet: Fleet, member: Member) -> population.Mainer:
    kind: Any = member.role
    llm_ids = tuple(llm.canister_id for llm in fleet.llms(member.canister_id))
    return population.Mainer(member.name, kind, member.canister_id, member.owner, llm_ids, member.parent)


def proven(net: Network, folder: Path | None = None) -> frozenset[tuple[str, str]]:
    """Pairs of modules, sha256 in hex, whose upgrade succeeded with all canisters of the last rehearsal of them.

    Args:
        folder: as of `rehearse`.
    """
    try:
        pairs = json.loads(((folder or _folder(net)) / PROVEN).read_text(encoding="utf-8"))
        return frozenset((str(before), str(after)) for before, after in pairs)
    except (OSError, ValueError, TypeError):  # nothing was rehearsed, or nobody can tell any more
        return frozenset()


def _note_proven(folder: Path, good: Collection[tuple[str, str]], bad: Collection[tuple[str, str]]) -> None:
    path = folder / PROVEN
    try:
        known = {tuple(pair) for pair in json.loads(path.read_text(encoding="utf-8"))} if path.is_file() else set()
        path.write_text(json.dumps(sorted((known | set(good)) - set(bad))) + "\n", encoding="utf-8")
    except (OSError, ValueError) as error:
        raise PreconditionError(f"{path} cannot be read or written: {error}. Delete it.") from error


def _fleet(rehearsal: Rehearsal) -> Fleet:
    """The fleet on the copy: who has code there, and what its creator made, if it was copied."""
    there = [each.member for each in rehearsal.plan.canisters if each.how != "leave out"]
    has_creator = any(member.role == "Creator" for member in there)
    return Fleet(tuple(replace(member, of_creator=member.of_creator and has_creator) for member in there))


def _folder(net: Network) -> Path:
    return places.rehearsal() / network.file_name(net.name)


# --- planning ---


def planned(net: Network, fleet: Fleet, llms: Llms = "copy") -> CopyPlan:
    """What `rehearse` would do. Errors as of it."""
    if not fleet.members:
        raise ArgumentError("the fleet has no canisters: choose at least one")
    if llms not in LLMS:
        raise ArgumentError(f"unknown llms {llms!r}: choose one of {', '.join(LLMS)}")
    unmakable = _unmakable(net, fleet) if llms == "model file" else {}

    def of(member: Member) -> PlannedCopy:
        how: Llms = llms if member.role == "LLM" else "copy"
        try:
            seen = saving.look(net, member)
        except MainerError as error:
            return PlannedCopy(member, how, 0, 0, str(error))
        problem = unmakable.get(member.canister_id, "")
        if how != "copy":
            return PlannedCopy(member, how, 0, prices.ingress(MESSAGE), problem)
        price = _price(seen.memory)
        if seen.module_hash and seen.cycles < price:
            problem = f"its balance of {seen.cycles:,} cycles does not pay for a snapshot ({price:,}): top it up"
        return PlannedCopy(member, how, seen.memory, price, problem)

    canisters = stopping.every(of, fleet.members, AT_ONCE)
    canisters = [replace(each, problem=each.problem or _busy(net, each.member)) for each in canisters]
    copied = [each for each in canisters if each.how == "copy"]
    waves = len({wave for wave in saving.WAVES for each in copied if each.member.role in wave})
    calls = (3 * waves) * -(-len(copied) // AT_ONCE)
    work = sum(each.bytes + (prices.SNAPSHOT_INSTRUCTIONS if net.mainnet else 0) for each in copied)
    seconds = calls * CALL_SECONDS[net.mainnet] + work / PER_SECOND[net.mainnet]
    return CopyPlan(net.name, tuple(canisters), seconds)


def _price(memory: int) -> int:
    """Cycles that a snapshot of a canister with so many bytes costs it, to take and to read."""
    slices = -(-memory // snapshots.SLICE) + 3
    return prices.execution(prices.SNAPSHOT_INSTRUCTIONS + memory) + (slices + MESSAGES) * prices.ingress(MESSAGE)


def _busy(net: Network, member: Member) -> str:
    """Why a creator cannot be stopped now."""
    if member.role != "Creator":
        return ""
    try:
        under_way = net.canister_at(member.canister_id, CREATOR).getOrdersUnderWay()
    except CallError:  # a creator of the original interface does not tell
        return ""
    return f"it is making {amount(len(under_way), 'canisters')}: wait until that is done" if under_way else ""


def _unmakable(net: Network, fleet: Fleet) -> dict[str, str]:
    """The LLMs that the creator on the copy could not make as they are, with the reason."""
    creators = fleet.of_role("Creator")
    if not creators:
        return dict.fromkeys((llm.canister_id for llm in fleet.of_role("LLM")), 'only its creator could: llms="copy"')
    creator = net.canister_at(creators[0].canister_id, CREATOR)
    made = {llm.canister_id: llm for mainer in population.made_by(creator) for llm in mainer.llms}
    held = {(file.target, file.model): file.sha256 for file in upload.stored(net)}
    found = {}
    for member in fleet.of_role("LLM"):
        llm = made.get(member.canister_id)
        if llm is None:
            found[member.canister_id] = 'the creator did not make it: llms="copy"'
        elif (llm.model_sha256, llm.wasm_sha256) != (
            held.get(("LlmModel", llm.model)),
            held.get(("LlmWasm", llm.model)),
        ):
            found[member.canister_id] = 'the creator has another model file or code than it was made of: llms="copy"'
    return found


# --- loading ---


def _reset(folder: Path) -> None:
    try:
        server.reset(folder / "network")
    except server.ServerError as error:
        raise NetworkError(f"the network of a rehearsal cannot be ended: {error}") from error


def _create(copy: Network, saved: Saved) -> None:
    """An empty, stopped canister of the caller's, which can pay for being loaded."""
    loading = prices.execution(prices.SNAPSHOT_INSTRUCTIONS + saved.memory) + 10 * prices.ingress(MESSAGE)
    canister_id = saved.member.canister_id
    management.create_canister(copy.agent, max(saved.cycles, loading), canister_id=canister_id)
    given = {**saved.settings, "controllers": [copy.caller], "freezing_threshold": 0}
    _set(copy, canister_id, given)
    management.stop(copy.agent, canister_id)


def _settle(copy: Network, saved: Saved) -> None:
    """The settings that the original has, and its balance: exactly, or where the caller is no controller, which it can
    only now not be, without the price of a message.
    """
    now = saving.look(copy, saved.member)
    _set(copy, saved.member.canister_id, saved.settings)
    if copy.caller in saved.settings["controllers"]:
        now = saving.look(copy, saved.member)
    if now.cycles < saved.cycles:
        management.top_up(copy.agent, saved.member.canister_id, saved.cycles - now.cycles)


def _make_llms(copy: Network, llms: Sequence[Member], progress: Progress | None) -> None:
    """Have the creator on the copy make the LLMs, in the canisters that are there for them."""
    variants = {llm.canister_id: llm.variant for mainer in population.mainers(copy) for llm in mainer.llms}

    def make(llm: Member) -> str:
        assert llm.parent is not None  # the creator made it
        return create.add_llm(copy, llm.parent, variants[llm.canister_id], progress, renewed=llm.canister_id)

    stopping.every(make, llms, create.LLMS_AT_ONCE)


def _set(copy: Network, canister_id: str, settings: dict[str, Any]) -> None:
    management.call(copy.agent, saving.INTERFACE, "update_settings", canister_id, settings=settings)
