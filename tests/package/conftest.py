"""A project, caches and keys of the test's own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import gguf
import numpy
import pytest
import wasmtime
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mainer_nb import management
from mainer_nb.agent import Agent
from mainer_nb.identity import Identity
from mainer_nb.localnet import server
from tests.probe_canister import PROBE_WAT


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the user's is read or written: keys, caches, networks and the home directory are the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    for name, folder in (("CONFIG", "config"), ("CACHE", "cache"), ("STATE", "state")):
        monkeypatch.setenv(f"MAINER_NB_{name}", str(tmp_path / folder))
    for name in ("ICP_HOME", "DFX_CONFIG_ROOT", "XDG_DATA_HOME", "MAINER_NB_PROGRESS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty project: a directory with an empty manifest."""
    root = tmp_path / "project"
    (root / "files").mkdir(parents=True)
    (root / "files" / "manifest.json").write_text('{"files": []}')
    monkeypatch.setenv("MAINER_NB_PROJECT", str(root))
    return root


@pytest.fixture
def ship(project: Path) -> Callable[[str, bytes], Path]:
    """Puts a file into the project's files/ and into its manifest."""

    def put(name: str, data: bytes) -> Path:
        path = project / "files" / name
        path.write_bytes(data)
        manifest = project / "files" / "manifest.json"
        table = json.loads(manifest.read_text())
        entry = {"name": name, "size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "source": "a test"}
        table["files"].append(entry)
        manifest.write_text(json.dumps(table))
        return path

    return put


@pytest.fixture
def write_gguf() -> Callable[..., Path]:
    """Writes small gguf files."""

    def write(
        path: Path,
        template: str | None = None,
        name: str | None = "Small",
        architecture: str = "llama",
        add_bos: bool | None = None,
    ) -> Path:
        """A gguf file with a vocabulary of 100 tokens and two tensors."""
        writer = gguf.GGUFWriter(path, architecture)
        if name:
            writer.add_name(name)
        writer.add_context_length(512)
        writer.add_embedding_length(64)
        writer.add_block_count(1)
        writer.add_head_count(4)
        writer.add_file_type(gguf.LlamaFileType.ALL_F32)
        writer.add_tokenizer_model("llama")
        writer.add_token_list(["<unk>", "<s>", "</s>", *(f"word{i}" for i in range(97))])
        writer.add_token_scores([0.0] * 100)
        writer.add_bos_token_id(1)
        writer.add_eos_token_id(2)
        if add_bos is not None:
            writer.add_add_bos_token(add_bos)
        if template is not None:
            writer.add_chat_template(template)
        writer.add_tensor("token_embd.weight", numpy.zeros((100, 64), dtype=numpy.float32))
        writer.add_tensor("blk.0.attn_q.weight", numpy.zeros((64, 64), dtype=numpy.float16))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


@pytest.fixture
def caller() -> Identity:
    """Somebody new."""
    return Identity(Ed25519PrivateKey.generate(), "caller")


@pytest.fixture
def agent(running: server.Info, caller: Identity) -> Agent:
    """Somebody new on the session's network."""
    return Agent(caller, running.url, bytes.fromhex(running.root_key))


@pytest.fixture(scope="session")
def probe_wasm() -> bytes:
    return bytes(wasmtime.wat2wasm(PROBE_WAT))


@pytest.fixture
def probe(agent: Agent, probe_wasm: bytes) -> str:
    """A small canister of the caller's own; its id."""
    canister_id = management.create_canister(agent, 10 * management.TRILLION)
    management.install_code(agent, canister_id, probe_wasm, "install")
    return canister_id
