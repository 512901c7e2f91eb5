"""Snapshots of canisters: taking, loading, listing, deleting, and moving them out of and into the subnet.

The module and the memories of a snapshot are files in its own folder, complete before the database
knows of the snapshot. A snapshot that is uploaded has files that are written piece by piece.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from ...protocol import principal
from .. import cycles, runtime, wasm
from ..canister import HostedCanister
from ..errors import Failure
from ..execution import MAX_STABLE_PAGES
from ..memory import WASM_PAGE, copy_file
from ..rejections import caller_fault
from ..runtime import Compiled
from ..state import CHUNK_SIZE, GLOBAL_SIZE, CallMessage, LowMemoryHook, Snapshot
from ..subnet import Step, Subnet
from ..system_api import MAX_CERTIFIED_DATA
from .chunks import MAX_CHUNKS
from .code import compile_module, empty
from .methods import Answer, Callers, canister_method, charge_work, record, reply, use_memory

MAX_SNAPSHOTS = 10
#: Bytes that one read or upload of snapshot data may have.
MAX_SLICE = 2_000_000
_MODULE, _HEAP, _STABLE = "module", "heap", "stable"
#: Bytes of the number in a snapshot's id.
_NUMBER = 8


@canister_method(Callers.CONTROLLERS)
def take_canister_snapshot(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    state = canister.state
    if state.module is None:
        text = f"Failed to create snapshot for empty canister {principal.to_text(state.id)}:"
        raise caller_fault("IC0406", text)
    replaced = _replaced(subnet, canister, args["replace_snapshot"])
    snapshot = Snapshot(
        id=_next_id(canister),
        canister_id=state.id,
        taken=subnet.clock.now(),
        uploaded=False,
        version=state.version,
        module_size=state.module_size,
        globals=list(state.globals),
        heap_size=state.heap_pages * WASM_PAGE,
        stable_size=state.stable_pages * WASM_PAGE,
        chunks=subnet.store.chunks(state.id),
        certified_data=state.certified_data,
        global_timer=state.global_timer,
        low_memory_hook=state.low_memory_hook,
        size=state.code_size(),
    )
    freed = snapshot.size if args["uninstall_code"] else 0
    with subnet.step() as step:
        more = snapshot.size - freed - (replaced.size if replaced else 0)
        use_memory(step, canister, more, cycles.SNAPSHOT_INSTRUCTIONS + snapshot.size)
    folder = _fresh_folder(subnet, snapshot)
    (folder / _MODULE).write_bytes(subnet.store.module(state.module))
    hand_over = _hand_over if args["uninstall_code"] else _copy
    hand_over(canister.heap_file(), folder / _HEAP, snapshot.heap_size)
    hand_over(canister.stable_file(), folder / _STABLE, snapshot.stable_size)
    with canister.snapshots_lock:
        with canister.memory_lock, subnet.step() as step:  # in this order: a commit takes them so
            step.changes.chunks.append((snapshot.id, state.id))
            _keep(step, canister, snapshot, replaced)
            if args["uninstall_code"]:
                empty(step, canister)
                record(step, canister, message, {"code_uninstall": None}, args["sender_canister_version"])
        _remove_files(subnet, replaced)
    if args["uninstall_code"]:
        canister.uninstall()
    return reply(message, _described(snapshot))


@canister_method(Callers.CONTROLLERS)
def load_canister_snapshot(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    owner = subnet.canisters.get(_owner(args["snapshot_id"]))
    if owner is None:
        raise _not_found(canister, args["snapshot_id"])
    with owner.snapshots_lock:
        _load(subnet, canister, owner, message, args)
    return reply(message)


def _load(subnet: Subnet, canister: HostedCanister, owner: HostedCanister, message: CallMessage, args: Any) -> None:
    """Loads a snapshot of `owner` onto `canister`, which may be another, while nothing changes its files."""
    state, snapshot = canister.state, subnet.store.snapshot(args["snapshot_id"])
    if snapshot is None:
        raise _not_found(canister, args["snapshot_id"])
    if owner is not canister:
        _check_loadable_elsewhere(subnet, snapshot, owner, canister, message.caller)
    folder = subnet.store.snapshot_folder(snapshot)
    module = (folder / _MODULE).read_bytes()
    compiled = compile_module(subnet, module)
    if snapshot.uploaded:
        _check_fits(snapshot, compiled)
        _check_hook(snapshot, canister, compiled)
    with subnet.step() as step:
        use_memory(step, canister, snapshot.size - state.code_size(), cycles.SNAPSHOT_INSTRUCTIONS + snapshot.size)
    canister.put_memories(folder / _HEAP, folder / _STABLE)
    subnet.store.put_module(compiled.sha256, module)  # here it may fail; below nothing may
    with canister.memory_lock, subnet.step() as step:  # in this order: a commit takes them so
        step.changes.chunks.append((state.id, snapshot.id))
        state.chunks = len(snapshot.chunks)
        step.change_module(canister, compiled, module)
        state.globals = list(snapshot.globals)
        state.heap_pages, state.stable_pages = snapshot.heap_size // WASM_PAGE, snapshot.stable_size // WASM_PAGE
        state.heap_generation += 1
        state.stable_generation += 1
        state.certified_data = snapshot.certified_data
        state.version += 1
        if snapshot.uploaded and snapshot.global_timer is not None:
            step.set_timer(canister, snapshot.global_timer)
        if snapshot.uploaded and snapshot.low_memory_hook is not None:
            state.low_memory_hook = snapshot.low_memory_hook
        details = {
            "from_canister_id": None if owner is canister else owner.state.id,
            "canister_version": snapshot.version,
            "snapshot_id": snapshot.id,
            "taken_at_timestamp": snapshot.taken,
            "source": _source(snapshot),
        }
        record(step, canister, message, {"load_snapshot": details}, args["sender_canister_version"])
        step.check_low_memory(canister)
    canister.uninstall()


@canister_method(Callers.CONTROLLERS, visibility="snapshot_visibility")
def list_canister_snapshots(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    return reply(message, [_described(snapshot) for snapshot in subnet.store.snapshots(canister.state.id)])


@canister_method(Callers.CONTROLLERS)
def delete_canister_snapshot(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    snapshot = _find(subnet, canister, args["snapshot_id"])
    with canister.snapshots_lock:
        with subnet.step() as step:
            step.changes.snapshots[snapshot.id] = None
            canister.state.snapshots_size -= snapshot.size
            step.touch(canister)
        _remove_files(subnet, snapshot)
    return reply(message)


@canister_method(Callers.CONTROLLERS, visibility="snapshot_visibility")
def read_canister_snapshot_metadata(
    subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any
) -> Answer:
    snapshot = _find(subnet, canister, args["snapshot_id"])
    result = {
        "source": _source(snapshot),
        "taken_at_timestamp": snapshot.taken,
        "wasm_module_size": snapshot.module_size,
        "globals": [runtime.global_value(raw) for raw in snapshot.globals],
        "wasm_memory_size": snapshot.heap_size,
        "stable_memory_size": snapshot.stable_size,
        "wasm_chunk_store": [{"hash": sha256} for sha256 in snapshot.chunks],
        "canister_version": snapshot.version,
        "certified_data": snapshot.certified_data,
        "global_timer": _timer(snapshot.global_timer),
        "on_low_wasm_memory_hook_status": snapshot.low_memory_hook and {snapshot.low_memory_hook: None},
    }
    return reply(message, result)


@canister_method(Callers.CONTROLLERS, visibility="snapshot_visibility")
def read_canister_snapshot_data(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    snapshot = _find(subnet, canister, args["snapshot_id"])
    (kind, where), *_ = args["kind"].items()
    if kind == "wasm_chunk":
        chunk = subnet.store.chunk(snapshot.id, where["hash"])
        if chunk is None:
            raise caller_fault("IC0408", f"The snapshot has no chunk with hash {where['hash'].hex()}")
        return reply(message, {"chunk": chunk})
    _check_slice(snapshot, kind, where["offset"], where["size"])
    with _file(subnet, snapshot, kind).open("rb") as file:
        return reply(message, {"chunk": os.pread(file.fileno(), where["size"], where["offset"])})


@canister_method(Callers.CONTROLLERS)
def upload_canister_snapshot_metadata(
    subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any
) -> Answer:
    replaced = _replaced(subnet, canister, args["replace_snapshot"])
    _check_metadata(args)
    timer, hook = args["global_timer"], args["on_low_wasm_memory_hook_status"]
    snapshot = Snapshot(
        id=_next_id(canister),
        canister_id=canister.state.id,
        taken=subnet.clock.now(),
        uploaded=True,
        version=canister.state.version,
        module_size=args["wasm_module_size"],
        globals=[runtime.raw_global(value) for value in args["globals"]],
        heap_size=args["wasm_memory_size"],
        stable_size=args["stable_memory_size"],
        chunks=[],
        certified_data=args["certified_data"],
        global_timer=None if timer is None else timer.get("active") or 0,
        low_memory_hook=None if hook is None else LowMemoryHook(next(iter(hook))),
        size=args["wasm_module_size"]
        + args["wasm_memory_size"]
        + args["stable_memory_size"]
        + GLOBAL_SIZE * len(args["globals"]),
    )
    with subnet.step() as step:
        more = snapshot.size - (replaced.size if replaced else 0)
        use_memory(step, canister, more, cycles.SNAPSHOT_INSTRUCTIONS)
    folder = _fresh_folder(subnet, snapshot)
    for name, size in ((_MODULE, snapshot.module_size), (_HEAP, snapshot.heap_size), (_STABLE, snapshot.stable_size)):
        with (folder / name).open("wb") as file:
            file.truncate(size)
    with canister.snapshots_lock:
        with subnet.step() as step:
            _keep(step, canister, snapshot, replaced)
        _remove_files(subnet, replaced)
    return reply(message, {"snapshot_id": snapshot.id})


@canister_method(Callers.CONTROLLERS)
def upload_canister_snapshot_data(subnet: Subnet, canister: HostedCanister, message: CallMessage, args: Any) -> Answer:
    snapshot, chunk = _find(subnet, canister, args["snapshot_id"]), args["chunk"]
    if not snapshot.uploaded:
        text = "Only canister snapshots created by metadata upload can be mutated."
        raise caller_fault("IC0409", text)
    (kind, where), *_ = args["kind"].items()
    with canister.snapshots_lock:
        if kind == "wasm_chunk":
            _add_chunk(subnet, canister, snapshot, chunk)
        else:
            _check_slice(snapshot, kind, where["offset"], len(chunk))
            with subnet.step() as step:
                charge_work(step, canister, len(chunk))
                snapshot.changed = subnet.clock.now()
                step.changes.snapshots[snapshot.id] = snapshot
            with _file(subnet, snapshot, kind).open("r+b") as file:
                os.pwrite(file.fileno(), chunk, where["offset"])
    return reply(message)


def _add_chunk(subnet: Subnet, canister: HostedCanister, snapshot: Snapshot, chunk: bytes) -> None:
    if len(chunk) > CHUNK_SIZE:
        raise caller_fault("IC0408", f"Wasm chunk size {len(chunk)} exceeds the maximum chunk size of {CHUNK_SIZE}")
    sha256 = hashlib.sha256(chunk).digest()
    if sha256 in snapshot.chunks:
        return
    if len(snapshot.chunks) >= MAX_CHUNKS:
        text = f"Wasm chunk store has already reached maximum capacity of {MAX_CHUNKS} chunks"
        raise caller_fault("IC0408", text)
    with subnet.step() as step:
        use_memory(step, canister, CHUNK_SIZE)
        subnet.store.put_chunk(snapshot.id, sha256, chunk)
        snapshot.chunks = sorted([*snapshot.chunks, sha256])
        snapshot.size += CHUNK_SIZE
        canister.state.snapshots_size += CHUNK_SIZE
        step.changes.snapshots[snapshot.id] = snapshot
        step.touch(canister)


# Finding and describing.


def _find(subnet: Subnet, canister: HostedCanister, snapshot_id: bytes) -> Snapshot:
    """A snapshot of `canister`.

    Raises:
        Failure: there is none of this id, or it is another canister's.
    """
    snapshot = subnet.store.snapshot(snapshot_id)
    if snapshot is None:
        raise _not_found(canister, snapshot_id)
    if snapshot.canister_id != canister.state.id:
        text = f"The snapshot {snapshot_id.hex()} does not belong to canister {canister.name}."
        raise caller_fault("IC0406", text, "canister-snapshot-invalid-ownership")
    return snapshot


def _not_found(canister: HostedCanister, snapshot_id: bytes) -> Failure:
    text = f"Could not find the snapshot ID {snapshot_id.hex()} for canister {canister.name}."
    return caller_fault("IC0305", text, "canister-snapshot-not-found")


def _replaced(subnet: Subnet, canister: HostedCanister, snapshot_id: bytes | None) -> Snapshot | None:
    """The snapshot that a new one replaces.

    Raises:
        Failure: there is none of this id, or none is named and there are as many as may be.
    """
    if snapshot_id is not None:
        return _find(subnet, canister, snapshot_id)
    if len(subnet.store.snapshots(canister.state.id)) >= MAX_SNAPSHOTS:
        name = principal.to_text(canister.state.id)
        text = f"Canister {name} has reached the maximum number of snapshots allowed: {MAX_SNAPSHOTS}."
        raise caller_fault("IC0406", text)
    return None


def _next_id(canister: HostedCanister) -> bytes:
    """A number that counts up, then the canister: sorted as they were made."""
    return canister.state.next_snapshot.to_bytes(_NUMBER, "big") + canister.state.id


def _owner(snapshot_id: bytes) -> bytes:
    """The canister that a snapshot of this id is of, if there is one."""
    return snapshot_id[_NUMBER:]


def _keep(step: Step, canister: HostedCanister, snapshot: Snapshot, replaced: Snapshot | None) -> None:
    state = canister.state
    state.next_snapshot += 1
    state.snapshots_size += snapshot.size - (replaced.size if replaced else 0)
    step.changes.snapshots[snapshot.id] = snapshot
    if replaced is not None:
        step.changes.snapshots[replaced.id] = None
    step.touch(canister)


def _described(snapshot: Snapshot) -> dict[str, Any]:
    return {"id": snapshot.id, "taken_at_timestamp": snapshot.taken, "total_size": snapshot.size}


def _source(snapshot: Snapshot) -> dict[str, None]:
    return {"metadata_upload" if snapshot.uploaded else "taken_from_canister": None}


def _timer(timestamp: int | None) -> dict[str, int | None] | None:
    if timestamp is None:
        return None
    return {"active": timestamp} if timestamp else {"inactive": None}


# Checking.


def _check_slice(snapshot: Snapshot, kind: str, offset: int, size: int) -> None:
    whole = {
        "wasm_module": snapshot.module_size,
        "wasm_memory": snapshot.heap_size,
        "stable_memory": snapshot.stable_size,
    }[kind]
    if size > MAX_SLICE:
        raise caller_fault("IC0408", f"Requested slice too large: {size} > {MAX_SLICE}")
    if offset + size > whole:
        text = f"Invalid subslice into wasm module / main memory / stable memory: offset: {offset}, size: {size}"
        raise caller_fault("IC0408", text)


def _check_metadata(args: Any) -> None:
    limits = {
        "wasm_module_size": wasm.MAX_MODULE,
        "wasm_memory_size": runtime.MAX_HEAP64,
        "stable_memory_size": MAX_STABLE_PAGES * WASM_PAGE,
    }
    for name, limit in limits.items():
        if args[name] > limit:
            raise caller_fault("IC0408", f"{name} is {args[name]}, at most {limit} is allowed")
        if name != "wasm_module_size" and args[name] % WASM_PAGE:
            raise caller_fault("IC0408", f"{name} is {args[name]}, not a multiple of the page size {WASM_PAGE}")
    if len(args["certified_data"]) > MAX_CERTIFIED_DATA:
        text = f"certified_data has {len(args['certified_data'])} bytes, at most {MAX_CERTIFIED_DATA} are allowed"
        raise caller_fault("IC0408", text)
    if len(args["globals"]) > wasm.MAX_GLOBALS:
        raise caller_fault("IC0408", f"{len(args['globals'])} globals, at most {wasm.MAX_GLOBALS} are allowed")
    if any(value.get("v128", 0) >= 1 << 128 for value in args["globals"]):  # the other kinds are bounded by their types
        raise caller_fault("IC0408", "a number in globals has more than the 128 bits of its kind, v128")


def _check_fits(snapshot: Snapshot, compiled: Compiled) -> None:
    """Whether the memories and globals of a snapshot are those of its module.

    Raises:
        Failure: they are not, as may be with an uploaded snapshot.
    """
    info = compiled.info
    minimum, maximum = info.memory_pages or (0, 0)
    pages = snapshot.heap_size // WASM_PAGE
    if not minimum <= pages or snapshot.heap_size > compiled.max_heap or (maximum is not None and pages > maximum):
        raise _inconsistent(f"Wasm memory of {pages} pages does not fit the module")
    kinds = [next(iter(runtime.global_value(raw))) for raw in snapshot.globals]
    declared = [item.kind for item in info.globals]
    if kinds != declared:
        raise _inconsistent(f"globals {kinds} do not fit those of the module, {declared}")


def _check_hook(snapshot: Snapshot, canister: HostedCanister, compiled: Compiled) -> None:
    """Whether what an uploaded snapshot says of the low memory hook agrees with its memory and the settings.

    Raises:
        Failure: it does not.
    """
    if snapshot.low_memory_hook is None:
        return
    is_low = canister.state.settings.leave_little(snapshot.heap_size, compiled.max_heap)
    if is_low is (snapshot.low_memory_hook is LowMemoryHook.NOT_SATISFIED):
        there = "less" if is_low else "no less"
        raise _inconsistent(
            f"it says of the hook for low memory {snapshot.low_memory_hook}, but {there} is left than"
            " wasm_memory_threshold"
        )


def _check_loadable_elsewhere(
    subnet: Subnet, snapshot: Snapshot, owner: HostedCanister, canister: HostedCanister, caller: bytes
) -> None:
    """Whether `caller` may load a snapshot of `owner` onto another canister, and can do so by now.

    Raises:
        Failure: it may not, or not yet.
    """
    name = snapshot.id.hex()
    if caller not in owner.state.settings.controllers:
        text = (
            f"Only a controller of the canister that snapshot {name} belongs to can load it on canister"
            f" {canister.name}. Sender: {principal.to_text(caller)}."
        )
        raise caller_fault("IC0406", text, "canister-snapshot-not-controller")
    if subnet.clock.now() < max(snapshot.taken, snapshot.changed) + subnet.info.snapshot_wait * cycles.SECOND:
        text = (
            f"Snapshot {name} is not currently loadable on the specified canister {canister.name}. Try again later."
            " The call should succeed if you wait sufficiently long (usually ten minutes)."
        )
        raise caller_fault("IC0406", text)


def _inconsistent(why: str) -> Failure:
    return caller_fault("IC0408", f"Snapshot is inconsistent: {why}.")


# Files.


def _file(subnet: Subnet, snapshot: Snapshot, kind: str) -> Path:
    name = {"wasm_module": _MODULE, "wasm_memory": _HEAP, "stable_memory": _STABLE}[kind]
    return subnet.store.snapshot_folder(snapshot) / name


def _fresh_folder(subnet: Subnet, snapshot: Snapshot) -> Path:
    folder = subnet.store.snapshot_folder(snapshot)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _copy(source: Path, target: Path, size: int) -> None:
    """The first `size` bytes of `source`, which may be missing if that is none."""
    if size:
        copy_file(source, target)
    with target.open("ab") as file:
        file.truncate(size)


def _hand_over(source: Path, target: Path, size: int) -> None:
    """As `_copy`, for a source that nobody writes to any more: a second name of the same file, where that can be."""
    if source.exists() and source.stat().st_size == size:
        with contextlib.suppress(OSError):
            target.hardlink_to(source)
            return
    _copy(source, target, size)


def _remove_files(subnet: Subnet, snapshot: Snapshot | None) -> None:
    if snapshot is not None:
        shutil.rmtree(subnet.store.snapshot_folder(snapshot), ignore_errors=True)
