"""--grammar: what a text may be, however calls are cut; what cannot be read or is too much is refused, not trapped."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from mainer_nb.canister import Canister
from mainer_nb.errors import CanisterError
from tests import tiny_gguf
from tests.llm_canister import load, run, upload

PROMPT = "Grade the answer from 1 to 5."
SCORE = "root ::= [1-5]"
#: A sentence of a length that no call reaches at a time, with alternatives that only later characters tell apart.
SENTENCE = """
root  ::= word (", " word){4,6} end   # comments, rules, groups and repetitions
word  ::= ("ab" | "abc" | "\\u00e9\\u2603") [x-z]+ digit?
digit ::= [^a-zA-Z\\\\"' ,.!-~] | [0-9]
end   ::= "." | "!"
"""
SENTENCE_AS_REGEX = r"W(, W){4,6}[.!]".replace("W", r"(ab|abc|\u00e9\u2603)[x-z]+([^a-zA-Z\\\"' ,.!-~]|[0-9])?")


def score(llm: Canister, *args: str) -> str:
    answer = run(llm, "-p", PROMPT, "--grammar", SCORE, *args)
    assert answer["generated_eog"]
    return str(answer["output"])


def refused(llm: Canister, grammar: str, *args: str) -> str:
    with pytest.raises(CanisterError) as caught:
        run(llm, "-p", PROMPT, "-n", "50", "--grammar", grammar, *args)
    assert caught.value.value["status_code"] == 400
    assert llm.ready() == {"status_code": 200}
    return str(caught.value.value["error"])


def told(llm: Canister, limit: int, grammar: str, *args: str) -> str:
    """What is said in calls of so many tokens, to the end that the grammar has."""
    llm.set_max_tokens({"max_tokens_update": limit, "max_tokens_query": 0})
    cache = ["--prompt-cache", f"told-{limit}", "--prompt-cache-all"]
    llm.remove_prompt_cache({"args": cache[:2]})
    text, rest = "", PROMPT
    for _ in range(400):
        answer = run(llm, *cache, "--grammar", grammar, *args, "-p", rest)
        text += str(answer["output"])
        rest = PROMPT if answer["prompt_remaining"] else ""
        if answer["generated_eog"]:
            return text
    raise AssertionError(f"no end after {text!r}")


def test_even_the_tiny_model_scores_validly(llm: Canister) -> None:
    scores = {score(llm, "--seed", str(seed)) for seed in range(12)}
    assert scores <= set("12345")
    assert len(scores) > 1, "the model chooses"
    assert score(llm, "--seed", "3") == score(llm, "--seed", "3")
    assert score(llm, "--temp", "0") in "12345"
    assert score(llm, "--ignore-eos", "--repeat-penalty", "1.5", "--typical", "0.5", "--mirostat", "1") in "12345"
    assert run(llm, "-p", PROMPT, "--seed", "3")["output"] not in "12345", "it is the grammar that makes it so"


def test_the_likeliest_allowed_token_is_taken(llm: Canister) -> None:
    usual = run(llm, "-p", PROMPT, "-n", "8", "--temp", "0", "--ignore-eos")["output"]
    assert (
        run(llm, "-p", PROMPT, "-n", "8", "--temp", "0", "--ignore-eos", "--grammar", "root ::= .*")["output"] == usual
    )
    assert score(llm, "--temp", "0", "--logit-bias", f"{3 + ord('4')}+inf") in "12345"
    token_of_4 = 259 + 1 + ord("4") - 0x21
    assert score(llm, "--temp", "0", "--logit-bias", f"{token_of_4}+inf") == "4"


def test_the_text_is_the_grammars_however_the_calls_are_cut(llm: Canister) -> None:
    whole = told(llm, 0, SENTENCE, "--seed", "5")
    assert re.fullmatch(SENTENCE_AS_REGEX, whole)
    for limit in (1, 2, 7):
        assert told(llm, limit, SENTENCE, "--seed", "5") == whole
    assert re.fullmatch(SENTENCE_AS_REGEX, told(llm, 3, SENTENCE, "--seed", "6", "--temp", "2"))


def test_the_end_of_an_answer_stays_its_end(llm: Canister) -> None:
    args = ["--prompt-cache", "ended", "--prompt-cache-all", "--seed", "1", "--grammar", SCORE]
    llm.remove_prompt_cache({"args": args[:2]})
    first = run(llm, *args, "-p", PROMPT)
    again = run(llm, *args, "-p", "")
    assert (again["output"], again["generated_eog"]) == ("", True)
    assert again["conversation"] == first["conversation"]
    assert run(llm, *args, "-p", PROMPT)["output"] == first["output"], "a prompt begins the answer anew"
    longer = run(llm, *args, "-p", f"{first['conversation']} And now?")
    assert longer["output"] in "12345"


def test_an_answer_may_end_where_the_grammar_lets_it(llm: Canister) -> None:
    assert told(llm, 0, 'root ::= "a"', "--seed", "2") == "a"
    assert told(llm, 0, 'root ::= ""', "--seed", "2") == ""
    end = ["--logit-bias", "2+inf"]
    assert told(llm, 0, 'root ::= "a" "b"*', "--seed", "2", *end) == "a"
    assert told(llm, 0, 'root ::= "a" "b"{3,9}', "--seed", "2", *end) == "abbb"
    assert told(llm, 0, 'root ::= "a" "b"{3}', "--seed", "2", "--ignore-eos") == "abbb"


def test_prompt_only_caches_and_queries_begin_at_the_prompts_end(llm: Canister) -> None:
    args = ["--prompt-cache", "prompt only", "--seed", "4", "--grammar", SCORE]
    llm.remove_prompt_cache({"args": args[:2]})
    first = run(llm, *args, "-p", PROMPT)
    assert run(llm, *args, "-p", "")["output"] == first["output"]
    asked = llm.run_query({"args": ["-p", PROMPT, *args[2:]]})
    assert (asked["output"], asked["generated_eog"]) == (first["output"], True)


def test_another_grammar_in_the_middle_of_an_answer_is_refused(llm: Canister) -> None:
    args = ["--prompt-cache", "changed", "--prompt-cache-all", "--seed", "1", "-n", "3"]
    llm.remove_prompt_cache({"args": args[:2]})
    assert len(run(llm, *args, "--grammar", "root ::= [a-c]{9}", "-p", PROMPT)["output"]) == 3
    with pytest.raises(CanisterError) as caught:
        run(llm, *args, "--grammar", "root ::= [d-f]{9}", "-p", "")
    assert "give the same grammar in each call" in caught.value.value["error"]
    rest = run(llm, *args, "--grammar", "root ::= [a-c]{9}", "-p", "")
    assert re.fullmatch("[a-c]{3}", rest["output"]), "nothing is lost"


def test_a_token_can_be_asked_for(llm: Canister, tmp_path: Path) -> None:
    upload(llm, tiny_gguf.write(tmp_path / "qwen.gguf", architecture="qwen2").read_bytes(), "qwen.gguf")
    load(llm, "qwen.gguf")
    grammar = 'root ::= <|im_start|> "he" !<|im_start|> "."'
    try:
        answer = run(llm, "-p", PROMPT, "--seed", "1", "--special", "--grammar", grammar)
        plain = run(llm, "-p", PROMPT, "--seed", "1", "-n", "120", "--grammar", "root ::= .{30}")
        unknown = refused(llm, "root ::= <|nothing|>")
    finally:
        load(llm)
    assert re.fullmatch(r"<\|im_start\|>he.*\.", answer["output"], re.DOTALL)
    assert "<|im_" not in plain["output"]
    assert len(plain["output"]) == 30, "tokens that do not show are none of its characters"
    assert "no single token" in unknown


@pytest.mark.parametrize(
    ("grammar", "why"),
    [
        ("root", "line 1, column 5: '::=' is wanted"),
        ("root := [a]", "line 1, column 6: '::=' is wanted"),
        ('root ::= "a"\nword ::= "b', "line 2, column 12: '\"' is missing"),
        ("root ::= [a", "']' is missing"),
        ("root ::= []", "no character between the brackets"),
        ('root ::= ("a"', "')' is missing"),
        ('root ::= "a")', "'(' is missing"),
        ("root ::= *", "nothing before it that could be repeated"),
        ('root ::= "a"{x}', "a number is wanted"),
        ('root ::= "a"{2', "'}' is missing"),
        ('root ::= "a"{3,2}', "one that is not smaller"),
        ('root ::= "a"{2001}', "at most 2000"),
        ('root ::= "a"{0,99999999999999999999}', "at most 2000"),
        (r'root ::= "\q"', "this escape is unknown"),
        (r'root ::= "\x4"', "2 hexadecimal digits"),
        ("root ::= word", "does not say what 'word' is"),
        ('word ::= "a"', "no rule 'root'"),
        ('root ::= "a"\nroot ::= "b"', "the rule 'root' is there already"),
        ("root ::= <[99999999]>", "no number of a token"),
        ("root ::= <a", "a token is wanted"),
        ("root ::= ?", "nothing before it"),
        ("root ::= a$", "no part of a rule"),
        ("# nothing", "no rule 'root'"),
        ('root ::= root "a" | "b"', "rule 'root' begins with itself"),
        ('root ::= "x"? root "a"', "rule 'root' begins with itself"),
        ('root ::= a "x"\na ::= b\nb ::= b2? a | "y"\nb2 ::= "z"', "rule 'a' begins with itself"),
        ('root ::= ("a"*)*', "repeated, begins with itself"),
        ('root ::= "a" empty empty root2\nempty ::= "b"?\nroot2 ::= empty root2', "rule 'root2' begins with itself"),
    ],
)
def test_what_is_no_grammar_is_refused_with_its_place(llm: Canister, grammar: str, why: str) -> None:
    assert why in refused(llm, grammar)


def chain(rules: int) -> str:
    """A rule of two ways to the next one: 2**rules ways, none of which the first character tells apart."""
    lines = [f'r{i} ::= r{i + 1} "x" | r{i + 1} "y"' for i in range(rules)]
    return "\n".join(["root ::= r0", *lines, f'r{rules} ::= "a"'])


@pytest.mark.parametrize(
    ("grammar", "why"),
    [
        ("root ::= " + "[a-z] " * 20_000, "it may have 65536"),
        ("root ::= " + "a" * 70_000, "it may have 65536"),
        ('root ::= "' + "a" * 1000 + '"{1000}', "it is too large"),
        ("root ::= " + "(" * 50_000, "in each other 100 times"),
        ("root ::= " + "(" * 101 + '"a"' + ")" * 101, "in each other 100 times"),
        ("root ::= r0\n" + "\n".join(f"r{i} ::= r{i + 1}" for i in range(3000)) + '\nr3000 ::= "a"', "too many others"),
        (chain(40), "too many ways to begin"),
        ("root ::= [a-z] | [a-z] (" + " ".join(['("a" | "b" | "c")?'] * 99) + ")\n", ""),
        ('root ::= "(" x\nx ::= y y y y y y y y\ny ::= "a" x | "a" y | z\nz ::= "a" z | "a" y | ""', "too ambiguous"),
        ('root ::= s\ns ::= "a" s t | "a" t s | "a" t t | "a"\nt ::= "a" s s | "a" t | "a" s t | "a"', "too ambiguous"),
    ],
    ids=["bytes", "name", "repeated", "open", "deep", "chain", "exponential", "optional", "nothing", "ambiguous"],
)
def test_a_hostile_grammar_is_refused_and_the_canister_goes_on(llm: Canister, grammar: str, why: str) -> None:
    if why:
        assert why in refused(llm, grammar, "--logit-bias", f"{259 + 1 + ord('a') - 0x21}+inf")
    else:
        assert run(llm, "-p", PROMPT, "-n", "50", "--grammar", grammar)["status_code"] == 200
    assert score(llm, "--seed", "3") in "12345"


def test_whatever_is_given_as_a_grammar_gets_an_answer(llm: Canister) -> None:
    """Grammars with pieces put in, left out and repeated at random places: none of them ends in a trap."""
    dice = random.Random(13)
    pieces = [
        "|",
        "(",
        ")",
        "*",
        "{2,}",
        "{0,3}",
        "[",
        "]",
        '"',
        "\\",
        "\n",
        "::=",
        "root",
        "word",
        "<[3]>",
        "!",
        "\u2603",
        "\0",
    ]
    statuses = {200: 0, 400: 0}
    for _ in range(150):
        grammar = dice.choice([SCORE, SENTENCE, 'root ::= ("a" | word)*\nword ::= "b" root "c"'])
        for _ in range(dice.randint(1, 4)):
            first, last = sorted(dice.choices(range(len(grammar)), k=2))
            middle = dice.choice([dice.choice(pieces), grammar[first : first + 5], grammar[first:last] * 2])
            grammar = grammar[:first] + middle + grammar[dice.choice([first, last]) :]
        try:
            status = llm.run_query({"args": ["-p", PROMPT, "-n", "5", "--grammar", grammar]})["status_code"]
        except CanisterError as error:
            status = error.value["status_code"]
        statuses[status] += 1
    assert min(statuses.values()) > 10


def test_what_the_vocabulary_cannot_write_is_said(llm: Canister) -> None:
    assert "nothing here that the model's tokens can write, after 'a'" in refused(llm, 'root ::= "a\\x00"')


def test_no_grammar_is_any_text(llm: Canister) -> None:
    def text(*args: str) -> Any:
        return run(llm, "-p", PROMPT, "-n", "20", "--seed", "9", *args)

    assert text("--grammar", "") == text()
