"""What mAIners are doing, and waiting until they have done it.

    work.of(net, mainer).llm                         # the LLM that is answering for it, if one is
    work.wait_until_idle(net, mainer, timeout=60)

A mAIner of the original interface does not tell: what is under way there is not seen.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .. import stopping
from ..errors import WaitTimeout
from ..network import Network
from .members import Member, canister, offers

STATUS = "getWorkStatusAdmin"  # beyond the original interface
TIMEOUT = 900.0  # seconds: an answer takes an LLM up to thirty calls
SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Work:
    """What a mAIner is doing.

    Attributes:
        timers: whether it works by itself.
        queued: challenges in its queue.
        undelivered: answers that it has yet to deliver.
        llm: the id of the LLM that is answering, if one is.
        idle: nothing is under way, so it can be stopped at once.
    """

    timers: bool
    maintenance: bool
    queued: int
    undelivered: int
    llm: str | None
    idle: bool

    @property
    def waiting(self) -> int:
        """Challenges and answers that are not done with."""
        return self.queued + self.undelivered


def of(net: Network, member: Member | str) -> Work | None:
    """What a mAIner is doing; None if it does not tell.

    Raises:
        CallError: it does not answer, or not to this caller.
    """
    mainer = canister(net, member)
    if not offers(mainer, STATUS):
        return None
    return told(getattr(mainer, STATUS)())


def told(status: dict[str, Any]) -> Work:
    """What a mAIner's answer says that it is doing."""
    answering = status["answering"]
    return Work(
        timers=status["timersStarted"],
        maintenance=status["inMaintenance"],
        queued=status["queueSize"],
        undelivered=status["undelivered"],
        llm=None if answering is None else answering["canister_id"],
        idle=status["idle"],
    )


def wait_until_idle(net: Network, member: Member, timeout: float = TIMEOUT) -> None:
    """Wait until a mAIner has nothing under way; errors as of `wait_until` and `of`."""
    wait_until(
        lambda: (found := of(net, member)) is None or found.idle, f"{member.name} ends what is under way", timeout
    )


def wait_until(reached: Callable[[], bool], what: str, timeout: float) -> None:
    """Look again and again until something is reached.

    Raises:
        WaitTimeout: it is not, within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not reached():
        if time.monotonic() >= deadline:
            raise WaitTimeout(f"waited {timeout:.0f} s in vain: {what}")
        stopping.pause(SECONDS_BETWEEN_LOOKS)
