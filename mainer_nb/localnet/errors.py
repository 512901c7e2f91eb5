"""How a message can fail, with the Internet Computer's reject codes and error codes.

Sources: IC interface specification, section "Reject codes"; error codes as mainnet prints them
(``IC0503`` and so on), which agents show to their users.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path


class RejectCode(IntEnum):
    """IC interface specification, section "Reject codes"."""

    SYS_FATAL = 1
    SYS_TRANSIENT = 2
    DESTINATION_INVALID = 3
    CANISTER_REJECT = 4
    CANISTER_ERROR = 5
    SYS_UNKNOWN = 6


@dataclass(frozen=True)
class Reply:
    """A call was answered with `data` (Candid, by convention)."""

    data: bytes


@dataclass(frozen=True)
class Reject:
    """A call was rejected.

    Attributes:
        code: a `RejectCode`.
        message: the text for the caller.
        error_code: mainnet's own code, e.g. ``IC0503``; empty when the canister itself rejected.
    """

    code: int
    message: str
    error_code: str = ""


Response = Reply | Reject


class Failure(Exception):
    """A step of the system failed in a way that its caller is told as a rejection."""

    def __init__(self, code: RejectCode, error_code: str, message: str) -> None:
        super().__init__(message)
        self.reject = Reject(int(code), message, error_code)


class StateError(Exception):
    """The state folder of a network cannot be used; the text says which file, why, and what to do."""


class DamagedState(StateError):
    """What is in a state folder is not what a network left there.

    Args:
        folder: the state folder.
        what: the file that is damaged, and how.
    """

    def __init__(self, folder: Path, what: str) -> None:
        super().__init__(f"{what}. {afresh(folder)}")


def afresh(folder: Path) -> str:
    """What to do about a state folder that cannot be read."""
    return (
        f"To start afresh, move {folder} away, which keeps it, or remove it (`mainer-nb net reset` removes the embedded"
        " network's); or put back a copy of the whole folder"
    )


class CanisterTrap(Exception):
    """The running canister traps: its message changes nothing but cycles.

    Attributes:
        error_code: mainnet's code; the text of the exception is the sentence mainnet prints.
    """

    def __init__(self, error_code: str, message: str) -> None:
        super().__init__(message)
        self.error_code = error_code


def trapped(message: str) -> CanisterTrap:
    """The canister called ``ic0.trap`` itself."""
    return CanisterTrap("IC0503", f"Canister called `ic0.trap` with message: '{message}'")


def violation(message: str) -> CanisterTrap:
    """The canister used the System API in a way that its specification forbids."""
    return CanisterTrap("IC0504", f"Canister violated contract: {message}")


def too_much_written(memory: str, limit: int) -> CanisterTrap:
    """The message wrote to more than `limit` bytes of its ``main`` or ``stable`` memory."""
    return CanisterTrap(
        "IC0524",
        f"Canister exceeded memory access limits: Exceeded the limit for the number of modified pages in the {memory}"
        f" memory in a single message execution: limit: {limit // 1024} KB.",
    )


def no_such_canister(text: str) -> Failure:
    return Failure(RejectCode.DESTINATION_INVALID, "IC0301", f"Canister {text} not found")
