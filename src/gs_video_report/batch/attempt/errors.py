"""Whatever the work on one task or report raises, as one error of errors.py.

True here: a fault of ours fails the one task in which it was met, with its type named; of several
errors that come together one decides. Cancellation passes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from gs_video_report.batch.attempt.control import TaskControl, TaskRunner
from gs_video_report.batch.data_models import TaskResult, VideoTask
from gs_video_report.errors import GsvrError, PermanentError, StepCancelled

T = TypeVar("T")


async def guarded(runner: TaskRunner, task: VideoTask, control: TaskControl) -> TaskResult:
    """What the runner makes of the task. Raises: GsvrError, CancelledError; nothing else."""
    return await known_errors(runner(task, control))


async def known_errors(work: Awaitable[T]) -> T:
    """The outcome of `work`. Raises: GsvrError, CancelledError; nothing else."""
    try:
        return await work
    except GsvrError:
        raise
    except BaseExceptionGroup as group:
        error = decisive(group)
        if isinstance(error, GsvrError | asyncio.CancelledError):
            raise error from group
        raise _unexpected(error) from group
    except Exception as error:
        raise _unexpected(error) from error


def decisive(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The leaf that decides: a known error, else an unexpected one, else a stop. Pure."""
    leaves: list[BaseException] = []
    queue: list[BaseException] = [group]
    while queue:
        error = queue.pop(0)
        if isinstance(error, BaseExceptionGroup):
            queue.extend(error.exceptions)
        else:
            leaves.append(error)
    return min(leaves, key=lambda e: (isinstance(e, StepCancelled), not isinstance(e, GsvrError)))


def _unexpected(error: BaseException) -> GsvrError:
    """A programming error met in one task: that task fails, with the type named."""
    return PermanentError(
        f"unexpected {type(error).__name__}: {error}",
        hint="this is a fault in gsvr; please report it with the output of --verbose",
    )
