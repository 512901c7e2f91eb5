"""All canisters of the project on a network, as they are: the protocol's, the mAIners, their LLMs.

    overview.canisters(net)[0].problem      # "", or "is stopped", "not deployed", …

`problem` is empty where nothing is known to be wrong.
"""

from __future__ import annotations

from dataclasses import dataclass

from . import conditions, population
from .network import CREATOR, GAME_STATE, Network

NOT_DEPLOYED = "not deployed"


@dataclass(frozen=True)
class Standing:
    """A canister as it is.

    Attributes:
        name: its role, or the mAIner's name, or whose LLM it is.
        canister_id: "" if it is not deployed.
        uses: a ShareAgent's ShareService, an LLM's model.
        problem: why it cannot work, in words; "" if nothing is known against it.
        cycles: its balance; None if the caller is not told, since only controllers are.
    """

    name: str
    canister_id: str
    uses: str
    problem: str
    cycles: int | None


def llm_name(mainer: population.Mainer, number: int) -> str:
    """What to call an LLM of a mAIner, by its number from 1 on."""
    return f"{mainer.name}, LLM {number}"


def canisters(net: Network) -> list[Standing]:
    """Game State and creator, then each mAIner with its LLMs.

    Raises:
        TransportError: the network does not answer.
    """
    roles = {role: net.ids.get(role) for role in (GAME_STATE, CREATOR)}
    found = conditions.of(net, [canister_id for canister_id in roles.values() if canister_id])
    creator = found.get(roles[CREATOR] or "")
    mainers = population.mainers(net) if creator and not creator.problem else []
    found |= conditions.of(net, [canister_id for mainer in mainers for canister_id in mainer.canister_ids])
    names = {mainer.controller_id: mainer.name for mainer in mainers}

    def standing(name: str, canister_id: str, uses: str = "") -> Standing:
        if not canister_id:
            return Standing(name, "", "", NOT_DEPLOYED, None)
        return Standing(name, canister_id, uses, found[canister_id].problem, found[canister_id].cycles)

    rows = [standing(role, canister_id or "") for role, canister_id in roles.items()]
    for mainer in mainers:
        service = mainer.share_service_id or ""
        rows.append(standing(mainer.name, mainer.controller_id, names.get(service, service)))
        models = {llm.canister_id: llm.model for llm in mainer.llms}
        for number, llm_id in enumerate(mainer.llm_ids, 1):
            rows.append(standing(llm_name(mainer, number), llm_id, models.get(llm_id, "")))
    return rows
