"""Kills the embedded network at random moments under load and looks for anything acknowledged that is lost.

    python bench/durability.py [--rounds 200] [--seed 1]

Two canisters: `step` of the first adds one to a number in its heap and writes it to its stable memory, then tells the
second one, which adds one too. Several clients call `step` all the time. After every kill -9 and restart, heap and
stable memory of the first must agree (a message is never half done), the number must be at least what was acknowledged
and at most what was sent, and once the network is idle the second canister must have been told exactly as often.

Meanwhile snapshots of the first canister are taken and loaded onto a third, which then changes its own memories by
`leap`. After every restart they agree too (a load is never half done), and come from no earlier a snapshot than the
last one whose load was acknowledged; what the third canister changes is never seen in the first.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import tempfile
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from wasmtime import wat2wasm

from mainer_nb import management
from mainer_nb.agent import Agent, to_principal
from mainer_nb.errors import MainerError
from mainer_nb.identity import Identity
from mainer_nb.localnet import management as localnet_management
from mainer_nb.localnet import server
from mainer_nb.protocol import candid

RESULT = Path(__file__).parent / "results" / "durability.json"
CLIENTS = 6
CYCLES = 10**15

FIRST = """(module
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (import "ic0" "call_new" (func $call_new (param i32 i32 i32 i32 i32 i32 i32 i32)))
  (import "ic0" "call_perform" (func $perform (result i32)))
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
  (import "ic0" "stable64_read" (func $read (param i64 i64 i64)))
  (table funcref (elem $done))
  (memory 64)
  (func $done (param i32))
  (func (export "canister_init")
    (drop (call $grow (i64.const 64)))
    (call $arg_copy (i32.const 100) (i32.const 0) (call $arg_size)) (i32.store (i32.const 96) (call $arg_size)))
  (func (export "canister_update step")
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1)))
    (i64.store (i32.const 4000000) (i64.load (i32.const 0)))
    (call $write (i64.const 3000000) (i64.const 0) (i64.const 8))
    (call $call_new (i32.const 100) (i32.load (i32.const 96)) (i32.const 200) (i32.const 4)
      (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
    (if (call $perform) (then (call $trap (i32.const 204) (i32.const 12))))
    (call $append (i32.const 0) (i32.const 8)) (call $reply))
  (func (export "canister_update leap")
    (i64.store (i32.const 0) (i64.or (i64.load (i32.const 0)) (i64.const 0x100000000)))
    (i64.store (i32.const 4000000) (i64.load (i32.const 0)))
    (call $write (i64.const 3000000) (i64.const 0) (i64.const 8))
    (call $reply))
  (func (export "canister_query numbers")
    (call $read (i64.const 8) (i64.const 3000000) (i64.const 8))
    (i64.store (i32.const 16) (i64.load (i32.const 4000000)))
    (call $append (i32.const 0) (i32.const 24)) (call $reply))
  (data (i32.const 200) "tellcannot call!"))"""

SECOND = """(module
  (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory 1)
  (func (export "canister_update tell")
    (i64.store (i32.const 0) (i64.add (i64.load (i32.const 0)) (i64.const 1))) (call $reply))
  (func (export "canister_query number") (call $append (i32.const 0) (i32.const 8)) (call $reply)))"""


@dataclass
class Tally:
    """What the clients have sent and what they know to be done."""

    sent: int = 0
    acknowledged: int = 0


@dataclass(frozen=True)
class Result:
    """What came of it."""

    rounds: int
    seed: int
    sent: int
    acknowledged: int
    counted: int
    lost: int
    loads: int
    seconds: float


class Load:
    """Clients that call `step` until they are told to stop."""

    def __init__(self, agent: Agent, canister_id: str) -> None:
        self.tally = Tally()
        self._agent, self._canister_id = agent, canister_id
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(CLIENTS)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            with self._lock:
                self.tally.sent += 1
            try:
                self._agent.update_bytes(self._canister_id, "step", b"")
            except MainerError:
                continue  # the network is down: whether this call was executed is not known
            with self._lock:
                self.tally.acknowledged += 1

    def stop(self) -> Tally:
        """Ends the clients."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        return self.tally


#: What `leap` sets in the number of the third canister.
LEAP = 1 << 32


class Loads:
    """Takes snapshots of one canister and loads them onto another, until it is told to stop.

    Attributes:
        done: loads that were acknowledged.
        least: what the number of the other canister was at least when the last of them was.
    """

    def __init__(self, agent: Agent, source: str, target: str, tally: Tally, before: int) -> None:
        self.done = 0
        self.least = 0
        self._agent, self._source, self._target = agent, to_principal(source), to_principal(target)
        self._tally, self._before = tally, before
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                self._load_one()
            except MainerError:
                continue  # the network is down: whether this was done is not known

    def _load_one(self) -> None:
        least = self._before + self._tally.acknowledged
        known = self._manage("list_canister_snapshots", self._source)
        replaced = known[0]["id"] if known else None
        taken = self._manage("take_canister_snapshot", self._source, replace_snapshot=replaced)
        self._manage("load_canister_snapshot", self._target, snapshot_id=taken["id"])
        self.least, self.done = least, self.done + 1
        self._agent.update_bytes(self._target, "leap", b"")

    def _manage(self, method: str, canister_id: bytes, **fields: Any) -> Any:
        described = localnet_management.INTERFACE.methods[method]
        arg = candid.encode(described.args, [{"canister_id": canister_id, **fields}])
        data = self._agent.update_bytes(management.MANAGEMENT, method, arg, effective_canister_id=canister_id)
        results = candid.decode(described.results, data)
        return results[0] if results else None

    def stop(self) -> None:
        """Ends it."""
        self._stopped.set()
        self._thread.join()


def check_copy(agent: Agent, copy: str, low: int, high: int) -> None:
    """Raises AssertionError when a load was half done, or undone."""
    heap, stable, far = numbers(agent, copy, "numbers")
    assert heap == stable == far, f"a load was half done: heap {heap} and {far}, stable memory {stable}"
    assert low <= heap % LEAP <= high, f"a snapshot with at least {low} was loaded, {high} were sent, but it has {heap}"


def install(agent: Agent) -> tuple[str, str, str]:
    """The ids of the two canisters and of the third."""
    second = management.create_canister(agent, CYCLES)
    management.install_code(agent, second, bytes(wat2wasm(SECOND)), "install")
    first = management.create_canister(agent, CYCLES)
    address = to_principal(second)
    management.install_code(agent, first, bytes(wat2wasm(FIRST)), "install", address)
    copy = management.create_canister(agent, CYCLES)
    management.install_code(agent, copy, bytes(wat2wasm(FIRST)), "install", address)
    return first, second, copy


def numbers(agent: Agent, canister_id: str, method: str) -> list[int]:
    """The 64-bit numbers a query method replies with."""
    data = agent.query_bytes(canister_id, method, b"")
    return [int.from_bytes(data[at : at + 8], "little") for at in range(0, len(data), 8)]


def check(agent: Agent, first: str, second: str, low: int, high: int) -> int:
    """The number of the first canister; raises AssertionError when something was lost or done twice.

    Calls that were accepted before the kill may still be executed meanwhile.
    """
    deadline = time.monotonic() + 60
    while True:
        told = numbers(agent, second, "number")[0]
        heap, stable, far = numbers(agent, first, "numbers")
        assert heap == stable == far, f"a message was half done: heap {heap} and {far}, stable memory {stable}"
        assert low <= heap <= high, f"{low} calls were acknowledged and {high} sent, but {heap} counted"
        assert told <= heap, f"the second canister was told {told} times, of {heap} things"
        if told == heap:
            return heap
        assert time.monotonic() < deadline, f"the second canister was told {told} times instead of {heap}"
        time.sleep(0.01)


def kill(pid: int, folder: Path) -> None:
    """kill -9, and until the process is gone."""
    os.kill(pid, signal.SIGKILL)
    while server.status(folder) is not None:
        time.sleep(0.005)


def run(folder: Path, rounds: int, seed: int) -> Result:
    """Kills the network in `folder` `rounds` times."""
    moments = random.Random(seed)
    info = server.start(folder)
    identity = Identity(Ed25519PrivateKey.generate())
    agent = Agent(identity, info.url, bytes.fromhex(info.root_key))
    first, second, copy = install(agent)
    sent = acknowledged = counted = done = least = 0
    began = time.monotonic()
    for number in range(1, rounds + 1):
        load = Load(agent, first)
        loads = Loads(agent, first, copy, load.tally, acknowledged)
        time.sleep(moments.uniform(0.02, 0.4))
        kill(info.pid, folder)
        tally = load.stop()
        loads.stop()
        done, least = done + loads.done, max(least, loads.least)
        sent, acknowledged = sent + tally.sent, acknowledged + tally.acknowledged
        info = server.start(folder)
        agent = Agent(identity, info.url, bytes.fromhex(info.root_key))
        counted = check(agent, first, second, acknowledged, sent)
        check_copy(agent, copy, least, counted)
        if number % 10 == 0 or number == rounds:
            print(
                f"{number} of {rounds} kills: {counted} counted, {acknowledged} acknowledged, {sent} sent,"
                f" {done} snapshots loaded",
                flush=True,
            )
    seconds = round(time.monotonic() - began, 1)
    return Result(rounds, seed, sent, acknowledged, counted, max(0, acknowledged - counted), done, seconds)


def main() -> int:
    """Runs it and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        state = Path(folder) / "state"
        try:
            result = run(state, options.rounds, options.seed)
        finally:
            server.stop(state)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(asdict(result), indent=2) + "\n", encoding="utf-8")
    print(json.dumps(asdict(result)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
