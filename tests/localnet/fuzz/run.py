"""Fuzzes the embedded network: odd HTTP requests, envelopes, Candid and wasm modules, by the ten thousands.

    python tests/localnet/fuzz/run.py [--cases 100000] [--seed 1]
    python tests/localnet/fuzz/run.py --seed 1 --only modules:1234      # one case again, and what came of it

A network runs in a process of its own; several clients send it cases at once. It must answer every request, never with
an internal error, and log none; nothing may change the witnesses (canisters that no valid message is for), neither
during the run nor by starting the network again; and afterwards it must do its work as before.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # modules here are those of the package tests.localnet.fuzz, also for others that import
    sys.path[0] = str(Path(__file__).resolve().parents[3])

import cbor2

from mainer_nb.localnet import management, server
from mainer_nb.protocol import candid, hash_tree, principal
from tests.localnet.fuzz import cbor, envelopes, messages, modules, requests
from tests.localnet.fuzz.cases import Request, Target, chance
from tests.localnet.fuzz.wire import Answer, Connection, NoAnswer
from tests.localnet.fuzz.world import World

RESULT = Path(__file__).resolve().parents[3] / "bench" / "results" / "fuzz.json"
THREADS = 6
#: How many of a hundred cases are of each kind.
SHARES = {"requests": 40, "envelopes": 30, "candid": 12, "decoder": 13, "modules": 5}
_STATUSES = (b"received", b"processing", b"replied", b"rejected", b"done")
#: A victim is looked after every so many cases, since cases may stop it, take its code, or freeze it.
CARE = 100


class Problem(Exception):
    """What must not happen has happened; the text says what."""


@dataclass(frozen=True)
class Found:
    """A problem and the case that shows it."""

    case: str
    text: str


@dataclass
class Tally:
    """What came of the cases of a run."""

    cases: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    problems: list[Found] = field(default_factory=list)
    slowest: dict[str, tuple[float, str]] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, kind: str, number: int, outcome: str, seconds: float) -> None:
        """Adds what came of a case."""
        with self.lock:
            self.cases[kind] += 1
            self.outcomes[f"{kind}: {outcome}"] += 1
            self.slowest[kind] = max(self.slowest.get(kind, (0.0, "")), (seconds, f"{kind}:{number}"))


@dataclass(frozen=True)
class Result:
    """What came of a run."""

    cases: int
    seed: int
    by_kind: dict[str, int]
    outcomes: dict[str, int]
    problems: list[Found]
    seconds: float


class Sender:
    """One client: its connection, and the canister whose code it replaces."""

    def __init__(self, world: World, target: Target, number: int) -> None:
        self.target = target
        self.machine = world.machines[number]
        self.connection = Connection(world.owner.port)

    def run(self, kind: str, seed: int, number: int) -> str:
        """Runs one case; the class of what came of it. Raises `Problem`."""
        random = chance(kind, seed, number)
        match kind:
            case "requests":
                return self._exchange(requests.case(random, self.target))
            case "envelopes":
                return self._exchange(envelopes.case(random, self.target))
            case "candid":
                return self._exchange(messages.over_http(random, self.target))
            case "decoder":
                return messages.decode(random)
        return self._module(modules.module(random), upgrade=random.random() < 0.3)

    def _exchange(self, request: Request) -> str:
        try:
            answer = self.connection.ask(request)
        except NoAnswer as gone:
            if request.whole and (request.allowed or "nothing came" in str(gone)):
                raise Problem(str(gone)) from gone
            return "not answered, as it is not HTTP"
        return self._class(request, answer)

    def _class(self, request: Request, answer: Answer) -> str:
        if answer.status == 500 and not request.target.startswith(b"/a?b="):
            raise Problem(f"HTTP 500: {answer.body[:1000]!r}")
        if b"internal error" in answer.body:
            raise Problem(f"internal error: {answer.body[:1000]!r}")
        if answer.status != 200 or not request.target.startswith(b"/api/v"):
            return f"HTTP {answer.status}"
        if request.method == b"HEAD" or request.raw is not None or not answer.body:
            return "HTTP 200"
        return self._replied(cbor2.loads(answer.body))

    def _replied(self, content: Any) -> str:
        if "certificate" not in content:
            return " ".join([content.get("status", "refused"), content.get("error_code", "")]).strip()
        tree = cbor2.loads(content["certificate"])["tree"]
        return _status(hash_tree.from_cbor(tree))

    def _module(self, module: bytes, upgrade: bool) -> str:
        """Installs `module` and calls it; then, if it is to be an `upgrade` too, the same of its upgrade to itself."""
        outcome = self._install(module, "reinstall")
        if outcome != "replied":
            return outcome
        outcome = self._used()
        if upgrade and self._install(module, "upgrade") == "replied":
            return f"installed and upgraded, then {self._used()}"
        return f"installed, then {outcome}"

    def _used(self) -> str:
        for kind, method in (("call", "go"), ("query", "see"), ("query", "all")):
            self._call(kind, self.machine, method, b"DIDL\0\0")
        return self._call("call", self.machine, "go", b"DIDL\0\0")

    def _install(self, module: bytes, mode: str) -> str:
        fields = {"mode": {mode: None}, "canister_id": self.machine, "wasm_module": module, "arg": b""}
        arg = candid.encode(management.INTERFACE.methods["install_code"].args, [fields])
        return self._call("call", principal.MANAGEMENT, "install_code", arg)

    def _call(self, kind: str, canister_id: bytes, method: str, arg: bytes) -> str:
        content = {
            "request_type": kind,
            "sender": principal.ANONYMOUS,
            "canister_id": canister_id,
            "method_name": method,
            "arg": arg,
            "ingress_expiry": time.time_ns() + 240 * 10**9,
        }
        where = f"/api/v3/canister/{principal.to_text(self.machine)}/{kind}"
        request = Request(b"POST", where.encode(), envelopes.CBOR, cbor.encode({"content": content}))
        outcome = self._exchange(request)
        deadline = time.monotonic() + 600
        while outcome in ("HTTP 202", "processing", "received"):
            if time.monotonic() > deadline:
                raise Problem(f"{method} has not ended in ten minutes")
            time.sleep(0.2)
            paths = [[b"request_status", envelopes.request_id(content, chance("", 0, 0))]]
            expiry = time.time_ns() + 240 * 10**9
            ask = {
                "request_type": "read_state",
                "sender": principal.ANONYMOUS,
                "paths": paths,
                "ingress_expiry": expiry,
            }
            where = f"/api/v2/canister/{principal.to_text(self.machine)}/read_state"
            outcome = self._exchange(Request(b"POST", where.encode(), envelopes.CBOR, cbor.encode({"content": ask})))
        return outcome


def _status(tree: hash_tree.Node) -> str:
    """The status of the request that a tree shows, and the code of its rejection."""
    shown = hash_tree.lookup([b"request_status"], tree)
    if isinstance(shown, hash_tree.Absence):
        return "certificate"
    values = hash_tree.shown_values(shown)
    if b"IC0000" in values:
        raise Problem("internal error of the network, see its log")
    statuses = [value.decode() for value in values if value in _STATUSES]
    found = statuses + [value.decode() for value in values if value[:3] == b"IC0"]
    return " ".join(found) or "certificate"


def plan(cases: int) -> Iterator[tuple[str, int]]:
    """Kinds and numbers of `cases` cases, the kinds mixed in their proportions."""
    made = dict.fromkeys(SHARES, 0)
    for done in range(1, cases + 1):
        kind = max(SHARES, key=lambda kind: SHARES[kind] * done / 100 - made[kind])
        yield kind, made[kind]
        made[kind] += 1


def fuzz(folder: Path, world: World, cases: int, seed: int, say: Callable[[str], None]) -> Tally:
    """Runs `cases` cases by several clients at once."""
    tally, waiting, lock = Tally(), plan(cases), threading.Lock()
    begun = time.monotonic()

    def client(index: int) -> None:
        sender = Sender(world, world.target(), index)
        for count in range(cases):
            with lock:
                case = next(waiting, None)
            if case is None or server.status(folder) is None:
                return
            if count % CARE == CARE - 1:
                with lock:
                    world.revive(index % len(world.victims))
                    world.revive_machine(index)
                sender.target, sender.machine = world.target(), world.machines[index]
            _one(sender, tally, *case, seed)
            done = tally.cases.total()
            if done % 5000 == 0:
                say(f"{done} of {cases} cases, {len(tally.problems)} problems, {time.monotonic() - begun:.0f} s")

    threads = [threading.Thread(target=client, args=(index,)) for index in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if tally.cases.total() < cases:
        tally.problems.append(Found("afterwards", f"only {tally.cases.total()} of {cases} cases could be run"))
    return tally


def _one(sender: Sender, tally: Tally, kind: str, number: int, seed: int) -> None:
    begun = time.monotonic()
    try:
        outcome = sender.run(kind, seed, number)
    except Exception as error:
        outcome = "PROBLEM"
        told = str(error) if isinstance(error, Problem) else "".join(traceback.format_exception(error)[-4:])
        with tally.lock:
            tally.problems.append(Found(f"{kind}:{number}", told))
        print(f"PROBLEM {kind}:{number}: {ascii(told)[:1500]}", flush=True)
    tally.count(kind, number, outcome, time.monotonic() - begun)


def run(folder: Path, cases: int, seed: int, say: Callable[[str], None] = print) -> tuple[Result, Tally]:
    """Fuzzes a new network with its state in `folder`, and looks for what it has changed."""
    begun = time.monotonic()
    info = server.start(folder)
    world = World(_port(info), bytes.fromhex(info.root_key), THREADS)
    before = world.witnessed()
    tally = fuzz(folder, world, cases, seed, say)
    found = [Found("afterwards", text) for text in _aftermath(world, before)]
    server.stop(folder)
    found += _logged(folder)  # before the next start, which may shorten the log
    say("starting the network again")
    try:
        info = server.start(folder)
    except server.ServerError as error:
        tally.problems += [*found, Found("starting again", str(error))]
        return _result(cases, seed, tally, begun), tally
    world.reconnect(_port(info))
    found += [Found("after a restart", text) for text in _aftermath(world, before)]
    found += [Found("afterwards", text) for text in _works(world)]
    server.stop(folder)
    tally.problems += dict.fromkeys([*found, *_logged(folder)])
    return _result(cases, seed, tally, begun), tally


def _result(cases: int, seed: int, tally: Tally, begun: float) -> Result:
    outcomes = dict(sorted(tally.outcomes.items()))
    seconds = round(time.monotonic() - begun, 1)
    return Result(cases, seed, dict(tally.cases), outcomes, tally.problems, seconds)


def _aftermath(world: World, before: list[Any]) -> list[str]:
    try:
        return world.changes(before)
    except (AssertionError, NoAnswer) as error:
        return [f"the witnesses cannot be asked: {error}"]


def _works(world: World) -> list[str]:
    """Whether the witnesses still take the calls of their owner."""
    try:
        counts = [int.from_bytes(world.owner.update(witness, "count", b""), "little") for witness in world.witnesses]
    except (AssertionError, NoAnswer) as error:
        return [f"a normal call fails: {error}"]
    return [] if counts == [2] * len(counts) else [f"the witnesses count {counts}, not 2"]


def _logged(folder: Path) -> list[Found]:
    """The errors in the network's log."""
    log = (folder / "server.log").read_text(errors="replace")
    return [Found("log", ("Traceback" + part)[:3000]) for part in log.split("Traceback")[1:]]


def _port(info: server.Info) -> int:
    return int(info.url.rpartition(":")[2])


def again(folder: Path, case: str, seed: int) -> int:
    """Runs one case by itself and tells what came of it."""
    kind, _, number = case.partition(":")
    info = server.start(folder)
    world = World(_port(info), bytes.fromhex(info.root_key), THREADS)
    sender = Sender(world, world.target(), 0)
    try:
        print(sender.run(kind, seed, int(number)))
        return 0
    except Exception:
        traceback.print_exc()
        return 1
    finally:
        print((folder / "server.log").read_text(errors="replace")[-3000:])


def main() -> int:
    """Runs it and writes the result."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--state", type=Path, help="folder of the network's state, which is kept (default: a new one)")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="run this case alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.state or Path(temporary) / "state"
        try:
            if options.only:
                return again(folder, options.only, options.seed)
            result, tally = run(folder, options.cases, options.seed, lambda text: print(text, flush=True))
        finally:
            server.stop(folder)
    for kind, (seconds, case) in tally.slowest.items():
        print(f"slowest of {kind}: {case}, {seconds:.1f} s")
    for outcome, count in result.outcomes.items():
        print(f"{count:7d}  {outcome}")
    for problem in result.problems[:50]:
        print(f"PROBLEM {problem.case}: {ascii(problem.text)[:2000]}")
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(asdict(result), indent=2) + "\n")
    print(f"{result.cases} cases in {result.seconds:.0f} s, {len(result.problems)} problems")
    return 1 if result.problems else 0


if __name__ == "__main__":
    sys.exit(main())
