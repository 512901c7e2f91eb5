"""What survives: upgrades, restarts, and a process that is killed."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from ic.agent import Agent
from ic.candid import Types, encode
from ic.client import Client
from ic.identity import Identity

from mainer_nb.localnet import server
from mainer_nb.localnet.envelope import Call
from mainer_nb.localnet.errors import DamagedState, Reject
from mainer_nb.localnet.state import CallerInfo
from mainer_nb.protocol import principal
from tests.localnet import universal as u
from tests.localnet.driver import ALICE, INSTALL, REINSTALL, UPGRADE, Driver, module
from tests.localnet.outcomes import replied

#: Heap and stable memory hold the same number, so that one can see which of them an installation keeps.
KEEPER = module(
    """
  (global $ups (mut i64) (i64.const 0))
  (func (export "canister_init") (i64.store (i32.const 0) (i64.const 1)))
  (func (export "canister_pre_upgrade")
    (if (i64.eqz (call $stable_size)) (then (drop (call $stable_grow (i64.const 1)))))
    (call $stable_write (i64.const 0) (i64.const 0) (i64.const 8)))
  (func (export "canister_post_upgrade")
    (call $stable_read (i64.const 0) (i64.const 0) (i64.const 8)) (global.set $ups (i64.const 1)))
  (func (export "canister_update add")
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
    (call $reply_i64 (i64.load (i32.const 0))))
  (func (export "canister_query get") (call $reply_i64 (i64.load (i32.const 0))))
  (func (export "canister_query raw") (call $reply_i64 (i64.load (i32.const 50000))))
  (func (export "canister_query upgraded") (call $reply_i64 (global.get $ups)))
"""
)
#: Counts, and replies in Candid, as ic-py expects it.
COUNTER = module(
    """
  (func $reply_nat64 (param $value i64)
    (i64.store (i32.const 107) (local.get $value)) (call $append (i32.const 100) (i32.const 15)) (call $reply))
  (func (export "canister_update add")
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
    (call $reply_nat64 (i64.load (i32.const 0))))
  (func (export "canister_query get") (call $reply_nat64 (i64.load (i32.const 0))))
  (data (i32.const 100) "DIDL\\00\\01\\78")
"""
)
BROKEN_UPGRADE = module('(func (export "canister_post_upgrade") (call $trap (i32.const 0) (i32.const 0)))')
BROKEN_START = module("(func $main unreachable) (start $main)")


def test_an_upgrade_keeps_stable_memory_and_a_reinstallation_nothing(ic: Driver) -> None:
    canister = ic.create(KEEPER)
    assert ic.number(canister, "add") == 2
    assert ic.install(canister, KEEPER, UPGRADE) is None
    assert ic.number(canister, "get") == 2
    assert ic.number(canister, "upgraded") == 1
    assert ic.install(canister, KEEPER, REINSTALL) is None
    assert ic.number(canister, "get") == 1
    assert ic.number(canister, "upgraded") == 0
    assert ic.manage("canister_status", {"canister_id": canister})["memory_metrics"]["stable_memory_size"] == 0


def test_what_a_canister_says_of_a_sender_survives_a_restart(tmp_path: Path, module_cache: Path) -> None:
    said = CallerInfo(b"of the sender", principal.canister_id(7))
    told = u.append(u.taken("msg_caller_info_data")) + u.reply(u.taken("msg_caller_info_signer"))
    with Driver(tmp_path / "network", module_cache) as ic:
        caller, held = (ic.create(u.universal(), arg=b"") for _ in range(2))
        ic.hold(held)
        expiry = ic.time() + 100 * 10**9
        waiting = u.call(held, "update", u.reply(), on_reply=told)
        for number, (callee, program) in enumerate(((caller, waiting), (held, told))):
            ic.network.accept(Call(callee, "update", program, ALICE, None, expiry, bytes([number]) * 32, said))
        assert ic.network.scheduler.wait_until_idle(30)  # one waits for its callback, the other to be executed
        ic.network.keep()
    with Driver(tmp_path / "network", module_cache) as ic:
        for number in range(2):
            assert replied(ic.response(bytes([number]) * 32)) == said.data + said.signer


@pytest.mark.parametrize("broken", [BROKEN_UPGRADE, BROKEN_START])
def test_a_failed_upgrade_changes_nothing(ic: Driver, broken: bytes) -> None:
    canister = ic.create(KEEPER)
    ic.number(canister, "add")
    before = ic.manage("canister_status", {"canister_id": canister})
    assert isinstance(ic.install(canister, broken, UPGRADE), Reject)
    after = ic.manage("canister_status", {"canister_id": canister})
    for found in (before, after):
        found["memory_metrics"].pop("log_memory_store_size")  # the failure is logged
    for field in ("module_hash", "memory_metrics", "version"):
        assert after[field] == before[field]
    assert ic.number(canister, "get") == 2
    assert ic.number(canister, "add") == 3
    assert ic.install(canister, KEEPER, UPGRADE) is None
    assert ic.number(canister, "get") == 3


def test_modes_must_fit_the_canister(ic: Driver) -> None:
    empty, full = ic.create(), ic.create(KEEPER)
    upgrade, install = ic.install(empty, KEEPER, UPGRADE), ic.install(full, KEEPER, INSTALL)
    assert isinstance(upgrade, Reject)
    assert "the canister is empty" in upgrade.message
    assert isinstance(install, Reject)
    assert "reinstall" in install.message


def test_uninstalling_removes_code_and_state(ic: Driver) -> None:
    canister = ic.create(KEEPER)
    assert ic.manage("uninstall_code", {"canister_id": canister}) is None
    assert isinstance(ic.update(canister, "add"), Reject)
    assert ic.install(canister, KEEPER, INSTALL) is None
    assert ic.number(canister, "get") == 1


def test_a_module_can_be_installed_from_chunks(ic: Driver) -> None:
    canister = ic.create()
    parts = [KEEPER[:1000], KEEPER[1000:]]
    for part in parts:
        stored = ic.manage("upload_chunk", {"canister_id": canister, "chunk": part})
        assert stored == {"hash": hashlib.sha256(part).digest()}
    hashes = [{"hash": hashlib.sha256(part).digest()} for part in parts]
    args = {
        "mode": INSTALL,
        "target_canister": canister,
        "chunk_hashes_list": hashes,
        "wasm_module_hash": hashlib.sha256(KEEPER).digest(),
        "arg": b"",
    }
    wrong = ic.manage("install_chunked_code", {**args, "wasm_module_hash": bytes(32)})
    assert isinstance(wrong, Reject)
    missing = ic.manage("install_chunked_code", {**args, "chunk_hashes_list": [{"hash": bytes(32)}]})
    assert isinstance(missing, Reject)
    assert ic.manage("install_chunked_code", args) is None
    assert ic.number(canister, "get") == 1
    assert ic.manage("clear_chunk_store", {"canister_id": canister}) is None
    assert ic.manage("stored_chunks", {"canister_id": canister}) == []


def test_a_restarted_network_goes_on_where_it_was(ic: Driver) -> None:
    canister = ic.create(KEEPER)
    ic.number(canister, "add")
    key, cycles = ic.network.root_key, ic.cycles(canister)
    ic.restart()
    assert ic.network.root_key == key
    assert ic.cycles(canister) == cycles
    assert ic.number(canister, "get") == 2
    assert ic.number(canister, "add") == 3
    assert ic.create() != canister


def test_messages_that_wait_are_executed_after_a_restart(ic: Driver) -> None:
    canister = ic.create(KEEPER)
    ic.hold(canister)
    request = ic.submit(canister, "add")
    assert isinstance(request, bytes)
    ic.restart()
    ic.response(request)
    assert ic.number(canister, "get") == 2


def test_a_message_is_written_before_it_is_acknowledged_and_not_sooner(ic: Driver) -> None:
    canister = ic.create(KEEPER)
    ic.hold(canister)
    request = ic.submit(canister, "add")
    assert isinstance(request, bytes)
    assert list(ic.network.store.messages()) == []
    ic.network.certificate([[b"time"]])
    assert list(ic.network.store.messages()) == []
    ic.network.certificate([[b"request_status", request]])  # shows that it was received
    assert [target for _, target, _, _ in ic.network.store.messages()] == [canister]
    assert request in dict(ic.network.store.requests())
    ic.go_on(canister)
    ic.response(request)
    assert ic.network.scheduler.wait_until_idle(30)
    assert list(ic.network.store.messages()) == []


def test_a_folder_with_something_else_is_reported(tmp_path: Path, module_cache: Path) -> None:
    (tmp_path / "network.sqlite").write_text("this is not a database, and it is long enough to be noticed" * 10)
    with pytest.raises(DamagedState, match=r"cannot be read.*net reset"):
        Driver(tmp_path, module_cache)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A state folder; what runs in it is stopped at the end."""
    yield tmp_path / "state"
    server.stop(tmp_path / "state")


def test_a_killed_network_has_lost_nothing_it_acknowledged(folder: Path) -> None:
    agent = Agent(Identity(), Client(server.start(folder).url))
    canister_id = install(agent, COUNTER)
    nothing = encode([])
    for round_ in range(1, 4):
        different = encode([{"type": Types.Nat, "value": round_}])  # for ic-py, equal calls in a second are one
        acknowledged = agent.update_raw(canister_id, "add", different)[0]["value"]
        assert acknowledged == round_
        running = server.status(folder)
        assert running is not None
        os.kill(running.pid, signal.SIGKILL)
        while server.status(folder) is not None:
            time.sleep(0.01)
        agent.client.url = server.start(folder).url
        assert agent.query_raw(canister_id, "get", nothing)[0]["value"] == acknowledged


def test_one_folder_has_one_network(folder: Path) -> None:
    first = server.start(folder)
    assert server.start(folder) == first == server.status(folder)
    with pytest.raises(server.ServerError, match=f"runs already, at {first.url}"):
        server.start(folder, int(first.url.rsplit(":", 1)[1]) + 1)
    assert server.stop(folder)
    assert server.status(folder) is None
    assert not server.stop(folder)
    assert server.start(folder).url == first.url  # the same port again, so that open notebooks go on


def test_a_taken_port_is_reported_with_who_holds_it(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        port = holder.getsockname()[1]
        with pytest.raises(server.ServerError, match=f"port {port} .*process {os.getpid()} "):
            server.start(tmp_path / "state", port)


def test_only_the_state_of_a_network_is_removed(tmp_path: Path, folder: Path) -> None:
    server.start(folder)
    server.reset(folder)
    assert not folder.exists()
    (tmp_path / "thesis.txt").write_text("ten years of work")
    with pytest.raises(server.ServerError, match="nothing was removed"):
        server.reset(tmp_path)
    assert (tmp_path / "thesis.txt").exists()


def install(agent: Agent, wasm: bytes) -> str:
    """Makes a canister with `wasm`; its id."""
    settings = Types.Record({"amount": Types.Opt(Types.Nat)})
    created = agent.update_raw(
        "aaaaa-aa",
        "provisional_create_canister_with_cycles",
        encode([{"type": settings, "value": {"amount": [10**14]}}]),
        [Types.Record({"canister_id": Types.Principal})],
        effective_canister_id=principal.to_text(principal.canister_id(0)),
    )
    canister_id: str = created[0]["value"]["canister_id"].to_str()
    types = {
        "mode": Types.Variant({"install": Types.Null}),
        "canister_id": Types.Principal,
        "wasm_module": Types.Vec(Types.Nat8),
        "arg": Types.Vec(Types.Nat8),
    }
    value = {"mode": {"install": None}, "canister_id": canister_id, "wasm_module": list(wasm), "arg": []}
    agent.update_raw(
        "aaaaa-aa",
        "install_code",
        encode([{"type": Types.Record(types), "value": value}]),
        effective_canister_id=canister_id,
    )
    return canister_id
