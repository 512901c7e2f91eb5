"""The methods that ic-py's own Canister calls on an agent, with what they return: values as ic-py decodes them.

    theirs = ic.Canister(net.agent, canister_id, did_text)
    theirs.health()                                       # [{'status_code': 200}]

ic-py's Canister hands its own types over, so replies to it are decoded by ic-py's Candid; all else here uses
`protocol.candid`.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import cbor2
import ic
from ic.candid import decode


class IcPyMethods(ic.Agent, ABC):
    """ic-py's Agent, its requests carried out by the methods that are abstract here; they raise what those raise."""

    @abstractmethod
    def query_bytes(self, canister_id: Any, method: str, arg: bytes, effective_canister_id: Any = None) -> bytes: ...

    @abstractmethod
    def update_bytes(
        self, canister_id: Any, method: str, arg: bytes, effective_canister_id: Any = None, timeout: float = ...
    ) -> bytes: ...

    @abstractmethod
    def read_certificate(self, canister_id: Any, paths: Sequence[Sequence[bytes]]) -> bytes: ...

    def query_raw(
        self,
        canister_id: Any,
        method_name: str,
        arg: bytes,
        return_type: Any = None,
        effective_canister_id: Any = None,
    ) -> Any:
        """The reply of a query, decoded as ic-py's `return_type` says."""
        return decode(self.query_bytes(canister_id, method_name, arg, effective_canister_id), return_type)

    def update_raw(
        self,
        canister_id: Any,
        method_name: str,
        arg: bytes,
        return_type: Any = None,
        effective_canister_id: Any = None,
        **timeout: float,
    ) -> Any:
        """The certified reply of an update, decoded as ic-py's `return_type` says; `timeout` in seconds."""
        return decode(self.update_bytes(canister_id, method_name, arg, effective_canister_id, **timeout), return_type)

    def read_state_raw(self, canister_id: Any, paths: Sequence[Sequence[bytes]]) -> dict[str, Any]:
        """The verified certificate (decoded: `tree`, `signature`, …) with these paths of the state tree."""
        return dict(cbor2.loads(self.read_certificate(canister_id, paths)))

    async def query_raw_async(self, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(self.query_raw, *args, **kwargs)

    async def update_raw_async(self, *args: Any, **kwargs: Any) -> Any:
        return await asyncio.to_thread(self.update_raw, *args, **kwargs)

    async def read_state_raw_async(self, *args: Any) -> Any:
        return await asyncio.to_thread(self.read_state_raw, *args)
