"""Randomness and cycles, and the methods that this network refuses."""

from __future__ import annotations

import os
from typing import Any

from .. import cycles
from ..canister import HostedCanister
from ..rejections import caller_fault
from ..state import CallMessage
from ..subnet import Subnet
from .methods import Answer, Callers, SubnetHandler, canister_method, reply, subnet_method

#: Methods whose ingress messages are free.
FREE_FOR_USERS = frozenset({"provisional_create_canister_with_cycles", "provisional_top_up_canister"})


@subnet_method(Callers.CANISTERS)
def raw_rand(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
    return reply(message, os.urandom(32))


@canister_method(Callers.CANISTERS)
def deposit_cycles(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    _add_cycles(subnet, canister, message.cycles)
    return reply(message, refund=0)


@canister_method(Callers.ANYONE)
def provisional_top_up_canister(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    _add_cycles(subnet, canister, args["amount"])
    return reply(message)


def _add_cycles(subnet: Subnet, canister: HostedCanister, amount: int) -> None:
    with subnet.step() as step:
        canister.state.cycles = min(canister.state.cycles + amount, cycles.MAX_CYCLES)
        step.touch(canister)


def _refuse(name: str, why: str) -> SubnetHandler:
    def handler(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
        raise caller_fault("IC0406", f"{name} is not supported by this network: {why}")

    handler.__name__ = name
    return subnet_method(Callers.CANISTERS)(handler)


for _name in (
    "bitcoin_get_balance",
    "bitcoin_get_utxos",
    "bitcoin_send_transaction",
    "bitcoin_get_current_fee_percentiles",
    "bitcoin_get_block_headers",
):
    _refuse(_name, "it is not connected to a Bitcoin network")
_refuse("flexible_http_request", "it has a single node, so use http_request")
_refuse("list_canisters", "only subnet admins can call it, and it has none")
_refuse("node_metrics_history", "its only node does not propose blocks")
