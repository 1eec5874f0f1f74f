"""The judge: what teaches and what is judged on never meet, and every domain counts alike."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from gnetseg_zoo import evaluate
from gnetseg_zoo.datasets.samples import EMPTY, DataError, Sample
from gnetseg_zoo.judging import peers, sheets
from gnetseg_zoo.judging.judge import Board, judge
from gnetseg_zoo.judging.photos import (
    FULL_BODY,
    GROUP,
    PORTRAIT,
    ROOM,
    SCENE,
    TEST,
    TRAIN,
    VAL,
    load_photos,
)
from gnetseg_zoo.scoring.labeller import Labeller
from PIL import Image

from gnetsegd.errors import ModelError
from gnetsegd.frame import FrameSpec

SIZE = 32


def bright(pixels):
    return (pixels.mean(axis=2) > 128).astype(np.uint8)


def labeller(labels=bright):
    return Labeller("made-up", FrameSpec(SIZE, SIZE, "RGB"), (SIZE, SIZE), ("background", "person"), labels)


def test_what_teaches_and_what_is_judged_on_never_meet(mixed):
    teaching = {p.path for split in (TRAIN, VAL) for p in load_photos([mixed], split)}
    judged = load_photos([mixed], TEST)
    assert {p.path for p in judged if p.domain != FULL_BODY}.isdisjoint(teaching)
    # Full bodies all have a clean licence: there the val split, which no gradient saw, stands in.
    assert [p.sample.split for p in judged if p.domain == FULL_BODY] == ["val"]


def test_only_photos_for_any_use_may_teach(mixed):
    assert [p.path for p in load_photos([mixed], TRAIN)] == [f"images/{n}.png" for n in "bcf"]


def test_an_unknown_licence_may_not_teach(mixed):
    mixed.write_text(mixed.read_text().replace("MIT (repository); official portraits", "all rights reserved"))
    assert "images/b.png" not in [p.path for p in load_photos([mixed], TRAIN)]


def test_only_masks_drawn_by_hand_are_judged_on(mixed):
    found = {p.path: p.domain for p in load_photos([mixed], TEST)}
    assert found == {
        "images/a.png": PORTRAIT,
        "images/d.png": FULL_BODY,
        "images/e.png": SCENE,
        "images/g.png": GROUP,
        "images/i.png": ROOM,
        "images/j.png": EMPTY,
    }


def test_every_domain_counts_alike_however_many_photos_it_has():
    board, everywhere = Board(), np.ones((4, 4), bool)
    half = everywhere.copy()
    half[:, 2:] = False
    for _ in range(99):
        board.add(PORTRAIT, half, half, everywhere)
    board.add(ROOM, everywhere, half, everywhere)
    headline, domains = board.summary()
    assert domains[PORTRAIT]["miou"] == 1.0
    assert domains[ROOM]["miou"] == 0.25  # half of the person's union, none of the background's
    assert headline == pytest.approx((1.0 + 0.25) / 2)


def test_unknown_pixels_are_left_out_of_the_score(mixed):
    folder = mixed.parent / "others"
    folder.mkdir()
    covered = np.zeros((SIZE, SIZE), np.uint8)
    covered[:, SIZE // 2 :] = 255
    Image.fromarray(covered).save(folder / "d.png")
    full_body = [p for p in load_photos([mixed], TEST) if p.domain == FULL_BODY]
    everyone = labeller(lambda _pixels: np.ones((SIZE, SIZE), np.uint8))
    (before,) = judge([everyone], full_body, [])
    (mixed.parent / "others.csv").write_text("image,others\nimages/d.png,others/d.png\n")
    full_body = [p for p in load_photos([mixed], TEST) if p.domain == FULL_BODY]
    (after,) = judge([everyone], full_body, [])
    assert before["domains"][FULL_BODY]["miou"] == 0.25
    assert after["domains"][FULL_BODY]["miou"] == 1.0


def test_who_sees_a_person_in_an_empty_picture_is_told_of_it(mixed):
    (found,) = judge([labeller()], load_photos([mixed], TEST), [mixed.parent])
    assert found["domains"][EMPTY] == {"false_person": 0.5, "photos": 1}
    assert found["domains"][PORTRAIT] == {"miou": 1.0, "photos": 1}
    assert found["headline"] == 1.0


def test_the_command_ends_in_one_object_with_the_headline_and_the_domains(mixed, capsys):
    arguments = ["--model", "gnetseg-tiny", "--data", str(mixed), "--split", "test", "--json"]
    assert evaluate.main(arguments) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found["domains"]) >= {PORTRAIT, FULL_BODY, SCENE, GROUP, ROOM, EMPTY, "outlines"}
    five = [found["domains"][d]["miou"] for d in (PORTRAIT, FULL_BODY, SCENE, GROUP, ROOM)]
    assert found["headline"] == pytest.approx(np.mean(five), abs=1e-4)
    assert found["beside"] == {}


@pytest.mark.parametrize(
    ("beside", "sentence"),
    [
        ("selfie", "there are mediapipe-rgb, mediapipe-y, deeplab"),
        ("mediapipe-y", "npm pack @mediapipe/selfie"),
    ],
)
def test_a_peer_that_is_not_here_is_said_with_the_way_to_get_it(
    mixed, tmp_path, capsys, monkeypatch, beside, sentence
):
    monkeypatch.delenv(peers.ENVIRONMENT, raising=False)
    monkeypatch.setattr(peers, "FETCHED", tmp_path / "peers")
    monkeypatch.setenv("PATH", str(tmp_path))  # without npm
    arguments = ["--model", "gnetseg-tiny", "--data", str(mixed), "--split", "test", "--beside", beside]
    assert evaluate.main(arguments) != 0
    assert sentence in capsys.readouterr().err


@pytest.fixture
def npm(tmp_path, monkeypatch):
    """An npm that has a package with this content; ``npm.calls`` are the packages that it was asked for."""
    monkeypatch.delenv(peers.ENVIRONMENT, raising=False)
    monkeypatch.setattr(peers, "FETCHED", tmp_path / "peers")
    here = SimpleNamespace(content=b"the network", calls=[])

    def run(command, *, cwd, **_):
        here.calls.append(command[-1])
        with tarfile.open(Path(cwd) / "a.tgz", "w:gz") as archive:
            member = tarfile.TarInfo("package/selfie_segmentation.tflite")
            member.size = len(here.content)
            archive.addfile(member, io.BytesIO(here.content))

    monkeypatch.setattr(peers.subprocess, "run", run)
    return here


def test_mediapipes_file_is_fetched_once_and_only_if_it_is_the_one(npm):
    peer = replace(peers.PEERS["mediapipe-rgb"], sha256=hashlib.sha256(b"the network").hexdigest())
    for _ in range(2):
        assert peers.find(peer, ()).read_bytes() == b"the network"
    assert npm.calls == ["@mediapipe/selfie_segmentation@0.1.1675465747"]


def test_another_file_under_that_name_is_not_taken(npm):
    npm.content = b"something else"
    with pytest.raises(ModelError, match=r"could not be fetched .* has another file than expected"):
        peers.find(peers.PEERS["mediapipe-rgb"], ())
    assert not list(peers.FETCHED.iterdir()), "nothing of it stays"


def test_a_peer_whose_file_is_broken_ends_in_a_sentence(tmp_path, monkeypatch):
    if peers.python_with(peers.LITERT) is None:
        pytest.fail("ai-edge-litert is in no environment here; run make .venv/.done")
    (tmp_path / "selfie_segmentation.tflite").write_bytes(b"\0\0\0\0TFL3" + bytes(64))
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with (
        peers.open_peer("mediapipe-y", [tmp_path]) as peer,
        pytest.raises(ModelError, match="mediapipe-y ended"),
    ):
        peer.labels(np.zeros((256, 256, 1), np.uint8))


def test_an_index_without_a_person_has_no_headline():
    with pytest.raises(DataError, match="no photo shows a person"):
        Board(false_shares=[0.0]).summary()


def test_a_scene_is_known_by_its_source_not_by_the_domain_of_the_index():
    from gnetseg_zoo.judging.photos import MIXED, _domain

    def of(source):
        return _domain(Sample(None, None, "crowd", source, "", "hand", "", "val"))

    assert [of("coco_one"), of("coco_group_nc"), of("coco")] == [SCENE, GROUP, MIXED]


def test_the_worst_photos_are_shown_of_those_alone_that_may_be_passed_on(mixed, tmp_path):
    (path,) = sheets.draw("gnetseg-tiny", [mixed], tmp_path / "pictures")
    assert path.name == "gnetseg-tiny-fullbody.jpg"
    with Image.open(path) as picture:
        assert picture.width == sheets.COLUMNS * sheets.TILE_PX
