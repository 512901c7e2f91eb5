"""Create mAIners: a mAIner canister of one of three types, and LLMs for it.

    own = create.create_mainer(net, "Own")
    create.add_llm(net, own.controller_id)
    service = create.create_mainer(net, "ShareService")
    agent = create.create_mainer(net, "ShareAgent", share_service=service.controller_id)
    create.mainers(net)                                # what exists, as the creator knows it
    create.ensure(net, Plan())                         # make what is missing of a population, renew what differs
    create.forget(net, agent.controller_id)            # after it was deleted: take it from the lists
    create.renew(net, own.llm_ids[0])                  # after it was stopped, emptied or damaged

What exists is asked of the creator, the network and the mAIners; nothing about mAIners is kept here.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from itertools import count
from typing import Any, Literal

from . import conditions, deploy, differences, management, models, stopping, templates, upload
from .agent import to_principal
from .canister import Canister, case
from .conditions import DELETED
from .differences import UPLOAD_STEP, Difference
from .errors import ArgumentError, CanisterError, PreconditionError, RejectError
from .models import ModelVariant
from .network import CREATOR, GAME_STATE, Network, alone
from .population import (
    CREATE_STEP,
    KINDS,
    Kind,
    Llm,
    Mainer,
    Plan,
    answering_llm,
    mainer,
    mainers,
    name,
    problem_of_llms,
    problem_of_plan,
    problem_of_service,
    required,
)
from .progress import GOES_ON, Progress, Silent, amount

__all__ = [
    "CREATE_STEP",
    "DIFFERING",
    "GONE",
    "KINDS",
    "Kind",
    "Llm",
    "Mainer",
    "Plan",
    "add_llm",
    "answering_llm",
    "create_mainer",
    "create_one",
    "ensure",
    "forget",
    "mainer",
    "mainers",
    "name",
    "problem_of_llms",
    "problem_of_plan",
    "problem_of_service",
    "renew",
    "required",
]

Differing = Literal["replace", "use", "refuse"]
DIFFERING: tuple[Differing, ...] = ("replace", "use", "refuse")
Gone = Literal["refuse", "forget"]
GONE: tuple[Gone, ...] = ("refuse", "forget")

CREATING = "create"  # what takes turns
ONE_MORE = "Look at what there is now; ask again if you want one more."
LLMS_AT_ONCE = 2  # as many as the smallest machine has processors
CREATION_TIMEOUT = 1800.0  # seconds: an LLM gets its model in hundreds of messages between canisters
UNDER_WAY = ("StatusCode", 202)  # the creator's answer to an order that it is carrying out
SECONDS_BETWEEN_LOOKS = 0.5


def create_mainer(
    net: Network,
    kind: Kind,
    share_service: str | None = None,
    progress: Progress | None = None,
    key: str | None = None,
) -> Mainer:
    """Create a mAIner canister, owned by the caller.

    Args:
        kind: its type.
        share_service: of a ShareAgent, the id of the ShareService that it uses.
        key: the same key gives the same mAIner, also to another process and while it is being made; None: another one.

    Raises:
        ArgumentError: an unknown type or a malformed id.
        PreconditionError: the creator is not deployed, or has no wasm for it.
        CanisterError: Other "step <name>: <reason>", if a step failed; nothing of it is left.
    """
    if kind not in KINDS:
        raise ArgumentError(f"unknown mAIner type '{kind}': choose one of {', '.join(KINDS)}")
    if share_service is not None:
        to_principal(share_service, "id of the ShareService")
    creator = _creator(net, "MainerControllerWasm")
    with (progress or Silent()).task(f"create {kind} mAIner", again=_again(key)):
        made = _order(
            creator,
            canisterType="MainerAgent",
            associatedCanisterAddress=share_service,
            owner=net.caller,
            mainerAgentCanisterType=kind,
            key=key or str(uuid.uuid4()),
        )
    return mainer(net, made)


def add_llm(
    net: Network,
    controller_id: str,
    model: ModelVariant | None = None,
    progress: Progress | None = None,
    key: str | None = None,
    renewed: str | None = None,
    of_template: bool | None = None,
) -> str:
    """Create an LLM for a mAIner (Own or ShareService), which takes as long as loading the model, or a second.

    Args:
        model: an AvailableModels value; None: the model uploaded last.
        renewed: a canister that is there and becomes the LLM, with the loss of its state; None: a new one is made.
        key: as of `create_mainer`.
        of_template: whether it is made of a template, as `templates.use` has it.

    Returns:
        Its canister id.

    Raises:
        CanisterError: the mAIner is a ShareAgent or unknown; further errors as of `create_mainer`.
    """
    to_principal(controller_id, "id of the mAIner canister")
    creator = _creator(net, "LlmModel")
    templates.use(net, of_template)
    with (progress or Silent()).task(f"create LLM for {name(net, controller_id)}", again=_again(key)):
        return _order(
            creator,
            canisterType="MainerLlm",
            selectedModel=creator.getLatestModel() if model is None else model,
            associatedCanisterAddress=controller_id,
            owner=net.caller,
            key=key or str(uuid.uuid4()),
            renewedCanisterAddress=renewed,
        )


def forget(net: Network, canister_id: str) -> str:
    """Take a mAIner or an LLM that was deleted from the lists of creator, Game State, ShareService and mAIner.

    Returns:
        What was done, in words.

    Raises:
        CanisterError: Other if the canister is there, InvalidId if neither creator nor Game State know it.
    """
    to_principal(canister_id, "id of the canister to forget")
    try:
        return str(net.canister(CREATOR).forgetCanister({"address": canister_id})["forgotten"])
    except CanisterError as error:
        if error.variant != "InvalidId":
            raise
    try:
        net.canister(GAME_STATE).removeMainerAgentCanister({"address": canister_id})
    except RejectError as error:
        if not error.not_offered:
            raise
        return f"Canister {canister_id} stays in the list of the Game State, which does not offer to remove it"
    return f"Canister {canister_id} is forgotten by the Game State"


def renew(net: Network, canister_id: str, progress: Progress | None = None) -> None:
    """Have the creator make a mAIner or an LLM what it should be, in the canister that is there: it is started and gets
    cycles and code that it lacks. A mAIner keeps its state, and is known to the creator from then on; an LLM gets its
    model again, and is in its mAIner's list.

    Raises:
        CanisterError: Other "step <name>: <reason>"; the canister is left as it was then.
        PreconditionError: the creator lacks the file that it is made of.
    """
    for known in mainers(net):
        if canister_id == known.controller_id:
            return _renew_controller(net, known, _variant(net, known, "use"), progress)
        if canister_id in known.llm_ids:
            has = {llm.canister_id: llm.variant for llm in known.llms}.get(canister_id)
            variant = _variant(net, known, "use") if has is None else has
            order = _LlmOrder(known, variant, f"renew {canister_id}", canister_id)
            return _carry_out(net, [order], f"renew an LLM of {known.name}", progress)
    return _renew_controller(net, _stranger(net, canister_id), differences.asked(net).variant, progress)


def ensure(
    net: Network,
    plan: Plan,
    progress: Progress | None = None,
    differing: Differing = "replace",
    gone: Gone = "refuse",
    of_template: bool | None = None,
) -> list[Mainer]:
    """Create what is missing of the population in `plan`; errors as of `create_mainer` and `add_llm`.

    What exists is used, what is being created is waited for: running this twice makes nothing new, also when the first
    was killed. Agents are spread over the services in turn; one that exists comes with the ShareService it uses.

    Args:
        differing: what to do with what is not what the creator would make now: "replace": upgrade mAIner canisters,
            which keep their state, and give LLMs code and model anew, in the canisters that are there; "use" it as it
            is, as long as it works; "refuse" and change nothing.
        gone: what to do if a mAIner or an LLM was deleted: "refuse", or "forget" it and make another.
        of_template: whether LLMs are made of templates, as `templates.use` has it.

    Returns:
        All mAIners of the plan: Own first, then services, then agents.

    Raises:
        PreconditionError: what differs or is gone is to be refused; the error names it.
    """
    if problem := problem_of_plan(plan):
        raise ArgumentError(problem)
    for what, value, values in (("differing", differing, DIFFERING), ("gone", gone, GONE)):
        if value not in values:
            raise ArgumentError(f"unknown {what} '{value}': choose one of {', '.join(values)}")
    creator = _creator(net, "MainerControllerWasm")
    with _in_turn(creator, progress):
        templates.use(net, of_template)
        return _ensure(net, creator, plan, progress, differing, gone)


def create_one(
    net: Network,
    kind: Kind,
    llms: int,
    share_service: str | None,
    known: Collection[Mainer],
    progress: Progress | None = None,
) -> Mainer:
    """Create one mAIner more, with its LLMs, for whoever knows of those in `known`; errors as of `create_mainer`.

    Two who ask for it at once, each not knowing of the other, get one: the second is refused.

    Args:
        llms: how many, of an Own or a ShareService.
        share_service: of a ShareAgent, the id of its ShareService.

    Raises:
        ArgumentError: what was asked for would not work.
        PreconditionError: mAIners are being created right now, or others than those in `known` exist. In both cases
            nothing is created.
    """
    if problem := problem_of_llms(kind, llms):
        raise ArgumentError(f"{kind} with {llms} LLMs: {problem}")
    if kind == "ShareAgent" and (problem := problem_of_service(share_service, mainers(net))):
        raise ArgumentError(f"ShareService of a ShareAgent: {problem}")
    creator = _creator(net, "LlmModel" if llms else "MainerControllerWasm")
    with alone(creator.canister_id, CREATING, _refuse_to_wait):
        _wait_for_orders(creator, progress)  # of somebody elsewhere, or of one that was interrupted
        there = {mainer.controller_id: mainer.name for mainer in mainers(net)}
        known_ids = {mainer.controller_id for mainer in known}
        if differing := there.keys() ^ known_ids:
            names = ", ".join(sorted(there.get(address, f"{address} (gone)") for address in differing))
            raise PreconditionError(f"the mAIners changed in the meantime: {names}. Nothing was created. {ONE_MORE}")
        made = create_mainer(net, kind, share_service, progress)
        templates.use(net, None)
        variant = creator.getLatestModel() if llms else ""
        orders = [_LlmOrder(made, variant, f"{made.controller_id} LLM {number + 1}") for number in range(llms)]
        try:
            _carry_out(net, orders, f"create LLMs for {made.name}", progress)
        except CanisterError as error:
            error.add_note(f"{made.name} ({made.controller_id}) was created and lacks an LLM: create.add_llm gives one")
            raise
    return mainer(net, made.controller_id)


def _refuse_to_wait() -> None:
    raise PreconditionError(
        f"mAIners are being created on this network right now, by another tab or process. Nothing was created. "
        f"Wait until that is done. {ONE_MORE}"
    )


@contextmanager
def _in_turn(creator: Canister, progress: Progress | None) -> Iterator[None]:
    """Create as the only process of this project: who comes later finds what the first made."""
    with ExitStack() as waiting:
        waiting.enter_context((progress or Silent()).task("wait for another process that creates mAIners"))
        with alone(creator.canister_id, CREATING):
            waiting.close()
            yield


def _ensure(
    net: Network, creator: Canister, plan: Plan, progress: Progress | None, differing: Differing, gone: Gone
) -> list[Mainer]:
    _wait_for_orders(creator, progress)
    _deal_with_gone(net, gone, progress)
    _deal_with_unknown(net, differing, progress)
    if differing != "refuse":
        _register(net)
    existing = _choose(mainers(net), plan)
    found = differences.find(net, existing)
    if differing == "refuse" and found:
        raise PreconditionError(
            f'{"; ".join(map(str, found))}. Nothing was changed. Remedy: differing = "replace" renews what differs, '
            'differing = "use" takes it as it is.'
        )
    to_renew = [difference for difference in found if differing == "replace" or not difference.works]
    whole = _complete(net, existing, plan, progress)
    _renew(net, to_renew, whole, differing, progress)
    _add_llms(net, whole, plan, differing, progress)
    known = {mainer.controller_id: mainer for mainer in mainers(net)}
    return [known[mainer.controller_id] for mainer in whole]


# --- what exists ---


def _wait_for_orders(creator: Canister, progress: Progress | None) -> None:
    """Wait until the creator has carried out the orders that it is at, perhaps for a process that is no more."""
    waiting = {order["key"] for order in creator.getOrdersUnderWay()}
    if waiting:
        with (progress or Silent()).task(f"wait for {amount(len(waiting), 'canisters')} under creation"):
            while waiting & {order["key"] for order in creator.getOrdersUnderWay()}:
                stopping.pause(SECONDS_BETWEEN_LOOKS)


def _register(net: Network) -> None:
    """Register with the Game State all mAIners that it does not know, as after it was installed anew."""
    try:
        net.canister(CREATOR).registerMainers()
    except CanisterError:  # then it does not know the creator either
        deploy.register(net)


def _deal_with_gone(net: Network, gone: Gone, progress: Progress | None) -> None:
    """Forget the canisters that were deleted, or raise PreconditionError, naming them."""
    called = {llm_id: f"{each.name}, LLM {llm_id}" for each in mainers(net) for llm_id in each.llm_ids}
    called |= {mainer.controller_id: f"{mainer.name} {mainer.controller_id}" for mainer in mainers(net)}
    unknown = _registered_only(net)
    if unknown and _forgets(net.canister(GAME_STATE)):
        called |= {entry["address"]: f"mAIner {entry['address']}" for entry in unknown}
    deleted = _deleted(net, called)
    if deleted and gone == "refuse":
        raise PreconditionError(
            f"{'; '.join(f'{called[address]} {DELETED}' for address in deleted)}. {conditions.FORGET_STEP}"
        )
    for address in reversed(deleted):  # mAIners before their LLMs, which go with them
        with (progress or Silent()).task(f"forget {called[address]}") as task:
            try:
                task.note(forget(net, address))
            except CanisterError as error:
                if error.variant != "InvalidId":
                    raise


def _deleted(net: Network, canister_ids: Iterable[str]) -> list[str]:
    return [
        canister_id
        for canister_id, condition in conditions.of(net, canister_ids).items()
        if condition.problem == DELETED
    ]


def _forgets(game_state: Canister) -> bool:
    """Whether this Game State offers to remove mAIners; one of the original interface keeps those that are gone."""
    try:
        game_state.removeMainerAgentCanister({"address": management.MANAGEMENT})  # no mAIner's
    except RejectError as error:
        return not error.not_offered
    except CanisterError:
        pass
    return True


def _registered_only(net: Network) -> list[dict[str, Any]]:
    """The caller's mAIners that the Game State got from the creator, but that the creator does not know (any more), in
    the order of their making.
    """
    known = {mainer.controller_id for mainer in mainers(net)}
    creator = net.canister_id(CREATOR)
    registered = net.canister(GAME_STATE).getMainerAgentCanistersForUser()
    found = [entry for entry in registered if entry["createdBy"] == creator and entry["address"] not in known]
    return sorted(found, key=lambda entry: int(entry["creationTimestamp"]))


def unknown(net: Network) -> list[str]:
    """The ids of the caller's mAIners that the creator made, as the Game State says, and does not know any more."""
    listed = [entry["address"] for entry in _registered_only(net)]
    gone = _deleted(net, listed)
    return [address for address in listed if address not in gone]


def _deal_with_unknown(net: Network, differing: Differing, progress: Progress | None) -> None:
    """Make the creator know the mAIners that the Game State alone knows, or raise PreconditionError, naming them."""
    strangers = unknown(net)
    if strangers and differing == "refuse":
        raise PreconditionError(
            f"the creator does not know the mAIners {', '.join(strangers)}, which it created before it was reinstalled."
            ' Remedy: differing = "use" or "replace" makes them known to it.'
        )
    found_there = [_stranger(net, address) for address in strangers]
    for found in sorted(found_there, key=lambda mainer: mainer.kind == "ShareAgent"):  # after their ShareServices
        _renew_controller(net, found, differences.asked(net).variant, progress)


def _stranger(net: Network, address: str) -> Mainer:
    """A mAIner of the caller's that the creator does not know, as it tells itself."""
    controller = net.canister_at(address, upload.CONTROLLER)
    kind: Any = case(controller.getMainerCanisterType())
    service = controller.getShareServiceCanisterId() if kind == "ShareAgent" else None
    return Mainer(address, kind, address, net.caller, (), service)


def _choose(known: Sequence[Mainer], plan: Plan) -> list[Mainer]:
    """The mAIners that a plan uses, with their ties: first those agents whose ShareService is used anyway, then others
    with their ShareService, then those whose ShareService is gone.
    """
    own = [mainer for mainer in known if mainer.kind == "Own"][: plan.own]
    all_services = {mainer.controller_id: mainer for mainer in known if mainer.kind == "ShareService"}
    services = dict(list(all_services.items())[: plan.services])

    def distance(agent: Mainer) -> int:
        return 0 if agent.share_service_id in services else 1 if agent.share_service_id in all_services else 2

    agents = sorted((mainer for mainer in known if mainer.kind == "ShareAgent"), key=distance)[: plan.agents]
    for agent in agents:
        if agent.share_service_id in all_services:
            services[agent.share_service_id] = all_services[agent.share_service_id]
    return [*own, *services.values(), *agents]


# --- what is missing ---


def _complete(net: Network, existing: Sequence[Mainer], plan: Plan, progress: Progress | None) -> list[Mainer]:
    """The mAIners of a plan, those that exist and those that are made now; each ShareAgent with a ShareService."""
    keys = {mainer.key for mainer in mainers(net)}

    def of_kind(kind: Kind, number: int, services: Sequence[Mainer] = ()) -> list[Mainer]:
        found = [mainer for mainer in existing if mainer.kind == kind]
        new = _unused(f"{kind} ", keys)
        while len(found) < number:
            service = services[len(found) % len(services)].controller_id if services else None
            found.append(create_mainer(net, kind, service, progress, next(new)))
        return found

    own, services = of_kind("Own", plan.own), of_kind("ShareService", plan.services)
    ids = [mainer.controller_id for mainer in services]
    agents = of_kind("ShareAgent", plan.agents, services)
    return [
        *own,
        *services,
        *(
            mainer if mainer.share_service_id in ids else replace(mainer, share_service_id=ids[n % len(ids)])
            for n, mainer in enumerate(agents)
        ),
    ]


@dataclass(frozen=True)
class _LlmOrder:
    """An LLM to be made for `mainer`, or the LLM `renewed` of it to be renewed."""

    mainer: Mainer
    variant: ModelVariant
    key: str
    renewed: str | None = None


def _add_llms(
    net: Network, whole: Sequence[Mainer], plan: Plan, differing: Differing, progress: Progress | None
) -> None:
    """Create the LLMs that these mAIners lack."""
    wanted = {"Own": plan.llms_per_own, "ShareService": plan.llms_per_service, "ShareAgent": 0}
    known = {mainer.controller_id: mainer for mainer in mainers(net)}
    orders = []
    for present in (known[each.controller_id] for each in whole):
        missing = wanted[present.kind] - len(present.llm_ids)
        new = _unused(f"{present.controller_id} LLM ", {llm.key for llm in present.llms})
        for _ in range(missing):
            orders.append(_LlmOrder(present, _variant(net, present, differing), next(new)))
    _carry_out(net, orders, "create LLMs", progress)


def _carry_out(net: Network, orders: Sequence[_LlmOrder], what: str, progress: Progress | None) -> None:
    if not orders:
        return
    creator = net.canister(CREATOR)

    def give(order: _LlmOrder) -> str:
        return _order(
            creator,
            canisterType="MainerLlm",
            selectedModel=order.variant,
            associatedCanisterAddress=order.mainer.controller_id,
            owner=order.mainer.owner,
            key=order.key,
            renewedCanisterAddress=order.renewed,
        )

    with (progress or Silent()).task(what, len(orders), "LLMs", steady=True, again=_again("")) as task:
        first = _first(net, orders)
        for at_once in (first, [order for order in orders if order not in first]):
            for _ in stopping.parallel(give, at_once, LLMS_AT_ONCE):
                task.advance(1)


def _first(net: Network, orders: Sequence[_LlmOrder]) -> list[_LlmOrder]:
    """One order for each model without a template, so that the others are made of the one that this order makes."""
    if not templates.use(net, None):
        return []
    ready = {file.model for file in upload.stored(net) if file.template and file.template.current}
    by_model = {models.variant_text(order.variant): order for order in reversed(orders)}
    return [order for model, order in by_model.items() if model not in ready]


def _variant(net: Network, mainer: Mainer, differing: Differing) -> ModelVariant:
    """The model for an LLM of this mAIner: the one uploaded last, unless what it has is to be used as it is."""
    if differing == "use" and len({llm.model for llm in mainer.llms}) == 1 and mainer.llms[0].variant is not None:
        return mainer.llms[0].variant
    return differences.asked(net).variant


def _unused(prefix: str, keys: Collection[str | None]) -> Iterator[str]:
    """Keys of orders, the same ones again as long as nothing was made by them."""
    return (key for number in count(1) if (key := f"{prefix}{number}") not in keys)


# --- what differs ---


def _renew(
    net: Network,
    found: Sequence[Difference],
    whole: Sequence[Mainer],
    differing: Differing,
    progress: Progress | None,
) -> None:
    """Renew the mAIner canisters and the LLMs that differ; ShareAgents whose tie changed are among them."""
    tied = {mainer.controller_id: mainer for mainer in whole}
    before = {mainer.controller_id: mainer.share_service_id for mainer in mainers(net)}
    differ = {difference.mainer.controller_id for difference in found if not difference.of_llm}
    moved = {mainer.controller_id for mainer in whole if before[mainer.controller_id] != mainer.share_service_id}
    for controller_id in (controller_id for controller_id in tied if controller_id in differ | moved):
        mainer = tied[controller_id]
        _renew_controller(net, mainer, _variant(net, mainer, differing), progress)
    llms = {difference.canister_id: tied[difference.mainer.controller_id] for difference in found if difference.of_llm}
    orders = [
        _LlmOrder(mainer, _variant(net, mainer, differing), f"renew {llm_id}", llm_id)
        for llm_id, mainer in llms.items()
    ]
    _carry_out(net, orders, "renew LLMs", progress)


def _renew_controller(net: Network, mainer: Mainer, model: ModelVariant, progress: Progress | None) -> None:
    with (progress or Silent()).task(f"renew {mainer.name}"):
        _order(
            net.canister(CREATOR),
            canisterType="MainerAgent",
            selectedModel=model,
            associatedCanisterAddress=mainer.share_service_id,
            owner=mainer.owner,
            mainerAgentCanisterType=mainer.kind,
            key=f"renew {mainer.controller_id}",
            renewedCanisterAddress=mainer.controller_id,
        )


# --- orders ---


def _again(key: str | None) -> str:
    """What to do after an order was interrupted, which the creator carries out nevertheless."""
    if key is not None:
        return f"The creator finishes it. {GOES_ON}"
    return "The creator finishes it: look with create.mainers(net) before you run it again, which makes another one."


def _order(creator: Canister, **order: Any) -> str:
    """Give the creator an order with a key and wait while it is carried out, whoever gave it first; the canister id."""
    defaults = {"selectedModel": "Qwen2_5_500M", "mainerAgentCanisterType": "NA", "renewedCanisterAddress": None}
    while True:
        try:
            made = creator.orderCanister({**defaults, **order}, timeout=CREATION_TIMEOUT)
            return str(made["newCanisterId"])
        except CanisterError as error:
            if (error.variant, error.value) != UNDER_WAY:
                raise
        stopping.pause(SECONDS_BETWEEN_LOOKS)


def _creator(net: Network, target: str) -> Canister:
    """The creator, once it has what is needed of this upload target."""
    creator = net.canister(CREATOR)
    if not any(file.target == target for file in upload.stored(net)):
        raise PreconditionError(f"the creator on network {net.name} has no {target} yet: run {UPLOAD_STEP} first")
    return creator
