/// SHA-256 of data that arrives in parts (FIPS 180-4).

import Array "mo:core/Array";
import Blob "mo:core/Blob";
import Nat16 "mo:core/Nat16";
import Nat32 "mo:core/Nat32";
import Nat64 "mo:core/Nat64";
import Nat8 "mo:core/Nat8";
import VarArray "mo:core/VarArray";
import Constants "Sha256Constants"; // written by sha256.mjs at build time

module {
  public let blockSize = 64;

  public type State = {
    hash : [var Nat32];
    var length : Nat; // bytes taken so far, a multiple of blockSize
  };

  public func new() : State = { hash = Array.toVarArray(Constants.initialHash); var length = 0 };

  /// Takes the bytes of `data` from `start` on, as many whole blocks as there are up to `end`.
  public func absorb(state : State, data : Blob, start : Nat, end : Nat) {
    var at = start;
    while (at + blockSize <= end) {
      compress(state.hash, data, at);
      at += blockSize;
    };
    state.length += at - start : Nat;
  };

  /// Takes the 64 bytes of `data` at `at` into `hash` (FIPS 180-4, 6.2.2). The build puts WebAssembly written by hand in
  /// the place of this function (sha256.mjs), which does the same with a tenth of the instructions.
  func compress(hash : [var Nat32], data : Blob, at : Nat) {
    let w = VarArray.repeat<Nat32>(0, 64);
    for (t in w.keys()) w[t] := if (t < 16) word(data, at + 4 * t) else {
      let (w15, w2) = (w[t - 15], w[t - 2]);
      let sigma0 = (w15 <>> 7) ^ (w15 <>> 18) ^ (w15 >> 3);
      let sigma1 = (w2 <>> 17) ^ (w2 <>> 19) ^ (w2 >> 10);
      w[t - 16] +% sigma0 +% w[t - 7] +% sigma1;
    };
    let v = VarArray.clone(hash);
    for (t in w.keys()) {
      let (a, b, c, e, f, g) = (v[0], v[1], v[2], v[4], v[5], v[6]);
      let sum1 = (e <>> 6) ^ (e <>> 11) ^ (e <>> 25);
      let choose = (e & f) ^ ((^e) & g);
      let t1 = v[7] +% sum1 +% choose +% Constants.roundConstants[t] +% w[t];
      let sum0 = (a <>> 2) ^ (a <>> 13) ^ (a <>> 22);
      let majority = (a & b) ^ (a & c) ^ (b & c);
      v[7] := g;
      v[6] := f;
      v[5] := e;
      v[4] := v[3] +% t1;
      v[3] := c;
      v[2] := b;
      v[1] := a;
      v[0] := t1 +% sum0 +% majority;
    };
    for (i in hash.keys()) hash[i] +%= v[i];
  };

  func word(data : Blob, at : Nat) : Nat32 {
    func byte(i : Nat) : Nat32 = Nat32.fromNat16(Nat16.fromNat8(data[at + i]));
    (byte(0) << 24) | (byte(1) << 16) | (byte(2) << 8) | byte(3);
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
