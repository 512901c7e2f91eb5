"""What a controller may do to a canister, done as one of its controllers or through the creator that made it.

    authority.status(net, canister_id).cycles                       # as management.status
    authority.stop(net, canister_id)
    before = authority.take_snapshot(net, canister_id)
    authority.upgrade(net, canister_id, wasm)                       # by the creator: what was uploaded to it
    authority.load_snapshot(net, canister_id, before.snapshot_id)

The controllers of a mAIner are its owner and the creator. So for mAIners of other owners the creator acts, for its own
controllers, only on what it made, and keeps a list of it: `operations`.

All functions raise `PreconditionError` if the caller may not, which names canister, caller and remedy, and `CallError`
if what is asked fails.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .. import management
from ..agent import PrincipalLike, RequestMark, to_principal
from ..canister import Canister, CanisterMethod, case
from ..differences import UPLOAD_STEP
from ..errors import MainerError, PreconditionError, RejectError
from ..management import CanisterStatusResult
from ..network import CREATOR, DEPLOY_STEP, Network
from ..progress import Progress
from . import snapshots
from .snapshots import CanisterSnapshot

#: What the creator calls of a mAIner or an LLM (`canisters/mainer_creator/Operations.mo`); all else is open to anybody.
CALLED_BY_CREATOR = {
    "ready",
    "getWorkStatusAdmin",
    "getChallengeQueueAdmin",
    "getRecentSubmittedResponsesAdmin",
    "getRecentFailuresAdmin",
    "getMainerStatisticsAdmin",
    "getIssueFlagsAdmin",
    "checkAccessToLLMs",
    "get_max_tokens",
    "recursive_dir_content_query",
    "setMaintenanceFlagAdmin",
    "startTimerExecutionAdmin",
    "stopTimerExecutionAdmin",
    "setTimerIntervalAdmin",
    "triggerChallengeResponseAdmin",
    "resetChallengeQueueAdmin",
    "withdrawCyclesAdmin",
    "add_llm_canister",
    "remove_llm_canister",
    "setShareServiceCanisterId",
    "load_model",
    "set_max_tokens",
    "new_chat",
    "run_update",
    "remove_prompt_cache",
    "filesystem_remove",
}


@dataclass(frozen=True)
class Operation:
    """Something that was done through the creator.

    Attributes:
        caller: who asked for it.
        began, ended: UTC; `ended` is None while it is under way.
        outcome: "UnderWay", "Done" or "Failed".
        told: what came of it, in words.
    """

    number: int
    caller: str
    operation: str
    canister_id: str
    began: datetime
    ended: datetime | None
    outcome: str
    told: str


def creator_for(net: Network, canister_id: str) -> Canister | None:
    """The creator if it has to act for the caller, None if the caller is a controller of the canister itself."""
    caller = net.caller
    controllers = management.controllers(net.agent, canister_id)
    if caller in controllers:
        return None
    if not controllers and not management.exists(net.agent, canister_id):
        raise PreconditionError(f"there is no canister {canister_id} on network {net.name}: check the id")
    who = f"{caller} is no controller of canister {canister_id} (those are: {', '.join(controllers) or 'nobody'})"
    try:
        creator = net.canister(CREATOR)
    except MainerError as error:
        raise PreconditionError(
            f"{who}, and there is no creator that could act: use an identity that is one. {error}"
        ) from error
    made = {each for mainer in creator.getMainers() for each in (mainer["controllerId"], *mainer["llmIds"])}
    if canister_id not in made:
        raise PreconditionError(
            f"{who}, and the creator {creator.canister_id} did not make it: use an identity that is a controller"
        )
    if caller not in management.controllers(net.agent, creator.canister_id):
        raise PreconditionError(
            f"{who}, nor of the creator {creator.canister_id}, which made it: use an identity that controls one of them"
        )
    return creator


class MadeCanister(Canister):
    """A canister whose methods for controllers are called by the creator that made it, in place of the caller."""

    def __init__(self, canister: Canister, creator: Canister) -> None:
        vars(self).update(vars(canister))
        self.creator = creator

    def __getattr__(self, name: str) -> CanisterMethod:
        method = super().__getattr__(name)
        return _MadeMethod(self, self.creator, method) if name in CALLED_BY_CREATOR else method


class _MadeMethod(CanisterMethod):
    def __init__(self, canister: Canister, creator: Canister, method: CanisterMethod) -> None:
        super().__init__(canister, method.method)
        self.creator = creator

    def send(
        self, arg: bytes, timeout: float, effective_canister_id: PrincipalLike | None, mark: RequestMark | None
    ) -> bytes:
        """As of any method; what the canister itself rejects is an `Err` of the creator's."""
        call = {"address": self.canister.canister_id, "method": self.method.name, "argument": arg}
        return bytes(self.creator.callCanisterAdmin(call, timeout=timeout, mark=mark))


def acting(net: Network, canister: Canister) -> Canister:
    """The canister; the creator calls its methods for controllers if the caller is none and controls the creator."""
    try:
        creator = creator_for(net, canister.canister_id)
    except PreconditionError:
        return canister  # what is open to anybody can be called; all else is refused by the canister
    return canister if creator is None else MadeCanister(canister, creator)


def status(net: Network, canister_id: str) -> CanisterStatusResult:
    """As `management.status`."""
    if creator := creator_for(net, canister_id):
        return management.status_of(canister_id, _ask(creator, "canisterStatusAdmin", canister_id))
    return management.status(net.agent, canister_id)


def start(net: Network, canister_id: str) -> None:
    """As `management.start`."""
    if creator := creator_for(net, canister_id):
        _ask(creator, "startCanisterAdmin", canister_id)
    else:
        management.start(net.agent, canister_id)


def stop(net: Network, canister_id: str) -> None:
    """As `management.stop`."""
    if creator := creator_for(net, canister_id):
        _ask(creator, "stopCanisterAdmin", canister_id)
    else:
        management.stop(net.agent, canister_id)


def update_settings(net: Network, canister_id: str, **settings: Any) -> None:
    """As `management.update_settings`; through the creator, it stays a controller, and of an LLM its mAIner."""
    if creator := creator_for(net, canister_id):
        if "controllers" in settings:
            settings["controllers"] = [to_principal(each, "controller") for each in settings["controllers"]]
        _ask(creator, "updateSettingsAdmin", canister_id, settings=settings)
    else:
        management.update_settings(net.agent, canister_id, **settings)


def upgrade(net: Network, canister_id: str, wasm: bytes, mark: RequestMark | None = None) -> None:
    """Upgrade a canister with its state; as `management.install_code`.

    Through the creator it is code that was uploaded to it: for a mAIner canister that of mAIner canisters, for an LLM
    that of its model. It stops the canister meanwhile if it runs.

    Raises:
        PreconditionError: the caller may not, or other code is uploaded.
    """
    if not (creator := creator_for(net, canister_id)):
        management.install_code(net.agent, canister_id, wasm, "upgrade", mark=mark)
        return
    sha256 = hashlib.sha256(wasm).hexdigest()
    _check_uploaded(creator, canister_id, sha256)
    _ask(creator, "upgradeCanisterAdmin", canister_id, mark, sha256=bytes.fromhex(sha256))


def check_upgrade(net: Network, canister_id: str, sha256: str) -> None:
    """Whether `upgrade` could be carried out with the code of this sha256, hex.

    Raises:
        PreconditionError: it could not; the text says why.
    """
    if creator := creator_for(net, canister_id):
        _check_uploaded(creator, canister_id, sha256)


def _check_uploaded(creator: Canister, canister_id: str, sha256: str) -> None:
    if sha256 not in {artefact["sha256"].hex() for artefact in creator.getArtefacts()}:
        raise PreconditionError(
            f"the code for canister {canister_id} (sha256 {sha256}) is not uploaded to the creator "
            f"{creator.canister_id}, which upgrades it: run {UPLOAD_STEP} first"
        )


def take_snapshot(net: Network, canister_id: str, replace: str | None = None) -> CanisterSnapshot:
    """As `snapshots.take`."""
    if creator := creator_for(net, canister_id):
        replaced = None if replace is None else snapshots.id_of(replace)
        return snapshots.of(canister_id, _ask(creator, "takeSnapshotAdmin", canister_id, replace=replaced))
    return snapshots.take(net.agent, canister_id, replace)


def kept_snapshots(net: Network, canister_id: str) -> list[CanisterSnapshot]:
    """As `snapshots.kept`."""
    if creator := creator_for(net, canister_id):
        return [snapshots.of(canister_id, each) for each in _ask(creator, "listSnapshotsAdmin", canister_id)]
    return snapshots.kept(net.agent, canister_id)


def download_snapshot(net: Network, snapshot: CanisterSnapshot, folder: Path, progress: Progress | None = None) -> int:
    """As `snapshots.download`."""
    if not (creator := creator_for(net, snapshot.canister_id)):
        return snapshots.download(net.agent, snapshot, folder, progress)

    def ask(method: str, canister_id: str, snapshot_id: bytes, kind: dict[str, Any] | None = None) -> Any:
        answer = _ask(creator, "readSnapshotAdmin", canister_id, snapshotId=snapshot_id, part=kind)
        return snapshots.decoded(method, answer)

    return snapshots.download_by(ask, snapshot, folder, progress)


def timer_is_set(net: Network, snapshot: CanisterSnapshot) -> bool:
    """As `snapshots.timer_is_set`."""
    if not (creator := creator_for(net, snapshot.canister_id)):
        return snapshots.timer_is_set(net.agent, snapshot)
    snapshot_id = snapshots.id_of(snapshot.snapshot_id)
    answer = _ask(creator, "readSnapshotAdmin", snapshot.canister_id, snapshotId=snapshot_id, part=None)
    return snapshots.has_timer(snapshots.decoded("read_canister_snapshot_metadata", answer))


def load_snapshot(net: Network, canister_id: str, snapshot_id: str) -> None:
    """As `snapshots.load`."""
    if creator := creator_for(net, canister_id):
        _ask(creator, "loadSnapshotAdmin", canister_id, snapshotId=snapshots.id_of(snapshot_id))
    else:
        snapshots.load(net.agent, canister_id, snapshot_id)


def delete_snapshot(net: Network, canister_id: str, snapshot_id: str) -> None:
    """As `snapshots.delete`."""
    if creator := creator_for(net, canister_id):
        _ask(creator, "deleteSnapshotAdmin", canister_id, snapshotId=snapshots.id_of(snapshot_id))
    else:
        snapshots.delete(net.agent, canister_id, snapshot_id)


def operations(net: Network) -> list[Operation]:
    """What was done through the creator, the oldest first."""
    return [_operation(record) for record in net.canister(CREATOR).getOperationsAdmin()]


def _operation(record: dict[str, Any]) -> Operation:
    outcome = case(record["outcome"])
    return Operation(
        record["number"],
        record["caller"],
        record["operation"],
        record["address"],
        datetime.fromtimestamp(record["timestamp"] / 1e9, UTC),
        None if record["ended"] is None else datetime.fromtimestamp(record["ended"] / 1e9, UTC),
        outcome,
        record["outcome"][outcome] or "",
    )


def _ask(creator: Canister, method: str, canister_id: str, mark: RequestMark | None = None, **fields: Any) -> Any:
    try:
        return getattr(creator, method)({"address": canister_id, **fields}, mark=mark)
    except RejectError as error:
        if not error.not_offered:
            raise
        raise PreconditionError(
            f"the creator {creator.canister_id} has older code, which does not offer {method} for canister "
            f"{canister_id}: run {DEPLOY_STEP}, which upgrades it"
        ) from error
