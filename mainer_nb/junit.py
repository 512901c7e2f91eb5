"""The result of a run as JUnit XML, which CI servers read: a test suite for each notebook, a test case for each of its
expectations.

    junit.write(Path("junit.xml"), run.run())

The form is that of Ant's JUnit task, as GitHub's reporters, GitLab and Jenkins take it. A notebook that fails other
than by an expectation has its error in the case "every cell runs". What did not run is skipped.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import nbformat

from . import places, run
from .errors import ArgumentError
from .progress import plain
from .run import NotebookRun, Result

EVERY_CELL = "every cell runs"
OUTCOMES = {
    "failure": "failures",
    "error": "errors",
    "skipped": "skipped",
}  # a case's element, and how they are counted
NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, "Characters"


def write(path: Path, result: Result) -> None:
    """Write a run's result.

    Raises:
        ArgumentError: the file cannot be written.
    """
    tree = ElementTree.ElementTree(suites(result))
    ElementTree.indent(tree)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        tree.write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise ArgumentError(places.unwritable(path, error, "name another file with --junit")) from error


def suites(result: Result) -> Element:
    """The whole result."""
    all_suites = Element("testsuites", name="mainer-nb")
    for notebook in result.notebooks:
        suite = SubElement(all_suites, "testsuite", name=notebook.name)
        if started := result.summary.get("started"):
            suite.set("timestamp", str(started).removesuffix("Z"))
        suite.extend(_cases(notebook, result))
        _count(suite, suite.findall("testcase"), notebook.seconds)
    _count(all_suites, all_suites.findall("*/testcase"), sum(notebook.seconds for notebook in result.notebooks))
    return all_suites


def _count(element: Element, cases: Sequence[Element], seconds: float) -> None:
    element.set("tests", str(len(cases)))
    for outcome, counted in OUTCOMES.items():
        element.set(counted, str(sum(case.find(outcome) is not None for case in cases)))
    element.set("time", f"{seconds:.3f}")


def _cases(notebook: NotebookRun, result: Result) -> Iterator[Element]:
    executed = result.folder / f"{notebook.name}.ipynb"
    places_of = _cell_names(executed) if executed.is_file() else {}
    names: Counter[str] = Counter()
    failed = False

    def case(name: str, seconds: float = 0.0) -> Element:
        names[name] += 1
        full = name if names[name] == 1 else f"{name} ({names[name]})"
        return Element("testcase", name=_xml(full), classname=notebook.name, time=f"{seconds:.3f}")

    for expectation in notebook.expectations:
        cell = places_of.get(expectation.execution, "a cell")
        found = case(f"{cell}: {expectation.name}", expectation.seconds)
        if expectation.problem:
            failed = True
            _outcome(found, "failure", f"{notebook.name} failed in {cell}: {expectation.problem}")
        elif expectation.found:
            SubElement(found, "system-out").text = _xml(expectation.found)
        yield found
    for name in _not_checked(notebook):
        skipped = case(name)
        _outcome(skipped, "skipped", "the notebook ended before" if notebook.cell else "the notebook did not run")
        yield skipped
    whole = case(EVERY_CELL, notebook.seconds)
    if notebook.status == "not run" or failed:
        _outcome(whole, "skipped", "an expectation failed" if failed else "the notebook did not run")
    elif notebook.status == "failed":
        _outcome(whole, "error", f"{notebook.name} failed in {notebook.cell}: {notebook.error}")
    yield whole


def _outcome(case: Element, outcome: str, text: str) -> None:
    first, _, _ = text.partition("\n")
    element = SubElement(case, outcome, message=_xml(first))
    if outcome != "skipped":
        element.set("type", "ExpectationFailed" if outcome == "failure" else "Error")
        element.text = _xml(text)


def _xml(text: str) -> str:
    """Text with only such characters as XML has."""
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", plain(text))


def _cell_names(executed: Path) -> dict[int, str]:
    """What to call the cells of an executed notebook, by execution count."""
    return {cell.execution_count: name for cell, name in run.code_cells(nbformat.read(executed, as_version=4))}


def _not_checked(notebook: NotebookRun) -> list[str]:
    """The names of the expectations that stand in a notebook, one for each place, but were not come to."""
    if notebook.status == "ok":
        return []
    source = nbformat.read(places.project() / run.NOTEBOOKS / f"{notebook.name}.ipynb", as_version=4)
    written = [name for cell in source.cells if cell.cell_type == "code" for name in _expected(cell.source)]
    checked = Counter(expectation.name for expectation in notebook.expectations)
    return sorted((Counter(written) - checked).elements())


def _expected(code: str) -> Iterator[str]:
    """The names of the functions of `expect` that code calls."""
    try:
        nodes: Sequence[Any] = list(ast.walk(ast.parse(code)))
    except SyntaxError:  # such as a cell of magics in somebody's own notebook
        return
    for node in nodes:
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id="expect"), attr=name)):
                yield name
