"""The command line, as a user meets it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
    assert cli.main(["net", "reset"]) == 0
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
