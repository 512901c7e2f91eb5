"""One canister from old code to new, and back if that goes wrong; `upgrade` does it with a whole fleet.

    quiet       it begins nothing any more: a mAIner is in maintenance and its timers stand, an LLM is out of rotation
    stopped     what was under way has ended
    snapshot    code and memory as they are now; none of an LLM that the creator can make again
    installed   the new code, or why it refused
    judged      module hash, interface, health, what was kept; an LLM answers a question
    returned    only if the verdict is bad: the snapshot is loaded, or the LLM made again
    back        it works as before: timers, maintenance, rotation

Each step is in the journal when it is done. After a kill the same steps are gone through again: those that are in the
journal are left out, the others may be done twice, except the installation: that request has a mark in the journal, so
the network carries it out once whoever sends it again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from .. import calls, create, management
from ..agent import RequestMark
from ..canister import Canister
from ..conditions import DELETED
from ..errors import (
    ArgumentError,
    CallTimeout,
    CanisterError,
    PreconditionError,
    RejectError,
    WaitTimeout,
)
from ..network import Network
from ..protocol import did
from ..protocol.candid import ServiceChange, service_change
from . import authority, work
from .journal import Entry, Journal
from .members import Member, canister, offers

WayBack = Literal["snapshot", "made again"]
Outcome = Literal["planned", "upgraded", "left alone", "returned", "failed", "interrupted"]

MAINTENANCE = "setMaintenanceFlagAdmin"  # beyond the original interface
MODEL = "models/model.gguf"  # where the creator puts it
QUESTION = "What is one and one?"
TEST_CACHE = "upgrade-test.cache"
TEST_CALLS = 30  # of run_update: as many as a mAIner makes for an answer
TEST_TOKENS = 8  # generated at most
#: What is final when it is raised: the canister or the network refused. Any other error leaves open what happened.
FINAL = (RejectError, CanisterError, WaitTimeout, PreconditionError, ArgumentError)


@dataclass(frozen=True)
class UpgradeTask:
    """What is to be done with a canister.

    Attributes:
        before, after: sha256 of the modules, hex.
        way_back: how the old code and state come back.
        allow_breaking: whether methods may go, or change so that clients of the old interface break.
        keep_snapshot: whether the snapshot stays after success.
    """

    member: Member
    before: str
    after: str
    way_back: WayBack = "snapshot"
    allow_breaking: bool = False
    keep_snapshot: bool = False

    def record(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)

    @classmethod
    def of(cls, record: dict[str, Any]) -> UpgradeTask:
        """The task of which this is the record."""
        return cls(**{**record, "member": Member(**record["member"])})


@dataclass(frozen=True)
class Upgraded:
    """What happened to a canister.

    Attributes:
        outcome: "planned", "left alone": nothing was done; "returned": old code and state are back; "failed": it could
            not be carried out, or not be taken back; "interrupted": it goes on when it is run again.
        reason: why it is not upgraded; "" if it is.
        before, module: the sha256 of what was installed, and of what is now, hex.
        away: seconds in which it took no work; None if that is not over or was not begun.
        cycles: that it has spent meanwhile.
        snapshot_id: of the snapshot that is left, hex; "" if none is.
        notes: what was left out or could not be guaranteed, in sentences.
    """

    member: Member
    outcome: Outcome
    reason: str = ""
    before: str = ""
    module: str = ""
    away: float | None = None
    cycles: int | None = None
    snapshot_id: str = ""
    notes: tuple[str, ...] = ()


class Switch:
    """Of a canister that has neither timers nor maintenance, such as the Game State.

    Args:
        code: the new module.
        folder: where interfaces of old modules are kept while the upgrade lasts.
        patience: seconds that what is under way may take to end.
    """

    def __init__(
        self, net: Network, journal: Journal, task: UpgradeTask, code: Path, folder: Path, patience: float
    ) -> None:
        self.net, self.journal, self.task, self.patience = net, journal, task, patience
        self.code, self.folder = code, folder
        self.member, self.canister_id = task.member, task.member.canister_id

    def run(self) -> Upgraded:
        """Carry it out, or what is left of it.

        Raises:
            MainerError: it is not known what happened, as when the network does not answer; run it again.
        """
        if self.find("done") is None and not management.exists(self.net.agent, self.canister_id):
            gone = f"it {DELETED}"
            self.note("done", outcome="failed", reason=gone, module="", cycles=None, snapshot_id="")
        elif self.find("done") is None:
            was = self.once("begun", self._begin)
            if not was["problem"]:
                self._switch(was)
            self._finish(was)
        return told(self.journal, self.task)

    # --- the journal ---

    def find(self, step: str) -> Entry | None:
        return self.journal.find(self.canister_id, step)

    def once(self, step: str, do: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        return self.journal.once(self.canister_id, step, do)

    def note(self, step: str, **data: Any) -> dict[str, Any]:
        return self.journal.note(self.canister_id, step, **data).data

    def remark(self, text: str) -> None:
        """Put a sentence into the report."""
        self.note("remark", text=text)

    # --- the steps ---

    def _begin(self) -> dict[str, Any]:
        status = authority.status(self.net, self.canister_id)
        if status.module_hash != self.task.before:
            found = f"its module is {status.module_hash}, not {self.task.before} as when this was planned"
            return {"problem": f"{found}: make a new plan"}
        with suppress(ArgumentError):  # it does not tell its interface
            path = self._interface(self.task.before)
            path.write_text(calls.told(self.net, self.canister_id), encoding="utf-8")
        running = status.status == "running"
        seen = {"running": running, "cycles": status.cycles, "snapshots": self._snapshots()}
        try:
            return {"problem": "", **seen, **(self.look() if running else {})}
        except FINAL as error:
            return {"problem": f"it does not answer: {error}"}

    def _switch(self, was: dict[str, Any]) -> None:
        judged = self.find("judged")
        verdict = judged.data if judged else self.note("judged", problem=self._try(was))
        if verdict["problem"]:
            try:
                self.once("returned", lambda: self._return(was))
            except FINAL as error:
                self.note("lost", problem=f"it could not be taken back: {error}")
                return
        self._go_back(was)

    def _try(self, was: dict[str, Any]) -> str:
        """Bring the new code; what is wrong, "" if nothing."""
        try:
            if (installed := self.find("installed")) is None:
                self.once("away", dict)
                self.make_quiet(was)
                self._stop()
                self.once("snapshot", lambda: self._take(was))
                problem = self.once("installed", self._install)["problem"]
            else:
                problem = installed.data["problem"]
            return problem or self._verdict(was)
        except FINAL as error:
            return str(error)

    def _stop(self) -> None:
        """Stop it, once what is under way has ended."""
        deadline = time.monotonic() + self.patience
        while True:
            try:
                return authority.stop(self.net, self.canister_id)
            except CallTimeout:
                if time.monotonic() > deadline:
                    text = f"{self.member.name} has calls under way that did not end in {self.patience:.0f} s"
                    raise WaitTimeout(text) from None

    def _take(self, was: dict[str, Any]) -> dict[str, Any]:
        if self.task.way_back != "snapshot":
            return {"snapshot_id": "", "timer": False}
        known = was["snapshots"]  # any other was taken by a process that was killed before it could note it
        stray = [kept for kept in self._snapshots() if kept not in known]
        taken = authority.take_snapshot(self.net, self.canister_id, stray[0] if stray else None)
        untold = was.get("timers") is None
        return {"snapshot_id": taken.snapshot_id, "timer": untold and authority.timer_is_set(self.net, taken)}

    def _install(self) -> dict[str, Any]:
        agent = self.net.agent
        if management.module_hash(agent, self.canister_id) == self.task.after:
            return {"problem": ""}  # by a process that was killed before it could note it
        sent = self.find("sent")
        if sent is None or sent.data["expiry"] <= time.time_ns():
            mark = agent.new_mark()
            self.note("sent", nonce=mark.nonce.hex(), expiry=mark.expiry)
        else:
            mark = RequestMark(bytes.fromhex(sent.data["nonce"]), sent.data["expiry"])
        try:
            authority.upgrade(self.net, self.canister_id, self.code.read_bytes(), mark)
        except (RejectError, CanisterError) as error:
            return {"problem": f"the new code was refused: {error}"}
        return {"problem": ""}

    def _verdict(self, was: dict[str, Any]) -> str:
        """What is wrong with the new code; "" if nothing."""
        installed = management.module_hash(self.net.agent, self.canister_id)
        if installed != self.task.after:
            return f"its module is {installed}, not {self.task.after}"
        if not self.task.allow_breaking and (problem := self._broken()):
            return problem
        authority.start(self.net, self.canister_id)
        self.note("started", version=self._version())
        try:
            return self.judge(was)
        except FINAL as error:
            return str(error)

    def _broken(self) -> str:
        """What the new code breaks for clients of the old one, by the interfaces that both tell."""
        path = self._interface(self.task.before)
        if not path.is_file():
            return ""
        old = did.parse(path.read_text(encoding="utf-8"))
        try:
            new = did.parse(calls.told(self.net, self.canister_id))
        except ArgumentError:
            return f"it tells no interface any more, so that none of its {len(old.methods)} methods can be found"
        return breaks(service_change(new.service, old.service))

    def _return(self, was: dict[str, Any]) -> dict[str, Any]:
        """Bring old code and state back, if the new code was installed."""
        installed = management.module_hash(self.net.agent, self.canister_id)
        taken = self.find("snapshot")
        if installed == self.task.before and self.find("started") is None:
            return {}  # the network has kept both
        assert taken is not None
        if (started := self.find("started")) and not self.is_quiet(was):
            others = self._version() - started.data["version"]
            if others > 0:
                self.remark(f"{others} changes that others made between start and return are lost")
        self._stop()
        self.bring_back(taken.data["snapshot_id"])
        installed = management.module_hash(self.net.agent, self.canister_id)
        if installed != self.task.before:
            raise PreconditionError(f"its module is then {installed}, not {self.task.before}")
        return {}

    def _go_back(self, was: dict[str, Any]) -> None:
        """Have it work as before."""
        if self.find("back"):
            return
        if was["running"]:
            authority.start(self.net, self.canister_id)
        else:
            self._stop()
        try:
            self.restore(was)
        except FINAL as error:
            self.note("lost", problem=f"it does not work as before: {error}")
        self.note("back")

    def _finish(self, was: dict[str, Any]) -> None:
        judged, lost, taken = self.find("judged"), self.find("lost"), self.find("snapshot")
        problem = was["problem"] or (lost and lost.data["problem"]) or (judged and judged.data["problem"]) or ""
        outcome: Outcome = "upgraded"
        if was["problem"]:
            outcome = "left alone"
        elif problem:
            outcome = "returned" if self.find("installed") and not lost else "failed"
        left = taken.data["snapshot_id"] if taken else ""
        if left and not lost and not (self.task.keep_snapshot and outcome == "upgraded"):
            with suppress(RejectError, CanisterError):  # it is gone, if a process was killed before it could note it
                authority.delete_snapshot(self.net, self.canister_id, left)
            left = ""
        status = authority.status(self.net, self.canister_id)
        spent = was["cycles"] - status.cycles if "cycles" in was else 0
        self.note("done", outcome=outcome, reason=problem, module=status.module_hash, cycles=spent, snapshot_id=left)

    # --- what differs by kind of canister ---

    def look(self) -> dict[str, Any]:
        """What is to be as before in the end, of one that runs."""
        return {"held": self._held()}

    def make_quiet(self, was: dict[str, Any]) -> None:
        """Have it begin nothing any more."""

    def is_quiet(self, was: dict[str, Any]) -> bool:
        """Whether nobody else changes its state between start and verdict."""
        return False

    def judge(self, was: dict[str, Any]) -> str:
        """What is wrong with it now that it runs; "" if nothing."""
        self._offered().health()
        held, holds = was.get("held", 0), self._held()
        return f"it held {held} submissions or mAIners, and has {holds}" if holds < held else ""

    def bring_back(self, snapshot_id: str) -> None:
        """Bring back old code and state; it is stopped."""
        authority.load_snapshot(self.net, self.canister_id, snapshot_id)

    def restore(self, was: dict[str, Any]) -> None:
        """Have it begin work again as it did before; it runs, if it ran before."""

    # --- inside ---

    def _offered(self) -> Canister:
        return canister(self.net, self.member)

    def _held(self) -> int:
        """How many submissions a Game State has, or mAIners a creator: they must not become fewer."""
        if self.member.role == "Game State":
            return int(self._offered().getNumSubmissionsAdmin())
        return len(self._offered().getMainers()) if self.member.role == "Creator" else 0

    def _snapshots(self) -> list[str]:
        """The ids of its snapshots."""
        return [kept.snapshot_id for kept in authority.kept_snapshots(self.net, self.canister_id)]

    def _interface(self, module: str) -> Path:
        return self.folder / f"{module}.did"

    def _version(self) -> int:
        return authority.status(self.net, self.canister_id).version or 0


class MainerSwitch(Switch):
    """Of a mAIner canister: in maintenance meanwhile, and its timers stand."""

    def look(self) -> dict[str, Any]:
        found = work.of(self.net, self.member)
        if found is None:
            return {"timers": None, "maintenance": None}
        return {"timers": found.timers, "maintenance": found.maintenance}

    def make_quiet(self, was: dict[str, Any]) -> None:
        if not was["running"] or self.find("quiet"):
            return
        if was.get("maintenance") is None:
            self.remark(f"it does not offer {MAINTENANCE}, so it may take calls of others between start and verdict")
            self.note("quiet", kept=None)
            return
        mainer = self._offered()
        getattr(mainer, MAINTENANCE)(True)
        if was["timers"]:
            mainer.stopTimerExecutionAdmin()
        work.wait_until_idle(self.net, self.member, self.patience)
        self.note("quiet", kept=self._kept())

    def is_quiet(self, was: dict[str, Any]) -> bool:
        return was.get("maintenance") is not None

    def judge(self, was: dict[str, Any]) -> str:
        mainer = self._offered()
        try:
            mainer.health()
        except CanisterError as error:
            if not (self.is_quiet(was) and "maintenance" in str(error.value)):
                raise
        quiet = self.find("quiet")
        if quiet is None or quiet.data["kept"] is None:
            return ""
        now = self._kept()
        return "" if now == quiet.data["kept"] else f"its queue and submissions are {now}, not {quiet.data['kept']}"

    def restore(self, was: dict[str, Any]) -> None:
        if not was["running"]:
            return
        mainer, taken = self._offered(), self.find("snapshot")
        if was.get("maintenance") is not None and offers(mainer, MAINTENANCE):
            getattr(mainer, MAINTENANCE)(was["maintenance"])
        if not was.get("maintenance"):
            mainer.health()
        ran = was.get("timers")
        if ran is None and (ran := bool(taken and taken.data["timer"])):
            self.remark("it does not tell whether its timers ran; a timer was set, so they are started")
        if ran:
            mainer.startTimerExecutionAdmin()

    def _kept(self) -> list[str]:
        """What is queued, and up to where it has submitted."""
        mainer = self._offered()
        queued = [record["challengeQueuedId"] for record in mainer.getChallengeQueueAdmin()]
        submitted = [record["submissionId"] for record in mainer.getRecentSubmittedResponsesAdmin()]
        return [*queued, *submitted]


class LlmSwitch(Switch):
    """Of an LLM: its mAIner does without it meanwhile, or is in maintenance if it has no other one."""

    def look(self) -> dict[str, Any]:
        parent = self._parent()
        listed = parent.getLlmCanisters() if parent and offers(parent, "getLlmCanisters") else []
        working = work.of(self.net, self._mainer()) if parent else None
        return {
            "ready": _is_ready(self._offered()),
            "rotating": self.canister_id in listed,
            "alone": len(listed) < 2,
            "maintenance": working.maintenance if working else None,
        }

    def make_quiet(self, was: dict[str, Any]) -> None:
        parent = self._parent()
        if parent is None or not was.get("rotating"):
            return
        if not was["alone"]:
            with suppress(CanisterError):  # InvalidId: it is out already
                parent.remove_llm_canister({"canister_id": self.canister_id})
        elif was["maintenance"] is not None:
            getattr(parent, MAINTENANCE)(True)
        if was["maintenance"] is None:
            self.remark("its mAIner does not tell whether it is asking it: an answer may have had to begin anew")
            return
        what = f"{self.member.name} ends its answer"
        work.wait_until(lambda: not self._is_asked(), what, self.patience)

    def is_quiet(self, was: dict[str, Any]) -> bool:
        return True  # only controllers call it now

    def judge(self, was: dict[str, Any]) -> str:
        if not was.get("ready"):
            return ""
        llm = self._offered()
        if not _is_ready(llm):  # one that does not load its model by itself
            llm.load_model({"args": ["--model", MODEL]}, timeout=self.patience)
        return "" if answers(llm) else f"it has no answer to the question {QUESTION!r}"

    def bring_back(self, snapshot_id: str) -> None:
        if self.task.way_back == "snapshot":
            return super().bring_back(snapshot_id)
        authority.start(self.net, self.canister_id)
        create.renew(self.net, self.canister_id)
        self.remark("the creator made it again: its prompt caches and settings are new")
        return None

    def restore(self, was: dict[str, Any]) -> None:
        parent = self._parent()
        if parent is None or not was.get("rotating"):
            return
        if not was["alone"]:
            parent.add_llm_canister({"canister_id": self.canister_id})
        elif was["maintenance"] is not None:
            getattr(parent, MAINTENANCE)(was["maintenance"])

    def _mainer(self) -> Member:
        """The mAIner that it belongs to, which has the same owner."""
        assert self.member.parent is not None
        return replace(self.member, canister_id=self.member.parent, role="Own", name=self.member.parent, parent=None)

    def _parent(self) -> Canister | None:
        return canister(self.net, self._mainer()) if self.member.parent else None

    def _is_asked(self) -> bool:
        found = work.of(self.net, self._mainer())
        return found is not None and found.llm == self.canister_id


def told(journal: Journal, task: UpgradeTask) -> Upgraded:
    """What happened to a canister, as far as its journal tells."""
    canister_id = task.member.canister_id
    away, back = journal.find(canister_id, "away"), journal.find(canister_id, "back")
    seconds = back.time - away.time if away and back else None
    remarks = journal.every(canister_id, "remark")
    notes = tuple(dict.fromkeys(remark.data["text"] for remark in remarks))
    done = journal.find(canister_id, "done")
    if done is None:
        why = "it was not carried out to the end"
        return Upgraded(task.member, "interrupted", why, task.before, away=seconds, notes=notes)
    return Upgraded(task.member, before=task.before, away=seconds, notes=notes, **done.data)


def breaks(change: ServiceChange) -> str:
    """What a new interface breaks, in words; "" if nothing."""
    dropped = f"it drops {', '.join(change.dropped)}" if change.dropped else ""
    return "; ".join(filter(None, [dropped, *change.broken]))


def answers(llm: Canister) -> bool:
    """Whether an LLM has an answer to a question; its prompt cache is removed again.

    Raises:
        CallError: it refuses.
    """
    cache, prompt = ["--prompt-cache", TEST_CACHE], QUESTION
    llm.new_chat({"args": cache})
    try:
        for _ in range(TEST_CALLS):
            options = ["--prompt-cache-all", "--simple-io", "--no-display-prompt", "-n", str(TEST_TOKENS), "-p", prompt]
            output = llm.run_update({"args": [*cache, *options]})
            if output["output"] or output["generated_eog"]:
                return True
            if not output["prompt_remaining"]:
                prompt = ""
        return False
    finally:
        llm.remove_prompt_cache({"args": cache})


def _is_ready(llm: Canister) -> bool:
    try:
        llm.ready()
    except CanisterError:
        return False
    return True
