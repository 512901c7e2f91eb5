"""The chunk store of a canister, from which modules larger than a message are installed."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from .. import cycles
from ..canister import Canister
from ..rejections import caller_fault
from ..state import CHUNK_SIZE, CallMessage
from .methods import Answer, charge_work, check_growth, method, reply

if TYPE_CHECKING:
    from ..scheduler import Scheduler

MAX_CHUNKS = 100


@method("controllers or itself")
def upload_chunk(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    chunk, canister_id = args["chunk"], canister.state.id
    if len(chunk) > CHUNK_SIZE:
        raise chunk_error(f"Wasm chunk size {len(chunk)} exceeds the maximum chunk size of {CHUNK_SIZE}")
    sha256 = hashlib.sha256(chunk).digest()
    with network.lock:
        if network.store.chunk(canister_id, sha256) is None:
            if canister.state.chunks >= MAX_CHUNKS:
                raise chunk_error(f"Wasm chunk store has already reached maximum capacity of {MAX_CHUNKS} chunks")
            check_growth(network, canister, CHUNK_SIZE)
            charge_work(network, canister, cycles.UPLOAD_CHUNK_INSTRUCTIONS)
            network.store.put_chunk(canister_id, sha256, chunk)
            canister.state.chunks += 1
        network.touch(canister)
        network.flush()
    return reply(message, {"hash": sha256})


@method("controllers or itself")
def clear_chunk_store(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    with network.lock:
        network.store.clear_chunks(canister.state.id)
        canister.state.chunks = 0
        network.touch(canister)
        network.flush()
    return reply(message)


@method("controllers or itself")
def stored_chunks(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    return reply(message, [{"hash": sha256} for sha256 in network.store.chunks(canister.state.id)])


def chunk_error(text: str) -> Exception:
    """The rejection of what the chunk store cannot do."""
    return caller_fault("IC0504", f"Error from Wasm chunk store: {text}.", "wasm-chunk-store-error")
