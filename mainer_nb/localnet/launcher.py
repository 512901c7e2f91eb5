"""Launches a network for icp-cli: `icp network start` runs this program instead of its own launcher.

    export ICP_CLI_NETWORK_LAUNCHER_PATH="$(command -v mainer-network-launcher)"

It has the command line of icp-cli's network launcher, versions 1.0 and 1.1 of its interface
(https://github.com/dfinity/icp-cli-network-launcher/blob/main/SPEC.md): the network's address and root
key go into a file of the status directory as soon as it can be used, and SIGINT stops it. What this
network does not have is refused (Internet Identity, NNS, Bitcoin, Dogecoin) or, where nothing is
missing without it, said on stderr (several subnets, PocketIC and its interface).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from ..protocol import principal
from . import http, server, system_canisters
from .errors import StateError
from .gateway import Domains
from .network import EmbeddedNetwork

#: The newest interface that this program knows; of a newer one it ignores what it does not know.
INTERFACE = (1, 1)

_REFUSED = {
    "ii": "Internet Identity (--ii, in icp.yaml `ii: true`)",
    "nns": "the NNS and SNS (--nns, in icp.yaml `nns: true`)",
    "bitcoind_addr": "Bitcoin (--bitcoind-addr, in icp.yaml `bitcoind-addr`)",
    "dogecoind_addr": "Dogecoin (--dogecoind-addr, in icp.yaml `dogecoind-addr`)",
}
_POCKETIC = ("config_port", "pocketic_config_bind", "pocketic_server_path", "stdout_file", "stderr_file")


def main(argv: list[str] | None = None) -> int:
    """Runs a command line until SIGINT or SIGTERM; returns 1 if the network cannot be started."""
    parser = _parser()
    options, unknown = parser.parse_known_args(argv)
    if unknown and _interface(parser, options.interface_version) <= INTERFACE:
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    for name, what in _REFUSED.items():
        if getattr(options, name):
            parser.error(f"this network does not have {what}; start it without, or unset ICP_CLI_NETWORK_LAUNCHER_PATH")
    _tell_what_is_ignored(options, unknown)
    logging.basicConfig(level=logging.INFO if options.verbose else logging.WARNING, format="%(levelname)s %(message)s")
    try:
        if options.state_dir is not None:
            _run(options, options.state_dir)
        else:
            with tempfile.TemporaryDirectory(prefix="network-") as folder:
                _run(options, Path(folder))
    except (server.ServerError, StateError) as error:
        print(f"mainer-network-launcher: {error}", file=sys.stderr)
    return 1


def _parser() -> argparse.ArgumentParser:
    described = "A local network for icp-cli, set as ICP_CLI_NETWORK_LAUNCHER_PATH."
    parser = argparse.ArgumentParser(prog="mainer-network-launcher", description=described, allow_abbrev=False)
    version = os.environ.get("ICP_CLI_NETWORK_LAUNCHER_INTERFACE_VERSION")
    parser.add_argument("--interface-version", default=version, help="of this command line, such as 1.1.0")
    parser.add_argument("--gateway-port", type=int, default=0, help="port of the network (default: any free one)")
    parser.add_argument("--bind", default=server.HOST, metavar="IP", help="address to listen at (default: 127.0.0.1)")
    parser.add_argument("--domain", action="append", default=[], help="domain with canisters as <canister id>.DOMAIN")
    parser.add_argument("--custom-domains-file", type=Path, help="lines of <host name>:<canister id>")
    parser.add_argument("--state-dir", type=Path, help="keeps the network's state (default: nothing is kept)")
    parser.add_argument("--status-dir", type=Path, help="gets status.json once the network can be used")
    parser.add_argument("--artificial-delay-ms", type=int, default=0, help="how much longer each update call takes")
    parser.add_argument("--verbose", action="store_true", help="log what the network does")
    parser.add_argument("--subnet", action="append", default=[], help="ignored: there is one subnet")
    for name in _POCKETIC:
        parser.add_argument(f"--{name.replace('_', '-')}", help=argparse.SUPPRESS)
    for name in ("ii", "nns"):
        parser.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    for name in ("bitcoind-addr", "dogecoind-addr"):
        parser.add_argument(f"--{name}", action="append", help=argparse.SUPPRESS)
    return parser


def _interface(parser: argparse.ArgumentParser, version: str | None) -> tuple[int, int]:
    if version is None:
        return INTERFACE
    try:
        major, minor = (int(part) for part in version.split(".")[:2])
    except ValueError:
        parser.error(f"--interface-version {version}: expected a version such as 1.1.0")
    return major, minor


def _tell_what_is_ignored(options: argparse.Namespace, unknown: list[str]) -> None:
    if len(options.subnet) > 1:
        print("there is one subnet for all kinds: --subnet is ignored", file=sys.stderr)
    ignored = [f"--{name.replace('_', '-')}" for name in _POCKETIC if getattr(options, name)] + unknown
    if ignored:
        print(f"ignored: {' '.join(ignored)}", file=sys.stderr)


def _run(options: argparse.Namespace, folder: Path) -> None:
    names = options.custom_domains_file
    if names is None and options.status_dir is not None:
        names = options.status_dir / "custom-domains.txt"
    domains = Domains(tuple(dict.fromkeys(["localhost", *options.domain])), names)

    def application(network: EmbeddedNetwork) -> web.Application:
        app = http.application(network, domains)
        if options.artificial_delay_ms:
            app.middlewares.append(_delaying_calls(options.artificial_delay_ms / 1000))
        return app

    def ready(info: server.Info) -> None:
        if options.status_dir is not None:
            _write_status(options.status_dir, info)
        print(f"network at {info.url}, root key {info.root_key}", flush=True)

    server.run(
        folder,
        options.gateway_port,
        ready,
        host=options.bind,
        prepare=system_canisters.install,
        application=application,
    )


def _delaying_calls(seconds: float) -> Middleware:
    @web.middleware
    async def delay(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path.startswith("/api/") and request.path.endswith("/call"):
            await asyncio.sleep(seconds)
        return await handler(request)

    return delay


def _write_status(folder: Path, info: server.Info) -> None:
    """status.json, whole at once and ended by a newline. It names no PocketIC, since there is none."""
    folder.mkdir(parents=True, exist_ok=True)
    status = {
        "v": "1",
        "gateway_port": urlsplit(info.url).port,
        "root_key": info.root_key,
        "default_effective_canister_id": principal.to_text(principal.canister_id(system_canisters.FIRST_ORDINARY)),
        "supported_features": ["custom-domains"],
    }
    draft = folder / "status.json.new"
    draft.write_text(json.dumps(status) + "\n", encoding="utf-8")
    draft.replace(folder / "status.json")


if __name__ == "__main__":
    sys.exit(main())
