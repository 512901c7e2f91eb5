"""Every question gets its answer, whichever way the Game State draws them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mainer_nb import create, expect, operate, tables
from mainer_nb.create import Mainer
from mainer_nb.network import Network

QUESTIONS = [["geography", f"What is the capital of {country}?"] for country in ("France", "Japan", "Italy")]


@pytest.fixture(scope="module")
def net(own_network: Callable[..., Network]) -> Network:
    return own_network()


@pytest.fixture(scope="module")
def own(net: Network, project: Path, keep_it_short: Callable[[Network, str], None]) -> Mainer:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAINER_NB_PROJECT", str(project))
        (own,) = create.ensure(net, create.Plan(own=1, llms_per_own=1, services=0, agents=0))
    keep_it_short(net, own.llm_ids[0])
    return own


def test_each_question_is_answered_in_turn_and_also_by_draws_at_random(net: Network, own: Mainer) -> None:
    operate.make_room(net, challenges=3, submissions=3)
    opened = operate.open_challenges(net, QUESTIONS, 3)
    operate.answer(net, own.controller_id)
    first = operate.submissions(net)
    left = operate.unanswered(opened, first)
    assert len(left) == 2
    assert expect.covered(opened, left).startswith("1 of 3 challenges answered; not yet: What is the capital of ")
    by = tables.answers(opened, first, [own]).data["answered by"]
    assert sorted(by) == ["Own 1", "nobody yet", "nobody yet"]

    assert operate.answer_rest(net, own.controller_id, opened) == []
    assert len(operate.submissions(net)) == 3  # none twice

    known = operate.submission_ids(net)  # now the mAIner has had them all, and gets any of them
    assert operate.answer_rest(net, own.controller_id, opened, known) == []
    again = operate.new_submissions(net, known)
    assert expect.covered(opened, operate.unanswered(opened, again)) == "3 of 3 challenges answered."
    assert {answer.submitted_by for answer in again} == {own.controller_id}
    assert set(tables.answers(opened, again, [own]).data["question"]) == {question for _, question in QUESTIONS}


def test_drawing_ends_when_what_is_left_cannot_be_drawn(
    net: Network, own: Mainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    operate.make_room(net, challenges=1, submissions=1)
    (opened,) = operate.open_challenges(net, [["nature", "What colour is the sky?"]], 1)
    known = operate.submission_ids(net)
    monkeypatch.setattr(operate, "challenges", lambda net: [])
    assert operate.answer_rest(net, own.controller_id, [opened], known) == [opened]
    assert operate.submission_ids(net) == known
