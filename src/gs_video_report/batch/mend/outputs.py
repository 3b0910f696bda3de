"""Whether the outputs of a finished task are on the disk as they were recorded."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

from gs_video_report.batch.data_models import TaskResult
from gs_video_report.errors import FileMissingError, GsvrError
from gs_video_report.files import sha256_file


def verify_outputs(result: TaskResult, output_dir: Path) -> list[str]:
    """What is wrong with the outputs of a finished task on disk; empty when all is as recorded.

    Reads every output of the right size. A path that leaves `output_dir` counts as wrong.
    """
    problems = []
    for output in result.outputs:
        relative = PurePosixPath(output.path)
        if relative.is_absolute() or ".." in relative.parts:
            problems.append(f"{output.path}: lies outside the output folder")
            continue
        problem = _compare(output_dir / relative, output.size_bytes, output.sha256)
        if problem:
            problems.append(f"{output.path}: {problem}")
    return problems


def _compare(path: Path, size_bytes: int, sha256: str) -> str:
    try:
        size = path.stat().st_size
        if size != size_bytes:
            return f"has {size} bytes instead of {size_bytes}"
        return "" if sha256_file(path) == sha256 else "was altered"
    except (FileNotFoundError, NotADirectoryError, FileMissingError):
        return "is missing"
    except (OSError, GsvrError):
        return "cannot be read"
