"""Small libraries, undisturbed runs and scenes, made once for all tests of a process."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability import shim
from tests.reliability.scene import CHEAP, Scene, fake_model, fast_folder, small_library


@pytest.fixture
def fast(tmp_path: Path) -> Iterator[Path]:
    """A private folder in memory where there is such a place: syncing costs nothing there."""
    place = fast_folder()
    if place is None:
        yield tmp_path
        return
    with tempfile.TemporaryDirectory(prefix="gsvr-test-", dir=place) as name:
        yield Path(name)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four talks of a second, one of them twice, and a file that is no recording."""
    return small_library(tmp_path_factory.mktemp("library"), talks=3)


@pytest.fixture(scope="session")
def flags(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Flags that make a run cheap."""
    return (*CHEAP, "--asr-model", str(fake_model(tmp_path_factory.mktemp("model"))))


@pytest.fixture(scope="session")
def reference(
    tmp_path_factory: pytest.TempPathFactory, library: Path, flags: tuple[str, ...]
) -> Scene:
    """An undisturbed run over the library."""
    scene = Scene(tmp_path_factory.mktemp("reference"), library, flags)
    assert scene.finish() == 3, scene.said()
    return scene


@pytest.fixture
def scene(fast: Path, library: Path, flags: tuple[str, ...]) -> Scene:
    """A fresh place of work over the library."""
    return Scene(fast / "scene", library, flags)


@pytest.fixture
def faults(tmp_path: Path, scene: Scene) -> Iterator[shim.Faults]:
    """The scene under the shim."""
    if shim.missing():
        pytest.skip(shim.missing())
    with shim.Faults(tmp_path, scene.root) as made:
        scene.faults = made
        yield made
