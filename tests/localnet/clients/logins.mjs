// Logins as a page sees them that uses @icp-sdk/core: each function asks a canister who calls, by update and by query.
import { HttpAgent } from "@icp-sdk/core/agent";
import {
  AttributesIdentity,
  DelegationChain,
  DelegationIdentity,
  Ed25519KeyIdentity,
  WebAuthnIdentity,
} from "@icp-sdk/core/identity";
import { Principal } from "@icp-sdk/core/principal";

const bytes = (hex) => Uint8Array.from(hex.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
const hex = (array) => Array.from(array, (byte) => byte.toString(16).padStart(2, "0")).join("");
const soon = () => new Date(Date.now() + 60_000);

/** What the methods `update` and `query` of a canister reply to `program`, or why they do not; bytes as hexadecimal. */
async function answers(identity, canister, program) {
  const agent = await HttpAgent.create({ host: location.origin, identity, shouldFetchRootKey: true, retryTimes: 0 });
  const arg = bytes(program);
  const told = (error) => `${error.message ?? error}`;
  const updated = await agent.update(canister, { methodName: "update", arg }).then(({ reply }) => hex(reply), told);
  const queried = await agent.query(canister, { methodName: "query", arg }).then(({ reply }) => hex(reply.arg), told);
  return { user: hex(identity.getPrincipal().toUint8Array()), updated, queried };
}

/** As an authenticator of the browser. */
export const authenticator = async (canister, program) =>
  answers(await WebAuthnIdentity.create(), canister, program);

/** As a key to which the authenticator delegates, with these options. */
export async function delegated(canister, program, options) {
  const owner = await WebAuthnIdentity.create();
  const session = Ed25519KeyIdentity.generate();
  const chain = await DelegationChain.create(owner, session.getPublicKey(), soon(), options);
  const restored = DelegationChain.fromJSON(JSON.stringify(chain.toJSON()));
  return answers(DelegationIdentity.fromDelegation(session, restored), canister, program);
}

/** As a user for whom a canister signs: the delegation to the key of `seed`, and attributes of the user. */
export async function attributed(canister, program, seed, chain, info, signature, signer) {
  const inner = DelegationIdentity.fromDelegation(
    Ed25519KeyIdentity.generate(bytes(seed)),
    DelegationChain.fromJSON(chain),
  );
  const attributes = { data: bytes(info), signature: bytes(signature) };
  const identity = new AttributesIdentity({ inner, attributes, signer: { canisterId: Principal.fromText(signer) } });
  return answers(identity, canister, program);
}
