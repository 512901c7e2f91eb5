"""Every measure, one after the other, and one picture of what they found.

    python bench/suite.py [--quick] [--results FOLDER]

Each measure runs in a process of its own and leaves a JSON in the results folder; the picture, `bench.png`, is beside
them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import measure
from matplotlib.figure import Figure as Picture

MEASURES = (
    "uploads",
    "handover",
    "loading",
    "updates",
    "queries",
    "generation",
    "many_llms",
    "overhead",
    "thousand",
    "upgrade",
    "notebooks",
    "restart",
)
LONGEST = 1800  # seconds of one measure
PICTURE = "bench.png"
GOOD, BAD, LINE = "#009E73", "#D55E00", "#555555"
FARTHEST = 3.0  # bars end here, however far beyond its target a figure is


def main(arguments: Sequence[str] | None = None) -> int:
    chosen = measure.options(__doc__, arguments)
    failed = [name for name in MEASURES if not _run(name, chosen.quick, chosen.results)]
    draw(chosen.results)
    print(f"\n{chosen.results / PICTURE}")
    for name in failed:
        print(f"{name} failed: see above", file=sys.stderr)
    return 1 if failed else 0


def _run(name: str, quick: bool, results: Path) -> bool:
    measure.say(f"{name} …")
    command = [sys.executable, str(measure.BENCH / f"{name}.py"), "--results", str(results)]
    try:
        return subprocess.run([*command, "--quick"] if quick else command, timeout=LONGEST, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        print(f"{name} took longer than {LONGEST} s", file=sys.stderr)
        return False


def draw(results: Path) -> Path:
    """The picture of all JSON files in `results`: a bar for each figure with a target, and the figures beside it."""
    reports = [json.loads(path.read_text(encoding="utf-8")) for path in _reports(results)]
    figures = [figure for report in reports for figure in report["figures"] if figure["target"] is not None]
    picture = Picture(figsize=(13, 0.42 * len(figures) + 1.9), dpi=100, facecolor="white", layout="constrained")
    axes = picture.add_subplot()
    for row, figure in enumerate(figures):
        reached = figure["attained"]
        axes.barh(row, min(reached, FARTHEST), color=GOOD if figure["reached"] else BAD, height=0.62)
        beyond = f"{measure.number(reached)} x" + (" ▸" if reached > FARTHEST else "")
        axes.annotate(beyond, (min(reached, FARTHEST), row), (5, 0), textcoords="offset points", va="center")
        axes.text(3.6, row, _words(figure), va="center", fontsize=9)
    axes.axvline(1, color=LINE, linewidth=1)
    axes.text(1, -0.85, "target", ha="center", va="bottom", color=LINE)
    axes.text(3.6, -0.85, "here (compared with) · target", va="bottom", color=LINE)
    axes.set_yticks(range(len(figures)), [_label(figure) for figure in figures])
    axes.set_ylim(len(figures) - 0.4, -1.1)
    axes.set_xlim(0, 8.2)
    axes.set_xticks([0, 1, 2, 3])
    axes.set_xlabel("part of the target that is reached (more is better)", loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)
    picture.suptitle(_title(reports), fontsize=10, color=LINE)
    path = results / PICTURE
    picture.savefig(path)
    return path


def _reports(results: Path) -> list[Path]:
    return [path for name in MEASURES if (path := results / f"{name}.json").exists()]


def _label(figure: dict[str, Any]) -> str:
    return f"{figure['name']}\nagainst {figure['against']}" if figure["against"] else str(figure["name"])


def _words(figure: dict[str, Any]) -> str:
    here = f"{measure.number(figure['value'])} {figure['unit']}"
    if figure["reference"] is None:
        sign = "≤" if figure["lower_is_better"] else "≥"
        return f"{here} · target {sign} {figure['target']:g} {figure['unit']}"
    there = f"({measure.number(figure['reference'])} {figure['unit']}: {measure.number(figure['ratio'])} x)"
    return f"{here} {there} · target {figure['target']:g} x"


def _title(reports: Sequence[dict[str, Any]]) -> str:
    if not reports:
        return ""
    last = max(reports, key=lambda report: report["date"])
    machine = last["machine"]
    rough = " · quick run, rough figures" if any(report["quick"] for report in reports) else ""
    return (
        f"{machine['processors']} x {machine['processor']}, {machine['memory_gib']:g} GiB, {machine['system']}, "
        f"Python {machine['python']} · {last['date'][:10]}{rough}"
    )


if __name__ == "__main__":
    sys.exit(main())
