"""The build of the LLM canister, and the module it makes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import wasmtime

from mainer_nb import artifacts, llm_build, places
from mainer_nb.localnet.cache import CacheWarning
from mainer_nb.protocol import did

# What the canister may use of the system API: all of it is on mainnet.
SYSTEM_API = {
    "msg_arg_data_size", "msg_arg_data_copy", "msg_caller_size", "msg_caller_copy", "msg_reply_data_append",
    "msg_reply", "is_controller", "stable64_size", "stable64_grow", "stable64_read", "stable64_write", "time",
    "performance_counter", "debug_print", "trap", "canister_self_size", "canister_self_copy", "call_new",
    "call_on_cleanup", "call_data_append", "call_perform", "global_timer_set",
}  # fmt: skip


def test_the_module_imports_only_what_mainnet_has(wasm: bytes) -> None:
    found = llm_build.imports(wasm)
    assert {module for module, _ in found} == {"ic0"}
    assert {name for _, name in found} <= SYSTEM_API


def test_the_module_has_exactly_the_methods_of_its_interface(wasm: bytes) -> None:
    exports = {export.name for export in wasmtime.Module(wasmtime.Engine(), wasm).exports}
    interface = did.parse((places.files() / "llama_cpp.did").read_text(), "llama_cpp.did")
    methods = {name for name in exports if name.startswith(("canister_query ", "canister_update "))}
    assert methods == {f"canister_{method.mode} {method.name}" for method in interface.methods.values()}
    assert exports - methods == {
        "memory", "_initialize", "canister_init", "canister_post_upgrade", "canister_global_timer",
    }  # fmt: skip


def test_the_module_fits_between_canisters_and_says_nothing_of_where_it_was_built(wasm: bytes) -> None:
    assert len(wasm) < 10 * 2**20
    assert (places.files() / "llama_cpp.did").read_bytes() in wasm
    for path in (places.project(), places.cache(), Path.home()):
        assert str(path).encode() not in wasm


def test_an_edit_that_does_not_fit_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_text("one two two")
    llm_build.apply(llm_build.Edit("a.cpp", "a reason", "one", "1"), tmp_path)
    llm_build.apply(llm_build.Edit("a.cpp", "a reason", "two", "2", count=2), tmp_path)
    assert (tmp_path / "a.cpp").read_text() == "1 2 2"
    for old, count in (("three", 1), ("2", 1), ("1", 2)):
        with pytest.raises(llm_build.BuildError, match=r"a\.cpp: expected \d time.*a reason"):
            llm_build.apply(llm_build.Edit("a.cpp", "a reason", old, "x", count), tmp_path)
    assert (tmp_path / "a.cpp").read_text() == "1 2 2"


def test_a_build_without_sources_says_how_to_get_them(tmp_path: Path) -> None:
    with pytest.raises(llm_build.BuildError, match="--fetch"):
        llm_build.build(tmp_path / "out.wasm", lambda done, total, text: None, tmp_path)
    llm_build.sdist_path(tmp_path).write_bytes(b"damaged")
    with pytest.raises(llm_build.BuildError, match="missing or damaged"):
        llm_build.build(tmp_path / "out.wasm", lambda done, total, text: None, tmp_path)
    assert not (tmp_path / "out.wasm").exists()


def test_a_wasm_that_imports_anything_else_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "foreign.wasm"
    path.write_bytes(wasmtime.wat2wasm('(module (import "wasi_snapshot_preview1" "fd_write" (func)))'))
    with pytest.raises(llm_build.BuildError, match=r"wasi_snapshot_preview1\.fd_write"):
        llm_build.check_imports(path)


def begun_build(cache: Path) -> tuple[subprocess.Popen[str], str]:
    """A build that has begun to compile, and its line that says so."""
    command = [
        sys.executable,
        "-u",
        "-m",
        "mainer_nb.llm_build",
        "--out",
        str(cache / "out.wasm"),
        "--cache",
        str(cache),
    ]
    build = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0)
    assert build.stdout is not None
    return build, next(line for line in build.stdout if "compiling" in line)


@pytest.mark.parametrize("who", ["the process", "its group"])
def test_an_interrupted_build_ends_with_its_compilers_and_goes_on_from_there(who: str, tmp_path: Path) -> None:
    llm_build.fetch(places.cache() / "llama_cpp")
    shutil.copy(llm_build.sdist_path(places.cache() / "llama_cpp"), tmp_path)
    build, first = begun_build(tmp_path)
    assert "[0/" in first
    assert build.stdout is not None
    assert "compiled" in build.stdout.readline()
    compilers = psutil.Process(build.pid).children(recursive=True)
    assert compilers
    (os.killpg if who == "its group" else os.kill)(build.pid, signal.SIGINT)
    output, errors = build.communicate(timeout=60)
    assert build.returncode == 130
    assert errors == "build of llama_cpp.wasm: stopped. Run it again: what is compiled is kept.\n"
    assert len(output.splitlines()) <= 2  # what was being compiled just then; no further unit was begun
    assert psutil.wait_procs(compilers, timeout=60)[1] == []
    assert [path.name for path in tmp_path.rglob("*.part")] == []
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith("tmp")) == []

    kept = len(list((tmp_path / "obj").iterdir()))
    assert kept >= 1
    build, first = begun_build(tmp_path)
    build.send_signal(signal.SIGINT)
    build.communicate(timeout=60)
    assert f"[{kept}/" in first


def test_what_was_built_into_a_cache_that_cannot_be_written_is_used(
    wasm: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept, instead = tmp_path / "kept", tmp_path / "instead"
    kept.mkdir()
    (kept / "llama_cpp").symlink_to(places.cache() / "llama_cpp")
    (tmp_path / "files").mkdir()
    monkeypatch.setenv("MAINER_NB_PROJECT", str(tmp_path))
    monkeypatch.setenv("MAINER_NB_CACHE", str(kept))
    monkeypatch.setattr("mainer_nb.localnet.cache.writable", lambda path: path != kept)  # root could write anywhere
    monkeypatch.setattr("mainer_nb.localnet.cache.of_nobody", lambda: instead)
    monkeypatch.delattr("mainer_nb.llm_build.compile_missing")
    with pytest.warns(CacheWarning, match="cannot be written"):
        found = artifacts.llm_wasm()
    assert found.path.is_relative_to(instead)
    assert found.data() == wasm
