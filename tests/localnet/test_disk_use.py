"""The disk that a network takes is bounded by what its canisters hold, not by how much has happened."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from pathlib import Path

import pytest

from mainer_nb.localnet import cache, metering, runtime, server
from mainer_nb.localnet.canister import HostedCanister
from mainer_nb.localnet.runtime import Runtime
from tests.localnet.driver import Driver, module
from tests.localnet.outcomes import rejected
from tests.localnet.test_durability import KEEPER, MIB, word

EXPIRED = 15 * 60
TABLES = ("canister", "message", "request", "module", "log", "snapshot", "chunk")


def disk_use(folder: Path) -> int:
    """Bytes that the files take; files of memories have holes."""
    return sum(path.lstat().st_blocks * 512 for path in folder.rglob("*"))


def rows(ic: Driver) -> dict[str, int]:
    """What the database holds."""
    with contextlib.closing(sqlite3.connect(ic.folder / "network.sqlite")) as db:
        return {table: db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in TABLES}


def test_many_updates_take_no_more_disk_than_few(ic: Driver) -> None:
    canister = ic.create(KEEPER)
    ic.pause()

    def thousands() -> int:
        for _ in range(1500):
            ic.number(canister, "add")
        ic.update(canister, "fill", word(100))
        ic.advance_time(EXPIRED)
        ic.tick()
        return disk_use(ic.folder)

    first = thousands()
    assert thousands() <= first + 64 * 1024
    assert thousands() <= first + 64 * 1024
    assert rows(ic) == {**dict.fromkeys(TABLES, 0), "canister": 1, "module": 1}
    assert ic.number(canister, "get") == 4500


def test_canisters_that_are_gone_leave_nothing(ic: Driver) -> None:
    def one(number: int) -> None:
        says = '(func (export "canister_init") (call $print (i32.const 0) (i32.const 9)))'
        body = f'(func (export "canister_query x{number}")) {says}'
        canister = ic.create(module(body))
        named = {"canister_id": canister}
        ic.manage("upload_chunk", {**named, "chunk": os.urandom(100_000)})
        ic.manage("stop_canister", named)
        taken = ic.manage("take_canister_snapshot", {**named, "replace_snapshot": None})
        if number % 3 == 0:
            ic.manage("uninstall_code", named)
        if number % 3 == 1:
            ic.install(canister, KEEPER, {"reinstall": None})
        if number % 2:
            assert ic.manage("delete_canister_snapshot", {**named, "snapshot_id": taken["id"]}) is None
        assert ic.manage("delete_canister", named) is None

    ic.pause()
    for number in range(12):
        one(number)
    first = disk_use(ic.folder)
    for number in range(24):
        one(number)
    ic.advance_time(EXPIRED)
    ic.tick()
    assert disk_use(ic.folder) <= first + MIB  # of which the log of the database may take most
    assert rows(ic) == dict.fromkeys(TABLES, 0)
    assert not list(ic.folder.glob("canisters/*"))
    assert not list(ic.folder.glob("snapshots/*"))
    ic.restart()  # and it is a state folder still


def test_a_module_is_kept_as_long_as_a_canister_has_it(ic: Driver) -> None:
    first, second = ic.create(KEEPER), ic.create(KEEPER)
    assert rows(ic)["module"] == 1
    ic.manage("uninstall_code", {"canister_id": first})
    ic.restart()
    assert ic.number(second, "add") == 1
    assert ic.install(second, module(""), {"upgrade": None}) is None
    assert rows(ic)["module"] == 1
    assert ic.install(first, KEEPER, {"install": None}) is None
    ic.restart()
    assert ic.number(first, "add") == 1


def test_a_canister_whose_deletion_was_cut_short_is_gone_after_a_restart(
    ic: Driver, monkeypatch: pytest.MonkeyPatch
) -> None:
    canister = ic.create(KEEPER)
    folder = ic.network.store.canister_folder(canister)
    ic.manage("stop_canister", {"canister_id": canister})

    def fails(self: HostedCanister) -> None:
        raise OSError("the process is killed here")

    with monkeypatch.context() as patch:
        patch.setattr(HostedCanister, "remove", fails)
        rejected(ic.manage("delete_canister", {"canister_id": canister}), "IC0000")
    assert list(folder.iterdir())
    ic.restart()
    assert not folder.exists()
    assert rows(ic)["canister"] == 0
    ic.restart()


def test_a_database_that_is_mostly_unused_is_made_smaller(ic: Driver) -> None:
    canister = ic.create()
    for _ in range(20):
        ic.manage("upload_chunk", {"canister_id": canister, "chunk": os.urandom(MIB)})
    ic.manage("clear_chunk_store", {"canister_id": canister})
    ic.restart()
    assert (ic.folder / "network.sqlite").stat().st_size < MIB
    assert ic.manage("stored_chunks", {"canister_id": canister}) == []


def test_the_log_of_the_database_is_cut_after_a_large_change(ic: Driver) -> None:
    size = 24 * MIB
    large = module("") + b"\0" + b"\x80\x80\x80\x0c" + b"\x05notes" + os.urandom(size - 6)
    ic.create(large)
    canister = ic.create(KEEPER)
    for _ in range(5):
        ic.number(canister, "add")
    assert (ic.folder / "network.sqlite-wal").stat().st_size <= 17 * MIB


def test_a_large_log_is_begun_anew(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / "server.log").write_text("old news\n" * 1_000_000)
    server.start(folder)
    server.stop(folder)
    assert (folder / "server.log").stat().st_size < MIB
    assert "old news" not in (folder / "server.log").read_text()


def test_compiled_modules_are_bounded_and_the_oldest_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = [module(f'(func (export "canister_query x{number}"))') for number in range(6)]
    compiling = Runtime(tmp_path)
    compiling.compile(modules[0])
    (first,) = tmp_path.iterdir()
    monkeypatch.setattr(runtime, "MAX_CACHE", 3 * first.stat().st_size + 2000)
    for number, module_ in enumerate(modules[1:], 1):
        os.utime(first, (number, number))  # long ago
        Runtime(tmp_path).compile(modules[0])  # but it is used again
        compiling.compile(module_)
    assert first.exists()
    assert 2 <= len(list(tmp_path.iterdir())) <= 3


def test_a_kept_module_is_not_weighed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = module('(func (export "canister_query x") (drop (i32.const 1)))')
    made = Runtime(tmp_path).compile(code).instructions
    assert made >= 3
    monkeypatch.setattr(metering, "weigh", None)
    assert Runtime(tmp_path).compile(code).instructions == made


def test_pruning_keeps_what_was_used_last(tmp_path: Path) -> None:
    for name, time in (("newest", 1000), ("old", 3000), ("older", 2000)):
        path = tmp_path / name / "content"
        path.parent.mkdir()
        path.write_bytes(bytes(100_000))
        os.utime(path.parent, (time, time))
    cache.used(tmp_path / "newest")
    cache.prune(tmp_path, 250_000)
    assert {path.name for path in tmp_path.iterdir()} == {"old", "newest"}
    cache.prune(tmp_path, 10)
    assert {path.name for path in tmp_path.iterdir()} == {"newest"}
