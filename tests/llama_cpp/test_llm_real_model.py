"""The default model in the canister."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from llm_canister import load, upload

from mainer_nb import artifacts
from mainer_nb.canister import Canister

UPDATE_INSTRUCTIONS = 40_000_000_000  # mainnet's limit for one update call


@pytest.mark.model
def test_the_default_model_knows_the_capital_of_france(install: Callable[[], Canister]) -> None:
    llm = install()
    data = artifacts.model().data()
    assert upload(llm, data) == len(data)
    load(llm)
    cost = llm.measure_token_cost()
    tokens = int(0.75 * UPDATE_INSTRUCTIONS / cost["instructions_per_generated_token"])
    assert tokens >= 10
    llm.set_max_tokens({"max_tokens_update": tokens, "max_tokens_query": 1})
    args = ["--prompt-cache", "p", "--prompt-cache-all", "--temp", "0", "-r", "\n", "-n", "16"]
    answer = llm.run_update({"args": [*args, "-p", "Question: What is the capital of France?\nAnswer:"]})
    assert answer["output"].strip() == "Paris"
    assert answer["generated_eog"]
    assert answer["prompt_remaining"] == ""
