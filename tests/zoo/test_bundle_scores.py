"""Scores in model.toml are replaced as a whole, and the rest is left as it was."""

from __future__ import annotations

import tomllib

from gnetseg_zoo.bundle_scores import with_scores

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
