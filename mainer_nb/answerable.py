"""Whether any mAIner can answer a question, told before a challenge is opened with it.

A mAIner puts topic and question into its prompt, which must fit into the context of its LLM and into the calls that it
makes for one answer. The LLM canister itself counts the tokens, with the model's own tokenizer.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import population
from .canister import Canister
from .errors import ArgumentError, CallError, PreconditionError
from .network import GAME_STATE, Network
from .upload import CONTROLLER

# As in canisters/mainer_ctrlb/main.mo.
WORDS = "Give as brief an answer as possible to this question about {topic}: {question}"
CALLS = 30  # of run_update for one answer


@dataclass(frozen=True)
class Measured:
    """A prompt at an LLM.

    Attributes:
        tokens: that the prompt has.
        room: tokens that a prompt may have there.
    """

    llm_id: str
    tokens: int
    room: int


def check(net: Network, topic: str, question: str) -> None:
    """Do nothing, unless it is known that no mAIner can answer, or that the Game State refuses the question's length.

    Where an LLM cannot be asked (another identity's, or of the original interface, which counts no tokens), nothing is
    known, and nothing is refused.

    Raises:
        ArgumentError: too long, with the number and the limit.
    """
    _check_bytes(net, topic, question)
    measured = []
    for mainer in _mainers(net):
        for llm_id in mainer.llm_ids:
            found = _measured(net, mainer.controller_id, llm_id, topic, question)
            if found is None or found.tokens <= found.room:
                return
            measured.append(found)
    if measured:
        best = max(measured, key=lambda each: each.room - each.tokens)
        raise ArgumentError(
            f"no mAIner can answer this question: with topic and prompt it has {best.tokens} tokens, "
            f"and LLM {best.llm_id} takes at most {best.room}. Shorten topic or question. "
            f'The question begins "{question[:60]}"'
        )


def _check_bytes(net: Network, topic: str, question: str) -> None:
    try:
        limits = net.canister(GAME_STATE).getGameStateLimitsAdmin()
    except CallError:  # not its controller, or a Game State of the original interface: it says so itself, or not at all
        return
    for what, text, key in (("topic", topic, "maxTopicBytes"), ("question", question, "maxQuestionBytes")):
        size = len(text.encode())
        if size > limits[key]:
            raise ArgumentError(
                f"the {what} has {size} bytes, and the Game State takes at most {limits[key]}: shorten it, "
                f"or raise {key} with setGameStateLimitsAdmin"
            )


def _mainers(net: Network) -> list[population.Mainer]:
    try:
        return population.mainers(net)
    except (CallError, PreconditionError):  # no creator here, or none that tells
        return []


def _measured(net: Network, controller_id: str, llm_id: str, topic: str, question: str) -> Measured | None:
    """The prompt at this LLM; None if it cannot be told."""
    controller: Canister = net.canister_at(controller_id, CONTROLLER)
    try:
        form = controller.getPromptFormat()
        prompt = f"{form['prefix']}{WORDS.format(topic=topic, question=question)}{form['suffix']}"
        size = net.canister_at(llm_id, "llama_cpp").measure_prompt({"args": ["-p", prompt]})
    except CallError:
        return None
    in_calls = CALLS * size["max_tokens_update"] or size["room"]
    return Measured(llm_id, size["tokens"], min(size["room"], in_calls))
