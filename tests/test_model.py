"""A model bundle that does not keep its promises is refused by name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gnetsegd.errors import ModelError
from gnetsegd.model import SHIPPED, load_bundle

GOOD = Path(__file__).parent / "data" / "models" / "threshold-32"


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOOD, tmp_path / "bundle"))


def edit(old: str, new: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        file = folder / "model.toml"
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new))

    return change


def empty(folder: Path) -> None:
    (folder / "model.tflite").write_bytes(b"")


def truncate(folder: Path) -> None:
    file = folder / "model.tflite"
    file.write_bytes(file.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (empty, "is empty (0 bytes)"),
        (truncate, "is not the file that model.toml was made for"),
        (lambda folder: (folder / "model.tflite").unlink(), "model.tflite cannot be read: No such file"),
        (lambda folder: (folder / "model.toml").write_text("= ="), "is not a readable TOML file"),
        (edit("schema = 1", "schema = 2"), "schema is 2; allowed is a whole number from 1 to 1"),
        (edit('format = "Y"', 'format = "GREY"'), "input.format is 'GREY'; allowed is one of Y, YUV444, RGB"),
        (edit("[mask]\nwidth", "[mask]\nwidht"), "unknown key mask.widht: did you mean mask.width?"),
        (edit('id = "threshold-32"', 'id = ""'), "id is ''; allowed is a text like"),
        (edit('classes = ["background", "person"]', "classes = []"), "mask.classes has 0 labels"),
        (edit('encoding = "u8"', 'encoding = "f32"'), "mask.encoding is 'f32'; allowed is one of u8"),
        (edit("[input]", "[inptu]"), "lacks input"),
        (edit('file = "model.tflite"', 'file = "../model.tflite"'), "file is '../model.tflite'"),
    ],
)
def test_a_damaged_bundle_is_refused_by_name(
    bundle: Path, damage: Callable[[Path], None], sentence: str
) -> None:
    damage(bundle)
    with pytest.raises(ModelError) as caught:
        load_bundle(str(bundle))
    assert sentence in str(caught.value)
    assert str(bundle) in str(caught.value)


def test_a_bundle_that_is_not_there_is_named_beside_those_that_are() -> None:
    with pytest.raises(
        ModelError, match=r"give a bundle's folder or one of: .*gnetseg-large-cpu30"
    ) as caught:
        load_bundle("gnetseg-huge")
    assert caught.value.exit_code == os.EX_NOINPUT


def test_every_shipped_bundle_agrees_with_itself() -> None:
    names = sorted(path.parent.name for path in SHIPPED.glob("*/model.toml"))
    assert "gnetseg-large-cpu30" in names
    for name in names:
        bundle = load_bundle(name)
        assert bundle.id == name
        assert len(set(bundle.labels)) == len(bundle.labels) == bundle.mask.classes
        if "driving" not in name:
            assert bundle.labels == ("background", "person")
