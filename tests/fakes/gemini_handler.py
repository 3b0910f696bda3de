"""The HTTP side of the fake Gemini service: routes, uploads, files, answers, batch jobs.

Accepts both versions of the API, camelCase and snake_case, and unknown query strings, as the real
service does. What it knows is in `tests.fakes.gemini.FakeGemini`.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import time
from dataclasses import asdict, dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.fakes import gemini_bodies as bodies
from tests.fakes.gemini_bodies import StoredFile

if TYPE_CHECKING:
    from tests.fakes.gemini import FakeGemini

LIFE_S = 48 * 3600
_BLOCK = 64 * 1024
_PATH = re.compile(r"/(?:upload/)?(v1|v1beta)/(.+)")


@dataclass
class Request:
    """One entry of the log."""

    n: int
    at: float
    """Seconds since the server started."""
    op: str
    """start, chunk, query, get, list, delete, model, generate, count, batch, batch_get, ..."""
    status: int = 0
    sent: bool = False
    """The answer was written completely."""
    sent_at: float = 0.0
    key: str = ""
    voice: str = ""
    """The recording that a generate call was about."""
    start_s: float = 0.0
    end_s: float = 0.0
    model: str = ""
    tokens_in: int = 0
    tokens_out: int = 0
    usd: float = 0.0
    size_bytes: int = 0
    """Of the body received."""
    fault: str = ""
    version: str = ""
    """Of the API, as asked for."""
    body: dict[str, Any] = field(default_factory=dict)


@dataclass
class Session:
    name: str
    key: str
    meta: dict[str, Any]
    digest: Any = field(default_factory=hashlib.sha256)
    received: int = 0
    kept: bytes = b""
    file: StoredFile | None = None


class _Cut(Exception):
    """Close the connection without another word."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], fake: FakeGemini) -> None:
        self.fake = fake
        super().__init__(address, _Handler)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no news."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Server
    entry: Request

    def log_message(self, format: str, *args: Any) -> None:
        """The log is `FakeGemini.log`."""

    @property
    def fake(self) -> FakeGemini:
        return self.server.fake

    def do_GET(self) -> None:
        self._serve("GET")

    def do_POST(self) -> None:
        self._serve("POST")

    def do_DELETE(self) -> None:
        self._serve("DELETE")

    def _serve(self, method: str) -> None:
        url = urlsplit(self.path)
        self.query = {k: v[0] for k, v in parse_qs(url.query).items()}
        self.key = self.headers.get("x-goog-api-key", "")
        try:
            if url.path == "/log":
                entries = [{**asdict(r), "key": ""} for r in self.fake.log]
                self.entry = Request(0, 0, "log")
                self._reply(200, {"log": entries})
                return
            found = _PATH.fullmatch(url.path)
            self.version, rest = found.groups() if found else ("", "")
            self._route(method, rest, upload=url.path.startswith("/upload/"))
        except _Cut:
            self._abort()
        except (ConnectionError, TimeoutError):
            self.close_connection = True

    def _route(self, method: str, rest: str, *, upload: bool) -> None:
        if upload:
            self._upload()
            return
        body = self._body()
        if rest.startswith("models/") and ":" in rest:
            model, _, verb = rest.removeprefix("models/").partition(":")
            self._model(model, verb, body)
            return
        if rest.startswith("models/"):
            self._describe_model(rest)
            return
        if rest.startswith("files"):
            self._file(method, rest)
            return
        if rest.startswith("batches"):
            self._batch(method, rest)
            return
        self.entry = self.fake.note("other", key=self.key)
        self._reply(404, bodies.SHAPES["no_model"][1])
        return

    # --- files ----------------------------------------------------------------------------------

    def _upload(self) -> None:
        command = self.headers.get("X-Goog-Upload-Command", "")
        if command == "start":
            self._upload_start()
            return
        upload = self.fake.upload(self.query.get("upload_id", ""))
        op = "query" if command == "query" else "chunk"
        self.entry = self.fake.note(op, size_bytes=int(self.headers.get("Content-Length", 0)))
        if upload is None:
            self._body()
            self._reply(404, bodies.error(404, "NOT_FOUND", "unknown upload"))
            return
        if command == "query":
            self._upload_query(upload)
            return
        self._upload_chunk(upload, command)
        return

    def _upload_start(self) -> None:
        body = self._body()
        self.entry = self.fake.note("start", version=self.version, key=self.key, body=body)
        if self._faulted() or self._bad_key():
            return
        upload_id = self.fake.begin_upload(self.key, body.get("file", {}))
        if upload_id is None:
            self._reply(409, bodies.EXISTS)
            return
        target = f"{self._own_url()}/upload/v1/files?upload_id={upload_id}"
        headers = {
            "X-Goog-Upload-URL": f"{target}&upload_protocol=resumable",
            "X-Goog-Upload-Status": "active",
            "X-Goog-Upload-Chunk-Granularity": "262144",
        }
        self._reply(200, None, headers)

    def _upload_query(self, upload: Session) -> None:
        if self._faulted():
            return
        status = "active" if upload.file is None else "final"
        headers = {
            "X-Goog-Upload-Status": status,
            "X-Goog-Upload-Size-Received": str(upload.received),
        }
        self._reply(200, None, headers)

    def _upload_chunk(self, upload: Session, command: str) -> None:
        offset = int(self.headers.get("X-Goog-Upload-Offset", -1))
        if upload.file is not None or offset != upload.received:
            self._body()
            self._reply(400, bodies.SHAPES["bad_request"][1])
            return
        left = int(self.headers.get("Content-Length", 0))
        cut_at = left // 2 if self.entry.fault == "cut" else -1
        while left > 0:
            data = self.rfile.read(min(_BLOCK, left))
            if not data:
                raise _Cut
            self.fake.receive(upload, data)
            left -= len(data)
            if left <= cut_at:
                self.fake.done(self.entry, 0, False)
                raise _Cut
        if self.entry.fault == "no_status":
            self._reply(503, bodies.SHAPES["overloaded"][1])
            return
        if "finalize" not in command:
            self._reply(200, None, {"X-Goog-Upload-Status": "active"})
            return
        file = self.fake.finish_upload(upload)
        if self.entry.fault == "cut_after":
            self.fake.done(self.entry, 200, False)
            raise _Cut
        if self._faulted():
            return
        self._reply(200, {"file": file.to_json()}, {"X-Goog-Upload-Status": "final"})

    def _file(self, method: str, rest: str) -> None:
        name, _, verb = rest.partition(":")
        op = {"GET": "get", "DELETE": "delete"}.get(method, "other")
        op = "download" if verb else "list" if name == "files" else op
        self.entry = self.fake.note(op, version=self.version, key=self.key)
        if self._faulted() or self._bad_key():
            return
        if op == "list":
            mine = [f.to_json() for f in self.fake.files.values() if f.key == self.key]
            self._reply(200, {"files": mine} if mine else {})
            return
        file = self.fake.find_file(name, self.key)
        if file is None:
            self._reply(403, bodies.NO_FILE)
            return
        self.entry.voice = file.sha256[:6]
        if op == "delete":
            del self.fake.files[name]
            self._reply(200, {})
            return
        if op == "download":
            self._send(200, file.content, "application/octet-stream")
            return
        self._reply(200, self.fake.poll(file))

    # --- models ---------------------------------------------------------------------------------

    def _describe_model(self, name: str) -> None:
        model = name.removeprefix("models/")
        self.entry = self.fake.note("model", version=self.version, key=self.key, model=model)
        if self._faulted() or self._bad_key():
            return
        if not model.startswith("gemini-"):
            self._reply(*bodies.SHAPES["no_model"])
            return
        can = ["generateContent", "countTokens", "batchGenerateContent"]
        if "embedding" in model:
            can = ["embedContent"]
        self._reply(200, {"name": name, "supportedGenerationMethods": can})

    def _model(self, model: str, verb: str, body: dict[str, Any]) -> None:
        ops = {"generateContent": "generate", "countTokens": "count"}
        op = "batch" if verb == "batchGenerateContent" else ops.get(verb, "other")
        self.entry = self.fake.note(op, version=self.version, key=self.key, model=model, body=body)
        if op == "batch":
            self._batch_create(model, body)
            return
        problem = self._describe(body)
        if self._faulted() or self._bad_key():
            return
        if problem is not None:
            self._reply(*problem)
            return
        if op == "count":
            self._reply(200, {"totalTokens": self._prompt_tokens(body)})
            return
        if op != "generate" or not model.startswith("gemini-"):
            self._reply(*bodies.SHAPES["no_model"])
            return
        refusal = self.fake.refuse(self.key, model, self._prompt_tokens(body))
        if refusal is not None:
            self._reply(429, refusal)
            return
        self._generate(model, body)
        return

    def _generate(self, model: str, body: dict[str, Any]) -> None:
        if self.fake.latency_s:
            time.sleep(self.fake.latency_s)
        made = self._answer(model, body, self.entry.fault)
        usage = made["usageMetadata"]
        entry = self.entry
        entry.tokens_in = usage["promptTokenCount"]
        entry.tokens_out = usage["candidatesTokenCount"] + usage["thoughtsTokenCount"]
        entry.usd = bodies.cost_usd(model, made)
        if entry.fault == "cut_answer":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n{")
            self.fake.done(entry, 200, False)
            raise _Cut
        if entry.fault == "no_usage":
            del made["usageMetadata"]
        self._reply(200, made)

    def _answer(self, model: str, body: dict[str, Any], fault: str) -> dict[str, Any]:
        config = _get(body, "generationConfig") or {}
        schema = _get(config, "responseJsonSchema") or _get(config, "responseSchema")
        entry, prompt = self.entry, self._prompt_tokens(body)
        shift = entry.start_s if fault == "relative" else 0.0
        value = bodies.answer(entry.voice, entry.start_s, entry.end_s, schema, shift_s=shift)
        text, finish = json.dumps(value, ensure_ascii=False), "STOP"
        kind, _, number = fault.partition(":")
        limit = int(number) if kind == "truncated" else _get(config, "maxOutputTokens")
        if kind == "blocked":
            return bodies.response(
                None, "STOP", model=model, prompt_tokens=prompt, block="PROHIBITED_CONTENT"
            )
        if kind in ("safety", "recitation"):
            return bodies.response(None, kind.upper(), model=model, prompt_tokens=prompt)
        if kind == "empty":
            text = ""
        elif kind == "fenced":
            text = f"Here it is:\n```json\n{text}\n```\n"
        elif kind == "malformed":
            text = "I am sorry, but I would rather write a poem about it."
        if limit and bodies.tokens_of(text) > int(limit):
            text, finish = text.encode()[: int(limit) * 4].decode(errors="ignore"), "MAX_TOKENS"
        return bodies.response(text, finish, model=model, prompt_tokens=prompt)

    def _describe(self, body: dict[str, Any]) -> tuple[int, dict[str, Any]] | None:
        """Fill the log entry from the request; an error when the file cannot be used."""
        entry = self.entry
        length = _length_in_prompt(body, self.fake.duration_s)
        entry.end_s = length
        for part in (p for c in body.get("contents") or [] for p in c.get("parts") or []):
            data = _get(part, "fileData")
            if data is None:
                continue
            offsets = _get(part, "videoMetadata") or {}
            entry.start_s = _seconds(_get(offsets, "startOffset"), 0.0)
            entry.end_s = _seconds(_get(offsets, "endOffset"), length)
            uri = str(_get(data, "fileUri"))
            if "youtube.com" in uri or "youtu.be" in uri:
                entry.voice = re.split(r"[=/]", uri)[-1]
                continue
            file = self.fake.find_file("files/" + uri.rsplit("/", 1)[-1], self.key)
            if file is None:
                return 403, bodies.NO_FILE
            if file.state != "ACTIVE":
                return 400, bodies.NOT_ACTIVE
            entry.voice = file.sha256[:6]
        return None

    def _prompt_tokens(self, body: dict[str, Any]) -> int:
        texts = [p.get("text", "") for c in body.get("contents") or [] for p in c["parts"]]
        seconds = self.entry.end_s - self.entry.start_s
        return round(seconds * bodies.TOKENS_PER_S) + bodies.tokens_of("".join(texts))

    # --- batches --------------------------------------------------------------------------------

    def _batch_create(self, model: str, body: dict[str, Any]) -> None:
        if self._faulted() or self._bad_key():
            return
        batch = body.get("batch", {})
        source = _get(batch, "inputConfig") or {}
        if name := _get(source, "fileName"):
            file = self.fake.find_file(name, self.key)
            if file is None:
                self._reply(403, bodies.NO_FILE)
                return
            items = [json.loads(line) for line in file.content.splitlines() if line.strip()]
        else:
            items = [
                {"key": (r.get("metadata") or {}).get("key"), "request": r["request"]}
                for r in source["requests"]["requests"]
            ]
        with self.fake.lock:
            name = f"batches/b{len(self.fake.batches)}"
            job = {"name": name, "model": model, "items": items, "polls": self.fake.polls,
                   "state": "PENDING", "inline": "requests" in source, "key": self.key,
                   "display_name": _get(batch, "displayName") or "", "output": {}}  # fmt: skip
            self.fake.batches[name] = job
        if self.entry.fault == "cut_after":
            self.fake.done(self.entry, 200, False)
            raise _Cut
        kind, _, shape = self.entry.fault.partition(":")
        if kind == "made":  # there is a job, and the answer does not say so
            self._reply(*bodies.SHAPES[shape]) if shape else self._send(200, b"{}", "text/json")
            return
        self._reply(200, self._operation(job))

    def _batch(self, method: str, rest: str) -> None:
        name, _, verb = rest.partition(":")
        op = "batch_" + (verb or {"GET": "get", "DELETE": "delete"}.get(method, "other"))
        self.entry = self.fake.note("batch_list" if name == "batches" else op, key=self.key)
        if self._faulted() or self._bad_key():
            return
        if name == "batches":
            mine = [j for j in self.fake.batches.values() if j["key"] == self.key]
            if self.fake.lists_late > 0:
                self.fake.lists_late -= 1
                mine = mine[:-1]
            jobs = [self._operation(j) for j in mine]
            first = int(self.query.get("pageToken", 0))
            end = first + int(self.query.get("pageSize", 50))
            more = {"nextPageToken": str(end)} if end < len(jobs) else {}
            self._reply(200, {"operations": jobs[first:end], **more})
            return
        job = self.fake.batches.get(name)
        if job is None or job["key"] != self.key:
            self._reply(404, bodies.error(404, "NOT_FOUND", "Batch not found"))
            return
        if op == "batch_delete":
            del self.fake.batches[name]
            self._reply(200, {})
            return
        if op == "batch_cancel":
            job["state"] = "CANCELLED"
            self._reply(200, {})
            return
        self._advance(job)
        self._reply(200, self._operation(job))

    def _advance(self, job: dict[str, Any]) -> None:
        with self.fake.lock:
            if job["state"] not in ("PENDING", "RUNNING"):
                return
            job["polls"] -= 1
            job["state"] = "RUNNING"
            if job["polls"] >= 0:
                return
            poll, answers = self.entry, [self._batch_item(job, item) for item in job["items"]]
            self.entry = poll
            job["state"] = "SUCCEEDED"
            for item in answers:
                if item.pop("job_failed", False):
                    job["state"] = "FAILED"
            if job["state"] == "SUCCEEDED":
                job["output"] = self._output(job, answers)

    def _batch_item(self, job: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
        self.entry = entry = self.fake.note("batch_item", key=job["key"], model=job["model"])
        body = item["request"]
        problem, shape = self._describe_for(job, body), bodies.SHAPES.get(entry.fault)
        made: dict[str, Any] = {"key": item.get("key")}
        if entry.fault == "batch_failed":
            made["job_failed"] = True
        elif shape is not None or problem is not None:
            made["error"] = (shape or problem or (0, {}))[1]["error"]
        else:
            made["response"] = answer = self._answer(job["model"], body, entry.fault)
            usage = answer["usageMetadata"]
            entry.tokens_in = usage["promptTokenCount"]
            entry.tokens_out = usage["candidatesTokenCount"] + usage["thoughtsTokenCount"]
            entry.usd = bodies.cost_usd(job["model"], answer) / 2
        self.fake.done(entry, 200 if "response" in made else 500, True)
        return made

    def _describe_for(
        self, job: dict[str, Any], body: dict[str, Any]
    ) -> tuple[int, dict[str, Any]] | None:
        self.key = job["key"]
        return self._describe(body)

    def _output(self, job: dict[str, Any], answers: list[dict[str, Any]]) -> dict[str, Any]:
        if job["inline"]:
            inlined = [
                {k: v for k, v in a.items() if k != "key"} | {"metadata": {"key": a["key"]}}
                for a in answers
            ]
            return {"inlinedResponses": {"inlinedResponses": inlined}}
        content = b"".join(json.dumps(a, ensure_ascii=False).encode() + b"\n" for a in answers)
        name = f"files/batch-{job['name'].partition('/')[2]}"
        self.fake.files[name] = StoredFile(
            name, job["key"], "", "jsonl", len(content), hashlib.sha256(content).hexdigest(),
            state="ACTIVE", expires_at=self.fake.clock() + LIFE_S, content=content,
        )  # fmt: skip
        return {"responsesFile": name}

    def _operation(self, job: dict[str, Any]) -> dict[str, Any]:
        meta: dict[str, Any] = {
            "@type": "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch",
            "model": f"models/{job['model']}",
            "displayName": job["display_name"],
            "state": f"BATCH_STATE_{job['state']}",
            "createTime": "2026-11-22T08:14:25.112374Z",
            "name": job["name"],
        }
        if job["output"]:
            meta["output"] = job["output"]
        done = job["state"] in ("SUCCEEDED", "FAILED", "CANCELLED", "EXPIRED")
        return {"name": job["name"], "metadata": meta} | ({"done": True} if done else {})

    # --- answering ------------------------------------------------------------------------------

    def _own_url(self) -> str:
        return f"http://{self.headers.get('Host')}"

    def _body(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length") or 0)
        data = self.rfile.read(length)
        if len(data) < length:  # the client is gone: what it meant to ask is nobody's question
            raise _Cut
        try:
            value = json.loads(data) if data else {}
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    def _bad_key(self) -> bool:
        if self.key in self.fake.keys:
            return False
        self._reply(400, bodies.BAD_KEY)
        return True

    def _faulted(self) -> bool:
        """Act out the fault of this request; True when it is answered by that."""
        kind, _, number = self.entry.fault.partition(":")
        if kind in bodies.SHAPES:
            self._reply(*bodies.SHAPES[kind])
            return True
        if kind.startswith("quota_"):
            delay = self.fake.retry_delay or "0.05s"
            quota = kind.removeprefix("quota_")
            self._reply(429, bodies.quota_error(quota, 10, self.entry.model, delay))
            return True
        if kind == "slow":
            with self.fake.changed:  # until the client has gone, or the time is over
                self.fake.changed.wait_for(self._client_gone, float(number))
            return False
        if kind == "cut":
            self.fake.done(self.entry, 0, False)
            raise _Cut
        if kind == "html":
            self._send(200, b"<html><body>502 Bad Gateway</body></html>", "text/html")
        elif kind == "bad_gateway":
            self._send(502, b"<html><body>502 Bad Gateway</body></html>", "text/html")
        elif kind == "no_body":
            self._send(200, b"", "application/json")
        return kind in ("html", "bad_gateway", "no_body")

    def _client_gone(self) -> bool:
        try:
            return self.connection.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT) == b""
        except BlockingIOError:
            return False
        except OSError:
            return True

    def _reply(
        self, status: int, body: dict[str, Any] | None, headers: dict[str, str] | None = None
    ) -> None:
        data = b"" if body is None else bodies.pretty(body)
        self._send(status, data, "application/json; charset=UTF-8", headers)

    def _send(
        self, status: int, data: bytes, kind: str, headers: dict[str, str] | None = None
    ) -> None:
        sent = False
        try:
            self.send_response(status)
            for name, value in {"Content-Type": kind, **(headers or {})}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)
            self.wfile.flush()
            sent = True
        finally:
            self.fake.done(self.entry, status, sent)

    def _abort(self) -> None:
        """End the connection at once; a client that is still sending meets a reset."""
        self.close_connection = True
        linger = b"\1\0\0\0\0\0\0\0"  # l_onoff 1, l_linger 0: RST instead of FIN
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.connection.close()


def _get(value: dict[str, Any], name: str) -> Any:
    """A field in camelCase or snake_case: clients send both."""
    snake = re.sub(r"([A-Z])", lambda m: "_" + m.group(1).lower(), name)
    return value.get(name, value.get(snake))


def _length_in_prompt(body: dict[str, Any], default: float) -> float:
    """A real model hears how long a recording is; this one reads it in the prompt."""
    texts = [p.get("text", "") for c in body.get("contents") or [] for p in c.get("parts") or []]
    found = re.search(r"(?:Length|时长)[:：] *(\d+):(\d\d):(\d\d)", "\n".join(texts))
    if found is None:
        return default
    hours, minutes, seconds = map(int, found.groups())
    return float(hours * 3600 + minutes * 60 + seconds)


def _seconds(text: Any, default: float) -> float:
    return default if not text else float(str(text).removesuffix("s"))
