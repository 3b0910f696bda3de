"""Rows and values: the keys of tasks."""

from __future__ import annotations

import os

from gs_video_report.batch.store.rows import neighbour_key


def key(source: str, template: str = "plain") -> str:
    return neighbour_key(source, f"{source}\0{template}")


def test_keys_of_one_folder_are_neighbours_in_the_order_of_their_names() -> None:
    names = [f"/courses/physics/lecture-{n:05}.mp4" for n in range(200)]
    keys = [key(name) for name in names]
    assert sorted(keys) == keys
    assert len({k[:8] for k in keys}) == 1
    assert key("/courses/maths/lecture-00001.mp4")[:8] != keys[0][:8]


def test_keys_differ_in_whatever_makes_another_task() -> None:
    sources = [
        "/a/talk.mp4",
        "/b/talk.mp4",
        "/a/talk.mkv",
        "/a/talk",
        "talk.mp4",
        "/a/long-talk.mp4",
    ]
    keys = {key(s, t) for s in sources for t in ("plain", "summary")}
    assert len(keys) == 2 * len(sources)
    assert {len(k) for k in keys} == {56}


def test_names_that_are_not_utf8_have_keys_too() -> None:
    names = [os.fsdecode(b"/a/caf\xe9.mp4"), os.fsdecode(b"/a/caf\xe8.mp4"), "/a/café.mp4"]
    keys = {key(name) for name in names}
    assert len(keys) == 3
    assert all(k.isascii() for k in keys)
