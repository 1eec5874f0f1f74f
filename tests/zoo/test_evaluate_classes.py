"""Driving scenes are scored whole, per class and per drive, and by the same command."""

from __future__ import annotations

import json

import attrs
import numpy as np
import pytest
from gnetseg_zoo import evaluate
from gnetseg_zoo.datasets import camvid
from gnetseg_zoo.datasets.labels import IGNORE, LabelledPhoto
from gnetseg_zoo.datasets.samples import DataError
from gnetseg_zoo.datasets.whole_pictures import open_labelled, stretched_input, stretched_labels
from gnetseg_zoo.scoring import labeller
from gnetseg_zoo.scoring.evaluate_classes import load_labelled, score_classes
from PIL import Image

from gnetsegd.errors import ModelError
from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.model import ModelBundle

SIZE = 8


class Reader:
    """Stands for a network: the label of a pixel is its brightness over 20."""

    def __init__(self, bundle, **_options):
        self.bundle = bundle

    def mask(self, pixels):
        assert pixels.shape == (SIZE, SIZE, 1)
        return pixels[:, :, 0] // 20


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.setattr(labeller, "Network", Reader)
    spec, mask = FrameSpec(SIZE, SIZE, "Y"), MaskFormat(SIZE, SIZE, 8, len(camvid.NAMES))
    return ModelBundle("scenes", "", "", tmp_path / "scenes", b"", b"", spec, mask, camvid.NAMES)


@pytest.fixture
def drives(tmp_path):
    """A csv of two drives of 16x8 photos: one read right, one half wrong; one pixel column unlabelled."""
    lines = [",".join(camvid.COLUMNS)]
    for sequence, seen in (("A", 3), ("B", 4)):
        pixels = np.full((8, 16), 60, np.uint8)
        pixels[:, 8:] = 20 * seen
        labels = np.full((8, 16), 3, np.uint8)
        labels[:, :2] = camvid.UNLABELLED
        Image.fromarray(pixels).save(tmp_path / f"{sequence}.png")
        Image.fromarray(labels).save(tmp_path / f"{sequence}_label.png")
        lines.append(f"{sequence}.png,{sequence}_label.png,test,{sequence}")
    index = tmp_path / "drives.csv"
    index.write_text("\n".join(lines) + "\n")
    return index


def test_each_class_and_each_drive_has_its_score_and_unlabelled_pixels_have_none(bundle, drives):
    chosen = load_labelled(drives, "test")
    scores = score_classes(bundle, chosen.photos, chosen.classes)
    # 8x8 masks, one column unlabelled: A 56 right; B 24 right and 32 taken for class 4.
    assert scores["all"] == {
        "miou": round(80 / 112 / 2, 4),
        "pixel_accuracy": round(80 / 112, 4),
        "photos": 2,
    }
    assert scores["road"] == {"iou": round(80 / 112, 4), "pixels": 112}
    assert scores["pavement"] == {"iou": 0.0, "pixels": 0}
    assert scores["sky"] == {"pixels": 0}
    assert scores["sequence A"] == {"miou": 1.0, "pixel_accuracy": 1.0, "photos": 1}
    assert scores["sequence B"]["pixel_accuracy"] == round(24 / 56, 4)


def test_a_network_that_numbers_the_classes_otherwise_is_scored_by_their_names(bundle, drives):
    """The reader says 3 and 4, which are other classes in another order."""
    chosen = load_labelled(drives, "test")
    reversed_bundle = attrs.evolve(bundle, labels=camvid.NAMES[::-1])
    scores = score_classes(reversed_bundle, chosen.photos, chosen.classes)
    assert scores["road"] == {"iou": 0.0, "pixels": 112}
    assert scores["all"]["pixel_accuracy"] == 0.0
    # With road and sky exchanged road is 0, which the reader never says, and sky is 3.
    exchanged = ["road", *camvid.NAMES[1:3], "sky", *camvid.NAMES[4:]]
    scores = score_classes(attrs.evolve(bundle, labels=tuple(exchanged)), chosen.photos, chosen.classes)
    assert scores["road"]["iou"] == 0.0
    # And where the labels themselves are of the sky, saying 3 is right.
    for label in drives.parent.glob("*_label.png"):
        pixels = np.asarray(Image.open(label))
        Image.fromarray(np.where(pixels == 3, 0, pixels).astype(np.uint8)).save(label)
    scores = score_classes(attrs.evolve(bundle, labels=tuple(exchanged)), chosen.photos, chosen.classes)
    assert scores["sky"] == {"iou": round(80 / 112, 4), "pixels": 112}


def test_one_drive_alone_can_be_scored(bundle, drives):
    chosen = load_labelled(drives, "test", "A")
    assert score_classes(bundle, chosen.photos, chosen.classes)["all"]["miou"] == 1.0
    with pytest.raises(DataError, match="has no sequence 'C'; there are A, B"):
        load_labelled(drives, "test", "C")
    with pytest.raises(DataError, match="no photo has split 'val'; there are test"):
        load_labelled(drives, "val")


def test_the_command_picks_the_way_to_score_by_the_data(bundle, drives, monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "load_bundle", lambda _: bundle)
    arguments = ["--model", "scenes", "--data", str(drives), "--split", "test", "--json"]
    assert evaluate.main([*arguments, "--sequence", "B"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert found["all"]["photos"] == 1
    assert "sequence B" not in found


def test_a_network_of_other_classes_is_refused_with_both_lists(drives, bundle):
    persons = ModelBundle(
        "p", "", "", bundle.path, b"", b"", bundle.input, MaskFormat(8, 8, 8, 2), ("background", "person")
    )
    chosen = load_labelled(drives, "test")
    with pytest.raises(ModelError, match=r"background, person but the data has the classes sky, building"):
        score_classes(persons, chosen.photos, chosen.classes)


def test_photos_of_persons_have_no_sequences(index, capsys):
    arguments = [
        "--model",
        "gnetseg-large-cpu30",
        "--data",
        str(index),
        "--split",
        "train",
        "--sequence",
        "A",
    ]
    assert evaluate.main(arguments) == 65
    assert "have no sequences" in capsys.readouterr().err


def test_a_photo_is_stretched_whole_and_its_labels_stay_labels():
    ramp = np.repeat(np.arange(8, dtype=np.uint8) * 10, 2)[None].repeat(4, axis=0)
    pixels = stretched_input(Image.fromarray(ramp), 4, 8)
    assert pixels.shape == (8, 4, 1)
    assert pixels[0, :, 0].tolist() == pixels[-1, :, 0].tolist() == [5, 25, 45, 65]
    labels = stretched_labels(np.array([[3, IGNORE]], np.uint8), 4, 2)
    assert labels.tolist() == [[3, 3, IGNORE, IGNORE]] * 2


def test_labels_of_another_size_than_their_photo_are_refused(tmp_path):
    photo = LabelledPhoto(tmp_path / "a.png", tmp_path / "b.png", "test", "A")
    Image.new("L", (4, 4)).save(photo.image)
    Image.new("L", (4, 2)).save(photo.label)
    with pytest.raises(DataError, match=r"b\.png: the labels are 4x2 but their photo a\.png is 4x4"):
        open_labelled(photo, camvid.CLASSES, "Y")
