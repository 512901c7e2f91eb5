"""What a person sees: notebooks in JupyterLab and the report, in a real browser."""

from __future__ import annotations

import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import chromium
import papermill
import pytest

from mainer_nb import create, network, run

from .conftest import PARAMETERS

pytestmark = pytest.mark.skipif(chromium.EXECUTABLE is None, reason="no Chromium or Chrome is installed")

SECONDS = 1000.0  # playwright counts milliseconds
WIDTH, HEIGHT = 1300, 1000
RUN_TIME = 180 * SECONDS

# All cells are drawn, not only those in the window; no news.
SETTINGS: dict[str, dict[str, object]] = {
    "notebook-extension/tracker": {"windowingMode": "none", "scrollPastEnd": False},
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
}
# Whether the last code cell was run, or some cell failed.
FINISHED = r"""() => {
    const prompts = [...document.querySelectorAll('.jp-CodeCell .jp-InputPrompt')];
    return /\[\d+\]/.test(prompts[prompts.length - 1].innerText) ||
        document.querySelector('[data-mime-type="application/vnd.jupyter.error"]') !== null }"""
# What scrolls: the notebook, the part below the window included.
PANEL = "document.querySelector('.jp-NotebookPanel-notebook .jp-WindowedPanel-outer')"
# Output areas with something wider than they are, or an image that is not there.
CUT_OFF = """() => [...document.querySelectorAll('.jp-OutputArea-output')]
    .filter(area => area.scrollWidth > area.clientWidth + 1 ||
        [...area.querySelectorAll('img')].some(image => image.naturalWidth == 0))
    .map(area => area.innerText.slice(0, 200))"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.browser() as started:
        yield started


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
    yield page
    page.close()


@pytest.fixture
def lab(after_first_run: run.Result, project: Path, tmp_path: Path) -> Iterator[str]:
    """JupyterLab on the notebooks with the tests' parameters: the address of a notebook, with a place for {name}."""
    folder = project / "in_lab"
    folder.mkdir(exist_ok=True)
    for path in run.find():
        known = papermill.inspect_notebook(str(path))
        chosen = {name: value for name, value in PARAMETERS.items() if name in known}
        papermill.execute_notebook(str(path), str(folder / path.name), chosen, prepare_only=True)
    token = secrets.token_hex(16)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    environment = {key: value for key, value in os.environ.items() if key != "MAINER_NB_PROGRESS"}
    environment |= {"JUPYTER_CONFIG_DIR": str(tmp_path / "jupyter"), "JUPYTERLAB_SETTINGS_DIR": str(tmp_path / "lab")}
    for plugin, values in SETTINGS.items():
        path = tmp_path / "lab" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    options = [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    quiet = ["--no-browser", "--allow-root", "--LabApp.news_url=None", "--ServerApp.port_retries=0"]
    with (tmp_path / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options, *quiet], env=environment, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert server.poll() is None, (tmp_path / "lab.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/api?token={token}", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, (tmp_path / "lab.log").read_text()
                time.sleep(0.2)
        yield f"{address}/doc/tree/{{name}}.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(30)


def open_and_run(page: Any, address: str) -> None:
    page.goto(address)
    page.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=60 * SECONDS)
    page.wait_for_selector("text=Python 3 (ipykernel) | Idle", timeout=60 * SECONDS)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name=re.compile("^Run All Cells")).first.click()
    # the last code cell bears a number when it is done, and an error ends the rest
    last = page.locator(".jp-CodeCell .jp-InputPrompt").last
    page.wait_for_function(FINISHED, timeout=RUN_TIME)
    assert re.search(r"\[\d+\]", last.inner_text()), page.locator(".jp-Notebook").inner_text()


def whole_notebook(page: Any, path: Path) -> None:
    """A picture of all of the notebook, and nothing in it that is cut off."""
    page.set_viewport_size({"width": WIDTH, "height": int(page.evaluate(f"{PANEL}.scrollHeight")) + 150})
    page.evaluate(f"{PANEL}.scrollTop = 0")
    page.wait_for_timeout(1000)  # for a new layout
    page.screenshot(path=path)
    assert page.evaluate(CUT_OFF) == []
    assert "Traceback" not in page.locator(".jp-Notebook").inner_text()


@pytest.mark.parametrize("name", ["01_deploy", "02_upload", "04_test"])
def test_notebook_in_jupyterlab(name: str, lab: str, page: Any, tmp_path: Path) -> None:
    open_and_run(page, lab.format(name=name))
    whole_notebook(page, tmp_path / f"{name}.png")
    assert page.locator(".jp-OutputArea-output table").count() >= 2
    assert page.locator(".jp-OutputArea-output img").count() >= 1
    assert page.locator(".widget-dropdown, .widget-text").count() >= 1


def test_a_mainer_is_created_with_a_click(lab: str, page: Any, tmp_path: Path) -> None:
    open_and_run(page, lab.format(name="03_create"))
    before = {one.controller_id for one in create.mainers(network.connect())}

    button = page.get_by_role("button", name="Create mAIner")
    button.wait_for(timeout=30 * SECONDS)
    page.locator(".widget-dropdown:has-text('type') select").select_option("ShareAgent")
    button.click()
    page.wait_for_selector("text=Created ShareAgent", timeout=RUN_TIME)

    (made,) = [one for one in create.mainers(network.connect()) if one.controller_id not in before]
    assert made.kind == "ShareAgent"
    assert made.share_service_id in before
    assert page.get_by_text(f"Created {made.name} ({made.controller_id})").count() == 1
    whole_notebook(page, tmp_path / "03_create.png")


def test_report(after_first_run: run.Result, page: Any, tmp_path: Path) -> None:
    page.goto((after_first_run.folder / run.REPORT).as_uri())
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    assert page.title() == "mAIner workbench"
    assert page.evaluate(CUT_OFF) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= WIDTH
    page.get_by_role("link", name="04_test").first.click()
    assert page.evaluate("window.scrollY") > HEIGHT
