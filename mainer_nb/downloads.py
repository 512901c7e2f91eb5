"""Models from the web, into files/.

    downloads.get("https://huggingface.co/Qwen/Qwen2.5-0.5B-Instruct-GGUF/resolve/main/qwen2.5-0.5b-instruct-q8_0.gguf")

The bytes are kept in `NAME.gguf.part` until the file is complete and checked; then it gets its name in one step.
An interrupted download continues there (HTTP `Range` with `If-Range`, RFC 9110, sections 13.1.5 and 14.2), if
the server says that the file is still the same; else it begins again.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urljoin, urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from . import artifacts, gguf_header, places, stopping
from .agent import connections
from .artifacts import Artifact
from .errors import ArgumentError, ArtifactCorrupt, ArtifactError, Interrupted
from .progress import Progress, ProgressTask, Silent

ATTEMPTS = 5  # in a row in which nothing more arrives
PAUSE = 0.5  # seconds after the first of them; each time twice as long
MOST_REDIRECTS = 10
BLOCK = 1 << 16  # bytes read at once; what is stopped loses less than that
ROOM_LEFT = 64 << 20  # bytes that must stay free on the disk
SHA256 = re.compile(r"[0-9a-f]{64}")
REDIRECTS = (301, 302, 303, 307, 308)
PASSING = (408, 425, 429, 500, 502, 503, 504)  # statuses that may be others in a moment


class _Cut(Exception):
    """The connection ended too early, or there is no answer now; trying again may help."""


@dataclass(frozen=True)
class _Origin:
    """What a server says of the file: `etag` if it changes with every byte, "" if there is none; `size` in bytes."""

    etag: str
    size: int | None
    sha256: str | None


def get(url: str, name: str | None = None, sha256: str | None = None, progress: Progress | None = None) -> Artifact:
    """Download a model into files/, or what is missing of it.

    Args:
        url: of a gguf file.
        name: what to call the file; None: as in the address.
        sha256: what the file's must be, hex; None: what the server says it is, if it does (`X-Linked-ETag` of Hugging
            Face, or an `ETag` that is one).

    Raises:
        ArgumentError: the address, the name or the sha256 is none; there is another file of this name.
        ArtifactCorrupt: what arrived is not the file, or no whole gguf. It is thrown away.
        ArtifactError: it cannot be had now, or there is no room. What has arrived stays.
    """
    target = places.files() / _name(url, name)
    wanted = _sha256(sha256) if sha256 else None
    if target.exists() and wanted == artifacts.sha256_of(target):
        return _artifact(target, wanted)
    if target.exists():
        raise ArgumentError(f"there is a file {target} already: delete it, or choose another name with --name")
    try:
        with _Part(target) as part:
            origin = _whole(url, part, wanted, progress or Silent())
            checked = _check(part, origin.sha256, url)
            part.finish(target)
            return _artifact(target, checked)
    except OSError as error:
        raise ArtifactError(places.unwritable(target, error, "put the project elsewhere: MAINER_NB_PROJECT")) from error


def _artifact(path: Path, sha256: str) -> Artifact:
    return Artifact(path.name, path, path.stat().st_size, sha256, artifacts.OWN)


def _name(url: str, name: str | None) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ArgumentError(f"{url!r} is not an address: it should look like https://host/folder/model.gguf")
    found = unquote(Path(parts.path).name) if name is None else name
    if not found.lower().endswith(".gguf") and name is not None:
        found += ".gguf"
    if not re.fullmatch(r"[^/\\\x00-\x1f.][^/\\\x00-\x1f]*\.gguf", found, re.IGNORECASE):
        raise ArgumentError(
            f"{found!r} is not the name of a gguf file: take the address of one, or give a name (--name)"
        )
    return found


def _sha256(text: str) -> str:
    found = text.lower().removeprefix("sha256:")
    if not SHA256.fullmatch(found):
        raise ArgumentError(f"{text!r} is not a sha256: that has 64 hexadecimal digits")
    return found


class _Part:
    """The file that a download is written to, by nobody else meanwhile; beside it, what it is a part of."""

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self.about = target.with_name(f"{target.name}.part.json")
        self.file: BinaryIO

    def __enter__(self) -> _Part:
        self.file = self.path.open("ab")
        try:
            fcntl.flock(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self.file.close()
            raise ArtifactError(f"{self.path} is being written by another download: wait for it") from error
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()
        if self.path.exists() and not self.path.stat().st_size:
            self.drop()

    @property
    def size(self) -> int:
        return self.file.seek(0, os.SEEK_END)

    def etag(self, url: str) -> str:
        """The ETag of the file that this is a part of, if it is known and from this address; else ""."""
        with suppress(OSError, ValueError, AttributeError):
            about = json.loads(self.about.read_text(encoding="utf-8"))
            return str(about.get("etag", "")) if about.get("url") == url else ""
        return ""

    def begin(self, url: str, origin: _Origin) -> None:
        """Throw away what is there; what comes is of this origin."""
        self.file.truncate(0)
        self.about.write_text(json.dumps({"url": url, "etag": origin.etag}), encoding="utf-8")

    def finish(self, target: Path) -> None:
        """Give it its name, once it is on the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())
        self.path.replace(target)
        self.about.unlink(missing_ok=True)

    def drop(self) -> None:
        for path in (self.path, self.about):
            path.unlink(missing_ok=True)


def _whole(url: str, part: _Part, wanted: str | None, progress: Progress) -> _Origin:
    """Get what is missing, as often as it is cut short; what the server says of the file."""
    fruitless, most = 0, part.size
    http = connections(url)
    while True:
        try:
            return _fetch(http, url, part, wanted, progress)
        except (_Cut, HTTPError) as error:
            fruitless = 0 if part.size > most else fruitless + 1
            most = max(most, part.size)
            if fruitless >= ATTEMPTS:
                raise ArtifactError(f"{url} cannot be downloaded now: {error}. {_come(part)}") from error
            stopping.pause(PAUSE * 2**fruitless)
        except KeyboardInterrupt as error:
            raise Interrupted(
                f"stopped; {part.size:,} bytes are in {part.path}, and the same command goes on from there"
            ) from error


def _come(part: _Part) -> str:
    """What has come of a download that is given up, and what helps."""
    if not part.size:
        return "Nothing of it is here yet: check that this machine has internet, or put the gguf into files/"
    return f"{part.size:,} bytes are in {part.path}; the same command goes on from there, if the server lets it"


def _fetch(http: urllib3.PoolManager, url: str, part: _Part, wanted: str | None, progress: Progress) -> _Origin:
    """One request, and what comes of it into `part`.

    Raises:
        _Cut, urllib3.exceptions.HTTPError: not all came; trying again may help.
    """
    begun, etag = part.size, part.etag(url)
    headers = {"Accept-Encoding": "identity"}
    if begun and etag:
        headers |= {"Range": f"bytes={begun}-", "If-Range": etag}
    with _answer(http, url, headers) as (answer, origin):
        if wanted and origin.sha256 and wanted != origin.sha256:
            raise ArtifactCorrupt(f"the file at {url} has sha256 {origin.sha256}, as its server says, and not {wanted}")
        origin = _Origin(origin.etag, origin.size, wanted or origin.sha256)
        if answer.status == 206:
            goes_on = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers.get("content-range", ""))
            if not goes_on or int(goes_on[1]) != begun or (origin.etag and origin.etag != etag):
                part.begin(url, _Origin("", None, None))
                raise _Cut("the server went on at another place than asked for")
        elif answer.status == 200:
            begun = 0
            part.begin(url, origin)
        elif answer.status == 416:
            if origin.size != begun:
                part.begin(url, _Origin("", None, None))
                raise _Cut("the file is shorter than what has arrived of it")
            return origin
        elif answer.status in PASSING:
            raise _Cut(f"HTTP {answer.status} {answer.reason or ''}".rstrip())
        else:
            raise ArtifactError(f"{url} answered HTTP {answer.status} {answer.reason or ''}: is the address right?")
        _make_room(part, origin, begun)
        name = f"download {part.path.stem}"
        with progress.task(name, total=origin.size, unit="B", done=begun, steady=True, at_once=True) as task:
            _receive(answer, part, origin, begun, task)
    return origin


@contextmanager
def _answer(
    http: urllib3.PoolManager, url: str, headers: Mapping[str, str]
) -> Iterator[tuple[urllib3.BaseHTTPResponse, _Origin]]:
    """The answer after all redirections. What the first of them say of the file holds for the whole way."""
    said: dict[str, str] = {}
    for _ in range(MOST_REDIRECTS):
        answer = http.request("GET", url, headers=headers, preload_content=False, redirect=False, retries=False)
        said = {name.lower(): value for name, value in answer.headers.items()} | {
            name: value for name, value in said.items() if name.startswith("x-linked-")
        }
        target = answer.headers.get("location")
        if answer.status not in REDIRECTS or not target:
            try:
                yield answer, _origin(answer.status, said)
            finally:
                answer.close()
            return
        answer.close()
        url = urljoin(url, target)
    raise ArtifactError(f"more than {MOST_REDIRECTS} redirections, at last to {url}")


def _origin(status: int, said: Mapping[str, str]) -> _Origin:
    etag = said.get("etag", "")
    names = [said.get(header, "").removeprefix("W/").strip('"').lower() for header in ("x-linked-etag", "etag")]
    sha256 = next((name for name in names if SHA256.fullmatch(name)), None)
    sizes = [said.get("x-linked-size", ""), said.get("content-range", "").rpartition("/")[2]]
    sizes += [said.get("content-length", "")] if status == 200 else []
    size = next((int(text) for text in sizes if re.fullmatch(r"\d{1,18}", text)), None)
    return _Origin("" if etag.startswith("W/") else etag, size, sha256)


def _make_room(part: _Part, origin: _Origin, begun: int) -> None:
    free = shutil.disk_usage(part.path.parent).free
    missing = (origin.size or 0) - begun
    if missing + ROOM_LEFT > free:
        raise ArtifactError(
            f"{part.path.parent} has {free:,} bytes free, and {missing:,} are to come: make room for them and "
            f"{ROOM_LEFT:,} more, or put the project elsewhere (MAINER_NB_PROJECT)"
        )


def _receive(answer: urllib3.BaseHTTPResponse, part: _Part, origin: _Origin, begun: int, task: ProgressTask) -> None:
    """Write what comes; the first bytes tell whether it is a gguf at all."""
    encoding = answer.headers.get("content-encoding", "identity")
    if encoding != "identity":
        raise ArtifactError(f"the server sends the file as {encoding}, though it was asked not to")
    done = begun
    for block in answer.stream(BLOCK, decode_content=False):
        if not done and not block.startswith(gguf_header.MAGIC[: len(block)]):
            part.drop()
            what = answer.headers.get("content-type", "something else")
            raise ArtifactCorrupt(
                f"the address answers with {what}, not with a gguf file. Take the address of the file itself; at "
                "Hugging Face it has /resolve/ in it, not /blob/"
            )
        part.file.write(block)
        part.file.flush()
        done += len(block)
        task.advance(len(block))
        if origin.size is not None and done > origin.size:
            part.drop()
            raise ArtifactCorrupt(f"more bytes came than the {origin.size:,} that the server announced")
    if origin.size is not None and done < origin.size:
        raise _Cut(f"{done:,} of {origin.size:,} bytes came")


def _check(part: _Part, wanted: str | None, url: str) -> str:
    """The sha256 of what has arrived; what is not the file is thrown away."""
    found = artifacts.sha256_of(part.path)
    try:
        if wanted and found != wanted:
            raise ArtifactCorrupt(
                f"what came from {url} has sha256 {found}, not {wanted}: it was damaged on the way, or is "
                "another file. It was thrown away; get it again"
            )
        gguf_header.read(part.path)
    except ArtifactCorrupt:
        part.drop()
        raise
    return found
