"""What can be asked about a canister and the subnet."""

from __future__ import annotations

from typing import Any

from ...protocol import principal
from ..canister import HostedCanister, newest, oldest
from ..rejections import caller_fault
from ..state import CallMessage, CanisterStatus, Use
from ..store import LogRecord
from ..subnet import Subnet
from .methods import Answer, Callers, canister_method, reply, subnet_method
from .settings import BOUNDS, VISIBILITIES

#: Bytes of the lines of a log that one response tells.
MAX_LOGS = 2_000_000


@canister_method(Callers.CONTROLLERS_OR_ITSELF, visibility="status_visibility")
def canister_status(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    state = canister.state
    with subnet.lock:  # a query is answered while others change the state
        settings = state.settings
        is_idle = not canister.inbox.messages and not state.callbacks
        result = {
            "status": {state.status: None},
            "ready_for_migration": state.status is CanisterStatus.STOPPED and is_idle,
            "version": state.version,
            "settings": {
                **{name: getattr(settings, name) for name in BOUNDS},
                "controllers": settings.controllers,
                **{name: getattr(settings, name) for name in VISIBILITIES},
                "environment_variables": [
                    {"name": name, "value": value} for name, value in settings.environment_variables
                ],
            },
            "module_hash": state.module,
            "memory_size": state.memory_size(),
            "memory_metrics": state.memory_metrics(),
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


@canister_method(Callers.CONTROLLERS)
def canister_metrics(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    with subnet.lock:
        consumed = {use: canister.state.consumed.get(use, 0) for use in Use}
    return reply(message, {"cycles_consumed": consumed})


@canister_method(Callers.CANISTERS)
def canister_info(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    state = canister.state
    wanted = args["num_requested_changes"] or 0
    with subnet.lock:
        result = {
            "total_num_changes": state.history_length,
            "recent_changes": state.history[max(0, len(state.history) - wanted) :] if wanted else [],
            "module_hash": state.module,
            "controllers": state.settings.controllers,
        }
    return reply(message, result)


@canister_method(Callers.CANISTERS)
def canister_metadata(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    text, name = principal.to_text(canister.state.id), args["name"]
    if canister.compiled is None:
        message_text = f"The canister {text} has no Wasm module and hence no metadata is available."
        raise caller_fault("IC0406", message_text)
    found = canister.compiled.info.metadata().get(name)
    if found is None:
        raise caller_fault("IC0406", f"The canister {text} has no metadata section with the name {name}.")
    public, content = found
    if not public and message.caller not in canister.state.settings.controllers:
        raise caller_fault("IC0406", "The caller is not authorized to call this method.")
    return reply(message, {"value": content})


@canister_method(Callers.CANISTERS)
def fetch_canister_logs(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    settings = canister.state.settings
    if message.caller not in settings.controllers and not settings.shows("log_visibility", message.caller):
        text = f"Caller {principal.to_text(message.caller)} is not allowed to access canister logs"
        raise caller_fault("IC0406", text)
    with subnet.lock:
        logs = _selected(canister.logs, args["filter"])
    records = [{"idx": number, "timestamp_nanos": time, "content": text} for number, time, text in logs]
    return reply(message, {"canister_log_records": records})


def _selected(logs: list[LogRecord], filter_: dict[str, dict[str, int]] | None) -> list[LogRecord]:
    """The lines of a log that `filter_` wants: the first that fit into a response, without a filter the last."""
    if filter_ is None:
        return newest(logs, MAX_LOGS)
    (kind, wanted), *_ = filter_.items()
    chosen = range(wanted["start"], wanted["end"])
    return oldest([record for record in logs if record[kind != "by_idx"] in chosen], MAX_LOGS)


@subnet_method(Callers.CANISTERS)
def subnet_info(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
    if args["subnet_id"] != subnet.info.subnet_id:
        raise caller_fault("IC0406", f"Subnet {principal.to_text(args['subnet_id'])} does not exist on this network")
    return reply(message, {"replica_version": "mainer-nb", "registry_version": 1})
