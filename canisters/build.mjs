// Builds the Motoko canisters into ../files, those of local networks into the embedded network's package: <name>.wasm,
// <name>.did and their entries in manifest.json.
// With --check it writes nothing, but compares what it builds with what is there and names what differs.
//
// Run by `npm run build` and `npm run check`, which give the compiler the stack it needs. What a compiler has compiled
// before shows in the bytes of what it compiles next, so each canister is compiled in a process of its own (compile.mjs).

import { fork } from "node:child_process";
import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { sha256Wat } from "./common/sha256.mjs";
import { replaceFunction, withAllStableMemory } from "./link.mjs";

const require = createRequire(import.meta.url);
const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..");
const canisters = {
  files: ["mainer_creator", "mainer_ctrlb", "game_state", "challenger", "judge"],
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

/** The wasm and .did of a canister by file name, from a compiler in a process of its own, which says what is wrong. */
function compiled(name) {
  return new Promise((resolve, reject) => {
    const compiler = fork(join(here, "compile.mjs"), [name], { serialization: "advanced" });
    compiler.on("message", resolve);
    compiler.on("error", reject);
    compiler.on("exit", (code) => code !== 0 && process.exit(1));
  });
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
async function outputs(folder) {
  const built = {};
  for (const name of canisters[folder]) Object.assign(built, await compiled(name)); // one at a time: each takes a GB
  const creator = "mainer_creator_canister.wasm";
  if (creator in built) built[creator] = withAllStableMemory(await replaceFunction(built[creator], "compress", sha256Wat()));
  return { ...built, "manifest.json": manifestWith(folder, built) };
}

let differing = 0;
for (const folder of Object.keys(canisters)) {
  for (const [name, bytes] of Object.entries(await outputs(folder))) {
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
