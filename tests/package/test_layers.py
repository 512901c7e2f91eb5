"""Who imports whom: layers that import downwards only, and no circle of files."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[2] / "mainer_nb"

#: From the bottom up. A file imports files of its own layer and of layers below; a name may stand for a whole folder.
LAYERS = (
    {"protocol"},  # what client and network share
    {"localnet"},  # the embedded network
    {"errors", "gguf_header", "ic_py", "kernels", "places", "progress", "stopping"},  # what all of the following use
    {"artifacts", "chat_templates", "llm_build", "loadable", "models"},  # files
    {"agent", "canister", "choice", "identity", "management", "network"},  # a client of the Internet Computer
    {"deploy", "upload", "templates", "population", "conditions", "differences", "create"}  # verbs that make
    | {"check", "answerable", "operate", "game", "costs", "calls", "overview", "downloads"}  # and verbs that use
    | {"fleet"},  # and verbs for many at once
    {"expect", "table", "tables", "plots", "widgets", "panel"},  # what shows and asserts results
    {"init", "parameters", "report", "run", "junit", "commands", "cli"},  # what makes projects and runs notebooks
)
#: The same inside the embedded network.
LOCALNET = (
    {
        "bodies",
        "cache",
        "clock",
        "cycles",
        "errors",
        "header_names",
        "keys",
        "limits",
        "memory",
        "node",
        "outcalls",
        "signatures",
    },
    {
        "certification",
        "envelope",
        "fetcher",
        "journal",
        "metering",
        "pool",
        "rejections",
        "replica",
        "state",
        "store",
        "wasm",
    },
    {"canister", "execution", "runtime", "system_api"},  # what a canister is
    {"charging", "effects", "state_tree", "subnet"},  # the state of all of them, changed in steps
    {"composite", "management", "queries"},  # what the system answers by itself
    {"ingress", "messages", "ticks"},  # what is executed
    {"scheduler"},  # and when
    {"network"},
    {"", "__main__", "gateway", "http", "launcher", "sandbox", "server", "system_canisters"},  # how one gets at it
)
#: Rooms that may import these only.
ALONE = {"protocol": {"protocol"}, "localnet": {"protocol", "localnet"}}

Graph = Mapping[str, set[str]]


def graph_of(package: Path) -> dict[str, set[str]]:
    """The files of a package, by dotted name below it, each with those that it imports, wherever the import stands."""
    files = {_dotted(path.relative_to(package)): path for path in package.rglob("*.py")}
    return {name: _imports(path, package) & set(files) - {name} for name, path in files.items()}


def _dotted(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _imports(path: Path, package: Path) -> set[str]:
    folder = (package.name, *path.parent.relative_to(package).parts)
    imported = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) + 1 - node.level] if node.level else ()
            source = ".".join((*above, *filter(None, [node.module])))
            imported |= {_module(package.parent, source, alias.name) for alias in node.names}
    return {name.removeprefix(package.name + ".") for name in imported if name.startswith(package.name + ".")}


def _module(root: Path, source: str, name: str) -> str:
    """What `from source import name` imports: the file or folder of that name, else something in `source` itself."""
    inner = root.joinpath(*source.split("."), name)
    return f"{source}.{name}" if inner.is_dir() or inner.with_suffix(".py").is_file() else source


def room(name: str) -> str:
    return name.partition(".")[0]


def level(name: str, layers: Sequence[set[str]] = LAYERS) -> int:
    """The number of the layer that a file is in, from below."""
    for number, layer in enumerate(layers):
        if room(name) in layer:
            return number
    raise AssertionError(f"{name} is in no layer: add it to LAYERS or LOCALNET")


def is_upward(name: str, other: str) -> bool:
    """Whether the file `name` must not import the file `other`."""
    if room(other) not in ALONE.get(room(name), {room(other)}):
        return True
    if room(name) == room(other) == "localnet":
        inside, outside = (file.partition(".")[2] for file in (name, other))
        return level(outside, LOCALNET) > level(inside, LOCALNET)
    return level(other) > level(name)


def upward(graph: Graph) -> set[str]:
    """The imports that are not allowed, as `file -> file`."""
    return {
        f"{name} -> {other}" for name, others in graph.items() for other in others if name and is_upward(name, other)
    }


def circles(graph: Graph) -> set[frozenset[str]]:
    """The sets of files each of which imports, by way of others, all of the set."""
    reached = {name: _reachable(graph, name) for name in graph}
    together = ({other for other in reached[name] if name in reached[other]} for name in graph)
    return {frozenset(files) for files in together if files}


def _reachable(graph: Graph, start: str) -> set[str]:
    seen: set[str] = set()
    pending = [*graph[start]]
    while pending:
        name = pending.pop()
        if name not in seen:
            seen.add(name)
            pending += graph[name]
    return seen


def test_layers_import_downwards_only() -> None:
    assert upward(graph_of(PACKAGE)) == set()


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles(graph_of(PACKAGE)) == set()


@pytest.mark.parametrize(
    ("file", "text", "found"),
    [
        ("protocol/did.py", "from ..localnet import clock", "protocol.did -> localnet.clock"),
        ("protocol/did.py", "from ..errors import CertificateError", "protocol.did -> errors"),
        ("localnet/clock.py", "def now():\n    from mainer_nb.agent import Agent", "localnet.clock -> agent"),
        ("localnet/clock.py", "import mainer_nb.errors", "localnet.clock -> errors"),
        ("localnet/clock.py", "from .scheduler import Scheduler", "localnet.clock -> localnet.scheduler"),
        ("agent.py", "from . import tables", "agent -> tables"),
        ("places.py", "if TYPE_CHECKING:\n    from .network import Network", "places -> network"),
    ],
)
def test_an_upward_import_is_found(tmp_path: Path, file: str, text: str, found: str) -> None:
    package = tmp_path / "mainer_nb"
    for name in (
        "protocol/did",
        "localnet/clock",
        "localnet/scheduler",
        "agent",
        "errors",
        "network",
        "places",
        "tables",
    ):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / f"{name}.py").write_text("from __future__ import annotations\n")
    assert upward(graph_of(package)) == set()
    (package / file).write_text(text)
    assert upward(graph_of(package)) == {found}


def test_a_circle_is_found(tmp_path: Path) -> None:
    for name, text in {"a": "from .b import x", "b": "import mainer_nb.c", "c": "from . import a, d", "d": ""}.items():
        path = tmp_path / "mainer_nb" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    assert circles(graph_of(tmp_path / "mainer_nb")) == {frozenset("abc")}
