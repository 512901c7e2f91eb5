"""The page on the specification is current, whole, and names tests and constants that there are."""

from __future__ import annotations

import ast

import pytest

from mainer_nb.localnet import http
from tests.localnet.acceptance import specification

_ALL = [row for kind in ("change", "price", "limit") for row in specification.rows(kind)]
#: The versions of the changelog, which has one or more entries for each.
_VERSIONS = [f"0.{minor}.0" for minor in range(40, 68)]


def test_the_page_is_current() -> None:
    written = specification.PAGE.read_text()
    assert written == specification.page(), "run: python tests/localnet/acceptance/specification.py"


def test_each_version_has_a_row() -> None:
    assert list(dict.fromkeys(row.version for row in specification.rows("change"))) == _VERSIONS


def test_the_status_page_tells_the_version_that_the_page_allows() -> None:
    assert specification.kept_version() == http.API_VERSION


def test_rows_are_named_once() -> None:
    names = [(row.version, row.what) for row in _ALL]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("row", _ALL, ids=lambda row: row.what)
def test_a_row_is_shown_by_tests_that_there_are_or_says_why_not(row: specification.Row) -> None:
    assert bool(row.tests) != bool(row.why)
    for module, name in row.tests:
        tree = ast.parse((specification.HERE / f"{module}.py").read_text())
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, (module, name)


@pytest.mark.parametrize("row", [row for row in _ALL if row.constant], ids=lambda row: row.what)
def test_prices_and_limits_are_those_of_the_documentation(row: specification.Row) -> None:
    assert row.constant is not None
    assert specification.ours(row.constant) == row.value
