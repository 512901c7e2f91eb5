"""A run's result for CI servers: a test case for each expectation of each notebook."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

from mainer_nb import cli, expect, junit, run
from mainer_nb.errors import ArgumentError, ExpectationFailed

Write = Callable[..., None]

#: The attributes of JUnit XML that its readers count on: element, attribute, whether it must be there. Elements may
#: have no others (the schema of Ant's JUnit task, as Jenkins and GitHub's reporters have it).
COUNTS = {"name": True, "tests": True, "failures": True, "errors": True, "skipped": False, "time": True}
SHAPE: dict[str, dict[str, bool]] = {
    "testsuites": COUNTS,
    "testsuite": {**COUNTS, "timestamp": False},
    "testcase": {"name": True, "classname": True, "time": True},
    "failure": {"message": False, "type": True},
    "error": {"message": False, "type": True},
    "skipped": {"message": False},
    "system-out": {},
}
INSIDE = {
    "testsuites": {"testsuite"},
    "testsuite": {"testcase"},
    "testcase": {"failure", "error", "skipped", "system-out"},
}


def check_shape(element: Element) -> None:
    shape = SHAPE[element.tag]
    assert set(element.attrib) <= set(shape), element.attrib
    assert {name for name, needed in shape.items() if needed} <= set(element.attrib), element.attrib
    assert {child.tag for child in element} <= INSIDE.get(element.tag, set())
    if "tests" in element.attrib:
        cases = list(element.iter("testcase"))
        assert element.get("tests") == str(len(cases))
        for tag, counted in junit.OUTCOMES.items():
            assert element.get(counted) == str(sum(case.find(tag) is not None for case in cases))
    if element.tag == "testcase":
        assert len([child for child in element if child.tag != "system-out"]) <= 1
        assert float(element.attrib["time"]) >= 0
    for child in element:
        check_shape(child)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Makes notebooks of cells, in a project that has nothing else; a text that begins with # is a heading."""
    monkeypatch.setenv("MAINER_NB_PROJECT", str(tmp_path))
    (tmp_path / "notebooks").mkdir()

    def make(name: str, *cells: str) -> None:
        book = new_notebook(
            metadata={"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
        )
        imports = new_code_cell("from mainer_nb import expect", metadata={"tags": ["parameters"]})
        book.cells = [imports]
        book.cells += [new_markdown_cell(cell) if cell.startswith("#") else new_code_cell(cell) for cell in cells]
        nbformat.write(book, tmp_path / "notebooks" / f"{name}.ipynb")

    return make


def cases(suite: Element) -> dict[str, tuple[str, str]]:
    """Each test case by its name: its outcome, and what is said of it."""
    found = {}
    for case in suite.iter("testcase"):
        outcome = next((child for child in case if child.tag != "system-out"), None)
        found[case.attrib["name"]] = ("passed", "") if outcome is None else (outcome.tag, outcome.get("message") or "")
    return found


def test_each_expectation_is_a_test_case(write: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    refused = "expect.refused(lambda: None, because='x')"
    write("01_fine", "# Look", "expect.that(1, 'one')\nexpect.that(2, 'two')", "print(expect.emptied({}, of=[]))")
    write("02_broken", "# Try <it>", f"expect.that(True, '')\n{refused}\nexpect.that(1, '')", "expect.counted(None)")
    write("03_after", "expect.that(1, '')")
    file = tmp_path / "build" / "junit.xml"
    assert cli.main(["run", "--quiet", "--junit", str(file)]) == 1
    assert capfd.readouterr().out.startswith("report: ")

    root = ElementTree.parse(file).getroot()
    check_shape(root)
    assert {name: root.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "11", "failures": "1", "errors": "0", "skipped": "5",
    }  # fmt: skip
    fine, broken, after = root
    assert cases(fine) == {
        'code cell 2, "Look": that': ("passed", ""),
        'code cell 2, "Look": that (2)': ("passed", ""),
        'code cell 3, "Look": emptied': ("passed", ""),
        junit.EVERY_CELL: ("passed", ""),
    }
    assert "No challenge waits in" in (fine.findtext("testcase/system-out") or "")
    reason = "this should have been refused because of 'x', but it was carried out"
    assert cases(broken) == {
        'code cell 2, "Try <it>": that': ("passed", ""),
        'code cell 2, "Try <it>": refused': ("failure", f'02_broken failed in code cell 2, "Try <it>": {reason}'),
        "counted": ("skipped", "the notebook ended before"),
        "that": ("skipped", "the notebook ended before"),
        junit.EVERY_CELL: ("skipped", "an expectation failed"),
    }
    assert {outcome for outcome, _ in cases(after).values()} == {"skipped"}
    assert expect.NOTES not in os.environ


def test_a_log_has_no_colours_and_the_last_of_what_is_written_over(
    write: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    write(
        "01_loud",
        "print('\\x1b[1;31mred\\x1b[0m')\nprint('10 %\\r50 %\\r100 %')\nraise ValueError('\\x1b[31mno\\x1b[0m')",
    )
    assert cli.main(["run"]) == 1
    said = capfd.readouterr()
    assert "\x1b" not in said.out + said.err
    assert {"  red", "  100 %"} <= set(said.out.splitlines())
    assert said.err.endswith("ValueError: no\n")


def test_an_error_is_one_of_the_whole_notebook(write: Write, tmp_path: Path) -> None:
    write("01_odd", "# Raise", "expect.that(1, '')", "raise ValueError('\\x1b[31mred\\x1b[0m \\x00 & <b>')")
    result = run.run()
    junit.write(tmp_path / "junit.xml", result)
    root = ElementTree.parse(tmp_path / "junit.xml").getroot()
    check_shape(root)
    found = cases(root)
    assert found['code cell 2, "Raise": that'] == ("passed", "")
    outcome, said = found[junit.EVERY_CELL]
    assert outcome == "error"
    assert said == '01_odd failed in code cell 3, "Raise": ValueError: red \N{REPLACEMENT CHARACTER} & <b>'


def test_a_file_that_cannot_be_written_is_named(write: Write, tmp_path: Path) -> None:
    result = run.Result(tmp_path, (), {})
    (tmp_path / "file").write_text("")
    with pytest.raises(ArgumentError, match=r"file/junit.xml cannot be written: .*another file with --junit"):
        junit.write(tmp_path / "file" / "junit.xml", result)


def test_a_file_that_cannot_be_written_does_not_hide_what_failed(
    write: Write, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    write("01_a", "1 // 0")
    (tmp_path / "file").touch()
    assert cli.main(["run", "--quiet", "--junit", str(tmp_path / "file" / "junit.xml")]) == 1
    said = capfd.readouterr().err
    assert said.index("01_a failed in") < said.index("junit.xml cannot be written")


def test_expectations_are_noted_where_that_is_wanted_only() -> None:
    with expect.noted() as noted:
        expect.that(True, "so")
        with pytest.raises(ExpectationFailed):
            expect.refused(lambda: None, because="x")
        assert [(found.name, bool(found.problem)) for found in noted()] == [("that", False), ("refused", True)]
        assert noted() == []
    expect.that(True, "so")
    assert expect.NOTES not in os.environ
