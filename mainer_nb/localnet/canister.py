"""One canister: its state, its memory files and the wasm instances that work on them.

An update instance executes messages one at a time; its changes stay private until `commit`. A query
instance, made when the first query comes, sees the committed state only, so that queries need not
wait for a message that runs for a minute. `memory_lock` keeps the two apart while a commit is
written.
"""

from __future__ import annotations

import shutil
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..protocol import principal
from . import cycles, journal, rejections, system_api
from .errors import CanisterTrap, Failure, Reject, RejectCode, StateError
from .memory import WASM_PAGE, CowMemory, Pages
from .runtime import Compiled, Instance, Runtime
from .state import CallMessage, CanisterState, Message
from .store import LogRecord, check_file
from .system_api import Execution

STATUS_CODES = {"running": 1, "stopping": 2, "stopped": 3}

#: Instruction limits per message (IC: "Resource limits").
UPDATE_LIMIT = 40_000_000_000
QUERY_LIMIT = 5_000_000_000
INSTALL_LIMIT = 300_000_000_000
INSPECT_LIMIT = 200_000_000
#: Bytes of heap, and of stable memory, that a message may write to, an installation or upgrade, a replicated query.
WRITE_LIMIT = 2 * 1024**3
INSTALL_WRITE_LIMIT = 8 * 1024**3
QUERY_WRITE_LIMIT = 1024**3


@dataclass(frozen=True)
class Surroundings:
    """What every execution on a network sees of it."""

    subnet_id: bytes
    root_key: bytes


@dataclass
class Outcome:
    """What an entry point left behind: its `execution`, and the trap that ended it, if one did."""

    execution: Execution
    trap: CanisterTrap | None
    instructions: int


class Canister:
    """A canister of a running network. Its `state` is changed by the scheduler alone."""

    def __init__(self, runtime: Runtime, folder: Path, state: CanisterState, compiled: Compiled | None) -> None:
        self.state = state
        #: The canister's id as text.
        self.name = principal.to_text(state.id)
        self.compiled = compiled
        self.memory_lock = threading.RLock()
        self.busy = False
        self.queue: deque[tuple[int, Message]] = deque()
        self.management: deque[tuple[int, CallMessage]] = deque()
        self.logs: list[LogRecord] = []
        self._runtime = runtime
        self._folder = folder
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

    def execution(self, entry: str, around: Surroundings, now: int, instance: Instance, limit: int) -> Execution:
        """An `Execution` for entry point `entry` that sees the committed state."""
        state = self.state
        return Execution(
            entry=entry,
            machine=instance,
            canister_id=state.id,
            subnet_id=around.subnet_id,
            root_key=around.root_key,
            time=now,
            balance=state.cycles,
            reserve=max(0, self.freezing_threshold() - state.reserved),
            version=state.version,
            status=STATUS_CODES[state.status],
            controllers=frozenset(state.settings.controllers),
            environment=tuple((name, value) for name, value in state.settings.environment_variables),
            instruction_limit=limit,
            write_limit=_write_limit(entry),
            log_limit=state.settings.log_memory_limit,
            memory64=instance.compiled.info.memory64,
            stable_pages=state.stable_pages,
            certified_data=state.certified_data,
            global_timer=state.global_timer,
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

    def run(self, execution: Execution, call: Callable[[], None]) -> Outcome:
        """Runs `call`, which enters the instance of `execution`, with the canister's stable memory at hand."""
        if execution.stable_pages:
            execution.stable = self._grow_stable(execution.stable_pages)
        execution.grow_stable = self._grow_stable
        self._limit_growth(execution)
        outcome = _run(execution, call)
        outcome.instructions += execution.dirty_heap_price()
        if outcome.trap is None:
            outcome.trap = self._beyond_limits(execution, outcome.instructions)
        return outcome

    def _limit_growth(self, execution: Execution) -> None:
        """A memory allocation is also the most that the canister may use: growing beyond it fails."""
        allocation, heap = self.state.settings.memory_allocation, execution.machine.heap
        free = max(0, allocation - self.state.memory_size())
        if heap is not None:
            heap.limit = heap.size + free if allocation else heap.capacity
        if allocation:
            execution.max_stable_pages = min(system_api.MAX_STABLE_PAGES, execution.stable_pages + free // WASM_PAGE)

    def _beyond_limits(self, execution: Execution, instructions: int) -> CanisterTrap | None:
        """The trap of an execution that went beyond what the settings, the cycles or the network allow."""
        settings, heap = self.state.settings, execution.machine.heap
        heap_size = heap.size if heap is not None else 0
        if execution.entry in ("U", "I") and 0 < settings.wasm_memory_limit < heap_size:
            return rejections.heap_too_large(settings.wasm_memory_limit, heap_size)
        limit = _write_limit(execution.entry)
        if heap_size > limit and execution.machine.written() > limit:
            return rejections.too_much_written("main", limit)
        grown = heap_size + (execution.stable_pages - self.state.stable_pages - self.state.heap_pages) * WASM_PAGE
        if grown <= 0 or execution.entry == "RQ":
            return None
        size = self.state.memory_size() + grown
        if 0 < settings.memory_allocation < size:
            return rejections.out_of_memory()
        left = execution.balance + self.state.reserved - cycles.execution(instructions, execution.memory64)
        missing = self.freezing_threshold(size) - left
        return rejections.cannot_pay_growth(grown, missing) if missing > 0 else None

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
        size = execution.stable_pages * WASM_PAGE
        stable_ranges = execution.stable_touched.ranges(size)
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
        shutil.copyfile(heap, self._heap_file(self.state.heap_generation + 1))
        shutil.copyfile(stable, self._stable_file(self.state.stable_generation + 1))

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

    def query(
        self, entry: str, around: Surroundings, now: int, limit: int, export: str, prepare: Callable[[Execution], None]
    ) -> Outcome:
        """Runs the exported function `export` on the committed state and forgets all its changes.

        `prepare` fills in what the execution should see (caller, argument, …).

        Raises:
            Failure: the canister does not have the function (any more).
        """
        with self.memory_lock:
            state = self.state
            if self._half_written:
                text = f"the memory in {self._folder} cannot be written"
                raise Failure(Reject(int(RejectCode.SYS_TRANSIENT), text))
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
            execution = self.execution(entry, around, now, instance, limit)
            if state.stable_pages:
                execution.stable = self._grow_query_stable(state.stable_pages)
            execution.grow_stable = self._grow_query_stable
            prepare(execution)
            outcome = _run(execution, lambda: instance.call_export(export, execution, limit))
            if self._query_stable is not None:
                self._query_stable.discard(execution.stable_touched.ranges(self._query_stable.size))
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
        number, limit = self.state.next_log, self.state.settings.log_memory_limit
        self.logs += [(number + i, time, text[:limit]) for i, (time, text) in enumerate(entries)]
        self.state.next_log = number + len(entries)
        size = self.log_size()
        dropped = 0
        while size > limit:
            size -= len(self.logs[dropped][2])
            dropped += 1
        del self.logs[:dropped]

    def log_size(self) -> int:
        """Bytes of the lines that are kept."""
        return sum(len(text) for _, _, text in self.logs)


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

    def run(self, execution: Execution, call: Callable[[], None]) -> Outcome:
        """Runs `call`, which enters the instance, with the session's stable memory at hand."""
        execution.stable_pages = self._stable_pages
        if self._stable_pages:
            execution.stable = self._grow_stable(self._stable_pages)
        execution.grow_stable = self._grow_stable
        outcome = _run(execution, call)
        self._stable_pages = execution.stable_pages
        self._touched |= execution.stable_touched
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


def _run(execution: Execution, call: Callable[[], None]) -> Outcome:
    trap = None
    try:
        call()
    except CanisterTrap as error:
        trap = error
    return Outcome(execution, trap, execution.machine.instructions() + execution.charged)


def _write_limit(entry: str) -> int:
    """Bytes of a memory that an entry point may write to."""
    if entry in ("I", "G", "s"):
        return INSTALL_WRITE_LIMIT
    return WRITE_LIMIT if entry in ("U", "Ry", "Rt", "C", "T") else QUERY_WRITE_LIMIT
