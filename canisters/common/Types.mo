/// The Candid types that the canisters of the protocol share.
///
/// Names, fields and variants are a contract with existing tools and canisters: fields may be added, none may change.

import List "mo:core/pure/List";

module {
  public type Result<T> = { #Ok : T; #Err : ApiError };

  /// What a run of a recurring action came to.
  public type Outcome = { #done : Text; #nothing : Text; #failed : ApiError };

  // General

  public type StatusCode = Nat16;
  public type StatusCodeRecord = { status_code : StatusCode };
  public type AuthRecord = { auth : Text };
  public type CanisterAddress = Text;
  public type CanisterIDRecord = { canister_id : Text };

  public type ApiError = {
    #Unauthorized;
    #InvalidId;
    #ZeroAddress;
    #FailedOperation;
    #Other : Text;
    #StatusCode : StatusCode;
    #InsuffientCycles : Nat; // cycles needed
  };

  public type StatusCodeRecordResult = { #Ok : StatusCodeRecord; #Err : ApiError };
  public let ok : StatusCodeRecordResult = #Ok({ status_code = 200 });
  public type AuthRecordResult = { #Ok : AuthRecord; #Err : ApiError };
  public type TextResult = { #Ok : Text; #Err : ApiError };
  public type NatResult = { #Ok : Nat; #Err : ApiError };
  public type CanisterIDRecordResult = { #Ok : CanisterIDRecord; #Err : ApiError };

  // Canisters of the protocol

  public type ProtocolCanisterType = { #Challenger; #Judge; #Verifier; #MainerCreator; #MainerAgent; #MainerLlm };
  public type MainerAgentCanisterType = { #NA; #Own; #ShareAgent; #ShareService };
  public type MainerAgentCanisterTypeResult = { #Ok : MainerAgentCanisterType; #Err : ApiError };
  public type AvailableModels = { #Qwen2_5_500M; #Gemma3_270M; #Other : Text };

  public type CanisterInput = { address : CanisterAddress; canisterType : ProtocolCanisterType };
  public type CanisterRetrieveInput = { address : CanisterAddress };

  public type MainerAgentCanisterInput = {
    address : CanisterAddress;
    canisterType : ProtocolCanisterType;
    ownedBy : Principal;
    mainerAgentCanisterType : MainerAgentCanisterType;
  };

  public type OfficialProtocolCanister = {
    address : CanisterAddress;
    canisterType : ProtocolCanisterType;
    creationTimestamp : Nat64;
    createdBy : Principal;
    ownedBy : Principal;
  };

  public type MainerAgentCanisterResult = { #Ok : OfficialProtocolCanister; #Err : ApiError };
  public type MainerAgentCanistersResult = { #Ok : [OfficialProtocolCanister]; #Err : ApiError };

  /// How a question is put to a model: prompt = prefix # text # suffix. Each string of `stop` ends the answer;
  /// with none, the model's own end-of-generation tokens do.
  public type PromptFormat = { prefix : Text; suffix : Text; stop : [Text] };
  public type PromptFormatResult = { #Ok : PromptFormat; #Err : ApiError };

  /// For a base model, which knows no chat template.
  public let plainPromptFormat : PromptFormat = { prefix = "Question: "; suffix = "\nAnswer:"; stop = ["\n"] };

  // Challenges

  public type ChallengeTopicStatus = { #Open; #Closed; #Archived; #Other : Text };
  public type ChallengeStatus = { #Open; #Closed; #Archived; #Other : Text };

  public type ChallengeTopicInput = { challengeTopic : Text };

  public type ChallengeTopic = {
    challengeTopic : Text;
    challengeTopicId : Text;
    challengeTopicCreationTimestamp : Nat64;
    challengeTopicStatus : ChallengeTopicStatus;
  };
  public type ChallengeTopicResult = { #Ok : ChallengeTopic; #Err : ApiError };

  public type NewChallengeInput = ChallengeTopic and {
    challengeQuestion : Text;
    challengeQuestionSeed : Nat32;
  };

  public type Challenge = NewChallengeInput and {
    challengeId : Text;
    challengeCreationTimestamp : Nat64;
    challengeCreatedBy : CanisterAddress;
    challengeStatus : ChallengeStatus;
    challengeClosedTimestamp : ?Nat64;
    submissionCyclesRequired : Nat;
  };
  public type ChallengeResult = { #Ok : Challenge; #Err : ApiError };
  public type ChallengeAdditionResult = { #Ok : Challenge; #Err : ApiError };
  public type ChallengesResult = { #Ok : [Challenge]; #Err : ApiError };

  /// A question as the Challenger got it of an LLM.
  public type GeneratedChallenge = {
    generationId : Text;
    generationSeed : Nat32;
    generatedTimestamp : Nat64;
    generatedByLlmId : Text;
    generationPrompt : Text;
    generatedChallengeText : Text;
  };
  public type GeneratedChallengeResult = { #Ok : GeneratedChallenge; #Err : ApiError };
  public type GeneratedChallengesResult = { #Ok : [GeneratedChallenge]; #Err : ApiError };

  public type ChallengeQueueInput = Challenge and {
    challengeQueuedId : Text;
    challengeQueuedBy : Principal;
    challengeQueuedTo : Principal;
    challengeQueuedTimestamp : Nat64;
  };
  public type ChallengeQueueInputResult = { #Ok : ChallengeQueueInput; #Err : ApiError };
  public type ChallengeQueueInputsResult = { #Ok : [ChallengeQueueInput]; #Err : ApiError };

  // Submissions

  public type ChallengeResponseSubmissionInput = ChallengeQueueInput and {
    challengeAnswer : Text;
    challengeAnswerSeed : Nat32;
    submittedBy : Principal;
  };

  public type ChallengeResponseSubmissionStatus = {
    #FailedSubmission;
    #Received;
    #Submitted;
    #Judging;
    #Judged;
    #Processed;
    #Other : Text;
  };

  public type ChallengeResponseSubmissionMetadata = {
    submissionId : Text;
    submittedTimestamp : Nat64;
    submissionStatus : ChallengeResponseSubmissionStatus;
  };
  public type ChallengeResponseSubmissionMetadataResult = { #Ok : ChallengeResponseSubmissionMetadata; #Err : ApiError };

  public type ChallengeResponseSubmission = ChallengeResponseSubmissionInput and ChallengeResponseSubmissionMetadata;
  public type ChallengeResponseSubmissionResult = { #Ok : ChallengeResponseSubmission; #Err : ApiError };
  public type ChallengeResponseSubmissionsResult = { #Ok : [ChallengeResponseSubmission]; #Err : ApiError };

  /// `secondsJudging`: since the Judge took it.
  public type JudgingSubmission = {
    submission : ChallengeResponseSubmission;
    judge : ?Principal;
    judgingTimestamp : Nat64;
    secondsJudging : Nat;
  };
  public type JudgingSubmissionsResult = { #Ok : [JudgingSubmission]; #Err : ApiError };

  // Scores

  public type ScoredResponseInput = ChallengeResponseSubmission and {
    judgedBy : Principal;
    score : Nat;
    scoreSeed : Nat32;
  };

  public type ScoredResponse = ScoredResponseInput and { judgedTimestamp : Nat64 };
  public type ScoredResponseReturn = { success : Bool };
  public type ScoredResponseResult = { #Ok : ScoredResponseReturn; #Err : ApiError };
  public type ScoredResponseRetrievalResult = { #Ok : ScoredResponse; #Err : ApiError };
  public type ScoredChallengesResult = { #Ok : [(Text, List.List<ScoredResponse>)]; #Err : ApiError };
  public type SubmissionRetrievalInput = { challengeId : Text; submissionId : Text };

  /// A grade as the Judge got it of an LLM; kept in the Judge only.
  public type JudgeScore = {
    generationId : Text;
    generationSeed : Nat32;
    generatedTimestamp : Nat64;
    generatedByLlmId : Text;
    generationPrompt : Text;
    generatedScoreText : Text;
    generatedScore : Nat;
  };
  public type ScoredResponseByJudge = ScoredResponse and { judgeScoreRecord : JudgeScore };
  public type ScoredResponsesByJudgeResult = { #Ok : [ScoredResponseByJudge]; #Err : ApiError };

  /// `unjudgeable`: it was not for want of a working LLM.
  public type SubmissionGivenBackInput = { challengeId : Text; submissionId : Text; reason : Text; unjudgeable : Bool };

  public type RewardType = { #ICP; #Coupon : Text; #MainerToken; #Cycles; #Other : Text };
  public type ChallengeParticipationResult = { #Winner; #SecondPlace; #ThirdPlace; #Participated; #Other : Text };

  public type ChallengeWinnerReward = {
    rewardType : RewardType;
    amount : Nat;
    rewardDetails : Text;
    distributed : Bool;
    distributedTimestamp : ?Nat64;
  };

  public type ChallengeParticipantEntry = {
    submissionId : Text;
    submittedBy : Principal;
    ownedBy : Principal;
    result : ChallengeParticipationResult;
    reward : ChallengeWinnerReward;
  };

  public type ChallengeWinnerDeclaration = {
    challengeId : Text;
    finalizedTimestamp : Nat64;
    winner : ChallengeParticipantEntry;
    secondPlace : ChallengeParticipantEntry;
    thirdPlace : ChallengeParticipantEntry;
    participants : List.List<ChallengeParticipantEntry>;
  };
  public type ChallengeWinnersResult = { #Ok : [ChallengeWinnerDeclaration]; #Err : ApiError };

  public type ProtocolActivityRecord = { winners : [ChallengeWinnerDeclaration]; challenges : [Challenge] };
  public type ProtocolActivityResult = { #Ok : ProtocolActivityRecord; #Err : ApiError };

  public type GameStateTresholds = {
    thresholdArchiveClosedChallenges : Nat;
    thresholdMaxOpenChallenges : Nat;
    thresholdMaxOpenSubmissions : Nat;
    thresholdScoredResponsesPerChallenge : Nat;
  };
  /// Limits of what the Game State keeps, in bytes of UTF-8, and how often an unanswered challenge is given up before it
  /// is closed (0: it never is).
  public type GameStateLimits = {
    maxTopicBytes : Nat;
    maxQuestionBytes : Nat;
    maxAnswerBytes : Nat;
    maxTimesGivenUp : Nat;
  };
  public type GameStateLimitsResult = { #Ok : GameStateLimits; #Err : ApiError };
  public type ChallengeGivenUpInput = { challengeId : Text; reason : Text };

  public type GameStateTresholdsResult = { #Ok : GameStateTresholds; #Err : ApiError };

  // mAIner settings and statistics

  public type CyclesBurnRate = { cycles : Nat; timeInterval : { #Daily } };
  public type MainerAgentSettingsInput = { cyclesBurnRate : CyclesBurnRate };

  public type StatisticsRecord = { totalCyclesBurnt : Nat; cycleBalance : Nat; cyclesBurnRate : CyclesBurnRate };
  public type StatisticsRetrievalResult = { #Ok : StatisticsRecord; #Err : ApiError };

  public type IssueFlagsRecord = { lowCycleBalance : Bool };
  public type IssueFlagsRetrievalResult = { #Ok : IssueFlagsRecord; #Err : ApiError };

  public type FlagResult = { #Ok : { flag : Bool }; #Err : ApiError };

  /// `since`: nanoseconds since 1970; `canister_id`: the LLM that is asked.
  public type AnswerUnderWay = { challengeId : Text; challengeQueuedId : Text; canister_id : Text; since : Nat64 };

  /// What a canister does and what waits there. Timestamps: nanoseconds since 1970. `unsent`: entries of the queue that
  /// the ShareService has yet to take; `undelivered`: answers.
  public type WorkUnderWay = {
    queueSize : Nat;
    oldestQueuedTimestamp : ?Nat64;
    unsent : Nat;
    undelivered : Nat;
    oldestUndeliveredTimestamp : ?Nat64;
    answering : ?AnswerUnderWay;
    pulling : Bool;
    delivering : Nat;
  };

  /// `timestamp`: now; `openCalls`: what waits for other canisters.
  public type WorkStatus = WorkUnderWay and {
    timestamp : Nat64;
    inMaintenance : Bool;
    timersStarted : Bool;
    timerIntervalSeconds : Nat;
    lastTimerRun : ?Nat64;
    openCalls : Nat;
    idle : Bool;
    lowCycleBalance : Bool;
    cycleBalance : Nat;
  };
  public type WorkStatusResult = { #Ok : WorkStatus; #Err : ApiError };

  /// `amount`: the most that is given, null for all that the mAIner can spare; `to`: the canister that gets it.
  public type WithdrawalInput = { to : CanisterAddress; amount : ?Nat };
  public type WithdrawalResult = { #Ok : { cycles : Nat }; #Err : ApiError };

  /// A challenge that could not be answered, handed over or submitted, and why.
  public type FailureRecord = {
    timestamp : Nat64;
    action : Text;
    challengeId : Text;
    challengeQueuedId : Text;
    reason : Text;
    dropped : Bool; // false: it will be tried again
  };
  public type FailuresResult = { #Ok : [FailureRecord]; #Err : ApiError };

  // LLM canister

  public type RunOutputRecord = {
    status_code : StatusCode;
    output : Text;
    conversation : Text;
    error : Text;
    prompt_remaining : Text;
    generated_eog : Bool;
  };
  public type OutputRecordResult = { #Ok : RunOutputRecord; #Err : RunOutputRecord };
  public type InputRecord = { args : [Text] };

  public type FileUploadInputRecord = { filename : Text; chunk : Blob; chunksize : Nat64; offset : Nat64 };
  public type FileUploadRecordResult = { #Ok : { filesize : Nat64 }; #Err : ApiError };

  public type FileRemoveResult = { #Ok : { exists : Bool; removed : Bool }; #Err : ApiError };
  public type MaxTokensRecord = { max_tokens_update : Nat64; max_tokens_query : Nat64 };

  public type TokenCost = {
    instructions_per_prompt_token : Nat64;
    instructions_per_generated_token : Nat64;
    instructions_fixed : Nat64;
  };
  public type TokenCostResult = { #Ok : TokenCost; #Err : ApiError };

  // mAIner Creator

  public type FileUploadResult = { #Ok : { creationResult : Text }; #Err : ApiError };

  public type CanisterCreationInput = {
    canisterType : ProtocolCanisterType;
    selectedModel : AvailableModels;
    associatedCanisterAddress : ?CanisterAddress;
    owner : Principal;
    mainerAgentCanisterType : MainerAgentCanisterType;
  };
  /// `key`: the same key gives the same canister, however often it is ordered; without one, each order makes another.
  /// `renewedCanisterAddress`: a canister that is there already, to become what is ordered.
  public type CanisterOrder = CanisterCreationInput and { key : ?Text; renewedCanisterAddress : ?CanisterAddress };
  public type CanisterCreationRecord = { creationResult : Text; newCanisterId : Text };
  public type CanisterCreationResult = { #Ok : CanisterCreationRecord; #Err : ApiError };

  public type ModelCreationArtefacts = { canisterWasm : Blob; modelFile : [Blob] };
  public type InsertArtefactsResult = { #Ok : ModelCreationArtefacts; #Err : ApiError };

  public type UploadTarget = { #MainerControllerWasm; #LlmWasm : AvailableModels; #LlmModel : AvailableModels };

  public type UploadStatus = {
    target : UploadTarget;
    size : Nat64;
    sha256 : Blob;
    chunkSize : Nat64;
    chunksTotal : Nat64;
    chunksReceived : Nat64;
    missing : [Nat64]; // numbers of missing chunks, the first 1000
    hashedBytes : Nat64;
    finished : Bool;
  };
  public type UploadStatusResult = { #Ok : UploadStatus; #Err : ApiError };
  public type UploadBeginInput = { target : UploadTarget; size : Nat64; sha256 : Blob };
  public type UploadChunkInput = { target : UploadTarget; sha256 : Blob; offset : Nat64; chunk : Blob };
  public type UploadFinishInput = { target : UploadTarget; sha256 : Blob };

  /// `template`: of a model, what LLMs are made of now.
  public type ArtefactRecord = { target : UploadTarget; size : Nat64; sha256 : Blob; createdAt : Nat64; template : ?TemplateRecord };

  public type MainerRecord = {
    controllerId : Text;
    mainerAgentCanisterType : MainerAgentCanisterType;
    owner : Principal;
    llmIds : [Text];
    shareServiceId : ?Text;
    createdAt : Nat64;
  };

  /// What a canister was made of. `skipped`: steps that were left out because the other side does not offer them.
  public type CanisterContent = {
    wasmSha256 : Blob;
    model : ?AvailableModels; // of an LLM
    modelSha256 : ?Blob; // of an LLM
    createdAt : Nat64;
    skipped : [Text];
  };

  /// How an LLM was made: rounds of messages and time, from the order to the answer.
  public type Making = { how : { #copied; #template }; rounds : Nat; nanoseconds : Nat64 };

  /// A snapshot that LLMs of a model are made of, in a canister of its own. `current`: of the files that are there now.
  public type TemplateRecord = { canisterId : Text; size : Nat; cyclesPerDay : Nat; createdAt : Nat64; current : Bool };

  /// `address`: of an LLM canister.
  public type ModelExchangeInput = { address : CanisterAddress; selectedModel : AvailableModels };

  /// `content` is null if it is not known, as of a canister whose last renewal failed.
  public type LlmRecord = { canisterId : Text; key : ?Text; content : ?CanisterContent; making : ?Making };
  public type MainerInfo = MainerRecord and { key : ?Text; content : ?CanisterContent; llms : ?[LlmRecord] };

  public type RegisteredResult = { #Ok : { registered : [CanisterAddress] }; #Err : ApiError };
  public type ForgottenRecord = { forgotten : Text };
  public type ForgottenResult = { #Ok : ForgottenRecord; #Err : ApiError };

  // Operating what the creator made

  /// The network's status of a canister,
  /// https://internetcomputer.org/docs/references/ic-interface-spec#ic-canister_status
  public type CanisterStatusRecord = {
    status : { #running; #stopping; #stopped };
    module_hash : ?Blob;
    memory_size : Nat;
    cycles : Nat;
    idle_cycles_burned_per_day : Nat;
    version : ?Nat64;
    settings : {
      controllers : [Principal];
      compute_allocation : Nat;
      memory_allocation : Nat;
      freezing_threshold : Nat; // seconds
      reserved_cycles_limit : ?Nat;
      log_visibility : ?Visibility;
      wasm_memory_limit : ?Nat;
      wasm_memory_threshold : ?Nat;
    };
  };
  public type CanisterStatusResult = { #Ok : CanisterStatusRecord; #Err : ApiError };

  public type Visibility = { #controllers; #public_; #allowed_viewers : [Principal] };

  /// What is null stays as it is.
  public type CanisterSettingsInput = {
    controllers : ?[Principal];
    compute_allocation : ?Nat;
    memory_allocation : ?Nat;
    freezing_threshold : ?Nat; // seconds
    reserved_cycles_limit : ?Nat;
    log_visibility : ?Visibility;
    wasm_memory_limit : ?Nat;
    wasm_memory_threshold : ?Nat;
  };
  public type UpdateSettingsInput = { address : CanisterAddress; settings : CanisterSettingsInput };

  /// `argument` and the reply: Candid.
  public type CallInput = { address : CanisterAddress; method : Text; argument : Blob };

  public type Snapshot = { id : Blob; taken_at_timestamp : Nat64; total_size : Nat64 };
  public type SnapshotResult = { #Ok : Snapshot; #Err : ApiError };
  public type SnapshotsResult = { #Ok : [Snapshot]; #Err : ApiError };
  public type TakeSnapshotInput = { address : CanisterAddress; replace : ?Blob };
  public type SnapshotSlice = { offset : Nat64; size : Nat64 };
  public type SnapshotPart = {
    #wasm_module : SnapshotSlice;
    #wasm_memory : SnapshotSlice;
    #stable_memory : SnapshotSlice;
    #wasm_chunk : { hash : Blob };
  };
  public type SnapshotReadInput = { address : CanisterAddress; snapshotId : Blob; part : ?SnapshotPart };
  public type BlobResult = { #Ok : Blob; #Err : ApiError };
  public type SnapshotInput = { address : CanisterAddress; snapshotId : Blob };

  public type UpgradeInput = { address : CanisterAddress; sha256 : Blob };
  public type ReinstallInput = { address : CanisterAddress; model : ?AvailableModels };

  public type RemoveLlmInput = { address : CanisterAddress; cyclesTo : { #Creator; #Mainer } };
  public type RemoveMainerInput = { address : CanisterAddress; evenWithAgents : Bool };
  public type RemovedCanister = { address : CanisterAddress; cyclesReturned : Nat; cyclesDestroyed : Nat };
  public type RemovedRecord = { removed : [RemovedCanister]; cyclesReturned : Nat; notes : [Text] };
  public type RemovedResult = { #Ok : RemovedRecord; #Err : ApiError };

  /// `cyclesReturned`: about what would come back; `agents`: ShareAgents that would have no ShareService.
  public type RemovalEstimate = { canisters : [RemovableCanister]; cyclesReturned : Nat; agents : [CanisterAddress] };
  public type RemovableCanister = { address : CanisterAddress; cycles : Nat; cyclesReturned : Nat };
  public type RemovalEstimateResult = { #Ok : RemovalEstimate; #Err : ApiError };

  public type OperationOutcome = { #UnderWay; #Done : Text; #Failed : Text };
  public type OperationRecord = {
    number : Nat;
    caller : Principal;
    operation : Text;
    address : CanisterAddress;
    timestamp : Nat64;
    ended : ?Nat64;
    outcome : OperationOutcome;
  };
  public type OperationsResult = { #Ok : [OperationRecord]; #Err : ApiError };

  public type CreationCycles = { controller : Nat; llm : Nat };
  public type CreationCyclesResult = { #Ok : CreationCycles; #Err : ApiError };
};
