"""A network in this process, served over HTTP by a thread: to see what no client can see of it."""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from measure import BENCH

from mainer_nb import identity, network
from mainer_nb.agent import Agent
from mainer_nb.localnet.canister import HostedCanister, Outcome
from mainer_nb.localnet.execution import EntryPoint, Execution, Input
from mainer_nb.localnet.limits import UPDATE_LIMIT
from mainer_nb.localnet.messages import Executor
from mainer_nb.localnet.network import EmbeddedNetwork
from mainer_nb.localnet.runtime import Instance
from mainer_nb.localnet.subnet import Step
from mainer_nb.network import Network
from mainer_nb.protocol import principal

sys.path.append(str(BENCH.parent))  # where a network is served as here
from tests.localnet.serving import serving


@dataclass
class Inside:
    """The engine and a connection to it as any client has one."""

    engine: EmbeddedNetwork
    net: Network

    def canister(self, canister_id: str) -> HostedCanister:
        """A canister as the engine has it."""
        return self.engine.subnet.canisters[principal.from_text(canister_id)]


@contextlib.contextmanager
def served(folder: Path) -> Iterator[Inside]:
    """A new network with its state in `folder`, connected to as the development identity."""
    with EmbeddedNetwork(folder / "inside") as engine, serving(engine) as port:
        url = f"http://127.0.0.1:{port}"
        ids = network.CanisterIds((network.IdsFile(folder / "inside-ids.json", "icp-cli", "inside"),))
        agent = Agent(identity.load(), url, engine.root_key)
        net = Network("inside", "address", url, engine.root_key, False, agent, ids)
        try:
            yield Inside(engine, net)
        finally:
            net.close()


def bare_call(inside: Inside, canister_id: str, export: str, arg: bytes, entry: str) -> Callable[[], None]:
    """A call of an exported function of a canister and nothing else: no HTTP, signature, certificate or commit; the
    changes it makes are dropped.
    """
    canister, subnet = inside.canister(canister_id), inside.engine.subnet
    given = Input(inside.net.agent.get_principal().bytes, export.split()[-1], arg)
    inside.engine.scheduler.wait_until_idle()  # an answer is there before its thread has left the canister's instance

    def call() -> None:
        instance = canister.instance()
        view = canister.view(subnet.info, time.time_ns(), instance.compiled.info.memory64, UPDATE_LIMIT)
        execution = canister.execution(EntryPoint(entry), given, view, instance)
        outcome = canister.run(execution, lambda: instance.call_export(export, execution))
        assert outcome.trap is None, outcome.trap
        canister.rollback(execution.stable.touched)

    return call


@dataclass
class Computing:
    """Seconds spent inside the wasm of canisters."""

    seconds: float = 0.0
    calls: int = 0


@contextlib.contextmanager
def computing() -> Iterator[Computing]:
    """While it lasts, the time inside exported functions is added up."""
    measured, original = Computing(), Instance.call_export

    def timed(self: Instance, *args: Any, **kwargs: Any) -> None:
        begun = time.perf_counter()
        try:
            original(self, *args, **kwargs)
        finally:
            measured.seconds += time.perf_counter() - begun
            measured.calls += 1

    Instance.call_export = timed  # type: ignore[method-assign]
    try:
        yield measured
    finally:
        Instance.call_export = original  # type: ignore[method-assign]


@dataclass(frozen=True)
class Message:
    """An executed message: the entry point (as `localnet.execution` names them), and what it took."""

    entry: str
    instructions: int


@contextlib.contextmanager
def messages() -> Iterator[list[Message]]:
    """While it lasts, every executed message but queries is listed."""
    seen: list[Message] = []
    original = HostedCanister.run

    def noted(self: HostedCanister, execution: Execution, call: Callable[[], None], more: int = 0) -> Outcome:
        outcome = original(self, execution, call, more)
        if execution.entry is not EntryPoint.REPLICATED_QUERY:
            seen.append(Message(execution.entry, outcome.instructions))
        return outcome

    HostedCanister.run = noted  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        HostedCanister.run = original  # type: ignore[method-assign]


@dataclass
class Rounds:
    """How deep messages caused one another: 1 for a message from outside, one more for each that a message sent."""

    depth: dict[int, int] = field(default_factory=dict)  # by message number
    by_method: dict[str, list[int]] = field(default_factory=dict)  # of calls


@contextlib.contextmanager
def rounds() -> Iterator[Rounds]:
    """While it lasts, every message gets the round it would be executed in, were each executed at once."""
    seen, current = Rounds(), threading.local()
    enqueue, execute = Step.put, Executor.execute

    def put(self: Step, number: int, target: bytes, is_management: bool, message: Any) -> None:
        depth = getattr(current, "depth", 0) + 1
        seen.depth[number] = depth
        if method := getattr(message, "method", ""):
            seen.by_method.setdefault(method, []).append(depth)
        enqueue(self, number, target, is_management, message)

    def run(self: Executor, canister: HostedCanister | None, number: int, message: Any) -> None:
        current.depth = seen.depth.get(number, 0)
        try:
            execute(self, canister, number, message)
        finally:
            current.depth = 0

    Step.put, Executor.execute = put, run  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        Step.put, Executor.execute = enqueue, execute  # type: ignore[method-assign]
