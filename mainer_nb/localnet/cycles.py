"""What things cost, in cycles: the public price table of a 13-node subnet.

Source: the Internet Computer's documentation, page "Cycles costs" (costs on a 13-node application
subnet). All amounts are cycles; sizes are bytes; times are nanoseconds.
"""

from __future__ import annotations

MAX_CYCLES = 2**128 - 1

CANISTER_CREATION = 500_000_000_000
COMPUTE_PERCENT_PER_SECOND = 10_000_000
STORAGE_GIB_PER_SECOND = 127_000
UPDATE_MESSAGE_EXECUTION = 5_000_000
CYCLES_PER_INSTRUCTION = 1
INGRESS_RECEPTION = 1_200_000
INGRESS_BYTE = 2_000
CALL = 260_000
CALL_BYTE = 1_000

MAX_RESPONSE_BYTES = 2 * 1024 * 1024
GIB = 1024**3
SECOND = 1_000_000_000


def ingress(size: int) -> int:
    """Receiving an ingress message whose method name and argument have `size` bytes together."""
    return INGRESS_RECEPTION + size * INGRESS_BYTE


def execution(instructions: int) -> int:
    """Executing one message of `instructions` wasm instructions."""
    return UPDATE_MESSAGE_EXECUTION + instructions * CYCLES_PER_INSTRUCTION


def call(size: int) -> int:
    """Sending an inter-canister call whose method name and argument have `size` bytes together."""
    return CALL + size * CALL_BYTE


def response_reserve(instruction_limit: int) -> int:
    """What a caller sets aside for the response: its transmission and the execution of its callback."""
    return MAX_RESPONSE_BYTES * CALL_BYTE + execution(instruction_limit)


def storage(size: int, duration: int) -> int:
    """Keeping `size` bytes for `duration` nanoseconds."""
    return size * STORAGE_GIB_PER_SECOND * duration // (GIB * SECOND)


def compute(percent: int, duration: int) -> int:
    """A compute allocation of `percent` for `duration` nanoseconds."""
    return percent * COMPUTE_PERCENT_PER_SECOND * duration // SECOND


def freezing_threshold(size: int, compute_percent: int, seconds: int) -> int:
    """The balance that pays for a canister's idle costs during `seconds`: below it the canister is frozen."""
    return storage(size, seconds * SECOND) + compute(compute_percent, seconds * SECOND)
