"""What is written down is there after a kill; what was half written is as if it had never been begun."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from mainer_nb.errors import ArtifactCorrupt, PreconditionError
from mainer_nb.fleet.journal import Journal

WRITER = """
import sys
from functools import partial
from pathlib import Path
from mainer_nb.fleet.journal import Journal
journal = Journal(Path(sys.argv[1]))
for number in range(10**6):
    journal.note("aaaaa-aa", "step", number=number)
    print(number, flush=True)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "folder" / "journal.jsonl"


def test_a_step_is_done_in_one_life_only(path: Path) -> None:
    for life in range(3):
        with Journal(path) as journal:
            assert journal.once("aaaaa-aa", "count", partial(dict, life=life)) == {"life": 0}
    with Journal(path) as journal:
        assert journal.once("2vxsx-fae", "count", lambda: {"life": 3}) == {"life": 3}
        assert journal.canister_ids == ("aaaaa-aa", "2vxsx-fae")


def test_the_last_record_of_a_step_counts(path: Path) -> None:
    with Journal(path) as journal:
        journal.note("aaaaa-aa", "sent", nonce="1")
        journal.note("aaaaa-aa", "sent", nonce="2")
    with Journal(path) as journal:
        found = journal.find("aaaaa-aa", "sent")
        assert found is not None
        assert found.data == {"nonce": "2"}
        assert journal.find("aaaaa-aa", "done") is None


def test_what_was_before_a_new_beginning_counts_no_more(path: Path) -> None:
    with Journal(path) as journal:
        for number in range(2):
            journal.begin("aaaaa-aa", number=number)
            assert journal.every("aaaaa-aa", "step") == []
            journal.note("aaaaa-aa", "step")
            journal.note("aaaaa-aa", "step")
        assert len(journal.every("aaaaa-aa", "step")) == 2
    with Journal(path) as journal:
        assert journal.begun("aaaaa-aa").data == {"number": 1}


@pytest.mark.parametrize("cut", [1, 5, 40])
def test_a_half_line_is_ignored_and_what_follows_is_whole(path: Path, cut: int) -> None:
    with Journal(path) as journal:
        journal.note("aaaaa-aa", "first")
        journal.note("aaaaa-aa", "second", text="ä\n")
    path.write_bytes(path.read_bytes()[:-cut])
    with Journal(path) as journal:
        assert journal.find("aaaaa-aa", "first") is not None
        assert journal.find("aaaaa-aa", "second") is None
        journal.note("aaaaa-aa", "third")
    with Journal(path) as journal:
        assert journal.find("aaaaa-aa", "third") is not None


def test_a_journal_that_has_only_a_half_line_is_empty(path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"canister_id": "aaa')
    with Journal(path) as journal:
        assert journal.canister_ids == ()
        journal.note("aaaaa-aa", "first")
    with Journal(path) as journal:
        assert journal.canister_ids == ("aaaaa-aa",)


def test_what_was_said_to_be_written_is_there_after_a_kill(path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        said = [int(process.stdout.readline()) for _ in range(30)][-1]
        process.kill()
    with Journal(path) as journal:
        found = journal.find("aaaaa-aa", "step")
        assert found is not None
        assert found.data["number"] >= said


def test_another_file_is_no_journal(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("some notes\n")
    with pytest.raises(ArtifactCorrupt, match=r"is not a journal.*some notes"):
        Journal(path)


def test_where_nothing_can_be_written_it_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PreconditionError, match="cannot be written"):
        Journal(tmp_path / "file" / "journal.jsonl")
