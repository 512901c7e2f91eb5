"""A headless run of all notebooks with a tiny model, against as many empty notebooks.

    python bench/notebooks.py [--quick]

Both through papermill, one after the other. The network's start and everything that is deployed, uploaded, created and
asked is in the first; the second is what papermill and the kernels take by themselves. Two seconds of the first are the
timer of a mAIner that works by itself, set to one second: it takes a challenge at its first run, answers at the second.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import measure
import nbformat
import papermill
import stage
from measure import Figure

from mainer_nb import artifacts, places, run

# The tiny model never ends by itself, so its LLMs are told to: by a last cell of the notebook that creates them.
TOKENS_PER_CALL = 10
CREATES = "03_create.ipynb"
STOP_EARLY = f"""for llm_id in [llm_id for one in mainers for llm_id in one.llm_ids]:
    limits = {{"max_tokens_update": {TOKENS_PER_CALL}, "max_tokens_query": {TOKENS_PER_CALL}}}
    net.canister_at(llm_id, "llama_cpp").set_max_tokens(limits)"""


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    with measure.own_places() as folder, _project(folder) as project:
        gguf = stage.model(project / "files", quick=True)
        count = len(run.find())
        empty = measure.seconds_of(lambda: _empty_notebooks(folder, count))
        begun = time.perf_counter()
        result = run.run(parameters={"model": gguf.path.stem, "timer_interval": 1}, output=folder / "runs")
        with_report = time.perf_counter() - begun
    assert result.ok, result.failure
    figures = [
        Figure(
            f"all {count} notebooks, tiny model", result.summary["seconds"], "s", f"{count} empty notebooks", empty,
            target=0.5, lower_is_better=True, note="target: at most twice as long",
        ),
        Figure("the same with summary and report", with_report, "s"),
    ]  # fmt: skip
    measure.report("notebooks", "Headless run", figures, chosen)


@contextlib.contextmanager
def _project(folder: Path) -> Iterator[Path]:
    """A project in `folder` with the files and notebooks of this one, for as long as it lasts."""
    path, wasm, files = folder / "project", artifacts.llm_wasm(), places.files()
    shutil.copytree(files, path / "files", ignore=shutil.ignore_patterns("*.gguf", artifacts.LLM_WASM))
    shutil.copy(wasm.path, path / "files" / artifacts.LLM_WASM)
    shutil.copytree(files.parent / run.NOTEBOOKS, path / run.NOTEBOOKS)
    creating = nbformat.read(path / run.NOTEBOOKS / CREATES, as_version=4)
    creating.cells.append(nbformat.v4.new_code_cell(STOP_EARLY))
    nbformat.write(creating, path / run.NOTEBOOKS / CREATES)
    with measure.environment(MAINER_NB_PROJECT=str(path)):
        yield path


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
