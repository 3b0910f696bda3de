"""Every way a process can end has its own true name."""

from __future__ import annotations

import signal

import pytest

from gs_video_report.compute.death import Death, KillReason, explain, reads_as_out_of_memory
from gs_video_report.errors import (
    ComputeCrashed,
    ComputeOutOfMemory,
    ComputeStalled,
    ComputeTimeout,
    GsvrError,
    StepCancelled,
)

FN = "gs_video_report.media.speech.asr:transcribe_chunk"
GB = 10**9


def death(returncode: int = -9, **facts: object) -> Death:
    known: dict[str, object] = {
        "oom_kills": 0,
        "memory_available_bytes": 8 * GB,
        "memory_total_bytes": 16 * GB,
        "rss_bytes": GB // 2,
    }
    return Death(function=FN, returncode=returncode, **(known | facts))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("facts", "kind", "message"),
    [
        (
            death(killed_for=KillReason.TIMEOUT, limit=1800.0),
            ComputeTimeout,
            "transcribe_chunk took longer than 1800 s and was stopped",
        ),
        (
            death(killed_for=KillReason.STALL, limit=2.5),
            ComputeStalled,
            "transcribe_chunk made no progress for 2.5 s and was stopped",
        ),
        (
            death(killed_for=KillReason.MEMORY, limit=1.5 * GB),
            ComputeOutOfMemory,
            "transcribe_chunk needed more than 1500 MB and was stopped",
        ),
        (death(-15, killed_for=KillReason.CANCEL), StepCancelled, "transcribe_chunk was stopped"),
        (
            death(oom_kills=1),
            ComputeOutOfMemory,
            "transcribe_chunk was killed (signal 9) by the system for lack of memory",
        ),
        (
            death(oom_kills=None),
            ComputeOutOfMemory,
            "transcribe_chunk was killed (signal 9), most likely by the system for lack of memory",
        ),
        (
            death(memory_available_bytes=GB),
            ComputeOutOfMemory,
            "transcribe_chunk was killed (signal 9), most likely by the system for lack of memory",
        ),
        (
            death(rss_bytes=9 * GB, memory_available_bytes=15 * GB),
            ComputeOutOfMemory,
            "transcribe_chunk was killed (signal 9), most likely by the system for lack of memory",
        ),
        (
            death(),
            ComputeCrashed,
            "transcribe_chunk was killed from outside (signal 9); memory was not short",
        ),
        (death(-15), ComputeCrashed, "transcribe_chunk was ended from outside (SIGTERM)"),
        (
            death(-11),
            ComputeCrashed,
            "transcribe_chunk crashed with SIGSEGV (invalid memory access)",
        ),
        (
            death(-4),
            ComputeCrashed,
            (
                "transcribe_chunk crashed with SIGILL "
                "(this processor lacks an instruction that a library uses)"
            ),
        ),
        (
            death(-6, stderr="terminate called after throwing an instance of 'std::bad_alloc'"),
            ComputeOutOfMemory,
            "transcribe_chunk ran out of memory (SIGABRT)",
        ),
        (death(-6, stderr="assert"), ComputeCrashed, "transcribe_chunk crashed with SIGABRT"),
        (death(-63), ComputeCrashed, "transcribe_chunk crashed with signal 63"),
        (death(0), ComputeCrashed, "transcribe_chunk ended its process with exit code 0"),
        (death(137), ComputeCrashed, "transcribe_chunk ended its process with exit code 137"),
        (
            death(-9, disconnected=True),
            ComputeCrashed,
            "transcribe_chunk closed the connection to the program",
        ),
    ],
)
def test_cause_is_named(facts: Death, kind: type[GsvrError], message: str) -> None:
    error = explain(facts)
    assert type(error) is kind
    assert error.message.startswith(message)
    if "(" in message:
        assert error.message == message


def test_our_own_kill_is_never_called_a_crash_or_lack_of_memory() -> None:
    for reason in KillReason:
        error = explain(death(-9, killed_for=reason, oom_kills=1))
        if reason is not KillReason.MEMORY:
            assert not isinstance(error, ComputeCrashed | ComputeOutOfMemory)


def test_data_keeps_function_signal_and_last_output() -> None:
    error = explain(death(-11, stderr="last words"))
    assert error.data == {"function": FN, "signal": signal.SIGSEGV, "_stderr": "last words"}
    assert explain(death(3)).data == {"function": FN, "exit_code": 3}


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        ("RuntimeError", "std::bad_alloc", True),
        ("RuntimeException", "Failed to allocate memory for requested buffer of size 9", True),
        ("error", "OpenCV(4.11) Failed to allocate 8 bytes", True),
        ("OSError", "[Errno 12] Cannot allocate memory", True),
        ("ValueError", "out of memory words in a title", False),
        ("RuntimeError", "the model file is damaged", False),
    ],
)
def test_memory_errors_of_native_libraries_are_recognised(
    kind: str, text: str, expected: bool
) -> None:
    assert reads_as_out_of_memory(kind, text) is expected
