"""Models that think: the answer that is submitted has no thoughts, whatever their form."""

from __future__ import annotations

import pytest

from mainer_nb.errors import CanisterError
from tests import scripted_llm
from tests.mainer_canisters import PROMPT_FORMAT, TRILLION, Protocol

SUFFIX = "<|im_end|>\n<|im_start|>assistant\n"
CHAT = {**PROMPT_FORMAT, "suffix": SUFFIX, "stop": []}


def answer(protocol: Protocol, text: str, suffix: str = SUFFIX, finished: bool = True) -> str:
    """What is submitted when a model says `text`."""
    own = protocol.mainer("Own")
    own.setPromptFormat({**CHAT, "suffix": suffix})
    own.add_llm_canister({"canister_id": scripted_llm.install(protocol.owner, TRILLION, text, finished=finished)})
    protocol.open_challenge()
    own.triggerChallengeResponseAdmin()
    (one,) = own.getSubmittedResponsesAdmin()
    return str(one["challengeAnswer"])


@pytest.mark.parametrize(
    ("said", "submitted"),
    [
        ("Paris", "Paris"),
        ("<think>\n\n</think>\n\nParis", "Paris"),
        ("<think>\nFrance, so\nParis?\n</think>\n\nParis", "Paris"),
        ("France, so Paris?\n</think>\nParis", "Paris"),  # begun in the prompt, or by a token that is not shown
        ("<think>a <think>b</think> c</think>Paris", "Paris"),
        ("<think>one</think>Paris<think>and two</think>, France", "Paris, France"),
        ("Paris\n<think>or is it", "Paris"),
        ("[THINK]France?[/THINK]Paris", "Paris"),
        ("<|channel|>analysis<|message|>France?<|end|><|start|>assistant<|channel|>final<|message|>Paris", "Paris"),
        ("<thought>France?</thought>Paris", "Paris"),
        ("<reasoning>France?</reasoning>\nParis", "Paris"),
        ("2 < 3 and 3 > 2", "2 < 3 and 3 > 2"),
    ],
)
def test_thoughts_are_no_part_of_the_answer(supplied: Protocol, said: str, submitted: str) -> None:
    assert answer(supplied, said) == submitted


def test_thoughts_that_the_prompt_begins_end_with_their_marker(supplied: Protocol) -> None:
    assert answer(supplied, "France?</think>\n\nParis", suffix=SUFFIX + "<think>\n") == "Paris"


@pytest.mark.parametrize(
    ("said", "cue"),
    [
        ("<think>France, so Paris", ""),
        ("<|channel|>analysis<|message|>France, so Paris", ""),
        ("[THINK]France, so Paris", ""),
        ("France, so Paris", "<think>\n"),
    ],
)
def test_unfinished_thoughts_are_no_answer(supplied: Protocol, said: str, cue: str) -> None:
    with pytest.raises(CanisterError, match="nothing but thoughts"):
        answer(supplied, said, SUFFIX + cue, finished=False)
    assert supplied.game_state.getSubmissionsAdmin() == []
