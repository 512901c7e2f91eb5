"""Prompt and generation: in one call or many, with and without a prompt cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.errors import CanisterError, RejectError
from tests import tiny_gguf
from tests.llm_canister import load, run, seen_by, upload

PROMPT = "Hello, w\u00f6rld! T\u00e4st \u2603: a prompt of some length."


def refused(llm: Canister, *args: str) -> dict[str, Any]:
    """The Err record of a run that is refused."""
    with pytest.raises(CanisterError) as caught:
        run(llm, *args)
    error: dict[str, Any] = caught.value.value
    return error


def converse(
    llm: Canister, cache: str, *args: str, prompt: str = PROMPT, length: int = 40
) -> tuple[str, list[dict[str, Any]]]:
    """Ask as a mAIner does: the whole prompt until nothing of it remains, then the empty one. Text and answers."""
    llm.remove_prompt_cache({"args": ["--prompt-cache", cache]})
    llm.new_chat({"args": ["--prompt-cache", cache]})
    common = ["--prompt-cache", cache, "--prompt-cache-all", "--simple-io", "--no-display-prompt", *args]
    answers = []
    text, rest = "", prompt
    while len(text) < length:
        answer = run(llm, *common, "-n", str(length - len(text)), "-p", rest)
        answers.append(answer)
        text += answer["output"]
        rest = prompt if answer["prompt_remaining"] else ""
        if answer["generated_eog"]:
            break
    return text[:length], answers


def test_the_same_seed_gives_the_same_text_however_the_calls_are_cut(llm: Canister) -> None:
    whole, answers = converse(llm, "whole", "--seed", "42")
    assert len(answers) == 1
    assert len(whole) == 40
    for limit in (1, 3, 13):
        llm.set_max_tokens({"max_tokens_update": limit, "max_tokens_query": limit})
        text, answers = converse(llm, f"cut-{limit}", "--seed", "42")
        assert len(answers) > 60 // limit
        assert text == whole
    llm.set_max_tokens({"max_tokens_update": 0, "max_tokens_query": 0})
    assert converse(llm, "other", "--seed", "43")[0] != whole


def test_a_prompt_goes_in_piece_by_piece(llm: Canister) -> None:
    llm.set_max_tokens({"max_tokens_update": 13, "max_tokens_query": 13})
    args = ["--prompt-cache", "pieces", "--prompt-cache-all", "-p", PROMPT]
    llm.remove_prompt_cache({"args": args[:2]})
    conversation = ""
    while (answer := run(llm, *args))["prompt_remaining"]:
        assert answer["output"] == ""
        assert not answer["generated_eog"]
        assert answer["conversation"].startswith(conversation)
        assert len(answer["conversation"]) > len(conversation)
        conversation = answer["conversation"]
        assert PROMPT.endswith(answer["prompt_remaining"].lstrip("\ufffd"))
    assert answer["conversation"].startswith(PROMPT)
    assert answer["conversation"] == PROMPT + answer["output"]


@pytest.mark.parametrize("limit", [0, 1, 13])
def test_answers_tell_their_tokens(llm: Canister, limit: int) -> None:
    llm.set_max_tokens({"max_tokens_update": limit, "max_tokens_query": 0})
    cache = "counted"
    tokens = llm.measure_prompt({"args": ["-p", PROMPT]})["tokens"]
    _, answers = converse(llm, cache, "--temp", "0", "--ignore-eos", length=20)
    read = [answer["prompt_tokens"] for answer in answers]
    assert sum(read) == tokens
    assert max(read) <= (limit or tokens)
    generated = sum(answer["generated_tokens"] for answer in answers)
    assert generated >= 20, "a character may be several tokens"
    assert all(answer["generated_tokens"] == 0 for answer in answers if answer["prompt_remaining"])
    llm.set_max_tokens({"max_tokens_update": 0, "max_tokens_query": 0})
    args = ["--prompt-cache", cache, "--prompt-cache-all", "--temp", "0", "--ignore-eos", "-n", "3"]
    more = run(llm, *args, "-p", "")
    assert (more["prompt_tokens"], more["generated_tokens"]) == (0, 3)
    longer = run(llm, *args, "-p", PROMPT + " And more.")
    assert longer["prompt_tokens"] == len(" And more."), "what it shares was read before"
    assert run(llm, "-p", PROMPT, "-n", "2", "--ignore-eos")["prompt_tokens"] == tokens


def test_a_prompt_sent_again_begins_the_text_anew(llm: Canister) -> None:
    args = ["--prompt-cache", "again", "--prompt-cache-all", "--seed", "7", "-n", "8", "-p", PROMPT]
    llm.remove_prompt_cache({"args": args[:2]})
    first = run(llm, *args)
    again = run(llm, *args)
    assert (again.pop("prompt_tokens"), first.pop("prompt_tokens")) == (1, 51), "the last one is evaluated again"
    assert again == first


def test_a_longer_prompt_goes_on_from_what_it_shares(llm: Canister) -> None:
    cached = ["--prompt-cache", "longer", "--prompt-cache-all", "--temp", "0", "-n", "8"]
    llm.remove_prompt_cache({"args": cached[:2]})
    run(llm, *cached, "-p", PROMPT)
    longer = run(llm, *cached, "-p", PROMPT + " And more.")
    fresh = run(llm, "--temp", "0", "-n", "8", "-p", PROMPT + " And more.")
    assert longer["output"] == fresh["output"]


def test_two_conversations_in_turns_do_not_disturb_each_other(llm: Canister) -> None:
    alone = {name: converse(llm, name, "--seed", "5", prompt=name)[0] for name in ("first", "second")}
    texts = {"first": "", "second": ""}
    for name in texts:
        llm.remove_prompt_cache({"args": ["--prompt-cache", name]})
    for round_ in range(4):
        for name in texts:
            prompt = name if round_ == 0 else ""
            args = ["--prompt-cache", name, "--prompt-cache-all", "--seed", "5", "-n", "10", "-p", prompt]
            texts[name] += run(llm, *args)["output"]
    for name, text in texts.items():
        assert len(text) > 30  # a character's bytes are held back until it is whole
        assert alone[name].startswith(text)


def test_without_prompt_cache_all_only_the_prompt_is_kept(llm: Canister) -> None:
    args = ["--prompt-cache", "prompt-only", "--seed", "3", "-n", "6"]
    llm.remove_prompt_cache({"args": args[:2]})
    first = run(llm, *args, "-p", PROMPT)
    assert run(llm, *args, "-p", "")["conversation"] == first["conversation"]


def test_n_limits_what_a_call_generates(llm: Canister) -> None:
    assert run(llm, "-p", "abc", "-n", "0")["output"] == ""
    counted = run(llm, "-p", "abc", "-n", "5", "--temp", "0", "--ignore-eos")
    assert 1 <= len(counted["output"]) <= 5
    assert not counted["generated_eog"]


def test_a_stop_ends_the_text_and_is_not_part_of_it(llm: Canister) -> None:
    plain = run(llm, "-p", PROMPT, "-n", "40", "--seed", "11")["output"]
    stop = plain[20:22]
    until = plain[: plain.index(stop)]
    stopped = run(llm, "-p", PROMPT, "-n", "40", "--seed", "11", "--reverse-prompt", stop)
    assert stopped["output"] == until
    assert stopped["generated_eog"]


def test_a_stop_that_two_calls_share_is_found(llm: Canister) -> None:
    plain = run(llm, "-p", PROMPT, "-n", "40", "--seed", "11")["output"]
    stop = plain[20:24]
    until = plain[: plain.index(stop)]
    for limit in (1, 2, 3):
        llm.set_max_tokens({"max_tokens_update": limit, "max_tokens_query": limit})
        text, answers = converse(llm, "stop", "--seed", "11", "-r", stop, "--reverse-prompt", "never there")
        assert text == until
        assert answers[-1]["generated_eog"]


def test_escapes_mean_what_they_mean_to_llama_cpp(llm: Canister) -> None:
    assert run(llm, "-p", r"a\nb\\c", "-n", "0")["conversation"] == "a\nb\\c"
    assert run(llm, "--no-escape", "-p", r"a\nb", "-n", "0")["conversation"] == r"a\nb"


def test_sampling_options_change_the_text(llm: Canister) -> None:
    def text(*args: str) -> str:
        return str(run(llm, "-p", PROMPT, "-n", "30", "--ignore-eos", *args)["output"])

    greedy = text("--temp", "0")
    assert text("--top-k", "1", "--seed", "9") == greedy
    assert text("--top-p", "0.0", "--seed", "9") == greedy
    assert text("--min-p", "1.0", "--seed", "9") == greedy
    assert text("--temp", "0", "--repeat-penalty", "5") != greedy
    assert text("--temp", "3", "--seed", "1") != text("--temp", "3", "--seed", "2")


def test_a_query_generates_and_leaves_nothing_behind(llm: Canister) -> None:
    args = ["--prompt-cache", "asked", "--prompt-cache-all", "--seed", "6", "-n", "8"]
    llm.remove_prompt_cache({"args": args[:2]})
    llm.run_update({"args": [*args, "-p", PROMPT]})
    first = llm.run_query({"args": [*args, "-p", ""]})
    assert llm.run_query({"args": [*args, "-p", ""]}) == first
    assert llm.run_update({"args": [*args, "-p", ""]}) == first


def test_a_prompt_cache_belongs_to_its_caller(llm: Canister, new_agent: Any) -> None:
    llm.set_access({"level": 1})
    somebody: Agent = new_agent()
    theirs = seen_by(somebody, llm.canister_id)
    args = ["--prompt-cache", "mine", "--prompt-cache-all", "-n", "4"]
    run(llm, *args, "-p", "secret")
    assert "secret" not in run(theirs, *args, "-p", "")["conversation"]


def test_a_prompt_cache_can_be_copied_and_removed(llm: Canister) -> None:
    args = ["--prompt-cache-all", "--seed", "8", "-n", "8"]
    run(llm, "--prompt-cache", "origin", *args, "-p", PROMPT)
    assert llm.copy_prompt_cache({"from": "origin", "to": "copy"}) == {"status_code": 200}
    llm.remove_prompt_cache({"args": ["--prompt-cache", "copy-of-copy"]})
    expected = run(llm, "--prompt-cache", "origin", *args, "-p", "")
    assert run(llm, "--prompt-cache", "copy", *args, "-p", "") == expected
    removed = llm.remove_prompt_cache({"args": ["--prompt-cache", "copy"]})
    assert "deleted" in removed["output"]
    assert "not found" in llm.remove_prompt_cache({"args": ["--prompt-cache", "copy"]})["output"]
    with pytest.raises(CanisterError, match="does not exist"):
        llm.copy_prompt_cache({"from": "copy", "to": "other"})


def test_chats_are_kept_for_their_caller(llm: Canister, new_agent: Any) -> None:
    llm.set_access({"level": 1})
    somebody = seen_by(new_agent(), llm.canister_id)
    assert somebody.get_chats() == {"chats": []}
    for number in range(5):
        somebody.new_chat({"args": ["--prompt-cache", "chat"]})
        answer = run(somebody, "-p", f"chat {number}", "-n", "3")
        chats = somebody.get_chats()["chats"]
        assert chats[-1]["chat"] == answer["conversation"]
    assert [chat["chat"][:6] for chat in chats] == ["chat 2", "chat 3", "chat 4"]
    assert chats == sorted(chats, key=lambda chat: chat["timestamp"])


@pytest.mark.parametrize(
    ("args", "status", "why"),
    [
        (["--bogus"], 400, "unknown argument '--bogus'"),
        (["-n", "many"], 400, "-n cannot be 'many'"),
        (["-p"], 400, "-p wants a value"),
        (["--top-p", "2"], 400, "--top-p cannot be '2'"),
        (["--model", "models/other.gguf"], 400, "'models/other.gguf' is not the model that is loaded"),
        (["-p", "x" * 600], 413, "601 tokens, the context of 512 has room for 508"),
        (["--prompt-cache", "x" * 300, "-p", "a"], 400, "too long"),
    ],
)
def test_bad_arguments_are_named(llm: Canister, args: list[str], status: int, why: str) -> None:
    answer = refused(llm, *args)
    assert answer["status_code"] == status
    assert why in answer["error"]


def test_an_argument_that_is_not_the_interface_s_is_rejected(llm: Canister, owner: Agent) -> None:
    with pytest.raises(RejectError, match="a record is wanted"):
        owner.update_bytes(llm.canister_id, "run_update", b"DIDL\x00\x00")
    with pytest.raises(RejectError, match="does not begin with DIDL"):
        owner.update_bytes(llm.canister_id, "run_update", b"")


def test_a_full_context_ends_the_text(llm: Canister) -> None:
    args = ["--prompt-cache", "full", "--prompt-cache-all", "--ignore-eos"]
    llm.remove_prompt_cache({"args": args[:2]})
    filled = run(llm, *args, "-p", "abc")
    assert filled["generated_eog"]
    assert len(filled["output"]) > 300
    again = run(llm, *args, "-p", "")
    assert again == {**filled, "output": "", "prompt_tokens": 0, "generated_tokens": 0}
    assert run(llm, "-p", "abc", "-n", "3", "--ctx-size", "256")["output"]
    assert run(llm, "-p", "abc", "-n", "3")["output"]


def test_qwen_2_with_its_chat_form(llm: Canister, tmp_path: Path) -> None:
    upload(llm, tiny_gguf.write(tmp_path / "qwen.gguf", architecture="qwen2").read_bytes(), "qwen.gguf")
    load(llm, "qwen.gguf")
    prompt = "<|im_start|>user\nHe said: the h\u00e9.<|im_end|>\n<|im_start|>assistant\n"
    answer = run(llm, "-p", prompt, "-n", "8", "--seed", "1", "--special")
    assert answer["conversation"].startswith(prompt)
    assert "<|im_" not in run(llm, "-p", prompt, "-n", "0")["conversation"]
    # a special token and a merged pair are one token each: user\n, He said: the hé. (é: two bytes), \n, assistant\n
    tokens = 3 + 5 + len("He said: t") + 1 + len(" h") + 2 + len(".") + 1 + 10
    llm.set_max_tokens({"max_tokens_update": tokens - 1, "max_tokens_query": 0})
    assert run(llm, "-p", prompt, "-n", "0")["prompt_remaining"] == "\n"
    llm.set_max_tokens({"max_tokens_update": tokens, "max_tokens_query": 0})
    assert run(llm, "-p", prompt, "-n", "0")["prompt_remaining"] == ""
    load(llm)
