"""Flicker is counted where nothing moves, and only there; filters do what their names say."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from gnetseg_zoo import flicker
from gnetseg_zoo.datasets.samples import DataError
from gnetseg_zoo.flicker import NEIGHBOURHOOD, STILL_LEVELS, Flicker, still_pixels
from gnetseg_zoo.scoring.labeller import Labeller
from gnetseg_zoo.scoring.smoothing import FILTERS, exponential, hold, lag
from PIL import Image

from gnetsegd.frame import FrameSpec

SIZE = 32
SPEC = FrameSpec(SIZE, SIZE)


def network(labels):
    return Labeller("made up", SPEC, (SIZE, SIZE), ("background", "person"), labels)


@pytest.fixture
def clip(tmp_path):
    """A folder of six pictures: a bright square moves down on the left, the right half is still."""
    pytest.importorskip("av")
    folder = tmp_path / "clip"
    folder.mkdir()
    for n in range(6):
        pixels = np.full((SIZE, SIZE), 60, np.uint8)
        pixels[4 * n : 4 * n + 8, 2:8] = 200
        Image.fromarray(pixels).save(folder / f"{n}.png")
    return folder


def test_a_network_that_follows_what_moves_does_not_flicker(clip):
    found = flicker.flicker_of(clip, network(lambda p: (p[:, :, 0] > 120).astype(np.uint8)))["none"].summary()
    assert found["flicker"] == 0.0
    assert found["changed"] > 0
    assert found["pairs"] == 5


def test_a_label_that_changes_where_nothing_moves_is_flicker(clip):
    frames = iter(range(100))

    def restless(pixels):
        out = np.zeros(pixels.shape[:2], np.uint8)
        out[:, SIZE // 2 :] = next(frames) % 2
        return out

    found = flicker.flicker_of(clip, network(restless))["none"].summary()
    # The restless half is still all the time, and so is what lies away from the square.
    assert found["flicker"] == pytest.approx(0.5 / found["still"], rel=1e-3)
    assert found["changed"] == 0.5


def test_still_means_that_the_whole_neighbourhood_is():
    before = np.zeros((21, 21), np.uint8)
    now = before.copy()
    now[10, 10] = STILL_LEVELS
    assert still_pixels(before, now).all()
    now[10, 10] = STILL_LEVELS + 1
    moving = ~still_pixels(before, now)
    assert moving.sum() == NEIGHBOURHOOD**2
    assert moving[10 - NEIGHBOURHOOD // 2, 10]
    assert np.array_equal(still_pixels(now, before), ~moving)


def test_nothing_still_is_no_flicker():
    count = Flicker()
    nowhere = np.zeros((2, 2), bool)
    count.add(nowhere, np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8))
    assert count.summary() == {"flicker": 0.0, "changed": 1.0, "still": 0.0, "pairs": 1}


def shown(step, labels):
    return [int(step(np.full((1, 1), label, np.uint8))[0, 0]) for label in labels]


def test_a_held_label_changes_when_enough_frames_disagree():
    assert shown(hold(2), [0, 1, 0, 1, 1, 1, 0, 0]) == [0, 0, 0, 0, 1, 1, 1, 0]
    assert shown(hold(1), [0, 1, 0]) == [0, 1, 0]


def test_the_running_mean_needs_a_few_frames_to_turn():
    assert shown(exponential(0.4), [0, 1, 0, 1, 1, 1]) == [0, 0, 0, 1, 1, 1]
    assert shown(exponential(1.0), [0, 1, 0]) == [0, 1, 0]


def test_panning_costs_a_filter_that_lags_and_nothing_without_one(tmp_path, index):
    tall = np.zeros((300, 40), np.uint8)
    tall[120:180] = 255
    Image.fromarray(tall).convert("RGB").save(tmp_path / "3.png")
    Image.fromarray(tall).save(tmp_path / "3_mask.png")
    costs = lag(network(lambda p: (p[:, :, 0] > 120).astype(np.uint8)), index, "val")
    assert list(costs) == list(FILTERS)
    assert costs["none"]["4 px"] > costs["hold 2"]["4 px"] > costs["hold 3"]["4 px"]
    assert costs["hold 2"]["1 px"] > costs["hold 2"]["4 px"]


def test_without_a_photo_to_pan_over_a_sentence_says_so(index):
    with pytest.raises(DataError, match="no photo of split val is long enough"):
        lag(network(lambda p: p[:, :, 0]), index, "val")


def test_the_command_ends_in_one_json_object(clip, capsys, monkeypatch):
    still = network(lambda p: np.zeros(p.shape[:2], np.uint8))
    monkeypatch.setattr(flicker, "load_bundle", lambda name: name)
    monkeypatch.setattr(flicker, "of_bundle", lambda _: still)
    assert flicker.main(["--model", "still", "--clip", str(clip), "--smoothing", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found["clips"]["clip"]) == set(FILTERS)
    assert found["clips"]["clip"]["none"]["flicker"] == 0.0


@pytest.mark.parametrize("keep", [0, 1])
def test_a_clip_that_cannot_be_judged_is_one_sentence(clip, capsys, monkeypatch, keep):
    monkeypatch.setattr(flicker, "load_bundle", lambda name: name)
    monkeypatch.setattr(flicker, "of_bundle", lambda _: network(lambda p: p[:, :, 0] // 255))
    for file in sorted(clip.iterdir())[keep:]:
        file.unlink()
    assert flicker.main(["--model", "m", "--clip", str(clip)]) != 0
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert str(clip) in error


def commanded(monkeypatch, of):
    monkeypatch.setattr(flicker, "load_bundle", lambda name: name)
    monkeypatch.setattr(flicker, "of_bundle", lambda _: of)


def test_two_clips_of_one_name_are_told_apart(clip, tmp_path, capsys, monkeypatch):
    commanded(monkeypatch, network(lambda p: np.zeros(p.shape[:2], np.uint8)))
    other = tmp_path / "other" / "clip"
    shutil.copytree(clip, other)
    assert flicker.main(["--model", "m", "--clip", str(clip), "--clip", str(other), "--json"]) == 0
    assert set(json.loads(capsys.readouterr().out.splitlines()[-1])["clips"]) == {str(clip), str(other)}


def test_filters_are_refused_for_more_than_two_classes(clip, capsys, monkeypatch):
    many = Labeller("scenes", SPEC, (SIZE, SIZE), ("sky", "road", "car"), lambda p: p[:, :, 0] // 100)
    commanded(monkeypatch, many)
    assert flicker.main(["--model", "m", "--clip", str(clip), "--smoothing"]) == 65
    assert "has 3 classes, and the filters are for two" in capsys.readouterr().err
    assert flicker.main(["--model", "m", "--clip", str(clip)]) == 0


def test_a_clip_that_is_not_there_is_to_be_named_on_the_command_line(tmp_path, capsys, monkeypatch):
    commanded(monkeypatch, network(lambda p: p[:, :, 0]))
    assert flicker.main(["--model", "m", "--clip", str(tmp_path / "none.mp4")]) == 66
    assert "there is no such file; give --clip" in capsys.readouterr().err
