"""The command line: what is carried out, taken without effect, refused. The README's table is that of the source."""

from __future__ import annotations

import re
import tarfile

import pytest

from mainer_nb import llm_build, places
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.errors import CanisterError
from mainer_nb.protocol import candid, did, principal
from tests.llm_canister import MODEL, run

FOLDER = places.project() / "canisters" / "llama_cpp"
#: An entry of the table in arguments.cpp: names, kind, and for what is refused or idle how many values.
ENTRY = re.compile(r'\{"(-[^"]+)",\s*(value|flag|as_it_is|idle|refused)\(([^{}]*)')
LOGS = """service : { fetch_canister_logs : (record { canister_id : principal }) ->
  (record { canister_log_records : vec record { content : blob } }) query }"""
#: Of llama.cpp's programs it is the one that completes a text whose command line original canisters have.
PROGRAM = "COMPLETION"


def table() -> dict[str, tuple[str, str]]:
    """Kind and details of each argument in arguments.cpp."""
    source = (FOLDER / "src" / "arguments.cpp").read_text(encoding="utf-8")
    found = {}
    for names, kind, details in ENTRY.findall(source):
        for name in names.split():
            assert name not in found, name
            found[name] = kind, details
    return found


def of_kind(*kinds: str) -> list[str]:
    return [name for name, (kind, _) in table().items() if kind in kinds]


def refused(llm: Canister, *args: str) -> str:
    with pytest.raises(CanisterError) as caught:
        llm.run_query({"args": list(args)})  # as run_update, and quicker
    assert caught.value.value["status_code"] == 400
    return str(caught.value.value["error"])


def say(llm: Canister, *args: str) -> str:
    return str(run(llm, "-p", "a prompt of some words", "-n", "24", "--seed", "7", "--ignore-eos", *args)["output"])


def test_the_readme_lists_the_arguments_of_the_source() -> None:
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    section = readme[readme.index("### Arguments") : readme.index("Any other argument is an error")]
    carried, as_it_is, idle, refusals = re.split(r"\n\n(?=Asked for|Taken, and|Refused, as)", section)
    for part, kinds in (
        (carried, ("value", "flag")),
        (as_it_is, ("as_it_is",)),
        (idle, ("idle",)),
        (refusals, ("refused",)),
    ):
        named = [name for line in part.splitlines() for name in re.findall(r"`(--?[a-z][\w-]*)`", line, re.IGNORECASE)]
        assert sorted({*named} - {"--no-escape"}) == sorted({*of_kind(*kinds)} - {"--no-escape"})


def test_every_argument_of_llama_cpp_is_in_the_table(wasm: bytes) -> None:
    """Of the version that is built, and of the program that original canisters are made of."""
    assert wasm, "it has been built, so that its sources are there"
    with tarfile.open(llm_build.sdist_path(places.cache() / "llama_cpp")) as sdist:
        member = next(one for one in sdist if one.name.endswith("/vendor/llama.cpp/common/arg.cpp"))
        file = sdist.extractfile(member)
        assert file is not None
        source = file.read().decode()
    missing = []
    for option in source.split("add_opt(common_arg(")[1:]:
        examples = re.search(r"\.set_examples\(\{([^}]*)\}\)", option)
        if examples is not None and f"LLAMA_EXAMPLE_{PROGRAM}" not in examples[1]:
            continue
        names = re.match(r"\s*(?:\{([^}]*)\}(?:,\s*\{([^}]*)\})?)?", option)
        assert names is not None
        found = re.findall(r'"(--?[^"]+)"', f"{names[1]} {names[2]}")
        missing += [name for name in found if name not in table()]
    assert missing == []


@pytest.mark.parametrize("name", of_kind("idle", "as_it_is"))
def test_an_argument_without_effect_leaves_the_answer_as_it_is(llm: Canister, name: str) -> None:
    value = ["4"] if "one" in table()[name][1] else []
    args = ["-p", "abc", "-n", "3", "--temp", "0"]
    assert llm.run_query({"args": [*args, name, *value]}) == llm.run_query({"args": args})


def test_what_is_without_effect_is_said_in_the_canisters_log(llm: Canister, owner: Agent) -> None:
    run(llm, "-p", "abc", "-n", "1", "--simple-io", "--threads", "4", "-fa", "on", "--no-mmap")
    method = did.parse(LOGS).methods["fetch_canister_logs"]
    target = principal.from_text(llm.canister_id)
    arg = candid.encode(method.args, [{"canister_id": target}])
    [answer] = candid.decode(method.results, owner.query_bytes("aaaaa-aa", "fetch_canister_logs", arg, llm.canister_id))
    lines = [record["content"] for record in answer["canister_log_records"]]
    assert b"without effect in a canister: --threads 4 -fa on" in lines


@pytest.mark.parametrize("name", of_kind("refused"))
def test_a_refused_argument_is_named_with_the_reason(llm: Canister, name: str) -> None:
    value = [] if "none" in table()[name][1] else ["4"]
    answer = refused(llm, "-p", "abc", name, *value)
    assert answer.startswith(f"the argument {name} cannot be used: ")
    assert len(answer) > len(name) + 60


@pytest.mark.parametrize("name", of_kind("value"))
def test_a_missing_value_is_said(llm: Canister, name: str) -> None:
    assert refused(llm, "-p", "abc", name) == f"the argument {name} wants a value after it"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--temp=0"], "unknown argument '--temp=0': a name and its value are two words"),
        (["temp", "0"], "unknown argument 'temp'"),
        ([""], "unknown argument ''"),
        (["--temp", "warm"], "the argument --temp cannot be 'warm'"),
        (["--temp", "nan"], "the argument --temp cannot be 'nan'"),
        (["--temp", ""], "the argument --temp cannot be ''"),
        (["--top-k", "4.5"], "the argument --top-k cannot be '4.5'"),
        (["--top-k", "99999999999999999999"], "the argument --top-k cannot be '99999999999999999999'"),
        (["--top-p", "2"], "the argument --top-p cannot be '2'"),
        (["--repeat-penalty", "0"], "the argument --repeat-penalty cannot be '0'"),
        (["--repeat-last-n", "-2"], "the argument --repeat-last-n cannot be '-2'"),
        (["--samplers", "temperature;magic"], "the argument --samplers cannot be 'temperature;magic'"),
        (["--sampler-seq", "kz"], "the argument --sampler-seq cannot be 'kz'"),
        (["--mirostat", "3"], "the argument --mirostat cannot be '3'"),
        (["--logit-bias", "12"], "the argument --logit-bias cannot be '12'"),
        (["--logit-bias", "x+1"], "the argument --logit-bias cannot be 'x+1'"),
        (["-ctk", "q2_k"], "the argument -ctk cannot be 'q2_k'"),
        (["--model", "another.gguf"], f"'another.gguf' is not the model that is loaded, which is '{MODEL}'"),
    ],
)
def test_a_value_that_an_argument_cannot_have_is_named(llm: Canister, args: list[str], why: str) -> None:
    assert why in refused(llm, "-p", "abc", *args)


@pytest.mark.parametrize(
    "args",
    [
        ["-n", "-1", "--n_predict", "3"],
        ["--temp", "-1"],
        ["--top-k", "-5"],
        ["--model", MODEL],
        ["-m", f"./{MODEL}"],
        ["--samplers", ""],
        ["--samplers", "top-k;temp"],
        ["--log-disable", "--log-file", "none.log"],
        ["--color"],
        ["-co", "auto"],
        ["-c", "4"],
        ["--logit-bias", "999999+1"],
    ],
)
def test_what_llama_cpp_takes_is_taken(llm: Canister, args: list[str]) -> None:
    assert run(llm, "-p", "", *args, "-n", "2")["status_code"] == 200


def test_samplers_are_those_that_are_named(llm: Canister) -> None:
    likeliest = say(llm, "--temp", "0")
    assert say(llm, "--samplers", "temperature", "--temp", "0") == likeliest
    assert say(llm, "--samplers", "top_k", "--top-k", "1") == likeliest
    assert say(llm, "--sampler-seq", "k", "--top-k", "1") == likeliest
    assert say(llm, "--samplers", "top_p;top_k", "--top-k", "1") == likeliest
    assert say(llm, "--samplers", "min_p", "--top-k", "1", "--min-p", "0") != likeliest
    usual = "penalties;dry;top_n_sigma;top_k;typ_p;top_p;min_p;xtc;temperature"
    assert say(llm, "--samplers", usual) == say(llm, "--sampler-seq", "edskypmxt") == say(llm)


@pytest.mark.parametrize(
    "args",
    [
        ["--top-nsigma", "0.3"],
        ["--typical", "0.3"],
        ["--xtc-probability", "1", "--xtc-threshold", "0"],
        ["--dry-multiplier", "5", "--dry-allowed-length", "0", "--dry-sequence-breaker", "none"],
        ["--dynatemp-range", "0.7"],
        ["--mirostat", "1"],
        ["--mirostat", "2"],
        ["--repeat-penalty", "1.9"],
    ],
    ids=lambda args: args[0] + args[1],
)
def test_a_sampler_has_an_effect_which_the_seed_decides(llm: Canister, args: list[str]) -> None:
    usual = ["--temp", "0.5"]
    text = say(llm, *usual, *args)
    assert text != say(llm, *usual)
    assert text == say(llm, *usual, *args)


def test_a_token_can_be_made_likelier(llm: Canister) -> None:
    text = say(llm, "--logit-bias", "50+inf")
    assert len(set(text)) == 1
    assert text[0] not in say(llm, "--logit-bias", "50-inf")


def test_dice_fall_the_same_however_the_calls_are_cut(llm: Canister) -> None:
    def told(limit: int) -> str:
        llm.set_max_tokens({"max_tokens_update": limit, "max_tokens_query": 0})
        cache = ["--prompt-cache", f"dice-{limit}"]
        llm.remove_prompt_cache({"args": cache})
        args = [*cache, "--prompt-cache-all", "--seed", "3", "--ignore-eos", "--xtc-probability", "0.5"]
        text, rest = "", "a prompt"
        while len(text) < 30:
            answer = run(llm, *args, "-n", str(30 - len(text)), "-p", rest)
            text += answer["output"]
            rest = "a prompt" if answer["prompt_remaining"] else ""
        return text

    assert told(0) == told(4)


def test_what_a_call_wants_of_the_context_is_for_that_call(llm: Canister) -> None:
    prompt = "p" * 300
    before = run(llm, "-p", prompt, "-n", "2", "--temp", "0")
    for args in (["-c", "8"], ["-c", "64", "-ctk", "q8_0"], ["-ctk", "f16"]):
        assert run(llm, "-p", "abc", "-n", "1", *args)["status_code"] == 200
        assert run(llm, "-p", prompt, "-n", "2", "--temp", "0") == before
    assert run(llm, "-p", "p" * 100, "-n", "2", "-c", "120")["status_code"] == 200
    run(llm, "-p", "abc", "-n", "1", "-c", "8")
    assert llm.measure_token_cost()["instructions_per_generated_token"] > 0
