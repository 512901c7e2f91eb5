"""A network as a background process that several programs share.

    >>> info = start(Path(".localnet"))     # or: python -m mainer_nb.localnet start
    >>> info.url
    'http://127.0.0.1:41005'
    >>> stop(Path(".localnet"))

The process holds a lock on its state folder, so one folder has one network. ``server.json`` in the
folder says where it listens. Because every acknowledged change is on disk at once, stopping does not
wait for messages that are still running: they are executed again after the next start.

What only the process itself needs is imported when it serves: those who look after it need not wait for that.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from .errors import StateError
from .store import examine, unwritable

if TYPE_CHECKING:
    from aiohttp import web

    from .network import EmbeddedNetwork

HOST = "127.0.0.1"
_START_SECONDS = 120
_STOP_SECONDS = 30
#: Between two looks whether the state folder is still there.
_WATCH_SECONDS = 1.0
#: A log of more bytes is begun anew when the network is started.
_MAX_LOG = 4 * 1024 * 1024


class ServerError(Exception):
    """The network cannot be started or stopped; the text says why and what to do."""


@dataclass(frozen=True)
class Info:
    """A running network: where it listens, its root key (DER, hex), process and folder; whether it makes outcalls."""

    url: str
    root_key: str
    pid: int
    folder: str
    started: float
    outcalls: bool = False


def status(folder: Path) -> Info | None:
    """The network that runs in `folder`, None if none does."""
    try:
        info = Info(**json.loads((folder / "server.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None
    return info if _locked(folder) else None


def start(folder: Path, port: int = 0, outcalls: bool | None = None) -> Info:
    """Starts a network with its state in `folder`, or finds the one that runs there.

    Args:
        folder: made if missing.
        port: where to listen on loopback; 0: where it listened last time if that is free, else any free port.
        outcalls: whether canisters can make HTTPS outcalls; by default as last time, at first not.

    Raises:
        ServerError: the port is taken (by whom is said), the state cannot be read, or the process died.
    """
    running = status(folder)
    if running is not None:
        if port not in (0, _port_of(running)):
            raise ServerError(
                f"a network with state folder {folder} runs already, at {running.url}, not on port {port};"
                " use it, or stop it first (mainer-nb net stop)"
            )
        if outcalls not in (None, running.outcalls):
            raise ServerError(
                f"a network with state folder {folder} runs already, {'with' if running.outcalls else 'without'}"
                " HTTPS outcalls; stop it first (mainer-nb net stop)"
            )
        return running
    log = _log_file(folder)
    reader, writer = os.pipe()
    command = [sys.executable, "-m", "mainer_nb.localnet", "serve", "--state", str(folder), "--port", str(port)]
    if outcalls is not None:
        command.append("--outcalls" if outcalls else "--no-outcalls")
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*command, "--ready-fd", str(writer)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            pass_fds=[writer],
            start_new_session=True,
        )
    os.close(writer)
    try:
        with os.fdopen(reader, "rb") as pipe:
            answer = _read(pipe.fileno(), _START_SECONDS)
    except KeyboardInterrupt:
        process.kill()  # nobody uses it yet; what it has written is whole
        raise
    if answer.startswith(b"{"):
        return Info(**json.loads(answer))
    if answer:
        if port == 0 and outcalls is None and (info := _of_another(folder)):
            return info
        raise ServerError(answer.decode())
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(5)
    tail = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()[-5:]
    raise ServerError(
        f"the network's process ended with code {process.returncode} before it was ready. Its last lines:\n"
        + "\n".join(tail)
    )


def _of_another(folder: Path) -> Info | None:
    """The network that another process has started in `folder` at the same time, once it can be reached."""
    deadline = time.monotonic() + _START_SECONDS
    while _locked(folder) and time.monotonic() < deadline:
        if info := status(folder):
            return info
        time.sleep(0.05)
    return None


def stop(folder: Path) -> bool:
    """Stops the network of `folder`; False if none runs there.

    Raises:
        ServerError: it does not end.
    """
    running = status(folder)
    if running is None:
        return False
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while _locked(folder):
        if time.monotonic() > deadline:
            raise ServerError(
                f"the network at {running.url} (process {running.pid}) does not stop;"
                f" end it with: kill -9 {running.pid}"
            )
        time.sleep(0.02)
    return True


def reset(folder: Path) -> bool:
    """Stops the network of `folder` and removes its state; False if there is none.

    Raises:
        ServerError: it does not stop, or the folder does not look like a network's.
    """
    stop(folder)
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)  # another reset is waited for; what it removed is seen as empty
        names = set(os.listdir(handle))  # noqa: PTH208 - of the folder that was opened, not of a new one
        if not names:
            return False
        if names.isdisjoint({"network.sqlite", "server.json", "server.log", "server.lock"}):
            raise ServerError(f"{folder} does not look like the state folder of a network: nothing was removed")
        shutil.rmtree(folder)
    finally:
        os.close(handle)
    return True


def serve(
    folder: Path,
    port: int,
    outcalls: bool | None = None,
    ready_fd: int | None = None,
    snapshot_wait: int | None = None,
) -> int:
    """Runs a network in this process until it gets SIGTERM or SIGINT.

    Args:
        folder, port, outcalls: as for `start`.
        snapshot_wait: as for `EmbeddedNetwork`.
        ready_fd: where to write, once, the `Info` as JSON, or else a sentence on what is wrong.

    Returns:
        The exit code.
    """
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        run(
            *(folder, port, lambda info: _tell(ready_fd, json.dumps(asdict(info)))),
            outcalls=outcalls,
            snapshot_wait=snapshot_wait,
        )
    except (ServerError, StateError) as error:
        _tell(ready_fd, str(error))
        print(error, file=sys.stderr)
        return 1
    return 0


def run(
    folder: Path,
    port: int,
    ready: Callable[[Info], None],
    *,
    host: str = HOST,
    outcalls: bool | None = None,
    snapshot_wait: int | None = None,
    prepare: Callable[[Path], None] = lambda folder: None,
    application: Callable[[EmbeddedNetwork], web.Application] | None = None,
) -> None:
    """Runs a network in this process until it gets SIGTERM or SIGINT, which end the process with exit code 0.

    Args:
        folder, port, outcalls: as for `start`.
        ready: called once, when the network can be reached.
        host: the address to listen at.
        snapshot_wait: as for `EmbeddedNetwork`.
        prepare: called before the network is started, while nobody else can use `folder`.
        application: makes the web application that serves the network; by default `http.application`.

    Raises:
        ServerError: the port is taken, or the folder in use.
        StateError: the folder holds something else than a network's state, or cannot be written.
    """
    examine(folder)
    try:
        with _lock(folder), _listen(folder, host, port) as listener:
            prepare(folder)
            asyncio.run(_run(folder, listener, outcalls, snapshot_wait, ready, application))
    except OSError as error:
        raise unwritable(folder, str(error)) from error


def _log_file(folder: Path) -> Path:
    """The log of a network that is to be started; the folder is made if it is missing."""
    log = folder / "server.log"
    try:
        examine(folder)
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with log.open("ab") as file:
            if file.tell() > _MAX_LOG:
                file.truncate(0)
        return log
    except StateError as error:
        raise ServerError(str(error)) from error
    except OSError as error:
        raise ServerError(f"the state folder {folder} cannot be written: {error.strerror}") from error


async def _run(
    folder: Path,
    listener: socket.socket,
    outcalls: bool | None,
    snapshot_wait: int | None,
    ready: Callable[[Info], None],
    application: Callable[[EmbeddedNetwork], web.Application] | None,
) -> None:
    from aiohttp import web

    from . import http
    from .network import EmbeddedNetwork

    network = EmbeddedNetwork(folder, outcalls=outcalls, snapshot_wait=snapshot_wait, failed=_end)
    runner = await http.set_up((application or http.application)(network), handle_signals=False)
    await web.SockSite(runner, listener).start()
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    info = Info(url, network.root_key.hex(), os.getpid(), str(folder.resolve()), time.time(), network.outcalls)
    lock = folder / "server.lock"
    ours = _identity(lock)  # before anybody is told of the network, and can take its folder away
    _write(folder / "server.json", json.dumps(asdict(info), indent=2))
    done = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, done.set)
    logging.getLogger(__name__).info("serving %s from %s", url, folder)
    ready(info)
    await _until(done, lock, ours)
    (folder / "server.json").unlink(missing_ok=True)
    with network.subnet.lock:  # between two commits
        network.keep()
        logging.shutdown()
        os._exit(0)


async def _until(done: asyncio.Event, lock: Path, ours: tuple[int, int] | None) -> None:
    """Waits for `done`, and ends the process if its state folder is taken away meanwhile: nothing could be kept. It is
    no more the one it was if the file `lock` in it is not `ours`.
    """
    while not done.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), _WATCH_SECONDS)
        if _identity(lock) != ours:
            logging.getLogger(__name__).error("the state folder %s was removed or moved: the network ends", lock.parent)
            logging.shutdown()
            os._exit(1)


def _identity(path: Path) -> tuple[int, int] | None:
    """Which file this is, whatever its name; None if there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _end(error: StateError) -> None:
    """The state cannot be written: nobody is told anything more."""
    logging.shutdown()
    os._exit(1)


def _tell(ready_fd: int | None, text: str) -> None:
    if ready_fd is not None:
        with contextlib.suppress(OSError), os.fdopen(ready_fd, "w", encoding="utf-8") as pipe:
            pipe.write(text)


def _read(fd: int, seconds: float) -> bytes:
    """All that comes through `fd` until it is closed, or until the time is over."""
    deadline, data = time.monotonic() + seconds, b""
    while select.select([fd], [], [], max(0.0, deadline - time.monotonic()))[0]:
        part = os.read(fd, 65536)
        if not part:
            break
        data += part
    return data


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder / "server.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ServerError(f"another process uses the state folder {folder}; see mainer-nb net status") from None
        yield


def _locked(folder: Path) -> bool:
    try:
        with (folder / "server.lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except FileNotFoundError:
        return False
    except OSError:
        return True


@contextlib.contextmanager
def _listen(folder: Path, host: str, port: int) -> Iterator[socket.socket]:
    last = folder / "last-port"
    wanted = [port] if port else [*_last_port(last), 0]
    for number in wanted:
        listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, number))
            listener.listen(1024)
        except OSError as error:
            listener.close()
            if number == port:
                raise ServerError(
                    f"port {port} on {host} cannot be used: {_holder(port) or error.strerror};"
                    " stop that, or choose another port (0 for any free one)"
                ) from None
            continue
        with listener:
            _write(last, str(listener.getsockname()[1]))
            yield listener
            return


def _last_port(path: Path) -> list[int]:
    try:
        return [int(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError):
        return []


def _holder(port: int) -> str | None:
    """Who listens on `port`, as far as this user may know."""
    try:
        for connection in psutil.net_connections("tcp"):
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port:
                if connection.pid is None:
                    return "a process of another user listens on it"
                process = psutil.Process(connection.pid)
                words = " ".join(process.cmdline()) or process.name()
                return f"process {connection.pid} ({words[:200]}) listens on it"
    except psutil.Error:
        return None
    return None


def _port_of(info: Info) -> int:
    return int(info.url.rsplit(":", 1)[1])


def _write(path: Path, text: str) -> None:
    partial = path.with_suffix(".new")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
