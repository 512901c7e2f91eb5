"""Uploads to the mAIner Creator: checked before use, resumable, and none of them harms what is in use."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest

from mainer_nb import artifacts
from mainer_nb.canister import Canister
from mainer_nb.errors import CanisterError
from tests.mainer_canisters import CHUNK, CONTROLLER_WASM, LLM_MODEL, LLM_WASM, TINY, Protocol, send_chunk, upload


def gguf(size: int, seed: int = 0) -> bytes:
    """A file that begins like a gguf with one tensor."""
    header = b"GGUF" + (3).to_bytes(4, "little") + (1).to_bytes(8, "little") + (0).to_bytes(8, "little")
    return header + random.Random(seed).randbytes(size - len(header))


def announced(target: dict[str, Any], data: bytes) -> dict[str, Any]:
    return {"target": target, "size": len(data), "sha256": hashlib.sha256(data).digest()}


def artefacts(creator: Canister) -> dict[str, str]:
    """sha256 by target."""
    return {next(iter(entry["target"])): entry["sha256"].hex() for entry in creator.getArtefacts()}


@pytest.mark.parametrize("size", [64, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 63, 5 * CHUNK + 64])
def test_the_sha256_of_any_size_is_right(protocol: Protocol, size: int) -> None:
    data = gguf(size)
    status = upload(protocol.creator, LLM_MODEL, data)
    assert status["finished"]
    assert status["hashedBytes"] == status["size"] == size
    assert artefacts(protocol.creator)["LlmModel"] == hashlib.sha256(data).hexdigest()


def test_chunks_may_come_in_any_order_and_more_than_once(protocol: Protocol) -> None:
    data = gguf(12 * CHUNK + 7)
    creator = protocol.creator
    creator.uploadBegin(announced(LLM_MODEL, data))
    status = {}
    for number in [*reversed(range(13)), 3, 3]:
        status = send_chunk(creator, LLM_MODEL, data, number)
    assert status["chunksReceived"] == status["chunksTotal"] == 13
    # The first chunk came last, so most is still to be hashed: finishing takes several messages.
    finish = {"target": LLM_MODEL, "sha256": hashlib.sha256(data).digest()}
    partial = creator.uploadFinish(finish)
    assert not partial["finished"]
    assert partial["hashedBytes"] > status["hashedBytes"]
    assert upload(creator, LLM_MODEL, data)["finished"]
    assert artefacts(creator)["LlmModel"] == hashlib.sha256(data).hexdigest()


def test_an_interrupted_upload_goes_on_where_it_stopped_even_after_an_upgrade(protocol: Protocol) -> None:
    data = gguf(4 * CHUNK)
    creator = protocol.creator
    creator.uploadBegin(announced(LLM_MODEL, data))
    for number in (0, 2):
        send_chunk(creator, LLM_MODEL, data, number)
    protocol.upgrade(creator)

    assert creator.uploadStatus(LLM_MODEL)["missing"] == [1, 3]
    assert creator.uploadBegin(announced(LLM_MODEL, data))["missing"] == [1, 3]
    assert upload(creator, LLM_MODEL, data)["finished"]


def test_what_is_there_already_is_not_sent_again(protocol: Protocol) -> None:
    data = gguf(1000)
    upload(protocol.creator, LLM_MODEL, data)
    again = protocol.creator.uploadBegin(announced(LLM_MODEL, data))
    assert again["finished"]
    assert again["missing"] == []
    assert protocol.creator.uploadFinish({"target": LLM_MODEL, "sha256": hashlib.sha256(data).digest()})["finished"]


def test_a_corrupt_upload_is_dropped_and_what_was_there_stays(protocol: Protocol) -> None:
    creator = protocol.creator
    good, other = gguf(2 * CHUNK, seed=1), gguf(2 * CHUNK, seed=2)
    upload(creator, LLM_MODEL, good)
    damaged = other[:-1] + bytes([other[-1] ^ 1])
    creator.uploadBegin(announced(LLM_MODEL, other))
    sha256 = hashlib.sha256(other).digest()
    for number in range(2):
        chunk = damaged[number * CHUNK : (number + 1) * CHUNK]
        creator.uploadChunk({"target": LLM_MODEL, "sha256": sha256, "offset": number * CHUNK, "chunk": chunk})
    with pytest.raises(CanisterError, match=hashlib.sha256(damaged).hexdigest()):
        creator.uploadFinish({"target": LLM_MODEL, "sha256": sha256})
    assert artefacts(creator)["LlmModel"] == hashlib.sha256(good).hexdigest()
    assert creator.uploadStatus(LLM_MODEL)["finished"]
    assert upload(creator, LLM_MODEL, other)["finished"]


@pytest.mark.parametrize(
    ("target", "data", "why"),
    [
        (LLM_MODEL, b"not a model at all, but long enough", "does not begin with GGUF"),
        (LLM_MODEL, b"GGUF", "only 4 bytes"),
        (LLM_MODEL, b"GGUF" + (9).to_bytes(4, "little") + bytes(16), "gguf version 9"),
        (LLM_MODEL, b"GGUF\3\0\0\0" + (10**9).to_bytes(8, "little") + bytes(64), "too small for 1000000000 tensors"),
        (LLM_WASM, b"\x1f\x8b\x08\x00\x00\x00\x00\x00", "not a WebAssembly module"),
        (CONTROLLER_WASM, b"\0asm\1\0\0\0\1\x10\0", "is cut off"),
        (CONTROLLER_WASM, b"\0asm\1\0\0\0\x63\1\0", "has no section at byte 8"),
    ],
)
def test_a_file_of_the_wrong_form_is_refused(protocol: Protocol, target: dict[str, Any], data: bytes, why: str) -> None:
    with pytest.raises(CanisterError, match=why):
        upload(protocol.creator, target, data)
    assert protocol.creator.getArtefacts() == []


def test_finishing_too_early_names_what_is_missing(protocol: Protocol) -> None:
    data = gguf(3 * CHUNK)
    protocol.creator.uploadBegin(announced(LLM_MODEL, data))
    send_chunk(protocol.creator, LLM_MODEL, data, 0)
    with pytest.raises(CanisterError, match=f"2 chunks .* are missing, the first at {CHUNK}"):
        protocol.creator.uploadFinish({"target": LLM_MODEL, "sha256": hashlib.sha256(data).digest()})
    assert upload(protocol.creator, LLM_MODEL, data)["finished"]


@pytest.mark.parametrize(
    ("offset", "size", "why"),
    [
        (1, CHUNK, "No chunk begins at 1"),
        (2 * CHUNK, CHUNK, "No chunk begins at"),
        (0, CHUNK - 1, f"must have {CHUNK} bytes, not {CHUNK - 1}"),
        (CHUNK, CHUNK, "must have 100 bytes"),
    ],
)
def test_a_chunk_that_does_not_fit_is_refused(protocol: Protocol, offset: int, size: int, why: str) -> None:
    data = gguf(CHUNK + 100)
    protocol.creator.uploadBegin(announced(LLM_MODEL, data))
    sha256 = hashlib.sha256(data).digest()
    with pytest.raises(CanisterError, match=why):
        protocol.creator.uploadChunk({"target": LLM_MODEL, "sha256": sha256, "offset": offset, "chunk": bytes(size)})
    assert protocol.creator.uploadStatus(LLM_MODEL)["chunksReceived"] == 0


def test_an_upload_that_was_not_begun_is_refused(protocol: Protocol) -> None:
    with pytest.raises(CanisterError, match="begin it with uploadBegin"):
        send_chunk(protocol.creator, LLM_MODEL, gguf(100), 0)
    with pytest.raises(CanisterError, match="begin it with uploadBegin"):
        protocol.creator.uploadFinish({"target": LLM_MODEL, "sha256": bytes(32)})
    with pytest.raises(CanisterError, match='No model file of "tiny" was uploaded'):
        protocol.creator.uploadStatus(LLM_MODEL)


@pytest.mark.parametrize(("size", "sha256"), [(0, bytes(32)), (100, bytes(31))])
def test_a_senseless_announcement_is_refused(protocol: Protocol, size: int, sha256: bytes) -> None:
    with pytest.raises(CanisterError):
        protocol.creator.uploadBegin({"target": LLM_MODEL, "size": size, "sha256": sha256})


def test_the_space_of_replaced_artefacts_is_used_again(protocol: Protocol) -> None:
    creator = protocol.creator
    for seed in range(2):  # while the second comes, the first is still in use
        upload(creator, LLM_MODEL, gguf(8 * CHUNK, seed))
    before = protocol.stable_memory(creator)
    for seed in range(2, 6):
        upload(creator, LLM_MODEL, gguf(8 * CHUNK, seed))
    creator.uploadBegin(announced(LLM_MODEL, gguf(8 * CHUNK, 6)))  # given up for another one
    upload(creator, LLM_MODEL, gguf(8 * CHUNK, 7))
    assert protocol.stable_memory(creator) == before
    assert artefacts(creator)["LlmModel"] == hashlib.sha256(gguf(8 * CHUNK, 7)).hexdigest()


# The older, appending uploads


def parts(data: bytes, size: int = CHUNK) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_appending_uploads_bring_what_mainers_are_made_of(protocol: Protocol, llm_wasm: bytes, model: bytes) -> None:
    creator = protocol.creator
    controller = artifacts.canister_wasm("mainer_ctrlb_canister").data()
    creator.start_upload_mainer_controller_canister_wasm()
    answers = [creator.upload_mainer_controller_canister_wasm_bytes_chunk(part) for part in parts(controller, 300_000)]
    assert "more to come" in answers[0]["creationResult"]
    assert hashlib.sha256(controller).hexdigest() in answers[-1]["creationResult"]
    creator.start_upload_mainer_llm_canister_wasm(TINY)
    for part in parts(llm_wasm, 1_000_003):
        creator.upload_mainer_llm_canister_wasm_bytes_chunk(TINY, part)
    creator.start_upload_mainer_llm()
    for part in parts(model, 100_001):
        creator.upload_mainer_llm_bytes_chunk(part)
    assert hashlib.sha256(model).hexdigest() in creator.finish_upload_mainer_llm(TINY)["creationResult"]

    assert artefacts(creator) == {
        "MainerControllerWasm": hashlib.sha256(controller).hexdigest(),
        "LlmWasm": hashlib.sha256(llm_wasm).hexdigest(),
        "LlmModel": hashlib.sha256(model).hexdigest(),
    }
    mainer = protocol.mainer("Own")
    assert protocol.llm(mainer).ready() == {"status_code": 200}


def test_an_appending_upload_that_was_not_started_is_refused(protocol: Protocol) -> None:
    creator = protocol.creator
    with pytest.raises(CanisterError, match="No upload of the mAIner controller wasm was started"):
        creator.upload_mainer_controller_canister_wasm_bytes_chunk(b"\0asm\1\0\0\0")
    with pytest.raises(CanisterError, match="No upload of the LLM wasm for Qwen2_5_500M was started"):
        creator.upload_mainer_llm_canister_wasm_bytes_chunk("Qwen2_5_500M", b"\0asm\1\0\0\0")
    with pytest.raises(CanisterError, match="No upload of the model file was started"):
        creator.upload_mainer_llm_bytes_chunk(b"GGUF")
    with pytest.raises(CanisterError, match="No upload of the model file was started"):
        creator.finish_upload_mainer_llm(TINY)


def test_a_bad_appending_upload_leaves_what_was_there(protocol: Protocol, model: bytes) -> None:
    creator = protocol.creator
    upload(creator, LLM_MODEL, model)
    creator.start_upload_mainer_llm()
    creator.upload_mainer_llm_bytes_chunk(b"this is no model, whatever it was meant to be")
    with pytest.raises(CanisterError, match="does not begin with GGUF"):
        creator.finish_upload_mainer_llm(TINY)
    creator.start_upload_mainer_controller_canister_wasm()
    with pytest.raises(CanisterError, match="not a WebAssembly module"):
        creator.upload_mainer_controller_canister_wasm_bytes_chunk(b"<html>404 Not Found</html>")
    assert artefacts(creator) == {"LlmModel": hashlib.sha256(model).hexdigest()}


def test_an_entry_at_once(protocol: Protocol) -> None:
    wasm = artifacts.canister_wasm("game_state_canister").data()
    entry = {"canisterWasm": wasm, "modelFile": [gguf(1000), b"second part"]}
    assert protocol.creator.addModelCreationArtefactsEntry(TINY, entry) == entry
    assert artefacts(protocol.creator) == {
        "LlmWasm": hashlib.sha256(wasm).hexdigest(),
        "LlmModel": hashlib.sha256(gguf(1000) + b"second part").hexdigest(),
    }
    with pytest.raises(CanisterError, match="does not begin with GGUF"):
        protocol.creator.addModelCreationArtefactsEntry(TINY, {"canisterWasm": wasm, "modelFile": [bytes(100)]})
    assert len(protocol.creator.getArtefacts()) == 2


# Who may upload


@pytest.mark.parametrize(
    ("method", "args"),
    [
        ("uploadBegin", [{"target": LLM_MODEL, "size": 1, "sha256": bytes(32)}]),
        ("uploadChunk", [{"target": LLM_MODEL, "sha256": bytes(32), "offset": 0, "chunk": b"x"}]),
        ("uploadFinish", [{"target": LLM_MODEL, "sha256": bytes(32)}]),
        ("uploadStatus", [LLM_MODEL]),
        ("start_upload_mainer_controller_canister_wasm", []),
        ("upload_mainer_controller_canister_wasm_bytes_chunk", [b"x"]),
        ("start_upload_mainer_llm_canister_wasm", [TINY]),
        ("upload_mainer_llm_canister_wasm_bytes_chunk", [TINY, b"x"]),
        ("start_upload_mainer_llm", []),
        ("upload_mainer_llm_bytes_chunk", [b"x"]),
        ("finish_upload_mainer_llm", [TINY]),
        ("addModelCreationArtefactsEntry", [TINY, {"canisterWasm": b"", "modelFile": []}]),
        ("setMasterCanisterId", ["aaaaa-aa"]),
        ("setModelPromptFormat", [TINY, {"prefix": "", "suffix": "", "stop": []}]),
        ("setCreationCycles", [{"controller": 1, "llm": 1}]),
        ("getCreationCycles", []),
        ("amiController", []),
        ("testCreateMainerControllerCanister", ["Own", None]),
        ("testCreateMainerLlmCanister", ["rrkah-fqaaa-aaaaa-aaaaq-cai"]),
        (
            "createCanister",
            [
                {
                    "canisterType": "MainerAgent",
                    "selectedModel": "Qwen2_5_500M",
                    "associatedCanisterAddress": None,
                    "owner": "2vxsx-fae",
                    "mainerAgentCanisterType": "Own",
                }
            ],
        ),
    ],
)
def test_only_controllers_may(guarded: Protocol, method: str, args: list[Any]) -> None:
    with pytest.raises(CanisterError) as caught:
        getattr(guarded.stranger(guarded.creator), method)(*args)
    assert caught.value.variant == "Unauthorized"


def test_models_may_take_more_than_4_gib_together(protocol: Protocol) -> None:
    for seed in (1, 2):
        target = {"LlmModel": {"Other": f"large {seed}"}}
        status = protocol.creator.uploadBegin({"target": target, "size": 3 * 2**30, "sha256": bytes([seed]) * 32})
        assert status["chunksTotal"] == -(-3 * 2**30 // CHUNK)
