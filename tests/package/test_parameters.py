"""Every parameter of the notebooks: what it takes, what it refuses, and that the notebooks say the same."""

from __future__ import annotations

import ast
import datetime
import math
from pathlib import Path
from typing import Any

import nbformat
import papermill
import pytest

from mainer_nb import parameters
from mainer_nb.errors import ArgumentError

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
TYPES = {"str": str, "bool": bool, "int": int, "float": float, "list": list}
ODD: list[Any] = [None, True, "", "  ", "two", "a\nb", "a\0b", -1, 0.5, math.nan, math.inf, 10**400, [], {}, b"x"]
ODD += [datetime.date(2024, 1, 1), [["topic"]], [["topic", ""]], ["topic", "question"], "\udcff"]


def defaults(path: Path) -> dict[str, Any]:
    found = papermill.inspect_notebook(str(path))
    return {name: ast.literal_eval(parameter["default"]) for name, parameter in found.items()}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_papermill_shows_is_what_is_declared(path: Path) -> None:
    shown = papermill.inspect_notebook(str(path))
    assert shown
    for name, parameter in shown.items():
        declared = parameters.DECLARED[name]
        assert (TYPES[parameter["inferred_type_name"]], parameter["help"]) == (declared.type, declared.sentence), name
    parameters.check(**defaults(path))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_first_code_checks_every_parameter(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert "parameters" in code[0].metadata.tags
    calls = [node for node in ast.walk(ast.parse(code[1].source)) if isinstance(node, ast.Call)]
    assert [ast.unparse(call.func) for call in calls] == ["parameters.check"]
    assert {keyword.arg: ast.unparse(keyword.value) for keyword in calls[0].keywords} == {
        name: name for name in defaults(path)
    }


def test_nothing_is_declared_that_no_notebook_has() -> None:
    assert set(parameters.DECLARED) == {name for path in NOTEBOOKS for name in defaults(path)}


@pytest.mark.parametrize("name", parameters.DECLARED)
def test_what_it_cannot_be_is_refused_in_its_own_words(name: str) -> None:
    declared = parameters.DECLARED[name]
    wrong = [value for value in ODD if not declared.takes(value)]
    assert len(wrong) >= len(ODD) - 3
    for value in wrong:
        with pytest.raises(ArgumentError) as caught:
            parameters.check(**{name: value})
        said = str(caught.value)
        assert said.startswith(f"parameter {name} is ")
        assert declared.sentence in said
        assert declared.expected in said
        assert len(said) < 400
    for value in (value for value in ODD if value not in wrong):
        assert declared.optional if value is None else isinstance(value, declared.type | int), value


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (
            "own",
            "two",
            "parameter own is the text 'two', but must be a whole number from 0 to 100 (how many mAIners of",
        ),
        ("own", 2.0, "is 2.0, but must be a whole number"),
        ("own", True, "is True, but must be a whole number"),
        ("own", 10**400, "is a number of 1329 bits, but must be a whole number from 0 to 100"),
        ("challenges", -1, "is -1, but must be a whole number from 1 to 1000"),
        ("mode", "instal", "is the text 'instal', but must be one of auto, install, reinstall, upgrade"),
        ("network", "", "parameter network is the text '', but must be a line of text"),
        (
            "model",
            datetime.date(2024, 1, 1),
            "is the date 2024-01-01, but must be a line of text that is not empty, in",
        ),
        ("timeout", math.nan, "is nan, but must be a number from 1 to 86400"),
        ("questions", [["x"]], "is the list [['x']], but must be a list of pairs: a topic and a question"),
    ],
)
def test_a_wrong_value_is_named_with_what_it_should_be(name: str, value: Any, said: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        parameters.check(**{name: value})
    assert said in str(caught.value)


def test_all_wrong_values_are_said_at_once() -> None:
    with pytest.raises(ArgumentError) as caught:
        parameters.check(own=-1, agents="many", network="local")
    assert [line.split(" is ")[0] for line in str(caught.value).splitlines()] == ["parameter own", "parameter agents"]


def test_values_that_do_not_go_together_are_refused() -> None:
    with pytest.raises(ArgumentError, match="2 ShareAgents need a ShareService"):
        parameters.check(agents=2, services=0)
    parameters.check(agents=0, services=0)
    for number, llms in (("own", "llms_per_own"), ("services", "llms_per_service")):
        with pytest.raises(ArgumentError, match=f"parameter {llms} is 0: without an LLM"):
            parameters.check(**{number: 1, llms: 0})
        parameters.check(**{number: 0, llms: 0})
    alone = {"own": 1, "services": 0, "agents": 0}
    parameters.check(**alone)
    with pytest.raises(ArgumentError, match="parameter services is 0, but 04_test needs one of each type"):
        parameters.check(**alone, challenges=1, questions=[["topic", "question"]])
    with pytest.raises(ArgumentError, match="challenges is 3, but questions has 1: add questions"):
        parameters.check(challenges=3, questions=[["topic", "question"]])
