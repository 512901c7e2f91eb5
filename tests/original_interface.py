"""The canisters here without the methods beyond the known interface: counterparts as existing tools bring them along.

They are the shipped modules with each further method renamed, so that the network rejects its call.
"""

from __future__ import annotations

BEYOND = {
    "mainer_ctrlb_canister": (
        "addChallengeFailureToShareAgent",
        "getChallengesOfShareAgent",
        "getLlmCanisters",
        "getPromptFormat",
        "getRecentFailuresAdmin",
        "removeMainerShareAgentCanister",
        "remove_llm_canister",
        "setPromptFormat",
        "setTimerIntervalAdmin",
    ),
    "game_state_canister": (
        "getClosedChallengesAdmin",
        "getGameStateLimitsAdmin",
        "removeMainerAgentCanister",
        "reportChallengeGivenUp",
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
    return wasm
