"""Create mAIners: a controller of one of three types, and LLMs for it.

    own = create.create_mainer(net, "Own")
    create.add_llm(net, own.controller_id)
    service = create.create_mainer(net, "ShareService")
    agent = create.create_mainer(net, "ShareAgent", share_service=service.controller_id)
    create.mainers(net)                                # what exists, as the creator knows it
    create.ensure(net, Plan())                         # make what is missing of a population

What exists is asked of the creator; nothing about mAIners is kept here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from . import upload
from .agent import to_principal
from .canister import Canister, case
from .errors import ArgumentError, PreconditionError
from .models import ModelVariant
from .network import CREATOR, Network
from .progress import Progress, Silent

Kind = Literal["Own", "ShareService", "ShareAgent"]
KINDS: tuple[Kind, ...] = ("Own", "ShareService", "ShareAgent")

LLMS_AT_ONCE = 2  # as many as the smallest machine has processors
CREATION_TIMEOUT = 1800.0  # seconds: an LLM gets its model in hundreds of messages between canisters
CREATE_STEP = "notebooks/03_create.ipynb (in Python: mainer_nb.create.ensure(net, Plan()))"
UPLOAD_STEP = "notebooks/02_upload.ipynb (in Python: mainer_nb.upload.upload_all(net))"


@dataclass(frozen=True)
class Mainer:
    """A mAIner: its controller and what belongs to it, ids and principals as text.

    Attributes:
        name: what people call it: its type and a number in the order of creation, such as "ShareAgent 2".
        share_service_id: of a ShareAgent, the controller id of the ShareService that it uses.
    """

    name: str
    kind: Kind
    controller_id: str
    owner: str
    llm_ids: tuple[str, ...]
    share_service_id: str | None


@dataclass(frozen=True)
class Plan:
    """A population: how many mAIners of each type, how many LLMs each has."""

    own: int = 1
    llms_per_own: int = 2
    services: int = 1
    llms_per_service: int = 1
    agents: int = 2


def create_mainer(
    net: Network, kind: Kind, share_service: str | None = None, progress: Progress | None = None
) -> Mainer:
    """Create a mAIner controller, owned by the caller.

    Args:
        kind: its type.
        share_service: of a ShareAgent, the controller id of the ShareService that it uses.

    Raises:
        ArgumentError: an unknown type or a malformed id.
        PreconditionError: the creator is not deployed, or has no controller wasm.
        CanisterError: Other "step <name>: <reason>", if a step failed; nothing of it is left.
    """
    if kind not in KINDS:
        raise ArgumentError(f"unknown mAIner type '{kind}': choose one of {', '.join(KINDS)}")
    if share_service is not None:
        to_principal(share_service, "id of the ShareService")
    creator = _creator(net, "MainerControllerWasm")
    with (progress or Silent()).task(f"create {kind} mAIner"):
        made = creator.testCreateMainerControllerCanister(kind, share_service, timeout=CREATION_TIMEOUT)
    return mainer(net, made["newCanisterId"])


def add_llm(
    net: Network, controller_id: str, model: ModelVariant | None = None, progress: Progress | None = None
) -> str:
    """Create an LLM for a mAIner controller (Own or ShareService), which takes as long as loading the model.

    Args:
        model: an AvailableModels value; None: the model uploaded last.

    Returns:
        Its canister id.

    Raises:
        CanisterError: the controller is a ShareAgent or unknown; further errors as of `create_mainer`.
    """
    to_principal(controller_id, "id of the mAIner controller")
    creator = _creator(net, "LlmModel")
    with (progress or Silent()).task(f"create LLM for {name(net, controller_id)}"):
        if model is None:
            made = creator.testCreateMainerLlmCanister(controller_id, timeout=CREATION_TIMEOUT)
        else:
            order = {
                "canisterType": "MainerLlm",
                "selectedModel": model,
                "associatedCanisterAddress": controller_id,
                "owner": net.caller,
                "mainerAgentCanisterType": "NA",
            }
            made = creator.createCanister(order, timeout=CREATION_TIMEOUT)
    return str(made["newCanisterId"])


def mainers(net: Network) -> list[Mainer]:
    """The mAIners that the creator made, in the order of their making."""
    numbers: Counter[str] = Counter()
    found = []
    for record in net.canister(CREATOR).getMainers():
        kind: Any = case(record["mainerAgentCanisterType"])
        numbers[kind] += 1
        name, llm_ids = f"{kind} {numbers[kind]}", tuple(record["llmIds"])
        found.append(Mainer(name, kind, record["controllerId"], record["owner"], llm_ids, record["shareServiceId"]))
    return found


def name(net: Network, controller_id: str) -> str:
    """What to call the mAIner with this controller; the id itself, if the creator did not make it."""
    return next((mainer.name for mainer in mainers(net) if mainer.controller_id == controller_id), controller_id)


def required(net: Network, *kinds: Kind) -> list[Mainer]:
    """The mAIners that the creator made.

    Args:
        kinds: the types of which there must be at least one; none given: at least one of any.

    Raises:
        PreconditionError: there is none; the error says what to run.
    """
    found = mainers(net)
    missing = [kind for kind in kinds if kind not in {mainer.kind for mainer in found}]
    if missing or not found:
        what = " and no ".join(f"mAIner of type {kind}" for kind in missing) or "mAIner"
        raise PreconditionError(f"no {what} on network {net.name}: run {CREATE_STEP} first")
    return found


def mainer(net: Network, controller_id: str) -> Mainer:
    """The mAIner with this controller.

    Raises:
        ArgumentError: the creator did not make it.
    """
    known = mainers(net)
    for mainer in known:
        if mainer.controller_id == controller_id:
            return mainer
    ids = ", ".join(f"{mainer.controller_id} ({mainer.name})" for mainer in known)
    raise ArgumentError(f"no mAIner {controller_id} on network {net.name}; there are: {ids or 'none'}")


def ensure(net: Network, plan: Plan, progress: Progress | None = None) -> list[Mainer]:
    """Create what is missing of the population in `plan`; errors as of `create_mainer` and `add_llm`.

    What exists is used: running this twice makes nothing new. Agents are spread over the services in turn.

    Returns:
        All mAIners of the plan: Own first, then services, then agents.
    """
    if plan.agents and not plan.services:
        raise ArgumentError(f"{plan.agents} ShareAgents need a ShareService: ask for at least one")
    existing = mainers(net)

    def of_kind(kind: Kind, count: int, services: Sequence[str] = ()) -> list[str]:
        found = [mainer.controller_id for mainer in existing if mainer.kind == kind][:count]
        while len(found) < count:
            service = services[len(found) % len(services)] if services else None
            found.append(create_mainer(net, kind, service, progress).controller_id)
        return found

    own, services = of_kind("Own", plan.own), of_kind("ShareService", plan.services)
    agents = of_kind("ShareAgent", plan.agents, services)
    llms = {**dict.fromkeys(own, plan.llms_per_own), **dict.fromkeys(services, plan.llms_per_service)}
    known = {mainer.controller_id: mainer for mainer in mainers(net)}
    missing = {controller_id: count - len(known[controller_id].llm_ids) for controller_id, count in llms.items()}
    _add_llms(net, [controller_id for controller_id, count in missing.items() for _ in range(count)], progress)
    known = {mainer.controller_id: mainer for mainer in mainers(net)}
    return [known[controller_id] for controller_id in (*own, *services, *agents)]


def _add_llms(net: Network, controller_ids: Sequence[str], progress: Progress | None) -> None:
    """Create an LLM for each of these controllers, which may be named several times."""
    if controller_ids:
        with (progress or Silent()).task("create LLMs", len(controller_ids), "LLMs", steady=True) as task:
            for _ in upload.parallel(partial(add_llm, net), controller_ids, LLMS_AT_ONCE):
                task.advance(1)


def _creator(net: Network, target: str) -> Canister:
    """The creator, once it has what is needed of this upload target."""
    creator = net.canister(CREATOR)
    if not any(file.target == target for file in upload.stored(net)):
        raise PreconditionError(f"the creator on network {net.name} has no {target} yet: run {UPLOAD_STEP} first")
    return creator
