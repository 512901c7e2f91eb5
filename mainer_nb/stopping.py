"""Long work that can be stopped, by an interrupt (Ctrl-C, or Kernel > Interrupt in JupyterLab), wherever it runs.

    for _, done in stopping.parallel(send, chunks, at_once=4): ...     # threads end with the one who waits for them
    stopping.run(["zig", "cc", …], cwd=work)                           # the process and what it has started end too
    stopping.pause(0.5)                                                # instead of time.sleep
    with stopping.by_interrupt(): ...                                  # in a thread that an interrupt does not reach

Python raises KeyboardInterrupt in the main thread only, and only in what that thread does. So whatever works elsewhere
belongs to a `Scope`, which ends what waits in it.
"""

from __future__ import annotations

import contextvars
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from queue import SimpleQueue
from types import FrameType, TracebackType
from typing import Any, TypeVar

import psutil

from .errors import Interrupted

LAST_SECONDS = 1.0  # that threads have to end; those that do not are left alone and do nothing any more

_Item = TypeVar("_Item")
_Done = TypeVar("_Done")


class Scope:
    """Work that is stopped as one. What is to be done then is registered with `on_stop`.

    `once`: it is told so once, as by KeyboardInterrupt, so that it can still put in order what it leaves.
    """

    def __init__(self, once: bool = False) -> None:
        self.once = once
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._actions: list[Callable[[], None]] = []

    @property
    def stopped(self) -> bool:
        return self._stopped.is_set()

    def stop(self) -> None:
        """Stop all of it; from any thread."""
        with self._lock:
            self._stopped.set()
            actions = tuple(self._actions)
        for action in actions:
            action()

    def wait(self, seconds: float) -> None:
        """Wait; raises Interrupted as soon as this is stopped."""
        self._stopped.wait(seconds)
        self.check()

    def check(self) -> None:
        """Raise Interrupted if this is stopped."""
        if self.stopped:
            if self.once:
                self._stopped.clear()
            raise Interrupted

    @contextmanager
    def on_stop(self, action: Callable[[], None]) -> Iterator[None]:
        """Carry out `action` if this is stopped before the `with` block ends.

        Raises:
            Interrupted: it is stopped already.
        """
        with self._lock:
            self.check()
            self._actions.append(action)
        try:
            yield
        finally:
            with self._lock:
                self._actions.remove(action)


_current: contextvars.ContextVar[Scope | None] = contextvars.ContextVar("scope", default=None)


def check() -> None:
    """Go on, unless this was stopped.

    Raises:
        Interrupted: it was.
    """
    if scope := _current.get():
        scope.check()


def pause(seconds: float) -> None:
    """Wait; raises Interrupted as soon as this is stopped."""
    scope = _current.get()
    if scope is None:
        time.sleep(seconds)
    else:
        scope.wait(seconds)


@contextmanager
def on_stop(action: Callable[[], None]) -> Iterator[None]:
    """Carry out `action`, from another thread, if this is stopped before the `with` block ends."""
    scope = _current.get()
    if scope is None:
        yield
        return
    with scope.on_stop(action):
        yield


# --- threads ---


def parallel(work: Callable[[_Item], _Done], items: Sequence[_Item], at_once: int) -> Iterator[tuple[int, _Done]]:
    """`work` on every item, several at once: the number of the item and its result, as they are done. After an error,
    or when whoever goes through them stops, no further item is begun and what waits is stopped.
    """
    scope = Scope()
    waiting = deque(enumerate(items))
    results: SimpleQueue[tuple[int, _Done | None, BaseException | None]] = SimpleQueue()

    def worker() -> None:
        _current.set(scope)
        while not scope.stopped:
            try:
                number, item = waiting.popleft()
            except IndexError:
                return
            try:
                results.put((number, work(item), None))
            except BaseException as error:
                results.put((number, None, error))
                return

    threads = [
        threading.Thread(target=contextvars.copy_context().run, args=(worker,), daemon=True)
        for _ in range(min(at_once, len(items)))
    ]
    with on_stop(scope.stop):
        try:
            for thread in threads:
                thread.start()
            for _ in items:
                number, result, error = results.get()
                if error is not None:
                    check()  # if it is because this was stopped, it is told so by that
                    raise error
                yield number, result  # type: ignore[misc]
        finally:
            scope.stop()
            deadline = time.monotonic() + LAST_SECONDS
            for thread in threads:
                if thread.ident is not None:
                    thread.join(max(0.0, deadline - time.monotonic()))


def every(work: Callable[[_Item], _Done], items: Sequence[_Item], at_once: int) -> list[_Done]:
    """The results of `work` on every item, in the order of the items; several at once, as in `parallel`."""
    done = dict(parallel(work, items, at_once))
    return [done[number] for number in range(len(items))]


# --- processes ---


def run(
    command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command and wait for it, with what it writes as text. If this is stopped or interrupted, the process ends,
    and with it those that it has started.

    Raises:
        Interrupted: this was stopped, or the process was interrupted as its terminal's whole group.
    """
    check()
    process = subprocess.Popen(
        command,
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
    )
    try:
        with on_stop(lambda: kill(process)):
            output, errors = process.communicate()
    except BaseException:
        kill(process)
        process.communicate()
        raise
    check()
    if process.returncode == -signal.SIGINT:
        raise Interrupted
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def kill(process: subprocess.Popen[str]) -> None:
    """End a process and those that it has started."""
    with suppress(psutil.Error):
        family = psutil.Process(process.pid)
        for member in [family, *family.children(recursive=True)]:
            with suppress(psutil.Error):
                member.kill()


# --- interrupts that Python does not raise ---

_stoppable: list[Scope] = []  # what an interrupt stops, though it is not the main thread's


@contextmanager
def by_interrupt() -> Iterator[None]:
    """An interrupt of the kernel stops what is in the `with` block, whichever thread that is in.

    JupyterLab has what a button starts carried out in another thread of the kernel (a subshell), which no interrupt
    reaches; while the main thread runs no cell, ipykernel ignores interrupts altogether.
    """
    if threading.current_thread() is threading.main_thread():
        yield
        return
    scope = Scope(once=True)
    token = _current.set(scope)
    _stoppable.append(scope)
    _listen()
    try:
        yield
    finally:
        _stoppable.remove(scope)
        _current.reset(token)


def _listen() -> None:
    """Have the kernel's main thread take interrupts while it runs no cell."""
    shell = _shell()
    if shell is not None and hasattr(shell, "kernel"):
        shell.kernel.io_loop.add_callback(_take_interrupts)


def _take_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    if before is not _interrupted and before is not signal.default_int_handler:
        signal.signal(signal.SIGINT, _interrupted)


def _interrupted(_: int, __: FrameType | None) -> None:
    for scope in tuple(_stoppable):
        scope.stop()


# --- what is shown of an interrupt ---


def _shell() -> Any:
    """IPython's shell, if this runs in one."""
    ipython = sys.modules.get("IPython")
    return ipython.get_ipython() if ipython else None


def _show_in_line(
    shell: Any,
    kind: type[BaseException],
    error: BaseException,
    trace: TracebackType | None,
    tb_offset: int | None = None,
) -> None:
    """An interrupt in this package in one line instead of thirty; anybody else's as ever."""
    where = _place(trace)
    if where and not isinstance(error, Interrupted):
        error = Interrupted(f"stopped in {where}. Run the cell again: what is done is kept.")
    shell.showtraceback((type(error), error, trace), tb_offset=tb_offset)


def _place(trace: TracebackType | None) -> str:
    """The first function of this package in a traceback; "" if it does not come here."""
    while trace:
        name = trace.tb_frame.f_globals.get("__name__", "")
        if name.startswith(f"{__package__}."):
            return f"{name.removeprefix(f'{__package__}.')}.{trace.tb_frame.f_code.co_qualname}"
        trace = trace.tb_next
    return ""


def _show_in_scripts() -> None:
    """Have a script that was interrupted in this package end with a line instead of a traceback."""
    before = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if isinstance(error, Interrupted):
            print(f"{kind.__name__}: {error}", file=sys.stderr)
        else:
            before(kind, error, trace)

    sys.excepthook = hook


def _set_up() -> None:
    shell = _shell()
    if shell is None:
        _show_in_scripts()
    elif not shell.custom_exceptions:
        shell.set_custom_exc((KeyboardInterrupt,), _show_in_line)


_set_up()
