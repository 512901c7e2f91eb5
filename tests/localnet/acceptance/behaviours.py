"""The table of behaviours in docs/behaviours.md, made from the acceptance tests.

    python tests/localnet/acceptance/behaviours.py

A module is a section, its docstring's first line the heading. Each test is a behaviour that holds: the
first line of its docstring, or its name. What does not hold is listed in a module's ``DOES_NOT_HOLD``,
with the reason.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
TABLE = HERE.parents[2] / "docs" / "behaviours.md"
_HEAD = """# Behaviours of the embedded network

What the IC interface specification asks for, and whether the network does it. Each behaviour that
holds is an acceptance test in `tests/localnet/acceptance/`; this table is made from them by
`python tests/localnet/acceptance/behaviours.py`.

"""


@dataclass(frozen=True)
class Section:
    """A module of tests: what holds, and what does not with the reason."""

    title: str
    holds: list[str]
    missing: dict[str, str]


def sections() -> Iterator[Section]:
    """The modules of acceptance tests, in the order of their names."""
    for path in sorted(HERE.glob("test_*.py")):
        tree = ast.parse(path.read_text())
        title = (ast.get_docstring(tree) or path.stem).splitlines()[0].rstrip(".")
        tests = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")]
        yield Section(title, [_behaviour(test) for test in tests], _missing(tree))


def _behaviour(test: ast.FunctionDef) -> str:
    described = ast.get_docstring(test)
    return described.splitlines()[0].rstrip(".") if described else test.name.removeprefix("test_").replace("_", " ")


def _missing(tree: ast.Module) -> dict[str, str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(getattr(name, "id", "") == "DOES_NOT_HOLD" for name in node.targets):
            found: dict[str, str] = ast.literal_eval(node.value)
            return found
    return {}


def table() -> str:
    """The text of docs/behaviours.md."""
    found = list(sections())
    held = sum(len(section.holds) for section in found)
    missing = sum(len(section.missing) for section in found)
    parts = [_HEAD, f"{held} behaviours hold, {missing} do not.\n"]
    for section in found:
        parts.append(f"\n## {section.title}\n\n| behaviour | holds | why not |\n|---|---|---|\n")
        parts += [f"| {_cell(behaviour)} | yes | |\n" for behaviour in section.holds]
        parts += [f"| {_cell(behaviour)} | no | {_cell(why)} |\n" for behaviour, why in section.missing.items()]
    return "".join(parts)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")


if __name__ == "__main__":
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(table())
