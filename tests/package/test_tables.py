"""Tables for people: one name for a mAIner, nothing cut off, nothing broken in the middle."""

from __future__ import annotations

from datetime import UTC, datetime
from html.parser import HTMLParser

from mainer_nb import table, tables
from mainer_nb.create import Mainer
from mainer_nb.operate import Submission

LONG_ID = "submission-01795647220844511274-00000006"
MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def mainer(name: str) -> Mainer:
    return Mainer(name, "Own", f"{name[-1]}yjl3-tyaaa-aaaaa-aaaba-cai", "owner", (), None)


def submission(answer: str, by: Mainer) -> Submission:
    return Submission(LONG_ID, "c", "t", "What is 2 & 2?", answer, by.controller_id, "Submitted", MOMENT, MOMENT)


class Words(HTMLParser):
    """The pieces that a browser keeps together."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.pieces += data.split()


def test_a_part_of_the_population_keeps_its_names() -> None:
    second = mainer("Own 2")
    assert list(tables.mainers([second]).data["mAIner"]) == ["Own 2"]
    assert list(tables.submissions([submission("4", second)], [second]).data["mAIner"]) == ["Own 2"]


def test_a_long_id_is_short_on_the_page_and_whole_in_the_data() -> None:
    table = tables.submissions([submission("4", mainer("Own 1"))], [mainer("Own 1")])
    assert Words(table._repr_html_()).pieces[-1] == "…00000006"
    assert f'title="{LONG_ID}"' in table._repr_html_()
    assert list(table.data["submission"]) == [LONG_ID]
    assert repr(table).endswith("…00000006")


def test_words_are_not_broken() -> None:
    answer = "An answer with mainer_creator_canister_of_the_protocol and " + "x" * 100
    html = tables.submissions([submission(answer, mainer("Own 1"))], [mainer("Own 1")])._repr_html_()
    pieces = Words(html).pieces
    assert {"answer", "with", "question", "mainer_", "creator_", "canister_"} <= set(pieces)
    assert max(len(piece) for piece in pieces if "x" in piece) == table.LONGEST_PART
    assert "break-word" not in html


def test_a_wide_table_is_scrolled_in_itself_with_the_keyboard_too() -> None:
    html = tables.mainers([mainer("Own 1")])._repr_html_()
    assert html.startswith('<div class="mainer-table" style="overflow-x: auto" tabindex="0">')


def test_text_is_no_markup() -> None:
    table = tables.submissions([submission("<b>4</b>", mainer("Own 1"))], [])
    assert "<b>" not in table._repr_html_()
    assert list(table.data["answer"]) == ["<b>4</b>"]
    assert list(table.data["question"]) == ["What is 2 & 2?"]


def test_dollars_have_cents_and_small_amounts_more_digits() -> None:
    assert [table.dollars(amount) for amount in (2.5, 0.4, 0.0253)] == ["$2.50", "$0.40", "$0.025"]
