"""The clients that ours is compared with, as they come from PyPI, all for one and the same key."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from functools import partial
from pathlib import Path

import ic
import icp_agent
import icp_identity
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from ic.candid import Types as IcPyTypes
from ic.candid import encode as ic_py_encode
from icp_candid import Types as IcpTypes
from icp_candid import encode as icp_encode

from mainer_nb.identity import Identity
from mainer_nb.network import Network

#: update(canister id, method, encoded argument): calls it and waits for the decoded answer.
Update = Callable[[str, str, bytes], object]
#: encode(data): the argument of a method that takes one blob.
EncodeBlob = Callable[[bytes], bytes]


class Key:
    """A new Ed25519 key, in the form each client wants."""

    def __init__(self) -> None:
        self._seed = secrets.token_bytes(32)

    def save(self, path: Path) -> Path:
        """As a PEM file, for `network.connect`."""
        path.touch(mode=0o600)
        path.write_bytes(Identity(Ed25519PrivateKey.from_private_bytes(self._seed)).to_pem())
        return path

    def ic_py(self, net: Network) -> ic.Agent:
        """A stock ic-py agent."""
        return ic.Agent(ic.Identity(privkey=self._seed.hex()), ic.Client(url=net.url), root_key=net.root_key)

    def icp_py_core(self, net: Network) -> icp_agent.Agent:
        """A stock icp-py-core agent."""
        identity = icp_identity.Identity(privkey=self._seed.hex())
        return icp_agent.Agent(identity, icp_agent.Client(net.url), root_key=net.root_key)

    def icp_py_core_update(self, net: Network) -> Update:
        """Its update call. It can verify certificates only with a library that no registry has, so it does not."""
        return partial(self.icp_py_core(net).update_raw, verify_certificate=False)


def ic_py_blob(data: bytes) -> bytes:
    return bytes(ic_py_encode([{"type": IcPyTypes.Vec(IcPyTypes.Nat8), "value": data}]))


def icp_py_core_blob(data: bytes) -> bytes:
    return bytes(icp_encode([{"type": IcpTypes.Vec(IcpTypes.Nat8), "value": data}]))
