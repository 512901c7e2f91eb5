"""What things cost, counted with the tiny model on a network of the measurement's own."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainer_nb import artifacts, costs, expect, tables
from mainer_nb.errors import ArtifactMissing

MODEL = "tiny"


@pytest.fixture(scope="module")
def measured(project: Path) -> costs.Costs:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MAINER_NB_PROJECT", str(project))
        return costs.measure(MODEL)


def test_every_unit_is_counted(measured: costs.Costs) -> None:
    assert "9 costs" in expect.counted(measured)
    assert measured.size == artifacts.model(MODEL).size
    with pytest.raises(KeyError):
        measured.of("cup of tea")


def test_receiving_a_byte_costs_what_mainnet_asks(measured: costs.Costs) -> None:
    upload = measured.of("MB uploaded")
    assert upload.instructions is not None
    assert upload.cycles == pytest.approx(2000 * costs.MB + upload.instructions)


def test_a_canister_keeps_what_creation_does_not_take(measured: costs.Costs) -> None:
    controller = measured.of("mAIner canister")
    assert controller.cycles > 500e9  # the price of creating a canister
    assert controller.kept + controller.cycles == pytest.approx(3e12, rel=0.01)


def test_a_template_pays_from_some_number_of_llms_on(measured: costs.Costs) -> None:
    copied, of_template = measured.of(costs.COPIED), measured.of(costs.OF_TEMPLATE)
    assert copied.rounds is not None
    assert of_template.rounds is not None
    assert of_template.rounds <= 12 < copied.rounds
    assert of_template.cycles < copied.cycles
    number = costs.template_pays_from(measured, months=2)
    assert number is not None
    whole = measured.of(costs.TEMPLATE).cycles + 2 * measured.of(costs.STORAGE).cycles
    assert (number - 1) * (copied.cycles - of_template.cycles) <= whole < number * (copied.cycles - of_template.cycles)
    assert f"{number} LLMs on" in repr(tables.template(measured, usd_per_xdr=1.35, months=2))


def test_a_trillion_cycles_cost_one_xdr(measured: costs.Costs) -> None:
    assert costs.usd(2e12, usd_per_xdr=1.5) == 3
    upload, mainer, answer = costs.budget(measured, prompt_tokens=10, answer_tokens=5)
    assert upload.spent == pytest.approx(measured.of("MB uploaded").cycles * measured.size / costs.MB)
    assert mainer.kept > mainer.spent
    expected = 10 * measured.of("prompt token").cycles + 5 * measured.of("generated token").cycles
    assert answer.spent == pytest.approx(expected)
    assert "$" in repr(tables.budget([upload, mainer, answer], usd_per_xdr=1.5))


def test_a_model_that_is_not_there() -> None:
    with pytest.raises(ArtifactMissing, match="nowhere"):
        costs.measure("nowhere")
