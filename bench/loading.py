"""Loading a model into an LLM canister: messages, instructions and cycles, for the default model and one beyond 2 GiB.

    python bench/loading.py [--quick]

The one beyond 2 GiB is a small model with as many zeros among its weights: it must say what the small one says. While
it is measured it takes some 10 GB of disk.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measure
import stage  # finds tiny_gguf and llm_canister among the tests
from inside import Inside, Message, messages, served
from measure import Figure

from mainer_nb import artifacts, management
from mainer_nb.localnet import limits
from tests import tiny_gguf
from tests.llm_canister import MODEL, load, seen_by, upload

WIDTH, NEURONS = 2048, 176 * 1024
SAY = ["-p", "Hello", "-n", "4", "--temp", "0", "--ignore-eos"]
QUICK = ["--weights-per-message", "100000"]


@dataclass(frozen=True)
class Loaded:
    """What loading took, and what the model then says. `size`: of the file, in bytes."""

    size: int
    messages: list[Message]
    seconds: float
    text: str

    @property
    def instructions(self) -> int:
        return sum(message.instructions for message in self.messages)


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    with measure.own_places() as folder, served(folder) as inside:
        default = _loaded(inside, stage.model(folder, chosen.quick).path, [])
        small = tiny_gguf.write(folder / "small.gguf", **_shape(chosen.quick))
        large = tiny_gguf.write(folder / "large.gguf", **_shape(chosen.quick), padding=64 if chosen.quick else NEURONS)
        expected = _loaded(inside, small, [])
        found = _loaded(inside, large, QUICK if chosen.quick else [])
    assert found.text == expected.text, f"the large model says {found.text!r}, the small one {expected.text!r}"
    assert len(found.messages) > 2, "it was loaded in one message"
    longest = max(message.instructions for message in default.messages + found.messages)
    figures = [
        Figure(
            "the longest message of loading", longest / 1e9, "billion instructions",
            target=limits.UPDATE_LIMIT / 1e9, lower_is_better=True, note="the target is mainnet's limit",
        ),
        Figure(
            "the default model, loaded", default.instructions / default.size, "instructions/byte",
            note=f"{default.size / 1e6:.0f} MB, {default.seconds:.1f} s, {len(default.messages)} message(s)",
        ),
        Figure(
            "a large model, loaded", found.instructions / found.size, "instructions/byte",
            note=f"{found.size / 2**30:.2f} GiB, {found.seconds:.1f} s, {len(found.messages)} messages",
        ),
    ]  # fmt: skip
    measure.report("loading", "Loading a model into an LLM canister", figures, chosen)


def _shape(quick: bool) -> dict[str, Any]:
    return {"width": 64 if quick else WIDTH, "quantization": tiny_gguf.Quantization.Q8_0}


def _loaded(inside: Inside, gguf: Path, arguments: Sequence[str]) -> Loaded:
    """Loads the model into a canister of its own, which is deleted afterwards."""
    agent = inside.net.agent
    canister_id = management.create_canister(agent, 1000 * management.TRILLION)
    management.install_code(agent, canister_id, artifacts.llm_wasm().data(), "install")
    llm = seen_by(agent, canister_id)
    with gguf.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        upload(llm, data)
    with messages() as seen:
        seconds = measure.seconds_of(lambda: load(llm, MODEL, *arguments))
    text = llm.run_update({"args": SAY})["output"]
    management.stop(agent, canister_id)
    management.delete(agent, canister_id)
    return Loaded(gguf.stat().st_size, seen, seconds, text)


if __name__ == "__main__":
    main()
