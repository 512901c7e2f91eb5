"""ECDSA, Schnorr and vetKD with the development keys of this network (see `keys`)."""

from __future__ import annotations

import os
from typing import Any

from .. import cycles, keys
from ..rejections import caller_fault
from ..state import CallMessage
from ..subnet import Subnet
from .methods import Answer, Callers, reply, subnet_method

MAX_PATH = 255


@subnet_method(Callers.CANISTERS)
def ecdsa_public_key(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
    key = _ecdsa_key(subnet, args, args["canister_id"] or message.caller)
    return reply(message, {"public_key": key.public_key, "chain_code": key.chain_code})


@subnet_method(Callers.CANISTERS)
def sign_with_ecdsa(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
    key = _ecdsa_key(subnet, args, message.caller)
    if len(args["message_hash"]) != 32:
        raise caller_fault("IC0406", f"message_hash must be 32 bytes, not {len(args['message_hash'])}")
    left = _paid(message, args)
    return reply(message, {"signature": key.sign_ecdsa(args["message_hash"])}, refund=left)


@subnet_method(Callers.CANISTERS)
def schnorr_public_key(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
    key = _schnorr_key(subnet, args, args["canister_id"] or message.caller)
    return reply(message, {"public_key": key.public_key, "chain_code": key.chain_code})


@subnet_method(Callers.CANISTERS)
def sign_with_schnorr(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
    key = _schnorr_key(subnet, args, message.caller)
    root = args["aux"]["bip341"]["merkle_root_hash"] if args["aux"] is not None else None
    if root is not None and isinstance(key, keys.Ed25519Key):
        raise caller_fault("IC0406", "Auxiliary input bip341 can be used with bip340secp256k1 keys only")
    if root is not None and len(root) not in (0, 32):
        raise caller_fault("IC0406", f"merkle_root_hash must be empty or 32 bytes, not {len(root)}")
    left = _paid(message, args)
    if isinstance(key, keys.Ed25519Key):
        signature = key.sign(args["message"])
    else:
        signature = key.sign_bip340(args["message"], root)
    return reply(message, {"signature": signature}, refund=left)


@subnet_method(Callers.CANISTERS)
def vetkd_public_key(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
    key = _vetkd_key(subnet, args, args["canister_id"] or message.caller)
    return reply(message, {"public_key": key.public_key})


@subnet_method(Callers.CANISTERS)
def vetkd_derive_key(subnet: Subnet, message: CallMessage, args: Any) -> Answer:
    key = _vetkd_key(subnet, args, message.caller)
    left = _paid(message, args)
    try:
        encrypted = key.encrypted(args["input"], args["transport_public_key"])
    except ValueError as error:
        raise caller_fault("IC0406", f"invalid transport_public_key: {error}") from error
    return reply(message, {"encrypted_key": encrypted}, refund=left)


def _ecdsa_key(subnet: Subnet, args: Any, canister_id: bytes) -> keys.EcdsaKey:
    if "secp256r1" in args["key_id"]["curve"]:
        name = _name(args, "ecdsa:Secp256r1")
        return keys.Secp256r1Key.master(_seed(subnet), f"ecdsa/secp256r1/{name}").derive(_path(args, canister_id))
    name = _name(args, "ecdsa:Secp256k1")
    return keys.Secp256k1Key.master(_seed(subnet), f"ecdsa/{name}").derive(_path(args, canister_id))


def _schnorr_key(subnet: Subnet, args: Any, canister_id: bytes) -> keys.Secp256k1Key | keys.Ed25519Key:
    if "ed25519" in args["key_id"]["algorithm"]:
        name = _name(args, "schnorr:Ed25519")
        return keys.Ed25519Key.master(_seed(subnet), f"ed25519/{name}").derive(_path(args, canister_id))
    name = _name(args, "schnorr:Bip340Secp256k1")
    return keys.Secp256k1Key.master(_seed(subnet), f"bip340/{name}").derive(_path(args, canister_id))


def _vetkd_key(subnet: Subnet, args: Any, canister_id: bytes) -> keys.VetKey:
    name = _name(args, "vetkd:Bls12_381_G2")
    return keys.VetKey.master(_seed(subnet), f"vetkd/{name}").derive(canister_id, args["context"])


def _name(args: Any, scheme: str) -> str:
    name: str = args["key_id"]["name"]
    if name not in keys.NAMES:
        existing = ", ".join(f"{scheme}:{known}" for known in keys.NAMES)
        raise caller_fault("IC0406", f"Requested unknown threshold key: {scheme}:{name}, existing keys: [{existing}]")
    return name


def _path(args: Any, canister_id: bytes) -> list[bytes]:
    path: list[bytes] = args["derivation_path"]
    if len(path) > MAX_PATH:
        raise caller_fault("IC0408", f"a derivation path has at most {MAX_PATH} elements, not {len(path)}")
    return [canister_id, *path]


def _paid(message: CallMessage, args: Any) -> int:
    """The cycles of the call that are left after the fee."""
    fee = cycles.SIGNATURE[args["key_id"]["name"]]
    if message.cycles < fee:
        text = f"{message.method} request sent with {message.cycles} cycles, but {fee} cycles are required."
        raise caller_fault("IC0406", text)
    return message.cycles - fee


def _seed(subnet: Subnet) -> bytes:
    """The secret that all development keys of the network come from; made when it is first needed."""
    with subnet.step() as step:
        seed: bytes | None = subnet.store.meta("signing seed")
        if seed is None:
            seed = os.urandom(keys.SEED_LENGTH)
            step.changes.meta["signing seed"] = seed
    return seed
