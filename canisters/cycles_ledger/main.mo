/// A cycles ledger for local networks: accounts that hold cycles, from which canisters are created and topped up.
///
/// It has the methods of the Internet Computer's cycles ledger (https://github.com/dfinity/cycles-ledger) that icp-cli,
/// wallets and canisters use: ICRC-1, ICRC-2, deposit, withdraw and create_canister. Canisters are created on the
/// network's only subnet.

import Cycles "mo:core/Cycles";
import Error "mo:core/Error";
import Map "mo:core/Map";
import Nat "mo:core/Nat";
import Principal "mo:core/Principal";
import Runtime "mo:core/Runtime";
import Canisters "../common/Canisters";
import Ledger "../common/Ledger";

/// `cycles` of its own balance belong to `holder` from the beginning; `subnet` is where it runs.
persistent actor class CyclesLedger(init : { holder : Principal; cycles : Nat; subnet : Principal }) {
  type DepositArgs = { to : Ledger.Account; memo : ?Blob };
  type WithdrawArgs = { amount : Nat; from_subaccount : ?Blob; to : Principal; created_at_time : ?Nat64 };
  type RejectionCode = { #NoError; #CanisterError; #SysTransient; #DestinationInvalid; #Unknown; #SysFatal; #CanisterReject };
  type WithdrawError = Ledger.BurnError or {
    #FailedToWithdraw : { fee_block : ?Nat; rejection_code : RejectionCode; rejection_reason : Text };
    #InvalidReceiver : { receiver : Principal };
    #TemporarilyUnavailable;
    #GenericError : { message : Text; error_code : Nat };
  };

  type SubnetSelection = { #Subnet : { subnet : Principal }; #Filter : { subnet_type : ?Text } };
  type CreateCanisterArgs = {
    from_subaccount : ?Blob;
    created_at_time : ?Nat64;
    amount : Nat;
    creation_args : ?{ settings : ?Canisters.Settings; subnet_selection : ?SubnetSelection };
  };
  type CreateCanisterSuccess = { block_id : Nat; canister_id : Principal };
  type CreateCanisterError = {
    #InsufficientFunds : { balance : Nat };
    #TooOld;
    #CreatedInFuture : { ledger_time : Nat64 };
    #Duplicate : { duplicate_of : Nat; canister_id : ?Principal };
    #FailedToCreate : { fee_block : ?Nat; refund_block : ?Nat; error : Text };
    #TemporarilyUnavailable;
    #GenericError : { message : Text; error_code : Nat };
  };

  let ownSubnet = init.subnet;
  let ledger = Ledger.new({ name = "Trillion Cycles"; symbol = "TCYCLES"; decimals = 12; fee = 100_000_000 }, null);
  let created : Map.Map<Nat, Principal> = Map.empty(); // by the block that paid
  ignore Ledger.mint(ledger, Ledger.accountId({ owner = init.holder; subaccount = null }), init.cycles, null);

  // Cycles

  /// Adds the attached cycles, less the fee.
  public shared func deposit({ to; memo } : DepositArgs) : async { balance : Nat; block_index : Nat } {
    let (amount, fee) = (Cycles.available(), ledger.token.fee);
    if (amount < fee) Runtime.trap("a deposit must bring at least the fee, " # fee.toText() # " cycles");
    ignore Cycles.accept<system>(amount);
    let id = Ledger.accountId(to);
    let block_index = Ledger.mint(ledger, id, amount - fee, memo);
    { balance = Ledger.balance(ledger, id); block_index };
  };

  /// Gives `amount` to a canister.
  public shared ({ caller }) func withdraw(args : WithdrawArgs) : async { #Ok : Nat; #Err : WithdrawError } {
    if (not args.to.isCanister()) return #Err(#InvalidReceiver { receiver = args.to });
    let from = Ledger.accountId({ owner = caller; subaccount = args.from_subaccount });
    switch (Ledger.burn(ledger, to_candid (caller, args), from, args.amount, args.created_at_time)) {
      case (#Err(error)) #Err(error);
      case (#Ok(block)) {
        try {
          await* Canisters.topUp(args.amount, args.to);
          #Ok(block);
        } catch (error) {
          ignore Ledger.mint(ledger, from, args.amount, null);
          #Err(#FailedToWithdraw { fee_block = ?block; rejection_code = rejectionCode(error); rejection_reason = error.message() });
        };
      };
    };
  };

  public shared ({ caller }) func create_canister(args : CreateCanisterArgs) : async { #Ok : CreateCanisterSuccess; #Err : CreateCanisterError } {
    let { settings; subnet_selection } = switch (args.creation_args) {
      case (?given) given;
      case null ({ settings = null; subnet_selection = null });
    };
    switch subnet_selection {
      case (?#Subnet({ subnet })) if (subnet != ownSubnet) {
        return #Err(#GenericError { error_code = 1; message = "there is no subnet " # subnet.toText() # " here, only " # ownSubnet.toText() });
      };
      case _ {};
    };
    let from = Ledger.accountId({ owner = caller; subaccount = args.from_subaccount });
    switch (Ledger.burn(ledger, to_candid (caller, args), from, args.amount, args.created_at_time)) {
      case (#Err(#Duplicate({ duplicate_of }))) #Err(#Duplicate { duplicate_of; canister_id = created.get(duplicate_of) });
      case (#Err(#BadFee(_))) Runtime.unreachable(); // no fee was named
      case (#Err(#InsufficientFunds(error))) #Err(#InsufficientFunds(error));
      case (#Err(#TooOld)) #Err(#TooOld);
      case (#Err(#CreatedInFuture(error))) #Err(#CreatedInFuture(error));
      case (#Ok(block_id)) {
        try {
          let canister_id = await* Canisters.create(args.amount, settings, caller);
          created.add(block_id, canister_id);
          #Ok { block_id; canister_id };
        } catch (error) {
          let refund_block = ?Ledger.mint(ledger, from, args.amount, null);
          #Err(#FailedToCreate { fee_block = ?block_id; refund_block; error = error.message() });
        };
      };
    };
  };

  func rejectionCode(error : Error.Error) : RejectionCode {
    switch (error.code()) {
      case (#canister_error) #CanisterError;
      case (#canister_reject) #CanisterReject;
      case (#destination_invalid) #DestinationInvalid;
      case (#system_fatal) #SysFatal;
      case (#system_transient) #SysTransient;
      case _ #Unknown;
    };
  };

  // ICRC-1

  public query func icrc1_name() : async Text { ledger.token.name };
  public query func icrc1_symbol() : async Text { ledger.token.symbol };
  public query func icrc1_decimals() : async Nat8 { ledger.token.decimals };
  public query func icrc1_fee() : async Nat { ledger.token.fee };
  public query func icrc1_metadata() : async [(Text, Ledger.MetadataValue)] { Ledger.metadata(ledger) };
  public query func icrc1_minting_account() : async ?Ledger.Account { ledger.minter };
  public query func icrc1_total_supply() : async Nat { ledger.supply };
  public query func icrc1_supported_standards() : async [{ name : Text; url : Text }] { Ledger.standards };

  public query func icrc1_balance_of(account : Ledger.Account) : async Nat {
    Ledger.balance(ledger, Ledger.accountId(account));
  };

  public shared ({ caller }) func icrc1_transfer(args : Ledger.TransferArgs) : async Ledger.Result<Ledger.TransferError> {
    Ledger.icrc1Transfer(ledger, caller, args);
  };

  // ICRC-2

  public shared ({ caller }) func icrc2_approve(args : Ledger.ApproveArgs) : async Ledger.Result<Ledger.ApproveError> {
    Ledger.approve(ledger, caller, args);
  };

  public shared ({ caller }) func icrc2_transfer_from(args : Ledger.TransferFromArgs) : async Ledger.Result<Ledger.TransferFromError> {
    Ledger.transferFrom(ledger, caller, args);
  };

  public query func icrc2_allowance({ account; spender } : { account : Ledger.Account; spender : Ledger.Account }) : async Ledger.Allowance {
    Ledger.allowance(ledger, Ledger.accountId(account), Ledger.accountId(spender));
  };
};
