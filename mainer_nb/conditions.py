"""Whether canisters can work, as the network says: they exist, run, and have code and cycles.

    canister_id = "rrkah-fqaaa-aaaaa-aaaaq-cai"
    conditions.of(net, [canister_id])[canister_id].problem    # "" or "was deleted"

`problem` is empty where nothing is known to be wrong.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from . import management, stopping
from .errors import RejectError
from .management import CanisterStatusResult
from .network import Network

AT_ONCE = 8

DELETED = "was deleted"
STOPPED = "is stopped"
EMPTY = "has no code"
FROZEN = "is out of cycles"
FORGET_STEP = (
    'Remedy: run notebooks/03_create.ipynb with gone = "forget" (in Python: mainer_nb.create.ensure(net, Plan(), '
    'gone="forget")), which takes what is gone from the lists and makes another.'
)
RENEW_STEP = "Remedy: run notebooks/03_create.ipynb (in Python: mainer_nb.create.ensure(net, Plan())), which renews it."


@dataclass(frozen=True)
class Condition:
    """A canister as the network tells: `module_hash`: the sha256 of its code, hex, None if it has none; `problem`: why
    it cannot work, in words, "" if nothing is known against it; `status`: None if the caller is not told.
    """

    canister_id: str
    module_hash: str | None
    problem: str
    status: CanisterStatusResult | None = None

    @property
    def cycles(self) -> int | None:
        """Its balance; None if the caller is not told."""
        return None if self.status is None else self.status.cycles

    @property
    def remedy(self) -> str:
        """What helps; "" if nothing is wrong."""
        return "" if not self.problem else FORGET_STEP if self.problem == DELETED else RENEW_STEP


def of(net: Network, canister_ids: Iterable[str]) -> dict[str, Condition]:
    """The conditions of these canisters, by id; several are asked at once.

    Whether a canister is stopped or out of cycles only its controllers are told.

    Raises:
        TransportError: the network does not answer.
    """
    asked = list(dict.fromkeys(canister_ids))
    found = stopping.every(lambda canister_id: _condition(net, canister_id), asked, AT_ONCE)
    return dict(zip(asked, found, strict=True))


def _condition(net: Network, canister_id: str) -> Condition:
    try:
        return of_status(management.status(net.agent, canister_id))
    except RejectError:
        if not management.exists(net.agent, canister_id):
            return Condition(canister_id, None, DELETED)
        installed = management.module_hash(net.agent, canister_id)
        return Condition(canister_id, installed, EMPTY if installed is None else "")


def of_status(status: CanisterStatusResult) -> Condition:
    """The condition of a canister that has this status."""
    if status.module_hash is None:
        problem = EMPTY
    elif status.cycles <= status.frozen_below:
        problem = FROZEN
    else:
        problem = "" if status.status == "running" else STOPPED
    return Condition(status.canister_id, status.module_hash, problem, status)
