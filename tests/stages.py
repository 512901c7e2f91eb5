"""Fixtures for folders of tests: the mission's stages on embedded networks, with a tiny model: deployed, uploaded,
populated.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mainer_nb import artifacts, cli, create, deploy, network, operate, places, upload
from mainer_nb.canister import Canister
from mainer_nb.create import Mainer, Plan
from mainer_nb.errors import CanisterError
from mainer_nb.identity import Identity
from mainer_nb.localnet import server
from mainer_nb.network import Network
from mainer_nb.operate import Challenge
from tests import tiny_gguf

MODEL = "tiny"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the shipped canisters, the LLM canister and a tiny model."""
    root = tmp_path_factory.mktemp("project")
    wasm = artifacts.llm_wasm()
    shutil.copytree(places.files(), root / "files", ignore=shutil.ignore_patterns("*.gguf", "llama_cpp.wasm"))
    shutil.copy(wasm.path, root / "files" / artifacts.LLM_WASM)
    tiny_gguf.write(root / "files" / f"{MODEL}.gguf")
    return root


@pytest.fixture(scope="session")
def new_network(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Network]]:
    """Makes a network of its own, with nothing on it, each time."""
    folders: list[Path] = []

    def make() -> Network:
        folders.append(tmp_path_factory.mktemp("network"))
        with pytest.MonkeyPatch.context() as patch:
            set_places(patch, project, folders[-1])
            return network.connect()

    yield make
    for folder in folders:
        server.stop(folder)


def set_places(patch: pytest.MonkeyPatch, project: Path, state: Path) -> None:
    patch.setenv("MAINER_NB_PROJECT", str(project))
    patch.setenv("MAINER_NB_STATE", str(state))
    patch.setenv("MAINER_NB_CONFIG", str(project / "config"))
    patch.setenv("MAINER_NB_CACHE", str(project / "cache"))


@pytest.fixture(autouse=True)
def in_project(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    set_places(monkeypatch, project, tmp_path / "state")


@pytest.fixture
def empty(new_network: Callable[[], Network]) -> Network:
    """A network with nothing on it."""
    return new_network()


def deploy_to(net: Network, project: Path) -> Network:
    """The network, now with the creator and the Game State."""
    with pytest.MonkeyPatch.context() as patch:
        set_places(patch, project, project)
        deploy.deploy(net)
    return net


def upload_to(net: Network, project: Path) -> Network:
    """The network, now with everything uploaded, for the tiny model."""
    with pytest.MonkeyPatch.context() as patch:
        set_places(patch, project, project)
        upload.upload_all(net, MODEL)
    return net


@pytest.fixture(scope="session")
def deployed(new_network: Callable[[], Network], project: Path) -> Network:
    """A network with the creator and the Game State, which tests leave as they find it."""
    return deploy_to(new_network(), project)


@pytest.fixture(scope="session")
def uploaded(deployed: Network, project: Path) -> Network:
    """The same network with everything uploaded, for the tiny model."""
    return upload_to(deployed, project)


@pytest.fixture(scope="session")
def keep_it_short(project: Path) -> Callable[[Network, str], None]:
    """The tiny model never comes to an end by itself: a mAIner asks it six times for this many tokens."""

    def limit(net: Network, llm_id: str) -> None:
        interface = project / "files" / "llama_cpp.did"
        llm = Canister(net.agent, llm_id, interface, "llama_cpp")
        llm.set_max_tokens({"max_tokens_update": 50, "max_tokens_query": 50})

    return limit


@pytest.fixture(scope="session")
def own_network(
    new_network: Callable[[], Network], project: Path, keep_it_short: Callable[[Network, str], None]
) -> Callable[..., Network]:
    """Makes a network for tests that change it: deployed, everything uploaded, and with the mAIners of a plan."""

    def make(plan: Plan | None = None) -> Network:
        net = new_network()
        with pytest.MonkeyPatch.context() as patch:
            set_places(patch, project, project)
            deploy.deploy(net)
            upload.upload_all(net, MODEL)
            for mainer in create.ensure(net, plan) if plan else []:
                for llm_id in mainer.llm_ids:
                    keep_it_short(net, llm_id)
        return net

    return make


@pytest.fixture(scope="session")
def mainers(uploaded: Network, project: Path, keep_it_short: Callable[[Network, str], None]) -> list[Mainer]:
    """An Own mAIner with two LLMs, a ShareService with one and two ShareAgents, on the same network."""
    with pytest.MonkeyPatch.context() as patch:
        set_places(patch, project, project)
        mainers = create.ensure(uploaded, Plan())
        for llm_id in [llm_id for mainer in mainers for llm_id in mainer.llm_ids]:
            keep_it_short(uploaded, llm_id)
    return mainers


@pytest.fixture
def own(mainers: list[Mainer]) -> Mainer:
    return mainers[0]


@pytest.fixture
def service(mainers: list[Mainer]) -> Mainer:
    return mainers[1]


@pytest.fixture
def agents(mainers: list[Mainer]) -> list[Mainer]:
    return mainers[2:]


@pytest.fixture
def close(uploaded: Network, own: Mainer) -> Callable[[], None]:
    """Has the open challenges answered and judged until none is open, and what is still queued given up."""

    def until_none_is_open() -> None:
        while operate.challenges(uploaded):
            operate.fund(uploaded, [own])
            if operate.judge_next(uploaded, score=3) is None:
                with suppress(CanisterError):  # what is queued may have been closed
                    operate.trigger(uploaded, own.controller_id)
        while operate.queue(uploaded, own.controller_id):
            with suppress(CanisterError):
                operate.trigger(uploaded, own.controller_id)

    return until_none_is_open


@pytest.fixture
def challenge(uploaded: Network, close: Callable[[], None]) -> Iterator[Challenge]:
    """An open challenge, the only one; closed again after the test, with nothing left to judge."""
    yield operate.open_challenge(uploaded, "arithmetic", "What is one and one?", seed=7)
    close()


@pytest.fixture
def as_stranger() -> Callable[[Network], Network]:
    """The same network as somebody who controls nothing there."""
    from dataclasses import replace

    from mainer_nb.agent import Agent

    def change(net: Network) -> Network:
        stranger = Identity(Ed25519PrivateKey.generate(), "stranger")
        return replace(net, agent=Agent(stranger, net.url, net.root_key))

    return change


@pytest.fixture
def run(uploaded: Network, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs a command line on the network that has everything; its status, and what it printed."""
    monkeypatch.setenv("MAINER_NB_STATE", str(uploaded.ids.files[0].path.parent))
    capfd.readouterr()

    def command(*words: str) -> tuple[int, str, str]:
        status = cli.main(list(words))
        said = capfd.readouterr()
        return status, said.out, said.err

    yield command
    monkeypatch.undo()
