"""The LLM canister on an embedded network, called over HTTP."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mainer_nb import artifacts, management
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.identity import Identity
from mainer_nb.localnet import server
from tests import tiny_gguf
from tests.llm_canister import load, seen_by, upload


@pytest.fixture(scope="session")
def new_agent(running: server.Info) -> Callable[[], Agent]:
    """Somebody new, each time."""
    return lambda: Agent(Identity(Ed25519PrivateKey.generate(), "caller"), running.url, bytes.fromhex(running.root_key))


@pytest.fixture(scope="session")
def owner(new_agent: Callable[[], Agent]) -> Agent:
    """The controller of all LLM canisters here."""
    return new_agent()


@pytest.fixture(scope="session")
def wasm() -> bytes:
    return artifacts.llm_wasm().data()


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The tiny model's file."""
    return tiny_gguf.write(tmp_path_factory.mktemp("tiny") / "tiny.gguf").read_bytes()


@pytest.fixture(scope="session")
def install(owner: Agent, wasm: bytes) -> Callable[[], Canister]:
    """Makes a new LLM canister without a model."""

    def make() -> Canister:
        canister_id = management.create_canister(owner, 100 * management.TRILLION)
        management.install_code(owner, canister_id, wasm, "install")
        return seen_by(owner, canister_id)

    return make


@pytest.fixture(scope="session")
def shared(install: Callable[[], Canister], tiny: bytes) -> Canister:
    """One canister with the tiny model, for tests that leave it as they find it."""
    llm = install()
    upload(llm, tiny)
    load(llm)
    return llm


@pytest.fixture
def llm(shared: Canister) -> Canister:
    """The shared canister with the usual settings."""
    shared.set_max_tokens({"max_tokens_update": 0, "max_tokens_query": 0})
    shared.set_access({"level": 0})
    return shared
