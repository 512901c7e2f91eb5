"""Prometheus text, read again by the rules of its format and by the reader of Prometheus' own client."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from datetime import timedelta

from prometheus_client import parser

from mainer_nb.fleet import metrics
from mainer_nb.fleet.samples import Burn
from mainer_nb.fleet.watch import Bounds, Reading
from tests.fleet.test_watch import GOOD, NOW, OWN

READING = replace(
    GOOD,
    memory=123,
    frozen_below=10**12,
    burn=Burn(9 * 10**11, timedelta(days=1)),
    llms=2,
    queue=1,
    oldest_queued=NOW - timedelta(minutes=1),
    timers=True,
)
LABELS = 'network="local",canister="rrkah-fqaaa-aaaaa-aaaaq-cai",name="Own 1",role="Own"'
# The format says: a name, labels in braces whose values have \\, \" and \n escaped, and a number.
LINE = re.compile(
    r'(?P<name>[a-zA-Z_:][\w:]*)\{(?P<labels>(?:[a-zA-Z_]\w*="(?:[^"\\\n]|\\[\\"n])*",?)*)\} (?P<value>[-+\w.]+)'
)


def lines(text: str, name: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith(f"{name}{{")]


def test_each_figure_is_a_line_with_its_canister() -> None:
    text = metrics.text([READING], "local")
    for name, value in (
        ("mainer_canister_running", "1"),
        ("mainer_canister_healthy", "1"),
        ("mainer_canister_code_current", "1"),
        ("mainer_canister_cycles", "10000000000000"),
        ("mainer_canister_seconds_until_frozen", "864000.0"),
        ("mainer_canister_measured_cycles_per_day", "900000000000"),
        ("mainer_queue_oldest_seconds", "60.0"),
        ("mainer_timers_running", "1"),
        ("mainer_canister_out_of_bounds", "1"),
        ("mainer_canister_read_timestamp_seconds", f"{NOW.timestamp()}"),
    ):
        assert lines(text, name) == [f"{name}{{{LABELS}}} {value}"]


def test_each_metric_has_one_help_and_one_type_before_its_lines() -> None:
    text = metrics.text([READING, replace(READING, member=replace(OWN, name="Own 2"))], "local")
    seen = []
    for line in text.splitlines():
        if line.startswith("# HELP "):
            seen.append(line.split()[2])
        elif line.startswith("# TYPE "):
            assert line == f"# TYPE {seen[-1]} gauge"
        else:
            found = LINE.fullmatch(line)
            assert found, line
            assert found["name"] == seen[-1]
            float(found["value"])
    assert len(seen) == len(set(seen)) == text.count("# TYPE ")
    assert text.endswith("\n")


def test_what_was_not_told_has_no_line() -> None:
    bare = Reading(OWN, NOW, "was deleted")
    text = metrics.text([bare], "local", Bounds(health=False))
    assert lines(text, "mainer_canister_running") == [f"mainer_canister_running{{{LABELS}}} 0"]
    assert "mainer_canister_cycles" not in text
    assert "mainer_canister_healthy" not in text
    assert "mainer_queue" not in text
    assert metrics.text([], "local") == ""


def test_what_burns_nothing_never_freezes() -> None:
    text = metrics.text([replace(READING, burn=Burn(0, None))], "local")
    (line,) = lines(text, "mainer_canister_seconds_until_frozen")
    assert line.endswith(" +Inf")
    assert math.isinf(float(line.rpartition(" ")[2]))
    assert "mainer_canister_measured_cycles_per_day" not in text


def test_names_are_escaped() -> None:
    odd = replace(READING, member=replace(OWN, name='a "b" \\ c\nd'))
    (line,) = lines(metrics.text([odd], "local"), "mainer_canister_cycles")
    assert 'name="a \\"b\\" \\\\ c\\nd"' in line
    assert LINE.fullmatch(line)


def test_the_reader_of_prometheus_reads_them() -> None:
    odd = replace(READING, member=replace(OWN, name='a "b" \\ c\nd'))
    families = list(parser.text_string_to_metric_families(metrics.text([READING, odd], "local")))
    assert {family.type for family in families} == {"gauge"}
    assert all(family.documentation for family in families)
    (cycles,) = [family for family in families if family.name == "mainer_canister_cycles"]
    assert [sample.labels["name"] for sample in cycles.samples] == ["Own 1", odd.member.name]
    assert {sample.value for sample in cycles.samples} == {1e13}
