"""The canisters here without the methods beyond the known interface: counterparts as existing tools bring them along.

They are the shipped modules with each further method renamed, also in the interface that the module tells, so that the
network rejects its call.
"""

from __future__ import annotations

from tests.code_variants import without

BEYOND = {
    "mainer_ctrlb_canister": (
        "addChallengeFailureToShareAgent",
        "getChallengesOfShareAgent",
        "getLlmCanisters",
        "getMaintenanceFlagAdmin",
        "getPromptFormat",
        "getPromptTemplateAdmin",
        "getRecentFailuresAdmin",
        "getWorkStatusAdmin",
        "removeMainerShareAgentCanister",
        "remove_llm_canister",
        "resetChallengeQueueAdmin",
        "setMaintenanceFlagAdmin",
        "setPromptFormat",
        "setPromptTemplateAdmin",
        "setTimerIntervalAdmin",
        "withdrawCyclesAdmin",
    ),
    "game_state_canister": (
        "getClosedChallengesAdmin",
        "getGameStateLimitsAdmin",
        "getJudgingSubmissionsAdmin",
        "giveBackSubmission",
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
        wasm = without(wasm, method)
    return wasm
