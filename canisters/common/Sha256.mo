/// SHA-256 of data that arrives in parts (FIPS 180-4).

import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Nat32 "mo:core/Nat32";
import Nat64 "mo:core/Nat64";
import Nat8 "mo:core/Nat8";
import VarArray "mo:core/VarArray";
import Block "Sha256Block"; // written by sha256.mjs at build time

module {
  public let blockSize = 64;

  public type State = {
    hash : [var Nat32];
    var length : Nat; // bytes taken so far, a multiple of blockSize
  };

  public func new() : State = { hash = Array.toVarArray(Block.initialHash); var length = 0 };

  /// Takes the bytes of `data` from `start` on, as many whole blocks as there are up to `end`.
  public func absorb(state : State, data : Blob, start : Nat, end : Nat) {
    var at = start;
    while (at + blockSize <= end) {
      Block.compress(state.hash, data, at);
      at += blockSize;
    };
    state.length += at - start : Nat;
  };

  /// The digest of all that was absorbed, followed by `tail` of any size. `state` may go on absorbing.
  public func digest(state : State, tail : Blob) : Blob {
    let end : State = { hash = VarArray.clone(state.hash); var length = state.length };
    let last = padded(tail, state.length + tail.size());
    absorb(end, last, 0, last.size());
    Blob.fromArray(Array.flatten(Array.map<Nat32, [Nat8]>(Array.fromVarArray(end.hash), bigEndian32)));
  };

  /// `tail`, the bit 1, zeros, and the length of the whole message in bits as 64 bits: a multiple of `blockSize`.
  func padded(tail : Blob, messageSize : Nat) : Blob {
    let bits = Nat64.fromNat(8 * messageSize);
    let size = (tail.size() + 8) / blockSize * blockSize + blockSize;
    let lengthAt = size - 8 : Nat;
    Blob.fromArray(
      Array.tabulate<Nat8>(
        size,
        func(i) {
          if (i < tail.size()) tail[i] else if (i == tail.size()) 0x80 else if (i < lengthAt) 0 else {
            Nat8.fromNat(Nat64.toNat((bits >> Nat64.fromNat(8 * (size - 1 - i : Nat))) & 0xff));
          };
        },
      )
    );
  };

  func bigEndian32(word : Nat32) : [Nat8] {
    let (a, b, c, d) = Nat32.explode(word);
    [a, b, c, d];
  };
};
