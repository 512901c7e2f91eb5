"""The protocol's canisters on an embedded network, called over HTTP."""

from __future__ import annotations

import pytest

from mainer_nb import artifacts
from mainer_nb.localnet import server
from tests import tiny_gguf
from tests.mainer_canisters import Protocol


@pytest.fixture(scope="session")
def llm_wasm() -> bytes:
    return artifacts.llm_wasm().data()


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The file of a tiny model."""
    return tiny_gguf.write(tmp_path_factory.mktemp("tiny") / "tiny.gguf", context=2048).read_bytes()


@pytest.fixture
def protocol(running: server.Info) -> Protocol:
    """A new Game State and creator, with nothing uploaded."""
    return Protocol.deploy(running)


@pytest.fixture(scope="session")
def guarded(running: server.Info) -> Protocol:
    """A Game State and creator for tests that change nothing."""
    return Protocol.deploy(running)


@pytest.fixture
def supplied(protocol: Protocol, llm_wasm: bytes, model: bytes) -> Protocol:
    """A new Game State and creator, with everything uploaded that mAIners are made of."""
    protocol.upload_artefacts(llm_wasm, model)
    return protocol
