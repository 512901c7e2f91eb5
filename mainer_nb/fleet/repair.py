"""Find what is wrong in a fleet, and mend it when asked.

    found = repair.find(net, whole)          # looks only
    repair.mend(net, whole, found)           # what it would do
    repair.mend(net, whole, found, carry_out=True)
    repair.find(net, whole)                  # []

A sound fleet has no findings. What cannot be looked at, such as a canister of somebody else, is not guessed at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, get_args

from .. import conditions, create, management, operate, population, stopping, upload
from ..agent import PrincipalLike, to_principal
from ..canister import Canister
from ..conditions import DELETED, STOPPED
from ..errors import CallError, CanisterError, MainerError, PreconditionError, RejectError
from ..network import CREATOR, GAME_STATE, Network
from ..progress import Progress, Silent, amount
from ..protocol import principal
from . import authority, remove, upgrade
from .members import AT_ONCE, Fleet, Member, canister, of, of_ids, offers

Fault = Literal[
    "interrupted upgrade",
    "protocol canister that is stopped",
    "mAIner that cannot work",
    "LLM that cannot work",
    "LLM not registered",
    "mAIner unknown to the Game State",
    "mAIner unknown to the creator",
    "submission stuck at a Judge",
    "snapshot left behind",
    "prompt cache of nobody",
    "controller missing",
    "canister of nobody",
]
FAULTS: tuple[Fault, ...] = get_args(Fault)

HOUR = 3600.0
SESSIONS = ".canister_cache"  # where an LLM keeps prompt caches: …/PRINCIPAL/sessions/NAME
CANISTER_ID_BYTES = 10  # principals of people have 29
MOST_IDS = 2_000  # looked at for canisters that nobody lists, on networks that give ids in order
IDS_BEYOND = 20  # after the last known one


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        canister_id: where.
        name: what people call it.
        subject: what it is about: the id of an LLM, a submission or a snapshot, the name of a file, principals.
        what: in words, why it is wrong.
        remedy: in words, what mends it.
    """

    fault: Fault
    canister_id: str
    name: str
    subject: str
    what: str
    remedy: str


@dataclass(frozen=True)
class Mended:
    """What came of a finding: `done`: whether it was mended; `problem`: why not, "" if it was or nothing was tried."""

    finding: Finding
    done: bool
    problem: str = ""


def find(
    net: Network,
    fleet: Fleet,
    judging: float = HOUR,
    snapshots_kept: float = 24 * HOUR,
    progress: Progress | None = None,
) -> list[Finding]:
    """Look for what is wrong; nothing is changed. What only a canister could tell that does not answer, is found once
    it does: look again after mending that.

    Args:
        judging: seconds after which a submission that a Judge has taken counts as stuck.
        snapshots_kept: seconds after which a snapshot counts as left behind.

    Raises:
        TransportError: the network does not answer.
    """
    in_use = set(_ids(upgrade.interrupted(net)))
    looks: list[Callable[[], Iterator[Finding]]] = [
        lambda: _interrupted(net),
        lambda: _stopped_protocol(net, fleet, in_use),
        lambda: _broken(net, fleet, in_use),
        lambda: _unknown_to_game_state(net, fleet),
        lambda: _unknown_to_creator(net, fleet),
        lambda: _judging(net, judging),
        lambda: _each(net, fleet, lambda member: _snapshots(net, member, snapshots_kept, in_use)),
        lambda: _each(net, fleet.only(_ids(fleet.of_role("LLM"))), lambda llm: _caches(net, llm)),
        lambda: _each(net, fleet, lambda member: _controllers(net, member)),
        lambda: _of_nobody(net, fleet),
    ]
    found: list[Finding] = []
    with (progress or Silent()).task("look for what is wrong", len(looks), "kinds") as task:
        for look in looks:
            with suppress(RejectError, CanisterError, PreconditionError):  # the creator or the Game State do not answer
                found.extend(look())
            task.advance(1)
    return sorted(found, key=lambda finding: FAULTS.index(finding.fault))


def mend(
    net: Network,
    fleet: Fleet,
    findings: list[Finding],
    carry_out: bool = False,
    progress: Progress | None = None,
) -> list[Mended]:
    """Carry out what each finding says, one after the other; one that fails does not keep the others from it.

    Args:
        carry_out: otherwise nothing is changed.
    """
    if not carry_out:
        return [Mended(finding, False) for finding in findings]
    done = []
    with (progress or Silent()).task("mend what is wrong", len(findings), "findings") as task:
        for finding in findings:
            task.note(finding.name)
            try:
                _REMEDIES[finding.fault](net, fleet, finding)
                done.append(Mended(finding, True))
            except MainerError as error:
                done.append(Mended(finding, False, str(error)))
            task.advance(1)
    return done


def _ids(members: tuple[Member, ...]) -> tuple[str, ...]:
    return tuple(member.canister_id for member in members)


def _each(net: Network, fleet: Fleet, look: Callable[[Member], list[Finding]]) -> Iterator[Finding]:
    """What `look` finds at each member; one that does not answer, or not to this caller, is left out."""

    def of(member: Member) -> list[Finding]:
        try:
            return look(member)
        except (CallError, PreconditionError):
            return []

    for found in stopping.every(of, fleet.members, AT_ONCE):
        yield from found


# --- upgrades ---


def _interrupted(net: Network) -> Iterator[Finding]:
    """What the journal of an upgrade says was begun or planned by a process that was killed."""
    for member in upgrade.interrupted(net):
        what = "an upgrade of it was interrupted; it may be stopped, with a snapshot of how it was"
        yield Finding(
            "interrupted upgrade",
            member.canister_id,
            member.name,
            member.canister_id,
            what,
            "carry on with the upgrade",
        )


def _carry_on(net: Network, _: Fleet, finding: Finding) -> None:
    upgrade.resume(net)
    if finding.canister_id in _ids(upgrade.interrupted(net)):
        raise PreconditionError(f"the upgrade of {finding.name} could not be carried on: see upgrade.resume(net)")


# --- what cannot work ---


def _stopped_protocol(net: Network, fleet: Fleet, in_use: set[str]) -> Iterator[Finding]:
    """Canisters of the protocol that answer nobody; without code or cycles they are for 01_deploy and refilling."""
    for member in fleet.of_role("Game State", "Creator", "Challenger", "Judge"):
        if member.canister_id not in in_use and _problem(net, member.canister_id) == STOPPED:
            what = "it is stopped, so it answers nobody, and what it knows cannot be looked at"
            yield Finding(
                "protocol canister that is stopped", member.canister_id, member.name, member.canister_id, what,
                _REVIVALS[STOPPED],
            )  # fmt: skip


def _broken(net: Network, fleet: Fleet, in_use: set[str]) -> Iterator[Finding]:
    """mAIners that cannot work; LLMs that a mAIner asks in vain, and LLMs that it does not ask. What an interrupted
    upgrade has stopped is left to it.
    """
    for mainer in fleet.mainers:
        if in_use & {mainer.canister_id, *_ids(fleet.llms(mainer.canister_id))}:
            continue
        if problem := _problem(net, mainer.canister_id):
            yield Finding(
                "mAIner that cannot work", mainer.canister_id, mainer.name, mainer.canister_id, f"it {problem}",
                _REVIVALS.get(problem, RENEWAL),
            )  # fmt: skip
        elif mainer.role != "ShareAgent":
            yield from _llms(net, fleet, mainer)


def _llms(net: Network, fleet: Fleet, mainer: Member) -> Iterator[Finding]:
    asked = _asked(net, mainer)
    known = {llm.canister_id: llm.name for llm in fleet.llms(mainer.canister_id)}
    others = {llm_id: f"an LLM of {mainer.name}" for llm_id in asked or () if llm_id not in known}
    waiting = _waiting(net, mainer)
    for llm_id, name in (known | others).items():
        if problem := _problem(net, llm_id):
            what = f"it {problem}; {mainer.name} has {amount(waiting, 'challenges')} in its queue"
            remedy = _REVIVALS.get(problem, RENEWAL)
            yield Finding("LLM that cannot work", mainer.canister_id, name, llm_id, what, remedy)
        elif asked is not None and llm_id not in asked:
            what = f"the creator made it for {mainer.name}, which does not ask it"
            remedy = f"add it to {mainer.name}"
            yield Finding("LLM not registered", mainer.canister_id, name, llm_id, what, remedy)


_REVIVALS = {DELETED: "take it from the lists", STOPPED: "start it"}
RENEWAL = "have the creator renew it"


def _problem(net: Network, canister_id: str) -> str:
    return conditions.of(net, [canister_id])[canister_id].problem


def _asked(net: Network, mainer: Member) -> list[str] | None:
    """The LLMs that a mAIner asks; None if it does not tell."""
    try:
        offered = canister(net, mainer)
        return list(offered.getLlmCanisters()) if offers(offered, "getLlmCanisters") else None
    except MainerError:
        return None


def _waiting(net: Network, mainer: Member) -> int:
    try:
        return len(operate.queue(net, mainer.canister_id))
    except CallError:
        return 0


def _register_llm(net: Network, fleet: Fleet, finding: Finding) -> None:
    canister(net, fleet.member(finding.canister_id)).add_llm_canister({"canister_id": finding.subject})


def _revive(net: Network, fleet: Fleet, finding: Finding) -> None:
    problem = _problem(net, finding.subject)
    if problem == STOPPED:
        authority.start(net, finding.subject)
    elif problem == DELETED and finding.subject in fleet.canister_ids:
        remove.remove(net, fleet, finding.subject, with_agents=True, carry_out=True)
    elif problem == DELETED:
        canister(net, fleet.member(finding.canister_id)).remove_llm_canister({"canister_id": finding.subject})
    elif problem:
        create.renew(net, finding.subject)


# --- who knows whom ---


def _unknown_to_game_state(net: Network, fleet: Fleet) -> Iterator[Finding]:
    if not fleet.of_role("Game State"):
        return
    game_state = net.canister_at(fleet.of_role("Game State")[0].canister_id, GAME_STATE)
    if not _is_controller(net, game_state.canister_id):
        return  # others are told of their own mAIners only
    for mainer in fleet.mainers:
        try:
            game_state.getMainerAgentCanisterInfo({"address": mainer.canister_id})
        except CanisterError:
            what = "the Game State does not know it, so it gets no challenges and its answers are refused"
            yield Finding(
                "mAIner unknown to the Game State", mainer.canister_id, mainer.name, mainer.owner, what, "register it"
            )


def _register_mainer(net: Network, fleet: Fleet, finding: Finding) -> None:
    mainer = fleet.member(finding.canister_id)
    if mainer.of_creator:
        net.canister(CREATOR).registerMainers()
        return
    registration = {
        "address": mainer.canister_id,
        "canisterType": "MainerAgent",
        "ownedBy": mainer.owner or net.caller,
        "mainerAgentCanisterType": mainer.role,
    }
    net.canister(GAME_STATE).addMainerAgentCanisterAdmin(registration)


def _unknown_to_creator(net: Network, fleet: Fleet) -> Iterator[Finding]:
    """mAIners that the creator made, as the Game State says, and forgot, as when it was reinstalled."""
    if not (fleet.of_role("Game State") and fleet.of_role("Creator")):
        return
    for address in create.unknown(net):
        what = "the creator made it and does not know it, so it is not upgraded, and no LLM can be made for it"
        name = next((member.name for member in fleet.members if member.canister_id == address), address)
        yield Finding("mAIner unknown to the creator", address, name, "", what, "make it known by renewing it")


def _renew(net: Network, _: Fleet, finding: Finding) -> None:
    create.renew(net, finding.canister_id)


# --- submissions ---


def _judging(net: Network, longest: float) -> Iterator[Finding]:
    game_state = net.ids.get(GAME_STATE)
    if game_state is None:
        return
    try:
        taken = net.canister(GAME_STATE).getJudgingSubmissionsAdmin()
    except CallError:  # it does not offer that, or not to this caller
        return
    for entry in taken:
        if entry["secondsJudging"] > longest:
            submission = entry["submission"]
            judge = entry["judge"] or "a Judge that is not known"
            what = f"{judge} took it {entry['secondsJudging'] / 60:,.0f} min ago and gave no score"
            subject = f"{submission['challengeId']} {submission['submissionId']}"
            yield Finding(
                "submission stuck at a Judge", game_state, "Game State", subject, what, "give it to the next Judge"
            )


def _submit_again(net: Network, _: Fleet, finding: Finding) -> None:
    challenge_id, submission_id = finding.subject.split(" ")
    ids = {"challengeId": challenge_id, "submissionId": submission_id}
    net.canister(GAME_STATE).resetJudgingSubmissionAdmin(ids)


# --- what is left in canisters ---


def _snapshots(net: Network, member: Member, longest: float, in_use: set[str]) -> list[Finding]:
    """Old snapshots, but those that an interrupted upgrade goes back to."""
    now = datetime.now(UTC)
    return [
        Finding(
            "snapshot left behind",
            member.canister_id,
            member.name,
            snapshot.snapshot_id,
            f"taken {snapshot.taken:%Y-%m-%d %H:%M}; it costs as much as {amount(snapshot.size, 'B')} of memory",
            "delete it",
        )
        for snapshot in authority.kept_snapshots(net, member.canister_id)
        if (now - snapshot.taken).total_seconds() > longest and member.canister_id not in in_use
    ]


def _delete_snapshot(net: Network, _: Fleet, finding: Finding) -> None:
    authority.delete_snapshot(net, finding.canister_id, finding.subject)


def _caches(net: Network, llm: Member) -> list[Finding]:
    """Prompt caches of mAIners that do not need them: other mAIners', and its own for what is not in its queue."""
    offered = canister(net, llm)
    if not offers(offered, "recursive_dir_content_query"):
        return []
    there = _cache_files(offered)
    if llm.parent and not offers(canister(net, llm.parent), "getChallengeQueueAdmin"):
        return []  # a Challenger's, or a Judge's, which looks after its caches itself
    needed = {f"{entry.queued_id}.cache" for entry in operate.queue(net, llm.parent)} if llm.parent and there else set()
    still = _cache_files(offered)  # what was removed meanwhile belonged to somebody
    found = []
    for path, (owner, name) in there.items():
        if path in still and _is_canister(owner) and not (owner == llm.parent and name in needed):
            what = f"{owner} keeps a conversation there that is over"
            found.append(Finding("prompt cache of nobody", llm.canister_id, llm.name, path, what, "remove the file"))
    return found


def _cache_files(llm: Canister) -> dict[str, tuple[str, str]]:
    """The prompt caches of an LLM: owner and name by path."""
    try:
        files = llm.recursive_dir_content_query({"dir": SESSIONS, "max_entries": 0})
    except CanisterError:  # there is no such directory yet
        return {}
    paths = [file["filename"] for file in files if file["filetype"] == "file"]
    parts = {path: path.removeprefix(f"{SESSIONS}/").split("/", 2) for path in paths}
    return {path: (part[0], part[2]) for path, part in parts.items() if len(part) == 3 and part[1] == "sessions"}


def _is_canister(owner: str) -> bool:
    return len(principal.from_text(owner)) == CANISTER_ID_BYTES


def _remove_file(net: Network, fleet: Fleet, finding: Finding) -> None:
    canister(net, fleet.member(finding.canister_id)).filesystem_remove({"filename": finding.subject})


# --- controllers ---


def _is_controller(net: Network, canister_id: str) -> bool:
    return net.caller in management.controllers(net.agent, canister_id)


def _expected(net: Network, member: Member) -> list[str]:
    """The controllers that the creator gives to what it makes."""
    creator = net.ids.get(CREATOR)
    if not member.of_creator or creator is None:
        return []
    own = [member.parent] if member.role == "LLM" and member.parent else []
    return [*own, creator, *([member.owner] if member.owner else [])]


def _controllers(net: Network, member: Member) -> list[Finding]:
    there = management.controllers(net.agent, member.canister_id)
    missing = [principal for principal in _expected(net, member) if there and principal not in there]
    if not missing:
        return []
    what = f"{', '.join(missing)} made or own it and do not control it"
    subject = " ".join(missing)
    return [Finding("controller missing", member.canister_id, member.name, subject, what, "add them as controllers")]


def _add_controllers(net: Network, _: Fleet, finding: Finding) -> None:
    there = management.controllers(net.agent, finding.canister_id)
    wanted: list[PrincipalLike] = list(dict.fromkeys([*there, *finding.subject.split(" ")]))
    authority.update_settings(net, finding.canister_id, controllers=wanted)


# --- canisters that nobody lists ---


def _of_nobody(net: Network, fleet: Fleet) -> Iterator[Finding]:
    """Canisters that the creator controls and does not list: left by a creation or a removal that was interrupted.

    They are found by their ids, which a network of one subnet gives in order; on mainnet they are not looked for.
    """
    creator = net.ids.get(CREATOR)
    if net.mainnet or creator is None:
        return
    listed = {*fleet.canister_ids, *_listed(net)}
    numbers = sorted(map(_number, listed))
    ids = [_with_number(creator, number) for number in range(numbers[0], numbers[-1] + IDS_BEYOND)][-MOST_IDS:]
    strangers = [canister_id for canister_id in ids if canister_id not in listed]

    def controllers(canister_id: str) -> tuple[str, ...]:
        with suppress(CallError):
            return management.controllers(net.agent, canister_id)
        return ()

    found = dict(zip(strangers, stopping.every(controllers, strangers, AT_ONCE), strict=True))
    if net.canister(CREATOR).getOrdersUnderWay():
        return  # what is being made is listed when it is made
    still = _listed(net)
    for canister_id in strangers:
        if creator in found[canister_id] and canister_id not in still:
            what = "the creator controls it, and no mAIner, LLM or template is in it"
            remedy = "remove it, its cycles go to the creator"
            yield Finding("canister of nobody", canister_id, canister_id, canister_id, what, remedy)


def _listed(net: Network) -> set[str]:
    """What belongs to the project, whether it is in the fleet that is looked at or not."""
    mainers = {canister_id for mainer in population.mainers(net) for canister_id in mainer.canister_ids}
    templates = {file.template.canister_id for file in upload.stored(net) if file.template is not None}
    return {net.canister_id(CREATOR), *mainers, *templates, *of(net).canister_ids}


def _number(canister_id: str) -> int:
    """The number of a canister on its subnet, which is in its id (dfinity/ic, rs/types/base_types, `CanisterId`)."""
    return int.from_bytes(to_principal(canister_id)[:8], "big")


def _with_number(like: str, number: int) -> str:
    return principal.to_text(number.to_bytes(8, "big") + to_principal(like)[8:])


def _remove(net: Network, _: Fleet, finding: Finding) -> None:
    remove.remove(net, of_ids(net, [finding.canister_id]), finding.canister_id, carry_out=True)


_REMEDIES: dict[Fault, Callable[[Network, Fleet, Finding], Any]] = {
    "interrupted upgrade": _carry_on,
    "protocol canister that is stopped": _revive,
    "mAIner that cannot work": _revive,
    "LLM that cannot work": _revive,
    "LLM not registered": _register_llm,
    "mAIner unknown to the Game State": _register_mainer,
    "mAIner unknown to the creator": _renew,
    "submission stuck at a Judge": _submit_again,
    "snapshot left behind": _delete_snapshot,
    "prompt cache of nobody": _remove_file,
    "controller missing": _add_controllers,
    "canister of nobody": _remove,
}
