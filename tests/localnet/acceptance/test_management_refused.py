"""Management canister: randomness, who may call what, what this network does not have."""

from __future__ import annotations

from typing import Any

import pytest

from mainer_nb.localnet import management
from mainer_nb.localnet.errors import Reject
from mainer_nb.localnet.management.methods import Callers
from mainer_nb.protocol import candid, principal
from tests.localnet.acceptance.proxy import Proxy, rejected
from tests.localnet.driver import Driver

DOES_NOT_HOLD = {
    "flexible_http_request asks several nodes": "refused: there is only one, which `http_request` asks",
    "bitcoin methods answer": "refused: there is no Bitcoin network here",
    "node_metrics_history tells of blocks": "refused: the only node proposes none",
}

_BITCOIN = {"network": {"mainnet": None}}
REFUSED: dict[str, dict[str, Any]] = {
    "bitcoin_get_balance": {"address": "x", **_BITCOIN},
    "bitcoin_get_utxos": {"address": "x", **_BITCOIN},
    "bitcoin_send_transaction": {"transaction": b"", **_BITCOIN},
    "bitcoin_get_current_fee_percentiles": _BITCOIN,
    "bitcoin_get_block_headers": {"start_height": 0, **_BITCOIN},
    "flexible_http_request": {"url": "https://example.org"},
    "node_metrics_history": {"subnet_id": b"", "start_at_timestamp_nanos": 0},
}


def test_raw_rand(ic: Driver) -> None:
    """raw_rand gives a canister 32 bytes, different ones each time"""
    proxy = Proxy(ic)
    first, second = proxy.manage("raw_rand"), proxy.manage("raw_rand")
    assert len(first) == len(second) == 32
    assert first != second


@pytest.mark.parametrize(
    "method",
    sorted(
        name
        for name, method in management.METHODS.items()
        if method.callers is Callers.CANISTERS and not management.is_only_query(name)
    ),
)
def test_not_for_users(ic: Driver, method: str) -> None:
    """methods for canisters only are refused to users before they are accepted"""
    described = management.INTERFACE.methods[method]
    data = candid.encode(described.args, [_some(described.args[0])] if described.args else [])
    outcome = ic.submit(principal.MANAGEMENT, method, data)
    rejected(outcome, 4, f"Only canisters can call ic00 method {method}", "IC0406")


def _some(kind: Any) -> Any:
    """Any value of a Candid type."""
    kind = candid.resolve(kind)
    if isinstance(kind, candid.Record):
        return {field.label: _some(field.type) for field in kind.fields}
    if isinstance(kind, candid.Variant):
        return {kind.fields[0].label: _some(kind.fields[0].type)}
    if isinstance(kind, candid.Opt):
        return None
    if isinstance(kind, candid.Vec):
        return b"" if kind.of == candid.NAT8 else []
    return {"text": "", "principal": b"", "null": None, "bool": False}.get(kind.name, 0)


@pytest.mark.parametrize("method", sorted(REFUSED))
def test_not_supported(ic: Driver, method: str) -> None:
    """methods that need other networks are refused as not supported, and the cycles go back"""
    proxy = Proxy(ic)
    rejected(proxy.manage(method, REFUSED[method], 10**10), 4, f"{method} is not supported by this network")
    assert proxy.refunded == 10**10


def test_unknown_method(ic: Driver) -> None:
    """methods that the management canister does not have are rejected"""
    outcome = ic.update(principal.MANAGEMENT, "make_coffee", candid.encode((), ()))
    rejected(outcome, 5, "Management canister has no method 'make_coffee'", "IC0536")
    called = Proxy(ic).call(principal.MANAGEMENT, "make_coffee", candid.encode((), ()))
    rejected(called, 5, "Management canister has no method 'make_coffee'")


@pytest.mark.parametrize("arg", [b"", b"DIDL", b"not candid", candid.encode([candid.TEXT], ["x"])])
def test_wrong_arguments(ic: Driver, arg: bytes) -> None:
    """arguments that do not fit a method are rejected with code 4"""
    outcome = ic.update(principal.MANAGEMENT, "canister_status", arg)
    rejected(outcome, 4, "Error decoding candid: ", "IC0408")


def test_more_fields(ic: Driver) -> None:
    """fields of an argument that the method does not know are ignored"""
    canister = ic.create()
    kind = candid.record({"canister_id": candid.PRINCIPAL, "new_field": candid.TEXT})
    data = candid.encode([kind], [{"canister_id": canister, "new_field": "x"}])
    assert not isinstance(ic.update(principal.MANAGEMENT, "canister_status", data), Reject)
