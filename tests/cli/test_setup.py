"""The set-up commands look where a batch would look: in the configured folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from gs_video_report.cli import app
from gs_video_report.templates.loader import SHIPPED_DIR

OWN = 'version: "{version}"\ntitle: Notes\ndescription: {text}\nlayout: |\n  # {{{{ title }}}}\n'


def gsvr(*words: str) -> str:
    answer = CliRunner().invoke(app, list(words))
    assert answer.exit_code == 0, answer.output
    return answer.output


def own_template(folder: Path, name: str, text: str = "mine", version: str = "3") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.yaml").write_text(OWN.format(version=version, text=text), "utf-8")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working directory below an empty home."""
    for name in ("GSVR_CONFIG", "GSVR_TEMPLATE_DIR", "GSVR_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg-cache"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def test_templates_of_the_configured_folder_come_first_and_are_marked(home: Path) -> None:
    own_template(home / "mine", "zebra")
    (home / "gsvr.yaml").write_text("template_dir: mine\n")
    lines = gsvr("templates", "list").splitlines()
    shipped = sorted(path.stem for path in SHIPPED_DIR.glob("*.yaml"))
    assert [line.split()[0] for line in lines] == ["zebra", *shipped]
    assert ["yours" in line.split() for line in lines] == [True] + [False] * len(shipped)


def test_the_folder_of_the_user_is_looked_at_without_any_configuration(home: Path) -> None:
    own_template(home.parent / "xdg-config" / "gsvr" / "templates", "seminar")
    assert gsvr("templates", "list").splitlines()[0].split()[0] == "seminar"


def test_an_own_template_in_the_place_of_a_shipped_one_is_listed_once_as_own(home: Path) -> None:
    own_template(home / "mine", "summary_report")
    listed = json.loads(gsvr("templates", "list", "--template-dir", "mine", "--json"))
    assert [t["name"] for t in listed].count("summary_report") == 1
    assert {t["name"]: t["own"] for t in listed} == {
        "summary_report": True,
        "chinese_transcript": False,
        "comprehensive_lesson": False,
        "transcript": False,
    }


def test_show_gives_the_text_of_the_configured_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_template(home / "mine", "summary_report", "of the variable")
    monkeypatch.setenv("GSVR_TEMPLATE_DIR", "mine")
    text = (home / "mine" / "summary_report.yaml").read_text()
    assert gsvr("templates", "show", "summary_report") == text


def test_flag_wins_over_the_file_and_the_named_file_over_the_project(home: Path) -> None:
    for name in ("a", "b", "c"):
        own_template(home / name, f"of_{name}")
    (home / "gsvr.yaml").write_text("template_dir: a\n")
    (home / "other.yaml").write_text("template_dir: b\n")

    def first(*words: str) -> str:
        return gsvr("templates", "list", *words).split()[0]

    assert first() == "of_a"
    assert first("--config", "other.yaml") == "of_b"
    assert first("--config", "other.yaml", "--template-dir", "c") == "of_c"


def cache_facts(*words: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(gsvr("cache", "info", "--json", *words))
    return found


def test_cache_info_shows_the_configured_folder_and_limit(home: Path) -> None:
    (home / "gsvr.yaml").write_text("cache_dir: here\ncache_limit: 3GB\n")
    found = cache_facts()
    assert Path(found["root"]) == home / "here"
    assert found["limit_bytes"] == 3_000_000_000
    assert Path(cache_facts("--cache-dir", "there")["root"]) == home / "there"


def test_cache_clear_empties_the_configured_folder_and_no_other(home: Path) -> None:
    from gs_video_report.cache import ArtifactStore

    (home / "gsvr.yaml").write_text("cache_dir: here\n")
    (home / "content").write_bytes(b"picture")
    stores = [ArtifactStore(home / name) for name in ("here", "there")]
    keys = [store.put_file(home / "content", ".bin") for store in stores]
    gsvr("cache", "clear", "--yes")
    assert [store.has(key) for store, key in zip(stores, keys, strict=True)] == [False, True]


def test_models_are_looked_for_in_the_configured_cache(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gs_video_report.media.speech import asr_models

    seen: list[Path] = []
    monkeypatch.setattr(asr_models, "list_models", lambda root: seen.append(root) or [])
    (home / "gsvr.yaml").write_text("cache_dir: here\n")
    assert gsvr("models", "list", "--json").strip() == "[]"
    assert seen == [home / "here"]


def test_a_model_is_made_ready_in_the_configured_cache(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gs_video_report.media.speech import asr_models

    seen: list[Path] = []

    def fetch(name: str, root: Path, _: object) -> asr_models.SpeechModel:
        seen.append(root)
        return asr_models.SpeechModel(name, str(root / name), "0" * 64, True, "hub")

    monkeypatch.setattr(asr_models, "fetch", fetch)
    (home / "gsvr.yaml").write_text("cache_dir: here\n")
    assert "small: ready" in gsvr("models", "fetch", "small")
    assert seen == [home / "here"]


@pytest.mark.parametrize(
    "words", [("templates", "list"), ("cache", "info"), ("models", "list")], ids=" ".join
)
def test_a_wrong_configuration_is_refused_here_too(words: tuple[str, ...], home: Path) -> None:
    (home / "gsvr.yaml").write_text("parallel: many\n")
    assert CliRunner().invoke(app, list(words)).exit_code == 2


@pytest.mark.parametrize("words", [("list",), ("show", "summary_report")])
def test_a_named_folder_of_templates_that_is_not_there_is_an_error(
    home: Path, words: tuple[str, ...]
) -> None:
    """It was passed over in silence."""
    answer = CliRunner().invoke(app, ["templates", *words, "--template-dir", "nowhere"])
    assert answer.exit_code == 2
    assert f"{home / 'nowhere'}: there is no such folder of templates" in answer.output
    (home / "file").touch()
    answer = CliRunner().invoke(app, ["templates", *words, "--template-dir", "file"])
    assert answer.exit_code == 2
    assert "is not a folder" in answer.output
