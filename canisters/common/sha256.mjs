// Writes the Motoko module of the SHA-256 compression function (FIPS 180-4, 6.2.2), its 64 rounds laid out one after
// the other: Motoko keeps a `let` of type Nat64 in a WebAssembly local, while a variable or an array element costs
// more than the round itself. Laid out it takes 208 instructions a byte; as a loop 865.
//
// Each 32-bit word x is held twice in 64 bits, as x << 32 | x, so that a rotation is one shift. Sums leave rubbish
// in the upper half; `twice` makes a word whole again.

const fractionalBits = (value, root) => {
  // The first 32 bits of the fractional part of value^(1/root), in integers only.
  const scaled = BigInt(value) << BigInt(32 * root);
  let low = 0n;
  let high = 1n << 64n;
  while (high - low > 1n) {
    const middle = (low + high) / 2n;
    if (middle ** BigInt(root) <= scaled) low = middle;
    else high = middle;
  }
  return low & 0xffffffffn;
};

const primes = (count) => {
  const found = [];
  for (let n = 2; found.length < count; n += 1) if (found.every((prime) => n % prime)) found.push(n);
  return found;
};

const initialHash = primes(8).map((prime) => fractionalBits(prime, 2));
const roundConstants = primes(64).map((prime) => fractionalBits(prime, 3));

const low = (x) => `(${x} & 0xffff_ffff)`;
const twice = (x) => `${low(x)} | (${x} << 32)`;
const rotations = (x, ...by) => by.map((n) => `(${x} >> ${n})`).join(" ^ ");

const byte = (index) => `Nat32.toNat64(Nat16.toNat32(Nat8.toNat16(data[at + ${index}])))`;
const word = (t) => [24, 16, 8, 0].map((shift, i) => `(${byte(4 * t + i)} << ${shift})`).join(" | ");

const schedule = (t) => {
  if (t < 16) return `let s${t} = ${word(t)};\nlet w${t} = s${t} | (s${t} << 32);`;
  const [w16, w15, w7, w2] = [16, 15, 7, 2].map((back) => `w${t - back}`);
  const sigma0 = `(${rotations(w15, 7, 18)} ^ (${low(w15)} >> 3))`;
  const sigma1 = `(${rotations(w2, 17, 19)} ^ (${low(w2)} >> 10))`;
  return `let s${t} = ${w16} +% ${w7} +% ${sigma0} +% ${sigma1};\nlet w${t} = ${twice(`s${t}`)};`;
};

const round = (t, [a, b, c, d, e, f, g, h]) => {
  const choose = `(${g} ^ (${e} & (${f} ^ ${g})))`;
  const majority = `((${a} & (${b} | ${c})) | (${b} & ${c}))`;
  const text = [
    `let t${t} = ${h} +% (${rotations(e, 6, 11, 25)}) +% ${choose} +% ${roundConstants[t]} +% w${t};`,
    `let x${t} = ${d} +% t${t};`,
    `let e${t} = ${twice(`x${t}`)};`,
    `let y${t} = t${t} +% (${rotations(a, 2, 13, 22)}) +% ${majority};`,
    `let a${t} = ${twice(`y${t}`)};`,
  ].join("\n");
  return [text, [`a${t}`, a, b, c, `e${t}`, e, f, g]];
};

export function sha256Block() {
  const lines = [...Array(64).keys()].map(schedule);
  let state = [..."abcdefgh"].map((name) => `${name}0_`);
  state.forEach((name, i) => lines.push(`let h${i} = Nat32.toNat64(hash[${i}]);\nlet ${name} = h${i} | (h${i} << 32);`));
  for (let t = 0; t < 64; t += 1) {
    const [text, next] = round(t, state);
    lines.push(text);
    state = next;
  }
  state.forEach((name, i) => lines.push(`hash[${i}] +%= Nat32.fromNat64(${low(name)});`));
  return `
import Nat16 "mo:core/Nat16";
import Nat32 "mo:core/Nat32";
import Nat8 "mo:core/Nat8";

module {
  public let initialHash : [Nat32] = [${initialHash.join(", ")}];

  /// Takes the 64 bytes of \`data\` at \`at\` into \`hash\`.
  public func compress(hash : [var Nat32], data : Blob, at : Nat) {
${lines.join("\n")}
  };
};
`;
}
