"""A fleet upgraded: how long a mAIner is away, how many a second, how long an LLM takes that keeps its model.

python bench/upgrade.py [--quick]
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path

import measure
import stage
from measure import Figure

from mainer_nb import artifacts, create, fleet, operate, upload
from mainer_nb.fleet import Fleet, Role, upgrade
from mainer_nb.fleet.switch import Upgraded
from mainer_nb.network import CREATOR, Network
from tests import code_variants

CYCLES_EACH = 4 * stage.T
AT_ONCE = 4


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    many = 10 if chosen.quick else 50
    with measure.network() as net, tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        gguf = stage.model(folder, chosen.quick)
        own = stage.own_mainer(net, gguf, llms=2)
        llms = fleet.of(net).only(own.llm_ids)
        exchanged = _upgraded(net, llms, "LLM", _variant(folder, "LLM"))
        operate.top_up(net, net.canister_id(CREATOR), many * CYCLES_EACH)
        for _ in range(many - 1):
            create.create_mainer(net, "Own")
        whole = fleet.of(net)
        mainers = whole.only(member.canister_id for member in whole.mainers)
        code = _variant(folder, "Own")
        planned = upgrade.plan(net, mainers, {"Own": code})
        report: list[Upgraded] = []
        seconds = measure.seconds_of(lambda: report.extend(_run(net, planned)))
    away = [row.away for row in report if row.away is not None]
    answered = [row.away for row in exchanged if row.away is not None]
    figures = [
        Figure("mAIners upgraded, 4 at a time", many / seconds, "/s", note=f"{many} mAIners in {seconds:.1f} s"),
        Figure(
            "a mAIner is away, median", statistics.median(away), "s",
            note=f"at most {max(away):.1f} s, when its code is compiled",
        ),
        Figure(
            "an LLM is away, answers at the end", min(answered), "s",
            note=f"{gguf.size / 1e6:.0f} MB of model stay; the first one took {max(answered):.1f} s with compiling",
        ),
    ]  # fmt: skip
    measure.report("upgrade", "A fleet upgraded", figures, chosen)


def _variant(folder: Path, role: Role) -> Path:
    """The shipped code for a role, with another hash."""
    shipped = artifacts.llm_wasm() if role == "LLM" else artifacts.canister_wasm(upload.CONTROLLER)
    path = folder / f"{role}.wasm"
    path.write_bytes(code_variants.marked(shipped.data(), "measured"))
    return path


def _upgraded(net: Network, some: Fleet, role: Role, code: Path) -> list[Upgraded]:
    return _run(net, upgrade.plan(net, some, {role: code}))


def _run(net: Network, planned: upgrade.UpgradePlan) -> list[Upgraded]:
    rows = upgrade.run(net, planned, carry_out=True, at_once=AT_ONCE).rows
    assert {row.outcome for row in rows} == {"upgraded"}, rows
    return list(rows)


if __name__ == "__main__":
    main()
