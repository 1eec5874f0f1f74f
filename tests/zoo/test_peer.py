"""The peer is scored by our protocol and writes masks for training, whatever network it is."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gnetseg_zoo import peer
from gnetseg_zoo.datasets.samples import load_index
from gnetseg_zoo.training.teacher_masks import mask_name, mirrored, write_masks
from PIL import Image


def bright(pixels):
    """A perfect teacher for the made-up photos: what is bright is a person."""
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3
    return (pixels.min(axis=2) > 120).astype(np.float32)


@pytest.mark.parametrize("grey", [False, True])
def test_a_peer_that_is_right_scores_nearly_all(index, grey):
    scores = peer.score_peer(bright, load_index(index, "train"), grey=grey)
    # Our masks are 224 pixels wide and its 256: their edges cannot fall together everywhere.
    assert scores["portrait"]["miou"] > 0.97
    assert scores["portrait"]["photos"] == 3
    assert scores["empty"] == {"false_person": 0.0, "photos": 1}


def test_grey_gives_it_the_luminance_alone(index):
    seen = []

    def look(pixels):
        seen.append(np.ptp(pixels, axis=2).max())
        return bright(pixels)

    peer.score_peer(look, load_index(index, "val"), grey=True)
    peer.score_peer(look, load_index(index, "val"), grey=False)
    assert seen[0] == 0
    assert seen[1] > 0


def test_masks_are_written_soft_at_the_photos_size_under_the_photos_path(
    index, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr(peer, "open_peer", lambda: lambda pixels: bright(pixels) * 0.5)
    folder = tmp_path / "masks"
    arguments = ["--data", str(index), "--split", "train", "--write-masks", str(folder)]
    assert peer.main(arguments) == 0
    assert sorted(p.name for p in folder.iterdir()) == ["0.png.png", "1.png.png", "2.png.png", "room.png.png"]
    with Image.open(folder / "0.png.png") as mask:
        assert (mask.mode, mask.size) == ("L", (48, 64))
        assert mask.getpixel((20, 20)) == 128
    assert "4 masks" in capsys.readouterr().out


def test_a_masks_name_tells_its_photo(tmp_path):
    assert mask_name(tmp_path / "a" / "b" / "1.jpg", tmp_path) == "a__b__1.jpg.png"


def test_a_teacher_that_prefers_one_side_is_evened_out():
    def left(pixels):
        out = np.zeros(pixels.shape[:2], np.float32)
        out[:, : out.shape[1] // 2] = 1.0
        return out

    assert mirrored(left, np.zeros((2, 4, 3), np.uint8)).tolist() == [[0.5] * 4] * 2


def test_without_the_peers_package_one_sentence_says_how_to_get_it(index, capsys, monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(peer.importlib, "import_module", missing)
    assert peer.main(["--data", str(index)]) != 0
    error = capsys.readouterr().err
    assert "mediapipe is not installed here" in error
    assert "pip install '.[peer]'" in error


def test_the_json_says_what_the_peer_was_given(index, capsys, monkeypatch):
    monkeypatch.setattr(peer, "open_peer", lambda: bright)
    assert peer.main(["--data", str(index), "--grey", "--json"]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["input"], found["split"], found["portrait"]["photos"]) == ("grey", "val", 1)


def test_a_folder_that_cannot_be_written_is_one_sentence(index, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(peer, "open_peer", lambda: bright)
    (tmp_path / "file").write_text("")
    arguments = ["--data", str(index), "--write-masks", str(tmp_path / "file")]
    assert peer.main(arguments) == 74
    assert "file" in capsys.readouterr().err


def test_writing_masks_counts_them(index, tmp_path):
    assert write_masks(bright, load_index(index), tmp_path, tmp_path / "out") == 5
