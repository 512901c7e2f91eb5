"""What can be asked about a canister and the subnet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...protocol import principal
from ..canister import Canister
from ..rejections import caller_fault
from ..state import CallMessage
from .methods import Answer, method, only_controllers, reply
from .settings import BOUNDS, VISIBILITIES

if TYPE_CHECKING:
    from ..scheduler import Scheduler


@method("controllers or itself", visibility="status_visibility")
def canister_status(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    state, settings = canister.state, canister.state.settings
    calls, instructions, received, sent = state.query_stats
    result = {
        "status": {state.status: None},
        "ready_for_migration": state.status == "stopped" and not canister.queue and not state.callbacks,
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
            "num_calls_total": calls,
            "num_instructions_total": instructions,
            "request_payload_bytes_total": received,
            "response_payload_bytes_total": sent,
        },
    }
    return reply(message, result)


@method("canisters")
def canister_info(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    state = canister.state
    wanted = args["num_requested_changes"] or 0
    result = {
        "total_num_changes": state.history_length,
        "recent_changes": state.history[max(0, len(state.history) - wanted) :] if wanted else [],
        "module_hash": state.module,
        "controllers": state.settings.controllers,
    }
    return reply(message, result)


@method("canisters")
def canister_metadata(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
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


@method("users by query")
def fetch_canister_logs(network: Scheduler, canister: Canister | None, message: CallMessage, args: Any) -> Answer:
    assert canister is not None
    if not canister.state.settings.shows("log_visibility", message.caller):
        only_controllers(canister, message.caller)
    with network.lock:
        logs = list(canister.logs)
    records = [{"idx": number, "timestamp_nanos": time, "content": text} for number, time, text in logs]
    return reply(message, {"canister_log_records": records})


@method("canisters", target=None)
def subnet_info(network: Scheduler, _: Canister | None, message: CallMessage, args: Any) -> Answer:
    if args["subnet_id"] != network.around.subnet_id:
        raise caller_fault("IC0406", f"Subnet {principal.to_text(args['subnet_id'])} does not exist on this network")
    return reply(message, {"replica_version": "mainer-nb", "registry_version": 1})
