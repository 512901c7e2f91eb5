"""A table that a notebook shows, and how values look in one.

    Table([{"canister": identifier("rrkah-fqaaa-aaaaa-aaaaq-cai"), "balance": trillions(1_234_000_000_000)}])

`tables` has those of the records that verbs return.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape, unescape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas

# Styles stand at each cell: those of a whole page are dropped from notebooks that JupyterLab does not trust yet.
# Colours are left to the theme, so that tables can be read in light and dark ones.
TABLE = "margin: 0.6em 0; border-collapse: collapse"
# A table too wide for the page is scrolled in itself, with the keyboard too.
FRAME = 'class="mainer-table" style="overflow-x: auto" tabindex="0"'
CELL = "text-align: left; vertical-align: top; white-space: normal; word-break: normal; padding: 0.3em 0.8em"
HEAD = f"{CELL}; font-weight: 600; border-bottom: 1px solid #888888"
LONGEST_WORD = 24  # letters; longer ones may be broken after punctuation
LONGEST_PART = 40  # letters that stay together in any case
PROSE = 40  # letters, from which a column is kept wide enough to be read
CODE = "white-space: nowrap; background: none; padding: 0; font-size: 0.95em"
YEARS_FROM = 3650  # days, from which a span is given in years
NOTHING = "nothing yet"


class Markup(str):
    """Text that is HTML already."""

    def plain(self) -> str:
        """The text without the HTML."""
        return unescape(re.sub(r"<[^>]*>", "", self.replace("<br>", ", ")))

    def full(self) -> str:
        """The text in which what was shortened is in full."""
        return Markup(re.sub(r'<code[^>]* title="([^"]*)">[^<]*', r"\1", self)).plain()


class Table:
    """Rows that have the same columns, as HTML in a notebook and as text elsewhere. `data`: the same as a DataFrame;
    `empty`: what is shown if there are no rows.
    """

    def __init__(self, rows: Iterable[Mapping[str, object]], header: bool = True, empty: str = NOTHING) -> None:
        self.rows = list(rows)
        self.empty = empty
        self.header = header

    @property
    def data(self) -> pandas.DataFrame:
        import pandas  # takes a while, and a notebook that shows the table does not need it

        return pandas.DataFrame([{name: _full(value) for name, value in row.items()} for row in self.rows])

    def _repr_html_(self) -> str:
        if not self.rows:
            return f"<em>{escape(self.empty)}</em>"
        lines = [[_cell("td", CELL, value) for value in row.values()] for row in self.rows]
        if self.header:
            lines.insert(0, [_cell("th", HEAD, name) for name in self.rows[0]])
        body = "\n".join(f"<tr>{''.join(line)}</tr>" for line in lines)
        return f'<div {FRAME}><table style="{TABLE}">\n{body}\n</table></div>'

    def __repr__(self) -> str:
        if not self.rows:
            return self.empty
        lines = [[str(_plain(value)) for value in row.values()] for row in self.rows]
        if self.header:
            lines.insert(0, list(self.rows[0]))
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def trillions(cycles: float, digits: int = 3) -> str:
    """Cycles for people: 1_234_000_000_000 is "1.234 T"."""
    return f"{cycles / 1e12:,.{digits}f} T"


def how_many(number: int, noun: str) -> str:
    """A number of things for people: "1 LLM", "2 LLMs"."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(seconds: float) -> str:
    """A span of time for people: "12 s", "5 min", "3.2 h", "2.5 days"."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 2 * 86_400 else f"{seconds / 86_400:.1f} days"


def span(days: float) -> str:
    """A long span of time for people: "1 day", "500 days", "11 years"."""
    whole = round(days)
    return f"{whole:,} day{'' if whole == 1 else 's'}" if days < YEARS_FROM else f"{days / 365:,.0f} years"


def dollars(amount: float) -> str:
    """US dollars for people, small amounts with more digits."""
    return f"${amount:,.2f}" if amount >= 0.1 else f"${amount:.2g}" if amount >= 1e-4 else f"${amount:.6f}"


def _cell(tag: str, style: str, value: object) -> str:
    if not isinstance(value, Markup):
        text = str(value)
        if len(text) > PROSE:
            style += "; min-width: 14em"
        elif len(text) <= LONGEST_WORD and re.search(r"\d", text):  # "2.6 MB", "ShareAgent 1", a moment
            style = style.replace("white-space: normal", "white-space: nowrap")
        value = breakable(text)
    return f'<{tag} style="{style}">{value}</{tag}>'


def breakable(text: str) -> str:
    """Text as HTML, in which words too long for a column may be broken: after punctuation, and only then elsewhere."""
    return " ".join(escape(word) if len(word) <= LONGEST_WORD else _broken(word) for word in text.split(" "))


def _broken(word: str) -> str:
    parts = re.findall(rf"[^_./:-]{{1,{LONGEST_PART}}}[_./:-]*|[_./:-]+", word)
    return "<wbr>".join(map(escape, parts))


def _plain(value: object) -> object:
    return value.plain() if isinstance(value, Markup) else value


def _full(value: object) -> object:
    return value.full() if isinstance(value, Markup) else value


def identifier(text: str) -> Markup:
    """An id in full, in letters of one width."""
    return Markup(f'<code style="{CODE}">{escape(text)}</code>')


def beginning(text: str) -> Markup:
    """A principal of a person, which is long, by its beginning."""
    return Markup(f'<code style="{CODE}" title="{escape(text)}">{escape(text[:5])}…</code>' if text else "")


def last_part(identifier: str) -> Markup:
    """A long id of the Game State by its number, which is its last part."""
    *_, number = identifier.split("-")
    return Markup(f'<code style="{CODE}" title="{escape(identifier)}">…{escape(number)}</code>')


def quoted(text: str) -> Markup:
    """Text as Python writes it, so that every space is seen."""
    return Markup(f"<code>{escape(repr(text))}</code>")


def digest(text: str, letters: int = 12) -> Markup:
    """A sha256 by its beginning."""
    return Markup(f'<code style="{CODE}" title="{escape(text)}">{escape(text[:letters])}…</code>' if text else "")


def lines(parts: Iterable[str]) -> Markup:
    """Parts that are HTML, below each other."""
    return Markup("<br>".join(parts))


def together(parts: Iterable[str]) -> Markup:
    """Lines that are not broken."""
    return lines(f'<span style="white-space: nowrap">{escape(part)}</span>' for part in parts if part)


def wide(parts: Iterable[str]) -> Markup:
    """Parts that are HTML, below each other in a column wide enough to be read; nothing if there are none."""
    found = lines(parts)
    return Markup(f'<div style="min-width: 14em">{found}</div>') if found else found


def marked(ok: bool, text: str) -> Markup:
    """Text behind a sign of whether it is well."""
    return Markup(f"{'✓' if ok else '✗'} {escape(text)}")


def moment(time: datetime) -> str:
    """A time for people."""
    return f"{time:%Y-%m-%d %H:%M:%S}"
