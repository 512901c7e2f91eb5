"""Management canister: snapshots."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path
from typing import Any

import pytest

from mainer_nb.localnet import cycles
from mainer_nb.localnet.errors import Reject, Reply
from tests.localnet.acceptance.proxy import Proxy, rejected
from tests.localnet.driver import ALICE, BOB, UPGRADE, Driver, module

#: A number in the heap, in a global, and in stable memory; its certified data are the first bytes of the heap.
STATEFUL = module(
    """
  (global $kept (mut i64) (i64.const 0))
  (global $rest (mut f64) (f64.const 1.5))
  (func (export "canister_init") (drop (call $stable_grow (i64.const 2))))
  (func (export "canister_update set")
    (call $arg_copy (i32.const 70000) (i32.const 0) (i32.const 8))
    (global.set $kept (i64.load (i32.const 70000)))
    (call $stable_write (i64.const 65536) (i64.const 70000) (i64.const 8))
    (call $certified_data_set (i32.const 70000) (i32.const 8))
    (drop (call $timer_set (i64.const 9000000000000000000)))
    (call $reply))
  (func (export "canister_update grow") (drop (memory.grow (i32.const 3))) (call $reply))
  (func (export "canister_query heap") (call $reply_i64 (i64.load (i32.const 70000))))
  (func (export "canister_query global") (call $reply_i64 (global.get $kept)))
  (func (export "canister_query stable")
    (call $stable_read (i64.const 0) (i64.const 65536) (i64.const 8)) (call $reply_i64 (i64.load (i32.const 0))))
  (func (export "canister_query pages") (call $reply_i32 (memory.size)))
""",
    "(memory 2)",
)
OTHER = module('(func (export "canister_query other") (call $reply))')


def numbered(ic: Driver, canister: bytes, value: int) -> None:
    assert not isinstance(ic.update(canister, "set", value.to_bytes(8, "little")), Reject)


def numbers(ic: Driver, canister: bytes) -> list[int]:
    return [ic.number(canister, name) for name in ("heap", "global", "stable")]


def take(ic: Driver, canister: bytes, sender: bytes = ALICE, **more: Any) -> Any:
    return ic.manage("take_canister_snapshot", {"canister_id": canister, **more}, sender)


def load(ic: Driver, canister: bytes, snapshot: bytes, sender: bytes = ALICE, **more: Any) -> Any:
    return ic.manage("load_canister_snapshot", {"canister_id": canister, "snapshot_id": snapshot, **more}, sender)


def listed(ic: Driver, canister: bytes) -> list[bytes]:
    return [item["id"] for item in ic.manage("list_canister_snapshots", {"canister_id": canister})]


@pytest.fixture
def canister(ic: Driver) -> bytes:
    """A canister with the number 5 everywhere."""
    made = ic.create(STATEFUL)
    numbered(ic, made, 5)
    return made


def test_load(ic: Driver, canister: bytes) -> None:
    """loading a snapshot brings back heap, globals, stable memory, certified data and code"""
    snapshot = take(ic, canister)["id"]
    state = ic.network.subnet.canisters[canister].state
    numbered(ic, canister, 6)
    ic.install(canister, OTHER, UPGRADE)
    assert state.certified_data == (6).to_bytes(8, "little")
    assert load(ic, canister, snapshot) is None
    assert numbers(ic, canister) == [5, 5, 5]
    assert state.certified_data == (5).to_bytes(8, "little")
    assert state.module == hashlib.sha256(STATEFUL).digest()


def test_load_timer(ic: Driver, canister: bytes) -> None:
    """loading a snapshot that was taken leaves the global timer and the state of the low memory hook as they are"""
    state = ic.network.subnet.canisters[canister].state
    snapshot = take(ic, canister)["id"]
    ic.install(canister, STATEFUL, UPGRADE)  # which clears the timer
    assert load(ic, canister, snapshot) is None
    assert state.global_timer == 0
    numbered(ic, canister, 5)
    without = take(ic, canister, uninstall_code=True)["id"]
    load(ic, canister, without)
    assert state.global_timer == 0
    numbered(ic, canister, 5)
    load(ic, canister, without)
    assert state.global_timer == 9_000_000_000_000_000_000
    low = {"wasm_memory_limit": 3 * 65536, "wasm_memory_threshold": 2 * 65536}
    ic.manage("update_settings", {"canister_id": canister, "settings": low})
    assert state.low_memory_hook == "ready"
    load(ic, canister, without)
    assert state.low_memory_hook == "ready"


def test_load_uploaded_timer(ic: Driver, canister: bytes) -> None:
    """loading a snapshot that was uploaded sets the global timer if its metadata have one"""
    for timer, after in (
        ({"active": 8_000_000_000_000_000_000}, 8_000_000_000_000_000_000),
        ({"inactive": None}, 0),
        (None, 9_000_000_000_000_000_000),
    ):
        target = ic.create(STATEFUL)
        numbered(ic, target, 6)
        assert load(ic, target, moved(ic, canister, target, global_timer=timer)) is None
        assert ic.network.subnet.canisters[target].state.global_timer == after


def test_load_uploaded_hook(ic: Driver, canister: bytes) -> None:
    """an uploaded snapshot whose low memory hook contradicts its memory and the settings is not loaded"""
    roomy, low = ic.create(), ic.create(wasm_memory_limit=3 * 65536, wasm_memory_threshold=2 * 65536)
    for target, fitting, wrong in ((roomy, "condition_not_satisfied", "ready"), (low, "executed", None)):
        contradicting = {wrong or "condition_not_satisfied": None}
        uploaded = moved(ic, canister, target, on_low_wasm_memory_hook_status=contradicting)
        rejected(load(ic, target, uploaded), 4, "hook for low memory", "IC0408")
        uploaded = moved(ic, canister, target, on_low_wasm_memory_hook_status={fitting: None})
        assert load(ic, target, uploaded) is None
        assert ic.network.subnet.canisters[target].state.low_memory_hook == fitting


def test_load_after_growth(ic: Driver, canister: bytes) -> None:
    """loading a snapshot brings back the sizes of the memories"""
    snapshot = take(ic, canister)["id"]
    ic.update(canister, "grow")
    assert ic.number(canister, "pages") == 5
    assert load(ic, canister, snapshot) is None
    assert ic.number(canister, "pages") == 2
    ic.update(canister, "grow")
    assert ic.number(canister, "pages") == 5


def test_go_on_after_load(ic: Driver, canister: bytes) -> None:
    """a canister goes on from a loaded snapshot, which stays as it is"""
    snapshot = take(ic, canister)["id"]
    numbered(ic, canister, 6)
    load(ic, canister, snapshot)
    numbered(ic, canister, 7)
    assert numbers(ic, canister) == [7, 7, 7]
    load(ic, canister, snapshot)
    assert numbers(ic, canister) == [5, 5, 5]


def test_load_after_uninstall(ic: Driver, canister: bytes) -> None:
    """a snapshot can be loaded onto its canister after the canister's code was uninstalled"""
    snapshot = take(ic, canister)["id"]
    ic.manage("uninstall_code", {"canister_id": canister})
    assert load(ic, canister, snapshot) is None
    assert numbers(ic, canister) == [5, 5, 5]


def test_over_restart(ic: Driver, canister: bytes) -> None:
    """snapshots, and what was loaded from them, survive a restart of the network"""
    snapshot = take(ic, canister)["id"]
    numbered(ic, canister, 6)
    ic.restart()
    assert listed(ic, canister) == [snapshot]
    assert load(ic, canister, snapshot) is None
    ic.restart()
    assert numbers(ic, canister) == [5, 5, 5]


def test_unfinished(ic: Driver, canister: bytes) -> None:
    """files of a snapshot that was not finished are removed by the next start of the network"""
    snapshot = take(ic, canister)["id"]
    folder = next(ic.folder.glob(f"snapshots/*/{snapshot.hex()}"))
    orphan = folder.with_name("00" * 18)
    orphan.mkdir()
    ic.restart()
    assert not orphan.exists()
    assert folder.exists()


def test_chunks(ic: Driver, canister: bytes) -> None:
    """a snapshot holds the chunk store"""
    ic.manage("upload_chunk", {"canister_id": canister, "chunk": b"chunk"})
    before = ic.manage("stored_chunks", {"canister_id": canister})
    snapshot = take(ic, canister)["id"]
    ic.manage("clear_chunk_store", {"canister_id": canister})
    ic.manage("upload_chunk", {"canister_id": canister, "chunk": b"another"})
    assert load(ic, canister, snapshot) is None
    assert ic.manage("stored_chunks", {"canister_id": canister}) == before


def test_list(ic: Driver, canister: bytes) -> None:
    """list_canister_snapshots tells id, time and size of each snapshot, oldest first"""
    taken = [take(ic, canister), take(ic, canister)]
    assert ic.manage("list_canister_snapshots", {"canister_id": canister}) == taken
    assert taken[0]["taken_at_timestamp"] < taken[1]["taken_at_timestamp"]
    assert taken[0]["total_size"] > 4 * 65536
    status = ic.manage("canister_status", {"canister_id": canister})
    assert status["memory_metrics"]["snapshots_size"] == sum(item["total_size"] for item in taken)


def test_delete(ic: Driver, canister: bytes) -> None:
    """a deleted snapshot cannot be used any more, and its memory is free again"""
    snapshot = take(ic, canister)["id"]
    args = {"canister_id": canister, "snapshot_id": snapshot}
    assert ic.manage("delete_canister_snapshot", args) is None
    assert listed(ic, canister) == []
    assert ic.manage("canister_status", {"canister_id": canister})["memory_metrics"]["snapshots_size"] == 0
    rejected(load(ic, canister, snapshot), 3, "Could not find the snapshot ID", "IC0305")
    rejected(ic.manage("delete_canister_snapshot", args), 3, "Could not find the snapshot ID", "IC0305")
    assert not list(ic.folder.glob("snapshots/*/*"))


def test_replace(ic: Driver, canister: bytes) -> None:
    """taking a snapshot with replace_snapshot deletes the snapshot that it names"""
    first = take(ic, canister)["id"]
    numbered(ic, canister, 6)
    second = take(ic, canister, replace_snapshot=first)["id"]
    assert listed(ic, canister) == [second]
    assert second != first
    numbered(ic, canister, 7)
    load(ic, canister, second)
    assert numbers(ic, canister) == [6, 6, 6]


def test_replace_unknown(ic: Driver, canister: bytes) -> None:
    """replace_snapshot with an unknown id is rejected and takes nothing"""
    rejected(take(ic, canister, replace_snapshot=b"nope"), 3, "Could not find the snapshot ID", "IC0305")
    assert listed(ic, canister) == []


def test_number_of_snapshots(ic: Driver, canister: bytes) -> None:
    """a canister has at most 10 snapshots; with 10, each can still be replaced"""
    taken = [take(ic, canister)["id"] for _ in range(10)]
    rejected(take(ic, canister), 4, "has reached the maximum number of snapshots allowed: 10.", "IC0406")
    assert not isinstance(take(ic, canister, replace_snapshot=taken[3]), Reject)
    assert len(listed(ic, canister)) == 10


def test_empty_canister(ic: Driver) -> None:
    """no snapshot is taken of an empty canister"""
    rejected(take(ic, ic.create()), 4, "Failed to create snapshot for empty canister", "IC0406")


def test_load_onto_another(ic: Driver, canister: bytes) -> None:
    """a snapshot can be loaded onto another canister of the same controllers, empty or not; each goes on by itself"""
    ic.manage("upload_chunk", {"canister_id": canister, "chunk": b"chunk"})
    snapshot = take(ic, canister)["id"]
    for target in (ic.create(), ic.create(OTHER)):
        assert load(ic, target, snapshot) is None
        assert numbers(ic, target) == [5, 5, 5]
        assert len(ic.manage("stored_chunks", {"canister_id": target})) == 1
        numbered(ic, target, 6)
        numbered(ic, canister, 7)
        ic.restart()
        assert numbers(ic, target) == [6, 6, 6]
        assert numbers(ic, canister) == [7, 7, 7]
        assert listed(ic, target) == []
    ic.manage("stop_canister", {"canister_id": canister})
    ic.manage("delete_canister", {"canister_id": canister})
    assert numbers(ic, target) == [6, 6, 6]
    rejected(load(ic, target, snapshot), 3, "Could not find the snapshot ID", "IC0305")


def test_history_of_another(ic: Driver, canister: bytes) -> None:
    """the history says of a snapshot of another canister from which canister it was loaded"""
    snapshot = take(ic, canister)["id"]
    for target, named in ((ic.create(), canister), (canister, None)):
        before = ic.manage("canister_status", {"canister_id": target})["version"]
        load(ic, target, snapshot, sender_canister_version=7)
        asked = {"canister_id": target, "num_requested_changes": 1}
        (change,) = Proxy(ic).manage("canister_info", asked)["recent_changes"]
        assert change["details"]["load_snapshot"]["from_canister_id"] == named
        assert change["canister_version"] == before + 1


def test_load_of_stranger(ic: Driver, canister: bytes) -> None:
    """only a controller of the canister that a snapshot was taken of can load it onto another canister"""
    snapshot = take(ic, canister)["id"]
    of_bob = ic.create(OTHER, controllers=[ALICE, BOB])
    text = "Only a controller of the canister that snapshot"
    rejected(load(ic, of_bob, snapshot, BOB), 4, text, "IC0406")
    assert load(ic, of_bob, snapshot, ALICE) is None


def test_snapshot_of_another(ic: Driver, canister: bytes) -> None:
    """a snapshot can be read, replaced, written and deleted only in calls that name its own canister"""
    snapshot, other = take(ic, canister)["id"], ic.create(OTHER)
    named = {"canister_id": other, "snapshot_id": snapshot}
    for outcome in (
        ic.manage("read_canister_snapshot_metadata", named),
        read(ic, other, snapshot, wasm_memory={"offset": 0, "size": 1}),
        upload(ic, other, snapshot, b"x", wasm_memory={"offset": 0}),
        ic.manage("delete_canister_snapshot", named),
        take(ic, other, replace_snapshot=snapshot),
    ):
        rejected(outcome, 4, "does not belong to canister", "IC0406")
    assert listed(ic, canister) == [snapshot]


def test_wait_until_loadable(tmp_path: Path, module_cache: Path) -> None:
    """on a network started with snapshot_wait, a new snapshot is loaded onto other canisters only after that time"""
    with Driver(tmp_path / "waiting", module_cache, snapshot_wait=600) as ic:
        ic.pause()
        canister, target = ic.create(STATEFUL), ic.create()
        snapshot = take(ic, canister)["id"]
        ic.restart()  # the option is kept
        ic.pause()
        assert load(ic, canister, snapshot) is None
        ic.advance_time(590)
        text = "is not currently loadable on the specified canister"
        rejected(load(ic, target, snapshot), 4, text, "IC0406")
        ic.advance_time(11)
        assert load(ic, target, snapshot) is None
        uploaded = moved(ic, canister, canister)
        ic.advance_time(590)
        assert upload(ic, canister, uploaded, b"x", wasm_memory={"offset": 0}) is None
        ic.advance_time(590)
        rejected(load(ic, target, uploaded), 4, text, "IC0406")
        ic.advance_time(11)
        assert load(ic, target, uploaded) is None


def test_load_while_deleted(ic: Driver, canister: bytes) -> None:
    """while snapshots are replaced and deleted, loading one succeeds as a whole or says that it is not found"""
    target = ic.create(STATEFUL)
    numbered(ic, target, 1)
    names = [take(ic, canister)["id"]]
    ended = threading.Event()

    def churn() -> None:
        for value in range(100, 130):
            numbered(ic, canister, value)
            names.append(take(ic, canister, replace_snapshot=names[-1])["id"])
            if value % 3 == 0:
                ic.manage("delete_canister_snapshot", {"canister_id": canister, "snapshot_id": names[-1]})
                names.append(take(ic, canister)["id"])
        ended.set()

    other = threading.Thread(target=churn)
    other.start()
    while not ended.is_set():
        outcome = load(ic, target, names[-1])
        if outcome is not None:
            rejected(outcome, 3, "Could not find the snapshot ID", "IC0305")
        assert len(set(numbers(ic, target))) == 1
    other.join()
    assert load(ic, target, names[-1]) is None
    assert numbers(ic, target) == numbers(ic, canister)


def test_take_and_uninstall(ic: Driver, canister: bytes) -> None:
    """a snapshot can be taken and the code uninstalled in one call, which needs no further memory"""
    ic.manage("upload_chunk", {"canister_id": canister, "chunk": b"chunk"})
    used = ic.manage("canister_status", {"canister_id": canister})["memory_size"]
    proxy = Proxy(ic)
    ic.manage("update_settings", {"canister_id": canister, "settings": {"controllers": [ALICE, proxy.id]}})
    arg = {"canister_id": canister, "uninstall_code": True, "sender_canister_version": 3}
    snapshot = proxy.manage("take_canister_snapshot", arg)["id"]
    status = ic.manage("canister_status", {"canister_id": canister})
    assert status["module_hash"] is None
    assert status["memory_size"] <= used + 1000
    assert ic.manage("stored_chunks", {"canister_id": canister}) == []
    change = proxy.manage("canister_info", {"canister_id": canister, "num_requested_changes": 1})["recent_changes"][0]
    assert change["details"] == {"code_uninstall": None}
    assert change["origin"] == {"from_canister": {"canister_id": proxy.id, "canister_version": 3}}
    assert change["canister_version"] == status["version"]
    assert load(ic, canister, snapshot) is None
    assert numbers(ic, canister) == [5, 5, 5]
    assert len(ic.manage("stored_chunks", {"canister_id": canister})) == 1


def test_take_and_uninstall_not(ic: Driver, canister: bytes) -> None:
    """with uninstall_code as null or false a snapshot that is taken leaves the code"""
    for value in (None, False):
        assert not isinstance(take(ic, canister, uninstall_code=value), Reject)
        assert numbers(ic, canister) == [5, 5, 5]


#: An immutable global that is exported, one that is not, and a mutable one.
GLOBALS = module(
    """
  (global (export "start") i32 (i32.const 4))
  (global i64 (i64.const 3))
  (global $kept (mut i64) (i64.const 2))
  (global (export "end") f32 (f32.const 0.5))
  (func (export "canister_update set") (global.set $kept (i64.const 9)) (call $reply))
  (func (export "canister_query global") (call $reply_i64 (global.get $kept)))
"""
)


def test_globals(ic: Driver) -> None:
    """the globals of a snapshot are those that its module exports and those that can change, in order"""
    canister = ic.create(GLOBALS)
    assert ic.update(canister, "set") == Reply(b"")
    snapshot = take(ic, canister)["id"]
    found = metadata(ic, canister, snapshot)["globals"]
    assert found == [{"i32": 4}, {"i64": 9}, {"f32": 0.5}]
    status = ic.manage("canister_status", {"canister_id": canister})
    assert status["memory_metrics"]["global_memory_size"] == 3 * 8
    for target in (ic.create(), canister):
        assert load(ic, target, moved(ic, canister, target)) is None
        assert ic.number(target, "global") == 9
        ic.restart()
        assert ic.number(target, "global") == 9
    for wrong in ([{"i64": 9}], [{"i32": 4}, {"i32": 9}, {"f32": 0.5}], [*found, {"i32": 1}], []):
        target = ic.create()
        rejected(load(ic, target, moved(ic, canister, target, globals=wrong)), 4, "do not fit", "IC0408")


def test_only_controllers(ic: Driver, canister: bytes) -> None:
    """only controllers take, load and delete snapshots, and by default list and read them"""
    snapshot = take(ic, canister)["id"]
    named = {"canister_id": canister, "snapshot_id": snapshot}
    for outcome in (
        take(ic, canister, BOB),
        load(ic, canister, snapshot, BOB),
        ic.manage("list_canister_snapshots", {"canister_id": canister}, BOB),
        ic.manage("read_canister_snapshot_metadata", named, BOB),
        ic.manage("delete_canister_snapshot", named, BOB),
    ):
        rejected(outcome, 5, "Only controllers", "IC0512")


def test_history(ic: Driver, canister: bytes) -> None:
    """loading a snapshot is in the history, with its version, id, time and source"""
    version = ic.manage("canister_status", {"canister_id": canister})["version"]
    snapshot = take(ic, canister)
    load(ic, canister, snapshot["id"])
    asked = {"canister_id": canister, "num_requested_changes": 1}
    (change,) = Proxy(ic).manage("canister_info", asked)["recent_changes"]
    loaded = change["details"]["load_snapshot"]
    assert loaded["canister_version"] == version
    assert loaded["snapshot_id"] == snapshot["id"]
    assert loaded["taken_at_timestamp"] == snapshot["taken_at_timestamp"]
    assert list(loaded["source"]) == ["taken_from_canister"]
    assert change["canister_version"] == version + 1


def test_version_goes_up(ic: Driver, canister: bytes) -> None:
    """loading a snapshot increments the canister version; taking one does not"""
    snapshot = take(ic, canister)["id"]
    for _ in range(3):
        numbered(ic, canister, 1)
    before = ic.manage("canister_status", {"canister_id": canister})["version"]
    load(ic, canister, snapshot)
    assert ic.manage("canister_status", {"canister_id": canister})["version"] == before + 1


def test_price(ic: Driver, canister: bytes) -> None:
    """taking and loading a snapshot costs 2 B instructions and one for each byte"""
    before = ic.cycles(canister)
    size = take(ic, canister)["total_size"]
    after = ic.cycles(canister)
    expected = cycles.execution(2_000_000_000 + size)
    assert expected <= before - after < expected * 1.01


def test_cycles_needed(ic: Driver) -> None:
    """a snapshot that the canister cannot pay for is not taken"""
    canister = ic.create(STATEFUL, cycles=10**11)
    ic.manage("update_settings", {"canister_id": canister, "settings": {"freezing_threshold": 10**9 * 6}})
    outcome = take(ic, canister)
    assert isinstance(outcome, Reject)
    assert outcome.error_code in ("IC0207", "IC0532")
    assert not list(ic.folder.glob("snapshots/*/*"))


def test_cycles_are_not_restored(ic: Driver, canister: bytes) -> None:
    """loading a snapshot does not bring back cycles, controllers or settings"""
    snapshot = take(ic, canister)["id"]
    ic.manage("update_settings", {"canister_id": canister, "settings": {"freezing_threshold": 9}})
    before = ic.cycles(canister)
    load(ic, canister, snapshot)
    assert ic.cycles(canister) < before
    assert ic.manage("canister_status", {"canister_id": canister})["settings"]["freezing_threshold"] == 9


# Reading and uploading


def read(ic: Driver, canister: bytes, snapshot: bytes, **kind: Any) -> Any:
    args = {"canister_id": canister, "snapshot_id": snapshot, "kind": kind}
    outcome = ic.manage("read_canister_snapshot_data", args)
    return outcome["chunk"] if isinstance(outcome, dict) else outcome


def upload(ic: Driver, canister: bytes, snapshot: bytes, chunk: bytes, **kind: Any) -> Any:
    args = {"canister_id": canister, "snapshot_id": snapshot, "kind": kind, "chunk": chunk}
    return ic.manage("upload_canister_snapshot_data", args)


def metadata(ic: Driver, canister: bytes, snapshot: bytes) -> dict[str, Any]:
    found: dict[str, Any] = ic.manage(
        "read_canister_snapshot_metadata", {"canister_id": canister, "snapshot_id": snapshot}
    )
    return found


def test_metadata(ic: Driver, canister: bytes) -> None:
    """read_canister_snapshot_metadata tells sizes, globals, certified data, timer and version"""
    version = ic.manage("canister_status", {"canister_id": canister})["version"]
    found = metadata(ic, canister, take(ic, canister)["id"])
    assert list(found.pop("source")) == ["taken_from_canister"]
    assert found.pop("taken_at_timestamp") > 0
    assert found == {
        "wasm_module_size": len(STATEFUL),
        "globals": [{"i64": 5}, {"f64": 1.5}],
        "wasm_memory_size": 2 * 65536,
        "stable_memory_size": 2 * 65536,
        "wasm_chunk_store": [],
        "canister_version": version,
        "certified_data": (5).to_bytes(8, "little"),
        "global_timer": {"active": 9_000_000_000_000_000_000},
        "on_low_wasm_memory_hook_status": {"condition_not_satisfied": None},
    }


def test_read_data(ic: Driver, canister: bytes) -> None:
    """read_canister_snapshot_data reads slices of module and memories, and chunks"""
    ic.manage("upload_chunk", {"canister_id": canister, "chunk": b"chunk"})
    snapshot = take(ic, canister)["id"]
    number = (5).to_bytes(8, "little")
    assert read(ic, canister, snapshot, wasm_module={"offset": 0, "size": len(STATEFUL)}) == STATEFUL
    assert read(ic, canister, snapshot, wasm_memory={"offset": 70000, "size": 8}) == number
    assert read(ic, canister, snapshot, stable_memory={"offset": 65536, "size": 8}) == number
    assert read(ic, canister, snapshot, wasm_chunk={"hash": hashlib.sha256(b"chunk").digest()}) == b"chunk"


def test_read_beyond(ic: Driver, canister: bytes) -> None:
    """reading a slice of a snapshot that goes beyond its end, or has more than 2 MB, is rejected"""
    snapshot = take(ic, canister)["id"]
    beyond = read(ic, canister, snapshot, wasm_memory={"offset": 2 * 65536, "size": 1})
    rejected(beyond, 4, "Invalid subslice", "IC0408")
    large = read(ic, canister, snapshot, stable_memory={"offset": 0, "size": 2_000_001})
    rejected(large, 4, "Requested slice too large: 2000001 > 2000000", "IC0408")
    rejected(read(ic, canister, snapshot, wasm_chunk={"hash": bytes(32)}), 4, "no chunk", "IC0408")


def moved(ic: Driver, source: bytes, target: bytes, **changes: Any) -> bytes:
    """Downloads a snapshot of `source` and uploads it as one of `target`."""
    snapshot = take(ic, source)["id"]
    found = metadata(ic, source, snapshot)
    kept = ("wasm_module_size", "globals", "wasm_memory_size", "stable_memory_size", "certified_data", "global_timer")
    args = {"canister_id": target, **{name: found[name] for name in kept}, **changes}
    uploaded: bytes = ic.manage("upload_canister_snapshot_metadata", args)["snapshot_id"]
    for kind, size in (
        ("wasm_module", "wasm_module_size"),
        ("wasm_memory", "wasm_memory_size"),
        ("stable_memory",) * 2,
    ):
        whole = found[size if size.endswith("size") else f"{size}_size"]
        data = read(ic, source, snapshot, **{kind: {"offset": 0, "size": whole}})
        assert upload(ic, target, uploaded, data[:1000], **{kind: {"offset": 0}}) is None
        assert upload(ic, target, uploaded, data[1000:], **{kind: {"offset": len(data[:1000])}}) is None
    return uploaded


def test_upload(ic: Driver, canister: bytes) -> None:
    """a snapshot that was read from one canister and uploaded to another can be loaded there"""
    target = ic.create()
    uploaded = moved(ic, canister, target)
    ic.restart()
    assert load(ic, target, uploaded) is None
    assert numbers(ic, target) == [5, 5, 5]
    numbered(ic, target, 8)
    assert numbers(ic, target) == [8, 8, 8]


def test_upload_source(ic: Driver, canister: bytes) -> None:
    """an uploaded snapshot says that its source is an upload, in its metadata and in the history"""
    target = ic.create()
    uploaded = moved(ic, canister, target)
    assert list(metadata(ic, target, uploaded)["source"]) == ["metadata_upload"]
    load(ic, target, uploaded)
    asked = {"canister_id": target, "num_requested_changes": 1}
    (change,) = Proxy(ic).manage("canister_info", asked)["recent_changes"]
    assert list(change["details"]["load_snapshot"]["source"]) == ["metadata_upload"]


def test_upload_chunk(ic: Driver, canister: bytes) -> None:
    """chunks can be uploaded into a snapshot and are in the chunk store when it is loaded"""
    target = ic.create()
    uploaded = moved(ic, canister, target)
    assert upload(ic, target, uploaded, b"chunk", wasm_chunk=None) is None
    assert upload(ic, target, uploaded, b"chunk", wasm_chunk=None) is None
    digest = {"hash": hashlib.sha256(b"chunk").digest()}
    assert metadata(ic, target, uploaded)["wasm_chunk_store"] == [digest]
    load(ic, target, uploaded)
    assert ic.manage("stored_chunks", {"canister_id": target}) == [digest]


def test_upload_into_taken(ic: Driver, canister: bytes) -> None:
    """data cannot be uploaded into a snapshot that was taken"""
    snapshot = take(ic, canister)["id"]
    outcome = upload(ic, canister, snapshot, b"x", wasm_memory={"offset": 0})
    rejected(outcome, 4, "Only canister snapshots created by metadata upload can be mutated.", "IC0409")


def test_upload_beyond(ic: Driver, canister: bytes) -> None:
    """data beyond the sizes in the metadata of a snapshot cannot be uploaded into it"""
    target = ic.create()
    uploaded = moved(ic, canister, target)
    outcome = upload(ic, target, uploaded, b"12", wasm_memory={"offset": 2 * 65536 - 1})
    rejected(outcome, 4, "Invalid subslice", "IC0408")


def test_upload_inconsistent(ic: Driver, canister: bytes) -> None:
    """an uploaded snapshot whose globals do not fit its module is not loaded, and nothing changes"""
    target = ic.create(STATEFUL)
    numbered(ic, target, 9)
    uploaded = moved(ic, canister, target, globals=[{"i32": 1}, {"f64": 1.5}])
    rejected(load(ic, target, uploaded), 4, "do not fit", "IC0408")
    assert numbers(ic, target) == [9, 9, 9]


def test_upload_no_module(ic: Driver, canister: bytes) -> None:
    """an uploaded snapshot without its module is not loaded"""
    args = {
        "canister_id": canister,
        "wasm_module_size": 100,
        "globals": [],
        "wasm_memory_size": 0,
        "stable_memory_size": 0,
        "certified_data": b"",
    }
    uploaded = ic.manage("upload_canister_snapshot_metadata", args)["snapshot_id"]
    rejected(load(ic, canister, uploaded), 5, "not valid", "IC0505")
    assert numbers(ic, canister) == [5, 5, 5]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wasm_module_size", 2**40),
        ("wasm_memory_size", 2**40),
        ("stable_memory_size", 1000),
        ("certified_data", b"x" * 33),
        ("globals", [{"v128": 2**128}]),
        ("globals", [{"i32": 1}] * 1001),
    ],
)
def test_upload_metadata_limits(ic: Driver, canister: bytes, name: str, value: object) -> None:
    """metadata of a snapshot that no canister could have are rejected"""
    args: dict[str, Any] = {
        "canister_id": canister,
        "wasm_module_size": 100,
        "globals": [],
        "wasm_memory_size": 0,
        "stable_memory_size": 0,
        "certified_data": b"",
        name: value,
    }
    rejected(ic.manage("upload_canister_snapshot_metadata", args), 4, name, "IC0408")
    assert listed(ic, canister) == []
