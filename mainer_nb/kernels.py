"""Jupyter kernels for a run of several notebooks: while one works, the next starts and imports the package.

    with kernels.PrestartedKernels(paths) as prestarted:
        for path in paths:
            with prestarted.take(path) as kernel:
                papermill.execute_notebook(path, executed, km=kernel)

A notebook does the same as in a kernel of its own; only starting Python, importing and ending are not waited for.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import nbformat
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.manager import AsyncKernelManager
from jupyter_core.utils import run_sync

# What notebooks use sooner or later, so that it is in memory when they import it.
PRELOAD = "import mainer_nb.check, mainer_nb.deploy, mainer_nb.expect, mainer_nb.plots, mainer_nb.widgets"
ARGUMENTS = [
    "--log-level=40",  # the kernel's own warnings would stand among our lines
    f"--IPKernelApp.exec_lines={PRELOAD}",
]


class Kernel(AsyncKernelManager):
    """A kernel that begins to start when this is made."""

    def __init__(self, notebook: Path) -> None:
        super().__init__(kernel_name=nbformat.read(notebook, as_version=4).metadata.kernelspec.name)
        self.clients: list[AsyncKernelClient] = []
        run_sync(self.start_kernel)(extra_arguments=ARGUMENTS, cwd=str(notebook.parent))

    def client(self, **options: Any) -> AsyncKernelClient:  # type: ignore[override]
        """A client, such as papermill asks for."""
        self.clients.append(super().client(**options))
        return self.clients[-1]

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
        self._ended: list[Kernel] = []

    def __enter__(self) -> PrestartedKernels:
        self._start_next()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for kernel in self._started.values():
            kernel.kill()
        for kernel in self._ended:
            kernel.wait()

    @contextmanager
    def take(self, notebook: Path) -> Iterator[Kernel]:
        """The kernel of this notebook, for as long as it runs; the next one starts meanwhile."""
        kernel = self._started.pop(notebook)
        self._start_next()
        try:
            yield kernel
        finally:
            kernel.end()
            self._ended.append(kernel)

    def _start_next(self) -> None:
        if self._later:
            notebook = self._later.pop(0)
            self._started[notebook] = Kernel(notebook)
