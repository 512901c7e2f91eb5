"""A fleet is copied onto a fresh network as it is; the original stays as it is."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ic.agent import Agent as IcPyAgent
from ic.candid import encode
from ic.client import Client as IcPyClient
from ic.identity import Identity

from mainer_nb import artifacts, check, create, fleet, management, operate
from mainer_nb.agent import Agent
from mainer_nb.create import Mainer
from mainer_nb.errors import (
    ArgumentError,
    ArtifactMissing,
    CanisterError,
    NetworkNotRunning,
    PreconditionError,
    TransportError,
)
from mainer_nb.fleet import Role, authority, rehearse, remove, saving, snapshots, upgrade
from mainer_nb.fleet.rehearse import Rehearsal
from mainer_nb.localnet import server
from mainer_nb.network import CREATOR, Network
from mainer_nb.operate import Challenge
from tests.code_variants import marked, trapping
from tests.fleet import answering


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "rehearsal"
    server.reset(tmp_path / "rehearsal" / "network")


def state(net: Network) -> dict[str, Any]:
    """What can be asked of a fleet, balances apart."""
    whole = fleet.of(net)
    ids = [member.canister_id for member in whole.mainers]
    seen = [saving.look(net, member) for member in whole.members]
    return {
        "members": whole,
        "canisters": [(each.running, each.settings, each.module_hash) for each in seen],
        "snapshots": [snapshots.kept(net.agent, canister_id) for canister_id in whole.canister_ids],
        "mainers": create.mainers(net),
        "queues": operate.queues(net, ids),
        "submitted": [operate.submitted(net, canister_id) for canister_id in ids],
        "failures": [operate.failures(net, canister_id) for canister_id in ids],
        "challenges": operate.challenges(net),
        "submissions": operate.submissions(net),
    }


def copied(net: Network, folder: Path, **how: Any) -> Rehearsal:
    return rehearse.rehearse(net, fleet.of(net), folder=folder, carry_out=True, **how)


def copy_of(net: Network, folder: Path, **how: Any) -> Network:
    copy = copied(net, folder, **how).copy
    assert copy is not None
    return copy


def test_a_rehearsal_has_all_that_the_original_has_and_leaves_it_as_it_is(
    uploaded: Network, own: Mainer, service: Mainer, agents: list[Mainer], challenge: Challenge, folder: Path
) -> None:
    operate.fund(uploaded, [own, *agents])
    operate.answer(uploaded, own.controller_id)
    operate.trigger(uploaded, agents[0].controller_id)
    before = state(uploaded)
    assert before["queues"][service.controller_id]
    assert before["submissions"]

    done = copied(uploaded, folder)
    assert state(uploaded) == before
    copy, saved = done.copy, done.saved
    assert copy is not None
    assert saved is not None
    assert copy.url != uploaded.url
    assert state(copy) == before
    for each in saved.canisters:
        there = management.status(copy.agent, each.member.canister_id)
        assert 0 <= each.cycles - there.cycles < 10**8 + there.cycles_per_day // 100
    assert [result.problems for result in check.check_all(copy)] == [{}, {}, {}, {}]

    answered = operate.work_off(copy, service.controller_id)
    assert answered == 1
    assert len(operate.submissions(copy)) == len(before["submissions"]) + 1
    assert state(uploaded) == before


def test_the_memory_of_the_original_is_not_touched(uploaded: Network, own: Mainer, folder: Path) -> None:
    member = fleet.of(uploaded).member(own.controller_id)
    first, second = folder / "first", folder / "second"
    for there in (first, second):
        saving.save(uploaded, [member], [own.controller_id], there)
    for file, _ in snapshots.PARTS.values():
        assert (first / own.controller_id / file).read_bytes() == (second / own.controller_id / file).read_bytes()


def test_what_it_would_do_is_said_first_and_nothing_is_done(uploaded: Network, own: Mainer, folder: Path) -> None:
    whole = fleet.of(uploaded)
    before = management.status(uploaded.agent, own.controller_id)
    plan = rehearse.rehearse(uploaded, whole, folder=folder).plan
    assert [each.member for each in plan.canisters] == list(whole.members)
    assert {each.how for each in plan.canisters} == {"copy"}
    assert not folder.exists()
    assert management.status(uploaded.agent, own.controller_id).status == before.status
    (row,) = (each for each in plan.canisters if each.member.canister_id == own.controller_id)
    done = copied(uploaded, folder)
    paid = before.cycles - management.status(uploaded.agent, own.controller_id).cycles
    assert row.cycles * 0.5 < paid < row.cycles * 1.1
    assert done.saved is not None
    assert 0 < done.saved.bytes <= plan.bytes


def test_timers_of_the_copy_run_when_asked_for_only(uploaded: Network, own: Mainer, folder: Path) -> None:
    def last(net: Network) -> Any:
        told = operate.failures(net, own.controller_id)
        return told[-1] if told else None

    operate.fund(uploaded, [own])
    with operate.timers(uploaded, own.controller_id, interval=1):
        _wait_for(lambda: last(uploaded) is not None)
        copy = copy_of(uploaded, folder)
        quiet, busy = last(copy), last(uploaded)
        _wait_for(lambda: last(uploaded) != busy)  # there they run on
        time.sleep(2)
        assert last(copy) == quiet
        operate.start_timers(copy, own.controller_id)
        _wait_for(lambda: last(copy) != quiet)

        copy = rehearse.load(uploaded, folder, timers=True)
        quiet = last(copy)
        _wait_for(lambda: last(copy) != quiet)


def test_an_answer_that_is_under_way_is_not_lost(
    uploaded: Network, service: Mainer, agents: list[Mainer], close: Callable[[], None], folder: Path
) -> None:
    agent = agents[0].controller_id
    operate.fund(uploaded, agents)
    few = {"max_tokens_update": 8, "max_tokens_query": 8}  # so that its answer takes many calls
    fleet.canister(uploaded, fleet.of(uploaded).member(service.llm_ids[0])).set_max_tokens(few)
    while operate.queue(uploaded, service.controller_id):  # of tests before, whose challenges are closed
        with suppress(CanisterError):
            operate.trigger(uploaded, service.controller_id)
    given_up = answering.dropped(uploaded, service.controller_id, agent)
    thread, known = answering.begun(uploaded, service.controller_id, agent)
    copied(uploaded, folder, llms="leave out")
    thread.join()
    if not operate.new_submissions(uploaded, known):
        with suppress(CanisterError):  # its queue is empty, the answer is delivered
            operate.trigger(uploaded, service.controller_id)
    assert len(operate.new_submissions(uploaded, known)) == 1
    assert answering.dropped(uploaded, service.controller_id, agent) == given_up
    close()


def test_a_download_that_was_interrupted_goes_on(
    uploaded: Network, own: Mainer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Any] = []
    broken_after = 6
    call = snapshots._call

    def counted(agent: Any, method: str, canister_id: Any, **fields: Any) -> Any:
        if method == "read_canister_snapshot_data":
            if len(read) >= broken_after:
                raise TransportError("the line is dead")
            read.append((canister_id, str(fields["kind"])))
        return call(agent, method, canister_id, **fields)

    monkeypatch.setattr(snapshots, "_call", counted)
    with pytest.raises(TransportError):
        copied(uploaded, folder)
    assert all(status == "running" for status in _statuses(uploaded))
    with pytest.raises(PreconditionError, match="not complete"):
        rehearse.load(uploaded, folder)
    with pytest.raises(PreconditionError, match="repeat the rehearsal first"):
        rehearse.discard(folder)
    broken_after = 10**6
    assert copied(uploaded, folder).saved is not None
    assert len(read) - len(set(read)) <= snapshots.AT_ONCE
    assert not any(snapshots.kept(uploaded.agent, canister_id) for canister_id in fleet.of(uploaded).canister_ids)


@pytest.mark.parametrize("before", ["_start", "_Notes.put"])
def test_what_a_killed_process_left_is_started_and_its_snapshots_are_deleted(
    uploaded: Network, mainers: list[Mainer], folder: Path, before: str
) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from mainer_nb import fleet, network\n"
        "from mainer_nb.fleet import rehearse, saving\n"
        f"saving.{before} = lambda *_: os._exit(9)\n"
        "net = network.connect(sys.argv[1])\n"
        "whole = fleet.of_ids(net, sys.argv[3:])\n"
        "rehearse.rehearse(net, whole, folder=Path(sys.argv[2]), carry_out=True)\n"
    )
    ids = [mainer.controller_id for mainer in mainers]
    older = snapshots.take(uploaded.agent, ids[0])
    killed = subprocess.run([sys.executable, "-c", script, uploaded.url, str(folder), *ids], check=False)
    assert killed.returncode == 9
    assert "stopped" in _statuses(uploaded)
    with pytest.raises(PreconditionError, match="interrupted saving of another network"):
        copied(replace(uploaded, root_key=b"another"), folder)
    assert "stopped" in _statuses(uploaded)
    assert copied(uploaded, folder).copy is not None
    assert set(_statuses(uploaded)) == {"running"}
    assert [kept for canister_id in ids for kept in snapshots.kept(uploaded.agent, canister_id)] == [older]
    snapshots.delete(uploaded.agent, ids[0], older.snapshot_id)


def test_a_canister_that_cannot_be_saved_leaves_all_running(
    uploaded: Network, own: Mainer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = fleet.of(uploaded)
    take = snapshots.take

    def some(agent: Any, canister_id: Any, replace: Any = None) -> Any:
        if canister_id == own.controller_id:
            raise TransportError("no more")
        return take(agent, canister_id, replace)

    monkeypatch.setattr(snapshots, "take", some)
    with pytest.raises(TransportError):
        copied(uploaded, folder)
    assert set(_statuses(uploaded)) == {"running"}
    assert not any(snapshots.kept(uploaded.agent, canister_id) for canister_id in whole.canister_ids)
    with pytest.raises(ArtifactMissing, match="no saved fleet"):
        rehearse.load(uploaded, folder)


def test_llms_are_left_out_or_made_of_the_model_file(uploaded: Network, own: Mainer, folder: Path) -> None:
    copy = copy_of(uploaded, folder, llms="leave out")
    for llm_id in own.llm_ids:
        there = saving.look(copy, fleet.of(copy).member(llm_id))
        assert there.module_hash is None
        assert there.settings == saving.look(uploaded, fleet.of(uploaded).member(llm_id)).settings
    found = check.check(copy, own)
    assert set(found.problems) == {"canisters", "ready", "checkAccessToLLMs"}

    made = copied(uploaded, folder, llms="model file")
    assert made.saved is not None
    assert made.copy is not None
    assert made.saved.bytes < 0.8 * rehearse.planned(uploaded, fleet.of(uploaded)).bytes
    assert [result.problems for result in check.check_all(made.copy)] == [{}, {}, {}, {}]
    for llm in (llm for mainer in create.mainers(made.copy) for llm in mainer.llms):
        assert management.module_hash(made.copy.agent, llm.canister_id) == llm.wasm_sha256


def test_an_upgrade_of_a_copy_does_not_touch_the_original(uploaded: Network, own: Mainer, folder: Path) -> None:
    before = state(uploaded)
    whole = fleet.of(uploaded)
    done = copied(uploaded, folder)
    assert done.copy is not None
    shipped = artifacts.canister_wasm("mainer_ctrlb_canister")
    other = folder / "other.wasm"
    other.write_bytes(marked(shipped.data(), "other"))
    codes: dict[Role, Path] = {"Own": other}
    report = rehearse.upgraded(done, codes)
    assert [(row.member.name, row.outcome) for row in report.rows] == [("Own 1", "upgraded")]
    assert state(uploaded) == before
    assert operate.submitted(done.copy, own.controller_id) == operate.submitted(uploaded, own.controller_id)
    assert [result.problems for result in rehearse.checked(done)] == [{}, {}, {}, {}]
    proven = rehearse.proven(uploaded, folder)
    assert proven == {(shipped.sha256, management.module_hash(done.copy.agent, own.controller_id))}
    planned = upgrade.plan(uploaded, whole, codes, rehearsed=proven)
    assert [row.rehearsed for row in planned.due] == [True]

    bad = folder / "trapping.wasm"
    bad.write_bytes(trapping("service : {}"))
    codes = {"ShareService": bad}
    report = rehearse.upgraded(done, codes)
    assert [(row.member.name, row.outcome) for row in report.rows] == [("ShareService 1", "returned")]
    assert rehearse.proven(uploaded, folder) == proven
    assert [row.rehearsed for row in upgrade.plan(uploaded, whole, codes, rehearsed=proven).due] == [False]
    assert state(uploaded) == before


def test_mainers_of_others_are_copied_by_way_of_the_creator(
    uploaded: Network, mainers: list[Mainer], folder: Path, as_stranger: Callable[[Network], Network]
) -> None:
    stranger = as_stranger(uploaded)
    order = {
        "canisterType": "MainerAgent",
        "selectedModel": {"Other": "tiny"},
        "associatedCanisterAddress": None,
        "owner": stranger.caller,
        "mainerAgentCanisterType": "Own",
        "key": "of another",
        "renewedCanisterAddress": None,
    }
    creator = uploaded.canister(CREATOR)
    theirs = creator.orderCanister(order)["newCanisterId"]
    try:
        create.add_llm(uploaded, theirs)
        of_theirs = [theirs, *create.mainer(uploaded, theirs).llm_ids]
        for canister_id in of_theirs:
            controllers = [
                each for each in management.controllers(uploaded.agent, canister_id) if each != uploaded.caller
            ]
            authority.update_settings(uploaded, canister_id, controllers=[*controllers, stranger.caller])
        whole = fleet.of(uploaded)
        done = rehearse.rehearse(uploaded, whole, folder=folder, carry_out=True)
        assert done.copy is not None
        for canister_id in of_theirs:
            settled, original = (management.controllers(net.agent, canister_id) for net in (done.copy, uploaded))
            assert settled == original
            assert uploaded.caller not in settled
            assert authority.status(uploaded, canister_id).status == "running"
            assert authority.kept_snapshots(uploaded, canister_id) == []
            there, here = (authority.status(net, canister_id) for net in (done.copy, uploaded))
            assert there.module_hash == here.module_hash
        copy_as_theirs = replace(done.copy, agent=Agent(stranger.agent.identity, done.copy.url, done.copy.root_key))
        found = check.check(copy_as_theirs, create.mainer(done.copy, theirs))
        assert found.problems == {}
    finally:
        remove.remove(uploaded, fleet.of(uploaded), theirs, carry_out=True)


def test_other_clients_take_the_copy_for_an_internet_computer(uploaded: Network, own: Mainer, folder: Path) -> None:
    copy = copy_of(uploaded, folder, llms="leave out")
    identity = Identity(anonymous=True)
    agent = IcPyAgent(identity, IcPyClient(url=copy.url), root_key=copy.root_key)
    query = agent.query_raw(own.controller_id, "health", encode([]))
    assert query[0]["value"] == {"_17724": {"_3475804314": 200}}  # hashes of Ok and status_code
    update = agent.update_raw(own.controller_id, "triggerChallengeResponseAdmin", encode([]))
    assert update[0]["value"] == {"_3456837": {"_2471582292": None}}  # of Err and Unauthorized


def test_what_cannot_be_copied_is_named_and_nothing_is_done(
    uploaded: Network, own: Mainer, folder: Path, as_stranger: Callable[[Network], Network]
) -> None:
    whole = fleet.of(uploaded)
    with pytest.raises(ArgumentError, match="no canisters"):
        rehearse.rehearse(uploaded, fleet.Fleet(()))
    with pytest.raises(ArgumentError, match="choose one of copy, model file, leave out"):
        rehearse.rehearse(uploaded, whole, llms="some")  # type: ignore[arg-type]
    stranger = as_stranger(uploaded)
    with pytest.raises(PreconditionError, match=r"Own 1: .* is no controller of canister .*Nothing was done"):
        rehearse.rehearse(stranger, whole, folder=folder, carry_out=True)
    only = whole.only([own.controller_id, own.llm_ids[0]])
    with pytest.raises(PreconditionError, match='Own 1, LLM 1: only its creator could: llms="copy"'):
        rehearse.rehearse(uploaded, only, folder=folder, llms="model file", carry_out=True)
    assert set(_statuses(uploaded)) == {"running"}
    assert not folder.exists()
    assert not rehearse.discard(folder)


def test_canisters_without_their_protocol_are_rehearsed_and_discarded(
    uploaded: Network, own: Mainer, folder: Path
) -> None:
    whole = fleet.of_ids(uploaded, own.canister_ids)
    done = rehearse.rehearse(uploaded, whole, folder=folder, carry_out=True)
    copy = done.copy
    assert copy is not None
    assert [result.problems for result in rehearse.checked(done)] == [{}]
    assert rehearse.upgraded(done).rows == ()
    assert rehearse.discard(folder)
    assert not folder.exists()
    with pytest.raises(NetworkNotRunning):
        management.status(copy.agent, own.controller_id)


def _statuses(net: Network) -> list[str]:
    return [management.status(net.agent, canister_id).status for canister_id in fleet.of(net).canister_ids]


def _wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.1)
