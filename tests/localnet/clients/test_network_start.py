"""`icp network start` with the launcher of the embedded network, and what people do then; shared with the workbench.

The icp command is installed by `make clients`; without it these are skipped.
"""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import wasmtime
import yaml

from mainer_nb import deploy, identity, management, network
from mainer_nb.canister import Canister
from mainer_nb.errors import IdentityError
from tests import needed
from tests.probe_canister import PROBE_DID, PROBE_WAT

MANIFEST = """
canisters:
  - name: counter
    build:
      steps:
        - type: pre-built
          path: counter.wasm
  - name: other
    build:
      steps:
        - type: pre-built
          path: counter.wasm
networks:
  - name: local
    mode: managed
    gateway: { port: 0 }
environments:
  - name: staging
    network: local
    canisters: [counter]
"""

pytestmark = [
    pytest.mark.skipif(
        platform.system() != "Linux" or platform.machine() != "x86_64",
        reason="the icp command is tested on Linux, x86-64",
    ),
    needed.ICP_COMMAND,
]


class Project:
    """A project with two canisters, and an icp command of its own, which has the identity "alice"."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.home = root / "home"
        self.home.mkdir(parents=True)
        (root / "icp.yaml").write_text(MANIFEST)
        (root / "counter.wasm").write_bytes(bytes(wasmtime.wat2wasm(PROBE_WAT)))
        (root / "counter.did").write_text(PROBE_DID)
        (root / "files").mkdir()
        (root / "files" / "manifest.json").write_text('{"files": []}')
        launcher = root / "launcher"
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mainer_nb.localnet.launcher "$@"\n')
        launcher.chmod(0o755)
        caches = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        self.environment = {
            **os.environ,
            "HOME": str(self.home),
            "XDG_CACHE_HOME": caches,  # compiled modules
            "ICP_HOME": str(self.home / "icp"),
            "ICP_CLI_NETWORK_LAUNCHER_PATH": str(launcher),
            "DO_NOT_TRACK": "1",
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        self.icp("identity", "new", "alice", "--storage", "plaintext")
        self.icp("identity", "default", "alice")

    def icp(self, *args: str, fails: bool = False) -> str:
        """What the command prints, errors included if it `fails`."""
        command = [str(needed.ICP), *args]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=self.environment, cwd=self.root)
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return done.stdout + done.stderr if fails else done.stdout

    def call(self, canister: str, method: str, *options: str) -> str:
        """A method of a counter without arguments."""
        return self.icp("canister", "call", canister, method, "()", "--candid", "counter.did", *options).strip()

    def canister_id(self, name: str, environment: str = "local") -> str:
        """As icp-cli knows it."""
        table = json.loads((self.root / f".icp/cache/mappings/{environment}.ids.json").read_text())
        return str(table[name])


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    project = Project(tmp_path / "project")
    for name, value in (("ICP_HOME", str(project.home / "icp")), ("HOME", str(project.home))):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("MAINER_NB_PROJECT", str(project.root))
    monkeypatch.setenv("MAINER_NB_CONFIG", str(tmp_path / "config"))
    project.icp("network", "start", "--background")
    yield project
    project.icp("network", "stop")


def test_a_project_is_deployed_and_used(project: Project) -> None:
    assert "healthy" in project.icp("network", "ping")
    assert "Root Key:" in project.icp("network", "status")
    deployed = project.icp("deploy")
    assert project.canister_id("counter") in deployed
    assert "Status: Running" in project.icp("canister", "status", "counter")
    assert project.call("counter", "increment") == "(1 : nat64)"
    assert project.call("counter", "value", "--query") == "(1 : nat64)"
    project.icp("deploy", "counter", "--yes")  # an upgrade, which forgets what is not in stable memory
    assert project.call("counter", "value", "--query") == "(0 : nat64)"
    project.icp("canister", "settings", "update", "counter", "--freezing-threshold", "1234567s")
    assert "1_234_567" in project.icp("canister", "settings", "show", "counter")
    project.icp("deploy", "--environment", "staging")
    assert project.canister_id("counter", "staging") != project.canister_id("counter")
    project.icp("network", "stop")
    assert "not running" in project.icp("network", "status", fails=True)
    project.icp("network", "start", "--background")
    assert "healthy" in project.icp("network", "ping")


def test_a_canister_is_created_installed_and_deleted_by_hand(project: Project) -> None:
    before = _cycles(project.icp("cycles", "balance"))
    made = project.icp("canister", "create", "--detached", "--cycles", "3t", "--quiet").strip()
    project.icp("canister", "install", made, "--wasm", "counter.wasm")
    assert project.call(made, "increment", "--network", "local") == "(1 : nat64)"
    project.icp("canister", "top-up", made, "--amount", "1t", "--network", "local")
    project.icp("canister", "stop", made, "--network", "local")
    project.icp("canister", "delete", made, "--network", "local")
    spent = before - _cycles(project.icp("cycles", "balance"))
    assert 5 * 10**11 < spent < 7 * 10**11  # the fee for a creation, and what recovering the rest costs


def test_cycles_and_icp_are_there_to_be_spent(project: Project) -> None:
    project.icp("identity", "new", "bob", "--storage", "plaintext")
    bob = project.icp("identity", "principal", "--identity", "bob").strip()
    assert _cycles(project.icp("cycles", "balance")) == 1000 * 10**12
    assert "1000000.0" in project.icp("token", "balance")
    project.icp("cycles", "transfer", "2t", bob)
    assert _cycles(project.icp("cycles", "balance", "--identity", "bob")) == 2 * 10**12
    project.icp("token", "transfer", "10.5", bob)
    assert "10.5" in project.icp("token", "balance", "--identity", "bob")
    project.icp("cycles", "mint", "--icp", "2", "--identity", "bob")
    assert _cycles(project.icp("cycles", "balance", "--identity", "bob")) > 8 * 10**12
    project.icp("token", "approve", "3", bob)
    assert "3.0" in project.icp("token", "allowance", bob)
    assert "Created" in project.icp("canister", "create", "--detached", "--with-icp", "1", "--network", "local")


def test_canisters_have_pages_at_their_names(project: Project) -> None:
    project.icp("deploy")
    port = json.loads((project.root / ".icp/cache/networks/local/descriptor.json").read_text())["gateway"]["port"]
    asked = httpx.get(f"http://127.0.0.1:{port}/", headers={"Host": f"counter.local.localhost:{port}"})
    assert asked.status_code == 404  # the counter has no pages, but it is the one that was asked
    assert project.canister_id("counter") in asked.text
    assert "http_request" in asked.text


def test_identities_of_icp_are_used_by_the_workbench(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    net = network.connect("icp-cli:local", "alice")
    assert net.caller == project.icp("identity", "principal").strip()
    keyring = project.home / "keyring"
    keyring.mkdir()
    project.environment["ICP_CLI_KEYRING_MOCK_DIR"] = str(keyring)  # for tests without a keyring, by icp-cli's own
    monkeypatch.setenv("ICP_CLI_KEYRING_MOCK_DIR", str(keyring))
    project.icp("identity", "new", "carol", "--storage", "keyring")
    monkeypatch.setenv("PATH", str(project.root))
    with pytest.raises(IdentityError, match="`icp` cannot be run here"):
        network.connect("icp-cli:local", "carol")
    monkeypatch.setenv("PATH", str(needed.ICP.parent))
    expected = project.icp("identity", "principal", "--identity", "carol").strip()
    assert network.connect("icp-cli:local", "carol").caller == expected
    next(keyring.iterdir()).unlink()
    with pytest.raises(IdentityError, match="icp-cli does not give identity 'carol'"):
        network.connect("icp-cli:local", "carol")


def test_the_identity_of_the_workbench_is_used_by_icp(project: Project) -> None:
    net = network.connect("icp-cli:local")
    (own,) = [entry for entry in identity.known() if entry.tool == "mainer-nb"]
    project.icp("identity", "import", "workbench", "--from-pem", str(own.path), "--storage", "plaintext")
    assert project.icp("identity", "principal", "--identity", "workbench").strip() == net.caller
    made = management.create_canister(net.agent, 10**13)
    project.icp("canister", "install", made, "--wasm", "counter.wasm", "--identity", "workbench", "--network", "local")
    assert Canister(net.agent, made, PROBE_DID).increment() == 1


def test_canisters_that_icp_deploys_are_known_to_the_workbench(project: Project) -> None:
    project.icp("deploy")
    project.icp("deploy", "--environment", "staging")
    local, staging = network.connect("icp-cli:local", "alice"), network.connect("staging", "alice")
    assert local.canister_id("counter") == project.canister_id("counter")
    assert staging.canister_id("counter") == project.canister_id("counter", "staging")
    assert local.url == staging.url
    assert Canister(local.agent, local.canister_id("counter"), PROBE_DID).increment() == 1
    assert project.call("counter", "value", "--query") == "(1 : nat64)"
    project.icp("canister", "stop", "counter")
    project.icp("canister", "delete", "counter")
    assert local.ids.get("counter") is None
    assert staging.ids.get("counter") == project.canister_id("counter", "staging")


def test_canisters_that_the_workbench_deploys_are_known_to_icp(project: Project) -> None:
    for path in (Path(__file__).parents[3] / "files").iterdir():
        if path.suffix in (".wasm", ".did", ".json"):
            shutil.copy(path, project.root / "files")
    manifest = yaml.safe_load(MANIFEST)
    manifest["canisters"] += [
        {"name": name, "build": {"steps": [{"type": "pre-built", "path": f"files/{name}.wasm"}]}}
        for name in (network.GAME_STATE, network.CREATOR)
    ]
    (project.root / "icp.yaml").write_text(yaml.safe_dump(manifest))
    net = network.connect("icp-cli:local", "alice")
    deploy.deploy(net)
    status = project.icp("canister", "status", network.GAME_STATE)
    assert net.canister_id(network.GAME_STATE) in status
    assert "Status: Running" in status
    assert net.caller in status
    assert "status_code = 200" in project.icp(
        *("canister", "call", network.CREATOR, "health", "()", "--query"),
        *("--candid", f"files/{network.CREATOR}.did"),
    )


def _cycles(said: str) -> int:
    match = re.search(r"Balance: ([0-9_]+) cycles", said)
    assert match is not None, said
    return int(match[1].replace("_", ""))
