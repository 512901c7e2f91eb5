// A canister as a frontend uses it, by bindings made of its .did.
//
//     node bindings.mjs <folder of the bindings> <canister name> <url> <canister id>
//
// Prints what `health` answers, and the names of all methods.
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";
import { join, resolve as absolute } from "node:path";

const [folder, name, url, canisterId] = process.argv.slice(2);
const require = createRequire(join(absolute(folder), "any.js"));
const { Actor, HttpAgent } = await import(pathToFileURL(require.resolve("@icp-sdk/core/agent")));
const { idlFactory } = await import(pathToFileURL(join(absolute(folder), "declarations", `${name}.did.js`)));

const agent = await HttpAgent.create({ host: url, shouldFetchRootKey: true });
const actor = Actor.createActor(idlFactory, { agent, canisterId });
const methods = Actor.interfaceOf(actor)._fields.map(([method]) => method);
console.log(JSON.stringify({ health: await actor.health(), methods }));
