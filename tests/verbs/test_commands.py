"""What the mission does with dfx, done with `mainer-nb`, as a user types it."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime

from mainer_nb import cli, management, network, operate, overview, places, tables
from mainer_nb.create import Mainer
from mainer_nb.errors import NetworkNotRunning
from mainer_nb.network import CREATOR, GAME_STATE, Network
from mainer_nb.protocol.leb128 import leb128
from tests.probe_canister import PROBE_DID, PROBE_WAT
from tests.stages import Run


@pytest.mark.usefixtures("challenge")
def test_the_lines_of_the_missions_readme(run: Run, uploaded: Network) -> None:
    """Each `dfx canister call` of it, in its order; ids are copied from the printout, as it says."""

    def good(*words: str) -> str:
        status, out, err = run("call", *words)
        assert (status, err) == (0, ""), words
        return out

    def made(*words: str) -> str:
        found = re.search(r'newCanisterId = "([a-z0-9-]+)"', good(CREATOR, *words))
        assert found
        return found[1]

    assert good(CREATOR, "health") == "(variant { Ok = record { status_code = 200 : nat16 } })\n"
    assert good(CREATOR, "whoami") == f'(principal "{uploaded.caller}")\n'
    good(CREATOR, "amiController")
    own = made("testCreateMainerControllerCanister", "(variant {Own}, null)")
    made("testCreateMainerLlmCanister", f'("{own}")')
    service = made("testCreateMainerControllerCanister", "(variant {ShareService}, null)")
    made("testCreateMainerLlmCanister", f'("{service}")')
    agent = made("testCreateMainerControllerCanister", f'(variant {{ShareAgent}}, opt "{service}")')

    status, out, err = run("call", CREATOR, "testCreateMainerLlmCanister", f'("{agent}")')
    assert status == 1
    assert out.startswith("(\n  variant {\n    Err = ")
    assert "answered Err" in err

    assert '"status_code": 200' in good(own, "ready", "--output", "json")
    for mainer in (own, agent):
        for method in ("amiController", "health", "ready", "checkAccessToLLMs", "getMainerCanisterType"):
            good(mainer, method)
    good(agent, "triggerChallengeResponseAdmin")
    assert len(json.loads(good(agent, "getChallengeQueueAdmin", "--output", "json"))["Ok"]) == 1
    assert len(json.loads(good(service, "getChallengeQueueAdmin", "--output", "json"))["Ok"]) == 1
    operate.answer(uploaded, service)
    assert json.loads(good(agent, "getSubmittedResponsesAdmin", "--output", "json"))["Ok"][0]["challengeAnswer"]
    assert json.loads(good(GAME_STATE, "getSubmissionsAdmin", "--output", "json"))["Ok"]
    assert int(json.loads(good(GAME_STATE, "getNumSubmissionsAdmin", "--output", "json"))["Ok"]) >= 1
    master = uploaded.canister_id(GAME_STATE)
    assert "auth" in good(CREATOR, "setMasterCanisterId", f'("{master}")')
    before = management.status(uploaded.agent, master).cycles
    fabricate = f'(record {{canister_id = principal "{master}"; amount = 1_000_000_000_000}})'
    assert good(management.MANAGEMENT, "provisional_top_up_canister", fabricate) == "()\n"
    assert management.status(uploaded.agent, master).cycles > before


def test_canisters_are_named_by_id_role_and_name(
    run: Run, uploaded: Network, own: Mainer, agents: list[Mainer]
) -> None:
    for who in (own.controller_id, own.name, "own1", "OWN-1"):
        status, out, _ = run("call", who, "getMainerCanisterType")
        assert (status, out) == (0, "(variant { Ok = variant { Own } })\n")
    assert "ShareAgent" in run("call", agents[1].name, "getMainerCanisterType")[1]
    for who in (own.llm_ids[1], f"{own.name}, LLM 2", "own1llm2"):
        assert run("call", who, "health")[0] == 0
    assert run("call", uploaded.canister_id(GAME_STATE), "getGameStateThresholdsAdmin")[0] == 0
    status, _, err = run("call", "Own 99", "health")
    assert status == 1
    assert f"no canister 'Own 99' on network local: give an id, or one of {GAME_STATE}, {CREATOR}, 'Own 1'" in err


@pytest.mark.parametrize(
    ("given", "status", "said"),
    [
        (['{"challengeTopic": "bees"}'], 0, '"challengeTopic": "bees"'),
        (['[{"challengeTopic": "bees"}]'], 0, '"challengeTopic": "bees"'),
        (['(record { challengeTopic = "bees" })'], 0, '"challengeTopic": "bees"'),
        (['record { challengeTopic = "bees" }'], 0, '"challengeTopic": "bees"'),
        (['// of insects\n(record { challengeTopic = "bees" })'], 0, '"challengeTopic": "bees"'),
        ([], 1, "addChallengeTopic: .*a value of type record .* for input is missing"),
        (["bees"], 1, "no JSON .*Candid text stands in parentheses: '\\(bees\\)'"),
        (["(bees)"], 1, 'column 2: .*A text is written in quotes: "bees"'),
        (["(record { topic = 1 })"], 1, r"argument 1 \(input\): .*unknown field topic; the fields are challengeTopic"),
        (['{"topic": 1}'], 1, "unknown field 'topic'"),
        (['{"challengeTopic": "a", "challengeTopic": "b"}'], 1, "the field 'challengeTopic' is given twice"),
        (["9" * 5000], 1, "5000"),
        (["[" * 100_000], 1, "nested too deeply"),
        (["(\udcff)"], 1, "unexpected"),
        (['("\udcff")'], 1, "not a character of Unicode"),
        (["(1, 2)"], 1, "1 arguments are expected .*, 2 are given"),
    ],
)
def test_arguments_are_candid_or_json_and_checked(run: Run, given: list[str], status: int, said: str) -> None:
    found, out, err = run("call", GAME_STATE, "addChallengeTopic", *given, "--output", "json")
    assert found == status
    assert re.search(said, out if status == 0 else err)
    assert "Traceback" not in err


def test_arguments_come_from_files_and_standard_input(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    topic = '(record { challengeTopic = "Käfer" })'
    file = tmp_path / "topic.did"
    file.write_text(topic, encoding="utf-8")
    assert "Käfer" in run("call", GAME_STATE, "addChallengeTopic", "--argument-file", str(file))[1]
    for given in (["-"], ["--argument-file", "-"]):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(topic.encode())))
        assert "Käfer" in run("call", GAME_STATE, "addChallengeTopic", *given)[1]
    file.write_bytes(b"\xff")
    status, _, err = run("call", GAME_STATE, "addChallengeTopic", "--argument-file", str(file))
    assert (status, "not text in UTF-8" in err) == (1, True)
    status, _, err = run("call", GAME_STATE, "addChallengeTopic", "()", "--argument-file", str(file))
    assert "given twice" in err
    assert (
        f"{tmp_path / 'none'}: No such file"
        in run("call", GAME_STATE, "health", "--argument-file", f"{tmp_path}/none")[2]
    )


def _with_private_interface() -> bytes:
    """A module whose interface only controllers may read."""
    name, content = b"icp:private candid:service", PROBE_DID.encode()
    section = leb128(len(name)) + name + content
    return bytes(wasmtime.wat2wasm(PROBE_WAT)) + b"\0" + leb128(len(section)) + section


def test_a_canister_of_others_tells_its_interface_or_is_given_one(
    run: Run, uploaded: Network, as_stranger: Callable[[Network], Network], tmp_path: Path
) -> None:
    stranger = as_stranger(uploaded)
    creator_wasm = (places.files() / f"{CREATOR}.wasm").read_bytes()
    telling, silent, empty = (management.create_canister(uploaded.agent, 10 * management.TRILLION) for _ in range(3))
    management.install_code(uploaded.agent, telling, creator_wasm, "install")
    management.install_code(uploaded.agent, silent, bytes(wasmtime.wat2wasm(PROBE_WAT)), "install")
    assert run("call", telling, "health")[1] == "(variant { Ok = record { status_code = 200 : nat16 } })\n"
    status, _, err = run("call", silent, "increment")
    assert status == 1
    assert "has no code with an interface (candid:service). Give its interface: --did FILE" in err
    interface = tmp_path / "probe.did"
    interface.write_text(PROBE_DID)
    method = re.search(r"(\w+) : \(\) -> ", PROBE_DID)
    assert method
    assert run("call", silent, method[1], "--did", str(interface))[0] == 0
    assert "--did FILE" in run("call", empty, "health")[2]
    missing = "n2m2m-wyaaa-aaaaa-p777a-cai"
    secret = management.create_canister(stranger.agent, 10 * management.TRILLION)
    management.install_code(stranger.agent, secret, _with_private_interface(), "install")
    status, _, err = run("call", secret, "value")
    assert status == 1
    assert re.search(f"{secret} does not tell its interface to {uploaded.caller} .*--did FILE", err)
    assert f"there is no canister {missing}" in run("call", missing, "health")[2]


@pytest.mark.parametrize(
    "words",
    [
        ("call", "--output", "json", GAME_STATE, "addChallengeTopic", '{"challengeTopic": "bees"}'),
        ("call", GAME_STATE, "addChallengeTopic", "--output", "json", '{"challengeTopic": "bees"}'),
        ("--quiet", "call", GAME_STATE, "--network", "local", "addChallengeTopic", '["bees"]'),
        ("call", "--quiet", GAME_STATE, "addChallengeTopic", "-5"),
    ],
)
def test_options_may_stand_anywhere(run: Run, words: tuple[str, ...]) -> None:
    status, out, err = run(*words)
    if "json" in words:
        assert (status, '"challengeTopic": "bees"' in out) == (0, True)
    else:
        assert "argument 1: expected record { challengeTopic : text }, got" in err


def test_what_is_too_much_or_too_little_is_misuse(run: Run, capfd: pytest.CaptureFixture[str]) -> None:
    for words in (["call", GAME_STATE], ["call", GAME_STATE, "health", "()", "()"], ["call", "--output", "xml"]):
        with pytest.raises(SystemExit) as caught:
            run(*words)
        assert caught.value.code == 2


def test_an_unknown_method_lists_those_there_are(run: Run) -> None:
    status, _, err = run("call", CREATOR, "helth")
    assert (status, "has no method 'helth'; it has " in err, "health" in err) == (1, True, True)


def test_status_has_all_canisters_with_their_balances(
    run: Run, uploaded: Network, own: Mainer, agents: list[Mainer]
) -> None:
    status, out, _ = run("status")
    assert status == 0
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert re.search(rf"{uploaded.canister_id(GAME_STATE)} .* running +[\d,.]+ T", lines[GAME_STATE])
    assert own.llm_ids[1] in lines[f"{own.name}, LLM 2"]
    assert "ShareService 1" in lines[agents[0].name]
    found: dict[str, Any] = json.loads(run("status", "--output", "json")[1])
    assert found["network"]["url"] == uploaded.url
    by_name = {canister["name"]: canister for canister in found["canisters"]}
    assert by_name[own.name]["canister_id"] == own.controller_id
    assert all(canister["cycles"] > 0 for canister in found["canisters"])


def test_balances_are_told_to_controllers_only(uploaded: Network, as_stranger: Callable[[Network], Network]) -> None:
    found = overview.canisters(as_stranger(uploaded))
    assert {standing.cycles for standing in found} == {None}
    assert {row["balance"] for row in tables.overview(found).rows} == {"not told"}


def test_status_says_what_is_not_there(
    empty: Network, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAINER_NB_STATE", str(empty.ids.files[0].path.parent))
    assert cli.main(["status"]) == 0
    assert capfd.readouterr().out.count("not deployed") == 2
    assert cli.main(["call", GAME_STATE, "health"]) == 1
    assert "no game_state_canister on network local: run " in capfd.readouterr().err


def test_status_starts_no_network(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["status"]) == 1
    assert "not running: start it with `mainer-nb net start`" in capfd.readouterr().err
    with pytest.raises(NetworkNotRunning):
        network.connect(start=False)


def test_ask_prints_the_answer_and_nothing_else(
    run: Run, uploaded: Network, agents: list[Mainer], close: Callable[[], None]
) -> None:
    status, out, err = run("ask", "What is two and five?", "--mainer", agents[0].name, "--quiet")
    assert (status, err) == (0, "")
    answers = {
        found.answer: found for found in operate.submissions(uploaded) if found.question == "What is two and five?"
    }
    assert answers[out.removesuffix("\n")].submitted_by == agents[0].controller_id
    assert "the question is empty" in run("ask", "")[2]
    assert "the timeout is 0 s: give more than 0" in run("ask", "What?", "--timeout", "0")[2]
    assert "no mAIner 'Nobody' on network local; there are: Own 1" in run("ask", "What?", "--mainer", "Nobody")[2]
    close()
