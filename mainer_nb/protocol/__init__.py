"""What every program that takes part in the Internet Computer shares, client or network.

    principal    who somebody is: bytes and text form
    candid       the interface language: types and binary format; values as text and as JSON
    did          interface descriptions: the text of .did files
    tokens       the tokens of such texts
    hash_tree    labelled values under one hash, of which parts can be shown
    certificate  a part of the state tree, signed
    bls          the signature scheme of certificates
    request_id   representation-independent hashing, of which request ids are made
    cbor         the tag of self-described CBOR
    leb128       integers in Candid, hashes and wasm

Imports nothing else of `mainer_nb`.
"""
