"""A network in this process for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.localnet.driver import Driver


@pytest.fixture(scope="session")
def module_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled modules, shared by the tests of a session."""
    return tmp_path_factory.mktemp("modules")


@pytest.fixture
def ic(tmp_path: Path, module_cache: Path) -> Iterator[Driver]:
    """A fresh network."""
    driver = Driver(tmp_path / "network", module_cache)
    yield driver
    driver.network.close()
