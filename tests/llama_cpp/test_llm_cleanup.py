"""Prompt caches removed by age, on a timer or when told to; what memory there is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from mainer_nb import places
from mainer_nb.localnet.sandbox import Sandbox, SandboxCanister
from mainer_nb.protocol import principal
from tests.llm_canister import MODEL

HOUR, DAY = 3600, 86_400  # seconds
SOMEBODY = principal.self_authenticating(b"somebody")
KEPT_MODEL = f".canister_cache/{principal.to_text(SOMEBODY)}/sessions/model.gguf"


@pytest.fixture
def ic() -> Iterator[Sandbox]:
    with Sandbox() as sandbox:
        sandbox.pause()
        yield sandbox


@pytest.fixture
def llm(ic: Sandbox, wasm: bytes, tiny: bytes) -> SandboxCanister:
    """A canister with the tiny model, which others may use. Its model's file has a name as prompt caches have."""
    canister = ic.create_canister(wasm, did=(places.files() / "llama_cpp.did").read_text())
    canister.file_upload_chunk({"filename": KEPT_MODEL, "chunk": tiny, "chunksize": len(tiny), "offset": 0})
    assert "Ok" in canister.load_model({"args": ["--model", KEPT_MODEL]})
    canister.set_access({"level": 1})
    return canister


def say(llm: SandboxCanister, cache: str, prompt: str, *args: str, sender: bytes = SOMEBODY) -> dict[str, Any]:
    arguments = ["--prompt-cache", cache, "-p", prompt, "-n", "4", "--seed", "1", "--ignore-eos", *args]
    answer: dict[str, Any] = llm.call("run_update", {"args": arguments}, sender=sender)["Ok"]
    return answer


def caches(llm: SandboxCanister) -> list[str]:
    listed = llm.recursive_dir_content_query({"dir": ".canister_cache", "max_entries": 0})["Ok"]
    names = [entry["filename"] for entry in listed if "/sessions/" in entry["filename"]]
    assert KEPT_MODEL in names
    return [name.split("/")[-1] for name in names if name != KEPT_MODEL]


def stats(llm: SandboxCanister) -> dict[str, Any]:
    told: dict[str, Any] = llm.get_cache_cleanup_stats()["Ok"]
    return told


def configure(llm: SandboxCanister, **config: int) -> dict[str, Any]:
    usual = dict.fromkeys(("period_seconds", "ttl_seconds", "max_files_per_run"))
    answer: dict[str, Any] = llm.set_cache_cleanup_config({**usual, **config})
    return answer


def test_nothing_is_removed_unless_it_is_wanted(ic: Sandbox, llm: SandboxCanister) -> None:
    say(llm, "old", "abc")
    ic.advance_time(400 * DAY)
    ic.tick(3)
    assert caches(llm) == ["old"]
    assert (stats(llm)["is_running"], stats(llm)["runs"]) == (False, 0)


def test_the_timer_removes_what_nobody_used_for_long(ic: Sandbox, llm: SandboxCanister) -> None:
    configured = {"period_seconds": DAY, "ttl_seconds": 2 * DAY, "max_files_per_run": 1000, "is_running": False}
    assert configure(llm, ttl_seconds=2 * DAY) == {"Ok": configured}
    assert llm.cache_cleanup_start_timer() == {"Ok": {"ok": True, "is_running": True}}
    llm.call("new_chat", {"args": ["--prompt-cache", "old"]}, sender=SOMEBODY)
    say(llm, "old", "abc")
    say(llm, "read", "abc")
    say(llm, "copied", "abc")
    ic.advance_time(DAY + 1)
    ic.tick()
    say(llm, "young", "abc")
    say(llm, "read", "abc", "--prompt-cache-ro")
    assert "Ok" in llm.call("copy_prompt_cache", {"from": "copied", "to": "copy"}, sender=SOMEBODY)
    assert (stats(llm)["runs"], caches(llm)) == (1, ["copied", "copy", "old", "read", "young"])
    ic.advance_time(DAY + 1)
    ic.tick()
    assert caches(llm) == ["copied", "copy", "read", "young"], "what is only read or copied is in use, too"
    told = stats(llm)
    assert (told["runs"], told["files_deleted"], told["files_examined"]) == (2, 1, 8)
    assert 0 <= ic.time() - told["last_run_ns"] < DAY * 10**9
    assert len(llm.query("get_chats", sender=SOMEBODY)["Ok"]["chats"]) == 1
    assert llm.ready() == {"Ok": {"status_code": 200}}
    assert say(llm, "old", "abc")["prompt_tokens"] == 4, "it begins anew"

    llm.cache_cleanup_stop_timer()
    ic.advance_time(40 * DAY)
    ic.tick()
    assert caches(llm) == ["copied", "copy", "old", "read", "young"]


def test_a_conversation_that_goes_on_is_kept_whatever_the_settings(ic: Sandbox, llm: SandboxCanister) -> None:
    configure(llm, ttl_seconds=0, period_seconds=60)
    llm.cache_cleanup_start_timer()
    whole = say(llm, "whole", "abc", "-n", "20")["output"]
    text, prompt = "", "abc"
    for _ in range(5):
        text += say(llm, "in parts", prompt, "--prompt-cache-all")["output"]
        prompt = ""
        ic.advance_time(500)
        ic.tick()
    assert whole.startswith(text)
    assert len(text) > 10
    assert caches(llm) == ["in parts"]
    ic.advance_time(700)
    ic.tick()
    assert caches(llm) == []


def test_settings_and_timer_survive_an_upgrade(ic: Sandbox, llm: SandboxCanister, wasm: bytes) -> None:
    configure(llm, period_seconds=DAY, ttl_seconds=HOUR, max_files_per_run=2)
    llm.cache_cleanup_start_timer()
    for name in ("a", "b", "c"):
        say(llm, name, "abc")
    for _ in range(2):  # two upgrades a day, so that no period passes between them
        ic.advance_time(DAY // 2 + 1)
        llm.upgrade(wasm)
    ic.tick()
    assert caches(llm) == ["c"], "so many in a run"
    told = stats(llm)
    assert (told["period_seconds"], told["ttl_seconds"], told["max_files_per_run"]) == (DAY, HOUR, 2)
    assert told["is_running"]
    ic.advance_time(DAY + 1)
    ic.tick()
    assert caches(llm) == []
    assert llm.ready() == {"Ok": {"status_code": 200}}


def test_it_can_be_done_at_once_by_controllers(ic: Sandbox, llm: SandboxCanister) -> None:
    say(llm, "old", "abc")
    ic.advance_time(8 * DAY)
    say(llm, "young", "abc")
    done = llm.cache_cleanup_now()["Ok"]
    assert (done["files_deleted"], done["files_failed"], done["is_running"]) == (1, 0, False)
    assert caches(llm) == ["young"]
    for method in ("cache_cleanup_now", "cache_cleanup_start_timer", "cache_cleanup_stop_timer"):
        assert llm.call(method, sender=SOMEBODY) == {"Err": {"Other": "Access Denied"}}
    for method in ("get_cache_cleanup_stats", "get_memory_status"):
        assert llm.query(method, sender=SOMEBODY) == {"Err": {"Other": "Access Denied"}}
    nothing = dict.fromkeys(("period_seconds", "ttl_seconds", "max_files_per_run"))
    assert "Err" in llm.call("set_cache_cleanup_config", nothing, sender=SOMEBODY)


@pytest.mark.parametrize("name", ["period_seconds", "max_files_per_run"])
def test_a_setting_that_makes_no_sense_is_refused(llm: SandboxCanister, name: str) -> None:
    before = stats(llm)
    assert "at least 1" in configure(llm, **{name: 0})["Err"]["Other"]
    assert stats(llm) == before
    assert configure(llm, **{name: 2**64 - 1})["Ok"][name] == 2**64 - 1
    llm.cache_cleanup_start_timer()
    assert stats(llm)["is_running"]


def test_memory_is_told(llm: SandboxCanister, tiny: bytes) -> None:
    before = llm.get_memory_status()["Ok"]
    weights, page = len(tiny), 65_536
    assert weights * 0.8 < before["model"] <= weights
    assert before["context_tokens"] == 512
    assert before["context"] >= 2 * 512 * 2 * 32 * 4, "keys and values of 512 tokens: two layers, 32 numbers each"
    assert before["heap"] % page == 0
    assert before["model"] + before["context"] < before["heap"] < 2**32
    assert 2**32 - before["heap"] < before["free_for_a_model"] < 2**32
    assert before["files"] >= weights
    assert before["files"] + before["free_for_files"] == 8 * 2**30
    assert (before["prompt_caches"], before["prompt_cache_files"]) == (weights, 1)

    say(llm, "kept", "abc")
    llm.file_upload_chunk({"filename": MODEL, "chunk": tiny, "chunksize": len(tiny), "offset": 0})
    after = llm.get_memory_status()["Ok"]
    assert after["prompt_cache_files"] == 2
    assert after["prompt_caches"] > before["prompt_caches"]
    assert after["free_for_files"] <= before["free_for_files"] - weights
    llm.load_model({"args": ["--model", MODEL, "--ctx-size", "256"]})
    smaller = llm.get_memory_status()["Ok"]
    assert (smaller["model"], smaller["context_tokens"]) == (before["model"], 256)
    assert smaller["context"] < before["context"]
    assert smaller["heap"] <= after["heap"] + 2 * page, "it uses what the one before it had"


def test_memory_without_a_model(ic: Sandbox, wasm: bytes) -> None:
    llm = ic.create_canister(wasm, did=(places.files() / "llama_cpp.did").read_text())
    told = llm.get_memory_status()["Ok"]
    assert (told["model"], told["context"], told["context_tokens"], told["prompt_cache_files"]) == (0, 0, 0, 0)
    assert told["free_for_a_model"] == 2**32 - told["heap"]
