"""What the columns of a list mean, and which values they may hold.

Pure. Headers are compared without regard to case, width, spaces and hyphens; Chinese words count.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from gs_video_report.batch.data_models import MAX_PRIORITY
from gs_video_report.batch.inputs.text import short

MAX_NAME_BYTES = 200

# Role -> accepted headers, the most telling first. When two columns fit, the earlier word wins.
ALIASES: dict[str, tuple[str, ...]] = {
    "path": (
        "path", "路径", "路徑", "video_path", "file_path", "filepath", "视频路径", "視頻路徑",
        "文件路径", "檔案路徑", "file", "文件", "檔案", "filename", "file_name", "文件名", "檔名",
        "video", "视频", "視頻", "影片", "video_file", "视频文件", "source",
    ),
    "url": (
        "url", "链接", "連結", "鏈接", "link", "网址", "網址", "地址", "video_url", "视频链接",
        "視頻連結", "影片連結", "address", "href",
    ),
    "template": ("template", "模板", "模版", "範本", "template_name", "模板名", "模板名称"),
    "output_name": (
        "output_name", "输出名", "輸出名", "输出名称", "輸出名稱", "输出文件名", "輸出檔名",
        "output",
    ),
    "priority": ("priority", "优先级", "優先級", "优先", "優先"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Columns:
    """Which column plays which role."""

    names: tuple[str, ...]
    roles: dict[str, int]

    @property
    def has_location(self) -> bool:
        """A path or an address column was found."""
        return "path" in self.roles or "url" in self.roles


def header_key(name: str) -> str:
    """Header in the form in which it is compared: `Video Path` and `video_path` are the same."""
    text = unicodedata.normalize("NFKC", name).strip().casefold()
    return "_".join(text.replace("-", " ").split())


def find_columns(header: Sequence[str], template_column: str | None = None) -> Columns:
    """Assign roles to columns by their headers."""
    keys = [header_key(name) for name in header]
    roles: dict[str, int] = {}
    for role, words in ALIASES.items():
        index = next((keys.index(word) for word in words if word in keys), None)
        if index is not None:
            roles[role] = index
    if template_column is not None:
        roles.pop("template", None)
        wanted = header_key(template_column)
        if wanted in keys:
            roles["template"] = keys.index(wanted)
    return Columns(tuple(name.strip() for name in header), roles)


def refusal(given: dict[str, str]) -> str:
    """Why a row with these values is not taken; empty when it is."""
    if "path" in given and "url" in given:
        return "the row names both a path and an address; keep one of them"
    if "path" not in given and "url" not in given:
        return "the row names neither a path nor an address"
    return _bad_priority(given.get("priority")) or _bad_name(given.get("output_name"))


def _bad_priority(text: str | None) -> str:
    if text is None or (text.isascii() and text.isdigit() and int(text[:9]) <= MAX_PRIORITY):
        return ""
    wanted = f"a whole number from 0 (first) to {MAX_PRIORITY}"
    return f"priority must be {wanted}, not {short(text, 40)}"


def _bad_name(name: str | None) -> str:
    """Why `name` cannot be the base name of an output file; empty when it can."""
    if name is None:
        return ""
    if "/" in name or "\\" in name:
        return "the output name must be a plain name, without folders"
    if name.startswith(".") or any(unicodedata.category(c) == "Cc" for c in name):
        return "the output name must not begin with a dot or hold control characters"
    if len(name.encode("utf-8", "surrogateescape")) > MAX_NAME_BYTES:
        return f"the output name is longer than {MAX_NAME_BYTES} bytes"
    return ""
