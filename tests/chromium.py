"""A real browser for tests: the Chromium or Chrome that is installed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from typing import Any

WIDTH, HEIGHT = 1300, 1000  # of its window
EXECUTABLE = next(
    (
        found
        for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
                     "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome")
        if (found := shutil.which(name))
    ),
    None,
)  # fmt: skip
# Output areas with something wider than they are, or an image that is not there.
CUT_OFF = """() => [...document.querySelectorAll('.jp-OutputArea-output')]
    .filter(area => area.scrollWidth > area.clientWidth + 1 ||
        [...area.querySelectorAll('img')].some(image => image.naturalWidth == 0))
    .map(area => area.innerText.slice(0, 200))"""


@contextlib.contextmanager
def browser() -> Iterator[Any]:
    """The browser, without windows."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        started = playwright.chromium.launch(executable_path=EXECUTABLE, args=["--no-sandbox"] if root else [])
        yield started
        started.close()
