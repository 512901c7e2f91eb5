/// The LLM canisters of a canister that asks them in turn, and what it asks them: state, and what controllers do with it.

import Error "mo:core/Error";
import Iter "mo:core/Iter";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Actors "Actors";
import Errors "Errors";
import Limits "Limits";
import Principals "Principals";
import Types "Types";

/// `calls`: those under way are counted there; `needless`: why this canister has no LLMs, if it needs none; `template`: what
/// LLMs are asked unless something else is set, with `places` that it must have.
mixin (calls : { var open : Nat }, needless : () -> ?Text, template : Text, places : [Text]) {
  let llms : List.List<Text> = List.empty();
  var roundRobinLLMs = 0; // how many of the LLMs take turns; 0 for all
  var nextLlm = 0;
  var promptFormat = Types.plainPromptFormat;
  var ownTemplate : ?Text = null;

  transient let maxLlms = 100;
  transient let noLlm = "There is no LLM canister: create one with the mAIner Creator, or give one with add_llm_canister";

  public shared ({ caller }) func setPromptFormat(format : Types.PromptFormat) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    switch (Limits.promptFormat(format)) {
      case (?error) return #Err(error);
      case null {};
    };
    promptFormat := format;
    Types.ok;
  };

  public shared query ({ caller }) func getPromptFormat() : async Types.PromptFormatResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(promptFormat);
  };

  /// What LLMs are asked, with places such as {question}; the empty text: what they are asked unless something is set.
  public shared ({ caller }) func setPromptTemplateAdmin(text : Text) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    for (place in places.values()) {
      if (text != "" and not text.contains(#text place)) return #Err(#Other("The template has no place " # place # ": write it where that is to stand"));
    };
    switch (Limits.refusal([#text("The template", text, Limits.promptBytes)])) {
      case (?error) return #Err(error);
      case null {};
    };
    ownTemplate := if (text == "") null else ?text;
    Types.ok;
  };

  public shared query ({ caller }) func getPromptTemplateAdmin() : async Types.TextResult {
    if (not caller.isController()) return #Err(#Unauthorized);
    #Ok(promptTemplate());
  };

  func promptTemplate() : Text = switch ownTemplate { case (?text) text; case null template };

  public shared ({ caller }) func add_llm_canister(input : Types.CanisterIDRecord) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    switch (needless()) {
      case (?reason) return #Err(#Other(reason));
      case null {};
    };
    if (Principals.parseCanister(input.canister_id) == null) return #Err(#Other(Principals.notACanister(input.canister_id)));
    if (llms.contains(input.canister_id)) return Types.ok;
    switch (Limits.full("LLM canisters", llms.size(), maxLlms)) {
      case (?error) return #Err(error);
      case null {};
    };
    llms.add(input.canister_id);
    Types.ok;
  };

  public shared ({ caller }) func remove_llm_canister(input : Types.CanisterIDRecord) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    if (not llms.contains(input.canister_id)) return #Err(#InvalidId);
    llms.retain(func id = id != input.canister_id);
    Types.ok;
  };

  public shared ({ caller }) func reset_llm_canisters() : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    llms.clear();
    nextLlm := 0;
    Types.ok;
  };

  public query func getLlmCanisters() : async [Text] { llms.toArray() };

  public shared ({ caller }) func setRoundRobinLLMs(count : Nat) : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    switch (Limits.refusal([#number("The count", count, Limits.count)])) {
      case (?error) return #Err(error);
      case null {};
    };
    roundRobinLLMs := count;
    Types.ok;
  };

  /// The LLM whose turn is next, if there is one.
  func roundRobinLlm() : ?Text {
    let turns = if (roundRobinLLMs == 0) llms.size() else Nat.min(roundRobinLLMs, llms.size());
    if (turns == 0) null else llms.get(nextLlm % turns);
  };

  /// The LLM whose turn it is. Throws if there is none.
  func takeTurn() : async* Text {
    let ?id = roundRobinLlm() else throw Error.reject(noLlm);
    nextLlm += 1;
    id;
  };

  public query func getRoundRobinCanister() : async Types.CanisterIDRecordResult {
    switch (roundRobinLlm()) {
      case (?canister_id) #Ok({ canister_id });
      case null #Err(#Other(noLlm));
    };
  };

  public shared ({ caller }) func ready() : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    await* askEveryLlm(func id = llm(id).ready, "ready");
  };

  public shared ({ caller }) func checkAccessToLLMs() : async Types.StatusCodeRecordResult {
    if (not caller.isController()) return #Err(#StatusCode(401));
    await* askEveryLlm(func id = llm(id).check_access, "check_access");
  };

  func llm(id : Text) : Actors.Llm = actor (id);

  func askEveryLlm(method : Text -> (shared query () -> async Types.StatusCodeRecordResult), name : Text) : async* Types.StatusCodeRecordResult {
    if (needless() != null) return Types.ok;
    if (llms.isEmpty()) return #Err(#Other(noLlm));
    calls.open += 1;
    try {
      for (id in llms.toArray().values()) await* Errors.check(name # " of LLM " # id, await method(id)());
      Types.ok;
    } catch error #Err(#Other(error.message())) finally calls.open -= 1;
  };
};
