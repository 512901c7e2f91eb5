"""A small slice of the fuzz run (`python tests/localnet/fuzz/run.py`): no problem, and cases of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainer_nb.localnet import server
from tests.localnet.fuzz import run
from tests.localnet.fuzz.cases import chance


def test_odd_requests_envelopes_candid_and_modules_do_no_harm(tmp_path: Path) -> None:
    try:
        result, _ = run.run(tmp_path / "network", cases=400, seed=7)
    finally:
        server.stop(tmp_path / "network")
    assert result.problems == []
    assert result.by_kind == {"requests": 160, "envelopes": 120, "candid": 48, "decoder": 52, "modules": 20}
    reached = " ".join(result.outcomes)
    for outcome in ("requests: HTTP 400", "envelopes: replied", "candid: rejected IC0503", "modules: installed"):
        assert outcome in reached


@pytest.mark.parametrize("kind", run.SHARES)
def test_a_case_can_be_had_again(kind: str) -> None:
    assert [chance(kind, 1, 5).random() for _ in range(2)] == [chance(kind, 1, 5).random() for _ in range(2)]
    assert chance(kind, 1, 5).random() != chance(kind, 1, 6).random()


def test_every_kind_has_its_share() -> None:
    kinds = [kind for kind, _ in run.plan(1000)]
    assert {kind: kinds.count(kind) / 10 for kind in run.SHARES} == run.SHARES
