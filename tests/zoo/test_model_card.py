"""A card says what model.toml says, and the shipped cards are the generator's own."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from gnetseg_zoo import model_card
from gnetseg_zoo.model_card import CARDS, PICTURES, card, index
from gnetseg_zoo.scoring import speed
from gnetseg_zoo.scoring.bundle_scores import with_scores, with_speed

from gnetsegd.model import SHIPPED, load_bundle

REPOSITORY = Path(__file__).parents[2]
LARGEST_PICTURE_BYTES = 150_000
NAMES = sorted(path.parent.name for path in SHIPPED.glob("*/model.toml"))
SPEED = {"ms": 8.2, "runtime": "tflite-runtime", "machine": "a test"}


def shipped(name):
    return tomllib.loads((SHIPPED / name / "model.toml").read_text("utf-8"))


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_bundles_card_is_what_the_generator_gives(name):
    picture = (REPOSITORY / PICTURES / f"{name}.jpg").is_file()
    wanted = card(shipped(name), size_bytes=len(load_bundle(name).content), picture=picture)
    path = REPOSITORY / CARDS / f"{name}.md"
    assert path.is_file(), f"write it: python -m gnetseg_zoo.model_card {name}"
    assert path.read_text("utf-8") == wanted, f"write it again: python -m gnetseg_zoo.model_card {name}"


def test_the_list_of_shipped_bundles_is_what_the_generator_gives():
    wanted = index([shipped(name) for name in NAMES])
    path = REPOSITORY / CARDS / "README.md"
    assert path.read_text("utf-8") == wanted, "write it again: python -m gnetseg_zoo.model_card NAME"


def test_a_bundle_that_tells_nothing_of_its_training_is_listed():
    table = shipped("gnetseg-large-cpu30")
    bare = {"id": "mine", "input": table["input"], "mask": table["mask"]}
    assert "| [mine](mine.md) | Y 224x224 | 2 classes |  |" in index([bare])


def test_the_learning_curve_stands_on_the_card():
    table = shipped("gnetseg-large-cpu30")
    curve = [{"minutes": 2.0, "images": 9}, {"minutes": 4.0, "images": 24544, "persons": 0.9013}]
    table["training"] = table["training"] | {"curve": curve}
    text = card(table, size_bytes=1, picture=False)
    assert "| minutes | images | persons |" in text
    assert "| 2.0 | 9 |  |" in text
    assert "| 4.0 | 24,544 | 0.9013 |" in text


def test_the_bundle_begun_from_its_sources_and_the_teacher_stand_on_the_card():
    table = shipped("gnetseg-large-cpu30")
    origin = {
        "begin_from": "older",
        "begin_from_sha256": "ab12",
        "teacher": "T",
        "distillation": 0.35,
    }
    table["training"] = table["training"] | origin
    table["data"]["sources"] = [{"name": "flats", "photos": 1234, "licence": "CC0", "through": "older"}]
    text = card(table, size_bytes=1, picture=False)
    assert "| begun from | older, sha256 ab12 |" in text
    assert "| teacher | T; its share of the target: 0.35 |" in text
    assert "| flats (through older) | 1,234 | CC0 |" in text


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_picture_is_small(name):
    picture = REPOSITORY / PICTURES / f"{name}.jpg"
    assert not picture.is_file() or picture.stat().st_size <= LARGEST_PICTURE_BYTES


def test_every_source_every_score_and_the_chips_verdict_stand_on_the_card():
    table = shipped("gnetseg-large-cpu30")
    text = card(table, size_bytes=163_000, picture=False)
    for source in table["data"]["sources"]:
        through = f" (through {source['through']})" if "through" in source else ""
        assert f"| {source['name']}{through} | {source['photos']:,} | {source['licence']} |" in text
    for name, numbers in table["scores"].items():
        if name != "split":
            assert f"| {name} | " in text
            assert all(str(value) in text for value in numbers.values())
    assert table["data"]["note"] in text
    assert "| does not fit | major layers |" in text
    assert "163,000 bytes" in text
    assert "![" not in text


def test_what_was_not_measured_is_said_and_what_was_names_the_machine():
    table = shipped("gnetseg-large-cpu30")
    bare = {key: table[key] for key in ("id", "input", "mask")}
    assert "not measured" in card(bare, size_bytes=1, picture=False)
    assert "Not scored yet" in card(bare, size_bytes=1, picture=False)
    text = card(table | {"speed": SPEED}, size_bytes=1, picture=True)
    assert "8.2 ms of one core (tflite-runtime), measured on a test" in text
    assert "](../img/models/gnetseg-large-cpu30.jpg)" in text


def test_the_scores_of_scenes_are_told_as_such():
    scores = {"split": "test", "road": {"iou": 0.9, "pixels": 123456}, "all": {"miou": 0.5}}
    table = shipped("gnetseg-large-cpu30") | {"scores": scores}
    text = card(table, size_bytes=1, picture=False)
    assert "| road | 0.9 | 123,456 |  |" in text
    assert "The whole photo stretched" in text


def test_speed_and_scores_keep_out_of_each_others_way():
    text = 'id = "x"\n\n[training]\nseed = 1\n'
    both = with_speed(with_scores(text, "val", {"persons": {"miou": 0.5}}), SPEED)
    again = with_speed(with_scores(both, "val", {"persons": {"miou": 0.6}}), SPEED | {"ms": 9.0})
    assert tomllib.loads(again) == {
        "id": "x",
        "training": {"seed": 1},
        "speed": SPEED | {"ms": 9.0},
        "scores": {"split": "val", "persons": {"miou": 0.6}},
    }
    assert tomllib.loads(with_speed(text, SPEED))["speed"] == SPEED


def test_a_frames_time_is_measured_and_the_bundle_still_loads(tmp_path, monkeypatch):
    folder = tmp_path / "gnetseg-large-cpu30"
    folder.mkdir()
    for file in ("model.toml", "model.tflite"):
        (folder / file).write_bytes((SHIPPED / "gnetseg-large-cpu30" / file).read_bytes())
    found = speed.measure(load_bundle(str(folder)), frames=2)
    assert found["ms"] > 0
    assert found["machine"]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(speed, "measure", lambda _: SPEED)
    assert model_card.main([str(folder), "--speed"]) == 0
    assert load_bundle(str(folder)).id == "gnetseg-large-cpu30"
    assert "8.2 ms" in (tmp_path / CARDS / "gnetseg-large-cpu30.md").read_text("utf-8")


def test_a_bundle_that_is_not_there_is_one_sentence(capsys):
    assert model_card.main(["no-such-model"]) == 66
    assert "no-such-model" in capsys.readouterr().err
