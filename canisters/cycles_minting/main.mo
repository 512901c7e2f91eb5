/// A cycles minting canister for local networks: makes cycles of ICP, at a fixed rate.
///
/// It has the methods of the Internet Computer's cycles minting canister that icp-cli, wallets and canisters use. The
/// cycles are of its own balance, which the network makes large enough.

import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Cycles "mo:core/Cycles";
import Error "mo:core/Error";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Nat8 "mo:core/Nat8";
import Principal "mo:core/Principal";
import Time "mo:core/Time";
import Canisters "../common/Canisters";
import IcpBlocks "../common/IcpBlocks";
import Ledger "../common/Ledger";

persistent actor class CyclesMinting(init : {
  icp_ledger : Principal;
  cycles_ledger : Principal;
  icp_minter : Principal;
  subnet : Principal;
}) = self {
  type NotifyError = {
    #Refunded : { reason : Text; block_index : ?Nat64 };
    #InvalidTransaction : Text;
    #Other : { error_message : Text; error_code : Nat64 };
    #Processing;
    #TransactionTooOld : Nat64;
  };
  type Minted = { block_index : Nat; minted : Nat; balance : Nat };
  type SubnetSelection = { #Subnet : { subnet : Principal }; #Filter : { subnet_type : ?Text } };
  type Outcome = { #Processing; #Minted : Minted; #ToppedUp : Nat; #Created : Principal };

  type IcpLedger = actor {
    query_blocks : shared query { start : Nat64; length : Nat64 } -> async IcpBlocks.Blocks;
    transfer : shared IcpBlocks.TransferArgs -> async { #Ok : Nat64; #Err : IcpBlocks.TransferError };
  };
  type CyclesLedger = actor {
    deposit : shared { to : Ledger.Account; memo : ?Blob } -> async { balance : Nat; block_index : Nat };
  };

  // A memo says what a payment is for.
  transient let forMinting : Nat64 = 0x544e494d; // "MINT", little-endian
  transient let forTopUp : Nat64 = 0x50555054; // "TPUP"
  transient let forCreation : Nat64 = 0x41455243; // "CREA"

  /// Ten-thousandths of an XDR that an ICP is worth; an XDR is a trillion cycles, so this is also cycles an e8.
  transient let xdr_permyriad_per_icp : Nat64 = 35_000;

  let icpLedger : IcpLedger = Principal.toActor(init.icp_ledger);
  let cyclesLedger : CyclesLedger = Principal.toActor(init.cycles_ledger);
  let icpMinter = init.icp_minter;
  let subnet = init.subnet;
  let outcomes : Map.Map<Nat64, Outcome> = Map.empty(); // by the block of the payment
  var totalMinted = 0;

  // Rate and subnets

  public query func get_icp_xdr_conversion_rate() : async {
    data : { timestamp_seconds : Nat64; xdr_permyriad_per_icp : Nat64 };
    hash_tree : Blob;
    certificate : Blob;
  } {
    let timestamp_seconds = Nat64.fromIntWrap(Time.now() / 1_000_000_000);
    { data = { timestamp_seconds; xdr_permyriad_per_icp }; hash_tree = ""; certificate = "" };
  };

  public query func get_default_subnets() : async [Principal] { [subnet] };
  public query func get_subnet_types_to_subnets() : async { data : [(Text, [Principal])] } { { data = [] } };
  public query func total_cycles_minted() : async Nat64 { Nat64.fromIntWrap(totalMinted) };

  // Payments

  /// Cycles for the caller's account in the cycles ledger.
  public shared ({ caller }) func notify_mint_cycles(args : { block_index : Nat64; to_subaccount : ?Blob; deposit_memo : ?Blob }) : async {
    #Ok : Minted;
    #Err : NotifyError;
  } {
    func spend(cycles : Nat) : async* Outcome {
      let to = { owner = caller; subaccount = args.to_subaccount };
      let { balance; block_index } = await (with cycles) cyclesLedger.deposit({ to; memo = args.deposit_memo });
      #Minted { block_index; minted = cycles; balance };
    };
    switch (await* settle(args.block_index, forMinting, caller, spend)) {
      case (#Ok(#Minted(done))) #Ok(done);
      case (#Ok(_)) #Err(usedOtherwise);
      case (#Err(error)) #Err(error);
    };
  };

  /// Cycles for a canister.
  public shared func notify_top_up(args : { block_index : Nat64; canister_id : Principal }) : async { #Ok : Nat; #Err : NotifyError } {
    func spend(cycles : Nat) : async* Outcome {
      await* Canisters.topUp(cycles, args.canister_id);
      #ToppedUp(cycles);
    };
    switch (await* settle(args.block_index, forTopUp, args.canister_id, spend)) {
      case (#Ok(#ToppedUp(cycles))) #Ok(cycles);
      case (#Ok(_)) #Err(usedOtherwise);
      case (#Err(error)) #Err(error);
    };
  };

  /// A new canister with all the cycles.
  public shared func notify_create_canister(args : {
    block_index : Nat64;
    controller : Principal;
    settings : ?Canisters.Settings;
    subnet_selection : ?SubnetSelection;
    subnet_type : ?Text;
  }) : async { #Ok : Principal; #Err : NotifyError } {
    func spend(cycles : Nat) : async* Outcome {
      #Created(await* Canisters.create(cycles, args.settings, args.controller));
    };
    switch (await* settle(args.block_index, forCreation, args.controller, spend)) {
      case (#Ok(#Created(canister))) #Ok(canister);
      case (#Ok(_)) #Err(usedOtherwise);
      case (#Err(error)) #Err(error);
    };
  };

  /// A new canister with the attached cycles.
  public shared ({ caller }) func create_canister(args : {
    settings : ?Canisters.Settings;
    subnet_selection : ?SubnetSelection;
    subnet_type : ?Text;
  }) : async { #Ok : Principal; #Err : { #Refunded : { refund_amount : Nat; create_error : Text } } } {
    let cycles = Cycles.available();
    try {
      let canister = await* Canisters.create(cycles, args.settings, caller);
      ignore Cycles.accept<system>(cycles);
      #Ok(canister);
    } catch (error) {
      #Err(#Refunded { refund_amount = cycles; create_error = error.message() });
    };
  };

  transient let usedOtherwise : NotifyError = #InvalidTransaction "the payment was used for something else";

  /// Spends a payment, once: has the ICP of `block` become cycles for `beneficiary`.
  func settle(block : Nat64, purpose : Nat64, beneficiary : Principal, spend : Nat -> async* Outcome) : async* {
    #Ok : Outcome;
    #Err : NotifyError;
  } {
    switch (outcomes.get(block)) {
      case (?#Processing) return #Err(#Processing);
      case (?done) return #Ok(done);
      case null {};
    };
    outcomes.add(block, #Processing);
    try {
      let ?e8s = await* paid(block, purpose, beneficiary) else {
        outcomes.remove(block);
        return #Err(#InvalidTransaction("block " # block.toText() # " of the ICP ledger is not a payment to this canister for that"));
      };
      let cycles = e8s.toNat() * xdr_permyriad_per_icp.toNat();
      let done = await* spend(cycles);
      outcomes.add(block, done);
      totalMinted += cycles;
      await* burn(beneficiary, e8s, purpose);
      #Ok(done);
    } catch (error) {
      switch (outcomes.get(block)) {
        case (?#Processing) outcomes.remove(block);
        case _ {};
      };
      #Err(#Other { error_message = error.message(); error_code = 1 });
    };
  };

  /// The e8s of block `index`, if that is a payment to this canister for `beneficiary` and `purpose`.
  func paid(index : Nat64, purpose : Nat64, beneficiary : Principal) : async* ?Nat64 {
    let { blocks } = await icpLedger.query_blocks({ start = index; length = 1 });
    if (blocks.size() == 0 or blocks[0].transaction.memo != purpose) return null;
    switch (blocks[0].transaction.operation) {
      case (?#Transfer({ to; amount })) if (to == Ledger.accountId(accountFor(beneficiary))) ?amount.e8s else null;
      case _ null;
    };
  };

  func burn(beneficiary : Principal, e8s : Nat64, memo : Nat64) : async* () {
    let result = await icpLedger.transfer({
      memo;
      amount = { e8s };
      fee = { e8s = 0 };
      from_subaccount = accountFor(beneficiary).subaccount;
      to = Ledger.accountId({ owner = icpMinter; subaccount = null });
      created_at_time = null;
    });
    switch result {
      case (#Ok(_)) {};
      case (#Err(error)) throw Error.reject("the payment cannot be burnt: " # debug_show error);
    };
  };

  /// Where payments for `beneficiary` go: the subaccount is its principal's length and bytes, filled up with zeros.
  func accountFor(beneficiary : Principal) : Ledger.Account {
    let bytes = beneficiary.toBlob().toArray();
    func byte(i : Nat) : Nat8 = if (i == 0) Nat8.fromNat(bytes.size()) else if (i <= bytes.size()) bytes[i - 1] else 0;
    { owner = Principal.fromActor(self); subaccount = ?Blob.fromArray(Array.tabulate(32, byte)) };
  };
};
