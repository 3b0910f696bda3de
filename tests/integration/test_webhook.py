"""The webhook against a real server: signed, retried, given up on, never waited for."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from gs_video_report import webhook
from gs_video_report.errors import UsageError


class Receiver(HTTPServer):
    """Answers with the statuses given, then 200; remembers what came."""

    garbage = False
    """Answer with what is not HTTP."""

    def __init__(self, *statuses: int) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.statuses = list(statuses)
        self.got: list[tuple[dict[str, str], bytes]] = []
        self.arrived = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook"


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.got.append((dict(self.headers), body))
        if self.server.garbage:
            self.server.garbage = False
            self.wfile.write(b"hello, this is no HTTP\r\n\r\n")
            return
        status = self.server.statuses.pop(0) if self.server.statuses else 200
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "/elsewhere")
        self.end_headers()
        if status == 200:
            self.server.arrived.set()

    def do_GET(self) -> None:
        self.server.got.append((dict(self.headers), b"GET"))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *args: object) -> None: ...


@pytest.fixture
def serve() -> Iterator[object]:
    made: list[Receiver] = []

    def start(*statuses: int) -> Receiver:
        receiver = Receiver(*statuses)
        made.append(receiver)
        threading.Thread(target=receiver.serve_forever, daemon=True).start()
        return receiver

    yield start
    for receiver in made:
        receiver.shutdown()
        receiver.server_close()


def test_message_is_signed_over_its_exact_bytes(serve) -> None:  # type: ignore[no-untyped-def]
    receiver = serve()
    assert webhook.deliver(receiver.url, {"batch": "7f3a", "name": "第一讲"}, "s3cret")
    headers, body = receiver.got[0]
    expected = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert headers["X-Gsvr-Signature"] == f"sha256={expected}"
    assert json.loads(body) == {"batch": "7f3a", "name": "第一讲"}


def test_busy_receiver_is_tried_again(serve) -> None:  # type: ignore[no-untyped-def]
    receiver = serve(503, 429)
    assert webhook.deliver(receiver.url, {}, "", first_wait_s=0)
    assert len(receiver.got) == 3
    assert "X-Gsvr-Signature" not in receiver.got[0][0]


def test_refusal_and_dead_receiver_end_without_an_error(serve) -> None:  # type: ignore[no-untyped-def]
    receiver = serve(403)
    assert not webhook.deliver(receiver.url, {}, "", first_wait_s=0)
    assert len(receiver.got) == 1
    assert not webhook.deliver("http://127.0.0.1:9/", {}, "", tries=2, first_wait_s=0)


def test_background_sender_does_not_hold_up_the_caller(serve) -> None:  # type: ignore[no-untyped-def]
    receiver = serve()
    began = time.monotonic()
    webhook.send_in_background(receiver.url, {"type": "completed"}, "k")
    assert time.monotonic() - began < 5
    assert receiver.arrived.wait(60)


def test_redirect_is_not_taken_for_delivery(serve) -> None:  # type: ignore[no-untyped-def]
    """It used to become a GET without the message, and its 200 ended the tries."""
    receiver = serve(302)
    assert webhook.deliver(receiver.url, {"a": 1}, "", tries=2, first_wait_s=0)
    assert [body for _, body in receiver.got] == [b'{"a": 1}'] * 2


def test_answer_that_is_no_http_is_tried_again(serve) -> None:  # type: ignore[no-untyped-def]
    """It used to end the sender with a traceback that nobody saw."""
    receiver = serve()
    receiver.garbage = True
    assert webhook.deliver(receiver.url, {}, "", first_wait_s=0)
    assert len(receiver.got) == 2


def test_name_that_is_not_utf_8_is_delivered(serve) -> None:  # type: ignore[no-untyped-def]
    receiver = serve()
    assert webhook.deliver(receiver.url, {"name": "caf\udce9"}, "k", first_wait_s=0)
    headers, body = receiver.got[0]
    assert json.loads(body) == {"name": "caf?"}
    assert headers["X-Gsvr-Signature"] == webhook.signature(body, "k")


def test_sender_runs_no_code_of_the_working_folder(  # type: ignore[no-untyped-def]
    serve, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('code of a stranger')")
    monkeypatch.chdir(tmp_path)
    receiver = serve()
    webhook.send_in_background(receiver.url, {"type": "completed"}, "k")
    assert receiver.arrived.wait(60)


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://host/x",
        "javascript:1",
        "http://",
        "http://[bad",
        "http://host:99999/",
        "http://ann:pw@host/",
        "http://host/a b",
        "http://host/\n",
        "http://exämple.org/",
    ],
)
def test_only_web_addresses_are_taken(url: str) -> None:
    with pytest.raises(UsageError):
        webhook.check_url(url)
