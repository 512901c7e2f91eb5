"""How mAIners differ from what the creator would make now, and which of their canisters do not work.

    for difference in differences.find(net, create.mainers(net)):
        print(difference)     # Own 1, LLM rrkah-fqaaa-aaaaa-aaaaq-cai: model tiny (7f…) instead of second (a0…)

Code is compared by the hash that the network certifies; the prompt format, the LLMs and the ShareService by what the
mAIner says; the model by what the creator gave the LLM.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from . import conditions, models, stopping, upload
from .canister import Canister, case
from .conditions import Condition
from .errors import CallError, CanisterError, PreconditionError, RejectError
from .models import ModelVariant
from .network import CREATOR, GAME_STATE, Network
from .population import Llm, Mainer
from .population import mainers as known_mainers

LLM = "llama_cpp"
UPLOAD_STEP = "notebooks/02_upload.ipynb (in Python: mainer_nb.upload.upload_all(net))"


@dataclass(frozen=True)
class Difference:
    """What is not as it would be made now. `canister_id`: the mAIner canister or LLM that differs; `what`: in
    which respect; `works`: whether the canister can do its work all the same.
    """

    mainer: Mainer
    canister_id: str
    what: str
    works: bool

    @property
    def of_llm(self) -> bool:
        return self.canister_id != self.mainer.controller_id

    def __str__(self) -> str:
        who = f"{self.mainer.name}, LLM" if self.of_llm else self.mainer.name
        return f"{who} {self.canister_id}: {self.what}"


@dataclass(frozen=True)
class Asked:
    """What the creator makes mAIners of now: sha256 as hex; `variant`: the model that was uploaded last, `prompt`: how
    it is asked, None if that was not set.
    """

    controller_wasm: str
    variant: ModelVariant
    model_sha256: str
    llm_wasm: str
    prompt: dict[str, Any] | None


def find(net: Network, mainers: Sequence[Mainer]) -> list[Difference]:
    """What of these mAIners is not what the creator would make now, or does not work.

    Raises:
        PreconditionError: the creator has not been given everything that mAIners are made of.
    """
    if not mainers:
        return []
    making, game_state = asked(net), net.canister(GAME_STATE)
    seen = conditions.of(net, [canister_id for mainer in mainers for canister_id in mainer.canister_ids])

    services = {mainer.controller_id for mainer in known_mainers(net) if mainer.kind == "ShareService"}

    def of(mainer: Mainer) -> list[Difference]:
        found = list(_of_controller(net, mainer, making, seen[mainer.controller_id], game_state))
        if mainer.kind == "ShareAgent" and mainer.share_service_id not in services:
            gone = f"its ShareService {mainer.share_service_id} is gone"
            found.append(Difference(mainer, mainer.controller_id, gone, works=False))
        for llm in mainer.llms:
            found += _of_llm(net, mainer, llm, making, seen[llm.canister_id])
        return found

    return [each for found in stopping.every(of, mainers, conditions.AT_ONCE) for each in found]


def asked(net: Network) -> Asked:
    """What the creator makes mAIners of now.

    Raises:
        PreconditionError: something was not uploaded yet.
    """
    creator = net.canister(CREATOR)
    held = {(file.target, file.model): file.sha256 for file in upload.stored(net)}
    variant = creator.getLatestModel()
    model = "" if variant is None else models.variant_text(variant)
    for target in (("MainerControllerWasm", ""), ("LlmModel", model), ("LlmWasm", model)):
        if target not in held:
            raise PreconditionError(
                f"the creator on network {net.name} has no {' '.join(target).strip()} yet: run {UPLOAD_STEP} first"
            )
    try:
        prompt = creator.getModelPromptFormat(variant)
    except CanisterError:
        prompt = None
    return Asked(held["MainerControllerWasm", ""], variant, held["LlmModel", model], held["LlmWasm", model], prompt)


def _of_controller(
    net: Network, mainer: Mainer, making: Asked, seen: Condition, game_state: Canister
) -> Iterator[Difference]:
    differs = partial(Difference, mainer, mainer.controller_id)
    if seen.problem:
        yield differs(seen.problem, works=False)
        return
    if seen.module_hash != making.controller_wasm:
        yield differs(f"code {_short(seen.module_hash)} instead of {_short(making.controller_wasm)}", works=True)
    controller = net.canister_at(mainer.controller_id, upload.CONTROLLER)
    for what, answer, right in (
        ("type", lambda: case(controller.getMainerCanisterType()), mainer.kind),
        ("Game State", controller.getGameStateCanisterId, game_state.canister_id),
        ("ShareService", controller.getShareServiceCanisterId, mainer.share_service_id or ""),
    ):
        if right and (found := _answer(answer)) != right:
            yield differs(f"{what} {found or 'none'} instead of {right}", works=False)
    if _answer(lambda: game_state.getMainerAgentCanisterInfo({"address": mainer.controller_id})) is None:
        yield differs("the Game State does not know it", works=False)
    form = _answer(controller.getPromptFormat) if mainer.llms else None
    if form and making.prompt and form != making.prompt:
        yield differs(f"asks its LLMs with {_form(form)} instead of {_form(making.prompt)}", works=True)
    listed = _answer(controller.getLlmCanisters)
    for llm_id in mainer.llm_ids if listed is not None else ():
        if llm_id not in listed:
            yield differs(f"its LLM {llm_id} is not in its list", works=False)


def _of_llm(net: Network, mainer: Mainer, llm: Llm, making: Asked, seen: Condition) -> Iterator[Difference]:
    differs = partial(Difference, mainer, llm.canister_id)
    if seen.problem:
        yield differs(seen.problem, works=False)
        return
    if seen.module_hash != making.llm_wasm:
        yield differs(f"code {_short(seen.module_hash)} instead of {_short(making.llm_wasm)}", works=True)
    if llm.model_sha256 != making.model_sha256:
        found = f"{llm.model} ({_short(llm.model_sha256)})" if llm.model_sha256 else "unknown"
        wanted = f"{models.variant_text(making.variant)} ({_short(making.model_sha256)})"
        yield differs(f"model {found} instead of {wanted}", works=True)
    try:
        net.canister_at(llm.canister_id, LLM).ready()
    except CallError:
        yield differs("has no model loaded", works=False)


def _answer(ask: Callable[[], Any]) -> Any:
    """What a canister answers; None if it does not: a mAIner of the known interface lacks some methods."""
    try:
        return ask()
    except (RejectError, CanisterError):
        return None


def _short(sha256: str | None) -> str:
    return f"{sha256[:8]}…" if sha256 else "none"


def _form(form: dict[str, Any]) -> str:
    return repr(f"{form['prefix']}…{form['suffix']}")
