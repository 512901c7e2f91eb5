"""Randomness and cycles, and the methods that this network refuses."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .. import cycles
from ..canister import Canister
from ..rejections import caller_fault
from ..state import CallMessage
from .methods import Answer, Handler, method, reply

if TYPE_CHECKING:
    from ..scheduler import Scheduler

#: Methods whose ingress messages are free.
FREE_FOR_USERS = frozenset({"provisional_create_canister_with_cycles", "provisional_top_up_canister"})


@method("canisters", target=None)
def raw_rand(network: Scheduler, _: Canister | None, message: CallMessage, args: Any) -> Answer:
    return reply(message, os.urandom(32))


@method("canisters")
def deposit_cycles(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    _add_cycles(network, canister, message.cycles)
    return reply(message, refund=0)


@method("anyone")
def provisional_top_up_canister(
    network: Scheduler, canister: Canister | None, message: CallMessage, args: Any
) -> Answer:
    assert canister is not None
    _add_cycles(network, canister, args["amount"])
    return reply(message)


def _add_cycles(network: Scheduler, canister: Canister, amount: int) -> None:
    with network.lock:
        canister.state.cycles = min(canister.state.cycles + amount, cycles.MAX_CYCLES)
        network.touch(canister)
        network.flush()


def _refuse(name: str, why: str) -> Handler:
    def handler(network: Scheduler, _: Canister | None, message: CallMessage, args: Any) -> Answer:
        raise caller_fault("IC0406", f"{name} is not supported by this network: {why}")

    handler.__name__ = name
    return method("canisters", target=None)(handler)


for _name in (
    "bitcoin_get_balance",
    "bitcoin_get_utxos",
    "bitcoin_send_transaction",
    "bitcoin_get_current_fee_percentiles",
    "bitcoin_get_block_headers",
):
    _refuse(_name, "it is not connected to a Bitcoin network")
_refuse("flexible_http_request", "it has a single node, so use http_request")
_refuse("node_metrics_history", "its only node does not propose blocks")
