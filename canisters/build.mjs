// Compiles the Motoko canisters into ../files, those of local networks into the embedded network's package: <name>.wasm,
// <name>.did and their entries in manifest.json.
// With --check it writes nothing, but compares what it builds with what is there and names what differs.
//
// Run by `npm run build` and `npm run check`, which give the compiler the stack it needs.

import { createHash } from "node:crypto";
import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import wabt from "wabt";
import { sha256Constants, sha256Wat } from "./common/sha256.mjs";
import { replaceFunction, withAllStableMemory } from "./link.mjs";

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..");
const canisters = {
  files: ["mainer_creator", "mainer_ctrlb", "game_state"],
  "mainer_nb/localnet/system_canisters": ["cycles_ledger", "cycles_minting", "icp_ledger", "registry"],
};
const command = "cd canisters && npm ci && npm run build";

const sha256 = (bytes) => createHash("sha256").update(bytes).digest("hex");
const read = (path) => {
  try {
    return readFileSync(path);
  } catch (error) {
    if (error.code === "ENOENT") return null;
    throw error;
  }
};

/**
 * A compiler, with the core library, our sources and the generated ones in its file system. What it has compiled before
 * shows in the bytes of what it compiles, so each folder has a compiler of its own.
 */
async function compilerWithSources() {
  for (const path of Object.keys(require.cache)) delete require.cache[path];
  const motoko = require("motoko").default;
  motoko.loadPackage(require("motoko/packages/latest/core.json"));
  for (const folder of ["common", ...Object.values(canisters).flat()]) {
    for (const name of readdirSync(join(here, folder)).filter((name) => name.endsWith(".mo")).sort()) {
      motoko.write(`${folder}/${name}`, readFileSync(join(here, folder, name), "utf8"));
    }
  }
  motoko.write("common/Sha256Constants.mo", sha256Constants());
  motoko.write("mainer_creator/ReturnCyclesWasm.mo", await blobModule("mainer_creator/return_cycles.wat"));
  motoko.setPublicMetadata(["candid:service", "candid:args"]);
  return motoko;
}

/** A Motoko module whose `wasm` is the assembled WebAssembly text at `path`. */
async function blobModule(path) {
  const module = (await wabt()).parseWat(path, readFileSync(join(here, path), "utf8"));
  const bytes = Buffer.from(module.toBinary({}).buffer);
  const literal = [...bytes].map((byte) => `\\${byte.toString(16).padStart(2, "0")}`).join("");
  return `module { public let wasm : Blob = "${literal}" };\n`;
}

const place = ({ source, range }) => `${source}:${range.start.line + 1}:${range.start.character + 1}`;

function compile(motoko, name) {
  const { code, diagnostics } = motoko.compiler.compileWasm("ic", `${name}/main.mo`);
  for (const diagnostic of diagnostics) console.error(`${place(diagnostic)}: ${diagnostic.code} ${diagnostic.message}`);
  if (!code || diagnostics.length > 0) throw new Error(`${name} does not compile without errors and warnings`);
  return { [`${name}_canister.wasm`]: Buffer.from(code.wasm), [`${name}_canister.did`]: Buffer.from(code.candid) };
}

/** The manifest.json of `folder` with the entries of `built` put in; the entries of others stay. */
function manifestWith(folder, built) {
  const { version } = require("motoko/package.json");
  const core = require("motoko/packages/latest/core.json").version;
  const manifest = JSON.parse(read(join(root, folder, "manifest.json"))?.toString() ?? '{ "files": [] }');
  const others = manifest.files.filter(({ name }) => !(name in built));
  const ours = Object.entries(built).map(([name, bytes]) => ({
    name,
    size: bytes.length,
    sha256: sha256(bytes),
    source: `canisters/${name.replace(/_canister\..*/, "")}`,
    made_by: command,
    compiler: `motoko ${version} from npm, core ${core}`,
  }));
  manifest.files = [...others, ...ours].sort((a, b) => (a.name < b.name ? -1 : 1));
  return Buffer.from(`${JSON.stringify(manifest, null, 2)}\n`);
}

/** What belongs into `folder`, by file name. */
async function outputs(motoko, folder) {
  const built = Object.assign({}, ...canisters[folder].map((name) => compile(motoko, name)));
  const creator = "mainer_creator_canister.wasm";
  if (creator in built) built[creator] = withAllStableMemory(await replaceFunction(built[creator], "compress", sha256Wat()));
  return { ...built, "manifest.json": manifestWith(folder, built) };
}

let differing = 0;
for (const folder of Object.keys(canisters)) {
  const motoko = await compilerWithSources();
  for (const [name, bytes] of Object.entries(await outputs(motoko, folder))) {
    const path = join(root, folder, name);
    if (!process.argv.includes("--check")) {
      writeFileSync(path, bytes);
      console.log(`${folder}/${name}  ${bytes.length} bytes  ${sha256(bytes)}`);
    } else if (!read(path)?.equals(bytes)) {
      console.error(`${folder}/${name} is not what its sources give; run: ${command}`);
      differing += 1;
    }
  }
}
process.exit(differing > 0 ? 1 : 0);
