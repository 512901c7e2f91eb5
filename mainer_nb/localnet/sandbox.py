"""A fresh network for a test, and canisters that are called like Python objects.

    >>> with Sandbox() as ic:
    ...     counter = ic.create_canister(module, did="service : { add : (nat) -> (nat); get : () -> (nat) query }")
    ...     counter.add(2)
    ...     counter.get()
    2

The network runs in this process, in a temporary folder, and is gone when the block ends; it starts in
some hundredths of a second. As a pytest fixture:

    @pytest.fixture
    def ic():
        with Sandbox() as sandbox:
            yield sandbox

Principals are bytes, as everywhere in `localnet` (`principal.to_text` writes them). Amounts are cycles,
times seconds, timestamps nanoseconds since the epoch.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, Self

from ..protocol import candid, did, principal
from . import management, wasm
from .canister import HostedCanister
from .envelope import Call, Query
from .errors import Reject, Reply, Response
from .network import EmbeddedNetwork

#: Who calls if nobody else is named.
DEFAULT_USER = principal.self_authenticating(b"the sandbox's user")

_EXPIRY = 240 * 10**9


class CallRejected(Exception):
    """A call was rejected.

    Attributes:
        reject: the rejection: `code`, `message` and the network's `error_code`, such as ``IC0503``.
    """

    def __init__(self, reject: Reject) -> None:
        super().__init__(
            f"{reject.message} (reject code {reject.code}{reject.error_code and ', ' + reject.error_code})"
        )
        self.reject = reject


class Sandbox:
    """A network and its users.

    Args:
        folder: keeps the network's state; by default a temporary folder that is removed in the end.
        cache: keeps compiled modules; by default the folder that all networks of this user share.
        user: who calls if no `sender` is given.
        outcalls: whether canisters can make HTTPS outcalls; by default as last time in this folder, at first not.
        snapshot_wait: see `EmbeddedNetwork`.
    """

    def __init__(
        self,
        folder: Path | None = None,
        cache: Path | None = None,
        user: bytes = DEFAULT_USER,
        outcalls: bool | None = None,
        snapshot_wait: int | None = None,
    ) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="sandbox-") if folder is None else None
        self.folder = Path(self._temporary.name) / "network" if self._temporary else Path(str(folder))
        self.cache = cache
        self.user = user
        self.network = EmbeddedNetwork(self.folder, cache, outcalls=outcalls, snapshot_wait=snapshot_wait)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stops the network, and removes its folder if it is a temporary one."""
        self.network.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def restart(self) -> None:
        """Stops the network and starts it again from its folder."""
        self.network.close()
        self.network = EmbeddedNetwork(self.folder, self.cache)

    # Time.

    def time(self) -> int:
        """The network's time, nanoseconds since the epoch."""
        return self.network.now()

    def pause(self) -> None:
        """Stops the network's time: from now on it moves by `advance_time` and `set_time` only."""
        self.network.clock.hold()

    def resume(self) -> None:
        """Lets the network's time run on."""
        self.network.clock.release()

    def set_time(self, timestamp: int) -> None:
        """Stops the network's time at `timestamp`.

        Raises:
            ValueError: it is in the past.
        """
        self.network.clock.hold(timestamp)

    def advance_time(self, seconds: float) -> None:
        """Moves the network's time forward. Timers that come due fire at once, or with the next `tick`.

        Raises:
            ValueError: `seconds` is negative.
        """
        self.network.clock.advance(round(seconds * 10**9))

    def tick(self, times: int = 1) -> None:
        """Lets the network do what is due, heartbeats included, and waits until nothing is left to execute.

        Raises:
            TimeoutError: some canister is busy for more than a minute.
        """
        for _ in range(times):
            if not self.network.scheduler.tick(60):
                raise TimeoutError("the network's canisters are still busy after 60 s")

    # Messages.

    def submit(self, canister_id: bytes, method: str, arg: bytes = b"", sender: bytes | None = None) -> bytes | Reject:
        """Sends an ingress message; its request id, or the rejection if it is not accepted."""
        request_id = os.urandom(32)
        call = Call(canister_id, method, arg, self._sender(sender), None, self.time() + _EXPIRY, request_id)
        refusal = self.network.inspect(call)
        if refusal is None:
            self.network.accept(call)
        return refusal or request_id

    def response(self, request_id: bytes, timeout: float = 60) -> Response:
        """Waits for the outcome of a request.

        Raises:
            TimeoutError: there is none after `timeout` seconds.
            StateError: the network's folder cannot be written.
        """
        request = self.network.subnet.requests[request_id]
        deadline, pause = time.monotonic() + timeout, 0.0001
        while request.response is None:
            self.network.subnet.check()
            if time.monotonic() > deadline:
                raise TimeoutError(f"the request is still {request.status} after {timeout} s")
            time.sleep(pause)
            pause = min(2 * pause, 0.01)
        return request.response

    def update(self, canister_id: bytes, method: str, arg: bytes = b"", sender: bytes | None = None) -> Response:
        """Calls a method with an encoded argument and waits for the outcome."""
        submitted = self.submit(canister_id, method, arg, sender)
        return submitted if isinstance(submitted, Reject) else self.response(submitted)

    def query(self, canister_id: bytes, method: str, arg: bytes = b"", sender: bytes | None = None) -> Response:
        """Calls a query method with an encoded argument."""
        request_id = os.urandom(32)
        expiry = self.time() + _EXPIRY
        return self.network.execute_query(
            Query(canister_id, method, arg, self._sender(sender), None, expiry, request_id)
        )

    def management(self, method: str, arg: dict[str, Any] | None = None, sender: bytes | None = None) -> Any:
        """Calls a method of the management canister with Python values; its result, or None.

        Raises:
            CallRejected: the call was rejected.
        """
        described = management.INTERFACE.methods[method]
        send = self.query if management.is_only_query(method) else self.update
        args = () if arg is None else (arg,)
        return _call(described, partial(send, principal.MANAGEMENT), *args, sender=sender)

    def _sender(self, sender: bytes | None) -> bytes:
        return self.user if sender is None else sender

    # Canisters.

    def create_canister(
        self,
        module: bytes | None = None,
        *args: Any,
        did: str | None = None,
        cycles: int = 100_000_000_000_000,
        sender: bytes | None = None,
        **settings: Any,
    ) -> SandboxCanister:
        """A new canister; with `module`, it is installed with the Python values `args`.

        Args:
            did: its interface; by default the one in the module's metadata.
            cycles: its balance.
            sender: who makes it, and is its controller unless `settings` say otherwise.
            settings: fields of the management canister's ``canister_settings``.

        Raises:
            CallRejected: the settings or the module are wrong, or the installation failed.
        """
        wanted = {"amount": cycles, "settings": settings}
        created = self.management("provisional_create_canister_with_cycles", wanted, sender)
        canister = SandboxCanister(self, created["canister_id"], did)
        if module is not None:
            canister.install(module, *args, sender=sender)
        return canister

    def canister(self, canister_id: bytes | str, did: str | None = None) -> SandboxCanister:
        """A canister that exists, by its id (bytes or text)."""
        wanted = principal.from_text(canister_id) if isinstance(canister_id, str) else canister_id
        return SandboxCanister(self, wanted, did)


class SandboxCanister:
    """A canister of a `Sandbox`. Each method of its interface is a Python method that takes and gives Python values.

    A method without result gives None, one with several results a list of them.
    """

    def __init__(self, sandbox: Sandbox, canister_id: bytes, did_text: str | None = None) -> None:
        self.sandbox = sandbox
        self.id = canister_id
        self._did = did_text

    def __repr__(self) -> str:
        return f"<canister {principal.to_text(self.id)}>"

    @property
    def interface(self) -> did.Interface:
        """Its interface: the one it was given, else the one in its module's metadata.

        Raises:
            ValueError: there is neither.
        """
        text = self._did
        if text is None:
            compiled = self._canister().compiled
            metadata = compiled.info.metadata() if compiled else {}
            if "candid:service" not in metadata:
                raise ValueError(f"{self!r} has no interface in its metadata: give it, as in create_canister(…, did=…)")
            text = metadata["candid:service"][1].decode()
        return did.parse(text, f"the interface of {self!r}")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        try:
            method = self.interface.methods[name]
        except (KeyError, ValueError) as error:
            raise AttributeError(f"{self!r} has no method {name!r}: {error}") from error
        return partial(self.query if method.mode in ("query", "composite_query") else self.call, name)

    def call(self, method: str, *args: Any, sender: bytes | None = None) -> Any:
        """Calls a method as an update.

        Raises:
            CallRejected: it rejected, trapped or is not there.
            candid.CandidError: the arguments are not of the method's types.
        """
        return self._invoke(self.sandbox.update, method, args, sender)

    def query(self, method: str, *args: Any, sender: bytes | None = None) -> Any:
        """Calls a query method; errors as of `call`."""
        return self._invoke(self.sandbox.query, method, args, sender)

    def _invoke(self, send: Callable[..., Response], method: str, args: tuple[Any, ...], sender: bytes | None) -> Any:
        described = self.interface.methods.get(method)
        if described is None:
            raise AttributeError(f"{self!r} has no method {method!r} in its interface")
        return _call(described, partial(send, self.id), *args, sender=sender)

    # Code.

    def install(self, module: bytes, *args: Any, mode: str = "install", sender: bytes | None = None) -> None:
        """Installs `module` with the Python values `args`; `mode` is ``install``, ``reinstall`` or ``upgrade``.

        An upgrade of a Motoko canister with enhanced orthogonal persistence keeps its heap.

        Raises:
            CallRejected: the module is not valid, trapped, or the mode does not fit.
        """
        options = None
        if mode == "upgrade" and _keeps_heap(module):
            options = {"wasm_memory_persistence": {"keep": None}, "skip_pre_upgrade": None}
        request = {
            "mode": {mode: options},
            "canister_id": self.id,
            "wasm_module": module,
            "arg": candid.encode(self._init_types(module), args),
        }
        self.sandbox.management("install_code", request, sender)

    def _init_types(self, module: bytes) -> tuple[candid.Type, ...]:
        if self._did is not None:
            return did.parse(self._did).init_args
        embedded = wasm.inspect(wasm.decompress(module)).metadata().get("candid:args")
        if embedded is None:
            return ()
        return did.parse(f"service : {embedded[1].decode()} -> {{}}", "the module's candid:args").init_args

    def upgrade(self, module: bytes, *args: Any, sender: bytes | None = None) -> None:
        """Upgrades to `module`; errors as of `install`."""
        self.install(module, *args, mode="upgrade", sender=sender)

    def reinstall(self, module: bytes, *args: Any, sender: bytes | None = None) -> None:
        """Installs `module` anew, forgetting all state; errors as of `install`."""
        self.install(module, *args, mode="reinstall", sender=sender)

    # Life.

    def start(self, sender: bytes | None = None) -> None:
        """Starts it."""
        self._manage("start_canister", sender)

    def stop(self, sender: bytes | None = None) -> None:
        """Stops it: waits until its open calls are answered."""
        self._manage("stop_canister", sender)

    def delete(self, sender: bytes | None = None) -> None:
        """Deletes it; it must be stopped."""
        self._manage("delete_canister", sender)

    def status(self, sender: bytes | None = None) -> dict[str, Any]:
        """What the management canister's ``canister_status`` says."""
        found: dict[str, Any] = self._manage("canister_status", sender)
        return found

    def logs(self, sender: bytes | None = None) -> list[bytes]:
        """The lines it printed, oldest first."""
        records = self._manage("fetch_canister_logs", sender)["canister_log_records"]
        return [record["content"] for record in records]

    def update_settings(self, sender: bytes | None = None, **settings: Any) -> None:
        """Changes fields of its ``canister_settings``."""
        self.sandbox.management("update_settings", {"canister_id": self.id, "settings": settings}, sender)

    @property
    def controllers(self) -> list[bytes]:
        """Its controllers."""
        return list(self._canister().state.settings.controllers)

    def set_controllers(self, controllers: Iterable[bytes], sender: bytes | None = None) -> None:
        """Gives it other controllers."""
        self.update_settings(sender, controllers=list(controllers))

    @property
    def cycles(self) -> int:
        """Its balance."""
        return self._canister().state.cycles

    def add_cycles(self, amount: int) -> int:
        """Gives it cycles out of nothing; its balance then."""
        self.sandbox.management("provisional_top_up_canister", {"canister_id": self.id, "amount": amount})
        return self.cycles

    @property
    def stable_memory(self) -> bytes:
        """Its stable memory as committed, whole pages of 64 KiB."""
        return self._canister().stable_memory()

    @stable_memory.setter
    def stable_memory(self, data: bytes) -> None:
        network = self.sandbox.network
        if not network.scheduler.wait_until_idle(60):
            raise TimeoutError(f"{self!r} is still busy after 60 s")
        canister = self._canister()
        with canister.memory_lock, network.subnet.step() as step:
            canister.replace_stable_memory(data)
            step.touch(canister)

    def _manage(self, method: str, sender: bytes | None) -> Any:
        return self.sandbox.management(method, {"canister_id": self.id}, sender)

    def _canister(self) -> HostedCanister:
        try:
            return self.sandbox.network.subnet.canisters[self.id]
        except KeyError:
            raise ValueError(f"there is no canister {principal.to_text(self.id)} any more") from None


def _call(described: did.Method, send: Callable[..., Response], *args: Any, sender: bytes | None = None) -> Any:
    response = send(described.name, candid.encode(described.args, args), sender)
    if isinstance(response, Reject):
        raise CallRejected(response)
    assert isinstance(response, Reply)
    results = candid.decode(described.results, response.data)
    return results if len(results) > 1 else (results[0] if results else None)


def _keeps_heap(module: bytes) -> bool:
    return "enhanced-orthogonal-persistence" in wasm.inspect(wasm.decompress(module)).metadata()
