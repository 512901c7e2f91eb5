"""Snapshots taken, loaded, and moved from one canister to another, on a real network."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mainer_nb import management
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.errors import ArgumentError, ArtifactCorrupt, ArtifactMissing, RejectError
from mainer_nb.fleet import snapshots
from mainer_nb.identity import Identity
from mainer_nb.localnet import server
from mainer_nb.management import TRILLION
from tests.probe_canister import PROBE_DID


@pytest.fixture
def counter(agent: Agent, probe: str) -> Canister:
    return Canister(agent, probe, PROBE_DID)


@pytest.fixture
def downloaded(agent: Agent, counter: Canister, tmp_path: Path) -> Path:
    """A folder with a snapshot of a counter that has counted to 1."""
    counter.increment()
    folder = tmp_path / "snapshot"
    snapshots.download(agent, snapshots.take(agent, counter.canister_id), folder)
    return folder


def test_loading_a_snapshot_brings_back_what_was(agent: Agent, counter: Canister) -> None:
    assert counter.increment() == 1
    taken = snapshots.take(agent, counter.canister_id)
    assert counter.increment() == 2
    snapshots.load(agent, counter.canister_id, taken.snapshot_id)
    assert counter.value() == 1
    assert snapshots.kept(agent, counter.canister_id) == [taken]
    assert taken.size > 65_536


def test_a_snapshot_replaces_another(agent: Agent, counter: Canister) -> None:
    first = snapshots.take(agent, counter.canister_id)
    other = snapshots.take(agent, counter.canister_id)
    second = snapshots.take(agent, counter.canister_id, replace=first.snapshot_id)
    assert snapshots.kept(agent, counter.canister_id) == [other, second]


def test_a_deleted_snapshot_is_gone(agent: Agent, counter: Canister) -> None:
    taken = snapshots.take(agent, counter.canister_id)
    snapshots.delete(agent, counter.canister_id, taken.snapshot_id)
    assert snapshots.kept(agent, counter.canister_id) == []
    with pytest.raises(RejectError, match="not find the snapshot"):
        snapshots.load(agent, counter.canister_id, taken.snapshot_id)


def test_a_snapshot_goes_to_another_canister_by_way_of_files(agent: Agent, counter: Canister, downloaded: Path) -> None:
    other = management.create_canister(agent, 100 * TRILLION)
    snapshots.load(agent, other, snapshots.upload(agent, other, downloaded))
    assert management.module_hash(agent, other) == management.module_hash(agent, counter.canister_id)
    assert Canister(agent, other, PROBE_DID).increment() == 2
    assert counter.value() == 1


def test_the_files_have_the_names_that_other_tools_give_them(downloaded: Path) -> None:
    metadata = json.loads((downloaded / "metadata.json").read_text())
    for part in ("wasm_module", "wasm_memory", "stable_memory"):
        assert (downloaded / f"{part}.bin").stat().st_size == int(metadata[f"{part}_size"])


def test_an_upload_replaces_a_snapshot(agent: Agent, counter: Canister, downloaded: Path) -> None:
    (before,) = snapshots.kept(agent, counter.canister_id)
    sent = snapshots.upload(agent, counter.canister_id, downloaded, replace=before.snapshot_id)
    assert [snapshot.snapshot_id for snapshot in snapshots.kept(agent, counter.canister_id)] == [sent]


def test_chunks_of_code_come_along(agent: Agent, counter: Canister, tmp_path: Path) -> None:
    management.call(agent, management.INTERFACE, "upload_chunk", counter.canister_id, chunk=b"some code")
    folder = tmp_path / "with chunks"
    snapshots.download(agent, snapshots.take(agent, counter.canister_id), folder)
    other = management.create_canister(agent, 100 * TRILLION)
    snapshots.load(agent, other, snapshots.upload(agent, other, folder))
    again = tmp_path / "again"
    snapshots.download(agent, snapshots.take(agent, other), again)
    (chunk,) = (again / "wasm_chunk_store").iterdir()
    assert chunk.read_bytes() == b"some code"


def test_a_folder_without_a_whole_snapshot_is_refused(agent: Agent, probe: str, downloaded: Path) -> None:
    with pytest.raises(ArtifactMissing, match="no complete snapshot"):
        snapshots.upload(agent, probe, downloaded.parent)
    (downloaded / "stable_memory.bin").unlink()
    with pytest.raises(ArtifactCorrupt, match="is missing"):
        snapshots.upload(agent, probe, downloaded)
    (downloaded / "wasm_memory.bin").write_bytes(b"short")
    with pytest.raises(ArtifactCorrupt, match="has 5 bytes"):
        snapshots.upload(agent, probe, downloaded)
    (downloaded / "metadata.json").write_text('{"globals": 7}')
    with pytest.raises(ArtifactCorrupt, match="not the metadata"):
        snapshots.upload(agent, probe, downloaded)


def test_an_id_that_is_none_is_named(agent: Agent, probe: str) -> None:
    with pytest.raises(ArgumentError, match="'latest' is not the id of a snapshot"):
        snapshots.load(agent, probe, "latest")


def test_only_controllers_may_take_and_load(running: server.Info, agent: Agent, probe: str) -> None:
    taken = snapshots.take(agent, probe)
    stranger = Agent(Identity(Ed25519PrivateKey.generate()), running.url, bytes.fromhex(running.root_key))
    for forbidden in (
        lambda: snapshots.take(stranger, probe),
        lambda: snapshots.kept(stranger, probe),
        lambda: snapshots.load(stranger, probe, taken.snapshot_id),
        lambda: snapshots.delete(stranger, probe, taken.snapshot_id),
    ):
        with pytest.raises(RejectError, match="controller"):
            forbidden()
