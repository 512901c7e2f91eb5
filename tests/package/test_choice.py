"""Which network a notebook uses, where nobody clicks; where somebody does: tests/notebooks/test_forms.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainer_nb import choice
from mainer_nb.agent import Client
from mainer_nb.choice import DEFAULT, PARAMETER, Choice
from mainer_nb.errors import NetworkError


def test_without_a_person_parameters_alone_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAINER_NB_STATE", str(tmp_path))
    kept = tmp_path / "chosen.json"
    kept.write_text('{"network": "ic", "identity": "alice"}')
    assert choice.find(None, None) == Choice("local", None, DEFAULT)
    assert choice.find(None, "bob") == Choice("local", "bob", DEFAULT)
    assert choice.find("ic", "bob") == Choice("ic", "bob", PARAMETER)
    choice.keep(Choice("local", None))
    assert kept.read_text() == '{"network": "ic", "identity": "alice"}'


def test_what_was_given_up_sends_nothing_and_says_why() -> None:
    client = Client("http://127.0.0.1:9")
    client.give_up("another one was chosen")
    for send in (client.get_status, lambda: client.post("/api/v3/call", b"")):
        with pytest.raises(NetworkError, match=r"nothing is sent to .* any more: another one was chosen"):
            send()
