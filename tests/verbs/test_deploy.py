"""Deploying: each mode, what is kept and what is lost, and who is refused."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mainer_nb import artifacts, create, deploy, expect, management, operate, upload
from mainer_nb.errors import ArgumentError, ArtifactCorrupt, NetworkReset, PreconditionError, RejectError
from mainer_nb.localnet import server
from mainer_nb.network import CREATOR, GAME_STATE, CanisterIds, IdsFile, Network, connect

from .conftest import MODEL, set_places


def test_what_is_deployed_is_healthy_and_registered(deployed: Network) -> None:
    game_state, creator = deploy.deployed(deployed)
    assert (game_state.role, creator.role) == (GAME_STATE, CREATOR)
    assert (game_state.health, creator.health) == (200, 200)
    assert creator.module_hash == artifacts.canister_wasm(CREATOR).sha256
    assert creator.controllers == (deployed.caller,)
    assert creator.cycles > deploy.CYCLES[CREATOR] * 0.9
    assert deployed.canister(CREATOR).getMasterCanisterId() == game_state.canister_id


def test_deploying_again_changes_nothing(deployed: Network) -> None:
    before = deploy.deployed(deployed)
    after = deploy.deploy(deployed)
    assert [canister.action for canister in after] == ["unchanged", "unchanged"]
    assert [canister.canister_id for canister in after] == [canister.canister_id for canister in before]


def test_install_upgrade_and_reinstall(empty: Network) -> None:
    for mode in ("upgrade", "reinstall"):
        with pytest.raises(PreconditionError, match=f"there is no {GAME_STATE} on network local to {mode}"):
            deploy.deploy(empty, mode)
    assert [canister.action for canister in deploy.deploy(empty, "install")] == ["created", "created"]
    with pytest.raises(PreconditionError, match="is installed already: use mode upgrade"):
        deploy.deploy(empty, "install")

    operate.open_challenge(empty, "arithmetic", "What is one and one?")
    assert [canister.action for canister in deploy.deploy(empty, "upgrade")] == ["upgraded", "upgraded"]
    assert [challenge.question for challenge in operate.challenges(empty)] == ["What is one and one?"]
    assert [canister.action for canister in deploy.deploy(empty, "reinstall")] == ["reinstalled", "reinstalled"]
    assert operate.challenges(empty) == []


def test_an_emptied_canister_is_installed_again(empty: Network) -> None:
    canister_id = management.create_canister(empty.agent, 100 * management.TRILLION)
    empty.ids.set(GAME_STATE, canister_id)
    assert [(canister.action, canister.canister_id == canister_id) for canister in deploy.deploy(empty)] == [
        ("installed", True),
        ("created", False),
    ]


def test_an_unknown_mode_lists_the_modes(empty: Network) -> None:
    with pytest.raises(ArgumentError, match="unknown mode 'instal': choose one of auto, install, reinstall, upgrade"):
        deploy.deploy(empty, "instal")  # type: ignore[arg-type]


def test_a_damaged_wasm_stops_the_deployment_before_it_begins(
    empty: Network, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(project / "files", tmp_path / "files")
    monkeypatch.setenv("MAINER_NB_PROJECT", str(tmp_path))
    damaged = tmp_path / "files" / f"{CREATOR}.wasm"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(ArtifactCorrupt, match=f"{CREATOR}.wasm is not the file of the manifest"):
        deploy.deploy(empty)
    assert empty.ids.get(GAME_STATE) is None


def test_somebody_else_is_refused_and_told_who_is_not(
    deployed: Network, as_stranger: Callable[[Network], Network]
) -> None:
    stranger = as_stranger(deployed)
    with pytest.raises(PreconditionError, match="is not a controller of") as caught:
        deploy.deploy(stranger, "upgrade")
    assert stranger.caller in str(caught.value)
    assert deployed.caller in str(caught.value)


def test_before_the_deployment_every_verb_says_what_to_run(empty: Network) -> None:
    for verb in (
        lambda: deploy.deployed(empty),
        lambda: upload.upload_all(empty, "tiny"),
        lambda: create.create_mainer(empty, "Own"),
        lambda: create.mainers(empty),
        lambda: operate.submissions(empty),
    ):
        with pytest.raises(PreconditionError, match=r"on network local: run notebooks/01_deploy\.ipynb"):
            verb()


def test_before_the_upload_creating_says_what_to_run(empty: Network) -> None:
    deploy.deploy(empty)
    with pytest.raises(PreconditionError, match=r"no MainerControllerWasm yet: run notebooks/02_upload\.ipynb"):
        create.create_mainer(empty, "Own")
    with pytest.raises(PreconditionError, match=r"no LlmModel yet: run notebooks/02_upload\.ipynb"):
        create.add_llm(empty, empty.canister_id(GAME_STATE))


def test_a_network_that_was_reset_is_noticed_and_deployed_anew(empty: Network, tmp_path: Path) -> None:
    """The ids of an earlier network, kept where a reset does not reach them, as those of dfx and icp-cli are."""
    from dataclasses import replace

    net = replace(empty, ids=CanisterIds((IdsFile(tmp_path / "local.ids.json", "icp-cli", "local"),)))
    net.ids.set(CREATOR, "n2m2m-wyaaa-aaaaa-p777a-cai")
    with pytest.raises(NetworkReset, match=r"n2m2m-wyaaa-aaaaa-p777a-cai.*state was deleted.*01_deploy"):
        net.canister(CREATOR)
    assert [canister.action for canister in deploy.deploy(net)] == ["created", "created"]
    assert net.canister(CREATOR).health() == {"status_code": 200}


def test_processes_that_deploy_and_upload_at_once_make_one_of_each(
    project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a network that none of them has started yet."""
    set_places(monkeypatch, project, tmp_path / "state")
    program = (
        "from mainer_nb import deploy, network, upload\n"
        "net = network.connect()\n"
        "print(*[one.canister_id for one in deploy.deploy(net)])\n"
        f"print(*[one.sha256 for one in upload.upload_all(net, {MODEL!r})])\n"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    try:
        answers = [process.communicate(timeout=300) for process in processes]
        assert [process.returncode for process in processes] == [0, 0, 0], answers
        assert len({output for output, _ in answers}) == 1
        net = connect()
        assert answers[0][0].split("\n")[0].split() == [net.canister_id(GAME_STATE), net.canister_id(CREATOR)]
    finally:
        server.stop(tmp_path / "state")


@pytest.mark.parametrize("mode", ["auto", "upgrade"])
def test_an_upgrade_that_was_cut_short_while_the_canister_was_stopped_is_finished(empty: Network, mode: str) -> None:
    deploy.deploy(empty)
    management.stop(empty.agent, empty.canister_id(CREATOR))
    with pytest.raises(RejectError, match=r"is stopped.* Remedy: start it: management\.start.*01_deploy"):
        empty.canister(CREATOR).getMainers()
    with pytest.raises(RejectError, match=r"Remedy: start it"):
        upload.upload_all(empty, MODEL)
    canisters = deploy.deploy(empty, mode)  # type: ignore[arg-type]
    assert [one.action for one in canisters] == (["unchanged", "started"] if mode == "auto" else ["upgraded"] * 2)
    assert management.status(empty.agent, empty.canister_id(CREATOR)).status == "running"
    said = f"{CREATOR} had been stopped, as by an upgrade that was cut short: started again."
    assert (said in expect.deployed(canisters)) == (mode == "auto")


def test_an_upgrade_that_was_cut_short_before_its_code_was_there_is_finished(
    empty: Network, project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deploy.deploy(empty)
    operate.open_challenge(empty, "arithmetic", "What is one and one?")
    shutil.copytree(project / "files", tmp_path / "files")
    monkeypatch.setenv("MAINER_NB_PROJECT", str(tmp_path))
    other = tmp_path / "files" / f"{GAME_STATE}.wasm"
    other.write_bytes(other.read_bytes() + b"\0\3\1x!")  # a section of no effect
    manifest = tmp_path / "files" / artifacts.MANIFEST
    before, after = (hashlib.sha256(path.read_bytes()).hexdigest() for path in (project / "files" / other.name, other))
    manifest.write_text(manifest.read_text().replace(before, after))
    management.stop(empty.agent, empty.canister_id(GAME_STATE))
    assert [one.action for one in deploy.deploy(empty)] == ["upgraded", "unchanged"]
    assert [one.question for one in operate.challenges(empty)] == ["What is one and one?"]


def test_a_reinstallation_that_was_cut_short_is_finished(empty: Network) -> None:
    deploy.deploy(empty)
    management.stop(empty.agent, empty.canister_id(GAME_STATE))
    assert [one.action for one in deploy.deploy(empty, "reinstall")] == ["reinstalled", "reinstalled"]
    assert operate.challenges(empty) == []
