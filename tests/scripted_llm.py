"""Canisters that answer with what they are given: an LLM with texts that no small model would say, and others."""

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
_REFUSAL = {**_OUTPUT, "status_code": 400, "error": "unknown argument: --grammar", "generated_eog": False}
_GRAMMAR = int.from_bytes(b"--gramma", "little")  # the beginning of the argument as an i64


def install(agent: Agent, cycles: int, *texts: str, finished: bool = True, takes_grammar: bool = True) -> str:
    """A new LLM, which writes one text a call and then the last again; its id.

    Args:
        finished: whether the model ended the texts by itself.
        takes_grammar: whether it takes the argument --grammar, which has no effect.
    """
    nothing = {"Ok": {**_OUTPUT, "generated_eog": False}}
    replies: dict[str, Any] = {
        "health": {"Ok": {"status_code": 200}},
        "new_chat": nothing,
        "run_update": [{"Ok": {**_OUTPUT, "output": text, "generated_eog": finished}} for text in texts],
        "copy_prompt_cache": {"Err": {"Other": "there is none"}},
        "remove_prompt_cache": nothing,
    }
    refusals = {} if takes_grammar else {"run_update": {"Err": _REFUSAL}}
    return scripted(agent, cycles, places.files() / "llama_cpp.did", replies, refusals)


def scripted(
    agent: Agent, cycles: int, interface: str | Path, replies: dict[str, Any], refusals: dict[str, Any] | None = None
) -> str:
    """A new canister that answers each method with what is given for it, and tells its interface; its id.

    Args:
        replies: by method; those of a list are given one a call, and then the last again.
        refusals: by method, what it answers when its arguments have a grammar.
    """
    canister_id = management.create_canister(agent, cycles)
    canister = Canister(agent, canister_id, interface, "scripted canister")

    def encoded(method: str, value: Any) -> bytes:
        return candid.encode(canister.methods[method].results, [value])

    code = _Code()
    for method, reply in replies.items():
        turns = [encoded(method, value) for value in (reply if isinstance(reply, list) else [reply])]
        refused = (refusals or {}).get(method)
        code.add(method, turns, None if refused is None else encoded(method, refused))
    text = interface if isinstance(interface, str) else interface.read_text()
    wasm = code_variants.telling(bytes(wasmtime.wat2wasm(code.module())), text)
    management.install_code(agent, canister_id, wasm, "install")
    return canister_id


class _Code:
    """A module in the making: replies in its memory one after the other, and behind them what a call brings along."""

    def __init__(self) -> None:
        self._size = 0
        self._parts: list[str] = []

    def add(self, method: str, turns: list[bytes], refusal: bytes | None) -> None:
        """A method that gives each of `turns` once, and then the last again."""
        kind = "query" if method == "health" else "update"
        turn = f"$turn_{method}"
        refuse = "" if refusal is None else f"(if (call $has_grammar) (then {self._reply(refusal)} return))"
        replies = " ".join(
            f"(if (i32.eq (global.get {turn}) (i32.const {number})) (then {self._reply(reply)}))"
            for number, reply in enumerate(turns)
        )
        more = f"(i32.lt_u (global.get {turn}) (i32.const {len(turns) - 1}))"
        self._parts.append(
            f'(global {turn} (mut i32) (i32.const 0)) (func (export "canister_{kind} {method}") {refuse} {replies} '
            f"(global.set {turn} (i32.add (global.get {turn}) {more})))"
        )

    def module(self) -> str:
        imports = (
            '(import "ic0" "msg_reply_data_append" (func $append (param i32 i32))) '
            '(import "ic0" "msg_reply" (func $reply)) (import "ic0" "msg_arg_data_size" (func $size (result i32))) '
            '(import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))'
        )
        has_grammar = f"""(func $has_grammar (result i32) (local $at i32)
          (call $copy (i32.const {self._size}) (i32.const 0) (call $size))
          (loop $next
            (if (i64.eq (i64.load (i32.add (i32.const {self._size}) (local.get $at))) (i64.const {_GRAMMAR}))
              (then (return (i32.const 1))))
            (local.set $at (i32.add (local.get $at) (i32.const 1)))
            (br_if $next (i32.lt_u (local.get $at) (call $size))))
          (i32.const 0))"""
        memory = f"(memory {self._size // 65536 + 4})"
        return f"(module {imports} {memory} {' '.join(self._parts)} {has_grammar})"

    def _reply(self, reply: bytes) -> str:
        """Code that replies with these bytes."""
        content = "".join(f"\\{byte:02x}" for byte in reply)
        self._parts.append(f'(data (i32.const {self._size}) "{content}")')
        code = f"(call $append (i32.const {self._size}) (i32.const {len(reply)})) (call $reply)"
        self._size += len(reply)
        return code
