"""LLMs get another model without their code being touched; the old one stays until the new one has answered."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mainer_nb import artifacts, create, deploy, fleet, management, operate, upload
from mainer_nb.canister import Canister
from mainer_nb.create import Mainer, Plan
from mainer_nb.errors import ArgumentError, CanisterError, PreconditionError
from mainer_nb.fleet import exchange, work
from mainer_nb.fleet.exchange import ModelExchange
from mainer_nb.network import CREATOR, Network
from tests import mainer_canisters, tiny_gguf
from tests.fleet import answering
from tests.stages import MODEL, set_places

SECOND = "second"
#: Makes the second model be asked in another form than the first.
TEMPLATE = (
    "{% for message in messages %}<q>{{ message.content }}</q>{% endfor %}{% if add_generation_prompt %}<a>{% endif %}"
)


@pytest.fixture(scope="module")
def second(project: Path) -> Path:
    return tiny_gguf.write(project / "files" / f"{SECOND}.gguf", seed=1, name=SECOND, chat_template=TEMPLATE)


@pytest.fixture(scope="module")
def net(new_network: Callable[[], Network], project: Path, tmp_path_factory: pytest.TempPathFactory) -> Network:
    net = new_network()
    with pytest.MonkeyPatch.context() as patch:
        set_places(patch, project, tmp_path_factory.mktemp("state"))
        deploy.deploy(net)
        upload.upload_all(net, MODEL)
        create.ensure(net, Plan(own=1, llms_per_own=2, services=1, llms_per_service=1, agents=1))
    return net


@pytest.fixture
def uploaded_second(net: Network, second: Path) -> None:
    upload.upload_model(net, artifacts.model(second))


def whole(net: Network) -> fleet.Fleet:
    return fleet.of(net)


def llm_of(net: Network, llm_id: str) -> Canister:
    return fleet.canister(net, whole(net).member(llm_id))


def says(net: Network, llm_id: str) -> str:
    """A model's own answer to a fixed question."""
    llm = llm_of(net, llm_id)
    llm.remove_prompt_cache({"args": ["--prompt-cache", "c"]})
    llm.new_chat({"args": ["--prompt-cache", "c"]})
    return str(llm.run_update({"args": ["--prompt-cache", "c", "-p", "abc", "-n", "8", "--temp", "0"]})["output"])


def model_files(net: Network, llm_id: str) -> list[str]:
    found = llm_of(net, llm_id).recursive_dir_content_query({"dir": "models", "max_entries": 0})
    return [entry["filename"] for entry in found if entry["filetype"] == "file"]


def states(done: ModelExchange) -> dict[str, str]:
    return {change.member.name: change.state for change in done.changes}


def rotation(net: Network, mainer: Mainer) -> set[str]:
    return set(operate.mainer_canister(net, mainer.controller_id).getLlmCanisters())


def mainers(net: Network) -> tuple[Mainer, Mainer, Mainer]:
    own, service, agent = create.mainers(net)
    return own, service, agent


def upload_raw(net: Network, name: str, data: bytes) -> None:
    mainer_canisters.upload(net.canister(CREATOR), {"LlmModel": {"Other": name}}, data)


def test_a_model_that_cannot_be_loaded_leaves_the_old_one_answering(net: Network, second: Path) -> None:
    own, service, _ = mainers(net)
    before = {llm_id: says(net, llm_id) for llm_id in (*own.llm_ids, *service.llm_ids)}
    whole_file = second.read_bytes()
    upload_raw(net, "noise", whole_file[: len(whole_file) // 2])
    upload_raw(net, "half", whole_file.replace(b"output_norm.weight", b"output_nerm.weight"))
    upload_raw(net, "dumb", whole_file)
    too_long = {"prefix": "x" * 2_000, "suffix": "", "stop": []}
    net.canister(CREATOR).setModelPromptFormat({"Other": "dumb"}, too_long)
    for model, reason in (
        ("noise", "step load_model: .*truncated"),
        ("half", "step load_model: IC0503"),
        ("dumb", r"step ask it a question: .*\(status code 413"),
    ):
        done = exchange.exchange(net, whole(net), model, carry_out=True)
        assert set(states(done).values()) <= {"failed", "not begun"}
        failed = done.of_state("failed")
        assert 1 <= len(failed) <= create.LLMS_AT_ONCE
        for change in failed:
            assert re.search(reason, change.detail)
            assert "it answers with the model before" in change.detail
    assert {llm_id: says(net, llm_id) for llm_id in before} == before
    for mainer in (own, service):
        assert rotation(net, mainer) == set(mainer.llm_ids)
        assert (found := work.of(net, whole(net).member(mainer.controller_id)))
        assert not found.maintenance
    assert all(model_files(net, llm_id) == ["models/model.gguf"] for llm_id in before)
    assert {llm.model for mainer in mainers(net) for llm in mainer.llms} == {MODEL}


@pytest.mark.usefixtures("uploaded_second")
def test_an_exchange_is_a_plan_first_then_done_once(net: Network) -> None:
    own, service, _ = mainers(net)
    llm_ids = [*own.llm_ids, *service.llm_ids]
    before = {llm_id: says(net, llm_id) for llm_id in llm_ids}
    codes = [management.module_hash(net.agent, llm_id) for llm_id in llm_ids]
    plan = exchange.exchange(net, whole(net), SECOND)
    assert set(states(plan).values()) == {"to do"}
    assert {change.before for change in plan.changes} == {MODEL}
    assert plan.cycles > 3 * plan.size * 1_000
    assert {llm_id: says(net, llm_id) for llm_id in llm_ids} == before

    # Of an Own's two LLMs only one, whose model is asked otherwise: the other leaves the rotation until it has it, too.
    first, other = own.llm_ids
    done = exchange.exchange(net, whole(net).only([first]), SECOND, carry_out=True)
    assert states(done) == {"Own 1, LLM 1": "exchanged"}
    assert rotation(net, own) == {first}
    assert says(net, first) != before[first]
    assert says(net, other) == before[other]

    done = exchange.exchange(net, whole(net), SECOND, carry_out=True)
    assert states(done) == {
        "Own 1, LLM 1": "has it",
        "Own 1, LLM 2": "exchanged",
        "ShareService 1, LLM 1": "exchanged",
    }
    assert rotation(net, own) == {first, other}
    assert len({says(net, llm_id) for llm_id in llm_ids}) == 1
    assert [management.module_hash(net.agent, llm_id) for llm_id in llm_ids] == codes
    assert all(model_files(net, llm_id) == [f"models/{plan.sha256}.gguf"] for llm_id in llm_ids)
    for mainer in (own, service):
        controller = operate.mainer_canister(net, mainer.controller_id)
        assert controller.getPromptFormat()["prefix"] == "<q>"
        assert controller.getMaintenanceFlagAdmin() == {"flag": False}
    assert {llm.model for mainer in mainers(net) for llm in mainer.llms} == {SECOND}
    again = exchange.exchange(net, whole(net), SECOND, carry_out=True)
    assert set(states(again).values()) == {"has it"}
    assert again.cycles == 0


@pytest.mark.usefixtures("uploaded_second")
def test_an_llm_that_is_answering_ends_its_answer_first(net: Network) -> None:
    _, service, agent = mainers(net)
    model = next(name for name in (MODEL, SECOND) if service.llms[0].model != name)
    few = {"max_tokens_update": 8, "max_tokens_query": 8}  # so that its answer takes many calls
    llm_of(net, service.llm_ids[0]).set_max_tokens(few)
    operate.fund(net, [service, agent])
    given_up = answering.dropped(net, service.controller_id, agent.controller_id)
    thread, known = answering.begun(net, service.controller_id, agent.controller_id)
    done = exchange.exchange(net, whole(net).only(service.llm_ids), model, carry_out=True)
    thread.join()
    assert states(done) == {"ShareService 1, LLM 1": "exchanged"}
    assert len(operate.new_submissions(net, known)) == 1
    assert answering.dropped(net, service.controller_id, agent.controller_id) == given_up
    assert rotation(net, service) == set(service.llm_ids)


def test_what_cannot_be_exchanged_is_refused(net: Network, as_stranger: Callable[[Network], Network]) -> None:
    own, _, agent = mainers(net)
    with pytest.raises(PreconditionError, match=r"no model 'other'; it has: .*tiny.*Upload it first"):
        exchange.exchange(net, whole(net), "other")
    with pytest.raises(ArgumentError, match="has no LLM"):
        exchange.exchange(net, whole(net).only([agent.controller_id]), MODEL)
    with pytest.raises(CanisterError, match="Unauthorized"):
        exchange.exchange(as_stranger(net), whole(net), MODEL)
    management.stop(net.agent, own.llm_ids[0])
    try:
        with pytest.raises(PreconditionError, match=r"Own 1, LLM 1: it is stopped. Nothing was done"):
            exchange.exchange(net, whole(net), MODEL, carry_out=True)
    finally:
        management.start(net.agent, own.llm_ids[0])
    creator = net.canister(CREATOR)
    missing = next(name for name in (MODEL, "noise") if name not in {llm.model for llm in own.llms})
    with pytest.raises(CanisterError, match="copy it with copyModelToLlmAdmin"):
        creator.exchangeModelAdmin({"address": own.llm_ids[0], "selectedModel": {"Other": missing}})
    with pytest.raises(CanisterError, match="is no LLM"):
        creator.copyModelToLlmAdmin({"address": own.controller_id, "selectedModel": {"Other": MODEL}})
