// Compiles one Motoko canister for build.mjs, which starts it as a process: node compile.mjs NAME.
// It sends back the wasm and .did by file name, and ends with status 1 after any error or warning.

import { readFileSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import wabt from "wabt";
import { sha256Constants } from "./common/sha256.mjs";

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));

/** The Motoko sources in `folder` that are written during the build, by file name. */
const generated = {
  common: async () => ({ "Sha256Constants.mo": sha256Constants() }),
  mainer_creator: async () => ({ "ReturnCyclesWasm.mo": await blobModule("mainer_creator/return_cycles.wat") }),
};

/** A Motoko module whose `wasm` is the assembled WebAssembly text at `path`. */
async function blobModule(path) {
  const module = (await wabt()).parseWat(path, readFileSync(join(here, path), "utf8"));
  const bytes = Buffer.from(module.toBinary({}).buffer);
  const literal = [...bytes].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
  return `module { public let wasm : Blob = "${literal}" };\n`;
}

/** All Motoko sources of `folder`, by path. */
async function sources(folder) {
  const names = readdirSync(join(here, folder)).filter((name) => name.endsWith(".mo")).sort();
  const written = Object.fromEntries(names.map((name) => [name, readFileSync(join(here, folder, name), "utf8")]));
  const all = { ...written, ...(await generated[folder]?.()) };
  return Object.entries(all).map(([name, text]) => [`${folder}/${name}`, text]);
}

/** A compiler with the core library, the common sources and those of the canister in its file system. */
async function compilerFor(name) {
  const motoko = require("motoko").default;
  motoko.loadPackage(require("motoko/packages/latest/core.json"));
  for (const [path, text] of [...(await sources("common")), ...(await sources(name))]) motoko.write(path, text);
  motoko.setPublicMetadata(["candid:service", "candid:args"]);
  return motoko;
}

const place = ({ source, range }) => `${source}:${range.start.line + 1}:${range.start.character + 1}`;

const [name] = process.argv.slice(2);
const { code, diagnostics } = (await compilerFor(name)).compiler.compileWasm("ic", `${name}/main.mo`);
for (const diagnostic of diagnostics) console.error(`${place(diagnostic)}: ${diagnostic.code} ${diagnostic.message}`);
if (!code || diagnostics.length > 0) {
  console.error(`${name} does not compile without errors and warnings`);
  process.exitCode = 1;
  process.disconnect();
} else {
  const files = { [`${name}_canister.wasm`]: Buffer.from(code.wasm), [`${name}_canister.did`]: Buffer.from(code.candid) };
  process.send(files, () => process.disconnect());
}
