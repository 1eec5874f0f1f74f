"""A bundle tells whose work it builds on: the bundle that it began from, and the teacher."""

from __future__ import annotations

import tomllib

import pytest
from gnetseg_zoo.config import load_config
from gnetseg_zoo.describe import CONFIGS
from gnetseg_zoo.exporting.provenance import TEACHER, provenance, with_inherited

from gnetsegd.errors import ModelError
from gnetsegd.model import SHIPPED, load_bundle

NAME = "gnetseg-large-cpu30"
TRAINING = load_config(CONFIGS / "gnetseg-large-softmax.toml").training


def test_what_the_checkpoint_says_counts():
    state = {"begin_from": {"name": "older", "sha256": "ab12"}, "distillation": 0.2}
    assert provenance(TRAINING, state) == {
        "begin_from": "older",
        "begin_from_sha256": "ab12",
        "distillation": 0.2,
        "teacher": TEACHER,
    }
    assert provenance(TRAINING, {"begin_from": None, "distillation": 0}) == {}


def test_of_a_checkpoint_that_says_nothing_the_configuration_does():
    share = TRAINING.distillation
    assert provenance(TRAINING, {}) == {"begin_from": NAME, "distillation": share, "teacher": TEACHER}


def test_sources_that_only_the_bundle_begun_from_had_are_listed_as_such():
    theirs = tomllib.loads((SHIPPED / NAME / "model.toml").read_text("utf-8"))["data"]["sources"]
    own = [{"name": theirs[0]["name"], "photos": 7, "licence": "CC0"}]
    found = with_inherited(own, NAME)
    assert found[0] == own[0]
    assert found[1:] == [source | {"through": NAME} for source in theirs[1:]]


def test_a_bundle_begun_from_that_is_not_there_is_one_sentence():
    with pytest.raises(ModelError, match=r"there is no .*no-such-model"):
        with_inherited([], "no-such-model")


def test_the_daemon_passes_over_what_a_bundle_tells_of_its_origin(tmp_path):
    for file in ("model.toml", "model.tflite"):
        (tmp_path / file).write_bytes((SHIPPED / NAME / file).read_bytes())
    text = (tmp_path / "model.toml").read_text("utf-8").replace("[training]", '[training]\nsomething = "x"')
    text += '\n[[data.sources]]\nname = "a"\nphotos = 1\nlicence = "b"\nthrough = "c"\n'
    (tmp_path / "model.toml").write_text(text)
    assert load_bundle(str(tmp_path)).id == NAME
