"""The network's one node: its key signs the answers to queries (IC interface specification, "Request: Query call")."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ..protocol.principal import self_authenticating
from ..protocol.request_id import hash_of_map

SEED_LENGTH = 32

_RESPONSE = b"\x0bic-response"


class NodeKey:
    """An Ed25519 key; the same 32 bytes of `seed` give the same key and node id."""

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key_der = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.node_id = self_authenticating(self.public_key_der)

    def sign(self, response: Mapping[str, Any], request_id: bytes, timestamp: int) -> dict[str, Any]:
        """The `node-signature` of the response (without signatures) to a query, at `timestamp` (nanoseconds)."""
        digest = hash_of_map({**response, "timestamp": timestamp, "request_id": request_id})
        return {
            "timestamp": timestamp,
            "signature": self._key.sign(_RESPONSE + digest),
            "identity": self.node_id,
        }
