"""Operate a fleet: the protocol's canisters, the mAIners and their LLMs, watched and changed as one.

    from mainer_nb import fleet, network

    net = network.connect()
    whole = fleet.of(net)                              # what creator and Game State know
    some = fleet.of_ids(net, ["rrkah-fqaaa-aaaaa-aaaaq-cai"])
    whole.of_role("ShareService")[0].name              # "ShareService 1"

The modules are verbs that take a network and a fleet, and return records. What deletes or spends does so only when a
parameter says so; without it the record says what would be done.

    who                     members      who belongs, and what each canister offers
                            authority    what the caller may do to a canister, itself or through the creator
    watch                   watch        one reading for each canister, and what of it is out of bounds
                            samples      readings on disk, and the burn that is measured by them
                            metrics      readings as Prometheus text
                            logs         what canisters log
                            work         what mAIners are doing
    upgrade                 upgrade      a whole fleet: plan, run, resume
                            switch       one canister, from old code to new and back
                            journal      what was done to each, on disk
                            snapshots    of a canister, kept by the network or as files
                            exchange     another model for LLMs, without other code
    rehearse                rehearse     a fleet on a network of its own
                            saving       its canisters on disk
    look after              funds        cycles: who runs short, filling up, taking back
                            pause        the protocol paused and resumed; maintenance
                            remove       LLMs, mAIners and what was left over
                            repair       what is wrong, and what mends it
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
