"""Snapshots of a canister: its code, memory and certified data at one moment, kept by the network (interface
specification, "Take canister snapshot" and those that follow).

    management.stop(agent, canister_id)
    before = snapshots.take(agent, canister_id)
    snapshots.load(agent, canister_id, before.snapshot_id)      # as it was; timers do not come back
    snapshots.download(agent, before, folder)                   # files that dfx and icp-cli write, too
    snapshots.upload(other_agent, other_canister_id, folder)

A canister is to be stopped first: what it does while a snapshot is taken or loaded may be lost.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TextIO

from .. import management, places, stopping
from ..agent import Agent, PrincipalLike, to_principal
from ..errors import ArgumentError, ArtifactCorrupt, ArtifactMissing, PreconditionError
from ..progress import Progress, Silent
from ..protocol import candid, did, principal
from ..protocol.candid import json_form

MOST = 10  # snapshots of one canister
SLICE = 1_900_000  # bytes read or sent at once: an answer has 2 MB of data at most, a message 2 MiB in all
AT_ONCE = 4  # slices
METADATA, CHUNKS = "metadata.json", "wasm_chunk_store"
PARTIAL = "partial.txt"  # of what is not complete: which snapshot it is of, then a line for each slice that is there
#: The parts of a snapshot: the file of each, and the field of the metadata that has its size.
PARTS = {
    "wasm_module": ("wasm_module.bin", "wasm_module_size"),
    "wasm_memory": ("wasm_memory.bin", "wasm_memory_size"),
    "stable_memory": ("stable_memory.bin", "stable_memory_size"),
}

INTERFACE = """
type snapshot = record { id : blob; taken_at_timestamp : nat64; total_size : nat64 };
type place = record { canister_id : principal; snapshot_id : blob };
type global = variant { i32 : int32; i64 : int64; f32 : float32; f64 : float64; v128 : nat };
type global_timer = variant { inactive; active : nat64 };
type hook_status = variant { condition_not_satisfied; ready; executed };
type metadata = record {
  wasm_module_size : nat64;
  wasm_memory_size : nat64;
  stable_memory_size : nat64;
  globals : vec global;
  wasm_chunk_store : vec record { hash : blob };
  certified_data : blob;
  global_timer : opt global_timer;
  on_low_wasm_memory_hook_status : opt hook_status;
};
type slice = record { offset : nat64; size : nat64 };
type start = record { offset : nat64 };
service : {
  take_canister_snapshot : (record { canister_id : principal; replace_snapshot : opt blob }) -> (snapshot);
  load_canister_snapshot : (place) -> ();
  list_canister_snapshots : (record { canister_id : principal }) -> (vec snapshot);
  delete_canister_snapshot : (place) -> ();
  read_canister_snapshot_metadata : (place) -> (metadata);
  read_canister_snapshot_data : (record {
    canister_id : principal;
    snapshot_id : blob;
    kind : variant {
      wasm_module : slice; wasm_memory : slice; stable_memory : slice; wasm_chunk : record { hash : blob }
    };
  }) -> (record { chunk : blob });
  upload_canister_snapshot_metadata : (record {
    canister_id : principal;
    replace_snapshot : opt blob;
    wasm_module_size : nat64;
    wasm_memory_size : nat64;
    stable_memory_size : nat64;
    globals : vec global;
    certified_data : blob;
    global_timer : opt global_timer;
    on_low_wasm_memory_hook_status : opt hook_status;
  }) -> (record { snapshot_id : blob });
  upload_canister_snapshot_data : (record {
    canister_id : principal;
    snapshot_id : blob;
    kind : variant { wasm_module : start; wasm_memory : start; stable_memory : start; wasm_chunk };
    chunk : blob;
  }) -> ();
}
"""


@dataclass(frozen=True)
class CanisterSnapshot:
    """A snapshot that the network keeps.

    Attributes:
        canister_id: the canister that it belongs to.
        snapshot_id: hex.
        taken: UTC.
        size: bytes; the canister pays for keeping them.
    """

    canister_id: str
    snapshot_id: str
    taken: datetime
    size: int


def take(agent: Agent, canister_id: PrincipalLike, replace: str | None = None) -> CanisterSnapshot:
    """Take a snapshot of a canister.

    Args:
        replace: the id of a snapshot that is deleted as the new one is there.

    Raises:
        RejectError: the canister is empty, cannot pay for it, has `MOST` snapshots already, or the caller is no
            controller.
    """
    replaced = None if replace is None else id_of(replace)
    return of(canister_id, _call(agent, "take_canister_snapshot", canister_id, replace_snapshot=replaced))


def kept(agent: Agent, canister_id: PrincipalLike) -> list[CanisterSnapshot]:
    """The snapshots of a canister, the oldest first.

    Raises:
        RejectError: the caller may not see them.
    """
    return [of(canister_id, record) for record in _call(agent, "list_canister_snapshots", canister_id)]


def load(agent: Agent, canister_id: PrincipalLike, snapshot_id: str) -> None:
    """Make a canister what a snapshot says; timers that were set then are not set again by it.

    Raises:
        RejectError: there is no such snapshot, it does not fit, or the caller is no controller.
    """
    _call(agent, "load_canister_snapshot", canister_id, snapshot_id=id_of(snapshot_id))


def delete(agent: Agent, canister_id: PrincipalLike, snapshot_id: str) -> None:
    """Delete a snapshot.

    Raises:
        RejectError: there is no such snapshot, or the caller is no controller.
    """
    _call(agent, "delete_canister_snapshot", canister_id, snapshot_id=id_of(snapshot_id))


def timer_is_set(agent: Agent, snapshot: CanisterSnapshot) -> bool:
    """Whether the canister had a timer set when a snapshot was taken; errors as of `download`."""
    place = {"snapshot_id": id_of(snapshot.snapshot_id)}
    return has_timer(_call(agent, "read_canister_snapshot_metadata", snapshot.canister_id, **place))


def has_timer(metadata: dict[str, Any]) -> bool:
    """Whether this metadata of a snapshot tells of a timer that was set."""
    return "active" in (metadata["global_timer"] or {})


def download(agent: Agent, snapshot: CanisterSnapshot, folder: Path, progress: Progress | None = None) -> int:
    """Write a snapshot into a folder, as `dfx canister snapshot download` does; the bytes of its parts.

    A download that was interrupted continues where it ended. `metadata.json` is written last, so that a folder with it
    is complete.

    Raises:
        RejectError: there is no such snapshot, or the caller may not see it.
        PreconditionError: the folder cannot be written.
    """
    return download_by(partial(_call, agent), snapshot, folder, progress)


def download_by(
    ask: Callable[..., Any], snapshot: CanisterSnapshot, folder: Path, progress: Progress | None = None
) -> int:
    """As `download`, for somebody else: `ask(method, canister_id, **fields)` is answered as the management canister
    answers.
    """
    place = {"snapshot_id": id_of(snapshot.snapshot_id)}
    metadata = ask("read_canister_snapshot_metadata", snapshot.canister_id, **place)

    def read(kind: dict[str, Any]) -> bytes:
        return bytes(ask("read_canister_snapshot_data", snapshot.canister_id, **place, kind=kind)["chunk"])

    total = sum(metadata[size] for _, size in PARTS.values())
    try:
        (folder / CHUNKS).mkdir(parents=True, exist_ok=True)
        (folder / METADATA).unlink(missing_ok=True)
        there = _there(folder / PARTIAL, snapshot)
        with (
            (folder / PARTIAL).open("a", encoding="utf-8") as notes,
            (progress or Silent()).task(f"download {snapshot.canister_id}", total, "B", steady=True) as task,
        ):
            for part, (file, size) in PARTS.items():
                _write(folder / file, part, metadata[size], read, task.advance, there, notes)
            for chunk in metadata["wasm_chunk_store"]:
                (folder / CHUNKS / f"{chunk['hash'].hex()}.bin").write_bytes(read({"wasm_chunk": chunk}))
        (folder / METADATA).write_text(json.dumps(json_form.to_json(_metadata_type(), metadata)), encoding="utf-8")
        (folder / PARTIAL).unlink()
    except OSError as error:
        raise PreconditionError(places.unwritable(folder, error, "choose another folder")) from error
    return int(total)


def module_hash(folder: Path) -> str:
    """The sha256, hex, of the module in a downloaded snapshot.

    Raises:
        ArtifactMissing, ArtifactCorrupt: as of `upload`.
    """
    _read_metadata(folder)
    with (folder / PARTS["wasm_module"][0]).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def upload(
    agent: Agent,
    canister_id: PrincipalLike,
    folder: Path,
    replace: str | None = None,
    timer: bool = False,
    progress: Progress | None = None,
) -> str:
    """Send a snapshot that `download`, dfx or icp-cli wrote, so that it can be loaded onto this canister.

    Args:
        replace: the id of a snapshot that is deleted first.
        timer: whether the canister's timer is set, when it is loaded, as it was when it was taken.

    Returns:
        The id of the snapshot, hex.

    Raises:
        ArtifactMissing: the folder has no complete snapshot.
        ArtifactCorrupt: its metadata cannot be read, or a file has another size.
        RejectError: the canister cannot pay for it, or the caller is no controller.
    """
    metadata = _read_metadata(folder)
    replaced = None if replace is None else id_of(replace)
    fields = {name: value for name, value in metadata.items() if name != "wasm_chunk_store"}
    if not timer:
        fields["global_timer"] = {"inactive": None}
    sent = _call(agent, "upload_canister_snapshot_metadata", canister_id, replace_snapshot=replaced, **fields)

    def send(kind: dict[str, Any], chunk: bytes) -> None:
        place = {"snapshot_id": sent["snapshot_id"]}
        _call(agent, "upload_canister_snapshot_data", canister_id, **place, kind=kind, chunk=chunk)

    total = sum(metadata[size] for _, size in PARTS.values())
    with (progress or Silent()).task(f"upload snapshot of {folder.name}", total, "B", steady=True) as task:
        for part, (file, size) in PARTS.items():
            _send(folder / file, part, metadata[size], send, task.advance)
        for chunk in metadata["wasm_chunk_store"]:
            send({"wasm_chunk": None}, (folder / CHUNKS / f"{chunk['hash'].hex()}.bin").read_bytes())
    return str(sent["snapshot_id"].hex())


# --- inside ---


def _call(agent: Agent, method: str, canister_id: PrincipalLike, **fields: Any) -> Any:
    return management.call(agent, INTERFACE, method, canister_id, **fields)


def of(canister_id: PrincipalLike, record: dict[str, Any]) -> CanisterSnapshot:
    """The network's record of a snapshot as ours."""
    return CanisterSnapshot(
        canister_id=principal.to_text(to_principal(canister_id, "canister id")),
        snapshot_id=record["id"].hex(),
        taken=datetime.fromtimestamp(record["taken_at_timestamp"] / 1e9, UTC),
        size=record["total_size"],
    )


def id_of(text: str) -> bytes:
    """The id of a snapshot as the network takes it.

    Raises:
        ArgumentError: it is not hex.
    """
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise ArgumentError(f"{text[:80]!r} is not the id of a snapshot: give hex digits, as `kept` does") from None


def _slices(size: int) -> list[tuple[int, int]]:
    """Offset and length of each slice of a part."""
    return [(offset, min(SLICE, size - offset)) for offset in range(0, size, SLICE)]


def _there(path: Path, snapshot: CanisterSnapshot) -> frozenset[str]:
    """What an interrupted download of the same snapshot has noted about slices; of another the notes begin anew."""
    first = f"{snapshot.canister_id} {snapshot.snapshot_id}"
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    if lines[:1] == [first]:
        return frozenset(lines[1:])
    path.write_text(first + "\n", encoding="utf-8")
    return frozenset()


def _write(
    path: Path,
    part: str,
    size: int,
    read: Callable[[dict[str, Any]], bytes],
    advance: Callable[[float], None],
    there: frozenset[str],
    notes: TextIO,
) -> None:
    slices = [place for place in _slices(size) if f"{part} {place[0]}" not in there]
    advance(size - sum(length for _, length in slices))

    def ask(place: tuple[int, int]) -> bytes:
        offset, length = place
        return read({part: {"offset": offset, "size": length}})

    path.touch()
    with path.open("r+b") as file:
        file.truncate(size)
        for number, data in stopping.parallel(ask, slices, AT_ONCE):
            os.pwrite(file.fileno(), data, slices[number][0])
            notes.write(f"{part} {slices[number][0]}\n")
            notes.flush()
            advance(len(data))


def _send(
    path: Path, part: str, size: int, send: Callable[[dict[str, Any], bytes], None], advance: Callable[[float], None]
) -> None:
    slices = _slices(size)
    with path.open("rb") as file:

        def put(place: tuple[int, int]) -> None:
            offset, length = place
            send({part: {"offset": offset}}, os.pread(file.fileno(), length, offset))

        for number, _ in stopping.parallel(put, slices, AT_ONCE):
            advance(slices[number][1])


def decoded(method: str, answer: bytes) -> Any:
    """An answer of the management canister to one of its methods that read snapshots, from Candid."""
    (value,) = candid.decode(did.parse(INTERFACE).methods[method].results, answer, principal.to_text)
    return value


def _metadata_type() -> candid.Type:
    return did.parse(INTERFACE).types["metadata"]


def _read_metadata(folder: Path) -> dict[str, Any]:
    """The metadata of a downloaded snapshot whose files are all there."""
    path = folder / METADATA
    try:
        given = json_form.from_json(_metadata_type(), json.loads(path.read_text(encoding="utf-8")))
        (metadata,) = candid.decode([_metadata_type()], candid.encode([_metadata_type()], [given]))
    except FileNotFoundError:
        raise ArtifactMissing(f"{folder} has no {METADATA}, so no complete snapshot: download it again") from None
    except (OSError, ValueError, RecursionError) as error:
        raise ArtifactCorrupt(f"{path} is not the metadata of a snapshot: {error}. Download it again.") from error
    for file, expected in _files(metadata):
        size = (folder / file).stat().st_size if (folder / file).is_file() else None
        if size is None or (expected is not None and size != expected):
            found = "is missing" if size is None else f"has {size} bytes, not {expected}"
            raise ArtifactCorrupt(f"{folder / file} {found}: download the snapshot again")
    return dict(metadata)


def _files(metadata: dict[str, Any]) -> Iterator[tuple[str, int | None]]:
    """The files that a snapshot has besides its metadata, with their sizes as far as these are known."""
    for file, size in PARTS.values():
        yield file, metadata[size]
    for chunk in metadata["wasm_chunk_store"]:
        yield f"{CHUNKS}/{chunk['hash'].hex()}.bin", None
