"""Deploy the Game State and the mAIner Creator, and make them known to each other.

    for canister in deploy.deploy(net): ...  # what is missing is made, what has changed is upgraded
    deploy.deploy_officials(net)             # a Challenger and a Judge, for rounds without a person
    deploy.deploy(net, mode="reinstall")     # forget everything in them

The canister ids are kept for the network; the other verbs find the canisters by them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import cbor2

from . import artifacts, management, network
from .artifacts import Artifact
from .errors import ArgumentError, PreconditionError
from .management import TRILLION, CanisterStatusResult, InstallMode
from .network import CHALLENGER, CREATOR, GAME_STATE, JUDGE, Network
from .progress import Progress, Silent
from .protocol import principal

Mode = Literal["auto", "install", "reinstall", "upgrade"]
MODES: tuple[Mode, ...] = ("auto", "install", "reinstall", "upgrade")
Action = Literal["created", "installed", "reinstalled", "upgraded", "started", "unchanged"]

# Balances given on development networks, where cycles cost nothing. The creator pays for every mAIner and LLM.
CYCLES = {GAME_STATE: 100 * TRILLION, CREATOR: 2_000 * TRILLION, CHALLENGER: 20 * TRILLION, JUDGE: 20 * TRILLION}
PROTOCOL = (GAME_STATE, CREATOR)
#: What they are at the Game State.
OFFICIALS = {CHALLENGER: "Challenger", JUDGE: "Judge"}


@dataclass(frozen=True)
class Deployed:
    """A deployed canister.

    Attributes:
        action: what was done.
        health: the status code that it answered.
        module_hash: the sha256 of its wasm as hex.
        memory: bytes.
    """

    role: str
    canister_id: str
    action: Action
    module_hash: str
    cycles: int
    memory: int
    controllers: tuple[str, ...]
    health: int


def deploy(net: Network, mode: Mode = "auto", progress: Progress | None = None) -> list[Deployed]:
    """Deploy both canisters, check their health and register each with the other.

    On development networks canisters are created with cycles and topped up, and the caller becomes an official
    Challenger and Judge.

    Args:
        mode: "install" into new or empty canisters; "reinstall" over what is there, whose state is lost; "upgrade" what
            is there, whose state is kept; "auto": whichever of install, upgrade or nothing is due.

    Raises:
        ArgumentError: another mode.
        PreconditionError: the mode does not fit what is there, or the caller is no controller.
        ArtifactError: a file is missing or damaged. Up to here nothing is changed.
        RejectError: a canister's code refuses.
    """
    return _deploy(net, PROTOCOL, mode, progress, register)


def deploy_officials(net: Network, mode: Mode = "auto", progress: Progress | None = None) -> list[Deployed]:
    """Deploy a Challenger and a Judge, make them official at the Game State, and the creator a controller of both, so
    that it can make LLMs for them. Modes and errors as of `deploy`, which comes before.
    """
    return _deploy(net, tuple(OFFICIALS), mode, progress, register_officials)


def _deploy(
    net: Network, roles: Sequence[str], mode: Mode, progress: Progress | None, register: Callable[[Network], None]
) -> list[Deployed]:
    if mode not in MODES:
        raise ArgumentError(f"unknown mode '{mode}': choose one of {', '.join(MODES)}")
    wasm = {role: artifacts.canister_wasm(role) for role in roles}
    with (
        (progress or Silent()).task("deploy", total=len(roles) + 1, unit="steps") as task,
        network.alone(net.name, "deploy", lambda: task.note("waits for another process that deploys")),
    ):
        plan = {role: _action(net, role, wasm[role], mode) for role in roles}
        for role, action in plan.items():
            task.note(f"{role}: {action}")
            _carry_out(net, role, wasm[role], action)
            task.advance(1)
        task.note("register")
        register(net)
        task.advance(1)
    return [_deployed(net, role, action) for role, action in plan.items()]


def deployed(net: Network) -> list[Deployed]:
    """Both canisters as they are.

    Raises:
        PreconditionError: they are not deployed.
        NetworkReset: they are gone.
    """
    return [_deployed(net, role, "unchanged") for role in PROTOCOL]


def register(net: Network) -> None:
    """Make the Game State the creator's master, the creator official at the Game State, and the mAIners of the creator
    known there, as after the Game State was installed anew.
    """
    game_state, creator = net.canister(GAME_STATE), net.canister(CREATOR)
    creator.setMasterCanisterId(game_state.canister_id)
    game_state.addOfficialCanister({"address": creator.canister_id, "canisterType": "MainerCreator"})
    if not net.mainnet:
        for role in ("Challenger", "Judge"):
            game_state.addOfficialCanister({"address": net.caller, "canisterType": role})
    creator.registerMainers()


def register_officials(net: Network) -> None:
    """Make Challenger and Judge known to the Game State and it to them, and the creator a controller of both; the Game
    State gets its first topics.
    """
    game_state, creator_id = net.canister(GAME_STATE), net.canister_id(CREATOR)
    game_state.setInitialChallengeTopics()
    for role, canister_type in OFFICIALS.items():
        canister = net.canister(role)
        game_state.addOfficialCanister({"address": canister.canister_id, "canisterType": canister_type})
        canister.setGameStateCanisterId(game_state.canister_id)
        controllers = management.controllers(net.agent, canister.canister_id)
        if creator_id not in controllers:
            management.update_settings(net.agent, canister.canister_id, controllers=[*controllers, creator_id])


def _action(net: Network, role: str, wasm: Artifact, mode: Mode) -> Action:
    """What has to be done with the canister of this role.

    Raises:
        PreconditionError: the mode does not allow it.
    """
    known = net.ids.get(role)
    if known is None or not management.exists(net.agent, known):
        if mode in ("upgrade", "reinstall"):
            raise PreconditionError(f"there is no {role} on network {net.name} to {mode}: use mode install or auto")
        if net.mainnet:
            raise PreconditionError(
                f"no {role} on network {net.name}. Create it with your cycles, by icp-cli or dfx in this project: "
                f"`icp canister create {role} -e {net.name}` or `dfx canister create {role} --network {net.name}`; "
                "its id is then found here."
            )
        return "created"
    controllers = _controllers(net, known)
    if net.caller not in controllers:
        raise PreconditionError(
            f"{net.caller} is not a controller of {role} ({known}) on network {net.name}; its controllers are "
            f"{', '.join(controllers) or 'nobody'}. Connect with the identity of one of them."
        )
    installed = management.module_hash(net.agent, known)
    if installed is None:
        return "installed"
    if mode == "install":
        raise PreconditionError(
            f"{role} ({known}) on network {net.name} is installed already: use mode upgrade (keeps its state), "
            "reinstall (loses it) or auto"
        )
    if mode == "reinstall":
        return "reinstalled"
    if mode == "upgrade" or installed != wasm.sha256:
        return "upgraded"
    return "unchanged" if management.status(net.agent, known).status == "running" else "started"


def _controllers(net: Network, canister_id: str) -> list[str]:
    listed = net.agent.read_canister(canister_id, "controllers")
    if listed is None:
        return []
    return [principal.to_text(controller) for controller in cbor2.loads(listed)]


def _carry_out(net: Network, role: str, wasm: Artifact, action: Action) -> None:
    if action == "created":
        net.ids.set(role, None)
        canister_id = management.create_canister(net.agent, CYCLES[role])
        net.ids.set(role, canister_id)
    known = net.canister_id(role)
    modes: dict[Action, InstallMode] = {
        "created": "install",
        "installed": "install",
        "reinstalled": "reinstall",
    }
    if action == "upgraded":
        _upgrade(net, known, wasm)
    elif action == "started":
        management.start(net.agent, known)
    elif action in modes:
        management.install_code(net.agent, known, wasm.data(), modes[action])
        management.start(net.agent, known)  # an earlier upgrade may have been cut short while it was stopped
    if not net.mainnet:
        missing = CYCLES[role] - _status(net, role).cycles
        if missing > CYCLES[role] // 2:
            management.top_up(net.agent, known, missing)


def _upgrade(net: Network, canister_id: str, wasm: Artifact) -> None:
    """Upgrade a canister while it is stopped: with calls under way, Motoko would refuse."""
    management.stop(net.agent, canister_id)
    try:
        management.install_code(net.agent, canister_id, wasm.data(), "upgrade")
    finally:
        management.start(net.agent, canister_id)


def _status(net: Network, role: str) -> CanisterStatusResult:
    return management.status(net.agent, net.canister_id(role))


def _deployed(net: Network, role: str, action: Action) -> Deployed:
    status = _status(net, role)
    return Deployed(
        role=role,
        canister_id=status.canister_id,
        action=action,
        module_hash=status.module_hash or "",
        cycles=status.cycles,
        memory=status.memory,
        controllers=status.controllers,
        health=net.canister(role).health()["status_code"],
    )
