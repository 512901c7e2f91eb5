/// What the creator's controllers do to canisters that it made: a mAIner belongs to its owner and the creator, so it is
/// through the creator that operators of a fleet look after those of other owners.
///
/// Bounded to canisters in the creator's list, each operation is kept in `operations`, and those that change a canister
/// are done one at a time.

import Array "mo:core/Array";
import Error "mo:core/Error";
import InternetComputer "mo:core/InternetComputer";
import Iter "mo:core/Iter";
import List "mo:core/List";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Actors "../common/Actors";
import Canisters "../common/Canisters";
import Clock "../common/Clock";
import Errors "../common/Errors";
import Limits "../common/Limits";
import Types "../common/Types";
import Exchange "Exchange";
import Fleet "Fleet";
import Progress "Progress";
import Removal "Removal";

/// `fillUp`: gives a canister the cycles that it lacks for a snapshot; `upgrade`: brings a canister to the uploaded code of this sha256; `reinstall`: makes an LLM anew, with its model; `exchangeOf`: what an LLM is to be given another model by.
mixin (
  fleet : Fleet.State,
  creator : () -> Removal.Creator,
  fillUp : (Principal) -> async* (),
  upgrade : (Fleet.Place, Text, Blob) -> async* Types.CanisterCreationResult,
  reinstall : (Types.MainerRecord, Text, ?Types.AvailableModels) -> async* Types.CanisterCreationResult,
  exchangeOf : (Types.MainerRecord, Types.ModelExchangeInput, Progress.Progress) -> Types.Result<Exchange.Exchange>,
) {
  let operations : Map.Map<Nat, Types.OperationRecord> = Map.empty(); // by number
  var operationsBegun = 0;

  transient let maxOperationsKept = 1_000;
  transient let changing : Map.Map<Text, Text> = Map.empty(); // what is being done, by canister
  // Methods for controllers that the creator calls for its own (mainer_nb/fleet/authority.py has the same).
  transient let looking = [
    "ready", "getWorkStatusAdmin", "getChallengeQueueAdmin", "getRecentSubmittedResponsesAdmin", "getRecentFailuresAdmin",
    "getMainerStatisticsAdmin", "getIssueFlagsAdmin", "checkAccessToLLMs", "get_max_tokens", "recursive_dir_content_query",
  ];
  transient let operating = [
    "setMaintenanceFlagAdmin", "startTimerExecutionAdmin", "stopTimerExecutionAdmin", "setTimerIntervalAdmin",
    "triggerChallengeResponseAdmin", "resetChallengeQueueAdmin", "withdrawCyclesAdmin", "add_llm_canister", "remove_llm_canister",
    "setShareServiceCanisterId", "load_model", "set_max_tokens", "new_chat", "run_update", "remove_prompt_cache", "filesystem_remove",
  ];
  transient let network = Actors.management;
  transient let carriedOut : Types.StatusCodeRecordResult = #Ok({ status_code = 200 });

  type Operation = { number : Nat; address : Text; canister_id : Principal; place : Fleet.Place; changes : [Text] };

  // What an upgrade of the creator cut off does not go on.
  for ((number, operation) in operations.toArray().values()) {
    if (operation.outcome == #UnderWay) operations.add(number, { operation with ended = ?Clock.now(); outcome = #Failed("cut off by an upgrade of the creator") });
  };

  /// The last 1000, oldest first. Of looking at the same canister only the last time is kept.
  public shared query ({ caller }) func getOperationsAdmin() : async Types.OperationsResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(operations.values().toArray());
  };

  func begin(caller : Principal, operation : Text, address : Text, change : { #none; #itself; #withLlms }) : Types.Result<Operation> {
    if (not caller.isController()) return #Err(#Unauthorized);
    let ?place = Fleet.placeOf(fleet, address) else return #Err(#Other("\"" # Limits.clipped(address, Limits.idBytes) # "\" is no canister that this creator made"));
    let changes = switch (change, place) {
      case (#none, _) [];
      case (#withLlms, #mainer(mainer)) mainer.llmIds.concat([address]);
      case (_) [address];
    };
    for (id in changes.values()) switch (changing.get(id)) {
      case (?other) return #Err(#Other("Something is being done to canister " # id # " (" # other # "): try again when that has ended"));
      case null {};
    };
    for (id in changes.values()) changing.add(id, operation);
    operationsBegun += 1;
    let number = operationsBegun;
    operations.add(number, { number; caller; operation; address; timestamp = Clock.now(); ended = null; outcome = #UnderWay });
    if (operations.size() > maxOperationsKept) switch (operations.minEntry()) {
      case (?(oldest, _)) operations.remove(oldest);
      case null {};
    };
    #Ok({ number; address; canister_id = Principal.fromText(address); place; changes });
  };

  func finish(operation : Operation, outcome : Types.OperationOutcome) {
    for (id in operation.changes.values()) changing.remove(id);
    let ?begun = operations.get(operation.number) else return;
    if (operation.changes.size() == 0) {
      for ((number, earlier) in operations.toArray().values()) {
        if (number < begun.number and earlier.caller == begun.caller and earlier.operation == begun.operation and earlier.address == begun.address) operations.remove(number);
      };
    };
    operations.add(operation.number, { begun with ended = ?Clock.now(); outcome });
  };

  func failed(operation : Operation, error : Types.ApiError) : { #Err : Types.ApiError } {
    finish(operation, #Failed(Limits.clipped(Errors.describe(error), Limits.reasonBytes)));
    #Err(error);
  };

  func done(operation : Operation, text : Text) { finish(operation, #Done(Limits.clipped(text, Limits.reasonBytes))) };

  // Looking

  public shared ({ caller }) func canisterStatusAdmin(input : Types.CanisterRetrieveInput) : async Types.CanisterStatusResult {
    let operation = switch (begin(caller, "status", input.address, #none)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    try {
      let status = await network.canister_status({ canister_id = operation.canister_id });
      done(operation, "");
      #Ok(status);
    } catch error failed(operation, #Other(error.message()));
  };

  public shared ({ caller }) func listSnapshotsAdmin(input : Types.CanisterRetrieveInput) : async Types.SnapshotsResult {
    let operation = switch (begin(caller, "list snapshots", input.address, #none)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    try {
      let snapshots = await network.list_canister_snapshots({ canister_id = operation.canister_id });
      done(operation, "");
      #Ok(snapshots);
    } catch error failed(operation, #Other(error.message()));
  };

  /// What removing the canister would give back; nothing is changed.
  public shared ({ caller }) func estimateRemovalAdmin(input : Types.CanisterRetrieveInput) : async Types.RemovalEstimateResult {
    let operation = switch (begin(caller, "estimate a removal", input.address, #none)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    try {
      let estimate = await* Removal.estimate(creator(), operation.place, operation.address);
      done(operation, "");
      #Ok(estimate);
    } catch error failed(operation, #Other(error.message()));
  };

  // Running and settings

  func simply(caller : Principal, what : Text, address : Text, call : (Operation) -> async* ()) : async* Types.StatusCodeRecordResult {
    let operation = switch (begin(caller, what, address, #itself)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    try {
      await* call(operation);
      done(operation, "");
      carriedOut;
    } catch error failed(operation, #Other(error.message()));
  };

  public shared ({ caller }) func startCanisterAdmin(input : Types.CanisterRetrieveInput) : async Types.StatusCodeRecordResult {
    await* simply(caller, "start", input.address, func({ canister_id } : Operation) : async* () { await network.start_canister({ canister_id }) });
  };

  public shared ({ caller }) func stopCanisterAdmin(input : Types.CanisterRetrieveInput) : async Types.StatusCodeRecordResult {
    await* simply(caller, "stop", input.address, func({ canister_id } : Operation) : async* () { await network.stop_canister({ canister_id }) });
  };

  /// The creator stays a controller, and the mAIner of an LLM.
  public shared ({ caller }) func updateSettingsAdmin(input : Types.UpdateSettingsInput) : async Types.StatusCodeRecordResult {
    let wanted = input.settings;
    switch (wanted.controllers, Fleet.placeOf(fleet, input.address)) {
      case (?controllers, ?place) {
        let needed = switch place {
          case (#llm(mainer)) [creator().self, Principal.fromText(mainer.controllerId)];
          case (#mainer(_)) [creator().self];
        };
        for (controller in needed.values()) {
          if (controllers.indexOf(controller) == null) return #Err(#Other("The controllers must include " # controller.toText() # ": the creator, and of an LLM its mAIner, keep control"));
        };
      };
      case (_) {};
    };
    let settings : Canisters.Settings = { wanted with environment_variables = null };
    await* simply(caller, "update settings", input.address, func({ canister_id } : Operation) : async* () {
      await network.update_settings({ canister_id; settings; sender_canister_version = null });
    });
  };

  // Their own methods

  /// Calls a method that a mAIner or an LLM has for its controllers; argument and reply are Candid.
  public shared ({ caller }) func callCanisterAdmin(input : Types.CallInput) : async Types.BlobResult {
    let looks = looking.indexOf(input.method) != null;
    let operation = switch (begin(caller, Limits.clipped(input.method, Limits.idBytes), input.address, if looks #none else #itself)) {
      case (#Ok(begun)) begun;
      case (#Err(error)) return #Err(error);
    };
    if (not looks and operating.indexOf(input.method) == null) {
      return failed(operation, #Other("The creator does not call this method. It calls: " # looking.concat(operating).values().join(", ")));
    };
    try {
      let reply = await InternetComputer.call(operation.canister_id, input.method, input.argument);
      done(operation, "");
      #Ok(reply);
    } catch error failed(operation, #Other(error.message()));
  };

  // Snapshots

  /// Fills the canister's cycles up first if it has too few for that. `replace`: a snapshot that goes as this one comes.
  public shared ({ caller }) func takeSnapshotAdmin(input : Types.TakeSnapshotInput) : async Types.SnapshotResult {
    let operation = switch (begin(caller, "take a snapshot", input.address, #itself)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    try {
      await* fillUp(operation.canister_id);
      let snapshot = await network.take_canister_snapshot({
        canister_id = operation.canister_id;
        replace_snapshot = input.replace;
        uninstall_code = null;
        sender_canister_version = null;
      });
      done(operation, debug_show snapshot.id);
      #Ok(snapshot);
    } catch error failed(operation, #Other(error.message()));
  };

  public shared ({ caller }) func loadSnapshotAdmin(input : Types.SnapshotInput) : async Types.StatusCodeRecordResult {
    await* simply(caller, "load a snapshot", input.address, func({ canister_id } : Operation) : async* () {
      await* fillUp(canister_id);
      await network.load_canister_snapshot({ canister_id; snapshot_id = input.snapshotId; sender_canister_version = null });
    });
  };

  public shared ({ caller }) func deleteSnapshotAdmin(input : Types.SnapshotInput) : async Types.StatusCodeRecordResult {
    await* simply(caller, "delete a snapshot", input.address, func({ canister_id } : Operation) : async* () {
      await network.delete_canister_snapshot({ canister_id; snapshot_id = input.snapshotId });
    });
  };

  /// The metadata of a snapshot, or a part of it: the answer of the management canister as it is, Candid.
  public shared ({ caller }) func readSnapshotAdmin(input : Types.SnapshotReadInput) : async Types.BlobResult {
    let operation = switch (begin(caller, "read a snapshot", input.address, #none)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    let { canister_id } = operation;
    let snapshot_id = input.snapshotId;
    let (method, args) = switch (input.part) {
      case null ("read_canister_snapshot_metadata", to_candid ({ canister_id; snapshot_id }));
      case (?kind) ("read_canister_snapshot_data", to_candid ({ canister_id; snapshot_id; kind }));
    };
    try {
      let answer = await InternetComputer.call(Principal.fromActor(network), method, args);
      done(operation, "");
      #Ok(answer);
    } catch error failed(operation, #Other(error.message()));
  };

  // Code

  func made(operation : Operation, result : Types.CanisterCreationResult) : Types.CanisterCreationResult {
    switch result {
      case (#Ok({ creationResult })) { done(operation, creationResult); result };
      case (#Err(error)) failed(operation, error);
    };
  };

  /// To the uploaded code of this sha256, state kept: a mAIner to the controller's wasm, an LLM to that of its model. It runs
  /// afterwards if it ran before. One without code is made anew.
  public shared ({ caller }) func upgradeCanisterAdmin(input : Types.UpgradeInput) : async Types.CanisterCreationResult {
    let operation = switch (begin(caller, "upgrade", input.address, #itself)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    made(operation, try await* upgrade(operation.place, input.address, input.sha256) catch error #Err(#Other(error.message())));
  };

  /// Makes an LLM anew with the uploaded code and file of its model, or of another.
  public shared ({ caller }) func reinstallLlmAdmin(input : Types.ReinstallInput) : async Types.CanisterCreationResult {
    let operation = switch (begin(caller, "reinstall", input.address, #itself)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    let #llm(mainer) = operation.place else return failed(operation, #Other("Canister " # input.address # " is no LLM: only those are reinstalled"));
    made(operation, try await* reinstall(mainer, input.address, input.model) catch error #Err(#Other(error.message())));
  };

  // Exchanging a model

  /// Copies a model file to an LLM beside the one that it answers with.
  public shared ({ caller }) func copyModelToLlmAdmin(input : Types.ModelExchangeInput) : async Types.StatusCodeRecordResult {
    let operation = switch (begin(caller, "copy a model", input.address, #itself)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    let #llm(mainer) = operation.place else return failed(operation, #Other("Canister " # input.address # " is no LLM: only those have models"));
    let exchange = switch (exchangeOf(mainer, input, Progress.new())) { case (#Ok(found)) found; case (#Err(error)) return failed(operation, error) };
    try {
      await* Exchange.copy(exchange);
      done(operation, "");
      carriedOut;
    } catch error failed(operation, #Other("step copy the model file: " # error.message()));
  };

  /// Has an LLM answer with the model that copyModelToLlmAdmin gave it. Status code 202: it is at an answer that it finishes;
  /// it is out of the rotation, and gets the model when asked again.
  public shared ({ caller }) func exchangeModelAdmin(input : Types.ModelExchangeInput) : async Types.CanisterCreationResult {
    let operation = switch (begin(caller, "exchange the model", input.address, #itself)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    let #llm(mainer) = operation.place else return failed(operation, #Other("Canister " # input.address # " is no LLM: only those have models"));
    let progress = Progress.new();
    let exchange = switch (exchangeOf(mainer, input, progress)) { case (#Ok(found)) found; case (#Err(error)) return failed(operation, error) };
    switch (await* Exchange.carryOut(exchange)) {
      case (#done(how)) {
        let creationResult = "LLM " # input.address # " answers with the model: " # how # Progress.skippedIn(progress);
        done(operation, creationResult);
        #Ok({ creationResult; newCanisterId = input.address });
      };
      case (#busy) failed(operation, #StatusCode(202));
      case (#failed(reason)) failed(operation, #Other(reason));
    };
  };

  // Removal

  /// Status code 202: the LLM is at an answer that it finishes; it is out of the rotation, and removed when asked again.
  public shared ({ caller }) func removeLlmAdmin(input : Types.RemoveLlmInput) : async Types.RemovedResult {
    let operation = switch (begin(caller, "remove", input.address, #itself)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    let #llm(mainer) = operation.place else return failed(operation, #Other("Canister " # input.address # " is no LLM: remove a mAIner with removeMainerAdmin"));
    let to = switch (input.cyclesTo) {
      case (#Creator) creator().self;
      case (#Mainer) Principal.fromText(mainer.controllerId);
    };
    removed(operation, await* Removal.removeLlm(creator(), mainer, input.address, to));
  };

  /// A mAIner with its LLMs. Status code 202: something is under way; it is in maintenance, and removed when asked again.
  public shared ({ caller }) func removeMainerAdmin(input : Types.RemoveMainerInput) : async Types.RemovedResult {
    let operation = switch (begin(caller, "remove", input.address, #withLlms)) { case (#Ok(begun)) begun; case (#Err(error)) return #Err(error) };
    let #mainer(mainer) = operation.place else return failed(operation, #Other("Canister " # input.address # " is an LLM: remove it with removeLlmAdmin"));
    let agents = Fleet.agentsOf(fleet, input.address).map(func(agent : Types.MainerRecord) : Text = agent.controllerId);
    if (agents.size() > 0 and not input.evenWithAgents) {
      return failed(operation, #Other("ShareAgents use this ShareService: " # agents.values().join(", ") # ". Remove them first, or ask with evenWithAgents: then they have no ShareService until they are given one"));
    };
    removed(operation, await* Removal.removeMainer(creator(), mainer));
  };

  func removed(operation : Operation, outcome : Removal.Outcome) : Types.RemovedResult {
    switch outcome {
      case (#removed(record)) {
        done(operation, record.cyclesReturned.toText() # " cycles came back" # record.notes.values().map(func note = "; " # note).join(""));
        #Ok(record);
      };
      case (#busy) failed(operation, #StatusCode(202));
      case (#failed(text)) failed(operation, #Other(text));
    };
  };

  /// Whether something is being done to a canister that must not be disturbed.
  func isChanging(address : ?Text) : Bool = switch address {
    case (?id) changing.containsKey(id);
    case null false;
  };
};
