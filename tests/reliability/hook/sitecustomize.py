"""Watches (and, if asked, ruins) the jobs of compute processes. Python imports it at the start.

Its folder is on PYTHONPATH only in the reliability tests. JOBS_LOG: every job that starts is
appended there as one line `name path`, jobs on sound as `name task-folder#first-sample`.
JOBS_RUINED: JSON of {text in the path: ruin}; a job on
such a file ends as a broken decoder would: `segfault`, `hog` (memory without end), `hang`,
`kill-coordinator`.
"""

import importlib.abc
import importlib.machinery
import json
import os
import sys

MODULE = "gs_video_report.engines.jobs"
ON_RECORDINGS = (
    "probe", "extract_audio", "read_subtitles", "find_slides", "read_slide",
)  # fmt: skip
ON_SOUND = ("transcribe_chunk", "hear_only_chunk", "relisten_chunk")
"""Their arguments begin with the model, the samples in the folder of a task, and the first one."""


def segfault():
    import ctypes

    ctypes.string_at(0)


def hog():
    import resource

    resource.setrlimit(resource.RLIMIT_DATA, (320 * 1024**2,) * 2)  # a small machine
    blocks = []
    while True:
        blocks.append(bytearray(64 * 1024 * 1024))


def hang():
    import time

    while True:
        time.sleep(60)


def kill_coordinator():
    import signal

    os.kill(os.getppid(), signal.SIGKILL)
    hang()


RUINS = {"segfault": segfault, "hog": hog, "hang": hang, "kill-coordinator": kill_coordinator}


def watched(function):
    name = function.__name__
    log, ruined = os.environ.get("JOBS_LOG"), json.loads(os.environ.get("JOBS_RUINED", "{}"))

    def job(*args, **named):
        what = args[0]
        if name in ON_SOUND:
            what = f"{os.path.basename(os.path.dirname(args[1]))}#{args[2]}"
        if log:
            target = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            os.write(target, f"{name} {what}\n".encode(errors="surrogateescape"))
            os.close(target)
        for text, ruin in ruined.items():
            if text in what:
                RUINS[ruin]()
        return function(*args, **named)

    job.__name__, job.__qualname__, job.__module__ = name, function.__qualname__, MODULE
    return job


class Finder(importlib.abc.MetaPathFinder):
    """Wraps the jobs when their module is imported."""

    def find_spec(self, name, path=None, target=None):
        if name != MODULE:
            return None
        sys.meta_path.remove(self)
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        run = spec.loader.exec_module

        def exec_module(module):
            run(module)
            for job in ON_RECORDINGS + ON_SOUND:
                setattr(module, job, watched(getattr(module, job)))

        spec.loader.exec_module = exec_module
        return spec


if "JOBS_LOG" in os.environ or "JOBS_RUINED" in os.environ:
    sys.meta_path.insert(0, Finder())
