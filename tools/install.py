"""Install with pip, and show what a person wants to know: what is done, how far it is, what went wrong.

    .venv/bin/python tools/install.py "the workbench" -e .

The rest are arguments of `pip install`. Its own lines go into build/install.log; their end is shown if it fails.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

LOG = Path(__file__).resolve().parent.parent / "build" / "install.log"
LINES_SHOWN = 25
PIP = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"]


def main(what: str, *arguments: str) -> int:
    """Install; the exit status."""
    begun = time.monotonic()
    print(f"installing {what}", flush=True)
    if not _pip(arguments):
        print("\n".join(LOG.read_text(encoding="utf-8").splitlines()[-LINES_SHOWN:]), file=sys.stderr)
        print(f"\n{what} could not be installed. These are pip's last lines; all of them: {LOG}", file=sys.stderr)
        return 1
    print(f"installed {what} in {time.monotonic() - begun:.0f} s", flush=True)
    return 0


def _pip(arguments: tuple[str, ...]) -> bool:
    LOG.parent.mkdir(exist_ok=True)
    with (
        LOG.open("w", encoding="utf-8") as log,
        subprocess.Popen(
            [*PIP, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as pip,
    ):
        assert pip.stdout is not None
        found = 0
        for line in pip.stdout:
            log.write(line)
            kind, _, rest = line.strip().partition(" ")
            if kind == "Collecting":
                found += 1
                _progress(f"  packages found: {found}, the last is {rest.split()[0]}", passing=True)
            elif line.startswith("Installing collected packages"):
                _progress(f"  packages to unpack: {rest.count(',') + 1}")
    return pip.returncode == 0


def _progress(text: str, passing: bool = False) -> None:
    """Show how far it is. What is `passing` is replaced by what comes next, and not shown outside a terminal."""
    if sys.stdout.isatty():
        print(f"\r\033[K{text[:78]}", end="" if passing else "\n", flush=True)
    elif not passing:
        print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
