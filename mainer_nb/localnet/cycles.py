"""What things cost, in cycles: the public price table of a 13-node subnet.

Source: the Internet Computer's documentation, page "Cycles costs" (costs on a 13-node application
subnet). All amounts are cycles; sizes are bytes; times are nanoseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_CYCLES = 2**128 - 1

CANISTER_CREATION = 500_000_000_000
COMPUTE_PERCENT_PER_SECOND = 10_000_000
STORAGE_GIB_PER_SECOND = 127_000
UPDATE_MESSAGE_EXECUTION = 5_000_000
CYCLES_PER_INSTRUCTION = 1
#: An instruction of a module with 64-bit memory costs this many times as much.
MEMORY64_FACTOR = 2
INGRESS_RECEPTION = 1_200_000
INGRESS_BYTE = 2_000
CALL = 260_000
CALL_BYTE = 1_000
HTTP_REQUEST = 49_140_000
HTTP_REQUEST_BYTE = 5_200
HTTP_RESPONSE_BYTE = 10_400
#: Nodes of the subnet that the prices are those of.
NODES = 13
#: A rejection that is delivered instead of the response to an outcall has at most so many bytes.
MAX_OUTCALL_REJECT = 1_025
#: Signatures and key derivations, by the name of the key: that of production is held by a subnet of 34 nodes.
SIGNATURE = {"dfx_test_key": 10_000_000_000, "test_key_1": 10_000_000_000, "key_1": 26_153_846_153}

#: Work of the management canister that is accounted as so many instructions of the canister.
UPLOAD_CHUNK_INSTRUCTIONS = 200_000_000
SNAPSHOT_INSTRUCTIONS = 2_000_000_000

#: A subnet with more memory in use than this has its canisters set cycles aside for further storage.
SUBNET_MEMORY_THRESHOLD = 750 * 1024**3
SUBNET_MEMORY_CAPACITY = 2 * 1024**4
MAX_RESERVATION_SECONDS = 10 * 365 * 24 * 60 * 60

MAX_RESPONSE_BYTES = 2 * 1024 * 1024
GIB = 1024**3
SECOND = 1_000_000_000


def ingress(size: int) -> int:
    """Receiving an ingress message whose method name, argument and nonce have `size` bytes together."""
    return INGRESS_RECEPTION + size * INGRESS_BYTE


def execution(instructions: int, memory64: bool = False) -> int:
    """Executing one message of `instructions` wasm instructions."""
    factor = MEMORY64_FACTOR if memory64 else 1
    return UPDATE_MESSAGE_EXECUTION + instructions * CYCLES_PER_INSTRUCTION * factor


def call(size: int) -> int:
    """Sending an inter-canister call whose method name and argument have `size` bytes together."""
    return CALL + size * CALL_BYTE


def response_reserve(instruction_limit: int, memory64: bool = False) -> int:
    """What a caller sets aside for the response: its transmission and the execution of its callback."""
    return MAX_RESPONSE_BYTES * CALL_BYTE + execution(instruction_limit, memory64)


def http_request(request_size: int, max_response_bytes: int) -> int:
    """An HTTPS outcall: `request_size` bytes of url, headers, body, transformation; the response may have so many."""
    return HTTP_REQUEST + request_size * HTTP_REQUEST_BYTE + max_response_bytes * HTTP_RESPONSE_BYTE


@dataclass(frozen=True)
class Outcall:
    """What an outcall takes, as each node that makes the request sees it.

    Attributes:
        request: bytes of url, headers, body, transformation.
        milliseconds: until the response was there.
        response: its bytes.
        transformed: bytes after the transformation.
        instructions: of the transformation.
    """

    request: int
    milliseconds: int
    response: int
    transformed: int
    instructions: int


@dataclass(frozen=True)
class Flexible:
    """How many nodes make the request of an outcall, and how many of their responses are delivered."""

    min_responses: int
    max_responses: int
    total_requests: int


def http_request_v2(outcall: Outcall, flexible: Flexible | None, delivered_once: bool) -> int:
    """What to attach to an outcall of pricing version 2: its base fee, and a reserve for usage and delivery.

    Sources: page "Cycles costs", section "HTTPS outcalls"; the reserve for the delivery, which is more than what is
    charged: dfinity/ic, rs/https_outcalls/pricing (`total_fee`).

    Args:
        flexible: None if all nodes make the request and agree on one response.
        delivered_once: the request is made by one node (not replicated).
    """
    base, usage = 1_000_000 + 50 * outcall.request, 50 * outcall.response + 300 * outcall.milliseconds
    usage += outcall.instructions // 13
    delivered = max(outcall.transformed, MAX_OUTCALL_REJECT)
    byte, response = NODES * (10 * NODES + 600), 2_000 * NODES + 100_000
    if flexible is None:
        base += 140_000 * NODES + 800 * NODES**2
        requests, agreeing = NODES, NODES - (NODES - 1) // 3
        delivery = -(-byte * delivered // agreeing) * NODES
    else:
        base += 90_000 * NODES + response * flexible.min_responses
        usage += 50 * NODES * delivered
        requests = flexible.total_requests
        overhead = 0 if delivered_once else 181
        more = max(0, requests - flexible.min_responses)
        delivery = byte * requests * (overhead + delivered) + response * NODES * more
        delivery = delivery if flexible.max_responses else 0
    share = -(-delivery // requests) if requests else 0
    return base * NODES + (usage + share) * requests


def storage(size: int, duration: int) -> int:
    """Keeping `size` bytes for `duration` nanoseconds."""
    return size * STORAGE_GIB_PER_SECOND * duration // (GIB * SECOND)


def compute(percent: int, duration: int) -> int:
    """A compute allocation of `percent` for `duration` nanoseconds."""
    return percent * COMPUTE_PERCENT_PER_SECOND * duration // SECOND


def freezing_threshold(size: int, compute_percent: int, seconds: int) -> int:
    """The balance that pays for a canister's idle costs during `seconds`: below it the canister is frozen."""
    return storage(size, seconds * SECOND) + compute(compute_percent, seconds * SECOND)


def reservation(size: int, subnet_usage: int) -> int:
    """What is set aside for `size` further bytes on a subnet that uses `subnet_usage` bytes."""
    above = max(0, subnet_usage - SUBNET_MEMORY_THRESHOLD)
    seconds = MAX_RESERVATION_SECONDS * above // (SUBNET_MEMORY_CAPACITY - SUBNET_MEMORY_THRESHOLD)
    return storage(size, seconds * SECOND)
