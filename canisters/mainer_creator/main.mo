/// The mAIner Creator: keeps what mAIners are made of, and makes them.
///
/// A creation either gives a canister that works and is registered, or leaves nothing: when a step fails, the
/// registrations are undone, the cycles of the canister are brought back, the canister is deleted, and the error names
/// the step. The same is done to a canister that is there already and is to become what is ordered (a renewal), except
/// that it is never deleted. Steps that the other side's interface does not offer are left out, and the answer names them.

import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Cycles "mo:core/Cycles";
import Error "mo:core/Error";
import Iter "mo:core/Iter";
import List "mo:core/List";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Option "mo:core/Option";
import Principal "mo:core/Principal";
import Queue "mo:core/Queue";
import Set "mo:core/Set";
import Text "mo:core/Text";
import Actors "../common/Actors";
import Canisters "../common/Canisters";
import Clock "../common/Clock";
import Errors "../common/Errors";
import Limits "../common/Limits";
import Principals "../common/Principals";
import Types "../common/Types";
import Artefacts "Artefacts";
import BlockStore "BlockStore";
import Exchange "Exchange";
import Templates "Templates";
import Uploads "Uploads";
import Fleet "Fleet";
import Operations "Operations";
import Progress "Progress";
import Recovery "Recovery";
import Removal "Removal";

persistent actor MainerCreator {

  type ChunkHash = { hash : Blob };

  // State

  var masterId = ""; // the Game State
  let artefacts = Artefacts.new();
  let promptFormats : Map.Map<Text, Types.PromptFormat> = Map.empty(); // by model name
  let mainers : List.List<Types.MainerRecord> = List.empty();
  let contents : Map.Map<Text, Types.CanisterContent> = Map.empty(); // by canister
  let ordersDone : Map.Map<Text, { order : Text; canisterId : Text }> = Map.empty(); // by key
  let storedParts : Map.Map<Blob, [ChunkHash]> = Map.empty(); // of wasms in this canister's chunk store, by sha256
  let templates = Templates.new();
  let exchanges = Exchange.new();
  let makings : Map.Map<Text, Types.Making> = Map.empty(); // of LLMs, by canister
  var creationCycles : Types.CreationCycles = { controller = 3_000_000_000_000; llm = 5_000_000_000_000 };

  transient let fleet : Fleet.State = { mainers; contents; makings; ordersDone };

  Artefacts.afterUpgrade(artefacts);

  // Rules

  transient let maxMainers = 10_000; // as many as fit into the reply of getMainers
  transient let reserve = 500_000_000_000; // cycles that a creation leaves in the creator
  transient let cyclesPerByteSent = 1_100;
  transient let snapshotCycles = 100_000_000_000; // that a canister needs for taking or loading one
  transient let upgradeCycles = 500_000_000_000; // that a canister needs for an upgrade of its code
  transient let maxHeap = 4_294_967_296; // bytes; an LLM may use all that it can, not only the 3 GiB of new canisters
  transient let installChunkSize = 1_048_576; // what the chunk store of a canister takes
  transient let maxStoredParts = 90; // a chunk store holds 100; the rest is for creations that store the same at once
  transient let uploadsInFlight = 6;
  transient let uploadAttempts = 3;
  transient let instructionsPerUpdate : Nat64 = 30_000_000_000; // three quarters of what the network allows
  transient let instructionsPerQuery : Nat64 = 3_750_000_000;
  transient let maxTokensPerCall : Nat64 = 1_000;
  transient let maxTokensUnmeasured : Types.MaxTokensRecord = { max_tokens_update = 13; max_tokens_query = 1 };
  transient let maxKeySize = 200; // characters
  transient let templatesUnderWay : Set.Set<Text> = Set.empty(); // by model name
  transient let ordersUnderWay : Map.Map<Text, Types.CanisterOrder> = Map.empty(); // by key
  transient let ic = Actors.management;
  transient let ok : Types.StatusCodeRecordResult = #Ok({ status_code = 200 });

  func self() : Principal = Principal.fromActor(MainerCreator);

  // General

  public shared query ({ caller }) func whoami() : async Principal { caller };

  public query func health() : async Types.StatusCodeRecordResult { ok };

  public shared query ({ caller }) func amiController() : async Types.AuthRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok({ auth = "You are a controller of this canister." });
  };

  public shared ({ caller }) func setMasterCanisterId(id : Text) : async Types.AuthRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    if (Principals.parseCanister(id) == null) return #Err(#Other("\"" # Limits.clipped(id, Limits.idBytes) # "\" is not a canister id"));
    masterId := id;
    #Ok({ auth = "You set the master canister for this canister." });
  };

  public query func getMasterCanisterId() : async Text { masterId };

  /// Cycles that a new canister gets, the network's fee for making it included.
  public shared ({ caller }) func setCreationCycles(cycles : Types.CreationCycles) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    switch (Limits.refusal([#number("controller", cycles.controller, Limits.number), #number("llm", cycles.llm, Limits.number)])) {
      case (?error) return #Err(error);
      case null {};
    };
    creationCycles := cycles;
    ok;
  };

  public shared query ({ caller }) func getCreationCycles() : async Types.CreationCyclesResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(creationCycles);
  };

  public shared ({ caller }) func setModelPromptFormat(model : Types.AvailableModels, format : Types.PromptFormat) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    let name = Artefacts.modelName(model);
    switch (
      Artefacts.modelRefusal(model),
      Limits.promptFormat(format),
      if (promptFormats.containsKey(name)) null else Limits.full("prompt formats", promptFormats.size(), Artefacts.maxModels),
    ) {
      case (?error, _, _) return #Err(error);
      case (_, ?error, _) return #Err(error);
      case (_, _, ?error) return #Err(error);
      case (null, null, null) {};
    };
    promptFormats.add(name, format);
    ok;
  };

  public query func getModelPromptFormat(model : Types.AvailableModels) : async Types.PromptFormatResult {
    switch (promptFormats.get(Artefacts.modelName(model))) {
      case (?format) #Ok(format);
      case null #Err(#Other("No prompt format was set for " # Artefacts.modelName(model)));
    };
  };

  public query func getMainers() : async [Types.MainerInfo] { Fleet.list(fleet) };

  /// The orders with a key that are being carried out.
  public query func getOrdersUnderWay() : async [Types.CanisterOrder] {
    ordersUnderWay.values().toArray();
  };

  /// The model of which an LLM is made unless the order names one: whose file was uploaded last.
  public query func getLatestModel() : async ?Types.AvailableModels { artefacts.latestModel };

  public query func getArtefacts() : async [Types.ArtefactRecord] {
    Artefacts.list(artefacts).map(
      func record = {
        record with template = switch (record.target) {
          case (#LlmModel(model)) Templates.record(
            templates,
            Artefacts.modelName(model),
            switch (Artefacts.get(artefacts, #LlmWasm(model))) { case (?wasm) ?wasm.sha256; case null null },
            record.sha256,
          );
          case (_) null;
        };
      }
    );
  };

  include Uploads(artefacts);

  // Creation

  public shared ({ caller }) func createCanister(input : Types.CanisterCreationInput) : async Types.CanisterCreationResult {
    if (not mayOrder(caller)) return #Err(#Unauthorized);
    await* create({ input with key = null; renewedCanisterAddress = null });
  };

  /// As createCanister, for orders with a key and for renewals.
  public shared ({ caller }) func orderCanister(order : Types.CanisterOrder) : async Types.CanisterCreationResult {
    if (not mayOrder(caller) or (order.renewedCanisterAddress != null and not caller.isController())) return #Err(#Unauthorized);
    switch (order.key) {
      case (?key) await* createOnce(order, key);
      case null await* create(order);
    };
  };

  func mayOrder(caller : Principal) : Bool = caller.isController() or caller == self() or (masterId != "" and caller.toText() == masterId);

  /// Carries out the order with this key, unless that was done: then its canister is the answer. While it is being done
  /// the answer is status code 202. An order that failed is carried out again.
  func createOnce(input : Types.CanisterOrder, key : Text) : async* Types.CanisterCreationResult {
    if (key == "" or key.size() > maxKeySize) return #Err(#Other("A key has 1 to " # maxKeySize.toText() # " characters, this has " # key.size().toText()));
    let otherOrder : Types.CanisterCreationResult = #Err(#Other("The key \"" # key # "\" belongs to another order: give this one a key of its own"));
    let order = debug_show (input.canisterType, input.selectedModel, input.associatedCanisterAddress, input.owner, input.mainerAgentCanisterType);
    switch (ordersDone.get(key)) {
      case (?done) {
        if (done.order != order) return otherOrder;
        return #Ok({ creationResult = "Canister " # done.canisterId # " was created by an earlier order with this key"; newCanisterId = done.canisterId });
      };
      case null {};
    };
    switch (ordersUnderWay.get(key)) {
      case (?other) return if (other == input) #Err(#StatusCode(202)) else otherOrder;
      case null {};
    };
    ordersUnderWay.add(key, input);
    try {
      let result = await* create(input);
      switch result {
        case (#Ok({ newCanisterId })) if (input.renewedCanisterAddress == null) ordersDone.add(key, { order; canisterId = newCanisterId });
        case (#Err(_)) {};
      };
      result;
    } finally ordersUnderWay.remove(key);
  };

  func create(input : Types.CanisterOrder) : async* Types.CanisterCreationResult {
    let renewed = switch (input.renewedCanisterAddress) {
      case (?address) switch (Principals.parseCanister(address)) {
        case null return #Err(#Other("\"" # address # "\" is not a canister id"));
        case found found;
      };
      case null null;
    };
    if (isChanging(input.renewedCanisterAddress) or isChanging(input.associatedCanisterAddress)) {
      return #Err(#Other("An operator does something to this canister: try again when that has ended (getOperationsAdmin)"));
    };
    switch (input.canisterType, input.associatedCanisterAddress, renewed) {
      case (#MainerAgent, serviceId, null) await* createController(input.owner, input.mainerAgentCanisterType, serviceId);
      case (#MainerAgent, serviceId, ?canister) await* renewController(canister, input.owner, input.mainerAgentCanisterType, serviceId, input.selectedModel);
      case (#MainerLlm, ?controllerId, _) await* createLlm(input.owner, controllerId, input.selectedModel, renewed);
      case (#MainerLlm, null, _) #Err(#Other("associatedCanisterAddress is missing: give the mAIner controller that the LLM is for"));
      case (_) #Err(#Other("Unsupported: the creator makes canisters of type MainerAgent and MainerLlm"));
    };
  };

  public shared ({ caller }) func testCreateMainerControllerCanister(mainerType : Types.MainerAgentCanisterType, serviceId : ?Text) : async Types.CanisterCreationResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    await* createController(caller, mainerType, serviceId);
  };

  public shared ({ caller }) func testCreateMainerLlmCanister(controllerId : Text) : async Types.CanisterCreationResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    let ?model = artefacts.latestModel else return #Err(#Other("No model file was uploaded yet: upload one, and the LLM wasm for it"));
    await* createLlm(caller, controllerId, model, null);
  };

  func missing(target : Types.UploadTarget) : Types.CanisterCreationResult = #Err(#Other("There is no " # Artefacts.targetName(target) # ": upload it first"));

  /// The type of a mAIner, null of another canister that has LLMs as one: a Challenger or a Judge. Throws unless `id` is one
  /// of these and this canister a controller of it.
  func askUserOfLlms(id : Text) : async* ?Types.MainerAgentCanisterType {
    if (Principals.parseCanister(id) == null) throw Error.reject(Principals.notACanister(id));
    let canister : Actors.MainerController = actor (id);
    try {
      let (health, access, type_) = (canister.health(), canister.amiController(), canister.getMainerCanisterType());
      await* Errors.check("health", await health);
      await* Errors.check("amiController, asked by the mAIner Creator,", await access);
      switch (await type_) {
        case (#Ok(mainerType)) ?mainerType;
        case (#Err(error)) throw Error.reject("getMainerCanisterType answered: " # Errors.describe(error));
      };
    } catch error {
      if (Errors.isMissingMethod(error) and (await* hasLlms(canister))) return null;
      throw Error.reject("canister " # id # " is no mAIner that the creator controls: " # error.message());
    };
  };

  func hasLlms(canister : Actors.MainerController) : async* Bool = async* try { ignore await canister.getLlmCanisters(); true } catch _ false;

  func createController(owner : Principal, mainerType : Types.MainerAgentCanisterType, serviceId : ?Text) : async* Types.CanisterCreationResult {
    if (mainerType == #NA) return #Err(#Other("A mAIner is of type Own, ShareAgent or ShareService, not NA"));
    if (masterId == "") return #Err(#Other("The Game State is not known: give it with setMasterCanisterId"));
    switch (Limits.full("mAIners", mainers.size(), maxMainers)) {
      case (?error) return #Err(error);
      case null {};
    };
    let shareService : ?Text = if (mainerType != #ShareAgent) null else switch serviceId {
      case (?id) ?id;
      case null return #Err(#Other("A ShareAgent needs a ShareService: give the address of one"));
    };
    switch shareService {
      case (?id) try {
        if ((await* askUserOfLlms(id)) != ?#ShareService) return #Err(#Other("Canister " # id # " is not a mAIner of type ShareService"));
      } catch error return #Err(#Other("step check the ShareService: " # error.message()));
      case null {};
    };
    let ?wasm = Artefacts.get(artefacts, #MainerControllerWasm) else return missing(#MainerControllerWasm);
    let needed = creationCycles.controller + reserve + wasm.size * cyclesPerByteSent;
    if (Cycles.balance() < needed) return #Err(#InsuffientCycles(needed));

    BlockStore.retain(wasm.file);
    let progress = Progress.new();
    try {
      let id = await* makeController(progress, wasm, owner, mainerType, shareService);
      mainers.add({ controllerId = id; mainerAgentCanisterType = mainerType; owner; llmIds = []; shareServiceId = shareService; createdAt = Clock.now() });
      contents.add(id, madeOf(wasm, null, progress));
      #Ok({
        creationResult = "Created the mAIner controller canister " # id # " of type " # debug_show mainerType # " and registered it with the Game State " # masterId #
        (switch shareService { case (?service) " and the ShareService " # service; case null "" }) # Progress.skippedIn(progress);
        newCanisterId = id;
      });
    } catch error {
      #Err(#Other(await* Progress.undone(progress, error.message())));
    } finally BlockStore.release(artefacts.store, wasm.file);
  };

  func madeOf(wasm : Artefacts.Artefact, model : ?(Types.AvailableModels, Artefacts.Artefact), progress : Progress.Progress) : Types.CanisterContent = {
    wasmSha256 = wasm.sha256;
    model = switch model { case (?(name, _)) ?name; case null null };
    modelSha256 = switch model { case (?(_, file)) ?file.sha256; case null null };
    createdAt = Clock.now();
    skipped = progress.skipped.toArray();
  };

  func makeController(progress : Progress.Progress, wasm : Artefacts.Artefact, owner : Principal, mainerType : Types.MainerAgentCanisterType, shareService : ?Text) : async* Text {
    let canister = await* newCanister(progress, creationCycles.controller, [self(), owner], null);
    await* installStored(progress, canister, wasm, #install);
    let address = canister.toText();
    let mainer : Actors.MainerController = actor (address);
    progress.step := "health";
    await* Errors.check("health", await mainer.health());
    progress.step := "setGameStateCanisterId";
    await* Errors.check("setGameStateCanisterId", await mainer.setGameStateCanisterId(masterId));
    progress.step := "setMainerCanisterType";
    await* Errors.check("setMainerCanisterType", await mainer.setMainerCanisterType(mainerType));

    progress.step := "register with the Game State";
    let gameState : Actors.GameState = actor (masterId);
    let entry : Types.MainerAgentCanisterInput = { address; canisterType = #MainerAgent; ownedBy = owner; mainerAgentCanisterType = mainerType };
    progress.undo.add((
      "remove it from the Game State",
      func() : async* () { await* Removal.unregistered("removeMainerAgentCanister", await gameState.removeMainerAgentCanister({ address })) },
    ));
    await* Errors.check("addMainerAgentCanister", await gameState.addMainerAgentCanister(entry));

    switch shareService {
      case (?id) {
        let service : Actors.MainerController = actor (id);
        progress.step := "setShareServiceCanisterId";
        await* Errors.check("setShareServiceCanisterId", await mainer.setShareServiceCanisterId(id));
        progress.step := "register with the ShareService";
        progress.undo.add((
          "remove it from the ShareService",
          func() : async* () { await* Removal.unregistered("removeMainerShareAgentCanister", await service.removeMainerShareAgentCanister({ address })) },
        ));
        await* Errors.check("addMainerShareAgentCanister", await service.addMainerShareAgentCanister(entry));
      };
      case null {};
    };
    address;
  };

  /// `renewed`: the canister that becomes the LLM, if it is there already.
  func createLlm(owner : Principal, controllerId : Text, model : Types.AvailableModels, renewed : ?Principal) : async* Types.CanisterCreationResult {
    let ordered = Clock.now();
    let progress = Progress.new();
    Progress.next(progress, "check the mAIner controller");
    let mainerType = switch (try { await* askUserOfLlms(controllerId) } catch error return #Err(#Other("step " # progress.step # ": " # error.message()))) {
      case (?#ShareAgent) return #Err(#Other("ShareAgent type canister is not allowed to control an LLM canister"));
      case (?#NA) return #Err(#Other("The type of mAIner " # controllerId # " is not set: give it with setMainerCanisterType"));
      case (?mainerType) mainerType;
      case null #NA;
    };
    let ?wasm = Artefacts.get(artefacts, #LlmWasm(model)) else return missing(#LlmWasm(model));
    let ?modelFile = Artefacts.get(artefacts, #LlmModel(model)) else return missing(#LlmModel(model));
    let needed = creationCycles.llm + reserve + (wasm.size + modelFile.size) * cyclesPerByteSent;
    if (Cycles.balance() < needed) return #Err(#InsuffientCycles(needed));

    BlockStore.retain(wasm.file);
    BlockStore.retain(modelFile.file);
    try {
      let (id, how, limits) = await* makeLlm(progress, wasm, modelFile, owner, controllerId, model, renewed);
      Fleet.noteLlm(fleet, controllerId, mainerType, owner, id);
      contents.add(id, madeOf(wasm, ?(model, modelFile), progress));
      makings.add(id, { how; rounds = progress.rounds; nanoseconds = Clock.now() - ordered });
      #Ok({
        creationResult = (if (renewed == null) "Created" else "Renewed") # " the LLM canister " # id # " with the " # Artefacts.targetName(#LlmModel(model)) # " (" # modelFile.size.toText() # " bytes) for mAIner " # controllerId # "; " # limits.maxTokens.max_tokens_update.toText() # " tokens per update call, " # limits.how # Progress.skippedIn(progress);
        newCanisterId = id;
      });
    } catch error {
      #Err(#Other(await* Progress.undone(progress, error.message())));
    } finally {
      BlockStore.release(artefacts.store, wasm.file);
      BlockStore.release(artefacts.store, modelFile.file);
    };
  };

  func makeLlm(progress : Progress.Progress, wasm : Artefacts.Artefact, modelFile : Artefacts.Artefact, owner : Principal, controllerId : Text, model : Types.AvailableModels, renewed : ?Principal) : async* (Text, { #copied; #template }, Templates.Limits) {
    let mainer : Actors.MainerController = actor (controllerId);
    switch renewed {
      case (?canister) {
        Progress.next(progress, "take it from the mAIner while it is renewed");
        contents.remove(canister.toText());
        Exchange.forget(exchanges, canister.toText());
        await* Removal.takeLlmFrom(fleet, controllerId, canister.toText());
      };
      case null {};
    };
    let template = await* templateFor(progress, wasm, modelFile, model);
    let canister = switch renewed {
      case (?there) { Progress.next(progress, ""); ignore await* revive(progress, there, creationCycles.llm); there };
      case null await* newCanister(progress, creationCycles.llm, [Principal.fromText(controllerId), self(), owner], ?maxHeap);
    };
    let loaded = switch template {
      case (?found) if (await* loadTemplate(progress, canister, found, model, renewed != null)) ?found.limits else null;
      case null null;
    };
    let (how, limits) = switch loaded {
      case (?limits) (#template, limits);
      case null (#copied, await* prepareLlm(progress, canister, wasm, modelFile));
    };
    let canister_id = canister.toText();
    progress.undo.add((
      "remove it from the mAIner",
      func() : async* () { await* Removal.takeLlmFrom(fleet, controllerId, canister_id) },
    ));
    Progress.next(progress, "add_llm_canister"); // and the form of its prompts, which is set before it is added
    let formatSet = switch (promptFormats.get(Artefacts.modelName(model))) {
      case (?format) ?mainer.setPromptFormat(format);
      case null null;
    };
    let added = mainer.add_llm_canister({ canister_id });
    switch formatSet {
      case (?answer) try await* Errors.check("setPromptFormat", await answer) catch error await* Progress.leaveOut(progress, "setPromptFormat", "the mAIner", error);
      case null {};
    };
    await* Errors.check("add_llm_canister", await added);
    (canister_id, how, limits);
  };

  /// Makes an LLM of a canister, whatever it has been, by copying the model file into it.
  func prepareLlm(progress : Progress.Progress, canister : Principal, wasm : Artefacts.Artefact, modelFile : Artefacts.Artefact) : async* Templates.Limits {
    let llm : Actors.Llm = actor (canister.toText());
    Progress.next(progress, "");
    await* installStored(progress, canister, wasm, #reinstall);
    Progress.next(progress, "health");
    await* Errors.check("health", await llm.health());
    Progress.next(progress, "log_pause");
    await* Errors.check("log_pause", await llm.log_pause());
    progress.step := "copy the model file";
    await* copyModel(progress, llm, modelFile, Exchange.firstPath);
    Progress.next(progress, "load_model");
    await* Exchange.load(llm, Exchange.firstPath);
    Progress.next(progress, "set_max_tokens");
    let limits = await* measureMaxTokens(progress, llm);
    Progress.next(progress, "set_max_tokens");
    await* Errors.check("set_max_tokens", await llm.set_max_tokens(limits.maxTokens));
    limits;
  };

  // Templates

  /// Whether LLMs are made of templates, which take memory that costs cycles. Without, those there are are deleted.
  public shared ({ caller }) func setTemplates(on : Bool) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    templates.on := on;
    try {
      for ((model, template) in templates.byModel.toArray().values()) {
        if (on) {
          ignore await* revive(Progress.new(), template.canister, creationCycles.llm);
        } else {
          await* deleteAgain(template.canister);
          templates.byModel.remove(model);
        };
      };
      ok;
    } catch error #Err(#Other(error.message()));
  };

  public query func getTemplates() : async Bool { templates.on };

  /// The template of this wasm and this model file, which is made now if there is none; null if there can be none.
  func templateFor(progress : Progress.Progress, wasm : Artefacts.Artefact, modelFile : Artefacts.Artefact, model : Types.AvailableModels) : async* ?Templates.Template {
    let name = Artefacts.modelName(model);
    let there = Templates.find(templates, name, wasm.sha256, modelFile.sha256);
    if (not templates.on) return null;
    if (there != null or templatesUnderWay.contains(name)) return there;
    if (Cycles.balance() < 2 * creationCycles.llm + reserve + (wasm.size + modelFile.size) * cyclesPerByteSent) return null;
    templatesUnderWay.add(name);
    let own = Progress.new();
    try {
      let made = await* makeTemplate(own, wasm, modelFile);
      let replaced = templates.byModel.swap(name, made);
      switch replaced {
        case (?old) await* deleteAgain(old.canister);
        case null {};
      };
      ?made;
    } catch error {
      progress.skipped.add("a template (" # (await* Progress.undone(own, error.message())) # ")");
      if (Errors.isMissingMethod(error)) templates.on := false; // this network takes no snapshots
      null;
    } finally {
      progress.rounds += own.rounds;
      templatesUnderWay.remove(name);
    };
  };

  func makeTemplate(progress : Progress.Progress, wasm : Artefacts.Artefact, modelFile : Artefacts.Artefact) : async* Templates.Template {
    let canister = await* newCanister(progress, creationCycles.llm, [self()], ?maxHeap);
    let limits = await* prepareLlm(progress, canister, wasm, modelFile);
    Progress.next(progress, "take a snapshot");
    let snapshot = await ic.take_canister_snapshot({ canister_id = canister; replace_snapshot = null; uninstall_code = ?true; sender_canister_version = null });
    Progress.next(progress, "look at what it costs");
    let status = await ic.canister_status({ canister_id = canister });
    {
      canister;
      snapshot = snapshot.id;
      wasmSha256 = wasm.sha256;
      modelSha256 = modelFile.sha256;
      limits;
      size = Nat64.toNat(snapshot.total_size);
      cyclesPerDay = status.idle_cycles_burned_per_day;
      createdAt = Clock.now();
    };
  };

  /// Makes a canister, which is empty unless it is `there` already, what the template is. Whether that could be done.
  func loadTemplate(progress : Progress.Progress, canister_id : Principal, template : Templates.Template, model : Types.AvailableModels, there : Bool) : async* Bool {
    let llm : Actors.Llm = actor (canister_id.toText());
    try {
      if there {
        Progress.next(progress, "stop it");
        await ic.stop_canister({ canister_id }); // what its old code has called must not come back to the new
      };
      Progress.next(progress, "load the template");
      await ic.load_canister_snapshot({ canister_id; snapshot_id = template.snapshot; sender_canister_version = null });
      if there {
        Progress.next(progress, "start it");
        await ic.start_canister({ canister_id });
      };
      Progress.next(progress, "ready");
      await* Errors.check("ready", await llm.ready());
      true;
    } catch error {
      progress.skipped.add("the template (step " # progress.step # ": " # error.message() # "), so the model was copied");
      if there await ic.start_canister({ canister_id });
      if (error.message().contains(#text "IC0305")) templates.byModel.remove(Artefacts.modelName(model)); // the snapshot is gone
      false;
    };
  };

  func newCanister(progress : Progress.Progress, cycles : Nat, controllers : [Principal], wasm_memory_limit : ?Nat) : async* Principal {
    Progress.next(progress, "create canister");
    let { canister_id } = await (with cycles) ic.create_canister({
      settings = ?{ Canisters.noSettings with controllers = ?controllers; wasm_memory_limit };
      sender_canister_version = null;
    });
    progress.undo.add(("delete canister " # canister_id.toText() # ", which is left", func() : async* () { await* deleteAgain(canister_id) }));
    canister_id;
  };

  /// Starts a canister that is stopped and fills its cycles up to those of a new one; its status before.
  func revive(progress : Progress.Progress, canister_id : Principal, cycles : Nat) : async* Types.CanisterStatusRecord {
    let status = await* filledUp(progress, canister_id, cycles);
    if (status.status != #running) {
      progress.step := "start it";
      await ic.start_canister({ canister_id });
    };
    status;
  };

  /// Fills the cycles of a canister up to `cycles` beyond what is frozen; its status before.
  func filledUp(progress : Progress.Progress, canister_id : Principal, cycles : Nat) : async* Types.CanisterStatusRecord {
    progress.step := "look at canister " # canister_id.toText();
    let status = await ic.canister_status({ canister_id });
    let wanted = cycles + Removal.frozenBelow(status);
    if (status.cycles < wanted) {
      progress.step := "fill up its cycles";
      let missing = wanted - status.cycles : Nat;
      if (Cycles.balance() < missing + reserve) throw Error.reject(Errors.describe(#InsuffientCycles(missing + reserve)));
      await (with cycles = missing) ic.deposit_cycles({ canister_id });
      progress.notes.add("canister " # canister_id.toText() # " got " # missing.toText() # " cycles");
    };
    status;
  };

  func installStored(progress : Progress.Progress, canister_id : Principal, wasm : Artefacts.Artefact, mode : Actors.InstallMode) : async* () {
    progress.step := "install code";
    let known = storedParts.get(wasm.sha256) != null;
    try await* install(canister_id, wasm, mode) catch error {
      if (not known) throw error;
      storedParts.remove(wasm.sha256); // the chunk store may have been cleared by a controller
      await* install(canister_id, wasm, mode);
    };
    switch (storedParts.get(wasm.sha256)) {
      case (?parts) if (not known) Progress.calls(progress, parts.size()); // one after the other
      case null {};
    };
  };

  /// Installs `wasm` from the chunk store of this canister, which all new canisters share.
  func install(target_canister : Principal, wasm : Artefacts.Artefact, mode : Actors.InstallMode) : async* () {
    let chunk_hashes_list = switch (storedParts.get(wasm.sha256)) {
      case (?hashes) hashes;
      case null await* storeParts(wasm);
    };
    await ic.install_chunked_code({
      mode;
      target_canister;
      store_canister = ?self();
      chunk_hashes_list;
      wasm_module_hash = wasm.sha256;
      arg = to_candid ();
      sender_canister_version = null;
    });
  };

  /// Puts `wasm` into the chunk store of this canister and remembers the hashes of its parts.
  func storeParts(wasm : Artefacts.Artefact) : async* [ChunkHash] {
    let parts = BlockStore.parts(wasm.file, wasm.size, installChunkSize);
    var stored = 0;
    for (hashes in storedParts.values()) stored += hashes.size();
    if (stored + parts.size() > maxStoredParts) {
      storedParts.clear();
      await ic.clear_chunk_store({ canister_id = self() });
    };
    let hashes : List.List<ChunkHash> = List.empty();
    for ((offset, size) in parts.values()) {
      hashes.add(await ic.upload_chunk({ canister_id = self(); chunk = BlockStore.readPart(artefacts.store, wasm.file, offset, size) }));
    };
    storedParts.add(wasm.sha256, hashes.toArray());
    hashes.toArray();
  };

  /// Copies the model file with several chunks under way at a time; a chunk that fails is sent again.
  func copyModel(progress : Progress.Progress, llm : Actors.Llm, modelFile : Artefacts.Artefact, filename : Text) : async* () {
    let parts = BlockStore.parts(modelFile.file, modelFile.size, Artefacts.chunkSize);
    Progress.calls(progress, (parts.size() + uploadsInFlight - 1 : Nat) / uploadsInFlight);
    func input((offset, size) : (Nat, Nat)) : Types.FileUploadInputRecord = {
      filename;
      chunk = BlockStore.readPart(artefacts.store, modelFile.file, offset, size);
      chunksize = Nat64.fromNat(size);
      offset = Nat64.fromNat(offset);
    };
    let underWay : Queue.Queue<{ index : Nat; attempt : Nat; answer : async Types.FileUploadRecordResult }> = Queue.empty();
    var next = 0;
    var copied = 0;
    loop {
      if (next < parts.size() and underWay.size() < uploadsInFlight) {
        underWay.pushBack({ index = next; attempt = 1; answer = llm.file_upload_chunk(input(parts[next])) });
        next += 1;
      } else {
        let ?{ index; attempt; answer } = underWay.popFront() else {
          if (copied != modelFile.size) throw Error.reject("the copy has " # copied.toText() # " bytes, the model file has " # modelFile.size.toText());
          return;
        };
        let fault = try {
          switch (await answer) {
            case (#Ok({ filesize })) {
              copied := Nat.max(copied, Nat64.toNat(filesize));
              null;
            };
            case (#Err(error)) ?Errors.describe(error);
          };
        } catch error ?error.message();
        switch fault {
          case (?reason) {
            if (attempt == uploadAttempts) throw Error.reject("the chunk at byte " # parts[index].0.toText() # " failed " # attempt.toText() # " times: " # reason);
            underWay.pushBack({ index; attempt = attempt + 1; answer = llm.file_upload_chunk(input(parts[index])) });
          };
          case null {};
        };
      };
    };
  };

  /// How many tokens the LLM does in a call so that the call stays under the network's instruction limit, and how that is known.
  func measureMaxTokens(progress : Progress.Progress, llm : Actors.Llm) : async* Templates.Limits {
    let measured = try { await llm.measure_token_cost() } catch error {
      if (Errors.isMissingMethod(error)) progress.skipped.add("measure_token_cost, which the LLM does not offer");
      return { maxTokens = maxTokensUnmeasured; how = "not measured (measure_token_cost: " # error.message() # ")" };
    };
    switch measured {
      case (#Err(error)) throw Error.reject("measure_token_cost answered: " # Errors.describe(error));
      case (#Ok(cost)) {
        let perToken = Nat64.max(1, Nat64.max(cost.instructions_per_prompt_token, cost.instructions_per_generated_token));
        func fitting(instructions : Nat64) : Nat64 {
          if (instructions <= cost.instructions_fixed) return 1;
          Nat64.max(1, Nat64.min(maxTokensPerCall, (instructions - cost.instructions_fixed) / perToken));
        };
        {
          maxTokens = { max_tokens_update = fitting(instructionsPerUpdate); max_tokens_query = fitting(instructionsPerQuery) };
          how = "measured at " # perToken.toText() # " instructions a token";
        };
      };
    };
  };

  // Renewing a controller

  /// Brings a mAIner's controller to the wasm that is uploaded, to the type, and to its ties: the Game State, the
  /// ShareService or ShareAgents, the LLMs and how they are asked. Its state is kept. A mAIner that is not known here is
  /// then known.
  func renewController(canister : Principal, owner : Principal, mainerType : Types.MainerAgentCanisterType, serviceId : ?Text, model : Types.AvailableModels) : async* Types.CanisterCreationResult {
    if (mainerType == #NA) return #Err(#Other("A mAIner is of type Own, ShareAgent or ShareService, not NA"));
    if (masterId == "") return #Err(#Other("The Game State is not known: give it with setMasterCanisterId"));
    if (mainerType == #ShareAgent and serviceId == null) return #Err(#Other("A ShareAgent needs a ShareService: give the address of one"));
    let ?wasm = Artefacts.get(artefacts, #MainerControllerWasm) else return missing(#MainerControllerWasm);
    BlockStore.retain(wasm.file);
    let progress = Progress.new();
    let address = canister.toText();
    try {
      let empty = await* upgraded(progress, canister, wasm);
      let mainer : Actors.MainerController = actor (address);
      progress.step := "health";
      await* Errors.check("health", await mainer.health());
      await* tie(progress, mainer, { address; canisterType = #MainerAgent; ownedBy = owner; mainerAgentCanisterType = mainerType }, serviceId, model, empty);
      contents.add(address, madeOf(wasm, null, progress));
      #Ok({
        creationResult = "Renewed the mAIner controller canister " # address # " of type " # debug_show mainerType # Progress.skippedIn(progress);
        newCanisterId = address;
      });
    } catch error {
      #Err(#Other(await* Progress.undone(progress, error.message())));
    } finally BlockStore.release(artefacts.store, wasm.file);
  };

  /// Installs `wasm` unless it is installed; an upgrade keeps the state. Whether there was no code.
  func upgraded(progress : Progress.Progress, canister_id : Principal, wasm : Artefacts.Artefact) : async* Bool {
    let status = await* revive(progress, canister_id, creationCycles.controller);
    if (status.module_hash == ?wasm.sha256) return false;
    if (status.module_hash == null) {
      await* installStored(progress, canister_id, wasm, #install);
      return true;
    };
    await* installUpgrade(progress, canister_id, wasm, true);
    false;
  };

  /// Stops the canister, upgrades it with its state, and starts it if it was `running`, also when that failed.
  func installUpgrade(progress : Progress.Progress, canister_id : Principal, wasm : Artefacts.Artefact, running : Bool) : async* () {
    progress.step := "stop it for the upgrade";
    if (running) await ic.stop_canister({ canister_id }); // with calls under way, Motoko refuses
    try {
      // Motoko's main memory is kept; modules that have nothing like it refuse the option.
      let keeping : Actors.InstallMode = #upgrade(?{ skip_pre_upgrade = null; wasm_memory_persistence = ?#keep });
      try await* installStored(progress, canister_id, wasm, keeping) catch error {
        if (not error.message().contains(#text "wasm_memory_persistence")) throw error;
        await* installStored(progress, canister_id, wasm, #upgrade(null));
      };
    } catch error {
      if (running) await ic.start_canister({ canister_id });
      throw error;
    };
    if (running) await ic.start_canister({ canister_id });
  };

  /// Sets what is not as it should be; `empty`: nothing is.
  func tie(progress : Progress.Progress, mainer : Actors.MainerController, entry : Types.MainerAgentCanisterInput, serviceId : ?Text, model : Types.AvailableModels, empty : Bool) : async* () {
    let { address; mainerAgentCanisterType = mainerType } = entry;
    progress.step := "setMainerCanisterType";
    let untied = empty or (await mainer.getMainerCanisterType()) != #Ok(mainerType);
    if (untied) await* Errors.check("setMainerCanisterType", await mainer.setMainerCanisterType(mainerType));
    progress.step := "setGameStateCanisterId";
    if ((await mainer.getGameStateCanisterId()) != masterId) await* Errors.check("setGameStateCanisterId", await mainer.setGameStateCanisterId(masterId));
    progress.step := "register with the Game State";
    let gameState : Actors.GameState = actor (masterId);
    await* Errors.check("addMainerAgentCanister", await gameState.addMainerAgentCanister(entry));

    let before = Fleet.recordOf(fleet, address);
    let shareServiceId = if (mainerType == #ShareAgent) serviceId else null;
    switch shareServiceId {
      case (?id) {
        progress.step := "setShareServiceCanisterId";
        if ((await mainer.getShareServiceCanisterId()) != id) await* Errors.check("setShareServiceCanisterId", await mainer.setShareServiceCanisterId(id));
        progress.step := "register with the ShareService";
        let service : Actors.MainerController = actor (id);
        await* Errors.check("addMainerShareAgentCanister", await service.addMainerShareAgentCanister(entry));
      };
      case null {};
    };
    var llmIds = switch before { case (?mainer) mainer.llmIds; case null [] };
    ignore await* Progress.ifOffered(progress, "getLlmCanisters", "the mAIner", func() : async* () {
      let listed = await mainer.getLlmCanisters();
      progress.step := "add_llm_canister";
      for (canister_id in llmIds.values()) {
        if (not untied and listed.indexOf(canister_id) == null) await* Errors.check("add_llm_canister", await mainer.add_llm_canister({ canister_id }));
      };
      llmIds := llmIds.concat(listed.filter(func id = llmIds.indexOf(id) == null));
    });
    if (untied) {
      progress.step := "add_llm_canister";
      for (canister_id in llmIds.values()) await* Errors.check("add_llm_canister", await mainer.add_llm_canister({ canister_id }));
      progress.step := "register its ShareAgents";
      for (agent in mainers.values()) {
        if (agent.shareServiceId == ?address) await* Errors.check(
          "addMainerShareAgentCanister",
          await mainer.addMainerShareAgentCanister({ address = agent.controllerId; canisterType = #MainerAgent; ownedBy = agent.owner; mainerAgentCanisterType = #ShareAgent }),
        );
      };
    };
    switch (promptFormats.get(Artefacts.modelName(model))) {
      case (?format) if (mainerType != #ShareAgent) {
        ignore await* Progress.ifOffered(progress, "setPromptFormat", "the mAIner", func() : async* () {
          await* Errors.check("setPromptFormat", await mainer.setPromptFormat(format));
        });
      };
      case null {};
    };

    let record : Types.MainerRecord = {
      controllerId = address;
      mainerAgentCanisterType = mainerType;
      owner = entry.ownedBy;
      llmIds;
      shareServiceId;
      createdAt = switch before { case (?mainer) mainer.createdAt; case null Clock.now() };
    };
    Fleet.note(fleet, record);
  };

  /// Registers with the Game State those of the mAIners that it does not know, as after it was installed anew.
  public shared ({ caller }) func registerMainers() : async Types.RegisteredResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    if (masterId == "") return #Err(#Other("The Game State is not known: give it with setMasterCanisterId"));
    let gameState : Actors.GameState = actor (masterId);
    let registered : List.List<Text> = List.empty();
    try {
      for ({ controllerId = address; owner; mainerAgentCanisterType } in mainers.filter(func mainer = mainer.mainerAgentCanisterType != #NA).toArray().values()) {
        switch (await gameState.getMainerAgentCanisterInfo({ address })) {
          case (#Ok(_)) {};
          case (#Err(_)) {
            await* Errors.check("addMainerAgentCanister", await gameState.addMainerAgentCanister({ address; canisterType = #MainerAgent; ownedBy = owner; mainerAgentCanisterType }));
            registered.add(address);
          };
        };
      };
      #Ok({ registered = registered.toArray() });
    } catch error #Err(#Other("step register with the Game State: " # error.message()));
  };

  // Operating what was made

  func creator() : Removal.Creator = { fleet; self = self(); masterId };

  /// Takes a canister that was deleted from the lists: here, of the Game State, of its ShareService or mAIner.
  public shared ({ caller }) func forgetCanister(input : Types.CanisterRetrieveInput) : async Types.ForgottenResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    await* Removal.forgetDeleted(creator(), input.address);
  };

  /// For a snapshot, which takes as much memory again, and so freezes as many cycles.
  func fillUp(canister_id : Principal) : async* () {
    let frozen = Removal.frozenBelow(await ic.canister_status({ canister_id }));
    ignore await* filledUp(Progress.new(), canister_id, frozen + snapshotCycles);
  };

  /// What an LLM is to be made of: the model it has, else the latest.
  func modelOf(llmId : Text) : ?Types.AvailableModels {
    switch (contents.get(llmId)) {
      case (?{ model = ?model }) ?model;
      case (_) artefacts.latestModel;
    };
  };

  func upgradeMade(place : Fleet.Place, address : Text, sha256 : Blob) : async* Types.CanisterCreationResult {
    let target = switch (place, modelOf(address)) {
      case (#mainer(_), _) #MainerControllerWasm;
      case (#llm(_), ?model) #LlmWasm(model);
      case (#llm(_), null) return #Err(#Other("No model file was uploaded yet: upload one, and the LLM wasm for it"));
    };
    let ?wasm = Artefacts.get(artefacts, target) else return missing(target);
    if (wasm.sha256 != sha256) {
      return #Err(#Other("The uploaded " # Artefacts.targetName(target) # " has sha256 " # Artefacts.hex(wasm.sha256) # ", not " # Artefacts.hex(sha256) # ": it was uploaded anew meanwhile, or never"));
    };
    let canister_id = Principal.fromText(address);
    let progress = Progress.new();
    BlockStore.retain(wasm.file);
    try {
      let status = await* filledUp(progress, canister_id, upgradeCycles);
      if (status.module_hash == null) return await* renew(place, address, modelOf(address));
      if (status.module_hash != ?wasm.sha256) await* installUpgrade(progress, canister_id, wasm, status.status == #running);
      contents.add(
        address,
        switch (contents.get(address)) {
          case (?content) ({ content with wasmSha256 = wasm.sha256 });
          case null madeOf(wasm, null, progress);
        },
      );
      let how = if (status.module_hash == ?wasm.sha256) " has this code already" else " was upgraded";
      #Ok({ creationResult = "Canister " # address # how # progress.notes.values().map(func note = "; " # note).join(""); newCanisterId = address });
    } catch error #Err(#Other(await* Progress.undone(progress, error.message()))) finally BlockStore.release(artefacts.store, wasm.file);
  };

  func renew(place : Fleet.Place, address : Text, model : ?Types.AvailableModels) : async* Types.CanisterCreationResult {
    let canister_id = Principal.fromText(address);
    switch (place, model) {
      case (#mainer(mainer), _) {
        let format = Option.get(model, #Other("")); // of no known model: the prompt format is left out
        await* renewController(canister_id, mainer.owner, mainer.mainerAgentCanisterType, mainer.shareServiceId, format);
      };
      case (#llm(mainer), ?known) await* createLlm(mainer.owner, mainer.controllerId, known, ?canister_id);
      case (#llm(_), null) #Err(#Other("No model file was uploaded yet: upload one, and the LLM wasm for it"));
    };
  };

  func reinstallMade(mainer : Types.MainerRecord, address : Text, model : ?Types.AvailableModels) : async* Types.CanisterCreationResult {
    await* renew(#llm(mainer), address, if (model == null) modelOf(address) else model);
  };

  /// Undoes the making of a canister, which keeps what it did not use.
  func deleteAgain(canister_id : Principal) : async* () {
    await* Recovery.prepare(canister_id);
    ignore await* Recovery.delete(canister_id, self());
  };

  /// What an LLM is to be given another model by.
  func exchangeOf({ controllerId } : Types.MainerRecord, { address; selectedModel } : Types.ModelExchangeInput, progress : Progress.Progress) : Types.Result<Exchange.Exchange> {
    let ?modelFile = Artefacts.get(artefacts, #LlmModel(selectedModel)) else return #Err(#Other("There is no " # Artefacts.targetName(#LlmModel(selectedModel)) # ": upload it first"));
    #Ok({
      state = exchanges;
      contents;
      controllerId;
      canister_id = address;
      model = selectedModel;
      modelFile;
      formatOf = func(model : Types.AvailableModels) : Types.PromptFormat = Option.get(promptFormats.get(Artefacts.modelName(model)), Types.plainPromptFormat);
      copyModel = func(llm : Actors.Llm, filename : Text) : async* () {
        let needed = reserve + modelFile.size * cyclesPerByteSent;
        if (Cycles.balance() < needed) throw Error.reject(Errors.describe(#InsuffientCycles(needed)));
        BlockStore.retain(modelFile.file);
        try await* copyModel(progress, llm, modelFile, filename) finally BlockStore.release(artefacts.store, modelFile.file);
      };
      measureMaxTokens = func(llm : Actors.Llm) : async* Templates.Limits = async* await* measureMaxTokens(progress, llm);
      takeLlm = func(llmId : Text) : async* () = async* await* Removal.takeLlmFrom(fleet, controllerId, llmId);
    });
  };

  include Operations(fleet, creator, fillUp, upgradeMade, reinstallMade, exchangeOf);
};
