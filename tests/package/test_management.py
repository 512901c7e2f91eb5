"""Canisters made, installed, looked at, funded and deleted on a real network."""

from __future__ import annotations

import base64
import hashlib
import json

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from mainer_nb import management
from mainer_nb.agent import Agent
from mainer_nb.canister import Canister
from mainer_nb.errors import RejectError
from mainer_nb.identity import Identity
from mainer_nb.localnet import server
from mainer_nb.management import TRILLION
from mainer_nb.protocol import principal
from tests.http_in_between import forwarded, serving
from tests.probe_canister import PROBE_DID


def padded(wasm: bytes, size: int) -> bytes:
    """The same module with a custom section of `size` bytes."""
    length = bytes([size & 0x7F | 0x80, size >> 7 & 0x7F | 0x80, size >> 14 & 0x7F | 0x80, size >> 21])
    return wasm + b"\0" + length + b"\1x" + bytes(size - 2)


def test_a_new_canister_is_empty_and_its_makers(agent: Agent) -> None:
    canister_id = management.create_canister(agent, 5 * TRILLION)
    status = management.status(agent, canister_id)
    assert (status.canister_id, status.status, status.module_hash) == (canister_id, "running", None)
    assert status.controllers == (str(agent.get_principal()),)
    assert 4 * TRILLION < status.cycles <= 5 * TRILLION
    assert management.exists(agent, canister_id)
    assert management.module_hash(agent, canister_id) is None


def test_a_large_module_is_installed_in_chunks(agent: Agent, probe_wasm: bytes) -> None:
    wasm = padded(probe_wasm, 4_000_000)
    canister_id = management.create_canister(agent, 100 * TRILLION)
    management.install_code(agent, canister_id, wasm, "install")
    assert management.module_hash(agent, canister_id) == hashlib.sha256(wasm).hexdigest()
    assert Canister(agent, canister_id, PROBE_DID).increment() == 1


def test_reinstalling_and_upgrading(agent: Agent, probe: str, probe_wasm: bytes) -> None:
    canister = Canister(agent, probe, PROBE_DID)
    with pytest.raises(RejectError):
        management.install_code(agent, probe, probe_wasm, "install")
    for mode in ("reinstall", "upgrade"):
        assert canister.increment() == 1
        management.install_code(agent, probe, probe_wasm, mode)
        assert canister.value() == 0


def test_a_module_that_is_none_is_refused_and_nothing_changes(agent: Agent, probe: str, probe_wasm: bytes) -> None:
    with pytest.raises(RejectError):
        management.install_code(agent, probe, b"\0asm\1\0\0\0garbage", "upgrade")
    assert management.module_hash(agent, probe) == hashlib.sha256(probe_wasm).hexdigest()


def test_cycles_are_given(agent: Agent, probe: str) -> None:
    before = management.status(agent, probe).cycles
    management.top_up(agent, probe, 7 * TRILLION)
    assert management.status(agent, probe).cycles > before + 6 * TRILLION


def test_settings_and_stopping(agent: Agent, probe: str) -> None:
    management.update_settings(agent, probe, freezing_threshold=86_400, controllers=[agent.get_principal(), probe])
    management.stop(agent, probe)
    status = management.status(agent, probe)
    assert (status.status, status.freezing_threshold) == ("stopped", 86_400)
    assert set(status.controllers) == {str(agent.get_principal()), probe}
    with pytest.raises(RejectError, match="stopped"):
        Canister(agent, probe, PROBE_DID).value()
    management.start(agent, probe)
    assert Canister(agent, probe, PROBE_DID).value() == 0


def test_a_deleted_canister_is_gone(agent: Agent, probe: str) -> None:
    management.delete(agent, probe)
    assert not management.exists(agent, probe)
    with pytest.raises(RejectError):
        management.status(agent, probe)


def test_only_controllers_may_look_and_install(
    running: server.Info, agent: Agent, probe: str, probe_wasm: bytes
) -> None:
    stranger = Agent(Identity(Ed25519PrivateKey.generate()), running.url, bytes.fromhex(running.root_key))
    with pytest.raises(RejectError, match="controller"):
        management.status(stranger, probe)
    with pytest.raises(RejectError, match="controller"):
        management.install_code(stranger, probe, probe_wasm, "reinstall")


def test_a_network_of_several_subnets_says_where_to_create(running: server.Info, caller: Identity) -> None:
    """As PocketIC, behind dfx and icp-cli, does: in its topology; the calls themselves go to the real network."""
    default = principal.canister_id(7)
    topology = json.dumps({"default_effective_canister_id": {"canister_id": base64.b64encode(default).decode()}})
    asked: list[bytes] = []

    def gateway(request: bytes) -> bytes:
        asked.append(request.split(b" ")[1])
        if asked[-1] == b"/_/topology":
            return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(topology), topology.encode())
        return forwarded(request, running.url)

    with serving(gateway) as url:
        agent = Agent(caller, url, bytes.fromhex(running.root_key))
        canister_id = management.create_canister(agent, TRILLION)
        assert management.status(agent, canister_id).controllers == (str(agent.get_principal()),)
    assert asked[1] == f"/api/v3/canister/{principal.to_text(default)}/call".encode()


def test_a_request_with_the_same_mark_is_carried_out_once(agent: Agent, probe: str) -> None:
    canister, mark = Canister(agent, probe, PROBE_DID), agent.new_mark()
    assert [canister.increment(mark=mark) for _ in range(3)] == [1, 1, 1]
    assert canister.increment() == 2


def test_an_upgrade_that_is_sent_again_is_carried_out_once(agent: Agent, probe: str, probe_wasm: bytes) -> None:
    canister, mark = Canister(agent, probe, PROBE_DID), agent.new_mark()
    management.install_code(agent, probe, probe_wasm, "upgrade", mark=mark)
    assert canister.increment() == 1
    management.install_code(agent, probe, probe_wasm, "upgrade", mark=mark)
    assert canister.value() == 1  # an upgrade would begin at 0 again
