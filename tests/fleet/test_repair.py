"""Every kind of damage is made on real canisters, found, mended, and not found again; a sound fleet has no findings."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mainer_nb import artifacts, create, deploy, fleet, management, operate, tables, upload
from mainer_nb.canister import Canister
from mainer_nb.create import Mainer, Plan
from mainer_nb.fleet import Fleet, remove, repair, snapshots, upgrade
from mainer_nb.fleet.repair import Finding
from mainer_nb.network import CREATOR, GAME_STATE, Network
from tests import code_variants

PLAN = Plan(own=1, llms_per_own=2, services=1, llms_per_service=1, agents=1)


@pytest.fixture(scope="module")
def net(own_network: Callable[..., Network]) -> Network:
    """A network of its own with a small fleet, which is damaged and mended."""
    return own_network(PLAN)


@pytest.fixture
def own(net: Network) -> Mainer:
    return create.mainers(net)[0]


def found(net: Network, whole: Fleet) -> list[Finding]:
    """All findings, whatever their age."""
    return repair.find(net, whole, judging=-1, snapshots_kept=-1)


def unregister_llm(net: Network, own: Mainer) -> str:
    operate.mainer_canister(net, own.controller_id).remove_llm_canister({"canister_id": own.llm_ids[0]})
    return own.llm_ids[0]


def stop_llm(net: Network, own: Mainer) -> str:
    management.stop(net.agent, own.llm_ids[0])
    return own.llm_ids[0]


def empty_llm(net: Network, own: Mainer) -> str:
    text = "service : { uninstall_code : (record { canister_id : principal }) -> () }"
    ic = Canister(net.agent, management.MANAGEMENT, text)
    ic.uninstall_code({"canister_id": own.llm_ids[0]}, effective_canister_id=own.llm_ids[0])
    return own.llm_ids[0]


def delete_llm(net: Network, own: Mainer) -> str:
    management.delete(net.agent, own.llm_ids[0])
    return own.llm_ids[0]


def leave_deleted_llm(net: Network, own: Mainer) -> str:
    gone = management.create_canister(net.agent, 10**12)
    management.delete(net.agent, gone)
    operate.mainer_canister(net, own.controller_id).add_llm_canister({"canister_id": gone})
    return gone


def stop_game_state(net: Network, own: Mainer) -> str:
    management.stop(net.agent, net.canister_id(GAME_STATE))
    return net.canister_id(GAME_STATE)


def stop_creator(net: Network, own: Mainer) -> str:
    management.stop(net.agent, net.canister_id(CREATOR))
    return net.canister_id(CREATOR)


def stop_mainer(net: Network, own: Mainer) -> str:
    management.stop(net.agent, own.controller_id)
    return own.controller_id


def delete_mainer(net: Network, own: Mainer) -> str:
    made = create.create_mainer(net, "Own").controller_id
    management.delete(net.agent, made)
    return made


def unregister_mainer(net: Network, own: Mainer) -> str:
    net.canister(GAME_STATE).removeMainerAgentCanister({"address": own.controller_id})
    return own.owner


def take_submission(net: Network, own: Mainer) -> str:
    operate.make_room(net, challenges=1, submissions=1)
    operate.open_challenge(net, "arithmetic", "What is one and one?")
    operate.answer(net, own.controller_id)
    taken = net.canister(GAME_STATE).getNextSubmissionToJudge()
    return f"{taken['challengeId']} {taken['submissionId']}"


def take_snapshot(net: Network, own: Mainer) -> str:
    return snapshots.take(net.agent, own.controller_id).snapshot_id


def leave_cache(net: Network, own: Mainer) -> str:
    llm = net.canister_at(own.llm_ids[0], "llama_cpp")
    path = f".canister_cache/{own.controller_id}/sessions/queued-1.cache"
    llm.file_upload_chunk({"filename": path, "chunk": b"over", "chunksize": 4, "offset": 0})
    users = f".canister_cache/{net.caller}/sessions/chat"  # is left alone
    llm.file_upload_chunk({"filename": users, "chunk": b"mine", "chunksize": 4, "offset": 0})
    return path


def take_controller(net: Network, own: Mainer) -> str:
    management.update_settings(net.agent, own.llm_ids[0], controllers=[net.caller, own.controller_id])
    return net.canister_id(CREATOR)


def leave_llm(net: Network, own: Mainer) -> str:
    gone = create.create_mainer(net, "Own").controller_id
    llm_id = create.add_llm(net, gone)
    management.delete(net.agent, gone)
    assert llm_id in create.forget(net, gone)
    return llm_id


def interrupt_upgrade(net: Network, own: Mainer) -> str:
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        path = Path(folder) / f"{upload.CONTROLLER}.wasm"
        path.write_bytes(code_variants.marked(artifacts.canister_wasm(upload.CONTROLLER).data(), "newer"))
        planned = upgrade.plan(net, fleet.of(net).only([own.controller_id]), {"Own": path})

        def killed(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        patch.setattr(management, "install_code", killed)
        with pytest.raises(KeyboardInterrupt):
            upgrade.run(net, planned, carry_out=True)
    return own.controller_id


DAMAGES: dict[str, tuple[Callable[[Network, Mainer], str], repair.Fault]] = {
    "unregistered LLM": (unregister_llm, "LLM not registered"),
    "stopped LLM": (stop_llm, "LLM that cannot work"),
    "empty LLM": (empty_llm, "LLM that cannot work"),
    "deleted LLM": (delete_llm, "LLM that cannot work"),
    "LLM deleted long ago": (leave_deleted_llm, "LLM that cannot work"),
    "stopped Game State": (stop_game_state, "protocol canister that is stopped"),
    "stopped creator": (stop_creator, "protocol canister that is stopped"),
    "stopped mAIner": (stop_mainer, "mAIner that cannot work"),
    "deleted mAIner": (delete_mainer, "mAIner that cannot work"),
    "unregistered mAIner": (unregister_mainer, "mAIner unknown to the Game State"),
    "submission": (take_submission, "submission stuck at a Judge"),
    "snapshot": (take_snapshot, "snapshot left behind"),
    "prompt cache": (leave_cache, "prompt cache of nobody"),
    "controller": (take_controller, "controller missing"),
    "upgrade": (interrupt_upgrade, "interrupted upgrade"),
    "leftover LLM": (leave_llm, "canister of nobody"),
}


def test_a_sound_fleet_has_no_findings(net: Network, own: Mainer) -> None:
    operate.make_room(net, challenges=1, submissions=1)
    operate.open_challenge(net, "arithmetic", "What is two and two?")
    operate.answer(net, own.controller_id)
    assert found(net, fleet.of(net)) == []
    assert repr(tables.findings([])) == "nothing is wrong"


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_found_mended_and_not_found_again(net: Network, own: Mainer, damage: str) -> None:
    create.ensure(net, PLAN)
    own = create.mainer(net, own.controller_id)
    make, fault = DAMAGES[damage]
    subject = make(net, own)
    whole = fleet.of(net)
    (finding,) = found(net, whole)
    assert (finding.fault, finding.subject) == (fault, subject)

    (planned,) = repair.mend(net, whole, [finding])
    assert not planned.done
    assert found(net, whole) == [finding]
    (mended,) = repair.mend(net, whole, [finding], carry_out=True)
    assert (mended.done, mended.problem) == (True, "")
    assert found(net, fleet.of(net)) == []
    assert [row["mended"] for row in tables.findings([finding, mended]).rows] == ["not yet", "yes"]


def test_an_llm_that_was_mended_answers(
    net: Network, own: Mainer, keep_it_short: Callable[[Network, str], None]
) -> None:
    create.ensure(net, PLAN)
    own = create.mainer(net, own.controller_id)
    for llm_id in own.llm_ids:
        management.stop(net.agent, llm_id)
    operate.make_room(net, challenges=1, submissions=2)
    operate.open_challenge(net, "arithmetic", "What is three and three?")
    known = operate.submission_ids(net)
    whole = fleet.of(net)
    findings = found(net, whole)
    assert [finding.subject for finding in findings] == list(own.llm_ids)
    repair.mend(net, whole, findings, carry_out=True)
    for llm_id in own.llm_ids:
        keep_it_short(net, llm_id)
    operate.answer(net, own.controller_id)
    assert len(operate.new_submissions(net, known)) == 1


def test_what_cannot_be_mended_does_not_keep_the_rest_from_it(net: Network, own: Mainer) -> None:
    create.ensure(net, PLAN)
    own = create.mainer(net, own.controller_id)
    take_snapshot(net, own)
    (finding,) = found(net, fleet.of(net))
    wrong = Finding(finding.fault, finding.canister_id, finding.name, "00" * 20, finding.what, finding.remedy)
    failed, mended = repair.mend(net, fleet.of(net), [wrong, finding], carry_out=True)
    assert (failed.done, mended.done) == (False, True)
    assert failed.problem


def test_a_stranger_finds_nothing_where_he_may_not_look(
    net: Network, own: Mainer, as_stranger: Callable[[Network], Network]
) -> None:
    take_snapshot(net, own)
    whole = fleet.of(net)
    assert found(as_stranger(net), whole) == []
    repair.mend(net, whole, found(net, whole), carry_out=True)
    assert found(net, whole) == []


def test_what_the_creator_is_making_is_not_of_nobody(net: Network) -> None:
    create.ensure(net, PLAN)
    with ThreadPoolExecutor(1) as pool:
        making = pool.submit(create.create_mainer, net, "Own")
        faults: set[str] = set()
        while not making.done():
            faults |= {finding.fault for finding in found(net, fleet.of(net))}
        made = making.result().controller_id
    assert "canister of nobody" not in faults
    remove.remove(net, fleet.of(net), made, carry_out=True)


def test_mainers_that_the_creator_forgot_are_made_known_to_it(net: Network) -> None:
    create.ensure(net, PLAN)
    before = {mainer.controller_id: mainer.llm_ids for mainer in create.mainers(net)}
    wasm = artifacts.canister_wasm(CREATOR).data()
    management.install_code(net.agent, net.canister_id(CREATOR), wasm, "reinstall")
    deploy.register(net)
    upload.upload_all(net, "tiny")
    some = fleet.of_ids(net, list(before)[:1])
    assert not {finding.canister_id for finding in found(net, some) if finding.fault == "canister of nobody"} & {
        *before, *sum(before.values(), ())
    }  # fmt: skip
    whole = fleet.of(net)
    findings = [finding for finding in found(net, whole) if finding.fault == "mAIner unknown to the creator"]
    assert {finding.canister_id for finding in findings} == set(before)
    assert all(mended.done for mended in repair.mend(net, whole, findings, carry_out=True))
    assert {mainer.controller_id: mainer.llm_ids for mainer in create.mainers(net)} == before
    (template,) = found(net, fleet.of(net))  # of the creator as it was, which alone controls it
    assert template.fault == "canister of nobody"
    (left,) = repair.mend(net, whole, [template], carry_out=True)
    assert not left.done
    assert "did not make it" in left.problem
