"""Ctrl-C in a script: what it leaves, what it says, and that the next one goes on from there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mainer_nb import create, deploy, network, operate, upload
from mainer_nb.localnet import server
from mainer_nb.network import Network

ENOUGH = 60.0  # seconds, within which anything that ends has ended

#: Says when a task is as far as a test wants it, and stays there.
FACE = """
import time
from mainer_nb import create, network, operate, progress, upload
class Face(progress.Silent):
    def task(self, name, *given, **how):
        made = super().task(name, *given, **how)
        if name.startswith(AT):
            def stay(amount):
                type(made).advance(made, amount)
                print("there", flush=True)
                time.sleep(600)
            made.advance = stay
        return made
net = network.connect()
"""


def interrupted(script: str, at: str) -> str:
    """What a script says that is interrupted once the task `at` is as far as it can tell."""
    running = subprocess.Popen(
        [sys.executable, "-c", f"AT = {at!r}{FACE}{script}"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert running.stdout is not None
    assert running.stdout.readline() == "there\n", running.communicate()[1]
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=ENOUGH)
    assert running.returncode != 0
    (line,) = said.splitlines()
    assert line.startswith(f"Interrupted: {at}")
    return line


@pytest.fixture(scope="module")
def net(new_network: Callable[[], Network]) -> Network:
    made = new_network()
    deploy.deploy(made)
    return made


@pytest.fixture(autouse=True)
def same_state(net: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINER_NB_STATE", str(net.ids.files[0].path.parent))


def test_an_upload_goes_on_with_the_chunks_that_are_missing(net: Network, project: Path) -> None:
    large = project / "large.gguf"
    tail = os.urandom(12_000_000)  # beyond what the header describes
    large.write_bytes((project / "files" / "tiny.gguf").read_bytes() + tail)
    line = interrupted(f"upload.upload_all(net, {str(large)!r}, Face())", "upload large.gguf")
    assert line.endswith("MB done. Run it again: what is done is kept, and it goes on from there.")
    again = upload.upload_all(net, large)
    assert [file.skipped for file in again[:2]] == [True, True]
    assert 0 < again[2].sent < again[2].size


def test_a_creation_is_finished_and_nothing_is_made_twice(net: Network) -> None:
    upload.upload_all(net, "tiny")
    plan = "create.Plan(own=2, llms_per_own=2, services=0, agents=0)"
    line = interrupted(f"create.ensure(net, {plan}, Face())", "create LLMs")
    assert "1 of 4 LLMs done. The creator finishes it. Run it again: " in line
    whole = create.ensure(net, create.Plan(own=2, llms_per_own=2, services=0, agents=0))
    assert create.mainers(net) == whole
    assert [len(one.llm_ids) for one in whole] == [2, 2]


def test_waiting_stops_the_timers_and_can_be_repeated(
    net: Network, keep_it_short: Callable[[Network, str], None]
) -> None:
    own, other = create.ensure(net, create.Plan(own=2, llms_per_own=2, services=0, agents=0))
    for llm_id in (*own.llm_ids, *other.llm_ids):
        keep_it_short(net, llm_id)
    script = f"""
with operate.timers(net, {own.controller_id!r}, 1):
    operate.wait_for_submission(net, {own.controller_id!r}, progress=Face())
"""
    line = interrupted(script, "wait for a submission by Own 1")
    assert line.endswith("Run it again: what is done is kept, and it goes on from there.")
    known = operate.submission_ids(net)
    operate.make_room(net, challenges=1, submissions=20)
    operate.open_challenge(net, "geography", "What is the capital of France?")
    with operate.timers(net, other.controller_id, 1):  # by which it is seen that time passes
        for _ in range(2):
            new = operate.wait_for_submission(net, other.controller_id, known)
            known.add(new.submission_id)
    assert {submission.submitted_by for submission in operate.submissions(net)} == {other.controller_id}
    with operate.timers(net, own.controller_id, 1):
        assert operate.wait_for_submission(net, own.controller_id, known).answer


def test_a_network_that_was_being_started_is_started_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAINER_NB_STATE", str(tmp_path / "state"))
    script = """
import os, signal, threading
from mainer_nb.localnet import server
read = server._read
def interrupted(*given):
    os.kill(os.getpid(), signal.SIGINT)
    return read(*given)
server._read = interrupted
from mainer_nb import network
network.connect()
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=ENOUGH)
    assert done.returncode != 0
    assert server.status(tmp_path / "state") is None
    try:
        assert network.connect().url
    finally:
        server.stop(tmp_path / "state")
