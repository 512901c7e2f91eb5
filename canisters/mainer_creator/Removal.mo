/// Removing what the creator made: an LLM from its mAIner, or a mAIner with its LLMs.
///
/// Until the first canister is emptied a failure undoes everything. From then on there is no way back: what is left is
/// removed when it is asked for again, as after any interruption.

import Array "mo:core/Array";
import Error "mo:core/Error";
import Iter "mo:core/Iter";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Actors "../common/Actors";
import Errors "../common/Errors";
import Principals "../common/Principals";
import Types "../common/Types";
import Fleet "Fleet";
import Progress "Progress";
import Recovery "Recovery";

module {
  let secondsPerDay = 86_400;
  let callCycles = 100_000_000_000; // with which a canister takes a few calls
  let ic = Actors.management;

  public type Creator = { fleet : Fleet.State; self : Principal; masterId : Text };

  /// `#busy`: an answer is under way that would be lost; ask again.
  public type Outcome = { #removed : Types.RemovedRecord; #busy; #failed : Text };

  type Status = Types.CanisterStatusRecord;

  /// The status of a canister, null if it does not exist.
  public func statusOf(canister_id : Principal) : async* ?Status {
    try { ?(await ic.canister_status({ canister_id })) } catch error {
      if (error.code() == #destination_invalid) null else throw error;
    };
  };

  /// Below this balance a canister is frozen.
  public func frozenBelow(status : Status) : Nat = status.idle_cycles_burned_per_day * status.settings.freezing_threshold / secondsPerDay;

  func canAnswer(status : Status) : Bool = status.status == #running and status.module_hash != null and status.cycles > frozenBelow(status) + callCycles;

  // Estimates

  /// What removing the canister would give back.
  public func estimate(creator : Creator, place : Fleet.Place, address : Text) : async* Types.RemovalEstimate {
    let (addresses, agents) = switch place {
      case (#llm(_)) ([address], []);
      case (#mainer(mainer)) (mainer.llmIds.concat([address]), Fleet.agentsOf(creator.fleet, address).map(func(agent : Types.MainerRecord) : Text = agent.controllerId));
    };
    let canisters : List.List<Types.RemovableCanister> = List.empty();
    var cyclesReturned = 0;
    for (id in addresses.values()) switch (await* statusOf(Principal.fromText(id))) {
      case (?{ cycles }) {
        canisters.add({ address = id; cycles; cyclesReturned = Recovery.returnable(cycles) });
        cyclesReturned += Recovery.returnable(cycles);
      };
      case null canisters.add({ address = id; cycles = 0; cyclesReturned = 0 });
    };
    { canisters = canisters.toArray(); cyclesReturned; agents };
  };

  // An LLM

  /// `to`: where its cycles go.
  public func removeLlm(creator : Creator, mainer : Types.MainerRecord, address : Text, to : Principal) : async* Outcome {
    let progress = Progress.new();
    let canister_id = Principal.fromText(address);
    try {
      progress.step := "look at LLM " # address;
      let before = await* statusOf(canister_id);
      if (await* takenOut(creator, progress, mainer, address)) return #busy;
      let emptied = await* prepare(progress, canister_id, before);
      progress.undo.clear();
      let removed = await* delete(progress, creator.fleet, emptied, to);
      #removed(told(progress, removed));
    } catch error #failed(await* Progress.undone(progress, error.message()));
  };

  /// Takes the LLM out of the rotation; whether it is still at an answer.
  func takenOut(creator : Creator, progress : Progress.Progress, { controllerId } : Types.MainerRecord, canister_id : Text) : async* Bool {
    let mainer : Actors.MainerController = actor (controllerId);
    var busy = false;
    func putBack() : async* () { await* Errors.check("add_llm_canister", await mainer.add_llm_canister({ canister_id })) };
    await* askMainer(progress, controllerId, func() : async* () {
      var listed = true;
      ignore await* Progress.ifOffered(progress, "getLlmCanisters", "the mAIner", func() : async* () {
        listed := (await mainer.getLlmCanisters()).indexOf(canister_id) != null;
      });
      if (listed) {
        progress.step := "take it from mAIner " # controllerId;
        progress.undo.add(("give it back to the mAIner", func() : async* () { await* askMainer(progress, controllerId, putBack) }));
        await* takeLlmFrom(creator.fleet, controllerId, canister_id);
      };
      ignore await* Progress.ifOffered(progress, "getWorkStatusAdmin", "the mAIner", func() : async* () {
        busy := switch ((await* workStatus(mainer)).answering) { case (?answer) answer.canister_id == canister_id; case null false };
      });
    });
    busy;
  };

  func workStatus(mainer : Actors.MainerController) : async* Types.WorkStatus {
    switch (await mainer.getWorkStatusAdmin()) {
      case (#Ok(status)) status;
      case (#Err(error)) throw Error.reject("getWorkStatusAdmin answered: " # Errors.describe(error));
    };
  };

  /// Takes an LLM out of a mAIner's list. Where the list can only be emptied, the others are given back.
  public func takeLlmFrom(fleet : Fleet.State, controllerId : Text, canister_id : Text) : async* () {
    let mainer : Actors.MainerController = actor (controllerId);
    try {
      await* unregistered("remove_llm_canister", await mainer.remove_llm_canister({ canister_id }));
    } catch error {
      if (not Errors.isMissingMethod(error)) throw error;
      await* Errors.check("reset_llm_canisters", await mainer.reset_llm_canisters());
      for (other in Fleet.llmsOf(fleet, controllerId).values()) {
        if (other != canister_id) await* Errors.check("add_llm_canister", await mainer.add_llm_canister({ canister_id = other }));
      };
    };
  };

  /// The answer of a removal is good as well when there was nothing to remove.
  public func unregistered(what : Text, result : Types.StatusCodeRecordResult) : async* () {
    if (result != #Err(#InvalidId)) await* Errors.check(what, result);
  };

  /// Does `step` while a mAIner can answer: it runs meanwhile, with the cycles for it. Left out if it is gone or empty.
  func askMainer(progress : Progress.Progress, address : Text, step : () -> async* ()) : async* () {
    let canister_id = Principal.fromText(address);
    progress.step := "look at mAIner " # address;
    let ?status = await* statusOf(canister_id) else return progress.skipped.add("asking mAIner " # address # ", which is gone");
    if (status.module_hash == null) return progress.skipped.add("asking mAIner " # address # ", which has no code");
    let wanted = frozenBelow(status) + callCycles;
    if (status.cycles < wanted) {
      progress.step := "fill up the cycles of mAIner " # address;
      let missing = wanted - status.cycles : Nat;
      await (with cycles = missing) ic.deposit_cycles({ canister_id });
      progress.notes.add("mAIner " # address # " got " # missing.toText() # " cycles, without which it does not answer");
    };
    if (status.status == #running) return await* step();
    progress.step := "start mAIner " # address;
    await ic.start_canister({ canister_id });
    try await* step() catch error {
      await ic.stop_canister({ canister_id });
      throw error;
    };
    await ic.stop_canister({ canister_id });
  };

  // Emptying and deleting

  type Prepared = { canister_id : Principal; there : Bool };

  func prepare(progress : Progress.Progress, canister_id : Principal, before : ?Status) : async* Prepared {
    progress.step := "stop canister " # canister_id.toText();
    switch before {
      case (?status) {
        progress.undo.add(("set canister " # canister_id.toText() # " going again", func() : async* () { await* Recovery.restore(canister_id, status) }));
        await* Recovery.prepare(canister_id);
      };
      case null progress.notes.add("canister " # canister_id.toText() # " was gone already");
    };
    { canister_id; there = before != null };
  };

  func delete(progress : Progress.Progress, fleet : Fleet.State, { canister_id; there } : Prepared, to : Principal) : async* [Types.RemovedCanister] {
    progress.step := "bring back the cycles of canister " # canister_id.toText() # " and delete it";
    let removed = if (there) [await* Recovery.delete(canister_id, to)] else [];
    Fleet.forget(fleet, canister_id.toText());
    removed;
  };

  func told(progress : Progress.Progress, removed : [Types.RemovedCanister]) : Types.RemovedRecord {
    var cyclesReturned = 0;
    for (canister in removed.values()) cyclesReturned += canister.cyclesReturned;
    let skipped = progress.skipped.toArray().map<Text, Text>(func step = "left out: " # step);
    { removed; cyclesReturned; notes = progress.notes.toArray().concat(skipped) };
  };

  // A mAIner

  /// With its LLMs; their cycles go to the creator. ShareAgents of a ShareService are told, and have none afterwards.
  public func removeMainer(creator : Creator, mainer : Types.MainerRecord) : async* Outcome {
    let progress = Progress.new();
    let address = mainer.controllerId;
    let canister_id = Principal.fromText(address);
    let removed : List.List<Types.RemovedCanister> = List.empty();
    try {
      progress.step := "look at mAIner " # address;
      let before = await* statusOf(canister_id);
      let answers = switch before { case (?status) canAnswer(status); case null false };
      if (answers and not (await* quiet(progress, actor (address)))) return #busy;
      let prepared : List.List<Prepared> = List.empty();
      for (id in mainer.llmIds.values()) {
        progress.step := "look at LLM " # id;
        prepared.add(await* prepare(progress, Principal.fromText(id), await* statusOf(Principal.fromText(id))));
      };
      await* unregister(creator, progress, mainer);
      if (answers and mainer.mainerAgentCanisterType == #ShareService) await* handBack(progress, actor (address));
      prepared.add(await* prepare(progress, canister_id, before));
      progress.undo.clear();
      for (agent in Fleet.agentsOf(creator.fleet, address).values()) await* tellAgent(progress, agent.controllerId);
      for (one in prepared.values()) removed.addAll((await* delete(progress, creator.fleet, one, creator.self)).values());
      #removed(told(progress, removed.toArray()));
    } catch error {
      let fault = await* Progress.undone(progress, error.message());
      #failed(if (removed.isEmpty()) fault else fault # "; removed before that: " # removed.values().map(func canister = canister.address).join(", "));
    };
  };

  /// Puts the mAIner into maintenance, so that nothing begins; whether nothing is under way any more.
  func quiet(progress : Progress.Progress, mainer : Actors.MainerController) : async* Bool {
    var idle = true;
    let offered = await* Progress.ifOffered(progress, "setMaintenanceFlagAdmin", "the mAIner", func() : async* () {
      let before = await* workStatus(mainer);
      func end() : async* () { await* Errors.check("setMaintenanceFlagAdmin", await mainer.setMaintenanceFlagAdmin(before.inMaintenance)) };
      await* Errors.check("setMaintenanceFlagAdmin", await mainer.setMaintenanceFlagAdmin(true));
      progress.undo.add(("end the maintenance", end));
      let status = await* workStatus(mainer);
      idle := status.idle;
      if (status.queueSize > 0) progress.notes.add(status.queueSize.toText() # " challenges of its queue are dropped");
      if (status.undelivered > 0) progress.notes.add(status.undelivered.toText() # " answers that it could not deliver are dropped");
    });
    if (not offered) {
      progress.step := "stopTimerExecutionAdmin";
      await* Errors.check("stopTimerExecutionAdmin", await mainer.stopTimerExecutionAdmin());
    };
    idle;
  };

  func unregister(creator : Creator, progress : Progress.Progress, mainer : Types.MainerRecord) : async* () {
    let address = mainer.controllerId;
    let entry : Types.MainerAgentCanisterInput = {
      address;
      canisterType = #MainerAgent;
      ownedBy = mainer.owner;
      mainerAgentCanisterType = mainer.mainerAgentCanisterType;
    };
    progress.step := "remove it from the Game State";
    let gameState : Actors.GameState = actor (creator.masterId);
    progress.undo.add((
      "register it with the Game State again",
      func() : async* () { await* Errors.check("addMainerAgentCanister", await gameState.addMainerAgentCanister(entry)) },
    ));
    await* unregistered("removeMainerAgentCanister", await gameState.removeMainerAgentCanister({ address }));
    let ?id = mainer.shareServiceId else return;
    let service : Actors.MainerController = actor (id);
    await* askMainer(progress, id, func() : async* () {
      ignore await* Progress.ifOffered(progress, "removeMainerShareAgentCanister", "the ShareService", func() : async* () {
        await* unregistered("removeMainerShareAgentCanister", await service.removeMainerShareAgentCanister({ address }));
        progress.undo.add((
          "register it with the ShareService again",
          func() : async* () { await* Errors.check("addMainerShareAgentCanister", await service.addMainerShareAgentCanister(entry)) },
        ));
      });
    });
  };

  /// What a ShareService has of its ShareAgents goes back to them.
  func handBack(progress : Progress.Progress, service : Actors.MainerController) : async* () {
    ignore await* Progress.ifOffered(progress, "resetChallengeQueueAdmin", "the ShareService", func() : async* () {
      await* Errors.check("resetChallengeQueueAdmin", await service.resetChallengeQueueAdmin());
    });
  };

  /// A ShareAgent whose ShareService goes has none, and takes no challenges until it is given one. One that cannot be told
  /// is named.
  func tellAgent(progress : Progress.Progress, address : Text) : async* () {
    let agent : Actors.MainerController = actor (address);
    let without = "ShareAgent " # address # " has no ShareService now";
    try {
      await* Errors.check("setShareServiceCanisterId", await agent.setShareServiceCanisterId(""));
      progress.notes.add(without);
    } catch error progress.notes.add(without # ", and could not be told: " # Progress.reason(error));
  };

  // Forgetting what is gone

  /// Takes a canister that was deleted by others from all lists.
  public func forgetDeleted(creator : Creator, address : Text) : async* Types.ForgottenResult {
    let ?canister_id = Principals.parseCanister(address) else return #Err(#Other("\"" # address # "\" is not a canister id"));
    let there = try (await* statusOf(canister_id)) != null catch _ true;
    if (there) return #Err(#Other("Canister " # address # " is there: only a canister that was deleted is forgotten"));
    let mainer = Fleet.recordOf(creator.fleet, address);
    let controllers = Fleet.mainersWith(creator.fleet, address);
    if (mainer == null and controllers.size() == 0) return #Err(#InvalidId);

    var text = "Canister " # address # " is forgotten";
    func note(what : Text, error : Error.Error) { text #= "; could not " # what # ": " # Progress.reason(error) };
    for ({ controllerId } in controllers.values()) {
      try await* takeLlmFrom(creator.fleet, controllerId, address) catch error note("take it from mAIner " # controllerId, error);
    };
    switch mainer {
      case (?{ shareServiceId; llmIds }) {
        let gameState : Actors.GameState = actor (creator.masterId);
        try await* unregistered("removeMainerAgentCanister", await gameState.removeMainerAgentCanister({ address })) catch error note("remove it from the Game State", error);
        switch shareServiceId {
          case (?id) {
            let service : Actors.MainerController = actor (id);
            try await* unregistered("removeMainerShareAgentCanister", await service.removeMainerShareAgentCanister({ address })) catch error note("remove it from ShareService " # id, error);
          };
          case null {};
        };
        if (llmIds.size() > 0) text #= "; its LLMs belong to nobody now: " # llmIds.values().join(", ");
      };
      case null {};
    };
    Fleet.forget(creator.fleet, address);
    #Ok({ forgotten = text });
  };
};
