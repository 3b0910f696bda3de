"""Put the videos of a playlist, channel, feed or page in its place among the inputs.

Truth: what the site names now; a later scan of the same list finds what was added since. A video
that came before with the same template is not taken twice. A list that cannot be read is a
problem of its line, and the rest goes on.
Memory: one number per address, once there are addresses.
Never: opens a connection itself (a process of its own does), downloads media, prints.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from typing import Any

from gs_video_report.batch.data_models import InputProblem, InputType, VideoInput
from gs_video_report.batch.inputs.text import short
from gs_video_report.batch.inputs.url_rules import UrlRejected, parse_url, redact
from gs_video_report.batch.inputs.walk import Found
from gs_video_report.compute.spawn import child_environment
from gs_video_report.errors import GsvrError
from gs_video_report.media.web.settings import check_cookies
from gs_video_report.media.web.site_list import MAX_VIDEOS, may_be_list

CHUNK = 200
"""Inputs that are looked at together."""
ASKERS = 4
"""Processes that read lists at the same time, mostly waiting for servers."""
PER_ASKER = 5
"""Addresses for which another process is worth its start."""
TIME_LIMIT_S = 300.0
"""For all lists of a chunk; what is not answered by then is a problem of its line."""


def expanded(
    found: Iterator[Found],
    download: Mapping[str, Any],
    *,
    limit: int | None = None,
    max_videos: int = MAX_VIDEOS,
) -> Iterator[Found]:
    """The stream `found` with lists replaced by their videos.

    Args:
        download: the `download` section of the options.
        limit: at most so many inputs in all; None for all.
        max_videos: of one list.

    Raises: UsageError when the file of cookies may not be used.
    """
    if download.get("cookies"):
        check_cookies(str(download["cookies"]))
    stream = _expanded(found, download, max_videos)
    taken = 0
    for item in stream:
        yield item
        taken += isinstance(item, VideoInput)
        if limit is not None and taken >= limit:
            return


def _expanded(
    found: Iterator[Found], download: Mapping[str, Any], max_videos: int
) -> Iterator[Found]:
    seen: dict[int, str] = {}
    while chunk := list(islice(found, CHUNK)):
        asked = sorted(set(_addresses(chunk)))
        answers = _ask(asked, download, max_videos) if asked else {}
        for item in chunk:
            if isinstance(item, VideoInput) and item.input_type is not InputType.FILE:
                yield from _of_address(item, answers.get(item.source), seen, max_videos)
            else:
                yield item


def _addresses(chunk: list[Found]) -> Iterator[str]:
    """Those that may be lists."""
    for item in chunk:
        if not isinstance(item, VideoInput) or item.input_type is InputType.FILE:
            continue
        if may_be_list(item.source):
            yield item.source


def _of_address(
    item: VideoInput, answer: Mapping[str, Any] | None, seen: dict[int, str], max_videos: int
) -> Iterator[Found]:
    if answer is None:
        yield from _once(item, seen)
    elif "error" in answer:
        reason = GsvrError.from_dict(answer["error"]).message
        yield InputProblem(item.origin, short(item.source), f"not taken: {reason}", "unreadable")
    elif item.output_name is not None:
        reason = "an output name fits one video, and this is a list of videos"
        yield InputProblem(item.origin, short(item.source), reason)
    else:
        for url in answer["urls"]:
            yield from _video(item, url, seen)
        if answer["is_cut"]:
            reason = f"only the first {max_videos} videos of this list are taken"
            yield InputProblem(item.origin, short(item.source), reason, "shortened")


def _video(item: VideoInput, url: str, seen: dict[int, str]) -> Iterator[Found]:
    try:
        address = parse_url(url)
    except UrlRejected as error:
        yield InputProblem(item.origin, short(redact(url)), error.reason, error.code)
        return
    video = replace(
        item,
        source=address.url,
        input_type=address.input_type,
        relative_path=address.relative_path,
    )
    yield from _once(video, seen)


def _once(video: VideoInput, seen: dict[int, str]) -> Iterator[Found]:
    text = f"{video.source}\0{video.template or ''}".encode("utf-8", "surrogatepass")
    key = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big")
    first = seen.get(key)
    if first is None:
        seen[key] = video.origin
        yield video
        return
    reason = f"the same address as in {first}" if first else "the same address again"
    yield InputProblem(video.origin, short(video.source), reason, "duplicate")


def _ask(
    urls: list[str], download: Mapping[str, Any], max_videos: int
) -> dict[str, Mapping[str, Any]]:
    """Address -> what it names, for those that are lists."""
    askers = min(ASKERS, -(-len(urls) // PER_ASKER))
    shares = [urls[n::askers] for n in range(askers)]
    with ThreadPoolExecutor(askers) as pool:
        answers = pool.map(lambda share: _ask_one(share, download, max_videos), shares)
        return {url: answer for found in answers for url, answer in found.items()}


def _ask_one(
    urls: list[str], download: Mapping[str, Any], max_videos: int
) -> dict[str, Mapping[str, Any]]:
    request = json.dumps({"urls": urls, "options": dict(download), "limit": max_videos})
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "gs_video_report.media.web.site_list"],
            input=request, capture_output=True, text=True, timeout=TIME_LIMIT_S, check=False,
            env=child_environment(os.environ),
        )  # fmt: skip
        text = done.stdout
    except subprocess.TimeoutExpired as late:
        text = late.stdout.decode() if isinstance(late.stdout, bytes) else str(late.stdout or "")
    answers = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return {str(answer["url"]): answer for answer in answers}
