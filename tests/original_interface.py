"""The canisters here without the methods beyond the known interface: counterparts as existing tools bring them along.

They are the shipped modules with each further method renamed, also in the interface that the module tells, so that the
network rejects its call.
"""

from __future__ import annotations

import re

BEYOND = {
    "mainer_ctrlb_canister": (
        "addChallengeFailureToShareAgent",
        "getChallengesOfShareAgent",
        "getLlmCanisters",
        "getMaintenanceFlagAdmin",
        "getPromptFormat",
        "getRecentFailuresAdmin",
        "getWorkStatusAdmin",
        "removeMainerShareAgentCanister",
        "remove_llm_canister",
        "resetChallengeQueueAdmin",
        "setMaintenanceFlagAdmin",
        "setPromptFormat",
        "setTimerIntervalAdmin",
        "withdrawCyclesAdmin",
    ),
    "game_state_canister": (
        "getClosedChallengesAdmin",
        "getGameStateLimitsAdmin",
        "getJudgingSubmissionsAdmin",
        "removeMainerAgentCanister",
        "reportChallengeGivenUp",
        "resetJudgingSubmissionAdmin",
        "setGameStateLimitsAdmin",
    ),
    "llama_cpp": ("filesystem_remove", "measure_prompt", "measure_token_cost", "recursive_dir_content_query"),
}


def original(wasm: bytes, name: str) -> bytes:
    """The module without the methods beyond the known interface."""
    for method in BEYOND[name]:
        exports = [export for mode in ("update", "query") if (export := f"canister_{mode} {method}".encode()) in wasm]
        assert exports, method
        for export in exports:
            wasm = wasm.replace(export, export[:-1] + b"_")
        wasm = re.sub(rf"(?<=  {method[:-1]}){method[-1]}(?= ?:)".encode(), b"_", wasm)
    return wasm
