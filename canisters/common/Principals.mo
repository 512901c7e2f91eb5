/// Principals in text that may be malformed.

import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Char "mo:core/Char";
import Nat32 "mo:core/Nat32";
import Nat8 "mo:core/Nat8";
import Principal "mo:core/Principal";
import Text "mo:core/Text";
import Limits "Limits";

module {
  let checksumBytes = 4;
  let principalBytes = 29;

  /// The principal that `text` stands for, or null. `Principal.fromText` traps where this answers null.
  /// The form is that of the interface specification: base32 of CRC-32 and bytes, in groups of five.
  public func parse(text : Text) : ?Principal {
    let ?bytes = decodeBase32(text) else return null;
    if (bytes.size() < checksumBytes or bytes.size() > checksumBytes + principalBytes) return null;
    let principal = Principal.fromBlob(Blob.fromArray(Array.sliceToArray(bytes, checksumBytes, bytes.size())));
    // The one correct spelling of these bytes tells whether grouping and checksum were right.
    if (principal.toText() == text) ?principal else null;
  };

  /// The principal of a canister that `text` stands for, or null.
  public func parseCanister(text : Text) : ?Principal {
    let ?principal = parse(text) else return null;
    if (Principal.isCanister(principal)) ?principal else null;
  };

  /// The error in words.
  public func notACanister(text : Text) : Text = "\"" # Limits.clipped(text, Limits.idBytes) # "\" is not a canister id";

  func decodeBase32(text : Text) : ?[Nat8] {
    var bytes : [Nat8] = [];
    var bits : Nat32 = 0; // not yet put out, right aligned
    var count : Nat32 = 0;
    if (text.size() > 63) return null;
    for (char in text.chars()) {
      if (char != '-') {
        let code = Char.toNat32(char);
        let value = if (char >= 'a' and char <= 'z') { code - 97 : Nat32 } else if (char >= '2' and char <= '7') {
          code - 24 : Nat32;
        } else return null;
        bits := (bits << 5) | value;
        count += 5;
        if (count >= 8) {
          count -= 8;
          bytes := Array.concat(bytes, [Nat8.fromNat(Nat32.toNat(bits >> count))]);
          bits &= (1 << count) - 1;
        };
      };
    };
    ?bytes;
  };
};
