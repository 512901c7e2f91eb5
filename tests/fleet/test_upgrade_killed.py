"""Fifty mAIners are upgraded in one go while this process and the network are killed: each is upgraded exactly once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from mainer_nb import artifacts, fleet, management, network, places, stopping, upload
from mainer_nb.canister import Canister
from mainer_nb.fleet import Fleet, upgrade, work
from mainer_nb.localnet import server
from mainer_nb.management import TRILLION
from mainer_nb.network import Network
from tests import code_variants
from tests.forwarder import Forwarder

MAINERS = int(os.environ.get("MAINER_NB_TEST_MAINERS", "50"))
KILLS = int(os.environ.get("MAINER_NB_TEST_KILLS", "5"))
SEED = os.environ.get("MAINER_NB_TEST_SEED", "upgrade")
STEPS = 12  # about so many records has a canister in the journal
PATIENCE = 120.0  # seconds until a journal is expected to grow
INTERVAL = 86_400  # seconds between two runs of the timers: none fires while this is tested

UPGRADE = """
import json, sys
from pathlib import Path
from mainer_nb import fleet, network
from mainer_nb.fleet import upgrade
net = network.connect()
whole = fleet.of_ids(net, json.loads(Path(sys.argv[1]).read_text()))
upgrade.run(net, upgrade.plan(net, whole, {"Own": Path(sys.argv[2])}), carry_out=True)
"""
HISTORY = """
service : {
  canister_info : (record { canister_id : principal; num_requested_changes : opt nat64 }) -> (record {
    recent_changes : vec record { details : opt variant {
      code_deployment : record { mode : variant { install; reinstall; upgrade }; module_hash : blob };
      load_snapshot : record { snapshot_id : blob };
    } };
  });
}
"""


@pytest.fixture
def net(new_network: Callable[[], Network], monkeypatch: pytest.MonkeyPatch) -> Network:
    """A network of its own, which is also where journals are kept."""
    made = new_network()
    info = server.status(Path(_folder(made)))
    assert info is not None
    monkeypatch.setenv("MAINER_NB_STATE", info.folder)
    return made


def _folder(net: Network) -> str:
    """The state folder of an embedded network that runs."""
    return str(net.ids.files[0].path.parent)


@pytest.fixture
def whole(net: Network) -> Fleet:
    """Fifty mAIners, every third of which works by itself."""
    wasm = artifacts.canister_wasm(upload.CONTROLLER).data()

    def make(number: int) -> str:
        canister_id = management.create_canister(net.agent, 10 * TRILLION)
        management.install_code(net.agent, canister_id, wasm, "install")
        mainer = net.canister_at(canister_id, upload.CONTROLLER)
        mainer.setMainerCanisterType("Own")
        mainer.setTimerIntervalAdmin(INTERVAL)
        if number % 3 == 0:
            mainer.startTimerExecutionAdmin()
        return canister_id

    return fleet.of_ids(net, stopping.every(make, range(MAINERS), 8))


def test_each_of_fifty_is_upgraded_once_whatever_is_killed(net: Network, whole: Fleet, tmp_path: Path) -> None:
    code, ids = tmp_path / "new.wasm", tmp_path / "ids.json"
    code.write_bytes(code_variants.marked(artifacts.canister_wasm(upload.CONTROLLER).data(), "new"))
    ids.write_text(json.dumps(whole.canister_ids))
    moments = random.Random(SEED)
    kills = sorted(moments.sample(range(MAINERS * STEPS * 9 // 10), KILLS))
    for number, lines in enumerate(kills):
        with _upgrading(ids, code) as process:
            _wait_for(lines, process)
            time.sleep(moments.random() / 10)
            if number % 2:
                _kill_network()
                process.wait()
            else:
                process.kill()
    net = network.connect()
    report = upgrade.run(net, upgrade.plan(net, whole, {"Own": code}), carry_out=True)
    assert {row.outcome for row in report.rows} <= {"upgraded"}, report
    assert upgrade.interrupted(net) == ()
    assert upgrade.plan(net, whole, {"Own": code}).due == ()
    forwarder = Forwarder(net.agent, 10 * TRILLION)
    for canister_id in whole.canister_ids:
        assert _changes(net, forwarder, canister_id) == ["install", "upgrade"]
    for number, member in enumerate(whole.members):
        found = work.of(net, member)
        assert found is not None
        assert (found.timers, found.maintenance) == (number % 3 == 0, False)
        assert management.status(net.agent, member.canister_id).status == "running"


def _upgrading(ids: Path, code: Path) -> subprocess.Popen[bytes]:
    """Another process that upgrades, or goes on with it."""
    return subprocess.Popen(
        [sys.executable, "-c", UPGRADE, str(ids), str(code)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )


def _wait_for(lines: int, process: subprocess.Popen[bytes]) -> None:
    """Until so much is recorded, or the process is done."""
    folder = places.state() / "fleet" / "local" / "upgrade"
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None:
        journals = list(folder.glob("*.jsonl"))
        if sum(path.read_bytes().count(b"\n") for path in journals) >= lines:
            return
        assert time.monotonic() < deadline, f"no {lines} records in {PATIENCE} s"
        time.sleep(0.01)


def _kill_network() -> None:
    info = server.status(places.state())
    assert info is not None
    network_process = psutil.Process(info.pid)
    network_process.kill()
    network_process.wait()


def _changes(net: Network, forwarder: Forwarder, canister_id: str) -> list[str]:
    """What was done to a canister's code, in order."""
    ic = Canister(net.agent, management.MANAGEMENT, HISTORY, "management canister")
    told, _ = forwarder.call(ic, "canister_info", {"canister_id": canister_id, "num_requested_changes": 20})
    found = []
    for change in told["recent_changes"]:
        for kind, details in (change["details"] or {}).items():
            found.append(next(iter(details["mode"])) if kind == "code_deployment" else kind)
    return found
