"""The state of a network, as plain data: what the specification calls the abstract state.

Modelled on the IC interface specification, section "Abstract behavior": canisters, call contexts,
messages, requests. Everything here can be written to disk (`pack`) and read back (`unpack`); what
runs (wasm instances, threads, memory mappings) is elsewhere.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

import cbor2

from .errors import Reject, RejectCode, Reply, Response
from .memory import WASM_PAGE

DAY = 24 * 60 * 60
#: Bytes that a global variable, a change in the history, and a chunk are accounted with.
GLOBAL_SIZE = 8
HISTORY_ENTRY_SIZE = 200
CHUNK_SIZE = 1024 * 1024
#: Bytes of a log besides its lines: a page about it, and one that tells where to find what.
LOG_STORE_OVERHEAD = 2 * 4096
#: Bytes that a line of a log takes besides its text: number, time, length.
LOG_RECORD_SIZE = 8 + 8 + 4


class CanisterStatus(StrEnum):
    """Whether a canister executes messages, as ``canister_status`` names it."""

    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


class RequestStatus(StrEnum):
    """What became of an ingress message (section "Request status"). ``done``: the response is forgotten."""

    RECEIVED = "received"
    PROCESSING = "processing"
    REPLIED = "replied"
    REJECTED = "rejected"
    DONE = "done"


class LowMemoryHook(StrEnum):
    """Whether a canister's hook for low memory is to run (section "On Low Wasm Memory Hook")."""

    NOT_SATISFIED = "condition_not_satisfied"
    READY = "ready"
    EXECUTED = "executed"


class Use(StrEnum):
    """What cycles are spent on, as ``canister_metrics`` names it."""

    MEMORY = "memory"
    COMPUTE = "compute_allocation"
    INGRESS = "ingress_induction"
    INSTRUCTIONS = "instructions"
    TRANSMISSION = "request_and_response_transmission"
    UNINSTALL = "uninstall"
    CREATION = "canister_creation"
    OUTCALLS = "http_outcalls"
    BURNED = "burned_cycles"


class Task(StrEnum):
    """A system task: the name of the exported function to run."""

    HEARTBEAT = "canister_heartbeat"
    GLOBAL_TIMER = "canister_global_timer"
    LOW_MEMORY = "canister_on_low_wasm_memory"


@dataclass
class Settings:
    """What controllers set (``canister_settings``). Units: percent, bytes, seconds, cycles."""

    controllers: list[bytes] = field(default_factory=list)
    compute_allocation: int = 0
    memory_allocation: int = 0
    freezing_threshold: int = 30 * DAY
    reserved_cycles_limit: int = 5_000_000_000_000
    wasm_memory_limit: int = 0
    wasm_memory_threshold: int = 0
    log_visibility: dict[str, Any] = field(default_factory=lambda: {"controllers": None})
    environment_variables: list[Sequence[str]] = field(default_factory=list)
    minimum_incoming_canister_call_cycles: int = 0
    log_memory_limit: int = 4096
    snapshot_visibility: dict[str, Any] = field(default_factory=lambda: {"controllers": None})
    status_visibility: dict[str, Any] = field(default_factory=lambda: {"controllers": None})

    def log_store_size(self) -> int:
        """Bytes of memory that the log takes, however much is in it."""
        return LOG_STORE_OVERHEAD + self.log_memory_limit if self.log_memory_limit else 0

    def leave_little(self, heap: int, most: int) -> bool:
        """Whether of a heap of `heap` bytes, at most `most`, less is left than ``wasm_memory_threshold``."""
        return (self.wasm_memory_limit or most) - heap < self.wasm_memory_threshold

    def shows(self, visibility: str, viewer: bytes) -> bool:
        """Whether the setting `visibility`, such as ``log_visibility``, lets somebody see who is no controller."""
        (kind, viewers), *_ = getattr(self, visibility).items()
        return kind == "public" or (kind == "allowed_viewers" and viewer in viewers)


class CallerInfo(NamedTuple):
    """What the canister `signer`, which signs for a user, says of it: ``sender_info`` of a request."""

    data: bytes
    signer: bytes


@dataclass
class FromUser:
    """A call context opened by an ingress message."""

    request_id: bytes


@dataclass
class FromCanister:
    """A call context opened by a call of `canister_id`, which awaits the response with `callback_id`."""

    canister_id: bytes
    callback_id: int


@dataclass
class FromSystem:
    """A call context opened by a heartbeat or timer: nobody awaits a response."""


Origin = FromUser | FromCanister | FromSystem


@dataclass
class CallContext:
    """A call that a canister is processing.

    Attributes:
        available: cycles that came with the call and are not accepted yet.
        outstanding: calls made on its behalf whose responses have not been processed.
        instructions: executed so far on its behalf.
        deadline: ns since the epoch for a best-effort call, else 0.
        sender_info: what came with an ingress message about its sender.
    """

    origin: Origin
    caller: bytes
    available: int = 0
    responded: bool = False
    outstanding: int = 0
    instructions: int = 0
    deadline: int = 0
    sender_info: CallerInfo | None = None


@dataclass
class Callback:
    """A call that a canister has made and whose response it awaits.

    Attributes:
        on_reply, on_reject, on_cleanup: (table index, environment).
        reserve: cycles set aside for the response and the execution of its callback.
    """

    context: int
    callee: bytes
    on_reply: Sequence[int]
    on_reject: Sequence[int]
    on_cleanup: Sequence[int] | None
    reserve: int
    deadline: int = 0


@dataclass
class CallMessage:
    """A call on its way to a canister (or to the management canister, b"").

    Attributes:
        sender_info: what came with an ingress message about its sender.
    """

    origin: Origin
    caller: bytes
    callee: bytes
    method: str
    arg: bytes
    cycles: int = 0
    deadline: int = 0
    sender_info: CallerInfo | None = None


@dataclass
class ResponseMessage:
    """A response on its way back to the canister that made the call."""

    callback_id: int
    response: Response
    refund: int = 0


@dataclass
class TaskMessage:
    """A system task for a canister."""

    task: Task


Message = CallMessage | ResponseMessage | TaskMessage


@dataclass
class StopRequest:
    """Somebody waits for a canister to be stopped, since `since` (ns since the epoch)."""

    origin: Origin
    cycles: int = 0
    since: int = 0


class QueryStats(NamedTuple):
    """The query calls of a canister: how many, their instructions, bytes of their arguments and of their replies."""

    calls: int = 0
    instructions: int = 0
    request_bytes: int = 0
    response_bytes: int = 0

    def counting(self, instructions: int, request_bytes: int, response_bytes: int) -> QueryStats:
        """With one more call."""
        return QueryStats(
            self.calls + 1,
            self.instructions + instructions,
            self.request_bytes + request_bytes,
            self.response_bytes + response_bytes,
        )


@dataclass
class CanisterState:
    """A canister, without its memories, which are files of the network's folder.

    Attributes:
        created, installed: when it was made, and when it got its code or a snapshot; ns since the epoch, 0 if unknown.
        cycles: balance.
        module: sha256 of the installed module, or None.
        globals: raw values of its globals that are mutable or exported.
        heap_generation, stable_generation: which files are the current memories; a (re)installation starts new ones.
        commits: how often its memories were changed; tells whether a journal belongs to this state.
        charged_until: ns since the epoch up to which storage and compute are paid.
        history: changes as ``canister_info`` reports them, oldest first.
        reserved: cycles set aside for the storage that the canister keeps.
        module_size, custom_size: bytes of the module as it was uploaded, and of its ``icp:`` custom sections.
        chunks: how many chunks its chunk store holds.
        snapshots_size: bytes of its snapshots.
        next_snapshot, next_log: numbers of the next snapshot and the next line of its log.
        burned: cycles that it has spent in all.
        consumed: of these, by use, what it has spent since a version of this program that counts them so.
    """

    id: bytes
    created: int
    settings: Settings
    cycles: int = 0
    status: CanisterStatus = CanisterStatus.RUNNING
    module: bytes | None = None
    globals: list[bytes] = field(default_factory=list)
    heap_pages: int = 0
    stable_pages: int = 0
    heap_generation: int = 0
    stable_generation: int = 0
    commits: int = 0
    certified_data: bytes = b""
    global_timer: int = 0
    version: int = 0
    charged_until: int = 0
    burned: int = 0
    contexts: dict[int, CallContext] = field(default_factory=dict)
    callbacks: dict[int, Callback] = field(default_factory=dict)
    next_id: int = 1
    stop_requests: list[StopRequest] = field(default_factory=list)
    history: list[dict[str, Any]] = field(default_factory=list)
    history_length: int = 0
    query_stats: QueryStats = field(default_factory=QueryStats)
    reserved: int = 0
    module_size: int = 0
    custom_size: int = 0
    chunks: int = 0
    snapshots_size: int = 0
    next_snapshot: int = 0
    next_log: int = 0
    low_memory_hook: LowMemoryHook = LowMemoryHook.NOT_SATISFIED
    installed: int = 0
    consumed: dict[str, int] = field(default_factory=dict)

    def consume(self, amount: int, use: Use) -> None:
        """Counts cycles that were spent."""
        self.burned += amount
        self.consumed[use] = self.consumed.get(use, 0) + amount

    def memory_metrics(self) -> dict[str, int]:
        """Bytes of everything the canister keeps on the network, by kind (``canister_status``)."""
        return {
            "wasm_memory_size": self.heap_pages * WASM_PAGE,
            "stable_memory_size": self.stable_pages * WASM_PAGE,
            "global_memory_size": GLOBAL_SIZE * len(self.globals),
            "wasm_binary_size": self.module_size,
            "custom_sections_size": self.custom_size,
            "canister_history_size": HISTORY_ENTRY_SIZE * len(self.history),
            "wasm_chunk_store_size": CHUNK_SIZE * self.chunks,
            "snapshots_size": self.snapshots_size,
            "log_memory_store_size": self.settings.log_store_size(),
        }

    def take_id(self) -> int:
        """An id for a new call context or callback."""
        taken, self.next_id = self.next_id, self.next_id + 1
        return taken

    def open_calls(self) -> list[bytes]:
        """The callee of each call that awaits its response."""
        return [callback.callee for callback in self.callbacks.values()]

    def memory_size(self) -> int:
        """The sum of `memory_metrics`; added up here because every message asks for it."""
        kept = HISTORY_ENTRY_SIZE * len(self.history) + self.snapshots_size + self.settings.log_store_size()
        return self.code_size() + kept

    def code_size(self) -> int:
        """Bytes of code, memories and chunks: what a snapshot keeps, and what an uninstallation frees."""
        return (
            (self.heap_pages + self.stable_pages) * WASM_PAGE
            + GLOBAL_SIZE * len(self.globals)
            + self.module_size
            + self.custom_size
            + CHUNK_SIZE * self.chunks
        )


@dataclass
class Snapshot:
    """What ``take_canister_snapshot`` keeps of a canister, without module and memories, which are files.

    Attributes:
        uploaded: it was made by ``upload_canister_snapshot_metadata``: its data may be written.
        module_size, heap_size, stable_size: bytes.
        chunks: hashes of the chunk store.
        global_timer, low_memory_hook: None if an uploaded snapshot leaves them open.
        size: bytes that the canister pays for.
        changed: when data was uploaded into it the last time, ns since the epoch.
    """

    id: bytes
    canister_id: bytes
    taken: int
    uploaded: bool
    version: int
    module_size: int
    globals: list[bytes]
    heap_size: int
    stable_size: int
    chunks: list[bytes]
    certified_data: bytes
    global_timer: int | None
    low_memory_hook: LowMemoryHook | None
    size: int
    changed: int = 0


@dataclass
class Request:
    """An ingress message and what became of it (section "Request status").

    Attributes:
        expiry: ns since the epoch after which it is not executed any more, and its status may be forgotten.
        response: None while it is received or processing, and when it is done.
        answered: when it was replied to or rejected, ns since the epoch, else 0.
        effective: the canister in the URL of the request; None if any will do.
    """

    sender: bytes
    canister_id: bytes
    expiry: int
    status: RequestStatus = RequestStatus.RECEIVED
    response: Response | None = None
    answered: int = 0
    effective: bytes | None = None

    @property
    def pending(self) -> bool:
        """Whether it still awaits its response."""
        return self.status in (RequestStatus.RECEIVED, RequestStatus.PROCESSING)


_TYPES = (
    Settings,
    FromUser,
    FromCanister,
    FromSystem,
    CallContext,
    Callback,
    CallMessage,
    ResponseMessage,
    TaskMessage,
    StopRequest,
    CanisterState,
    Snapshot,
    Request,
    Reply,
    Reject,
)
_MARK = "~"
_BY_NAME = {_MARK + kind.__name__: kind for kind in _TYPES}
_FIELDS = {kind: (_MARK + kind.__name__, [item.name for item in dataclasses.fields(kind)]) for kind in _TYPES}


#: Fields whose values are not what the decoder makes of them: class, field, and what makes the value.
_CONVERTED: tuple[tuple[type, str, Callable[[Any], Any]], ...] = (
    (TaskMessage, "task", Task),
    (CanisterState, "status", CanisterStatus),
    (CanisterState, "low_memory_hook", LowMemoryHook),
    (CallContext, "sender_info", lambda value: value and CallerInfo(*value)),
    (CallMessage, "sender_info", lambda value: value and CallerInfo(*value)),
    (CanisterState, "query_stats", lambda value: QueryStats(*value)),
    (Snapshot, "low_memory_hook", lambda value: value and LowMemoryHook(value)),
    (Request, "status", RequestStatus),
    (Reject, "code", RejectCode),
)
_CONVERSIONS = {
    _MARK + kind.__name__: [
        (_FIELDS[kind][1].index(name), convert) for owner, name, convert in _CONVERTED if owner is kind
    ]
    for kind in _TYPES
}


def pack(value: object) -> bytes:
    """CBOR in which an instance of one of the classes above is a map ``{"~Class": [its fields]}``."""
    return cbor2.dumps(value, default=_encode)


def unpack(data: bytes) -> Any:
    """The value that `pack` wrote; fields added to a class since then take their defaults."""
    return cbor2.loads(data, object_hook=_decode)


def _encode(encoder: Any, value: Any) -> None:
    name, fields = _FIELDS[type(value)]
    encoder.encode({name: [getattr(value, field) for field in fields]})


def _decode(*args: Any) -> Any:
    found = next(arg for arg in args if isinstance(arg, dict))
    if len(found) == 1:
        (name, fields), *_ = found.items()
        if isinstance(name, str) and name in _BY_NAME:
            for index, convert in _CONVERSIONS[name]:
                if index < len(fields):
                    fields[index] = convert(fields[index])
            return _BY_NAME[name](*fields)
    return found
