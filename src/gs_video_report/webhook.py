"""Tell an address of the user's that a batch completed, paused or failed: signed JSON.

The coordinator hands the message to a detached process (`python -P -m gs_video_report.webhook`),
so neither a slow nor a dead receiver delays or fails the batch. The message and the secret go
through its standard input, never through the command line; keys are not in its environment.
Signature: header `X-Gsvr-Signature: sha256=<hex>`, HMAC-SHA256 of the body with the secret of
GSVR_WEBHOOK_SECRET (RFC 2104); without a secret there is no signature.
Tries: up to `TRIES`, waiting 2, 4, 8 ... seconds; 2xx ends it, other 4xx than 408 and 429 do too.
A redirect is not followed: a client would ask the new address without the message.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlsplit

from gs_video_report.compute.spawn import child_environment
from gs_video_report.errors import UsageError

TRIES = 7
FIRST_WAIT_S = 2.0
TIMEOUT_S = 10.0
RETRYABLE = frozenset({408, 429})


def check_url(url: str) -> str:
    """`url` itself.

    Raises: UsageError unless it is a plain http(s) address with a host: printable ASCII without
        spaces, a possible port, no user name (it would not be sent).
    """
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError("--webhook takes an address that starts with http:// or https://")
    if "@" in parts.netloc:
        raise UsageError(
            "--webhook takes no user name or password in the address",
            hint="the receiver can check the signature instead: set GSVR_WEBHOOK_SECRET",
        )
    if not all("!" <= character <= "~" for character in url):
        raise UsageError("--webhook takes an address without spaces and foreign letters")
    return url


def signature(body: bytes, secret: str) -> str:
    """`sha256=<hex>` of the body."""
    return "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()


def send_in_background(url: str, message: dict[str, Any], secret: str = "") -> None:
    """Start the sender and return at once; it lives on when this process ends."""
    order = json.dumps({"url": url, "message": message, "secret": secret}).encode()
    sender = subprocess.Popen(
        # -P: a json.py in the working folder must not shadow the library
        [sys.executable, "-P", "-m", "gs_video_report.webhook"],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        env=child_environment(os.environ),
    )
    if sender.stdin is not None:
        sender.stdin.write(order)
        sender.stdin.close()
    sender.returncode = 0  # nobody waits for it: it outlives this process on purpose


def deliver(
    url: str,
    message: dict[str, Any],
    secret: str,
    *,
    tries: int = TRIES,
    first_wait_s: float = FIRST_WAIT_S,
) -> bool:
    """Send until it is taken; False when it never was."""
    # names of files that are not UTF-8 hold lone surrogates
    body = json.dumps(message, ensure_ascii=False).encode("utf-8", "replace")
    headers = {"Content-Type": "application/json", "User-Agent": "gsvr"}
    if secret:
        headers["X-Gsvr-Signature"] = signature(body, secret)
    for number in range(tries):
        status = _post(url, body, headers)
        if 200 <= status < 300:
            return True
        if 400 <= status < 500 and status not in RETRYABLE:
            return False
        if number + 1 < tries:
            time.sleep(first_wait_s * 2**number)
    return False


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Makes a redirect an answer like any other: urllib would send a GET without the message."""

    def redirect_request(self, *args: Any) -> None:
        """None: not followed."""


def _post(url: str, body: bytes, headers: dict[str, str]) -> int:
    """The HTTP status, 0 when there was no answer, or none that is HTTP."""
    request = urllib.request.Request(check_url(url), body, headers, method="POST")  # noqa: S310
    opener = urllib.request.build_opener(_NoRedirect)
    try:
        with opener.open(request, timeout=TIMEOUT_S) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code
    except (OSError, ValueError, http.client.HTTPException):
        return 0


def main() -> None:
    """The detached sender: one order on standard input."""
    order = json.load(sys.stdin.buffer)
    sys.exit(0 if deliver(order["url"], order["message"], order["secret"]) else 1)


if __name__ == "__main__":
    main()
