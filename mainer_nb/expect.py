"""What must hold after each step, said out loud when it does not: the notebooks' expectations.

    expect.deployed(deploy.deploy(net))
    expect.refused(lambda: create.add_llm(net, agent.controller_id), because="ShareAgent")

Each function returns a sentence that says what was found, or raises ExpectationFailed, which names what is wrong.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from .artifacts import Item
from .check import Check
from .costs import Costs
from .create import Mainer, Plan
from .deploy import Deployed
from .errors import CallError, ExpectationFailed
from .network import CREATOR, GAME_STATE, Network
from .operate import Challenge, Queued, Submission
from .upload import Artefact, Uploaded


def that(condition: object, message: str) -> None:
    """Raises ExpectationFailed with `message` unless the condition holds."""
    if not condition:
        raise ExpectationFailed(message)


def whole(items: Sequence[Item]) -> str:
    """Every file of the project is there and is what the manifest says."""
    wrong = [one.problem for one in items if one.problem]
    that(not wrong, "; ".join(wrong))
    return f"All {len(items)} files are whole."


def deployed(canisters: Sequence[Deployed]) -> str:
    """Both canisters answer and are healthy."""
    roles = {one.role for one in canisters}
    that(roles == {GAME_STATE, CREATOR}, f"expected {GAME_STATE} and {CREATOR}, found {', '.join(roles) or 'none'}")
    for one in canisters:
        that(one.health == 200, f"{one.role} ({one.canister_id}) answers health with {one.health} instead of 200")
        that(one.module_hash, f"{one.role} ({one.canister_id}) has no code")
    return "Both canisters are installed and healthy."


def registered(net: Network) -> str:
    """The creator's master is the Game State."""
    game_state, master = net.canister_id(GAME_STATE), net.canister(CREATOR).getMasterCanisterId()
    that(
        master == game_state, f"the creator's master canister is {master or 'not set'}, not the Game State {game_state}"
    )
    return f"The creator's master is the Game State {game_state}, which knows it as an official creator."


def uploaded(files: Sequence[Uploaded], artefacts: Sequence[Artefact]) -> str:
    """The creator lists every uploaded file with the sha256 of the file here."""
    there = {one.sha256 for one in artefacts}
    missing = [one.file for one in files if one.sha256 not in there]
    that(not missing, f"the creator does not list {', '.join(missing)} with the sha256 of the file here")
    return f"The creator has {len(files)} files with the sha256 they have here."


def population(mainers: Sequence[Mainer], plan: Plan) -> str:
    """The mAIners are those of the plan, with their LLMs, each ShareAgent with a ShareService that exists."""
    wanted = {
        "Own": (plan.own, plan.llms_per_own),
        "ShareService": (plan.services, plan.llms_per_service),
        "ShareAgent": (plan.agents, 0),
    }
    for kind, (count, llms) in wanted.items():
        found = [one for one in mainers if one.kind == kind]
        that(len(found) == count, f"expected {count} mAIners of type {kind}, found {len(found)}")
        for one in found:
            that(len(one.llm_ids) >= llms, f"{one.name} has {len(one.llm_ids)} LLMs, not {llms}")
    services = {one.controller_id for one in mainers if one.kind == "ShareService"}
    for one in mainers:
        that(
            one.kind != "ShareAgent" or one.share_service_id in services,
            f"{one.name} uses {one.share_service_id or 'nothing'}, which is no ShareService",
        )
    llms = sum(len(one.llm_ids) for one in mainers)
    return f"{_count(len(mainers), 'mAIner')} with {_count(llms, 'LLM')}, as planned."


def refused(action: Callable[[], object], because: str) -> str:
    """The action is refused by a canister, and the reason speaks of `because`; the reason."""
    try:
        action()
    except CallError as error:
        that(because.lower() in str(error).lower(), f"refused, but not because of '{because}': {error}")
        return f"Refused, as it should be: {error}"
    raise ExpectationFailed(f"this should have been refused because of '{because}', but it was carried out")


def healthy(checks: Sequence[Check]) -> str:
    """Every helper endpoint of every mAIner answered as it should."""
    wrong = [
        f"{one.mainer.name} ({one.mainer.controller_id}) {endpoint}: {text}"
        for one in checks
        for endpoint, text in one.problems.items()
    ]
    that(not wrong, "; ".join(wrong))
    return f"All endpoints of {_count(len(checks), 'mAIner')} answer as they should."


def opened(challenges: Sequence[Challenge], number: int) -> str:
    """So many challenges were opened and are open."""
    closed = [one.challenge_id for one in challenges if one.status != "Open"]
    that(len(challenges) == number, f"expected {number} new challenges, found {len(challenges)}")
    that(not closed, f"these challenges are not open: {', '.join(closed)}")
    return f"{_count(number, 'new challenge')} open."


def queued(queues: Mapping[str, Sequence[Queued]], service: Mainer, agents: Sequence[Mainer]) -> str:
    """Each ShareAgent waits for an answer, and its ShareService has the challenge of each."""
    held = {(one.challenge_id, one.queued_by) for one in queues[service.controller_id]}
    for agent in agents:
        that(queues[agent.controller_id], f"the queue of {agent.name} is empty after it was triggered")
        for one in queues[agent.controller_id]:
            that(
                (one.challenge_id, agent.controller_id) in held,
                f"challenge {one.challenge_id} waits in {agent.name}, but not in {service.name}, which it uses",
            )
    return f"{_count(len(held), 'challenge')} of {_count(len(agents), 'ShareAgent')} in the queue of {service.name}."


def emptied(queues: Mapping[str, Sequence[Queued]], of: Sequence[Mainer]) -> str:
    """In these mAIners no challenge waits any more."""
    full = [f"{len(queues[one.controller_id])} in {one.name}" for one in of if queues[one.controller_id]]
    that(not full, f"challenges still wait: {', '.join(full)}")
    return f"No challenge waits in {', '.join(one.name for one in of)} any more."


def answered(new: Sequence[Submission], by: Sequence[Mainer]) -> str:
    """Each of these mAIners submitted an answer in words."""
    for mainer in by:
        answers = [one for one in new if one.submitted_by == mainer.controller_id]
        that(answers, f"the Game State has no new submission by {mainer.name}")
        that(all(one.answer.strip() for one in answers), f"an answer by {mainer.name} is empty")
    return f"{_count(len(by), 'mAIner')} submitted {_count(len(new), 'answer')}."


def kept(submitted: Mapping[str, Sequence[Submission]], at_game_state: Sequence[Submission]) -> str:
    """What mAIners keep as submitted is what the Game State got from them, word for word."""
    there = {one.submission_id: one for one in at_game_state}
    for address, answers in submitted.items():
        for one in answers:
            found = there.get(one.submission_id)
            if found is None:
                continue  # of a challenge that the Game State has archived
            that(
                (found.answer, found.submitted_by) == (one.answer, address),
                f"submission {one.submission_id} of {address} reads {one.answer!r}, at the Game State {found.answer!r}",
            )
    number = sum(map(len, submitted.values()))
    mainers = _count(len(submitted), "mAIner")
    return f"What {mainers} submitted, {_count(number, 'submission')}, reads as in the Game State."


def counted(costs: Costs) -> str:
    """Everything that was done took something, and an LLM canister takes more than a controller."""
    for one in costs.entries:
        that(one.cycles > 0, f"{one.unit} took {one.cycles} cycles, which cannot be")
        that(one.instructions is None or one.instructions > 0, f"{one.unit} took {one.instructions} instructions")
    controller, llm = costs.of("mAIner controller").cycles, costs.of("LLM canister").cycles
    that(llm > controller, f"an LLM canister took {llm:,.0f} cycles, no more than a controller ({controller:,.0f})")
    return f"{_count(len(costs.entries), 'cost')} counted with {costs.model}."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
