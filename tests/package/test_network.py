"""Which networks there are, and which canisters are known on them: the files of icp-cli and dfx read and written."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from mainer_nb import network
from mainer_nb.errors import IdentityError, NetworkError, NetworkNotRunning, UnknownNetwork

ICP_YAML = """
networks:
  - name: local
    mode: managed
    gateway: { host: 127.0.0.1, port: 8001 }
  - name: testnet
    mode: connected
    url: https://testnet.example
    root-key: "0102"
environments:
  - name: staging
    network: testnet
"""
DFX_JSON = {
    "networks": {
        "development": {"providers": ["https://icp0.io"], "type": "persistent"},
        "playroom": {"bind": "127.0.0.1:8002", "type": "ephemeral"},
    }
}


@pytest.fixture
def configured(project: Path) -> Path:
    (project / "icp.yaml").write_text(ICP_YAML)
    (project / "dfx.json").write_text(json.dumps(DFX_JSON))
    return project


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_networks_of_all_tools_are_known(configured: Path) -> None:
    assert {config.name: (config.source, config.url) for config in network.known()} == {
        "local": ("embedded", None),
        "ic": ("mainnet", "https://icp-api.io"),
        "icp-cli:local": ("icp-cli", "http://127.0.0.1:8001"),
        "testnet": ("icp-cli", "https://testnet.example"),
        "staging": ("icp-cli", "https://testnet.example"),
        "dfx:local": ("dfx", "http://127.0.0.1:4943"),
        "development": ("dfx", "https://icp0.io"),
        "playroom": ("dfx", "http://127.0.0.1:8002"),
    }
    assert network.find("testnet").root_key == b"\1\2"


def test_the_users_own_networks_of_dfx_are_known(project: Path) -> None:
    config = Path.home() / ".config/dfx"
    config.mkdir(parents=True)
    (config / "networks.json").write_text('{"local": {"bind": "127.0.0.1:8080"}, "shared": {"bind": "127.0.0.1:9000"}}')
    assert network.find("dfx:local").url == "http://127.0.0.1:8080"
    assert network.find("shared").url == "http://127.0.0.1:9000"


def test_a_running_network_of_icp_cli_is_found_where_its_descriptor_says(configured: Path) -> None:
    folder = configured / ".icp/cache/networks/local"
    folder.mkdir(parents=True)
    descriptor = {"gateway": {"fixed": False, "port": 41234}, "root-key": "0a0b"}
    (folder / "descriptor.json").write_text(json.dumps(descriptor))
    found = network.find("icp-cli:local")
    assert (found.url, found.root_key) == ("http://127.0.0.1:41234", b"\x0a\x0b")


def test_mainnet_is_recognised_by_its_address(configured: Path) -> None:
    assert network.find("development").mainnet
    assert network.find("https://ic0.app").mainnet
    assert not network.find("https://not-ic0.app").mainnet
    assert not network.find("playroom").mainnet


def test_an_unknown_network_lists_the_known_ones(configured: Path) -> None:
    with pytest.raises(UnknownNetwork, match=r"unknown network 'loacl'\. Known: local \(embedded\), ic .*playroom"):
        network.connect("loacl")


@pytest.mark.parametrize("address", ["http://", "http://host:0", "http://host:99999", "https://:80"])
def test_a_malformed_address_is_refused(project: Path, address: str) -> None:
    with pytest.raises(UnknownNetwork, match="is not an address"):
        network.connect(address)


def test_a_name_that_two_tools_use_differently_must_be_qualified(configured: Path) -> None:
    table = {"networks": {"testnet": {"providers": ["https://other.example"]}}}
    (configured / "dfx.json").write_text(json.dumps(table))
    with pytest.raises(NetworkError, match="say which: icp-cli:testnet or dfx:testnet"):
        network.find("testnet")
    assert network.find("dfx:testnet").url == "https://other.example"


@pytest.mark.parametrize("file", ["icp.yaml", "dfx.json"])
def test_a_damaged_configuration_is_named(configured: Path, file: str) -> None:
    (configured / file).write_text("networks: [\n")
    with pytest.raises(NetworkError, match=file):
        network.known()


def test_mainnet_wants_an_identity_of_the_users(project: Path) -> None:
    with pytest.raises(IdentityError, match="give its name or PEM"):
        network.connect("ic")


def test_a_network_that_does_not_run_says_how_to_start_it(configured: Path) -> None:
    port = closed_port()
    (configured / "dfx.json").write_text(json.dumps({"networks": {"playroom": {"bind": f"127.0.0.1:{port}"}}}))
    with pytest.raises(NetworkNotRunning, match=f"127.0.0.1:{port}.*dfx start --network playroom"):
        network.connect("playroom")
    with pytest.raises(NetworkNotRunning, match=f"http://127.0.0.1:{port}"):
        network.connect(f"http://127.0.0.1:{port}")
    with pytest.raises(NetworkNotRunning, match="mainer-nb net start"):
        network.connect("local", start=False)


def ids_of(name: str) -> network.CanisterIds:
    return network.CanisterIds(network.find(name).ids)


def test_ids_are_written_in_each_tools_own_form(configured: Path) -> None:
    ids_of("testnet").set("game_state_canister", "aaaaa-aa")
    ids_of("icp-cli:local").set("game_state_canister", "aaaaa-aa")
    ids_of("development").set("game_state_canister", "aaaaa-aa")
    ids_of("playroom").set("game_state_canister", "aaaaa-aa")
    icp_cli = {"game_state_canister": "aaaaa-aa"}
    assert json.loads((configured / ".icp/data/mappings/testnet.ids.json").read_text()) == icp_cli
    assert json.loads((configured / ".icp/cache/mappings/local.ids.json").read_text()) == icp_cli
    dfx = {"game_state_canister": {"development": "aaaaa-aa"}}
    assert json.loads((configured / "canister_ids.json").read_text()) == dfx
    dfx = {"game_state_canister": {"playroom": "aaaaa-aa"}}
    assert json.loads((configured / ".dfx/playroom/canister_ids.json").read_text()) == dfx


def test_ids_that_either_tool_wrote_are_read(configured: Path) -> None:
    (configured / "canister_ids.json").write_text('{"one": {"ic": "of dfx"}, "two": {"ic": "of dfx"}}')
    mappings = configured / ".icp/data/mappings"
    mappings.mkdir(parents=True)
    (mappings / "ic.ids.json").write_text('{"two": "of icp-cli"}')
    ids = ids_of("ic")
    assert (ids.get("one"), ids.get("two"), ids.get("three")) == ("of dfx", "of icp-cli", None)


def test_forgetting_an_id_leaves_the_others(configured: Path) -> None:
    (configured / "canister_ids.json").write_text('{"one": {"development": "a", "ic": "b"}, "two": {"ic": "c"}}')
    ids = ids_of("development")
    ids.set("one", None)
    ids.set("two", None)
    assert ids.get("one") is None
    assert json.loads((configured / "canister_ids.json").read_text()) == {"one": {"ic": "b"}, "two": {"ic": "c"}}


def test_a_damaged_file_of_ids_is_named(configured: Path) -> None:
    (configured / "canister_ids.json").write_text("[")
    with pytest.raises(NetworkError, match=r"canister_ids\.json.*Correct or delete it"):
        ids_of("development").get("one")
