"""Which packets a picture needs to be exactly as recorded, and that written ones are."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from gs_video_report.media.slides.exact import Origin, Trust, is_reference, origin_of
from gs_video_report.media.slides.find import SlideParams, find_slides
from gs_video_report.media.slides.images import encode
from gs_video_report.media.slides.reader import Reader
from tests.support.media_video import BY_NAME, Style, make_video

REFERENCE, DISPOSABLE, INFO = b"\x41\x9a\x00", b"\x01\x9a\x00", b"\x06\x05\x01\xff"


@dataclass(frozen=True)
class Packet:
    """Time and bytes, as PyAV gives them."""

    pts: int
    data: bytes

    def __bytes__(self) -> bytes:
        return self.data


def lengths(*units: bytes) -> bytes:
    return b"".join(len(unit).to_bytes(4, "big") + unit for unit in units)


def codes(*units: bytes) -> bytes:
    return b"".join(b"\x00\x00\x00\x01" + unit for unit in units)


@pytest.mark.parametrize(("join", "length_bytes"), [(lengths, 4), (codes, 0)])
def test_picture_that_no_other_refers_to_is_told_from_its_first_slice(
    join: Any, length_bytes: int
) -> None:
    assert is_reference(join(REFERENCE), length_bytes)
    assert is_reference(join(INFO, REFERENCE), length_bytes)
    assert not is_reference(join(DISPOSABLE), length_bytes)
    assert not is_reference(join(INFO, DISPOSABLE, DISPOSABLE), length_bytes)
    assert is_reference(join(INFO), length_bytes), "in doubt"
    assert is_reference(b"", length_bytes)


def origin(*units: bytes, sent: set[int]) -> Origin:
    packets = [Packet(at, lengths(unit)) for at, unit in enumerate(units)]
    chosen = [each for each in packets if each.pts in sent]
    return origin_of(packets, chosen, b"\x01\x64\x00\x1f\xff", forward=True)


def test_only_missing_references_call_for_another_decoding() -> None:
    group = (REFERENCE, REFERENCE, DISPOSABLE, REFERENCE)
    assert origin(*group, sent={0, 1, 3}).needed(3) == []
    assert [each.pts for each in origin(*group, sent={0, 3}).needed(3)] == [0, 1, 2, 3]
    assert origin(*group, sent={0, 1, 2}).needed(1) == []
    assert origin(*group, sent={0, 3}).needed(9) == []
    assert origin(*group, sent={0, 3}).needed(None) == []


def test_trust_is_tried_now_and_then_and_lost_for_good() -> None:
    trust, kept = Trust(), origin(REFERENCE, sent={0})
    assert [trust.must_try(kept) for _ in range(17)] == [at % 8 == 0 for at in range(17)]
    assert Trust().must_try(replace(kept, forward=False))
    trust.tried(replace(kept, forward=False), same=False)
    assert not trust.must_try(kept), "says nothing about those predicted forwards"
    trust.tried(kept, same=False)
    assert all(trust.must_try(kept) for _ in range(9))


def walker(t_s: float) -> Image.Image:
    """Pages of ten seconds; someone with stripes walks before them, and a cursor jumps."""
    out = BY_NAME["hard_cuts"].picture(0.0 if t_s < 8 else 6.0).copy()
    draw, x = ImageDraw.Draw(out), 40 + 12 * t_s
    if t_s < 20:
        for stripe in range(8):
            draw.rectangle((x + 9 * stripe, 200, x + 9 * stripe + 5, 350), "#7b5ea7")
    jump = random.Random(int(t_s * 1.3)).randrange(600)
    draw.polygon([(jump, 20), (jump + 14, 34), (jump, 40)], "black")
    return out


X264 = "keyint=90:min-keyint=90:scenecut=0:bframes=3:b-pyramid=normal:ref=4:b-adapt=0"


def recorded(style: Style, folder: Path) -> str:
    return str(make_video(style, folder))


def all_pictures(path: str) -> Iterator[bytes]:
    """Each frame of a recording as it would be written."""
    import av

    with av.open(path) as container:
        container.streams.video[0].codec_context.thread_count = 1
        for frame in container.decode(video=0):
            yield encode(frame, SlideParams())[0]


def test_pictures_are_exactly_those_of_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packets are left out on the way; no picture may show where someone stood before."""
    style = replace(
        BY_NAME["hard_cuts"], duration_s=21.0, fps=15, options={"x264-params": X264}, picture=walker
    )
    path = recorded(style, tmp_path)
    frames = set(all_pictures(path))
    found = find_slides(path, str(tmp_path / "out"), SlideParams())
    written = [(tmp_path / "out" / slide.file).read_bytes() for slide in found.slides]
    assert len(written) >= 2
    assert [data in frames for data in written] == [True] * len(written)

    monkeypatch.setattr(Reader, "exactly", lambda _self, frame, _origin: frame)
    find_slides(path, str(tmp_path / "raw"), SlideParams())
    raw = [(tmp_path / "raw" / slide.file).read_bytes() for slide in found.slides]
    assert not all(data in frames for data in raw), "this recording shows ghosts without the cure"
