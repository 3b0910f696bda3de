"""Frames survive any cutting of the stream; only importable functions have a name."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gs_video_report.compute import frames
from gs_video_report.compute.frames import FrameDecoder, FrameTooLarge, encode, function_name
from gs_video_report.media import probe


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.text(), st.binary(max_size=300)), max_size=8),
    st.lists(st.integers(1, 50), min_size=1, max_size=20),
)
def test_frames_survive_any_cutting_of_the_stream(
    sent: list[tuple[str, bytes]], cuts: list[int]
) -> None:
    stream = b"".join(encode(frame) for frame in sent)
    decoder, received, number = FrameDecoder(), [], 0
    while stream:
        size = cuts[number % len(cuts)]
        received += decoder.feed(stream[:size])
        stream, number = stream[size:], number + 1
    assert received == sent


def test_frame_that_should_have_been_a_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "MAX_FRAME_BYTES", 100)
    with pytest.raises(FrameTooLarge, match="pass a path instead"):
        encode(("result", b"x" * 200))
    with pytest.raises(FrameTooLarge):
        list(FrameDecoder().feed(b"\x00\x00\x01\x00"))


def test_names_of_functions() -> None:
    assert function_name(probe.probe) == "gs_video_report.media.probe:probe"
    for odd in (lambda: 1, partial(probe.probe, ""), [].append, FrameDecoder().feed, 3):
        with pytest.raises(TypeError, match="not an importable module-level function"):
            function_name(odd)
