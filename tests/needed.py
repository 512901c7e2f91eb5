"""What some tests need and not every machine has. Without it they are skipped; the end of a run says what to install.

    pytestmark = needed.CHROMIUM

The line stands at the top of a module of tests, or a mark is put before one test.
"""

from __future__ import annotations

import platform
import shutil
from pathlib import Path

import pytest

from tests import chromium

WANTED = "needs "  # how the reasons below begin; other reasons to skip are nothing that could be installed
CLIENTS = Path(__file__).parent / "localnet" / "clients" / "node_modules"
ICP = CLIENTS / "@icp-sdk" / "icp-cli-linux-x64" / "bin" / "icp"
AXE_SCRIPT = CLIENTS / "axe-core" / "axe.min.js"
NODE = shutil.which("node")


def _unless(there: object, what: str, remedy: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(not there, reason=f"{WANTED}{what}: {remedy}")


CHROMIUM = _unless(
    chromium.EXECUTABLE, "Chromium or Chrome", "`apt-get install chromium`, or `brew install --cask google-chrome`"
)
JAVASCRIPT_AGENT = _unless(
    NODE and (CLIENTS / "@icp-sdk" / "core").exists(),
    "the JavaScript agent",
    "install Node (https://nodejs.org), then `make clients`",
)
BINDGEN = _unless(
    NODE and (CLIENTS / "@icp-sdk" / "bindgen").exists() and (CLIENTS / "@icp-sdk" / "core").exists(),
    "the maker of bindings",
    "install Node (https://nodejs.org), then `make clients`",
)
ICP_COMMAND = _unless(
    ICP.exists() or platform.system() != "Linux" or platform.machine() != "x86_64",
    "the icp command",
    "install Node (https://nodejs.org), then `make clients`",
)
AXE = _unless(AXE_SCRIPT.exists(), "axe-core", "install Node (https://nodejs.org), then `make clients`")
