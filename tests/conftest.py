"""For all tests: a network, a page in a real browser, and at the end of a run what to install for skipped tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from mainer_nb.localnet import server
from tests import chromium, needed


@pytest.fixture(scope="session")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[server.Info]:
    """An embedded network for all tests of the session that do not change the network itself."""
    folder = tmp_path_factory.mktemp("network")
    yield server.start(folder)
    server.stop(folder)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium.browser() as started:
        yield started


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    page = browser.new_page(viewport={"width": chromium.WIDTH, "height": chromium.HEIGHT})
    yield page
    page.close()


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
    """Say what to install for the tests that were skipped for want of it, after all else."""
    yield
    skipped = terminalreporter.getreports("skipped")
    reasons = [report.longrepr[2].removeprefix("Skipped: ") for report in skipped if isinstance(report.longrepr, tuple)]
    missing = Counter(reason for reason in reasons if reason.startswith(needed.WANTED))
    if missing:
        terminalreporter.section("not tested here", yellow=True)
    for reason, count in missing.items():
        what, remedy = reason.removeprefix(needed.WANTED).split(": ", 1)
        terminalreporter.line(f"{what} is missing (tests skipped: {count}). To have it: {remedy}.")
