"""The launcher that icp-cli starts networks with, by its command line and status file alone."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from mainer_nb import management
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.identity import Identity
from mainer_nb.localnet import system_canisters
from mainer_nb.protocol import candid, principal
from tests.localnet.driver import module

PAGE = candid.encode(
    [candid.record({"status_code": candid.NAT16, "headers": candid.Vec(candid.TEXT), "body": candid.BLOB})],
    [{"status_code": 200, "headers": [], "body": b"a page"}],
)
LEDGER = "service : { icrc1_balance_of : (record { owner : principal }) -> (nat) query }"
ANONYMOUS = principal.to_text(principal.ANONYMOUS)
Launch = Callable[..., "Launched"]


class Launched:
    """A launcher that runs, and what its status file says."""

    def __init__(self, process: subprocess.Popen[str], status_dir: Path) -> None:
        self.process, self.status_dir = process, status_dir
        self.status = self._status()
        self.url = f"http://127.0.0.1:{self.status['gateway_port']}"

    def _status(self) -> dict[str, Any]:
        path, deadline = self.status_dir / "status.json", time.monotonic() + 100
        while not path.exists():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        text = path.read_text()
        assert text.endswith("\n")
        status: dict[str, Any] = json.loads(text)
        return status

    def interrupt(self) -> int:
        """Its exit code after SIGINT."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    def agent(self) -> Agent:
        """A client of the network, as the anonymous identity."""
        return Agent(Identity(None), self.url, bytes.fromhex(self.status["root_key"]))


def _command(*options: object) -> list[str]:
    return [sys.executable, "-m", "mainer_nb.localnet.launcher", *map(str, options)]


@pytest.fixture
def launch(tmp_path: Path) -> Iterator[Launch]:
    running: list[Launched] = []

    def start(*options: object) -> Launched:
        status_dir = tmp_path / f"status-{len(running)}"
        command = _command("--interface-version", "1.1.0", "--status-dir", status_dir, *options)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        running.append(Launched(process, status_dir))
        return running[-1]

    yield start
    for network in running:
        if network.process.poll() is None:
            network.interrupt()
        assert network.process.stdout is not None
        assert network.process.stderr is not None
        network.process.stdout.close()
        network.process.stderr.close()


def _refused(*options: object, **environment: str) -> str:
    done = subprocess.run(
        _command(*options), capture_output=True, text=True, timeout=60, env={**os.environ, **environment}
    )
    assert done.returncode != 0
    return done.stderr


def test_the_status_file_says_what_the_network_is(launch: Launch) -> None:
    network = launch()
    assert network.status["v"] == "1"
    assert bytes.fromhex(network.status["root_key"]) == network.agent().client.get_status()["root_key"]
    assert principal.is_canister_id(principal.from_text(network.status["default_effective_canister_id"]))
    assert "custom-domains" in network.status["supported_features"]


def test_the_anonymous_identity_is_rich(launch: Launch) -> None:
    agent = launch().agent()
    for ledger, least in ((system_canisters.CYCLES_LEDGER, 10**18), (system_canisters.ICP_LEDGER, 10**15)):
        canister = Canister(agent, principal.to_text(ledger), LEDGER)
        assert canister.icrc1_balance_of({"owner": ANONYMOUS}) >= least


def test_an_interrupt_stops_it_and_its_state_is_kept(launch: Launch, tmp_path: Path) -> None:
    first = launch("--state-dir", tmp_path / "state")
    assert first.interrupt() == 0
    again = launch("--state-dir", tmp_path / "state")
    assert again.status["root_key"] == first.status["root_key"]


def test_the_port_can_be_chosen(launch: Launch) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert launch("--gateway-port", port).status["gateway_port"] == port
    assert f"port {port} on 127.0.0.1 cannot be used" in _refused("--gateway-port", port)


def test_canisters_are_found_at_domains_and_names(launch: Launch) -> None:
    network = launch("--domain=localhost", "--domain=example.com")
    data = "".join(f"\\{byte:02x}" for byte in PAGE)
    site = module(
        f"""(func (export "canister_query http_request")
              (call $append (i32.const 2000) (i32.const {len(PAGE)})) (call $reply))
            (data (i32.const 2000) "{data}")"""
    )
    agent = network.agent()
    canister = management.create_canister(agent, 10**13)
    management.install_code(agent, canister, site, mode="install")

    def status(host: str) -> int:
        return httpx.get(network.url, headers={"Host": host}).status_code

    assert status(f"{canister}.localhost:80") == status(f"{canister}.example.com") == 200
    assert status(f"{canister}.example.org") == status("pages.local.localhost") == 404
    names = network.status_dir / "custom-domains.txt"
    names.write_text(f"other.local.localhost:aaaaa-aa\npages.local.localhost:{canister}\n")
    assert status("pages.local.localhost:4943") == 200


def test_calls_can_be_delayed(launch: Launch) -> None:
    agent = launch("--artificial-delay-ms=400").agent()
    before = time.monotonic()
    management.create_canister(agent, 10**13)
    assert time.monotonic() - before >= 0.4


@pytest.mark.parametrize("option", ["--ii", "--nns", "--bitcoind-addr=127.0.0.1:18444", "--dogecoind-addr=127.0.0.1:1"])
def test_what_the_network_does_not_have_is_refused(option: str) -> None:
    refusal = _refused(option)
    assert "this network does not have" in refusal
    assert option.split("=")[0] in refusal


def test_an_unknown_option_is_an_error_unless_a_newer_interface_is_asked_for(launch: Launch) -> None:
    assert "unrecognized arguments: --new-thing" in _refused("--new-thing")
    variable = {"ICP_CLI_NETWORK_LAUNCHER_INTERFACE_VERSION": "1.0.0"}
    assert "unrecognized arguments: --new-thing" in _refused("--new-thing", **variable)
    assert "expected a version" in _refused("--new-thing", "--interface-version", "new")
    assert launch("--interface-version=1.2.0", "--new-thing").status["v"] == "1"


def test_subnets_and_pocketic_are_ignored(launch: Launch) -> None:
    network = launch("--subnet=application", "--subnet=system", "--config-port=1", "--verbose")
    assert network.interrupt() == 0
    said = network.process.communicate()[1]
    assert "--subnet is ignored" in said
    assert "ignored: --config-port" in said


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "network.sqlite").write_bytes(b"not a database, but longer than its header would be" * 40)
    assert "mainer-network-launcher: " in _refused("--state-dir", tmp_path)
