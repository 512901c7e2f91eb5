"""What the verbs return, as pictures.

    plots.uploads(uploaded)
    plots.relations(create.mainers(net))

Each function takes records and returns a `Picture`, which a notebook shows. A picture is drawn for a light and for a
dark theme; the page shows the one that fits it, also when its theme changes later. Every colour has a contrast of 4.5
to its ground, as WCAG asks of text.
"""

from __future__ import annotations

import math
import re
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from html import escape
from io import BytesIO
from textwrap import fill, wrap
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.dates import ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from .costs import Budget, usd
from .create import Mainer
from .fleet.samples import Sample
from .fleet.watch import Reading
from .operate import NEEDED, Queued, Submission
from .progress import amount
from .table import dollars, how_many, span, trillions
from .tables import names
from .upload import Uploaded

INK, GREY, GROUND = "#202020", "#555555", "#ffffff"
COLOURS = {"Own": "#0067a5", "ShareService": "#00704e", "ShareAgent": "#a84800", "LLM": "#5e5e5e"}
PLAIN, LIMIT = "#2a6f97", "#b3261e"
# What stands in a dark theme for each colour.
DARK = {
    INK: "#e8e8e8",
    GREY: "#b8b8b8",
    GROUND: "#111111",
    COLOURS["Own"]: "#6cb8ff",
    COLOURS["ShareService"]: "#4fd1a5",
    COLOURS["ShareAgent"]: "#ffb066",
    COLOURS["LLM"]: "#bdbdbd",
    PLAIN: "#79c0e8",
    LIMIT: "#ff8a80",
}
WIDTH = 7.6  # inches
NARROWEST = 600  # pixels: narrower than that, a picture is scrolled instead of made smaller
DPI = 100
LONGEST_TITLE = 80  # letters in a line
MOST_LINES = 12  # of a timeline
LONG_BEFORE = timedelta(seconds=30)
STYLE: Any = {
    "svg.hashsalt": "mainer-nb",
    "text.parse_math": False,  # names, questions and answers may have dollar signs
    "text.color": INK,
    "axes.edgecolor": GREY,
    "axes.labelcolor": INK,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
}
# Which of the two a page shows: JupyterLab and the report say on their body which theme they have. Where styles of a
# notebook are dropped, since it is not trusted, the one for light themes stays, on its white ground.
SHOWN = """<style>
[data-jp-theme-light="false"] .mainer-light { display: none !important; }
[data-jp-theme-light="false"] .mainer-dark { display: block !important; }
@media print { .mainer-light { display: block !important; } .mainer-dark { display: none !important; } }
</style>"""


class Picture(Figure):
    """A figure that shows itself in light and dark pages. `title`: what one sees; `description`: the figures in it, for
    those who cannot see it.
    """

    def __init__(self, height: float, title: str, description: Iterable[str] = ()) -> None:
        self.title = title
        self.description = "; ".join((title, *description))
        lines = wrap(title, LONGEST_TITLE)
        size = (WIDTH, height + 0.15 + 0.2 * len(lines))
        super().__init__(figsize=size, dpi=DPI, facecolor=GROUND, layout="constrained")
        self.suptitle("\n".join(lines), x=0.008, ha="left", fontsize=11, fontweight="bold", color=INK)

    def __repr__(self) -> str:
        return f"<picture: {self.description}>"

    def png(self, scale: int = 2) -> bytes:
        """The picture with `scale` pixels where the screen shows one."""
        return self._saved("png", dpi=DPI * scale)

    def svg(self, dark: bool = False) -> str:
        """The picture in the colours of a light theme, or of a dark one."""
        text = self._saved("svg", metadata={"Date": None}).decode()
        return _darkened(text) if dark else text

    def _saved(self, kind: str, **how: Any) -> bytes:
        buffer = BytesIO()
        with mpl.rc_context(STYLE):
            if self.get_layout_engine():  # kept from then on
                for _ in range(2):  # the second layout, from the first, is right
                    self.draw_without_rendering()
                self.set_layout_engine(None)
            self.savefig(buffer, format=kind, **how)
        return buffer.getvalue()

    def _repr_html_(self) -> str:
        light = self.svg()
        images = self._image("light", "block", light) + self._image("dark", "none", _darkened(light))
        return f'{SHOWN}<div style="overflow-x: auto" tabindex="0">{images}</div>'

    def _image(self, theme: str, display: str, svg: str) -> str:
        width = int(self.get_size_inches()[0] * DPI)
        style = f"display: {display}; width: {width}px; min-width: {NARROWEST}px; max-width: 100%; height: auto"
        source = b64encode(svg.encode()).decode()
        return (
            f'<img class="mainer-{theme}" alt="{escape(self.description)}" style="{style}" '
            f'src="data:image/svg+xml;base64,{source}">'
        )

    def _repr_png_(self) -> tuple[bytes, dict[str, Any]]:
        width, height = self.get_size_inches()
        return self.png(), {"width": int(width * DPI), "height": int(height * DPI), "alt": self.description}


@mpl.rc_context(STYLE)
def uploads(uploaded: Sequence[Uploaded]) -> Picture:
    """The seconds that each file took to reach the creator, with its bytes."""
    sent = [file for file in uploaded if not file.skipped]
    total = amount(sum(file.sent for file in sent), "B")
    seconds = sum(file.seconds for file in sent)
    title = f"{total} reached the creator in {seconds:.1f} s" if sent else "All files were there already"
    labels = [
        f"{amount(file.size, 'B')}, was there already"
        if file.skipped
        else f"{amount(file.sent, 'B')} in {file.seconds:.1f} s"
        for file in uploaded
    ]
    files = [file.file for file in uploaded]
    picture, axes = _bars(title, files, [0 if file.skipped else file.seconds for file in uploaded], labels)
    axes.set_xlabel("seconds, verification by the creator included")
    return picture


@mpl.rc_context(STYLE)
def cycles(
    balances: Mapping[str, int],
    colours: Mapping[str, str] | None = None,
    needed: Mapping[str, int] | None = None,
) -> Picture:
    """Cycle balances by name of canister. `colours`: by name; `needed`: by name, with less than which it pauses."""
    lowest = min(balances.values(), default=0)
    together = "has" if len(balances) == 1 else "together have"
    title = f"{_list(balances)} {together} {trillions(sum(balances.values()))} cycles"
    if needed is not None:
        low = [name for name, balance in balances.items() if balance < needed[name]]
        title = (
            f"{_list(low)} {'has' if len(low) == 1 else 'have'} too few cycles to work"
            if low
            else f"{_all(balances)} cycles to work; the lowest balance is {trillions(lowest)}"
        )
    values = [value / 1e12 for value in balances.values()]
    used = [(colours or {}).get(name, PLAIN) for name in balances]
    labels = [trillions(value) for value in balances.values()]
    picture, axes = _bars(title, list(balances), values, labels, used)
    axes.set_xlabel("cycles; 1 T is 10¹²")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,g} T")
    for row, name in enumerate(needed or ()):
        limit = needed[name] / 1e12 if needed else 0.0
        axes.plot([limit, limit], [row - 0.42, row + 0.42], color=LIMIT, linestyle="--", linewidth=1.5)
        picture.description += f"; {name} pauses below {trillions(limit * 1e12, 2)}"
    if needed:
        first = next(iter(needed.values()))
        axes.annotate("pauses below this", (first / 1e12, 1), (4, 2), xycoords=("data", "axes fraction"),
                      textcoords="offset points", color=LIMIT, fontsize=9)  # fmt: skip
    return picture


def mainer_cycles(balances: Mapping[str, int], mainers: Sequence[Mainer]) -> Picture:
    """Cycle balances of mAIners, given by id, and the minimum at which a mAIner pauses."""
    called, kinds = names(mainers), {mainer.controller_id: mainer.kind for mainer in mainers}
    return cycles(
        {called[address]: balance for address, balance in balances.items()},
        {called[address]: COLOURS[kinds[address]] for address in balances},
        {called[address]: NEEDED[kinds[address]] for address in balances},
    )


@mpl.rc_context(STYLE)
def budget(items: Sequence[Budget], usd_per_xdr: float) -> Picture:
    """What whole things cost on mainnet in US dollars: what is spent, and what stays a balance."""
    spent = [usd(item.spent, usd_per_xdr) for item in items]
    kept = [usd(item.kept, usd_per_xdr) for item in items]
    dearest = max(range(len(items)), key=lambda row: spent[row] + kept[row])
    title = f"The dearest on mainnet: {items[dearest].what}, {dollars(spent[dearest] + kept[dearest])}"
    labels = [
        dollars(used) + (f" spent, {dollars(left)} stay its balance" if left else " spent")
        for used, left in zip(spent, kept, strict=True)
    ]
    ends = [used + left for used, left in zip(spent, kept, strict=True)]
    picture, axes = _bars(title, [fill(item.what, 32) for item in items], ends, labels, [COLOURS["LLM"]] * len(items))
    axes.barh(range(len(items)), spent, color=PLAIN, height=0.6)
    axes.set_xlabel("US dollars")
    return picture


@mpl.rc_context(STYLE)
def relations(mainers: Sequence[Mainer]) -> Picture:
    """Who uses whom: ShareAgents their ShareService, Own and ShareService their LLMs."""
    called = names(mainers)
    workers = [mainer for mainer in mainers if mainer.kind != "ShareAgent"]
    agents = [mainer for mainer in mainers if mainer.kind == "ShareAgent"]
    llms = [(llm, mainer) for mainer in workers for llm in mainer.llm_ids]
    height: dict[str, float] = {llm: row for row, (llm, _) in enumerate(llms)}
    height |= _beside([(mainer.controller_id, mainer.llm_ids) for mainer in workers], height)
    sharing = Counter(mainer.share_service_id for mainer in agents)
    raised = {mainer.controller_id: (sharing[mainer.share_service_id] - 1) / 2 for mainer in agents}
    height |= _beside([(mainer.controller_id, (mainer.share_service_id or "",)) for mainer in agents], height, raised)

    rows = max(height.values(), default=0) + 1
    title = f"{how_many(len(workers), 'mAIner')} {'has' if len(workers) == 1 else 'have'} {how_many(len(llms), 'LLM')}"
    if agents:
        title += f"; {how_many(len(agents), 'ShareAgent')} {'asks' if len(agents) == 1 else 'ask'} for answers"
    described = [f"{mainer.name} has {how_many(len(mainer.llm_ids), 'LLM')}" for mainer in workers]
    described += [f"{mainer.name} asks {called.get(mainer.share_service_id or '', 'nobody here')}" for mainer in agents]
    picture = Picture(0.72 * rows + 0.5, title, described)
    axes = picture.add_subplot()
    axes.set_xlim(-0.5, 2.5)
    axes.set_ylim(rows - 0.6, -0.8)
    axes.axis("off")
    for column, heading in enumerate(("ask a ShareService", "answer challenges", "hold the model")):
        axes.text(column, -0.65, heading, ha="center", va="center", color=GREY)
    for llm, mainer in llms:
        _arrow(axes, (1, height[mainer.controller_id]), (2, height[llm]))
        _box(axes, 2, height[llm], "LLM", llm, COLOURS["LLM"])
    for mainer in agents:
        if mainer.share_service_id in height:
            _arrow(axes, (0, height[mainer.controller_id]), (1, height[mainer.share_service_id]))
        _box(axes, 0, height[mainer.controller_id], mainer.name, mainer.controller_id, COLOURS[mainer.kind])
    for mainer in workers:
        _box(axes, 1, height[mainer.controller_id], mainer.name, mainer.controller_id, COLOURS[mainer.kind])
    return picture


@mpl.rc_context(STYLE)
def queues(stages: Mapping[str, Mapping[str, Sequence[Queued]]], mainers: Sequence[Mainer]) -> Picture:
    """How many challenges wait in each mAIner, a step for each stage: `{stage: {id: queue}}`."""
    shown = [mainer for mainer in mainers if any(mainer.controller_id in found for found in stages.values())]
    lengths = {mainer.name: [len(found.get(mainer.controller_id, ())) for found in stages.values()] for mainer in shown}
    most = max((max(counts) for counts in lengths.values() if counts), default=0)
    holders = [name for name, counts in lengths.items() if counts and max(counts) == most]
    title = f"At most {how_many(most, 'challenge')} waited, in {_list(holders)}" if most else "No challenge waited"
    described = [f"{name}: {', then '.join(map(str, counts))}" for name, counts in lengths.items()]
    picture = Picture(0.6 * max(len(shown), 1) + 0.6, title, described)
    rows = picture.subplots(max(len(shown), 1), 1, sharex=True, squeeze=False)[:, 0]
    for axes, mainer in zip(rows, shown, strict=False):
        counts = lengths[mainer.name]
        axes.stairs(counts, range(len(counts) + 1), baseline=0, color=COLOURS[mainer.kind], linewidth=2.5)
        for number, count in enumerate(counts):
            axes.annotate(str(count), (number + 0.5, count), (0, 3), textcoords="offset points", ha="center")
        axes.set_ylim(0, max(most, 1) * 1.6)
        axes.set_yticks([])
        axes.set_ylabel(mainer.name, rotation=0, ha="right", va="center")
    for axes in rows:
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="x", length=0)
        axes.set_xticks([number + 0.5 for number in range(len(stages))], list(stages))
    return picture


@mpl.rc_context(STYLE)
def over_time(history: Sequence[Sample], readings: Sequence[Reading], figure: Kept = "cycles") -> Picture:
    """A figure of each canister over time, a row each with a scale of its own: of cycles those that freeze first, else
    those that have most.
    """
    told = {reading.member: _kept(history, reading.member.canister_id, figure) for reading in readings}
    first = [reading for reading in sorted(readings, key=_urgency(figure)) if told[reading.member]][:MOST_LINES]
    shown = [reading.member for reading in readings if reading in first]
    described = [f"{member.name}: {_from_to(figure, told[member])}" for member in shown]
    picture = Picture(0.5 * max(len(shown), 1) + 0.5, _most_urgent(first, figure), described)
    rows = picture.subplots(max(len(shown), 1), 1, sharex=True, squeeze=False)[:, 0]
    for axes, member in zip(rows, shown, strict=False):
        times, values = zip(*told[member], strict=True)
        axes.plot(times, values, color=COLOURS.get(member.role, PLAIN), linewidth=1.8, marker=".", markersize=5)
        last = SHOWN_AS[figure](values[-1])
        axes.annotate(last, (1.01, 0.5), xycoords="axes fraction", va="center", annotation_clip=False)
        axes.set_ylabel(member.name, rotation=0, ha="right", va="center")
    for axes in rows:
        axes.margins(x=0.02, y=0.4)
        axes.set_yticks([])
        axes.spines[["top", "right", "left"]].set_visible(False)
        axes.tick_params(axis="x", length=0)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(axes.xaxis.get_major_locator()))
    return picture


Kept = Literal["cycles", "memory", "queue"]  # of a sample
SHOWN_AS: dict[Kept, Callable[[float], str]] = {
    "cycles": trillions,
    "memory": lambda value: amount(value, "B"),
    "queue": lambda value: f"{value:.0f}",
}


def _kept(history: Sequence[Sample], canister_id: str, figure: Kept) -> list[tuple[datetime, float]]:
    """When a canister had how much, as far as it was told."""
    told = [(sample.time, getattr(sample, figure)) for sample in history if sample.canister_id == canister_id]
    return [(time, value) for time, value in told if value is not None]


def _urgency(figure: Kept) -> Callable[[Reading], float]:
    """By which canisters are ordered, those to look at first."""
    if figure == "cycles":
        return lambda reading: math.inf if reading.days is None else reading.days
    return lambda reading: -(getattr(reading, figure) or 0)


def _most_urgent(first: Sequence[Reading], figure: Kept) -> str:
    if not first:
        return "There are no samples yet"
    name, value = first[0].member.name, getattr(first[0], figure) or 0
    if figure != "cycles":
        return f"{name} has the most {'memory' if figure == 'memory' else 'in its queue'}: {SHOWN_AS[figure](value)}"
    days = first[0].days
    return f"{name} freezes first, in {span(days)}" if days is not None and days < math.inf else "None ever freezes"


def _from_to(figure: Kept, told: Sequence[tuple[datetime, float]]) -> str:
    return " to ".join(dict.fromkeys(SHOWN_AS[figure](value) for _, value in (told[0], told[-1])))


@mpl.rc_context(STYLE)
def timeline(submissions: Sequence[Submission], mainers: Sequence[Mainer]) -> Picture:
    """The last submissions, a line each from the taking of the challenge to the submission of its answer. What was
    taken long before the first of these answers begins at the left edge, with an arrow.
    """
    called, kinds = names(mainers), {mainer.controller_id: mainer.kind for mainer in mainers}
    shown = sorted(submissions, key=lambda submission: submission.submitted)[-MOST_LINES:]
    took = {
        submission.submission_id: (submission.submitted - submission.queued).total_seconds() for submission in shown
    }
    title = "No answer was submitted"
    if shown:
        start = max(min(submission.queued for submission in shown), shown[0].submitted - LONG_BEFORE)
        number = how_many(len(shown), "answer")
        number = f"The last {len(shown)} of {len(submissions)} answers" if len(shown) < len(submissions) else number
        title = f"{number}, from taking the challenge to submitting: {_range(took.values())}"
    described = [
        f"{called.get(submission.submitted_by, 'another mAIner')} answered {_shortened(submission.question, 70)!r} "
        f"in {took[submission.submission_id]:.1f} s"
        for submission in shown
    ]
    picture = Picture(0.58 * max(len(shown), 1) + 0.7, title, described)
    axes = picture.add_subplot()
    last = 1.0
    for row, submission in enumerate(shown):
        begun = max(0.0, (submission.queued - start).total_seconds())
        last = (submission.submitted - start).total_seconds()
        colour = COLOURS.get(kinds.get(submission.submitted_by, ""), GREY)
        axes.plot([begun, last], [row, row], color=colour, linewidth=2.5, solid_capstyle="round")
        axes.plot([last], [row], "o", color=colour)
        if submission.queued < start:
            axes.plot([begun], [row], "<", color=colour)
        axes.text(begun, row - 0.16, _shortened(submission.question, 64), va="bottom", fontsize=9, color=GREY)
        answer = _shortened(submission.answer, 30)
        axes.annotate(answer, (last, row), (8, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(shown)), [called.get(submission.submitted_by, "another mAIner") for submission in shown])
    axes.set_ylim(len(shown) - 0.5, -0.8)
    axes.set_xlim(-0.02 * last, last * 1.5)
    axes.set_xlabel("seconds since the first of these challenges was taken")
    _plain(axes)
    return picture


def _darkened(svg: str) -> str:
    return re.sub("|".join(DARK), lambda found: DARK[found[0]], svg)


def _range(seconds: Iterable[float]) -> str:
    ordered = sorted(seconds)
    return f"{ordered[0]:.1f} to {ordered[-1]:.1f} s" if len(ordered) > 1 else f"{ordered[0]:.1f} s"


def _list(words: Iterable[str]) -> str:
    *most, last = list(words) or ["nothing"]
    return f"{', '.join(most)} and {last}" if most else last


def _all(names: Mapping[str, object]) -> str:
    return f"{next(iter(names))} has" if len(names) == 1 else f"All {len(names)} mAIners shown have"


def _shortened(text: str, most: int) -> str:
    line = " ".join(text.split())
    return line if len(line) <= most else f"{line[: most - 1]}…"


def _bars(
    title: str,
    rows: Sequence[str],
    values: Sequence[float],
    labels: Sequence[str],
    colours: Sequence[str] | None = None,
) -> tuple[Picture, Any]:
    """A bar for each row, labelled with its figure; the axis begins at nothing and has room for the labels."""
    described = [f"{' '.join(row.split())}: {label}" for row, label in zip(rows, labels, strict=True)]
    picture = Picture(0.42 * max(len(rows), 1) + 0.8, title, described)
    axes = picture.add_subplot()
    places = range(len(rows))
    axes.barh(places, values, color=colours or PLAIN, height=0.6)
    for row, (value, label) in enumerate(zip(values, labels, strict=True)):
        ground = {"facecolor": GROUND, "edgecolor": "none", "pad": 1}  # where a line passes
        axes.annotate(label, (value, row), (5, 0), textcoords="offset points", va="center", bbox=ground)
    axes.set_yticks(places, rows)
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    axes.set_xlim(0, max([*values, 0]) * 1.6 or 1)
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
    box = FancyBboxPatch(corner, 0.72, 0.56, boxstyle=shape, facecolor=GROUND, edgecolor=colour, linewidth=2)
    axes.add_patch(box)
    axes.text(x, y - 0.1, name, ha="center", va="center", fontweight="bold", color=colour)
    axes.text(x, y + 0.13, identifier, ha="center", va="center", fontsize=7.5, family="monospace", color=INK)


def _arrow(axes: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    style = {"arrowstyle": "-|>", "color": GREY, "linewidth": 1.2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", (end[0] - 0.37, end[1]), (start[0] + 0.36, start[1]), arrowprops=style)
