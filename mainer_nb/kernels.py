"""Jupyter kernels for a run of several notebooks: while one works, the next starts and imports the package.

    with kernels.PrestartedKernels(paths) as prestarted:
        for path in paths:
            with prestarted.take(path) as kernel:
                papermill.execute_notebook(path, executed, km=kernel)

A notebook runs as in a kernel of its own, but does not wait for the start of Python, the imports and the end. The
kernels are of the interpreter that runs this, whatever kernels are installed for the user, and their own files are in
temporary folders: neither a home directory nor Jupyter's, IPython's or matplotlib's folders need be writable.
"""

from __future__ import annotations

import logging
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

from . import places
from .localnet.cache import writable

# What notebooks use sooner or later, so that it is in memory when they import it. Nothing of it is garbage: looking for
# garbage meanwhile, and among it later, takes a fifth of the time.
PRELOAD = (
    "import gc; gc.disable(); "
    "import mainer_nb.check, mainer_nb.deploy, mainer_nb.expect, mainer_nb.plots, mainer_nb.widgets; "
    "gc.freeze(); gc.enable(); del gc"
)
ARGUMENTS = [
    "--log-level=40",  # the kernel's own warnings would stand among our lines
    "--HistoryManager.enabled=False",  # nobody typed it; and it is a file that all kernels of the user write
    f"--IPKernelApp.exec_lines={PRELOAD}",
]

logger = logging.getLogger(__name__)


class Kernel(AsyncKernelManager):
    """A kernel of this interpreter that begins to start when this is made; its own files are in `folder`."""

    def __init__(self, notebook: Path, folder: Path) -> None:
        super().__init__(kernel_name="python3", connection_file=str(folder / f"{notebook.stem}.json"))
        self.clients: list[AsyncKernelClient] = []
        run_sync(self.start_kernel)(extra_arguments=ARGUMENTS, cwd=str(notebook.parent), env=_environment(folder))
        self.pid = int(getattr(self.provisioner, "pid"))  # noqa: B009  (of a process on this machine)

    @property
    def kernel_spec(self) -> KernelSpec:
        """This interpreter's, not the one that is installed by this name."""
        return KernelSpec(name=self.kernel_name, **get_kernel_dict())

    def client(self, **options: Any) -> AsyncKernelClient:  # type: ignore[override]
        """A client, such as papermill asks for."""
        self.clients.append(super().client(**options))
        return self.clients[-1]

    def interrupt(self, number: signal.Signals) -> None:
        """Send a signal to the kernel and what it has started."""
        with suppress(OSError):  # it has ended
            os.killpg(self.pid, number)

    def end(self) -> None:
        """Tell the kernel to end, without waiting for it."""
        for client in self.clients:
            client.stop_channels()
        if self.has_kernel:
            run_sync(self.request_shutdown)()

    def wait(self) -> None:
        """Wait until the kernel has ended."""
        if self.has_kernel:
            run_sync(self.finish_shutdown)()
            run_sync(self.cleanup_resources)()

    def kill(self) -> None:
        """End a kernel that nothing ran in."""
        run_sync(self.shutdown_kernel)(now=True)


class PrestartedKernels:
    """The kernels of these notebooks, which are to be taken in this order; one that was not needed is ended."""

    def __init__(self, notebooks: Sequence[Path]) -> None:
        self._later = list(notebooks)
        self._started: dict[Path, Kernel] = {}
        self._failed: dict[Path, Exception] = {}
        self._running: list[Kernel] = []
        self._ended: list[Kernel] = []
        self._folder = tempfile.TemporaryDirectory(prefix="mainer-nb-kernels-", ignore_cleanup_errors=True)

    def __enter__(self) -> PrestartedKernels:
        self._start_next()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for kernel in self._started.values():
            _finally(kernel, kernel.kill)
        for kernel in self._ended:
            _finally(kernel, kernel.wait)
        self._folder.cleanup()

    @contextmanager
    def take(self, notebook: Path) -> Iterator[Kernel]:
        """The kernel of this notebook, for as long as it runs; the next one starts meanwhile.

        Raises what kept it from starting.
        """
        if notebook in self._failed:
            raise self._failed[notebook]
        kernel = self._started.pop(notebook)
        self._running.append(kernel)
        try:
            self._start_next()
            yield kernel
        finally:
            self._running.remove(kernel)
            self._ended.append(kernel)
            _finally(kernel, kernel.end)

    def interrupt(self, number: signal.Signals) -> None:
        """Send a signal to the kernels of the notebooks that run; from any thread."""
        for kernel in tuple(self._running):
            kernel.interrupt(number)

    def _start_next(self) -> None:
        if self._later:
            notebook = self._later.pop(0)
            try:
                self._started[notebook] = Kernel(notebook, Path(self._folder.name))
            except Exception as error:  # raised when its turn comes: the one before may well run
                self._failed[notebook] = error


def _finally(kernel: Kernel, action: Callable[[], None]) -> None:
    """Have a kernel end. If it cannot be asked, it is killed: what went wrong before is what its user must see."""
    try:
        action()
    except Exception as error:
        logger.info("kernel %d is killed, since it could not be ended: %r", kernel.pid, error)
        kernel.interrupt(signal.SIGKILL)


def _environment(folder: Path) -> dict[str, str]:
    """The environment of a kernel: paths that hold in its working directory, and places to write."""
    environment = places.environment()
    environment["JUPYTER_RUNTIME_DIR"] = str(folder)
    home = places.home()
    if not writable(home / ".ipython"):
        environment.setdefault("IPYTHONDIR", str(folder / "ipython"))
    if not (writable(home / ".config/matplotlib") and writable(home / ".cache/matplotlib")):
        environment.setdefault("MPLCONFIGDIR", str(places.cache() / "matplotlib"))
    return environment
