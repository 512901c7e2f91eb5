"""Files of icp-cli and dfx may have anything anywhere: the error names the file, and nothing raw comes out."""

from __future__ import annotations

from pathlib import Path

import pytest

from mainer_nb import identity, network
from mainer_nb.errors import MainerError, NetworkError

DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "content",
    [
        "networks: 7",
        "networks: [{name: a, mode: connected, url: 7}]",
        "networks: [{name: a, mode: connected, url: [x]}]",
        "networks: [{name: a, mode: connected}]",
        "networks: [{name: a, mode: connected, url: 'http://x', root-key: 7}]",
        "networks: [{name: a, mode: connected, url: 'http://x', root-key: zz}]",
        "networks: [{mode: connected}]",
        "networks: [{name: [a]}]",
        "networks: [{name: a, gateway: 7}]",
        "environments: 7",
        "environments: [{name: a, network: [b]}]",
        "7",
        "[a, b]",
        "a: [",
        "'",
    ],
)
def test_an_odd_icp_yaml_is_named(project: Path, content: str) -> None:
    (project / "icp.yaml").write_text(content)
    with pytest.raises(NetworkError, match=r"icp\.yaml"):
        network.known()


@pytest.mark.parametrize(
    "content",
    [
        "7",
        "[]",
        "{",
        DEEP,
        '{"networks": 7}',
        '{"networks": []}',
        '{"networks": {"a": 7}}',
        '{"networks": {"a": []}}',
        '{"networks": {"a": {"providers": 7}}}',
        '{"networks": {"a": {"providers": [7]}}}',
        '{"networks": {"a": {"providers": {"x": 1}}}}',
        '{"networks": {"a": {"providers": ["x"]}}}',
        '{"networks": {"a": {"bind": 7}}}',
        '{"networks": {"a": {"bind": ["127.0.0.1"]}}}',
        '{"networks": {"a": {"bind": "[::1"}}}',
    ],
    ids=range(15),
)
def test_an_odd_dfx_json_is_named(project: Path, content: str) -> None:
    (project / "dfx.json").write_text(content)
    with pytest.raises(NetworkError, match=r"dfx\.json"):
        network.known()


@pytest.mark.parametrize(
    "content",
    ["7", "[]", "{", DEEP, '{"game": 7}', '{"game": []}', '{"game": {"ic": 7}}', '{"game": {"ic": ["a"]}}'],
    ids=range(8),
)
def test_an_odd_file_of_canister_ids_is_named(project: Path, content: str) -> None:
    path = project / "canister_ids.json"
    path.write_text(content)
    ids = network.CanisterIds((network.IdsFile(path, "dfx", "ic"),))
    with pytest.raises(NetworkError, match=r"canister_ids\.json"):
        ids.get("game")
    if '"ic"' not in content:
        with pytest.raises(NetworkError, match=r"canister_ids\.json"):
            ids.set("game", "aaaaa-aa")
        assert path.read_text() == content


@pytest.mark.parametrize(
    "content", ["7", "[]", "{", DEEP, '{"identities": 7}', '{"identities": {"a": 7}}'], ids=range(6)
)
def test_an_odd_list_of_identities_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: str) -> None:
    monkeypatch.setenv("ICP_HOME", str(tmp_path / "icp"))
    path = tmp_path / "icp/identity/identity_list.json"
    path.parent.mkdir(parents=True)
    path.write_text(content)
    with pytest.raises(MainerError, match=r"identity_list\.json"):
        identity.known()


def _pem(body: bytes, label: bytes = b"PRIVATE KEY") -> bytes:
    return b"-----BEGIN %s-----\n%s\n-----END %s-----" % (label, body, label)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        _pem(b""),
        _pem(b"===="),
        _pem(b"MIICdQ=="),
        _pem(b"A" * 10_000, label=b"EC PRIVATE KEY"),
        _pem("ü".encode() * 20),
    ],
    ids=range(7),
)
def test_an_odd_pem_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(MainerError, match=r"key\.pem"):
        identity.load(path)
