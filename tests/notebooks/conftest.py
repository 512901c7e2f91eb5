"""A project of the tests' own with the notebooks, the LLM canister and a tiny model; networks for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mainer_nb import artifacts, create, network, places, run
from mainer_nb.localnet import server
from tests import tiny_gguf

MODEL = "tiny"
# As little waiting as possible: the mAIner that works by itself does so every second.
TOKENS_PER_CALL = 50
PARAMETERS = {"model": MODEL, "timer_interval": 1}


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("project")
    wasm = artifacts.llm_wasm()
    shutil.copytree(places.files(), root / "files", ignore=shutil.ignore_patterns("*.gguf", artifacts.LLM_WASM))
    shutil.copy(wasm.path, root / "files" / artifacts.LLM_WASM)
    tiny_gguf.write(root / "files" / f"{MODEL}.gguf")
    shutil.copytree(places.project() / run.NOTEBOOKS, root / run.NOTEBOOKS)
    return root


@pytest.fixture(scope="session")
def environment() -> pytest.MonkeyPatch:
    """Changes of the environment, which `as_before` takes back after each test."""
    return pytest.MonkeyPatch()


@pytest.fixture(autouse=True)
def as_before(environment: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    environment.undo()


@pytest.fixture(scope="session")
def use(project: Path, environment: pytest.MonkeyPatch) -> Iterator[Callable[[Path], None]]:
    """Makes this process, and the kernels and commands it starts, use the project and a state folder, until the test
    is over.
    """
    folders: set[Path] = set()

    def places_of(state: Path) -> None:
        folders.add(state)
        for name, path in (("PROJECT", project), ("STATE", state), ("CONFIG", project / "config")):
            environment.setenv(f"MAINER_NB_{name}", str(path))
        environment.setenv("MAINER_NB_CACHE", str(project / "cache"))
        environment.setenv("MAINER_NB_PROGRESS", "lines")
        environment.setenv("JUPYTER_DATA_DIR", str(project / "jupyter"))  # which notebooks JupyterLab trusts

    yield places_of
    for folder in folders:
        server.stop(folder)


@pytest.fixture
def fresh(use: Callable[[Path], None], tmp_path: Path) -> None:
    """A network with nothing on it."""
    use(tmp_path / "state")


def run_all(state: Path, use: Callable[[Path], None]) -> run.Result:
    """All notebooks on a network that had nothing on it, kept in the state folder.

    The tiny model never comes to an end by itself, so its LLMs are told to stop early before the last notebook.
    """
    use(state)
    made = run.run(["01", "02", "03"], PARAMETERS)
    assert made.ok, made.failure
    net = network.connect()
    for llm_id in [llm_id for mainer in create.mainers(net) for llm_id in mainer.llm_ids]:
        llm = net.canister_at(llm_id, "llama_cpp")
        llm.set_max_tokens({"max_tokens_update": TOKENS_PER_CALL, "max_tokens_query": TOKENS_PER_CALL})
    result = run.run(parameters=PARAMETERS)
    assert result.ok, result.failure
    return result


@pytest.fixture(scope="session")
def first_run(use: Callable[[Path], None], tmp_path_factory: pytest.TempPathFactory) -> tuple[run.Result, Path]:
    """The result of all notebooks, and the state folder of the network they ran on."""
    state = tmp_path_factory.mktemp("state")
    return run_all(state, use), state


@pytest.fixture
def after_first_run(first_run: tuple[run.Result, Path], use: Callable[[Path], None]) -> run.Result:
    """All notebooks ran; the network is the one they ran on."""
    result, state = first_run
    use(state)
    return result
