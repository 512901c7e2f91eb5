"""The command line, as a user meets it."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import psutil
import pytest

from mainer_nb import cli, network
from mainer_nb.errors import NetworkError
from mainer_nb.localnet import server


@pytest.fixture
def state(tmp_path: Path, project: Path) -> Iterator[Path]:
    folder = tmp_path / "state"
    yield folder
    server.stop(folder)


def test_a_network_is_started_found_used_stopped_and_reset(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["net", "status"]) == 1
    assert "not running; start it with `mainer-nb net start`" in capsys.readouterr().out
    assert cli.main(["net", "start"]) == 0
    started = capsys.readouterr().out
    url = network.connect(start=False).url
    assert f"network local runs at {url} (process " in started
    assert cli.main(["net", "start"]) == 0
    assert cli.main(["net", "status"]) == 0
    assert url in capsys.readouterr().out
    assert cli.main(["net", "stop"]) == 0
    assert cli.main(["net", "stop"]) == 0
    assert "network local is not running" in capsys.readouterr().out
    assert state.exists()
    for said in ("its state removed", "nothing was removed"):
        assert cli.main(["net", "reset"]) == 0
        assert said in capsys.readouterr().out
        assert not state.exists()


def test_a_network_is_started_by_connecting_and_shared(state: Path) -> None:
    first, second = network.connect(), network.connect()
    assert first.url == second.url
    assert first.caller == second.caller
    assert first.root_key == second.root_key


def test_outcalls_are_asked_for(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["net", "start"]) == 0
    assert "with HTTPS outcalls" not in capsys.readouterr().out
    assert cli.main(["net", "start", "--outcalls"]) == 1
    assert "runs already, without HTTPS outcalls; stop it first" in capsys.readouterr().err
    assert cli.main(["net", "stop"]) == 0
    assert cli.main(["net", "start", "--outcalls"]) == 0
    assert cli.main(["net", "stop"]) == 0
    assert cli.main(["net", "start"]) == 0
    assert capsys.readouterr().out.count("with HTTPS outcalls") == 2


def test_a_damaged_state_is_reported_kept_and_reset(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["net", "start"]) == 0
    assert cli.main(["net", "stop"]) == 0
    database = state / "network.sqlite"
    database.write_bytes(database.read_bytes()[:5000])
    capsys.readouterr()
    assert cli.main(["net", "start"]) == 1
    said = capsys.readouterr().err
    for part in (f"{database} ", f"move {state} away, which keeps it", "`mainer-nb net reset`"):
        assert part in said
    with pytest.raises(NetworkError, match=f"cannot be started: .*move {state} away"):
        network.connect()
    assert cli.main(["net", "reset"]) == 0
    assert cli.main(["net", "start"]) == 0


def test_a_taken_port_is_named_with_who_holds_it(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert cli.main(["net", "start", "--port", str(port)]) == 1
        said = capsys.readouterr().err
        assert f"port {port}" in said
        assert str(os.getpid()) in said
        with pytest.raises(NetworkError, match=f"cannot be started: port {port}"):
            network.start_embedded(port)


def test_the_installed_command_explains_itself(project: Path) -> None:
    command = [sys.executable, "-c", "import sys; from mainer_nb.cli import main; sys.exit(main(['net', '--help']))"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    for action in ("start", "status", "stop", "reset"):
        assert action in done.stdout


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_a_closed_stream_is_no_obstacle(closed: str, state: Path) -> None:
    program = "import sys; from mainer_nb.cli import main; sys.exit(main(['net', 'stop']))"
    done = subprocess.run(["sh", "-c", f'"$0" -c "$1" {closed}', sys.executable, program], capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")


def test_resets_at_once_remove_the_state_once(state: Path) -> None:
    state.mkdir()
    for number in range(1000):
        (state / f"{number}").touch()
    (state / "server.log").touch()
    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(server.reset, [state] * 4)) == [False, False, False, True]
    assert not state.exists()


def test_every_command_has_help_and_the_version_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    commands = [["init"], ["lab"], ["net"], ["net", "start"], ["run"], ["model"], ["model", "get"], ["status"]]
    for words in [[], *commands, ["call"], ["ask"]]:
        with pytest.raises(SystemExit) as caught:
            cli.main([*words, "--help"])
        said = capsys.readouterr().out
        assert caught.value.code == 0
        assert "--quiet" in said
        if len(words) == 1 and words != ["lab"]:
            assert f"examples:\n  mainer-nb {words[0]}" in said
    with pytest.raises(SystemExit):
        cli.main(["--version"])
    assert capsys.readouterr().out == f"mainer-nb {metadata.version('mainer-nb')}\n"


def test_quiet_leaves_out_all_but_results_and_errors(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["--quiet", "net", "stop"], ["net", "stop", "--quiet"], ["net", "reset", "-q"]):
        assert cli.main(words) == 0
        assert capsys.readouterr() == ("", "")
    assert cli.main(["status", "-q"]) == 1
    assert "not running" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["removed", "moved"])
def test_a_network_whose_state_folder_is_taken_away_ends(state: Path, tmp_path: Path, how: str) -> None:
    assert cli.main(["net", "start"]) == 0
    info = server.status(state)
    assert info is not None
    process = psutil.Process(info.pid)
    if how == "removed":
        shutil.rmtree(state, ignore_errors=True)
    else:
        state.rename(tmp_path / "elsewhere")
    assert psutil.wait_procs([process], timeout=30)[0]
    assert cli.main(["net", "start"]) == 0
    assert network.connect(start=False).url


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for little."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root can mount a small disk, and not in every container")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> None:
    with suppress(OSError), (folder / "filling").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(1024))


@pytest.mark.parametrize("full", ["before", "soon"])
def test_a_full_disk_for_the_state_is_named_with_the_remedy(
    small_disk: Path, project: Path, monkeypatch: pytest.MonkeyPatch, full: str, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("MAINER_NB_STATE", str(small_disk / "state"))
    if full == "before":
        fill(small_disk)
    assert cli.main(["net", "start"]) == 1
    said = capsys.readouterr().err
    assert str(small_disk / "state") in said
    assert "MAINER_NB_STATE" in said
    assert "Traceback" not in said


def test_a_full_disk_for_the_key_is_no_obstacle(small_disk: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(small_disk)
    monkeypatch.setenv("MAINER_NB_CONFIG", str(small_disk / "config"))
    with pytest.warns(UserWarning, match="No space left on device.*MAINER_NB_CONFIG"):
        caller = network.connect().caller
    assert network.connect().caller == caller


def test_a_full_disk_for_runs_is_named_with_the_remedy(
    small_disk: Path, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "notebooks").mkdir()
    shutil.copy(Path(__file__).parents[2] / "notebooks" / "05_costs.ipynb", project / "notebooks" / "05_costs.ipynb")
    fill(small_disk)
    assert cli.main(["run", "05", "--output", str(small_disk / "runs")]) == 1
    said = capsys.readouterr().err
    assert str(small_disk / "runs") in said
    assert "No space left on device" in said
    assert "--output" in said
    assert "Traceback" not in said


def test_jupyterlab_sees_the_whole_project_and_its_kernels_the_folders_that_were_named(
    project: Path, tmp_path: Path
) -> None:
    (project / "notebooks").mkdir(exist_ok=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [f"--ServerApp.port={port}", "--IdentityProvider.token=t", "--no-browser"]
    environment = {**os.environ, "MAINER_NB_PROJECT": str(project), "MAINER_NB_STATE": "elsewhere"}
    program = "import sys; from mainer_nb.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "lab", "--", *options, "--LabApp.news_url=None"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log) as lab,
    ):
        try:
            listed = _listed(f"http://127.0.0.1:{port}/api/contents?token=t", lab)
            assert {"notebooks", "files"} <= {entry["name"] for entry in listed["content"]}
            assert psutil.Process(lab.pid).environ()["MAINER_NB_STATE"] == str(tmp_path / "elsewhere")
        finally:
            lab.terminate()


def _listed(address: str, server_process: subprocess.Popen[bytes]) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        assert server_process.poll() is None
        assert time.monotonic() < deadline
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:
                listed: dict[str, Any] = json.load(answer)
                return listed
        except OSError:
            time.sleep(0.2)
