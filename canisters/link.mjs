// Puts other functions in the place of those that the Motoko compiler made.

import wabt from "wabt";

const CUSTOM = 0;
const IMPORT = 2;
const CODE = 10;
const FUNCTION_NAMES = 1; // the subsection of the name section

/** The unsigned LEB128 number at `at`, and where it ends. */
function number(bytes, at) {
  let value = 0;
  for (let weight = 1; ; weight *= 128, at += 1) {
    value += (bytes[at] & 127) * weight;
    if (bytes[at] < 128) return [value, at + 1];
  }
}

function encoded(value) {
  const bytes = [];
  for (; value >= 128; value = Math.floor(value / 128)) bytes.push((value % 128) | 128);
  return Buffer.from([...bytes, value]);
}

/** The sections of a module: id, content, and where they start and end. */
function sections(module) {
  const found = [];
  for (let start = 8; start < module.length; ) {
    const [size, content] = number(module, start + 1);
    const end = content + size;
    found.push({ id: module[start], content: module.subarray(content, end), start, end });
    start = end;
  }
  return found;
}

/** The bodies of a module's own functions. */
function bodiesOf(module) {
  const { content } = sections(module).find(({ id }) => id === CODE);
  const [count, first] = number(content, 0);
  const found = [];
  for (let next = first; found.length < count; ) {
    const [size, start] = number(content, next);
    next = start + size;
    found.push(content.subarray(start, next));
  }
  return found;
}

/** Indices of the functions with this name, by the name section. */
function namedFunctions(module, wanted) {
  const found = [];
  for (const { id, content } of sections(module)) {
    if (id !== CUSTOM) continue;
    const [length, start] = number(content, 0);
    if (content.subarray(start, start + length).toString() !== "name") continue;
    for (let next = start + length; next < content.length; ) {
      const [size, from] = number(content, next + 1);
      if (content[next] === FUNCTION_NAMES) found.push(...indicesOf(content.subarray(from, from + size), wanted));
      next = from + size;
    }
  }
  return found;
}

function indicesOf(names, wanted) {
  const found = [];
  let [count, next] = number(names, 0);
  for (; count > 0; count -= 1) {
    const [index, afterIndex] = number(names, next);
    const [size, start] = number(names, afterIndex);
    if (names.subarray(start, start + size).toString() === wanted) found.push(index);
    next = start + size;
  }
  return found;
}

/** How many functions a module imports, which are numbered before its own. Only functions may be imported. */
function importedFunctions(module) {
  const { content } = sections(module).find(({ id }) => id === IMPORT);
  const [count, first] = number(content, 0);
  let next = first;
  for (let i = 0; i < count; i += 1) {
    for (const _ of ["module", "name"]) {
      const [length, start] = number(content, next);
      next = start + length;
    }
    if (content[next] !== 0) throw new Error("the module imports something else than functions");
    [, next] = number(content, next + 1);
  }
  return count;
}

/** The section of code with these function bodies, id and size included. */
function codeSection(bodies) {
  const content = Buffer.concat([encoded(bodies.length), ...bodies.flatMap((body) => [encoded(body.length), body])]);
  return Buffer.concat([Buffer.from([CODE]), encoded(content.length), content]);
}

/** `module` with another body of the function `name`: what `change` makes of it. */
function withBody(module, name, change) {
  const [index, ...more] = namedFunctions(module, name);
  if (index === undefined || more.length > 0) throw new Error(`there must be one function ${name}`);
  const bodies = bodiesOf(module);
  bodies[index - importedFunctions(module)] = change(bodies[index - importedFunctions(module)]);
  const { start, end } = sections(module).find(({ id }) => id === CODE);
  return Buffer.concat([module.subarray(0, start), codeSection(bodies), module.subarray(end)]);
}

/** `module` with the function `name` done by `wat`: a WebAssembly text of one function that refers to no other. */
export async function replaceFunction(module, name, wat) {
  const features = { memory64: true };
  const assembled = (await wabt()).parseWat(`${name}.wat`, wat, features).toBinary({}).buffer;
  const [replacement] = bodiesOf(Buffer.from(assembled));
  return withBody(module, name, () => replacement);
}

/** `module` with up to 500 GiB of stable memory, what a canister can have, in place of 4 GiB: the compiler's option for
 * that, --max-stable-pages, is not in its npm package. */
export function withAllStableMemory(module) {
  const few = Buffer.from([0x42, 0x80, 0x80, 0x04]); // i64.const 65_536
  const all = Buffer.from([0x42, 0x80, 0x80, 0xf4, 0x03]); // i64.const 8_192_000
  return withBody(module, "__stablemem_grow", (body) => {
    const at = body.indexOf(few);
    if (at < 0 || body.includes(few, at + 1)) throw new Error("__stablemem_grow must have one limit of 65,536 pages");
    return Buffer.concat([body.subarray(0, at), all, body.subarray(at + few.length)]);
  });
}
