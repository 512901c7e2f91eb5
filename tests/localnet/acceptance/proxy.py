"""A canister that makes the calls it is told to make: the management canister's caller in the acceptance tests."""

from __future__ import annotations

from typing import Any

from mainer_nb.localnet import management
from mainer_nb.localnet.errors import Reject, RejectCode, Reply
from mainer_nb.protocol import candid, principal
from tests.localnet.driver import ALICE, Driver, module

#: Argument: length and bytes of the callee, length and bytes of the method's name (lengths in one byte each), cycles
#: in 8 bytes, the payload. Reply: 0 for a reply or else the reject code, refunded cycles in 8 bytes, data or message.
PROXY_BODY = """
  (table funcref (elem $on_reply $on_reject))
  (func (export "canister_update call") (local $at i32) (local $name i32)
    (call $arg_copy (i32.const 65536) (i32.const 0) (call $arg_size))
    (local.set $name (i32.add (i32.const 65537) (i32.load8_u (i32.const 65536))))
    (local.set $at (i32.add (i32.add (local.get $name) (i32.const 1)) (i32.load8_u (local.get $name))))
    (call $call_new (i32.const 65537) (i32.load8_u (i32.const 65536))
      (i32.add (local.get $name) (i32.const 1)) (i32.load8_u (local.get $name))
      (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
    (call $call_cycles_add (i64.load (local.get $at)))
    (local.set $at (i32.add (local.get $at) (i32.const 8)))
    (call $call_append (local.get $at) (i32.sub (i32.add (i32.const 65536) (call $arg_size)) (local.get $at)))
    (if (call $call_perform) (then (call $trap (i32.const 0) (i32.const 19)))))
  (func $answer (param $code i32) (param $size i32)
    (i32.store8 (i32.const 65527) (local.get $code))
    (i64.store (i32.const 65528) (call $cycles_refunded))
    (call $append (i32.const 65527) (i32.add (i32.const 9) (local.get $size)))
    (call $reply))
  (func $on_reply (param i32)
    (call $arg_copy (i32.const 65536) (i32.const 0) (call $arg_size))
    (call $answer (i32.const 0) (call $arg_size)))
  (func $on_reject (param i32)
    (call $reject_msg_copy (i32.const 65536) (i32.const 0) (call $reject_msg_size))
    (call $answer (call $reject_code) (call $reject_msg_size)))
  (func (export "canister_query nothing") (call $reply))
  (data (i32.const 0) "call_perform failed")
"""
PROXY = module(PROXY_BODY, "(memory 64)")


class Proxy:
    """A proxy canister of Alice's on the network of `ic`; also one of its own controllers."""

    def __init__(self, ic: Driver, cycles: int = 10**15, wasm: bytes = PROXY) -> None:
        self._ic = ic
        self.id = ic.create(wasm, cycles=cycles)
        assert (
            ic.manage("update_settings", {"canister_id": self.id, "settings": {"controllers": [ALICE, self.id]}})
            is None
        )
        self.refunded = 0

    def call(self, callee: bytes, method: str, payload: bytes, cycles: int = 0) -> Reply | Reject:
        """Makes one call; `refunded` then holds the cycles that came back."""
        outcome = self._ic.update(self.id, "call", request(callee, method, payload, cycles))
        assert isinstance(outcome, Reply), outcome
        self.refunded = int.from_bytes(outcome.data[1:9], "little")
        if outcome.data[0]:
            return Reject(RejectCode(outcome.data[0]), outcome.data[9:].decode())
        return Reply(outcome.data[9:])

    def manage(self, method: str, arg: dict[str, Any] | None = None, cycles: int = 0) -> Any:
        """Calls the management canister; the decoded result, or the `Reject`."""
        described = management.INTERFACE.methods[method]
        data = candid.encode(described.args, [] if arg is None else [arg])
        outcome = self.call(principal.MANAGEMENT, method, data, cycles)
        if isinstance(outcome, Reject):
            return outcome
        results = candid.decode(described.results, outcome.data)
        return results[0] if results else None


def request(callee: bytes, method: str, payload: bytes, cycles: int = 0) -> bytes:
    """The argument with which a proxy's `call` makes this call."""
    name = method.encode()
    return bytes([len(callee)]) + callee + bytes([len(name)]) + name + cycles.to_bytes(8, "little") + payload


def rejected(outcome: object, code: int, text: str = "", error_code: str | None = None) -> Reject:
    """`outcome`, which must be a rejection with this code whose message contains `text`."""
    assert isinstance(outcome, Reject), outcome
    assert outcome.code == code, outcome
    assert text in outcome.message, outcome.message
    if error_code is not None:
        assert outcome.error_code == error_code, outcome
    return outcome
