"""LLMs, mAIners and what is left over are removed, and their cycles come back, to the cycle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from mainer_nb import artifacts, create, fleet, management, operate, tables, upload
from mainer_nb.canister import Canister
from mainer_nb.create import Mainer, Plan
from mainer_nb.errors import ArgumentError, CanisterError, PreconditionError
from mainer_nb.fleet import Fleet, remove
from mainer_nb.management import TRILLION
from mainer_nb.network import CREATOR, GAME_STATE, Network
from tests.original_interface import original

BILLION = 10**9


@pytest.fixture(scope="module")
def net(own_network: Callable[..., Network]) -> Network:
    """A network of its own, whose mAIners are removed one by one."""
    return own_network()


@pytest.fixture
def made(net: Network, keep_it_short: Callable[[Network, str], None]) -> Iterator[Callable[..., list[Mainer]]]:
    """Makes a population anew; what is left of it is removed."""

    def make(**plan: int) -> list[Mainer]:
        nothing = {"own": 0, "services": 0, "agents": 0, "llms_per_own": 1, "llms_per_service": 1}
        mainers = create.ensure(net, Plan(**{**nothing, **plan}))
        for llm_id in [llm_id for mainer in mainers for llm_id in mainer.llm_ids]:
            keep_it_short(net, llm_id)
        return mainers

    yield make
    whole = fleet.of(net)
    for mainer in sorted(whole.mainers, key=lambda mainer: mainer.role == "ShareService"):
        remove.remove(net, whole, mainer.canister_id, with_agents=True, carry_out=True)


METRICS = """service : { canister_metrics : (record { canister_id : principal }) -> (record { cycles_consumed : record {
  memory : nat; compute_allocation : nat; ingress_induction : nat; instructions : nat;
  request_and_response_transmission : nat; uninstall : nat; canister_creation : nat; http_outcalls : nat;
  burned_cycles : nat } }) query }"""


def owned(net: Network, canister_id: str) -> int:
    """What a canister has and has spent: the same as long as nobody gives it cycles or gets some of it."""
    ic = Canister(net.agent, management.MANAGEMENT, METRICS)
    while True:
        spent = ic.canister_metrics({"canister_id": canister_id}, effective_canister_id=canister_id)
        balance = free_status(net, canister_id)
        again = ic.canister_metrics({"canister_id": canister_id}, effective_canister_id=canister_id)
        if spent == again:
            return balance + sum(map(int, spent["cycles_consumed"].values()))


def free_status(net: Network, canister_id: str) -> int:
    """The balance, asked so that it costs nothing."""
    text = "service : { canister_status : (record { canister_id : principal }) -> (record { cycles : nat }) query }"
    ic = Canister(net.agent, management.MANAGEMENT, text)
    return int(ic.canister_status({"canister_id": canister_id}, effective_canister_id=canister_id)["cycles"])


def test_a_plan_changes_nothing(net: Network, made: Callable[..., list[Mainer]]) -> None:
    (own,) = made(own=1, llms_per_own=2)
    whole = fleet.of(net)
    before = create.mainers(net)
    plan = remove.remove(net, whole, own.name)
    assert [row.member.canister_id for row in plan.rows] == [*own.llm_ids, own.controller_id]
    assert {row.state for row in plan.rows} == {"to remove"}
    assert {row.balance - row.returns for row in plan.rows if row.balance} == {remove.LOST}
    assert {row.to for row in plan.rows} == {net.canister_id(CREATOR)}
    assert create.mainers(net) == before
    assert "to remove" in repr(tables.removal(plan))


def test_a_removed_mainer_returns_its_cycles_and_is_forgotten(net: Network, made: Callable[..., list[Mainer]]) -> None:
    (own,) = made(own=1, llms_per_own=2)
    creator, game_state = net.canister_id(CREATOR), net.canister_id(GAME_STATE)
    whole = fleet.of(net)
    plan = remove.remove(net, whole, own.name)
    others = {canister_id: owned(net, canister_id) for canister_id in (creator, game_state)}

    done = remove.remove(net, whole, own.name, carry_out=True)
    assert [row.state for row in done.rows] == ["removed"] * 3
    assert owned(net, game_state) == others[game_state]
    assert owned(net, creator) == others[creator] + done.returns
    for planned, row in zip(plan.rows, done.rows, strict=True):
        assert abs(planned.returns - row.returns) < BILLION
        assert not management.exists(net.agent, row.member.canister_id)
    assert create.mainers(net) == []
    assert net.canister(GAME_STATE).getMainerAgentCanistersForUser() == []
    assert [row["state"] for row in tables.removal(done).rows] == ["removed"] * 3


def test_an_llm_that_generates_is_removed_and_no_challenge_is_lost(
    net: Network, made: Callable[..., list[Mainer]]
) -> None:
    (own,) = made(own=1, llms_per_own=2)
    whole = fleet.of(net)
    operate.make_room(net, challenges=1, submissions=2)
    operate.open_challenge(net, "geography", "What is the capital of France?")
    known = operate.submission_ids(net)
    for llm_id in own.llm_ids:  # so few tokens a call that it takes a while
        net.canister_at(llm_id, "llama_cpp").set_max_tokens({"max_tokens_update": 8, "max_tokens_query": 1})
    with ThreadPoolExecutor() as pool:
        answering = pool.submit(operate.trigger, net, own.controller_id)
        mainer = operate.mainer_canister(net, own.controller_id)
        while (answer := mainer.getWorkStatusAdmin()["answering"]) is None:
            assert not answering.done()
        done = remove.remove(net, whole, answer["canister_id"], carry_out=True)
        said = answering.result()
    assert "Submitted" in said
    assert len(operate.new_submissions(net, known)) == 1
    assert operate.failures(net, own.controller_id) == []
    (left,) = create.mainer(net, own.controller_id).llm_ids
    assert done.rows[0].member.canister_id in {*own.llm_ids} - {left}
    operate.trigger(net, own.controller_id)
    assert len(operate.new_submissions(net, known)) == 2


def test_cycles_go_where_they_are_wanted(net: Network, made: Callable[..., list[Mainer]]) -> None:
    (own,) = made(own=1, llms_per_own=2)
    whole = fleet.of(net)
    before = owned(net, own.controller_id)
    first, second = own.llm_ids
    done = remove.remove(net, whole, first, to=own.name, carry_out=True)
    assert owned(net, own.controller_id) == before + done.returns
    assert done.returns > 4 * TRILLION
    (row,) = remove.remove(net, fleet.of(net), second).rows
    assert row.notes == ("its mAIner has no other LLM, and answers nothing without one",)


def test_a_share_service_goes_only_when_told_and_its_agents_are_told(
    net: Network, made: Callable[..., list[Mainer]]
) -> None:
    service, agent, _ = made(services=1, agents=2)
    operate.make_room(net, challenges=1, submissions=2)
    operate.open_challenge(net, "geography", "What is the capital of Spain?")
    operate.trigger(net, agent.controller_id)
    known = operate.submission_ids(net)
    whole = fleet.of(net)
    with pytest.raises(PreconditionError, match=r"ShareService 1 answers for ShareAgent 1, ShareAgent 2.*with_agents"):
        remove.remove(net, whole, service.name, carry_out=True)
    plan = remove.remove(net, whole, service.name, with_agents=True)
    assert [member.name for member in plan.agents] == ["ShareAgent 1", "ShareAgent 2"]

    remove.remove(net, whole, service.name, with_agents=True, carry_out=True)
    assert [found.submitted_by for found in operate.new_submissions(net, known)] == [agent.controller_id]
    assert {mainer.kind for mainer in create.mainers(net)} == {"ShareAgent"}
    with pytest.raises(CanisterError, match="The ShareService is not known"):
        operate.trigger(net, agent.controller_id)


def test_who_cannot_be_told_is_named(net: Network, made: Callable[..., list[Mainer]]) -> None:
    service, agent = made(services=1, agents=1)
    management.stop(net.agent, agent.controller_id)
    done = remove.remove(net, fleet.of(net), service.name, with_agents=True, carry_out=True)
    assert done.rows[-1].state == "removed"
    assert done.rows[-1].notes[0].startswith("ShareAgent 1 could not be told")


@pytest.mark.parametrize("damage", ["stopped", "empty", "frozen"])
def test_what_cannot_work_is_removed_too(net: Network, made: Callable[..., list[Mainer]], damage: str) -> None:
    (own,) = made(own=1)
    for canister_id in own.canister_ids:
        if damage == "stopped":
            management.stop(net.agent, canister_id)
        elif damage == "empty":
            uninstall(net, canister_id)
        else:
            management.update_settings(net.agent, canister_id, freezing_threshold=10**15)
    plan = remove.remove(net, fleet.of(net), own.name)
    assert [bool(row.notes) for row in plan.rows] == [True, True]
    done = remove.remove(net, fleet.of(net), own.name, carry_out=True)
    assert all(abs(planned.returns - row.returns) < BILLION for planned, row in zip(plan.rows, done.rows, strict=True))
    assert create.mainers(net) == []


def uninstall(net: Network, canister_id: str) -> None:
    ic = Canister(
        net.agent, management.MANAGEMENT, "service : { uninstall_code : (record { canister_id : principal }) -> () }"
    )
    ic.uninstall_code({"canister_id": canister_id}, effective_canister_id=canister_id)


def test_one_without_cycles_is_removed_too(net: Network) -> None:
    poor = management.create_canister(net.agent, 1)
    (row,) = remove.remove(net, fleet.of_ids(net, [poor]), poor, carry_out=True).rows
    assert (row.state, row.returns) == ("removed", 0)
    assert not management.exists(net.agent, poor)


def test_a_removal_is_repeated_without_harm(net: Network, made: Callable[..., list[Mainer]]) -> None:
    (own,) = made(own=1, llms_per_own=2)
    whole = fleet.of(net)
    remove.remove(net, whole, own.llm_ids[0], carry_out=True)
    management.delete(net.agent, own.llm_ids[1])  # as if a removal had been killed before it was forgotten
    done = remove.remove(net, whole, own.name, carry_out=True)
    assert [row.state for row in done.rows] == ["was gone", "was gone", "removed"]
    again = remove.remove(net, whole, own.name, carry_out=True)
    assert [row.state for row in again.rows] == ["was gone"] * 3
    assert create.mainers(net) == []


def test_what_the_creator_did_not_make_is_removed_by_its_controller(
    net: Network, made: Callable[..., list[Mainer]]
) -> None:
    (own,) = made(own=1)
    (llm,) = own.llm_ids
    management.delete(net.agent, own.controller_id)
    create.forget(net, own.controller_id)  # its LLM belongs to nobody now
    old = management.create_canister(net.agent, 2 * TRILLION)
    wasm = original(artifacts.canister_wasm(upload.CONTROLLER).data(), upload.CONTROLLER)
    management.install_code(net.agent, old, wasm, "install")
    operate.mainer_canister(net, old).setMainerCanisterType("Own")
    before = owned(net, net.canister_id(CREATOR))
    returned = 0
    for canister_id in (llm, old):
        some = fleet.of_ids(net, [canister_id])
        returned += remove.remove(net, some, canister_id, carry_out=True).returns
        assert not management.exists(net.agent, canister_id)
    assert returned > 6 * TRILLION
    assert owned(net, net.canister_id(CREATOR)) == before + returned


def test_the_creator_removes_what_it_made_for_others(
    net: Network, made: Callable[..., list[Mainer]], as_stranger: Callable[[Network], Network]
) -> None:
    stranger = as_stranger(net)
    creator = net.canister(CREATOR)
    order = {"owner": stranger.caller, "selectedModel": creator.getLatestModel(), "renewedCanisterAddress": None}
    kind = {"canisterType": "MainerAgent", "mainerAgentCanisterType": "Own", "associatedCanisterAddress": None}
    mainer_id = creator.orderCanister({**order, **kind, "key": "theirs"})["newCanisterId"]
    for number in (1, 2):
        kind = {"canisterType": "MainerLlm", "mainerAgentCanisterType": "NA", "associatedCanisterAddress": mainer_id}
        creator.orderCanister({**order, **kind, "key": f"their LLM {number}"}, timeout=600)
    ours = create.add_llm(net, mainer_id)  # the caller controls it, and not its mAIner
    remove.remove(net, fleet.of(net), ours, carry_out=True)
    assert not management.exists(net.agent, ours)
    theirs = create.mainer(net, mainer_id)
    assert ours not in theirs.llm_ids
    before = owned(net, creator.canister_id)

    with pytest.raises(PreconditionError, match=r"cycles go to .*Nothing was changed"):
        remove.remove(net, fleet.of(net), theirs.llm_ids[0], to="Game State", carry_out=True)
    llm = remove.remove(net, fleet.of(net), theirs.llm_ids[0], carry_out=True)
    assert create.mainer(net, mainer_id).llm_ids == theirs.llm_ids[1:]
    plan = remove.remove(net, fleet.of(net), mainer_id)
    done = remove.remove(net, fleet.of(net), mainer_id, carry_out=True)
    assert [row.state for row in done.rows] == ["removed", "removed"]
    assert all(abs(now.returns - then.returns) < BILLION for now, then in zip(done.rows, plan.rows, strict=True))
    assert owned(net, creator.canister_id) == before + llm.returns + done.returns
    assert create.mainers(net) == []
    (own,) = made(own=1)
    with pytest.raises(PreconditionError, match=f"{stranger.caller} is no controller"):
        remove.remove(stranger, fleet.of(net), own.name, carry_out=True)


def test_an_llm_leaves_an_original_mainer(net: Network, made: Callable[..., list[Mainer]]) -> None:
    (own,) = made(own=1, llms_per_own=2)
    wasm = original(artifacts.canister_wasm(upload.CONTROLLER).data(), upload.CONTROLLER)
    management.install_code(net.agent, own.controller_id, wasm, "upgrade")
    first, second = own.llm_ids
    remove.remove(net, fleet.of(net), first, carry_out=True)
    assert operate.mainer_canister(net, own.controller_id).getRoundRobinCanister() == {"canister_id": second}
    assert create.mainer(net, own.controller_id).llm_ids == (second,)


def test_what_must_not_be_removed_is_refused(net: Network, made: Callable[..., list[Mainer]]) -> None:
    (own,) = made(own=1)
    whole: Fleet = fleet.of(net)
    with pytest.raises(ArgumentError, match="Game State belongs to the protocol"):
        remove.remove(net, whole, "Game State", carry_out=True)
    with pytest.raises(ArgumentError, match="no canister 'Own 7' in this fleet"):
        remove.remove(net, whole, "Own 7", carry_out=True)
    with pytest.raises(ArgumentError, match="to be removed itself"):
        remove.remove(net, whole, own.name, to=own.llm_ids[0], carry_out=True)
    with pytest.raises(PreconditionError, match="so it can get no cycles"):
        remove.remove(net, whole, own.name, to="2vxsx-fae", carry_out=True)
    assert management.exists(net.agent, own.controller_id)
