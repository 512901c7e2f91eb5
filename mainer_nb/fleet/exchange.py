"""Another model for LLMs that are there, without touching their code.

    exchange.exchange(net, whole, "tiny")                      # the plan; nothing is done
    exchange.exchange(net, whole, "tiny", carry_out=True)      # one LLM of a mAIner after the other

The creator copies the model file to an LLM while that answers with its old model. Then the LLM leaves its mAIner's
rotation, ends its answer, loads the new model and is asked a question. If it does not answer, it goes on with the old
model, and no further LLM is begun. A mAIner without another LLM is in maintenance meanwhile, so that its queue waits.
Repeated, it does what is left.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from .. import conditions, create, population, stopping
from ..canister import Canister, case
from ..conditions import Condition
from ..errors import ArgumentError, CanisterError, MainerError, PreconditionError, RejectError
from ..localnet import cycles as prices
from ..models import ModelVariant, variant_text
from ..network import CREATOR, Network
from ..population import Llm
from ..progress import Progress, Silent, amount
from .members import AT_ONCE, Fleet, Member, canister, offers

#: "to do" is what is planned; "not begun": after another LLM had failed.
ChangeState = Literal["left alone", "has it", "to do", "not possible", "exchanged", "failed", "not begun"]

MOST_FILES = 8 << 30  # bytes of all files of an LLM canister
CHUNK = 1_900_000  # bytes of a model file in a call
SECONDS_BETWEEN_ORDERS = 2.0  # to a creator that is waiting for an LLM; it keeps a list of them
UPLOAD = "mainer_nb.upload.upload_all(net, model)"


@dataclass(frozen=True)
class ModelChange:
    """The model of an LLM.

    Attributes:
        before: the model that it has, as the creator knows it; "" if it does not.
        detail: why it cannot be done, what failed, or what the creator says of it.
        seconds: that it was out of its mAIner's rotation.
    """

    member: Member
    before: str
    state: ChangeState
    detail: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class ModelExchange:
    """An exchange, planned or carried out.

    Attributes:
        model: the new one, as the creator calls it; "" if none is wanted.
        size: bytes of its file.
        sha256: of its file, hex.
        cycles: that copying it costs the creator, for all LLMs that are to do.
    """

    model: str
    size: int
    sha256: str
    changes: tuple[ModelChange, ...]
    cycles: int

    def of_state(self, *states: ChangeState) -> tuple[ModelChange, ...]:
        """The LLMs of which this is so."""
        return tuple(change for change in self.changes if change.state in states)


@dataclass(frozen=True)
class _ModelFile:
    variant: ModelVariant
    size: int
    sha256: str


def exchange(
    net: Network, fleet: Fleet, model: str | None, *, carry_out: bool = False, progress: Progress | None = None
) -> ModelExchange:
    """Have the LLMs of a fleet answer with another model, which the creator has.

    Args:
        model: its name at the creator; None: all are left alone.
        carry_out: otherwise the plan is returned and nothing is done.

    Raises:
        ArgumentError: the fleet has no LLM.
        PreconditionError: the creator does not have the model, or cannot exchange models; or it is to be carried out,
            and is not possible for an LLM.
        CanisterError: Unauthorized, if the caller is no controller of the creator.
    """
    members, made = fleet.of_role("LLM"), _made(net)
    if model is None:
        return ModelExchange("", 0, "", tuple(ModelChange(llm, _before(llm, made), "left alone") for llm in members), 0)
    if not members:
        raise ArgumentError("the fleet has no LLM: choose a mAIner of type Own or ShareService with its LLMs")
    creator = net.canister(CREATOR)
    if not offers(canister(net, creator.canister_id), "exchangeModelAdmin"):
        raise PreconditionError("the creator's code is older than this: upgrade it with mainer_nb.deploy.deploy(net)")
    creator.amiController()
    file = _held(creator, model)
    plan = _planned(net, members, made, model, file)
    if not carry_out:
        return plan
    if impossible := plan.of_state("not possible"):
        reasons = "; ".join(f"{change.member.name}: {change.detail}" for change in impossible)
        raise PreconditionError(f"{reasons}. Nothing was done. Leave these out, or mend that first.")
    return _carried_out(creator, plan, file.variant, progress)


def _held(creator: Canister, model: str) -> _ModelFile:
    """The model file of this name that the creator has."""
    held = {}
    for record in creator.getArtefacts():
        if case(record["target"]) == "LlmModel":
            variant = record["target"]["LlmModel"]
            held[variant_text(variant)] = _ModelFile(variant, record["size"], record["sha256"].hex())
    if model not in held:
        there = ", ".join(held) or "none"
        raise PreconditionError(f"the creator has no model {model!r}; it has: {there}. Upload it first: {UPLOAD}")
    return held[model]


def _made(net: Network) -> dict[str, Llm]:
    """The LLMs that the project's creator made, if it has one here that answers, by id."""
    try:
        return {llm.canister_id: llm for mainer in population.mainers(net) for llm in mainer.llms}
    except (PreconditionError, RejectError):
        return {}


def _before(member: Member, made: Mapping[str, Llm]) -> str:
    llm = made.get(member.canister_id)
    return llm.model if llm else ""


def _planned(
    net: Network, members: Sequence[Member], made: Mapping[str, Llm], name: str, file: _ModelFile
) -> ModelExchange:
    seen = conditions.of(net, [member.canister_id for member in members])

    def of(member: Member) -> ModelChange:
        llm, before = made.get(member.canister_id), _before(member, made)
        if problem := _problem(llm, member, seen[member.canister_id], file):
            return ModelChange(member, before, "not possible", problem)
        has_it = llm is not None and llm.model_sha256 == file.sha256 and _in_rotation(net, member)
        return ModelChange(member, before, "has it" if has_it else "to do")

    changes = tuple(stopping.every(of, members, AT_ONCE))
    to_do = [change for change in changes if change.state == "to do"]
    price = file.size * prices.CALL_BYTE + -(-file.size // CHUNK) * (prices.CALL + prices.UPDATE_MESSAGE_EXECUTION)
    return ModelExchange(name, file.size, file.sha256, changes, len(to_do) * price)


def _problem(llm: Llm | None, member: Member, seen: Condition, file: _ModelFile) -> str:
    if llm is None or member.parent is None:
        return "the creator on this network did not make it"
    if seen.problem:
        return f"it {seen.problem}"
    if file.size > MOST_FILES // 2:
        return f"the model has {file.size:,} bytes, and its files, old and new, have room for {MOST_FILES:,} together"
    return ""


def _in_rotation(net: Network, llm: Member) -> bool:
    """Whether an LLM is in its mAIner's list, as far as the mAIner tells."""
    assert llm.parent is not None
    mainer = canister(net, llm.parent)
    return not offers(mainer, "getLlmCanisters") or llm.canister_id in mainer.getLlmCanisters()


def _carried_out(
    creator: Canister, plan: ModelExchange, variant: ModelVariant, progress: Progress | None
) -> ModelExchange:
    to_do = plan.of_state("to do")
    mainers = list(dict.fromkeys(change.member.parent for change in to_do))
    failed = threading.Event()
    done: dict[str, ModelChange] = {}

    def of_mainer(mainer_id: str | None) -> None:
        for change in to_do:
            if change.member.parent == mainer_id:
                result = replace(change, state="not begun") if failed.is_set() else _exchanged(creator, change, variant)
                done[change.member.canister_id] = result
                if result.state == "failed":
                    failed.set()
                task.advance(1)

    name = f"exchange the model of {amount(len(to_do), 'LLMs')} for {plan.model}"
    with (progress or Silent()).task(name, len(to_do), "LLMs", steady=True) as task:
        stopping.every(of_mainer, mainers, create.LLMS_AT_ONCE)
    return replace(plan, changes=tuple(done.get(change.member.canister_id, change) for change in plan.changes))


def _exchanged(creator: Canister, change: ModelChange, variant: ModelVariant) -> ModelChange:
    order = {"address": change.member.canister_id, "selectedModel": variant}
    since = time.monotonic()
    try:
        _ask_until_done(creator.copyModelToLlmAdmin, order)
        since = time.monotonic()
        said = _ask_until_done(creator.exchangeModelAdmin, order)["creationResult"]
    except MainerError as error:
        return replace(change, state="failed", detail=str(error), seconds=time.monotonic() - since)
    return replace(change, state="exchanged", detail=str(said), seconds=time.monotonic() - since)


def _ask_until_done(method: Callable[..., Any], order: dict[str, Any]) -> Any:
    """What the creator answers to an order once it is not at it any more."""
    while True:
        try:
            return method(order, timeout=create.CREATION_TIMEOUT)
        except CanisterError as error:
            if (error.variant, error.value) != create.UNDER_WAY:
                raise
        stopping.pause(SECONDS_BETWEEN_ORDERS)
