"""The figures of a fleet as Prometheus text, once: for a scrape by file, or to look at.

    print(metrics.text(watch.look(net, fleet.of(net)), network="local"))

The format is version 0.0.4 of https://prometheus.io/docs/instrumenting/exposition_formats. A figure that was not told
has no line. Units are base units: bytes, seconds, cycles.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from . import watch
from .samples import SECONDS_PER_DAY
from .watch import Bounds, Reading


@dataclass(frozen=True)
class _Gauge:
    """A metric: what it is, and its value for a reading; None where there is none."""

    name: str
    help: str
    value: Callable[[Reading], float | None]


def text(readings: Sequence[Reading], network: str, bounds: Bounds | None = None) -> str:
    """The metrics of these readings.

    Args:
        network: for the label of that name.
        bounds: from where on a reading counts as out of bounds.
    """
    marked = _Gauge(
        "mainer_canister_out_of_bounds",
        "Figures of the canister that are out of bounds.",
        lambda reading: len(watch.marks(reading, bounds)),
    )
    lines = [line for gauge in (*GAUGES, marked) for line in _lines(gauge, readings, network)]
    return "".join(f"{line}\n" for line in lines)


def _lines(gauge: _Gauge, readings: Sequence[Reading], network: str) -> list[str]:
    values = [(reading, value) for reading in readings if (value := gauge.value(reading)) is not None]
    if not values:
        return []
    head = [f"# HELP {gauge.name} {_escaped(gauge.help)}", f"# TYPE {gauge.name} gauge"]
    return head + [f"{gauge.name}{{{_labels(reading, network)}}} {_number(value)}" for reading, value in values]


def _labels(reading: Reading, network: str) -> str:
    member = reading.member
    labels = {"network": network, "canister": member.canister_id, "name": member.name, "role": member.role}
    return ",".join(f'{name}="{_escaped(value, in_quotes=True)}"' for name, value in labels.items())


def _escaped(value: str, in_quotes: bool = False) -> str:
    escaped = value.replace("\\", r"\\").replace("\n", r"\n")
    return escaped.replace('"', r"\"") if in_quotes else escaped


def _number(value: float) -> str:
    """A number as Go's ParseFloat reads it."""
    return "+Inf" if math.isinf(value) else repr(value)


def _flag(holds: bool | None) -> int | None:
    return None if holds is None else int(holds)


def _seconds_left(reading: Reading) -> float | None:
    return None if reading.days is None else reading.days * SECONDS_PER_DAY


def _burn(reading: Reading, measured: bool) -> float | None:
    """Cycles a day, if they are measured, or if not."""
    burn = reading.burn
    return None if burn is None or (burn.measured is not None) != measured else burn.cycles_per_day


GAUGES = (
    _Gauge(
        "mainer_canister_running",
        "Whether the canister exists, runs, and has code and cycles.",
        lambda reading: int(reading.state == "running"),
    ),
    _Gauge(
        "mainer_canister_healthy",
        "Whether the canister says that it is healthy.",
        lambda reading: _flag(None if reading.health is None else reading.health == watch.HEALTHY),
    ),
    _Gauge(
        "mainer_canister_code_current",
        "Whether the code is that of files/ and that which the creator holds.",
        lambda reading: _flag(None if reading.code == "unknown" else reading.code == "current"),
    ),
    _Gauge("mainer_canister_memory_bytes", "Memory of the canister.", lambda reading: reading.memory),
    _Gauge("mainer_canister_cycles", "Cycle balance.", lambda reading: reading.cycles),
    _Gauge(
        "mainer_canister_freezing_limit_cycles",
        "Balance below which the canister is frozen.",
        lambda reading: reading.frozen_below,
    ),
    _Gauge(
        "mainer_canister_idle_cycles_per_day",
        "Cycles that the canister uses up in a day without being called.",
        lambda reading: reading.idle_per_day,
    ),
    _Gauge(
        "mainer_canister_measured_cycles_per_day",
        "Cycles that the canister uses up in a day, measured by samples.",
        lambda reading: _burn(reading, measured=True),
    ),
    _Gauge(
        "mainer_canister_seconds_until_frozen",
        "Time until the canister freezes, by measured burn if there is one, else by idle burn.",
        _seconds_left,
    ),
    _Gauge(
        "mainer_canister_unexpected_controllers",
        "Controllers that are not expected.",
        lambda reading: len(reading.unexpected),
    ),
    _Gauge("mainer_llms", "LLMs of the mAIner.", lambda reading: reading.llms),
    _Gauge(
        "mainer_queue_length",
        "Challenges that wait in the mAIner, answers that wait for a Judge in the Game State.",
        lambda reading: reading.queue,
    ),
    _Gauge(
        "mainer_queue_oldest_seconds",
        "Time that the oldest entry of the queue has waited.",
        lambda reading: 0.0 if reading.queue == 0 else reading.queue_age,
    ),
    _Gauge(
        "mainer_judging_length", "Answers that a Judge has and has not scored yet.", lambda reading: reading.judging
    ),
    _Gauge(
        "mainer_judging_oldest_seconds",
        "Time since a Judge took the oldest of them.",
        lambda reading: 0.0 if reading.judging == 0 else reading.since(reading.oldest_judging),
    ),
    _Gauge(
        "mainer_last_submission_timestamp_seconds",
        "When an answer was submitted last, in seconds since 1970.",
        lambda reading: None if reading.last_submission is None else reading.last_submission.timestamp(),
    ),
    _Gauge("mainer_timers_running", "Whether the timers of the mAIner run.", lambda reading: _flag(reading.timers)),
    _Gauge(
        "mainer_in_maintenance",
        "Whether the mAIner is in maintenance and takes no challenges.",
        lambda reading: _flag(reading.maintenance),
    ),
    _Gauge(
        "mainer_canister_read_timestamp_seconds",
        "When the canister was looked at, in seconds since 1970.",
        lambda reading: reading.taken.timestamp(),
    ),
)
