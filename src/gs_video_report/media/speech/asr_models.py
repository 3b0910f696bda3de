"""Find, verify and keep speech models. Nothing is ever downloaded unless `fetch()` is called.

Truth: the SHA-256 of `model.bin`. A packaged model is used only if every file has its pinned hash.
Writes: `<cache_dir>/models/<name>/`, made complete under another name and then renamed, so that
processes may race and a killed one leaves nothing half done; a damaged folder is made anew.
Never: imports or runs code of a model package; reads anything but its data files.
Raises: ModelMissing, whose hint names the ways out; DiskFullError, OutputNotWritable.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import secrets
import shutil
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

from gs_video_report.errors import ModelMissing, from_os_error
from gs_video_report.files import (
    TEMP_PREFIX,
    TEMP_SUFFIX,
    open_for_reading,
    read_blocks,
    sha256_file,
)
from gs_video_report.media.speech.model_catalog import CATALOG, PackagedModel

ProgressFunction = Callable[[float, float], None]

DEFAULT_MODEL = "base"
WAYS_OUT = (
    "one of:\n"
    "  pip install 'gs-video-report[local]'      the default model, works offline\n"
    "  --asr-model FOLDER                        a folder with a CTranslate2 Whisper model\n"
    "  gsvr models list, gsvr models fetch NAME  what there is, and how to get it"
)

_RECEIPT = "gsvr-model.json"
_MULTILINGUAL_VOCABULARY = 51_865  # English-only Whisper models have one entry less


@dataclass(frozen=True, slots=True)
class SpeechModel:
    """A model that is on this machine and sound."""

    name: str
    path: str
    """Folder to give to `asr.transcribe_chunk()`."""
    sha256: str
    """Of `model.bin`."""
    multilingual: bool
    source: str
    """Where it came from: packages, a hub name, or `folder`."""


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """A line of `gsvr models list`."""

    name: str
    source: str
    installed: bool
    """It can be used now, without network."""
    path: str
    """Folder in the cache; empty while it only exists in packages, or not at all."""
    size_bytes: int
    languages: str
    licence: str


def resolve_model(name: str, cache_dir: Path) -> SpeechModel:
    """The model that `name` stands for, ready to load.

    Args:
        name: `auto`; a name such as `base` or `tiny.en`; the name of an installed package that
            holds a model; or a folder with `model.bin`.
        cache_dir: joined packages (about 145 MB) and fetched models are kept in `models/` here.

    Raises: ModelMissing. Never touches the network.
    """
    wanted = DEFAULT_MODEL if name in ("", "auto") else name
    packaged = [entry for entry in CATALOG if wanted in (entry.name, *entry.packages)]
    fetched = _model_folder(wanted, cache_dir)
    folder = Path(wanted).expanduser()
    is_path = wanted.startswith((".", "~", os.sep)) or os.sep in wanted
    if not packaged and (folder.is_dir() or (is_path and not (fetched / _RECEIPT).is_file())):
        return _from_folder(folder, wanted)
    for entry in packaged:
        if _is_kept(entry, cache_dir) or _is_installed(entry):
            return _keep(entry, cache_dir, None)
    if (fetched / _RECEIPT).is_file():
        return _fetched(fetched, wanted)
    inside = _folder_in_package(wanted)
    if inside is not None:
        return _from_folder(inside, wanted)
    if packaged:
        raise ModelMissing(f"the speech model {wanted} is not installed", hint=WAYS_OUT)
    raise ModelMissing(f"no speech model called {wanted} is on this machine", hint=WAYS_OUT)


def list_models(cache_dir: Path) -> list[ModelInfo]:
    """Known and kept models, the usable ones first; never raises for a missing cache."""
    found: list[ModelInfo] = []
    for entry in CATALOG:
        kept = _is_kept(entry, cache_dir)
        found.append(
            ModelInfo(
                name=entry.name,
                source=entry.source,
                installed=kept or _is_installed(entry),
                path=str(_entry_folder(entry, cache_dir)) if kept else "",
                size_bytes=entry.size_bytes,
                languages=entry.languages,
                licence=entry.licence,
            )
        )
    known = {_entry_folder(entry, cache_dir).name for entry in CATALOG}
    for receipt in sorted((cache_dir / "models").glob(f"*/{_RECEIPT}")):
        if receipt.parent.name not in known:
            found.append(_kept_info(receipt))
    return sorted(found, key=lambda info: not info.installed)


def fetch(name: str, cache_dir: Path, progress: ProgressFunction | None = None) -> SpeechModel:
    """Get a model ready for offline use: join an installed package, else download by name.

    Args:
        name: as for `resolve_model()`; or any model faster-whisper knows (`small`, `large-v3`),
            or `owner/name` on the model hub.
        progress: called with (bytes done, bytes in all) while joining; total 0 means unknown.

    Raises: ModelMissing when it is in no package and the hub cannot be reached or has no such
        model; DiskFullError, OutputNotWritable.
    """
    wanted = DEFAULT_MODEL if name in ("", "auto") else name
    for entry in CATALOG:
        if wanted in (entry.name, *entry.packages) and _is_installed(entry):
            return _keep(entry, cache_dir, progress)
    with suppress(ModelMissing):
        return resolve_model(wanted, cache_dir)
    return _download(wanted, cache_dir, progress)


# --- packages ----------------------------------------------------------------------------------


def _locate(package: str, path: str) -> Path | None:
    """A data file of an installed package, without importing it."""
    try:
        found = Path(str(metadata.distribution(package).locate_file(path)))
    except metadata.PackageNotFoundError:
        return None
    return found if found.is_file() else None


def _is_installed(entry: PackagedModel) -> bool:
    return all(_locate(*part) is not None for file in entry.files for part in file.parts)


def _folder_in_package(package: str) -> Path | None:
    """The folder of the only model.bin in an installed package that is not in the catalogue."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", package):
        return None
    try:
        files = metadata.distribution(package).files or []
    except metadata.PackageNotFoundError:
        return None
    found = [Path(str(file.locate())).parent for file in files if file.name == "model.bin"]
    return found[0] if len(found) == 1 else None


def _entry_folder(entry: PackagedModel, cache_dir: Path) -> Path:
    return cache_dir / "models" / f"{entry.name}-{entry.sha256[:12]}"


def _is_kept(entry: PackagedModel, cache_dir: Path) -> bool:
    return (_entry_folder(entry, cache_dir) / _RECEIPT).is_file()


def _keep(entry: PackagedModel, cache_dir: Path, progress: ProgressFunction | None) -> SpeechModel:
    """The folder of a packaged model in the cache; joined when it is not there or not sound."""
    folder = _entry_folder(entry, cache_dir)
    if not _is_sound(entry, folder):
        if not _is_installed(entry):
            raise ModelMissing(
                f"the kept copy of the speech model {entry.name} is damaged", hint=WAYS_OUT
            )
        with _one_builder(folder):
            if not _is_sound(entry, folder):  # else somebody made it while we waited
                _build(folder, lambda temp: _join(entry, temp, progress), entry.source)
    return SpeechModel(
        entry.name, str(folder), entry.sha256, _is_multilingual(folder), entry.source
    )


def _is_sound(entry: PackagedModel, folder: Path) -> bool:
    for file in entry.files:
        path = folder / file.name
        if not path.is_file() or _hash_once(path) != file.sha256:
            return False
    return (folder / _RECEIPT).is_file()


def _join(entry: PackagedModel, folder: Path, progress: ProgressFunction | None) -> None:
    done = 0.0
    for file in entry.files:
        target = folder / file.name
        with target.open("wb") as out:
            for package, path in file.parts:
                part = _locate(package, path)
                if part is None:
                    raise ModelMissing(f"the package {package} is not installed", hint=WAYS_OUT)
                with open_for_reading(part) as data:
                    for block in read_blocks(data, part):
                        out.write(block)
                        done += len(block)
                        if progress is not None:
                            progress(min(done, entry.size_bytes), float(entry.size_bytes))
            out.flush()
            os.fsync(out.fileno())
        if sha256_file(target) != file.sha256:
            raise ModelMissing(
                f"{file.name} of the speech model {entry.name} does not have its known content",
                hint=f"install it again: pip install --force-reinstall {' '.join(entry.packages)}",
            )


@contextmanager
def _one_builder(folder: Path) -> Iterator[None]:
    """Hold the right to make `folder`; other processes and threads wait. Freed by a kill."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        name = folder.parent.with_suffix(".lock")
        lock = os.open(name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
    except OSError as error:
        raise from_os_error(error, str(folder), writing=True) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _build(folder: Path, fill: Callable[[Path], None], source: str) -> None:
    """Make a model folder under a temporary name, then put it in place; races are harmless."""
    temp = folder.parent / f"{TEMP_PREFIX}{secrets.token_hex(8)}{TEMP_SUFFIX}"
    try:
        temp.mkdir(parents=True)
        fill(temp)
        facts = {"source": source, "sha256": sha256_file(temp / "model.bin")}
        (temp / _RECEIPT).write_text(json.dumps(facts, indent=1) + "\n", "utf-8")
        _put_in_place(temp, folder)
    except OSError as error:
        raise from_os_error(error, str(folder), writing=True) from error
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def _put_in_place(temp: Path, folder: Path) -> None:
    with suppress(OSError):
        temp.rename(folder)
        return
    old = folder.parent / f"{TEMP_PREFIX}{secrets.token_hex(8)}{TEMP_SUFFIX}"
    with suppress(FileNotFoundError):
        folder.rename(old)  # damaged, or made by another process a moment ago: both may go
    try:
        temp.rename(folder)
    except OSError:
        if not (folder / _RECEIPT).is_file():  # else another process was first
            raise
    finally:
        shutil.rmtree(old, ignore_errors=True)


# --- folders -----------------------------------------------------------------------------------


def _from_folder(folder: Path, name: str) -> SpeechModel:
    missing = [
        f for f in ("model.bin", "config.json", "tokenizer.json") if not (folder / f).is_file()
    ]
    if missing:
        raise ModelMissing(
            f"{name}: not a CTranslate2 Whisper model, it lacks {', '.join(missing)}",
            hint=WAYS_OUT,
        )
    digest = _hash_once(folder / "model.bin")
    return SpeechModel(name, str(folder.absolute()), digest, _is_multilingual(folder), "folder")


def _fetched(folder: Path, name: str) -> SpeechModel:
    facts = _receipt(folder / _RECEIPT)
    model = _from_folder(folder, name)
    if facts.get("sha256") != model.sha256:
        raise ModelMissing(
            f"the kept copy of the speech model {name} is damaged",
            hint=f"delete {folder}, then: gsvr models fetch {name}",
        )
    return SpeechModel(name, model.path, model.sha256, model.multilingual, facts.get("source", ""))


def _kept_info(receipt: Path) -> ModelInfo:
    folder = receipt.parent
    return ModelInfo(
        name=folder.name.replace("--", "/"),
        source=_receipt(receipt).get("source", ""),
        installed=(folder / "model.bin").is_file(),
        path=str(folder),
        size_bytes=sum(file.stat().st_size for file in folder.iterdir() if file.is_file()),
        languages="99 languages" if _is_multilingual(folder) else "English only",
        licence="",
    )


def _receipt(path: Path) -> dict[str, str]:
    try:
        facts: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in facts.items()} if isinstance(facts, dict) else {}


def _model_folder(name: str, cache_dir: Path) -> Path:
    safe = re.sub(r"[^A-Za-z0-9._-]", "_", name.replace("/", "--")).lstrip(".") or "_"
    return cache_dir / "models" / safe


def _is_multilingual(folder: Path) -> bool:
    """By the size of the vocabulary, as CTranslate2 decides it."""
    try:
        if (folder / "vocabulary.json").is_file():
            entries = json.loads((folder / "vocabulary.json").read_text("utf-8"))
            return len(entries) >= _MULTILINGUAL_VOCABULARY
        with (folder / "vocabulary.txt").open("rb") as file:
            return sum(1 for _ in file) >= _MULTILINGUAL_VOCABULARY
    except (OSError, ValueError):
        return False


def _hash_once(path: Path) -> str:
    """SHA-256, computed once per process as long as size and time stay the same."""
    facts = path.stat()
    return _hash_of(str(path), facts.st_size, facts.st_mtime_ns)


@lru_cache(maxsize=64)
def _hash_of(path: str, size: int, mtime_ns: int) -> str:
    return sha256_file(Path(path))


# --- the hub -----------------------------------------------------------------------------------


def _download(name: str, cache_dir: Path, progress: ProgressFunction | None) -> SpeechModel:
    """Download by name with faster-whisper; only on an explicit request."""
    try:
        from faster_whisper.utils import available_models, download_model
    except ImportError as error:
        raise ModelMissing(f"the speech model {name} is not installed", hint=WAYS_OUT) from error
    if "/" not in name and name not in available_models():
        known = ", ".join(available_models())
        raise ModelMissing(f"no speech model is called {name}", hint=f"known names: {known}")

    def fill(temp: Path) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                download_model(name, output_dir=str(temp))
        except Exception as error:  # whatever the hub client raises means: it did not arrive
            raise ModelMissing(
                f"the speech model {name} could not be downloaded (is this machine online?)",
                hint=WAYS_OUT,
            ) from error
        shutil.rmtree(temp / ".cache", ignore_errors=True)

    if progress is not None:
        progress(0.0, 0.0)
    folder = _model_folder(name, cache_dir)
    _build(folder, fill, f"hub:{name}")
    return _fetched(folder, name)
