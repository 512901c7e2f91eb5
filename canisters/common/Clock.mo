/// Time as the protocol's records hold it, and identifiers made from it.

import Nat "mo:core/Nat";
import Nat64 "mo:core/Nat64";
import Text "mo:core/Text";
import Time "mo:core/Time";

module {
  /// Nanoseconds since 1970.
  public func now() : Nat64 = Nat64.fromIntWrap(Time.now());

  /// An identifier that no other call has given, given a `serial` that the canister uses once.
  /// Identifiers sort by the time they were made at.
  public func id(kind : Text, serial : Nat) : Text {
    kind # "-" # padded(Nat64.toNat(now()), 20) # "-" # padded(serial, 8);
  };

  func padded(n : Nat, width : Nat) : Text {
    var text = Nat.toText(n);
    while (text.size() < width) text := "0" # text;
    text;
  };
};
