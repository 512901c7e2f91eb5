"""System API, "Overview of imports": what may be imported, and which function may be called from where."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mainer_nb.localnet import system_api
from mainer_nb.localnet.errors import Reject
from mainer_nb.localnet.execution import Execution
from mainer_nb.protocol import principal
from tests.localnet import universal as u
from tests.localnet.acceptance.test_management_outcalls import Server
from tests.localnet.driver import INSTALL, REINSTALL, UPGRADE, Driver, module
from tests.localnet.outcomes import rejected, replied


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of a server whose answers are transformed."""
    server = Server()
    yield server.url
    server.stop()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, module_cache: Path) -> Iterator[Driver]:
    """One network for all functions."""
    driver = Driver(tmp_path_factory.mktemp("shared") / "network", module_cache, outcalls=True)
    yield driver
    driver.close()


def _update(ic: Driver, canister: bytes, program: bytes) -> None:
    ic.update(canister, "update", program)


def _callback(on_reply: bytes | None, on_reject: bytes | None, on_cleanup: bytes | None) -> Callable[[bytes], bytes]:
    def program(callee: bytes) -> bytes:
        method = "query" if on_reject is None else "nowhere"
        return u.call(callee, method, u.reply(), on_reply=on_reply, on_reject=on_reject, on_cleanup=on_cleanup)

    return program


def _outcall(ic: Driver, canister: bytes, url: str) -> bytes:
    """A call of ``http_request`` whose response `canister` transforms."""
    transform = {"function": (canister, "transform"), "context": b""}
    arg = {"url": url, "method": {"get": None}, "headers": [], "transform": transform}
    return u.call(principal.MANAGEMENT, "http_request", ic.encoded("http_request", arg), cycles=10**12)


def _run(ic: Driver, canister: bytes, entry: str, program: bytes, url: str) -> None:
    """Lets `canister` execute `program` in entry point `entry`."""
    calls = {
        "y": lambda: _callback(program, None, None)(canister),
        "t": lambda: _callback(None, program, None)(canister),
        "C": lambda: _callback(u.trap(), None, program)(canister),
    }
    match entry:
        case "I":
            ic.install(canister, u.universal(), REINSTALL, program)
        case "G":
            _update(ic, canister, u.hook("canister_pre_upgrade", program))
            ic.install(canister, u.universal(), UPGRADE, b"")
        case "U":
            _update(ic, canister, program)
        case "RQ":
            ic.update(canister, "query", program)
        case "NRQ":
            ic.query(canister, "query", program)
        case "TQ":
            _update(ic, canister, u.hook("canister_query transform", program))
            _update(ic, canister, _outcall(ic, canister, url))
        case "CQ":
            ic.query(canister, "composite_query", program)
        case "Ry" | "Rt" | "C":
            _update(ic, canister, calls[entry[-1]]())
        case "CRy" | "CRt" | "CC":
            ic.query(canister, "composite_query", calls[entry[-1]]())
        case "F":
            _update(ic, canister, u.hook("canister_inspect_message", program))
            ic.update(canister, "update", b"")
            ic.install(canister, u.universal(), REINSTALL, b"")
        case "T":
            start = u.hook("canister_global_timer", program) + u.ignore(u.api("global_timer_set", 1))
            _update(ic, canister, start)
            ic.tick()
        case "s":
            ic.install(canister, u.universal(start=program), REINSTALL, b"")
            ic.install(canister, u.universal(), REINSTALL, b"")


def _call_of(name: str) -> bytes:
    signature = u.SIGNATURES[name]
    writes = name.endswith("128") or name.startswith("cost_")
    args = [2048 if writes and i == len(signature.params) - 1 else 0 for i in range(len(signature.params))]
    return u.api(name, *args)


@pytest.mark.parametrize("name", u.SIGNATURES)
def test_functions_can_be_called_from_the_specified_entry_points_only(
    shared: Driver, site: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """each function of the System API can be called from the entry points that are specified, and traps elsewhere"""
    refused = set()

    def watch(item: system_api.Import, execution: Execution) -> None:
        refused.add(execution.entry)
        refuse(item, execution)

    refuse = system_api.Import.refuse
    monkeypatch.setattr(system_api.Import, "refuse", watch)
    canister = shared.create(u.universal(), arg=b"")
    for entry in u.ENTRIES:
        _run(shared, canister, entry, _call_of(name), site)
    assert refused == u.ENTRIES - u.SIGNATURES[name].entries


def test_the_error_names_function_and_entry_point(ic: Driver) -> None:
    """the error of a function that is called from a wrong entry point names both"""
    canister = ic.create(u.universal(), arg=b"")
    text = 'Canister violated contract: "ic0_accept_message" cannot be executed in update mode'
    rejected(ic.update(canister, "update", u.api("accept_message")), "IC0504", text)


def test_all_functions_have_the_specified_types() -> None:
    """each function of the System API has the specified types of parameters and results"""
    for name, signature in u.SIGNATURES.items():
        item = system_api.IMPORTS[name]
        assert (item.params, item.results) == (signature.params, signature.results), name


def test_there_are_no_other_functions() -> None:
    """the System API has the specified functions, all of them and no others"""
    assert set(system_api.IMPORTS) == set(u.SIGNATURES)


@pytest.mark.parametrize("name", u.ONLY_32_BIT)
def test_functions_of_32_bits_are_missing_for_modules_with_64_bit_memories(ic: Driver, name: str) -> None:
    """modules with 64-bit memories cannot import the functions for 32-bit memories only"""
    wat = u.signature_text(name, "i64")
    refusal = ic.install(ic.create(), module(wat, "(memory i64 1)", imports=""), INSTALL)
    rejected(refusal, "IC0505", f"it imports ic0.{name}, which modules with 64-bit memories do not have")


def test_functions_outside_of_the_specification_cannot_be_imported(ic: Driver) -> None:
    """a module that imports anything but functions of the System API is refused"""
    for wat in ('(import "ic0" "mint_cycles" (func (param i64)))', '(import "env" "print" (func))'):
        rejected(ic.install(ic.create(), module(wat, imports=""), INSTALL), "IC0505", "the System API does not have")


def test_imports_with_other_types_are_refused(ic: Driver) -> None:
    """a module that imports a function of the System API with other types is refused"""
    wat = '(import "ic0" "time" (func (result i32)))'
    rejected(ic.install(ic.create(), module(wat, imports=""), INSTALL), "IC0505", "time")


def test_modules_without_memory_import_the_32_bit_functions(ic: Driver) -> None:
    """modules without a memory import the 32-bit functions"""
    wat = """(import "ic0" "msg_reply" (func $reply)) (import "ic0" "msg_arg_data_size" (func $size (result i32)))
      (func (export "canister_update go") (drop (call $size)) (call $reply))"""
    canister = ic.create(module(wat, "", imports=""))
    assert replied(ic.update(canister, "go")) == b""


def test_multiple_values_may_be_returned_by_functions_of_a_module(ic: Driver) -> None:
    body = """(func $pair (result i64 i64) (i64.const 40) (i64.const 2))
      (func (export "canister_query go") (call $reply_i64 (i64.add (call $pair))))"""
    assert ic.number(ic.create(module(body)), "go") == 42


@pytest.mark.parametrize("memory64", [False, True], ids=["32-bit", "64-bit"])
def test_modules_have_memories_of_32_or_of_64_bits(ic: Driver, memory64: bool) -> None:
    """modules may have 32-bit or 64-bit memories, and call each other"""
    canister = ic.create(u.universal(memory64), arg=b"")
    assert replied(ic.update(canister, "update", u.reply(u.blob(b"wide or narrow")))) == b"wide or narrow"
    other = ic.create(u.universal(not memory64), arg=b"")
    relayed = ic.update(canister, "update", u.call(other, "update", u.reply(u.caller())))
    assert replied(relayed) == canister


def test_a_start_function_runs_before_the_initialisation(ic: Driver) -> None:
    started = u.universal(start=u.store(1024, 7))
    canister = ic.create(started, arg=u.store(1032, u.stored(1024)))
    assert replied(ic.query(canister, "query", u.reply(u.i64(u.stored(1032))))) == (7).to_bytes(8, "little")


def test_a_start_function_that_traps_prevents_the_installation(ic: Driver) -> None:
    canister = ic.create()
    refusal = ic.install(canister, u.universal(start=u.trap("no start")), INSTALL, b"")
    assert isinstance(refusal, Reject)
    assert "no start" in refusal.message
    rejected(ic.query(canister, "query", u.reply()), "IC0537")
