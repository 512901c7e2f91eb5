"""A canister that calls others for a test: only canisters can attach cycles to a call."""

from __future__ import annotations

from typing import Any

import wasmtime

from mainer_nb import management
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.protocol import candid, principal

# forward takes: size (1 byte) and bytes of the callee, size (1) and bytes of the method's name, cycles (8, little
# endian), the argument. It answers with the cycles that came back (8 bytes) and the callee's reply.
_WAT = r"""
(module
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reject" (func $reject (param i32 i32)))
  (import "ic0" "msg_reject_msg_size" (func $reject_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reject_copy (param i32 i32 i32)))
  (import "ic0" "msg_cycles_refunded128" (func $refunded (param i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_data_append" (func $call_append (param i32 i32)))
  (import "ic0" "call_cycles_add128" (func $call_cycles (param i64 i64)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (memory 64)
  (data (i32.const 32) "the call could not be made")
  (table (export "table") 2 funcref)
  (elem (i32.const 0) $replied $rejected)
  (func (export "canister_update forward") (local $callee i32) (local $name i32) (local $cycles i32)
    (call $arg_copy (i32.const 1024) (i32.const 0) (call $arg_size))
    (local.set $callee (i32.const 1024))
    (local.set $name (i32.add (i32.add (local.get $callee) (i32.const 1)) (i32.load8_u (local.get $callee))))
    (local.set $cycles (i32.add (i32.add (local.get $name) (i32.const 1)) (i32.load8_u (local.get $name))))
    (call $call_new
      (i32.add (local.get $callee) (i32.const 1)) (i32.load8_u (local.get $callee))
      (i32.add (local.get $name) (i32.const 1)) (i32.load8_u (local.get $name))
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $call_append
      (i32.add (local.get $cycles) (i32.const 8))
      (i32.sub (i32.add (i32.const 1024) (call $arg_size)) (i32.add (local.get $cycles) (i32.const 8))))
    (call $call_cycles (i64.const 0) (i64.load (local.get $cycles)))
    (if (call $perform) (then (call $reject (i32.const 32) (i32.const 26)))))
  (func $replied (param i32)
    (call $refunded (i32.const 0))
    (call $append (i32.const 0) (i32.const 8))
    (call $arg_copy (i32.const 1024) (i32.const 0) (call $arg_size))
    (call $append (i32.const 1024) (call $arg_size))
    (call $reply))
  (func $rejected (param i32)
    (call $reject_copy (i32.const 1024) (i32.const 0) (call $reject_size))
    (call $reject (i32.const 1024) (call $reject_size))))
"""


class Forwarder:
    """A canister with `cycles`, controlled by `agent`, that makes the calls it is told to make."""

    def __init__(self, agent: Agent, cycles: int) -> None:
        self.agent = agent
        self.canister_id = management.create_canister(agent, cycles)
        management.install_code(agent, self.canister_id, bytes(wasmtime.wat2wasm(_WAT)), "install")

    def call(self, canister: Canister, method: str, *args: Any, cycles: int = 0) -> tuple[Any, int]:
        """The result of `method` of `canister`, Ok and Err included, and how many of `cycles` it kept."""
        callee, name = principal.from_text(canister.canister_id), method.encode()
        signature = canister.methods[method]
        head = bytes([len(callee)]) + callee + bytes([len(name)]) + name + cycles.to_bytes(8, "little")
        told = head + candid.encode(signature.args, args)
        answer = self.agent.update_bytes(self.canister_id, "forward", told)
        refunded = int.from_bytes(answer[:8], "little")
        (result,) = candid.decode(signature.results, answer[8:], principal.to_text)
        return result, cycles - refunded
