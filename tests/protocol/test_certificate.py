"""Certificates: one of a real replica, our own, and what must not be trusted."""

from typing import Any

import cbor2
import pytest
from ic.certificate import lookup as ic_py_lookup
from icp_certificate import Certificate as IcpCertificate

from mainer_nb.protocol import bls, certificate, hash_tree, principal
from mainer_nb.protocol.certificate import InvalidCertificate
from mainer_nb.protocol.leb128 import leb128

# A certificate of a replica that the IC WebSocket project publishes with its tests.
REPLICA_KEY = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100b12bac4b112b66bc98e54f85e3c1bd3505f9dc08c381"
    "5e71fdbfa8718a1288738fb03539eb2fc8e3eb6bbbf40abdc5490dde09090c268084a1e24c0a70d85d4f258373fc6ef5532aac2c1be153bcd319bc"
    "02f677069f6296713391a5ae3ba434"
)
REPLICA_CERTIFICATE = bytes.fromhex(
    "d9d9f7a2647472656583018301830183024863616e6973746572830183024a8000000000100000010183018301830183024e636572746966696564"
    "5f646174618203582087be17d7ba688bc4fb13d61f3d8d5642df92536e40da98facba7ba0450ea59e082045820f8d20e36feb79f8495eb4c632b7a"
    "04171599957c8c267f55b2156d89b5c1e424820458200d3dc76c69e69f12678a2e9a5a6859579ceb28350608e69f1902055650edaf7f820458209e"
    "5663705fa61a6ca53ee4a61daa4621e8ece0febd99b334d0ae625aad9f3f6e8204582077d28a3053cd3845a065a879ce36849add41cae9e6a56d45"
    "2e328194b38e15ec82045820932e7cd3d24b95ff6c0fea6086fc624ee43b0875101777e089ba915ef7ded93d82045820fbb733f900879885afed4a"
    "ce8eb90b19245f8386e7537769c072e9fded13c6ad830182045820ae29f371a7ae2a4af8bb125ef23486745500f8cb31a02c35cc7155053b67cce6"
    "83024474696d6582034992da96e7ae90a2ba17697369676e61747572655830932828f169fdce98969c417666f38002e2826081deb756e94c73091a"
    "1b7c0455f6c2f3ccc509ab576c8e6f8753b7d85b"
)

# The main network's root key, and a certificate under it: the root subnet's delegation to another subnet.
MAINNET_KEY = bytes.fromhex(
    "308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c05030201036100814c0e6ec71fab583b08bd81373c255c3c371b2e84"
    "863c98a4f1e08b74235d14fb5d9c0cd546d9685f913a0c0b2cc5341583bf4b4392e467db96d65b9bb4cb717112f8472e0d5a4d14505ffd7484"
    "b01291091c5f87b98883463f98091a0baaae"
)
MAINNET_SUBNET = bytes.fromhex("d77b2a2f7199b9a8aec93fe6fb588661358cf12223e9a3af7b4ebac402")
MAINNET_CERTIFICATE = bytes.fromhex(
    "d9d9f7a26474726565830182045820ae023f28c3b9d966c8fb09f9ed755c828aadb5152e00aaf700b18c9c067294b483018302467375626e6574"
    "830182045820e83bb025f6574c8f31233dc0fe289ff546dfa1e49bd6116dd6e8896d90a4946e830182045820e782619092d69d5bebf0924138bd"
    "4116b0156b5a95e25c358ea8cf7e7161a661830183018204582062513fa926c9a9ef803ac284d620f303189588e1d3904349ab63b6470856fc48"
    "83018204582060e9a344ced2c9c4a96a0197fd585f2d259dbd193e4eada56239cac26087f9c58302581dd77b2a2f7199b9a8aec93fe6fb588661"
    "358cf12223e9a3af7b4ebac402830183024f63616e69737465725f72616e6765738203581bd9d9f781824a000000000020000001014a00000000"
    "002fffff010183024a7075626c69635f6b657982035885308182301d060d2b0601040182dc7c0503010201060c2b0601040182dc7c0503020103"
    "61009933e1f89e8a3c4d7fdcccdbd518089e2bd4d8180a261f18d9c247a52768ebce98dc7328a39814a8f911086a1dd50cbe015e2a53b7bf78b5"
    "5288893daa15c346640e8831d72a12bdedd979d28470c34823b8d1c3f4795d9c3984a247132e94fe82045820996f17bb926be3315745dea72820"
    "05a793b58e76afeb5d43d1a28ce29d2d158583024474696d6582034995b8aac0e4eda2ea16697369676e61747572655830ace9fcdd9bc977e05d"
    "6328f889dc4e7c99114c737a494653cb27a1f55c06f4555e0f160980af5ead098acc195010b2f7"
)

SECOND = 1_000_000_000
NOW = 1_700_000_000 * SECOND
KEY = bls.SecretKey(b"k" * 32)
SUBNET_KEY = bls.SecretKey(b"s" * 32)
SUBNET = principal.self_authenticating(SUBNET_KEY.public_key_der)
CANISTER = principal.canister_id(5)
STATE = hash_tree.tree(
    {
        b"time": leb128(NOW),
        b"canister": {CANISTER: {b"certified_data": b"data"}},
        b"request_status": {b"r" * 32: {b"status": b"replied", b"reply": b"DIDL\0\0"}},
        b"subnet": {
            SUBNET: {
                b"public_key": SUBNET_KEY.public_key_der,
                b"canister_ranges": cbor2.dumps([[principal.canister_id(0), principal.canister_id(99)]]),
            }
        },
    }
)


def certify(state: hash_tree.Node, paths: list[list[bytes]], key: bls.SecretKey) -> bytes:
    """The only certificate of a round."""
    [one] = certificate.certify(state, [paths], key)
    return one


def content_of(data: bytes) -> dict[str, Any]:
    return dict(cbor2.loads(data.removeprefix(bytes.fromhex("d9d9f7"))))


def delegated(paths: list[list[bytes]], root: bls.SecretKey = KEY) -> bytes:
    """A certificate of the subnet, with the root's delegation."""
    content = content_of(certify(STATE, paths, SUBNET_KEY))
    inner = certify(STATE, [[b"subnet", SUBNET]], root)
    return cbor2.dumps({**content, "delegation": {"subnet_id": SUBNET, "certificate": inner}})


def test_a_real_replicas_certificate() -> None:
    tree = certificate.verify(REPLICA_CERTIFICATE, REPLICA_KEY)
    canister = principal.from_text("bnz7o-iuaaa-aaaaa-qaaaa-cai")
    certified = hash_tree.lookup_value([b"canister", canister, b"certified_data"], tree)
    assert isinstance(certified, bytes)
    assert certified.hex() == "87be17d7ba688bc4fb13d61f3d8d5642df92536e40da98facba7ba0450ea59e0"
    assert (
        certificate.time_of(tree) == 1_690_386_047_155_000_000 // 1
        or certificate.time_of(tree) > 1_690_000_000 * SECOND
    )


def test_a_certificate_of_the_main_network() -> None:
    tree = certificate.verify(MAINNET_CERTIFICATE, MAINNET_KEY)
    ranges = hash_tree.lookup_value([b"subnet", MAINNET_SUBNET, b"canister_ranges"], tree)
    assert isinstance(ranges, bytes)
    assert cbor2.loads(ranges)[0][0] == principal.canister_id(0x200000)
    assert hash_tree.lookup([b"canister"], tree) is hash_tree.UNKNOWN
    with pytest.raises(InvalidCertificate, match="not signed with this key"):
        certificate.verify(MAINNET_CERTIFICATE, REPLICA_KEY)


def test_our_own() -> None:
    data = certify(STATE, [[b"time"], [b"request_status", b"r" * 32], [b"request_status", b"absent"]], KEY)
    assert data.startswith(bytes.fromhex("d9d9f7"))
    tree = certificate.verify(data, KEY.public_key_der, now=NOW + 60 * SECOND)
    assert tree.digest == STATE.digest
    assert certificate.time_of(tree) == NOW
    assert hash_tree.lookup_value([b"request_status", b"r" * 32, b"status"], tree) == b"replied"
    assert hash_tree.lookup([b"request_status", b"absent"], tree) is hash_tree.ABSENT
    assert hash_tree.lookup([b"canister", CANISTER, b"certified_data"], tree) is hash_tree.UNKNOWN


def test_other_clients_read_it() -> None:
    data = certify(STATE, [[b"time"], [b"request_status", b"r" * 32]], KEY)
    path = [b"request_status", b"r" * 32, b"reply"]
    assert ic_py_lookup(path, cbor2.loads(data)) == b"DIDL\0\0"
    theirs = IcpCertificate(cbor2.loads(data))
    assert theirs.lookup_reply(b"r" * 32) == b"DIDL\0\0"
    assert theirs.root_hash() == STATE.digest


def test_with_delegation() -> None:
    tree = certificate.verify(delegated([[b"time"]]), KEY.public_key_der, canister_id=CANISTER)
    assert certificate.time_of(tree) == NOW


def test_ranges_in_shards() -> None:
    ranges = {b"low": cbor2.dumps([[CANISTER, CANISTER]]), b"lower": cbor2.dumps([])}
    state = hash_tree.put(STATE, b"canister_ranges", hash_tree.tree({SUBNET: ranges}))
    content = content_of(certify(STATE, [[b"time"]], SUBNET_KEY))
    inner = certify(state, [[b"subnet", SUBNET, b"public_key"], [b"canister_ranges", SUBNET]], KEY)
    data = cbor2.dumps({**content, "delegation": {"subnet_id": SUBNET, "certificate": inner}})
    certificate.verify(data, KEY.public_key_der, canister_id=CANISTER)
    with pytest.raises(InvalidCertificate, match="does not cover"):
        certificate.verify(data, KEY.public_key_der, canister_id=principal.canister_id(6))


def tampered() -> bytes:
    content = content_of(certify(STATE, [[b"time"]], KEY))
    content["tree"] = hash_tree.to_cbor(hash_tree.put(STATE, b"time", hash_tree.Leaf(b"\0")))
    return cbor2.dumps(content)


def doubly_delegated() -> bytes:
    content = content_of(delegated([[b"time"]]))
    content["delegation"]["certificate"] = delegated([[b"subnet", SUBNET]])
    return cbor2.dumps(content)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        (b"", "not CBOR"),
        (b"\x01", "not a map with a tree and a signature"),
        (cbor2.dumps({"tree": [9], "signature": b""}), "malformed: not a hash tree"),
        (cbor2.dumps({"tree": [0], "signature": bytes(48)}), "not signed with this key"),
        (tampered(), "not signed with this key"),
        (certify(STATE, [[b"time"]], SUBNET_KEY), "not signed with this key"),
        (delegated([[b"time"]], root=SUBNET_KEY), "not signed with this key"),
        (doubly_delegated(), "has itself a delegation"),
        (cbor2.dumps({"tree": [0], "signature": b"", "delegation": 1}), "not a map with subnet_id"),
    ],
)
def test_not_to_be_trusted(data: bytes, error: str) -> None:
    with pytest.raises(InvalidCertificate, match=error):
        certificate.verify(data, KEY.public_key_der)


def test_a_canister_of_another_subnet() -> None:
    other = principal.canister_id(100)
    with pytest.raises(InvalidCertificate, match=f"does not cover {principal.to_text(other)}"):
        certificate.verify(delegated([[b"time"]]), KEY.public_key_der, canister_id=other)


def test_time() -> None:
    data = certify(STATE, [[b"time"]], KEY)
    with pytest.raises(InvalidCertificate, match="is 301 s ago, at most 300 s"):
        certificate.verify(data, KEY.public_key_der, now=NOW + 301 * SECOND)
    with pytest.raises(InvalidCertificate, match="is 301 s ahead"):
        certificate.verify(data, KEY.public_key_der, now=NOW - 301 * SECOND)
    without_time = certify(STATE, [[b"subnet"]], KEY)
    with pytest.raises(InvalidCertificate, match="does not show time"):
        certificate.verify(without_time, KEY.public_key_der, now=NOW)
