"""Scores in model.toml are replaced as a whole, and the rest is left as it was."""

from __future__ import annotations

import tomllib

from gnetseg_zoo.scoring.bundle_scores import with_scores

HEAD = 'schema = 1\nid = "x"\n\n[training]\nseed = 1\n'


def test_scores_are_added_and_replaced():
    first = with_scores(HEAD, "val", {"portrait": {"miou": 0.5, "photos": 3}, "empty": {"photos": 1}})
    second = with_scores(first, "val", {"portrait": {"miou": 0.75, "photos": 3}})
    assert tomllib.loads(second) == {
        "schema": 1,
        "id": "x",
        "training": {"seed": 1},
        "scores": {"split": "val", "portrait": {"miou": 0.75, "photos": 3}},
    }
    assert second.startswith(HEAD)


def test_names_with_spaces_are_written_as_toml_takes_them():
    text = with_scores(HEAD, "test", {"traffic light": {"iou": 0.5}, "sequence Seq05VD": {"miou": 0.25}})
    scores = tomllib.loads(text)["scores"]
    assert scores["traffic light"] == {"iou": 0.5}
    assert scores["sequence Seq05VD"] == {"miou": 0.25}
