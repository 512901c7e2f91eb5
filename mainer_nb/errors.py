"""Everything that can go wrong here, as one tree.

* MainerError                 anything below; its text names the input and the remedy
  + PreconditionError         a step that must come first has not been done
  + ArgumentError             a value handed in cannot be what it should be (also a ValueError)
  + IdentityError             the key to sign with: not found, encrypted, unreadable
  + ArtifactError             a file to be uploaded
    · ArtifactMissing         it is not there and cannot be made
    · ArtifactCorrupt         it is there and is not what it should be
    · ArtifactOutdated        it is of an older version of this package (also an AttributeError)
  + NetworkError              which Internet Computer, and is it there
    · UnknownNetwork          no network of this name
    · NetworkNotRunning       nothing answers at its address
    · NetworkReset            it answers, but canisters known from before are gone
  + CallError                 one call of a canister
    · TransportError          no usable HTTP answer
    · CertificateError        an answer whose signature is not that of the network's key
    · CallTimeout             accepted, not answered in time
    · RejectError             the network or the canister rejected it
    · CanisterError           the canister answered with its `Err`
  + WaitTimeout               something awaited on the network did not happen in time
  + ExpectationFailed         what a step was to bring about is not so (also an AssertionError)

* Interrupted                 somebody stopped it; a KeyboardInterrupt, since it is no error
"""

from __future__ import annotations

import re
from typing import Any


class MainerError(Exception):
    """Base of all errors of this package."""

    def _render_traceback_(self) -> list[str]:
        """What a notebook shows (a protocol of IPython's): the text says it all, where it was raised says nothing."""
        return [f"{type(self).__name__}: {self}"]


class PreconditionError(MainerError):
    """A step that must come first has not been done; the text says which and how."""


class ArgumentError(MainerError, ValueError):
    """A value handed in cannot be what it should be."""


class IdentityError(MainerError):
    """No usable key for this name or file."""


class ArtifactError(MainerError):
    """A file to be uploaded cannot be used."""


class ArtifactMissing(ArtifactError):
    """The file is not there and cannot be made."""


class ArtifactCorrupt(ArtifactError):
    """The file is there and is not what it should be."""


class ArtifactOutdated(ArtifactError, AttributeError):
    """An interface of an older version of this package lacks a method that this version calls."""


class NetworkError(MainerError):
    """The chosen Internet Computer cannot be used."""


class UnknownNetwork(NetworkError):
    """No network of this name is configured."""


class NetworkNotRunning(NetworkError):
    """Nothing answers at the network's address."""


class NetworkReset(NetworkError):
    """The network answers, but a canister known from before is gone: its state was deleted."""


class CallError(MainerError):
    """One call of a canister went wrong."""


class TransportError(CallError):
    """No usable HTTP answer: connection, HTTP status or an answer that is not what the interface says."""


class CertificateError(CallError):
    """A certificate that cannot be verified with the network's root key."""


class CallTimeout(CallError):
    """The call was sent, but no answer was there in time; it may still be carried out.

    `request_id` is the call's id (32 bytes), with which its status can be asked later.
    """

    def __init__(self, message: str, request_id: bytes) -> None:
        super().__init__(message)
        self.request_id = request_id


# Interface specification, "Reject codes".
REJECT_CODES = {
    1: "SYS_FATAL",
    2: "SYS_TRANSIENT",
    3: "DESTINATION_INVALID",
    4: "CANISTER_REJECT",
    5: "CANISTER_ERROR",
    6: "SYS_UNKNOWN",
}


# https://internetcomputer.org/docs/references/execution-errors#method-not-found
METHOD_NOT_FOUND = "IC0536"


class RejectError(CallError):
    """A rejected query or update.

    `reject_code` 1–6 (interface specification, "Reject codes"), `reject_message`, `error_code` such as
    "IC0503" where the network gives one, and what was called: `canister_id` (text), `method`.
    """

    def __init__(
        self, canister_id: str, method: str, reject_code: int, reject_message: str, error_code: str | None = None
    ) -> None:
        self.canister_id = canister_id
        self.method = method
        self.reject_code = reject_code
        self.reject_message = reject_message
        self.error_code = error_code
        name = REJECT_CODES.get(reject_code, "unknown code")
        code = f"{reject_code} {name}" + (f", {error_code}" if error_code else "")
        remedy = _remedy_of_code(f"{error_code} {reject_message}")
        super().__init__(f"{canister_id}.{method} was rejected ({code}): {reject_message}{remedy}")

    @property
    def not_offered(self) -> bool:
        """Whether the canister has no such method; older networks say so in the text alone."""
        return self.error_code == METHOD_NOT_FOUND or bool(
            re.search(r"has no (update|query) method", self.reject_message)
        )


# What helps against an `Err` case, by its name.
REMEDIES = {
    "Unauthorized": "use an identity that is a controller of this canister, or is registered for this role",
    "InsuffientCycles": "top the canister up: operate.top_up(net, canister_id, cycles)",
    "InvalidId": "check the id: nothing of this id is known there, or the challenge was closed meanwhile",
}


# What helps where a canister does not take calls, by the code in a rejection or in what a canister passes on of one.
START = "start it: management.start(net.agent, canister_id); Game State and creator are started by 01_deploy"
REMEDIES_OF_CODES = {
    "IC0508": START,
    "IC0509": START,
    METHOD_NOT_FOUND: "if an older version of mainer_nb deployed it, upgrade it: 01_deploy does so with Game State and"
    " creator, 03_create with mAIners",
    "IC0207": "top it up: operate.top_up(net, canister_id, cycles)",
}


# What helps where a canister of this project tells the reason in words.
REMEDIES_OF_WORDS = {
    "thresholdMaxOpenChallenges": "operate.make_room(net, challenges=1, submissions=0)",
    "thresholdMaxOpenSubmissions": "operate.make_room(net, challenges=0, submissions=1)",
    "There is no LLM canister": "create.add_llm(net, controller_id)",
}


def _remedy_of_code(text: str) -> str:
    """A sentence that says what helps against the first known error code, or known words, in a text."""
    for words, remedy in REMEDIES_OF_WORDS.items():
        if words in text:
            return f". Remedy: {remedy}."
    for code in re.findall(r"\bIC\d{4}\b", text):
        if code in REMEDIES_OF_CODES:
            return f". Remedy: {REMEDIES_OF_CODES[code]}."
    if re.search(r"\bCanister [a-z0-9-]+ is stopp(ed|ing)\b", text):  # as a calling canister is told, without a code
        return f". Remedy: {START}."
    return ""


class CanisterError(CallError):
    """A canister answered `Err`.

    Attributes:
        canister_id: text.
        variant: the name of the `Err` case; "" if `Err` is no variant.
        value: its payload as plain Python; None if it has none.
    """

    def __init__(self, canister_id: str, method: str, variant: str, value: Any, canister_name: str = "") -> None:
        self.canister_id = canister_id
        self.method = method
        self.variant = variant
        self.value = value
        who = f"{canister_name} ({canister_id})" if canister_name else canister_id
        what = variant if value is None else f"{variant}: {value}" if variant else f"{value}"
        remedy = REMEDIES["Unauthorized"] if self.unauthorized else REMEDIES.get(variant)
        said = f". Remedy: {remedy}." if remedy else _remedy_of_code(what)
        super().__init__(f"{who}.{method} answered Err {what}{said}")

    @property
    def unauthorized(self) -> bool:
        """Whether it is because of who called."""
        return self.variant == "Unauthorized" or (self.variant, self.value) == ("StatusCode", 401)


class WaitTimeout(MainerError):
    """Something awaited on the network did not happen in time; the text says what was there instead."""


class ExpectationFailed(MainerError, AssertionError):
    """What a step was to bring about is not so; the text says what was found instead."""


class Interrupted(KeyboardInterrupt):
    """Somebody stopped what was done; the text says how far it is and what running it again does."""

    def _render_traceback_(self) -> list[str]:
        """As that of `MainerError`."""
        return [f"{type(self).__name__}: {self}"]
