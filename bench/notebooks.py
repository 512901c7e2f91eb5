"""A headless run of all notebooks with a tiny model, against as many empty notebooks.

    python bench/notebooks.py [--quick]

Both through papermill, one after the other. The network's start and everything that is deployed, uploaded, created and
asked is in the first; the second is what papermill and the kernels take by themselves.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import measure
import nbformat
import papermill
import stage
from measure import Figure

from mainer_nb import artifacts, places, run


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    with measure.own_places() as folder, _project(folder) as project:
        gguf = stage.model(project / "files", quick=True)
        count = len(run.find())
        empty = measure.seconds_of(lambda: _empty_notebooks(folder, count))
        begun = measure.seconds_of(lambda: _run(folder, gguf.path.stem))
    figures = [
        Figure(
            f"all {count} notebooks, tiny model", begun, "s", f"{count} empty notebooks", empty,
            target=0.5, lower_is_better=True, note="target: at most twice as long",
        ),
    ]  # fmt: skip
    measure.report("notebooks", "Headless run", figures, chosen)


class _project:
    """A project in `folder` with the files and notebooks of this one, for as long as it lasts."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "project"
        self._before = os.environ.get("MAINER_NB_PROJECT")

    def __enter__(self) -> Path:
        wasm = artifacts.llm_wasm()
        files = places.files()
        shutil.copytree(files, self.path / "files", ignore=shutil.ignore_patterns("*.gguf", artifacts.LLM_WASM))
        shutil.copy(wasm.path, self.path / "files" / artifacts.LLM_WASM)
        shutil.copytree(files.parent / run.NOTEBOOKS, self.path / run.NOTEBOOKS)
        os.environ["MAINER_NB_PROJECT"] = str(self.path)
        return self.path

    def __exit__(self, *_: object) -> None:
        if self._before is None:
            del os.environ["MAINER_NB_PROJECT"]
        else:
            os.environ["MAINER_NB_PROJECT"] = self._before


def _run(folder: Path, model: str) -> None:
    result = run.run(parameters={"model": model}, output=folder / "runs")
    assert result.ok, result.failure


def _empty_notebooks(folder: Path, count: int) -> None:
    path = folder / "empty.ipynb"
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell("")],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}},
    )
    nbformat.write(notebook, path)
    for _ in range(count):
        papermill.execute_notebook(str(path), str(folder / "executed.ipynb"), progress_bar=False)


if __name__ == "__main__":
    main()
