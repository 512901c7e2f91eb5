"""Twenty LLM canisters on one network: whether all answer, two at once against one, and what memory and disk they take.

python bench/many_llms.py [--quick]
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import measure
import stage
from measure import Figure

from mainer_nb import create, operate, places
from mainer_nb.canister import Canister
from mainer_nb.network import CREATOR, connect

AT_ONCE = 2  # as many as the smallest machine has processors
CYCLES_EACH = 6 * stage.T
GB = 1e9


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    many, tokens = (4, 4) if chosen.quick else (20, 20)
    with measure.own_places() as folder:
        net = connect()
        stage.uploaded(net, stage.model(folder, chosen.quick))
        operate.top_up(net, net.canister_id(CREATOR), many * CYCLES_EACH)
        before = measure.disk(places.state())
        making = measure.seconds_of(lambda: create.ensure(net, create.Plan(1, many, 0, 0, 0)))
        (own,) = create.mainers(net)
        llms = [stage.llm(net, llm_id) for llm_id in own.llm_ids]
        alone = measure.seconds_of(lambda: [_answer(llm, tokens) for llm in llms])
        with ThreadPoolExecutor(AT_ONCE) as pool:
            both = measure.seconds_of(lambda: list(pool.map(lambda llm: _answer(llm, tokens), llms)))
        memory, disk = measure.memory(), measure.disk(places.state()) - before
        net.close()
    figures = [
        Figure(f"{len(llms)} LLM canisters made", making, "s"),
        Figure(
            "answers, two canisters at once", len(llms) / both, "/s", "one after the other", len(llms) / alone,
            target=1.8, note=f"{tokens} tokens each; every canister answered",
        ),
        Figure("memory of the network's process", memory / GB, "GB"),
        Figure("disk, beyond what the creator has", disk / GB, "GB"),
    ]  # fmt: skip
    measure.report("many_llms", f"{many} LLM canisters on one network", figures, chosen)


def _answer(llm: Canister, tokens: int) -> str:
    args = ["-n", str(tokens), "--temp", "0", "--ignore-eos", "-p", "The capital"]
    said: str = llm.run_update({"args": args})["output"]
    assert said, llm.canister_id
    return said


if __name__ == "__main__":
    main()
