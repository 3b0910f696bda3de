"""Where a report goes: a pure function of its one input, safe on every file system.

Inputs stream in and workers run in any order, so a name cannot depend on which other names exist.
The rule for `{name}`:

- `talk.mp4` gives `talk`; any other media extension stays: `talk.mkv`, `talk.MP4`, `a.mkv.mp4`.
  So two files that differ in their extension, or in its case, never meet.
- A name that had to be changed to be safe (not NFC, control characters, reserved, too long, no
  media extension, equal to a file of ours such as `index`) gets `~` and ten digits of the SHA-256
  of the original. Two different names therefore never give one, on file systems that normalise
  Unicode as well.
- Folders keep their names under the same safety rule. A pattern that leaves out `{dir}` or part of
  the name gets the hash of the whole relative path, unless it has `{seq}`.

Left to the file system: `A.mp4` and `a.mp4` in one folder differ only where case matters, and
they cannot both exist where it does not.
Never: touches the disk, leaves the output folder, fails over a strange name.
Raises: ConfigError for a pattern that names unknown fields or no video.
"""

from __future__ import annotations

import hashlib
import os
import re
import string
import unicodedata
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from gs_video_report.errors import ConfigError
from gs_video_report.report.timefmt import link_seconds, to_ms

_PUBLIC_NAMES = frozenset({"v", "id", "video", "file", "name", "list", "index", "t", "start"})
"""Parts of a query that name a recording or a moment, however long their values are."""
_SIGNED_PREFIXES = ("x-amz-", "x-goog-", "x-oss-", "x-cos-")
_SECRET_NAME = re.compile(
    r"token|secret|passw|signature|credential|access_?key|api_?key|session|hdn(ts|ea|tl)|jwt|hmac"
    r"|(^|[-_.])(sig|sign|key|auth|authorization|pwd|pass|sid|ticket|policy|expires|key-pair-id)$"
)
_RANDOM = re.compile(
    r"(?=.*\d)(?:[0-9a-fA-F]{32,}|(?=.*[a-z])(?=.*[A-Z])[\w\-+/=%.~]{32,})", re.ASCII
)
DEFAULT_PATTERN = "{template}/{dir}/{name}"
FIELDS = ("template", "dir", "name", "stem", "ext", "seq", "batch")
MAX_COMPONENT_BYTES = 180
"""Leaves room for `.chapters.txt`, `.assets` and a temporary name within 255 bytes."""
ASSETS_SUFFIX = ".assets"
PLAIN_EXTENSION = ".mp4"
MEDIA_EXTENSIONS = frozenset(
    f".{e}"
    for e in (
        *("mp4", "mov", "avi", "mkv", "webm", "m4v", "ts", "mts", "m2ts", "flv", "3gp", "wmv"),
        *("mpg", "mpeg", "ogv", "mp3", "wav", "m4a", "m4b", "flac", "ogg", "opus", "wma", "aac"),
    )
)
_RESERVED_DEVICE = re.compile(r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])(\..*)?", re.IGNORECASE)
_OURS = re.compile(r"(index|summary|errors)(-[0-9a-f]{4,12})?", re.IGNORECASE)
"""Stems of the pages that describe a whole batch."""
_TIMED_SITE = re.compile(r"(^|\.)(youtube\.com|youtu\.be|youtube-nocookie\.com|bilibili\.com)$")
_HASHED = re.compile(r".*~[0-9a-f]{10}", re.DOTALL)
_UNSAFE = frozenset('<>:"/\\|?*')


def output_paths(
    relative_path: str,
    template: str,
    pattern: str = DEFAULT_PATTERN,
    *,
    seq: int = 0,
    batch: str = "",
    output_name: str | None = None,
) -> tuple[str, str]:
    """(folder, stem) of a report below the output folder; POSIX, never absolute, no `..`.

    Args:
        relative_path: of the input, as in `VideoInput.relative_path`.
        seq: number of the task in its batch, from 1.
        output_name: base name given by the user for this input; used as it is, made safe.

    Returns:
        Folder ("" = the output folder itself) and stem; files are `<stem>.html` and so on.

    Raises: ConfigError when the pattern has unknown fields or would give all videos one name.
    """
    used = _fields_of(pattern)
    parts = [p for p in PurePosixPath(relative_path).parts if p not in ("/", ".")]
    name, folders = (parts[-1], parts[:-1]) if parts else ("", [])
    own_name = report_stem(name, output_name) if output_name else None
    plain, extension = _split_extension(name)
    values = {
        "template": _safe(template),
        "dir": "/".join(_safe_folder(f) for f in folders),
        "name": own_name or stem_of(name),
        "stem": own_name or _safe(plain),
        "ext": _safe(extension.lstrip(".") or "none"),
        "seq": str(seq),
        "batch": _safe(batch or "batch"),
    }
    filled = [c for c in pattern.format(**values).split("/") if c not in ("", ".")]
    stem = _finish_stem(filled[-1] if filled else "", relative_path, used)
    return "/".join(_safe(c, ours=True) for c in filled[:-1]), stem


def stem_of(name: str) -> str:
    """The stem for a file called `name`; different names give different stems."""
    plain, extension = _split_extension(name)
    if extension == PLAIN_EXTENSION and not _split_extension(plain)[1]:
        safe = plain
    elif extension:
        safe = name
    else:
        return _safe(name, force=True)
    return _safe(safe, original=name)


def report_stem(name: str, output_name: str | None) -> str:
    """The stem of the file `name` by the default pattern; an output name wins, made safe."""
    return _safe(output_name) if output_name else stem_of(name)


def pattern_of(pattern: str, template: str, batch_template: str) -> str:
    """`pattern`, made to tell templates apart for an input that has one of its own.

    Without it, one recording under two templates would get one name.
    """
    if template == batch_template or {"template", "seq"} & _fields_of(pattern):
        return pattern
    return pattern + "-{template}"


def relative_source(source: str, report_dir: Path) -> str:
    """What a player on a page in `report_dir` opens: a relative POSIX path, or the public URL."""
    if is_url(source):
        return public_url(source)
    return Path(os.path.relpath(source, report_dir)).as_posix()


def public_url(url: str) -> str:
    """The address without those parts of its query that give access: signatures, tokens, keys.

    Reports are handed on. What names the recording (`v=`, `id=`) stays, as do all short words that
    are not known to be secret. Also taken out: long values that look random, and the fragment when
    it holds such a part.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return url
    kept = [item for item in parts.query.split("&") if not _gives_access(item)]
    secret = any(_gives_access(item) for item in parts.fragment.split("&"))
    if len(kept) == parts.query.count("&") + 1 and not secret:
        return url
    fragment = "" if secret else parts.fragment
    return urlunsplit(parts._replace(query="&".join(kept), fragment=fragment))


def _gives_access(item: str) -> bool:
    """Whether `name=value` of a query is a secret, or goes with one (such as when it expires)."""
    name, _, value = item.partition("=")
    name = unquote(name).lower()
    if name in _PUBLIC_NAMES:
        return False
    return bool(
        name.startswith(_SIGNED_PREFIXES) or _SECRET_NAME.search(name) or _RANDOM.fullmatch(value)
    )


def is_url(source: str) -> bool:
    """Whether the source lies on the web."""
    return source.lower().startswith(("http://", "https://"))


def link_at(source: str, seconds: float | None) -> str:
    """A link to a moment: `#t=` (W3C Media Fragments) for files, `t=` for video sites.

    Returns: percent-encoded, safe within `(...)` of Markdown and quotes of HTML.
    """
    target = href(source).replace("(", "%28").replace(")", "%29").replace("'", "%27")
    site = urlsplit(source).hostname or "" if is_url(source) else ""
    if _TIMED_SITE.search(site):
        base = target.split("#")[0]
        return f"{base}{'&' if '?' in base else '?'}t={to_ms(seconds) // 1000}"
    return f"{target.split('#')[0]}#t={link_seconds(seconds)}"


def href(path: str) -> str:
    """A relative or absolute path, or a web address, as the value of `href` or `src`.

    Anything else with a scheme (`javascript:`) is a file name here, and is encoded as one.
    """
    if is_url(path):
        return quote(path, safe="%/:?#[]@!$&'()*+,;=~-._")
    encoded = quote(path.encode("utf-8", "surrogateescape"), safe="/~-._")
    if path.startswith("/"):
        return "file://" + encoded
    return encoded


def check_pattern(pattern: str) -> None:
    """Raise ConfigError unless reports can be placed by `pattern`."""
    _fields_of(pattern)


def _fields_of(pattern: str) -> set[str]:
    try:
        found = [(f, s, c) for _, f, s, c in string.Formatter().parse(pattern) if f is not None]
    except ValueError as error:
        raise ConfigError(f"output pattern {pattern!r}: braces do not match") from error
    for name, spec, conversion in found:
        if name not in FIELDS or spec or conversion:
            raise ConfigError(
                f"output pattern {pattern!r}: unknown field {{{name}}}",
                hint=f"fields are {', '.join('{' + f + '}' for f in FIELDS)}",
            )
    if pattern.startswith(("/", "~")) or ".." in pattern.replace("\\", "/").split("/"):
        raise ConfigError(
            f"output pattern {pattern!r}: it leads out of the output folder",
            hint="write it without a leading slash and without ..",
        )
    names = {f for f, _, _ in found}
    if not names & {"name", "stem", "seq"}:
        raise ConfigError(
            f"output pattern {pattern!r}: every video would get the same name",
            hint="use {name}, {stem} or {seq}",
        )
    return names


def _finish_stem(stem: str, relative_path: str, used: set[str]) -> str:
    whole_name = "name" in used or {"stem", "ext"} <= used
    nested = "/" in relative_path.strip("/")
    if "seq" in used or (whole_name and ("dir" in used or not nested)):
        stem = _safe(stem, ours=True)
        return tagged(stem, stem) if _OURS.fullmatch(stem) else stem
    return tagged(_clean(stem), relative_path)


def _split_extension(name: str) -> tuple[str, str]:
    """(rest, media extension as written); the extension is empty when it is not a media one."""
    dot = name.rfind(".")
    if dot > 0 and name[dot:].lower() in MEDIA_EXTENSIONS:
        return name[:dot], name[dot:]
    return name, ""


def _safe_folder(name: str) -> str:
    return _safe(name, force=name.lower().endswith(ASSETS_SUFFIX))


def _safe(
    name: str, *, original: str | None = None, force: bool = False, ours: bool = False
) -> str:
    """`name` when it is safe as one path component, else a cleaned form with a hash."""
    cleaned = _clean(name)
    changed = cleaned != name or (_HASHED.fullmatch(name) is not None and not ours)
    if force or changed or _RESERVED_DEVICE.fullmatch(name):
        return tagged(cleaned, original if original is not None else name)
    return name


def tagged(cleaned: str, original: str) -> str:
    """`cleaned`, cut to fit, with `~` and ten digits of the SHA-256 of `original`."""
    digest = hashlib.sha256(original.encode("utf-8", "surrogateescape")).hexdigest()[:10]
    return f"{_cut(cleaned, MAX_COMPONENT_BYTES - 11).rstrip('. ')}~{digest}"


def _clean(name: str) -> str:
    text = unicodedata.normalize("NFC", name)
    text = "".join("_" if _bad(c) else c for c in text).rstrip(". ").lstrip(" ")
    if text[:1] in ("-", ".", "~"):
        text = "_" + text[1:]
    return _cut(text, MAX_COMPONENT_BYTES).rstrip(". ") or "video"


def _bad(char: str) -> bool:
    return char in _UNSAFE or unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Zl", "Zp")


def _cut(text: str, limit: int) -> str:
    return text.encode("utf-8")[:limit].decode("utf-8", "ignore")
