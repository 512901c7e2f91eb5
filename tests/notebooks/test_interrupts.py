"""Kernel > Interrupt while a cell works: two lines at most, and the cell can be run again."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from jupyter_client.manager import KernelManager

from mainer_nb import create, network, operate, run

ENOUGH = 120.0  # seconds, within which anything that ends has ended

WAIT = """
from mainer_nb import create, network, operate, progress
net = network.connect()
own = create.mainers(net)[0].controller_id
operate.wait_for_submission(net, own, known, progress=progress.Lines())
"""


@pytest.fixture
def kernel(after_first_run: run.Result) -> Iterator[tuple[KernelManager, BlockingKernelClient]]:
    manager = KernelManager()
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    client.wait_for_ready(timeout=ENOUGH)
    yield manager, client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_an_interrupted_cell_says_in_a_line_what_was_stopped(
    kernel: tuple[KernelManager, BlockingKernelClient],
) -> None:
    manager, client = kernel
    shown: list[dict[str, Any]] = []

    def look(message: dict[str, Any]) -> None:
        shown.append(message)
        if "wait for a submission by Own 1: begins" in message["content"].get("text", ""):
            manager.interrupt_kernel()

    net = network.connect()
    own = create.mainers(net)[0].controller_id
    client.execute_interactive(f"known = {operate.submission_ids(net)!r}", timeout=ENOUGH)
    reply = client.execute_interactive(WAIT, timeout=ENOUGH, output_hook=look)
    assert reply["content"]["status"] == "error"
    (error,) = [message["content"] for message in shown if message["msg_type"] == "error"]
    assert error["ename"] == "Interrupted"
    (line,) = error["traceback"]
    assert line.startswith("Interrupted: wait for a submission by Own 1: stopped after ")
    assert len(line.splitlines()) == 1

    operate.make_room(net, challenges=1, submissions=5)
    operate.open_challenge(net, "geography", "What is the capital of France?")
    operate.answer(net, own)
    again = client.execute_interactive(WAIT, timeout=ENOUGH, output_hook=shown.append)
    assert again["content"]["status"] == "ok"
