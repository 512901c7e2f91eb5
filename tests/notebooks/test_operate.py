"""06_operate: headless after the other notebooks, and its panel in JupyterLab."""

from __future__ import annotations

import nbformat

from mainer_nb import create, management, network, run
from mainer_nb.fleet import samples


def outputs(result: run.Result, name: str) -> str:
    """All that a person reads in the outputs of a notebook that ran."""
    cells = nbformat.read(result.folder / f"{name}.ipynb", as_version=4).cells
    found = [output for cell in cells for output in cell.get("outputs", [])]
    return "\n".join(each.get("text") or each.get("data", {}).get("text/plain", "") for each in found)


def test_the_fleet_is_watched_after_the_other_notebooks(after_first_run: run.Result) -> None:
    net = network.connect()
    before = len(samples.read(net))
    result = run.run(["06"], {"looks": 2, "look_seconds": 0, "days": 1})
    assert result.ok, result.failure
    shown = outputs(result, "06_operate")
    mainers = create.mainers(net)
    canisters = 2 + sum(len(mainer.canister_ids) for mainer in mainers)
    assert f"None of {canisters} canisters is out of bounds." in shown
    assert len(samples.read(net)) == before + 2 * canisters
    for mainer in mainers:
        assert all(canister_id in shown for canister_id in mainer.canister_ids)
    assert "mainer_canister_cycles{" in shown
    assert "freezes first, in" in shown


def test_a_canister_out_of_bounds_fails_the_run_and_is_named(after_first_run: run.Result) -> None:
    net = network.connect()
    own = create.mainers(net)[0]
    management.stop(net.agent, own.llm_ids[0])
    try:
        result = run.run(["06"], {"looks": 1, "days": 1})
    finally:
        management.start(net.agent, own.llm_ids[0])
    assert not result.ok
    assert f"{own.name}, LLM 1 ({own.llm_ids[0]}) is stopped" in result.failure
