"""Executed notebooks opened again in JupyterLab, without a kernel and with a new one."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mainer_nb import progress, run
from tests import jupyter_lab, needed

pytestmark = needed.CHROMIUM

BROKEN = ("Error displaying widget", "Loading widget")


@pytest.fixture
def no_kernels(after_first_run: run.Result, tmp_path: Path) -> Iterator[str]:
    """JupyterLab on the notebooks of a run, where no kernel can be started: the address of a notebook."""
    with jupyter_lab.serving(after_first_run.folder, tmp_path, kernels=False) as address:
        yield address


def opened(page: Any, address: str) -> Any:
    page.goto(address)
    page.get_by_role("button", name="Select Kernel", exact=True).click(timeout=60 * jupyter_lab.SECONDS)
    page.wait_for_selector("text=No Kernel", timeout=60 * jupyter_lab.SECONDS)
    return page.locator(".jp-Notebook")


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("01_deploy", "network: local (embedded), identity: development"),
        ("02_upload", "model: tiny"),
        ("03_create", "type: Own"),
        ("04_test", "question: What is the capital of"),
    ],
)
def test_without_a_kernel_one_sees_what_was(name: str, kept: str, no_kernels: str, page: Any) -> None:
    text = opened(page, no_kernels.format(name=name)).inner_text()
    assert kept in text
    assert not any(word in text for word in BROKEN)


def test_pictures_follow_the_theme_without_a_kernel(no_kernels: str, page: Any) -> None:
    notebook = opened(page, no_kernels.format(name="01_deploy"))
    light, dark = notebook.locator(".mainer-light").first, notebook.locator(".mainer-dark").first
    assert (light.is_visible(), dark.is_visible()) == (True, False)
    page.evaluate("document.body.dataset.jpThemeLight = 'false'")  # as JupyterLab does for a dark theme
    dark.wait_for(state="visible")
    assert not light.is_visible()


def test_a_notebook_of_others_shows_a_picture_that_can_be_read(
    after_first_run: run.Result, tmp_path: Path, page: Any
) -> None:
    folder = tmp_path / "theirs"
    folder.mkdir()
    notebook = json.loads((after_first_run.folder / "01_deploy.ipynb").read_text())
    notebook["metadata"]["changed"] = "so that it is not the one that JupyterLab trusts"
    (folder / "01_deploy.ipynb").write_text(json.dumps(notebook))
    with jupyter_lab.serving(folder, tmp_path, kernels=False) as address:
        shown = opened(page, address.format(name="01_deploy"))
        assert shown.locator(".mainer-light").first.is_visible()
        assert "network: local (embedded)" in shown.inner_text()


def test_a_form_is_there_when_the_notebook_is_opened_again(
    after_first_run: run.Result, project: Path, tmp_path: Path, page: Any
) -> None:
    folder = tmp_path / "saved"
    folder.mkdir()
    shutil.copy(project / run.NOTEBOOKS / "01_deploy.ipynb", folder)
    settings = tmp_path / "jupyter/labconfig/default_setting_overrides.json"  # where an installation has them
    settings.parent.mkdir(parents=True)
    shutil.copy(Path(progress.__file__).with_name("jupyter_settings.json"), settings)
    with jupyter_lab.serving(folder, tmp_path) as address:
        jupyter_lab.open_and_run(page, address.format(name="01_deploy"))
        page.keyboard.press("Control+s")
        page.wait_for_selector(".jp-DirtyIndicator, .jp-mod-dirty", state="detached")
        page.get_by_role("menuitem", name="Kernel", exact=True).click()
        page.get_by_role("menuitem", name="Shut Down Kernel").click()
        page.goto("about:blank")
        page.goto(address.format(name="01_deploy"))
        page.wait_for_selector(".widget-dropdown", timeout=60 * jupyter_lab.SECONDS)
        assert not any(word in page.locator(".jp-Notebook").inner_text() for word in BROKEN)
