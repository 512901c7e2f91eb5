"""The threads that execute messages and queries: who waits for whom."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from functools import partial

import pytest

from mainer_nb.localnet.pool import Pool
from tests.localnet.driver import eventually


@pytest.fixture
def pool() -> Iterator[Pool]:
    """Two jobs at a time, of each owner two, eight in any case."""
    pool = Pool("test", size=2, most=8, each=2)
    yield pool
    pool.stop()


@pytest.fixture
def end(pool: Pool) -> Iterator[threading.Event]:
    """What long jobs wait for; it comes at the end of the test at the latest."""
    event = threading.Event()
    yield event
    event.set()


def test_results_and_exceptions_are_passed_on(pool: Pool) -> None:
    pool.start()
    assert pool.submit(lambda: 7).result(30) == 7
    with pytest.raises(ZeroDivisionError):
        pool.submit(lambda: 1 // 0).result(30)


def test_jobs_wait_for_the_start(pool: Pool) -> None:
    future = pool.submit(lambda: 7)
    assert not future.done()
    pool.start()
    assert future.result(30) == 7


def test_long_jobs_do_not_keep_others_waiting(pool: Pool, end: threading.Event) -> None:
    pool.start()
    long = [pool.submit(end.wait, owner) for owner in range(7)]
    assert pool.submit(lambda: "done", "other").result(30) == "done"
    assert not any(future.done() for future in long)
    end.set()
    assert all(future.result(30) for future in long)


def test_no_more_jobs_run_than_are_allowed_in_any_case(pool: Pool, end: threading.Event) -> None:
    pool.start()
    began = threading.Semaphore(0)

    def job() -> None:
        began.release()
        end.wait()

    jobs = [pool.submit(job, owner) for owner in range(9)]
    for _ in range(8):
        assert began.acquire(timeout=30)
    assert not began.acquire(timeout=0.3)
    end.set()
    for future in jobs:
        future.result(30)


def test_an_owner_with_many_long_jobs_leaves_room_for_others(pool: Pool, end: threading.Event) -> None:
    pool.start()
    greedy = [pool.submit(end.wait, "greedy") for _ in range(100)]
    assert pool.submit(lambda: "done", "other").result(30) == "done"
    eventually(lambda: sum(future.running() for future in greedy) == 2)
    end.set()
    assert all(future.result(30) for future in greedy)


def test_owners_take_turns() -> None:
    pool = Pool("test", size=1, most=1, each=1)
    order: list[str] = []
    futures = [pool.submit(partial(order.append, job), job[0]) for job in ("a1", "a2", "a3", "b1", "b2", "c1")]
    pool.start()
    for future in futures:
        future.result(30)
    pool.stop()
    assert order == ["a1", "b1", "c1", "a2", "b2", "a3"]


def test_many_jobs_of_many_owners_are_all_executed(pool: Pool) -> None:
    pool.start()
    futures = [pool.submit(partial(int, n), n % 17) for n in range(5000)]
    assert [future.result(30) for future in futures] == list(range(5000))


def test_stopping_finishes_what_runs_and_cancels_what_waits(pool: Pool, end: threading.Event) -> None:
    pool.start()
    began = threading.Event()

    def job() -> str:
        began.set()
        end.wait()
        return "finished"

    running, second = pool.submit(job, 1), pool.submit(end.wait, 1)
    waiting = pool.submit(lambda: "too late", 1)
    began.wait()
    stopping = threading.Thread(target=pool.stop)
    stopping.start()
    with pytest.raises(CancelledError):
        waiting.result(30)
    end.set()
    stopping.join()
    assert running.result() == "finished"
    assert second.done()
