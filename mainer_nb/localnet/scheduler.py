"""Which canister runs when: they take turns on worker threads, and a ticker enqueues timers and deadlines.

A worker takes an inbox that has something to do and executes one message of it. Different canisters run in
parallel; one canister never does two things at once.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import sqlite3
import threading
import time
from collections import deque
from concurrent.futures import Future

from . import cycles, rejections, ticks
from .canister import Inbox
from .clock import Clock
from .errors import Reject, StateError
from .execution import SubnetInfo
from .messages import Executor, Fetch
from .pool import PATIENCE, Pool
from .runtime import Runtime
from .state import Message
from .store import Store
from .subnet import Listeners, Subnet

log = logging.getLogger("mainer_nb.localnet")

#: Canisters that may run at once, however long they take.
MOST_WORKERS = 200
HEARTBEAT_SECONDS = 1.0
#: How often `ticks.keep_house` is called.
HOUSEKEEPING_SECONDS = 10.0


class Scheduler:
    """The threads that execute the messages of a subnet, which it makes.

    Args:
        store: where the state is kept; what it holds is loaded.
        workers: number of canisters that may run at once; those whose messages take long are not counted.
        fetch: makes the canisters' HTTPS outcalls; None: they are refused.
    """

    def __init__(
        self, store: Store, runtime: Runtime, info: SubnetInfo, listeners: Listeners, workers: int, fetch: Fetch | None
    ) -> None:
        self._ready: deque[Inbox] = deque()
        self._running = 0
        self._stopping = False
        self._pool = Pool("worker", workers, MOST_WORKERS, MOST_WORKERS)
        self._ticker = threading.Thread(target=self._tick_until_stopped, name="ticker", daemon=True)
        self.clock = Clock(self._time_moved)
        self.subnet = Subnet(store, runtime, self.clock, info, listeners, self._add)
        self._executor = Executor(self.subnet, fetch)
        self._idle = threading.Condition(self.subnet.lock)

    def start(self) -> None:
        """Starts the worker threads and the ticker."""
        self._pool.start()
        self._ticker.start()

    def stop(self) -> None:
        """Lets running messages finish, then stops; waiting messages stay in the store."""
        with self.subnet.lock:
            if self.subnet.failure is None:
                with self.subnet.step() as step:
                    step.keep()
            self._stopping = True
            self.subnet.due.notify_all()
        self._pool.stop()
        self._ticker.join()
        for canister in self.subnet.canisters.values():
            canister.close()

    # Turns.

    def _add(self, inbox: Inbox) -> None:
        """The turn of `inbox` comes."""
        self._ready.append(inbox)
        self._submit()

    def _submit(self) -> None:
        self._pool.submit(self._run_some).add_done_callback(_report)

    def _run_some(self) -> None:
        """Runs ready messages for one time slice: changing threads takes about as long as a short message."""
        end = time.monotonic() + PATIENCE / 2
        while self._run_next():
            if time.monotonic() > end:
                self._submit()
                return

    def _run_next(self) -> bool:
        """Executes a message of the inbox whose turn it is; whether this inbox waits for another turn."""
        with self.subnet.lock:
            if self._stopping or self.subnet.failure is not None:
                return False
            inbox = self._ready.popleft()
            number, message = inbox.take()
            self._running += 1
        try:
            self._executor.execute(inbox.owner, number, message)
        except StateError as error:
            self.subnet.fail(error)
        except Exception as error:  # of the disk or of ours: answer the caller, keep the network going
            with contextlib.suppress(StateError):
                self._executor.give_up(inbox.owner, number, message, _rejection(error, message))
        finally:
            with self.subnet.lock:
                self._running -= 1
                inbox.busy = False
                again = inbox.is_waiting()
                if again:
                    inbox.scheduled = True
                    self._ready.append(inbox)
                if not self._has_work():
                    self._idle.notify_all()
        return again

    # Time.

    def _time_moved(self) -> None:
        with self.subnet.lock:
            self.subnet.due.notify_all()

    def _tick_until_stopped(self) -> None:
        next_beat = next_house = 0
        with self.subnet.lock, contextlib.suppress(StateError):
            while not self._stopping:
                now = self.clock.now()
                with self.subnet.step() as step:
                    ticks.fire_due(step, now)
                    if now >= next_beat:
                        ticks.fire_heartbeats(step)
                        next_beat = now + int(HEARTBEAT_SECONDS * cycles.SECOND)
                    if now >= next_house:
                        ticks.keep_house(step, now)
                        next_house = now + int(HOUSEKEEPING_SECONDS * cycles.SECOND)
                heaps = self.subnet.timers, self.subnet.deadlines
                due = min([next_beat, next_house, *(heap[0][0] for heap in heaps if heap)])
                self.subnet.due.wait(None if self.clock.held else max(0.0, (due - self.clock.now()) / cycles.SECOND))
        with self.subnet.lock:
            self._idle.notify_all()  # whoever waits finds out why the ticker ended

    def tick(self, timeout: float | None = None) -> bool:
        """Does now what is due: heartbeats, timers, deadlines, housekeeping; waits until nothing is left to execute.

        Returns:
            False if that takes longer than `timeout` seconds.

        Raises:
            StateError: the state cannot be written.
        """
        now = self.clock.now()
        with self.subnet.step() as step:
            ticks.fire_due(step, now)
            ticks.fire_heartbeats(step)
            ticks.keep_house(step, now)
        return self.wait_until_idle(timeout)

    def wait_until_idle(self, timeout: float | None = None) -> bool:
        """Waits until no message is waiting or running and no outcall is made.

        Returns:
            False if that takes longer than `timeout` seconds.

        Raises:
            StateError: the state cannot be written.
        """
        with self.subnet.lock:
            idle = self._idle.wait_for(lambda: self.subnet.failure or not self._has_work(), timeout)
            self.subnet.check()
            return bool(idle)

    def _has_work(self) -> bool:
        return bool(self._ready or self._running or self._executor.fetching)


def _report(job: Future[None]) -> None:
    if not job.cancelled() and job.exception() is not None:
        log.error("a worker of the network failed", exc_info=job.exception())


def _rejection(error: Exception, message: Message) -> Reject:
    """What the caller of a message is told whose execution failed with `error`."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    codes = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
    if full or (isinstance(error, sqlite3.Error) and error.sqlite_errorcode in codes):
        log.error("no room for the changes of a message: %s", error)
        return rejections.no_room(error)
    log.error("internal error while executing %s", message, exc_info=error)
    return rejections.internal_error()
