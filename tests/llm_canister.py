"""Calls of the LLM canister that several tests make."""

from __future__ import annotations

import mmap
from typing import Any

from mainer_nb import places
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister

MODEL = "models/model.gguf"
CHUNK = 1_900_000  # bytes; a message may have 2 MiB


def seen_by(agent: Agent, canister_id: str) -> Canister:
    return Canister(agent, canister_id, places.files() / "llama_cpp.did", "llama_cpp")


def upload(llm: Canister, data: bytes | mmap.mmap, name: str = MODEL, chunk: int = CHUNK) -> int:
    """Upload a file; its size as the canister has it."""
    size = 0
    for offset in range(0, len(data), chunk):
        part = data[offset : offset + chunk]
        answer = llm.file_upload_chunk({"filename": name, "chunk": part, "chunksize": len(part), "offset": offset})
        size = answer["filesize"]
    return size


def load(llm: Canister, name: str = MODEL, *more: str) -> dict[str, Any]:
    loaded: dict[str, Any] = llm.load_model({"args": ["--model", name, *more]})
    return loaded


def run(llm: Canister, *args: str) -> dict[str, Any]:
    done: dict[str, Any] = llm.run_update({"args": list(args)})
    return done
