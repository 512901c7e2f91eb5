"""Canisters that answer with what they are given: an LLM with a text that no small model would say, and others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wasmtime

from mainer_nb import management, places
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.protocol import candid
from tests import code_variants

_OUTPUT = {"status_code": 200, "conversation": "", "error": "", "prompt_remaining": "", "output": ""}


def install(agent: Agent, cycles: int, text: str, finished: bool = True) -> str:
    """A new one; its id. `finished`: whether the model ended the text by itself."""
    output = {**_OUTPUT, "output": text, "generated_eog": finished}
    replies: dict[str, Any] = {
        "health": {"Ok": {"status_code": 200}},
        "new_chat": {"Ok": {**_OUTPUT, "generated_eog": False}},
        "run_update": {"Ok": output},
        "remove_prompt_cache": {"Ok": {**_OUTPUT, "generated_eog": False}},
    }
    return scripted(agent, cycles, places.files() / "llama_cpp.did", replies)


def scripted(agent: Agent, cycles: int, interface: str | Path, replies: dict[str, Any]) -> str:
    """A new canister that answers each method with what is given for it, and tells its interface; its id."""
    canister_id = management.create_canister(agent, cycles)
    canister = Canister(agent, canister_id, interface, "scripted canister")
    encoded = {name: candid.encode(canister.methods[name].results, [value]) for name, value in replies.items()}
    text = interface if isinstance(interface, str) else interface.read_text()
    wasm = code_variants.telling(bytes(wasmtime.wat2wasm(_wat(encoded))), text)
    management.install_code(agent, canister_id, wasm, "install")
    return canister_id


def _wat(replies: dict[str, bytes]) -> str:
    at, parts = 0, []
    for name, reply in replies.items():
        kind = "query" if name == "health" else "update"
        content = "".join(f"\\{byte:02x}" for byte in reply)
        parts.append(
            f'(data (i32.const {at}) "{content}") (func (export "canister_{kind} {name}") '
            f"(call $append (i32.const {at}) (i32.const {len(reply)})) (call $reply))"
        )
        at += len(reply)
    imports = (
        '(import "ic0" "msg_reply_data_append" (func $append (param i32 i32))) (import "ic0" "msg_reply" (func $reply))'
    )
    return f"(module {imports} (memory {at // 65536 + 1}) {' '.join(parts)})"
