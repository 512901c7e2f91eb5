"""Remove an LLM, a mAIner, or a canister that was left over, and bring its cycles back.

    remove.remove(net, whole, "Own 1, LLM 2")                            # the plan; nothing is removed
    remove.remove(net, whole, "Own 1, LLM 2", carry_out=True)            # its cycles go to the creator
    remove.remove(net, whole, "ShareService 1", with_agents=True, carry_out=True)
    remove.remove(net, fleet.of_ids(net, [llm_id]), llm_id, to=own_id, carry_out=True)

Deleting a canister destroys its cycles. So its code is first replaced by a small one that deposits them elsewhere
(`canisters/mainer_creator/return_cycles.wat`); some stay to pay for that. Who controls the creator, but not what it
made for others, has the creator do it. Creator, Game State, ShareService and mAIner forget what is gone. What was
removed already is not removed again, so it may be repeated.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Literal

import wasmtime

from .. import conditions, create, management, operate, places
from ..agent import to_principal
from ..canister import Canister
from ..conditions import DELETED
from ..errors import ArgumentError, CallError, CanisterError, PreconditionError, RejectError
from ..management import TRILLION
from ..network import CREATOR, Network
from ..progress import Progress, ProgressTask, Silent, amount
from . import authority, pause, work
from .members import Fleet, Member, canister, offers

PROTOCOL = ("Game State", "Creator", "Challenger", "Judge")
# Cycles that do not come back: executing the return needs 40 billion and its call 60 (return_cycles.wat), and
# though they are hardly used, they are in the canister when it is deleted.
LOST = 101 * 10**9
LEAST = 10**9  # cycles that pay for stopping and deleting a canister
RETURN_CYCLES = "service : { return_cycles : (record { canister_id : principal }) -> (nat64) }"
TAKE_OUT = "remove_llm_canister"  # beyond the original interface

State = Literal["to remove", "removed", "was gone"]


@dataclass(frozen=True)
class Removed:
    """A canister that is to be removed, or was.

    Attributes:
        balance: cycles before; None if nobody tells.
        returns: cycles that come back, about; once it is removed, exactly.
        to: the canister that gets them.
        notes: what else happens, and what cannot be done, in words.
    """

    member: Member
    balance: int | None
    returns: int
    to: str
    state: State
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Removal:
    """What is removed, in this order: LLMs before their mAIner. `agents`: ShareAgents that lose their ShareService."""

    rows: tuple[Removed, ...]
    agents: tuple[Member, ...] = ()

    @property
    def returns(self) -> int:
        """The cycles that come back."""
        return sum(row.returns for row in self.rows)


def remove(
    net: Network,
    fleet: Fleet,
    who: str | None,
    *,
    to: str | None = None,
    with_agents: bool = False,
    timeout: float = work.TIMEOUT,
    carry_out: bool = False,
    progress: Progress | None = None,
) -> Removal:
    """Remove a member of a fleet: an LLM from its mAIner, which goes on with its others; a mAIner with its LLMs; any
    other canister but those of the protocol.

    An LLM leaves its mAIner's rotation and finishes what it is generating. A mAIner pulls no more; what waits in a
    ShareService, for itself or for a ShareAgent that goes, is answered first. What waits in an Own mAIner stays
    open at the Game State for others.

    Args:
        who: its id or name; None: nothing is removed.
        to: id or name of the canister that gets the cycles; None: the creator.
        with_agents: a ShareService goes although it has ShareAgents, which are told that they have none any more.
        timeout: seconds for what is under way to end.
        carry_out: otherwise the plan is returned, with an estimate of what comes back, and nothing is changed.

    Raises:
        ArgumentError: it is no member, belongs to the protocol, or would get its own cycles.
        PreconditionError: it is a ShareService with ShareAgents, nobody is there to get the cycles, or the caller
            controls neither it nor the creator that made it. Nothing is changed.
        WaitTimeout: what is under way does not end in time; it is still there, out of rotation.
    """
    if who is None:
        return Removal(())
    member = fleet.member(who)
    if member.role in PROTOCOL:
        raise ArgumentError(f"{member.name} belongs to the protocol: remove mAIners, LLMs and what is left over")
    agents = _agents(fleet, member)
    if agents and not with_agents:
        names = ", ".join(agent.name for agent in agents)
        raise PreconditionError(
            f"{member.name} answers for {names}, which could answer nothing without it. Remove them first, or give "
            "with_agents=True: they are told, and wait for another ShareService. Nothing was changed."
        )
    leaving = (*fleet.llms(member.canister_id), member) if member.is_mainer else (member,)
    receiver = _receiver(net, fleet, leaving, to)
    plan = Removal(tuple(_planned(net, fleet, each, receiver) for each in leaving), agents)
    if not carry_out:
        return plan
    with (progress or Silent()).task(f"remove {member.name}", len(plan.rows), "canisters") as task:
        return _carried_out(net, fleet, plan, timeout, task)


def _carried_out(net: Network, fleet: Fleet, plan: Removal, timeout: float, task: ProgressTask) -> Removal:
    *_, last = plan.rows
    creator = None if last.state == "was gone" else _creator_for(net, last.member)
    if creator is not None:
        return _by_creator(net, creator, plan, timeout)
    notes = _finish(net, fleet, last.member, plan.agents, timeout) if last.member.is_mainer else []
    done = []
    for row in plan.rows:
        task.note(row.member.name)
        done.append(_carry_out(net, fleet, row, timeout))
        task.advance(1)
    done[-1] = replace(done[-1], notes=(*notes, *done[-1].notes))
    return replace(plan, rows=tuple(done))


def _creator_for(net: Network, member: Member) -> Canister | None:
    """The creator if it has to act: also for an LLM of the caller's whose mAIner is somebody else's."""
    found = authority.creator_for(net, member.canister_id)
    mainer = member.parent if member.role == "LLM" and member.of_creator else None
    if found is None and mainer and management.exists(net.agent, mainer):
        return authority.creator_for(net, mainer)
    return found


def _agents(fleet: Fleet, member: Member) -> tuple[Member, ...]:
    return tuple(agent for agent in fleet.of_role("ShareAgent") if agent.parent == member.canister_id)


def _receiver(net: Network, fleet: Fleet, leaving: tuple[Member, ...], to: str | None) -> str:
    if to is None:
        return net.canister_id(CREATOR)
    receiver = next((member.canister_id for member in fleet.members if to in (member.canister_id, member.name)), to)
    to_principal(receiver, "id of the canister that gets the cycles")
    if receiver in {member.canister_id for member in leaving}:
        raise ArgumentError(f"{to} is to be removed itself: its cycles go to another canister, name that in `to`")
    if not management.exists(net.agent, receiver):
        raise PreconditionError(f"no canister {receiver} on network {net.name}, so it can get no cycles: name another")
    return receiver


# --- the plan ---


def _planned(net: Network, fleet: Fleet, member: Member, receiver: str) -> Removed:
    condition = conditions.of(net, [member.canister_id])[member.canister_id]
    if condition.problem == DELETED:
        return Removed(member, None, 0, receiver, "was gone")
    status = authority.status(net, member.canister_id)
    comes_back = max(0, status.cycles - LOST)
    notes = [f"it {condition.problem}"] if condition.problem else _left(net, fleet, member)
    if not comes_back:
        notes.append(f"what it has is lost: less than {LOST / TRILLION:.1f} T cannot be returned")
    return Removed(member, status.cycles, comes_back, receiver, "to remove", tuple(notes))


def _left(net: Network, fleet: Fleet, member: Member) -> list[str]:
    """What removing a canister that works leaves behind, in words."""
    if member.role == "LLM" and len(fleet.llms(member.parent or "")) == 1:
        return ["its mAIner has no other LLM, and answers nothing without one"]
    waiting = []
    with suppress(CanisterError):  # Unauthorized: the creator is asked to remove it
        waiting = operate.queue(net, member.canister_id) if member.role == "Own" else []
    if waiting:
        return [f"{amount(len(waiting), 'challenges')} in its queue stay open at the Game State for others"]
    return []


# --- before a mAIner goes ---


def _finish(net: Network, fleet: Fleet, member: Member, agents: tuple[Member, ...], timeout: float) -> list[str]:
    """Have a mAIner pull no more and end what others wait for; what could not be done, in words. One that cannot work
    has nothing to end.
    """
    if conditions.of(net, [member.canister_id])[member.canister_id].problem:
        return _tell(net, agents)
    for puller in (*agents, member):
        with suppress(RejectError):  # who takes no calls pulls nothing
            operate.stop_timers(net, puller.canister_id)
    service = member.canister_id if member.role == "ShareService" else member.parent
    if service is not None:
        with suppress(CallError):  # what it cannot answer is given up
            operate.work_off(net, service)
    pause.maintain(net, replace(fleet, members=(member,)), timeout=timeout)
    return _tell(net, agents)


def _tell(net: Network, agents: tuple[Member, ...]) -> list[str]:
    """Tell ShareAgents that they have no ShareService any more; who could not be told, in words.

    One that was told says so, and waits for no answer. One of the original interface takes another ShareService, but
    not none.
    """
    notes = []
    for agent in agents:
        try:
            canister(net, agent).setShareServiceCanisterId("")
        except (ArgumentError, CallError) as error:
            notes.append(f"{agent.name} could not be told: {error}")
    return notes


# --- by the creator ---


def _by_creator(net: Network, creator: Canister, plan: Removal, timeout: float) -> Removal:
    """Have the creator do it all. It does not wait for what is under way, but says so, and is asked again."""
    *_, last = plan.rows
    member = last.member
    homes = {creator.canister_id: "Creator"} | ({member.parent: "Mainer"} if member.role == "LLM" else {})
    if last.to not in homes:
        raise PreconditionError(
            f"the creator removes {member.name}, whose cycles go to {' or '.join(map(str, homes))}, not to {last.to}: "
            "use an identity that controls it, or leave `to` out. Nothing was changed."
        )
    address = {"address": member.canister_id}
    records: list[dict[str, Any]] = []

    def removed() -> bool:
        try:
            if member.role == "LLM":
                records.append(creator.removeLlmAdmin({**address, "cyclesTo": homes[last.to]}))
            else:
                records.append(creator.removeMainerAdmin({**address, "evenWithAgents": True}))
        except CanisterError as error:
            if (error.variant, error.value) != create.UNDER_WAY:
                raise
        return bool(records)

    work.wait_until(removed, f"{member.name} ends what is under way", timeout)
    (record,) = records
    returned = {each["address"]: int(each["cyclesReturned"]) for each in record["removed"]}
    rows = [
        replace(
            row,
            returns=returned.get(row.member.canister_id, 0),
            state="removed" if row.member.canister_id in returned else "was gone",
        )
        for row in plan.rows
    ]
    rows[-1] = replace(rows[-1], notes=(*last.notes, *record["notes"]))
    return replace(plan, rows=tuple(rows))


# --- one canister ---


def _carry_out(net: Network, fleet: Fleet, row: Removed, timeout: float) -> Removed:
    member, returned, notes = row.member, 0, [*row.notes]
    if row.state != "was gone":
        if member.role == "LLM" and member.parent is not None:
            notes += _take_out(net, fleet, member, timeout)
        returned = _delete(net, member, row.to)
    notes += _forget(net, member)
    state: State = "was gone" if row.state == "was gone" else "removed"
    return replace(row, returns=returned, state=state, notes=tuple(notes))


def _take_out(net: Network, fleet: Fleet, llm: Member, timeout: float) -> list[str]:
    """Take an LLM out of its mAIner's rotation and wait until it has finished; what could not be done, in words."""
    assert llm.parent is not None
    try:
        mainer = canister(net, llm.parent)
        if offers(mainer, TAKE_OUT):
            with suppress(CanisterError):  # InvalidId: it was taken out before
                getattr(mainer, TAKE_OUT)({"canister_id": llm.canister_id})
        else:
            mainer.reset_llm_canisters()
            for other in fleet.llms(llm.parent):
                if other != llm:
                    mainer.add_llm_canister({"canister_id": other.canister_id})
    except (ArgumentError, RejectError) as error:
        return [f"its mAIner {llm.parent} did not let it go: {error}"]
    work.wait_until(lambda: _released(net, llm), f"{llm.name} finishes what it generates", timeout)
    return []


def _released(net: Network, llm: Member) -> bool:
    """Whether an LLM is answering nothing; a mAIner that does not tell asks another LLM if its own is gone."""
    found = work.of(net, llm.parent or "")
    return found is None or found.llm != llm.canister_id


def _delete(net: Network, member: Member, to: str) -> int:
    """Bring a canister's cycles back and delete it; how many came back."""
    management.update_settings(net.agent, member.canister_id, freezing_threshold=0)  # else some may not be spent
    _let_it_pay(net, member)
    returned = 0
    if management.status(net.agent, member.canister_id).cycles > LOST:
        returned = _return_cycles(net, member.canister_id, to)
    management.delete(net.agent, member.canister_id)
    return returned


def _let_it_pay(net: Network, member: Member) -> None:
    """Give a canister that has next to nothing what stopping and deleting it cost."""
    if management.status(net.agent, member.canister_id).cycles >= LEAST:
        return
    if net.mainnet:
        raise PreconditionError(
            f"{member.name} ({member.canister_id}) cannot pay for being stopped and deleted: give it "
            f"{LEAST / TRILLION:.4f} T cycles, as with `icp canister top-up` or `dfx ledger top-up`. It is still there."
        )
    management.top_up(net.agent, member.canister_id, LEAST)


def _return_cycles(net: Network, canister_id: str, to: str) -> int:
    text = (places.shipped() / "canisters" / "mainer_creator" / "return_cycles.wat").read_text(encoding="utf-8")
    management.stop(net.agent, canister_id)  # what is under way ends with the code that began it
    management.install_code(net.agent, canister_id, bytes(wasmtime.wat2wasm(text)), "reinstall", b"")
    management.start(net.agent, canister_id)
    return int(Canister(net.agent, canister_id, RETURN_CYCLES).return_cycles({"canister_id": to}))


def _forget(net: Network, member: Member) -> list[str]:
    """Take a canister that is gone from the lists of creator, Game State, ShareService and mAIner; what was done."""
    notes = []
    if member.role == "ShareAgent" and member.parent is not None and not member.of_creator:
        with suppress(CallError, ArgumentError):
            canister(net, member.parent).removeMainerShareAgentCanister({"address": member.canister_id})
    try:
        notes.append(create.forget(net, member.canister_id))
    except PreconditionError:
        notes.append("no creator and no Game State are deployed that could forget it")
    except CanisterError as error:
        if error.variant != "InvalidId":
            notes.append(f"it was not forgotten: {error}")
    return notes
