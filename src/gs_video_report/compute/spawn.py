"""Start one child process: its command, environment and descriptors.

True here: the child gets one end of a socket pair and nothing else that is open; its input is
/dev/null; what it prints goes to a pipe; it is its own session. Keys are not in its environment,
since it decodes files that strangers made.
Never: waits for the child to come up.
Raises: OSError.
"""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

_SECRET_NAME = re.compile(r"API_?KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL", re.IGNORECASE)
_CHILD_ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "HF_HUB_OFFLINE": "1",
    "ORT_DISABLE_TELEMETRY": "1",  # ONNX Runtime would keep a device id and a log of its use
    "PYTHONHASHSEED": "0",
    "PYTHONUTF8": "1",
}


@dataclass(frozen=True, slots=True)
class WorkerOptions:
    """What all children of one backend have in common."""

    nice: int = 0
    data_limit_bytes: int = 0
    """Hard limit of private writable memory; 0 = none."""


def spawn(options: WorkerOptions) -> tuple[subprocess.Popen[bytes], socket.socket, int]:
    """Start a child. Returns it, our end of the socket, and the end of its output to read from.

    Both ends do not block.
    """
    ours, theirs = socket.socketpair()
    read_end, write_end = os.pipe()
    try:
        process = subprocess.Popen(  # noqa: S603  (our own module)
            _command(theirs.fileno(), options),
            stdin=subprocess.DEVNULL,
            stdout=write_end,
            stderr=write_end,
            pass_fds=(theirs.fileno(),),
            start_new_session=True,
            env=child_environment(os.environ),
        )
    except BaseException:
        ours.close()
        os.close(read_end)
        raise
    finally:
        theirs.close()
        os.close(write_end)
    os.set_blocking(read_end, False)
    ours.setblocking(False)
    return process, ours, read_end


def child_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a child: one thread per library, no network for models, no keys."""
    kept = {name: text for name, text in environment.items() if not _SECRET_NAME.search(name)}
    search = [path or os.getcwd() for path in sys.path]  # noqa: PTH109
    return {**kept, **_CHILD_ENVIRONMENT, "PYTHONPATH": os.pathsep.join(search)}


def _command(descriptor: int, options: WorkerOptions) -> list[str]:
    """`-P`: a file such as random.py in the working folder must not shadow the library."""
    words = (descriptor, os.getpid(), options.nice, options.data_limit_bytes)
    module = "gs_video_report.compute.child"
    return [sys.executable, "-P", "-m", module, *map(str, words)]
