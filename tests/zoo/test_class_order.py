"""Classes that touch get neighbouring numbers, and every part of the zoo can read them in that order."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from gnetseg_zoo import class_order
from gnetseg_zoo.class_order import best_order, borders, cost
from gnetseg_zoo.datasets import camvid
from gnetseg_zoo.datasets.labels import IGNORE, ClassMap
from PIL import Image


def test_borders_are_counted_both_ways_and_the_unlabelled_has_none():
    labels = np.array([[0, 0, 1], [2, 0, IGNORE]], np.uint8)
    # 0|1 once beside, 2|0 once beside and once below.
    assert borders([labels], 3).tolist() == [[0, 1, 2], [1, 0, 0], [2, 0, 0]]


@pytest.mark.parametrize("seed", range(4))
def test_no_other_order_costs_less(seed):
    counts = np.random.default_rng(seed).integers(0, 50, (6, 6))
    counts = np.triu(counts, 1) + np.triu(counts, 1).T
    least = min(cost(counts, order) for order in itertools.permutations(range(6)))
    assert cost(counts, best_order(counts)) == least


def test_too_many_classes_are_refused_rather_than_waited_for():
    with pytest.raises(ValueError, match="at most 16"):
        best_order(np.zeros((17, 17), np.int64))


def test_classes_read_in_another_order_keep_their_names(tmp_path):
    Image.fromarray(np.array([[0, 1, 2, 9]], np.uint8)).save(tmp_path / "label.png")
    published = ClassMap(("sky", "road", "car"), {0: 0, 1: 1, 2: 2, 9: IGNORE})
    turned = published.in_order(("car", "sky", "road"))
    assert turned.names == ("car", "sky", "road")
    assert turned.read(tmp_path / "label.png").tolist() == [[1, 2, 0, IGNORE]]
    with pytest.raises(ValueError, match="has the classes sky, road, car"):
        published.in_order(("sky", "road"))


def test_the_command_names_the_order_of_a_data_set(tmp_path, capsys):
    # Rows of sky, tree and road: sky and road never touch.
    labels = np.repeat(np.array([[0], [5], [3]], np.uint8), 4, axis=1)
    Image.fromarray(labels).convert("RGB").save(tmp_path / "photo.png")
    Image.fromarray(labels).save(tmp_path / "label.png")
    index = tmp_path / "drives.csv"
    index.write_text(f"{','.join(camvid.COLUMNS)}\nphoto.png,label.png,train,A\n")
    assert class_order.main(["--data", str(index), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["best"] == 1.0
    assert said["as_published"] == 3.5  # sky 0, tree 5, road 3
    assert sorted(said["classes"]) == sorted(camvid.NAMES)
    numbers = [said["classes"].index(name) for name in ("sky", "tree", "road")]
    assert numbers in (sorted(numbers), sorted(numbers, reverse=True))
    assert class_order.main(["--data", str(tmp_path / "none.csv")]) == 65
    assert "none.csv: there is no such file or folder" in capsys.readouterr().err
    Image.fromarray(np.full_like(labels, camvid.UNLABELLED)).save(tmp_path / "label.png")
    assert class_order.main(["--data", str(index)]) == 65
    assert "no two classes touch" in capsys.readouterr().err
