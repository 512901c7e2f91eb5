"""A canister's life as real clients lead it: create, install, call, query, upgrade, settings, delete.

The clients from npm are installed by `make clients` beside this file; without them their tests are skipped.
"""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from ic.agent import Agent
from ic.client import Client
from ic.identity import Identity
from icp_agent import Agent as IcpAgent
from icp_agent import Client as IcpClient
from icp_identity import Identity as IcpIdentity

from mainer_nb.localnet import management
from mainer_nb.localnet.network import EmbeddedNetwork
from mainer_nb.protocol import candid, principal
from tests import needed
from tests.localnet.serving import serving
from tests.probe_canister import PROBE_DID, PROBE_WAT

HERE = Path(__file__).parent
MANAGEMENT = "aaaaa-aa"


class Served:
    """A network and where it is served."""

    def __init__(self, network: EmbeddedNetwork, url: str) -> None:
        self.network, self.url = network, url


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, module_cache: Path) -> Iterator[Served]:
    with (
        EmbeddedNetwork(tmp_path_factory.mktemp("clients") / "network", module_cache) as network,
        serving(network) as port,
    ):
        yield Served(network, f"http://127.0.0.1:{port}")


@pytest.fixture(scope="module")
def module_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The canister that the clients work with, as a file."""
    path = tmp_path_factory.mktemp("module") / "probe.wasm"
    path.write_bytes(bytes(wasmtime.wat2wasm(PROBE_WAT)))
    return path


# Python clients: their own envelopes, polling and verification; arguments encoded here.

#: (update or query, canister, method, encoded argument, effective canister) -> encoded reply
Send = Callable[[str, str, str, bytes, str], Any]


def _ic_py(url: str) -> tuple[Send, bytes]:
    identity = Identity(privkey="44" * 32)
    agent = Agent(identity, Client(url))

    def send(kind: str, canister: str, method: str, arg: bytes, effective: str) -> Any:
        call = agent.update_raw if kind == "update" else agent.query_raw
        return call(canister, method, arg, effective_canister_id=effective)

    return send, identity.sender().bytes


def _icp_py_core(url: str) -> tuple[Send, bytes]:
    identity = IcpIdentity(privkey="55" * 32)
    agent = IcpAgent(identity, IcpClient(url))

    def send(kind: str, canister: str, method: str, arg: bytes, effective: str) -> Any:
        if kind == "update":
            return agent.update(canister, method, arg, effective_canister_id=effective, verify_certificate=False)
        return agent.query(canister, method, arg, effective_canister_id=effective)

    return send, identity.sender().bytes


@pytest.mark.parametrize("client", [_ic_py, _icp_py_core], ids=["ic-py", "icp-py-core"])
def test_python_clients(served: Served, module_file: Path, client: Callable[[str], tuple[Send, bytes]]) -> None:
    send, user = client(served.url)

    def manage(method: str, arg: dict[str, Any], effective: str, kind: str = "update") -> Any:
        encoded = candid.encode(management.INTERFACE.methods[method].args, [arg])
        return send(kind, MANAGEMENT, method, encoded, effective)

    created = manage("provisional_create_canister_with_cycles", {"amount": 10**13}, MANAGEMENT)
    ((_, canister_id),) = created[0]["value"].items()
    canister = str(canister_id)
    own = {"canister_id": principal.from_text(canister)}
    code = {**own, "wasm_module": module_file.read_bytes(), "arg": b""}
    empty = candid.encode((), ())
    manage("install_code", {**code, "mode": {"install": None}}, canister)
    # ic-py sends no nonce: equal calls within a second are one call, so these have different arguments.
    different = [candid.encode([candid.NAT], [i]) for i in range(2)]
    counted = [send("update", canister, "increment", arg, canister)[0]["value"] for arg in different]
    assert counted == [1, 2]
    assert send("query", canister, "value", empty, canister)[0]["value"] == 2
    with pytest.raises(Exception, match="no such luck"):
        send("update", canister, "refuse_update", empty, canister)
    manage("install_code", {**code, "mode": {"upgrade": None}}, canister)
    assert send("query", canister, "value", empty, canister)[0]["value"] == 0
    manage("update_settings", {**own, "settings": {"freezing_threshold": 1_234_567}}, canister)
    state = served.network.subnet.canisters[own["canister_id"]].state
    assert state.settings.freezing_threshold == 1_234_567
    assert state.settings.controllers == [user]
    for method in ("canister_status", "canister_metrics", "canister_info", "fetch_canister_logs"):
        assert manage(method, own, canister, "query")
    manage("stop_canister", own, canister)
    manage("delete_canister", own, canister)
    assert own["canister_id"] not in served.network.subnet.canisters


# Clients from npm.


@needed.JAVASCRIPT_AGENT
def test_the_javascript_agent(served: Served, module_file: Path) -> None:
    assert needed.NODE is not None
    command = [needed.NODE, str(HERE / "agent.mjs"), served.url, str(module_file)]
    environment = {**os.environ, "NODE_PATH": str(needed.CLIENTS)}
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["counted"] == [1, 2, 2]
    assert "no such luck" in found["refused"]
    assert "IC0503" in found["trapped"]
    assert found["upgraded"] == 0
    assert found["threshold"] == 1_234_567
    assert found["controllers"] == [found["user"]]
    assert len(found["hash"]) == 64
    assert found["nodes"] == 1
    assert "is stopped" in found["stopped"]
    assert "not found" in found["deleted"]


class Icp:
    """The icp command with an identity of its own, which works in `folder`."""

    def __init__(self, served: Served, folder: Path) -> None:
        self._folder, self._interface = folder, folder / "management.did"
        self._interface.write_text(
            "service : { provisional_create_canister_with_cycles :"
            " (record { amount : opt nat }) -> (record { canister_id : principal }) }"
        )
        self.environment = {**os.environ, "ICP_HOME": str(folder / "icp"), "HOME": str(folder), "DO_NOT_TRACK": "1"}
        self._where: tuple[str, ...] = ()
        self("identity", "new", "tester", "--storage", "plaintext")
        self._where = ("--network", served.url, "--root-key", served.network.root_key.hex(), "--identity", "tester")

    def command(self, *args: str) -> list[str]:
        """The words of the command with these arguments."""
        return [str(needed.ICP), *args, *self._where]

    def __call__(self, *args: str) -> str:
        """Runs the command, which must succeed; what it prints."""
        command, here = self.command(*args), {"env": self.environment, "cwd": self._folder}
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, **here)  # type: ignore[call-overload]
        assert done.returncode == 0, done.stdout + done.stderr
        printed: str = done.stdout
        return printed

    def create(self, wasm: Path) -> str:
        """The id of a new canister with this module."""
        made = self(
            *("canister", "call", MANAGEMENT, "provisional_create_canister_with_cycles"),
            *("(record { amount = opt (10_000_000_000_000 : nat) })", "--candid", str(self._interface)),
        )
        match = re.search(r'principal "([a-z0-9-]+)"', made)
        assert match is not None, made
        self("canister", "install", match[1], "--wasm", str(wasm), "--mode", "install")
        return match[1]


@pytest.fixture
def icp(served: Served, tmp_path: Path) -> Icp:
    if platform.system() != "Linux" or platform.machine() != "x86_64":
        pytest.skip("the icp command is tested on Linux, x86-64")
    return Icp(served, tmp_path)


@needed.ICP_COMMAND
def test_the_icp_command(served: Served, icp: Icp, module_file: Path, tmp_path: Path) -> None:
    own_interface = tmp_path / "probe.did"
    own_interface.write_text(PROBE_DID)
    canister = icp.create(module_file)
    typed = ("--candid", str(own_interface))
    assert "(1 : nat64)" in icp("canister", "call", canister, "increment", "()", *typed)
    assert "(1 : nat64)" in icp("canister", "call", canister, "value", "()", *typed, "--query")
    icp("canister", "install", canister, "--wasm", str(module_file), "--mode", "upgrade", "--yes")
    assert "(0 : nat64)" in icp("canister", "call", canister, "value", "()", *typed, "--query")
    icp("canister", "settings", "update", canister, "--freezing-threshold", "1234567s")
    assert "1_234_567" in icp("canister", "settings", "show", canister)
    assert "Status: Running" in icp("canister", "status", canister)
    icp("canister", "stop", canister)
    taken = icp("canister", "snapshot", "create", canister, "--quiet").split()[-1]
    other = icp.create(module_file)
    assert "(1 : nat64)" in icp("canister", "call", other, "increment", "()", *typed)
    icp("canister", "stop", other)
    icp("canister", "snapshot", "restore", other, taken)
    icp("canister", "start", other)
    assert "(0 : nat64)" in icp("canister", "call", other, "value", "()", *typed, "--query")
    icp("canister", "delete", canister, "--no-recover-cycles")
    assert principal.from_text(canister) not in served.network.subnet.canisters


#: Prints what it is called with.
PRINTER = """(module
  (import "ic0" "msg_arg_data_size" (func $arg_size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $arg_copy (param i32 i32 i32)))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (memory 1)
  (func (export "canister_update say")
    (call $arg_copy (i32.const 0) (i32.const 0) (call $arg_size))
    (call $print (i32.const 0) (call $arg_size)) (call $reply)))"""


@needed.ICP_COMMAND
def test_the_logs_of_the_icp_command(served: Served, icp: Icp, tmp_path: Path) -> None:
    wasm = tmp_path / "printer.wasm"
    wasm.write_bytes(bytes(wasmtime.wat2wasm(PRINTER)))
    canister = icp.create(wasm)

    def say(*lines: str) -> None:
        for line in lines:
            icp("canister", "call", canister, "say", "--args-format", "hex", line.encode().hex())

    say("first", "second", "third")
    assert _lines(icp("canister", "logs", canister)) == ["first", "second", "third"]
    assert _lines(icp("canister", "logs", canister, "--since-index", "1")) == ["second", "third"]
    assert _lines(icp("canister", "logs", canister, "--until-index", "1")) == ["first"]
    command = icp.command("canister", "logs", canister, "--follow", "--interval", "1")
    following = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=icp.environment, cwd=tmp_path)
    end = threading.Timer(60, following.kill)  # so that a line that never comes ends the test
    end.start()
    try:
        assert following.stdout is not None
        seen = [following.stdout.readline() for _ in range(3)]
        say("fourth")
        seen.append(following.stdout.readline())
        say("fifth")
        seen.append(following.stdout.readline())
    finally:
        end.cancel()
        following.terminate()
    assert _lines("".join(seen) + following.communicate(timeout=30)[0]) == [
        *("first", "second", "third", "fourth", "fifth")
    ]


def _lines(printed: str) -> list[str]:
    """The last words of printed lines: what was logged."""
    return [line.split()[-1] for line in printed.splitlines()]
