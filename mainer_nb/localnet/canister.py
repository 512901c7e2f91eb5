"""One canister: its state, its memory files and the wasm instances that work on them.

An update instance executes messages one at a time; its changes stay private until `commit`. A query
instance, made when the first query comes, sees the committed state only, so that queries need not
wait for a message that runs for a minute. `memory_lock` keeps the two apart while a commit is
written.
"""

from __future__ import annotations

import itertools
import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ..protocol import principal
from . import cycles, journal, rejections
from .errors import CanisterTrap, Failure, Reject, RejectCode, StateError
from .execution import EntryPoint, Execution, Input, Stable, SubnetInfo, View
from .memory import WASM_PAGE, CowMemory, Pages, copy_file
from .runtime import Compiled, Instance, Runtime
from .state import LOG_RECORD_SIZE, CallMessage, CanisterState, CanisterStatus, Message
from .store import LogRecord, check_file

_STATUS_CODES = {CanisterStatus.RUNNING: 1, CanisterStatus.STOPPING: 2, CanisterStatus.STOPPED: 3}


@dataclass
class Outcome:
    """What an entry point left behind: its `execution`, and the trap that ended it, if one did.

    Attributes:
        reserved: cycles to set aside for the memory that it has added.
    """

    execution: Execution
    trap: CanisterTrap | None
    instructions: int
    reserved: int = 0


class Growth(NamedTuple):
    """What it takes that a canister uses more memory.

    Attributes:
        reserved: cycles to set aside.
        missing: cycles that the canister lacks, so that it would be frozen; not positive if it lacks none.
        beyond_limit: cycles to set aside beyond the most that the settings allow; not positive if it is less.
        beyond_subnet: bytes beyond what the subnet has; not positive if it has enough.
    """

    reserved: int
    missing: int
    beyond_limit: int
    beyond_subnet: int


class Inbox:
    """The messages that wait for a canister, each with its number; messages are executed one at a time.

    Args:
        owner: the canister; None for calls of the management canister that concern no existing canister.

    Attributes:
        messages: calls, responses and tasks for the canister.
        management: calls of the management canister about it; they come first.
        busy: a message is being executed.
        scheduled: a thread will execute the next message.
    """

    def __init__(self, owner: HostedCanister | None) -> None:
        self.owner = owner
        self.messages: deque[tuple[int, Message]] = deque()
        self.management: deque[tuple[int, CallMessage]] = deque()
        self.busy = False
        self.scheduled = False

    def is_waiting(self) -> bool:
        """Whether there are messages that nobody executes yet."""
        return not self.busy and not self.scheduled and bool(self.messages or self.management)

    def take(self) -> tuple[int, Message]:
        """The next message, which is executed now."""
        self.scheduled, self.busy = False, True
        return self.management.popleft() if self.management else self.messages.popleft()

    def holds(self, message: Message) -> bool:
        """Whether such a message waits already."""
        return any(waiting == message for _, waiting in self.messages)


class HostedCanister:
    """A canister of a running network. Its `state` changes in steps of its subnet only.

    Args:
        memory_in_use: gives the bytes that all canisters of the subnet use or have been promised.
    """

    def __init__(
        self,
        runtime: Runtime,
        folder: Path,
        state: CanisterState,
        compiled: Compiled | None,
        memory_in_use: Callable[[], int],
    ) -> None:
        self.state = state
        #: The canister's id as text.
        self.name = principal.to_text(state.id)
        self.compiled = compiled
        self.memory_lock = threading.RLock()
        #: Held while files of the canister's snapshots are read for another canister, changed or removed.
        self.snapshots_lock = threading.Lock()
        self.inbox = Inbox(self)
        self.logs: list[LogRecord] = []
        self._runtime = runtime
        self._folder = folder
        self._memory_in_use = memory_in_use
        self._instance: Instance | None = None
        self._stable: CowMemory | None = None
        self._query_instance: Instance | None = None
        self._query_stable: CowMemory | None = None
        self._half_written = False
        folder.mkdir(parents=True, exist_ok=True)
        journal.recover(self._journal, state.commits)
        check_file(folder.parents[1], self.heap_file(), state.heap_pages * WASM_PAGE)
        check_file(folder.parents[1], self.stable_file(), state.stable_pages * WASM_PAGE)
        self._remove_old_files()

    @property
    def _journal(self) -> Path:
        return self._folder / "journal"

    def _heap_file(self, generation: int) -> Path:
        return self._folder / f"heap-{generation}"

    def heap_file(self) -> Path:
        """The file of the committed heap."""
        return self._heap_file(self.state.heap_generation)

    def stable_file(self) -> Path:
        """The file of the committed stable memory."""
        return self._stable_file(self.state.stable_generation)

    def _stable_file(self, generation: int) -> Path:
        return self._folder / f"stable-{generation}"

    # The view of the System API.

    def view(self, subnet: SubnetInfo, now: int, memory64: bool, limit: int, open_calls: Sequence[bytes] = ()) -> View:
        """What a message sees of the canister, in its committed state.

        Args:
            memory64: whether the module to be executed has a 64-bit memory.
            limit: instructions that the message may execute.
            open_calls: callees of the calls that count when the message makes further calls.
        """
        state = self.state
        return View(
            canister_id=state.id,
            subnet=subnet,
            time=now,
            balance=state.cycles,
            reserve=max(0, self.freezing_threshold() - state.reserved),
            version=state.version,
            status=_STATUS_CODES[state.status],
            controllers=frozenset(state.settings.controllers),
            variables=tuple((name, value) for name, value in state.settings.environment_variables),
            memory64=memory64,
            global_timer=state.global_timer,
            log_limit=state.settings.log_memory_limit,
            instruction_limit=limit,
            open_calls=open_calls,
        )

    def freezing_threshold(self, size: int | None = None) -> int:
        """Cycles below which the canister is frozen, with its memory as it is or of `size` bytes."""
        settings = self.state.settings
        size = max(self.state.memory_size() if size is None else size, settings.memory_allocation)
        return cycles.freezing_threshold(size, settings.compute_allocation, settings.freezing_threshold)

    def price(self, instructions: int) -> int:
        """What a message of so many instructions of this canister costs."""
        return cycles.execution(instructions, self.compiled is not None and self.compiled.info.memory64)

    def idle_cycles_per_day(self) -> int:
        """What the canister pays a day for its memory and compute allocation."""
        size = max(self.state.memory_size(), self.state.settings.memory_allocation)
        return cycles.freezing_threshold(size, self.state.settings.compute_allocation, 24 * 60 * 60)

    # Executing messages. At most one thread at a time is in this part.

    def instance(self) -> Instance:
        """The update instance, holding the committed state."""
        if self._instance is None:
            assert self.compiled is not None
            state = self.state
            self._instance = Instance(
                self._runtime, self.compiled, self._heap_file(state.heap_generation), state.heap_pages
            )
            self._instance.reset(state.heap_pages, state.globals)
        return self._instance

    def execution(
        self, entry: EntryPoint, given: Input, view: View, instance: Instance, stable_pages: int | None = None
    ) -> Execution:
        """An execution on `instance` and on the canister's stable memory.

        Args:
            stable_pages: size of the stable memory if an uncommitted execution before has changed it.
        """
        pages = self.state.stable_pages if stable_pages is None else stable_pages
        return Execution(entry, given, view, instance, Stable(pages, self._grow_stable))

    def run(self, execution: Execution, call: Callable[[], None], more: int = 0) -> Outcome:
        """Runs `call`, which enters the instance of `execution`.

        Args:
            more: bytes that the canister will use, besides its memories, once this is committed.
        """
        outcome = _run(execution, call)
        outcome.instructions += execution.dirty_heap_price()
        if outcome.trap is None:
            try:
                self._check_limits(execution)
                outcome.reserved = self._afford_growth(execution, outcome.instructions, more)
            except CanisterTrap as trap:
                outcome.trap = trap
        return outcome

    def _check_limits(self, execution: Execution) -> None:
        """Whether an execution stayed within what settings and network allow.

        Raises:
            CanisterTrap: it did not.
        """
        settings, heap = self.state.settings, execution.machine.heap
        heap_size = heap.size if heap is not None else 0
        if execution.entry in (EntryPoint.UPDATE, EntryPoint.INIT) and 0 < settings.wasm_memory_limit < heap_size:
            raise rejections.heap_too_large(settings.wasm_memory_limit, heap_size)

    def _afford_growth(self, execution: Execution, instructions: int, more: int) -> int:
        """The cycles to set aside for the memory that an execution has added, and for `more` bytes.

        Raises:
            CanisterTrap: the canister cannot pay for it, or the network has not so much.
        """
        heap, before = execution.machine.heap, self.state.stable_pages + self.state.heap_pages
        heap_size = heap.size if heap is not None else 0
        grown = heap_size + (execution.stable.pages - before) * WASM_PAGE + more
        if grown <= 0 or execution.entry is EntryPoint.REPLICATED_QUERY:
            return 0
        kept_back = execution.view.kept_back - cycles.execution(instructions, execution.view.memory64)
        balance = execution.balance + kept_back
        growth = self.growth(grown, balance)
        if growth.beyond_subnet > 0:
            raise rejections.out_of_memory()
        if growth.beyond_limit > 0:
            limit = self.state.settings.reserved_cycles_limit
            raise rejections.cannot_reserve_growth(grown, limit, growth.beyond_limit)
        if growth.missing > 0:
            raise rejections.cannot_pay_growth(grown, growth.missing)
        return growth.reserved

    def growth(self, more: int, balance: int) -> Growth:
        """What it takes that the canister, with `balance` cycles, uses `more` further bytes of memory."""
        state, allocation = self.state, self.state.settings.memory_allocation
        used = state.memory_size()
        charged = max(used + more, allocation) - max(used, allocation)
        in_use = self._memory_in_use() if charged > 0 else 0
        reserved = cycles.reservation(charged, in_use)
        missing = self.freezing_threshold(used + more) - balance - state.reserved
        return Growth(
            reserved,
            missing=max(missing, reserved - balance),
            beyond_limit=state.reserved + reserved - state.settings.reserved_cycles_limit if reserved else 0,
            beyond_subnet=in_use + charged - cycles.SUBNET_MEMORY_CAPACITY,
        )

    def _grow_stable(self, pages: int) -> CowMemory:
        if self._stable is None:
            self._stable = CowMemory(self._stable_file(self.state.stable_generation), 0)
        if self._stable.size < pages * WASM_PAGE:
            self._stable.grow(pages * WASM_PAGE)
        return self._stable

    def install(self, compiled: Compiled, keep_heap: bool) -> Instance:
        """An instance of `compiled` to run the entry points of an installation on.

        With `keep_heap` it starts from the heap as the update instance has it now, uncommitted changes
        included (Motoko's enhanced orthogonal persistence), else from the module's data segments.
        """
        if keep_heap:
            before = self.instance()
            base = self._heap_file(self.state.heap_generation)
            fresh = Instance(self._runtime, compiled, base, before.heap_pages())
            if before.heap is not None and fresh.heap is not None:
                for offset, length in before.heap.dirty():
                    fresh.heap.write(offset, before.heap.read(offset, length))
            return fresh
        base = self._heap_file(self.state.heap_generation + 1)
        base.unlink(missing_ok=True)
        return Instance(self._runtime, compiled, base, None)

    def start_stable_afresh(self) -> None:
        """From now on the (uncommitted) stable memory is empty."""
        if self._stable is not None:
            self._stable.close()
        path = self._stable_file(self.state.stable_generation + 1)
        path.unlink(missing_ok=True)
        self._stable = CowMemory(path, 0)

    def commit(
        self,
        instance: Instance,
        execution: Execution,
        save: Callable[[int, list[bytes]], None],
        fresh_stable: bool = False,
    ) -> None:
        """Makes what `instance` and `execution` changed the committed state.

        `save(commit number, globals)` is called at the point of no return; it must store the state in
        which the sizes and generations of the memories are already those of `instance`.

        Raises:
            OSError: the changes cannot be written; nothing is committed.
            StateError: they are committed, but not in the memory files yet: only a restart can do that.
        """
        state = self.state
        fresh_heap = instance is not self._instance and (
            instance.heap is not None and instance.heap.base != self._heap_file(state.heap_generation)
        )
        changes = []
        heap_ranges = instance.dirty()
        if instance.heap is not None and (heap_ranges or instance.heap_pages() != state.heap_pages):
            heap = instance.heap
            changes.append(journal.FileChange(heap.base, heap.size, heap_ranges, heap.views(heap_ranges)))
        size = execution.stable.pages * WASM_PAGE
        stable_ranges = execution.stable.touched.ranges(size)
        if self._stable is not None and stable_ranges:
            changes.append(
                journal.FileChange(self._stable.base, size, stable_ranges, self._stable.views(stable_ranges))
            )
        number = state.commits + 1
        if changes:
            if fresh_heap:
                changes.pop(0).apply()  # nobody reads a new generation's file before the commit
            if changes:
                journal.write(self._journal, number, changes)
        with self.memory_lock:
            save(number, instance.globals())
            try:
                for change in changes:
                    change.apply()
            except OSError as error:
                self._half_written = True
                raise StateError(f"{self._folder} cannot be written: {error.strerror}") from error
            instance.discard()
            if self._stable is not None:
                self._stable.discard(stable_ranges)
            if instance is not self._instance:
                self._close_instances()
                self._instance = instance
            if fresh_stable:
                self._close_query_stable()
        if changes:
            journal.applied(self._journal)
        if fresh_heap or fresh_stable:
            self._remove_old_files()

    def rollback(self, touched: Pages, replaced: Instance | None = None) -> None:
        """Back to the committed state after a trap, or after a query method called as an update."""
        if replaced is not None and replaced is not self._instance:
            replaced.close()
        if self._instance is not None and not self._instance.reset(self.state.heap_pages, self.state.globals):
            self._instance.close()
            self._instance = None
        if self._stable is not None:
            if self._stable.base != self._stable_file(self.state.stable_generation):
                self._stable.close()
                self._stable = None
            else:
                self._stable.discard(touched.ranges(self._stable.size))

    def _close_instances(self) -> None:
        for instance in (self._instance, self._query_instance):
            if instance is not None:
                instance.close()
        self._instance = self._query_instance = None

    def _close_query_stable(self) -> None:
        if self._query_stable is not None:
            self._query_stable.close()
            self._query_stable = None

    def _remove_old_files(self) -> None:
        state = self.state
        current = {self._heap_file(state.heap_generation), self._stable_file(state.stable_generation), self._journal}
        for path in self._folder.iterdir():
            if path not in current:
                path.unlink(missing_ok=True)

    def put_memories(self, heap: Path, stable: Path) -> None:
        """Copies files to where the next generations of the memories are looked for."""
        copy_file(heap, self._heap_file(self.state.heap_generation + 1))
        copy_file(stable, self._stable_file(self.state.stable_generation + 1))

    def stable_memory(self) -> bytes:
        """The committed stable memory."""
        size = self.state.stable_pages * WASM_PAGE
        if not size:
            return b""
        with self.memory_lock, self._stable_file(self.state.stable_generation).open("rb") as file:
            return file.read(size)

    def replace_stable_memory(self, data: bytes) -> None:
        """Gives the canister, which must not be executing, another stable memory: `data`, and zeros up to a page."""
        self.close()
        state = self.state
        state.stable_generation += 1
        state.stable_pages = -(-len(data) // WASM_PAGE)
        self._stable_file(state.stable_generation).write_bytes(data.ljust(state.stable_pages * WASM_PAGE, b"\0"))
        self._remove_old_files()

    def uninstall(self) -> None:
        """Drops instances and mappings; the state already has new generations of the memories."""
        self.forget()
        self._remove_old_files()

    # Queries. Any thread; one at a time by `memory_lock`.

    def query(self, entry: EntryPoint, export: str, given: Input, subnet: SubnetInfo, now: int, limit: int) -> Outcome:
        """Runs the exported function `export` on the committed state and forgets all its changes.

        Raises:
            Failure: the canister does not have the function (any more).
        """
        with self.memory_lock:
            state = self.state
            if self._half_written:
                text = f"the memory in {self._folder} cannot be written"
                raise Failure(Reject(RejectCode.SYS_TRANSIENT, text))
            if self.compiled is None or export not in self.compiled.info.exports:
                # It was there when the caller looked, but an installation or deletion came first.
                raise Failure(rejections.no_method(self.name, "query", export.partition(" ")[2] or export))
            if self._query_instance is not None and not self._query_instance.reset(state.heap_pages, state.globals):
                self._query_instance.close()
                self._query_instance = None
            if self._query_instance is None:
                self._query_instance = Instance(
                    self._runtime, self.compiled, self._heap_file(state.heap_generation), state.heap_pages
                )
                self._query_instance.reset(state.heap_pages, state.globals)
            instance = self._query_instance
            view = self.view(subnet, now, self.compiled.info.memory64, limit)
            execution = Execution(entry, given, view, instance, Stable(state.stable_pages, self._grow_query_stable))
            outcome = _run(execution, lambda: instance.call_export(export, execution))
            if self._query_stable is not None:
                self._query_stable.discard(execution.stable.touched.ranges(self._query_stable.size))
            return outcome

    def _grow_query_stable(self, pages: int) -> CowMemory:
        if self._query_stable is None:
            self._query_stable = CowMemory(self._stable_file(self.state.stable_generation), 0)
        if self._query_stable.size < pages * WASM_PAGE:
            self._query_stable.grow(pages * WASM_PAGE)
        return self._query_stable

    @contextmanager
    def query_session(self) -> Iterator[QuerySession]:
        """The committed state for a composite query, which enters the canister several times.

        Raises:
            Failure: the canister has no code (any more).
        """
        with self.memory_lock:
            state = self.state
            if self.compiled is None:
                raise Failure(rejections.empty(self.name))
            stable = self._stable_file(state.stable_generation)
            session = QuerySession(self._runtime, self.compiled, self.heap_file(), stable, state)
            try:
                yield session
            finally:
                session.close()

    def forget(self) -> None:
        """Drops instances and mappings in whatever condition they are; the next message starts from the files."""
        with self.memory_lock:
            self.close()

    def close(self) -> None:
        """Frees memory and address space. Committed state stays in the folder."""
        self._close_instances()
        for stable in (self._stable, self._query_stable):
            if stable is not None:
                stable.close()
        self._stable = self._query_stable = None

    def remove(self) -> None:
        """The canister is deleted: nothing of it stays."""
        with self.memory_lock:
            self.compiled = None
            self.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def log(self, entries: Sequence[tuple[int, bytes]]) -> None:
        """Keeps lines that the canister printed, and of all lines the newest that the settings let it keep."""
        number, room = self.state.next_log, self.state.settings.log_memory_limit - LOG_RECORD_SIZE
        if room > 0:
            self.logs += [(number + i, time, text[:room]) for i, (time, text) in enumerate(entries)]
            self.state.next_log = number + len(entries)
        self.purge_log()

    def purge_log(self) -> None:
        """Drops the oldest lines that the settings do not let the log keep."""
        self.logs = newest(self.logs, self.state.settings.log_memory_limit)


@dataclass(frozen=True)
class _Saved:
    """The private changes of a `QuerySession` at some moment: sizes, globals, and bytes by offset."""

    heap_pages: int
    stable_pages: int
    globals: list[bytes]
    heap: list[tuple[int, bytes]]
    stable: list[tuple[int, bytes]]


class QuerySession:
    """A canister's committed state for one composite query, which changes it privately.

    The canister's `memory_lock` is held as long as the session is used.
    """

    def __init__(
        self, runtime: Runtime, compiled: Compiled, heap_file: Path, stable_file: Path, state: CanisterState
    ) -> None:
        self.compiled = compiled
        self._runtime = runtime
        self._heap_file, self._stable_file = heap_file, stable_file
        self._stable: CowMemory | None = None
        self._stable_pages = state.stable_pages
        self._touched = Pages()
        self.instance = self._instantiate(state.heap_pages, state.globals)

    def _instantiate(self, heap_pages: int, globals_: list[bytes]) -> Instance:
        instance = Instance(self._runtime, self.compiled, self._heap_file, heap_pages)
        instance.reset(heap_pages, globals_)
        return instance

    def execution(self, entry: EntryPoint, given: Input, view: View) -> Execution:
        """An execution on the session's memories."""
        return Execution(entry, given, view, self.instance, Stable(self._stable_pages, self._grow_stable))

    def run(self, execution: Execution, call: Callable[[], None]) -> Outcome:
        """Runs `call`, which enters the instance of `execution`; the session keeps what it changed."""
        outcome = _run(execution, call)
        self._stable_pages = execution.stable.pages
        self._touched |= execution.stable.touched
        return outcome

    def _grow_stable(self, pages: int) -> CowMemory:
        if self._stable is None:
            self._stable = CowMemory(self._stable_file, 0)
        if self._stable.size < pages * WASM_PAGE:
            self._stable.grow(pages * WASM_PAGE)
        return self._stable

    def save(self) -> _Saved:
        """The session's state now."""
        heap, stable = self.instance.heap, self._stable
        return _Saved(
            self.instance.heap_pages(),
            self._stable_pages,
            self.instance.globals(),
            [(offset, heap.read(offset, size)) for offset, size in heap.dirty()] if heap else [],
            [(offset, stable.read(offset, size)) for offset, size in self._touched.ranges(stable.size)]
            if stable
            else [],
        )

    def restore(self, saved: _Saved) -> None:
        """Back to a state that `save` returned."""
        if not self.instance.reset(saved.heap_pages, saved.globals):
            self.instance.close()
            self.instance = self._instantiate(saved.heap_pages, saved.globals)
        for offset, data in saved.heap:
            assert self.instance.heap is not None
            self.instance.heap.write(offset, data)
        if self._stable is not None:
            self._stable.discard(self._touched.ranges(self._stable.size))
            for offset, data in saved.stable:
                self._stable.write(offset, data)
        self._stable_pages = saved.stable_pages
        self._touched = Pages()
        for offset, data in saved.stable:
            self._touched.add(offset, len(data))

    def close(self) -> None:
        """Frees memory and address space."""
        self.instance.close()
        if self._stable is not None:
            self._stable.close()


def newest(records: Sequence[LogRecord], room: int) -> list[LogRecord]:
    """As many of the last `records` of a log as take at most `room` bytes."""
    return oldest(records[::-1], room)[::-1]


def oldest(records: Sequence[LogRecord], room: int) -> list[LogRecord]:
    """As many of the first `records` of a log as take at most `room` bytes."""
    sizes = itertools.accumulate(LOG_RECORD_SIZE + len(text) for _, _, text in records)
    return list(records[: sum(1 for _ in itertools.takewhile(lambda size: size <= room, sizes))])


def _run(execution: Execution, call: Callable[[], None]) -> Outcome:
    trap = None
    try:
        call()
        execution.check_written()
    except CanisterTrap as error:
        trap = error
    return Outcome(execution, trap, execution.machine.instructions() + execution.charged)
