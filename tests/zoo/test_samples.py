"""An index is read whole, or refused with the line and the remedy."""

from __future__ import annotations

import pytest
from gnetseg_zoo.datasets.samples import DataError, load_index, source_key


def test_an_index_gives_every_photo_of_the_split(index):
    train, val = load_index(index, "train"), load_index(index, "val")
    assert [s.image.name for s in train] == ["0.png", "1.png", "2.png", "room.png"]
    assert [s.image.name for s in val] == ["3.png"]
    assert train[3].mask is None
    assert source_key(train[3]) == "empty:rooms"
    assert source_key(train[0]) == "made_up"


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("0_mask.png", "lost.png", r"line 2: .*lost.png is missing; restore it or take the line out"),
        ("0_mask.png", "", "line 2: a portrait photo needs a mask"),
        ("1.png,1_mask.png,portrait", "1.png,1_mask.png,selfie", "line 3: domain 'selfie' is unknown"),
        ("hand,g3", "hand,g0", "group 'g0' is in the splits 'train' and 'val'"),
        ("label_kind,group", "label_kind,batch", "no column group"),
        ("1.png,1_mask.png,portrait,made_up,CC0,hand,g1,train", "1.png", "line 3: domain '' is unknown"),
    ],
)
def test_a_faulty_index_is_refused_by_line(index, old, new, sentence):
    index.write_text(index.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=sentence):
        load_index(index)


def test_a_split_that_is_not_there_names_those_that_are(index):
    with pytest.raises(DataError, match="no photo has split 'test'; there are train, val"):
        load_index(index, "test")


def test_a_missing_index_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="not a readable index"):
        load_index(tmp_path / "index.csv")
