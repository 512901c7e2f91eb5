"""The report of a run in a real browser: on screens, on a phone, on paper, and for those who cannot see it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mainer_nb import plots, run
from tests import chromium, needed

pytestmark = needed.CHROMIUM

PHONE = 390
PAPER = {"A4": 688, "letter": 710}  # pixels between margins of 14 mm
SEVERE = ("serious", "critical")
# How many elements have more in them than they show at once.
SCROLLED = """[...document.querySelectorAll('body *')].filter(element => element.clientWidth > 0 &&
    element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX != 'visible').length"""
# What reaches beyond the right edge.
OUTSIDE = """width => [...document.querySelectorAll('body *')]
    .filter(element => element.getBoundingClientRect().right > width + 1)
    .map(element => element.outerHTML.slice(0, 200))"""


def test_report(after_first_run: run.Result, page: Any, tmp_path: Path) -> None:
    page.goto((after_first_run.folder / run.REPORT).as_uri())
    page.screenshot(path=tmp_path / "report.png", full_page=True)
    assert page.title() == "mAIner workbench"
    assert page.evaluate(chromium.CUT_OFF) == []
    assert page.evaluate("[...document.images].filter(image => !image.alt).length") == 0
    page.get_by_role("link", name="04_test").first.click()
    assert page.evaluate("window.scrollY") > chromium.HEIGHT


@pytest.mark.parametrize("width", [PHONE, 900, 1600])
def test_the_report_fits_screens(width: int, after_first_run: run.Result, page: Any, tmp_path: Path) -> None:
    page.set_viewport_size({"width": width, "height": chromium.HEIGHT})
    page.goto((after_first_run.folder / run.REPORT).as_uri())
    page.screenshot(path=tmp_path / f"report-{width}.png", full_page=True)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    narrowest = page.evaluate("Math.min(...[...document.images].map(image => image.getBoundingClientRect().width))")
    assert narrowest >= plots.NARROWEST
    if width == PHONE:  # tables and pictures are scrolled in themselves
        assert page.evaluate(SCROLLED) > 0


@pytest.mark.parametrize("width", PAPER.values(), ids=PAPER)
def test_the_report_is_whole_on_paper(width: int, after_first_run: run.Result, page: Any, tmp_path: Path) -> None:
    page.emulate_media(media="print")
    page.set_viewport_size({"width": width, "height": chromium.HEIGHT})
    page.goto((after_first_run.folder / run.REPORT).as_uri())
    page.screenshot(path=tmp_path / f"report-print-{width}.png", full_page=True)
    assert page.evaluate(OUTSIDE, width) == []
    assert page.evaluate(SCROLLED) == 0


@needed.AXE
@pytest.mark.parametrize("width", [PHONE, 1600])
def test_the_report_can_be_used_by_everybody(width: int, after_first_run: run.Result, page: Any) -> None:
    page.set_viewport_size({"width": width, "height": chromium.HEIGHT})
    page.goto((after_first_run.folder / run.REPORT).as_uri())
    page.evaluate(needed.AXE_SCRIPT.read_text())
    found = page.evaluate("axe.run()")
    assert found["passes"]
    assert [(rule["id"], rule["nodes"][0]["html"]) for rule in found["violations"] if rule["impact"] in SEVERE] == []
