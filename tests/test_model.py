"""A model bundle that does not keep its promises is refused by name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gnetsegd import model
from gnetsegd.errors import ModelError
from gnetsegd.frame import FrameSpec, MaskFormat
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
        (lambda folder: (folder / "model.tflite").unlink(), "model.tflite cannot be read: it is not there"),
        (lambda folder: (folder / "model.toml").write_text("= ="), "is not a readable TOML file"),
        (edit("schema = 1", "schema = 2"), "schema is 2; allowed is a whole number from 1 to 1"),
        (edit('format = "Y"', 'format = "GREY"'), "input.format is 'GREY'; allowed is one of Y, YUV444, RGB"),
        (edit("[mask]\nwidth", "[mask]\nwidht"), "unknown key mask.widht: did you mean mask.width?"),
        (edit('id = "threshold-32"', 'id = ""'), "id is ''; allowed is a text like"),
        (edit('classes = ["background", "person"]', "classes = []"), "mask.classes has 0 labels"),
        (edit('encoding = "u8"', 'encoding = "f32"'), "mask.encoding is 'f32'; allowed is one of u8"),
        (edit('encoding = "u8"', "threshold = nan"), "mask.threshold is nan; allowed is a number"),
        (
            edit('format = "Y"', 'format = "Y"\nscale = inf'),
            "input.scale is inf; allowed is",
        ),
        (edit('format = "Y"', 'format = "Y"\noffset = -inf'), "input.offset is -inf; allowed is a number"),
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


FILES = ["model.toml", "model.tflite"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (os.mkfifo, "a FIFO"),
        (os.mkdir, "a folder"),
        (lambda path: path.symlink_to("/dev/zero"), "a device"),
    ],
)
def test_what_is_no_plain_file_is_refused_at_once(
    bundle: Path, name: str, make: Callable[[Path], None], kind: str
) -> None:
    # A FIFO that nobody writes to, or a device that never ends, would hold the daemon for ever.
    (bundle / name).unlink()
    make(bundle / name)
    with pytest.raises(ModelError, match=f"{name} is {kind}, no plain file; install the bundle again"):
        load_bundle(str(bundle))


@pytest.mark.parametrize(
    ("name", "limit"), [("model.toml", "MANIFEST_MAX_BYTES"), ("model.tflite", "NETWORK_MAX_BYTES")]
)
def test_a_file_of_no_sensible_size_is_not_read_whole(
    bundle: Path, name: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (bundle / name).stat().st_size
    monkeypatch.setattr(model, limit, size)
    assert load_bundle(str(bundle)).id == "threshold-32"
    monkeypatch.setattr(model, limit, size - 1)
    with pytest.raises(ModelError, match=rf"{name} is larger than {size - 1} bytes"):
        load_bundle(str(bundle))


@pytest.mark.parametrize(
    "text",
    [
        "v = " + "[" * 3000,
        "id = " + "9" * 5000,
        "id = 0x" + "f" * 5000,
        "id" + ".a" * 5000 + " = 1",
        "k" * 5000 + " = 1",
        'id = "' + "k" * 5000 + '"',
        "\ufeff\x00",
    ],
    ids=["brackets", "digits", "hex digits", "dots", "a long key", "a long text", "NUL"],
)
def test_a_model_toml_that_hurts_parsers_is_a_short_sentence(bundle: Path, text: str) -> None:
    file = bundle / "model.toml"
    whole = text + "\n" + "".join(
        line for line in file.read_text().splitlines(keepends=True) if not line.startswith("id")
    )  # fmt: skip
    file.write_text(whole)
    with pytest.raises(ModelError) as caught:
        load_bundle(str(bundle))
    assert str(bundle) in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert caught.value.exit_code == os.EX_DATAERR


@pytest.mark.parametrize("name", ["x" * 5000, "/" + "x" * 5000, "x" * 5000 + "/y", "/a\0b"])
def test_a_name_that_no_file_can_have_is_a_short_sentence(name: str) -> None:
    with pytest.raises(ModelError) as caught:
        load_bundle(name)
    assert len(str(caught.value)) < 1000
    assert "\0" not in str(caught.value)


def test_width_and_height_are_not_mistaken_for_each_other(bundle: Path) -> None:
    edit("[input]\nwidth = 32\nheight = 32", "[input]\nwidth = 48\nheight = 20")(bundle)
    edit("[mask]\nwidth = 32\nheight = 32", "[mask]\nwidth = 24\nheight = 10")(bundle)
    loaded = load_bundle(str(bundle))
    assert loaded.input == FrameSpec(48, 20, "Y")
    assert loaded.mask == MaskFormat(24, 10, 8, 2)


def test_words_of_a_bundle_are_fit_for_a_terminal(bundle: Path) -> None:
    edit('classes = ["background", "person"]', 'classes = ["back\\u001b[2J", "person"]')(bundle)
    assert load_bundle(str(bundle)).labels == ("back?[2J", "person")


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


@pytest.mark.parametrize(
    ("classes", "said", "persons"),
    [
        ('["background", "person"]', "", ("person",)),
        ('["sky", "building", "Pedestrian", "bicyclist"]', "", ("Pedestrian", "bicyclist")),
        ('["sky", "building"]', "", ()),
        ('["none", "child", "person"]', 'persons = ["child"]', ("child",)),
    ],
)
def test_a_bundle_knows_which_of_its_labels_are_persons(
    bundle: Path, classes: str, said: str, persons: tuple[str, ...]
) -> None:
    edit('classes = ["background", "person"]', f"classes = {classes}\n{said}")(bundle)
    assert load_bundle(str(bundle)).persons == persons


def test_a_person_that_is_no_class_is_refused(bundle: Path) -> None:
    edit('classes = ["background", "person"]', 'classes = ["a", "b"]\npersons = ["person"]')(bundle)
    with pytest.raises(ModelError, match=r"mask.persons names 'person', which is none of mask.classes"):
        load_bundle(str(bundle))


@pytest.mark.parametrize("key", ["scale = 0.5", "offset = -1"])
def test_a_scale_of_bytes_is_for_networks_that_give_scores(bundle: Path, key: str) -> None:
    edit('format = "Y"', f'format = "Y"\n{key}')(bundle)
    with pytest.raises(ModelError, match=r"input.scale and input.offset are for mask.encoding 'scores'"):
        load_bundle(str(bundle))
    edit('encoding = "u8"', 'encoding = "scores"')(bundle)
    assert load_bundle(str(bundle)).gives_scores


def test_the_driving_bundles_take_no_building_for_a_person() -> None:
    assert load_bundle("gnetseg-driving").persons == ("person", "bicyclist")


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_name_that_is_none_is_told_with_those_that_there_are(name: str) -> None:
    with pytest.raises(ModelError, match=r"names no bundle; give a bundle's folder or one of: .*person"):
        load_bundle(name)
