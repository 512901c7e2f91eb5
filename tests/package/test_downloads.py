"""Models are downloaded from servers of every kind: those that are cut off, ignore ranges, change the file, or lie."""

from __future__ import annotations

import hashlib
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from mainer_nb import artifacts, cli, downloads
from mainer_nb.errors import ArgumentError, ArtifactCorrupt, ArtifactError
from tests import tiny_gguf


@dataclass
class Site:
    """A web site with one file, and how it behaves."""

    content: bytes
    url: str = ""
    etag: str = '"one"'
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)  # after so many bytes of each of the next answers
    length: int | None = None  # announced, if not the true one
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    linked: dict[str, str] = field(default_factory=dict)  # headers of a redirection to the file, if there are any
    asked: list[str | None] = field(default_factory=list)  # the ranges of the requests
    after: Callable[[Site], None] = lambda site: None  # what happens after each answer


class Handler(BaseHTTPRequestHandler):
    site: Site

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        site = self.site
        if site.linked and not self.path.startswith("/cdn/"):
            self.send_response(302)
            for name, value in {"Location": "/cdn/file", "Content-Length": "0", **site.linked}.items():
                self.send_header(name, value)
            self.end_headers()
            return
        asked = self.headers.get("Range")
        site.asked.append(asked)
        whole, start, status = site.content, 0, site.status
        if asked and site.ranges and self.headers.get("If-Range") == site.etag:
            start = int(re.sub(r"\D", "", asked))
            status = 206 if start < len(whole) else 416
        body = b"" if status == 416 else whole[start:]
        announced = len(body) if site.length is None else site.length - start
        self.send_response(status)
        headers = {"ETag": site.etag, "Content-Length": str(announced), **site.headers}
        if status in (206, 416):
            headers["Content-Range"] = f"bytes {f'{start}-{len(whole) - 1}' if status == 206 else '*'}/{len(whole)}"
        for name, value in headers.items():
            if value:
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: site.cuts.pop(0)] if site.cuts else body)
        self.wfile.flush()
        self.close_connection = True
        site.after(site)


@pytest.fixture
def site(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    made = Site(tiny_gguf.write(tmp_path / "made.gguf").read_bytes())
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"site": made}))
    made.url = f"http://127.0.0.1:{server.server_port}/models/tiny%20one.gguf?download=true"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    monkeypatch.setattr(downloads, "PAUSE", 0.001)
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def files(project: Path) -> Path:
    return project / "files"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {artifacts.MANIFEST}


def test_a_model_is_downloaded_and_can_be_used(site: Site, files: Path) -> None:
    file = downloads.get(site.url)
    assert (file.path, file.sha256) == (files / "tiny one.gguf", sha256(site.content))
    assert file.data() == site.content
    assert artifacts.model("tiny one").sha256 == file.sha256
    assert names(files) == {"tiny one.gguf"}


def test_what_is_cut_off_goes_on_where_it_ended(site: Site, files: Path) -> None:
    site.cuts = [100_000, 50_000, 0, 0, 1]
    assert downloads.get(site.url).data() == site.content
    assert site.asked == [None, *(f"bytes={size}-" for size in (100_000, 150_000, 150_000, 150_000, 150_001))]
    assert names(files) == {"tiny one.gguf"}


def test_without_internet_the_host_is_named_and_nothing_is_left(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "PAUSE", 0.001)
    for scheme in ("http", "https"):
        with pytest.raises(
            ArtifactError, match=r"cannot be downloaded now: nobody\.invalid, port \d+: .*put the gguf into"
        ):
            downloads.get(f"{scheme}://nobody.invalid/models/one.gguf")
    assert names(files) == set()


def test_another_command_goes_on_where_one_ended(site: Site, files: Path) -> None:
    site.cuts = [100_000] + [0] * downloads.ATTEMPTS
    with pytest.raises(ArtifactError, match=r"cannot be downloaded now.*100,000 bytes are in .*\.part; .*goes on from"):
        downloads.get(site.url)
    assert names(files) == {"tiny one.gguf.part", "tiny one.gguf.part.json"}
    assert artifacts.model_names() == [artifacts.DEFAULT_MODEL]
    assert artifacts.inventory() == []
    site.asked.clear()
    assert downloads.get(site.url).data() == site.content
    assert site.asked == ["bytes=100000-"]


@pytest.mark.parametrize("how", ["ranges", "etag", "weak etag", "another address"])
def test_without_ranges_or_the_same_file_it_begins_anew(site: Site, how: str) -> None:
    site.cuts = [100_000] + [0] * downloads.ATTEMPTS
    site.ranges = how != "ranges"
    if how in ("etag", "weak etag"):
        site.etag = "" if how == "etag" else 'W/"one"'
    with pytest.raises(ArtifactError, match="cannot be downloaded now"):
        downloads.get(site.url)
    site.asked.clear()
    url = site.url.replace("models", "others") if how == "another address" else site.url
    assert downloads.get(url).data() == site.content
    assert site.asked == [None]


def test_a_file_that_changes_meanwhile_begins_anew(site: Site, tmp_path: Path) -> None:
    other = tiny_gguf.write(tmp_path / "other.gguf", seed=5).read_bytes()

    def change(site: Site) -> None:
        site.content, site.etag = other, '"two"'

    site.cuts, site.after = [100_000], change
    assert downloads.get(site.url).data() == other
    assert site.asked == [None, "bytes=100000-"]


def test_a_server_that_cuts_always_and_has_no_ranges_is_given_up(site: Site) -> None:
    site.cuts, site.ranges = [100_000] * 50, False
    with pytest.raises(ArtifactError, match="cannot be downloaded now"):
        downloads.get(site.url)
    assert len(site.asked) <= downloads.ATTEMPTS + 2


@pytest.mark.parametrize("length", [400_000, 10])
def test_too_small_a_length_leaves_no_model(site: Site, files: Path, length: int) -> None:
    site.length = length
    with pytest.raises(ArtifactCorrupt):
        downloads.get(site.url)
    assert names(files) == set()


def test_too_large_a_length_leaves_no_model_if_more_never_comes(site: Site, files: Path) -> None:
    site.length, site.etag = len(site.content) + 10, ""
    with pytest.raises(ArtifactError, match="cannot be downloaded now"):
        downloads.get(site.url)
    assert not (files / "tiny one.gguf").exists()


def test_too_large_a_length_is_found_out_where_ranges_tell_the_true_one(site: Site) -> None:
    site.length = len(site.content) + 10
    assert downloads.get(site.url).data() == site.content
    assert site.asked == [None, f"bytes={len(site.content)}-"]


@pytest.mark.parametrize("where", ["given", "etag", "linked"])
def test_a_damaged_file_is_thrown_away(site: Site, files: Path, where: str) -> None:
    right = sha256(site.content)
    site.content = site.content[:-1] + bytes([site.content[-1] ^ 1])
    site.etag = f'"{right}"' if where == "etag" else '"one"'
    site.linked = {"X-Linked-ETag": f'"{right}"'} if where == "linked" else {}
    with pytest.raises(ArtifactCorrupt, match=f"has sha256 {sha256(site.content)}, not {right}"):
        downloads.get(site.url, sha256=right.upper() if where == "given" else None)
    assert names(files) == set()


def test_the_sha256_that_is_linked_counts_after_a_redirection(site: Site) -> None:
    site.linked = {"X-Linked-ETag": f'"{sha256(site.content)}"', "X-Linked-Size": str(len(site.content))}
    site.etag = f'"{"0" * 64}"'
    assert downloads.get(site.url).data() == site.content


def test_another_sha256_than_the_servers_is_refused_before_it_is_sent(site: Site, files: Path) -> None:
    site.linked = {"X-Linked-ETag": f'"{sha256(site.content)}"'}
    with pytest.raises(ArtifactCorrupt, match=f"sha256 {sha256(site.content)}, as its server says, and not {'a' * 64}"):
        downloads.get(site.url, sha256="a" * 64)
    assert names(files) == set()


def test_what_is_there_already_is_not_sent_again_or_overwritten(site: Site, files: Path) -> None:
    downloads.get(site.url)
    site.asked.clear()
    assert downloads.get(site.url, sha256=f"sha256:{sha256(site.content)}").path == files / "tiny one.gguf"
    with pytest.raises(ArgumentError, match=r"there is a file .*tiny one.gguf already: delete it, or choose another"):
        downloads.get(site.url)
    assert site.asked == []
    assert downloads.get(site.url, name="again").path == files / "again.gguf"


@pytest.mark.parametrize(
    ("url", "name", "said"),
    [
        ("huggingface.co/x.gguf", None, "is not an address"),
        ("file:///etc/x.gguf", None, "is not an address"),
        ("https://example.org/", None, "is not the name of a gguf file: .*--name"),
        ("https://example.org/model.bin", None, "'model.bin' is not the name of a gguf file"),
        ("https://example.org/..%2Fx.gguf", None, "is not the name"),
        ("https://example.org/x.gguf", "../x", "is not the name"),
        ("https://example.org/x.gguf", ".x", "is not the name"),
    ],
)
def test_what_is_no_address_or_name_is_refused(files: Path, url: str, name: str | None, said: str) -> None:
    with pytest.raises(ArgumentError, match=said):
        downloads.get(url, name)
    with pytest.raises(ArgumentError, match="'12' is not a sha256: that has 64"):
        downloads.get("https://example.org/x.gguf", sha256="12")
    assert names(files) == set()


def test_a_page_is_no_model(site: Site, files: Path) -> None:
    site.content, site.headers = b"<!doctype html><html>", {"Content-Type": "text/html"}
    with pytest.raises(ArtifactCorrupt, match=r"text/html, not with a gguf file.*/resolve/ in it, not /blob/"):
        downloads.get(site.url)
    assert names(files) == set()


@pytest.mark.parametrize(
    ("status", "said"), [(404, "HTTP 404.*is the address right"), (503, "cannot be downloaded now: HTTP 503")]
)
def test_a_refusal_is_named(site: Site, files: Path, status: int, said: str) -> None:
    site.status = status
    with pytest.raises(ArtifactError, match=said):
        downloads.get(site.url)
    assert names(files) == set()


def test_room_is_looked_for_first(site: Site, files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(files)._replace(free=downloads.ROOM_LEFT + len(site.content) - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ArtifactError, match=rf"bytes free, and {len(site.content):,} are to come: make room"):
        downloads.get(site.url)
    assert names(files) == set()


def test_two_downloads_of_a_file_do_not_mix(site: Site, files: Path) -> None:
    said: list[str] = []

    def again(site: Site) -> None:
        site.after = lambda site: None
        try:
            downloads.get(site.url)
        except ArtifactError as error:
            said.append(str(error))

    site.cuts, site.after = [100_000], again
    assert downloads.get(site.url).data() == site.content
    assert len(said) == 1
    assert "is being written by another download" in said[0]


def test_ctrl_c_leaves_what_has_arrived_and_says_so(site: Site, files: Path) -> None:
    release = threading.Event()

    def hold(site: Site) -> None:
        release.wait(60)

    site.cuts, site.after = [2 * downloads.BLOCK], hold
    program = "import sys; from mainer_nb.cli import main; sys.exit(main())"
    command = subprocess.Popen(
        [sys.executable, "-c", program, "model", "get", site.url],
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    part = files / "tiny one.gguf.part"
    until(lambda: part.exists() and part.stat().st_size == 2 * downloads.BLOCK)
    command.send_signal(signal.SIGINT)
    out, err = command.communicate(timeout=60)
    release.set()
    assert (command.returncode, out) == (130, "")
    assert f"mainer-nb: stopped; 131,072 bytes are in {part}, and the same command goes on from there" in err
    site.after = lambda site: None
    assert downloads.get(site.url).data() == site.content
    assert site.asked == [None, "bytes=131072-"]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_the_command(site: Site, files: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["model", "get", site.url, "--quiet"]) == 0
    path = files / "tiny one.gguf"
    said = capfd.readouterr()
    assert said.out == f"{path}: {len(site.content):,} bytes, sha256 {sha256(site.content)}\n"
    assert said.err == ""
    path.unlink()
    site.status = 404
    assert cli.main(["model", "get", site.url]) == 1
    assert "mainer-nb: http://127.0.0.1" in capfd.readouterr().err
