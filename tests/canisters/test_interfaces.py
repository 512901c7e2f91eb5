"""The interfaces that existing tools, wallets and canisters expect: every method with the very types."""

from __future__ import annotations

import pytest

from mainer_nb import artifacts, places
from mainer_nb.protocol import candid, did

COMMON = """
type ApiError = variant { Unauthorized; InvalidId; ZeroAddress; FailedOperation; Other : text; StatusCode : nat16;
                          InsuffientCycles : nat };
type StatusCodeRecordResult = variant { Ok : record { status_code : nat16 }; Err : ApiError };
type AuthRecordResult = variant { Ok : record { auth : text }; Err : ApiError };
type NatResult = variant { Ok : nat; Err : ApiError };
type CanisterIDRecord = record { canister_id : text };
type CanisterIDRecordResult = variant { Ok : CanisterIDRecord; Err : ApiError };
type ProtocolCanisterType = variant { Challenger; Judge; Verifier; MainerCreator; MainerAgent; MainerLlm };
type MainerAgentCanisterType = variant { NA; Own; ShareAgent; ShareService };
type MainerAgentCanisterTypeResult = variant { Ok : MainerAgentCanisterType; Err : ApiError };
type AvailableModels = variant { Qwen2_5_500M; Gemma3_270M; Other : text };
type MainerAgentCanisterInput = record { address : text; canisterType : ProtocolCanisterType; ownedBy : principal;
                                         mainerAgentCanisterType : MainerAgentCanisterType };
type OfficialProtocolCanister = record { address : text; canisterType : ProtocolCanisterType;
                                         creationTimestamp : nat64; createdBy : principal; ownedBy : principal };
type MainerAgentCanisterResult = variant { Ok : OfficialProtocolCanister; Err : ApiError };
type PromptFormat = record { prefix : text; suffix : text; stop : vec text };
type Status = variant { Open; Closed; Archived; Other : text };
type ChallengeTopic = record { challengeTopic : text; challengeTopicId : text;
                               challengeTopicCreationTimestamp : nat64; challengeTopicStatus : Status };
type NewChallengeInput = record { challengeTopic : text; challengeTopicId : text;
    challengeTopicCreationTimestamp : nat64; challengeTopicStatus : Status;
    challengeQuestion : text; challengeQuestionSeed : nat32 };
type Challenge = record { challengeTopic : text; challengeTopicId : text;
    challengeTopicCreationTimestamp : nat64; challengeTopicStatus : Status;
    challengeQuestion : text; challengeQuestionSeed : nat32;
    challengeId : text; challengeCreationTimestamp : nat64; challengeCreatedBy : text; challengeStatus : Status;
    challengeClosedTimestamp : opt nat64; submissionCyclesRequired : nat };
type ChallengeQueueInput = record { challengeTopic : text; challengeTopicId : text;
    challengeTopicCreationTimestamp : nat64; challengeTopicStatus : Status;
    challengeQuestion : text; challengeQuestionSeed : nat32;
    challengeId : text; challengeCreationTimestamp : nat64; challengeCreatedBy : text; challengeStatus : Status;
    challengeClosedTimestamp : opt nat64; submissionCyclesRequired : nat;
    challengeQueuedId : text; challengeQueuedBy : principal; challengeQueuedTo : principal;
    challengeQueuedTimestamp : nat64 };
type ChallengeResponseSubmissionInput = record { challengeTopic : text; challengeTopicId : text;
    challengeTopicCreationTimestamp : nat64; challengeTopicStatus : Status;
    challengeQuestion : text; challengeQuestionSeed : nat32;
    challengeId : text; challengeCreationTimestamp : nat64; challengeCreatedBy : text; challengeStatus : Status;
    challengeClosedTimestamp : opt nat64; submissionCyclesRequired : nat;
    challengeQueuedId : text; challengeQueuedBy : principal; challengeQueuedTo : principal;
    challengeQueuedTimestamp : nat64;
    challengeAnswer : text; challengeAnswerSeed : nat32; submittedBy : principal };
type SubmissionStatus = variant { FailedSubmission; Received; Submitted; Judging; Judged; Processed; Other : text };
type SubmissionMetadata = record { submissionId : text; submittedTimestamp : nat64;
                                   submissionStatus : SubmissionStatus };
type ChallengeResponseSubmission = record { challengeTopic : text; challengeTopicId : text;
    challengeTopicCreationTimestamp : nat64; challengeTopicStatus : Status;
    challengeQuestion : text; challengeQuestionSeed : nat32;
    challengeId : text; challengeCreationTimestamp : nat64; challengeCreatedBy : text; challengeStatus : Status;
    challengeClosedTimestamp : opt nat64; submissionCyclesRequired : nat;
    challengeQueuedId : text; challengeQueuedBy : principal; challengeQueuedTo : principal;
    challengeQueuedTimestamp : nat64;
    challengeAnswer : text; challengeAnswerSeed : nat32; submittedBy : principal;
    submissionId : text; submittedTimestamp : nat64; submissionStatus : SubmissionStatus };
type ScoredResponseInput = record { challengeTopic : text; challengeTopicId : text;
    challengeTopicCreationTimestamp : nat64; challengeTopicStatus : Status;
    challengeQuestion : text; challengeQuestionSeed : nat32;
    challengeId : text; challengeCreationTimestamp : nat64; challengeCreatedBy : text; challengeStatus : Status;
    challengeClosedTimestamp : opt nat64; submissionCyclesRequired : nat;
    challengeQueuedId : text; challengeQueuedBy : principal; challengeQueuedTo : principal;
    challengeQueuedTimestamp : nat64;
    challengeAnswer : text; challengeAnswerSeed : nat32; submittedBy : principal;
    submissionId : text; submittedTimestamp : nat64; submissionStatus : SubmissionStatus;
    judgedBy : principal; score : nat; scoreSeed : nat32 };
type ChallengeResult = variant { Ok : Challenge; Err : ApiError };
type ChallengesResult = variant { Ok : vec Challenge; Err : ApiError };
type SubmissionResult = variant { Ok : ChallengeResponseSubmission; Err : ApiError };
type SubmissionsResult = variant { Ok : vec ChallengeResponseSubmission; Err : ApiError };
type ScoredResponse = record { challengeTopic : text; challengeTopicId : text;
    challengeTopicCreationTimestamp : nat64; challengeTopicStatus : Status;
    challengeQuestion : text; challengeQuestionSeed : nat32;
    challengeId : text; challengeCreationTimestamp : nat64; challengeCreatedBy : text; challengeStatus : Status;
    challengeClosedTimestamp : opt nat64; submissionCyclesRequired : nat;
    challengeQueuedId : text; challengeQueuedBy : principal; challengeQueuedTo : principal;
    challengeQueuedTimestamp : nat64;
    challengeAnswer : text; challengeAnswerSeed : nat32; submittedBy : principal;
    submissionId : text; submittedTimestamp : nat64; submissionStatus : SubmissionStatus;
    judgedBy : principal; score : nat; scoreSeed : nat32; judgedTimestamp : nat64 };
type CyclesBurnRate = record { cycles : nat; timeInterval : variant { Daily } };
"""

CREATOR = """
type FileUploadResult = variant { Ok : record { creationResult : text }; Err : ApiError };
type CanisterCreationResult = variant { Ok : record { creationResult : text; newCanisterId : text }; Err : ApiError };
type UploadTarget = variant { MainerControllerWasm; LlmWasm : AvailableModels; LlmModel : AvailableModels };
type UploadStatus = record { target : UploadTarget; size : nat64; sha256 : blob; chunkSize : nat64;
    chunksTotal : nat64; chunksReceived : nat64; missing : vec nat64; hashedBytes : nat64; finished : bool };
type UploadStatusResult = variant { Ok : UploadStatus; Err : ApiError };
type Snapshot = record { id : blob; taken_at_timestamp : nat64; total_size : nat64 };
type RemovedCanister = record { address : text; cyclesReturned : nat; cyclesDestroyed : nat };
type RemovedResult = variant {
    Ok : record { removed : vec RemovedCanister; cyclesReturned : nat; notes : vec text }; Err : ApiError };
service : {
  whoami : () -> (principal) query;
  health : () -> (StatusCodeRecordResult) query;
  amiController : () -> (AuthRecordResult) query;
  setMasterCanisterId : (text) -> (AuthRecordResult);
  start_upload_mainer_controller_canister_wasm : () -> (StatusCodeRecordResult);
  upload_mainer_controller_canister_wasm_bytes_chunk : (vec nat8) -> (FileUploadResult);
  start_upload_mainer_llm_canister_wasm : (AvailableModels) -> (StatusCodeRecordResult);
  upload_mainer_llm_canister_wasm_bytes_chunk : (AvailableModels, vec nat8) -> (FileUploadResult);
  start_upload_mainer_llm : () -> (StatusCodeRecordResult);
  upload_mainer_llm_bytes_chunk : (blob) -> (FileUploadResult);
  finish_upload_mainer_llm : (AvailableModels) -> (FileUploadResult);
  addModelCreationArtefactsEntry : (AvailableModels, record { canisterWasm : vec nat8; modelFile : vec blob }) ->
      (variant { Ok : record { canisterWasm : vec nat8; modelFile : vec blob }; Err : ApiError });
  createCanister : (record { canisterType : ProtocolCanisterType; selectedModel : AvailableModels;
                             associatedCanisterAddress : opt text; owner : principal;
                             mainerAgentCanisterType : MainerAgentCanisterType }) -> (CanisterCreationResult);
  testCreateMainerControllerCanister : (MainerAgentCanisterType, opt text) -> (CanisterCreationResult);
  testCreateMainerLlmCanister : (text) -> (CanisterCreationResult);
  uploadBegin : (record { target : UploadTarget; size : nat64; sha256 : blob }) -> (UploadStatusResult);
  uploadChunk : (record { target : UploadTarget; sha256 : blob; offset : nat64; chunk : blob }) -> (UploadStatusResult);
  uploadFinish : (record { target : UploadTarget; sha256 : blob }) -> (UploadStatusResult);
  uploadStatus : (UploadTarget) -> (UploadStatusResult) query;
  getArtefacts : () -> (vec record { target : UploadTarget; size : nat64; sha256 : blob; createdAt : nat64;
    template : opt record { canisterId : text; size : nat; cyclesPerDay : nat; createdAt : nat64;
                            current : bool } }) query;
  getTemplates : () -> (bool) query;
  setTemplates : (bool) -> (StatusCodeRecordResult);
  setModelPromptFormat : (AvailableModels, PromptFormat) -> (StatusCodeRecordResult);
  getModelPromptFormat : (AvailableModels) -> (variant { Ok : PromptFormat; Err : ApiError }) query;
  startCanisterAdmin : (record { address : text }) -> (StatusCodeRecordResult);
  stopCanisterAdmin : (record { address : text }) -> (StatusCodeRecordResult);
  takeSnapshotAdmin : (record { address : text; replace : opt blob }) -> (variant { Ok : Snapshot; Err : ApiError });
  listSnapshotsAdmin : (record { address : text }) -> (variant { Ok : vec Snapshot; Err : ApiError });
  loadSnapshotAdmin : (record { address : text; snapshotId : blob }) -> (StatusCodeRecordResult);
  deleteSnapshotAdmin : (record { address : text; snapshotId : blob }) -> (StatusCodeRecordResult);
  copyModelToLlmAdmin : (record { address : text; selectedModel : AvailableModels }) -> (StatusCodeRecordResult);
  exchangeModelAdmin : (record { address : text; selectedModel : AvailableModels }) -> (CanisterCreationResult);
  upgradeCanisterAdmin : (record { address : text; sha256 : blob }) -> (CanisterCreationResult);
  reinstallLlmAdmin : (record { address : text; model : opt AvailableModels }) -> (CanisterCreationResult);
  removeLlmAdmin : (record { address : text; cyclesTo : variant { Creator; Mainer } }) -> (RemovedResult);
  removeMainerAdmin : (record { address : text; evenWithAgents : bool }) -> (RemovedResult);
}
"""

MAINER = """
service : {
  whoami : () -> (principal) query;
  health : () -> (StatusCodeRecordResult) query;
  ready : () -> (StatusCodeRecordResult);
  amiController : () -> (StatusCodeRecordResult) query;
  checkAccessToLLMs : () -> (StatusCodeRecordResult);
  setMainerCanisterType : (MainerAgentCanisterType) -> (StatusCodeRecordResult);
  getMainerCanisterType : () -> (MainerAgentCanisterTypeResult) query;
  setGameStateCanisterId : (text) -> (StatusCodeRecordResult);
  getGameStateCanisterId : () -> (text) query;
  setShareServiceCanisterId : (text) -> (StatusCodeRecordResult);
  getShareServiceCanisterId : () -> (text) query;
  addMainerShareAgentCanister : (MainerAgentCanisterInput) -> (MainerAgentCanisterResult);
  addMainerShareAgentCanisterAdmin : (MainerAgentCanisterInput) -> (MainerAgentCanisterResult);
  add_llm_canister : (CanisterIDRecord) -> (StatusCodeRecordResult);
  reset_llm_canisters : () -> (StatusCodeRecordResult);
  setRoundRobinLLMs : (nat) -> (StatusCodeRecordResult);
  getRoundRobinCanister : () -> (CanisterIDRecordResult) query;
  updateAgentSettings : (record { cyclesBurnRate : CyclesBurnRate }) -> (StatusCodeRecordResult);
  getMainerStatisticsAdmin : () -> (variant {
      Ok : record { totalCyclesBurnt : nat; cycleBalance : nat; cyclesBurnRate : CyclesBurnRate };
      Err : ApiError }) query;
  getIssueFlagsAdmin : () -> (variant { Ok : record { lowCycleBalance : bool }; Err : ApiError }) query;
  getChallengeQueueAdmin : () -> (variant { Ok : vec ChallengeQueueInput; Err : ApiError }) query;
  getSubmittedResponsesAdmin : () -> (SubmissionsResult) query;
  getRecentSubmittedResponsesAdmin : () -> (SubmissionsResult) query;
  addChallengeToShareServiceQueue : (ChallengeQueueInput) -> (variant { Ok : ChallengeQueueInput; Err : ApiError });
  addChallengeResponseToShareAgent : (ChallengeResponseSubmissionInput) -> (StatusCodeRecordResult);
  startTimerExecutionAdmin : () -> (AuthRecordResult);
  stopTimerExecutionAdmin : () -> (AuthRecordResult);
  triggerChallengeResponseAdmin : () -> (AuthRecordResult);
  setPromptFormat : (PromptFormat) -> (StatusCodeRecordResult);
  getLlmCanisters : () -> (vec text) query;
  setMaintenanceFlagAdmin : (bool) -> (StatusCodeRecordResult);
  getMaintenanceFlagAdmin : () -> (variant { Ok : record { flag : bool }; Err : ApiError }) query;
  resetChallengeQueueAdmin : () -> (StatusCodeRecordResult);
  withdrawCyclesAdmin : (record { to : text; amount : opt nat }) ->
      (variant { Ok : record { cycles : nat }; Err : ApiError });
}
"""

GAME_STATE = """
type MainerAgentCanistersResult = variant { Ok : vec OfficialProtocolCanister; Err : ApiError };
type ChallengeTopicResult = variant { Ok : ChallengeTopic; Err : ApiError };
type Reward = record { rewardType : variant { ICP; Coupon : text; MainerToken; Cycles; Other : text }; amount : nat;
    rewardDetails : text; distributed : bool; distributedTimestamp : opt nat64 };
type Participant = record { submissionId : text; submittedBy : principal; ownedBy : principal;
    result : variant { Winner; SecondPlace; ThirdPlace; Participated; Other : text }; reward : Reward };
type Participants = opt record { Participant; Participants };
type Declaration = record { challengeId : text; finalizedTimestamp : nat64; winner : Participant;
    secondPlace : Participant; thirdPlace : Participant; participants : Participants };
type Scores = opt record { ScoredResponse; Scores };
type Thresholds = record { thresholdArchiveClosedChallenges : nat; thresholdMaxOpenChallenges : nat;
    thresholdMaxOpenSubmissions : nat; thresholdScoredResponsesPerChallenge : nat };
service : {
  health : () -> (StatusCodeRecordResult) query;
  whoami : () -> (principal) query;
  amiController : () -> (AuthRecordResult) query;
  addOfficialCanister : (record { address : text; canisterType : ProtocolCanisterType }) -> (StatusCodeRecordResult);
  addMainerAgentCanister : (MainerAgentCanisterInput) -> (MainerAgentCanisterResult);
  addMainerAgentCanisterAdmin : (MainerAgentCanisterInput) -> (MainerAgentCanisterResult);
  getMainerAgentCanistersForUser : () -> (MainerAgentCanistersResult) query;
  getMainerAgentCanisterInfo : (record { address : text }) -> (MainerAgentCanisterResult) query;
  setInitialChallengeTopics : () -> (StatusCodeRecordResult);
  addChallengeTopic : (record { challengeTopic : text }) -> (ChallengeTopicResult);
  getRandomOpenChallengeTopic : () -> (ChallengeTopicResult);
  addChallenge : (NewChallengeInput) -> (ChallengeResult);
  getCurrentChallenges : () -> (ChallengesResult) query;
  getCurrentChallengesAdmin : () -> (ChallengesResult) query;
  getNumCurrentChallengesAdmin : () -> (NatResult) query;
  getRandomOpenChallenge : () -> (ChallengeResult);
  submitChallengeResponse : (ChallengeResponseSubmissionInput) ->
      (variant { Ok : SubmissionMetadata; Err : ApiError });
  getSubmissionsAdmin : () -> (SubmissionsResult) query;
  getNumSubmissionsAdmin : () -> (NatResult) query;
  getOpenSubmissionsAdmin : () -> (SubmissionsResult) query;
  getNumOpenSubmissionsAdmin : () -> (NatResult) query;
  getNextSubmissionToJudge : () -> (SubmissionResult);
  addScoredResponse : (ScoredResponseInput) -> (variant { Ok : record { success : bool }; Err : ApiError });
  getNumScoredChallengesAdmin : () -> (NatResult) query;
  getScoredChallengesAdmin : () -> (variant { Ok : vec record { text; Scores }; Err : ApiError }) query;
  getRecentChallengeWinners : () -> (variant { Ok : vec Declaration; Err : ApiError }) query;
  getRecentProtocolActivity : () -> (variant {
      Ok : record { winners : vec Declaration; challenges : vec Challenge }; Err : ApiError }) query;
  getScoreForSubmission : (record { challengeId : text; submissionId : text }) ->
      (variant { Ok : ScoredResponse; Err : ApiError }) query;
  getProtocolTotalCyclesBurnt : () -> (NatResult) query;
  setGameStateThresholdsAdmin : (Thresholds) -> (StatusCodeRecordResult);
  getGameStateThresholdsAdmin : () -> (variant { Ok : Thresholds; Err : ApiError }) query;
  resetJudgingSubmissionAdmin : (record { challengeId : text; submissionId : text }) -> (SubmissionResult);
}
"""

ASKS_LLMS = """
  setGameStateCanisterId : (text) -> (StatusCodeRecordResult);
  getGameStateCanisterId : () -> (text) query;
  add_llm_canister : (CanisterIDRecord) -> (StatusCodeRecordResult);
  reset_llm_canisters : () -> (StatusCodeRecordResult);
  setRoundRobinLLMs : (nat) -> (StatusCodeRecordResult);
  getRoundRobinCanister : () -> (CanisterIDRecordResult) query;
  ready : () -> (StatusCodeRecordResult);
  checkAccessToLLMs : () -> (StatusCodeRecordResult);
  health : () -> (StatusCodeRecordResult) query;
  whoami : () -> (principal) query;
  amiController : () -> (StatusCodeRecordResult) query;
  startTimerExecutionAdmin : () -> (AuthRecordResult);
  stopTimerExecutionAdmin : () -> (AuthRecordResult);
"""

CHALLENGER = f"""
type GeneratedChallenge = record {{ generationId : text; generationSeed : nat32; generatedTimestamp : nat64;
    generatedByLlmId : text; generationPrompt : text; generatedChallengeText : text }};
service : {{
  {ASKS_LLMS}
  generateNewChallenge : () -> (variant {{ Ok : GeneratedChallenge; Err : ApiError }});
  getChallengesAdmin : () -> (variant {{ Ok : vec GeneratedChallenge; Err : ApiError }}) query;
  getChallengesListAdmin : () -> (variant {{ Ok : vec GeneratedChallenge; Err : ApiError }}) query;
}}
"""

JUDGE = f"""
service : {{
  {ASKS_LLMS}
  triggerScoreSubmissionAdmin : () -> (AuthRecordResult);
}}
"""

CONTRACTS = {
    "mainer_creator_canister": CREATOR,
    "mainer_ctrlb_canister": MAINER,
    "game_state_canister": GAME_STATE,
    "challenger_canister": CHALLENGER,
    "judge_canister": JUDGE,
}


def methods(name: str) -> dict[str, did.Method]:
    return did.parse((places.files() / f"{name}.did").read_text(), name).methods


def in_order(type_: candid.Type, within: tuple[str, ...] = ()) -> object:
    """The type with fields in the order of their names; `within`: the names of recursive types that it is in."""
    if isinstance(type_, candid.Rec):
        return "itself" if type_.name in within else in_order(type_.resolve(), (*within, type_.name))
    if isinstance(type_, candid.Record | candid.Variant):
        return type(type_).__name__, sorted((str(field.label), in_order(field.type, within)) for field in type_.fields)
    if isinstance(type_, candid.Opt | candid.Vec):
        return type(type_).__name__, in_order(type_.of, within)
    return str(type_)


def signature(method: did.Method) -> object:
    return [in_order(type_) for type_ in method.args], [in_order(type_) for type_ in method.results], method.mode


@pytest.mark.parametrize("name", CONTRACTS)
def test_every_method_of_the_contract_is_there_with_its_types(name: str) -> None:
    offered = methods(name)
    expected = did.parse(COMMON + CONTRACTS[name], "the contract").methods
    assert not set(expected) - set(offered)
    for method in expected.values():
        assert signature(offered[method.name]) == signature(method), method.name


@pytest.mark.parametrize("name", CONTRACTS)
def test_the_wasm_tells_its_interface_publicly(name: str) -> None:
    assert b"icp:public candid:service" in artifacts.canister_wasm(name).data()
