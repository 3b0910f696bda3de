"""Look whether everything that gsvr needs is here, and say how to mend what is not.

Truth: what was tried just now; a failure means that the chosen engine cannot work.
Writes: nothing that stays.
Never: sends a request, opens the database file except through SQLite, shows a key.
Raises: nothing on purpose; what cannot be found out is a warning.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gs_video_report import __version__
from gs_video_report.config import Config
from gs_video_report.doctor_probes import (
    Check,
    Status,
    folder_check,
    gigabytes,
    import_in_child,
    machine_check,
    sqlite_check,
)
from gs_video_report.errors import GsvrError
from gs_video_report.hints import place_told

__all__ = ["Check", "Status", "check"]

_INSTALL_LOCAL = 'pip install "gs-video-report[local]"'
_INSTALL_XLSX = 'pip install "gs-video-report[xlsx]"'


def check(config: Config) -> list[Check]:
    """Run every check; takes a few seconds. A failure means the chosen engine cannot work."""
    checks: tuple[tuple[str, Callable[[Config], Iterator[Check]]], ...] = (
        ("python", _python),
        ("sqlite", _sqlite),
        ("decoder", _decoder),
        ("speech", _speech),
        ("ocr", _ocr),
        ("excel", _excel),
        ("engine", _engine),
        ("config", _config),
        ("output", _output),
        ("cache", _cache),
        ("database", _database),
        ("terminal", _terminal),
        ("machine", _machine),
    )
    return [found for name, run in checks for found in _guarded(name, run, config)]


def _guarded(name: str, run: Callable[[Config], Iterator[Check]], config: Config) -> list[Check]:
    try:
        return list(run(config))
    # a doctor that falls ill over one finding is of no use
    except Exception as error:
        what = f"{name}: the check itself failed ({type(error).__name__}: {error})"
        return [Check(name, Status.WARN, what, "report this with the line above")]


# --- programs and packages ---------------------------------------------------------------------


def _python(_: Config) -> Iterator[Check]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Check("python", Status.OK, f"Python {version}, gsvr {__version__}")


def _sqlite(_: Config) -> Iterator[Check]:
    yield sqlite_check(sqlite3.sqlite_version_info)


def _decoder(_: Config) -> Iterator[Check]:
    version, why = import_in_child("av")
    if version is None:
        yield Check("decoder", Status.FAIL, f"the decoder PyAV does not load: {why}",
                    "pip install --force-reinstall av")  # fmt: skip
        return
    ffmpeg, _why = import_in_child("av", "ffmpeg_version_info")
    yield Check("decoder", Status.OK, f"decoder: PyAV {version} (FFmpeg {ffmpeg or 'unknown'})")


def _speech(config: Config) -> Iterator[Check]:
    bad = Status.FAIL if needs_speech(config) else Status.WARN
    version, why = import_in_child("faster_whisper")
    if version is None:
        yield Check("speech", bad, f"speech recognition does not load: {why}", _INSTALL_LOCAL)
        return
    yield Check("speech", Status.OK, f"speech recognition: faster-whisper {version}")
    yield _speech_model(config, bad)


def needs_speech(config: Config) -> bool:
    """True when the chosen engine listens on this machine."""
    return config.value("engine") in ("auto", "local", "openai")


def _speech_model(config: Config, bad: Status) -> Check:
    from gs_video_report.media.speech.asr_models import list_models

    wanted = str(config.value("asr_model"))
    if "/" in wanted:
        if (Path(wanted) / "model.bin").is_file():
            return Check("model", Status.OK, f"speech model in {wanted}")
        return Check("model", bad, f"no speech model in {wanted} (model.bin is missing)",
                     "name a folder of a CTranslate2 model with --asr-model")  # fmt: skip
    known = list_models(Path(config.value("cache_dir")))
    ready = [m for m in known if m.installed and wanted in ("auto", m.name, m.source)]
    if ready:
        return Check("model", Status.OK, f"speech model {ready[0].name} ({ready[0].source})")
    if wanted == "auto":
        return Check("model", bad, "no speech model is on this machine", _INSTALL_LOCAL)
    return Check("model", bad, f'speech model "{wanted}" is not on this machine',
                 f"gsvr models fetch {wanted}, or --asr-model FOLDER")  # fmt: skip


def _ocr(config: Config) -> Iterator[Check]:
    if not config.value("ocr"):
        yield Check("ocr", Status.OK, "reading of slides is switched off")
        return
    version, why = import_in_child("rapidocr")
    if version is None:
        yield Check("ocr", Status.WARN, f"slides cannot be read: {why}",
                    f"{_INSTALL_LOCAL}, or switch it off: ocr: false")  # fmt: skip
        return
    yield Check("ocr", Status.OK, f"reading of slides: RapidOCR {version}")


def _excel(_: Config) -> Iterator[Check]:
    version, why = import_in_child("openpyxl")
    if version is None:
        yield Check("excel", Status.WARN, f"Excel lists cannot be read: {why}", _INSTALL_XLSX)
        return
    yield Check("excel", Status.OK, f"Excel lists: openpyxl {version}")


# --- engine and configuration ------------------------------------------------------------------


def _engine(config: Config) -> Iterator[Check]:
    from gs_video_report.engine_access import choose, is_missing_key

    try:
        engine, why = choose(config, None)
    except GsvrError as error:
        yield Check("engine", Status.FAIL, error.message, error.hint or "--engine auto")
        return
    if is_missing_key(config, engine):
        yield Check("engine", Status.FAIL, f"engine {engine}: no key",
                    f"gsvr config set-key {engine}")  # fmt: skip
        return
    yield Check("engine", Status.OK, f"engine {engine} ({why})")


def _config(config: Config) -> Iterator[Check]:
    from gs_video_report.config_keys import is_exposed

    files = ", ".join(map(str, config.files)) or "none, the defaults are in force"
    yield Check("config", Status.OK, f"configuration files: {files}")
    for warning in config.warnings:
        yield Check("config", Status.WARN, warning, "see: gsvr config show --origin")
    keys = Path(config.value("keys_file"))
    if is_exposed(keys):
        yield Check("config", Status.WARN, f"{keys}: other users can read your keys",
                    f"chmod 600 {keys}")  # fmt: skip


# --- places ------------------------------------------------------------------------------------


def _output(config: Config) -> Iterator[Check]:
    yield folder_check("output", Path(config.value("output_dir")), "--output FOLDER")


def _cache(config: Config) -> Iterator[Check]:
    from gs_video_report.cache import ArtifactStore

    root = Path(config.value("cache_dir"))
    found = folder_check("cache", root, "--cache-dir FOLDER")
    yield found
    if found.status is Status.FAIL or not root.is_dir():
        return
    info = ArtifactStore(root, config.value("cache_limit_bytes")).info()
    message = f"cache holds {gigabytes(info.size_bytes)} of {gigabytes(info.limit_bytes)}"
    yield Check("cache", Status.OK, message)


def _database(config: Config) -> Iterator[Check]:
    path = Path(config.value("db"))
    # the file itself is never opened here: closing it would drop the locks of a running batch
    try:
        os.stat(path)  # noqa: PTH116
    except FileNotFoundError:
        found = folder_check("database", path.parent, "--db FILE")
        if found.status is Status.FAIL:
            yield found
        else:
            yield Check("database", Status.OK, f"database {path} will be made by the first batch")
        return
    try:
        with place_told(config):
            batches, tasks, is_open = _run(_count(path))
    except GsvrError as error:
        yield Check("database", Status.FAIL, error.message, error.hint or "use another file: --db")
        return
    yield Check("database", Status.OK, f"database {path} ({batches} batches, {tasks} tasks, "
                f"{is_open} of them open)")  # fmt: skip


async def _count(path: Path) -> tuple[int, int, int]:
    """(batches, tasks, tasks that still have work)."""
    from gs_video_report.batch.persistence import Database

    async with await Database.open(path, create=False, read_only=True) as database:
        rows = await database.read(
            "SELECT count(*), coalesce(sum(pending+running+retrying), 0),"
            " coalesce(sum(completed+failed+cancelled+skipped), 0) FROM batches"
        )
    batches, is_open, ended = rows[0]
    return int(batches), int(is_open) + int(ended), int(is_open)


def _run(work: Any) -> Any:
    """Run a coroutine to its end, inside or outside of an event loop."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


# --- machine -----------------------------------------------------------------------------------


def _terminal(_: Config) -> Iterator[Check]:
    encoding = (getattr(sys.stdout, "encoding", None) or "unknown").lower().replace("_", "-")
    if encoding in ("utf-8", "utf8"):
        yield Check("terminal", Status.OK, "terminal writes UTF-8")
        return
    yield Check("terminal", Status.WARN, f"the terminal writes {encoding}: names in "
                "other scripts are shown with question marks",
                "export LANG=C.UTF-8, or PYTHONUTF8=1")  # fmt: skip


def _machine(_: Config) -> Iterator[Check]:
    from gs_video_report.compute.machine import cores, memory_available_bytes

    yield machine_check(cores(), memory_available_bytes())
