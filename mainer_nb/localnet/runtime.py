"""Running canister modules on wasmtime.

`Runtime` compiles modules (cached on disk by sha256) and links them to the System API; an `Instance`
is one module instantiated over a heap that belongs to a canister. wasmtime's own Python classes do
the set-up; the calls in between go through its C API directly, because they happen for every
message and every host call, on several threads at once.

The functions a canister imports find the `Execution` they act on in a thread-local: a message runs
on one thread from its first instruction to its last.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib.metadata
import itertools
import logging
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import wasmtime
from wasmtime import _ffi as ffi

from . import cache as caches
from . import memory, metering, rejections, system_api, wasm
from .errors import CanisterTrap
from .execution import Execution
from .system_api import Import

#: Limits of a canister's heap in bytes (mainnet: 4 GiB for 32-bit memories, 6 GiB for 64-bit ones).
MAX_HEAP32 = 4 * 1024**3
MAX_HEAP64 = 6 * 1024**3
#: Limit of the elements of a canister's tables.
MAX_TABLE = 1_000_000
#: Bytes of compiled modules that are kept for all networks of a user.
MAX_CACHE = 2 * 1024**3
_STACK = 4 * 1024 * 1024

logger = logging.getLogger(__name__)

_active = threading.local()

_VALUE_TYPES = {"i32": wasmtime.ValType.i32, "i64": wasmtime.ValType.i64}
_CALLBACK = ctypes.CFUNCTYPE(
    ctypes.c_size_t, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int64), ctypes.c_size_t
)
_NO_FINALIZER = ctypes.cast(0, ctypes.CFUNCTYPE(None, ctypes.c_void_p))
_SLOT = 2  # a raw wasm value takes 16 bytes: two 64-bit words, the value in the first

#: Mainnet's words for wasmtime's trap codes; what is not here is ``unknown``.
_TRAPS = {
    0: "stack overflow",
    1: "heap out of bounds",
    3: "table out of bounds",
    7: "integer division by 0",
    9: "unreachable",
}
_BAD_SIGNATURE = 5
_OUT_OF_FUEL = 11
#: What WebAssembly has by now, and canisters do not: the Internet Computer refuses it.
_NOT_FOR_CANISTERS = ("tail_call", "function_references", "gc", "multi_memory", "exceptions", "wide_arithmetic")


class Compiled:
    """A module ready to be instantiated.

    Attributes:
        sha256: of the module as it was uploaded.
        instructions: how many the module has.
        max_heap: bytes that its heap may have.
    """

    def __init__(
        self, sha256: bytes, info: wasm.ModuleInfo, instructions: int, instance_pre: wasmtime.InstancePre
    ) -> None:
        self.sha256 = sha256
        self.info = info
        self.instructions = instructions
        self.instance_pre = instance_pre
        self.max_heap = MAX_HEAP64 if info.memory64 else MAX_HEAP32


class Runtime:
    """The wasmtime engine of a network, its import table and its cache of compiled modules.

    Args:
        cache: folder for compiled modules; shared by all networks of this user.
    """

    def __init__(self, cache: Path) -> None:
        self._cache = cache
        config = wasmtime.Config()
        config.wasm_memory64 = True
        # What canisters may not use: neither does the network account for it.
        config.wasm_threads = False
        config.wasm_relaxed_simd = False
        for proposal in _NOT_FOR_CANISTERS:
            getattr(ffi, f"wasmtime_config_wasm_{proposal}_set")(config.ptr(), False)
        config.consume_fuel = True
        ffi.wasmtime_config_memory_init_cow_set(config.ptr(), False)  # memories are ours: no images of wasmtime's own
        ffi.wasmtime_config_async_stack_size_set(config.ptr(), 2 * _STACK)  # else the next line is refused
        config.max_wasm_stack = _STACK
        # Keeps references: wasmtime calls back into these for as long as the engine lives.
        self._creator = _MemoryCreator()
        ffi.wasmtime_config_host_memory_creator_set(config.ptr(), ctypes.byref(self._creator.raw))
        self.engine = wasmtime.Engine(config)
        self._linkers = {False: wasmtime.Linker(self.engine), True: wasmtime.Linker(self.engine)}
        self._callbacks = [
            _define(linker, item, memory64)
            for memory64, linker in self._linkers.items()
            for item in system_api.IMPORTS.values()
            if not (memory64 and item.only32)
        ]
        self._compiled: dict[bytes, Compiled] = {}
        self._lock = threading.Lock()
        self._compiling: dict[bytes, threading.Lock] = {}

    def compile(self, module: bytes) -> Compiled:
        """The compiled form of `module` (wasm, or gzipped wasm).

        Raises:
            wasm.InvalidModule: it is not a canister module, or imports what does not exist.
        """
        sha256 = hashlib.sha256(module).digest()
        with self._lock:
            if sha256 in self._compiled:
                return self._compiled[sha256]
            mutex = self._compiling.setdefault(sha256, threading.Lock())
        with mutex:
            if sha256 in self._compiled:
                return self._compiled[sha256]
            plain = wasm.decompress(module)
            info = wasm.inspect(plain)
            _check_imports(info)
            native, instructions = self._native(sha256, plain, info)
            try:
                pre = self._linkers[info.memory64].instantiate_pre(native)
            except wasmtime.WasmtimeError as error:
                raise wasm.InvalidModule(str(error)) from error
            compiled = Compiled(sha256, info, instructions, pre)
            with self._lock:
                self._compiled[sha256] = compiled
            return compiled

    def forget(self, sha256: bytes) -> None:
        """Nobody has this module any more: its compiled form is kept on disk only."""
        with self._lock:
            self._compiled.pop(sha256, None)
            self._compiling.pop(sha256, None)

    def _native(self, sha256: bytes, module: bytes, info: wasm.ModuleInfo) -> tuple[wasmtime.Module, int]:
        """Machine code for a module, and how many instructions the module has, which the name of the kept file says."""
        version = importlib.metadata.version("wasmtime")
        key = f"{sha256.hex()}-wasmtime{version}-{metering.VERSION}-{wasm.INSTRUMENTED}"
        with contextlib.suppress(wasmtime.WasmtimeError, OSError):  # made with other settings, cut short, locked
            for path in self._cache.glob(f"{key}-*.cwasm"):
                caches.used(path)
                return wasmtime.Module.deserialize_file(self.engine, str(path)), int(path.stem.rpartition("-")[2])
        try:
            module = wasm.without_long_names(module)
            wasmtime.Module.validate(self.engine, module)  # as a whole: its start function is not what is compiled
            weighed = metering.weigh(wasm.code_section(module), info.memory64)
            native = wasmtime.Module(self.engine, wasm.instrument(module, info, weighed.code))
        except wasmtime.WasmtimeError as error:
            raise wasm.InvalidModule(str(error)) from error
        _check_entry_points(native)
        self._keep(self._cache / f"{key}-{weighed.instructions}.cwasm", native.serialize())
        return native, weighed.instructions

    def _keep(self, path: Path, compiled: bytes | bytearray) -> None:
        """Keeps a compiled module for the next time, if there is room for it and it may be written."""
        partial = path.with_suffix(f".{os.getpid()}.{threading.get_ident()}")
        try:
            self._cache.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(compiled)
            partial.replace(path)
        except OSError as error:
            logger.warning("compiled modules cannot be kept in %s: %s", self._cache, error.strerror)
            with contextlib.suppress(OSError):
                partial.unlink()
        caches.prune(self._cache, MAX_CACHE)


_KINDS = ("i32", "i64", "f32", "f64", "v128")


def global_value(raw: bytes) -> dict[str, int | float]:
    """A raw value of `Instance.globals` as a Candid variant: its kind and its value (a v128 as a number)."""
    value = cast(Any, ffi.wasmtime_val_t.from_buffer_copy(raw))
    kind = _KINDS[value.kind]
    found = getattr(value.of, kind)
    return {kind: int.from_bytes(bytes(found), "little") if kind == "v128" else found}


def raw_global(variant: dict[str, int | float]) -> bytes:
    """The inverse of `global_value`."""
    (kind, number), *_ = variant.items()
    value = cast(Any, ffi.wasmtime_val_t())
    value.kind = _KINDS.index(kind)
    if kind == "v128":
        value.of.v128 = (ctypes.c_uint8 * 16)(*int(number).to_bytes(16, "little"))
    else:
        setattr(value.of, kind, number)
    return ctypes.string_at(ctypes.byref(value), ctypes.sizeof(value))


class Instance:
    """A module instantiated over the heap in file `base`, of which `pages` wasm pages are committed.

    One thread at a time may use it. With ``pages=None`` the instance is new: its memory is what the
    module's data segments say, and nothing of it is committed yet.
    """

    def __init__(self, runtime: Runtime, compiled: Compiled, base: Path, pages: int | None) -> None:
        self.compiled = compiled
        self.heap: memory.CowMemory | None = None
        self._dirty: list[memory.Range] | None = None  # known as long as nothing is executed
        self._entered = False
        self._fuel = 0
        info = compiled.info
        self._store = wasmtime.Store(runtime.engine)
        self._context = self._store._context()
        ffi.wasmtime_context_set_fuel(self._context, 2**62)
        self._store.set_limits(memory_size=compiled.max_heap, table_elements=MAX_TABLE)
        _active.heap_for = (base, compiled.max_heap)
        try:
            self._instance = compiled.instance_pre.instantiate(self._store)
        except (wasmtime.Trap, wasmtime.WasmtimeError) as error:
            raise CanisterTrap("IC0505", f"Canister cannot be instantiated: {error}") from error
        finally:
            _active.heap_for = None
        self._memory = None
        self._table = None
        if info.memory_pages is not None:
            self._memory = self._export(wasm.EXPORT_MEMORY).memory
            self.heap = _active.heap
            _active.heap = None
        if info.has_table:
            self._table = self._export(wasm.EXPORT_TABLE).table
        self._globals = [self._export(wasm.global_export(item.number)).global_ for item in info.globals]
        self._is_mutable = [item.mutable for item in info.globals]
        self._settable = list(itertools.compress(self._globals, self._is_mutable))
        self._functions: dict[str, ffi.wasmtime_func_t] = {}
        _check(ffi.wasmtime_context_set_fuel(self._context, 0))  # nothing has been executed yet
        self._initial = 0
        if pages is None:
            self._initial = memory.total(self.dirty())
        elif self.heap is not None:
            # What the data segments wrote is not the committed state: drop it.
            self.discard()
            self._resize(pages)

    def _export(self, name: str) -> Any:
        """What the instance exports as `name`, which it does; asked for one by one, since there may be very many."""
        found, text = cast(Any, ffi.wasmtime_extern_t()), name.encode()
        there = ffi.wasmtime_instance_export_get(
            self._context,
            ctypes.byref(self._instance._instance),
            ctypes.create_string_buffer(text, len(text)),
            len(text),
            ctypes.byref(found),
        )
        assert there, name
        return found.of

    def _resize(self, pages: int) -> bool:
        """Grows the heap to `pages`. False if it is already larger: wasm memories never shrink."""
        assert self.heap is not None
        delta = pages - self.heap.size // memory.WASM_PAGE
        if delta > 0:
            previous = ctypes.c_uint64()
            _check(
                ffi.wasmtime_memory_grow(
                    self._context, ctypes.byref(cast(Any, self._memory)), delta, ctypes.byref(previous)
                )
            )
        return delta >= 0

    def heap_pages(self) -> int:
        """Size of the heap in wasm pages."""
        return self.heap.size // memory.WASM_PAGE if self.heap else 0

    def dirty(self) -> list[memory.Range]:
        """The ranges of the heap that differ from the committed state."""
        if self._dirty is not None:
            return self._dirty
        found = self.heap.dirty() if self.heap else []
        if not self._entered:
            self._dirty = found
        return found

    def written(self) -> int:
        """Bytes, in whole pages, that the heap was written to; of a new instance, without its data segments."""
        return max(0, memory.total(self.dirty()) - self._initial)

    def discard(self) -> None:
        """Drops what differs from the committed state, or has become the committed state."""
        if self.heap is not None:
            self.heap.discard(self.dirty())
        self._dirty, self._initial = None, 0

    def globals(self) -> list[bytes]:
        """The values of the globals that the module declares as mutable or exports, as their raw 16 bytes."""
        value = ffi.wasmtime_val_t()
        values = []
        for item in self._globals:
            ffi.wasmtime_global_get(self._context, ctypes.byref(item), ctypes.byref(value))
            values.append(ctypes.string_at(ctypes.byref(value), ctypes.sizeof(value)))
        return values

    def reset(self, pages: int, globals_: list[bytes]) -> bool:
        """Back to the committed state: drops uncommitted pages, restores globals, follows a grown heap.

        Args:
            globals_: as `globals` gives them.

        Returns:
            False if that is impossible (the heap has grown beyond `pages`): the instance must be replaced.
        """
        if self.heap is not None:
            self.discard()
            if not self._resize(pages):
                return False
        if len(globals_) > len(self._settable):  # else the state of an earlier version, with the mutable ones only
            globals_ = list(itertools.compress(globals_, self._is_mutable))
        for item, raw in zip(self._settable, globals_, strict=True):
            value = ffi.wasmtime_val_t.from_buffer_copy(raw)
            _check(ffi.wasmtime_global_set(self._context, ctypes.byref(item), ctypes.byref(value)))
        return True

    def has(self, export: str) -> bool:
        """Whether the module exports a function of this name."""
        return export in self.compiled.info.exports

    def instructions(self) -> int:
        """Instructions executed since the current entry point was called."""
        left = ctypes.c_uint64()
        ffi.wasmtime_context_get_fuel(self._context, ctypes.byref(left))
        return self._fuel - left.value

    def spend(self, instructions: int) -> None:
        """Counts work done by the system as `instructions`.

        Raises:
            CanisterTrap: they are beyond the limit of the current entry point.
        """
        left = self._fuel - self.instructions()
        _check(ffi.wasmtime_context_set_fuel(self._context, max(0, left - instructions)))
        if left < instructions:
            raise rejections.too_many_instructions(self._fuel)

    def call_export(self, name: str, execution: Execution) -> None:
        """Calls the exported function `name` (no parameters, no results).

        Raises:
            CanisterTrap: it trapped, or used more instructions than it may.
        """
        function = self._functions.get(name)
        if function is None:
            function = self._functions[name] = self._export(name).func
        self._call(function, (), execution)

    def call_table(self, index: int, environment: int, execution: Execution) -> None:
        """Calls the function at `index` of the first table with one argument, as callbacks are called.

        Raises:
            CanisterTrap: there is no such function, it trapped, or used more instructions than it may.
        """
        value = ffi.wasmtime_val_t()
        if self._table is None or not ffi.wasmtime_table_get(
            self._context, ctypes.byref(self._table), index, ctypes.byref(value)
        ):
            raise rejections.no_such_function(index)
        if value.of.funcref.store_id == 0:
            raise rejections.violation("unexpected null function reference")
        if not self._takes_environment(value.of.funcref):
            raise rejections.bad_signature()
        self._call(value.of.funcref, (environment,), execution)

    def _takes_environment(self, function: ffi.wasmtime_func_t) -> bool:
        """Whether `function` has the type of a callback: one parameter, an address, and no result."""
        found = wasmtime.FuncType._from_ptr(ffi.wasmtime_func_type(self._context, ctypes.byref(function)), None)
        address = wasmtime.ValType.i64() if self.compiled.info.memory64 else wasmtime.ValType.i32()
        return found.params == [address] and not found.results

    def _call(self, function: ffi.wasmtime_func_t, args: tuple[int, ...], execution: Execution) -> None:
        limit = execution.view.instruction_limit
        self._fuel, self._dirty = limit, None
        _check(ffi.wasmtime_context_set_fuel(self._context, limit))
        raw = (ffi.wasmtime_val_raw_t * max(1, len(args)))()
        for slot, arg in zip(raw, args, strict=False):
            slot.i64 = arg if arg < 2**63 else arg - 2**64
        trap = ctypes.POINTER(ffi.wasm_trap_t)()
        _active.execution = execution
        self._entered = True
        try:
            error = ffi.wasmtime_func_call_unchecked(
                self._context, ctypes.byref(function), raw, len(args), ctypes.byref(trap)
            )
        finally:
            _active.execution = None
            self._entered = False
        if execution.error is not None:
            failure, execution.error = execution.error, None
            if trap:
                ffi.wasm_trap_delete(trap)
            raise failure
        if trap:
            raise _trap(trap, limit)
        if error:
            raise rejections.trap(str(wasmtime.WasmtimeError._from_ptr(error)))

    def close(self) -> None:
        """Frees the instance and its address space; the committed state stays in its file."""
        self._store.close()
        if self.heap is not None:
            self.heap.close()
            self.heap = None


def _trap(trap: ctypes._Pointer[Any], limit: int) -> CanisterTrap:
    code = ctypes.c_uint8(255)
    known = ffi.wasmtime_trap_code(trap, ctypes.byref(code))
    ffi.wasm_trap_delete(trap)
    if known and code.value == _OUT_OF_FUEL:
        return rejections.too_many_instructions(limit)
    if known and code.value == _BAD_SIGNATURE:
        return rejections.bad_signature()
    return rejections.trap(_TRAPS.get(code.value, "unknown") if known else "unknown")


def _check(error: ctypes._Pointer[Any]) -> None:
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)


def _check_imports(info: wasm.ModuleInfo) -> None:
    for namespace, name in info.imports:
        if namespace != "ic0" or name not in system_api.IMPORTS:
            raise wasm.InvalidModule(
                f"it imports {namespace}.{name}, which the System API does not have; "
                "canisters may import only the functions of module ic0 that the IC interface specification lists"
            )
        if info.memory64 and system_api.IMPORTS[name].only32:
            raise wasm.InvalidModule(f"it imports ic0.{name}, which modules with 64-bit memories do not have")


def _check_entry_points(module: wasmtime.Module) -> None:
    for export in module.exports:
        if export.name.startswith("canister_") and isinstance(export.type, wasmtime.FuncType):
            params, results = [list(map(str, types)) for types in (export.type.params, export.type.results)]
            if params or results:
                raise wasm.InvalidModule(
                    f"Wasm module has an invalid function signature: '{export.name}' takes {params} and returns"
                    f" {results}; entry points take and return nothing"
                )


def _define(linker: wasmtime.Linker, item: Import, memory64: bool) -> object:
    """Gives `item` to `linker` with the address type of its modules; returns the C callback, to be kept alive."""
    address = "i64" if memory64 else "i32"
    params = [address if kind == "I" else kind for kind in item.params]
    results = [address if kind == "I" else kind for kind in item.results]
    function_type = wasmtime.FuncType(
        [_VALUE_TYPES[kind]() for kind in params], [_VALUE_TYPES[kind]() for kind in results]
    )
    callback = _CALLBACK(_host_function(item, [2**32 - 1 if kind == "i32" else 2**64 - 1 for kind in params]))
    namespace, name = b"ic0", item.name.encode()
    _check(
        ffi.wasmtime_linker_define_func_unchecked(
            linker.ptr(),
            ctypes.create_string_buffer(namespace),
            len(namespace),
            ctypes.create_string_buffer(name),
            len(name),
            function_type.ptr(),
            ctypes.cast(callback, ffi.wasmtime_func_unchecked_callback_t),
            None,
            _NO_FINALIZER,
        )
    )
    return callback


def _host_function(item: Import, masks: list[int]) -> Callable[..., int]:
    """The C-callable form of `item`: arguments and result are raw wasm values in one array."""
    function, entries, overhead = item.function, item.entries, item.overhead
    slots = [(_SLOT * i, mask) for i, mask in enumerate(masks)]

    def host(_env: int, _caller: int, values: ctypes._Pointer[Any], _count: int) -> int:
        execution: Execution = _active.execution
        try:
            if execution.entry not in entries:
                item.refuse(execution)
            execution.charge(overhead)
            result = function(execution, *[values[slot] & mask for slot, mask in slots])
            if result is not None:
                values[0] = result if result < 2**63 else result - 2**64
            return 0
        except BaseException as error:  # anything else would be lost inside wasmtime
            execution.error = error
            return ctypes.cast(ffi.wasmtime_trap_new(b"host", 4), ctypes.c_void_p).value or 0

    return host


class _MemoryCreator:
    """Gives wasmtime the linear memories it asks for: copy-on-write views of a canister's heap file."""

    def __init__(self) -> None:
        self._memories: dict[int, memory.CowMemory] = {}
        self._next = 1
        self._lock = threading.Lock()
        self._get = ffi.wasmtime_memory_get_callback_t(self._get_memory)
        self._grow = ffi.wasmtime_memory_grow_callback_t(self._grow_memory)
        self._final = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(self._finalize)
        self._new = ffi.wasmtime_new_memory_callback_t(self._new_memory)
        self.raw = cast(Any, ffi.wasmtime_memory_creator_t())
        self.raw.env = None
        self.raw.new_memory = self._new
        self.raw.finalizer = _NO_FINALIZER

    def _new_memory(
        self, _env: int, _type: int, minimum: int, maximum: int, reserved: int, guard: int, out: ctypes._Pointer[Any]
    ) -> int:
        base, limit = _active.heap_for
        if minimum > limit:
            return self._fail(f"its memory starts with {minimum} bytes; the limit is {limit}")
        try:
            heap = memory.CowMemory(base, minimum, max(reserved, min(limit, maximum)), guard)
        except (OSError, MemoryError) as error:
            return self._fail(str(error))
        _active.heap = heap
        with self._lock:
            handle, self._next = self._next, self._next + 1
            self._memories[handle] = heap
        result = out[0]
        result.env = handle
        result.get_memory = self._get
        result.grow_memory = self._grow
        result.finalizer = self._final
        return 0

    def _fail(self, message: str) -> int:
        text = message.encode()
        return ctypes.cast(ffi.wasmtime_error_new(ctypes.create_string_buffer(text)), ctypes.c_void_p).value or 1

    def _get_memory(self, handle: int, size: ctypes._Pointer[Any], capacity: ctypes._Pointer[Any]) -> int:
        heap = self._memories[handle]
        size[0], capacity[0] = heap.size, heap.capacity
        return heap.address

    def _grow_memory(self, handle: int, size: int) -> int:
        heap = self._memories[handle]
        if size > heap.capacity:
            return self._fail(f"a memory of {size} bytes is beyond the limit of {heap.capacity}")
        try:
            execution = getattr(_active, "execution", None)
            if execution is not None:
                execution.look(time.thread_time())
            heap.grow(size)
        except CanisterTrap as trap:
            return self._fail(str(trap))
        except (OSError, MemoryError) as error:
            return self._fail(str(error))
        return 0

    def _finalize(self, handle: int) -> None:
        with self._lock:
            self._memories.pop(handle).close()
