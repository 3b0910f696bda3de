"""A web server on loopback that does what servers on the internet do, good and bad.

Resources are set by path: with or without ranges, validators and lengths; cut connections; wrong,
huge or missing lengths; redirects; any status. Every request is in `log`, with what was sent.
By hand: `python -m tests.fakes.web FOLDER --port 8090` serves the files of a folder, cutting the
first answer of each in the middle.
"""

from __future__ import annotations

import argparse
import re
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

BLOCK = 16 * 1024


@dataclass
class Resource:
    """What one path answers."""

    body: bytes = b""
    content_type: str = "video/mp4"
    etag: str = ""
    last_modified: str = ""
    ranges: bool = True
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    declared: int | None = None
    """Content-Length to claim; None for the truth."""
    lengthless: bool = False
    """No Content-Length; the end of the connection is the end of the file."""
    chunked: bool = False
    cuts: list[int] = field(default_factory=list)
    """For the next answers, one each: break the connection after so many bytes of the body."""
    hold: threading.Event | None = None
    """Wait for this after `hold_after` bytes of the body."""
    hold_after: int = 0
    lie_about_range: bool = False
    """Answer a range with 206 and other bytes than asked for."""


@dataclass(frozen=True)
class Request:
    """One line of the log."""

    path: str
    headers: dict[str, str]
    """Names in lower case."""
    status: int
    sent: int
    """Bytes of the body."""


class WebServer:
    """Use as a context manager; `url(path)` is an address on it."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        self.resources: dict[str, Resource] = {}
        self._log: list[Request] = []
        self._answering = 0
        self.seen = threading.Condition()
        self._server = _Server((host, port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def add(self, path: str, body: bytes = b"", **settings: Any) -> Resource:
        self.resources[path] = Resource(body, **settings)
        return self.resources[path]

    def redirect(self, path: str, target: str, status: int = 302) -> None:
        self.add(path, b"moved", status=status, headers={"Location": target})

    @property
    def log(self) -> list[Request]:
        """Every request so far; waits for answers that are being sent."""
        with self.seen:
            self.seen.wait_for(lambda: self._answering == 0, 20)
            return list(self._log)

    def requests(self, path: str) -> list[Request]:
        """Those for one path."""
        return [r for r in self.log if r.path == path]

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        """Wait until the log, a file, or what else `condition` reads is as wished."""
        end = time.monotonic() + timeout_s
        while not condition():
            if time.monotonic() > end:
                return False
            with self.seen:
                self.seen.wait(0.01)
        return True

    def begin(self) -> None:
        with self.seen:
            self._answering += 1

    def note(self, request: Request) -> None:
        with self.seen:
            self._answering -= 1
            self._log.append(request)
            self.seen.notify_all()

    def __enter__(self) -> WebServer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        for resource in self.resources.values():
            if resource.hold is not None:
                resource.hold.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False  # joined by server_close: no thread outlives its test
    allow_reuse_address = True

    def __init__(self, address: tuple[str, int], web: WebServer) -> None:
        self.web = web
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: _Server

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        self.close_connection = True
        self.server.web.begin()
        path = urlsplit(self.path).path
        resource = self.server.web.resources.get(path)
        if resource is None:
            resource = Resource(b"nothing here", "text/plain", status=404)
        status, data, extra = self._select(resource)
        sent = 0
        try:
            self._head(resource, status, data, extra)
            if body and status not in (204, 304):
                sent = self._body(resource, data)
        except (BrokenPipeError, ConnectionResetError, TimeoutError) as error:
            sent = getattr(error, "sent", sent)
        finally:
            headers = {name.lower(): value for name, value in self.headers.items()}
            self.server.web.note(Request(path, headers, status, sent))

    def _select(self, resource: Resource) -> tuple[int, bytes, dict[str, str]]:
        """Status, bytes and headers for the range that was asked for."""
        body = resource.body
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if resource.status != 200 or not resource.ranges or wanted is None:
            return resource.status, body, {}
        condition = self.headers.get("If-Range")
        if condition and condition not in (resource.etag, resource.last_modified):
            return 200, body, {}
        start = int(wanted[1])
        if start >= len(body):
            return 416, b"", {"Content-Range": f"bytes */{len(body)}"}
        end = min(int(wanted[2]) if wanted[2] else len(body) - 1, len(body) - 1)
        if resource.lie_about_range:
            return 206, body[: end + 1], {"Content-Range": f"bytes 0-{end}/{len(body)}"}
        found = {"Content-Range": f"bytes {start}-{end}/{len(body)}"}
        return 206, body[start : end + 1], found

    def _head(self, resource: Resource, status: int, data: bytes, extra: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Type", resource.content_type)
        self.send_header("Connection", "close")
        if resource.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if resource.chunked:
            self.send_header("Transfer-Encoding", "chunked")
        elif not resource.lengthless:
            length = len(data) if resource.declared is None else resource.declared
            self.send_header("Content-Length", str(length))
        if resource.etag:
            self.send_header("ETag", resource.etag)
        if resource.last_modified:
            self.send_header("Last-Modified", resource.last_modified)
        for name, value in {**resource.headers, **extra}.items():
            self.send_header(name, value)
        self.end_headers()

    def _body(self, resource: Resource, data: bytes) -> int:
        stop_at = resource.cuts.pop(0) if resource.cuts else None
        end = len(data) if stop_at is None else min(stop_at, len(data))
        sent = 0
        while sent < end:
            if resource.hold is not None and sent >= resource.hold_after:
                with self.server.web.seen:
                    self.server.web.seen.notify_all()
                resource.hold.wait(10)
            size = min(BLOCK, end - sent)
            if resource.hold is not None and sent < resource.hold_after:
                size = min(size, resource.hold_after - sent)
            self._write(resource, data[sent : sent + size])
            sent += size
        if stop_at is not None:
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
        elif resource.chunked:
            self.wfile.write(b"0\r\n\r\n")
        return sent

    def _write(self, resource: Resource, block: bytes) -> None:
        if resource.chunked:
            block = b"%x\r\n%s\r\n" % (len(block), block)
        self.wfile.write(block)
        self.wfile.flush()


def main() -> None:
    """Serve a folder until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--port", type=int, default=8090)
    chosen = parser.parse_args()
    with WebServer(port=chosen.port) as web:
        for path in sorted(p for p in chosen.folder.iterdir() if p.is_file()):
            body = path.read_bytes()
            web.add(f"/{quote(path.name)}", body, etag=f'"{len(body)}"', cuts=[len(body) // 2])
            print(web.url(f"/{quote(path.name)}"))
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
