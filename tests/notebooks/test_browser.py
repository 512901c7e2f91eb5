"""What a person sees: notebooks in JupyterLab, in a real browser."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import papermill
import pytest

from mainer_nb import create, network, places, run
from mainer_nb.localnet import server
from tests import chromium, jupyter_lab, needed

from .conftest import PARAMETERS

pytestmark = needed.CHROMIUM

# What scrolls: the notebook, the part below the window included.
PANEL = "document.querySelector('.jp-NotebookPanel-notebook .jp-WindowedPanel-outer')"


@pytest.fixture
def lab(after_first_run: run.Result, project: Path, tmp_path: Path) -> Iterator[str]:
    """JupyterLab on the notebooks with the tests' parameters: the address of a notebook, with a place for {name}."""
    folder = project / "in_lab"
    folder.mkdir(exist_ok=True)
    for path in run.find():
        known = papermill.inspect_notebook(str(path))
        chosen = {name: value for name, value in PARAMETERS.items() if name in known}
        papermill.execute_notebook(str(path), str(folder / path.name), chosen, prepare_only=True)
    with jupyter_lab.serving(folder, tmp_path) as address:
        yield address


def whole_notebook(page: Any, path: Path) -> None:
    """A picture of all of the notebook, and nothing in it that is cut off."""
    page.set_viewport_size({"width": chromium.WIDTH, "height": int(page.evaluate(f"{PANEL}.scrollHeight")) + 150})
    page.evaluate(f"{PANEL}.scrollTop = 0")
    page.wait_for_timeout(1000)  # for a new layout
    page.screenshot(path=path)
    assert page.evaluate(chromium.CUT_OFF) == []
    assert "Traceback" not in page.locator(".jp-Notebook").inner_text()


@pytest.mark.parametrize("name", ["01_deploy", "02_upload", "04_test"])
def test_notebook_in_jupyterlab(name: str, lab: str, page: Any, tmp_path: Path) -> None:
    jupyter_lab.open_and_run(page, lab.format(name=name))
    whole_notebook(page, tmp_path / f"{name}.png")
    assert page.locator(".jp-OutputArea-output table").count() >= 2
    assert page.locator(".jp-OutputArea-output img").count() >= 1
    assert page.locator(".widget-dropdown, .widget-text").count() >= 1


def test_a_mainer_is_created_with_a_click(lab: str, page: Any, tmp_path: Path) -> None:
    jupyter_lab.open_and_run(page, lab.format(name="03_create"))
    before = {mainer.controller_id for mainer in create.mainers(network.connect())}

    button = page.get_by_role("button", name="Create mAIner")
    button.wait_for(timeout=30 * jupyter_lab.SECONDS)
    page.locator(".widget-dropdown:has-text('type') select").select_option("ShareAgent")
    button.click()
    page.wait_for_selector("text=Created ShareAgent", timeout=jupyter_lab.RUN_TIME)

    (made,) = [mainer for mainer in create.mainers(network.connect()) if mainer.controller_id not in before]
    assert made.kind == "ShareAgent"
    assert made.share_service_id in before
    assert page.get_by_text(f"Created {made.name} ({made.controller_id})").count() == 1
    whole_notebook(page, tmp_path / "03_create.png")


def test_what_a_button_started_stops_at_an_interrupt(lab: str, page: Any) -> None:
    jupyter_lab.open_and_run(page, lab.format(name="03_create"))
    before = {mainer.controller_id for mainer in create.mainers(network.connect())}
    button = page.get_by_role("button", name="Create mAIner")
    button.wait_for(timeout=30 * jupyter_lab.SECONDS)
    page.locator(".widget-text:has-text('LLMs') input").fill("8")
    button.click()
    net = network.connect()
    while not (made := [mainer for mainer in create.mainers(net) if mainer.controller_id not in before]):
        page.wait_for_timeout(50)
    info = server.status(places.state())
    assert info is not None
    os.kill(info.pid, signal.SIGSTOP)  # so that it cannot be done before it is interrupted
    try:
        page.get_by_role("menuitem", name="Kernel", exact=True).click()
        page.get_by_role("menuitem", name=re.compile("^Interrupt Kernel")).first.click()
        page.wait_for_selector("text=Interrupted:", timeout=30 * jupyter_lab.SECONDS)
    finally:
        os.kill(info.pid, signal.SIGCONT)
    assert "Traceback" not in page.locator(".jp-Notebook").inner_text()
    assert len(create.mainer(net, made[0].controller_id).llm_ids) < 8
    page.locator(".widget-dropdown:has-text('type') select").select_option("ShareAgent")  # the form works on
    button.click()
    page.wait_for_selector("text=Created ShareAgent", timeout=jupyter_lab.RUN_TIME)
