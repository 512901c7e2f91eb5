"""A network over HTTP for the tests of a module that ask for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.localnet import universal as u
from tests.localnet.over_http import Served
from tests.localnet.serving import serving


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, module_cache: Path) -> Iterator[Served]:
    """A network with a universal canister."""
    with Served(tmp_path_factory.mktemp("http") / "network", module_cache) as driver, serving(driver.network) as port:
        driver.url = f"http://127.0.0.1:{port}"
        driver.called = driver.create(u.universal(), arg=b"")
        yield driver
