"""docs/tour.md: made of the notebooks as they are, small, and with nothing of the machine that made it."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """tools/tour.py."""
    spec = importlib.util.spec_from_file_location("tour", ROOT / "tools" / "tour.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_tour_was_made_of_the_notebooks_as_they_are(tool: ModuleType) -> None:
    assert tool.TOUR.read_text(encoding="utf-8").endswith(tool.stamp(tool.NOTEBOOKS)), (
        "a notebook has changed since the tour was made: run `make tour` and commit docs/"
    )


def test_another_word_in_a_notebook_is_noticed(tool: ModuleType, tmp_path: Path) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell("# One")])
    nbformat.write(notebook, tmp_path / "01_one.ipynb")
    before = tool.stamp(tmp_path)
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, tmp_path / "01_one.ipynb")
    assert tool.stamp(tmp_path) == before
    notebook.cells[0].source = "# Two"
    nbformat.write(notebook, tmp_path / "01_one.ipynb")
    assert tool.stamp(tmp_path) != before


def test_the_tour_shows_each_notebook_and_every_picture(tool: ModuleType) -> None:
    text = tool.TOUR.read_text(encoding="utf-8")
    for path in tool.NOTEBOOKS.glob("*.ipynb"):
        assert f'<a id="{path.stem}"></a>' in text
    shown = [tool.TOUR.parent / path for path in re.findall(r"!\[.+?\]\(([\w/.-]+)\)", text)]
    assert sorted(shown) == sorted(tool.PICTURES.iterdir())
    assert "](docs/result.png)" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_tour_is_small_and_has_no_place_of_a_machine(tool: ModuleType) -> None:
    text = tool.TOUR.read_text(encoding="utf-8")
    files = [tool.TOUR, tool.RESULT, *tool.PICTURES.iterdir()]
    assert sum(path.stat().st_size for path in files) <= tool.LARGEST
    assert not re.search(r"/(root|home|Users|tmp|work|build)/", text)
