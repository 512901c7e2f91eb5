/// An ICP ledger for local networks.
///
/// It has the methods of the Internet Computer's ICP ledger that icp-cli, wallets and canisters use: its own older
/// ones, in which an account is an account identifier, ICRC-1 and ICRC-2. It keeps all blocks itself, and they are not
/// certified.

import Array "mo:core/Array";
import List "mo:core/List";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Option "mo:core/Option";
import Principal "mo:core/Principal";
import IcpBlocks "../common/IcpBlocks";
import Ledger "../common/Ledger";

/// `holder` has `e8s` from the beginning. What is sent to `minter` is burnt.
persistent actor class IcpLedger(init : { holder : Principal; e8s : Nat; minter : Principal }) {
  let ledger = Ledger.new(
    { name = "Internet Computer"; symbol = "ICP"; decimals = 8; fee = 10_000 },
    ?{ owner = init.minter; subaccount = null },
  );
  ignore Ledger.mint(ledger, Ledger.accountId({ owner = init.holder; subaccount = null }), init.e8s, null);

  // The ICP ledger's own interface

  public shared ({ caller }) func transfer(args : IcpBlocks.TransferArgs) : async { #Ok : Nat64; #Err : IcpBlocks.TransferError } {
    let from = Ledger.accountId({ owner = caller; subaccount = args.from_subaccount });
    let details = {
      amount = args.amount.e8s.toNat();
      fee = ?args.fee.e8s.toNat();
      memo = ?IcpBlocks.memo(args.memo);
      created_at_time = Option.map<IcpBlocks.TimeStamp, Nat64>(args.created_at_time, func time = time.timestamp_nanos);
    };
    switch (Ledger.transfer(ledger, to_candid (caller, args), from, args.to, details)) {
      case (#Ok(block)) #Ok(block.toNat64());
      case (#Err(error)) #Err(IcpBlocks.transferError(error));
    };
  };

  public query func account_balance({ account } : { account : Ledger.AccountId }) : async IcpBlocks.Tokens {
    IcpBlocks.tokens(Ledger.balance(ledger, account));
  };

  public query func account_identifier(account : Ledger.Account) : async Ledger.AccountId { Ledger.accountId(account) };
  public query func name() : async { name : Text } { { name = ledger.token.name } };
  public query func symbol() : async { symbol : Text } { { symbol = ledger.token.symbol } };
  public query func decimals() : async { decimals : Nat32 } { { decimals = 8 } };
  public query func transfer_fee({}) : async { transfer_fee : IcpBlocks.Tokens } { { transfer_fee = IcpBlocks.tokens(ledger.token.fee) } };

  /// At most 2,000 blocks a time.
  public query func query_blocks({ start; length } : { start : Nat64; length : Nat64 }) : async IcpBlocks.Blocks {
    let size = ledger.blocks.size();
    let from = Nat.min(start.toNat(), size);
    let to = Nat.min(from + Nat.min(length.toNat(), 2_000), size);
    {
      chain_length = size.toNat64();
      certificate = null;
      blocks = Array.tabulate(to - from : Nat, func i = IcpBlocks.block(ledger.blocks.at(from + i)));
      first_block_index = from.toNat64();
      archived_blocks = [];
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
