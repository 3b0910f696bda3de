"""Whether the files of a finished task are on the disk as they were recorded."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from gs_video_report.batch.data_models import OutputFile, TaskResult
from gs_video_report.errors import FileMissingError, GsvrError
from gs_video_report.files import sha256_file


def verify_outputs(result: TaskResult, output_dir: Path) -> list[str]:
    """What is wrong with the outputs of a finished task on disk; empty when all is as recorded.

    Reads every output of the right size. A path that leaves `output_dir` counts as wrong.
    """
    return _problems(result.outputs, output_dir)


def verify_renderings(result: TaskResult, output_dir: Path) -> dict[str, list[str]]:
    """The same of what was rendered with other templates: template -> what is wrong, where
    something is. A file of which only the path was recorded has to be there, no more."""
    found = {
        template: _problems(files, output_dir) for template, files in result.renderings.items()
    }
    return {template: problems for template, problems in found.items() if problems}


def _problems(files: Iterable[OutputFile], output_dir: Path) -> list[str]:
    problems = []
    for output in files:
        relative = PurePosixPath(output.path)
        if relative.is_absolute() or ".." in relative.parts:
            problems.append(f"{output.path}: lies outside the output folder")
            continue
        problem = _compare(output_dir / relative, output)
        if problem:
            problems.append(f"{output.path}: {problem}")
    return problems


def _compare(path: Path, recorded: OutputFile) -> str:
    try:
        size = path.stat().st_size
        if not recorded.sha256:
            return ""
        if size != recorded.size_bytes:
            return f"has {size} bytes instead of {recorded.size_bytes}"
        return "" if sha256_file(path) == recorded.sha256 else "was altered"
    except (FileNotFoundError, NotADirectoryError, FileMissingError):
        return "is missing"
    except (OSError, GsvrError):
        return "cannot be read"
