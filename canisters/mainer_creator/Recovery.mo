/// Deleting canisters without losing their cycles, which deletion destroys: the code is replaced by one that deposits them
/// somewhere else (return_cycles.wat).

import InternetComputer "mo:core/InternetComputer";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Principal "mo:core/Principal";
import Actors "../common/Actors";
import Canisters "../common/Canisters";
import Types "../common/Types";
import ReturnCyclesWasm "ReturnCyclesWasm"; // return_cycles.wat, assembled at build time

module {
  let notWorthReturning = 100_000_000_000; // cycles; bringing them back would use most of them
  let notReturned = 100_000_000_000; // what that code and the network keep back for it
  let ic = Actors.management;

  /// About what comes back of a canister with this balance.
  public func returnable(cycles : Nat) : Nat = if (cycles > notWorthReturning) { Nat.max(cycles, notReturned) - notReturned } else 0;

  /// Lets the canister finish what is under way, and makes all of its cycles free. It has its code and state still.
  public func prepare(canister_id : Principal) : async* () {
    await ic.update_settings({
      canister_id;
      settings = { Canisters.noSettings with freezing_threshold = ?0 }; // else a part of the cycles may not be spent
      sender_canister_version = null;
    });
    await ic.stop_canister({ canister_id });
  };

  /// Takes back what `prepare` did to a canister that had this status.
  public func restore(canister_id : Principal, before : Types.CanisterStatusRecord) : async* () {
    await ic.update_settings({
      canister_id;
      settings = { Canisters.noSettings with freezing_threshold = ?before.settings.freezing_threshold };
      sender_canister_version = null;
    });
    if (before.status == #running) await ic.start_canister({ canister_id });
  };

  /// Deletes a prepared canister after its cycles went to `to`. Throws, and leaves it, when they cannot be brought there;
  /// then it can be done again.
  public func delete(canister_id : Principal, to : Principal) : async* Types.RemovedCanister {
    var cyclesReturned = 0;
    if ((await ic.canister_status({ canister_id })).cycles > notWorthReturning) {
      await ic.install_code({ mode = #reinstall; canister_id; wasm_module = ReturnCyclesWasm.wasm; arg = ""; sender_canister_version = null });
      await ic.start_canister({ canister_id });
      let reply = await InternetComputer.call(canister_id, "return_cycles", to_candid ({ canister_id = to }));
      cyclesReturned := switch (from_candid (reply) : ?Nat64) { case (?cycles) cycles.toNat(); case null 0 };
      await ic.stop_canister({ canister_id });
    };
    let cyclesDestroyed = (await ic.canister_status({ canister_id })).cycles;
    await ic.delete_canister({ canister_id });
    { address = canister_id.toText(); cyclesReturned; cyclesDestroyed };
  };
};
