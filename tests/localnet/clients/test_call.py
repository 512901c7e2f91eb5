"""`mainer-nb call` reads and prints Candid as the icp command does."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import wasmtime

from mainer_nb import cli, management, network
from mainer_nb.localnet import server
from tests import needed
from tests.probe_canister import PROBE_WAT

pytestmark = [
    pytest.mark.skipif(
        platform.system() != "Linux" or platform.machine() != "x86_64",
        reason="the icp command is tested on Linux, x86-64",
    ),
    needed.ICP_COMMAND,
]

#: Arguments for a method that gives back what it gets: their types, and how they are written.
ARGUMENTS = [
    ("nat, int, nat8, int64, nat64", "(1_000_000, -5, 0xff, -9_000_000_000, 18_446_744_073_709_551_615)"),
    ("float64, float32, bool", "(1.5e-3, -0.1, true)"),
    ("text, text", r'("don\'t \"quote\" \\ \t", "\u{1f42a} Käfer ☃")'),
    ("blob, blob, blob", r'(blob "abc", blob "\00\ff", vec { 1; 2 })'),
    ("opt text, opt nat, opt opt bool, null, reserved", '(opt "x", opt 5, opt null, null, null)'),
    ("principal, service {}, func () -> ()", '(principal "aaaaa-aa", service "aaaaa-aa", func "aaaaa-aa".raw_rand)'),
    ("record { nat; text }, record {}", '(record { 5; "x" }, record {})'),
    ('record { a : nat; "b c" : opt bool; 7 : int }', '(record { "a" = 1 : nat; "b c" = opt true; 7 = -1 })'),
    ("variant { Own; Share : text }, variant { Own; Share : text }", '(variant { Own }, variant { Share = "x" })'),
    (
        "vec record { topic : text; question : text; score : opt nat }",
        '(vec { record { topic = "geography"; question = "What is the capital of France?"; score = opt 5 };'
        ' record { topic = "nature"; question = "What do bees make?"; score = null } })',
    ),
]


@pytest.fixture
def echo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A canister that gives back what it gets."""
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "manifest.json").write_text('{"files": []}')
    for name, folder in (("PROJECT", "."), ("STATE", "state"), ("CONFIG", "config"), ("CACHE", "cache")):
        monkeypatch.setenv(f"MAINER_NB_{name}", str(tmp_path / folder))
    agent = network.connect().agent
    canister_id = management.create_canister(agent, 10 * management.TRILLION)
    management.install_code(agent, canister_id, bytes(wasmtime.wat2wasm(PROBE_WAT)), "install")
    yield canister_id
    server.stop(tmp_path / "state")


@pytest.mark.parametrize("how", ["each", "all"])
def test_what_icp_prints_is_what_is_printed(
    echo: str, how: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    info = server.status(tmp_path / "state")
    assert info is not None
    where = ["--network", info.url, "--root-key", info.root_key]
    environment = {**os.environ, "ICP_HOME": str(tmp_path / "icp"), "DO_NOT_TRACK": "1"}
    interface = tmp_path / "echo.did"
    everything = ", ".join(types for types, _ in ARGUMENTS), f"({', '.join(text[1:-1] for _, text in ARGUMENTS)})"
    for types, text in ARGUMENTS if how == "each" else [everything]:
        interface.write_text(f"service : {{ echo : ({types}) -> ({types}) query }}", encoding="utf-8")
        command = [str(needed.ICP), "canister", "call", echo, "echo", text, "--candid", str(interface), *where]
        theirs = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        assert theirs.returncode == 0, theirs.stderr
        assert cli.main(["call", echo, "echo", text, "--did", str(interface)]) == 0
        assert capfd.readouterr().out == theirs.stdout
