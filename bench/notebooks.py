"""A headless run of all notebooks with a tiny model, against as many empty notebooks.

    python bench/notebooks.py [--quick]

Both through papermill, one after the other. The network's start and everything that is deployed, uploaded, created and
asked is in the first; the second is what papermill and the kernels take by themselves.
"""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import measure
import nbformat
import papermill
import stage
from measure import Figure

from mainer_nb import artifacts, create, network, places, run

TOKENS_PER_CALL = 50


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = measure.options(__doc__, arguments)
    with measure.own_places() as folder, _project(folder) as project:
        gguf = stage.model(project / "files", quick=True)
        count = len(run.find())
        empty = measure.seconds_of(lambda: _empty_notebooks(folder, count))
        whole = _run(folder / "runs", gguf.path.stem)
    figures = [
        Figure(
            f"all {count} notebooks, tiny model", whole, "s", f"{count} empty notebooks", empty,
            target=0.5, lower_is_better=True, note="target: at most twice as long",
        ),
    ]  # fmt: skip
    measure.report("notebooks", "Headless run", figures, chosen)


@contextlib.contextmanager
def _project(folder: Path) -> Iterator[Path]:
    """A project in `folder` with the files and notebooks of this one, for as long as it lasts."""
    path, wasm, files = folder / "project", artifacts.llm_wasm(), places.files()
    shutil.copytree(files, path / "files", ignore=shutil.ignore_patterns("*.gguf", artifacts.LLM_WASM))
    shutil.copy(wasm.path, path / "files" / artifacts.LLM_WASM)
    shutil.copytree(files.parent / run.NOTEBOOKS, path / run.NOTEBOOKS)
    with measure.environment(MAINER_NB_PROJECT=str(path)):
        yield path


def _run(output: Path, model: str) -> float:
    """Seconds of all notebooks. The tiny model never ends by itself, so its LLMs are told to before the last one."""
    parameters = {"model": model, "timer_interval": 2}
    *first, last = [path.stem for path in run.find()]
    seconds = _checked(run.run(first, parameters, output))
    _stop_early()
    return seconds + _checked(run.run([last], parameters, output))


def _checked(result: run.Result) -> float:
    assert result.ok, result.failure
    return sum(one.seconds for one in result.notebooks)


def _stop_early() -> None:
    net = network.connect()
    for mainer in create.mainers(net):
        for llm_id in mainer.llm_ids:
            limits = {"max_tokens_update": TOKENS_PER_CALL, "max_tokens_query": TOKENS_PER_CALL}
            net.canister_at(llm_id, "llama_cpp").set_max_tokens(limits)
    net.close()


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
