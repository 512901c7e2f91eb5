"""Files are UTF-8 in every locale, and no locale makes an output fail."""

from __future__ import annotations

import ast
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mainer_nb import places, progress

#: Calls that take the locale's encoding unless they name one, and the position of their mode, if they have one.
TEXT_CALLS = {"read_text": None, "write_text": None, "open": 0, "fdopen": 1, "NamedTemporaryFile": 0}
#: Those of `open` that are of other modules, and take no text.
NO_TEXT = {"os", "tarfile", "zipfile", "webbrowser"}
ASCII = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}


def sources() -> list[Path]:
    root = places.project()
    return [path for folder in ("mainer_nb", "bench", "canisters/llama_cpp") for path in (root / folder).rglob("*.py")]


def without_encoding(source: str) -> list[int]:
    """The lines with a call that reads or writes text in the locale's encoding."""
    found = []
    for node in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)):
        name = getattr(node.func, "attr", getattr(node.func, "id", ""))
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if name in ("run", "Popen", "check_output"):
            if ("text" in given or "universal_newlines" in given) and "encoding" not in given:
                found.append(node.lineno)
            continue
        module = getattr(getattr(node.func, "value", None), "id", "")
        if name not in TEXT_CALLS or "encoding" in given or (name == "open" and module in NO_TEXT):
            continue
        at = TEXT_CALLS[name]
        if name == "read_text" and node.args:
            continue
        if at is not None:
            at += isinstance(node.func, ast.Name)  # open(path, mode), path.open(mode)
            default = "w+b" if name == "NamedTemporaryFile" else "r"
            mode = given.get("mode", node.args[at] if len(node.args) > at else ast.Constant(default))
            if isinstance(mode, ast.Constant) and "b" in str(mode.value):
                continue
        found.append(node.lineno)
    return found


def test_every_file_is_read_and_written_in_an_encoding_that_is_named() -> None:
    assert sources()
    assert {path: lines for path in sources() if (lines := without_encoding(path.read_text(encoding="utf-8")))} == {}


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ("p.read_text()", 'p.read_text("utf-8")'),
        ("p.read_text()", 'p.read_text(encoding="utf-8")'),
        ("p.open()", 'p.open(encoding="utf-8")'),
        ('p.open("w")', 'p.open("wb")'),
        ("open(p)", 'open(p, encoding="utf-8")'),
        ('open(p, "w")', 'open(p, "rb")'),
        ('os.fdopen(1, "w")', 'os.fdopen(1, "w", encoding="utf-8")'),
        ("run(c, text=True)", 'run(c, encoding="utf-8")'),
    ],
)
def test_one_without_is_found(call: str, named: str) -> None:
    assert without_encoding(call) == [1]
    assert without_encoding(named) == []


def test_progress_is_shown_where_a_character_is_not_there() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    progress.say("modèle · 日本", stream)
    assert raw.getvalue() == rb"mod\xe8le \xb7 \u65e5\u672c" + b"\n"


def test_progress_that_nobody_reads_any_more_stops_no_work() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    for raw in (os.fdopen(writing, "wb", buffering=0), io.FileIO("/dev/full", "w")):
        with io.TextIOWrapper(raw, encoding="utf-8", write_through=True) as stream:
            progress.say("to nobody, or to a full disk", stream)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_a_command_says_what_is_not_in_the_terminals_encoding(project: Path, tmp_path: Path, encoding: str) -> None:
    state = tmp_path / "état-日本"
    environment = {**os.environ, **ASCII, "PYTHONIOENCODING": encoding, "MAINER_NB_STATE": str(state)}
    command = [sys.executable, "-c", "import sys; from mainer_nb.cli import main; sys.exit(main())", "net"]

    def run(action: str) -> str:
        done = subprocess.run([*command, action], env=environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode(encoding)

    try:
        assert "network local runs at http://127.0.0.1:" in run("start")
        assert "root key" in run("status")
    finally:
        run("stop")
    assert (state / "network.sqlite").exists()
