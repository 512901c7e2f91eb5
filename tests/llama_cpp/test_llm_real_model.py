"""The default model in the canister."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from mainer_nb import artifacts
from mainer_nb.canister import Canister
from tests.llm_canister import load, run, upload

pytestmark = pytest.mark.model

UPDATE_INSTRUCTIONS = 40_000_000_000  # mainnet's limit for one update call
QUESTION = "Question: What is the capital of France?\nAnswer:"
ANSWER = ["--temp", "0", "--reverse-prompt", "\n", "-n", "16", "-p", QUESTION]


@pytest.fixture(scope="module")
def real(install: Callable[[], Canister]) -> Canister:
    """A canister with the default model."""
    llm = install()
    data = artifacts.model().data()
    assert upload(llm, data) == len(data)
    load(llm)
    return llm


def test_it_knows_the_capital_of_france(real: Canister) -> None:
    cost = real.measure_token_cost()
    tokens = int(0.75 * UPDATE_INSTRUCTIONS / cost["instructions_per_generated_token"])
    assert tokens >= 10
    real.set_max_tokens({"max_tokens_update": tokens, "max_tokens_query": 0})
    answer = real.run_update({"args": ["--prompt-cache", "p", "--prompt-cache-all", *ANSWER]})
    assert answer["output"].strip() == "Paris"
    assert answer["generated_eog"]
    assert answer["prompt_remaining"] == ""


def test_calls_without_a_token_limit_end_before_the_instruction_limit(real: Canister) -> None:
    real.set_max_tokens({"max_tokens_update": 0, "max_tokens_query": 0})
    assert real.run_query({"args": ANSWER})["output"].strip() == "Paris"
    endless = real.run_query({"args": ["--temp", "0", "-p", QUESTION]})
    assert endless["output"]
    assert not endless["generated_eog"]
    long = "The quick brown fox jumps over the lazy dog. " * 40
    args = ["--prompt-cache", "long", "--prompt-cache-all", "--temp", "0", "-n", "4", "-p", long]
    first = real.run_update({"args": args})
    assert first["prompt_remaining"]
    assert long.endswith(first["prompt_remaining"])
    calls = 1
    while (answer := real.run_update({"args": args}))["prompt_remaining"]:
        calls += 1
    assert calls < 5
    assert "fox" in answer["output"] or "quick" in answer["output"]


JSON = """
root   ::= "{" space pair ("," space pair){2} "}"
pair   ::= string ":" space (string | number) space
string ::= "\\"" [^"\\\\\\n]{1,20} "\\"" space
number ::= "-"? [0-9]{1,4} ("." [0-9]{1,2})?
space  ::= " "?
"""


def test_a_grammar_makes_the_answer_what_it_allows_within_the_instruction_limits(real: Canister) -> None:
    real.set_max_tokens({"max_tokens_update": 0, "max_tokens_query": 0})
    score = real.run_query({"args": ["--temp", "0", "-p", "Grade from 1 to 5:", "--grammar", "root ::= [1-5]"]})
    assert score["output"] in {"1", "2", "3", "4", "5"}
    assert score["generated_eog"]
    assert run(real, "--temp", "0", "-p", QUESTION, "--grammar", 'root ::= " Paris" | " Lyon"')["output"] == " Paris"
    args = ["--prompt-cache", "json", "--prompt-cache-all", "--seed", "1", "--grammar", JSON, "-p"]
    text, rest, ended = "", "Three facts on France as JSON:\n", False
    while not ended:
        answer = run(real, *args, rest)
        text, ended = text + answer["output"], answer["generated_eog"]
        rest = rest if answer["prompt_remaining"] else ""
    assert len(json.loads(text)) <= 3
