"""Management canister: installing, upgrading and uninstalling code, and the chunk store."""

from __future__ import annotations

import gzip
import hashlib
from typing import Any

import pytest
from wasmtime import wat2wasm

from mainer_nb.localnet import management, wasm
from mainer_nb.localnet.errors import Reject, Reply
from tests.localnet.acceptance.proxy import PROXY, Proxy, rejected
from tests.localnet.driver import ALICE, BOB, EMPTY, INSTALL, REINSTALL, UPGRADE, Driver, eventually, module

#: Remembers its installation argument's size in heap, stable memory and a global; upgrades count up.
KEEPER = module(
    """
  (global $kept (mut i64) (i64.const 0))
  (func $remember (param $value i64)
    (i64.store (i32.const 0) (local.get $value)) (global.set $kept (local.get $value)))
  (func (export "canister_init")
    (call $remember (i64.extend_i32_u (call $arg_size)))
    (drop (call $stable_grow (i64.const 1))) (call $stable_write (i64.const 0) (i64.const 0) (i64.const 8))
    (call $certified_data_set (i32.const 0) (i32.const 4))
    (drop (call $timer_set (i64.const 9000000000000000000))))
  (func (export "canister_pre_upgrade") (i64.store (i32.const 8) (i64.const 77))
    (call $stable_write (i64.const 8) (i64.const 8) (i64.const 8)))
  (func (export "canister_post_upgrade") (i64.store (i32.const 16) (i64.extend_i32_u (call $arg_size))))
  (func (export "canister_query heap") (call $reply_i64 (i64.load (i32.const 0))))
  (func (export "canister_query kept") (call $reply_i64 (global.get $kept)))
  (func (export "canister_query stable")
    (call $stable_read (i64.const 32) (i64.const 0) (i64.const 8)) (call $reply_i64 (i64.load (i32.const 32))))
  (func (export "canister_query pre_upgraded")
    (call $stable_read (i64.const 32) (i64.const 8) (i64.const 8)) (call $reply_i64 (i64.load (i32.const 32))))
  (func (export "canister_query post_argument") (call $reply_i64 (i64.load (i32.const 16))))
  (func (export "canister_query timer_was") (call $reply_i64 (call $time)))
"""
)
TRAPS_ON_UPGRADE = module(
    '(func (export "canister_pre_upgrade") unreachable) (func (export "canister_query f") (call $reply))'
)
EOP = '(@custom "icp:private enhanced-orthogonal-persistence" "")'
ORTHOGONAL = module(
    f"""{EOP} (func (export "canister_update set") (i64.store (i32.const 0) (i64.const 5)) (call $reply))
    (func (export "canister_query get") (call $reply_i64 (i64.load (i32.const 0))))"""
)


def hash_of(ic: Driver, canister: bytes) -> bytes | None:
    found: bytes | None = ic.manage("canister_status", {"canister_id": canister})["module_hash"]
    return found


def upgrade(**options: Any) -> dict[str, Any]:
    return {"upgrade": options}


def test_install(ic: Driver) -> None:
    """install runs canister_init with the argument"""
    canister = ic.create(KEEPER, arg=b"12345")
    assert ic.number(canister, "heap") == 5
    assert hash_of(ic, canister) == hashlib.sha256(KEEPER).digest()


def test_install_twice(ic: Driver) -> None:
    """install on a canister with code is rejected"""
    canister = ic.create(KEEPER)
    outcome = ic.install(canister, KEEPER, INSTALL)
    rejected(outcome, 5, "cannot be installed because the canister is not empty", "IC0514")


def test_reinstall(ic: Driver) -> None:
    """reinstall forgets heap, globals, stable memory and certified data, and runs canister_init"""
    canister = ic.create(KEEPER, arg=b"12345")
    assert ic.install(canister, KEEPER, REINSTALL, b"12") is None
    assert [ic.number(canister, name) for name in ("heap", "kept", "stable", "pre_upgraded")] == [2, 2, 2, 0]


def test_reinstall_empty(ic: Driver) -> None:
    """reinstall works on an empty canister"""
    canister = ic.create()
    assert ic.install(canister, KEEPER, REINSTALL, b"12") is None
    assert ic.number(canister, "heap") == 2


def test_upgrade_empty(ic: Driver) -> None:
    """upgrade of an empty canister is rejected"""
    rejected(ic.install(ic.create(), KEEPER, UPGRADE), 5, "canister is empty", "IC0537")


def test_upgrade(ic: Driver) -> None:
    """upgrade runs canister_pre_upgrade and canister_post_upgrade, keeps stable memory and drops heap and globals"""
    canister = ic.create(KEEPER, arg=b"12345")
    assert ic.install(canister, KEEPER, UPGRADE, b"123") is None
    names = ("heap", "kept", "stable", "pre_upgraded", "post_argument")
    assert [ic.number(canister, name) for name in names] == [0, 0, 5, 77, 3]


def test_upgrade_clears_timer(ic: Driver) -> None:
    """upgrade deactivates the global timer"""
    canister = ic.create(KEEPER)
    state = ic.network.subnet.canisters[canister].state
    assert state.global_timer == 9_000_000_000_000_000_000
    assert ic.install(canister, KEEPER, UPGRADE) is None
    assert state.global_timer == 0


def test_skip_pre_upgrade(ic: Driver) -> None:
    """upgrade with skip_pre_upgrade does not run canister_pre_upgrade"""
    canister = ic.create(TRAPS_ON_UPGRADE)
    rejected(ic.install(canister, KEEPER, UPGRADE), 5, "unreachable", "IC0502")
    assert hash_of(ic, canister) == hashlib.sha256(TRAPS_ON_UPGRADE).digest()
    assert ic.install(canister, KEEPER, upgrade(skip_pre_upgrade=True)) is None
    assert hash_of(ic, canister) == hashlib.sha256(KEEPER).digest()


def test_persistence_keep(ic: Driver) -> None:
    """upgrade with wasm_memory_persistence = keep leaves the heap as it is"""
    canister = ic.create(ORTHOGONAL)
    ic.update(canister, "set")
    assert ic.install(canister, ORTHOGONAL, upgrade(wasm_memory_persistence={"keep": None})) is None
    assert ic.number(canister, "get") == 5


def test_persistence_replace(ic: Driver) -> None:
    """upgrade with wasm_memory_persistence = replace drops the heap"""
    canister = ic.create(ORTHOGONAL)
    ic.update(canister, "set")
    assert ic.install(canister, ORTHOGONAL, upgrade(wasm_memory_persistence={"replace": None})) is None
    assert ic.number(canister, "get") == 0


def test_persistence_missing(ic: Driver) -> None:
    """upgrade of a module with orthogonal persistence is rejected without wasm_memory_persistence"""
    canister = ic.create(ORTHOGONAL)
    rejected(ic.install(canister, ORTHOGONAL, UPGRADE), 5, "Missing upgrade option", "IC0504")


def test_persistence_unsupported(ic: Driver) -> None:
    """upgrade that keeps the heap for a module without orthogonal persistence is rejected"""
    canister = ic.create(KEEPER)
    outcome = ic.install(canister, KEEPER, upgrade(wasm_memory_persistence={"keep": None}))
    rejected(outcome, 5, "Invalid upgrade option", "IC0504")


@pytest.mark.parametrize("mode", [INSTALL, REINSTALL, UPGRADE])
def test_only_controllers_install(ic: Driver, mode: dict[str, Any]) -> None:
    """only controllers install code"""
    canister = ic.create() if mode == INSTALL else ic.create(KEEPER)
    before = hash_of(ic, canister)
    rejected(ic.install(canister, PROXY, mode, sender=BOB), 5, "Only controllers", "IC0512")
    assert hash_of(ic, canister) == before


def test_failed_init(ic: Driver) -> None:
    """an installation whose canister_init traps leaves the canister as it was"""
    canister = ic.create(KEEPER, arg=b"123")
    broken = module('(func (export "canister_init") unreachable)')
    rejected(ic.install(canister, broken, REINSTALL), 5, "unreachable")
    assert ic.number(canister, "heap") == 3
    assert hash_of(ic, canister) == hashlib.sha256(KEEPER).digest()


def test_gzip(ic: Driver) -> None:
    """a gzipped module is installed; its hash and size are those of the gzipped bytes"""
    packed = gzip.compress(KEEPER)
    canister = ic.create(packed)
    status = ic.manage("canister_status", {"canister_id": canister})
    assert status["module_hash"] == hashlib.sha256(packed).digest()
    assert status["memory_metrics"]["wasm_binary_size"] == len(packed)
    assert ic.install(canister, KEEPER, UPGRADE) is None
    assert hash_of(ic, canister) == hashlib.sha256(KEEPER).digest()


def test_install_by_canister(ic: Driver) -> None:
    """a canister installs code on a canister that it controls"""
    proxy = Proxy(ic)
    made = proxy.manage("create_canister", {}, 10**14)["canister_id"]
    args = {"mode": INSTALL, "canister_id": made, "wasm_module": KEEPER, "arg": b"1234"}
    assert proxy.manage("install_code", args) is None
    assert ic.number(made, "heap") == 4


def test_uninstall(ic: Driver) -> None:
    """uninstall_code empties the canister and leaves cycles, controllers and settings"""
    canister = ic.create(KEEPER, freezing_threshold=5)
    assert ic.manage("uninstall_code", {"canister_id": canister}) is None
    status = ic.manage("canister_status", {"canister_id": canister})
    assert status["module_hash"] is None
    assert status["status"] == {"running": None}
    assert status["settings"]["controllers"] == [ALICE]
    assert status["settings"]["freezing_threshold"] == 5
    metrics = status["memory_metrics"]
    assert [metrics[f"{kind}_size"] for kind in ("wasm_memory", "stable_memory", "wasm_binary")] == [0, 0, 0]
    rejected(ic.query(canister, "heap"), 5, "contains no Wasm module", "IC0537")


def test_uninstall_rejects_open_calls(ic: Driver) -> None:
    """uninstall_code rejects the calls that the canister has not answered yet"""
    proxy = Proxy(ic)
    waiting = ic.create(PROXY)
    ic.hold(waiting)
    request = bytes([len(waiting)]) + waiting + b"\4call" + bytes(8)
    outcome = ic.submit(proxy.id, "call", request)
    assert isinstance(outcome, bytes)
    eventually(lambda: ic.network.subnet.canisters[proxy.id].state.callbacks)
    assert ic.manage("uninstall_code", {"canister_id": proxy.id}) is None
    rejected(ic.response(outcome), 4, "Canister has been uninstalled.", "IC0406")
    ic.go_on(waiting)


def test_only_controllers_uninstall(ic: Driver) -> None:
    """only controllers uninstall code"""
    rejected(ic.manage("uninstall_code", {"canister_id": ic.create(KEEPER)}, BOB), 5, "Only controllers", "IC0512")


# Chunks


def chunked(ic: Driver, canister: bytes, data: bytes, **other: Any) -> dict[str, Any]:
    """Uploads `data` in two chunks; the argument that installs it."""
    half = len(data) // 2
    hashes = [
        ic.manage("upload_chunk", {"canister_id": canister, "chunk": part}) for part in (data[:half], data[half:])
    ]
    return {
        "mode": INSTALL,
        "target_canister": canister,
        "chunk_hashes_list": hashes,
        "wasm_module_hash": hashlib.sha256(data).digest(),
        "arg": b"1234567",
        **other,
    }


def test_install_chunked(ic: Driver) -> None:
    """install_chunked_code installs the module that the chunks make together"""
    canister = ic.create()
    assert ic.manage("install_chunked_code", chunked(ic, canister, KEEPER)) is None
    assert ic.number(canister, "heap") == 7
    assert hash_of(ic, canister) == hashlib.sha256(KEEPER).digest()


def test_install_chunked_from_other_store(ic: Driver) -> None:
    """install_chunked_code takes chunks from another canister that the caller controls"""
    store, target = ic.create(), ic.create()
    args = chunked(ic, store, KEEPER, target_canister=target, store_canister=store)
    assert ic.manage("install_chunked_code", args) is None
    assert ic.number(target, "heap") == 7


def test_install_chunked_from_foreign_store(ic: Driver) -> None:
    """install_chunked_code does not take the chunks of a canister that the caller does not control"""
    store = ic.create(controllers=[ALICE, BOB])
    target = ic.create()
    args = chunked(ic, store, KEEPER, target_canister=target, store_canister=store)
    ic.manage("update_settings", {"canister_id": store, "settings": {"controllers": [BOB]}})
    rejected(ic.manage("install_chunked_code", args), 5, "Only the controllers", "IC0512")


def test_install_chunked_wrong_hash(ic: Driver) -> None:
    """install_chunked_code rejects chunks that do not have the hash given"""
    canister = ic.create()
    args = {**chunked(ic, canister, KEEPER), "wasm_module_hash": bytes(32)}
    rejected(ic.manage("install_chunked_code", args), 5, "does not match given hash", "IC0504")


def test_install_chunked_missing(ic: Driver) -> None:
    """install_chunked_code rejects a chunk that is not stored"""
    canister = ic.create()
    args = {**chunked(ic, canister, KEEPER), "chunk_hashes_list": [{"hash": bytes(32)}]}
    rejected(ic.manage("install_chunked_code", args), 5, "was not found", "IC0504")


def test_install_chunked_only_controllers(ic: Driver) -> None:
    """only controllers of the target install from chunks"""
    canister = ic.create()
    rejected(ic.manage("install_chunked_code", chunked(ic, canister, KEEPER), BOB), 5, "Only controllers", "IC0512")


def test_stored_chunks(ic: Driver) -> None:
    """stored_chunks lists the hashes of the chunks; the same chunk is stored once"""
    canister = ic.create()
    for chunk in (b"a", b"b", b"a"):
        ic.manage("upload_chunk", {"canister_id": canister, "chunk": chunk})
    listed = {item["hash"] for item in ic.manage("stored_chunks", {"canister_id": canister})}
    assert listed == {hashlib.sha256(chunk).digest() for chunk in (b"a", b"b")}
    assert ic.manage("canister_status", {"canister_id": canister})["memory_metrics"]["wasm_chunk_store_size"] == 2**21


def test_clear_chunk_store(ic: Driver) -> None:
    """clear_chunk_store empties the chunk store"""
    canister = ic.create()
    ic.manage("upload_chunk", {"canister_id": canister, "chunk": b"a"})
    assert ic.manage("clear_chunk_store", {"canister_id": canister}) is None
    assert ic.manage("stored_chunks", {"canister_id": canister}) == []
    assert ic.manage("canister_status", {"canister_id": canister})["memory_metrics"]["wasm_chunk_store_size"] == 0


def test_chunk_size(ic: Driver) -> None:
    """a chunk of more than 1 MiB is rejected"""
    canister = ic.create()
    assert not isinstance(ic.manage("upload_chunk", {"canister_id": canister, "chunk": bytes(2**20)}), Reject)
    outcome = ic.manage("upload_chunk", {"canister_id": canister, "chunk": bytes(2**20 + 1)})
    rejected(outcome, 5, "exceeds the maximum chunk size of 1048576", "IC0504")


def test_chunk_count(ic: Driver) -> None:
    """the chunk store holds at most 100 chunks"""
    canister = ic.create()
    for number in range(100):
        ic.manage("upload_chunk", {"canister_id": canister, "chunk": bytes([number])})
    again = ic.manage("upload_chunk", {"canister_id": canister, "chunk": b"\0"})
    assert again == {"hash": hashlib.sha256(b"\0").digest()}
    outcome = ic.manage("upload_chunk", {"canister_id": canister, "chunk": b"more"})
    rejected(outcome, 5, "maximum capacity of 100 chunks", "IC0504")


@pytest.mark.parametrize("method", ["upload_chunk", "clear_chunk_store", "stored_chunks"])
def test_chunks_only_controllers(ic: Driver, method: str) -> None:
    """only the controllers of a canister, and the canister itself, use its chunk store"""
    args: dict[str, Any] = {"canister_id": ic.create()}
    if method == "upload_chunk":
        args["chunk"] = b"a"
    rejected(ic.manage(method, args, BOB), 5, "Only controllers", "IC0512")


def test_chunks_of_oneself(ic: Driver) -> None:
    """a canister that does not control itself uses its own chunk store"""
    proxy = Proxy(ic)
    ic.manage("update_settings", {"canister_id": proxy.id, "settings": {"controllers": [ALICE]}})
    stored = proxy.manage("upload_chunk", {"canister_id": proxy.id, "chunk": b"mine"})
    assert proxy.manage("stored_chunks", {"canister_id": proxy.id}) == [stored]
    assert proxy.manage("clear_chunk_store", {"canister_id": proxy.id}) is None


# What a module may be


def invalid(ic: Driver, code: bytes, why: str) -> None:
    outcome = ic.install(ic.create(), code, INSTALL)
    rejected(outcome, 5, "Canister's Wasm module is not valid: ", "IC0505")
    assert why in outcome.message


def wat(text: str) -> bytes:
    return bytes(wat2wasm(f"(module {text})"))


def test_too_many_functions(ic: Driver) -> None:
    """a module with more than 50,000 functions is rejected"""
    invalid(
        ic, wat("(func)" * 50_001), "Wasm module defined 50001 functions which exceeds the maximum number allowed 50000"
    )


def test_too_many_globals(ic: Driver) -> None:
    """a module with more than 1,000 globals is rejected"""
    code = wat("(global i32 (i32.const 0))" * 1001)
    invalid(ic, code, "Wasm module defined 1001 globals which exceeds the maximum number allowed 1000")
    assert ic.install(ic.create(), wat("(global (mut i32) (i32.const 0))" * 1000), INSTALL) is None


def test_too_many_methods(ic: Driver) -> None:
    """a module that exports more than 1,000 methods is rejected"""
    code = wat("".join(f'(func (export "canister_query q{i}"))' for i in range(1001)))
    invalid(ic, code, "The number of exported functions called")


def test_too_long_method_names(ic: Driver) -> None:
    """a module whose method names have more than 20,000 bytes together is rejected"""
    code = wat("".join(f'(func (export "canister_query {"x" * 99}{i:02}"))' for i in range(99)) * 1)
    assert ic.install(ic.create(), code, INSTALL) is None
    longer = wat("".join(f'(func (export "canister_query {"x" * 99}{i:03}"))' for i in range(200)))
    invalid(ic, longer, "The sum of `<name>` lengths in exported functions called")


def test_same_method_twice(ic: Driver) -> None:
    """a module that exports a method as update and as query is rejected"""
    code = wat('(func (export "canister_query f")) (func (export "canister_update f"))')
    invalid(ic, code, "Duplicate function 'f' exported multiple times with different call types")


def test_custom_sections(ic: Driver) -> None:
    """a module with more than 16 icp: custom sections, or with more than 1 MiB in them, is rejected"""
    sections = "".join(f'(@custom "icp:public s{i}" "x")' for i in range(17))
    invalid(ic, wat(sections), "The number of custom sections exceeds 16")
    invalid(ic, wat(f'(@custom "icp:public s" "{"x" * (2**20 + 1)}")'), "The size of custom sections exceeds 1048576")


def test_names_of_custom_sections(ic: Driver) -> None:
    """a custom section is icp:public or icp:private, not both, and its name counts among its bytes"""
    invalid(ic, wat('(@custom "icp:secret s" "x")'), "neither icp:public nor icp:private")
    invalid(ic, wat('(@custom "icp:public s" "x") (@custom "icp:private s" "y")'), "both icp:public and icp:private")
    assert ic.install(ic.create(), wat(f'(@custom "icp:public s" "{"x" * (2**20 - 1)}")'), INSTALL) is None
    invalid(ic, wat(f'(@custom "icp:public s" "{"x" * 2**20}")'), "The size of custom sections exceeds 1048576")


def test_custom_sections_of_all(ic: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    """the custom sections of all canisters have a limit; those of the module that is replaced do not count"""
    monkeypatch.setattr(management.code, "MAX_CUSTOM_OF_ALL", 1_000)
    canister, other = ic.create(), ic.create()
    large = wat(f'(@custom "icp:public s" "{"x" * 900}")')
    assert ic.install(canister, large, INSTALL) is None
    outcome = ic.install(other, large, INSTALL)
    rejected(outcome, 1, "requested 900 B of Wasm custom sections memory but only 100 B are available", "IC0101")
    assert ic.install(canister, large, REINSTALL) is None
    assert ic.install(other, wat('(@custom "icp:public s" "x")'), INSTALL) is None


def test_long_names(ic: Driver) -> None:
    """a name of an exported function has at most 1 MiB"""

    def named(size: int) -> bytes:
        return wat(f'(func (export "{"n" * size}")) (func (export "canister_query f"))')

    canister = ic.create()
    assert ic.install(canister, named(2**20), INSTALL) is None
    rejected(ic.query(canister, "f"), 5, "did not produce a response", "IC0506")
    invalid(ic, named(2**20 + 1), "the name of an export has more than 1048576 bytes")


def test_signature_of_entry_points(ic: Driver) -> None:
    """a module with an entry point that takes or returns values is rejected"""
    for entry in ("canister_init", "canister_update f", "canister_query f", "canister_heartbeat"):
        invalid(ic, wat(f'(func (export "{entry}") (param i32))'), "invalid function signature")
        invalid(ic, wat(f'(func (export "{entry}") (result i64) (i64.const 0))'), "invalid function signature")


def test_code_size(ic: Driver) -> None:
    """a module whose code section is larger than 10 MiB is rejected"""
    body = b"\0" + b"\x01" * wasm.MAX_CODE + b"\x0b"
    code = wasm.MAGIC + b"\x01\x04\x01\x60\x00\x00" + b"\x03\x02\x01\x00"
    section = b"\x01" + _uleb(len(body)) + body
    invalid(ic, code + b"\x0a" + _uleb(len(section)) + section, "Wasm module code section size of")


def _uleb(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def test_module_size(ic: Driver) -> None:
    """a gzipped module that unpacks to more than 100 MiB is rejected"""
    code = gzip.compress(wasm.MAGIC + bytes(wasm.MAX_MODULE), 1)
    invalid(ic, code, "larger than 104857600 bytes")


def test_empty_argument(ic: Driver) -> None:
    """an installation without code in the argument is rejected and nothing changes"""
    canister = ic.create()
    rejected(ic.install(canister, b"", INSTALL, EMPTY), 5, "not valid", "IC0505")
    assert hash_of(ic, canister) is None


def test_a_canister_answers_after_upgrade(ic: Driver) -> None:
    """a canister that was upgraded from another module answers with the new one's methods only"""
    canister = ic.create(KEEPER)
    assert ic.install(canister, PROXY, UPGRADE) is None
    assert ic.query(canister, "nothing") == Reply(b"")
    rejected(ic.query(canister, "heap"), 5, "no query method 'heap'", "IC0536")
