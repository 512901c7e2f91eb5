"""An agent: sends signed requests to a network and verifies the answers. It is ic-py's Agent, made dependable.

    agent = Agent(identity.load(), "http://127.0.0.1:4943", root_key)
    reply = agent.query_bytes(canister_id, "health", b"DIDL\\0\\0")      # Candid in, Candid out
    reply = agent.update_bytes(canister_id, "start", b"DIDL\\0\\0")

What ic-py's own does not do: connections are kept alive; every request has its own nonce and a precise expiry; a
request whose answer was lost is sent again (the same signed request, which a network executes once); update calls are
synchronous where the network offers it, else polled, quickly at first; every reply of an update and every state read
is verified with the network's root key; rejections are typed exceptions. It is safe to use from several threads at
once. Any identity of ic-py's can sign; ic-py's own Canister works on it too (see `ic_py`).
"""

from __future__ import annotations

import base64
import ipaddress
import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeAlias
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import cbor2
import ic
import urllib3
from ic.constants import IC_ROOT_KEY
from ic.identity import DelegateIdentity
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError, NewConnectionError, ReadTimeoutError

from . import stopping
from .errors import (
    ArgumentError,
    CallTimeout,
    CertificateError,
    NetworkError,
    NetworkNotRunning,
    RejectError,
    TransportError,
)
from .ic_py import IcPyMethods
from .protocol import certificate, hash_tree, principal
from .protocol.hash_tree import Node
from .protocol.request_id import REQUEST_DOMAIN, hash_of_map

PrincipalLike: TypeAlias = ic.Principal | str | bytes

INGRESS_EXPIRY = 240  # seconds; the network takes up to 5 minutes and clocks differ
UPDATE_TIMEOUT = 300.0  # seconds to wait for an update's answer, unless the caller says otherwise
READ_TIMEOUT = 60.0  # seconds; a synchronous call is held for some 10 s
HTTP_TIMEOUT = urllib3.Timeout(connect=10.0, read=READ_TIMEOUT)
CONNECTIONS = 16  # kept alive to one network; more calls at once open more
ATTEMPTS = 5  # for one HTTP request
FIRST_PAUSE, PAUSE_GROWTH, LONGEST_PAUSE = 0.02, 1.5, 1.0  # seconds between polls and attempts
CLOCKS_DIFFER = 60.0  # seconds, from which on it is worth a word
BUSY = {429, 502, 503, 504}  # HTTP: the request itself is not at fault


def to_principal(value: PrincipalLike, what: str = "principal") -> bytes:
    """The principal in an ic-py Principal, bytes or text.

    Raises:
        ArgumentError: the text is malformed, or there are too many bytes; the error names `what` they stand for.
    """
    try:
        if isinstance(value, str):
            return principal.from_text(value)
        octets = value if isinstance(value, bytes) else bytes(value.bytes)
        principal.to_text(octets)  # refuses what is too long
        return octets
    except ValueError as error:
        raise ArgumentError(f"{what}: {error}. Copy the whole id, such as rrkah-fqaaa-aaaaa-aaaaq-cai.") from error


def _text_form(value: PrincipalLike) -> str:
    return principal.to_text(to_principal(value, "canister id"))


def _pauses() -> Iterator[float]:
    """Growing pauses, without end."""
    pause = FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * PAUSE_GROWTH, LONGEST_PAUSE)


@dataclass(frozen=True)
class HttpAnswer:
    """What came back over HTTP: the status code, the body, and the time that the header `Date` states."""

    status: int
    content: bytes
    date: str = ""

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300

    @property
    def text(self) -> str:
        return self.content.decode(errors="replace")


class Client(ic.Client):
    """ic-py's HTTP client, on one pool of connections that are kept alive; it sends again what is safe to send again.

    Args:
        url: the network's address, such as "http://127.0.0.1:4943".
    """

    def __init__(self, url: str) -> None:
        super().__init__(url.rstrip("/"))
        self.http = connections(self.url)
        self.given_up = ""

    def close(self) -> None:
        self.http.clear()

    def give_up(self, why: str) -> None:
        """Close it and send nothing more: whoever still uses it gets a NetworkError with this reason."""
        self.given_up = why
        self.close()

    def post(self, path: str, data: bytes) -> HttpAnswer:
        """Send `data` (CBOR) to `path`, again if need be: a request is identified by its content, nonce included.

        Returns:
            The answer, of any status but those that mean "busy".

        Raises:
            NetworkNotRunning: nothing listens there.
            TransportError: there is no answer after all attempts.
            urllib3.exceptions.ReadTimeoutError: it was sent, and no answer came in time.
        """
        last = ""
        pauses = _pauses()
        for attempt in range(ATTEMPTS):
            if attempt:
                stopping.pause(10 * next(pauses))
            try:
                answer = self._request("POST", path, data)
            except NewConnectionError as error:
                if attempt >= 2:
                    raise NetworkNotRunning(
                        f"nothing answers at {self.url} ({error}). Start the network: `mainer-nb net start` for the "
                        "embedded one, `icp network start` or `dfx start` for theirs."
                    ) from error
                last = str(error)
            except ReadTimeoutError:
                raise
            except HTTPError as error:
                last = f"{type(error).__name__}: {error}"
            else:
                if answer.status not in BUSY:
                    return answer
                last = f"HTTP {answer.status} {answer.text[:200]}"
        raise TransportError(f"no answer from {self.url}{path} after {ATTEMPTS} attempts: {last}")

    def get_status(self) -> dict[str, Any]:
        """The decoded answer of `/api/v2/status` (section "Request: Status endpoint"), such as `root_key`: DER.

        Raises:
            NetworkNotRunning: nothing listens there.
            TransportError: what answers is no Internet Computer.
        """
        path = "/api/v2/status"
        try:
            answer = self._request("GET", path)
        except NewConnectionError as error:
            raise NetworkNotRunning(f"nothing answers at {self.url} ({error})") from error
        except HTTPError as error:
            raise TransportError(f"{self.url} does not answer as an Internet Computer does: {error}") from error
        if not answer.good:
            raise TransportError(f"{self.url} does not answer as an Internet Computer does: HTTP {answer.status}")
        return _decoded(answer.content, self.url + path)

    def default_effective_canister_id(self) -> bytes:
        """Where to send calls that are about no canister yet, such as creating one: a principal.

        Networks of several subnets (those of dfx and icp-cli, made by PocketIC) name an id in their topology; elsewhere
        it is the management canister.
        """
        try:
            answer = self._request("GET", "/_/topology")
            topology = json.loads(answer.content) if answer.good else {}
            return base64.b64decode(topology["default_effective_canister_id"]["canister_id"])
        except (HTTPError, ValueError, KeyError, TypeError):
            return b""

    def query(self, canister_id: PrincipalLike, data: bytes) -> bytes:
        """The answer to a signed query, CBOR; errors as of `post`, and TransportError for an HTTP error."""
        return self._checked(f"/api/v2/canister/{_text_form(canister_id)}/query", data).content

    def call(self, canister_id: PrincipalLike, req_id: bytes, data: bytes) -> bytes:
        """Hand in a signed call, whose answer is not waited for; its id. Errors as of `query`."""
        self._checked(f"/api/v2/canister/{_text_form(canister_id)}/call", data)
        return req_id

    def read_state(self, canister_id: PrincipalLike, data: bytes) -> bytes:
        """The answer to a signed read_state request, CBOR; errors as of `query`."""
        return self._checked(f"/api/v2/canister/{_text_form(canister_id)}/read_state", data).content

    def _checked(self, path: str, data: bytes) -> HttpAnswer:
        try:
            answer = self.post(path, data)
        except ReadTimeoutError as error:
            raise TransportError(f"{self.url}{path} did not answer within {READ_TIMEOUT:.0f} s") from error
        if answer.status >= 400:
            raise refused(self.url + path, answer)
        return answer

    def _request(self, method: str, path: str, data: bytes | None = None) -> HttpAnswer:
        """One attempt.

        Raises:
            urllib3.exceptions.HTTPError: there is no answer.
            NetworkError: it was given up.
        """
        if self.given_up:
            raise NetworkError(f"nothing is sent to {self.url} any more: {self.given_up}")
        headers = {"Content-Type": "application/cbor"} if data is not None else {}
        stopping.check()
        try:
            answer = self.http.request(
                method, self.url + path, body=data, headers=headers, retries=False, redirect=False
            )
        except HTTPError:
            stopping.check()  # perhaps it was hung up for that
            raise
        return HttpAnswer(answer.status, answer.data, answer.headers.get("date", ""))


class _Stoppable(HTTPConnection):
    """A connection on which the waiting for an answer ends when the work that it belongs to is stopped."""

    def __str__(self) -> str:
        """As urllib3's errors name it."""
        return f"{self.host}, port {self.port}"

    def getresponse(self) -> Any:
        with stopping.on_stop(self._hang_up):
            return super().getresponse()

    def _hang_up(self) -> None:
        with suppress(OSError):
            if self.sock is not None:
                self.sock.shutdown(socket.SHUT_RDWR)


class _StoppableTls(_Stoppable, HTTPSConnection):
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Stoppable


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _StoppableTls


def connections(url: str) -> urllib3.PoolManager:
    """A pool of connections to the host of `url`, on which waiting can be stopped."""
    manager = _pool_manager(url)
    manager.pool_classes_by_scheme = {"http": _Pool, "https": _TlsPool}
    return manager


def _pool_manager(url: str) -> urllib3.PoolManager:
    """A pool of connections to the host of `url`: through the proxy that the environment names, if it names one, but
    directly to this machine.
    """
    parts = urlsplit(url)
    if _is_loopback(parts.hostname or "") or proxy_bypass(parts.netloc):
        return urllib3.PoolManager(timeout=HTTP_TIMEOUT, maxsize=CONNECTIONS)
    proxies = getproxies()
    proxy = proxies.get(parts.scheme) or proxies.get("all")
    if not proxy:
        return urllib3.PoolManager(timeout=HTTP_TIMEOUT, maxsize=CONNECTIONS)
    proxy = proxy if "://" in proxy else f"http://{proxy}"  # as curl reads it
    try:
        return urllib3.ProxyManager(proxy, timeout=HTTP_TIMEOUT, maxsize=CONNECTIONS)
    except (HTTPError, ValueError) as error:
        variable = f"{parts.scheme.upper()}_PROXY" if proxies.get(parts.scheme) else "ALL_PROXY"
        raise NetworkError(
            f"the proxy {_without_password(proxy)}, which {variable} names, cannot be used: it must be an HTTP proxy, "
            f"such as http://host:3128. Name one, or reach {parts.hostname} without a proxy: NO_PROXY={parts.hostname}"
        ) from error


def _without_password(url: str) -> str:
    return re.sub(r"//[^/]*@", "//…@", url)


def _is_loopback(host: str) -> bool:
    """Whether a host is this machine, which no proxy is for."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def refused(url: str, answer: HttpAnswer) -> TransportError:
    """The error of a request that was refused over HTTP; with a word about the clocks if they differ much."""
    return TransportError(f"{url} answered HTTP {answer.status}: {answer.text[:500]}{_clocks(answer)}")


def _clocks(answer: HttpAnswer) -> str:
    """A sentence on how much this machine's clock differs from the one of who answered, "" if it hardly does."""
    stated = re.search(r"Minimum allowed expiry: (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)", answer.text)
    try:
        if stated:
            theirs = datetime.strptime(stated[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC)
        else:
            theirs = parsedate_to_datetime(answer.date)
        ahead = (datetime.now(UTC) - theirs).total_seconds()
    except (ValueError, TypeError):
        return ""
    if abs(ahead) < CLOCKS_DIFFER:
        return ""
    return (
        f". The clock of this machine is {abs(ahead) / 60:.0f} minutes {'ahead of' if ahead > 0 else 'behind'} "
        "the network's, and requests are taken for a few minutes only: set it, by NTP for example"
    )


@dataclass(frozen=True)
class RequestMark:
    """What makes a request this one and no other: sent again with its mark, even by another process, it is carried out
    once.

    Attributes:
        expiry: nanoseconds since 1970; from then on the network takes it no more.
    """

    nonce: bytes
    expiry: int


class Agent(IcPyMethods):
    """Calls canisters for one identity on one network.

    Args:
        identity: ours or any of ic-py's.
        url: the network's address.
        root_key: the network's public key, DER; by default mainnet's.
    """

    def __init__(self, identity: ic.Identity, url: str, root_key: bytes = IC_ROOT_KEY) -> None:
        super().__init__(identity, Client(url), ingress_expiry=INGRESS_EXPIRY, root_key=root_key)
        self.url = self.client.url
        self._synchronous = True  # until the network says it has no such endpoint

    def get_expiry_date(self) -> int:
        """When requests signed now expire: nanoseconds since 1970."""
        return time.time_ns() + int(self.ingress_expiry) * 10**9

    # --- bytes in, bytes out ---

    def new_mark(self) -> RequestMark:
        """For a request that is to be sent now and perhaps again."""
        return RequestMark(os.urandom(16), self.get_expiry_date())

    def query_bytes(
        self, canister_id: PrincipalLike, method: str, arg: bytes, effective_canister_id: PrincipalLike | None = None
    ) -> bytes:
        """The reply of a query (section "Request: Query call"). It is not certified.

        Args:
            canister_id: what is called.
            arg: Candid.
            effective_canister_id: the canister whose subnet is asked, if it is another one.

        Returns:
            Candid.

        Raises:
            ArgumentError: a canister id is malformed.
            RejectError: the network or the canister rejected it.
            TransportError: there is no usable answer.
            NetworkNotRunning: nothing listens at the address.
        """
        _, envelope = self._signed("query", canister_id, method, arg)
        answer = _decoded(
            self.client.query(canister_id if effective_canister_id is None else effective_canister_id, envelope), method
        )
        if answer.get("status") == "replied":
            return bytes(answer["reply"]["arg"])
        raise self._rejection(canister_id, method, answer)

    def update_bytes(
        self,
        canister_id: PrincipalLike,
        method: str,
        arg: bytes,
        effective_canister_id: PrincipalLike | None = None,
        timeout: float = UPDATE_TIMEOUT,
        mark: RequestMark | None = None,
    ) -> bytes:
        """The certified reply of an update (section "Request: Call"); arguments and further errors as of `query_bytes`.

        Args:
            timeout: how long to wait for it, in seconds.
            mark: of the request, if it may have been sent before; None: it is a new one.

        Raises:
            CallTimeout: there is no reply yet; the call may still be carried out.
            CertificateError: the answer cannot be verified with the network's root key.
        """
        deadline = time.monotonic() + timeout
        effective = to_principal(canister_id if effective_canister_id is None else effective_canister_id, "canister id")
        name = f"{_text_form(canister_id)}.{method}"
        request_id, envelope = self._signed("call", canister_id, method, arg, mark)
        answer = self._submit(effective, envelope)
        if answer is not None and "certificate" not in answer:
            raise self._rejection(canister_id, method, answer)
        state = self._verified(answer["certificate"], effective) if answer else None
        pauses = _pauses()
        while True:
            status = _text(_status_field(state, request_id, "status"))
            if status == "replied":
                return _status_field(state, request_id, "reply") or b""
            if status == "rejected":
                raise self._rejection(canister_id, method, _certified_rejection(state, request_id))
            if status == "done":
                raise TransportError(f"{name} was carried out, but its answer is no longer kept")
            if time.monotonic() >= deadline:
                raise CallTimeout(
                    f"{name}: no answer within {timeout:.0f} s (status: {status or 'unknown'}). "
                    "It may still be carried out; look at the canister's state before calling again.",
                    request_id,
                )
            stopping.pause(next(pauses))
            state = self._read_state(effective, [[b"request_status", request_id]])

    def read_certificate(self, canister_id: PrincipalLike, paths: Sequence[Sequence[bytes]]) -> bytes:
        """The verified certificate, CBOR, that shows these paths of the state tree (section "Request: Read state").

        Raises:
            CertificateError: the answer cannot be verified with the network's root key.
            TransportError, NetworkNotRunning: no usable answer.
        """
        effective = to_principal(canister_id)
        encoded = self._read_certificate(effective, paths)
        self._verified(encoded, effective)
        return encoded

    def read_canister(self, canister_id: PrincipalLike, name: str) -> bytes | None:
        """A certified fact of a canister that everybody may read; errors as of `read_certificate`.

        Args:
            name: `module_hash` (32 bytes) or `controllers` (CBOR).

        Returns:
            None if the canister does not exist or has no such thing.
        """
        effective = to_principal(canister_id)
        path = [b"canister", effective, name.encode()]
        return _value(self._read_state(effective, [path]), path)

    def read_metadata(self, canister_id: PrincipalLike, name: str) -> bytes | None:
        """A certified custom section of a canister's module, such as `candid:service`; None if there is none.

        Raises:
            TransportError: it is private and the caller no controller; further errors as of `read_certificate`.
        """
        effective = to_principal(canister_id)
        path = [b"canister", effective, b"metadata", name.encode()]
        return _value(self._read_state(effective, [path]), path)

    # --- inside ---

    def _signed(
        self, kind: str, canister_id: PrincipalLike, method: str, arg: bytes, mark: RequestMark | None = None
    ) -> tuple[bytes, bytes]:
        mark = mark or self.new_mark()
        request = {
            "request_type": kind,
            "sender": self.identity.sender().bytes,
            "canister_id": to_principal(canister_id, "canister id"),
            "method_name": method,
            "arg": arg,
            "ingress_expiry": mark.expiry,
            "nonce": mark.nonce,
        }
        return self._envelope(request)

    def _envelope(self, request: dict[str, Any]) -> tuple[bytes, bytes]:
        """The request's id, and the request in CBOR with what authenticates its sender."""
        request_id = hash_of_map(request)
        public_key, signature = self.identity.sign(REQUEST_DOMAIN + request_id)
        envelope = {"content": request, "sender_pubkey": public_key, "sender_sig": signature}
        if isinstance(self.identity, DelegateIdentity):
            envelope |= {"sender_pubkey": self.identity.der_pubkey, "sender_delegation": self.identity.delegations}
        return request_id, cbor2.dumps(envelope)

    def _submit(self, effective: bytes, envelope: bytes) -> dict[str, Any] | None:
        """Hand a call in.

        Returns:
            What the network answered at once; None if it has to be asked later.
        """
        for version in (3, 2) if self._synchronous else (2,):
            path = f"/api/v{version}/canister/{principal.to_text(effective)}/call"
            try:
                answer = self.client.post(path, envelope)
            except ReadTimeoutError:
                return None  # it may have arrived: its status will tell
            if version == 3 and answer.status in (404, 405):
                self._synchronous = False
                continue
            if answer.status >= 400:
                raise refused(self.url + path, answer)
            return None if answer.status == 202 else _decoded(answer.content, "call")
        return None

    def _read_state(self, effective: bytes, paths: Sequence[Sequence[bytes]]) -> Node:
        return self._verified(self._read_certificate(effective, paths), effective)

    def _read_certificate(self, effective: bytes, paths: Sequence[Sequence[bytes]]) -> bytes:
        request = {
            "request_type": "read_state",
            "sender": self.identity.sender().bytes,
            "paths": [list(path) for path in paths],
            "ingress_expiry": self.get_expiry_date(),
        }
        _, envelope = self._envelope(request)
        answer = _decoded(self.client.read_state(effective, envelope), "read_state")
        if "certificate" not in answer:
            raise TransportError(f"{self.url} answered read_state without a certificate: {answer!r}")
        return bytes(answer["certificate"])

    def _verified(self, encoded: bytes, effective: bytes) -> Node:
        """The part of the state tree in a certificate, once it is known to be the network's."""
        try:
            return certificate.verify(encoded, self.root_key, effective or None)
        except ValueError as error:
            raise CertificateError(
                f"{self.url} answered with a certificate that cannot be verified with its root key: {error}. "
                "Check that the network's root key belongs to this network."
            ) from error

    def _rejection(self, canister_id: PrincipalLike, method: str, answer: dict[str, Any]) -> Exception:
        if "reject_code" not in answer:
            return TransportError(f"{self.url} answered {method} with neither reply nor rejection: {answer!r}")
        return RejectError(
            _text_form(canister_id),
            method,
            answer["reject_code"],
            answer.get("reject_message", ""),
            answer.get("error_code"),
        )


def _decoded(body: bytes, what: str) -> dict[str, Any]:
    try:
        value = cbor2.loads(body)
    except (cbor2.CBORDecodeError, ValueError) as error:
        raise TransportError(f"the answer to {what} is not CBOR: {body[:200]!r}") from error
    if not isinstance(value, Mapping):
        raise TransportError(f"the answer to {what} is not a CBOR map: {value!r}")
    return dict(value)


def _value(state: Node, path: Sequence[bytes]) -> bytes | None:
    """What a certified part of the state tree has at `path`; None if it has nothing there."""
    value = hash_tree.lookup_value(path, state)
    return value if isinstance(value, bytes) else None


def _status_field(state: Node | None, request_id: bytes, name: str) -> bytes | None:
    return None if state is None else _value(state, [b"request_status", request_id, name.encode()])


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode(errors="replace")


def _certified_rejection(state: Node | None, request_id: bytes) -> dict[str, Any]:
    code = _status_field(state, request_id, "reject_code") or b""
    return {
        "reject_code": int.from_bytes(code, "little"),  # LEB128, which for 1 to 6 is one byte
        "reject_message": _text(_status_field(state, request_id, "reject_message")),
        "error_code": _text(_status_field(state, request_id, "error_code")),
    }
