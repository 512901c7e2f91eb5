"""The state tree: what the network certifies (IC interface specification, section "The system state tree").

The tree as a whole is one expression, `StateTree.current`. Canisters and requests keep their
subtrees, so that a certificate costs what has changed since the last one, not the size of the state.
"""

from __future__ import annotations

from collections.abc import Mapping

from ..protocol import hash_tree
from ..protocol.cbor import self_described
from ..protocol.hash_tree import Node
from ..protocol.leb128 import leb128
from ..protocol.principal import canister_id
from .canister import HostedCanister
from .errors import Reject, Reply
from .state import Request
from .subnet import Subnet

#: The canister ids of the one subnet.
RANGE = (canister_id(0), canister_id(2**64 - 1))
SUBNET_TYPE = b"application"
#: What everybody may read of a canister, at its own URL (section "Canister information").
READABLE = frozenset((b"canister_creation_timestamp", b"controllers", b"last_install_timestamp", b"module_hash"))
#: What there may be about a request (section "Request status").
REQUEST_LABELS = ([b"status"], [b"reply"], [b"reject_code"], [b"reject_message"], [b"error_code"])


class StateTree:
    """The state tree of a network, kept up to date.

    Args:
        subnet_id, public_key: the subnet and its key (DER).
        nodes: public keys (DER) of the nodes by node id.
    """

    def __init__(self, subnet_id: bytes, public_key: bytes, nodes: dict[bytes, bytes]) -> None:
        ranges = self_described([list(RANGE)])
        self._subnet = hash_tree.tree(
            {
                subnet_id: {
                    b"canister_ranges": ranges,
                    b"node": {node: {b"public_key": key} for node, key in nodes.items()},
                    b"public_key": public_key,
                    b"type": SUBNET_TYPE,
                }
            }
        )
        self._ranges = hash_tree.tree({subnet_id: {RANGE[0]: ranges}})
        self._canisters: Node = hash_tree.EMPTY
        self._requests: Node = hash_tree.EMPTY
        self._stale_canisters: set[bytes] = set()
        self._stale_requests: set[bytes] = set()

    def canister_changed(self, canister_id: bytes) -> None:
        """A canister was made, changed or deleted."""
        self._stale_canisters.add(canister_id)

    def request_changed(self, request_id: bytes) -> None:
        """The status of a request has changed, or was forgotten."""
        self._stale_requests.add(request_id)

    def current(self, subnet: Subnet) -> Node:
        """The complete tree of `subnet` now. It holds still meanwhile: its lock is held."""
        self._refresh(subnet.canisters, subnet.requests)
        return hash_tree.tree(
            {
                b"canister": self._canisters,
                b"canister_ranges": self._ranges,
                b"request_status": self._requests,
                b"subnet": self._subnet,
                b"time": leb128(subnet.clock.now()),
            }
        )

    def _refresh(self, canisters: Mapping[bytes, HostedCanister], requests: Mapping[bytes, Request]) -> None:
        for key in self._stale_canisters:
            canister = canisters.get(key)
            self._canisters = _update(self._canisters, key, None if canister is None else _canister(canister))
        for key in self._stale_requests:
            request = requests.get(key)
            self._requests = _update(self._requests, key, None if request is None else _request(request))
        self._stale_canisters.clear()
        self._stale_requests.clear()


def _update(node: Node, label: bytes, subtree: Node | None) -> Node:
    return hash_tree.remove(node, label) if subtree is None else hash_tree.put(node, label, subtree)


def _canister(canister: HostedCanister) -> Node:
    state = canister.state
    controllers = self_described(list(state.settings.controllers))
    labels: hash_tree.Labels = {b"canister_creation_timestamp": leb128(state.created), b"controllers": controllers}
    if canister.compiled is not None and state.module is not None:
        if state.installed:
            labels = {**labels, b"last_install_timestamp": leb128(state.installed)}
        metadata = canister.compiled.info.metadata()
        labels = {
            **labels,
            b"certified_data": state.certified_data,
            b"metadata": {name.encode(): content for name, (_, content) in metadata.items()},
            b"module_hash": state.module,
        }
    return hash_tree.tree(labels)


def _request(request: Request) -> Node:
    response = request.response
    if isinstance(response, Reply):
        return hash_tree.tree({b"status": b"replied", b"reply": response.data})
    if isinstance(response, Reject):
        labels = {
            b"status": b"rejected",
            b"reject_code": leb128(response.code),
            b"reject_message": response.message.encode(),
        }
        if response.error_code:
            labels[b"error_code"] = response.error_code.encode()
        return hash_tree.tree(labels)
    return hash_tree.tree({b"status": request.status.encode()})
