"""A fleet watched from a shell, as a user or a timer of the system does it."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
import wasmtime
from prometheus_client import parser

from mainer_nb import management
from mainer_nb.commands.watching import moment
from mainer_nb.create import Mainer
from mainer_nb.errors import ArgumentError
from mainer_nb.fleet import Fleet, Member, samples
from mainer_nb.network import Network
from tests.fleet.test_logs import TALKER, say
from tests.stages import Run

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


def test_watch_shows_a_table_and_keeps_samples(run: Run, uploaded: Network, whole: Fleet) -> None:
    before = len(samples.read(uploaded))
    status, shown, said = run("watch", "-b", "days", "1", *whole.canister_ids)
    assert (status, said) == (0, "")
    assert re.search(r"^Own 1, LLM 2, \S+-cai .*current", shown, re.MULTILINE)
    assert len(samples.read(uploaded)) == before + len(whole.members)


def test_watch_fails_with_what_is_out_of_bounds_and_no_more_if_it_is_to_be_quiet(
    run: Run, uploaded: Network, own: Mainer
) -> None:
    management.stop(uploaded.agent, own.controller_id)
    try:
        status, shown, said = run("watch", "-q", "-b", "days", "1", "Own 1", own.llm_ids[0])
    finally:
        management.start(uploaded.agent, own.controller_id)
    assert (status, shown) == (1, "")
    assert said == f"mainer-nb: Own 1 ({own.controller_id}) is stopped\n"


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("days", "-1", "bound days is -1, but must be a number from 0 on, or None"),
        ("days", "many", "bound days is 'many', but must be a number, true, false or null"),
        ("timers", "1", "bound timers is 1, but must be True or False"),
        ("weeks", "1", "there is no bound 'weeks'; there are days, cycles, "),
    ],
)
def test_bounds_that_cannot_be_are_refused(run: Run, name: str, value: str, said: str) -> None:
    status, shown, error = run("watch", "-b", name, value)
    assert (status, shown) == (1, "")
    assert said in error


def test_bounds_are_given_by_name(run: Run, own: Mainer) -> None:
    status, _, said = run("watch", "-q", "-b", "timers", "true", "-b", "days", "null", own.controller_id)
    assert (status, said) == (1, f"mainer-nb: Own 1 ({own.controller_id}) its timers do not run\n")


def test_metrics_are_read_by_prometheus(run: Run, whole: Fleet) -> None:
    status, shown, said = run("metrics", *whole.canister_ids)
    assert (status, said) == (0, "")
    families = {family.name: family for family in parser.text_string_to_metric_families(shown)}
    assert {sample.value for sample in families["mainer_canister_running"].samples} == {1.0}
    names = {sample.labels["name"] for sample in families["mainer_queue_length"].samples}
    assert names == {"Game State", *(member.name for member in whole.mainers)}


def test_without_names_all_are_meant(run: Run, uploaded: Network, whole: Fleet) -> None:
    _, shown, _ = run("metrics")
    assert all(canister_id in shown for canister_id in whole.canister_ids)


def test_logs_of_named_canisters(run: Run, own: Mainer) -> None:
    assert run("logs", "Own 1", own.llm_ids[0], "--since", "1m")[0] == 0
    status, _, said = run("logs", "Own 9")
    assert status == 1
    assert "no canister 'Own 9' on network local" in said


def test_logs_are_followed_until_ctrl_c(uploaded: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    talker = Member(management.create_canister(uploaded.agent, 10 * management.TRILLION), "other", "talker")
    management.install_code(uploaded.agent, talker.canister_id, bytes(wasmtime.wat2wasm(TALKER)), "install")
    say(uploaded, talker, b"before")
    monkeypatch.setenv("MAINER_NB_STATE", str(uploaded.ids.files[0].path.parent))
    command = [sys.executable, "-c", "from mainer_nb import cli; raise SystemExit(cli.main())"]
    following = subprocess.Popen(
        [*command, "logs", talker.canister_id, "--follow", "--since", "1h"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # where tests run in the background
    )
    assert following.stdout is not None
    assert following.stdout.readline().endswith("[0] before\n")
    say(uploaded, talker, b"after")
    assert following.stdout.readline().endswith("[1] after\n")
    following.send_signal(signal.SIGINT)
    shown, said = following.communicate(timeout=60)
    assert (following.returncode, shown) == (130, "")
    assert "stopped" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("90s", NOW - timedelta(seconds=90)),
        ("5m", NOW - timedelta(minutes=5)),
        ("2h", NOW - timedelta(hours=2)),
        ("3d", NOW - timedelta(days=3)),
        ("2026-11-26T12:00", NOW),
        ("2026-11-26T13:00+01:00", NOW),
    ],
)
def test_a_time_is_given_as_people_write_it(text: str, time: datetime) -> None:
    assert moment(text, NOW) == time


@pytest.mark.parametrize("text", ["yesterday", "", "-5m", "5", "9999999999999d", "2026-13-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ArgumentError, match=r"--since .* is no time"):
        moment(text, NOW)
