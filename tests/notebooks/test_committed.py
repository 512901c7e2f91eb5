"""The notebooks as they are committed: clean, parametrised, and written with the package alone."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import pytest

from mainer_nb import places, run

LONGEST_CELL = 12  # lines of code


def notebooks() -> list[Path]:
    return sorted((places.project() / run.NOTEBOOKS).glob("*.ipynb"))


@pytest.fixture(params=notebooks(), ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    found: nbformat.NotebookNode = nbformat.read(request.param, as_version=4)
    nbformat.validate(found)
    return found


def parameters(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", [])]


def test_has_no_outputs(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert "papermill" not in cell.metadata
    assert "papermill" not in notebook.metadata
    assert "widgets" not in notebook.metadata


def test_begins_with_a_title(notebook: nbformat.NotebookNode) -> None:
    assert notebook.cells[0].cell_type == "markdown"
    assert notebook.cells[0].source.startswith("# ")


def test_imports_only_the_package(notebook: nbformat.NotebookNode) -> None:
    for cell in (cell for cell in notebook.cells if cell.cell_type == "code"):
        for node in ast.walk(ast.parse(cell.source)):
            assert not isinstance(node, ast.Import)
            if isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] == "mainer_nb"


def test_cells_are_short_and_explained(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert cell.source.lstrip("#").strip().count("\n") >= 1, f"a heading without a sentence: {cell.source}"
        elif cell not in parameters(notebook):
            assert len(cell.source.splitlines()) <= LONGEST_CELL
