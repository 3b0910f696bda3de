"""Keep artifacts (slide images, audio) by content, and the work folders of tasks in progress.

Truth: a file `objects/ab/cdef...` is complete and durable, and its name is the SHA-256 of its
content plus a suffix. Any number of processes may use one store.
Writes: `objects/`, `work/`, `pins/`, `tmp/`, `trim.lock` below the root, in the manner of files.py.
Never: changes an object; trims what was used within the hour, or what a live process pins; removes
a work folder that anybody may still need; touches other folders of the root (speech models).
Raises: ArtifactMissing, DiskFullError, OutputNotWritable, FileMissingError, FileUnreadableError;
ValueError for a malformed key, suffix or name (a fault in the program, or an attack).
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gs_video_report import files
from gs_video_report.cache_pins import live_pins, pinned
from gs_video_report.errors import ArtifactMissing, OutputNotWritable, from_os_error

DEFAULT_LIMIT_BYTES = 20_000_000_000
TOUCH_AFTER_S = 3600.0
"""A use is noted in the modification time at most this often."""
PROTECTED_S = 2 * 3600.0
"""Twice the above, so that an entry used within the last hour is never trimmed."""
ORPHAN_AGE_S = 24 * 3600.0
_SUFFIX = re.compile(r"(\.[a-z0-9]{1,8}){0,2}")
_KEY = re.compile(r"([0-9a-f]{64})((?:\.[a-z0-9]{1,8}){0,2})")
_WORK_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}")


@dataclass(frozen=True, slots=True)
class CacheInfo:
    """How full the store is."""

    root: str
    entries: int
    size_bytes: int
    """Of the objects."""
    limit_bytes: int
    work_dirs: int
    work_bytes: int


@dataclass(frozen=True, slots=True)
class Freed:
    """What a trim or clear removed."""

    entries: int = 0
    size_bytes: int = 0

    def __add__(self, other: Freed) -> Freed:
        return Freed(self.entries + other.entries, self.size_bytes + other.size_bytes)


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    key: str
    size_bytes: int
    used_at: float


def default_cache_dir(environment: Mapping[str, str] = os.environ) -> Path:
    """`$GSVR_CACHE_DIR`, else `$XDG_CACHE_HOME/gsvr`, else `~/.cache/gsvr`. Not created."""
    if chosen := environment.get("GSVR_CACHE_DIR"):
        return Path(chosen).expanduser()
    base = environment.get("XDG_CACHE_HOME", "")
    # The XDG specification: a relative path is invalid and is ignored.
    return (Path(base) if Path(base).is_absolute() else Path.home() / ".cache") / "gsvr"


def store_file(root: str | Path, path: str | Path, suffix: str) -> str:
    """`ArtifactStore(root).put_file(path, suffix)`, as a function a compute process can run."""
    return ArtifactStore(Path(root)).put_file(Path(path), suffix)


def adopt_file(root: str | Path, path: str | Path, suffix: str) -> str:
    """`ArtifactStore(root).adopt_file(path, suffix)`, for a compute process."""
    return ArtifactStore(Path(root)).adopt_file(Path(path), suffix)


class ArtifactStore:
    """A content-addressed store below `root` (made when first written to).

    Args:
        root: folder of the cache.
        limit_bytes: `trim()` removes the entries unused for longest until the objects take no
            more than this.
    """

    def __init__(self, root: Path, limit_bytes: int = DEFAULT_LIMIT_BYTES) -> None:
        self.root = Path(root)
        self.limit_bytes = limit_bytes
        self._objects = self.root / "objects"
        self._work = self.root / "work"
        self._temp = self.root / "tmp"
        self._pins = self.root / "pins"

    # --- entries --------------------------------------------------------------------------------

    def put_file(self, path: Path, suffix: str = "") -> str:
        """Copy a file into the store; the same content and suffix give the same key.

        Args:
            path: stays as it is.
            suffix: such as `.jpg`; part of the key, at most two parts of lower-case letters
                and digits.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"not a suffix: {suffix!r}")
        with files.open_for_reading(path) as source, self._writing(), self._temp_file() as temp:
            digest = hashlib.sha256()
            with temp.open("wb") as target:
                for block in files.read_blocks(source, path):
                    digest.update(block)
                    target.write(block)
                key = digest.hexdigest() + suffix
                if not self._touch_existing(key):
                    target.flush()
                    os.fsync(target.fileno())
                    self._adopt(temp, key)
        return key

    def adopt_file(self, path: Path, suffix: str = "") -> str:
        """Like `put_file`, but shares the file's bytes with the store where the disk can.

        Args:
            path: synced and complete; nobody writes to it any more. It stays, and may be removed.
        """
        if not _SUFFIX.fullmatch(suffix):
            raise ValueError(f"not a suffix: {suffix!r}")
        key = files.sha256_file(path) + suffix
        with self._writing():
            if self._touch_existing(key):
                return key
            self._temp.mkdir(parents=True, exist_ok=True)
            temp = files.temp_name(self._temp)
            try:
                os.link(path, temp)
            except OSError:  # another disk, or one without hard links
                return self.put_file(path, suffix)
            try:
                self._adopt(temp, key)
                os.utime(self._object(key))
            finally:
                temp.unlink(missing_ok=True)
        return key

    def has(self, key: str) -> bool:
        """Whether the entry exists (its content is not read)."""
        return self._object(key).is_file()

    def path(self, key: str) -> Path:
        """The file of an entry, to read only; notes the use. Raises: ArtifactMissing."""
        path = self._object(key)
        try:
            if time.time() - path.stat().st_mtime > TOUCH_AFTER_S:
                with suppress(PermissionError):  # somebody else's shared store: reading is enough
                    os.utime(path)
        except FileNotFoundError as error:
            raise _missing(key) from error
        return path

    def copy_to(self, key: str, target: Path) -> None:
        """Copy an entry to `target` atomically. Raises: ArtifactMissing for a lost entry."""
        files.copy_atomic(self.path(key), target)

    def verify(self, key: str) -> bool:
        """Whether the entry is there and its content is what the key says.

        A damaged entry is removed, so that `has()` is False and the step that made it runs again.
        """
        path = self._object(key)
        if not path.is_file():
            return False
        if files.sha256_file(path) == _split(key)[0]:
            return True
        with self._writing():
            path.unlink(missing_ok=True)
        return False

    def pin(self, keys: Iterable[str]) -> AbstractContextManager[None]:
        """Context manager: no process trims or clears these entries while the body runs."""
        checked = list(keys)
        for key in checked:
            _split(key)
        return pinned(self._pins, checked)

    # --- size -----------------------------------------------------------------------------------

    def info(self) -> CacheInfo:
        """Sizes now; reads every folder of the store, no file."""
        entries = list(self._entries())
        work = list(self._work.iterdir()) if self._work.is_dir() else []
        return CacheInfo(
            root=str(self.root),
            entries=len(entries),
            size_bytes=sum(entry.size_bytes for entry in entries),
            limit_bytes=self.limit_bytes,
            work_dirs=len(work),
            work_bytes=sum(_tree_bytes(folder) for folder in work),
        )

    def trim(self) -> Freed:
        """Remove the entries unused for longest until the limit holds; see PROTECTED_S.

        Does nothing while another process trims. May leave more than the limit.
        """
        now = time.time()
        with self._trimming() as mine:
            if not mine:
                return Freed()
            self._sweep_temp_files(now)
            entries = sorted(self._entries(), key=lambda entry: entry.used_at)
            excess = sum(entry.size_bytes for entry in entries) - self.limit_bytes
            pins = live_pins(self._pins) if excess > 0 else frozenset()
            freed = Freed()
            for entry in entries:
                if freed.size_bytes >= excess or entry.used_at > now - PROTECTED_S:
                    break
                if entry.key not in pins:
                    freed += self._remove(entry, not_used_since=now - PROTECTED_S)
            return freed

    def clear(self) -> Freed:
        """Remove every entry that no live process pins, and left-over temporary files.

        Work folders stay: see `sweep_work_dirs`.
        """
        with self._trimming() as mine:
            if not mine:
                return Freed()
            self._sweep_temp_files(time.time())
            pins = live_pins(self._pins)
            freed = Freed()
            for entry in self._entries():
                if entry.key not in pins:
                    freed += self._remove(entry)
            return freed

    # --- work folders ---------------------------------------------------------------------------

    def work_dir(self, name: str) -> Path:
        """The private folder `work/<name>`, made if needed; it survives a killed process."""
        folder = self._work_path(name)
        with self._writing():
            folder.mkdir(parents=True, exist_ok=True)
        return folder

    def remove_work_dir(self, name: str) -> None:
        """Remove one work folder and all in it; quiet if there is none."""
        shutil.rmtree(self._work_path(name), ignore_errors=True)

    def sweep_work_dirs(self, live: set[str]) -> int:
        """Remove work folders that are not in `live` and unchanged for a day. Returns how many."""
        if not self._work.is_dir():
            return 0
        orphans = [
            folder
            for folder in self._work.iterdir()
            if folder.name not in live and time.time() - _last_change(folder) > ORPHAN_AGE_S
        ]
        for folder in orphans:
            shutil.rmtree(folder, ignore_errors=True)
        return len(orphans)

    @contextmanager
    def temp_file(self) -> Iterator[Path]:
        """A fresh path of this process alone, removed at the end; `trim()` removes a dead one's.

        Raises: DiskFullError, OutputNotWritable.
        """
        with self._writing(), self._temp_file() as temp:
            yield temp

    # --- inside ---------------------------------------------------------------------------------

    def _object(self, key: str) -> Path:
        digest, suffix = _split(key)
        return self._objects / digest[:2] / (digest[2:] + suffix)

    def _work_path(self, name: str) -> Path:
        if not _WORK_NAME.fullmatch(name):
            raise ValueError(f"not a name for a work folder: {name!r}")
        return self._work / name

    def _touch_existing(self, key: str) -> bool:
        """Note the use of an entry that is there already; the time guards it from a trim."""
        try:
            os.utime(self._object(key))
        except FileNotFoundError:
            return False
        return True

    def _adopt(self, temp: Path, key: str) -> None:
        target = self._object(key)
        files.make_dirs(target.parent)
        temp.chmod(0o444)
        temp.replace(target)
        files.fsync_dir(target.parent)

    @contextmanager
    def _temp_file(self) -> Iterator[Path]:
        self._temp.mkdir(parents=True, exist_ok=True)
        temp = files.temp_name(self._temp)
        try:
            yield temp
        finally:
            temp.unlink(missing_ok=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            translated = from_os_error(error, str(self.root), writing=True)
            if isinstance(translated, OutputNotWritable):
                translated.hint = "choose another cache folder with GSVR_CACHE_DIR"
            raise translated from error

    @contextmanager
    def _trimming(self) -> Iterator[bool]:
        """Whether this process has the right to remove entries; the only one at a time."""
        if not self.root.is_dir():
            yield False
            return
        with self._writing(), (self.root / "trim.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _entries(self) -> Iterator[_Entry]:
        for path in self._objects.glob("??/*"):
            key = path.parent.name + path.name
            if not _KEY.fullmatch(key):
                continue
            with suppress(FileNotFoundError):
                state = path.stat()
                yield _Entry(path, key, state.st_size, state.st_mtime)

    def _remove(self, entry: _Entry, not_used_since: float | None = None) -> Freed:
        try:
            if not_used_since is not None and entry.path.stat().st_mtime > not_used_since:
                return Freed()
            entry.path.unlink()
        except FileNotFoundError:
            return Freed()
        return Freed(1, entry.size_bytes)

    def _sweep_temp_files(self, now: float) -> None:
        files.sweep_temps(self._temp)  # those of dead processes of this machine; others by age
        for path in self._temp.glob("*") if self._temp.is_dir() else ():
            with suppress(OSError):
                if files.is_temp_name(path.name) and now - path.stat().st_mtime > ORPHAN_AGE_S:
                    path.unlink()


def _split(key: str) -> tuple[str, str]:
    """Digest and suffix. Raises: ValueError unless it is a key, so no path escapes the store."""
    found = _KEY.fullmatch(key)
    if found is None:
        raise ValueError(f"not a key of the cache: {key!r}")
    return found[1], found[2]


def _missing(key: str) -> ArtifactMissing:
    return ArtifactMissing(f"a cached file is gone ({key[:12]})", key=key)


def _tree_bytes(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(parent) / name).lstat().st_size
    return total


def _last_change(folder: Path) -> float:
    """Newest modification time in a tree; now, if it vanishes meanwhile."""
    newest = 0.0
    for parent, _, names in os.walk(folder):
        for path in (Path(parent), *(Path(parent) / name for name in names)):
            with suppress(OSError):
                newest = max(newest, path.lstat().st_mtime)
    return newest or time.time()
