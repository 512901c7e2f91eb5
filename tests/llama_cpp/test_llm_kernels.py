"""The canister's own matrix multiplication: a quantized model says what the same numbers say as floats."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_gguf
from llm_canister import load, upload
from tiny_gguf import Quantization

from mainer_nb.canister import Canister

TEXT = "A prompt of some tokens, which are evaluated several at a time."
PROMPTS = [TEXT[:length] for length in range(1, 61, 3)]


@pytest.mark.parametrize(
    "quantization", [Quantization.Q8_0, Quantization.Q5_0, Quantization.Q4_0, Quantization.Q4_K, Quantization.Q6_K]
)
def test_a_quantized_model_says_what_its_numbers_say(llm: Canister, tmp_path: Path, quantization: Quantization) -> None:
    def say(as_float: bool) -> list[str]:
        model = tiny_gguf.write(
            tmp_path / "model.gguf", seed=1, width=256, quantization=quantization, as_float=as_float
        )
        upload(llm, model.read_bytes(), "quantized.gguf")
        load(llm, "quantized.gguf")
        args = ["--temp", "0", "--ignore-eos", "-n", "1"]
        return [llm.run_update({"args": [*args, "-p", prompt]})["output"] for prompt in PROMPTS]

    floats, quantized = say(as_float=True), say(as_float=False)
    load(llm)
    assert len(set(floats)) > 4
    # what goes through the layers is rounded to 8 bits, so that a close decision may go the other way
    same = sum(one == other for one, other in zip(floats, quantized, strict=True))
    assert same >= 0.8 * len(PROMPTS)
