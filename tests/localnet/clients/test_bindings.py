"""Bindings for a frontend, made by the command of docs/commands.md, and a canister called with them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

from mainer_nb import places
from mainer_nb.localnet import sandbox
from mainer_nb.protocol import did, principal
from tests import needed
from tests.localnet.serving import serving

HERE = Path(__file__).parent
COMMANDS = HERE.parents[2] / "docs" / "commands.md"

pytestmark = needed.BINDGEN


def test_the_readmes_command_makes_bindings_that_work(tmp_path: Path) -> None:
    command = re.search(r"^ {4}(for did in files/\*\.did;.*@icp-sdk/bindgen.*)$", COMMANDS.read_text(), re.MULTILINE)
    assert command
    shutil.copytree(places.files(), tmp_path / "files", ignore=shutil.ignore_patterns("*.gguf", "llama_cpp.wasm"))
    (tmp_path / "node_modules").symlink_to(needed.CLIENTS)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    offline = {**os.environ, "npm_config_offline": "true"}
    subprocess.run(command[1], shell=True, cwd=tmp_path, env=offline, check=True, capture_output=True, timeout=120)

    bindings = tmp_path / "src" / "bindings"
    for interface in (tmp_path / "files").glob("*.did"):
        methods = did.parse(interface.read_text(encoding="utf-8")).methods
        text = (bindings / f"{interface.stem}.ts").read_text(encoding="utf-8")
        assert methods
        assert all(f"{method}(" in text for method in methods)

    name = "game_state_canister"
    wasm, interface = ((tmp_path / "files" / f"{name}.{kind}") for kind in ("wasm", "did"))
    with sandbox.Sandbox() as ic:
        canister = ic.create_canister(wasm.read_bytes(), did=interface.read_text(encoding="utf-8"))
        with serving(ic.network) as port:
            arguments = [str(bindings), name, f"http://127.0.0.1:{port}", principal.to_text(canister.id)]
            node = [str(needed.NODE), str(HERE / "bindings.mjs"), *arguments]
            done = subprocess.run(node, check=True, capture_output=True, text=True, timeout=60)
    answer = json.loads(done.stdout)
    assert answer["health"] == {"Ok": {"status_code": 200}}
    assert set(answer["methods"]) == set(did.parse(interface.read_text(encoding="utf-8")).methods)
