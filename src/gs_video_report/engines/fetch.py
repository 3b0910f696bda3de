"""The fetch stage: an address becomes a local file, once.

Truth: the journal. `locate` says what a batch saw at an address; `fetch` is keyed by the address
and the version found there (ETag, Last-Modified, or the id of a site's video), so that a later
batch downloads again only what has changed. A finished file lies in the artifact store under its
SHA-256; an unfinished one in a work folder, where the next attempt continues it.
Writes: `work/fetch-*` (partial downloads), `work/view-*` (links that give the stored files names
that people and the search for subtitles understand).
Never: opens a connection itself (compute processes do).
Raises: DownloadError, DownloadRefused, BlockedAddressError, NoMediaError, UnsupportedInputError,
DiskFullError; StepCancelled on a stop.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import parse_qs, urlsplit

from gs_video_report.cache import ArtifactStore
from gs_video_report.compute.base import ComputeBackend
from gs_video_report.engines import fetch_jobs
from gs_video_report.engines.base import Stepper
from gs_video_report.errors import DownloadRefused
from gs_video_report.media.web.folder import discard_folder

STAGE = "fetch"
STEP_VERSION = 1
MAX_PROCESSES = 4
"""Downloads side by side; more would only share the same line."""
_NAME_BYTES = 100
Known = Callable[[str, Mapping[str, Any]], Awaitable[dict[int, Any]]]
"""See `TaskContext.known`."""


@dataclass(frozen=True, slots=True)
class FetchContext:
    """What the stage needs from a task."""

    url: str
    youtube: bool
    """A canonical YouTube address: its version is known without asking."""
    scope: str
    """The batch: within it an address is looked at once."""
    view: str
    """Name of the work folder for the links; of this task alone."""
    options: Mapping[str, Any]
    """Fields of BatchOptions: download, subtitles, language, slides."""
    step: Stepper
    """Bound to `url_fingerprint(url)`."""
    compute: ComputeBackend
    cache: ArtifactStore
    progress: Callable[[str, float, float], None]
    priority: int = 0
    stall_timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Fetched:
    """A recording that is here now."""

    path: str
    """A link to the stored file; subtitle files lie beside it under the same name."""
    keys: tuple[str, ...]
    """Entries of the artifact store; pin them while they are in use."""
    fingerprint: str
    """SHA-256 of the content."""
    name: str
    """File name for people."""
    metadata: Mapping[str, str]
    """title, uploader, upload_date as far as the site says."""


def url_fingerprint(url: str) -> str:
    """Identity of an address among the fingerprints of contents, 64 hexadecimal digits."""
    return hashlib.sha256(f"url\0{url}".encode("utf-8", "surrogatepass")).hexdigest()


def youtube_id(url: str) -> str:
    """The video that a canonical YouTube address names.

    Raises: DownloadRefused for a playlist.
    """
    found = parse_qs(urlsplit(url).query).get("v", [""])[0]
    if not found:
        raise DownloadRefused(
            f"{url}: this is a list of videos, not one video",
            hint="put the addresses of its videos into the list",
            stage=STAGE,
            reason="playlist",
        )
    return found


async def fetch_media(ctx: FetchContext) -> Fetched:
    """Have the recording at `ctx.url` here; what was fetched before is not fetched again."""
    ctx.progress(STAGE, 0, 0)
    found = await _locate(ctx)
    wanted = _wanted(ctx.options)
    params = _params(ctx, found)
    folder = _folder_name(ctx.url, params)
    value: dict[str, Any] = await ctx.step(
        STAGE, lambda: _fetch(ctx, found["kind"], folder, wanted), params=params, artifacts=_keys
    )
    await asyncio.to_thread(lambda: discard_folder(ctx.cache.work_dir(folder)))
    return await _here(ctx, value, _keys(value))


async def recall_media(ctx: FetchContext, known: Known) -> Fetched | None:
    """What the journal knows of an earlier fetch; nothing is downloaded, so files may be missing.

    None when it knows nothing of it any more.
    """
    looked = {} if ctx.youtube else await known("locate", _look_params(ctx))
    if not (ctx.youtube or looked):
        return None
    found: dict[str, Any] = looked[0] if looked else await _locate(ctx)
    value = (await known(STAGE, _params(ctx, found))).get(0)
    if value is None:
        return None
    return await _here(ctx, value, [key for key in _keys(value) if ctx.cache.has(key)])


async def _here(ctx: FetchContext, value: Mapping[str, Any], keys: list[str]) -> Fetched:
    path = await asyncio.to_thread(_link, ctx.cache, ctx.view, value, keys)
    return Fetched(
        path=path,
        keys=tuple(keys),
        fingerprint=value["sha256"],
        name=value["name"],
        metadata=_metadata(value),
    )


async def _locate(ctx: FetchContext) -> dict[str, Any]:
    if ctx.youtube:
        return {"kind": fetch_jobs.SITE, "version": f"youtube:{youtube_id(ctx.url)}"}
    found: dict[str, Any] = await ctx.step(
        "locate",
        lambda: _run(ctx, fetch_jobs.locate, ctx.url, _download_options(ctx)),
        params=_look_params(ctx),
    )
    return found


def _look_params(ctx: FetchContext) -> dict[str, Any]:
    return {"v": STEP_VERSION, "scope": ctx.scope}


def _params(ctx: FetchContext, found: Mapping[str, Any]) -> dict[str, Any]:
    """Key of the fetch: what was found at the address, and what of it is wanted."""
    return {
        "v": STEP_VERSION,
        "version": found["version"] or f"batch {ctx.scope}",
        "format": str(dict(ctx.options.get("download") or {}).get("format") or ""),
        **(_wanted(ctx.options) if found["kind"] == fetch_jobs.SITE else {}),
    }


def _wanted(options: Mapping[str, Any]) -> dict[str, Any]:
    """What of a site's video is fetched; the same options give the same file."""
    language = str(options.get("language", "auto"))
    return {
        "pictures": bool(options.get("slides", True)),
        "subtitles": options.get("subtitles", "prefer") == "prefer",
        "language": "" if language == "auto" else language,
    }


def _download_options(ctx: FetchContext) -> dict[str, Any]:
    return dict(ctx.options.get("download") or {})


def _folder_name(url: str, params: Mapping[str, Any]) -> str:
    """One work folder for one fetch, the same after a restart."""
    text = json.dumps([url, params], sort_keys=True)
    return f"fetch-{hashlib.sha256(text.encode('utf-8', 'surrogatepass')).hexdigest()[:32]}"


async def _fetch(ctx: FetchContext, kind: str, folder: str, wanted: Mapping[str, Any]) -> Any:
    place = str(await asyncio.to_thread(ctx.cache.work_dir, folder))
    where = (ctx.url, place, str(ctx.cache.root), _download_options(ctx))
    if kind == fetch_jobs.SITE:
        return await _run(ctx, fetch_jobs.fetch_site, *where, dict(wanted))
    return await _run(ctx, fetch_jobs.fetch_file, *where)


async def _run(ctx: FetchContext, fn: Callable[..., Any], *args: Any) -> Any:
    """In a compute process. No time limit of its own: a slow line is no fault, a silent one is."""
    return await ctx.compute.run(
        fn,
        *args,
        stall_timeout_s=ctx.stall_timeout_s,
        priority=ctx.priority,
        on_progress=lambda done, total: ctx.progress(STAGE, done, total),
    )


def _keys(value: Mapping[str, Any]) -> list[str]:
    return [value["key"], *(text["key"] for text in value["subtitles"])]


def _metadata(value: Mapping[str, Any]) -> dict[str, str]:
    info = value["info"]
    found = {"title": value["title"], **{k: info.get(k) for k in ("uploader", "upload_date")}}
    return {name: str(text) for name, text in found.items() if text}


# --- names for the stored files ----------------------------------------------------------------


def _link(cache: ArtifactStore, view: str, value: Mapping[str, Any], keys: list[str]) -> str:
    """Links in `work/<view>`: the recording under its name, its subtitles beside it.

    Only what is in `keys` gets one.
    """
    folder = cache.work_dir(view)
    suffix = PurePath(value["key"]).suffix
    stem = safe_stem(value["name"])
    path = folder / f"{stem}{suffix}"
    if value["key"] in keys:
        _point(path, cache.path(value["key"]))
    for text in (text for text in value["subtitles"] if text["key"] in keys):
        words = [stem, text["language"], *(["auto"] if text["automatic"] else [])]
        name = ".".join(words) + PurePath(text["key"]).suffix
        _point(folder / name, cache.path(text["key"]))
    return str(path)


def _point(link: Path, target: Path) -> None:
    with suppress(FileNotFoundError):
        link.unlink()
    link.symlink_to(target.absolute())


def safe_stem(name: str) -> str:
    """A file name without suffix that is safe in every folder: at most 100 bytes, never empty."""
    path = PurePath(re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "_", name))
    stem = path.stem if len(path.suffix) <= 6 else path.name
    cut = stem.encode("utf-8", "replace")[:_NAME_BYTES].decode("utf-8", "ignore").strip(" .")
    return cut or "video"
