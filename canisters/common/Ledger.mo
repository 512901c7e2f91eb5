/// A ledger of one token by the standards ICRC-1 and ICRC-2 (https://github.com/dfinity/ICRC-1), as a cycles ledger and
/// an ICP ledger share it.
///
/// An account is kept under its account identifier, the 32 bytes by which the ICP ledger calls it.

import Blob "mo:core/Blob";
import List "mo:core/List";
import Map "mo:core/Map";
import Nat64 "mo:core/Nat64";
import Nat8 "mo:core/Nat8";
import Option "mo:core/Option";
import Principal "mo:core/Principal";
import Queue "mo:core/Queue";
import Runtime "mo:core/Runtime";
import Clock "Clock";

module {
  public type Account = { owner : Principal; subaccount : ?Blob };
  public type AccountId = Blob;

  public type Token = { name : Text; symbol : Text; decimals : Nat8; fee : Nat };

  public type Operation = {
    #Mint : { to : AccountId; amount : Nat };
    #Burn : { from : AccountId; amount : Nat; spender : ?AccountId };
    #Transfer : { from : AccountId; to : AccountId; amount : Nat; fee : Nat; spender : ?AccountId };
    #Approve : { from : AccountId; spender : AccountId; allowance : Nat; expected_allowance : ?Nat; expires_at : ?Nat64; fee : Nat };
  };

  public type Block = { operation : Operation; memo : ?Blob; created_at_time : ?Nat64; timestamp : Nat64 };

  public type Ledger = {
    token : Token;
    minter : ?Account; // what is sent there is burnt
    balances : Map.Map<AccountId, Nat>; // those above 0
    allowances : Map.Map<(AccountId, AccountId), Allowance>; // by owner and spender
    blocks : List.List<Block>;
    seen : Map.Map<Blob, Nat>; // block of each transaction that can still be repeated
    seenInOrder : Queue.Queue<(Nat64, Blob)>;
    var supply : Nat;
  };

  public type Allowance = { allowance : Nat; expires_at : ?Nat64 };

  public type TransferArgs = {
    from_subaccount : ?Blob;
    to : Account;
    amount : Nat;
    fee : ?Nat;
    memo : ?Blob;
    created_at_time : ?Nat64;
  };

  public type TransferFromArgs = {
    spender_subaccount : ?Blob;
    from : Account;
    to : Account;
    amount : Nat;
    fee : ?Nat;
    memo : ?Blob;
    created_at_time : ?Nat64;
  };

  public type ApproveArgs = {
    from_subaccount : ?Blob;
    spender : Account;
    amount : Nat;
    expected_allowance : ?Nat;
    expires_at : ?Nat64;
    fee : ?Nat;
    memo : ?Blob;
    created_at_time : ?Nat64;
  };

  public type Refusal = {
    #BadFee : { expected_fee : Nat };
    #TooOld;
    #CreatedInFuture : { ledger_time : Nat64 };
    #Duplicate : { duplicate_of : Nat };
  };

  type Standard = { #TemporarilyUnavailable; #GenericError : { message : Text; error_code : Nat } };

  public type BurnError = Refusal or { #InsufficientFunds : { balance : Nat } };
  type MoveError = { #BadBurn : { min_burn_amount : Nat }; #InsufficientFunds : { balance : Nat } };
  public type PaymentError = Refusal or MoveError;
  public type TransferError = PaymentError or Standard;
  public type TransferFromError = TransferError or { #InsufficientAllowance : { allowance : Nat } };
  public type ApproveError = Refusal or Standard or {
    #InsufficientFunds : { balance : Nat };
    #AllowanceChanged : { current_allowance : Nat };
    #Expired : { ledger_time : Nat64 };
  };

  public type Result<Error> = { #Ok : Nat; #Err : Error };

  public type MetadataValue = { #Nat : Nat; #Int : Int; #Text : Text; #Blob : Blob };

  /// How far back a transaction may be dated, and how far ahead.
  public let window : Nat64 = 86_400_000_000_000;
  let drift : Nat64 = 120_000_000_000;

  public func new(token : Token, minter : ?Account) : Ledger = {
    token;
    minter;
    balances = Map.empty();
    allowances = Map.empty();
    blocks = List.empty();
    seen = Map.empty();
    seenInOrder = Queue.empty();
    var supply = 0;
  };

  public func accountId(account : Account) : AccountId {
    switch (account.subaccount) {
      case (?bytes) if (bytes.size() != 32) Runtime.trap("a subaccount has 32 bytes");
      case null {};
    };
    account.owner.toLedgerAccount(account.subaccount);
  };

  public func balance(ledger : Ledger, id : AccountId) : Nat = ledger.balances.get(id) |> Option.get(_, 0);

  /// Makes tokens. Returns the block.
  public func mint(ledger : Ledger, to : AccountId, amount : Nat, memo : ?Blob) : Nat {
    credit(ledger, to, amount);
    ledger.supply += amount;
    record(ledger, #Mint { to; amount }, memo, null);
  };

  /// Takes `amount` and the fee out of circulation. `identity` is what makes the transaction the same as another one:
  /// caller and arguments.
  public func burn(ledger : Ledger, identity : Blob, from : AccountId, amount : Nat, created_at_time : ?Nat64) : Result<BurnError> {
    let args = { fee = null; memo = null; created_at_time };
    let fee = ledger.token.fee;
    switch (refusal(ledger, identity, fee, args)) {
      case (?reason) return #Err(reason);
      case null {};
    };
    let available = balance(ledger, from);
    if (available < amount + fee) return #Err(#InsufficientFunds { balance = available });
    debit(ledger, from, amount + fee);
    ledger.supply -= amount + fee;
    #Ok(accepted(ledger, identity, #Burn { from; amount; spender = null }, args));
  };

  /// `identity` as for `burn`.
  public func transfer(
    ledger : Ledger,
    identity : Blob,
    from : AccountId,
    to : AccountId,
    args : { amount : Nat; fee : ?Nat; memo : ?Blob; created_at_time : ?Nat64 },
  ) : Result<PaymentError> {
    switch (refusal(ledger, identity, feeOf(ledger, to), args)) {
      case (?reason) return #Err(reason);
      case null {};
    };
    switch (move(ledger, from, to, args.amount, null)) {
      case (#Err(error)) #Err(error);
      case (#Ok(operation)) #Ok(accepted(ledger, identity, operation, args));
    };
  };

  public func icrc1Transfer(ledger : Ledger, caller : Principal, args : TransferArgs) : Result<TransferError> {
    let from = accountId({ owner = caller; subaccount = args.from_subaccount });
    transfer(ledger, to_candid (caller, args), from, accountId(args.to), args);
  };

  public func transferFrom(ledger : Ledger, caller : Principal, args : TransferFromArgs) : Result<TransferFromError> {
    let spender = accountId({ owner = caller; subaccount = args.spender_subaccount });
    let (from, to) = (accountId(args.from), accountId(args.to));
    let (identity, fee) = (to_candid (caller, args), feeOf(ledger, to));
    switch (refusal(ledger, identity, fee, args)) {
      case (?reason) return #Err(reason);
      case null {};
    };
    let allowed = allowance(ledger, from, spender);
    if (spender != from and allowed.allowance < args.amount + fee) return #Err(#InsufficientAllowance { allowance = allowed.allowance });
    switch (move(ledger, from, to, args.amount, ?spender)) {
      case (#Err(error)) return #Err(error);
      case (#Ok(operation)) {
        if (spender != from) allow(ledger, from, spender, { allowed with allowance = allowed.allowance - args.amount - fee : Nat });
        #Ok(accepted(ledger, identity, operation, args));
      };
    };
  };

  public func approve(ledger : Ledger, caller : Principal, args : ApproveArgs) : Result<ApproveError> {
    let from = accountId({ owner = caller; subaccount = args.from_subaccount });
    let spender = accountId(args.spender);
    if (spender == from) Runtime.trap("an account cannot approve itself");
    let (identity, fee, now) = (to_candid (caller, args), ledger.token.fee, Clock.now());
    switch (refusal(ledger, identity, fee, args)) {
      case (?reason) return #Err(reason);
      case null {};
    };
    switch (args.expires_at) {
      case (?end) if (end <= now) return #Err(#Expired { ledger_time = now });
      case null {};
    };
    let current = allowance(ledger, from, spender).allowance;
    if (Option.get(args.expected_allowance, current) != current) return #Err(#AllowanceChanged { current_allowance = current });
    let available = balance(ledger, from);
    if (available < fee) return #Err(#InsufficientFunds { balance = available });
    debit(ledger, from, fee);
    ledger.supply -= fee;
    allow(ledger, from, spender, { allowance = args.amount; expires_at = args.expires_at });
    let { expected_allowance; expires_at } = args;
    #Ok(accepted(ledger, identity, #Approve { from; spender; allowance = args.amount; expected_allowance; expires_at; fee }, args));
  };

  /// What `spender` may still take from `owner`.
  public func allowance(ledger : Ledger, owner : AccountId, spender : AccountId) : Allowance {
    switch (ledger.allowances.get(comparePairs, (owner, spender))) {
      case (?found) if (Option.get(found.expires_at, Nat64.maxValue) > Clock.now()) return found;
      case null {};
    };
    { allowance = 0; expires_at = null };
  };

  public func metadata({ token } : Ledger) : [(Text, MetadataValue)] = [
    ("icrc1:name", #Text(token.name)),
    ("icrc1:symbol", #Text(token.symbol)),
    ("icrc1:decimals", #Nat(token.decimals.toNat())),
    ("icrc1:fee", #Nat(token.fee)),
  ];

  public let standards = [
    { name = "ICRC-1"; url = "https://github.com/dfinity/ICRC-1/tree/main/standards/ICRC-1" },
    { name = "ICRC-2"; url = "https://github.com/dfinity/ICRC-1/tree/main/standards/ICRC-2" },
  ];

  func feeOf(ledger : Ledger, to : AccountId) : Nat = if (isMinter(ledger, to)) 0 else ledger.token.fee;

  func isMinter(ledger : Ledger, id : AccountId) : Bool {
    switch (ledger.minter) {
      case (?account) accountId(account) == id;
      case null false;
    };
  };

  /// Why a transaction is not looked at any further.
  func refusal(ledger : Ledger, identity : Blob, fee : Nat, args : { fee : ?Nat; created_at_time : ?Nat64 }) : ?Refusal {
    if (Option.get(args.fee, fee) != fee) return ?#BadFee { expected_fee = fee };
    let now = Clock.now();
    forget(ledger, now);
    let ?created = args.created_at_time else return null;
    if (created + window + drift < now) return ?#TooOld;
    if (created > now + drift) return ?#CreatedInFuture { ledger_time = now };
    let ?duplicate_of = ledger.seen.get(identity) else return null;
    ?#Duplicate { duplicate_of };
  };

  func forget(ledger : Ledger, now : Nat64) {
    loop {
      let ?(created, identity) = ledger.seenInOrder.peekFront() else return;
      if (created + window + drift >= now) return;
      ignore ledger.seenInOrder.popFront();
      ledger.seen.remove(identity);
    };
  };

  func accepted(ledger : Ledger, identity : Blob, operation : Operation, args : { memo : ?Blob; created_at_time : ?Nat64 }) : Nat {
    let index = record(ledger, operation, args.memo, args.created_at_time);
    switch (args.created_at_time) {
      case (?created) {
        ledger.seen.add(identity, index);
        ledger.seenInOrder.pushBack((created, identity));
      };
      case null {};
    };
    index;
  };

  func move(ledger : Ledger, from : AccountId, to : AccountId, amount : Nat, spender : ?AccountId) : { #Ok : Operation; #Err : MoveError } {
    let (fee, available) = (feeOf(ledger, to), balance(ledger, from));
    let burnt = isMinter(ledger, to);
    if (burnt and amount < ledger.token.fee) return #Err(#BadBurn { min_burn_amount = ledger.token.fee });
    if (available < amount + fee) return #Err(#InsufficientFunds { balance = available });
    debit(ledger, from, amount + fee);
    if (burnt) {
      ledger.supply -= amount;
      return #Ok(#Burn { from; amount; spender });
    };
    ledger.supply -= fee;
    credit(ledger, to, amount);
    #Ok(#Transfer { from; to; amount; fee; spender });
  };

  func record(ledger : Ledger, operation : Operation, memo : ?Blob, created_at_time : ?Nat64) : Nat {
    ledger.blocks.add({ operation; memo; created_at_time; timestamp = Clock.now() });
    ledger.blocks.size() - 1;
  };

  func credit(ledger : Ledger, id : AccountId, amount : Nat) = put(ledger, id, balance(ledger, id) + amount);

  func debit(ledger : Ledger, id : AccountId, amount : Nat) = put(ledger, id, balance(ledger, id) - amount);

  func put(ledger : Ledger, id : AccountId, amount : Nat) {
    if (amount > 0) ledger.balances.add(id, amount) else ledger.balances.remove(id);
  };

  func allow(ledger : Ledger, owner : AccountId, spender : AccountId, allowed : Allowance) {
    if (allowed.allowance > 0) ledger.allowances.add(comparePairs, (owner, spender), allowed) else ledger.allowances.remove(comparePairs, (owner, spender));
  };

  func comparePairs((a, b) : (Blob, Blob), (c, d) : (Blob, Blob)) : { #less; #equal; #greater } {
    switch (Blob.compare(a, c)) {
      case (#equal) Blob.compare(b, d);
      case (order) order;
    };
  };
};
