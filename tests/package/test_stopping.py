"""Work that is stopped ends, with what it waits for and what it has started."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import psutil
import pytest

from mainer_nb import progress, stopping
from mainer_nb.agent import Client
from mainer_nb.errors import Interrupted

ENOUGH = 60.0  # seconds, within which anything that ends has ended
SLEEPER = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"


@pytest.fixture
def silent() -> socket.socket:
    """Somebody who takes requests and never answers."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen(8)
    return listening


def ends_when_stopped(work: Callable[[], object], begun: Callable[[], object]) -> BaseException | None:
    """What `work` ends with in a thread that an interrupt stops once it has `begun`."""
    ended: list[BaseException] = []

    def act() -> None:
        try:
            with stopping.by_interrupt():
                work()
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    begun()
    stopping._interrupted(2, None)
    thread.join(ENOUGH)
    assert not thread.is_alive()
    return ended[0] if ended else None


def test_waiting_for_an_answer_ends_when_it_is_stopped(silent: socket.socket) -> None:
    client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}")
    asked: list[socket.socket] = []

    def accept() -> None:
        connection, _ = silent.accept()
        assert connection.recv(10)
        asked.append(connection)

    assert isinstance(ends_when_stopped(lambda: client.post("/", b""), accept), Interrupted)
    silent.settimeout(0.5)
    with pytest.raises(TimeoutError):  # it is not sent again
        silent.accept()


def test_threads_of_what_is_stopped_end_and_begin_nothing_more(silent: socket.socket) -> None:
    client = Client(f"http://127.0.0.1:{silent.getsockname()[1]}")
    begun: list[int] = []
    asked: list[socket.socket] = []

    def ask(number: int) -> None:
        begun.append(number)
        client.post("/", b"")

    def accept_two() -> None:
        for _ in range(2):
            connection, _ = silent.accept()
            assert connection.recv(10)
            asked.append(connection)

    before = set(threading.enumerate())
    error = ends_when_stopped(lambda: stopping.every(ask, range(10), 2), accept_two)
    assert isinstance(error, Interrupted)
    assert sorted(begun) == [0, 1]
    assert set(threading.enumerate()) <= before


def test_a_pause_ends_when_it_is_stopped() -> None:
    begun = threading.Event()

    def wait() -> None:
        with progress.Silent().task("wait", total=4, unit="steps") as task:
            task.advance(1)
            begun.set()
            stopping.pause(600)

    said = str(ends_when_stopped(wait, begun.wait))
    assert said.startswith("wait: stopped after ")
    assert said.endswith("1 of 4 steps done. Run it again: what is done is kept, and it goes on from there.")


@pytest.mark.parametrize("at_once", [0, 2])
def test_what_is_stopped_can_put_in_order_what_it_leaves(at_once: int) -> None:
    begun, ordered = threading.Event(), []

    def wait(_: int) -> None:
        begun.set()
        stopping.pause(600)

    def work() -> None:
        try:
            if at_once:
                stopping.every(wait, range(at_once), at_once)
            else:
                wait(0)
        finally:
            stopping.check()
            ordered.extend(stopping.every(lambda number: number, range(3), 2))

    assert isinstance(ends_when_stopped(work, begun.wait), Interrupted)
    assert ordered == [0, 1, 2]


def test_a_process_ends_with_those_that_it_has_started() -> None:
    me = psutil.Process()
    family: list[psutil.Process] = []
    others = set(me.children(recursive=True))  # of other tests

    def begun() -> None:
        while len(started := set(me.children(recursive=True)) - others) < 2:
            time.sleep(0.05)
        family.extend(started)

    error = ends_when_stopped(lambda: stopping.run([sys.executable, "-c", SLEEPER]), begun)
    assert isinstance(error, Interrupted)
    assert psutil.wait_procs(family, timeout=ENOUGH)[1] == []


def test_an_error_ends_the_others_and_results_keep_their_order() -> None:
    assert stopping.every(lambda number: number * number, range(20), 3) == [number * number for number in range(20)]
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        if number == 1:
            raise ValueError("no")
        stopping.pause(600)

    with pytest.raises(ValueError, match="no"):
        stopping.every(work, range(10), 2)
    assert sorted(begun) == [0, 1]
    assert stopping.every(work, [], 2) == []


def test_what_ran_without_a_scope_is_as_ever() -> None:
    stopping.check()
    done = stopping.run([sys.executable, "-c", "import sys; print('out'); print('ä', file=sys.stderr); sys.exit(3)"])
    assert (done.returncode, done.stdout, done.stderr.strip()) == (3, "out\n", "ä")


IN_NOTEBOOK = """
from IPython.testing.globalipapp import start_ipython
shell = start_ipython()
from mainer_nb import stopping, table
def outside():
    raise KeyboardInterrupt
shell.user_ns.update(table=table, outside=outside, rows=(outside() for _ in "x"))
shell.run_cell("table.Table(rows)")
print("=====")
shell.run_cell("outside()")
"""


def test_a_cell_that_is_interrupted_in_the_package_says_so_in_a_line() -> None:
    done = subprocess.run([sys.executable, "-c", IN_NOTEBOOK], capture_output=True, text=True, timeout=ENOUGH)
    ours, others = done.stdout.split("=====")
    assert ours.strip() == "Interrupted: stopped in table.Table.__init__. Run the cell again: what is done is kept."
    assert "Traceback" in others
    assert "KeyboardInterrupt" in others
