"""Management canister: status, history, metadata, logs."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from mainer_nb.localnet import cycles, management
from mainer_nb.localnet.errors import Reject, Reply
from mainer_nb.protocol import candid, principal
from mainer_nb.protocol.request_id import hash_of_map
from tests.localnet.acceptance.proxy import PROXY, PROXY_BODY, Proxy, rejected, request
from tests.localnet.driver import ALICE, BOB, INSTALL, REINSTALL, UPGRADE, Driver, module

DOES_NOT_HOLD = {
    "sender_canister_version must equal the caller's version": "it is recorded as given, as mainnet does",
}

#: Prints its argument, and can trap after printing.
TALKER = module(
    """
  (func $say (call $arg_copy (i32.const 1000) (i32.const 0) (call $arg_size))
    (call $print (i32.const 1000) (call $arg_size)))
  (func (export "canister_update say") (call $say) (call $reply))
  (func (export "canister_query whisper") (call $say) (call $reply))
  (func (export "canister_update fail") (call $say) (call $trap (i32.const 0) (i32.const 4)))
  (func (export "canister_query number") (call $reply_i64 (i64.const 1)))
  (data (i32.const 0) "oops")
"""
)
DESCRIBED = module(
    """(@custom "icp:public candid:service" "service : {}") (@custom "icp:private secret" "hush")
    (@custom "other" "not visible")"""
)


def status(ic: Driver, canister: bytes) -> dict[str, Any]:
    found: dict[str, Any] = ic.manage("canister_status", {"canister_id": canister})
    return found


def logs(ic: Driver, canister: bytes, sender: bytes = ALICE) -> Any:
    outcome = ic.manage("fetch_canister_logs", {"canister_id": canister}, sender)
    if not isinstance(outcome, dict):
        return outcome
    return [(record["idx"], record["content"]) for record in outcome["canister_log_records"]]


def history(proxy: Proxy, canister: bytes, wanted: int | None = 100) -> dict[str, Any]:
    found: dict[str, Any] = proxy.manage("canister_info", {"canister_id": canister, "num_requested_changes": wanted})
    return found


# Status


def test_memory_metrics(ic: Driver) -> None:
    """memory_size is the sum of memory_metrics, which tell heap, module and custom sections apart"""
    canister = ic.create(DESCRIBED)
    found = status(ic, canister)
    metrics = found["memory_metrics"]
    assert found["memory_size"] == sum(metrics.values())
    assert metrics["wasm_memory_size"] == 65536
    assert metrics["wasm_binary_size"] == len(DESCRIBED)
    assert metrics["custom_sections_size"] == len(b"service : {}hush")
    assert metrics["canister_history_size"] > 0


def test_query_stats(ic: Driver) -> None:
    """query_stats count the query calls, their instructions and their bytes"""
    canister = ic.create(TALKER)
    ic.query(canister, "number", b"12345")
    ic.query(canister, "number", b"12345")
    stats = status(ic, canister)["query_stats"]
    assert stats["num_calls_total"] == 2
    assert stats["request_payload_bytes_total"] == 10
    assert stats["response_payload_bytes_total"] == 16
    assert stats["num_instructions_total"] > 0


def test_status_of_oneself(ic: Driver) -> None:
    """a canister that does not control itself may ask for its own status"""
    proxy = Proxy(ic)
    ic.manage("update_settings", {"canister_id": proxy.id, "settings": {"controllers": [ALICE]}})
    assert proxy.manage("canister_status", {"canister_id": proxy.id})["settings"]["controllers"] == [ALICE]


def test_status_only_controllers(ic: Driver) -> None:
    """by default only controllers and the canister itself may ask for its status"""
    canister = ic.create()
    rejected(ic.manage("canister_status", {"canister_id": canister}, BOB), 5, "Only controllers", "IC0512")
    rejected(Proxy(ic).manage("canister_status", {"canister_id": canister}), 5, "Only the controllers")


def test_version_counts_messages(ic: Driver) -> None:
    """the canister version goes up with updates, replicated queries and installations, not with queries and traps"""
    canister = ic.create(TALKER)
    assert status(ic, canister)["version"] == 1
    ic.update(canister, "say")
    assert status(ic, canister)["version"] == 2
    ic.query(canister, "number")
    ic.update(canister, "fail")
    assert status(ic, canister)["version"] == 2
    ic.update(canister, "number")
    assert status(ic, canister)["version"] == 3


def test_ready_for_migration(ic: Driver) -> None:
    """ready_for_migration is true for a stopped canister with empty queues"""
    canister = ic.create()
    assert status(ic, canister)["ready_for_migration"] is False
    ic.manage("stop_canister", {"canister_id": canister})
    assert status(ic, canister)["ready_for_migration"] is True


# History


def test_history(ic: Driver) -> None:
    """the history tells creation, installation, reinstallation, upgrade, change of controllers and uninstallation"""
    proxy, canister = Proxy(ic), ic.create(TALKER)
    digest = hashlib.sha256(TALKER).digest()
    ic.install(canister, TALKER, REINSTALL)
    ic.install(canister, TALKER, UPGRADE)
    ic.manage("update_settings", {"canister_id": canister, "settings": {"controllers": [ALICE, BOB]}})
    ic.manage("uninstall_code", {"canister_id": canister})
    info = history(proxy, canister)
    assert [change["details"] for change in info["recent_changes"]] == [
        {"creation": {"controllers": [ALICE], "environment_variables_hash": None}},
        {"code_deployment": {"mode": {"install": None}, "module_hash": digest}},
        {"code_deployment": {"mode": {"reinstall": None}, "module_hash": digest}},
        {"code_deployment": {"mode": {"upgrade": None}, "module_hash": digest}},
        {"controllers_change": {"controllers": [ALICE, BOB]}},
        {"code_uninstall": None},
    ]
    assert [change["canister_version"] for change in info["recent_changes"]] == [0, 1, 2, 3, 4, 5]
    assert {str(change["origin"]) for change in info["recent_changes"]} == {str({"from_user": {"user_id": ALICE}})}
    assert info["total_num_changes"] == 6
    assert info["module_hash"] is None
    assert info["controllers"] == [ALICE, BOB]


def test_history_times(ic: Driver) -> None:
    """changes of the history have the time at which they were made"""
    proxy = Proxy(ic)
    before = ic.network.now()
    canister = ic.create(TALKER)
    times = [change["timestamp_nanos"] for change in history(proxy, canister)["recent_changes"]]
    assert times == sorted(times)
    assert before < times[0]
    assert times[-1] < ic.network.now()


def test_history_origin_canister(ic: Driver) -> None:
    """a change made by a canister names it, with its version if it was given"""
    proxy = Proxy(ic)
    made = proxy.manage("create_canister", {"sender_canister_version": 17}, 10**13)["canister_id"]
    proxy.manage("update_settings", {"canister_id": made, "settings": {"controllers": [proxy.id, ALICE]}})
    origins = [change["origin"] for change in history(proxy, made)["recent_changes"]]
    assert origins == [
        {"from_canister": {"canister_id": proxy.id, "canister_version": 17}},
        {"from_canister": {"canister_id": proxy.id, "canister_version": None}},
    ]


def test_history_variables(ic: Driver) -> None:
    """a creation with environment variables is in the history with their hash, one without has no hash"""
    proxy = Proxy(ic)
    for variables, digest in (([{"name": "A", "value": "1"}], hash_of_map({"A": "1"})), ([], None)):
        (creation,) = history(proxy, ic.create(environment_variables=variables))["recent_changes"]
        assert creation["details"]["creation"]["environment_variables_hash"] == digest


def test_history_other_settings(ic: Driver) -> None:
    """changes of settings other than controllers, environment variables included, are not in the history"""
    proxy, canister = Proxy(ic), ic.create()
    variables = {"environment_variables": [{"name": "B", "value": "2"}]}
    for changed in ({"freezing_threshold": 5}, variables):
        ic.manage("update_settings", {"canister_id": canister, "settings": changed})
        assert history(proxy, canister)["total_num_changes"] == 1
    ic.manage("update_settings", {"canister_id": canister, "settings": {**variables, "controllers": [ALICE, BOB]}})
    assert history(proxy, canister)["recent_changes"][1]["details"] == {
        "controllers_change": {"controllers": [ALICE, BOB]}
    }


def test_history_parts(ic: Driver) -> None:
    """canister_info returns as many of the most recent changes as asked for, by default none"""
    proxy, canister = Proxy(ic), ic.create(TALKER)
    assert history(proxy, canister, None)["recent_changes"] == []
    (last,) = history(proxy, canister, 1)["recent_changes"]
    assert "code_deployment" in last["details"]
    assert len(history(proxy, canister, 50)["recent_changes"]) == 2


def test_history_bounded(ic: Driver) -> None:
    """the history keeps the last 20 changes and counts all"""
    proxy, canister = Proxy(ic), ic.create()
    for _ in range(25):
        ic.manage("update_settings", {"canister_id": canister, "settings": {"controllers": [ALICE]}})
    info = history(proxy, canister)
    assert len(info["recent_changes"]) == 20
    assert info["total_num_changes"] == 26


def test_history_of_anybody(ic: Driver) -> None:
    """every canister may ask for the history of any canister, and so may every user, in a query"""
    proxy = Proxy(ic)
    assert history(proxy, proxy.id)["module_hash"] == hashlib.sha256(PROXY).digest()
    for sender in (BOB, principal.ANONYMOUS):
        outcome = ic.manage("canister_info", {"canister_id": proxy.id}, sender)
        assert outcome["module_hash"] == hashlib.sha256(PROXY).digest()


def test_history_failed(ic: Driver) -> None:
    """a change that fails is not in the history"""
    proxy, canister = Proxy(ic), ic.create()
    ic.install(canister, b"not wasm", INSTALL)
    ic.install(canister, module('(func (export "canister_init") unreachable)'), INSTALL)
    assert history(proxy, canister)["total_num_changes"] == 1


def test_history_over_restart(ic: Driver) -> None:
    """the history survives a restart of the network"""
    proxy, canister = Proxy(ic), ic.create(TALKER)
    before = history(proxy, canister)
    ic.restart()
    assert history(proxy, canister) == before


# Metadata


def test_metadata(ic: Driver) -> None:
    """canister_metadata gives public custom sections to any canister"""
    proxy, canister = Proxy(ic), ic.create(DESCRIBED)
    found = proxy.manage("canister_metadata", {"canister_id": canister, "name": "candid:service"})
    assert found == {"value": b"service : {}"}


def test_metadata_private(ic: Driver) -> None:
    """canister_metadata gives private custom sections to controllers only"""
    proxy, canister = Proxy(ic), ic.create(DESCRIBED)
    asked = {"canister_id": canister, "name": "secret"}
    rejected(proxy.manage("canister_metadata", asked), 4, "not authorized")
    ic.manage("update_settings", {"canister_id": canister, "settings": {"controllers": [proxy.id]}})
    assert proxy.manage("canister_metadata", asked) == {"value": b"hush"}


def test_metadata_missing(ic: Driver) -> None:
    """canister_metadata rejects unknown sections and empty canisters"""
    proxy, canister = Proxy(ic), ic.create(DESCRIBED)
    asked = {"canister_id": canister, "name": "other"}
    rejected(proxy.manage("canister_metadata", asked), 4, "has no metadata section with the name other")
    asked = {"canister_id": ic.create(), "name": "other"}
    rejected(proxy.manage("canister_metadata", asked), 4, "has no Wasm module")


# Logs


def test_logs(ic: Driver) -> None:
    """what update methods print is logged with consecutive numbers"""
    canister = ic.create(TALKER)
    ic.update(canister, "say", b"one")
    ic.update(canister, "say", b"two")
    assert logs(ic, canister) == [(0, b"one"), (1, b"two")]


def test_logs_of_traps(ic: Driver) -> None:
    """traps are logged, after what was printed before"""
    canister = ic.create(TALKER)
    ic.update(canister, "fail", b"before")
    (_, printed), (_, trap) = logs(ic, canister)
    assert printed == b"before"
    assert trap == b"[TRAP]: Canister called `ic0.trap` with message: 'oops'"


def test_logs_not_of_queries(ic: Driver) -> None:
    """what queries print is not logged"""
    canister = ic.create(TALKER)
    ic.query(canister, "whisper", b"hello")
    assert logs(ic, canister) == []


def test_logs_of_replicated_queries(ic: Driver) -> None:
    """what a query method called as an update prints is logged"""
    canister = ic.create(TALKER)
    ic.update(canister, "whisper", b"hello")
    assert logs(ic, canister) == [(0, b"hello")]


def test_logs_size(ic: Driver) -> None:
    """by default the log keeps at most 4 KiB: the oldest lines go, the numbers count on"""
    canister = ic.create(TALKER)
    for number in range(10):
        ic.update(canister, "say", bytes([48 + number]) * 1000)
    found = logs(ic, canister)
    assert [number for number, _ in found] == [6, 7, 8, 9]
    assert sum(20 + len(text) for _, text in found) <= 4096


def test_logs_over_upgrade(ic: Driver) -> None:
    """logs survive upgrades and restarts, and go with reinstallation and uninstallation"""
    canister = ic.create(TALKER)
    ic.update(canister, "say", b"one")
    ic.install(canister, TALKER, UPGRADE)
    ic.restart()
    assert logs(ic, canister) == [(0, b"one")]
    ic.install(canister, TALKER, REINSTALL)
    assert logs(ic, canister) == []
    ic.update(canister, "say", b"two")
    assert [text for _, text in logs(ic, canister)] == [b"two"]
    ic.manage("uninstall_code", {"canister_id": canister})
    assert logs(ic, canister) == []


@pytest.mark.parametrize(
    ("visibility", "readable"),
    [({"controllers": None}, False), ({"public": None}, True), ({"allowed_viewers": [BOB]}, True)],
)
def test_logs_visibility(ic: Driver, visibility: dict[str, Any], readable: bool) -> None:
    """log_visibility decides who may fetch the logs"""
    canister = ic.create(TALKER, log_visibility=visibility)
    ic.update(canister, "say", b"one")
    assert logs(ic, canister) == [(0, b"one")]
    if readable:
        assert logs(ic, canister, BOB) == [(0, b"one")]
    else:
        rejected(logs(ic, canister, BOB), 4, "is not allowed to access canister logs", "IC0406")


@pytest.mark.parametrize("method", ["fetch_canister_logs", "canister_info"])
def test_by_ingress_not(ic: Driver, method: str) -> None:
    """fetch_canister_logs and canister_info can be called by users as queries only"""
    asked = ic.encoded(method, {"canister_id": ic.create(TALKER)})
    refused = ic.update(principal.MANAGEMENT, method, asked)
    rejected(refused, 4, "only accessible to end users in non-replicated mode", "IC0406")
    assert isinstance(ic.query(principal.MANAGEMENT, method, asked), Reply)


def test_logs_by_canisters(ic: Driver) -> None:
    """a canister that may see the logs of another fetches them in an update call, which costs as any other call"""
    proxy = Proxy(ic)
    canister = ic.create(TALKER, log_visibility={"allowed_viewers": [proxy.id]})
    for number in range(5):
        ic.update(canister, "say", b"%d" % number)
    found = proxy.manage("fetch_canister_logs", {"canister_id": canister}, cycles=10**9)
    assert found == ic.manage("fetch_canister_logs", {"canister_id": canister})
    assert len(found["canister_log_records"]) == 5
    assert proxy.refunded == 10**9
    some = {"canister_id": canister, "filter": {"by_idx": {"start": 1, "end": 3}}}
    assert [item["idx"] for item in proxy.manage("fetch_canister_logs", some)["canister_log_records"]] == [1, 2]
    rejected(Proxy(ic).manage("fetch_canister_logs", some), 4, "is not allowed to access canister logs")


def test_logs_filtered(ic: Driver) -> None:
    """fetch_canister_logs tells only lines whose numbers, or times, are those of the filter; the end is excluded"""
    canister = ic.create(TALKER)
    for number in range(5):
        ic.update(canister, "say", b"%d" % number)
    all_ = ic.manage("fetch_canister_logs", {"canister_id": canister})["canister_log_records"]
    times = [record["timestamp_nanos"] for record in all_]

    def chosen(kind: str, start: int, end: int) -> list[int]:
        asked = {"canister_id": canister, "filter": {kind: {"start": start, "end": end}}}
        return [record["idx"] for record in ic.manage("fetch_canister_logs", asked)["canister_log_records"]]

    assert chosen("by_idx", 1, 3) == [1, 2]
    assert chosen("by_idx", 0, 2**64 - 1) == [0, 1, 2, 3, 4]
    assert chosen("by_idx", 5, 9) == chosen("by_idx", 3, 3) == chosen("by_idx", 4, 1) == []
    assert chosen("by_timestamp_nanos", times[1], times[3]) == [1, 2]
    assert chosen("by_timestamp_nanos", times[1] + 1, times[3] + 1) == [2, 3]
    assert chosen("by_timestamp_nanos", 0, 2**64 - 1) == [0, 1, 2, 3, 4]


def test_logs_of_one_response(ic: Driver) -> None:
    """a response has at most 2 MB of logs: the newest lines without a filter, the oldest matching ones with a filter"""
    canister = ic.create(TALKER, log_memory_limit=2 * 2**20, cycles=10**15)
    for _ in range(63):
        assert ic.update(canister, "say", b"x" * 32_768) == Reply(b"")
    newest = [number for number, _ in logs(ic, canister)]
    assert newest == list(range(newest[0], 63))
    assert 1_900_000 < len(newest) * (32_768 + 20) <= 2_000_000
    asked = {"canister_id": canister, "filter": {"by_idx": {"start": 0, "end": 63}}}
    found = [record["idx"] for record in ic.manage("fetch_canister_logs", asked)["canister_log_records"]]
    assert found == list(range(len(newest)))


def test_empty_lines(ic: Driver) -> None:
    """an empty line takes 20 bytes of the log, so that its number of lines is bounded"""
    canister = ic.create(TALKER)
    for _ in range(300):
        ic.update(canister, "say", b"")
    assert [number for number, _ in logs(ic, canister)] == list(range(300 - 4096 // 20, 300))


def test_log_memory(ic: Driver) -> None:
    """a log takes the memory of its limit and two pages, however much is in it; with the limit 0 it takes none"""
    canister = ic.create(TALKER)

    def sizes() -> tuple[int, int]:
        status = ic.manage("canister_status", {"canister_id": canister})
        return status["memory_metrics"]["log_memory_store_size"], status["memory_size"]

    before, memory = sizes()
    assert before == 4096 + 2 * 4096
    ic.update(canister, "say", b"line")
    assert sizes() == (before, memory)
    for limit, size in ((0, 0), (2**20, 2**20 + 8192)):
        ic.manage("update_settings", {"canister_id": canister, "settings": {"log_memory_limit": limit}})
        assert sizes() == (size, memory - before + size)


@pytest.mark.parametrize("limit", [1, 4095, 2 * 2**20 + 1])
def test_log_limit_bounds(ic: Driver, limit: int) -> None:
    """log_memory_limit is 0, or from 4096 to 2097152; another value is rejected"""
    settings = {"canister_id": ic.create(), "settings": {"log_memory_limit": limit}}
    rejected(ic.manage("update_settings", settings), 5, "log_memory_limit", "IC0504")
    creation = {"settings": {"log_memory_limit": limit}}
    rejected(ic.manage("provisional_create_canister_with_cycles", creation), 5, "log_memory_limit", "IC0504")


def test_log_limit_lowered(ic: Driver) -> None:
    """lowering log_memory_limit purges the oldest lines at once, 0 all of them, and nothing is logged then"""
    canister = ic.create(TALKER, log_memory_limit=20_000)
    for _ in range(10):
        ic.update(canister, "say", b"x" * 1000)
    assert len(logs(ic, canister)) == 10
    for limit, kept in ((5000, [6, 7, 8, 9]), (0, [])):
        ic.manage("update_settings", {"canister_id": canister, "settings": {"log_memory_limit": limit}})
        ic.restart()
        assert [number for number, _ in logs(ic, canister)] == kept
    ic.update(canister, "say", b"unheard")
    ic.manage("update_settings", {"canister_id": canister, "settings": {"log_memory_limit": 4096}})
    ic.update(canister, "say", b"heard")
    assert logs(ic, canister) == [(10, b"heard")]


def test_log_limit_costs(ic: Driver) -> None:
    """a change of log_memory_limit costs an instruction for each byte of the log's memory, old and new"""
    canister = ic.create(TALKER)

    def price(**settings: int) -> int:
        before = ic.cycles(canister)
        ic.manage("update_settings", {"canister_id": canister, "settings": settings})
        return before - ic.cycles(canister)

    usual = price(freezing_threshold=9)
    assert price(log_memory_limit=2**21) - usual in range(cycles.execution(2**21 + 4096 + 4 * 4096), 6_500_000 + 2**22)
    assert price(log_memory_limit=2**21) - usual < 10**6


def test_metadata_of_itself(ic: Driver) -> None:
    """a canister that does not control itself does not read its own private metadata"""
    custom = '(@custom "icp:private secret" "hidden") (@custom "icp:public known" "open")'
    proxy = Proxy(ic, wasm=module(PROXY_BODY + custom, "(memory 64)"))
    asked = {"canister_id": proxy.id, "name": "secret"}
    assert proxy.manage("canister_metadata", asked) == {"value": b"hidden"}
    ic.manage("update_settings", {"canister_id": proxy.id, "settings": {"controllers": [ALICE]}})
    rejected(proxy.manage("canister_metadata", asked), 4, "not authorized")
    assert proxy.manage("canister_metadata", {**asked, "name": "known"}) == {"value": b"open"}


# Queries


@pytest.mark.parametrize("method", ["canister_status", "canister_metrics", "canister_info"])
def test_queries(ic: Driver, method: str) -> None:
    """canister_status, canister_metrics and canister_info tell the same as queries of users as in update calls"""
    proxy = Proxy(ic)
    canister = ic.create(TALKER, controllers=[ALICE, proxy.id])
    ic.manage("stop_canister", {"canister_id": canister})
    asked = ic.encoded(method, {"canister_id": canister})
    replied = ic.query(principal.MANAGEMENT, method, asked)
    assert isinstance(replied, Reply), replied
    (found,) = candid.decode(management.INTERFACE.methods[method].results, replied.data)
    told = proxy.manage(method, {"canister_id": canister})
    assert _without_cycles(found) == _without_cycles(told)
    anybody = ic.query(principal.MANAGEMENT, method, asked, principal.ANONYMOUS)
    assert isinstance(anybody, Reply) is (method == "canister_info")


def _without_cycles(found: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in found.items() if "cycles" not in name}


def test_status_by_query_is_visible(ic: Driver) -> None:
    """status_visibility decides who sees the status in a query call"""
    canister = ic.create(status_visibility={"allowed_viewers": [BOB]})
    asked = ic.encoded("canister_status", {"canister_id": canister})
    for sender, seen in ((ALICE, True), (BOB, True), (principal.ANONYMOUS, False)):
        outcome = ic.query(principal.MANAGEMENT, "canister_status", asked, sender)
        assert isinstance(outcome, Reply) is seen
    rejected(outcome, 5, "Only the controllers of the canister", "IC0512")


@pytest.mark.parametrize(
    "method", ["start_canister", "stored_chunks", "raw_rand", "list_canister_snapshots", "deposit_cycles", "nothing"]
)
def test_other_methods_are_no_queries(ic: Driver, method: str) -> None:
    """methods that are no queries of the management canister cannot be called as queries"""
    known = management.INTERFACE.methods.get(method)
    arg = candid.encode(known.args, [{"canister_id": ic.create()}]) if known and known.args else b""
    rejected(ic.query(principal.MANAGEMENT, method, arg), 5, f"no query method '{method}'", "IC0536")


def test_list_canisters(ic: Driver) -> None:
    """list_canisters is for subnet admins, and this subnet has none"""
    empty = candid.encode((), ())
    for outcome in (
        ic.query(principal.MANAGEMENT, "list_canisters", empty),
        ic.update(principal.MANAGEMENT, "list_canisters", empty),
    ):
        assert isinstance(outcome, Reject)
        assert outcome.error_code == "IC0406"
    rejected(ic.query(principal.MANAGEMENT, "list_canisters", empty), 4, "subnet admins")


def test_metrics(ic: Driver) -> None:
    """canister_metrics counts the cycles that a canister has spent, by use; only controllers ask for it"""
    proxy = Proxy(ic)
    made = proxy.manage("create_canister", {"settings": {"controllers": [ALICE, proxy.id]}}, cycles=10**13)
    canister = made["canister_id"]

    def consumed() -> dict[str, int]:
        found: dict[str, int] = ic.manage("canister_metrics", {"canister_id": canister})["cycles_consumed"]
        return found

    first = consumed()
    assert first["canister_creation"] == cycles.CANISTER_CREATION
    assert first["uninstall"] == first["http_outcalls"] == first["burned_cycles"] == 0
    assert ic.install(canister, PROXY, INSTALL) is None
    assert ic.network.scheduler.wait_until_idle(30)
    ic.advance_time(3600)
    ic.tick()
    assert consumed()["memory"] > first["memory"]
    before, balance = consumed(), ic.cycles(canister)
    empty = candid.encode((), ())
    ic.update(canister, "call", request(principal.MANAGEMENT, "raw_rand", empty))
    after = consumed()
    spent = {name: after[name] - before[name] for name in after}
    assert spent["request_and_response_transmission"] > cycles.call(8)
    assert spent["instructions"] > 2 * 5_000_000
    assert spent["ingress_induction"] > 1_200_000
    assert sum(spent.values()) == pytest.approx(balance - ic.cycles(canister), abs=5_000_000)
    ic.restart()
    assert consumed()["canister_creation"] == cycles.CANISTER_CREATION
    rejected(ic.manage("canister_metrics", {"canister_id": canister}, BOB), 5, "Only controllers", "IC0512")


def test_subnet_info(ic: Driver) -> None:
    """subnet_info names the version of the software of this subnet"""
    proxy = Proxy(ic)
    assert proxy.manage("subnet_info", {"subnet_id": ic.network.subnet_id})["replica_version"]
    rejected(proxy.manage("subnet_info", {"subnet_id": ALICE}), 4, "does not exist")
