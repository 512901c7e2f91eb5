"""A canister's settings: their ranges, what they need, and ``update_settings``."""

from __future__ import annotations

import copy
from typing import Any

from ...protocol import candid
from ...protocol.request_id import hash_of_map
from .. import cycles, rejections
from ..canister import HostedCanister
from ..rejections import caller_fault
from ..state import CallMessage, Settings
from ..subnet import Step, Subnet
from .methods import Answer, Callers, canister_method, charge_work, record, reply

MAX_CONTROLLERS = 10
MAX_VIEWERS = 10
MAX_VARIABLES = 20
MAX_VARIABLE_SIZE = 128

#: Percent of a processor that a subnet allocates in all: of four processors it keeps one for those without an
#: allocation, and one percent.
SUBNET_COMPUTE_CAPACITY = 299

#: The largest value of each numeric setting.
BOUNDS = {
    "compute_allocation": 100,
    "memory_allocation": 2**64 - 1,
    "freezing_threshold": 2**64 - 1,
    "reserved_cycles_limit": 2**128 - 1,
    "wasm_memory_limit": 2**48,
    "wasm_memory_threshold": 2**48,
    "minimum_incoming_canister_call_cycles": 2**128 - 1,
    "log_memory_limit": 2 * 1024**2,
}
#: Bytes that a log has at least, unless it has none.
MIN_LOG = 4096
#: The settings that say who may see something of a canister besides its controllers.
VISIBILITIES = ("log_visibility", "snapshot_visibility", "status_visibility")


@canister_method(Callers.CONTROLLERS)
def update_settings(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    state, changes = canister.state, args["settings"]
    wanted = changed(state.settings, changes)
    log_sizes = state.settings.log_store_size(), wanted.log_store_size()
    with subnet.step() as step:
        reserved = _afford(step, canister, wanted)
        if log_sizes[0] != log_sizes[1]:  # what is in the log is copied from one store into the other
            charge_work(step, canister, sum(log_sizes))
        state.settings = wanted
        if log_sizes[1] < log_sizes[0]:
            canister.purge_log()
            step.changes.logs[state.id] = canister.logs
        state.reserved += reserved
        state.cycles -= reserved
        state.version += 1
        if changes["controllers"] is not None:
            details = {"controllers_change": {"controllers": list(wanted.controllers)}}
            record(step, canister, message, details, args["sender_canister_version"])
        step.check_low_memory(canister)
    return reply(message)


def changed(settings: Settings, changes: dict[str, Any] | None) -> Settings:
    """`settings` with the fields that `changes` (a Candid ``canister_settings``) gives.

    Raises:
        Failure: a value is out of its range.
    """
    given = {name: value for name, value in (changes or {}).items() if value is not None}
    for name, bound in BOUNDS.items():
        if given.get(name, 0) > bound:
            got = candid.number_text(given[name])
            raise _invalid(f"Invalid settings: {name} expected to be in the range [0..{bound}], got {got}")
    if len(given.get("controllers", [])) > MAX_CONTROLLERS:
        raise _invalid(f"Invalid settings: 'controllers' length exceeds maximum size allowed of {MAX_CONTROLLERS}.")
    if "controllers" in given:
        given["controllers"] = list(dict.fromkeys(given["controllers"]))
    for name in VISIBILITIES:
        if len(given.get(name, {}).get("allowed_viewers") or []) > MAX_VIEWERS:
            raise _invalid(f"Invalid settings: 'allowed_viewers' length exceeds maximum size allowed of {MAX_VIEWERS}.")
    if "environment_variables" in given:
        given["environment_variables"] = _variables(given["environment_variables"])
    if 0 < given.get("log_memory_limit", 0) < MIN_LOG:
        raise _invalid(f"Invalid settings: log_memory_limit must be 0 or at least {MIN_LOG}")
    result = copy.copy(settings)
    for name, value in given.items():
        setattr(result, name, value)
    return result


def variables_hash(settings: Settings) -> bytes:
    """The hash of the environment variables in the history (section "Hash of map")."""
    return hash_of_map({item[0]: item[1] for item in settings.environment_variables})


def _variables(items: list[dict[str, str]]) -> list[tuple[str, str]]:
    if len(items) > MAX_VARIABLES:
        raise caller_fault("IC0408", f"Too many environment variables: {len(items)} (max: {MAX_VARIABLES})")
    for item in items:
        for part in ("name", "value"):
            if len(item[part].encode()) > MAX_VARIABLE_SIZE:
                raise caller_fault(
                    "IC0408",
                    f'Environment variable {part} "{item[part]}" exceeds the maximum allowed length of'
                    f" {MAX_VARIABLE_SIZE}.",
                )
    if len({item["name"] for item in items}) < len(items):
        raise _invalid("Invalid settings: environment variables must have different names")
    return [(item["name"], item["value"]) for item in items]


def _invalid(message: str) -> Exception:
    return caller_fault("IC0504", f"Could not validate the settings: {message} ", "invalid-settings")


def _afford(step: Step, canister: HostedCanister, wanted: Settings) -> int:
    """Checks that the network and the canister can bear `wanted`; the cycles to set aside for it.

    Raises:
        Failure: memory, compute, balance or reserved cycles limit do not suffice.
    """
    state, before = canister.state, canister.state.settings
    used_before = state.memory_size()
    used = used_before + wanted.log_store_size() - before.log_store_size()
    if wanted.reserved_cycles_limit < state.reserved:
        raise caller_fault(
            "IC0540",
            f"Cannot set the reserved cycles limit {wanted.reserved_cycles_limit} below the reserved cycles balance of"
            f" the canister {state.reserved}.",
        )
    check_compute(step, before.compute_allocation, wanted.compute_allocation)
    more = max(used, wanted.memory_allocation) - max(used_before, before.memory_allocation)
    reserved = reserve(step, canister, wanted, more) if more > 0 else 0
    threshold = cycles.freezing_threshold(
        max(used, wanted.memory_allocation), wanted.compute_allocation, wanted.freezing_threshold
    )
    missing = threshold - state.cycles - state.reserved
    if missing > 0 and wanted.compute_allocation > before.compute_allocation:
        raise rejections.cannot_pay_compute(wanted.compute_allocation, missing)
    if missing > 0 and more > 0:
        raise rejections.cannot_pay_memory(wanted.memory_allocation, missing)
    return reserved


def check_compute(step: Step, before: int, wanted: int) -> None:
    """Whether the subnet can give a canister a compute allocation of `wanted` percent.

    Args:
        before: what it has; less of it can be had always.

    Raises:
        Failure: the allocations of all canisters would be more than the subnet gives away.
    """
    others = sum(canister.state.settings.compute_allocation for canister in step.subnet.canisters.values()) - before
    available = max(0, SUBNET_COMPUTE_CAPACITY - others)
    if wanted > max(before, available):
        raise caller_fault(
            "IC0101",
            f"Canister requested a compute allocation of {wanted}% which cannot be satisfied because the Subnet's"
            f" remaining compute capacity is {available}%.",
            "subnet-compute-capacity-oversubscribed",
        )


def reserve(step: Step, canister: HostedCanister, wanted: Settings, more: int) -> int:
    """The cycles to set aside for `more` bytes of memory allocation, or of memory for the log.

    Raises:
        Failure: the subnet has not so much memory, or the canister may not, or cannot, set so many cycles aside.
    """
    in_use, state = step.subnet.memory_in_use(), canister.state
    if in_use + more > cycles.SUBNET_MEMORY_CAPACITY:
        raise rejections.subnet_full(more, cycles.SUBNET_MEMORY_CAPACITY - in_use)
    needed = cycles.reservation(more, in_use)
    above = state.reserved + needed - wanted.reserved_cycles_limit
    if above > 0 and needed:
        raise caller_fault(
            "IC0533",
            f"Cannot increase memory allocation to {wanted.memory_allocation} due to its reserved cycles limit."
            f" The current limit ({wanted.reserved_cycles_limit}) would be exceeded by {above}.",
            "reserved-cycles-limit-exceeded-in-memory-allocation",
        )
    if needed > state.cycles:
        raise rejections.cannot_pay_memory(wanted.memory_allocation, needed - state.cycles)
    return needed
