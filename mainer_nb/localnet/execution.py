"""The execution of one entry point: what it is given, what it sees, what it leaves behind.

An `Execution` is given the `Input` of a message and a `View` of its canister, neither of which changes, and
leaves `Effects` behind. The functions of `system_api` act on it.
"""

from __future__ import annotations

import ctypes
import functools
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from . import limits, memory
from .errors import Response
from .memory import WASM_PAGE
from .rejections import too_much_accessed, too_much_written, too_slow, violation
from .state import CallerInfo

#: Limit of a canister's stable memory (mainnet: 500 GiB).
MAX_STABLE_PAGES = 500 * 1024**3 // WASM_PAGE
#: Calls that a canister may have open at once: to one callee, and in all (mainnet: a million in the whole subnet).
MAX_CALLS_TO_ONE = 500
MAX_OPEN_CALLS = 10_000
#: Bytes and calls of the System API count as instructions; so many are taken from the limit at once.
_SETTLE = 1024 * 1024
#: Seconds of processor time between two looks at how much of the heap was written to.
LOOK_SECONDS = 0.25
#: Instructions that a page counts as when a message writes to it first: of stable memory, or of the heap.
DIRTY_PAGE = 1_000
#: So many times as much is a page of a 64-bit heap.
DIRTY_PAGE_MEMORY64_FACTOR = 4


class EntryPoint(StrEnum):
    """What of a canister is executed, abbreviated as in the specification, section "Entry points"."""

    INIT = "I"  # canister_init, canister_post_upgrade
    PRE_UPGRADE = "G"
    UPDATE = "U"
    REPLICATED_QUERY = "RQ"  # a query method that is called as an update method
    QUERY = "NRQ"
    TRANSFORM = "TQ"  # a query method that transforms the response to an outcall
    COMPOSITE_QUERY = "CQ"
    REPLY = "Ry"
    REJECT = "Rt"
    COMPOSITE_REPLY = "CRy"
    COMPOSITE_REJECT = "CRt"
    CLEANUP = "C"
    COMPOSITE_CLEANUP = "CC"
    INSPECT = "F"
    TASK = "T"  # heartbeat, global timer, low memory hook
    START = "s"  # the module's start function


#: Entry points of an installation or upgrade, and of messages whose changes are committed.
INSTALLING = frozenset({EntryPoint.INIT, EntryPoint.PRE_UPGRADE, EntryPoint.START})
COMMITTED = frozenset({EntryPoint.UPDATE, EntryPoint.REPLY, EntryPoint.REJECT, EntryPoint.CLEANUP, EntryPoint.TASK})
_REPLICATED = INSTALLING | COMMITTED | {EntryPoint.REPLICATED_QUERY}


@dataclass
class OutgoingCall:
    """A call being made, or made, by a canister (`ic0.call_new` and what follows it).

    Attributes:
        on_reply, on_reject, on_cleanup: (table index, environment) of the callbacks.
        timeout: seconds after which a best-effort call expires; None for a call with guaranteed response.
    """

    callee: bytes
    method: str
    on_reply: tuple[int, int]
    on_reject: tuple[int, int]
    on_cleanup: tuple[int, int] | None = None
    payload: bytearray = field(default_factory=bytearray)
    cycles: int = 0
    timeout: int | None = None

    def size(self) -> int:
        """Bytes that are paid for."""
        return len(self.payload) + len(self.method)


class Machine(Protocol):
    """What the System API needs of the instance that runs: its memory and its instruction counter."""

    @property
    def heap(self) -> memory.CowMemory | None: ...

    def instructions(self) -> int:
        """Instructions executed since the current entry point was called."""

    def spend(self, instructions: int) -> None:
        """Counts work done by the system as `instructions`; traps if they are beyond the limit."""

    def written(self) -> int:
        """Bytes, in whole pages, that the heap was written to."""


@dataclass(frozen=True)
class SubnetInfo:
    """What is the same for all canisters of a subnet.

    Attributes:
        root_key: DER.
        outcalls: whether it makes HTTPS outcalls.
        snapshot_wait: seconds until a new or changed snapshot can be loaded onto another canister.
    """

    subnet_id: bytes
    root_key: bytes
    outcalls: bool = False
    snapshot_wait: int = 0


class Input(NamedTuple):
    """What comes with a message.

    Attributes:
        deadline: ns since the epoch until which a best-effort call must be answered, else 0.
        response: what a callback is about.
        refunded: cycles that came back with the response.
        available: cycles of the call that can be accepted.
        responded: whether the call is answered already.
        call_instructions: executed so far on behalf of the call.
        certificate: gives the certificate of the canister's data, to queries.
        sender_info: what came with an ingress message or a query about its sender.
    """

    caller: bytes = b""
    method: str = ""
    arg: bytes = b""
    deadline: int = 0
    response: Response | None = None
    refunded: int = 0
    available: int = 0
    responded: bool = False
    call_instructions: int = 0
    certificate: Callable[[], bytes] | None = None
    sender_info: CallerInfo | None = None


class View(NamedTuple):
    """A canister and its subnet as they are when a message begins.

    Attributes:
        time: ns since the epoch.
        balance: cycles, less those that are kept back for the execution itself.
        reserve: cycles of the balance that are frozen.
        status: as ``ic0.canister_status`` gives it.
        variables: the environment variables.
        open_calls: the callee of each call that awaits its response.
        log_limit: bytes that the canister's log keeps.
        kept_back: cycles for the execution, what is left of which comes back.
    """

    canister_id: bytes
    subnet: SubnetInfo
    time: int
    balance: int
    reserve: int
    version: int
    status: int
    controllers: frozenset[bytes]
    variables: tuple[tuple[str, str], ...]
    memory64: bool
    global_timer: int
    log_limit: int
    instruction_limit: int
    open_calls: Sequence[bytes] = ()
    kept_back: int = 0


@dataclass
class Effects:
    """What an entry point leaves behind; if it traps, only its log counts.

    Attributes:
        answer: the reply or rejection of the call.
        accepted, burned: cycles.
        accepted_message: whether ``canister_inspect_message`` accepts the message.
        calls: in the order in which they were made.
        certified_data, global_timer: None if they were not set.
        log: (time, text) of the lines it printed.
    """

    answer: Response | None = None
    accepted: int = 0
    burned: int = 0
    accepted_message: bool = False
    calls: list[OutgoingCall] = field(default_factory=list)
    certified_data: bytes | None = None
    global_timer: int | None = None
    log: deque[tuple[int, bytes]] = field(default_factory=deque)


class Stable:
    """The stable memory as an execution reads and writes it.

    Args:
        pages: its size.
        enlarge: gives the mapped memory with at least so many pages.
        max_pages: it cannot grow beyond.

    Attributes:
        memory: the mapped memory; None if it has no pages.
        touched, accessed: what was written, and what was written or read.
    """

    def __init__(
        self, pages: int, enlarge: Callable[[int], memory.CowMemory], max_pages: int = MAX_STABLE_PAGES
    ) -> None:
        self.pages = pages
        self.max_pages = max_pages
        self.memory = enlarge(pages) if pages else None
        self.touched = memory.Pages()
        self.accessed = memory.Pages()
        self._enlarge = enlarge

    def grow(self, more: int) -> None:
        """Adds `more` pages."""
        self.memory = self._enlarge(self.pages + more)
        self.pages += more


class Execution:
    """An entry point of a canister that is executed: what it was given, and what it does.

    Attributes:
        entry: it changes once, from the start function to ``canister_init``.
        balance: cycles, less what was spent so far.
        available: cycles of the call that are not accepted yet.
        pending: the call under construction.
        reply_data: of the reply under construction.
        log_size: bytes of the log.
        charged: instructions that the machine was not told of yet.
        error: what a function of the System API raised; wasm cannot carry it.
    """

    def __init__(self, entry: EntryPoint, given: Input, view: View, machine: Machine, stable: Stable) -> None:
        self.entry = entry
        self.input = given
        self.view = view
        self.machine = machine
        self.stable = stable
        self.effects = Effects()
        self.balance = view.balance
        self.available = given.available
        self.pending: OutgoingCall | None = None
        self.reply_data = bytearray()
        self.log_size = 0
        self.charged = 0
        self.error: BaseException | None = None
        self.write_limit = write_limit(entry)
        self._settled = 0  # of what was charged, what the machine was told of
        self._began: float | None = None  # processor time of the thread when it was first told
        self._looked = 0.0  # and when it was last looked at what was written

    def enter(self, entry: EntryPoint) -> None:
        """What is executed next is entry point `entry`, whose instructions count from 0."""
        self.entry, self._settled = entry, 0

    @property
    def replicated(self) -> bool:
        """Whether it is executed in a message that all nodes would execute."""
        return self.entry in _REPLICATED

    def access_stable(self, offset: int, size: int) -> None:
        """Notes that `size` (not zero) bytes of the stable memory are read or written; traps if that makes too many."""
        limit = limits.ACCESS_LIMIT
        if self.entry in INSTALLING:
            limit = limits.INSTALL_ACCESS_LIMIT
        elif self.entry not in COMMITTED:
            limit = limits.QUERY_ACCESS_LIMIT
        if size <= limit:
            self.stable.accessed.add(offset, size)
        if max(size, len(self.stable.accessed) * memory.OS_PAGE) > limit:
            raise too_much_accessed(limits.ACCESS_LIMIT, limits.QUERY_ACCESS_LIMIT)

    def charge(self, instructions: int) -> None:
        """Counts work done for the canister as `instructions`; traps, now or soon, if the limit is reached."""
        self.charged += instructions
        if self.charged > _SETTLE:
            self.charged, due = 0, self.charged
            self.machine.spend(due)
            self._settled += due
            self._check_time()

    def _check_time(self) -> None:
        """Traps if system calls have taken the thread too long; looks at what was written meanwhile."""
        now = time.thread_time()
        if self._began is None:
            self._began = now
        spent = now - self._began
        executed = self.machine.instructions() - self._settled
        if spent > limits.SYSTEM_CALL_SECONDS and executed < spent * limits.INSTRUCTIONS_PER_SECOND:
            raise too_slow(limits.SYSTEM_CALL_SECONDS)
        self.look(now)

    def look(self, now: float) -> None:
        """What `check_written` does, but not all the time: `now` is the processor time of the thread in seconds."""
        if now - self._looked >= LOOK_SECONDS:
            self._looked = now
            self.check_written()

    def check_written(self) -> None:
        """Traps if the message has written to more of the heap than it may."""
        heap = self.machine.heap
        if heap is not None and heap.size > self.write_limit and self.machine.written() > self.write_limit:
            raise too_much_written("main", self.write_limit)

    def cycles_available(self) -> int:
        """Cycles of the call that can still be accepted: none once it is answered."""
        return 0 if self.input.responded or self.effects.answer is not None else self.available

    def check(self, address: int, size: int) -> memory.CowMemory:
        """The heap, which has `size` bytes at `address`; traps if it has not."""
        heap = self.machine.heap
        if heap is None or address + size > heap.size:
            raise violation(f"heap access out of bounds: {size} bytes at {address}")
        return heap

    def read(self, address: int, size: int, price: int = 1) -> bytes:
        """`size` bytes of the heap at `address`, each counted as `price` instructions; traps beyond its end."""
        heap = self.check(address, size)
        self.charge(size * price)
        return ctypes.string_at(heap.address + address, size)

    def write(self, address: int, data: bytes | bytearray) -> None:
        """Writes `data` to the heap at `address`; traps beyond its end."""
        heap = self.check(address, len(data))
        self.charge(len(data))
        ctypes.memmove(heap.address + address, bytes(data), len(data))

    def copy_out(self, data: bytes, dst: int, offset: int, size: int) -> None:
        """The specification's ``copy``: `size` bytes of `data` from `offset` to the heap at `dst`."""
        if offset + size > len(data):
            raise violation(f"copy of {size} bytes at offset {offset} from {len(data)} bytes")
        self.write(dst, data[offset : offset + size])

    def write_amount(self, dst: int, amount: int) -> None:
        self.write(dst, amount.to_bytes(16, "little"))

    @functools.cached_property
    def calls_to(self) -> Counter[bytes]:
        """How many calls of the canister to each callee are open, those that it makes now included."""
        return Counter(self.view.open_calls)

    def may_call(self, callee: bytes) -> bool:
        """Whether one more call can be open."""
        in_all = len(self.view.open_calls) + len(self.effects.calls)
        return in_all < MAX_OPEN_CALLS and self.calls_to[callee] < MAX_CALLS_TO_ONE

    def dirty_heap_price(self) -> int:
        """Instructions that the pages of the heap count as which the message has written to."""
        factor = DIRTY_PAGE_MEMORY64_FACTOR if self.view.memory64 else 1
        return self.machine.written() // memory.OS_PAGE * DIRTY_PAGE * factor

    def liquid(self) -> int:
        """The balance above the freezing threshold."""
        return max(0, self.balance - self.view.reserve)


def write_limit(entry: EntryPoint) -> int:
    """Bytes of a memory that an entry point may write to."""
    if entry in INSTALLING:
        return limits.INSTALL_WRITE_LIMIT
    return limits.WRITE_LIMIT if entry in COMMITTED else limits.QUERY_WRITE_LIMIT
