"""The chunk store of a canister, from which modules larger than a message are installed."""

from __future__ import annotations

import hashlib
from typing import Any

from .. import cycles
from ..canister import HostedCanister
from ..rejections import caller_fault
from ..state import CHUNK_SIZE, CallMessage
from ..subnet import Subnet
from .methods import Answer, Callers, canister_method, reply, use_memory

MAX_CHUNKS = 100


@canister_method(Callers.CONTROLLERS_OR_ITSELF)
def upload_chunk(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    chunk, canister_id = args["chunk"], canister.state.id
    if len(chunk) > CHUNK_SIZE:
        raise chunk_error(f"Wasm chunk size {len(chunk)} exceeds the maximum chunk size of {CHUNK_SIZE}")
    sha256 = hashlib.sha256(chunk).digest()
    with subnet.step() as step:
        if subnet.store.chunk(canister_id, sha256) is None:
            if canister.state.chunks >= MAX_CHUNKS:
                raise chunk_error(f"Wasm chunk store has already reached maximum capacity of {MAX_CHUNKS} chunks")
            use_memory(step, canister, CHUNK_SIZE, cycles.UPLOAD_CHUNK_INSTRUCTIONS)
            subnet.store.put_chunk(canister_id, sha256, chunk)
            canister.state.chunks += 1
        step.touch(canister)
    return reply(message, {"hash": sha256})


@canister_method(Callers.CONTROLLERS_OR_ITSELF)
def clear_chunk_store(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    with subnet.step() as step:
        step.changes.chunks.append((canister.state.id, None))
        canister.state.chunks = 0
        step.touch(canister)
    return reply(message)


@canister_method(Callers.CONTROLLERS_OR_ITSELF)
def stored_chunks(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    return reply(message, [{"hash": sha256} for sha256 in subnet.store.chunks(canister.state.id)])


def chunk_error(text: str) -> Exception:
    """The rejection of what the chunk store cannot do."""
    return caller_fault("IC0504", f"Error from Wasm chunk store: {text}.", "wasm-chunk-store-error")
