"""The canisters that icp-cli and wallets expect of every network: cycles ledger, ICP ledger, cycles minting canister
and registry, under the ids that they have on the Internet Computer.

    install(Path("state"))      # in the folder of a network that does not run

The anonymous identity owns all cycles and all ICP; their sources are in the project's folder ``canisters``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from ...protocol import principal
from ..sandbox import Sandbox

CYCLES_LEDGER = principal.from_text("um5iw-rqaaa-aaaaq-qaaba-cai")
ICP_LEDGER = principal.from_text("ryjl3-tyaaa-aaaaa-aaaba-cai")
CYCLES_MINTING = principal.from_text("rkp4c-7iaaa-aaaaa-aaaca-cai")
REGISTRY = principal.from_text("rwlgt-iiaaa-aaaaa-aaaaa-cai")

#: Controls the system canisters on the Internet Computer, and here.
ROOT = principal.from_text("r7inp-6aaaa-aaaaa-aaabq-cai")
#: Receives the ICP that become cycles.
GOVERNANCE = principal.from_text("rrkah-fqaaa-aaaaa-aaaaq-cai")

#: The first number of a canister that is not in the range of the system canisters.
FIRST_ORDINARY = 2**20

#: What belongs to the anonymous identity at first, cycles and e8s; and what the minting canister can give away.
CYCLES = 10**24
E8S = 10**17


@dataclass(frozen=True)
class SystemCanister:
    """What is installed where, with which argument and how many cycles."""

    id: bytes
    name: str
    init: dict[str, Any]
    cycles: int

    def module(self) -> bytes:
        """Its wasm."""
        return (resources.files(__package__) / f"{self.name}_canister.wasm").read_bytes()


def install(folder: Path) -> None:
    """Installs the system canisters into the network with its state in `folder`, or upgrades them, where need be.

    Raises:
        errors.StateError: the folder holds something else than a network's state, or cannot be written.
    """
    with Sandbox(folder, user=ROOT) as ic:
        store = ic.network.store
        if store.meta("next canister", 0) < FIRST_ORDINARY:
            store.set_meta("next canister", FIRST_ORDINARY)
        for canister in wanted(ic.network.subnet_id):
            _install(ic, canister)


def wanted(subnet: bytes) -> Iterator[SystemCanister]:
    holder = {"holder": principal.ANONYMOUS}
    yield SystemCanister(CYCLES_LEDGER, "cycles_ledger", {**holder, "cycles": CYCLES, "subnet": subnet}, 2 * CYCLES)
    yield SystemCanister(ICP_LEDGER, "icp_ledger", {**holder, "e8s": E8S, "minter": GOVERNANCE}, CYCLES)
    known = {"icp_ledger": ICP_LEDGER, "cycles_ledger": CYCLES_LEDGER, "icp_minter": GOVERNANCE, "subnet": subnet}
    yield SystemCanister(CYCLES_MINTING, "cycles_minting", known, CYCLES)
    yield SystemCanister(REGISTRY, "registry", {"subnet": subnet}, CYCLES)


def _install(ic: Sandbox, wanted: SystemCanister) -> None:
    if wanted.id not in ic.network.subnet.canisters:
        ic.management("provisional_create_canister_with_cycles", {"specified_id": wanted.id, "amount": wanted.cycles})
    canister, module = ic.canister(wanted.id), wanted.module()
    installed = canister.status()["module_hash"]
    if installed is None:
        canister.install(module, wanted.init)
    elif installed != hashlib.sha256(module).digest():
        canister.upgrade(module, wanted.init)
