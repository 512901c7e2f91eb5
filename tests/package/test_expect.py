"""The sentences that notebooks print say what was found, whatever was planned or is usual."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from mainer_nb import expect, tables
from mainer_nb.costs import Budget, Cost, Costs
from mainer_nb.create import Mainer, Plan
from mainer_nb.errors import ExpectationFailed
from mainer_nb.operate import Queued, Submission
from mainer_nb.upload import StoredFile, Uploaded

WHEN = datetime(2026, 1, 1, tzinfo=UTC)
SERVICE = Mainer("ShareService 1", "ShareService", "service", "me", ("llm-s",), None)
AGENT = Mainer("ShareAgent 1", "ShareAgent", "agent", "me", (), "service")
OWN = Mainer("Own 1", "Own", "own", "me", ("llm-1", "llm-2"), None)


def submission(by: str, number: int = 1, answer: str = "Paris") -> Submission:
    return Submission(f"s{number}", "c1", "geography", "France?", answer, by, "Submitted", WHEN, WHEN)


def test_a_population_is_as_planned_only_if_it_is() -> None:
    plan = Plan(own=1, llms_per_own=2, services=1, llms_per_service=1, agents=1)
    mainers = [OWN, SERVICE, AGENT]
    assert expect.population(mainers, plan) == (
        "3 mAIners: 1 Own with 2 LLMs, 1 ShareService with 1 LLM, 1 ShareAgent, as planned."
    )
    fewer = replace(plan, llms_per_own=1, services=0)
    assert expect.population(mainers, fewer) == (
        "3 mAIners: 1 Own with 2 LLMs, 1 ShareService with 1 LLM, 1 ShareAgent. "
        "More than planned: 1 ShareService, which ShareAgents use, 1 LLM of Own 1."
    )
    assert expect.population([], Plan(0, 0, 0, 0, 0)) == "No mAIner, as planned."
    with pytest.raises(ExpectationFailed, match="Own 1 has 2 LLMs, not 3"):
        expect.population(mainers, replace(plan, llms_per_own=3))


def test_answers_are_counted_of_those_that_are_named() -> None:
    new = [submission("own", 1), submission("agent", 2), submission("somebody", 3)]
    assert expect.answered(new, by=[OWN]) == "1 mAIner submitted 1 answer."
    assert expect.answered(new, by=[OWN, AGENT]) == "2 mAIners submitted 2 answers."


def test_only_what_was_compared_is_said_to_read_the_same() -> None:
    kept = {"own": [submission("own", 1), submission("own", 2)], "agent": []}
    said = expect.kept(kept, [submission("own", 1)])
    assert said == (
        "What 2 mAIners submitted, 1 submission, reads as in the Game State. 1 further one the Game State has no more."
    )
    assert "further" not in expect.kept(kept, [submission("own", 1), submission("own", 2)])
    with pytest.raises(ExpectationFailed, match="reads 'Paris', at the Game State 'Rome'"):
        expect.kept(kept, [submission("own", 1, "Rome")])


def test_a_queue_is_counted_by_who_queued() -> None:
    def queued(number: str, by: str) -> Queued:
        return Queued(number, "c1", "geography", "France?", by, "service", WHEN)

    queues = {"service": [queued("q1", "agent"), queued("q2", "another")], "agent": [queued("q1", "agent")]}
    assert expect.queued(queues, SERVICE, [AGENT]) == "1 challenge of 1 ShareAgent in the queue of ShareService 1."


def test_an_upload_counts_as_what_it_was_sent() -> None:
    sent = Uploaded("LlmModel", "a", "a.gguf", 9, "f" * 64, 9, 1.0)
    there = StoredFile("LlmModel", "a", 9, "f" * 64, 0)
    assert (
        expect.uploaded([sent], [there]) == "The creator has 1 file of these with the size and sha256 they have here."
    )
    for other in (replace(there, model="b"), replace(there, target="LlmWasm"), replace(there, size=8)):
        with pytest.raises(ExpectationFailed, match=r"does not list a\.gguf"):
            expect.uploaded([sent], [other])


def test_both_tables_of_costs_say_the_same_of_the_same() -> None:
    one = Cost("mAIner", None, 2 * 10**12, 3 * 10**12)
    each = tables.costs(Costs("a.gguf", 1, (one,)), 1.0).data
    whole = tables.budget([Budget("mAIner", one.cycles, one.kept)], 1.0).data
    assert list(each["both on mainnet"]) == list(whole["both on mainnet"]) == ["$5.00"]
