"""Who belongs to a fleet: what a creator made, what a Game State knows, or a plain list of canister ids.

    members.of(net).mainers                                        # of the project's creator and Game State
    members.of_ids(net, ["rrkah-fqaaa-aaaaa-aaaaq-cai"])           # any canisters, by what they offer
    members.offers(members.canister(net, canister_id), "setTimerIntervalAdmin")

What a canister is, is told by its interface, which is in its module (`candid:service`): so mAIners of the original
software, which offer less, belong to a fleet too.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

from .. import calls, management, overview, places, population, stopping
from ..agent import to_principal
from ..canister import Canister, case
from ..errors import ArgumentError, CallError, MainerError, PreconditionError
from ..network import CHALLENGER, CREATOR, DEPLOY_STEP, GAME_STATE, JUDGE, Network
from ..upload import CONTROLLER
from . import authority

Role = Literal["Game State", "Creator", "Challenger", "Judge", "Own", "ShareService", "ShareAgent", "LLM", "other"]
ROLES: tuple[Role, ...] = get_args(Role)
MAINER_ROLES: tuple[Role, ...] = ("Own", "ShareService", "ShareAgent")

#: Under which names a project knows the canisters of the protocol.
NAMED: dict[str, Role] = {
    GAME_STATE: "Game State",
    CREATOR: "Creator",
    CHALLENGER: "Challenger",
    JUDGE: "Judge",
}
#: Methods that only a canister of this role offers; of a mAIner canister, see `_TYPE_OF_MAINER`.
MARKS: dict[str, Role] = {
    "submitChallengeResponse": "Game State",
    "start_upload_mainer_llm": "Creator",
    "generateNewChallenge": "Challenger",
    "triggerScoreSubmissionAdmin": "Judge",
    "load_model": "LLM",
}
_TYPE_OF_MAINER = "getMainerCanisterType"
_LLMS = "getLlmCanisters"  # of a mAIner beyond the original interface
_INTERFACES = {
    "LLM": calls.LLM,
    "Game State": GAME_STATE,
    "Creator": CREATOR,
    "Challenger": CHALLENGER,
    "Judge": JUDGE,
} | dict.fromkeys(MAINER_ROLES, CONTROLLER)
AT_ONCE = 8


@dataclass(frozen=True)
class Member:
    """A canister of a fleet; ids and principals as text.

    Attributes:
        name: what people call it, such as "Own 1" or "Own 1, LLM 2".
        owner: of a mAIner, and so of its LLMs; "" where nobody tells.
        parent: of an LLM its mAIner, of a ShareAgent its ShareService; None where there is none or nobody tells.
        of_creator: whether the creator made it.
    """

    canister_id: str
    role: Role
    name: str
    owner: str = ""
    parent: str | None = None
    of_creator: bool = False

    @property
    def is_mainer(self) -> bool:
        return self.role in MAINER_ROLES


@dataclass(frozen=True)
class Fleet:
    """Canisters that are operated as one: the protocol's first, then each mAIner with its LLMs.

    Attributes:
        gaps: in words, whom nothing could be learnt of, and why; so there may be more members.
    """

    members: tuple[Member, ...]
    gaps: tuple[str, ...] = ()

    @property
    def canister_ids(self) -> tuple[str, ...]:
        return tuple(member.canister_id for member in self.members)

    @property
    def text(self) -> str:
        """Of whom it consists, in a sentence, and what could not be learnt."""
        counted = Counter(member.role for member in self.members)
        parts = ", ".join(population.of_kind(counted[role], role) for role in ROLES if counted[role])
        return " ".join([f"{len(self.members)} canisters: {parts or 'nobody'}.", *(f"{gap}." for gap in self.gaps)])

    @property
    def mainers(self) -> tuple[Member, ...]:
        """The mAIner canisters, without their LLMs."""
        return tuple(member for member in self.members if member.is_mainer)

    def of_role(self, *roles: Role) -> tuple[Member, ...]:
        """The members of these roles."""
        return tuple(member for member in self.members if member.role in roles)

    def llms(self, mainer_id: str) -> tuple[Member, ...]:
        """The LLMs of a mAIner."""
        return tuple(member for member in self.of_role("LLM") if member.parent == mainer_id)

    def member(self, who: str) -> Member:
        """The member with this id or name.

        Raises:
            ArgumentError: there is none; the error lists those there are.
        """
        for member in self.members:
            if who in (member.canister_id, member.name):
                return member
        there = ", ".join(f"{member.canister_id} ({member.name})" for member in self.members)
        raise ArgumentError(f"no canister {who!r} in this fleet; there are: {there or 'none'}")

    def only(self, who: Iterable[str]) -> Fleet:
        """The fleet of these members alone, given by ids or names, in its own order. Errors as of `member`."""
        kept = {self.member(each).canister_id for each in who}
        return replace(self, members=tuple(member for member in self.members if member.canister_id in kept))


def of(net: Network) -> Fleet:
    """The fleet of the project on this network: its Game State and creator, a Challenger and a Judge if the project
    knows any, the mAIners that the creator made, and those that the Game State alone knows.

    Raises:
        PreconditionError: neither creator nor Game State were deployed here.
    """
    known = {name: canister_id for name in NAMED if (canister_id := net.ids.get(name))}
    if not {GAME_STATE, CREATOR} & known.keys():
        raise PreconditionError(f"no fleet on network {net.name}: run {DEPLOY_STEP} first, or give ids: fleet.of_ids")
    protocol = [Member(canister_id, NAMED[name], NAMED[name]) for name, canister_id in known.items()]
    fleet = Fleet(tuple(member for each in protocol for member in (each, *_llms_of(net, each))))
    if CREATOR in known:
        fleet = _joined(fleet, of_creator(net, known[CREATOR]))
    if GAME_STATE in known:
        fleet = _joined(fleet, _known_to(net, known[GAME_STATE], fleet))
    return fleet


def of_creator(net: Network, creator_id: str) -> Fleet:
    """A creator with the mAIners that it made and their LLMs.

    Raises:
        ArgumentError: the id is malformed.
    """
    creator = Member(_checked(creator_id), "Creator", "Creator")
    try:
        mainers = population.made_by(net.canister_at(creator_id, CREATOR))
    except CallError as error:
        return Fleet((creator,), (f"the creator {creator_id} does not tell which mAIners it made: {error}",))
    return Fleet((creator, *(member for mainer in mainers for member in _of_mainer(mainer))))


def of_game_state(net: Network, game_state_id: str) -> Fleet:
    """A Game State with the mAIners that it knows: the caller's, and those that submitted answers.

    Raises:
        ArgumentError: the id is malformed.
    """
    game_state = Fleet((Member(_checked(game_state_id), "Game State", "Game State"),))
    return _joined(game_state, _known_to(net, game_state_id, game_state))


def of_ids(net: Network, canister_ids: Sequence[str]) -> Fleet:
    """The fleet of these canisters: who the project knows goes by its name there, others by what they offer.

    Raises:
        ArgumentError: an id is malformed, no canister has it, or none is given; the error names all that are wrong.
    """
    if isinstance(canister_ids, str) or not canister_ids:
        raise ArgumentError(f"canister ids are {canister_ids!r}: give a list of at least one id")
    asked = list(dict.fromkeys(map(_checked, canister_ids)))
    there = stopping.every(lambda canister_id: management.exists(net.agent, canister_id), asked, AT_ONCE)
    if missing := [canister_id for canister_id, exists in zip(asked, there, strict=True) if not exists]:
        raise ArgumentError(
            f"no canister on network {net.name} ({net.url}) has the id {', '.join(missing)}: take it from the list, or "
            "connect to the network where it is"
        )
    try:
        known = {member.canister_id: member for member in of(net).members}
    except MainerError:  # there is no project on this network
        known = {}
    strangers = _identified(net, [canister_id for canister_id in asked if canister_id not in known])
    found = known | {member.canister_id: member for member in strangers.members}
    return replace(strangers, members=tuple(found[canister_id] for canister_id in asked))


def chosen(net: Network, canister_ids: str | None = None, before: Fleet | None = None) -> Fleet:
    """The fleet of these ids, with spaces or commas between; None: that of the project.

    Args:
        before: what the same ids gave before something was removed, so that they may name what is gone.

    Raises:
        ArgumentError, PreconditionError: as of `of` and `of_ids`.
    """
    if canister_ids is None:
        return of(net)
    ids = re.findall(r"[^\s,]+", canister_ids)
    if before is None:
        return of_ids(net, ids)
    there = stopping.every(lambda member: management.exists(net.agent, member.canister_id), before.members, AT_ONCE)
    return replace(
        before, members=tuple(member for member, is_there in zip(before.members, there, strict=True) if is_there)
    )


def canister(net: Network, member: Member | str) -> Canister:
    """A canister, with the interface that its own module tells; one of a known role that does not tell it (to this
    caller) has the interface in files/. Methods for controllers of what the creator made for others are called by it.

    Raises:
        ArgumentError: it tells none, and what it is, is not known.
    """
    if isinstance(member, str):
        return Canister(net.agent, member, calls.told(net, member), member)
    try:
        interface: Any = calls.told(net, member.canister_id)
    except ArgumentError:
        if member.role not in _INTERFACES:
            raise
        interface = places.files() / f"{_INTERFACES[member.role]}.did"
    found = Canister(net.agent, member.canister_id, interface, member.name)
    return authority.acting(net, found) if member.of_creator and member.owner != net.caller else found


def offers(canister: Canister, method: str) -> bool:
    """Whether a canister's interface has a method."""
    return method in canister.methods


def _checked(canister_id: str) -> str:
    to_principal(canister_id, f"canister id {canister_id!r}")
    return canister_id


def _joined(first: Fleet, second: Fleet) -> Fleet:
    there = set(first.canister_ids)
    more = tuple(member for member in second.members if member.canister_id not in there)
    return Fleet((*first.members, *more), (*first.gaps, *second.gaps))


def _of_mainer(mainer: population.Mainer) -> list[Member]:
    kind: Role = mainer.kind
    own = Member(mainer.controller_id, kind, mainer.name, mainer.owner, mainer.share_service_id, of_creator=True)
    llms = [
        Member(llm_id, "LLM", overview.llm_name(mainer, number), mainer.owner, mainer.controller_id, of_creator=True)
        for number, llm_id in enumerate(mainer.llm_ids, 1)
    ]
    return [own, *llms]


def _llms_of(net: Network, member: Member) -> list[Member]:
    """The LLMs of a Challenger or a Judge, by what it tells; of one that does not name them, none."""
    if member.role not in ("Challenger", "Judge"):
        return []
    try:
        asking = canister(net, member)
        llm_ids = asking.getLlmCanisters() if offers(asking, _LLMS) else []
    except MainerError:  # it does not answer, which is seen when it is looked at
        return []
    return [
        Member(llm_id, "LLM", f"{member.name}, LLM {number}", parent=member.canister_id)
        for number, llm_id in enumerate(llm_ids, 1)
    ]


def _known_to(net: Network, game_state_id: str, known: Fleet) -> Fleet:
    """The mAIners that a Game State knows and that are not known yet."""
    game_state = net.canister_at(game_state_id, GAME_STATE)
    try:
        entries = {entry["address"]: entry for entry in game_state.getMainerAgentCanistersForUser()}
    except CallError as error:
        return Fleet((), (f"the Game State {game_state_id} does not tell its mAIners: {error}",))
    for mainer_id in _submitters(game_state) - entries.keys() - set(known.canister_ids):
        if entry := _registered(game_state, mainer_id):
            entries[mainer_id] = entry
    strangers = [mainer_id for mainer_id in entries if mainer_id not in known.canister_ids]
    found = _identified(net, strangers)
    owned = {mainer_id: str(entry["ownedBy"]) for mainer_id, entry in entries.items()}
    return replace(
        found,
        members=tuple(
            replace(member, owner=owned.get(member.canister_id) or owned.get(member.parent or "", ""))
            for member in found.members
        ),
    )


def _submitters(game_state: Canister) -> set[str]:
    """The mAIners that submitted answers, as far as the caller may know."""
    try:
        return {record["submittedBy"] for record in game_state.getSubmissionsAdmin()}
    except CallError:
        return set()


def _registered(game_state: Canister, mainer_id: str) -> dict[str, Any] | None:
    try:
        return dict(game_state.getMainerAgentCanisterInfo({"address": mainer_id}))
    except CallError:
        return None


def _identified(net: Network, canister_ids: Sequence[str]) -> Fleet:
    """Canisters of which only the ids are known, by what they offer; each mAIner with the LLMs that it names."""
    told = stopping.every(lambda canister_id: _identify(net, canister_id), canister_ids, AT_ONCE)
    members = {member.canister_id: member for found, _ in told for member in found}
    members |= {member.canister_id: member for found, _ in told for member in found if member.parent}
    return Fleet(tuple(members.values()), tuple(gap for _, gap in told if gap))


def _identify(net: Network, canister_id: str) -> tuple[list[Member], str]:
    """A canister as member, with its LLMs if it is a mAIner that names them; and what could not be learnt."""
    unknown = Member(canister_id, "other", f"other {canister_id}")
    try:
        offered = canister(net, canister_id)
        if not offers(offered, _TYPE_OF_MAINER):
            role: Role = next((role for mark, role in MARKS.items() if offers(offered, mark)), "other")
            named = replace(unknown, role=role, name=f"{role} {canister_id}")
            return [named, *_llms_of(net, named)], ""
        kind: Any = case(offered.getMainerCanisterType())
        if kind not in MAINER_ROLES:
            return [unknown], f"{canister_id} is a mAIner canister whose type is not set"
        service = offered.getShareServiceCanisterId() if kind == "ShareAgent" else None
        llm_ids = offered.getLlmCanisters() if offers(offered, _LLMS) else []
    except MainerError as error:
        return [unknown], f"what {canister_id} is, is not known: {error}"
    mainer = population.Mainer(f"{kind} {canister_id}", kind, canister_id, "", tuple(llm_ids), service or None)
    return [replace(member, of_creator=False) for member in _of_mainer(mainer)], ""
