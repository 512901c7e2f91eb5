"""06_operate: headless after the other notebooks, and its panel in JupyterLab."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from mainer_nb import artifacts, create, management, network, operate, places, run, upload
from mainer_nb.fleet import rehearse, samples, work
from tests import chromium, jupyter_lab, needed
from tests.code_variants import marked

from .conftest import run_all

SOON = 60 * jupyter_lab.SECONDS


def outputs(result: run.Result, name: str) -> str:
    """All that a person reads in the outputs of a notebook that ran."""
    cells = nbformat.read(result.folder / f"{name}.ipynb", as_version=4).cells
    found = [output for cell in cells for output in cell.get("outputs", [])]
    return "\n".join(each.get("text") or each.get("data", {}).get("text/plain", "") for each in found)


@pytest.fixture(scope="module")
def first_run(use: Callable[[Path], None], tmp_path_factory: pytest.TempPathFactory) -> tuple[run.Result, Path]:
    """On a network of its own: other tests make mAIners, which would be part of the fleet."""
    state = tmp_path_factory.mktemp("state")
    return run_all(state, use), state


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


def test_nothing_is_changed_unless_a_parameter_says_so(after_first_run: run.Result) -> None:
    net = network.connect()
    before = create.mainers(net)
    remove_member = before[0].name
    result = run.run(["06"], {"looks": 1, "days": 1, "remove_member": remove_member})
    assert result.ok, result.failure
    shown = outputs(result, "06_operate")
    assert "Every canister has enough." in shown
    assert "to remove" in shown
    assert "no timers were stopped or started" in shown
    assert "nothing is wrong" in shown
    assert create.mainers(net) == before


def test_a_fleet_is_filled_paused_resumed_and_made_smaller(after_first_run: run.Result) -> None:
    net = network.connect()
    extra = create.create_mainer(net, "Own")
    operate.start_timers(net, extra.controller_id)
    done = {"looks": 1, "days": 1, "refill_now": True, "withdraw_now": True, "remove_now": True, "mend_now": True}
    paused = run.run(["06"], {**done, "timers": "pause", "refill_days": 36_000})
    assert paused.ok, paused.failure
    assert "cycles were given" in outputs(paused, "06_operate")
    assert (found := work.of(net, extra.controller_id)) is not None
    assert not found.timers
    resumed = run.run(["06"], {**done, "timers": "resume", "remove_member": extra.name, "refill_days": 36_000})
    assert resumed.ok, resumed.failure
    assert "its timers are started" in outputs(resumed, "06_operate")
    assert extra.controller_id not in {mainer.controller_id for mainer in create.mainers(net)}
    assert not management.exists(net.agent, extra.controller_id)


def test_the_fleet_is_upgraded_if_told_to(after_first_run: run.Result) -> None:
    net = network.connect()
    own = create.mainers(net)[0]
    shipped = artifacts.canister_wasm(upload.CONTROLLER)
    management.install_code(net.agent, own.controller_id, marked(shipped.data(), "other"), "upgrade")
    shown = outputs(run.run(["06"], {"looks": 1, "days": 1}), "06_operate")
    assert "1 canister would be upgraded." in shown
    assert management.module_hash(net.agent, own.controller_id) != shipped.sha256
    result = run.run(["06"], {"looks": 1, "days": 1, "upgrade_now": True})
    assert result.ok, result.failure
    assert "1 canister upgraded." in outputs(result, "06_operate")
    assert management.module_hash(net.agent, own.controller_id) == shipped.sha256


def test_an_upgrade_is_rehearsed_on_a_copy_if_told_to(after_first_run: run.Result) -> None:
    net = network.connect()
    own = create.mainers(net)[0]
    shipped = artifacts.canister_wasm(upload.CONTROLLER)
    other = marked(shipped.data(), "another")
    management.install_code(net.agent, own.controller_id, other, "upgrade")
    before = management.module_hash(net.agent, own.controller_id)
    try:
        shown = outputs(run.run(["06"], {"looks": 1, "days": 1, "rehearse_now": True}), "06_operate")
        assert re.search(r"\d+ canisters copied, .* loaded in", shown)
        assert "1 canister would be upgraded." in shown
        assert (before, shipped.sha256) in rehearse.proven(net)
        assert management.module_hash(net.agent, own.controller_id) == before
    finally:
        rehearse.discard(places.rehearsal() / net.name)
        management.install_code(net.agent, own.controller_id, shipped.data(), "upgrade")


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


# --- the panel in JupyterLab ---

# A cell that keeps the kernel busy, and says whether the panel looked meanwhile.
BUSY = """import time

(shown,) = panel._shown
before = shown._table.value
while shown._table.value == before:
    time.sleep(0.1)
print("the panel went on")"""


@pytest.fixture
def lab(after_first_run: run.Result, tmp_path: Path) -> Iterator[str]:
    """JupyterLab on 06_operate: its address."""
    (path,) = run.find(["06"])
    folder = tmp_path / "notebooks"
    folder.mkdir()
    parameters = {"looks": 2, "look_seconds": 0, "days": 1}
    papermill.execute_notebook(str(path), str(folder / path.name), parameters, prepare_only=True)
    notebook = nbformat.read(folder / path.name, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(BUSY))
    nbformat.write(notebook, folder / path.name)
    with jupyter_lab.serving(folder, tmp_path) as address:
        yield address.format(name=path.stem)


def choose(page: Any, description: str, text: str) -> None:
    """Choose in a list of the panel, once it offers that; its spaces do not break."""
    label = text.replace(" ", "\N{NO-BREAK SPACE}")
    choices = page.locator(f".widget-dropdown:has(label:text-is('{description}')) select")
    page.wait_for_function(
        "([list, label]) => [...list.options].some(option => option.label === label)",
        arg=[choices.element_handle(), label],
        timeout=SOON,
    )
    choices.select_option(label=label)


def timers(controller_id: str) -> bool | None:
    """Whether a mAIner's timers run."""
    doing = work.of(network.connect(), controller_id)
    return None if doing is None else doing.timers


def done(page: Any, said: str) -> None:
    page.get_by_text(said).wait_for(timeout=SOON)
    page.wait_for_function("() => ![...document.querySelectorAll('.mainer-press')].some(button => button.disabled)")


@needed.CHROMIUM
def test_the_panel_changes_the_fleet_after_two_presses_and_shows_it(lab: str, page: Any, tmp_path: Path) -> None:
    net = network.connect()
    own = create.mainers(net)[0]
    jupyter_lab.open_and_run(page, lab)
    panel = page.locator(".mainer-panel")
    panel.get_by_text("looked at every").wait_for(timeout=SOON)
    assert page.get_by_text("the panel went on", exact=True).count() == 1
    row = panel.locator("tr", has_text=own.controller_id)
    assert "stopped" in row.inner_text()

    choose(page, "canister", f"{own.name}  ({own.controller_id})")
    choose(page, "what to do", "start the timers")
    page.get_by_role("button", name="Do it").dblclick()
    done(page, f"{own.name} ({own.controller_id}): start the timers?")
    assert timers(own.controller_id) is False  # it was asked, nothing more
    page.get_by_role("button", name="Yes").dblclick()
    done(page, f"{own.name}: start the timers: ")
    assert timers(own.controller_id) is True
    row.get_by_text("run", exact=True).wait_for(timeout=SOON)  # by itself
    page.wait_for_timeout(500)
    panel.screenshot(path=tmp_path / "panel.png")
    assert page.evaluate(chromium.CUT_OFF) == []

    choose(page, "what to do", "stop the timers")
    page.get_by_role("button", name="Do it").click()
    done(page, f"{own.name} ({own.controller_id}): stop the timers?")
    page.get_by_role("button", name="No").click()
    page.get_by_text("stop the timers?").wait_for(state="hidden", timeout=SOON)
    assert timers(own.controller_id) is True
    operate.stop_timers(net, own.controller_id)
    row.get_by_text("stopped", exact=True).wait_for(timeout=SOON)
