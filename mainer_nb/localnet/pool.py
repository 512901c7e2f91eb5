"""Threads for jobs of unknown duration.

As many jobs run at a time as there are processors. A job may take long: the canister has a large model, or it loops.
After `PATIENCE` such a job does not count any more: another job gets a thread beside it, and the system shares the
processors among them. So no job waits for the end of another one, up to `most` threads. Jobs have owners; the owners
take turns, and each has a limited number of jobs running.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from typing import Any

#: Seconds after which a running job does not keep others from running.
PATIENCE = 0.05
#: Stack of a thread in bytes: wasm may use four million of them, and the engine and Python some of their own.
STACK = 32 * 1024 * 1024

_stack_size = threading.Lock()


def start_thread(thread: threading.Thread) -> None:
    """Starts a thread that may run wasm."""
    with _stack_size:
        before = threading.stack_size(STACK)
        try:
            thread.start()
        finally:
            threading.stack_size(before)


class Pool:
    """Threads that execute jobs. Jobs may be submitted before `start`.

    Args:
        name: of the threads.
        size: jobs that run at a time, those that have taken long not counted.
        most: jobs that run at a time in any case.
        each: jobs of one owner that run at a time.
    """

    def __init__(self, name: str, size: int, most: int, each: int) -> None:
        self._name, self._size, self._most, self._each = name, size, most, each
        self._lock = threading.Lock()
        self._work = threading.Condition(self._lock)  # threads wait for jobs
        self._crowded = threading.Condition(self._lock)  # the one that watches waits for a lack of threads
        self._queues: defaultdict[Hashable, deque[tuple[Future[Any], Callable[[], Any]]]] = defaultdict(deque)
        self._turns: deque[Hashable] = deque()  # owners with a job that may run now, each once
        self._active: defaultdict[Hashable, int] = defaultdict(int)
        self._started: dict[threading.Thread, float] = {}  # when each busy thread began with its job
        self._threads: set[threading.Thread] = set()
        self._watcher = threading.Thread(target=self._watch, name=f"{name} watch", daemon=True)
        self._watching = False
        self._running = False

    def start(self) -> None:
        """Begins with the jobs."""
        with self._lock:
            self._running = True
            self._watcher.start()
            self._staff()

    def submit(self, job: Callable[[], Any], owner: Hashable = None) -> Future[Any]:
        """Has `job` executed when it is the turn of `owner`; its result, or exception, is that of the future."""
        future: Future[Any] = Future()
        with self._lock:
            self._queues[owner].append((future, job))
            self._offer(owner)
            self._staff()
        return future

    def stop(self) -> None:
        """Waits for the jobs that are running; those that wait are cancelled."""
        with self._lock:
            waiting = [future for queue in self._queues.values() for future, _ in queue]
            self._queues.clear()
            self._turns.clear()
            started, self._running = self._running, False
            self._work.notify_all()
            self._crowded.notify_all()
            threads = list(self._threads)
        for future in waiting:
            future.cancel()
        for thread in threads:
            thread.join()
        if started:
            self._watcher.join()

    # With the lock held.

    def _offer(self, owner: Hashable) -> None:
        """Gives `owner` a turn if it has a job that may run."""
        if self._queues.get(owner) and self._active[owner] < self._each and owner not in self._turns:
            self._turns.append(owner)

    def _short(self, now: float) -> list[float]:
        """When those jobs that have not taken long yet began."""
        return [started for started in self._started.values() if now - started < PATIENCE]

    def _room(self) -> bool:
        return len(self._started) < self._size or len(self._short(time.monotonic())) < self._size

    def _staff(self) -> None:
        """Finds a thread for a job that may run, now or as soon as there is room."""
        if not self._running or not self._turns:
            return
        if not self._room():
            if not self._watching:
                self._crowded.notify()
        elif len(self._threads) > len(self._started):
            self._work.notify()
        elif len(self._threads) < self._most:
            thread = threading.Thread(target=self._work_off, name=self._name, daemon=True)
            self._threads.add(thread)
            start_thread(thread)

    def _next(self) -> tuple[Hashable, Future[Any], Callable[[], Any]] | None:
        if not self._turns or not self._room():
            return None
        owner = self._turns.popleft()
        future, job = self._queues[owner].popleft()
        self._active[owner] += 1
        self._offer(owner)
        return owner, future, job

    def _done(self, owner: Hashable) -> None:
        self._active[owner] -= 1
        self._offer(owner)
        if not self._queues.get(owner):
            self._queues.pop(owner, None)
            if not self._active[owner]:
                del self._active[owner]

    # The threads.

    def _work_off(self) -> None:
        me = threading.current_thread()
        with self._lock:
            while self._running:
                found = self._next()
                if found is not None:
                    owner, future, job = found
                    self._started[me] = time.monotonic()
                    self._staff()
                    self._lock.release()
                    try:
                        _execute(future, job)
                    finally:
                        self._lock.acquire()
                        del self._started[me]
                        self._done(owner)
                elif len(self._threads) - len(self._started) > self._size:
                    break
                else:
                    self._staff()  # there may be jobs, but no room
                    self._work.wait()
            self._threads.discard(me)

    def _watch(self) -> None:
        """Finds threads for jobs that wait while all that run are short ones, when one of these has taken long."""
        with self._lock:
            while self._running:
                now = time.monotonic()
                short = self._short(now)
                self._watching = bool(self._turns) and len(short) >= self._size
                if self._watching:
                    self._crowded.wait(max(0.0, min(short) + PATIENCE - now))
                else:
                    self._staff()
                    self._crowded.wait()


def _execute(future: Future[Any], job: Callable[[], Any]) -> None:
    if future.set_running_or_notify_cancel():
        try:
            future.set_result(job())
        except BaseException as error:
            future.set_exception(error)
