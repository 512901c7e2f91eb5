"""The notebooks as they are committed: clean, parametrised, and written with the package alone."""

from __future__ import annotations

import ast
import re
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


def test_ends_with_two_exercises_and_leads_to_what_comes_next(notebook: nbformat.NotebookNode) -> None:
    last = notebook.cells[-1].source
    assert last.startswith("## Try this\n")
    exercises = re.findall(r"^\d\. .*$", last, re.MULTILINE)
    assert len(exercises) == 2
    known = {
        target.id for target in ast.walk(ast.parse(parameters(notebook)[0].source)) if isinstance(target, ast.Name)
    }
    for exercise in exercises:
        assert set(re.findall(r"`(\w+) = ", exercise)) & known, exercise
    stems = [path.stem for path in notebooks()]
    links = re.findall(r"\]\((\w+)\.ipynb\)", last)
    assert links
    title = notebook.cells[0].source
    following = [stem for stem in stems if stem.startswith(f"0{int(title[2]) + 1}")]
    assert set(following) <= set(links)


def test_links_lead_to_notebooks_that_are_there(notebook: nbformat.NotebookNode) -> None:
    linked = {link for cell in notebook.cells for link in re.findall(r"\]\((\w+\.ipynb)\)", cell.source)}
    assert linked <= {path.name for path in notebooks()}


def test_controllers_are_what_the_network_calls_so(notebook: nbformat.NotebookNode) -> None:
    """The canister of a mAIner is its mAIner canister; 03_create says once how code and methods call it."""
    for cell in (cell for cell in notebook.cells if cell.cell_type == "markdown"):
        assert "mAIner controller" not in cell.source
        assert "controller canister" not in cell.source


# Words of the field, and of this protocol. 00_start explains those that whoever is new needs; 01 to 05, read in order,
# explain all of them.
FIRST_WORDS = ("mAIner", "principal", "canister", "cycles", "T", "mainnet", "controllers", "wasm", "gguf", "LLM")
WORDS = (
    *("canister", "Game State", "challenges", "mAIner Creator", "mAIners", "deploys", "mainnet", "principal", "caller"),
    *("sha256", "controller", "cycles", "stable memory", "LLM canister", "model", "gguf", "tokens", "mAIner canister"),
    *("Own", "ShareService", "ShareAgent", "submission", "Challenger", "Judge", "timers", "trigger", "queue"),
)


def explained(word: str, prose: list[str]) -> bool:
    """Whether the first cell that has the word explains it: in bold, or with a link."""
    first = next(text for text in prose if re.search(rf"\b{word}s?\b", text))
    return re.search(rf"\*\*{word}s?\*\*|\[{word}\]\(http", first) is not None


def prose_of(path: Path) -> list[str]:
    cells = nbformat.read(path, as_version=4).cells
    return [re.sub(r"^#.*$", "", cell.source, flags=re.MULTILINE) for cell in cells if cell.cell_type == "markdown"]


@pytest.mark.parametrize("word", FIRST_WORDS)
def test_the_first_notebook_explains_a_word_where_it_is_first_used(word: str) -> None:
    assert explained(word, prose_of(notebooks()[0]))


@pytest.mark.parametrize("word", WORDS)
def test_the_others_explain_a_word_where_it_is_first_used(word: str) -> None:
    assert explained(word, [text for path in notebooks()[1:] for text in prose_of(path)])


def test_cells_are_short_and_explained(notebook: nbformat.NotebookNode) -> None:
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            assert cell.source.lstrip("#").strip().count("\n") >= 1, f"a heading without a sentence: {cell.source}"
        elif cell not in parameters(notebook):
            assert len(cell.source.splitlines()) <= LONGEST_CELL
