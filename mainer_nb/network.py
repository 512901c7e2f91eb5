"""Networks: name, address, root key, whether cycles are free, and the canisters known there.

    net = network.connect()                                   # "local": the embedded one, started if it is not running
    net = network.connect("ic", identity="alice")             # mainnet
    net = network.connect("development", identity="alice")    # a network of the project's icp.yaml or dfx.json
    net = network.connect("http://127.0.0.1:8080")            # any other development network, by its address

Networks of the same name in several tools are told apart as "icp-cli:local" and "dfx:local"; "local" alone is the
embedded one. Canister ids are kept as those tools keep them: `{name: id}` in .icp/…/mappings/NETWORK.ids.json (icp-cli)
or `{name: {network: id}}` in canister_ids.json (dfx); what either wrote is read, each network's own form is written.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from ic.constants import IC_ROOT_KEY

from . import identity as identities
from . import management, places, stopping
from .agent import Agent, Client
from .canister import Canister
from .errors import IdentityError, NetworkError, NetworkNotRunning, NetworkReset, PreconditionError, UnknownNetwork
from .localnet import server

LOCAL = "local"
MAINNET = "ic"
MAINNET_URL = "https://icp-api.io"
MAINNET_DOMAINS = ("icp-api.io", "icp0.io", "ic0.app", "internetcomputer.org")
LOCK_PAUSE = 0.1  # seconds between two looks whether another process is done
DFX_LOCAL = "127.0.0.1:4943"
ICP_CLI_PORT = 8000

Source = Literal["embedded", "mainnet", "icp-cli", "dfx", "address"]
IdsForm = Literal["icp-cli", "dfx"]

GAME_STATE = "game_state_canister"
CREATOR = "mainer_creator_canister"
CHALLENGER = "challenger_canister"
JUDGE = "judge_canister"
DEPLOY_STEP = "notebooks/01_deploy.ipynb (in Python: mainer_nb.deploy.deploy(net))"


@dataclass(frozen=True)
class IdsFile:
    """A file of canister ids: where, in whose form, and the network's name in it."""

    path: Path
    form: IdsForm
    network: str


@dataclass(frozen=True)
class Config:
    """A network that could be connected to.

    Attributes:
        url: None for the embedded network, which has one once it runs.
        ids: the files of canister ids, the one to write first.
        root_key: DER; None: the network is to be asked.
    """

    name: str
    source: Source
    url: str | None
    ids: tuple[IdsFile, ...]
    root_key: bytes | None = None

    @property
    def mainnet(self) -> bool:
        host = urlsplit(self.url or "").hostname or ""
        return any(host == domain or host.endswith("." + domain) for domain in MAINNET_DOMAINS)


class CanisterIds:
    """The canister ids known for a network, by name, in files that icp-cli and dfx share."""

    def __init__(self, files: tuple[IdsFile, ...]) -> None:
        self.files = files

    def get(self, name: str) -> str | None:
        """The id of the canister of this name, None if none is known."""
        for file in self.files:
            table = _read_json(file.path)
            found = table.get(name) if file.form == "icp-cli" else _object(table, name, file.path).get(file.network)
            if found:
                return _canister_id(found, name, file.path)
        return None

    def set(self, name: str, canister_id: str | None) -> None:
        """Remember an id, or with None forget it."""
        for file in self.files if canister_id is None else self.files[:1]:
            table = _read_json(file.path)
            of_name = table if file.form == "icp-cli" else _object(table, name, file.path)
            if file.form == "dfx":
                table[name] = of_name
            key = name if file.form == "icp-cli" else file.network
            if canister_id is not None:
                of_name[key] = canister_id
            elif of_name.pop(key, None) is None:
                continue
            _write_json(file.path, {name: value for name, value in table.items() if value})


@dataclass(frozen=True)
class Network:
    """A network connected to, as one identity.

    Attributes:
        mainnet: cycles cost money, and canisters are created with icp-cli or dfx; elsewhere cycles are made from
            nothing.
        why: why it is this one, if it was chosen.
    """

    name: str
    source: Source
    url: str
    root_key: bytes = field(repr=False)
    mainnet: bool
    agent: Agent = field(repr=False)
    ids: CanisterIds = field(repr=False)
    why: str = field(default="", compare=False)

    @property
    def caller(self) -> str:
        """The principal that calls are made as."""
        return str(self.agent.get_principal())

    @property
    def rights(self) -> str:
        """What the caller may do here, in a sentence."""
        if self.mainnet:
            return (
                f"{self.caller} pays with its own cycles: create and fund canisters with icp-cli or dfx; "
                "only their controllers may install and configure them"
            )
        return f"anybody may create canisters and fund them from nothing; {self.caller} controls those it creates"

    def canister_id(self, name: str) -> str:
        """The id of the project's canister of this name (such as GAME_STATE) that exists on the network.

        Raises:
            PreconditionError: none was deployed here.
            NetworkReset: it is gone.
        """
        known = self.ids.get(name)
        if not known:
            raise PreconditionError(f"no {name} on network {self.name}: run {DEPLOY_STEP} first")
        if not management.exists(self.agent, known):
            raise NetworkReset(
                f"{name} ({known}) is no longer on network {self.name} ({self.url}): its state was deleted. "
                f"Run {DEPLOY_STEP} again, which makes new canisters."
            )
        return known

    def canister(self, name: str) -> Canister:
        """The project's canister of this name; `files/NAME.did` is its interface. Errors as of `canister_id`."""
        return Canister(self.agent, self.canister_id(name), places.files() / f"{name}.did", name)

    def canister_at(self, canister_id: str, name: str) -> Canister:
        """The canister with this id, with the interface `files/NAME.did`."""
        return Canister(self.agent, canister_id, places.files() / f"{name}.did", name)

    def close(self) -> None:
        """Close the connections; the network runs on."""
        self.agent.client.close()

    def give_up(self, why: str) -> None:
        """Close the connections and refuse to be used any more, with this reason."""
        self.agent.client.give_up(f"{why}. Choose a network and connect to it, then run the cells below.")


@contextmanager
def alone(network: str, what: str, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Do `what` ("deploy", "run") on a network as the only process of this project, for as long as the `with` block
    lasts: what one process makes, the next then finds.

    `waiting` is called again and again while another process is at it; what it raises ends the waiting.
    """
    path = places.state() / f"canisters.{file_name(network)}.{what}.lock"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = path.open("wb")
    except OSError:  # where nothing can be written, nothing is made either
        yield
        return
    with lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                waiting()
                stopping.pause(LOCK_PAUSE)
        yield


def file_name(network: str) -> str:
    """The name of a network as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9.-]", "_", network)


def known() -> list[Config]:
    """The networks that have a name here: the embedded one, mainnet, the project's and the user's."""
    own = [
        Config(LOCAL, "embedded", None, (IdsFile(places.state() / "canisters.ids.json", "icp-cli", LOCAL),)),
        Config(MAINNET, "mainnet", MAINNET_URL, _ids_files(MAINNET, "icp-cli", persistent=True), IC_ROOT_KEY),
    ]
    return own + [config for config in (*_of_icp_cli(), *_of_dfx()) if config.name != MAINNET]


def find(name: str) -> Config:
    """The configuration of a network.

    Args:
        name: its name, or an address.

    Raises:
        UnknownNetwork: there is none; the error lists the known ones.
        NetworkError: two tools have different networks of that name.
    """
    if re.match(r"https?://", name):
        return _of_address(name)
    candidates = [config for config in known() if name in (config.name, f"{config.source}:{config.name}")]
    if not candidates:
        table = ", ".join(f"{config.name} ({config.url or 'embedded'})" for config in known())
        raise UnknownNetwork(
            f"unknown network '{name}'. Known: {table}. Or give an address, such as http://127.0.0.1:8080."
        )
    if len({config.url for config in candidates}) > 1:
        raise NetworkError(
            f"network '{name}' is configured differently by {' and '.join(config.source for config in candidates)}; "
            f"say which: {' or '.join(f'{config.source}:{name}' for config in candidates)}"
        )
    return candidates[0]


def connect(name: str = LOCAL, identity: str | Path | None = None, start: bool = True) -> Network:
    """Connect to a network.

    Args:
        name: its name, or an address.
        identity: a name or a PEM file; None: the development identity.
        start: whether the embedded network is started if it is not running.

    Raises:
        UnknownNetwork: there is no network of this name.
        NetworkNotRunning: nothing answers; the error says how to start it.
        NetworkError: the network cannot be used.
        IdentityError: the identity cannot be used.
    """
    config = find(name)
    if config.source == "embedded":
        config = _embedded(config, start)
    assert config.url is not None
    if config.mainnet and identity is None:
        kept = ", ".join(entry.name for entry in identities.known() if entry.tool != "mainer-nb")
        raise IdentityError(
            f"network '{name}' is mainnet, where canisters and cycles belong to an identity you keep: give its name or "
            f"PEM file. Known here: {kept or 'none of icp-cli or dfx'}."
        )
    root_key = IC_ROOT_KEY if config.mainnet else _development_root_key(config)
    agent = Agent(identities.load(identity), config.url, root_key)
    return Network(config.name, config.source, config.url, root_key, config.mainnet, agent, CanisterIds(config.ids))


def _embedded(config: Config, start: bool) -> Config:
    state = places.state()
    info = server.status(state)
    if info is None and not start:
        raise NetworkNotRunning("network 'local' is not running: start it with `mainer-nb net start`")
    if info is None:
        info = start_embedded()
    return replace(config, url=info.url, root_key=bytes.fromhex(info.root_key))


def start_embedded(port: int = 0, outcalls: bool | None = None) -> server.Info:
    """Start the embedded network as a background process, if it is not running; where it runs.

    Args:
        port: 0: the one that it had last time, or any free one.
        outcalls: whether canisters can make HTTPS outcalls; None: as last time, at first not.

    Raises:
        NetworkError: it cannot be started; the error says, for example, which process holds the port.
    """
    try:
        return server.start(places.state(), port, outcalls)
    except server.ServerError as error:
        raise NetworkError(f"the embedded network cannot be started: {error}") from error


def beside(folder: Path, name: str, like: Network) -> Network:
    """An embedded network of its own with its state in `folder`, started if it does not run there.

    It makes no HTTPS outcalls.

    Args:
        name: what to call it.
        like: whose caller calls there, too.

    Raises:
        NetworkError: it cannot be started.
    """
    try:
        info = server.start(folder, outcalls=False)
    except server.ServerError as error:
        raise NetworkError(f"the network in {folder} cannot be started: {error}") from error
    root_key = bytes.fromhex(info.root_key)
    ids = CanisterIds((IdsFile(folder / "canisters.ids.json", "icp-cli", name),))
    return Network(name, "embedded", info.url, root_key, False, Agent(like.agent.identity, info.url, root_key), ids)


def _status(config: Config) -> dict[str, Any]:
    assert config.url is not None
    how = {
        "icp-cli": f"`icp network start {config.name.split(':')[-1]}` in the project",
        "dfx": f"`dfx start --network {config.name.split(':')[-1]}`" if config.name != "dfx:local" else "`dfx start`",
    }.get(config.source, "the program that serves this address")
    client = Client(config.url)
    try:
        return client.get_status()
    except NetworkNotRunning as error:
        raise NetworkNotRunning(f"network '{config.name}' is not running: {error}. Start it with {how}.") from error
    finally:
        client.close()


def _development_root_key(config: Config) -> bytes:
    """The root key a running network has been configured with or gives of itself (never asked of mainnet)."""
    if config.source == "embedded" and config.root_key:
        return config.root_key
    given = _status(config).get("root_key")
    key = config.root_key or given
    if not isinstance(key, bytes):
        raise NetworkError(f"{config.url} does not give its root key, so its answers cannot be verified")
    return key


# --- the files of other tools ---


def _read_json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise NetworkError(f"cannot read {path}: {error}. Correct or delete it.") from error
    if not isinstance(table, dict):
        raise NetworkError(f"{path} is not a JSON object. Correct or delete it.")
    return table


def _object(table: dict[str, Any], key: str, path: Path) -> dict[str, Any]:
    """The object at `key`; an empty one if there is none."""
    value = table.get(key)
    if not isinstance(value, dict | None):
        raise NetworkError(f"{key} in {path} is {str(value)[:60]!r}, not an object. Correct or delete it.")
    return value or {}


def _canister_id(value: object, name: str, path: Path) -> str:
    if not isinstance(value, str):
        raise NetworkError(f"{path} says that {name} is {str(value)[:60]!r}, which is not a canister id. Correct it.")
    return value


def _write_json(path: Path, table: dict[str, Any]) -> None:
    draft = path.with_suffix(f".{os.getpid()}.draft")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(json.dumps(table, indent=2) + "\n", encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        remedy = "have state or project elsewhere: MAINER_NB_STATE, MAINER_NB_PROJECT"
        raise NetworkError(places.unwritable(path, error, remedy)) from error


def _ids_files(network: str, writes: IdsForm, persistent: bool) -> tuple[IdsFile, ...]:
    """icp-cli keeps ids of lasting networks in .icp/data, of managed ones in .icp/cache; dfx beside dfx.json or in
    .dfx.
    """
    root = places.project()
    icp_cli = IdsFile(
        root / ".icp" / ("data" if persistent else "cache") / "mappings" / f"{network}.ids.json", "icp-cli", network
    )
    dfx = IdsFile(root / ("" if persistent else f".dfx/{network}") / "canister_ids.json", "dfx", network)
    return (icp_cli, dfx) if writes == "icp-cli" else (dfx, icp_cli)


def _address(bind: str) -> str:
    return bind if re.match(r"https?://", bind) else f"http://{bind}"


def _qualified(name: str, tool: str) -> str:
    return f"{tool}:{name}" if name == LOCAL else name


def _of_address(url: str) -> Config:
    parts = urlsplit(url)
    try:
        usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        usable = False
    if not usable:
        raise UnknownNetwork(f"'{url}' is not an address; it should look like http://127.0.0.1:8080")
    name = re.sub(r"[^\w.-]", "_", parts.netloc)
    return Config(url, "address", url.rstrip("/"), _ids_files(name, "icp-cli", persistent=False))


def _of_icp_cli() -> Iterator[Config]:
    """Networks and environments of icp.yaml; where a managed one runs, its descriptor has port and root key."""
    manifest = places.project() / "icp.yaml"
    if not manifest.is_file():
        return
    try:
        table = yaml.safe_load(manifest.read_text(encoding="utf-8")) or {}
        networks = {entry["name"]: entry for entry in table.get("networks", []) if isinstance(entry, dict)}
        networks.setdefault(LOCAL, {"mode": "managed"})
        listed = [entry for entry in table.get("environments", []) if isinstance(entry, dict)]
        environments = {entry["name"]: entry.get("network", LOCAL) for entry in listed}
        for name in {**dict.fromkeys(networks), **environments}:
            network = environments.get(name, name)
            if network in networks:
                yield _icp_cli_network(name, network, networks[network])
    except (yaml.YAMLError, KeyError, AttributeError, TypeError, ValueError, RecursionError) as error:
        raise NetworkError(f"cannot understand the networks in {manifest}: {error!r}. Correct it.") from error


def _icp_cli_network(name: str, network: str, manifest: dict[str, Any]) -> Config:
    connected = manifest.get("mode") == "connected"
    ids = _ids_files(name, "icp-cli", persistent=connected)
    if connected:
        key = manifest.get("root-key")
        return _config(
            _qualified(name, "icp-cli"), "icp-cli", manifest["url"], ids, bytes.fromhex(key) if key else None
        )
    descriptor = _read_json(places.project() / f".icp/cache/networks/{network}/descriptor.json")
    gateway = manifest.get("gateway") or {}
    port = (descriptor.get("gateway") or {}).get("port") or gateway.get("port") or ICP_CLI_PORT
    key = descriptor.get("root-key")
    url = f"http://{gateway.get('host', '127.0.0.1')}:{port}"
    return _config(_qualified(name, "icp-cli"), "icp-cli", url, ids, bytes.fromhex(key) if key else None)


def _of_dfx() -> Iterator[Config]:
    """Networks of dfx.json and, behind them, of the user's networks.json; dfx's own local one always."""
    user = Path(os.environ.get("DFX_CONFIG_ROOT") or places.home()) / ".config/dfx/networks.json"
    users = _read_json(user) if os.access(user, os.R_OK) else {}  # there may be none, or another user's
    project = places.project() / "dfx.json"
    networks = {LOCAL: {}, **users, **_object(_read_json(project), "networks", project)}
    for name in networks:
        network = _object(networks, name, project if name not in users else user)
        persistent = network.get("type", "persistent" if "providers" in network else "ephemeral") == "persistent"
        try:
            address = (
                network["providers"][0] if network.get("providers") else _address(network.get("bind") or DFX_LOCAL)
            )
            yield _config(_qualified(name, "dfx"), "dfx", address, _ids_files(name, "dfx", persistent))
        except (LookupError, TypeError, ValueError) as error:
            raise NetworkError(
                f"cannot understand the network '{name}' of dfx.json or {user}: {error!r}. Correct it."
            ) from error


def _config(name: str, source: Source, url: object, ids: tuple[IdsFile, ...], root_key: bytes | None = None) -> Config:
    """Raises ValueError for a url that is none, as files may have anything there."""
    if not isinstance(url, str) or not re.match(r"https?://.", url):
        raise ValueError(f"its address {str(url)[:60]!r} does not begin with http:// or https://")
    urlsplit(url)
    return Config(name, source, url, ids, root_key)
