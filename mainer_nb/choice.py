"""Which network a notebook uses: that of its parameter, else the last choice in 01_deploy, else "local".

    net = choice.connect(network, identity)     # of 02 to 04 and 06; the parameters, each may be None
    net.why                                     # "chosen in 01_deploy"

Each notebook is a program of its own, so the choice is kept in the folder of the embedded network's state, for each
project. It counts only where a person runs the cells; a run without a person follows its parameters.

A notebook has one network. When it connects to another one, or cannot connect to the chosen one, it gives up the
earlier network: cells that run nevertheless are refused, so that nothing is done on the wrong network.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from . import network, places
from .errors import IdentityError, NetworkError
from .network import Network

CHOOSER = "01_deploy"
PARAMETER, DEFAULT, CHOSEN = "the parameter network", "nothing else was chosen", f"chosen in {CHOOSER}"


@dataclass(frozen=True)
class Choice:
    """A network and who calls, by name; `why` it is these. None: a development identity."""

    network: str
    identity: str | None
    why: str = CHOSEN


def find(network_name: str | None, identity_name: str | None) -> Choice:
    """What a notebook with these parameters uses, and why."""
    kept = _kept() if by_a_person() else None
    if network_name is not None:
        other = kept is not None and (kept.network, kept.identity) != (network_name, identity_name)
        differs = f"; {CHOOSER} chose {kept.network}, as {kept.identity or 'the default'}" if kept and other else ""
        return Choice(network_name, identity_name, PARAMETER + differs)
    if kept is None:
        return Choice(network.LOCAL, identity_name, DEFAULT)
    return replace(kept, identity=identity_name or kept.identity)


def keep(choice: Choice) -> None:
    """Have the other notebooks follow a choice, if a person made it. Where nothing can be written they do not."""
    if not by_a_person():
        return
    kept = asdict(choice)
    del kept["why"]
    draft = _file().with_suffix(f".{os.getpid()}.draft")
    with suppress(OSError):
        draft.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft.write_text(json.dumps(kept), encoding="utf-8")
        draft.replace(_file())


def connect(network_name: str | None = None, identity_name: str | None = None) -> Network:
    """Connect a notebook to what its parameters say or what was chosen; errors as of `network.connect`."""
    return connect_to(find(network_name, identity_name))


def connect_to(choice: Choice) -> Network:
    """Connect a notebook to what was chosen, and give up what it was connected to, if that is another one.

    Raises:
        NetworkError, IdentityError: as `network.connect` does; the notebook has no network then.
    """
    before = _Notebook.net
    _Notebook.net = None
    try:
        net = replace(network.connect(choice.network, choice.identity), why=choice.why)
    except BaseException as error:
        if before:
            before.give_up(f"{choice.network}, which was chosen after {before.name}, could not be connected to")
        if isinstance(error, NetworkError | IdentityError) and choice.why == CHOSEN:
            raise type(error)(f"{error} The network was {choice.why}: choose another one there.") from error
        raise
    if before and (before.name, before.url, before.caller) != (net.name, net.url, net.caller):
        before.give_up(f"this notebook uses {net.name} now, as {net.caller}, no longer {before.name}")
    _Notebook.net = net
    return net


class _Notebook:
    """What the notebook of this kernel is connected to."""

    net: Network | None = None


def by_a_person() -> bool:
    """Whether a person runs this in a notebook: front ends say with each request which cell it comes from, or that it
    comes from a widget; papermill does neither.
    """
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    parent = getattr(get_ipython(), "parent_header", {})
    kind = parent.get("header", {}).get("msg_type", "")
    return "cellId" in parent.get("metadata", {}) or kind.startswith("comm_")


def _file() -> Path:
    return places.state() / "chosen.json"


def _kept() -> Choice | None:
    try:
        kept = json.loads(_file().read_text(encoding="utf-8"))
        chosen, identity = kept["network"], kept["identity"]
    except (OSError, ValueError, KeyError, TypeError):
        return None  # nothing was chosen, or what was cannot be read any more
    return Choice(chosen, identity) if isinstance(chosen, str) and isinstance(identity, str | None) else None
