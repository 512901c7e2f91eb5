"""The measures run, with small sizes, and leave what the picture is drawn from. Nothing is said about their figures."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
QUICK = ["uploads", "handover", "loading", "updates", "queries", "overhead", "many_llms", "restart"]


def run(script: str, *arguments: object) -> str:
    command = [sys.executable, str(BENCH / f"{script}.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", QUICK)
def test_a_measure_prints_a_table_and_leaves_its_figures(name: str, tmp_path: Path) -> None:
    printed = run(name, "--quick", "--results", tmp_path)
    report = json.loads((tmp_path / f"{name}.json").read_text())
    assert report["quick"]
    assert report["machine"]["processors"] >= 1
    assert report["versions"]["wasmtime"]
    assert any(figure["target"] is not None for figure in report["figures"])
    for figure in report["figures"]:
        assert figure["name"] in printed
        assert figure["value"] > 0
        if figure["reference"] is not None:
            assert figure["against"] in printed
            less = figure["value"] < figure["reference"]
            assert (figure["ratio"] > 1) == (less if figure["lower_is_better"] else not less)


def test_the_picture_shows_every_figure_with_a_target(tmp_path: Path) -> None:
    run("queries", "--quick", "--results", tmp_path)
    code = "import pathlib, sys; sys.path.insert(0, sys.argv[1]); import suite; suite.draw(pathlib.Path(sys.argv[2]))"
    done = subprocess.run([sys.executable, "-c", code, str(BENCH), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    picture = tmp_path / "bench.png"
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size < 200_000
