/// Creating canisters and topping them up with cycles of the canister that does it.

import Option "mo:core/Option";
import Principal "mo:core/Principal";
import Types "Types";

module {
  /// The management canister's `canister_settings`,
  /// https://internetcomputer.org/docs/references/ic-interface-spec#ic-create_canister
  public type Settings = {
    controllers : ?[Principal];
    compute_allocation : ?Nat;
    memory_allocation : ?Nat;
    freezing_threshold : ?Nat;
    reserved_cycles_limit : ?Nat;
    log_visibility : ?Types.Visibility;
    wasm_memory_limit : ?Nat;
    wasm_memory_threshold : ?Nat;
    environment_variables : ?[{ name : Text; value : Text }];
  };

  type Management = actor {
    create_canister : shared { settings : ?Settings; sender_canister_version : ?Nat64 } -> async { canister_id : Principal };
    deposit_cycles : shared { canister_id : Principal } -> async ();
  };

  let management : Management = actor "aaaaa-aa";

  /// Changes nothing, or says nothing about a new canister.
  public let noSettings : Settings = {
    controllers = null;
    compute_allocation = null;
    memory_allocation = null;
    freezing_threshold = null;
    reserved_cycles_limit = null;
    log_visibility = null;
    wasm_memory_limit = null;
    wasm_memory_threshold = null;
    environment_variables = null;
  };

  /// Creates a canister that `controller` controls, unless `settings` name controllers. Throws what the network rejects.
  public func create(cycles : Nat, settings : ?Settings, controller : Principal) : async* Principal {
    let wanted = Option.get(settings, noSettings);
    let controllers = Option.get(wanted.controllers, [controller]);
    let { canister_id } = await (with cycles) management.create_canister({
      settings = ?{ wanted with controllers = ?controllers };
      sender_canister_version = null;
    });
    canister_id;
  };

  /// Throws if there is no such canister.
  public func topUp(cycles : Nat, canister_id : Principal) : async* () {
    await (with cycles) management.deposit_cycles({ canister_id });
  };
};
