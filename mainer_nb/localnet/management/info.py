"""What can be asked about a canister and the subnet."""

from __future__ import annotations

from typing import Any

from ...protocol import principal
from ..canister import Canister
from ..rejections import caller_fault
from ..state import CallMessage, CanisterStatus
from ..subnet import Subnet
from .methods import Answer, Callers, canister_method, only_controllers, reply, subnet_method
from .settings import BOUNDS, VISIBILITIES


@canister_method(Callers.CONTROLLERS_OR_ITSELF, visibility="status_visibility")
def canister_status(subnet: Subnet, canister: Canister, message: CallMessage, args: Any) -> Answer:
    state, settings = canister.state, canister.state.settings
    is_idle = not canister.inbox.messages and not state.callbacks
    result = {
        "status": {state.status: None},
        "ready_for_migration": state.status is CanisterStatus.STOPPED and is_idle,
        "version": state.version,
        "settings": {
            **{name: getattr(settings, name) for name in BOUNDS},
            "controllers": settings.controllers,
            **{name: getattr(settings, name) for name in VISIBILITIES},
            "environment_variables": [{"name": name, "value": value} for name, value in settings.environment_variables],
        },
        "module_hash": state.module,
        "memory_size": state.memory_size(),
        "memory_metrics": {**state.memory_metrics(), "log_memory_store_size": canister.log_size()},
        "cycles": state.cycles,
        "reserved_cycles": state.reserved,
        "idle_cycles_burned_per_day": canister.idle_cycles_per_day(),
        "query_stats": {
            "num_calls_total": state.query_stats.calls,
            "num_instructions_total": state.query_stats.instructions,
            "request_payload_bytes_total": state.query_stats.request_bytes,
            "response_payload_bytes_total": state.query_stats.response_bytes,
        },
    }
    return reply(message, result)


@canister_method(Callers.CANISTERS)
def canister_info(subnet: Subnet, canister: Canister, message: CallMessage, args: Any) -> Answer:
    state = canister.state
    wanted = args["num_requested_changes"] or 0
    result = {
        "total_num_changes": state.history_length,
        "recent_changes": state.history[max(0, len(state.history) - wanted) :] if wanted else [],
        "module_hash": state.module,
        "controllers": state.settings.controllers,
    }
    return reply(message, result)


@canister_method(Callers.CANISTERS)
def canister_metadata(subnet: Subnet, canister: Canister, message: CallMessage, args: Any) -> Answer:
    text, name = principal.to_text(canister.state.id), args["name"]
    if canister.compiled is None:
        message_text = f"The canister {text} has no Wasm module and hence no metadata is available."
        raise caller_fault("IC0406", message_text)
    found = canister.compiled.info.metadata().get(name)
    if found is None:
        raise caller_fault("IC0406", f"The canister {text} has no metadata section with the name {name}.")
    public, content = found
    if not public and message.caller not in (*canister.state.settings.controllers, canister.state.id):
        raise caller_fault("IC0406", "The caller is not authorized to call this method.")
    return reply(message, {"value": content})


@canister_method(Callers.USERS_BY_QUERY)
def fetch_canister_logs(subnet: Subnet, canister: Canister, message: CallMessage, args: Any) -> Answer:
    if not canister.state.settings.shows("log_visibility", message.caller):
        only_controllers(canister, message.caller)
    with subnet.lock:
        logs = list(canister.logs)
    records = [{"idx": number, "timestamp_nanos": time, "content": text} for number, time, text in logs]
    return reply(message, {"canister_log_records": records})


@subnet_method(Callers.CANISTERS)
def subnet_info(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
    if args["subnet_id"] != subnet.info.subnet_id:
        raise caller_fault("IC0406", f"Subnet {principal.to_text(args['subnet_id'])} does not exist on this network")
    return reply(message, {"replica_version": "mainer-nb", "registry_version": 1})
