"""The exercises at the end of each notebook: done as they say, they show what they ask for."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest
from papermill.exceptions import PapermillExecutionError

from mainer_nb import places, run

from .conftest import PARAMETERS, run_all

# What is seen of each exercise that is not seen without it.
SEEN = {
    "00_start": (r"balance +[45]\.\d+ T", r"testCreateMainerLlmCanister +update"),
    "01_deploy": (r"upgraded", r"use mode upgrade"),
    "02_upload": (r"no model 'my-model'.*tiny", r"Unauthorized.*is a controller"),
    "03_create": (r"ShareAgent 3", r"ShareAgent 4 asks ShareService 2"),
    "04_test": (r"capital of Italy", r"What do bees make"),
    "05_costs": (r"40 tokens of prompt, 200 generated", r"400 tokens of prompt, 20 generated"),
    "06_operate": (r"freezes in .* days by \w+ burn, less than 36000", r"freezes first, in"),
}


def exercises(name: str) -> list[str]:
    notebook = nbformat.read(places.project() / run.NOTEBOOKS / f"{name}.ipynb", as_version=4)
    return re.findall(r"^\d\. .*$", notebook.cells[-1].source, re.MULTILINE)


def chosen(exercise: str) -> dict[str, Any]:
    """The parameters that an exercise says to set."""
    return {name: ast.literal_eval(value) for name, value in re.findall(r"`(\w+) = (.+?)`", exercise)}


def seen(notebook: Path) -> str:
    """All that a person reads in the outputs."""
    outputs = [o for cell in nbformat.read(notebook, as_version=4).cells for o in cell.get("outputs", [])]
    plain = (o.get("text") or o.get("evalue") or o.get("data", {}).get("text/plain", "") for o in outputs)
    return "\n".join(plain)


@pytest.fixture(scope="module")
def just_run(use: Callable[[Path], None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of a network on which all notebooks ran and nothing else: what the exercises begin with."""
    state = tmp_path_factory.mktemp("state")
    run_all(state, use)
    return state


@pytest.mark.parametrize("number", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("name", SEEN)
def test_an_exercise_shows_what_it_asks_for(
    name: str, number: int, just_run: Path, use: Callable[[Path], None], tmp_path: Path
) -> None:
    use(just_run)
    path = places.project() / run.NOTEBOOKS / f"{name}.ipynb"
    exercise = exercises(name)[number]
    known = papermill.inspect_notebook(str(path))
    given = {key: value for key, value in PARAMETERS.items() if key in known} | chosen(exercise)
    executed = tmp_path / path.name
    refusal = ""
    try:
        papermill.execute_notebook(str(path), str(executed), given, progress_bar=False, cwd=str(path.parent))
    except PapermillExecutionError as error:
        refusal = str(error)
    assert bool(refusal) == ("refused" in exercise), refusal
    assert re.search(SEEN[name][number], seen(executed), re.DOTALL)
