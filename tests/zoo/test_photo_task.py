"""A network of the paper trains on photos of every licence, and what nobody knows does not count."""

from __future__ import annotations

import numpy as np
import pytest
from gnetseg_zoo.config import ConfigError, load_config

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from gnetseg_zoo import train  # noqa: E402
from gnetseg_zoo.training.checkpoint import CHECKPOINT  # noqa: E402
from gnetseg_zoo.training.losses import integer_loss  # noqa: E402
from gnetseg_zoo.training.photo_task import PhotoTask  # noqa: E402

pytestmark = pytest.mark.timeout(300)

CONFIG = """
name = "tiny"
title = "for tests"
licence = "CC0"
seed = 1
data = "photos"
[network]
architecture = "large"
variant = "reformat"
input_format = "Y"
size = 32
encoding = "integer"
classes = ["background", "person"]
down = "stride"
widths = [4, 4, 8, 12]
[training]
minutes = 0.03
batch = 4
learning_rate = 1e-2
weight_decay = 0.0
ema_decay = 0.9
stages = [{ size = 32, until = 1.0 }]
[kinds]
fullbody = 0.6
room = 0.2
empty = 0.2
"""


@pytest.fixture
def config(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(CONFIG)
    return path


def test_a_weight_of_nothing_takes_a_pixel_out_of_the_loss():
    raw, label = torch.rand(2, 1, 4, 4), torch.zeros(2, 1, 4, 4)
    weight = torch.ones(2, 1, 4, 4)
    weight[:, :, 2:] = 0
    assert torch.allclose(
        integer_loss(raw, label, 2, weight), integer_loss(raw[:, :, :2], label[:, :, :2], 2)
    )
    weight[:, :, 2:] = 0.5
    half = integer_loss(raw, label, 2, weight)
    assert ((half - integer_loss(raw, label, 2)).abs() > 1e-4).all()


def test_what_counts_for_nothing_has_no_gradient(config, mixed, tmp_path):
    task = PhotoTask(load_config(config), [mixed], tmp_path)
    raw = torch.rand(1, 1, 32, 32, requires_grad=True)
    targets = torch.zeros(1, 2, 32, 32, dtype=torch.uint8)
    targets[:, 0, :, :16] = 255
    targets[:, 1, 8:] = 255
    task.loss(raw, targets).sum().backward()
    assert float(raw.grad[:, :, :8].abs().max()) == 0
    assert float(raw.grad[:, :, 8:].abs().max()) > 0


def test_photos_of_every_licence_are_trained_on_and_told(config, mixed, tmp_path):
    pytest.importorskip("tensorflow")
    from gnetseg_zoo.export import manifest
    from gnetseg_zoo.exporting.export_data import export_data

    run = tmp_path / "run"
    given = [str(config), "--data", str(mixed), "--teacher", str(tmp_path), "--output", str(run)]
    assert train.main([*given, "--threads", "1"]) == 0
    header, *lines = (run / "log.csv").read_text().splitlines()
    assert {"fullbody", "mean"} <= set(header.split(","))
    state = torch.load(run / CHECKPOINT, weights_only=True)
    assert (len(lines) >= 1, state["step"] >= 1) == (True, True)
    table = manifest(load_config(config), b"", export_data(load_config(config), str(mixed)), state)
    assert {"nyu", "eg1800", "ccp_hand"} <= {source["name"] for source in table["data"]["sources"]}
    assert "MediaPipe" in table["training"]["teacher"]


def test_the_targets_follow_the_masks(config, mixed, tmp_path):
    task = PhotoTask(load_config(config), [mixed], tmp_path)
    pixels, targets = task.batches(load_config(config).training.stages[0])[0]
    assert pixels.shape == (4, 1, 32, 32)
    assert targets.shape == (4, 2, 32, 32)
    inside = targets[:, 0] > 229
    assert inside.any()
    assert pixels[:, 0][inside].mean() > pixels[:, 0][~inside].mean() + 40


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('data = "photos"\n', "", "kinds"),
        ("fullbody = 0.6\nroom = 0.2\nempty = 0.2\n", "", "kinds"),
    ],
)
def test_kinds_go_with_photos_and_only_with_them(config, old, new, sentence):
    assert old in CONFIG
    config.write_text(CONFIG.replace(old, new))
    with pytest.raises(ConfigError, match=sentence):
        load_config(config)


def test_without_a_teacher_the_command_is_named(config, mixed):
    with pytest.raises(ConfigError, match=r"selfie\.teach"):
        PhotoTask(load_config(config), [mixed], None)


def test_scores_are_what_the_integers_would_be(config, mixed, tmp_path):
    task = PhotoTask(load_config(config), [mixed], tmp_path)

    def bright(x):
        return (x > 130).float()

    found = task.scores(bright, torch.device("cpu"))
    assert float(found["fullbody"]) == 1.0
    assert np.isclose(float(found["mean"]), 1.0)
