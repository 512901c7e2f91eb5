// The SHA-256 compression function (FIPS 180-4, 6.2.2) as WebAssembly text, its 64 rounds laid out one after the other.
//
// Motoko has no 32-bit arithmetic in WebAssembly locals and no way to read a word of a blob, which makes `compress` in
// Sha256.mo take some 900 instructions a byte; this takes 80. The build puts it in the place of that function (see
// link.mjs), with the same parameters and effect, so that a file of hundreds of megabytes is hashed as it arrives.

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

/** The Motoko module of the constants. */
export const sha256Constants = () => `module {
  public let initialHash : [Nat32] = [${initialHash.join(", ")}];
  public let roundConstants : [Nat32] = [${roundConstants.join(", ")}];
};
`;

const get = (name) => `(local.get $${name})`;
const constant = (value) => `(i32.const ${value})`;
const apply = (operator, first, ...others) => others.reduce((sum, one) => `(i32.${operator} ${sum} ${one})`, first);
const rotated = (x, by) => `(i32.rotr ${x} ${constant(by)})`;
const shifted = (x, by) => `(i32.shr_u ${x} ${constant(by)})`;

// How moc (enhanced orthogonal persistence) lays out a heap object: a pointer is one less than the address of
// four fields: tag, forwarding pointer (to the object itself unless the collector has moved it), length, then content.
// An element of an array has 8 bytes; a Nat32 in it is in the upper half, the lower half says that it is one.
// A small Nat is shifted left by two.
const forwarded = (pointer) => `(i64.load offset=9 ${get(pointer)})`;
const lengthAt = 17;
const contentAt = 25;

const word = (t) => {
  const loaded = `(i32.load offset=${contentAt + 4 * t} ${get("block")})`;
  const swapped = `(i32.and (i32.rotl (local.tee $x ${loaded}) ${constant(8)}) ${constant(0x00ff00ff)})`;
  return `(i32.or ${swapped} (i32.and ${rotated(get("x"), 8)} ${constant(0xff00ff00)}))`;
};

const scheduled = (t) => {
  if (t < 16) return word(t);
  const [w15, w2] = [get(`w${(t - 15) % 16}`), get(`w${(t - 2) % 16}`)];
  const sigma0 = apply("xor", rotated(w15, 7), rotated(w15, 18), shifted(w15, 3));
  const sigma1 = apply("xor", rotated(w2, 17), rotated(w2, 19), shifted(w2, 10));
  return apply("add", get(`w${t % 16}`), sigma0, get(`w${(t - 7) % 16}`), sigma1);
};

/** Round t; the variables change their roles instead of their values moving on. */
const round = (t) => {
  const [a, b, c, d, e, f, g, h] = [...Array(8).keys()].map((i) => `v${(i + 64 - t) % 8}`);
  const choose = apply("xor", get(g), `(i32.and ${get(e)} ${apply("xor", get(f), get(g))})`);
  const majority = `(i32.or (i32.and ${get(a)} (i32.or ${get(b)} ${get(c)})) (i32.and ${get(b)} ${get(c)}))`;
  const sum1 = apply("xor", rotated(get(e), 6), rotated(get(e), 11), rotated(get(e), 25));
  const sum0 = apply("xor", rotated(get(a), 2), rotated(get(a), 13), rotated(get(a), 22));
  const w = `(local.tee $w${t % 16} ${scheduled(t)})`;
  return [
    `(local.set $x ${apply("add", get(h), constant(roundConstants[t]), w, sum1, choose)})`,
    `(local.set $${d} (i32.add ${get(d)} ${get("x")}))`,
    `(local.set $${h} ${apply("add", get("x"), sum0, majority)})`,
  ].join("\n");
};

const element = (i) => `(i64.load offset=${contentAt + 8 * i} ${get("state")})`;
const hashWord = (i) => `(i32.wrap_i64 (i64.shr_u ${element(i)} (i64.const 32)))`;
const addToHash = (i) => {
  const sum = `(i64.shl (i64.extend_i32_u (i32.add ${hashWord(i)} ${get(`v${i}`)})) (i64.const 32))`;
  const kind = `(i64.and ${element(i)} (i64.const 0xffffffff))`;
  return `(i64.store offset=${contentAt + 8 * i} ${get("state")} (i64.or ${sum} ${kind}))`;
};

/** A module whose only function does what `compress` in Sha256.mo does. */
export function sha256Wat() {
  const eight = [...Array(8).keys()];
  const words = [...Array(16).keys()];
  return `(module
  (memory i64 1)
  (func $compress (param $closure i64) (param $hash i64) (param $data i64) (param $at i64)
    (local $state i64) (local $block i64) (local $x i32)
    ${[...eight.map((i) => `$v${i}`), ...words.map((i) => `$w${i}`)].map((name) => `(local ${name} i32)`).join(" ")}
    (local.set $state ${forwarded("hash")})
    (local.set $block ${forwarded("data")})
    (local.set $at (i64.shr_u ${get("at")} (i64.const 2)))
    (if (i64.gt_u (i64.add ${get("at")} (i64.const 64)) (i64.load offset=${lengthAt} ${get("block")})) (then unreachable))
    (local.set $block (i64.add ${get("block")} ${get("at")}))
    ${eight.map((i) => `(local.set $v${i} ${hashWord(i)})`).join("\n")}
    ${[...Array(64).keys()].map(round).join("\n")}
    ${eight.map(addToHash).join("\n")}))`;
}
