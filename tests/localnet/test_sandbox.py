"""The network as a Python program uses it: `Sandbox` and its canisters."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from mainer_nb.localnet.sandbox import DEFAULT_USER, CallRejected, Sandbox
from mainer_nb.protocol import candid, principal
from tests.localnet.driver import BOB, module

FILES = Path(__file__).parents[2] / "files"
#: Adds nat64 values; its argument and reply are "DIDL", one value, nat64.
ADDER = module(
    """
  (global $sum (mut i64) (i64.const 0))
  (func $value
    (i64.store (i32.const 7) (global.get $sum)) (call $append (i32.const 0) (i32.const 15)) (call $reply))
  (func (export "canister_update add")
    (call $arg_copy (i32.const 100) (i32.const 0) (call $arg_size))
    (if (i64.eqz (i64.load (i32.const 107))) (then (call $reject (i32.const 200) (i32.const 7))))
    (if (i64.eqz (i64.load (i32.const 107))) (then (return)))
    (global.set $sum (i64.add (global.get $sum) (i64.load (i32.const 107))))
    (call $print (i32.const 207) (i32.const 5))
    (call $value))
  (func (export "canister_query get") (call $value))
  (func (export "canister_update remember")
    (drop (call $stable_grow (i64.const 1)))
    (call $stable_write (i64.const 3) (i64.const 207) (i64.const 5)) (call $append (i32.const 220) (i32.const 6))
    (call $reply))
  (func (export "canister_update wake_me")
    (drop (call $timer_set (i64.add (call $time) (i64.const 60000000000))))
    (call $append (i32.const 220) (i32.const 6)) (call $reply))
  (func (export "canister_global_timer") (global.set $sum (i64.const 1000)))
  (data (i32.const 0) "DIDL\\00\\01\\78")
  (data (i32.const 200) "nothingadded")
  (data (i32.const 220) "DIDL\\00\\00")
"""
)
DID = """service : {
  add : (nat64) -> (nat64); get : () -> (nat64) query; remember : () -> (); wake_me : () -> ()
}"""


@pytest.fixture
def sandbox(module_cache: Path) -> Iterator[Sandbox]:
    with Sandbox(cache=module_cache) as sandbox:
        yield sandbox


def test_methods_of_a_canister_are_python_methods(sandbox: Sandbox) -> None:
    adder = sandbox.create_canister(ADDER, did=DID)
    assert adder.add(2) == 2
    assert adder.add(40, sender=BOB) == 42
    assert adder.get() == adder.query("get") == adder.call("get") == 42
    assert adder.remember() is None


def test_an_unknown_method_and_a_wrong_argument_are_named(sandbox: Sandbox) -> None:
    adder = sandbox.create_canister(ADDER, did=DID)
    with pytest.raises(AttributeError, match="no method 'subtract'"):
        adder.subtract(1)
    with pytest.raises(candid.CandidError, match="nat64"):
        adder.add("two")
    with pytest.raises(AttributeError, match="no interface in its metadata"):
        sandbox.create_canister(ADDER).get()


def test_rejections_are_exceptions_with_their_codes(sandbox: Sandbox) -> None:
    adder = sandbox.create_canister(ADDER, did=DID)
    with pytest.raises(CallRejected, match="nothing") as caught:
        adder.add(0)
    assert caught.value.reject.code == 4
    with pytest.raises(CallRejected, match="IC0514"):
        adder.install(ADDER)


def test_the_interface_in_the_metadata_of_a_motoko_canister_is_used(sandbox: Sandbox) -> None:
    game = sandbox.create_canister((FILES / "game_state_canister.wasm").read_bytes())
    assert game.health() == {"Ok": {"status_code": 200}}
    assert game.amiController() == {"Ok": {"auth": "You are a controller of this canister."}}
    with pytest.raises(CallRejected):
        game.upgrade(ADDER)
    game.upgrade((FILES / "game_state_canister.wasm").read_bytes())
    assert game.health() == {"Ok": {"status_code": 200}}


def test_cycles_controllers_and_logs(sandbox: Sandbox) -> None:
    adder = sandbox.create_canister(ADDER, did=DID, cycles=10**13)
    assert 0 < adder.cycles <= 10**13
    before = adder.cycles
    assert adder.add_cycles(10**12) > before + 9 * 10**11
    assert adder.controllers == [DEFAULT_USER]
    adder.add(1)
    assert adder.logs() == [b"added"]
    adder.set_controllers([BOB])
    with pytest.raises(CallRejected, match="IC0512"):
        adder.status()
    assert adder.status(sender=BOB)["status"] == {"running": None}


def test_stable_memory_is_read_and_replaced(sandbox: Sandbox) -> None:
    adder = sandbox.create_canister(ADDER, did=DID)
    assert adder.stable_memory == b""
    adder.remember()
    assert adder.stable_memory == b"\0\0\0added".ljust(65536, b"\0")
    adder.stable_memory = b"x" * 70_000
    assert len(adder.stable_memory) == 2 * 65536
    assert adder.stable_memory[:70_000] == b"x" * 70_000
    adder.remember()
    assert adder.stable_memory[:10] == b"xxxaddedxx"
    assert len(adder.stable_memory) == 3 * 65536


def test_time_stands_still_and_moves_by_hand(sandbox: Sandbox) -> None:
    adder = sandbox.create_canister(ADDER, did=DID)
    sandbox.pause()
    now = sandbox.time()
    adder.wake_me()
    sandbox.tick()
    assert sandbox.time() == now
    assert adder.get() == 0
    sandbox.advance_time(59.9)
    sandbox.tick()
    assert adder.get() == 0
    sandbox.advance_time(0.1)
    sandbox.tick()
    assert adder.get() == 1000
    assert sandbox.time() == now + 60 * 10**9
    with pytest.raises(ValueError, match="never goes backwards"):
        sandbox.set_time(now)
    sandbox.resume()
    assert sandbox.time() > now + 60 * 10**9


def test_lifecycle(sandbox: Sandbox) -> None:
    adder = sandbox.create_canister(ADDER, did=DID)
    adder.add(5)
    adder.reinstall(ADDER)
    assert adder.get() == 0
    adder.stop()
    with pytest.raises(CallRejected, match="stopped"):
        adder.add(1)
    adder.start()
    assert adder.add(1) == 1
    same = sandbox.canister(principal.to_text(adder.id), DID)
    assert same.get() == 1
    adder.stop()
    adder.delete()
    with pytest.raises(ValueError, match="there is no canister"):
        print(adder.cycles)


def test_a_sandbox_leaves_nothing_behind(module_cache: Path) -> None:
    with Sandbox(cache=module_cache) as sandbox:
        folder = sandbox.folder
        sandbox.create_canister(ADDER, did=DID)
        assert folder.exists()
    assert not folder.exists()
    assert not folder.parent.exists()


def test_a_sandbox_in_a_folder_of_the_users_own_keeps_its_state(tmp_path: Path, module_cache: Path) -> None:
    with Sandbox(tmp_path / "mine", module_cache) as sandbox:
        canister_id = sandbox.create_canister(ADDER, did=DID).id
        sandbox.canister(canister_id, DID).add(7)
        sandbox.restart()
        assert sandbox.canister(canister_id, DID).get() == 7
    with Sandbox(tmp_path / "mine", module_cache) as sandbox:
        assert sandbox.canister(canister_id, DID).get() == 7
