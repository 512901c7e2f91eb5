"""What exists: mAIners and their LLMs, as the creator knows them.

    population.mainers(net)
    population.mainer(net, "rrkah-fqaaa-aaaaa-aaaaq-cai").llms[0].model

The creator is asked each time; nothing is kept here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from . import models
from .canister import Canister, case
from .errors import ArgumentError, PreconditionError
from .models import ModelVariant
from .network import CREATOR, Network
from .progress import amount

Kind = Literal["Own", "ShareService", "ShareAgent"]
KINDS: tuple[Kind, ...] = ("Own", "ShareService", "ShareAgent")
MOST_LLMS = 100  # of a mAIner: as many as it takes
CREATE_STEP = "notebooks/03_create.ipynb (in Python: mainer_nb.create.ensure(net, Plan()))"


@dataclass(frozen=True)
class Making:
    """How an LLM was made.

    Attributes:
        how: "copied", the model file, or of a "template": a snapshot of an LLM canister that has loaded the model.
        rounds: of messages between canisters, from the order to the answer.
        seconds: from the order to the answer.
    """

    how: str
    rounds: int
    seconds: float


@dataclass(frozen=True)
class Llm:
    """An LLM canister and what the creator made it of; None and "" where the creator does not know.

    Attributes:
        variant: an AvailableModels value.
        model_sha256, wasm_sha256: hex.
        made: when.
        skipped: steps that the LLM or its mAIner does not offer.
        key: of the order.
        making: how it was made.
    """

    canister_id: str
    variant: ModelVariant | None = field(hash=False)  # may be a dict
    model_sha256: str
    wasm_sha256: str
    made: datetime | None
    skipped: tuple[str, ...]
    key: str | None
    making: Making | None

    @property
    def model(self) -> str:
        """The model's name at the creator; "" if it does not know."""
        return "" if self.variant is None else models.variant_text(self.variant)


@dataclass(frozen=True)
class Mainer:
    """A mAIner: its canister and what belongs to it, ids and principals as text.

    Attributes:
        name: what people call it: its type and a number in the order of creation, such as "ShareAgent 2".
        share_service_id: of a ShareAgent, the id of the ShareService that it uses.
        skipped: steps of its creation that the other side does not offer.
        key: of the order.
    """

    name: str
    kind: Kind
    controller_id: str
    owner: str
    llm_ids: tuple[str, ...]
    share_service_id: str | None
    llms: tuple[Llm, ...] = ()
    skipped: tuple[str, ...] = ()
    key: str | None = None

    @property
    def canister_ids(self) -> tuple[str, ...]:
        """The mAIner canister and its LLMs."""
        return (self.controller_id, *self.llm_ids)

    @property
    def left_out(self) -> tuple[str, ...]:
        """The steps left out at its creation and at that of its LLMs."""
        return tuple(dict.fromkeys([*self.skipped, *(step for llm in self.llms for step in llm.skipped)]))


@dataclass(frozen=True)
class Plan:
    """A population: how many mAIners of each type, how many LLMs each has."""

    own: int = 1
    llms_per_own: int = 2
    services: int = 1
    llms_per_service: int = 1
    agents: int = 2


def of_kind(number: int, kind: str) -> str:
    """Canisters of a type or role for people: "2 Own", "1 ShareAgent", "2 ShareAgents"."""
    return amount(number, kind if kind == "Own" else f"{kind}s")


def problem_of_llms(kind: Kind, llms: int) -> str:
    """Why a mAIner of this type would not work with so many LLMs; "" if it would."""
    if kind == "ShareAgent":
        return "a ShareAgent has no LLM: its ShareService has them" if llms else ""
    if llms < 1:
        return f"{llms} is too few: without an LLM it could answer nothing, and 04_test would fail"
    return f"{llms} is too many: a mAIner has at most {MOST_LLMS}" if llms > MOST_LLMS else ""


def problem_of_service(service_id: str | None, mainers: Sequence[Mainer]) -> str:
    """Why a ShareAgent would not work with this ShareService; "" if it would."""
    services = {mainer.controller_id: mainer for mainer in mainers if mainer.kind == "ShareService"}
    if not services:
        return "there is no ShareService yet: create one first, which answers for its ShareAgents"
    if service_id not in services:
        return "choose the ShareService that is to answer for it"
    return "" if services[service_id].llm_ids else "it has no LLM, so it could answer nothing: choose another"


def problem_of_plan(plan: Plan) -> str:
    """Why a population would not work, naming the field that is wrong; "" if it would."""
    for number, parameter, llms in (
        (plan.own, "llms_per_own", plan.llms_per_own),
        (plan.services, "llms_per_service", plan.llms_per_service),
    ):
        if number and llms < 1:
            return f"{parameter} is {llms}: without an LLM a mAIner could answer nothing, so ask for at least one"
    if plan.agents and not plan.services:
        return f"services is 0, but {plan.agents} ShareAgents need a ShareService: ask for at least one"
    return ""


def mainers(net: Network) -> list[Mainer]:
    """The mAIners that the creator made, in the order of their making."""
    return made_by(net.canister(CREATOR))


def made_by(creator: Canister) -> list[Mainer]:
    """The mAIners that this creator made, in the order of their making; a Challenger or a Judge is none of them."""
    numbers: Counter[str] = Counter()
    found = []
    for record in creator.getMainers():
        kind: Any = case(record["mainerAgentCanisterType"])
        if kind not in KINDS:
            continue
        numbers[kind] += 1
        llms = tuple(map(_llm, record["llms"] or ()))
        content = record["content"]
        found.append(
            Mainer(
                name=f"{kind} {numbers[kind]}",
                kind=kind,
                controller_id=record["controllerId"],
                owner=record["owner"],
                llm_ids=tuple(record["llmIds"]),
                share_service_id=record["shareServiceId"],
                llms=llms,
                skipped=tuple(content["skipped"]) if content else (),
                key=record["key"],
            )
        )
    return found


def _llm(record: dict[str, Any]) -> Llm:
    content, making = record["content"], _making(record["making"])
    if content is None:
        return Llm(record["canisterId"], None, "", "", None, (), record["key"], making)
    return Llm(
        canister_id=record["canisterId"],
        variant=content["model"],
        model_sha256=(content["modelSha256"] or b"").hex(),
        wasm_sha256=content["wasmSha256"].hex(),
        made=datetime.fromtimestamp(content["createdAt"] / 1e9, UTC),
        skipped=tuple(content["skipped"]),
        key=record["key"],
        making=making,
    )


def _making(record: dict[str, Any] | None) -> Making | None:
    if record is None:
        return None
    return Making(case(record["how"]), record["rounds"], record["nanoseconds"] / 1e9)


def name(net: Network, controller_id: str) -> str:
    """What to call the mAIner with this id; the id itself, if the creator did not make it."""
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
    """The mAIner with this id.

    Raises:
        ArgumentError: the creator did not make it.
    """
    known = mainers(net)
    for mainer in known:
        if mainer.controller_id == controller_id:
            return mainer
    ids = ", ".join(f"{mainer.controller_id} ({mainer.name})" for mainer in known)
    raise ArgumentError(f"no mAIner {controller_id} on network {net.name}; there are: {ids or 'none'}")


def answering_llm(mainers: Sequence[Mainer], controller_id: str, since: datetime) -> Llm | None:
    """An LLM with the model that answered what this mAIner took up at `since`.

    A ShareAgent's answers are those of its ShareService.

    Returns:
        None if that cannot be told: the LLMs have different models, or one was made or renewed later.
    """
    known = {mainer.controller_id: mainer for mainer in mainers}
    answering = known.get(controller_id)
    if answering and answering.share_service_id:
        answering = known.get(answering.share_service_id)
    llms = answering.llms if answering else ()
    if len({llm.model_sha256 for llm in llms}) != 1 or any(llm.made is None or llm.made > since for llm in llms):
        return None
    return llms[0]
