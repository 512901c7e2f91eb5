"""What came back from a call, in the words of a test."""

from __future__ import annotations

from mainer_nb.localnet.errors import Reject, Reply, Response


def replied(response: Response) -> bytes:
    """The data of a reply; anything else fails the test."""
    assert isinstance(response, Reply), response
    return response.data


def number(response: Response) -> int:
    """The number in a reply, little endian."""
    return int.from_bytes(replied(response), "little")


def rejected(response: Response | bytes | None, error_code: str = "", text: str = "") -> Reject:
    """The rejection, which has this code of mainnet's and contains this text."""
    assert isinstance(response, Reject), response
    assert error_code in ("", response.error_code), response
    assert text in response.message, response
    return response
