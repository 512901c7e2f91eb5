"""An LLM canister that answers run_update with a given text, for what no small model can be brought to say."""

from __future__ import annotations

from typing import Any

import wasmtime

from mainer_nb import management, places
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.protocol import candid

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
    canister_id = management.create_canister(agent, cycles)
    llm = Canister(agent, canister_id, places.files() / "llama_cpp.did", "LLM")
    encoded = {name: candid.encode(llm.methods[name].results, [value]) for name, value in replies.items()}
    management.install_code(agent, canister_id, bytes(wasmtime.wat2wasm(_wat(encoded))), "install")
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
