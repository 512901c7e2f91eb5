"""A population is what was asked for, whatever was there before: other models and wasms, half of it, what is gone."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mainer_nb import artifacts, check, conditions, create, deploy, differences, management, upload
from mainer_nb.canister import Canister
from mainer_nb.create import Mainer, Plan
from mainer_nb.errors import ArgumentError, CanisterError, PreconditionError
from mainer_nb.network import CREATOR, GAME_STATE, Network
from tests import tiny_gguf

SMALL = Plan(own=1, llms_per_own=2, services=1, llms_per_service=1, agents=1)
SECOND = "second"


@pytest.fixture(scope="module")
def net(own_network: Callable[..., Network], project: Path) -> Network:
    """A network of this module's own, deployed and with everything uploaded."""
    template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}</s>{% endfor %}<assistant>"
    tiny_gguf.write(project / "files" / f"{SECOND}.gguf", seed=7, name=SECOND, chat_template=template)
    return own_network()


@pytest.fixture(autouse=True)
def tiny_is_asked(net: Network) -> None:
    upload.upload_all(net, "tiny")


def model_of(net: Network, one: Mainer) -> set[str]:
    return {llm.model for llm in create.mainer(net, one.controller_id).llms}


def canisters(mainers: list[Mainer]) -> list[tuple[str, ...]]:
    return [one.canister_ids for one in mainers]


def healthy(net: Network, mainers: list[Mainer]) -> None:
    assert [one.problems for one in check.check_all(net, mainers)] == [{}] * len(mainers)


def prompt_of(net: Network, one: Mainer) -> dict[str, object]:
    form: dict[str, object] = net.canister_at(one.controller_id, upload.CONTROLLER).getPromptFormat()
    return form


# What differs


def test_another_model_takes_the_place_of_the_first_in_the_same_canisters(net: Network) -> None:
    first = create.ensure(net, SMALL)
    assert model_of(net, first[0]) == {"tiny"}
    upload.upload_all(net, SECOND)
    second = create.ensure(net, SMALL)
    assert canisters(second) == canisters(first)
    sha256 = artifacts.model(SECOND).sha256
    assert {llm.model_sha256 for one in second for llm in one.llms} == {sha256}
    asked = net.canister(CREATOR).getModelPromptFormat({"Other": SECOND})
    assert asked["prefix"].startswith("<user>")
    assert [prompt_of(net, one) for one in second if one.llms] == [asked] * 2
    assert differences.find(net, second) == []
    healthy(net, second)
    assert create.ensure(net, SMALL) == second


def test_what_differs_can_be_refused_or_used(net: Network) -> None:
    first = create.ensure(net, SMALL)
    upload.upload_all(net, SECOND)
    with pytest.raises(PreconditionError, match=r"Own 1, LLM .*: model tiny \(.*\) instead of second \(.*\).*Remedy"):
        create.ensure(net, SMALL, differing="refuse")
    more = create.ensure(net, replace(SMALL, llms_per_own=3), differing="use")
    assert canisters(more)[1:] == canisters(first)[1:]
    assert [llm.model for llm in more[0].llms] == ["tiny"] * 3
    assert prompt_of(net, more[0]) == net.canister(CREATOR).getModelPromptFormat({"Other": "tiny"})
    with pytest.raises(ArgumentError, match="unknown differing 'perhaps': choose one of replace, use, refuse"):
        create.ensure(net, SMALL, differing="perhaps")  # type: ignore[arg-type]


def test_a_changed_wasm_is_installed_and_a_controller_keeps_its_state(net: Network) -> None:
    first = create.ensure(net, SMALL)
    own = net.canister_at(first[0].controller_id, upload.CONTROLLER)
    own.setRoundRobinLLMs(1)
    own.updateAgentSettings({"cyclesBurnRate": {"cycles": 77, "timeInterval": "Daily"}})
    creator = net.canister(CREATOR)
    changed = {
        "controller": artifacts.canister_wasm(upload.CONTROLLER).data() + b"\0\x05\x04note",
        "llm": artifacts.llm_wasm().data() + b"\0\x05\x04note",
    }
    creator.start_upload_mainer_controller_canister_wasm()
    send(creator.upload_mainer_controller_canister_wasm_bytes_chunk, changed["controller"])
    creator.start_upload_mainer_llm_canister_wasm({"Other": "tiny"})
    send(lambda part: creator.upload_mainer_llm_canister_wasm_bytes_chunk({"Other": "tiny"}, part), changed["llm"])
    found = differences.find(net, first)
    assert {one.of_llm for one in found} == {True, False}
    assert all("code" in one.what for one in found)

    second = create.ensure(net, SMALL)
    assert canisters(second) == canisters(first)
    assert differences.find(net, second) == []
    statistics = own.getMainerStatisticsAdmin()
    assert statistics["cyclesBurnRate"]["cycles"] == 77
    healthy(net, second)


def send(method: Callable[[bytes], object], data: bytes) -> None:
    for start in range(0, len(data), 1_900_000):
        method(data[start : start + 1_900_000])


def test_a_changed_prompt_format_is_given_to_the_mainers(net: Network) -> None:
    first = create.ensure(net, SMALL)
    made = {llm.canister_id: llm.made for one in first for llm in one.llms}
    form = {"prefix": "Ask: ", "suffix": "\nSay:", "stop": ["\n"]}
    net.canister(CREATOR).setModelPromptFormat({"Other": "tiny"}, form)
    second = create.ensure(net, SMALL)
    assert [prompt_of(net, one) for one in second if one.llms] == [form] * 2
    assert {llm.canister_id: llm.made for one in second for llm in one.llms} == made


# Ties


def test_fewer_services_than_before_come_with_the_agents_that_are_used(net: Network) -> None:
    before = create.ensure(net, Plan(own=0, services=2, agents=3))
    again = create.ensure(net, Plan(own=0, services=1, agents=3))
    assert {one.controller_id for one in again} == {one.controller_id for one in before}
    fewer = create.ensure(net, Plan(own=0, services=1, agents=1))
    assert len(fewer) == 2
    assert fewer[1].share_service_id == fewer[0].controller_id
    assert create.ensure(net, Plan(own=0, services=0, agents=0)) == []
    assert [one.kind for one in create.ensure(net, Plan(own=1, services=0, agents=0))] == ["Own"]


def test_an_agent_of_a_service_that_is_gone_gets_another(net: Network) -> None:
    _, agent = create.ensure(net, Plan(own=0, services=1, agents=1))
    lonely = create.create_mainer(net, "ShareService")
    orphan = create.create_mainer(net, "ShareAgent", lonely.controller_id)
    management.delete(net.agent, lonely.controller_id)
    with pytest.raises(PreconditionError, match=f"{lonely.name} {lonely.controller_id} was deleted. Remedy: .*forget"):
        create.ensure(net, SMALL)
    count = sum(one.kind == "ShareAgent" for one in create.mainers(net))
    whole = create.ensure(net, Plan(own=0, services=1, agents=count), gone="forget")
    (tied,) = [one for one in whole if one.controller_id == orphan.controller_id]
    assert tied.share_service_id in {one.controller_id for one in whole if one.kind == "ShareService"}
    assert lonely.controller_id not in {one.controller_id for one in create.mainers(net)}
    assert agent.controller_id in {one.controller_id for one in whole}
    healthy(net, whole)


# What was cut off


def test_an_order_given_twice_makes_one_canister(net: Network) -> None:
    one = create.create_mainer(net, "Own", key="twice")
    assert create.create_mainer(net, "Own", key="twice") == one
    llm = create.add_llm(net, one.controller_id, key="llm twice")
    deploy.deploy(net, "upgrade")
    assert create.add_llm(net, one.controller_id, key="llm twice") == llm
    assert create.mainer(net, one.controller_id).llm_ids == (llm,)
    with pytest.raises(CanisterError, match='The key "twice" belongs to another order'):
        create.create_mainer(net, "ShareService", key="twice")
    assert create.create_mainer(net, "Own") != create.create_mainer(net, "Own")
    with pytest.raises(CanisterError, match="A key has 1 to 200 characters, this has 201"):
        create.create_mainer(net, "Own", key="k" * 201)


def test_an_order_given_again_while_it_is_carried_out_is_waited_for(net: Network) -> None:
    from concurrent.futures import ThreadPoolExecutor

    one = create.create_mainer(net, "Own")
    with ThreadPoolExecutor(3) as pool:
        made = set(pool.map(lambda _: create.add_llm(net, one.controller_id, key=one.controller_id), range(3)))
    assert create.mainer(net, one.controller_id).llm_ids == tuple(made)


CUT_OFF = """
import os, threading
from mainer_nb import create, network
net = network.connect(start=False)
creator = net.canister("mainer_creator_canister")
def watch():
    while not creator.getOrdersUnderWay():
        pass
    os.kill(os.getpid(), 9)
threading.Thread(target=watch, daemon=True).start()
create.ensure(net, create.Plan(own=2, llms_per_own=2, services=0, agents=0))
"""


def test_after_a_client_was_killed_there_is_what_was_asked_for(
    new_network: Callable[[], Network], monkeypatch: pytest.MonkeyPatch
) -> None:
    net = new_network()
    deploy.deploy(net)
    upload.upload_all(net, "tiny")
    state = next(source.path.parent for source in net.ids.files)
    monkeypatch.setenv("MAINER_NB_STATE", str(state))
    plan = Plan(own=2, llms_per_own=2, services=0, agents=0)
    for _ in range(4):
        killed = subprocess.run([sys.executable, "-c", CUT_OFF], check=False, timeout=120)
        if killed.returncode == 0:
            break
        assert killed.returncode == -9
    whole = create.ensure(net, plan)
    assert create.mainers(net) == whole
    assert [len(one.llm_ids) for one in whole] == [2, 2]
    listed = [net.canister_at(one.controller_id, upload.CONTROLLER).getLlmCanisters() for one in whole]
    assert listed == [list(one.llm_ids) for one in whole]


# What is gone or does not work


def test_an_llm_that_was_deleted_is_said_and_replaced_when_asked(net: Network) -> None:
    own, *rest = create.ensure(net, SMALL)
    gone, kept = own.llm_ids[:2]
    management.delete(net.agent, gone)
    (checked,) = check.check_all(net, [own])
    assert f"LLM {gone} was deleted. Remedy: " in checked.problems["canisters"]
    with pytest.raises(PreconditionError, match=f"Own 1, LLM {gone} was deleted. Remedy"):
        create.ensure(net, SMALL)
    own, *after = create.ensure(net, SMALL, gone="forget")
    assert gone not in own.llm_ids
    assert kept in own.llm_ids
    assert canisters(after) == canisters(rest)
    healthy(net, [own, *after])


def test_a_mainer_that_was_deleted_is_said_and_replaced_when_asked(net: Network) -> None:
    own, *rest = create.ensure(net, SMALL)
    management.delete(net.agent, own.controller_id)
    (checked,) = check.check_all(net, [own])
    assert f"{own.controller_id} was deleted. Remedy: " in checked.problems["canisters"]
    with pytest.raises(PreconditionError, match=f"Own 1 {own.controller_id} was deleted"):
        create.ensure(net, SMALL)
    whole = create.ensure(net, SMALL, gone="forget")
    assert own.controller_id not in {one.controller_id for one in create.mainers(net)}
    with pytest.raises(CanisterError):
        net.canister(GAME_STATE).getMainerAgentCanisterInfo({"address": own.controller_id})
    assert canisters(whole)[1:] == canisters(rest)
    healthy(net, whole)


def test_only_what_is_gone_can_be_forgotten(net: Network) -> None:
    own, *_ = create.ensure(net, SMALL)
    with pytest.raises(CanisterError, match=f"Canister {own.llm_ids[0]} is there"):
        create.forget(net, own.llm_ids[0])
    with pytest.raises(CanisterError, match="InvalidId"):
        create.forget(net, "n2m2m-wyaaa-aaaaa-p777a-cai")


@pytest.mark.parametrize("differing", ["replace", "use"])
def test_canisters_that_do_not_work_are_made_to_work_again(net: Network, differing: create.Differing) -> None:
    own, service, agent = create.ensure(net, SMALL)
    stopped, emptied = own.llm_ids[:2]
    management.stop(net.agent, stopped)
    uninstall(net, emptied)
    uninstall(net, service.controller_id)
    management.stop(net.agent, agent.controller_id)
    (frozen,) = service.llm_ids
    status = management.status(net.agent, frozen)
    seconds = (status.cycles + management.TRILLION // 10) * management.SECONDS_PER_DAY // status.cycles_per_day
    management.update_settings(net.agent, frozen, freezing_threshold=seconds)
    seen = conditions.of(net, [stopped, emptied, service.controller_id, agent.controller_id, frozen])
    assert [one.problem for one in seen.values()] == [
        "is stopped",
        "has no code",
        "has no code",
        "is stopped",
        "is out of cycles",
    ]
    with pytest.raises(PreconditionError, match=r"is stopped.*has no code.*is out of cycles"):
        create.ensure(net, SMALL, differing="refuse")
    again = create.ensure(net, SMALL, differing=differing)
    assert canisters(again) == canisters([own, service, agent])
    assert differences.find(net, again) == []
    healthy(net, again)


def uninstall(net: Network, canister_id: str) -> None:
    ic = Canister(
        net.agent, management.MANAGEMENT, "service : { uninstall_code : (record { canister_id : principal }) -> () }"
    )
    ic.uninstall_code({"canister_id": canister_id}, effective_canister_id=canister_id)


def test_an_llm_whose_model_was_lost_gets_it_again(net: Network) -> None:
    own, *_ = create.ensure(net, SMALL)
    management.install_code(net.agent, own.llm_ids[0], artifacts.llm_wasm().data(), "reinstall")
    assert not check.check(net, own).ok
    create.ensure(net, SMALL, differing="use")
    healthy(net, [own])


def test_a_game_state_that_forgot_the_mainers_gets_them_again(net: Network) -> None:
    before = create.ensure(net, SMALL)
    unused = create.create_mainer(net, "Own").controller_id
    everybody = {one.controller_id for one in before} | {unused}
    for register in (
        lambda: deploy.register(net),
        lambda: create.ensure(net, Plan(own=1, llms_per_own=1, services=0, agents=0)),  # uses one of them
    ):
        wasm = artifacts.canister_wasm(GAME_STATE).data()
        management.install_code(net.agent, net.canister_id(GAME_STATE), wasm, "reinstall")
        register()
        known = {one["address"] for one in net.canister(GAME_STATE).getMainerAgentCanistersForUser()}
        assert everybody <= known
    assert create.ensure(net, SMALL) == [
        replace(one, llms=now.llms) for one, now in zip(before, create.ensure(net, SMALL), strict=True)
    ]
    management.delete(net.agent, unused)
    create.forget(net, unused)


def test_a_creator_that_forgot_the_mainers_gets_them_again(net: Network) -> None:
    before = create.ensure(net, SMALL)
    registered = {one["address"] for one in net.canister(GAME_STATE).getMainerAgentCanistersForUser()}
    wasm = artifacts.canister_wasm(CREATOR).data()
    management.install_code(net.agent, net.canister_id(CREATOR), wasm, "reinstall")
    deploy.register(net)
    upload.upload_all(net, "tiny")
    assert create.mainers(net) == []
    with pytest.raises(PreconditionError, match=r"the creator does not know the mAIners .*reinstalled"):
        create.ensure(net, SMALL, differing="refuse")
    after = create.ensure(net, SMALL)
    assert {one.controller_id for one in create.mainers(net)} == registered
    assert {one.controller_id: set(one.llm_ids) for one in before} == {
        one.controller_id: set(one.llm_ids) for one in after
    }
    assert {model for one in after for model in model_of(net, one)} == {"tiny"}
    healthy(net, after)
