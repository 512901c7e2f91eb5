"""The rejections of the system and the traps of canisters, in mainnet's words: each text stands here once.

Sources: dfinity/ic, rs/types/error_types (codes), rs/interfaces/src/execution_environment/errors.rs (traps),
rs/execution_environment/src/execution/common.rs and rs/messaging/src/routing/stream_handler.rs (calls between
canisters), rs/execution_environment/src/query_handler (queries); the reference "Execution errors".
"""

from __future__ import annotations

from .errors import CanisterTrap, Failure, Reject, RejectCode, shortened
from .state import CanisterStatus

_REFERENCE = "https://docs.internetcomputer.org/references/execution-errors#"
_HANDLE_FAILURES = (
    "Consider gracefully handling failures from this canister or altering the canister to handle exceptions."
)
_TOP_UP = "Top up the canister with more cycles."
_MORE_RESERVE = "Try increasing this canister's reserved cycles limit or moving it to a subnet with lower memory usage."
#: What mainnet advises, by the section of the reference that it points to.
_ADVICE = {
    "trapped": _HANDLE_FAILURES,
    "trapped-explicitly": _HANDLE_FAILURES,
    "method-not-found": "Check that the method being called is exported by the target canister.",
    "wasm-module-not-found": "Please install code to this canister before calling it.",
    "calling-a-system-api-from-the-wrong-mode": (
        "Check the ICP documentation to make sure APIs are being called in the correct message types."
    ),
    "msg_reply_data_append-payload-too-large": (
        "Consider checking the response size and returning an error if it is too long."
    ),
    "instruction-limit-exceeded": (
        "Try optimizing this method to consume fewer instructions or split the work across multiple messages."
    ),
    "out-of-memory": (
        "Check the canister's memory usage against its allocation and the system wide limits to determine why more"
        " memory cannot be allocated."
    ),
    "memory-access-limit-exceeded": (
        "Try optimizing the use of stable memory so that individual messages don't need to access as much stable"
        " memory."
    ),
    "insufficient-cycles-in-memory-grow": "Try topping up the canister.",
    "wasm-memory-limit-exceeded": (
        "Try checking the canister for a possible memory leak or modifying it to use more stable memory instead of"
        " Wasm memory."
    ),
    "canister-not-empty": "Check that you want to overwrite the canister and, if so, use mode='reinstall'.",
    "subnet-compute-capacity-oversubscribed": "Try moving to another subnet.",
    "subnet-memory-capacity-oversubscribed": "Try moving to another subnet.",
    "delete-canister-not-stopped": "Stop the canister before deleting it.",
    "delete-canister-self": "Delete the canister from one of its other controllers.",
    "create-canister-not-enough-cycles": "Try sending more cycles with the request.",
    "install-code-not-enough-cycles": _TOP_UP,
    "invalid-settings": "Apply the described changes to make the settings valid.",
    "insufficient-cycles-in-compute-allocation": _TOP_UP,
    "insufficient-cycles-in-memory-allocation": _TOP_UP,
    "insufficient-cycles-in-memory-grow-1": _TOP_UP,
    "reserved-cycles-limit-exceeded-in-memory-allocation": _MORE_RESERVE,
    "reserved-cycles-limit-exceeded-in-memory-grow": _MORE_RESERVE,
    "wasm-chunk-store-error": (
        "Use the `stored_chunks` API to check which hashes are present or top up the canister if it is low on cycles."
    ),
    "canister-snapshot-not-found": "Use the `list_canister_snapshot` API to see which snapshots are present.",
    "canister-snapshot-invalid-ownership": (
        "Use the `list_canister_snapshot` API to see which snapshots belong to the canister."
    ),
    "canister-snapshot-not-controller": "Make sure you are a controller of the canister that the snapshot belongs to.",
}
_TOOLCHAIN = (
    "If you are running this canister in a test environment (e.g., dfx), make sure the test environment is up to"
    " date. Otherwise, this is likely an error with the compiler/CDK toolchain being used to build the canister."
    " Please report the error to IC devs on the forum: https://forum.dfinity.org and include which language/CDK was"
    " used to create the canister."
)

RESPONSE_EXPIRED = Reject(RejectCode.SYS_UNKNOWN, "Call deadline has expired.")


def refused(error_code: str, message: str, to_canister: str = "", help: str = "") -> Reject:
    """A rejection by the system. The error code's hundreds are the reject code.

    Args:
        to_canister: what a calling canister reads, where that is another text without error code.
        help: the section of the reference whose advice is added.
    """
    text = f"{message}\n{advice(help)}" if help else message
    return Reject(RejectCode(int(error_code[2:]) // 100), shortened(text), error_code, to_canister)


def caller_fault(error_code: str, message: str, help: str = "") -> Failure:
    """The failure that tells `refused` with these arguments."""
    return Failure(refused(error_code, message, help=help))


def advice(section: str) -> str:
    """What mainnet adds to the errors that `section` of its reference is about."""
    return f"{_ADVICE[section]} See documentation: {_REFERENCE}{section}"


# Calls that do not get as far as the callee's code.


def not_found(name: str) -> Reject:
    return refused("IC0301", f"Canister {name} not found")


def undeliverable(name: str, exists: bool) -> Reject:
    """No canister has the callee's id; if `exists`, it is one that a canister here can have."""
    text = f"Canister {name} not found"
    return refused("IC0301", text, to_canister=text if exists else f"No route to canister {name}")


def not_accepting(name: str, status: CanisterStatus) -> Reject:
    """A call arrives at a canister that is stopping or stopped."""
    text = f"Canister {name} is {status}"
    return refused(_STATUS_CODES[status], text, to_canister=text)


def not_running(name: str, status: CanisterStatus) -> Reject:
    """A call that waited is about to be executed by a canister that is stopping or stopped."""
    return refused(_STATUS_CODES[status], f"Canister {name} is not running")


def no_context_for_queries(name: str) -> Reject:
    """A query call of a stopped canister."""
    return refused("IC0508", f"Canister {name} is stopped and therefore does not have a CallContextManager")


_STATUS_CODES = {CanisterStatus.STOPPING: "IC0509", CanisterStatus.STOPPED: "IC0508"}


def queue_full(name: str, capacity: int) -> Reject:
    return refused("IC0201", f"Maximum queue capacity {capacity} reached", f"Canister {name} input queue is full")


def empty(name: str) -> Reject:
    """The callee has no code."""
    text = "Attempted to execute a message, but the canister contains no Wasm module."
    return trapped_in(name, CanisterTrap("IC0537", text, advice("wasm-module-not-found")))


def no_method(name: str, kind: str, method: str) -> Reject:
    """The callee has no such method, or not in this kind."""
    text = f"Canister has no {kind} method '{method}'."
    return trapped_in(name, CanisterTrap("IC0536", text, advice("method-not-found")))


def composite_in_replicated_mode() -> Reject:
    return refused("IC0527", "Composite query cannot be called in replicated mode")


def composite_as_transform() -> Reject:
    return refused("IC0527", "Composite query cannot be used as transform in canister http outcalls.")


def too_deep() -> Reject:
    return refused("IC0525", "Composite query calls exceeded the maximum call depth.")


def too_many_query_instructions() -> Reject:
    return refused("IC0526", "Composite query calls exceeded the instruction limit.")


def query_took_too_long() -> Reject:
    return refused("IC0528", "Composite query call exceeded the time limit.")


def pays_too_little(name: str, minimum: int, cycles: int) -> Reject:
    """The callee takes calls of other canisters with at least `minimum` cycles, and the call has `cycles`."""
    return refused(
        "IC0504", f"Canister {name} takes calls of other canisters with at least {minimum} cycles, not {cycles}"
    )


def out_of_cycles(name: str, missing: int) -> Reject:
    return refused(
        "IC0207",
        f"Canister {name} is out of cycles: please top up the canister with at least {missing} additional cycles",
    )


def frozen_for_queries(name: str) -> Reject:
    text = "is unable to process query calls because it's frozen. Please top up the canister with cycles and try again."
    return refused("IC0207", f"Canister {name} {text}")


def ingress_expired(message_id: bytes) -> Reject:
    return refused("IC0202", f"Ingress message 0x{message_id.hex()} timed out waiting to start executing.")


def not_accepted(name: str) -> Reject:
    """``canister_inspect_message`` did not accept the message."""
    return trapped_in(name, CanisterTrap("IC0406", "Canister rejected the message"))


# Calls that end without an answer.


def trapped_in(name: str, trap: CanisterTrap, in_cleanup: CanisterTrap | None = None) -> Reject:
    """What the caller of a canister that trapped is told.

    Args:
        in_cleanup: the trap of the cleanup callback that ran after the first one.
    """
    text, help = str(trap), trap.help
    if in_cleanup is not None:
        text, help = f"{text}\n\ncall_on_cleanup also failed:\n\n{in_cleanup}", ""
    described = f"Error from Canister {name}: {text}"
    return refused(trap.error_code, f"{described}.\n{help}" if help else described)


def silent(name: str) -> Reject:
    """The callee neither replied nor rejected, and awaits nothing more."""
    return refused("IC0506", f"Canister {name} did not reply to the call", to_canister="No response")


def silent_query(name: str) -> Reject:
    """As `silent`, of a query call."""
    return refused("IC0506", f"Canister {name} did not produce a response")


def uninstalled() -> Reject:
    text = "Canister has been uninstalled."
    return refused("IC0406", text, to_canister=text)


def stop_cancelled(name: str) -> Reject:
    return refused(
        "IC0511", f"Canister {name}'s stop request was cancelled.", f"Canister {name}'s stop request cancelled"
    )


def stop_timed_out() -> Reject:
    text = "Stop canister request timed out"
    return refused("IC0206", text, to_canister=text)


# What is this network's own: mainnet has no such errors.


def no_room(error: Exception) -> Reject:
    """What the message changes does not fit on the disk."""
    text = f"the network has no room on its disk for what this message changes ({error}): free some and call again"
    return Reject(RejectCode.SYS_TRANSIENT, text, "IC0000")


def internal_error() -> Reject:
    return Reject(RejectCode.SYS_FATAL, "internal error of the network; see its log", "IC0000")


# Management calls.


def cannot_pay_compute(allocation: int, missing: int) -> Failure:
    return caller_fault(
        "IC0530",
        f"Cannot increase compute allocation to {allocation} due to insufficient cycles."
        f" At least {missing} additional cycles are required.",
        "insufficient-cycles-in-compute-allocation",
    )


def cannot_pay_memory(allocation: int, missing: int) -> Failure:
    return caller_fault(
        "IC0531",
        f"Cannot increase memory allocation to {allocation} due to insufficient cycles."
        f" At least {missing} additional cycles are required.",
        "insufficient-cycles-in-memory-allocation",
    )


def subnet_full(wanted: int, left: int) -> Failure:
    return caller_fault(
        "IC0101",
        f"Canister requested {wanted} B of memory but only {left} B are available in the subnet.",
        "subnet-memory-capacity-oversubscribed",
    )


# Traps.


def trap(cause: str) -> CanisterTrap:
    """WebAssembly traps, or the System API does so in the same way."""
    return CanisterTrap("IC0502", f"Canister trapped: {cause}", advice("trapped"))


def trapped(message: str) -> CanisterTrap:
    """The canister called ``ic0.trap`` itself."""
    text = f"Canister called `ic0.trap` with message: '{message}'"
    return CanisterTrap("IC0503", text, advice("trapped-explicitly"))


def violation(message: str, help: str | None = None) -> CanisterTrap:
    """The canister used the System API in a way that its specification forbids.

    Args:
        help: the section of the reference that it is about; empty: no advice; None: its compiler is to blame.
    """
    given = _TOOLCHAIN if help is None else advice(help) if help else ""
    return CanisterTrap("IC0504", f"Canister violated contract: {message}", given)


def bad_signature() -> CanisterTrap:
    """A function is called through the table that has another type."""
    return violation("function invocation does not match its signature")


def no_such_function(index: int) -> CanisterTrap:
    """A callback is not in the table."""
    text = f"Canister requested to invoke a non-existent Wasm function {index} from table 0"
    return CanisterTrap("IC0513", text, _TOOLCHAIN)


def no_variable(message: str) -> CanisterTrap:
    """The canister asked for an environment variable that it does not have."""
    return CanisterTrap("IC0504", message)


def too_many_instructions(limit: int) -> CanisterTrap:
    text = f"Canister exceeded the limit of {limit} instructions for single message execution."
    return CanisterTrap("IC0522", text, advice("instruction-limit-exceeded"))


def too_slow(seconds: float) -> CanisterTrap:
    """This network's own: on mainnet system calls do not take longer than the instructions that they count as."""
    text = f"Canister exceeded the limit of {seconds:g} seconds of processor time for system calls."
    return CanisterTrap("IC0522", text, advice("instruction-limit-exceeded"))


def out_of_memory() -> CanisterTrap:
    return CanisterTrap("IC0507", "Canister cannot grow its memory usage.", advice("out-of-memory"))


def too_much_written(memory: str, limit: int) -> CanisterTrap:
    """The message wrote to more than `limit` bytes of its ``main`` or ``stable`` memory."""
    return _too_much(
        f"Exceeded the limit for the number of modified pages in the {memory} memory in a single message execution:"
        f" limit: {limit // 1024} KB."
    )


def too_much_accessed(limit: int, query_limit: int) -> CanisterTrap:
    """The message read or wrote more of its stable memory than the limits, in bytes, allow."""
    return _too_much(
        "Exceeded the limit for the number of accessed pages in the stable memory in a single message execution:"
        f" limit {limit // 1024} KB for regular messages and {query_limit // 1024} KB for queries."
    )


def _too_much(text: str) -> CanisterTrap:
    text = f"Canister exceeded memory access limits: {text}"
    return CanisterTrap("IC0524", text, advice("memory-access-limit-exceeded"))


def heap_too_large(limit: int, size: int) -> CanisterTrap:
    return CanisterTrap(
        "IC0539",
        f"Canister exceeded its current Wasm memory limit of {limit} bytes. The peak Wasm memory usage was {size}"
        " bytes. If the canister reaches 4GiB, then it may stop functioning and may become unrecoverable. Please reach"
        " out to the canister owner to investigate the reason for the increased memory usage. It might be necessary to"
        " move data from the Wasm memory to the stable memory. If such high Wasm memory usage is expected and safe,"
        " then the developer can increase the Wasm memory limit in the canister settings.",
        advice("wasm-memory-limit-exceeded"),
    )


def cannot_reserve_growth(grown: int, limit: int, beyond: int) -> CanisterTrap:
    text = (
        f"Canister cannot grow memory by {grown} bytes due to its reserved cycles limit."
        f" The current limit ({limit}) would be exceeded by {beyond}."
    )
    return CanisterTrap("IC0534", text, advice("reserved-cycles-limit-exceeded-in-memory-grow"))


def cannot_pay_growth(grown: int, missing: int) -> CanisterTrap:
    text = (
        f"Canister cannot grow memory by {grown} bytes due to insufficient cycles."
        f" At least {missing} additional cycles are required."
    )
    return CanisterTrap("IC0532", text, advice("insufficient-cycles-in-memory-grow"))
