"""The report's page, from notebooks and a summary."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import nbformat
import pytest

from mainer_nb import report

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg=="
VIEW = {report.WIDGET_VIEW: {"model_id": "1", "version_major": 2, "version_minor": 0}}
LLM = {"canister_id": "l", "model": "tiny", "model_sha256": "0" * 64}
MAINER = {"name": "Own 1", "type": "Own", "controller_id": "c", "llm_ids": ["l"], "llms": [LLM], "failures": 0}


def summary(**changes: Any) -> dict[str, Any]:
    return {
        "status": "ok",
        "started": "2026-01-02T03:04:05Z",
        "seconds": 61.5,
        "parameters": {},
        "notebooks": [{"name": "01_test", "status": "ok", "seconds": 1.0}],
        "network": {"name": "local", "url": "http://127.0.0.1:1"},
        "model": {"file": "tiny.gguf", "size": 2_000_000, "sha256": "0" * 64},
        "mainers": [{**MAINER, "cycles_spent": 2 * 10**12}],
        "submissions": [{"submitted": "2026-01-02T03:04:04Z"}, {"submitted": "2026-01-02T03:05:00Z"}],
        "problems": [],
        **changes,
    }


class Read(HTMLParser):
    """The words of a page's head, and its pictures."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.feed(html[html.index("<main") :])
        self.text = " ".join(" ".join(self.words).split())

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.pictures.append(dict(attrs))


def page(folder: Path, *outputs: dict[str, Any], **changes: Any) -> Read:
    cells = [nbformat.v4.new_code_cell("1 + 1", outputs=[nbformat.from_dict(output) for output in outputs])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "01_test.ipynb")
    return Read(report.page([folder / "01_test.ipynb"], summary(**changes)))


def shown(data: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    return {"output_type": "display_data", "data": data, "metadata": metadata}


def test_the_head_answers_at_a_glance(tmp_path: Path) -> None:
    text = page(tmp_path).text
    for part in (
        "Run ok , 1 notebook in 61.5 s 2026-01-02 03:04:05 UTC",
        "Network local http://127.0.0.1:1",
        "Model tiny.gguf 2.0 MB",
        "mAIners 1 with 1 LLM 1 Own",
        "Answers 1 in this run 2 at the Game State",
        "Failures none of the notebooks",
        "Cost 2.000 T cycles spent by the mAIners so far on mainnet some $2.70",
    ):
        assert part in text


def test_a_failure_is_said_at_the_head_and_what_could_not_be_asked_is_left_out(tmp_path: Path) -> None:
    failed = {"name": "01_test", "status": "failed", "seconds": 1.0, "cell": "code cell 1", "error": "E: <no> network"}
    not_run = {"name": "02_test", "status": "not run", "seconds": 0.0}
    unknown = {"network": {"name": "local", "url": None}, "model": None, "mainers": None, "submissions": None}
    read = page(tmp_path, status="failed", notebooks=[failed, not_run], problems=["nothing answers"], **unknown)
    for part in ("Run failed , 1 notebook", "Failures 1 of the notebooks", "local which could not be reached",
                 "01_test failed in code cell 1", "E: <no> network", "nothing answers"):  # fmt: skip
        assert part in read.text
    assert not any(word in read.text for word in ("Cost", "Answers", "mAIners", "Model"))


def test_steps_that_mainers_failed_are_counted(tmp_path: Path) -> None:
    mainers = [{**MAINER, "cycles_spent": 0, "failures": 2}, {**MAINER, "cycles_spent": 0, "failures": 1}]
    assert "none of the notebooks 3 steps of mAIners failed lately" in page(tmp_path, mainers=mainers).text


@pytest.mark.parametrize("kind", report.PICTURES)
def test_the_text_of_a_picture_reaches_the_page(kind: str, tmp_path: Path) -> None:
    described = {kind: {"alt": 'two "bars"', "width": 90, "height": 40}}
    plain, told = page(tmp_path, shown({kind: PIXEL}), shown({kind: PIXEL}, **described)).pictures
    assert told["alt"] == 'two "bars"'
    assert (told["width"], told["height"]) == ("90", "40")
    assert plain["alt"] == "picture"
    assert told["src"] == f"data:{kind};base64,{PIXEL}"


def test_of_a_widget_the_page_has_what_was_in_it(tmp_path: Path) -> None:
    known = shown({**VIEW, "text/html": "<em>network: local</em>"})
    text = page(tmp_path, known, shown({**VIEW, "text/plain": "HBox()"})).text
    assert "network: local" in text
    assert "(interactive in JupyterLab)" in text
    assert "HBox" not in text


def test_of_two_pictures_for_two_themes_the_page_has_the_light_one(tmp_path: Path) -> None:
    both = '<img class="mainer-light" alt="l" src="data:,"><img class="mainer-dark" alt="d" src="data:,">'
    (picture,) = page(tmp_path, shown({"text/html": both})).pictures
    assert picture["alt"] == "l"


def test_an_error_is_told_without_its_way(tmp_path: Path) -> None:
    error = {"output_type": "error", "ename": "E", "evalue": "why", "traceback": ["Traceback (most recent)", "line 1"]}
    text = page(tmp_path, error).text
    assert "E: why" in text
    assert "Traceback" not in text


def test_llms_with_another_model_than_was_uploaded_last_are_told(tmp_path: Path) -> None:
    other = {**LLM, "model": "second", "model_sha256": "1" * 64}
    read = page(tmp_path, mainers=[{**MAINER, "llms": [LLM, other], "cycles_spent": 0}])
    assert "tiny.gguf 2.0 MB but 1 of 2 LLMs: second" in read.text
