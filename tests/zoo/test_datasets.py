"""Each data set is read in its published layout, on a tiny made-up tree."""

from __future__ import annotations

import numpy as np
import pytest
from gnetseg_zoo.datasets import camvid, cityscapes
from gnetseg_zoo.datasets.data import open_persons
from gnetseg_zoo.datasets.labels import IGNORE
from gnetseg_zoo.datasets.matting_human import load_matting_human
from gnetseg_zoo.datasets.pictures import hard_mask, open_pair
from gnetseg_zoo.datasets.samples import DataError
from PIL import Image


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def grey(value=0, size=(4, 4)):
    return np.full(size, value, np.uint8)


@pytest.fixture
def matting_human(tmp_path):
    for n in range(20):
        clip = tmp_path / "clip_img" / "1803151818" / "clip_00000000" / f"1803151818-{n:08}.jpg"
        save(clip, np.zeros((8, 6, 3), np.uint8))
        cut_out = np.zeros((8, 6, 4), np.uint8)
        cut_out[4:, :, 3] = 255
        save(tmp_path / "matting" / "1803151818" / "matting_00000000" / f"1803151818-{n:08}.png", cut_out)
    (clip.parent / "._1803151818-00000005.jpg").write_bytes(b"left over")
    return tmp_path


def test_matting_human_is_split_90_to_10_and_its_alpha_is_the_mask(matting_human):
    samples = load_matting_human(matting_human)
    assert [s.split for s in samples].count("train") == 18
    assert len(samples) == 20
    assert samples == load_matting_human(matting_human)
    _, mask = open_pair(samples[0], "Y")
    assert hard_mask(mask, 2).tolist() == [[False, False], [True, True]]


def test_a_split_that_matting_human_has_not_is_refused_rather_than_empty(matting_human):
    with pytest.raises(DataError, match="no photo has split 'test'; there are train, val"):
        open_persons("matting_human", matting_human, "test")


def test_a_portrait_without_its_matting_is_named(matting_human):
    next(matting_human.glob("matting/*/*/*.png")).unlink()
    with pytest.raises(DataError, match=r"\.png: is missing, it belongs to 1803151818-.*\.jpg"):
        load_matting_human(matting_human)


def test_another_layout_is_refused_with_the_right_one(tmp_path):
    with pytest.raises(DataError, match="clip_img: there is no such folder; the layout is clip_img/"):
        load_matting_human(tmp_path)
    with pytest.raises(DataError, match="leftImg8bit"):
        cityscapes.load_cityscapes(tmp_path)
    with pytest.raises(DataError, match="trainannot"):
        camvid.load_camvid(tmp_path)


@pytest.fixture
def city(tmp_path):
    stem = "aachen/aachen_000000_000019"
    save(tmp_path / "leftImg8bit" / "train" / f"{stem}_leftImg8bit.png", grey())
    labels = np.array([[7, 33], [12, 0]], np.uint8)
    save(tmp_path / "gtFine" / "train" / f"{stem}_gtFine_labelIds.png", labels)
    return tmp_path


def test_cityscapes_has_the_papers_16_classes(city):
    (photo,) = cityscapes.load_cityscapes(city)
    assert (photo.split, photo.group) == ("train", "aachen")
    names = cityscapes.CLASSES.names
    assert len(names) == 16
    read = cityscapes.CLASSES.read(photo.label)
    # Road, bicycle; wall is one of the four that the paper leaves out, 0 is unlabelled.
    assert [[names[n] for n in row] for row in read] == [["road", "bicycle"], ["void", "void"]]


def test_an_unknown_label_is_named_with_its_file(city):
    (photo,) = cityscapes.load_cityscapes(city)
    save(photo.label, grey(200))
    with pytest.raises(DataError, match=r"labelIds\.png: label 200 is none of this data set's"):
        cityscapes.CLASSES.read(photo.label)


def test_camvid_is_read_by_folders_and_by_index_alike(tmp_path):
    for split in camvid.SPLITS:
        save(tmp_path / split / "0001TP_006690.png", grey())
        picture = Image.fromarray(np.array([[10, 11]], np.uint8), "P")
        picture.putpalette([0, 0, 255] * 12)
        (tmp_path / f"{split}annot").mkdir()
        picture.save(tmp_path / f"{split}annot" / "0001TP_006690.png")
    photos = camvid.load_camvid(tmp_path)
    assert [p.split for p in photos] == ["train", "val", "test"]
    assert camvid.CLASSES.read(photos[0].label).tolist() == [[10, IGNORE]]
    lines = [f"{s}/0001TP_006690.png,{s}annot/0001TP_006690.png,{s},0001TP" for s in camvid.SPLITS]
    index = tmp_path / "index.csv"
    index.write_text("\n".join([",".join(camvid.COLUMNS), *lines]))
    assert camvid.load_camvid(index) == photos


@pytest.fixture
def drives(tmp_path):
    """An index of one CamVid photo."""
    save(tmp_path / "a.png", grey())
    save(tmp_path / "a_label.png", grey())
    index = tmp_path / "index.csv"
    index.write_text(",".join(camvid.COLUMNS) + "\na.png,a_label.png,test,0001TP\n")
    return index


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        (",sequence", "", r"index\.csv: has no column sequence"),
        (",test,0001TP", "", r"index\.csv, line 2: is cut short"),
        (
            ",test,",
            ",testing,",
            r"index\.csv, line 2: split 'testing' is unknown; write one of train, val, test",
        ),
        ("a_label.png,", "lost.png,", r"lost\.png: is missing, it belongs to a\.png"),
        ("a.png,", "lost.png,", r"lost\.png: is missing, it belongs to index\.csv"),
        ("a.png,a_label.png,test,0001TP\n", "", "names no photo"),
    ],
)
def test_a_faulty_camvid_index_is_refused_by_line_or_file(drives, old, new, sentence):
    drives.write_text(drives.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=sentence):
        camvid.load_camvid(drives)


def test_an_index_that_is_missing_or_no_text_is_one_sentence(drives):
    drives.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not a readable index"):
        camvid.load_camvid(drives)
    drives.unlink()
    with pytest.raises(DataError, match="not a readable index"):
        camvid.load_camvid(drives)


def test_a_tree_without_photos_is_refused_rather_than_empty(tmp_path):
    for folder in ("leftImg8bit", "gtFine", "clip_img", "matting", "train", "trainannot", "val"):
        (tmp_path / folder).mkdir()
    for folder in ("valannot", "test", "testannot"):
        (tmp_path / folder).mkdir()
    for load in (cityscapes.load_cityscapes, load_matting_human, camvid.load_camvid):
        with pytest.raises(DataError, match="holds no photo; the layout is"):
            load(tmp_path)


def test_a_cityscapes_photo_without_labels_is_named(city):
    next(city.glob("gtFine/*/*/*.png")).unlink()
    with pytest.raises(DataError, match=r"labelIds\.png: is missing, it belongs to aachen_"):
        cityscapes.load_cityscapes(city)


@pytest.mark.parametrize("kept", [0, 20, 45])
def test_a_damaged_label_picture_is_named(drives, kept):
    (photo,) = camvid.load_camvid(drives)
    photo.label.write_bytes(photo.label.read_bytes()[:kept])
    with pytest.raises(DataError, match=r"a_label\.png: cannot be decoded"):
        camvid.CLASSES.read(photo.label)


def test_a_matting_without_alpha_is_refused_rather_than_taken_for_a_person_all_over(matting_human):
    samples = load_matting_human(matting_human)
    save(samples[0].mask, np.zeros((8, 6, 3), np.uint8))
    with pytest.raises(DataError, match=r"\.png: has no alpha channel"):
        open_pair(samples[0], "Y")
