"""What every measure here shares: figures with what they are compared to, the table, the JSON, the command line.

    chosen = measure.options(__doc__)
    with measure.network() as net:
        figures = [measure.Figure("update call, p50", 3.2, "ms", target=5, lower_is_better=True)]
    measure.report("updates", "Update calls", figures, chosen)

A report prints the table and writes the JSON file.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.metadata
import json
import os
import platform
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from mainer_nb import places
from mainer_nb.localnet import server
from mainer_nb.network import Network, connect

BENCH = Path(__file__).resolve().parent
RESULTS = BENCH / "results"
PACKAGES = ("mainer-nb", "wasmtime", "ic-py", "icp-py-core", "llama-cpp-python", "httpx", "aiohttp", "papermill")


@dataclass(frozen=True)
class Figure:
    """One measured number.

    `against`: what it is compared with, and that measured in the same run as `reference`; `target`: of `ratio` if
    there is a reference (how much better than it), else of `value`; None: told for information only.
    `lower_is_better`: of `value` and `reference`.
    """

    name: str
    value: float
    unit: str
    against: str = ""
    reference: float | None = None
    target: float | None = None
    lower_is_better: bool = False
    note: str = ""

    @property
    def ratio(self) -> float | None:
        """How many times as good as the reference."""
        if self.reference is None:
            return None
        return self.reference / self.value if self.lower_is_better else self.value / self.reference

    @property
    def attained(self) -> float | None:
        """The part of the target that is reached: 1 or more when it is reached; None without a target."""
        if self.target is None:
            return None
        if self.ratio is not None:
            return self.ratio / self.target
        return self.target / max(self.value, 1e-12) if self.lower_is_better else self.value / self.target

    @property
    def reached(self) -> bool | None:
        return None if self.attained is None else self.attained >= 1

    @property
    def aim(self) -> str:
        """The target in words."""
        if self.target is None:
            return ""
        if self.reference is not None:
            return f"{self.target:g} x"
        return f"{'<=' if self.lower_is_better else '>='} {self.target:g} {self.unit}"

    def record(self) -> dict[str, Any]:
        return {**asdict(self), "ratio": self.ratio, "attained": self.attained, "reached": self.reached}


def options(description: str, arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line of a measure: `quick`, and `results` (where the JSON goes)."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works; the figures are rough")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder for the JSON (default: bench/results)")
    return parser.parse_args(arguments)


def report(name: str, title: str, figures: Sequence[Figure], chosen: argparse.Namespace) -> Path:
    """Prints the table and writes `<name>.json`, whose path is returned."""
    print(table(title, figures), flush=True)
    content = {
        "measure": name,
        "title": title,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "quick": chosen.quick,
        "machine": machine(),
        "versions": versions(),
        "figures": [figure.record() for figure in figures],
    }
    chosen.results.mkdir(parents=True, exist_ok=True)
    path: Path = chosen.results / f"{name}.json"
    path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return path


def number(value: float) -> str:
    """Three significant digits, no exponent."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def table(title: str, figures: Sequence[Figure]) -> str:
    """The figures as text in columns, notes below."""
    verdict = {True: "reached", False: "NOT reached", None: ""}
    rows = [("measure", "here", "compared with", "there", "ratio", "target", "")]
    for figure in figures:
        rows.append(
            (
                figure.name,
                f"{number(figure.value)} {figure.unit}",
                figure.against,
                "" if figure.reference is None else f"{number(figure.reference)} {figure.unit}",
                "" if figure.ratio is None else f"{number(figure.ratio)} x",
                figure.aim,
                verdict[figure.reached],
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    notes = [f"  {figure.name}: {figure.note}" for figure in figures if figure.note]
    return "\n".join([f"\n{title}", *lines, *notes])


def machine() -> dict[str, Any]:
    """What it ran on."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "python": platform.python_version(),
        "load_average": [round(load, 2) for load in os.getloadavg()],
    }


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


# --- networks and places of a measure's own ---


@contextlib.contextmanager
def own_places() -> Iterator[Path]:
    """State and identity in a folder of their own, removed afterwards, the network in it stopped; files and caches
    are the project's.
    """
    folder = Path(tempfile.mkdtemp(prefix="mainer-bench-"))
    try:
        with environment(MAINER_NB_STATE=str(folder / "state"), MAINER_NB_CONFIG=str(folder / "config")):
            yield folder
    finally:
        with contextlib.suppress(server.ServerError):
            server.stop(folder / "state")
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def environment(**variables: str) -> Iterator[None]:
    """These environment variables, for as long as it lasts."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """A new embedded network, gone afterwards."""
    with own_places():
        net = connect()
        try:
            yield net
        finally:
            net.close()


def network_process() -> psutil.Process:
    """The process of the network that runs in these places."""
    info = server.status(places.state())
    assert info is not None, "no network runs here"
    return psutil.Process(info.pid)


def memory() -> float:
    """Bytes of memory that the network's process has to itself or its share of."""
    info = network_process().memory_full_info()
    return float(getattr(info, "pss", info.uss))


def disk(folder: Path) -> float:
    """Bytes that the files in `folder` take on the disk."""
    return sum(path.stat().st_blocks * 512 for path in folder.rglob("*") if path.is_file())


# --- timing ---


def seconds_of(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def latencies(action: Callable[[], object], count: int) -> list[float]:
    """Seconds of each of `count` calls, one after the other."""
    return [seconds_of(action) for _ in range(count)]


def p50(seconds: Sequence[float]) -> float:
    return statistics.median(seconds)


def rate(actions: Sequence[Callable[[], object]], seconds: float) -> float:
    """Calls per second when each of `actions` is repeated by a thread of its own for so many seconds."""
    counts = [0] * len(actions)
    failures: list[BaseException] = []
    end = time.perf_counter() + seconds

    def client(index: int) -> None:
        try:
            while time.perf_counter() < end:
                actions[index]()
                counts[index] += 1
        except Exception as error:
            failures.append(error)

    begun = time.perf_counter()
    threads = [threading.Thread(target=client, args=(index,)) for index in range(len(actions))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return sum(counts) / (time.perf_counter() - begun)


def say(text: str) -> None:
    """What is going on, for whoever waits."""
    print(f"  {text}", file=sys.stderr, flush=True)
