"""Samples on disk: whole whoever writes them and however that ends; burn measured by them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas
import pytest

from mainer_nb.errors import PreconditionError
from mainer_nb.fleet import samples
from mainer_nb.fleet.samples import Sample

START = datetime(2026, 11, 26, 12, tzinfo=UTC)
LLM = "rrkah-fqaaa-aaaaa-aaaaq-cai"
SAMPLE = Sample(START, LLM, "Own 1, LLM 1", "LLM", "running", 10**13, 1, 2, None, None, "200", "ab")
HALF = "2026-11-26T12:00:00.000+00:00,rrkah-fqaaa,Own 1,Own,running,123"
# A process that writes samples, each with the number of the process in `memory`, until it has written so many batches.
WRITER = """
import sys
from dataclasses import replace
from types import SimpleNamespace
from mainer_nb.fleet import samples
from tests.fleet.test_samples import SAMPLE
net = SimpleNamespace(name="local", root_key=b"key")
print("ready", flush=True)
for number in range(int(sys.argv[2])):
    samples.append(net, [replace(SAMPLE, memory=int(sys.argv[1]), queue=number) for _ in range(20)])
"""


class Net:
    """What of a network samples ask for."""

    name, root_key = "local", b"key"


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "files").mkdir()
    monkeypatch.setenv("MAINER_NB_PROJECT", str(tmp_path))
    return Net()


def writer(number: int, batches: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(number), str(batches)]
    root = Path(__file__).resolve().parents[2]
    started = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    assert started.stdout is not None
    assert started.stdout.readline() == "ready\n"
    return started


def history(*cycles: int | None, step: timedelta = timedelta(hours=10)) -> list[Sample]:
    return [replace(SAMPLE, time=START + number * step, cycles=balance) for number, balance in enumerate(cycles)]


def test_what_is_appended_is_read_again(net: Any) -> None:
    empty = replace(SAMPLE, time=START + timedelta(seconds=1), cycles=None, memory=None, idle_per_day=None, queue=3)
    samples.append(net, [SAMPLE])
    samples.append(net, [replace(empty, state='said "no",\nthen nothing')])
    assert samples.read(net) == [SAMPLE, replace(empty, state='said "no", then nothing')]
    assert samples.read(net, since=empty.time) == [replace(empty, state='said "no", then nothing')]


def test_pandas_reads_the_file(net: Any) -> None:
    frame = pandas.read_csv(samples.append(net, [SAMPLE, replace(SAMPLE, cycles=None)]), parse_dates=["time"])
    assert list(frame.columns) == list(samples.COLUMNS)
    assert frame["cycles"].sum() == 10**13
    assert frame["time"].iloc[0] == START


def test_another_network_of_the_same_name_has_a_file_of_its_own(net: Any) -> None:
    other: Any = Net()
    other.root_key = b"another"
    assert samples.path(net) != samples.path(other)
    assert samples.read(net) == []


def test_several_processes_append_at_once(net: Any) -> None:
    writers = [writer(number, 30) for number in range(3)]
    assert [each.wait(60) for each in writers] == [0, 0, 0]
    found = samples.read(net)
    assert len(found) == 3 * 30 * 20
    assert {each.memory for each in found} == {0, 1, 2}


def test_a_writer_that_is_killed_leaves_whole_lines_to_the_others(net: Any) -> None:
    for number in range(3):
        killed, other = writer(0, 100_000), writer(1, 20)
        while not samples.read(net):
            pass
        os.kill(killed.pid, signal.SIGKILL)
        assert killed.wait(60) == -signal.SIGKILL
        assert other.wait(60) == 0
        found = [each for each in samples.read(net) if each.memory == 1]
        assert len(found) == (number + 1) * 20 * 20
    head, *lines = samples.path(net).read_text().splitlines()
    assert head == ",".join(samples.COLUMNS)
    assert {line.count(",") for line in lines} == {len(samples.COLUMNS)}  # one more, in the quoted name


@pytest.mark.parametrize("rest", ["2026-11-26T12:00:00", HALF])
def test_half_a_line_does_not_count_and_goes_with_the_next_sample(net: Any, rest: str) -> None:
    file = samples.append(net, [SAMPLE])
    whole = file.read_text()
    file.write_text(whole + rest)
    assert samples.read(net) == [SAMPLE]
    samples.append(net, [SAMPLE])
    assert samples.read(net) == [SAMPLE, SAMPLE]
    assert rest not in file.read_text().splitlines()


def test_half_a_head_is_written_again(net: Any) -> None:
    samples.append(net, [SAMPLE])
    samples.path(net).write_text("time,canis")
    samples.append(net, [SAMPLE])
    assert len(pandas.read_csv(samples.path(net))) == 1


def test_what_is_no_sample_is_left_out(net: Any) -> None:
    file = samples.append(net, [SAMPLE])
    for damaged in ("\0" * 100, "a,b,c", "é" * 200_000, "x,y,z,a,b,1,2,3,4,5,6,7", '"'):
        with file.open("a") as opened:
            opened.write(f"{damaged}\n")
    samples.append(net, [SAMPLE])
    assert samples.read(net) == [SAMPLE, SAMPLE]


def test_a_full_file_is_put_aside_and_the_one_before_dropped(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(samples, "MOST_BYTES", 1000)
    for number in range(100):
        samples.append(net, [replace(SAMPLE, queue=number)])
    files = sorted(samples.path(net).parent.glob("*.csv"))
    assert len(files) == 2
    assert sum(file.stat().st_size for file in files) < 3000
    kept = [each.queue for each in samples.read(net)]
    assert kept == list(range(100 - len(kept), 100))
    assert len(kept) > 5


def test_a_folder_that_cannot_be_written_is_named(net: Any, tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    with pytest.raises(PreconditionError, match=r"samples.*cannot be written: .*MAINER_NB_PROJECT"):
        samples.append(net, [SAMPLE])


def test_burn_is_what_balances_lose() -> None:
    found = samples.burn(history(100, 90, 70), SAMPLE.canister_id)
    assert found == samples.Burn(36, timedelta(hours=20))


@pytest.mark.parametrize(
    ("cycles", "per_day", "hours"),
    [
        ((100, 90, 290, 280), 24, 20),  # 200 were given between the second and the third
        ((100, 90, None, 70), 24, 30),  # not told once
        ((100, 100, 100), 0, 20),
        ((100, 200, 300, 295), 12, 10),
    ],
)
def test_the_time_in_which_a_canister_was_topped_up_does_not_count(
    cycles: tuple[int | None, ...], per_day: float, hours: int
) -> None:
    assert samples.burn(history(*cycles), SAMPLE.canister_id) == samples.Burn(per_day, timedelta(hours=hours))


def test_burn_is_of_one_canister_in_the_order_of_time() -> None:
    other = [replace(each, canister_id="aaaaa-aa", cycles=7) for each in history(1, 2, 3)]
    mixed = [*reversed(history(100, 90, 80)), *other]
    assert samples.burn(mixed, SAMPLE.canister_id) == samples.Burn(24, timedelta(hours=20))


def test_only_the_last_days_count() -> None:
    week = history(1000, 900, 899, 898, step=timedelta(days=3))
    assert samples.burn(week, SAMPLE.canister_id) == samples.Burn(2 / 6, timedelta(days=6))


@pytest.mark.parametrize(
    "few", [history(), history(5), history(5, 4, step=timedelta(hours=5.9)), history(1, 2, 3), history(None, None)]
)
def test_too_little_to_measure_by_is_no_burn(few: list[Sample]) -> None:
    assert samples.burn(few, SAMPLE.canister_id) is None
