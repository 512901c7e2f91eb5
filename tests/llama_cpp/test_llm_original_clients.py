"""Clients of llama_cpp_canister v0.0.1: its upload script, its own tests' calls, and a mAIner's controller."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from mainer_nb import places
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.protocol import candid, did
from tests.llm_canister import MODEL, load, seen_by

#: The LLM canister as the mission's controller declares it: what it calls, and Err as that canister's own ApiError.
SEEN_BY_THE_CONTROLLER = """
type ApiError = variant { Unauthorized; InvalidId; ZeroAddress; FailedOperation; Other : text; StatusCode : nat16;
                          InsuffientCycles : nat };
type InputRecord = record { args : vec text };
type RunOutputRecord = record { status_code : nat16; output : text; conversation : text; error : text;
                                prompt_remaining : text; generated_eog : bool };
type OutputRecordResult = variant { Ok : RunOutputRecord; Err : ApiError };
type StatusCodeRecordResult = variant { Ok : record { status_code : nat16 }; Err : ApiError };
service : {
  health : () -> (StatusCodeRecordResult) query;
  ready : () -> (StatusCodeRecordResult) query;
  check_access : () -> (StatusCodeRecordResult) query;
  new_chat : (InputRecord) -> (OutputRecordResult);
  run_update : (InputRecord) -> (OutputRecordResult);
  remove_prompt_cache : (InputRecord) -> (OutputRecordResult);
}
"""
MOST_CALLS = 30
MOST_GENERATING_CALLS = 6


class Controller:
    """Asks an LLM canister as the mission's controller does, and reads the answers with its declaration."""

    def __init__(self, agent: Agent, canister_id: str) -> None:
        self._agent, self._id = agent, canister_id
        self._methods = did.parse(SEEN_BY_THE_CONTROLLER).methods

    def call(self, name: str, *args: str) -> dict[str, Any]:
        """The Ok of an answer; what the declaration cannot decode, or is an Err, fails the test."""
        method = self._methods[name]
        encoded = candid.encode(method.args, [{"args": list(args)}] if method.args else [])
        call = self._agent.query_bytes if method.mode == "query" else self._agent.update_bytes
        [answer] = candid.decode(method.results, call(self._id, name, encoded))
        assert list(answer) == ["Ok"], answer
        ok: dict[str, Any] = answer["Ok"]
        return ok

    def ask(self, prompt: str) -> tuple[str, list[dict[str, Any]]]:
        """The text, and the answers that it was in."""
        self.call("health")
        cache = ["--prompt-cache", "mainer.cache"]
        self.call("new_chat", *cache)
        common = [*cache, "--prompt-cache-all", "--simple-io", "--no-display-prompt", "-n", "1024", "--seed", "5"]
        common += ["--temp", "0.8"]
        answers: list[dict[str, Any]] = []
        rest, generating = prompt, 0
        while len(answers) < MOST_CALLS and generating < MOST_GENERATING_CALLS:
            answers.append(self.call("run_update", *common, "-p", rest))
            rest = prompt if answers[-1]["prompt_remaining"] else ""
            generating += rest == ""
            if answers[-1]["generated_eog"]:
                break
        self.call("remove_prompt_cache", *cache)
        return "".join(answer["output"] for answer in answers), answers


@pytest.fixture
def controller(llm: Canister, owner: Agent) -> Controller:
    return Controller(owner, llm.canister_id)


@pytest.mark.parametrize("limit", [0, 13, 200])
def test_a_controller_gets_an_answer_even_when_the_context_is_full(
    llm: Canister, controller: Controller, limit: int
) -> None:
    llm.set_max_tokens({"max_tokens_update": limit, "max_tokens_query": 0})
    load(llm, MODEL, "--ctx-size", "256")
    try:
        _, answers = controller.ask("p" * 230)
    finally:
        load(llm)
    assert all(answer["status_code"] == 200 for answer in answers)
    assert answers[-1]["generated_eog"] or limit == 13


def test_a_controller_can_go_on_after_the_end(llm: Canister, controller: Controller) -> None:
    """A full context is no Err at any later call: v0.0.1 gives none either."""
    load(llm, MODEL, "--ctx-size", "256")
    try:
        args = ["--prompt-cache", "full", "--prompt-cache-all", "--ignore-eos"]
        controller.call("remove_prompt_cache", *args[:2])
        first = controller.call("run_update", *args, "-p", "abc", "-n", "1024")
        second = controller.call("run_update", *args, "-p", "", "-n", "1024")
        anew = controller.call("run_update", *args, "-p", "another question", "-n", "2")
    finally:
        load(llm)
    assert (first["generated_eog"], second["generated_eog"], anew["generated_eog"]) == (True, True, False)
    assert (second["output"], second["prompt_remaining"]) == ("", "")
    assert second["conversation"] == first["conversation"]


def test_what_answers_have_since_v0_0_1_is_optional() -> None:
    """For every client of the earlier interface, and for a client of this one that asks an earlier canister."""
    now = did.parse((places.files() / "llama_cpp.did").read_text())
    before = did.parse(
        re.sub(r"\n  (prompt|generated)_tokens : [^\n]*", "", (places.files() / "llama_cpp.did").read_text())
    )
    assert before.methods["run_update"] != now.methods["run_update"]
    change = candid.service_change(before.service, now.service)
    assert (change.compatible, change.dropped, change.broken, change.lossy) == (True, (), (), ())
    assert candid.service_change(now.service, before.service).compatible
    record = dict.fromkeys(("output", "conversation", "error", "prompt_remaining"), "")
    answer = {"Ok": {**record, "status_code": 200, "generated_eog": True}}
    told = candid.encode(before.methods["run_update"].results, [answer])
    [read] = candid.decode(now.methods["run_update"].results, told)
    assert (read["Ok"]["prompt_tokens"], read["Ok"]["generated_tokens"]) == (None, None)


def send_as_the_script_does(llm: Canister, data: bytes, name: str, chunksize: int) -> None:
    """scripts/upload.py: every chunk with the nominal chunksize."""
    offset = 0
    while offset < len(data):
        chunk = data[offset : offset + chunksize]
        answer = llm.file_upload_chunk({"filename": name, "chunk": chunk, "chunksize": chunksize, "offset": offset})
        offset += len(chunk)
        assert answer["filesize"] == offset


def fetch_as_the_script_does(llm: Canister, name: str, chunksize: int) -> bytes:
    """scripts/download.py: goes on by what it was given until it is told that it is done."""
    data, done, calls = b"", False, 0
    while not done:
        answer = llm.file_download_chunk({"filename": name, "chunksize": chunksize, "offset": len(data)})
        data, done, calls = data + answer["chunk"], answer["done"], calls + 1
    assert calls == math.ceil(len(data) / min(chunksize, 2_000_000))
    return data


@pytest.mark.parametrize("chunksize", [2_000_000, 100_000, 1000])
def test_the_upload_script_sends_a_file_and_the_download_script_gets_it(
    llm: Canister, tiny: bytes, chunksize: int
) -> None:
    data = tiny[: 50 * chunksize + 17]
    send_as_the_script_does(llm, data, "models/sent.gguf", chunksize)
    assert fetch_as_the_script_does(llm, "models/sent.gguf", 2_000_000) == data
    assert fetch_as_the_script_does(llm, "models/sent.gguf", chunksize) == data


def test_a_model_sent_by_the_script_can_be_loaded(owner: Agent, install: Any, tiny: bytes) -> None:
    llm = seen_by(owner, install().canister_id)
    send_as_the_script_does(llm, tiny, MODEL, 2_000_000)
    assert load(llm)["status_code"] == 200


def test_the_calls_of_the_originals_own_tests(llm: Canister) -> None:
    """test_tiny_stories.py: a prompt in pieces, a cache put aside and taken back, the likeliest tokens."""
    llm.set_max_tokens({"max_tokens_update": 5, "max_tokens_query": 5})
    prompt = "Joe loves writing stories"
    args = ["--prompt-cache", "prompt.cache", "--prompt-cache-all", "--samplers", "temperature", "--temp", "0.0"]
    args += ["-n", "3"]

    def run(text: str) -> dict[str, Any]:
        answer: dict[str, Any] = llm.run_update({"args": [*args, "-p", text]})
        assert (answer["status_code"], answer["error"]) == (200, "")
        return answer

    llm.remove_prompt_cache({"args": args[:2]})
    llm.new_chat({"args": args[:2]})
    answers = [run(prompt)]
    assert (answers[0]["output"], answers[0]["generated_eog"]) == ("", False)
    assert answers[0]["conversation"] + answers[0]["prompt_remaining"] == prompt
    assert llm.copy_prompt_cache({"from": "prompt.cache", "to": "prompt-save.cache"}) == {"status_code": 200}
    while answers[-1]["prompt_remaining"]:
        answers.append(run(prompt))
    answers.append(run(""))
    assert answers[-1]["output"]
    llm.remove_prompt_cache({"args": args[:2]})
    llm.copy_prompt_cache({"from": "prompt-save.cache", "to": "prompt.cache"})
    assert [run(text) for text in [*[prompt] * (len(answers) - 2), ""]] == answers[1:]
    args = ["--prompt", "Patrick loves ice-cream.", "--n-predict", "20", "--ctx-size", "128"]
    assert llm.run_query({"args": args})["status_code"] == 200
