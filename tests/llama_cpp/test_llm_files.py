"""Files, models and settings: what is checked, who may, and what survives an upgrade."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mainer_nb import management
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.errors import CanisterError
from tests import tiny_gguf
from tests.llm_canister import MODEL, load, seen_by, upload


def download(llm: Canister, name: str, chunk: int) -> bytes:
    data, done = b"", False
    while not done:
        part = llm.file_download_chunk({"filename": name, "chunksize": chunk, "offset": len(data)})
        assert part["offset"] == len(data)
        assert part["chunksize"] == len(part["chunk"])
        data, done = data + part["chunk"], part["done"]
    assert part["filesize"] == len(data)
    return data


def refused(call: Callable[..., Any], argument: dict[str, Any]) -> str:
    with pytest.raises(CanisterError) as caught:
        call(argument)
    value = caught.value.value
    return str(value["error"] if isinstance(value, dict) else value)


def chunk(name: str, data: bytes, offset: int, size: int | None = None) -> dict[str, Any]:
    return {"filename": name, "chunk": data, "chunksize": len(data) if size is None else size, "offset": offset}


def test_what_is_uploaded_can_be_downloaded(llm: Canister, tiny: bytes) -> None:
    assert upload(llm, tiny, "a file", chunk=100_003) == len(tiny)
    assert upload(llm, tiny[::-1], "another", chunk=70_001) == len(tiny)
    assert download(llm, "a file", 65_537) == tiny
    assert download(llm, "another", 2_000_000) == tiny[::-1]


def test_an_upload_begun_anew_replaces_the_file(llm: Canister) -> None:
    upload(llm, b"long ago" * 10_000, "replaced")
    assert upload(llm, b"now", "replaced") == 3
    assert download(llm, "replaced", 10) == b"now"


def test_a_chunk_may_be_sent_again(llm: Canister) -> None:
    llm.file_upload_chunk(chunk("twice", b"abc", 0))
    for _ in range(2):
        assert llm.file_upload_chunk(chunk("twice", b"def", 3)) == {"filesize": 6}
    assert download(llm, "twice", 10) == b"abcdef"


def test_a_bad_chunk_is_refused_and_changes_nothing(llm: Canister) -> None:
    llm.file_upload_chunk(chunk("sound", b"abc", 0))
    for offset in (2**33, 2**64 - 1):
        assert f"offset is {offset}" in refused(llm.file_upload_chunk, chunk("sound", b"def", offset))
    assert "1 to 223 bytes" in refused(llm.file_upload_chunk, chunk("", b"def", 0))
    assert "1 to 223 bytes" in refused(llm.file_upload_chunk, chunk("x" * 224, b"def", 0))
    assert download(llm, "sound", 10) == b"abc"
    missing = {"filename": "missing", "chunksize": 10, "offset": 0}
    assert "no file 'missing'" in refused(llm.file_download_chunk, missing)


def test_chunksize_may_be_that_of_the_other_chunks(llm: Canister) -> None:
    """The original's scripts send the size of all their chunks with the shorter last one, too."""
    for size in (0, 1, 7, 2**64 - 1):
        assert llm.file_upload_chunk(chunk("nominal", b"abc", 0, size)) == {"filesize": 3}
        assert llm.file_upload_chunk(chunk("nominal", b"de", 3, size)) == {"filesize": 5}
    assert download(llm, "nominal", 10) == b"abcde"


def test_chunks_may_come_in_any_order(llm: Canister) -> None:
    llm.file_upload_chunk(chunk("in any order", b"abc", 0))
    assert llm.file_upload_chunk(chunk("in any order", b"end", 40_000)) == {"filesize": 40_003}
    assert download(llm, "in any order", 2_000_000) == b"abc" + bytes(39_997) + b"end"
    llm.file_upload_chunk(chunk("in any order", b"x" * 39_997, 3))
    assert download(llm, "in any order", 12_345) == b"abc" + b"x" * 39_997 + b"end"
    assert llm.file_upload_chunk(chunk("begins late", b"abc", 5)) == {"filesize": 8}
    assert download(llm, "begins late", 10) == bytes(5) + b"abc"


@pytest.mark.parametrize("size", [1, 16_383, 16_384, 16_385, 32_768, 65_537])
@pytest.mark.parametrize("piece", [4096, 16_384, 10_007])
def test_chunks_meet_at_the_borders_of_blocks(llm: Canister, size: int, piece: int) -> None:
    data = bytes(i % 251 for i in range(size))
    first, *others = range(0, size, piece)
    parts = [chunk("blocks", data[offset : offset + piece], offset, piece) for offset in (first, *reversed(others))]
    sizes = [llm.file_upload_chunk(part)["filesize"] for part in parts]
    assert sizes == [min(piece, size)] + [size] * len(others)
    assert download(llm, "blocks", 2_000_000) == data


def test_a_gap_shows_nothing_of_a_file_that_was_there(llm: Canister) -> None:
    upload(llm, b"secret" * 50_000, "old")
    upload(llm, b"", "old")
    llm.file_upload_chunk(chunk("old", b"", 0))
    llm.file_upload_chunk(chunk("with a gap", b"end", 200_000))
    assert download(llm, "with a gap", 2_000_000) == bytes(200_000) + b"end"


def test_an_empty_chunk_is_taken(llm: Canister) -> None:
    assert llm.file_upload_chunk(chunk("empty", b"", 0, 2_000_000)) == {"filesize": 0}
    assert download(llm, "empty", 10) == b""
    llm.file_upload_chunk(chunk("empty", b"abc", 0))
    assert llm.file_upload_chunk(chunk("empty", b"", 3)) == {"filesize": 3}


def test_a_download_gives_what_there_is(llm: Canister) -> None:
    upload(llm, b"abcdef", "short")

    def part(size: int, offset: int) -> tuple[bytes, bool]:
        answer = llm.file_download_chunk({"filename": "short", "chunksize": size, "offset": offset})
        assert (answer["chunksize"], answer["filesize"], answer["offset"]) == (len(answer["chunk"]), 6, offset)
        return answer["chunk"], answer["done"]

    assert part(4, 0) == (b"abcd", False)
    assert part(4, 4) == (b"ef", True)
    assert part(6, 0) == (b"abcdef", True)
    assert part(2**64 - 1, 0) == part(3_000_000, 0) == (b"abcdef", True)
    assert part(10, 6) == part(10, 7) == part(10, 2**64 - 1) == (b"", True)
    assert part(0, 0) == (b"", False)
    assert part(0, 6) == (b"", True)


def test_more_than_an_answer_has_room_for_comes_in_parts(llm: Canister) -> None:
    data = bytes(range(256)) * 12_000
    upload(llm, data, "long")
    answer = llm.file_download_chunk({"filename": "long", "chunksize": 10_000_000, "offset": 0})
    assert (answer["chunksize"], answer["done"]) == (2_000_000, False)
    assert download(llm, "long", 10_000_000) == data


def test_a_path_leads_to_a_file_in_whatever_way_it_is_written(llm: Canister) -> None:
    upload(llm, b"here", "folder/file")
    for path in ("./folder/file", "folder//file", "/folder/./file"):
        assert download(llm, path, 10) == b"here"
    upload(llm, b"there", "./folder//file")
    assert download(llm, "folder/file", 10) == b"there"


def test_a_file_that_is_no_model_is_refused_with_the_reason(llm: Canister, tiny: bytes, tmp_path: Path) -> None:
    unknown = tiny_gguf.write(tmp_path / "unknown.gguf", architecture="mamba").read_bytes()
    cases = {
        b"": "failed to read magic",
        b"not a model": "invalid magic",
        tiny[:4] + b"\x63" + tiny[5:]: "version",
        tiny[:5000]: "failed to read key-value pairs",
        tiny[:-100_000]: "it is truncated: tensor",
        tiny.replace(b"llama.block_count", b"llama.block_cOunt"): "does not say its llama.block_count",
        unknown: "its architecture 'mamba' is not among those",
    }
    for data, why in cases.items():
        llm.file_upload_chunk(chunk("bad.gguf", data, 0))
        assert why in refused(llm.load_model, {"args": ["--model", "bad.gguf"]})
        assert llm.ready() == {"status_code": 200}, "the model of before is still there"
    assert "no file 'none.gguf'" in refused(llm.load_model, {"args": ["--model", "none.gguf"]})
    assert "give --model FILE" in refused(llm.load_model, {"args": []})


def test_a_model_can_be_loaded_again_and_replaced(llm: Canister, tmp_path: Path) -> None:
    def say() -> str:
        done = llm.run_update({"args": ["-p", "abc", "-n", "12", "--temp", "0", "--ignore-eos"]})
        return str(done["output"])

    first = say()
    upload(llm, tiny_gguf.write(tmp_path / "other.gguf", seed=1).read_bytes(), "other.gguf")
    load(llm, "other.gguf")
    assert say() != first
    load(llm)
    assert say() == first


def test_a_prompt_cache_of_another_model_is_refused(llm: Canister, tmp_path: Path) -> None:
    args = ["--prompt-cache", "of another", "--prompt-cache-all", "-n", "3"]
    llm.run_update({"args": [*args, "-p", "abc"]})
    upload(llm, tiny_gguf.write(tmp_path / "other.gguf", seed=1).read_bytes(), "other.gguf")
    load(llm, "other.gguf")
    assert "made with another model" in refused(llm.run_update, {"args": [*args, "-p", ""]})
    load(llm)


def test_nothing_works_without_a_model_and_it_says_so(install: Callable[[], Canister]) -> None:
    llm = install()
    assert llm.health() == {"status_code": 200}
    with pytest.raises(CanisterError, match="call load_model"):
        llm.ready()
    assert "no model is loaded" in refused(llm.run_update, {"args": ["-p", "a"]})
    with pytest.raises(CanisterError, match="no model is loaded"):
        llm.measure_token_cost()


def test_an_upgrade_keeps_files_model_settings_and_conversations(
    install: Callable[[], Canister], owner: Agent, wasm: bytes, tiny: bytes
) -> None:
    llm = install()
    upload(llm, tiny)
    load(llm, MODEL, "--ctx-size", "256")
    llm.set_max_tokens({"max_tokens_update": 11, "max_tokens_query": 5})
    llm.set_access({"level": 1})
    args = ["--prompt-cache", "kept", "--prompt-cache-all", "--seed", "4"]
    llm.new_chat({"args": args[:2]})
    llm.run_update({"args": [*args, "-p", "Hello, wide world"]})
    llm.copy_prompt_cache({"from": "kept", "to": "twin"})
    chats = llm.get_chats()
    expected = llm.run_update({"args": ["--prompt-cache", "twin", *args[2:], "-p", ""]})

    management.install_code(owner, llm.canister_id, wasm, "upgrade")

    assert llm.ready() == {"status_code": 200}
    assert llm.get_max_tokens() == {"max_tokens_update": 11, "max_tokens_query": 5}
    assert llm.get_access()["level"] == 1
    assert llm.get_chats()["chats"][0]["timestamp"] == chats["chats"][0]["timestamp"]
    assert download(llm, MODEL, 2_000_000) == tiny
    assert llm.run_update({"args": [*args, "-p", ""]}) == expected


def test_files_are_listed_and_removed_whose_ever_they_are(llm: Canister, new_agent: Callable[[], Agent]) -> None:
    llm.set_access({"level": 1})
    somebody = seen_by(new_agent(), llm.canister_id)
    somebody.new_chat({"args": ["--prompt-cache", "left"]})
    somebody.run_update({"args": ["--prompt-cache", "left", "--prompt-cache-all", "-p", "abc", "-n", "2"]})
    directory = f".canister_cache/{somebody.whoami()}/sessions"
    left = {"filename": f"{directory}/left", "filetype": "file"}
    assert llm.recursive_dir_content_query({"dir": directory, "max_entries": 0}) == [left]
    everything = llm.recursive_dir_content_query({"dir": "", "max_entries": 0})
    assert left in everything
    assert {"filename": MODEL, "filetype": "file"} in everything
    assert llm.recursive_dir_content_query({"dir": "", "max_entries": 1}) == everything[:1]
    assert "no directory 'nowhere'" in refused(llm.recursive_dir_content_query, {"dir": "nowhere", "max_entries": 0})

    removed = llm.filesystem_remove({"filename": left["filename"]})
    assert (removed["exists"], removed["removed"], removed["filesize"] > 0) == (True, True, True)
    assert left not in llm.recursive_dir_content_query({"dir": "", "max_entries": 0})
    assert llm.filesystem_remove({"filename": left["filename"]})["removed"] is False
    for used in (MODEL, ".canister_settings"):
        assert "in use" in refused(llm.filesystem_remove, {"filename": used})


def test_the_cost_of_a_token_is_measured(llm: Canister) -> None:
    cost = llm.measure_token_cost()
    assert 10**5 < cost["instructions_per_prompt_token"] < 10**8
    assert cost["instructions_per_generated_token"] > cost["instructions_per_prompt_token"]
    assert 0 < cost["instructions_fixed"] < 10**9


def test_who_may_do_what(llm: Canister, new_agent: Callable[[], Agent]) -> None:
    somebody = seen_by(new_agent(), llm.canister_id)
    assert somebody.whoami() == str(somebody.agent.get_principal())
    assert somebody.health() == {"status_code": 200}
    assert somebody.ready() == {"status_code": 200}
    run = {"args": ["-p", "abc", "-n", "2"]}
    for level, explanation in ((0, "Only controllers"), (1, "All except anonymous")):
        assert llm.set_access({"level": level}) == {"level": level, "explanation": explanation}
        assert llm.get_access() == {"level": level, "explanation": explanation}
        assert llm.check_access() == {"status_code": 200}
        if level == 0:
            with pytest.raises(CanisterError, match="Access Denied"):
                somebody.check_access()
            assert refused(somebody.run_update, run) == "Access Denied"
            assert refused(somebody.run_query, run) == "Access Denied"
            assert refused(somebody.new_chat, {"args": ["--prompt-cache", "c"]}) == "Access Denied"
        else:
            assert somebody.check_access() == {"status_code": 200}
            assert somebody.run_update(run)["status_code"] == 200
    assert "Invalid access level 2" in refused(llm.set_access, {"level": 2})
    for method, argument in (
        ("load_model", {"args": ["--model", MODEL]}),
        ("set_max_tokens", {"max_tokens_update": 1, "max_tokens_query": 1}),
        ("file_upload_chunk", chunk("theirs", b"abc", 0)),
        ("file_download_chunk", {"filename": MODEL, "chunksize": 1, "offset": 0}),
        ("remove_log_file", {"args": ["--log-file", "main.log"]}),
        ("recursive_dir_content_query", {"dir": "", "max_entries": 0}),
        ("filesystem_remove", {"filename": MODEL}),
        ("set_access", {"level": 1}),
        ("run_update", {"args": ["-p", "abc", "--log-file", MODEL]}),
    ):
        assert "controllers only" in (error := refused(getattr(somebody, method), argument)) or error == "Access Denied"
    for method in ("log_pause", "log_resume", "measure_token_cost", "get_access"):
        with pytest.raises(CanisterError, match="Access Denied"):
            getattr(somebody, method)()


def test_a_log_is_written_paused_and_removed(llm: Canister) -> None:
    run = {"args": ["-p", "abc", "-n", "3", "--log-file", "main.log"]}
    llm.remove_log_file({"args": ["--log-file", "main.log"]})
    llm.log_resume()
    llm.run_update(run)
    log = download(llm, "main.log", 10_000).decode()
    assert "status 200, evaluated" in log
    assert str(llm.agent.get_principal()) in log
    llm.log_pause()
    llm.run_update(run)
    assert download(llm, "main.log", 10_000).decode() == log
    assert "deleted" in llm.remove_log_file({"args": ["--log-file", "main.log"]})["output"]
    assert "no file" in refused(llm.file_download_chunk, {"filename": "main.log", "chunksize": 1, "offset": 0})
