"""What canisters really are, whatever a register says of them: there, running, with code and cycles.

    conditions.of(net, ["rrkah-fqaaa-aaaaa-aaaaq-cai"])["rrkah-fqaaa-aaaaa-aaaaq-cai"].problem    # "" or "was deleted"
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from . import management
from .errors import RejectError
from .network import Network

AT_ONCE = 8
SECONDS_PER_DAY = 86_400

DELETED = "was deleted"
STOPPED = "is stopped"
EMPTY = "has no code"
FROZEN = "is out of cycles"


@dataclass(frozen=True)
class Condition:
    """A canister as the network tells: `module_hash`: the sha256 of its code, hex, None if it has none; `problem`: why
    it cannot work, in words, "" if nothing is known against it.
    """

    canister_id: str
    module_hash: str | None
    problem: str


def of(net: Network, canister_ids: Iterable[str]) -> dict[str, Condition]:
    """The conditions of these canisters, by id; several are asked at once.

    Whether a canister is stopped or out of cycles only its controllers are told. Raises TransportError.
    """
    asked = list(dict.fromkeys(canister_ids))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(asked, pool.map(lambda one: _condition(net, one), asked), strict=True))


def _condition(net: Network, canister_id: str) -> Condition:
    try:
        status = management.status(net.agent, canister_id)
    except RejectError:
        if not management.exists(net.agent, canister_id):
            return Condition(canister_id, None, DELETED)
        installed = management.module_hash(net.agent, canister_id)
        return Condition(canister_id, installed, "" if installed else EMPTY)
    frozen_below = status.cycles_per_day * status.freezing_threshold // SECONDS_PER_DAY
    if status.module_hash is None:
        problem = EMPTY
    elif status.status != "running":
        problem = STOPPED
    else:
        problem = FROZEN if status.cycles < frozen_below else ""
    return Condition(canister_id, status.module_hash, problem)
