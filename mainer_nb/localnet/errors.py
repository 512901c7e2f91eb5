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
        message: the text for the caller.
        error_code: mainnet's own code, e.g. ``IC0503``; empty when the canister itself rejected.
        to_canister: the text for a calling canister, where mainnet has one without error code for it.
    """

    code: RejectCode
    message: str
    error_code: str = ""
    to_canister: str = ""

    def seen_by_canister(self) -> Reject:
        """The rejection as ``msg_reject_msg`` tells it: the error code stands in front of the text."""
        text = self.to_canister or (f"{self.error_code}: {self.message}" if self.error_code else self.message)
        return Reject(self.code, shortened(text))


Response = Reply | Reject


class Failure(Exception):
    """A step of the system failed in a way that its caller is told as the rejection `reject`."""

    def __init__(self, reject: Reject) -> None:
        super().__init__(reject.message)
        self.reject = reject


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
        f"To start with an empty network, move {folder} away, which keeps it, or remove it (`mainer-nb net reset`"
        " removes the embedded network's); or put back a copy of the whole folder"
    )


class CanisterTrap(Exception):
    """The running canister traps: its message changes nothing but cycles.

    Attributes:
        error_code: mainnet's code; the text of the exception is the sentence mainnet prints.
        help: what mainnet advises in a further line.
    """

    def __init__(self, error_code: str, message: str, help: str = "") -> None:
        super().__init__(message)
        self.error_code = error_code
        self.help = help


#: Bytes of a rejection's text that reach its caller (mainnet's limit).
MAX_TEXT = 8 * 1024


def shortened(text: str) -> str:
    """`text` as mainnet passes it on: of what is too long, three quarters of the room go to the beginning."""
    data = text.encode()
    if len(data) <= MAX_TEXT:
        return text
    room = MAX_TEXT - len("...")
    first = room * 75 // 100
    return data[:first].decode(errors="ignore") + "..." + data[first - room :].decode(errors="ignore")
