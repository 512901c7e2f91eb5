// A canister's life as a JavaScript program sees it, certificates and query signatures verified.
//
//     node agent.mjs <url> <module.wasm>
//
// Prints what came back as one JSON object.
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

// The packages are where NODE_PATH says, which `import` does not look at by itself.
const resolve = createRequire(`${process.env.NODE_PATH}/`).resolve;
const { Actor, HttpAgent, CanisterStatus } = await import(
  pathToFileURL(resolve("@icp-sdk/core/agent"))
);
const { IDL } = await import(pathToFileURL(resolve("@icp-sdk/core/candid")));
const { Principal } = await import(pathToFileURL(resolve("@icp-sdk/core/principal")));
const { Ed25519KeyIdentity } = await import(pathToFileURL(resolve("@icp-sdk/core/identity")));

const [url, path] = process.argv.slice(2);
const module = new Uint8Array(readFileSync(path));
const identity = Ed25519KeyIdentity.generate(new Uint8Array(32).fill(7));
const agent = await HttpAgent.create({
  host: url,
  identity,
  shouldFetchRootKey: true,
  verifyQuerySignatures: true,
});
const id = IDL.Record({ canister_id: IDL.Principal });
const mode = IDL.Variant({ install: IDL.Null, reinstall: IDL.Null, upgrade: IDL.Opt(IDL.Record({})) });
const code = IDL.Record({ mode, canister_id: IDL.Principal, wasm_module: IDL.Vec(IDL.Nat8), arg: IDL.Vec(IDL.Nat8) });
const settings = IDL.Record({ freezing_threshold: IDL.Opt(IDL.Nat) });
const status = IDL.Record({ settings: IDL.Record({ freezing_threshold: IDL.Nat }) });
const management = Actor.createActor(
  () =>
    IDL.Service({
      provisional_create_canister_with_cycles: IDL.Func([IDL.Record({ amount: IDL.Opt(IDL.Nat) })], [id], []),
      install_code: IDL.Func([code], [], []),
      update_settings: IDL.Func([IDL.Record({ canister_id: IDL.Principal, settings })], [], []),
      canister_status: IDL.Func([id], [status], []),
      stop_canister: IDL.Func([id], [], []),
      delete_canister: IDL.Func([id], [], []),
    }),
  {
    agent,
    canisterId: Principal.managementCanister(),
    callTransform: (_, [arg]) => ({ effectiveCanisterId: arg.canister_id ?? Principal.managementCanister() }),
  },
);
const counter = ({ IDL }) =>
  IDL.Service({
    increment: IDL.Func([], [IDL.Nat64], []),
    value: IDL.Func([], [IDL.Nat64], ["query"]),
    refuse_update: IDL.Func([], [], []),
    fall: IDL.Func([], [], []),
  });
const text = (error) => String(error.message ?? error);
const failure = async (promise) => promise.then(() => "", text);

const { canister_id } = await management.provisional_create_canister_with_cycles({ amount: [10_000_000_000_000n] });
const install = (mode) => management.install_code({ mode, canister_id, wasm_module: module, arg: new Uint8Array() });
const result = { canister: canister_id.toText(), user: identity.getPrincipal().toText() };
await install({ install: null });
const actor = Actor.createActor(counter, { agent, canisterId: canister_id });
result.counted = [Number(await actor.increment()), Number(await actor.increment()), Number(await actor.value())];
result.refused = await failure(actor.refuse_update());
result.trapped = await failure(actor.fall());
await install({ upgrade: [] });
result.upgraded = Number(await actor.value());
await management.update_settings({ canister_id, settings: { freezing_threshold: [1_234_567n] } });
result.threshold = Number((await management.canister_status({ canister_id })).settings.freezing_threshold);
const read = await CanisterStatus.request({
  agent,
  canisterId: canister_id,
  paths: ["time", "controllers", "module_hash", "subnet"],
});
result.controllers = read.get("controllers").map((one) => one.toText());
result.hash = read.get("module_hash");
result.nodes = read.get("subnet").nodeKeys.size;
await management.stop_canister({ canister_id });
result.stopped = await failure(actor.increment());
await management.delete_canister({ canister_id });
result.deleted = await failure(actor.value());
console.log(JSON.stringify(result));
