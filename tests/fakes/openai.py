"""A loopback server that speaks the OpenAI protocol, to try gsvr without a key or a model.

By hand: `python -m tests.fakes.openai --port 8081`, then give gsvr the address and the key that
it prints. In tests: `with FakeOpenAI() as fake:` and the real package against `fake.url`.

Truth: `log`, one entry per request, with its tokens and whether the answer was sent completely.
True here: nothing is random; faults come when they are asked for (`fail`), in that order.
Speaks: models, chat completions, audio transcriptions. Not: streams.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
import time
import zlib
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fakes import openai_bodies as bodies

KEY = "sk-fake-0123456789abcdefghij"
SAMPLE_RATE = 16_000


@dataclass
class Call:
    """One entry of the log."""

    n: int
    op: str
    """models, chat, hear."""
    body: dict[str, Any] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    status: int = 0
    sent: bool = False
    """The answer was written completely."""
    tokens_in: int = 0
    tokens_out: int = 0
    file_bytes: int = 0

    @property
    def text(self) -> str:
        """All words of a chat request."""
        return bodies.prompt_text(self.body.get("messages", []))

    @property
    def images(self) -> list[str]:
        """Addresses of its pictures."""
        return bodies.images_in(self.body.get("messages", []))


@dataclass
class Behaviour:
    """How this server differs from others."""

    key: str | None = KEY
    """None: takes any key, as local servers do."""
    model_names: list[str] = field(default_factory=lambda: ["fake-large", "fake-small"])
    any_model: bool = False
    """Takes any name, as llama.cpp does."""
    context: int | None = None
    """Longer requests are refused in the manner of llama.cpp."""
    tells_context: bool = False
    refuses: frozenset[str] = frozenset()
    """Parameters that give a 400: response_format, json_schema, temperature, max_tokens,
    max_completion_tokens."""
    refuses_images: bool = False
    counts: bool = True
    """Sends `usage`."""
    has_models: bool = True
    delay_s: float = 0.0
    writes: Callable[[dict[str, Any]], str] | None = None
    """Makes the answer's text from the request body; None: a good model."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of every answer and refusal."""
    requests_per_window: int | None = None
    window_s: float = 1.0


class FakeOpenAI:
    """The server; a context manager. `url` ends in /v1."""

    def __init__(self, port: int = 0, **behaviour: Any) -> None:
        self.behaviour = Behaviour(**behaviour)
        self.log: list[Call] = []
        self.stopped = threading.Event()
        """Ends slow answers at once."""
        self._faults: deque[str] = deque()
        self._lock = threading.Lock()
        self._window: deque[float] = deque()
        fake = self

        class Handler(_Handler):
            server_of_fakes = fake

        self._server = _Server(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def __enter__(self) -> FakeOpenAI:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stopped.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def fail(self, *names: str) -> None:
        """The next chat or transcription requests meet these faults: a key of
        `openai_bodies.SHAPES`, or `cut` (connection dropped), `half` (answer cut in the middle),
        `slow`, `endless` (an answer without an end), `bomb` (one that is long when unpacked),
        `fenced`, `chatty`, `prose`, `blank`, `blocked`, `refusal`, `length`, `ok`."""
        with self._lock:
            self._faults.extend(names)

    def take_fault(self) -> str:
        with self._lock:
            return self._faults.popleft() if self._faults else "ok"

    def note(self, op: str) -> Call:
        with self._lock:
            call = Call(len(self.log) + 1, op)
            self.log.append(call)
            return call

    def is_over_rate(self) -> bool:
        limit, window = self.behaviour.requests_per_window, self.behaviour.window_s
        if limit is None:
            return False
        with self._lock:
            now = time.monotonic()
            while self._window and now - self._window[0] > window:
                self._window.popleft()
            if len(self._window) >= limit:
                return True
            self._window.append(now)
            return False

    def chats(self) -> list[Call]:
        """Chat requests that were answered with a completion."""
        return [c for c in self.log if c.op == "chat" and c.status == 200]

    def of(self, op: str) -> list[Call]:
        """Every request of a kind, in order."""
        return [c for c in self.log if c.op == op]


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that were killed are part of the play; everything else is a fault here."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_of_fakes: FakeOpenAI

    def log_message(self, *args: Any) -> None:
        """Silent: the log is `FakeOpenAI.log`."""

    def do_GET(self) -> None:
        fake = self.server_of_fakes
        call = self._note("models" if self.path.endswith("/models") else "other")
        if call.op != "models" or not fake.behaviour.has_models:
            self._answer(call, *bodies.SHAPES["page_404"])
        elif not self._knows_key():
            self._refuse_key(call)
        else:
            context = fake.behaviour.context if fake.behaviour.tells_context else None
            self._json(call, bodies.models(fake.behaviour.model_names, context))

    def do_POST(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        data = self.rfile.read(length)
        if len(data) < length:  # the client died while it was sending: this was no request
            self.close_connection = True
            return
        if self.path.endswith("/chat/completions"):
            self._chat(self._note("chat"), data)
        elif self.path.endswith("/audio/transcriptions"):
            self._hear(self._note("hear"), data)
        else:
            self._answer(self._note("other"), *bodies.SHAPES["page_404"])

    # --- chat -----------------------------------------------------------------------------------

    def _chat(self, call: Call, data: bytes) -> None:
        call.body = json.loads(data)
        call.tokens_in = bodies.count_tokens(call.text) + 500 * len(call.images)
        if self._is_refused(call):
            return
        fault = self.server_of_fakes.take_fault()
        if self._breaks(call, fault):
            return
        text, finish = self._text(call.body, fault)
        limit = self._limit(call.body)
        if bodies.count_tokens(text) > limit:
            text, finish = text.encode()[: limit * 4].decode(errors="ignore"), "length"
        call.tokens_out = bodies.count_tokens(text)
        body = bodies.completion(
            call.body["model"], text, finish, call.tokens_in, call.tokens_out, call.n
        )
        if fault == "refusal":
            body["choices"][0]["message"] |= {"content": None, "refusal": "I cannot help with that"}
        if not self.server_of_fakes.behaviour.counts:
            del body["usage"]
        self._json(call, body, cut=fault == "half")

    def _limit(self, body: dict[str, Any]) -> int:
        return int(body.get("max_completion_tokens") or body.get("max_tokens") or 1 << 20)

    def _text(self, body: dict[str, Any], fault: str) -> tuple[str, str]:
        behaviour = self.server_of_fakes.behaviour
        form = body.get("response_format") or {}
        schema = form.get("json_schema", {}).get("schema")
        if behaviour.writes is not None:
            text = behaviour.writes(body)
        else:
            text = json.dumps(bodies.answer_to(body["messages"], schema), ensure_ascii=False)
        if fault == "fenced":
            return f"```json\n{text}\n```", "stop"
        if fault == "chatty":
            return f"<think>Let me {{see}}</think>Sure! Here it is:\n{text}\nAnything else?", "stop"
        if fault == "length":
            return text[: len(text) * 2 // 3], "length"
        special = {"prose": "The video is about many things.", "blank": "", "blocked": ""}
        return special.get(fault, text), "content_filter" if fault == "blocked" else "stop"

    def _is_refused(self, call: Call) -> bool:
        """Answers what a server refuses for reasons of its own."""
        behaviour, body = self.server_of_fakes.behaviour, call.body
        if not self._knows_key():
            self._refuse_key(call)
        elif not behaviour.any_model and body["model"] not in behaviour.model_names:
            self._answer(call, *bodies.SHAPES["no_model"])
        elif self.server_of_fakes.is_over_rate():
            self._answer(call, *bodies.SHAPES["rate"])
        elif (unwanted := self._unwanted(body)) is not None:
            message = f"Unsupported parameter: '{unwanted}' is not supported with this model."
            kind = "invalid_request_error"
            data = bodies.error(message, kind, "unsupported_parameter", unwanted)
            self._answer(call, 400, data, {})
        elif behaviour.refuses_images and call.images:
            self._answer(call, *bodies.SHAPES["no_images"])
        elif self._is_too_long(call):
            n = call.tokens_in
            message = f"request ({n} tokens) exceeds the available context size, try increasing it"
            kind, size = "exceed_context_size_error", behaviour.context
            data = bodies.error(message, kind, 400, n_prompt_tokens=n, n_ctx=size)
            self._answer(call, 400, data, {})
        else:
            return False
        return True

    def _is_too_long(self, call: Call) -> bool:
        context = self.server_of_fakes.behaviour.context
        return context is not None and call.tokens_in > context

    def _unwanted(self, body: dict[str, Any]) -> str | None:
        refuses = self.server_of_fakes.behaviour.refuses
        form = (body.get("response_format") or {}).get("type")
        if form in refuses or (form and "response_format" in refuses):
            return "response_format"
        return next((name for name in sorted(refuses) if name in body), None)

    # --- transcription --------------------------------------------------------------------------

    def _hear(self, call: Call, data: bytes) -> None:
        fields = _multipart(data, self.headers.get("content-type") or "")
        call.body = {k: v.decode() for k, v in fields.items() if k != "file"}
        call.file_bytes = len(fields.get("file", b""))
        if not self._knows_key():
            self._refuse_key(call)
            return
        if self._breaks(call, self.server_of_fakes.take_fault()):
            return
        seconds = max(0, call.file_bytes - 44) / 2 / SAMPLE_RATE
        verbose = call.body.get("response_format") == "verbose_json"
        text = f"Chunk of {call.file_bytes} bytes. It lasts {seconds:.1f} seconds."
        self._json(call, bodies.transcription(text, seconds, verbose))

    # --- answers --------------------------------------------------------------------------------

    def _note(self, op: str) -> Call:
        call = self.server_of_fakes.note(op)
        call.headers = {k.lower(): v for k, v in self.headers.items()}
        return call

    def _knows_key(self) -> bool:
        key = self.server_of_fakes.behaviour.key
        return key is None or self.headers.get("authorization") == f"Bearer {key}"

    def _refuse_key(self, call: Call) -> None:
        status, body, headers = bodies.SHAPES["bad_key"]
        given = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        self._answer(call, status, body.replace(b"{key}", given.encode()), headers)

    def _breaks(self, call: Call, fault: str) -> bool:
        """Plays a fault that is not a completion; False when there is none."""
        if fault in bodies.SHAPES:
            self._answer(call, *bodies.SHAPES[fault])
        elif fault in ("endless", "bomb"):
            self._send_too_much(call, packed=fault == "bomb")
        elif fault == "cut":
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
        else:
            waits = 3600.0 if fault == "slow" else self.server_of_fakes.behaviour.delay_s
            if waits and self.server_of_fakes.stopped.wait(waits):
                self.close_connection = True
                return True
            return False
        return True

    def _send_too_much(self, call: Call, packed: bool) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("content-type", "application/json")
        if packed:
            self.send_header("content-encoding", "gzip")
        self.end_headers()
        block = b"a" * (1 << 20)
        packer = zlib.compressobj(wbits=31)
        with suppress(OSError):  # the client has had enough
            self.wfile.write(packer.compress(b'"') if packed else b'"')
            while not self.server_of_fakes.stopped.is_set():
                self.wfile.write(packer.compress(block) if packed else block)

    def _json(self, call: Call, body: dict[str, Any], *, cut: bool = False) -> None:
        self._answer(call, 200, json.dumps(body).encode(), {}, cut=cut)

    def _answer(
        self,
        call: Call,
        status: int,
        body: bytes,
        headers: dict[str, str],
        *,
        cut: bool = False,
    ) -> None:
        call.status = status
        try:
            self.send_response(status)
            kind = "text/html" if body.startswith(b"<") else "application/json"
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("x-request-id", f"req-{call.n}")
            for name, value in {**self.server_of_fakes.behaviour.headers, **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body[: len(body) // 2] if cut else body)
            call.sent = not cut
        except OSError:  # the client gave up waiting
            self.close_connection = True
        if cut:
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True


def _multipart(data: bytes, content_type: str) -> dict[str, bytes]:
    """Fields of a form; enough for what the package sends."""
    found = re.search(r"boundary=([^;]+)", content_type)
    if found is None:
        return {}
    fields: dict[str, bytes] = {}
    for part in data.split(b"--" + found[1].strip('"').encode()):
        head, _, body = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]+)"', head)
        if name is not None:
            fields[name[1].decode()] = body.removesuffix(b"\r\n")
    return fields


def main() -> None:
    parser = argparse.ArgumentParser(description="A fake OpenAI-compatible server.")
    parser.add_argument("--port", type=int, default=8081)
    parser.add_argument("--context", type=int, default=None, help="refuse longer requests, tokens")
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--no-key", action="store_true", help="take any key")
    given = parser.parse_args()
    fake = FakeOpenAI(
        given.port,
        context=given.context,
        delay_s=given.delay,
        key=None if given.no_key else KEY,
    )
    with fake:
        print(f"export OPENAI_BASE_URL={fake.url}\nexport OPENAI_API_KEY={KEY}")
        print("export GSVR_OPENAI_MODEL=fake-large\nCtrl-C ends.", flush=True)
        seen = 0
        try:
            while not fake.stopped.wait(0.5):
                for call in fake.log[seen:]:
                    print(call.n, call.op, call.status, call.tokens_in, call.tokens_out, flush=True)
                seen = len(fake.log)
        except KeyboardInterrupt:
            return


if __name__ == "__main__":
    main()
