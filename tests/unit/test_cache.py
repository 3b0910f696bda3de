"""The artifact store: by content, durable, shared between processes, bounded."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gs_video_report import cache as cache_module
from gs_video_report.cache import ArtifactStore, Freed, default_cache_dir, store_file
from gs_video_report.errors import (
    ArtifactMissing,
    DiskFullError,
    FileMissingError,
    OutputNotWritable,
)

DAY_S = 24 * 3600.0


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "cache")


def put(store: ArtifactStore, content: bytes, *, age_s: float = 0.0, suffix: str = ".jpg") -> str:
    source = store.root.parent / "source"
    source.write_bytes(content)
    key = store.put_file(source, suffix)
    if age_s:
        set_age(store.path(key), age_s)
    return key


def set_age(path: Path, age_s: float) -> None:
    then = time.time() - age_s
    os.utime(path, (then, then))


def test_key_is_the_content_and_the_suffix(store: ArtifactStore) -> None:
    digest = hashlib.sha256(b"slide").hexdigest()
    assert put(store, b"slide") == digest + ".jpg"
    assert store.path(digest + ".jpg").read_bytes() == b"slide"
    assert store.path(digest + ".jpg").parent == store.root / "objects" / digest[:2]


def test_same_content_twice_is_one_entry(store: ArtifactStore) -> None:
    assert put(store, b"slide") == put(store, b"slide")
    assert (store.info().entries, store.info().size_bytes) == (1, 5)


def test_source_stays_and_later_changes_to_it_do_not_reach_the_store(
    store: ArtifactStore, tmp_path: Path
) -> None:
    key = put(store, b"before")
    (tmp_path / "source").write_bytes(b"after!")
    assert store.path(key).read_bytes() == b"before"
    assert store.verify(key)


def test_function_for_compute_processes_gives_the_same_key(
    store: ArtifactStore, tmp_path: Path
) -> None:
    (tmp_path / "a.jpg").write_bytes(b"x")
    key = store_file(str(store.root), str(tmp_path / "a.jpg"), ".jpg")
    assert store.has(key)


def test_nothing_temporary_stays(store: ArtifactStore) -> None:
    put(store, b"one")
    put(store, b"one")
    assert list((store.root / "tmp").iterdir()) == []


@pytest.mark.parametrize(
    "key",
    ["", "abc", "../" + "a" * 61, "A" * 64, "a" * 64 + "/x", "a" * 64 + ".j/g", "a" * 64 + "\n"],
)
def test_key_cannot_leave_the_store(store: ArtifactStore, key: str) -> None:
    for action in (store.has, store.path, store.verify):
        with pytest.raises(ValueError, match="not a key"):
            action(key)


@pytest.mark.parametrize("suffix", ["jpg", "./x", ".JPG", "..", ".a/b", ".toolongsuffix"])
def test_suffix_cannot_leave_the_store(store: ArtifactStore, suffix: str) -> None:
    with pytest.raises(ValueError, match="not a suffix"):
        store.put_file(store.root, suffix)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", ".hidden", "x" * 200])
def test_work_folder_cannot_leave_the_store(store: ArtifactStore, name: str) -> None:
    with pytest.raises(ValueError, match="not a name"):
        store.work_dir(name)
    with pytest.raises(ValueError, match="not a name"):
        store.remove_work_dir(name)


def test_lost_entry_is_a_retryable_sentence(store: ArtifactStore, tmp_path: Path) -> None:
    key = put(store, b"x")
    store.path(key).unlink()
    assert not store.has(key)
    with pytest.raises(ArtifactMissing, match="a cached file is gone"):
        store.copy_to(key, tmp_path / "out.jpg")
    assert not (tmp_path / "out.jpg").exists()


def test_copy_to_makes_an_independent_file(store: ArtifactStore, tmp_path: Path) -> None:
    key = put(store, b"x")
    target = tmp_path / "assets" / "slide.jpg"
    store.copy_to(key, target)
    target.write_bytes(b"edited by its owner")
    assert store.path(key).read_bytes() == b"x"


def test_damaged_entry_fails_verification_and_is_removed(store: ArtifactStore) -> None:
    key = put(store, b"good")
    store.path(key).chmod(0o644)
    store.path(key).write_bytes(b"bad!")
    assert store.verify(key) is False
    assert not store.has(key)
    assert put(store, b"good") == key
    assert store.verify(key) is True


def test_missing_source_is_about_the_source(store: ArtifactStore, tmp_path: Path) -> None:
    with pytest.raises(FileMissingError, match="nothing here"):
        store.put_file(tmp_path / "nothing here", ".jpg")


def test_full_disk_stops_and_leaves_nothing(
    store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFullError):
        put(store, b"x")
    monkeypatch.undo()
    assert list((store.root / "tmp").iterdir()) == []
    assert store.info().entries == 0


def test_cache_that_cannot_be_written_names_its_variable(tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the way")
    with pytest.raises(OutputNotWritable) as caught:
        put(ArtifactStore(tmp_path / "cache"), b"x")
    assert caught.value.hint == "choose another cache folder with GSVR_CACHE_DIR"


# --- trimming ------------------------------------------------------------------------------------


def test_trim_removes_the_longest_unused_until_the_limit_holds(store: ArtifactStore) -> None:
    old = put(store, b"a" * 100, age_s=9 * DAY_S)
    middle = put(store, b"b" * 100, age_s=5 * DAY_S)
    young = put(store, b"c" * 100, age_s=1 * DAY_S)
    store.limit_bytes = 250
    assert store.trim() == Freed(1, 100)
    assert [store.has(key) for key in (old, middle, young)] == [False, True, True]


def test_use_counts_and_not_only_creation(store: ArtifactStore) -> None:
    used = put(store, b"a" * 100, age_s=9 * DAY_S)
    idle = put(store, b"b" * 100, age_s=5 * DAY_S)
    store.path(used)
    store.limit_bytes = 150
    store.trim()
    assert (store.has(used), store.has(idle)) == (True, False)


def test_putting_it_again_is_a_use(store: ArtifactStore) -> None:
    key = put(store, b"a" * 100, age_s=9 * DAY_S)
    put(store, b"a" * 100)
    store.limit_bytes = 0
    assert store.trim() == Freed()
    assert store.has(key)


def test_trim_leaves_what_was_used_within_the_hour(store: ArtifactStore) -> None:
    """A use less than an hour after the last noted one is not noted; it is safe all the same."""
    key = put(store, b"a" * 100, age_s=3500)
    store.path(key)
    set_age(store.path(key), 3500 + 3500)
    store.limit_bytes = 0
    assert store.trim() == Freed()


def test_reading_does_not_write_more_than_hourly(store: ArtifactStore) -> None:
    key = put(store, b"x", age_s=1800)
    before = store.path(key).stat().st_mtime_ns
    assert store.path(key).stat().st_mtime_ns == before


def test_pinned_entries_survive_trim_and_clear(store: ArtifactStore) -> None:
    pinned = put(store, b"a" * 100, age_s=9 * DAY_S)
    other = put(store, b"b" * 100, age_s=8 * DAY_S)
    store.limit_bytes = 0
    with store.pin([pinned]):
        assert store.trim() == Freed(1, 100)
        assert store.clear() == Freed()
    assert (store.has(pinned), store.has(other)) == (True, False)
    assert store.clear() == Freed(1, 100)


def test_pin_of_a_killed_process_ends_with_it(store: ArtifactStore) -> None:
    key = put(store, b"a" * 100, age_s=9 * DAY_S)
    store.limit_bytes = 0
    script = (
        "import sys; from pathlib import Path; from gs_video_report.cache import ArtifactStore\n"
        "with ArtifactStore(Path(sys.argv[1])).pin([sys.argv[2]]): print(1, flush=True); input()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", script, str(store.root), key],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        assert store.trim() == Freed()
        holder.kill()
    assert store.trim() == Freed(1, 100)
    assert list((store.root / "pins").iterdir()) == []


def test_only_one_process_trims_at_a_time(store: ArtifactStore) -> None:
    put(store, b"a" * 100, age_s=9 * DAY_S)
    store.limit_bytes = 0
    with store._trimming() as mine:
        assert mine
        assert ArtifactStore(store.root, 0).trim() == Freed()
    assert store.trim() == Freed(1, 100)


def test_trim_and_info_of_a_store_that_was_never_used(store: ArtifactStore) -> None:
    assert store.trim() == Freed()
    assert store.clear() == Freed()
    assert store.sweep_work_dirs(set()) == 0
    assert store.info().entries == 0
    assert not store.root.exists()


def test_trim_removes_temporary_files_of_killed_processes_and_no_models(
    store: ArtifactStore,
) -> None:
    put(store, b"x")
    dead = store.root / "tmp" / ".gsvr-dead.tmp"
    live = store.root / "tmp" / ".gsvr-live.tmp"
    model = store.root / "models" / "model.bin"
    model.parent.mkdir()
    for path in (dead, live, model):
        path.write_bytes(b"x")
    for path in (dead, model):
        set_age(path, 2 * DAY_S)
    store.limit_bytes = 0
    store.trim()
    store.clear()
    assert [path.exists() for path in (dead, live, model)] == [False, True, True]


def test_many_writers_of_the_same_content_agree(store: ArtifactStore, tmp_path: Path) -> None:
    source = tmp_path / "same"
    source.write_bytes(os.urandom(300_000))
    with ThreadPoolExecutor(8) as pool:
        keys = set(pool.map(lambda _: store.put_file(source, ".bin"), range(40)))
    assert len(keys) == 1
    assert store.verify(keys.pop())
    assert store.info().entries == 1


# --- work folders --------------------------------------------------------------------------------


def test_work_folder_survives_and_is_removed_by_name_only(store: ArtifactStore) -> None:
    mine, other = store.work_dir("mine"), store.work_dir("other")
    (mine / "audio.pcm").write_bytes(b"12")
    (other / "audio.pcm").write_bytes(b"3456")
    assert store.work_dir("mine") == mine
    assert (store.info().work_dirs, store.info().work_bytes) == (2, 6)
    store.remove_work_dir("mine")
    store.remove_work_dir("mine")
    assert not mine.exists()
    assert (other / "audio.pcm").read_bytes() == b"3456"


def test_sweep_takes_only_old_folders_that_nobody_lives_in(store: ArtifactStore) -> None:
    folders = {name: store.work_dir(name) for name in ("dead", "live", "young", "busy")}
    for folder in folders.values():
        (folder / "part").write_bytes(b"x")
    for name in ("dead", "live", "busy"):
        set_age(folders[name] / "part", 2 * DAY_S)
        set_age(folders[name], 2 * DAY_S)
    set_age(folders["busy"] / "part", 60)
    assert store.sweep_work_dirs({"live"}) == 1
    assert [folder.exists() for folder in folders.values()] == [False, True, True, True]


# --- where it is ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"GSVR_CACHE_DIR": "/big/disk", "XDG_CACHE_HOME": "/x"}, Path("/big/disk")),
        ({"GSVR_CACHE_DIR": "~/c"}, Path.home() / "c"),
        ({"XDG_CACHE_HOME": "/x"}, Path("/x/gsvr")),
        ({"XDG_CACHE_HOME": "relative"}, Path.home() / ".cache" / "gsvr"),
        ({"GSVR_CACHE_DIR": "", "XDG_CACHE_HOME": ""}, Path.home() / ".cache" / "gsvr"),
        ({}, Path.home() / ".cache" / "gsvr"),
    ],
)
def test_default_folder(environment: dict[str, str], expected: Path) -> None:
    assert default_cache_dir(environment) == expected


def test_protection_covers_unnoted_uses() -> None:
    assert cache_module.PROTECTED_S >= 2 * cache_module.TOUCH_AFTER_S


def test_an_adopted_file_shares_its_bytes_and_outlives_its_source(tmp_path: Path) -> None:
    store, source = ArtifactStore(tmp_path / "cache"), tmp_path / "download"
    source.write_bytes(b"a whole recording")
    key = store.adopt_file(source, ".mp4")
    assert key == store.put_file(source, ".mp4")
    assert store.path(key).stat().st_ino == source.stat().st_ino
    source.unlink()
    assert store.path(key).read_bytes() == b"a whole recording"
    assert store.verify(key)
    assert list((tmp_path / "cache" / "tmp").iterdir()) == []


def test_a_file_on_a_disk_without_links_is_copied(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "another disk")

    monkeypatch.setattr(os, "link", refuse)
    store, source = ArtifactStore(tmp_path / "cache"), tmp_path / "download"
    source.write_bytes(b"a whole recording")
    key = store.adopt_file(source, ".mp4")
    assert store.path(key).stat().st_ino != source.stat().st_ino
    assert store.verify(key)
