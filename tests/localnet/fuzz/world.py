"""The network that is fuzzed: canisters to aim at, and witnesses that nothing may change."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import cbor2
from wasmtime import wat2wasm

from mainer_nb.localnet import management
from mainer_nb.protocol import candid, certificate, did, hash_tree, principal
from mainer_nb.protocol.request_id import hash_of_map
from tests.localnet.fuzz.cases import Login, Request, Target
from tests.localnet.fuzz.wire import Connection
from tests.localnet.users import CanisterUser, Key

FILES = Path(__file__).resolve().parents[3] / "files"
CYCLES = 2**120
MOTOKO = "game_state_canister"

#: Refuses ingress messages of all but its controllers; `numbers` shows its memories, its version, its balance.
WITNESS = """(module
  (import "ic0" "msg_caller_size" (func $caller_size (result i32)))
  (import "ic0" "msg_caller_copy" (func $caller_copy (param i32 i32 i32)))
  (import "ic0" "is_controller" (func $is_controller (param i32 i32) (result i32)))
  (import "ic0" "accept_message" (func $accept))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "data_certificate_size" (func $certificate_size (result i32)))
  (import "ic0" "data_certificate_copy" (func $certificate_copy (param i32 i32 i32)))
  (import "ic0" "canister_version" (func $version (result i64)))
  (import "ic0" "canister_cycle_balance128" (func $balance (param i32)))
  (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
  (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
  (memory 2)
  (global $calls (mut i64) (i64.const 0))
  (func (export "canister_init")
    (memory.fill (i32.const 1000) (i32.const 0x5a) (i32.const 30000))
    (drop (call $grow (i64.const 2)))
    (call $write (i64.const 60000) (i64.const 500) (i64.const 20000))
    (call $certify (i32.const 990) (i32.const 32)))
  (func (export "canister_inspect_message")
    (call $caller_copy (i32.const 0) (i32.const 0) (call $caller_size))
    (if (call $is_controller (i32.const 0) (call $caller_size)) (then (call $accept))))
  (func (export "canister_update count")
    (global.set $calls (i64.add (global.get $calls) (i64.const 1)))
    (i64.store (i32.const 1000) (global.get $calls))
    (call $write (i64.const 60000) (i64.const 1000) (i64.const 8))
    (call $certify (i32.const 1000) (i32.const 32))
    (call $append (i32.const 1000) (i32.const 8)) (call $reply))
  (func (export "canister_query numbers")
    (i64.store (i32.const 32) (call $version))
    (i64.store (i32.const 40) (global.get $calls))
    (call $balance (i32.const 48))
    (call $append (i32.const 32) (i32.const 32))
    (call $append (i32.const 900) (i32.const 31000))
    (call $read (i64.const 65536) (i64.const 50000) (i64.const 32000))
    (call $append (i32.const 65536) (i32.const 32000))
    (call $reply))
  (func (export "canister_query certificate")
    (call $certificate_copy (i32.const 65536) (i32.const 0) (call $certificate_size))
    (call $append (i32.const 65536) (call $certificate_size))
    (call $reply)))"""

#: Answers with its argument.
ECHO = """(module
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory 40)
  (func $echo
    (call $copy (i32.const 0) (i32.const 0) (call $size)) (call $append (i32.const 0) (call $size)) (call $reply))
  (export "canister_query echo" (func $echo))
  (export "canister_composite_query chorus" (func $echo))
  (export "canister_update store" (func $echo)))"""

#: Certifies what it is told to, and shows the certificate.
SIGNER = """(module
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "data_certificate_size" (func $certificate_size (result i32)))
  (import "ic0" "data_certificate_copy" (func $certificate_copy (param i32 i32 i32)))
  (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
  (memory 1)
  (func (export "canister_update certify")
    (call $copy (i32.const 0) (i32.const 0) (call $size)) (call $certify (i32.const 0) (call $size)) (call $reply))
  (func (export "canister_query certificate")
    (call $certificate_copy (i32.const 0) (i32.const 0) (call $certificate_size))
    (call $append (i32.const 0) (call $certificate_size))
    (call $reply)))"""

#: Answers with what follows the eight bytes MARK in its argument: a length (4 bytes, little-endian), so many bytes.
MARK = b"PUPPET:>"
PUPPET = """(module
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory 40)
  (func $answer (local $at i32)
    (call $copy (i32.const 0) (i32.const 0) (call $size))
    (loop $next
      (if (i64.eq (i64.load (local.get $at)) (i64.const MARKED))
        (then
          (call $append (i32.add (local.get $at) (i32.const 12)) (i32.load (i32.add (local.get $at) (i32.const 8))))
          (call $reply) (return)))
      (br_if $next
        (i32.lt_u (local.tee $at (i32.add (local.get $at) (i32.const 1))) (call $size))))
    (call $reply))
  (export "canister_query http_request" (func $answer))
  (export "canister_update http_request_update" (func $answer))
  (export "canister_query stream" (func $answer)))""".replace("MARKED", str(int.from_bytes(MARK, "little")))


OWNER = Key.ed25519("the owner of the witnesses")


@dataclass
class Client:
    """Somebody who talks to the network as one should, to set up and to check."""

    port: int
    root_key: bytes
    key: Key | None = None
    connection: Connection = field(init=False)

    def __post_init__(self) -> None:
        self.connection = Connection(self.port)

    def update(self, canister_id: bytes, method: str, arg: bytes, effective: bytes | None = None) -> bytes:
        """The reply to an update call; raises `AssertionError` with what came instead."""
        content = self._content("call", {"canister_id": canister_id, "method_name": method, "arg": arg})
        request_id = hash_of_map(content)
        url = principal.to_text(canister_id if effective is None else effective)
        status, body = self._post(f"/api/v3/canister/{url}/call", content, request_id)
        path = [b"request_status", request_id]
        deadline = time.monotonic() + 300
        while True:
            if status == 200 and "certificate" in body:
                tree = certificate.verify(body["certificate"], self.root_key)
                found = hash_tree.lookup_value([*path, b"status"], tree)
                if found == b"replied":
                    reply = hash_tree.lookup_value([*path, b"reply"], tree)
                    assert isinstance(reply, bytes)
                    return reply
                message = hash_tree.lookup_value([*path, b"reject_message"], tree)
                assert found in (b"received", b"processing"), f"{method}: {found!r} {message!r}"
            else:
                assert status == 202, f"{method}: HTTP {status}: {body}"
            assert time.monotonic() < deadline, f"{method} has not ended in time"
            time.sleep(0.05)
            content = self._content("read_state", {"paths": [path]})
            status, body = self._post(f"/api/v2/canister/{url}/read_state", content, hash_of_map(content))

    def manage(self, method: str, arg: dict[str, Any], effective: bytes = b"") -> Any:
        """The result of a call to the management canister about canister `effective`."""
        described = management.INTERFACE.methods[method]
        reply = self.update(principal.MANAGEMENT, method, candid.encode(described.args, [arg]), effective)
        values = candid.decode(described.results, reply)
        return values[0] if values else None

    def query(self, canister_id: bytes, method: str, arg: bytes = b"") -> bytes:
        """The reply to a query; raises `AssertionError` with what came instead."""
        content = self._content("query", {"canister_id": canister_id, "method_name": method, "arg": arg})
        url = f"/api/v2/canister/{principal.to_text(canister_id)}/query"
        status, body = self._post(url, content, hash_of_map(content))
        assert status == 200, (status, body)
        assert body["status"] == "replied", body
        return bytes(body["reply"]["arg"])

    def certified(self, canister_id: bytes) -> list[bytes]:
        """What the network certifies of a witness: controllers, module, certified data."""
        paths = [[b"canister", canister_id, label] for label in (b"controllers", b"module_hash")]
        content = self._content("read_state", {"paths": paths})
        url = f"/api/v2/canister/{principal.to_text(canister_id)}/read_state"
        status, body = self._post(url, content, hash_of_map(content))
        assert status == 200, (status, body)
        tree = certificate.verify(body["certificate"], self.root_key)
        shown = certificate.verify(self.query(canister_id, "certificate"), self.root_key)
        data = hash_tree.lookup_value([b"canister", canister_id, b"certified_data"], shown)
        return [cast(bytes, value) for value in (*(hash_tree.lookup_value(path, tree) for path in paths), data)]

    def _content(self, kind: str, fields: dict[str, Any]) -> dict[str, Any]:
        sender = principal.ANONYMOUS if self.key is None else self.key.principal
        expiry = time.time_ns() + 240 * 10**9
        return {"request_type": kind, "sender": sender, "ingress_expiry": expiry, **fields}

    def _post(self, url: str, content: dict[str, Any], request_id: bytes) -> tuple[int, Any]:
        whole: dict[str, Any] = {"content": content}
        if self.key is not None:
            whole |= {"sender_pubkey": self.key.der, "sender_sig": self.key.sign(b"\x0aic-request" + request_id)}
        answer = self.connection.ask(Request(b"POST", url.encode(), body=cbor2.dumps(whole)))
        is_cbor = answer.body and answer.status == 200
        return answer.status, cbor2.loads(answer.body) if is_cbor else answer.body


@dataclass(frozen=True)
class Witnessed:
    """What a witness was like: its version and memories, what is certified of it, its balance, when it was asked."""

    numbers: bytes
    certified: list[bytes]
    cycles: int
    asked: float

    def changes(self, before: Witnessed, price_per_day: int) -> list[str]:
        """What is not as it was `before`; time costs at most `price_per_day`."""
        found = []
        if self.numbers != before.numbers:
            found.append("version, heap or stable memory differ")
        if self.certified != before.certified:
            found.append("what is certified differs")
        most = price_per_day * (self.asked - before.asked + 15) / 86_400 + 10
        if not 0 <= before.cycles - self.cycles <= most:
            found.append(f"{before.cycles - self.cycles} cycles are gone, for storage at most {most:.0f}")
        return found


class World:
    """Canisters on a network that is not in use otherwise.

    Args:
        threads: how many canisters there are whose code is replaced, one for each client.
    """

    def __init__(self, port: int, root_key: bytes, threads: int) -> None:
        self.owner = Client(port, root_key, OWNER)
        self.anybody = Client(port, root_key)
        ids = [principal.canister_id(0x5EED_0000_1234_0000 + i) for i in range(2)]
        self.witnesses = [self._create(self.owner, WITNESS, specified_id=canister_id) for canister_id in ids]
        self.echo = self._create(self.owner, ECHO)
        self.puppet = self._create(self.owner, PUPPET)
        self.motoko = self._create(self.owner, (FILES / f"{MOTOKO}.wasm").read_bytes())
        described = did.parse((FILES / f"{MOTOKO}.did").read_text())
        self.motoko_methods = [(m.name, m.args, m.mode) for m in described.methods.values()]
        self._login = self._signed_in()
        self.victims = [self._victim() for _ in range(8)]
        self.machines = [self._victim() for _ in range(threads)]
        self.price_per_day = int(self._status(self.witnesses[0])["idle_cycles_burned_per_day"])
        for witness in self.witnesses:
            self.owner.update(witness, "count", b"")

    def target(self) -> Target:
        """What cases are aimed at, as it is now."""
        subnet = principal.self_authenticating(self.owner.root_key)
        return Target(
            subnet,
            self.witnesses,
            self.echo,
            self.puppet,
            self.motoko,
            self.motoko_methods,
            list(self.victims),
            self._login,
            time.time_ns,
        )

    def _create(self, client: Client, module: str | bytes, specified_id: bytes | None = None) -> bytes:
        asked = {"amount": CYCLES, "specified_id": specified_id}
        made = client.manage("provisional_create_canister_with_cycles", asked, specified_id or b"")
        canister_id = bytes(made["canister_id"])
        wasm = bytes(wat2wasm(module)) if isinstance(module, str) else module
        arg = {"mode": {"install": None}, "canister_id": canister_id, "wasm_module": wasm, "arg": candid.encode((), ())}
        client.manage("install_code", arg, canister_id)
        return canister_id

    def _signed_in(self) -> Login:
        signing = self._create(self.owner, SIGNER)

        def certify(data: bytes) -> bytes:
            self.owner.update(signing, "certify", data)
            return self.owner.query(signing, "certificate")

        user, session = CanisterUser(signing, b"anchor", certify), Key.ed25519("session of the login")
        return Login(user.der, session, user.delegate(session, 2**64 - 1), user.sender_info(b"verified"))

    def _victim(self) -> bytes:
        return self._create(self.anybody, ECHO)

    def _status(self, canister_id: bytes) -> dict[str, Any]:
        status: dict[str, Any] = self.owner.manage("canister_status", {"canister_id": canister_id}, canister_id)
        return status

    def revive(self, number: int) -> None:
        """Heals victim `number`, or takes another: whoever harmed it did so by right."""
        self.victims[number] = self._healed(self.victims[number])

    def revive_machine(self, number: int) -> None:
        """As `revive`, for one of the canisters whose code is replaced."""
        self.machines[number] = self._healed(self.machines[number])

    def _healed(self, canister_id: bytes) -> bytes:
        one = {"canister_id": canister_id}
        settings = {"freezing_threshold": 0, "memory_allocation": 0, "compute_allocation": 0, "wasm_memory_limit": 0}
        try:
            self.anybody.manage("start_canister", one, canister_id)
            self.anybody.manage("provisional_top_up_canister", {**one, "amount": CYCLES}, canister_id)
            self.anybody.manage("update_settings", {**one, "settings": settings}, canister_id)
        except AssertionError:
            return self._victim()
        return canister_id

    def reconnect(self, port: int) -> None:
        """The network listens elsewhere now."""
        self.owner = Client(port, self.owner.root_key, OWNER)
        self.anybody = Client(port, self.owner.root_key)

    def witnessed(self) -> list[Witnessed]:
        """What the witnesses are like now."""
        return [self._witnessed(witness) for witness in self.witnesses]

    def _witnessed(self, canister_id: bytes) -> Witnessed:
        numbers = self.owner.query(canister_id, "numbers")
        cycles = int.from_bytes(numbers[16:32], "little")
        without = numbers[:16] + numbers[32:]
        return Witnessed(without, self.owner.certified(canister_id), cycles, time.time())

    def changes(self, before: list[Witnessed]) -> list[str]:
        """What of the witnesses is not as it was `before`."""
        found = []
        for witness, then, now in zip(self.witnesses, before, self.witnessed(), strict=True):
            found += [f"{principal.to_text(witness)}: {text}" for text in now.changes(then, self.price_per_day)]
        return found
