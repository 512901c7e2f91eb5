"""Uploading: verified, resumed, not repeated; what is wrong is refused and what was there stays."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mainer_nb import artifacts, progress, upload
from mainer_nb.artifacts import Artifact
from mainer_nb.errors import CanisterError, RejectError
from mainer_nb.models import BASE_MODEL
from mainer_nb.network import CREATOR, Network
from mainer_nb.progress import Lines
from tests import tiny_gguf


def artifact_of(path: Path, data: bytes) -> Artifact:
    path.write_bytes(data)
    return Artifact(path.name, path, len(data), hashlib.sha256(data).hexdigest(), "a test")


@pytest.fixture
def padded(tmp_path: Path) -> Artifact:
    """A wasm of three chunks: a custom section of 5 MB."""
    size = 5_000_000
    length = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14 & 0x7F | 0x80, size >> 21])
    return artifact_of(tmp_path / "padded.wasm", b"\0asm\1\0\0\0\0" + length + b"\1x" + bytes(size - 2))


def begun(artifact: Artifact, model: str) -> dict[str, Any]:
    return {
        "target": {"LlmWasm": {"Other": model}},
        "size": artifact.size,
        "sha256": bytes.fromhex(artifact.sha256),
    }


def test_the_creator_has_what_was_uploaded(uploaded: Network) -> None:
    expected = {
        ("MainerControllerWasm", "", artifacts.canister_wasm(upload.CONTROLLER).sha256),
        ("LlmWasm", "tiny", artifacts.llm_wasm().sha256),
        ("LlmModel", "tiny", artifacts.model("tiny").sha256),
    }
    assert expected <= {(file.target, file.model, file.sha256) for file in upload.stored(uploaded)}
    assert uploaded.canister(CREATOR).getModelPromptFormat({"Other": "tiny"}) == BASE_MODEL.candid()


def test_what_is_there_is_not_sent_again(uploaded: Network) -> None:
    again = upload.upload_all(uploaded, "tiny")
    assert [file.target for file in again] == ["MainerControllerWasm", "LlmWasm", "LlmModel"]
    assert all(file.skipped for file in again)


def test_an_interrupted_upload_goes_on_where_it_stopped(deployed: Network, padded: Artifact) -> None:
    creator = deployed.canister(CREATOR)
    announced = begun(padded, "resumed")
    status = creator.uploadBegin(announced)
    assert status["chunksTotal"] == 3
    chunk = {"target": announced["target"], "sha256": announced["sha256"], "offset": status["chunkSize"]}
    creator.uploadChunk({**chunk, "chunk": padded.data()[status["chunkSize"] : 2 * status["chunkSize"]]})

    done = upload.upload_llm_wasm(deployed, padded, {"Other": "resumed"})
    assert done.sent == padded.size - status["chunkSize"]
    assert done.sha256 == padded.sha256
    assert ("LlmWasm", "resumed", padded.sha256) in {
        (file.target, file.model, file.sha256) for file in upload.stored(deployed)
    }


def test_progress_and_throughput_are_reported(
    deployed: Network, padded: Artifact, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "SHOWN_AFTER", 0.0)  # a quick upload would show nothing
    done = upload.upload_llm_wasm(deployed, padded, {"Other": "watched"}, Lines())
    assert done.sent == padded.size
    assert done.bytes_per_second > 0
    assert "upload padded.wasm: begins: 5.0 MB" in capsys.readouterr().out


def test_a_wrong_checksum_is_refused_and_the_artefact_before_it_stays(
    deployed: Network, padded: Artifact, tmp_path: Path
) -> None:
    from dataclasses import replace

    variant = {"Other": "checked"}
    upload.upload_llm_wasm(deployed, padded, variant)
    other = artifact_of(tmp_path / "other.wasm", padded.data()[:-1] + b"!")
    with pytest.raises(CanisterError, match=r"uploadFinish answered Err .*sha256"):
        upload.upload_llm_wasm(deployed, replace(other, sha256="00" * 32), variant)
    kept = [file.sha256 for file in upload.stored(deployed) if file.model == "checked"]
    assert kept == [padded.sha256]


def test_a_model_brings_the_form_in_which_it_is_asked(deployed: Network, tmp_path: Path) -> None:
    template = "{% for m in messages %}<user>{{ m['content'] }}</user>{% endfor %}<answer>"
    path = tiny_gguf.write(tmp_path / "chatty.gguf", name="chatty", chat_template=template)
    upload.upload_model(deployed, artifacts.model(path))
    assert deployed.canister(CREATOR).getModelPromptFormat({"Other": "chatty"}) == {
        "prefix": "<user>",
        "suffix": "</user><answer>",
        "stop": [],
    }


def test_somebody_else_may_not_upload(
    deployed: Network, padded: Artifact, as_stranger: Callable[[Network], Network]
) -> None:
    with pytest.raises((CanisterError, RejectError), match=r"Unauthorized|reject"):
        upload.upload_llm_wasm(as_stranger(deployed), padded, {"Other": "stranger"})
    assert "stranger" not in {file.model for file in upload.stored(deployed)}
