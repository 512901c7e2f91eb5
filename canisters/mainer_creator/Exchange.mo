/// Another model for an LLM canister that is there, without touching its code.
///
/// The file of the new model is copied beside the old one's, which answers meanwhile. Then the LLM leaves its mAIner's
/// rotation (a mAIner without another LLM is put into maintenance instead), loads the new model and is asked a question. If
/// that fails, it answers with the old model again; otherwise the old file is removed.
///
/// A mAIner asks all its LLMs in one form. When the new model is asked otherwise than the others, they leave the rotation as
/// it comes back, and come back with their own exchange.

import Array "mo:core/Array";
import Error "mo:core/Error";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Text "mo:core/Text";
import Actors "../common/Actors";
import Clock "../common/Clock";
import Errors "../common/Errors";
import Types "../common/Types";
import Artefacts "Artefacts";
import Templates "Templates";

module {
  /// By LLM: the sha256 of the model file that it has besides the one in use; the path of the one in use, if it is not the
  /// first. By mAIner: the LLM for which it is in maintenance.
  public type State = { copies : Map.Map<Text, Blob>; paths : Map.Map<Text, Text>; paused : Map.Map<Text, Text> };

  /// An LLM and the model that it is to have; what the creator knows and does besides.
  public type Exchange = {
    state : State;
    contents : Map.Map<Text, Types.CanisterContent>;
    controllerId : Text;
    canister_id : Text;
    model : Types.AvailableModels;
    modelFile : Artefacts.Artefact;
    formatOf : Types.AvailableModels -> Types.PromptFormat;
    copyModel : (Actors.Llm, Text) -> async* (); // to this path
    measureMaxTokens : Actors.Llm -> async* Templates.Limits;
    takeLlm : Text -> async* (); // out of the mAIner's rotation
  };

  public let firstPath = "models/model.gguf"; // of the model that an LLM was made with

  let question = "What is one and one?";
  let cache = "exchange.cache";
  let tokensWanted = "8"; // of the answer to the question
  let maxCalls = 30; // of run_update for it, as for a mAIner's answer

  public func new() : State = { copies = Map.empty(); paths = Map.empty(); paused = Map.empty() };

  /// An LLM is gone, or is made anew.
  public func forget(state : State, canister_id : Text) {
    state.copies.remove(canister_id);
    state.paths.remove(canister_id);
  };

  func path(sha256 : Blob) : Text = "models/" # Artefacts.hex(sha256) # ".gguf";

  func pathInUse({ state; canister_id } : Exchange) : Text = switch (state.paths.get(canister_id)) { case (?path) path; case null firstPath };

  func isThere({ contents; canister_id; modelFile } : Exchange) : Bool = switch (contents.get(canister_id)) {
    case (?{ modelSha256 = ?sha256 }) sha256 == modelFile.sha256;
    case (_) false;
  };

  func isCopied({ state; canister_id; modelFile } : Exchange) : Bool = state.copies.get(canister_id) == ?modelFile.sha256;

  func mainerOf({ controllerId } : Exchange) : Actors.MainerController = actor (controllerId);

  /// Copies the model file, unless the LLM has it.
  public func copy(x : Exchange) : async* () {
    if (isThere(x) or isCopied(x)) return;
    await* dropCopy(x);
    await* x.copyModel(actor (x.canister_id), path(x.modelFile.sha256));
    x.state.copies.add(x.canister_id, x.modelFile.sha256);
  };

  func dropCopy({ state; canister_id } : Exchange) : async* () {
    let ?sha256 = state.copies.get(canister_id) else return;
    state.copies.remove(canister_id);
    ignore await* removed(actor (canister_id), path(sha256));
  };

  /// `busy`: the LLM has left the rotation and still answers; `failed`: what happened, in words.
  public func carryOut(x : Exchange) : async* { #done : Text; #busy; #failed : Text } {
    if (not isThere(x) and not isCopied(x)) return #failed("the LLM does not have the model file yet: copy it with copyModelToLlmAdmin");
    try {
      if (isThere(x)) {
        await* giveBack(x);
        return #done("it has it already");
      };
      if (not (await* setAside(x))) return #busy;
    } catch error return #failed(await* leftAlone(x, error.message()));
    switch (await* loaded(x)) {
      case (#Ok(how)) try {
        await* giveBack(x);
        #done(how);
      } catch error #failed("it has the model, and is not in its mAIner's rotation: " # error.message() # "; exchange it again");
      case (#Err(reason)) #failed(await* leftAlone(x, reason));
    };
  };

  /// Takes the LLM out of rotation; whether it answers nobody any more.
  func setAside(x : Exchange) : async* Bool {
    let mainer = mainerOf(x);
    if ((await* others(x)).size() == 0) {
      if (await* pause(mainer)) x.state.paused.add(x.controllerId, x.canister_id);
    } else await* x.takeLlm(x.canister_id);
    try {
      switch (await mainer.getWorkStatusAdmin()) {
        case (#Ok({ answering = ?{ canister_id } })) canister_id != x.canister_id;
        case (#Ok(_)) true;
        case (#Err(error)) throw Error.reject("getWorkStatusAdmin answered: " # Errors.describe(error));
      };
    } catch error {
      if (not Errors.isMissingMethod(error)) throw error;
      true; // one of the original interface does not tell
    };
  };

  /// The LLMs in the mAIner's rotation other than this one.
  func others(x : Exchange) : async* [Text] {
    (await mainerOf(x).getLlmCanisters()).filter(func id = id != x.canister_id);
  };

  /// Puts a mAIner into maintenance; whether it was not, and so is to be let out again. One of the original interface has
  /// no such thing.
  func pause(mainer : Actors.MainerController) : async* Bool {
    try {
      if ((await mainer.getMaintenanceFlagAdmin()) == #Ok({ flag = true })) return false;
      await* Errors.check("setMaintenanceFlagAdmin", await mainer.setMaintenanceFlagAdmin(true));
      true;
    } catch error {
      if (not Errors.isMissingMethod(error)) throw error;
      false;
    };
  };

  /// Loads the new model and has it answer; after a failure the one before is loaded again.
  func loaded(x : Exchange) : async* { #Ok : Text; #Err : Text } {
    let llm : Actors.Llm = actor (x.canister_id);
    let before = pathInUse(x);
    var step = "get_max_tokens";
    var limits : ?Types.MaxTokensRecord = null;
    let { maxTokens; how } = try {
      limits := ?(await llm.get_max_tokens());
      step := "load_model";
      await* load(llm, path(x.modelFile.sha256));
      step := "set_max_tokens";
      let measured = await* x.measureMaxTokens(llm);
      await* Errors.check("set_max_tokens", await llm.set_max_tokens(measured.maxTokens));
      step := "ask it a question";
      await* checkAnswers(llm, x.formatOf(x.model));
      measured;
    } catch error {
      let fault = "step " # step # ": " # error.message();
      let ?limitsBefore = limits else return #Err(fault);
      try {
        await* load(llm, before);
        await* Errors.check("set_max_tokens", await llm.set_max_tokens(limitsBefore));
        return #Err(fault);
      } catch another return #Err(fault # "; could not load the model before: " # another.message());
    };
    x.state.copies.remove(x.canister_id);
    x.state.paths.add(x.canister_id, path(x.modelFile.sha256));
    switch (x.contents.get(x.canister_id)) {
      case (?content) x.contents.add(x.canister_id, { content with model = ?x.model; modelSha256 = ?x.modelFile.sha256; createdAt = Clock.now() });
      case null {};
    };
    #Ok(maxTokens.max_tokens_update.toText() # " tokens per update call, " # how # (await* removed(llm, before)));
  };

  public func load(llm : Actors.Llm, file : Text) : async* () {
    ignore await* Errors.checkOutput("load_model", await llm.load_model({ args = ["--model", file] }));
  };

  /// Throws unless the LLM says something when it is asked in this form.
  func checkAnswers(llm : Actors.Llm, format : Types.PromptFormat) : async* () {
    ignore await llm.remove_prompt_cache({ args = ["--prompt-cache", cache] }); // of a check that failed
    ignore await* Errors.checkOutput("new_chat", await llm.new_chat({ args = ["--prompt-cache", cache] }));
    var next = format.prefix # question # format.suffix;
    var calls = 0;
    loop {
      let args = ["--prompt-cache", cache, "--prompt-cache-all", "--simple-io", "--no-display-prompt", "-n", tokensWanted, "-p", next];
      let output = await* Errors.checkOutput("run_update", await llm.run_update({ args }));
      calls += 1;
      if (output.output != "") {
        ignore await* Errors.checkOutput("remove_prompt_cache", await llm.remove_prompt_cache({ args = ["--prompt-cache", cache] }));
        return;
      };
      if (output.generated_eog or calls == maxCalls) throw Error.reject("it says nothing to \"" # question # "\" in " # calls.toText() # " calls of run_update");
      if (output.prompt_remaining == "") next := "";
    };
  };

  /// Removes a file of an LLM; "" if it is gone, else why it is left.
  func removed(llm : Actors.Llm, filename : Text) : async* Text {
    try {
      switch (await llm.filesystem_remove({ filename })) {
        case (#Ok(_)) "";
        case (#Err(error)) "; " # filename # " is left: " # Errors.describe(error);
      };
    } catch error {
      let why = if (Errors.isMissingMethod(error)) "the LLM does not offer filesystem_remove" else error.message();
      "; " # filename # " is left: " # why;
    };
  };

  /// Puts the LLM into the rotation, and those out of it that are asked in another form.
  func giveBack(x : Exchange) : async* () {
    let mainer = mainerOf(x);
    let format = x.formatOf(x.model);
    if (not (await* isAskedSo(mainer, format))) {
      for (other in (await* others(x)).values()) {
        switch (x.contents.get(other)) {
          case (?{ model = ?model }) if (x.formatOf(model) != format) await* x.takeLlm(other);
          case (_) {}; // what it is made of is not known
        };
      };
      await* Errors.check("setPromptFormat", await mainer.setPromptFormat(format));
    };
    await* Errors.check("add_llm_canister", await mainer.add_llm_canister({ canister_id = x.canister_id }));
    await* endPause(x);
  };

  /// Whether the mAIner asks its LLMs in this form; one of the original interface does not tell, and cannot be told.
  func isAskedSo(mainer : Actors.MainerController, format : Types.PromptFormat) : async* Bool {
    try { (await mainer.getPromptFormat()) == #Ok(format) } catch error {
      if (not Errors.isMissingMethod(error)) throw error;
      true;
    };
  };

  func endPause({ state; controllerId; canister_id } : Exchange) : async* () {
    if (state.paused.get(controllerId) != ?canister_id) return;
    let mainer : Actors.MainerController = actor (controllerId);
    await* Errors.check("setMaintenanceFlagAdmin", await mainer.setMaintenanceFlagAdmin(false));
    state.paused.remove(controllerId);
  };

  /// Gives an LLM that has the model before back to its mAIner, unless that asks in another form by now; what happened, in
  /// words.
  func leftAlone(x : Exchange, fault : Text) : async* Text {
    try {
      await* dropCopy(x);
      let askedSo = switch (x.contents.get(x.canister_id)) {
        case (?{ model = ?model }) await* isAskedSo(mainerOf(x), x.formatOf(model));
        case (_) true;
      };
      if (not askedSo) return fault # "; it has the model before, and is out of its mAIner's rotation, which asks in the form of another model";
      await* Errors.check("add_llm_canister", await mainerOf(x).add_llm_canister({ canister_id = x.canister_id }));
      await* endPause(x);
      fault # "; it answers with the model before";
    } catch error {
      fault # "; it could not be given back to its mAIner: " # error.message();
    };
  };
};
