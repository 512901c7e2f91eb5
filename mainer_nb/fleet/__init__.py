"""Operate a fleet: the protocol's canisters, the mAIners and their LLMs, watched and changed as one.

    from mainer_nb import fleet, network

    net = network.connect()
    whole = fleet.of(net)                              # what creator and Game State know
    some = fleet.of_ids(net, ["rrkah-fqaaa-aaaaa-aaaaq-cai"])
    whole.of_role("ShareService")[0].name              # "ShareService 1"

`members` says who belongs; the other modules are verbs that take a network and a fleet, and return records.
"""

from .members import (
    MAINER_ROLES,
    Fleet,
    Member,
    Role,
    canister,
    chosen,
    of,
    of_creator,
    of_game_state,
    of_ids,
    offers,
)

__all__ = [
    "MAINER_ROLES",
    "Fleet",
    "Member",
    "Role",
    "canister",
    "chosen",
    "of",
    "of_creator",
    "of_game_state",
    "of_ids",
    "offers",
]
