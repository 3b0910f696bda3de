"""Join the answers about two neighbouring stretches that were heard separately and overlap.

Pure.
"""

from __future__ import annotations

from dataclasses import replace

from gs_video_report.engines.llm.answer import Answer
from gs_video_report.engines.llm.merge import merge_answers
from gs_video_report.engines.llm.seams import join_lines


def join_answers(first: Answer, second: Answer, seam_start_s: float, seam_end_s: float) -> Answer:
    """Both answers; lines are joined in the seam only, everything else by `llm.merge`.

    Args:
        seam_start_s: where the second stretch begins.
        seam_end_s: where the first one ends.
    """
    lines = join_lines(first.segments, second.segments, seam_start_s, seam_end_s)
    rest = merge_answers([replace(first, segments=()), replace(second, segments=())])
    return replace(rest, segments=lines)
