/// The parts of other canisters' interfaces that the canisters here call.

import Canisters "Canisters";
import Types "Types";

module {
  public type GameState = actor {
    getMainerAgentCanisterInfo : shared query Types.CanisterRetrieveInput -> async Types.MainerAgentCanisterResult;
    addMainerAgentCanister : shared Types.MainerAgentCanisterInput -> async Types.MainerAgentCanisterResult;
    removeMainerAgentCanister : shared Types.CanisterRetrieveInput -> async Types.StatusCodeRecordResult;
    getRandomOpenChallenge : shared () -> async Types.ChallengeResult;
    getRandomOpenChallengeTopic : shared () -> async Types.ChallengeTopicResult;
    getCurrentChallenges : shared query () -> async Types.ChallengesResult;
    addChallenge : shared Types.NewChallengeInput -> async Types.ChallengeAdditionResult;
    getNextSubmissionToJudge : shared () -> async Types.ChallengeResponseSubmissionResult;
    addScoredResponse : shared Types.ScoredResponseInput -> async Types.ScoredResponseResult;
    giveBackSubmission : shared Types.SubmissionGivenBackInput -> async Types.ChallengeResponseSubmissionResult; // not of the original's
    submitChallengeResponse : shared Types.ChallengeResponseSubmissionInput -> async Types.ChallengeResponseSubmissionMetadataResult;
    reportChallengeGivenUp : shared Types.ChallengeGivenUpInput -> async Types.StatusCodeRecordResult; // not of the original's
  };

  public type MainerController = actor {
    health : shared query () -> async Types.StatusCodeRecordResult;
    amiController : shared query () -> async Types.StatusCodeRecordResult;
    getGameStateCanisterId : shared query () -> async Text;
    getShareServiceCanisterId : shared query () -> async Text;
    getLlmCanisters : shared query () -> async [Text];
    getWorkStatusAdmin : shared query () -> async Types.WorkStatusResult; // not of the original's
    getMaintenanceFlagAdmin : shared query () -> async Types.FlagResult; // not of the original's
    setMaintenanceFlagAdmin : shared Bool -> async Types.StatusCodeRecordResult; // not of the original's
    stopTimerExecutionAdmin : shared () -> async Types.AuthRecordResult;
    resetChallengeQueueAdmin : shared () -> async Types.StatusCodeRecordResult;
    getMainerCanisterType : shared query () -> async Types.MainerAgentCanisterTypeResult;
    setMainerCanisterType : shared Types.MainerAgentCanisterType -> async Types.StatusCodeRecordResult;
    setGameStateCanisterId : shared Text -> async Types.StatusCodeRecordResult;
    setShareServiceCanisterId : shared Text -> async Types.StatusCodeRecordResult;
    setPromptFormat : shared Types.PromptFormat -> async Types.StatusCodeRecordResult;
    getPromptFormat : shared query () -> async Types.PromptFormatResult; // not of the original's
    addMainerShareAgentCanister : shared Types.MainerAgentCanisterInput -> async Types.MainerAgentCanisterResult;
    removeMainerShareAgentCanister : shared Types.CanisterRetrieveInput -> async Types.StatusCodeRecordResult;
    add_llm_canister : shared Types.CanisterIDRecord -> async Types.StatusCodeRecordResult;
    reset_llm_canisters : shared () -> async Types.StatusCodeRecordResult;
    remove_llm_canister : shared Types.CanisterIDRecord -> async Types.StatusCodeRecordResult;
    addChallengeToShareServiceQueue : shared Types.ChallengeQueueInput -> async Types.ChallengeQueueInputResult;
    getChallengesOfShareAgent : shared query () -> async [Text]; // not of the original's
    addChallengeResponseToShareAgent : shared Types.ChallengeResponseSubmissionInput -> async Types.StatusCodeRecordResult;
    addChallengeFailureToShareAgent : shared (Types.ChallengeQueueInput, Text, ?Bool) -> async Types.StatusCodeRecordResult;
  };

  public type Llm = actor {
    health : shared query () -> async Types.StatusCodeRecordResult;
    ready : shared query () -> async Types.StatusCodeRecordResult;
    check_access : shared query () -> async Types.StatusCodeRecordResult;
    log_pause : shared () -> async Types.StatusCodeRecordResult;
    file_upload_chunk : shared Types.FileUploadInputRecord -> async Types.FileUploadRecordResult;
    load_model : shared Types.InputRecord -> async Types.OutputRecordResult;
    filesystem_remove : shared { filename : Text } -> async Types.FileRemoveResult;
    set_max_tokens : shared Types.MaxTokensRecord -> async Types.StatusCodeRecordResult;
    get_max_tokens : shared query () -> async Types.MaxTokensRecord;
    measure_token_cost : shared () -> async Types.TokenCostResult;
    new_chat : shared Types.InputRecord -> async Types.OutputRecordResult;
    run_update : shared Types.InputRecord -> async Types.OutputRecordResult;
    copy_prompt_cache : shared { from : Text; to : Text } -> async Types.StatusCodeRecordResult;
    remove_prompt_cache : shared Types.InputRecord -> async Types.OutputRecordResult;
  };

  /// The management canister, https://internetcomputer.org/docs/references/ic-interface-spec#ic-management-canister
  public type Management = actor {
    create_canister : shared { settings : ?Canisters.Settings; sender_canister_version : ?Nat64 } -> async { canister_id : Principal };
    update_settings : shared { canister_id : Principal; settings : Canisters.Settings; sender_canister_version : ?Nat64 } -> async ();
    upload_chunk : shared { canister_id : Principal; chunk : Blob } -> async { hash : Blob };
    clear_chunk_store : shared { canister_id : Principal } -> async ();
    install_code : shared {
      mode : { #install; #reinstall };
      canister_id : Principal;
      wasm_module : Blob;
      arg : Blob;
      sender_canister_version : ?Nat64;
    } -> async ();
    install_chunked_code : shared {
      mode : InstallMode;
      target_canister : Principal;
      store_canister : ?Principal;
      chunk_hashes_list : [{ hash : Blob }];
      wasm_module_hash : Blob;
      arg : Blob;
      sender_canister_version : ?Nat64;
    } -> async ();
    canister_status : shared { canister_id : Principal } -> async Types.CanisterStatusRecord;
    take_canister_snapshot : shared {
      canister_id : Principal;
      replace_snapshot : ?Blob;
      uninstall_code : ?Bool;
      sender_canister_version : ?Nat64;
    } -> async Types.Snapshot;
    load_canister_snapshot : shared { canister_id : Principal; snapshot_id : Blob; sender_canister_version : ?Nat64 } -> async ();
    deposit_cycles : shared { canister_id : Principal } -> async ();
    start_canister : shared { canister_id : Principal } -> async ();
    stop_canister : shared { canister_id : Principal } -> async ();
    delete_canister : shared { canister_id : Principal } -> async ();
    list_canister_snapshots : shared { canister_id : Principal } -> async [Types.Snapshot];
    delete_canister_snapshot : shared { canister_id : Principal; snapshot_id : Blob } -> async ();
  };

  public type InstallMode = {
    #install;
    #reinstall;
    #upgrade : ?{ skip_pre_upgrade : ?Bool; wasm_memory_persistence : ?{ #keep; #replace } };
  };

  public let management : Management = actor "aaaaa-aa";
};
