"""docs/specification.md: each change, price and limit of the specification, and whether the network keeps to it.

    python tests/localnet/acceptance/specification.py

The rows are in specification.toml beside this file. A row holds if it names the acceptance tests that show it; the
others say why not.
"""

from __future__ import annotations

import importlib
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mainer_nb import localnet

HERE = Path(__file__).parent
#: How the reason begins of a row that does not hold, and could.
NOT_YET = "not yet"
PAGE = HERE.parents[2] / "docs" / "specification.md"
_HEAD = """# The network and the specification of the Internet Computer

Row by row: what the interface specification has changed from version 0.40 to 0.67, and the prices and limits that its
documentation lists (dfinity/developer-docs, under docs/references: `ic-interface-spec/changelog.md`, `cycle-costs.md`,
`resource-limits.md`). A row that holds is shown by the acceptance test named, in `tests/localnet/acceptance/`. The page
is made from `specification.toml` there by `python tests/localnet/acceptance/specification.py`. What else the network
does: [behaviours.md](behaviours.md).

"""
_SECTIONS = {
    "change": ("Changes, by version of the specification", "version"),
    "price": ("Prices, in cycles, of a subnet of 13 nodes", "cycles"),
    "limit": ("Limits", "number"),
}


@dataclass(frozen=True)
class Row:
    """A change, price or limit.

    Attributes:
        version: of the specification that made the change.
        value: the price or limit.
        constant: where `mainer_nb.localnet` has this value: module, name, and a key if it is in a dictionary.
        tests: (module, name) of the acceptance tests that show that it holds.
        why: why it does not.
    """

    what: str
    version: str
    value: int | None
    constant: str | None
    tests: tuple[tuple[str, str], ...]
    why: str | None


def rows(kind: str) -> list[Row]:
    """The rows of a kind: ``change``, ``price`` or ``limit``."""
    found: list[dict[str, Any]] = tomllib.loads((HERE / "specification.toml").read_text())[kind]
    return [
        Row(
            row["what"],
            row.get("version", ""),
            row.get("value"),
            row.get("constant"),
            tuple(_test(name) for name in row.get("test", "").split(", ") if name),
            row.get("why"),
        )
        for row in found
    ]


def kept_version() -> str:
    """The version of the specification up to which nothing is missing but what one subnet cannot have."""
    changes = rows("change")
    missing = next((index for index, row in enumerate(changes) if (row.why or "").startswith(NOT_YET)), len(changes))
    return changes[missing - 1].version if missing else ""


def _test(name: str) -> tuple[str, str]:
    module, _, test = name.partition(": ")
    return f"test_{module}", f"test_{test}"


def ours(constant: str) -> object:
    """The value of a constant of the network."""
    value: Any = localnet
    module = localnet.__name__
    for part in constant.split("."):
        if isinstance(value, dict):
            value = value[part]
        elif hasattr(value, part):
            value = getattr(value, part)
        else:
            value = importlib.import_module(f"{module}.{part}")
        module = f"{module}.{part}"
    return value


def page() -> str:
    """The text of docs/specification.md."""
    found = {kind: rows(kind) for kind in _SECTIONS}
    everything = [row for kind in found.values() for row in kind]
    held = sum(bool(row.tests) for row in everything)
    parts = [_HEAD, f"{held} rows hold, {len(everything) - held} do not.\n"]
    for kind, (title, column) in _SECTIONS.items():
        parts.append(f"\n## {title}\n\n| {column} | what | holds | shown by, or why not |\n|---|---|---|---|\n")
        parts += [_line(row) for row in found[kind]]
    return "".join(parts)


def _line(row: Row) -> str:
    first = row.version or ("" if row.value is None else f"{row.value:,}")
    shown = ", ".join(f"`{module}.py`, `{name}`" for module, name in row.tests)
    what = row.what.replace("<", "\\<")
    return f"| {first} | {what} | {'yes' if row.tests else 'no'} | {shown or row.why} |\n"


if __name__ == "__main__":
    PAGE.write_text(page())
