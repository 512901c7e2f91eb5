"""The canisters of a fleet on disk: their snapshots, settings and balances at one moment.

    saving.save(net, whole.members, whole.canister_ids, folder)
    saving.read(folder).canisters[0].cycles

Snapshots are taken, downloaded and deleted again. For that all are stopped together, callers before those whom they
call: a mAIner ends what it is at while its LLMs still answer,
and an answer that finds a stopped mAIner is delivered later. They are started the other way round as soon as the last
snapshot is taken. What is done is written down at each step: after an interruption `save` first starts what still
stands, or goes on downloading.
"""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, get_args

from .. import management, places, stopping
from ..canister import case
from ..errors import ArtifactCorrupt, ArtifactMissing, CallError, MainerError, PreconditionError
from ..network import Network
from ..progress import Progress, Silent, amount
from ..protocol import did
from ..protocol.candid import CandidError, json_form
from . import authority, snapshots
from .members import Member, Role

NOTES = "fleet.json"
AT_ONCE = 8  # canisters
#: Who is stopped together, in this order. The creator comes last: it may have to stop and start the others.
WAVES: tuple[tuple[Role, ...], ...] = (
    ("Challenger", "Judge", "Own", "ShareService", "ShareAgent"),
    ("LLM", "Game State", "other"),
    ("Creator",),
)
#: taking: canisters are being stopped, saved or started; taken: all run again, snapshots are being downloaded; saved:
#: all is on disk.
Phase = Literal["taking", "taken", "saved"]

# One type for what a canister has and what it is to be given. Networks of other versions have fewer settings.
INTERFACE = """
type visibility = variant { controllers; public; allowed_viewers : vec principal };
type settings = record {
  controllers : opt vec principal;
  compute_allocation : opt nat;
  memory_allocation : opt nat;
  freezing_threshold : opt nat;
  reserved_cycles_limit : opt nat;
  log_visibility : opt visibility;
  wasm_memory_limit : opt nat;
  wasm_memory_threshold : opt nat;
  environment_variables : opt vec record { name : text; value : text };
  minimum_incoming_canister_call_cycles : opt nat;
  log_memory_limit : opt nat;
  snapshot_visibility : opt visibility;
  status_visibility : opt visibility;
};
service : {
  canister_status : (record { canister_id : principal }) -> (record {
    status : variant { running; stopping; stopped };
    settings : settings;
    module_hash : opt blob;
    memory_size : nat;
    cycles : nat;
  });
  update_settings : (record { canister_id : principal; settings : settings }) -> ();
}
"""


@dataclass(frozen=True)
class Saved:
    """A canister as it was.

    Attributes:
        running: whether it took calls.
        settings: all of them, as the type `settings` of `INTERFACE` has them.
        module_hash: hex; None: it had no code.
        memory: bytes.
        cycles: its balance once its snapshot was taken.
        snapshot: while the network keeps it.
        others: the ids of its snapshots before one was to be taken; None: none was to be.
        folder: the name of the folder with its code and memory; None: they were not wanted, or there are none.
        seconds: that it was stopped for.
    """

    member: Member
    running: bool
    settings: dict[str, Any]
    module_hash: str | None
    memory: int
    cycles: int
    snapshot: snapshots.CanisterSnapshot | None = None
    others: tuple[str, ...] | None = None
    folder: str | None = None
    seconds: float = 0.0


@dataclass(frozen=True)
class SavedFleet:
    """Canisters on disk.

    Attributes:
        network, root_key: where they are; the key in hex.
        bytes: of code and memory.
        seconds: that the saving took.
    """

    network: str
    root_key: str
    phase: Phase
    canisters: tuple[Saved, ...]
    bytes: int = 0
    seconds: float = 0.0


def look(net: Network, member: Member) -> Saved:
    """What the network says of a canister now. A creator that asks for the caller does not tell all settings.

    Raises:
        PreconditionError: the caller may not ask.
        RejectError: it is frozen.
    """
    if creator := authority.creator_for(net, member.canister_id):
        found = creator.canisterStatusAdmin({"address": member.canister_id})
    else:
        found = management.call(net.agent, INTERFACE, "canister_status", member.canister_id)
    settings = {str(field.label): found["settings"].get(field.label) for field in _settings_type().fields}
    module_hash = found["module_hash"]
    return Saved(
        member=member,
        running=case(found["status"]) == "running",
        settings=settings,
        module_hash=None if module_hash is None else module_hash.hex(),
        memory=found["memory_size"],
        cycles=found["cycles"],
    )


def save(
    net: Network, members: Sequence[Member], whole: Collection[str], folder: Path, progress: Progress | None = None
) -> SavedFleet:
    """Save canisters to disk. What was saved in this folder before is replaced.

    The snapshots are deleted on the network once they are on disk; everything else there stays as it is. An interrupted
    saving of the same canisters goes on.

    Args:
        whole: the ids of those whose code and memory are wanted; the others are left alone and only looked at.

    Raises:
        RejectError: a canister cannot be stopped or saved; what was stopped runs again, and no snapshot is left.
        ArtifactCorrupt: what was downloaded is not what the canister had.
        PreconditionError: the folder cannot be written, or an interrupted saving of other canisters is in it.
    """
    begun = time.monotonic()
    kept = _interrupted(net, members, whole, folder)
    if kept is None:
        shutil.rmtree(folder, ignore_errors=True)
        kept = _take(net, members, whole, folder, progress)
    done = _download(net, kept, folder, progress)
    size = sum(file.stat().st_size for each in done.canisters for file in _files(folder, each))
    done = replace(done, phase="saved", bytes=size, seconds=time.monotonic() - begun)
    _write(folder, done)
    return done


def read(folder: Path) -> SavedFleet:
    """What was saved in a folder.

    Raises:
        ArtifactMissing: nothing was.
        ArtifactCorrupt: it is garbled.
    """
    path = folder / NOTES
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        canisters = tuple(map(_from_json, found.pop("canisters")))
        if found["phase"] not in get_args(Phase):
            raise ValueError(f"phase {found['phase']!r}")
        return SavedFleet(**found, canisters=canisters)
    except FileNotFoundError:
        raise ArtifactMissing(f"{folder} has no saved fleet: save one first (rehearse.rehearse)") from None
    except (OSError, ValueError, TypeError, LookupError, CandidError) as error:
        raise ArtifactCorrupt(
            f"{path} does not tell what was saved: {error}. Delete {folder} and save again."
        ) from error


# --- taking ---


def _interrupted(net: Network, members: Sequence[Member], whole: Collection[str], folder: Path) -> SavedFleet | None:
    """An interrupted saving that can go on; one in which canisters may stand still is undone."""
    try:
        found = read(folder)
    except ArtifactMissing:
        return None
    if found.phase == "saved":
        return None
    if found.root_key != net.root_key.hex():
        raise PreconditionError(
            f"{folder} has an interrupted saving of another network, {found.network}: repeat it there, so that nothing "
            "stays stopped and no snapshot is left. If that network is gone, delete the folder."
        )
    if found.phase == "taking":
        _start(net, found.canisters)
        _delete_taken(net, found.canisters)
        return None
    same = {each.member.canister_id for each in found.canisters} == {member.canister_id for member in members}
    wanted = {each.member.canister_id for each in found.canisters if each.module_hash} & set(whole)
    if same and wanted == {each.member.canister_id for each in found.canisters if each.folder}:
        return found
    for each in found.canisters:
        _delete(net, each)
    return None


def _take(
    net: Network, members: Sequence[Member], whole: Collection[str], folder: Path, progress: Progress | None
) -> SavedFleet:
    seen = stopping.every(lambda member: _look_before(net, member, whole), members, AT_ONCE)
    notes = _Notes(folder, SavedFleet(net.name, net.root_key.hex(), "taking", tuple(seen)))
    stood: dict[str, float] = {}

    def stop(canister: Saved) -> None:
        stood[canister.member.canister_id] = time.monotonic()
        authority.stop(net, canister.member.canister_id)

    def take(canister: Saved) -> None:
        taken = authority.take_snapshot(net, canister.member.canister_id)
        now = look(net, canister.member)
        notes.put(replace(canister, snapshot=taken, cycles=now.cycles, folder=canister.member.canister_id))

    wanted = [each for each in seen if each.others is not None]
    with (progress or Silent()).task(f"take snapshots of {amount(len(wanted), 'canisters')}") as task:
        try:
            for wave in waves(wanted):
                task.note("stopping " + ", ".join(dict.fromkeys(each.member.role for each in wave)))
                _all(stop, wave)
                task.note("taking snapshots")
                _all(take, wave)
        except BaseException:
            _start(net, wanted)
            _delete_taken(net, wanted)
            notes.remove()
            raise
        task.note("starting")
        _start(net, wanted)
    for each in notes.fleet.canisters:
        if (since := stood.get(each.member.canister_id)) is not None and each.running:
            notes.put(replace(each, seconds=time.monotonic() - since))
    return notes.reach("taken")


def _look_before(net: Network, member: Member, whole: Collection[str]) -> Saved:
    """A canister before anything is done, with the snapshots that it has if one more is to be taken."""
    seen = look(net, member)
    if member.canister_id not in whole or seen.module_hash is None:
        return seen
    return replace(seen, others=_kept(net, seen))


def _kept(net: Network, canister: Saved) -> tuple[str, ...]:
    return tuple(kept.snapshot_id for kept in authority.kept_snapshots(net, canister.member.canister_id))


def _delete_taken(net: Network, canisters: Sequence[Saved]) -> None:
    """Delete the snapshots that were taken, also those that a killed process could not note."""
    for each in canisters:
        for snapshot_id in () if each.others is None else set(_kept(net, each)) - set(each.others):
            authority.delete_snapshot(net, each.member.canister_id, snapshot_id)


def waves(canisters: Sequence[Saved], called_first: bool = False) -> Iterator[list[Saved]]:
    """Canisters in the order of `WAVES`, or those first whom the others call."""
    for roles in reversed(WAVES) if called_first else WAVES:
        if wave := [each for each in canisters if each.member.role in roles]:
            yield wave


def _start(net: Network, canisters: Sequence[Saved]) -> None:
    """Start those that ran, whom others call first."""
    for wave in waves([each for each in canisters if each.running], called_first=True):
        _all(lambda each: authority.start(net, each.member.canister_id), wave)


def _all(work: Callable[[Saved], None], canisters: Sequence[Saved]) -> None:
    """Do something with each, also after it failed with one, so that nothing is done that nobody knows of; the first
    error is raised then.
    """

    def attempt(canister: Saved) -> MainerError | None:
        try:
            work(canister)
        except MainerError as error:
            return error
        return None

    for error in stopping.every(attempt, canisters, AT_ONCE):
        if error is not None:
            raise error


def _delete(net: Network, canister: Saved) -> None:
    if canister.snapshot is None:
        return
    try:
        authority.delete_snapshot(net, canister.member.canister_id, canister.snapshot.snapshot_id)
    except CallError:  # it may be gone already
        if canister.snapshot in authority.kept_snapshots(net, canister.member.canister_id):
            raise


# --- downloading ---


def _download(net: Network, fleet: SavedFleet, folder: Path, progress: Progress | None) -> SavedFleet:
    notes = _Notes(folder, fleet)
    for each in fleet.canisters:
        if each.snapshot is None or each.folder is None:
            continue
        there = folder / each.folder
        if not (there / snapshots.METADATA).is_file():
            authority.download_snapshot(net, each.snapshot, there, progress)
        if (found := snapshots.module_hash(there)) != each.module_hash:
            raise ArtifactCorrupt(
                f"the module in {there} has the sha256 {found}, but {each.member.canister_id} has {each.module_hash}: "
                "delete the folder and save again"
            )
        _delete(net, each)
        notes.put(replace(each, snapshot=None))
    return notes.fleet


def _files(folder: Path, canister: Saved) -> list[Path]:
    return [] if canister.folder is None else [path for path in (folder / canister.folder).rglob("*") if path.is_file()]


# --- on disk ---


class _Notes:
    """What is known of a saving, written down at each change, from any thread."""

    def __init__(self, folder: Path, fleet: SavedFleet) -> None:
        self._folder, self.fleet = folder, fleet
        self._lock = threading.Lock()
        _write(folder, fleet)

    def put(self, canister: Saved) -> None:
        """This is known of a canister now."""
        self._change(
            lambda fleet: replace(
                fleet,
                canisters=tuple(
                    canister if each.member.canister_id == canister.member.canister_id else each
                    for each in fleet.canisters
                ),
            )
        )

    def reach(self, phase: Phase) -> SavedFleet:
        """The saving has come so far."""
        self._change(lambda fleet: replace(fleet, phase=phase))
        return self.fleet

    def remove(self) -> None:
        """Nothing was saved."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _change(self, change: Callable[[SavedFleet], SavedFleet]) -> None:
        with self._lock:
            self.fleet = change(self.fleet)
            _write(self._folder, self.fleet)


def _write(folder: Path, fleet: SavedFleet) -> None:
    table = {**asdict(replace(fleet, canisters=())), "canisters": [_to_json(each) for each in fleet.canisters]}
    draft = folder / f"{NOTES}.draft"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        draft.replace(folder / NOTES)
    except OSError as error:
        raise PreconditionError(places.unwritable(folder, error, "choose another folder")) from error


def _settings_type() -> Any:
    return did.parse(INTERFACE).types["settings"]


def _to_json(canister: Saved) -> dict[str, Any]:
    table = asdict(canister)
    table["settings"] = json_form.to_json(_settings_type(), canister.settings)
    if canister.snapshot:
        table["snapshot"]["taken"] = canister.snapshot.taken.isoformat()
    return table


def _from_json(table: dict[str, Any]) -> Saved:
    snapshot = table.pop("snapshot")
    if snapshot:
        snapshot = snapshots.CanisterSnapshot(**{**snapshot, "taken": datetime.fromisoformat(snapshot["taken"])})
    settings = json_form.from_json(_settings_type(), table.pop("settings"))
    others = table.pop("others")
    return Saved(
        member=Member(**table.pop("member")),
        settings=settings,
        snapshot=snapshot,
        others=None if others is None else tuple(others),
        **table,
    )
