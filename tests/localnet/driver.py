"""Driving a network in this process, without HTTP: what the tests of the engine need of a client."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wasmtime import wat2wasm

from mainer_nb.localnet import management
from mainer_nb.localnet.errors import Reject, Reply
from mainer_nb.localnet.sandbox import CallRejected, Sandbox
from mainer_nb.protocol import candid, certificate, hash_tree, principal

ALICE = principal.self_authenticating(b"alice")
BOB = principal.self_authenticating(b"bob")
EMPTY = candid.encode((), ())
INSTALL, REINSTALL, UPGRADE = {"install": None}, {"reinstall": None}, {"upgrade": None}

#: Every function of the System API that the test canisters use, for 32-bit memories.
IMPORTS = """
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_caller_size" (func $caller_size (result i32)))
  (import "ic0" "msg_caller_copy" (func $caller_copy (param i32 i32 i32)))
  (import "ic0" "msg_reject_code" (func $reject_code (result i32)))
  (import "ic0" "msg_reject_msg_size" (func $reject_msg_size (result i32)))
  (import "ic0" "msg_reject_msg_copy" (func $reject_msg_copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_reject" (func $reject (param i32 i32)))
  (import "ic0" "msg_cycles_available" (func $cycles_available (result i64)))
  (import "ic0" "msg_cycles_accept" (func $cycles_accept (param i64) (result i64)))
  (import "ic0" "msg_cycles_refunded" (func $cycles_refunded (result i64)))
  (import "ic0" "canister_self_size" (func $self_size (result i32)))
  (import "ic0" "canister_self_copy" (func $self_copy (param i32 i32 i32)))
  (import "ic0" "canister_cycle_balance" (func $balance (result i64)))
  (import "ic0" "accept_message" (func $accept))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_on_cleanup" (func $call_on_cleanup (param i32 i32)))
  (import "ic0" "call_data_append" (func $call_append (param i32 i32)))
  (import "ic0" "call_cycles_add" (func $call_cycles_add (param i64)))
  (import "ic0" "call_perform" (func $call_perform (result i32)))
  (import "ic0" "stable64_size" (func $stable_size (result i64)))
  (import "ic0" "stable64_grow" (func $stable_grow (param i64) (result i64)))
  (import "ic0" "stable64_write" (func $stable_write (param i64 i64 i64)))
  (import "ic0" "stable64_read" (func $stable_read (param i64 i64 i64)))
  (import "ic0" "certified_data_set" (func $certified_data_set (param i32 i32)))
  (import "ic0" "data_certificate_size" (func $certificate_size (result i32)))
  (import "ic0" "data_certificate_copy" (func $certificate_copy (param i32 i32 i32)))
  (import "ic0" "time" (func $time (result i64)))
  (import "ic0" "global_timer_set" (func $timer_set (param i64) (result i64)))
  (import "ic0" "performance_counter" (func $performance (param i32) (result i64)))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
"""

#: Helpers: replying with a number as eight bytes, and with bytes of the memory.
HELPERS = """
  (func $reply_i64 (param $value i64)
    (i64.store (i32.const 1000) (local.get $value))
    (call $append (i32.const 1000) (i32.const 8)) (call $reply))
  (func $reply_i32 (param $value i32) (call $reply_i64 (i64.extend_i32_u (local.get $value))))
"""


def module(body: str, memory: str = "(memory 1)", imports: str | None = None) -> bytes:
    """A canister module from the text of its functions; `memory` declares its memory.

    With `imports` it is made of `imports`, `body` and `memory` alone, without the helpers.
    """
    text = f"{IMPORTS} {memory} {HELPERS} {body}" if imports is None else f"{imports} {body} {memory}"
    return bytes(wat2wasm(f"(module {text})"))


def wat_string(data: bytes) -> str:
    """Bytes as they stand in a string of WebAssembly text."""
    return "".join(f"\\{byte:02x}" for byte in data)


def eventually(condition: Callable[[], object], timeout: float = 30) -> None:
    """Waits until `condition` holds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"the condition does not hold after {timeout} s")
        time.sleep(0.001)


class Driver(Sandbox):
    """A sandbox of Alice's whose canisters are named by their ids, and whose rejections are values."""

    def __init__(
        self, folder: Path, cache: Path, outcalls: bool | None = None, snapshot_wait: int | None = None
    ) -> None:
        super().__init__(folder, cache, ALICE, outcalls, snapshot_wait)

    def number(self, canister_id: bytes, method: str, arg: bytes = b"") -> int:
        """The number that a method replies with: of an update method by an update call, else by a query call."""
        canister = self.network.subnet.canisters[canister_id]
        assert canister.compiled is not None
        is_update = canister.compiled.info.method_kind(method) == "update"
        response = self.update(canister_id, method, arg) if is_update else self.query(canister_id, method, arg)
        assert isinstance(response, Reply), response
        return int.from_bytes(response.data, "little")

    def manage(self, method: str, arg: dict[str, Any] | None = None, sender: bytes = ALICE) -> Any:
        """Calls the management canister; the decoded result, or the `Reject`."""
        try:
            return self.management(method, arg, sender)
        except CallRejected as error:
            return error.reject

    def encoded(self, method: str, arg: dict[str, Any]) -> bytes:
        """The argument of a method of the management canister."""
        return candid.encode(management.INTERFACE.methods[method].args, [arg])

    def certified(self, data: bytes, path: list[bytes]) -> bytes | hash_tree.Absence:
        """The value at `path` of a certificate, which is verified."""
        return hash_tree.lookup_value(path, certificate.verify(data, self.network.root_key))

    def create(self, wasm: bytes | None = None, cycles: int = 10**14, arg: bytes = EMPTY, **settings: Any) -> bytes:
        """A new canister of Alice's, with `wasm` installed if given."""
        created = self.manage("provisional_create_canister_with_cycles", {"amount": cycles, "settings": settings})
        assert not isinstance(created, Reject), created
        canister_id: bytes = created["canister_id"]
        if wasm is not None:
            outcome = self.install(canister_id, wasm, INSTALL, arg)
            assert outcome is None, outcome
        return canister_id

    def install(
        self, canister_id: bytes, wasm: bytes, mode: dict[str, Any], arg: bytes = EMPTY, sender: bytes = ALICE
    ) -> Any:
        """Installs `wasm`; None, or the `Reject`."""
        args = {"mode": mode, "canister_id": canister_id, "wasm_module": wasm, "arg": arg}
        return self.manage("install_code", args, sender)

    def hold(self, canister_id: bytes) -> None:
        """Keeps a canister from executing anything until `go_on`."""
        assert self.network.scheduler.wait_until_idle(30)
        self.network.subnet.canisters[canister_id].inbox.busy = True

    def go_on(self, canister_id: bytes) -> None:
        """Lets a canister that was held execute what waits for it."""
        with self.network.subnet.step() as step:
            inbox = self.network.subnet.canisters[canister_id].inbox
            inbox.busy = False
            step.wake(inbox)

    def cycles(self, canister_id: bytes) -> int:
        """The balance of a canister."""
        return self.network.subnet.canisters[canister_id].state.cycles
