"""A loopback server that speaks the protocol of the Gemini API, to try gsvr without a key.

By hand: `python -m tests.fakes.gemini --port 8080`, then give gsvr the base URL and the key that
it prints. In tests: `with FakeGemini() as fake:` and the real SDK against `fake.url`.

Truth: `log`, one entry per request, with what it cost and whether the answer was sent completely.
True here: nothing is random; faults come when they are asked for (`fail`), quotas are sliding
windows; uploads are resumable (`query`) and survive a cut connection to the last byte received.
Never: looks at pictures. What "is said" in a recording follows from its SHA-256.
"""

from __future__ import annotations

import argparse
import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from tests.fakes import gemini_bodies as bodies
from tests.fakes.gemini_bodies import StoredFile
from tests.fakes.gemini_handler import LIFE_S, Request, Server, Session

KEY = "fake-gemini-key-0123456789"
_KEEP_BYTES = 1 << 20


class FakeGemini:
    """The server. `with` starts it in a thread and stops it.

    Args:
        port: 0 = a free one.
        keys: accepted API keys; each is a project of its own.
        rpm, tpm, rpd: quotas per key and model; None = none.
        window_s: length of the "minute" of rpm and tpm.
        retry_delay: what RetryInfo asks for; None = the true wait.
        polls: how often an uploaded file is PROCESSING when asked.
        latency_s: before each generate answer.
        duration_s: end of a recording when neither offsets nor the prompt name it.
        clock: seconds, for quotas and expiry.
    """

    def __init__(
        self,
        port: int = 0,
        *,
        keys: tuple[str, ...] = (KEY,),
        rpm: int | None = None,
        tpm: int | None = None,
        rpd: int | None = None,
        window_s: float = 60.0,
        retry_delay: str | None = None,
        polls: int = 1,
        latency_s: float = 0.0,
        duration_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        verbose: bool = False,
    ) -> None:
        self.keys, self.rpm, self.tpm, self.rpd = keys, rpm, tpm, rpd
        self.window_s, self.retry_delay, self.polls = window_s, retry_delay, polls
        self.latency_s, self.duration_s, self.verbose = latency_s, duration_s, verbose
        self.clock, self.started = clock, clock()
        self.log: list[Request] = []
        self.files: dict[str, StoredFile] = {}
        self.failed_files = False
        """True: every upload from now on ends FAILED."""
        self.batches: dict[str, dict[str, Any]] = {}
        self.lists_late = 0
        """So many lists of jobs do not show the newest one yet."""
        self.exhausted_keys: set[str] = set()
        """Keys whose daily quota is spent."""
        self.lock = threading.RLock()
        self.changed = threading.Condition(self.lock)
        self.before: dict[str, Callable[[], object]] = {}
        """What happens once, just before the next request of a kind is looked at."""
        self._uploads: dict[str, Session] = {}
        self._faults: dict[str, deque[str]] = defaultdict(deque)
        self._spent: dict[tuple[str, str], deque[tuple[float, int]]] = defaultdict(deque)
        self._server = Server(("127.0.0.1", port), self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    # --- for tests ------------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Base URL."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> FakeGemini:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def fail(self, op: str, *faults: str) -> None:
        """Let the next requests of kind `op` go wrong, one fault each; `ok` is none.

        Faults: names of `gemini_bodies.SHAPES`; quota_minute, quota_day, quota_tokens; slow:S,
        cut, cut_after, cut_answer, html, bad_gateway, no_body, no_status; for generate also
        blocked, safety, recitation, no_usage, empty, fenced, malformed, relative, truncated:TOKENS;
        for batch also made:SHAPE (the job is made all the same; without a shape: an empty answer).
        """
        with self.lock:
            self._faults[op].extend(faults)

    def count(self, op: str, *, ok: bool = False) -> int:
        """Requests of kind `op`; `ok`: only those answered with 200."""
        return len(self.requests(op, ok=ok))

    def requests(self, op: str, *, ok: bool = False) -> list[Request]:
        """The log entries of kind `op`, in order of arrival."""
        with self.lock:
            return [r for r in self.log if r.op == op and (not ok or r.status == 200)]

    @property
    def spent_usd(self) -> float:
        """What the service would charge for everything so far."""
        with self.lock:
            return sum(r.usd for r in self.log)

    def wait_for(self, condition: Callable[[], bool], timeout_s: float = 20.0) -> bool:
        """Block until `condition()` holds; looked at after every request. False = too late."""
        with self.changed:
            return self.changed.wait_for(condition, timeout_s)

    # --- used by the handler --------------------------------------------------------------------

    def note(self, op: str, **more: Any) -> Request:
        """Add an entry to the log, with the fault that waits for this kind of request."""
        with self.lock:
            self.before.pop(op, lambda: None)()
            waiting = self._faults[op]
            fault = waiting.popleft() if waiting else ""
            entry = Request(len(self.log), self.clock() - self.started, op, **more)
            entry.fault = "" if fault == "ok" else fault
            self.log.append(entry)
            return entry

    def done(self, entry: Request, status: int, sent: bool) -> None:
        """Complete an entry."""
        with self.changed:
            entry.status, entry.sent, entry.sent_at = status, sent, self.clock() - self.started
            if self.verbose:
                print(
                    json.dumps(
                        {k: v for k, v in asdict(entry).items() if v and k not in ("body", "key")}
                    )
                )
            self.changed.notify_all()

    def begin_upload(self, key: str, meta: dict[str, Any]) -> str | None:
        """Id of a new upload session; None when the name is taken."""
        with self.lock:
            name = meta.get("name") or f"files/f{len(self._uploads):06}"
            if name in self.files:
                return None
            upload_id = f"u{len(self._uploads)}"
            self._uploads[upload_id] = Session(name, key, meta)
            return upload_id

    def upload(self, upload_id: str) -> Session | None:
        """The session, if it is known."""
        return self._uploads.get(upload_id)

    def receive(self, upload: Session, data: bytes) -> None:
        """Take some bytes."""
        with self.lock:
            upload.digest.update(data)
            upload.received += len(data)
            if upload.received <= _KEEP_BYTES:
                upload.kept += data

    def finish_upload(self, upload: Session) -> StoredFile:
        """Turn the session into a file."""
        with self.lock:
            meta = upload.meta
            mime = meta.get("mime_type") or meta.get("mimeType") or "application/octet-stream"
            video = mime.startswith(("video/", "audio/"))
            upload.file = StoredFile(
                upload.name, upload.key, meta.get("display_name") or meta.get("displayName") or "",
                mime, upload.received, upload.digest.hexdigest(),
                state="PROCESSING" if video else "ACTIVE", polls_left=self.polls,
                expires_at=self.clock() + LIFE_S,
                content=upload.kept if upload.received <= _KEEP_BYTES else b"",
            )  # fmt: skip
            self.files[upload.name] = upload.file
            return upload.file

    def find_file(self, name: str, key: str) -> StoredFile | None:
        """The file, if it is there and belongs to the key."""
        with self.lock:
            file = self.files.get(name)
            gone = file is None or file.key != key or self.clock() > file.expires_at
            return None if gone else file

    def poll(self, file: StoredFile) -> dict[str, Any]:
        """The file as `get` shows it; processing goes on with every look."""
        with self.lock:
            if file.state == "PROCESSING":
                if file.polls_left <= 0:
                    file.state = "FAILED" if self.failed_files else "ACTIVE"
                file.polls_left -= 1
            return file.to_json()

    def refuse(self, key: str, model: str, tokens: int) -> dict[str, Any] | None:
        """A 429 body when a quota is spent; else the request is counted."""
        with self.lock:
            now, used = self.clock(), self._spent[key, model]
            if key in self.exhausted_keys or (self.rpd is not None and len(used) >= self.rpd):
                delay = self.retry_delay or "39.8s"
                return bodies.quota_error("day", self.rpd or 1500, model, delay)
            recent = [(at, n) for at, n in used if at > now - self.window_s]
            kind, limit = "", 0
            if self.rpm is not None and len(recent) >= self.rpm:
                kind, limit = "minute", self.rpm
            elif self.tpm is not None and sum(n for _, n in recent) + tokens > self.tpm:
                kind, limit = "tokens", self.tpm
            if kind:
                wait = recent[0][0] + self.window_s - now if recent else self.window_s
                return bodies.quota_error(kind, limit, model, self.retry_delay or f"{wait:.3f}s")
            used.append((now, tokens))
            return None


def main() -> None:
    """Serve until Ctrl-C."""
    parser = argparse.ArgumentParser(description="A pretended Gemini service on this machine.")
    parser.add_argument("--port", type=int, default=8080)
    parser.add_argument("--key", default=KEY, help="the key it accepts")
    parser.add_argument("--rpm", type=int, help="requests per minute allowed")
    parser.add_argument("--tpm", type=int, help="tokens per minute allowed")
    parser.add_argument("--rpd", type=int, help="requests per day allowed")
    parser.add_argument("--latency", type=float, default=0.5, help="seconds before an answer")
    parser.add_argument(
        "--fail", action="append", default=[], metavar="OP=FAULT",
        help="such as generate=overloaded or chunk=cut; may be repeated",
    )  # fmt: skip
    args = parser.parse_args()
    fake = FakeGemini(
        args.port, keys=(args.key,), rpm=args.rpm, tpm=args.tpm, rpd=args.rpd,
        latency_s=args.latency, verbose=True,
    )  # fmt: skip
    for fault in args.fail:
        fake.fail(*fault.split("=", 1))
    with fake:
        print(f"base URL {fake.url}   key {args.key}   log {fake.url}/log   (Ctrl-C ends)")
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            print(f"{len(fake.log)} requests, ${fake.spent_usd:.4f}")


if __name__ == "__main__":
    main()
