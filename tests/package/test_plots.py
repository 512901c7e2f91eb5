"""Pictures: titles that say what one sees, figures for those who cannot see them, colours that can be read."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mainer_nb import fleet, operate, plots
from mainer_nb.costs import Budget
from mainer_nb.create import Mainer
from mainer_nb.fleet.samples import Burn, Sample
from mainer_nb.fleet.watch import Reading
from mainer_nb.operate import Queued, Submission
from mainer_nb.upload import Uploaded

CANISTERS = Path(__file__).parents[2] / "canisters"
BEGUN = datetime(2026, 1, 1, tzinfo=UTC)
OWN = Mainer("Own 2", "Own", "ryjl3-tyaaa-aaaaa-aaaba-cai", "owner", ("renrk-eyaaa-aaaaa-aaada-cai",), None)
SERVICE = Mainer("ShareService 1", "ShareService", "rkp4c-7iaaa-aaaaa-aaaca-cai", "owner", (), None)
AGENT = Mainer("ShareAgent 3", "ShareAgent", "rno2w-sqaaa-aaaaa-aaacq-cai", "owner", (), SERVICE.controller_id)
MAINERS = [OWN, SERVICE, AGENT]
TEXT_CONTRAST = 4.5  # WCAG 2.1, success criterion 1.4.3, level AA


def sent(name: str, size: int, skipped: bool = False) -> Uploaded:
    return Uploaded("LlmModel", "m", name, size, "0" * 64, 0 if skipped else size, 0.0 if skipped else 2.0)


def answered(question: str, answer: str, seconds: float) -> Submission:
    took = timedelta(seconds=seconds)
    return Submission("s", "c", "t", question, answer, AGENT.controller_id, "Submitted", BEGUN, BEGUN + took)


def waiting() -> Queued:
    return Queued("q", "c", "t", "?", AGENT.controller_id, SERVICE.controller_id, BEGUN)


def reading(mainer: Mainer, days: float, memory: int = 10**6, queue: int = 0) -> Reading:
    """A mAIner that has cycles for so many days."""
    member = fleet.Member(mainer.controller_id, mainer.kind, mainer.name)
    burn = Burn(10**10, None)
    return Reading(member, BEGUN, "running", cycles=round(days * 10**10), frozen_below=0, burn=burn, memory=memory,
                   queue=queue)  # fmt: skip


def kept(hours: float, cycles: int | None, mainer: Mainer = OWN, memory: int = 10**6, queue: int = 0) -> Sample:
    time = BEGUN + timedelta(hours=hours)
    return Sample(time, mainer.controller_id, mainer.name, "Own", "running", cycles, memory, 1, queue, None, "200", "")


def all_pictures() -> list[plots.Picture]:
    return [
        plots.uploads([sent("a.wasm", 2_000_000), sent("b.gguf", 3_000_000, skipped=True)]),
        plots.cycles({"game_state_canister": 10**13}),
        plots.mainer_cycles({OWN.controller_id: 2 * 10**12, AGENT.controller_id: 2 * 10**11}, MAINERS),
        plots.relations(MAINERS),
        plots.queues({"before": {AGENT.controller_id: []}, "after": {AGENT.controller_id: [waiting()]}}, MAINERS),
        plots.timeline([answered("What is the price?", "$5 or $6, {not} \\frac_", 2.5)], MAINERS),
        plots.over_time([kept(0, 3 * 10**12), kept(1, 2 * 10**12)], [reading(OWN, 100)]),
        plots.budget([Budget("an answer", 10**12), Budget("a mAIner", 10**12, 3 * 10**12)], 1.5),
    ]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def contrast(one: str, other: str) -> float:
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


@pytest.mark.parametrize(("dark", "ground"), [(False, plots.GROUND), (True, plots.DARK[plots.GROUND])])
def test_every_colour_that_is_drawn_can_be_read_on_its_ground(dark: bool, ground: str) -> None:
    for picture in all_pictures():
        drawn = set(re.findall(r"#[0-9a-f]{6}\b", picture.svg(dark)))
        assert ground in drawn
        assert len(drawn) >= 3
        unreadable = {colour for colour in drawn - {ground} if contrast(colour, ground) < TEXT_CONTRAST}
        assert not unreadable, picture.title


def test_a_picture_tells_its_figures_to_those_who_cannot_see_it() -> None:
    described = [picture.description for picture in all_pictures()]
    for text, part in zip(
        described,
        (
            "2.0 MB reached the creator in 2.0 s; a.wasm: 2.0 MB in 2.0 s; b.gguf: 3.0 MB, was there already",
            "game_state_canister: 10.000 T",
            "Own 2: 2.000 T; ShareAgent 3: 0.200 T; Own 2 pauses below 0.35 T; ShareAgent 3 pauses below 0.45 T",
            "Own 2 has 1 LLM; ShareService 1 has 0 LLMs; ShareAgent 3 asks ShareService 1",
            "ShareAgent 3: 0, then 1",
            "ShareAgent 3 answered 'What is the price?' in 2.5 s",
            "Own 2 freezes first, in 100 days; Own 2: 3.000 T to 2.000 T",
            "a mAIner: $1.50 spent, $4.50 stay its balance",
        ),
        strict=True,
    ):
        assert part in text
    for picture in all_pictures():
        assert picture._repr_html_().count(f'alt="{picture.description}"'.replace("'", "&#x27;")) == 2
        assert picture._repr_png_()[1]["alt"] == picture.description


def test_titles_say_what_one_sees() -> None:
    low = {OWN.controller_id: 10**12, AGENT.controller_id: operate.NEEDED["ShareAgent"] - 1}
    assert plots.mainer_cycles(low, MAINERS).title == "ShareAgent 3 has too few cycles to work"
    enough = {OWN.controller_id: operate.NEEDED["Own"], AGENT.controller_id: operate.NEEDED["ShareAgent"]}
    title = plots.mainer_cycles(enough, MAINERS).title
    assert title == "All 2 mAIners shown have cycles to work; the lowest balance is 0.350 T"
    assert plots.cycles({"a": 10**12, "b": 2 * 10**12}).title == "a and b together have 3.000 T cycles"
    many = [replace(answered("?", "yes", 1.0 + number), submission_id=str(number)) for number in range(14)]
    assert plots.timeline(many, MAINERS).title.startswith("The last 12 of 14 answers, from")
    assert plots.uploads([sent("b.gguf", 3, skipped=True)]).title == "All files were there already"
    assert plots.timeline([], MAINERS).title == "No answer was submitted"
    assert plots.queues({"now": {OWN.controller_id: []}}, MAINERS).title == "No challenge waited"


def test_the_minimum_is_that_of_the_canister() -> None:
    operated = (CANISTERS / "common/Operated.mo").read_text(encoding="utf-8")
    (written,) = re.findall(r"let minimumBalance = ([\d_]+);", operated)
    assert int(written) == operate.MINIMUM_BALANCE
    source = (CANISTERS / "mainer_ctrlb/main.mo").read_text(encoding="utf-8")
    found = re.findall(r"let (submissionCycles|shareServiceCycles) = ([\d_]+);", source)
    prices = {name: int(price) for name, price in found}
    assert {
        "Own": operate.MINIMUM_BALANCE + prices["submissionCycles"],
        "ShareService": operate.MINIMUM_BALANCE,
        "ShareAgent": operate.MINIMUM_BALANCE + sum(prices.values()),
    } == operate.NEEDED


def test_nothing_is_cut_off() -> None:
    for picture in all_pictures():
        picture.svg()  # which lays it out
        drawn, (width, height) = picture.get_tightbbox(), picture.get_size_inches()
        assert drawn.x0 > -0.02, picture.title
        assert drawn.x1 < width + 0.02, picture.title
        assert drawn.y0 > -0.02, picture.title
        assert drawn.y1 < height + 0.02, picture.title


def test_over_time_names_who_freezes_first_and_says_from_what_to_what() -> None:
    history = [kept(0, 3 * 10**12), kept(1, None), kept(2, 10**12), kept(0, 7 * 10**12, AGENT)]
    picture = plots.over_time(history, [reading(AGENT, 700), reading(OWN, 100), reading(SERVICE, 1)])
    assert picture.title == "Own 2 freezes first, in 100 days"  # of those that there are samples of
    assert picture.description.endswith("; ShareAgent 3: 7.000 T; Own 2: 3.000 T to 1.000 T")


def test_over_time_shows_those_that_have_most_of_other_figures() -> None:
    history = [kept(0, 1), kept(1, 1, memory=2 * 10**6, queue=3), kept(0, 1, AGENT)]
    readings = [reading(AGENT, 1), reading(OWN, 1, memory=2 * 10**6, queue=3)]
    assert plots.over_time(history, readings, "memory").title == "Own 2 has the most memory: 2.0 MB"
    assert plots.over_time(history, readings, "queue").title == "Own 2 has the most in its queue: 3"


def test_over_time_shows_a_dozen_canisters_and_says_so_if_there_is_nothing_to_show() -> None:
    many = [replace(OWN, controller_id=f"{number}", name=f"Own {number}") for number in range(30)]
    history = [kept(0, 1, mainer) for mainer in many]
    picture = plots.over_time(history, [reading(mainer, 30 - number) for number, mainer in enumerate(many)])
    assert len(picture.axes) == plots.MOST_LINES
    assert picture.title == "Own 29 freezes first, in 1 day"
    assert plots.over_time([], []).title == "There are no samples yet"
    never = replace(reading(OWN, 5), burn=Burn(0, None))
    assert plots.over_time([kept(0, 1)], [never]).title == "None ever freezes"
