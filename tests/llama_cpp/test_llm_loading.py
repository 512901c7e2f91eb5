"""Loading over several messages: what the canister does meanwhile, and what becomes of it when something intervenes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mainer_nb import places
from mainer_nb.localnet.errors import Reject, Reply, Response
from mainer_nb.localnet.sandbox import Sandbox, SandboxCanister
from mainer_nb.protocol import candid
from tests import tiny_gguf
from tests.llm_canister import CHUNK, MODEL

LOADED = "Model succesfully loaded into memory."
SMALL_STEPS = "4096"  # bytes a message; the tiny model has some 500,000
SAY = {"args": ["-p", "abc", "-n", "12", "--temp", "0", "--ignore-eos"]}


@pytest.fixture
def ic() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        yield sandbox


@pytest.fixture
def llm(ic: Sandbox, wasm: bytes, tiny: bytes) -> SandboxCanister:
    """A canister that has the tiny model's file, not loaded."""
    canister = ic.create_canister(wasm, did=(places.files() / "llama_cpp.did").read_text())
    upload(canister, tiny)
    return canister


@pytest.fixture(scope="module")
def larger(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model of 21 MB, which takes a second or more to load in small steps."""
    return tiny_gguf.write(tmp_path_factory.mktemp("larger") / "larger.gguf", width=512).read_bytes()


def upload(llm: SandboxCanister, data: bytes, name: str = MODEL) -> None:
    for offset in range(0, len(data), CHUNK):
        part = data[offset : offset + CHUNK]
        llm.file_upload_chunk({"filename": name, "chunk": part, "chunksize": len(part), "offset": offset})


def load_arguments(step: str = SMALL_STEPS, name: str = MODEL) -> dict[str, Any]:
    return {"args": ["--model", name, "--weights-per-message", step]}


def submit(llm: SandboxCanister, method: str, *arguments: Any) -> bytes:
    """Sends a call without waiting for its answer; its request id."""
    request = llm.sandbox.submit(llm.id, method, candid.encode(llm.interface.methods[method].args, arguments))
    assert isinstance(request, bytes)
    return request


def value(llm: SandboxCanister, method: str, response: Response) -> Any:
    assert isinstance(response, Reply), response
    (result,) = candid.decode(llm.interface.methods[method].results, response.data)
    return result


def at_once(llm: SandboxCanister, *calls: tuple[Any, ...]) -> list[Response]:
    """Sends all calls before the first one is executed; their answers."""
    with llm.sandbox.network.subnet.lock:
        requests = [submit(llm, *call) for call in calls]
    return [llm.sandbox.response(request) for request in requests]


def begun(llm: SandboxCanister, step: str) -> bytes:
    """Calls load_model, and waits until it has begun."""
    request = submit(llm, "load_model", load_arguments(step))
    deadline = time.monotonic() + 60
    while "is being loaded" not in str(llm.ready()):
        assert time.monotonic() < deadline
    return request


def test_a_model_loaded_in_many_messages_is_the_same(llm: SandboxCanister) -> None:
    for step in ("1073741824", "100000", SMALL_STEPS):
        assert llm.load_model(load_arguments(step))["Ok"]["output"] == LOADED
        assert llm.ready() == {"Ok": {"status_code": 200}}
        said = llm.run_update(SAY)["Ok"]["output"]
        assert len(said) > 5
        assert said == llm.run_query(SAY)["Ok"]["output"]
        if step == "1073741824":
            expected = said
        assert said == expected


@pytest.mark.parametrize("step", ["4095", "1073741825", "much"])
def test_a_step_is_neither_too_small_nor_too_large(llm: SandboxCanister, step: str) -> None:
    error = llm.load_model(load_arguments(step))["Err"]
    assert error["status_code"] == 400
    assert f"--weights-per-message cannot be '{step}'" in error["error"]


def test_what_other_methods_say_while_a_model_is_being_loaded(llm: SandboxCanister, tiny: bytes) -> None:
    upload(llm, tiny, "another.gguf")
    chunk = {"filename": MODEL, "chunk": b"abc", "chunksize": 3, "offset": 0}
    loaded, again, ran, measured, changed, removed, ready, other_file = at_once(
        llm,
        ("load_model", load_arguments()),
        ("load_model", load_arguments(name="another.gguf")),
        ("run_update", SAY),
        ("measure_token_cost",),
        ("file_upload_chunk", chunk),
        ("remove_log_file", {"args": ["--log-file", MODEL]}),
        ("ready",),
        ("file_upload_chunk", {**chunk, "filename": "a file"}),
    )
    assert value(llm, "load_model", loaded)["Ok"]["output"] == LOADED
    for method, response, status in (("load_model", again, 409), ("run_update", ran, 503)):
        error = value(llm, method, response)["Err"]
        assert error["status_code"] == status
        assert f"'{MODEL}' is being loaded" in error["error"]
    for method, response in (("measure_token_cost", measured), ("ready", ready)):
        assert f"'{MODEL}' is being loaded" in value(llm, method, response)["Err"]["Other"]
    for response in (changed, removed):
        assert isinstance(response, Reject)
        assert f"'{MODEL}' is being loaded: change it when load_model has answered" in response.message
    assert value(llm, "file_upload_chunk", other_file) == {"Ok": {"filesize": 3}}
    assert llm.ready() == {"Ok": {"status_code": 200}}
    assert llm.run_update(SAY)["Ok"]["output"]
    assert llm.file_upload_chunk(chunk) == {"Ok": {"filesize": 3}}, "the file may be changed again"


def test_a_canister_stops_when_its_model_is_loaded(llm: SandboxCanister, larger: bytes) -> None:
    upload(llm, larger)
    loading = begun(llm, "16384")
    llm.stop()
    assert value(llm, "load_model", llm.sandbox.response(loading))["Ok"]["output"] == LOADED
    llm.start()
    assert llm.ready() == {"Ok": {"status_code": 200}}


def test_an_upgrade_while_a_model_is_being_loaded_finishes_it(llm: SandboxCanister, wasm: bytes, larger: bytes) -> None:
    upload(llm, larger)
    loading = begun(llm, SMALL_STEPS)
    llm.upgrade(wasm)
    assert llm.ready() == {"Ok": {"status_code": 200}}
    assert value(llm, "load_model", llm.sandbox.response(loading))["Ok"]["output"] == LOADED
    assert llm.run_update(SAY)["Ok"]["output"]


def test_a_reinstallation_while_a_model_is_being_loaded_interrupts_it(
    llm: SandboxCanister, wasm: bytes, larger: bytes
) -> None:
    upload(llm, larger)
    loading = begun(llm, SMALL_STEPS)
    llm.reinstall(wasm)
    error = value(llm, "load_model", llm.sandbox.response(loading))["Err"]
    assert error["status_code"] == 503
    assert "interrupted by a new installation" in error["error"]
    assert "upload it" in llm.ready()["Err"]["Other"]


def test_loading_that_cannot_go_on_is_given_up(llm: SandboxCanister, larger: bytes, wasm: bytes) -> None:
    upload(llm, larger)
    loading = begun(llm, SMALL_STEPS)
    llm.update_settings(freezing_threshold=10**12)  # so that it has no cycles to spend
    response = llm.sandbox.response(loading)
    assert isinstance(response, Reject)
    assert "cannot call itself to go on loading: it has too few cycles" in response.message
    llm.update_settings(freezing_threshold=0)
    assert "call load_model" in llm.ready()["Err"]["Other"]
    llm.upgrade(wasm)
    assert "call load_model" in llm.ready()["Err"]["Other"], "what was given up is not begun again"
    assert llm.load_model(load_arguments("1000000"))["Ok"]["output"] == LOADED
    assert llm.run_update(SAY)["Ok"]["output"]


def test_models_loaded_in_turn_take_no_more_memory_each_time(
    llm: SandboxCanister, larger: bytes, tmp_path: Path
) -> None:
    upload(llm, larger, "larger.gguf")
    upload(llm, tiny_gguf.write(tmp_path / "largest.gguf", width=640).read_bytes(), "largest.gguf")

    def heap_after_both() -> int:
        for name in ("larger.gguf", "largest.gguf"):
            assert llm.load_model({"args": ["--model", name]})["Ok"]["output"] == LOADED
        return int(llm.status()["memory_metrics"]["wasm_memory_size"])

    heap = heap_after_both()
    assert [heap_after_both() for _ in range(3)] == [heap] * 3
