/// Templates: snapshots of LLM canisters that have loaded their model and were never used. An LLM that is made of one needs
/// no copy of the model file, and loads nothing.
///
/// A snapshot ends with the canister that it was taken of, so it is not taken of an LLM: a canister of its own loads the
/// model, and its code is uninstalled when the snapshot is taken, so that the snapshot alone takes memory.

import Blob "mo:core/Blob";
import Map "mo:core/Map";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Types "../common/Types";

module {
  /// How many tokens an LLM does in a call, and how that is known.
  public type Limits = { maxTokens : Types.MaxTokensRecord; how : Text };

  /// `size`: bytes of the snapshot; `cyclesPerDay`: what its canister pays for it.
  public type Template = {
    canister : Principal;
    snapshot : Blob;
    wasmSha256 : Blob;
    modelSha256 : Blob;
    limits : Limits;
    size : Nat;
    cyclesPerDay : Nat;
    createdAt : Nat64;
  };

  /// `on`: whether they are made. One for each model, by its name.
  public type State = { var on : Bool; byModel : Map.Map<Text, Template> };

  public func new() : State = { var on = false; byModel = Map.empty() };

  /// The template of a model that has this wasm and this model file.
  public func find(state : State, model : Text, wasmSha256 : Blob, modelSha256 : Blob) : ?Template {
    switch (state.byModel.get(model)) {
      case (?template) if (template.wasmSha256 == wasmSha256 and template.modelSha256 == modelSha256) ?template else null;
      case null null;
    };
  };

  /// What is told of the template of a model, whose wasm and file these are now.
  public func record(state : State, model : Text, wasmSha256 : ?Blob, modelSha256 : Blob) : ?Types.TemplateRecord {
    switch (state.byModel.get(model)) {
      case (?template) ?{
        template with canisterId = template.canister.toText();
        current = ?template.wasmSha256 == wasmSha256 and template.modelSha256 == modelSha256;
      };
      case null null;
    };
  };
};
