"""The time of a network: that of the computer, or one that a test holds still and moves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Clock:
    """Nanoseconds since the epoch; never goes backwards.

    Args:
        moved: called when the time is moved by hand.
    """

    def __init__(self, moved: Callable[[], None]) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._offset = 0
        self._held: int | None = None
        self._moved = moved

    def now(self) -> int:
        """The current time; strictly increasing while it runs."""
        with self._lock:
            if self._held is not None:
                return self._held
            self._last = max(self._last + 1, time.time_ns() + self._offset)
            return self._last

    @property
    def held(self) -> bool:
        """Whether the time stands still."""
        return self._held is not None

    def hold(self, at: int | None = None) -> None:
        """Stops the time, at `at` or at the present moment.

        Raises:
            ValueError: `at` is in the past of this network.
        """
        now = self.now()
        if at is not None and at < now:
            raise ValueError(f"time {at} is before the network's time {now}: time never goes backwards")
        with self._lock:
            self._held = self._last = now if at is None else at
        self._moved()

    def advance(self, nanoseconds: int) -> None:
        """Moves the time forward, whether it stands still or not."""
        if nanoseconds < 0:
            raise ValueError(f"cannot advance by {nanoseconds} ns: time never goes backwards")
        with self._lock:
            if self._held is not None:
                self._held += nanoseconds
                self._last = self._held
            else:
                self._offset += nanoseconds
        self._moved()

    def release(self) -> None:
        """Lets the time run on from where it stands."""
        with self._lock:
            if self._held is not None:
                self._offset = self._held - time.time_ns()
                self._held = None
        self._moved()
