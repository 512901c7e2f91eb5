/// The types of the ICP ledger's own interface, in which accounts are account identifiers, amounts e8s and memos numbers.

import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Nat8 "mo:core/Nat8";
import Option "mo:core/Option";
import Runtime "mo:core/Runtime";
import Ledger "Ledger";

module {
  public type Tokens = { e8s : Nat64 };
  public type TimeStamp = { timestamp_nanos : Nat64 };

  public type TransferArgs = {
    memo : Nat64;
    amount : Tokens;
    fee : Tokens;
    from_subaccount : ?Blob;
    to : Ledger.AccountId;
    created_at_time : ?TimeStamp;
  };

  public type TransferError = {
    #BadFee : { expected_fee : Tokens };
    #InsufficientFunds : { balance : Tokens };
    #TxTooOld : { allowed_window_nanos : Nat64 };
    #TxCreatedInFuture;
    #TxDuplicate : { duplicate_of : Nat64 };
  };

  public type Operation = {
    #Mint : { to : Ledger.AccountId; amount : Tokens };
    #Burn : { from : Ledger.AccountId; spender : ?Ledger.AccountId; amount : Tokens };
    #Transfer : { from : Ledger.AccountId; to : Ledger.AccountId; amount : Tokens; fee : Tokens; spender : ?Blob };
    #Approve : {
      from : Ledger.AccountId;
      spender : Ledger.AccountId;
      allowance_e8s : Int;
      allowance : Tokens;
      fee : Tokens;
      expires_at : ?TimeStamp;
      expected_allowance : ?Tokens;
    };
  };

  public type Block = {
    parent_hash : ?Blob;
    transaction : { memo : Nat64; icrc1_memo : ?Blob; operation : ?Operation; created_at_time : TimeStamp };
    timestamp : TimeStamp;
  };

  public type Blocks = {
    chain_length : Nat64;
    certificate : ?Blob;
    blocks : [Block];
    first_block_index : Nat64;
    archived_blocks : [{ start : Nat64; length : Nat64 }];
  };

  public func tokens(amount : Nat) : Tokens = { e8s = amount.toNat64() };

  /// A memo of this interface as one of ICRC-1: 8 bytes, little-endian.
  public func memo(number : Nat64) : Blob {
    func byte(i : Nat) : Nat8 = Nat8.fromIntWrap((number >> (8 * i).toNat64()).toNat());
    Blob.fromArray(Array.tabulate(8, byte));
  };

  func number(memo : Blob) : ?Nat64 {
    if (memo.size() != 8) return null;
    var value : Nat64 = 0;
    for (byte in memo.toArray().reverse().values()) value := value << 8 | byte.toNat().toNat64();
    ?value;
  };

  public func transferError(error : Ledger.PaymentError) : TransferError {
    switch error {
      case (#BadFee({ expected_fee })) #BadFee { expected_fee = tokens(expected_fee) };
      case (#InsufficientFunds({ balance })) #InsufficientFunds { balance = tokens(balance) };
      case (#BadBurn({ min_burn_amount })) Runtime.trap("at least " # min_burn_amount.toText() # " e8s can be burnt");
      case (#TooOld) #TxTooOld { allowed_window_nanos = Ledger.window };
      case (#CreatedInFuture(_)) #TxCreatedInFuture;
      case (#Duplicate({ duplicate_of })) #TxDuplicate { duplicate_of = duplicate_of.toNat64() };
    };
  };

  public func block({ operation; memo; created_at_time; timestamp } : Ledger.Block) : Block = {
    parent_hash = null;
    transaction = {
      memo = memo |> Option.chain(_, number) |> Option.get(_, 0 : Nat64);
      icrc1_memo = memo;
      operation = ?converted(operation);
      created_at_time = { timestamp_nanos = Option.get(created_at_time, timestamp) };
    };
    timestamp = { timestamp_nanos = timestamp };
  };

  func converted(operation : Ledger.Operation) : Operation {
    switch operation {
      case (#Mint({ to; amount })) #Mint { to; amount = tokens(amount) };
      case (#Burn({ from; amount; spender })) #Burn { from; spender; amount = tokens(amount) };
      case (#Transfer({ from; to; amount; fee; spender })) #Transfer { from; to; amount = tokens(amount); fee = tokens(fee); spender };
      case (#Approve({ from; spender; allowance; expected_allowance; expires_at; fee })) #Approve {
        from;
        spender;
        allowance_e8s = allowance;
        allowance = tokens(Nat.min(allowance, Nat64.maxValue.toNat()));
        fee = tokens(fee);
        expires_at = Option.map<Nat64, TimeStamp>(expires_at, func timestamp_nanos = { timestamp_nanos });
        expected_allowance = Option.map(expected_allowance, tokens);
      };
    };
  };
};
