"""Representation-independent hashes: the specification's example, ic-py's, and values that have no hash."""

import hashlib
from typing import Any

import pytest
from ic.utils import to_request_id

from mainer_nb.protocol import principal
from mainer_nb.protocol.request_id import HashError, hash_of_map


def test_request_id_of_the_specification() -> None:
    fields = {
        "request_type": "call",
        "canister_id": bytes.fromhex("00000000000004D2"),
        "method_name": "hello",
        "arg": b"DIDL\x00\xfd*",
        "sender": b"\x04",
        "ingress_expiry": 1685570400000000000,
    }
    assert hash_of_map(fields).hex() == "1d1091364d6bb8a6c16b203ee75467d59ead468f523eb058880ae8ec80e2b101"


@pytest.mark.parametrize("changes", [{}, {"nonce": b"n"}, {"arg": b""}, {"ingress_expiry": 0}])
def test_request_ids_agree_with_ic_py(changes: dict[str, Any]) -> None:
    fields = {
        "request_type": "call",
        "canister_id": principal.canister_id(3),
        "method_name": "greet",
        "arg": b"DIDL\0\0",
        "sender": principal.ANONYMOUS,
        "ingress_expiry": 1_700_000_000_000_000_000,
        **changes,
    }
    assert hash_of_map(fields) == to_request_id(fields)


def test_arrays_and_maps_have_hashes() -> None:
    paths = [[b"time"], [b"request_status", b"x"]]
    inner = [hashlib.sha256(b"".join(hashlib.sha256(label).digest() for label in path)).digest() for path in paths]
    pair = hashlib.sha256(b"paths").digest() + hashlib.sha256(b"".join(inner)).digest()
    assert hash_of_map({"paths": paths}) == hashlib.sha256(pair).digest()
    assert hash_of_map({"a": {"b": 1}}) != hash_of_map({"a": {"b": 2}})


@pytest.mark.parametrize("value", [-1, True, 1.5, None, {1: 2}, {"inner": [b"x", -1]}])
def test_other_values_have_no_hash(value: Any) -> None:
    with pytest.raises(HashError, match="has no hash"):
        hash_of_map({"field": value})
