"""The table of behaviours in the documentation is that of the acceptance tests."""

from __future__ import annotations

from tests.localnet.acceptance import behaviours


def test_the_table_is_current() -> None:
    written = behaviours.TABLE.read_text()
    assert written == behaviours.table(), "run: python tests/localnet/acceptance/behaviours.py"


def test_behaviours_are_named_once() -> None:
    for section in behaviours.sections():
        names = [*section.holds, *section.missing]
        assert len(names) == len(set(names)), section.title
        assert all(section.missing.values()), section.title
