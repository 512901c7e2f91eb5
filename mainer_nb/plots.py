"""What the verbs return, as pictures.

    plots.throughput(uploaded)
    plots.relations(create.mainers(net))

Each function takes records and returns a `Picture`, which a notebook shows. The ground is white in every theme, so that
the colours are always the ones chosen here: Okabe and Ito's, which colour-blind people can tell apart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from io import BytesIO
from typing import Any

from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from .create import Mainer
from .operate import Queued, Submission
from .progress import amount
from .tables import names, trillions
from .upload import Uploaded

COLOURS = {"Own": "#0072B2", "ShareService": "#009E73", "ShareAgent": "#E69F00", "LLM": "#888888"}
PLAIN = "#56B4E9"
GREY = "#555555"
WIDTH = 9.0  # inches
DPI = 100
MOST_LINES = 12  # of a timeline
LONG_BEFORE = timedelta(seconds=30)


class Picture(Figure):
    """A figure that shows itself as a sharp PNG, with nothing cut off."""

    def __init__(self, height: float, description: str) -> None:
        self.description = description  # for those who cannot see it
        super().__init__(figsize=(WIDTH, height), dpi=DPI, facecolor="white", layout="constrained")

    def png(self, scale: int = 2) -> bytes:
        """The picture with `scale` pixels where the screen shows one."""
        buffer = BytesIO()
        self.savefig(buffer, format="png", dpi=DPI * scale)
        return buffer.getvalue()

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        width, height = self.get_size_inches()
        return self.png(), {"width": int(width * DPI), "height": int(height * DPI), "alt": self.description}


def throughput(uploaded: Sequence[Uploaded]) -> Picture:
    """Megabytes sent per second, by file."""
    picture, axes = _bars(len(uploaded), "Megabytes sent per second, by file")
    rates = [one.bytes_per_second / 1e6 for one in uploaded]
    axes.barh([one.file for one in uploaded], rates, color=PLAIN, height=0.6)
    labels = [
        "was there already, nothing sent"
        if one.skipped
        else f"{one.bytes_per_second / 1e6:.1f} MB/s ({amount(one.size, 'B')} in {one.seconds:.1f} s)"
        for one in uploaded
    ]
    for row, (rate, label) in enumerate(zip(rates, labels, strict=True)):
        axes.annotate(label, (rate, row), (5, 0), textcoords="offset points", va="center")
    axes.set_xlim(0, max(max(rates, default=0) * 1.9, 1))
    axes.set_xlabel("MB/s, verification by the creator included")
    return picture


def cycles(balances: Mapping[str, int], colours: Mapping[str, str] | None = None) -> Picture:
    """Cycle balances by name of canister, on a logarithmic scale. `colours`: by name."""
    picture, axes = _bars(len(balances), "Cycle balances by canister")
    axes.set_xlabel("cycles, logarithmic")
    used = [(colours or {}).get(name, PLAIN) for name in balances]
    values = [max(value, 1) for value in balances.values()]
    axes.barh(list(balances), values, color=used, height=0.6)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1e12:,g} T")
    axes.minorticks_off()
    axes.set_xlim(min(values, default=1) / 10, max(values, default=1) * 30)
    for row, value in enumerate(balances.values()):
        axes.annotate(trillions(value), (max(value, 1), row), (5, 0), textcoords="offset points", va="center")
    return picture


def mainer_cycles(balances: Mapping[str, int], mainers: Sequence[Mainer]) -> Picture:
    """Cycle balances of mAIners, given by controller id."""
    called, kinds = names(mainers), {one.controller_id: one.kind for one in mainers}
    return cycles(
        {called[address]: balance for address, balance in balances.items()},
        {called[address]: COLOURS[kinds[address]] for address in balances},
    )


def relations(mainers: Sequence[Mainer]) -> Picture:
    """Who uses whom: ShareAgents their ShareService, Own and ShareService their LLMs."""
    called = names(mainers)
    workers = [one for one in mainers if one.kind != "ShareAgent"]
    agents = [one for one in mainers if one.kind == "ShareAgent"]
    llms = [(llm, one) for one in workers for llm in one.llm_ids]
    height: dict[str, float] = {llm: row for row, (llm, _) in enumerate(llms)}
    height |= _beside([(one.controller_id, one.llm_ids) for one in workers], height)
    sharing = Counter(one.share_service_id for one in agents)
    raised = {one.controller_id: (sharing[one.share_service_id] - 1) / 2 for one in agents}
    height |= _beside([(one.controller_id, (one.share_service_id or "",)) for one in agents], height, raised)

    rows = max(height.values(), default=0) + 1
    picture = Picture(0.75 * rows + 0.5, "Which mAIner uses which ShareService and which LLMs")
    axes = picture.add_subplot()
    axes.set_xlim(-0.5, 2.5)
    axes.set_ylim(rows - 0.6, -0.8)
    axes.axis("off")
    for column, heading in enumerate(("ask a ShareService", "answer challenges", "hold the model")):
        axes.text(column, -0.65, heading, ha="center", va="center", color=GREY)
    for llm, one in llms:
        _arrow(axes, (1, height[one.controller_id]), (2, height[llm]))
        _box(axes, 2, height[llm], "LLM", llm, COLOURS["LLM"])
    for one in agents:
        if one.share_service_id in height:
            _arrow(axes, (0, height[one.controller_id]), (1, height[one.share_service_id]))
        _box(axes, 0, height[one.controller_id], called[one.controller_id], one.controller_id, COLOURS[one.kind])
    for one in workers:
        _box(axes, 1, height[one.controller_id], called[one.controller_id], one.controller_id, COLOURS[one.kind])
    return picture


def queues(stages: Mapping[str, Mapping[str, Sequence[Queued]]], mainers: Sequence[Mainer]) -> Picture:
    """How many challenges wait in each mAIner, at each stage: `{stage: {controller id: queue}}`."""
    called = names(mainers)
    shades = ["#BBBBBB", PLAIN, "#0072B2", "#009E73", "#E69F00"]
    addresses = [one.controller_id for one in mainers if any(one.controller_id in found for found in stages.values())]
    picture = Picture(0.25 * len(addresses) * max(len(stages), 1) + 1.4, "Challenges waiting in each mAIner")
    axes = picture.add_subplot()
    thick = 0.8 / max(len(stages), 1)
    for number, (stage, found) in enumerate(stages.items()):
        lengths = [len(found.get(address, ())) for address in addresses]
        at = [row + (number - (len(stages) - 1) / 2) * thick for row in range(len(addresses))]
        axes.barh(at, lengths, thick * 0.9, label=stage, color=shades[number % len(shades)])
        for place, length in zip(at, lengths, strict=True):
            axes.annotate(str(length), (length, place), (4, 0), textcoords="offset points", va="center", fontsize=8)
    axes.set_yticks(range(len(addresses)), [called[address] for address in addresses])
    axes.invert_yaxis()
    longest = max((len(queue) for found in stages.values() for queue in found.values()), default=0)
    axes.set_xlim(0, max(longest, 1) + 0.5)
    axes.set_xticks(range(max(longest, 1) + 1))
    axes.set_xlabel("challenges waiting")
    picture.legend(loc="outside upper center", ncols=len(stages) or 1, frameon=False)
    _plain(axes)
    return picture


def timeline(submissions: Sequence[Submission], mainers: Sequence[Mainer]) -> Picture:
    """The last submissions, a line each from the taking of the challenge to the submission of its answer. What was
    taken long before the first of these answers begins at the left edge, with an arrow.
    """
    called, kinds = names(mainers), {one.controller_id: one.kind for one in mainers}
    shown = sorted(submissions, key=lambda one: one.submitted)[-MOST_LINES:]
    if shown:
        start = max(min(one.queued for one in shown), shown[0].submitted - LONG_BEFORE)
    picture = Picture(0.55 * max(len(shown), 1) + 1.0, "When each challenge was taken and answered")
    axes = picture.add_subplot()
    last = 1.0
    for row, one in enumerate(shown):
        begun, last = max(0.0, (one.queued - start).total_seconds()), (one.submitted - start).total_seconds()
        colour = COLOURS.get(kinds.get(one.submitted_by, ""), GREY)
        axes.plot([begun, last], [row, row], color=colour, linewidth=2, solid_capstyle="round")
        axes.plot([last], [row], "o", color=colour)
        if one.queued < start:
            axes.plot([begun], [row], "<", color=colour)
        axes.text(begun, row - 0.14, _shortened(one.question, 70), va="bottom", fontsize=8, color=GREY)
        answer = _shortened(one.answer, 38)
        axes.annotate(answer, (last, row), (8, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(shown)), [called.get(one.submitted_by, "another mAIner") for one in shown])
    axes.set_ylim(len(shown) - 0.5, -0.7)
    axes.set_xlim(-0.02 * last, last * 1.5)
    axes.set_xlabel("seconds")
    _plain(axes)
    return picture


def _shortened(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _bars(count: int, description: str) -> tuple[Picture, Any]:
    picture = Picture(0.45 * max(count, 1) + 0.8, description)
    axes = picture.add_subplot()
    axes.invert_yaxis()
    _plain(axes)
    return picture, axes


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def _beside(
    boxes: Sequence[tuple[str, Sequence[str]]], height: Mapping[str, float], raised: Mapping[str, float] | None = None
) -> dict[str, float]:
    """Heights of boxes in a column: each beside the middle of its partners in the next column (less what it is to be
    `raised`), or below the box before it if that leaves no room.
    """
    placed: dict[str, float] = {}
    lowest = -1.0
    for name, partners in boxes:
        beside = [height[partner] for partner in partners if partner in height]
        wanted = sum(beside) / len(beside) - (raised or {}).get(name, 0) if beside else lowest + 1
        lowest = placed[name] = max(wanted, lowest + 1)
    return placed


def _box(axes: Any, x: float, y: float, name: str, identifier: str, colour: str) -> None:
    shape = "round,pad=0,rounding_size=0.08"
    corner = (x - 0.36, y - 0.28)
    box = FancyBboxPatch(corner, 0.72, 0.56, boxstyle=shape, facecolor="white", edgecolor=colour, linewidth=2)
    axes.add_patch(box)
    axes.text(x, y - 0.1, name, ha="center", va="center", fontweight="bold", color=colour)
    axes.text(x, y + 0.13, identifier, ha="center", va="center", fontsize=6.5, family="monospace", color=GREY)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (end[0] - 0.37, end[1]), (start[0] + 0.36, start[1]), arrowprops=style)
