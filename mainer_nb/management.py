"""The management canister: create, install, look at and fund canisters (interface specification, "The IC management
canister").

    canister_id = management.create_canister(agent, cycles=10 * TRILLION)
    management.install_code(agent, canister_id, wasm, mode="install")
    management.status(agent, canister_id).cycles
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from . import stopping
from .agent import Agent, PrincipalLike, RequestMark, to_principal
from .canister import Canister, CanisterMethod, case
from .errors import CertificateError, RejectError
from .protocol import cbor, principal

MANAGEMENT = "aaaaa-aa"
TRILLION = 10**12
SECONDS_PER_DAY = 86_400
NO_ARGUMENTS = b"DIDL\0\0"
OUT_OF_CYCLES = "IC0207"  # https://internetcomputer.org/docs/references/execution-errors

# An ingress message may have 2 MiB in all, a chunk of a chunk store 1 MiB (interface specification, "upload_chunk").
LARGEST_MESSAGE = 1_900_000
CHUNK = 1 << 20

InstallMode = Literal["install", "reinstall", "upgrade"]
LogFilter = dict[Literal["by_idx", "by_timestamp_nanos"], dict[Literal["start", "end"], int]]

# Only what is used here: a reader of records that asks for few fields understands networks of other versions.
INTERFACE = """
type canister_id = principal;
type canister_settings = record {
  controllers : opt vec principal;
  compute_allocation : opt nat;
  memory_allocation : opt nat;
  freezing_threshold : opt nat;
  wasm_memory_limit : opt nat;
};
type chunk_hash = record { hash : blob };
type log_filter = variant {
  by_idx : record { start : nat64; end : nat64 };
  by_timestamp_nanos : record { start : nat64; end : nat64 };
};
type install_mode = variant {
  install;
  reinstall;
  upgrade : opt record {
    skip_pre_upgrade : opt bool;
    wasm_memory_persistence : opt variant { keep; replace };
  };
};
service : {
  provisional_create_canister_with_cycles : (record {
    amount : opt nat;
    settings : opt canister_settings;
    specified_id : opt canister_id;
  }) -> (record { canister_id : canister_id });
  provisional_top_up_canister : (record { canister_id : canister_id; amount : nat }) -> ();
  install_code : (record { mode : install_mode; canister_id : canister_id; wasm_module : blob; arg : blob }) -> ();
  install_chunked_code : (record {
    mode : install_mode;
    target_canister : canister_id;
    store_canister : opt canister_id;
    chunk_hashes_list : vec chunk_hash;
    wasm_module_hash : blob;
    arg : blob;
  }) -> ();
  upload_chunk : (record { canister_id : canister_id; chunk : blob }) -> (chunk_hash);
  clear_chunk_store : (record { canister_id : canister_id }) -> ();
  update_settings : (record { canister_id : canister_id; settings : canister_settings }) -> ();
  canister_status : (record { canister_id : canister_id }) -> (record {
    status : variant { running; stopping; stopped };
    version : opt nat64;
    module_hash : opt blob;
    memory_size : nat;
    cycles : nat;
    idle_cycles_burned_per_day : nat;
    settings : record {
      controllers : vec principal;
      compute_allocation : nat;
      memory_allocation : nat;
      freezing_threshold : nat;
    };
  });
  start_canister : (record { canister_id : canister_id }) -> ();
  stop_canister : (record { canister_id : canister_id }) -> ();
  delete_canister : (record { canister_id : canister_id }) -> ();
  fetch_canister_logs : (record { canister_id : canister_id; filter : opt log_filter })
    -> (record { canister_log_records : vec record { idx : nat64; timestamp_nanos : nat64; content : blob } }) query;
}
"""


@dataclass(frozen=True)
class CanisterStatusResult:
    """A canister as its controllers may see it.

    Attributes:
        status: "running", "stopping" or "stopped".
        module_hash: the sha256 of its module as hex; None if it is empty.
        memory: bytes.
        cycles: its balance.
        cycles_per_day: what it uses up without being called.
        freezing_threshold: seconds.
        version: a number that grows with each change of its state; None if the network does not tell.
    """

    canister_id: str
    status: str
    module_hash: str | None
    memory: int
    cycles: int
    cycles_per_day: int
    controllers: tuple[str, ...]
    freezing_threshold: int
    version: int | None = None

    @property
    def frozen_below(self) -> int:
        """The balance below which it is frozen: what it uses up within its freezing threshold."""
        return self.cycles_per_day * self.freezing_threshold // SECONDS_PER_DAY


def create_canister(
    agent: Agent,
    cycles: int,
    controllers: Sequence[PrincipalLike] | None = None,
    canister_id: PrincipalLike | None = None,
) -> str:
    """Create an empty canister with `cycles` out of nothing (development networks only).

    Args:
        controllers: None: the caller alone.
        canister_id: the id that it is to have, which no canister has had there; None: the network's next.

    Returns:
        Its id.

    Raises:
        RejectError: the network gives no cycles away, or the id cannot be had.
    """
    wanted = None if canister_id is None else to_principal(canister_id, "canister id")
    settings = {"controllers": _principals(controllers)} if controllers else None
    create = _management(agent).provisional_create_canister_with_cycles
    where = wanted or agent.client.default_effective_canister_id()
    answer = create({"amount": cycles, "settings": settings, "specified_id": wanted}, effective_canister_id=where)
    return str(answer["canister_id"])


def top_up(agent: Agent, canister_id: PrincipalLike, cycles: int) -> None:
    """Give a canister `cycles` out of nothing (development networks only); errors as of `create_canister`."""
    _call(agent, "provisional_top_up_canister", canister_id, amount=cycles)


def install_code(
    agent: Agent,
    canister_id: PrincipalLike,
    wasm: bytes,
    mode: InstallMode,
    arg: bytes = NO_ARGUMENTS,
    mark: RequestMark | None = None,
) -> None:
    """Install `wasm` with the Candid `arg`; in chunks if it does not fit into a message.

    An upgrade of a Motoko canister with enhanced orthogonal persistence keeps its main memory.

    Args:
        mark: of the request, if it may have been sent before: it is then carried out once.

    Raises:
        RejectError: for example, the code traps; the canister is then as it was.
    """
    settings = {mode: _upgrade_options(wasm) if mode == "upgrade" else None}
    if len(wasm) <= LARGEST_MESSAGE:
        _call(agent, "install_code", canister_id, mark, mode=settings, wasm_module=wasm, arg=arg)
        return
    chunks = [wasm[at : at + CHUNK] for at in range(0, len(wasm), CHUNK)]
    _call(agent, "clear_chunk_store", canister_id)
    hashes = stopping.every(lambda chunk: _call(agent, "upload_chunk", canister_id, chunk=chunk), chunks, 4)
    install = {
        "mode": settings,
        "target_canister": to_principal(canister_id),
        "store_canister": to_principal(canister_id),
        "chunk_hashes_list": hashes,
        "wasm_module_hash": hashlib.sha256(wasm).digest(),
        "arg": arg,
    }
    _management(agent).install_chunked_code(install, effective_canister_id=canister_id, mark=mark)
    _call(agent, "clear_chunk_store", canister_id)


def status(agent: Agent, canister_id: PrincipalLike) -> CanisterStatusResult:
    """What the network says of a canister. One that cannot pay for a certified answer is asked by a query, as that is
    free.

    Raises:
        RejectError: the caller is not a controller of it, or there is none.
    """
    try:
        answer = _call(agent, "canister_status", canister_id)
    except RejectError as error:
        if error.error_code != OUT_OF_CYCLES:
            raise
        asked = _management(agent).canister_status
        target = to_principal(canister_id)
        query = CanisterMethod(asked.canister, replace(asked.method, mode="query"))
        answer = query({"canister_id": target}, effective_canister_id=target)
    return status_of(canister_id, answer)


def status_of(canister_id: PrincipalLike, answer: dict[str, Any]) -> CanisterStatusResult:
    """The network's record of a canister's status as ours."""
    module_hash = answer["module_hash"]
    return CanisterStatusResult(
        canister_id=principal.to_text(to_principal(canister_id)),
        status=case(answer["status"]),
        module_hash=None if module_hash is None else module_hash.hex(),
        memory=answer["memory_size"],
        cycles=answer["cycles"],
        cycles_per_day=answer["idle_cycles_burned_per_day"],
        controllers=tuple(answer["settings"]["controllers"]),
        freezing_threshold=answer["settings"]["freezing_threshold"],
        version=answer["version"],
    )


def exists(agent: Agent, canister_id: PrincipalLike) -> bool:
    """Whether there is such a canister, certified; anybody may ask."""
    try:
        return agent.read_canister(canister_id, "controllers") is not None
    except RejectError:
        return False


def module_hash(agent: Agent, canister_id: PrincipalLike) -> str | None:
    """The installed module's sha256 as hex, certified; None if the canister is empty or does not exist."""
    value = agent.read_canister(canister_id, "module_hash")
    return None if value is None else value.hex()


def controllers(agent: Agent, canister_id: PrincipalLike) -> tuple[str, ...]:
    """The canister's controllers, certified; anybody may ask. Those of one that does not exist: none.

    Raises:
        CertificateError: what is certified is no list of principals.
    """
    value = agent.read_canister(canister_id, "controllers")
    try:
        found = [] if value is None else cbor.decode(value, max_depth=4)
        return tuple(principal.to_text(each) for each in found)
    except (ValueError, TypeError) as error:
        raise CertificateError(
            f"the controllers of {principal.to_text(to_principal(canister_id))} cannot be read: {error}"
        ) from error


def fetch_logs(agent: Agent, canister_id: PrincipalLike, wanted: LogFilter) -> list[dict[str, Any]]:
    """Lines that a canister logged: the first of those wanted that fit into a response, in their order.

    Returns:
        For each line `idx`, `timestamp_nanos` and `content` (bytes).

    Raises:
        RejectError: there is no such canister, or the caller may not see its log.
    """
    answer = _call(agent, "fetch_canister_logs", canister_id, filter=wanted)
    return list(answer["canister_log_records"])


def update_settings(agent: Agent, canister_id: PrincipalLike, **settings: Any) -> None:
    """Change some settings, such as `controllers=[…]` or `freezing_threshold=2_592_000` (seconds)."""
    if "controllers" in settings:
        settings["controllers"] = _principals(settings["controllers"])
    _call(agent, "update_settings", canister_id, settings=settings)


def start(agent: Agent, canister_id: PrincipalLike) -> None:
    """Let a stopped canister take calls again."""
    _call(agent, "start_canister", canister_id)


def stop(agent: Agent, canister_id: PrincipalLike) -> None:
    """Let a canister finish what is under way and take no more calls."""
    _call(agent, "stop_canister", canister_id)


def delete(agent: Agent, canister_id: PrincipalLike) -> None:
    """Stop and delete a canister with its state and its cycles."""
    stop(agent, canister_id)
    _call(agent, "delete_canister", canister_id)


def _principals(controllers: Sequence[PrincipalLike]) -> list[bytes]:
    return [to_principal(controller, "controller") for controller in controllers]


def call(
    agent: Agent,
    interface: str,
    method: str,
    canister_id: PrincipalLike,
    mark: RequestMark | None = None,
    **fields: Any,
) -> Any:
    """Call a method whose argument is a record with `canister_id`, which is also where the network routes it to.

    Args:
        interface: the part of the management canister's .did that has it.
        mark: of the request, if it may have been sent before.
        fields: of the record, besides.
    """
    target = to_principal(canister_id, "canister id")
    canister = Canister(agent, MANAGEMENT, interface, "management canister")
    return getattr(canister, method)({"canister_id": target, **fields}, effective_canister_id=target, mark=mark)


def _management(agent: Agent) -> Canister:
    return Canister(agent, MANAGEMENT, INTERFACE, "management canister")


def _call(agent: Agent, method: str, canister_id: PrincipalLike, mark: RequestMark | None = None, **fields: Any) -> Any:
    return call(agent, INTERFACE, method, canister_id, mark, **fields)


def _upgrade_options(wasm: bytes) -> dict[str, Any] | None:
    """Modules that say they keep their main memory (Motoko's) must be upgraded with `keep`, others must not."""
    if b"enhanced-orthogonal-persistence" in wasm:
        return {"skip_pre_upgrade": None, "wasm_memory_persistence": {"keep": None}}
    return None
