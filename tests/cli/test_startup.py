"""Commands that do not work on media start fast: nothing heavy is imported."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import run_gsvr

HEAVY = (
    "av",
    "numpy",
    "cv2",
    "faster_whisper",
    "ctranslate2",
    "onnxruntime",
    "rapidocr",
    "openpyxl",
    "jinja2",
    "yaml",
    "pydantic",
    "google",
    "openai",
)

SCRIPT = """
import sys
sys.argv = ["gsvr", *{args!r}]
from gs_video_report.cli import main
try:
    main()
except SystemExit:
    pass
print("HEAVY", [m for m in {heavy!r} if m in sys.modules])
"""


@pytest.mark.parametrize(
    "args",
    [
        ["--help"],
        ["--version"],
        ["batch", "--help"],
        ["batch", "process", "--help"],
        ["batch", "status"],
        ["batch", "list"],
    ],
    ids=" ".join,
)
def test_light_commands_load_nothing_heavy(args: list[str], tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(args=args, heavy=HEAVY)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.splitlines()[-1] == "HEAVY []", done.stdout + done.stderr


def test_an_ascii_terminal_gets_every_command_s_answer(tmp_path: Path) -> None:
    """Pins: `templates show` of a Chinese template ended in an unexpected UnicodeEncodeError."""
    for face in ((), ("--json",)):
        env = {"PYTHONIOENCODING": "ascii"}
        words = ("templates", "show", "chinese_transcript", *face)
        answer = run_gsvr(*words, cwd=tmp_path, env=env)
        assert (answer.code, answer.err) == (0, "")
        assert answer.out.isascii()
    assert json.loads(answer.out)["name"] == "chinese_transcript"
