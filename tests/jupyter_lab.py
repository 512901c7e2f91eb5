"""JupyterLab in a real browser."""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

SECONDS = 1000.0  # playwright counts milliseconds
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


@contextlib.contextmanager
def serving(
    folder: Path, scratch: Path, environment: Mapping[str, str] = os.environ, kernels: bool = True
) -> Iterator[str]:
    """JupyterLab on the notebooks of a folder: the address of a notebook, with a place for {name}."""
    token = secrets.token_hex(16)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    own = {key: value for key, value in environment.items() if key != "MAINER_NB_PROGRESS"}
    own |= {"JUPYTER_CONFIG_DIR": str(scratch / "jupyter"), "JUPYTERLAB_SETTINGS_DIR": str(scratch / "lab")}
    for plugin, values in SETTINGS.items():
        path = scratch / "lab" / "@jupyterlab" / f"{plugin}.jupyterlab-settings"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(values))
    options = [f"--ServerApp.port={port}", f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"]
    quiet = ["--no-browser", "--allow-root", "--LabApp.news_url=None", "--ServerApp.port_retries=0"]
    if not kernels:
        quiet += ["--KernelSpecManager.ensure_native_kernel=False", "--KernelSpecManager.allowed_kernelspecs=none"]
    with (scratch / "lab.log").open("w") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options, *quiet], env=own, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 60
        while True:
            assert server.poll() is None, (scratch / "lab.log").read_text()
            try:
                urllib.request.urlopen(f"{address}/api?token={token}", timeout=5).close()
                break
            except OSError:
                assert time.monotonic() < deadline, (scratch / "lab.log").read_text()
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
