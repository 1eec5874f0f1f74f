"""One command trains, the same goes on after a stop, another makes the bundle."""

from __future__ import annotations

import csv

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from gnetseg_zoo import train  # noqa: E402
from gnetseg_zoo.networks import build  # noqa: E402
from gnetseg_zoo.training.checkpoint import CHECKPOINT  # noqa: E402
from gnetseg_zoo.training.torch_model import GnetSeg  # noqa: E402

CONFIG = """
name = "tiny"
title = "for tests"
licence = "CC0"
seed = 1
[network]
architecture = "large"
variant = "reformat"
input_format = "Y"
size = 32
encoding = "integer"
classes = ["background", "person"]
down = "stride"
widths = [4, 4, 8, 8]
[training]
minutes = 0.02
batch = 4
learning_rate = 1e-3
weight_decay = 0.0
ema_decay = 0.9
stages = [{ size = 16, until = 0.5 }, { size = 32, until = 1.0 }]
[sources]
made_up = 0.8
"empty:rooms" = 0.2
"""


@pytest.fixture
def arguments(tmp_path, index):
    config = tmp_path / "tiny.toml"
    config.write_text(CONFIG)
    output = ["--output", str(tmp_path / "run"), "--checkpoint-s", "0.3", "--threads", "1"]
    return [str(config), "--data", str(index), *output]


def test_training_ends_in_time_and_the_same_command_goes_on(arguments, tmp_path, capsys):
    assert train.main(arguments) == 0
    with (tmp_path / "run" / "log.csv").open() as file:
        lines = list(csv.DictReader(file))
    assert lines[-1]["portrait"]
    assert int(lines[-1]["images"]) > 0
    assert train.main([*arguments, "--minutes", "0.03"]) == 0
    assert "going on at" in capsys.readouterr().out


def test_a_checkpoint_of_another_network_stops_training_with_a_sentence(arguments, tmp_path, capsys):
    assert train.main(arguments) == 0
    before = (tmp_path / "run" / CHECKPOINT).read_bytes()
    config = tmp_path / "tiny.toml"
    config.write_text(CONFIG.replace("[4, 4, 8, 8]", "[4, 8, 8, 8]"))
    assert train.main(arguments) == 65
    assert "of another network" in capsys.readouterr().err
    assert (tmp_path / "run" / CHECKPOINT).read_bytes() == before


@pytest.mark.parametrize(
    ("architecture", "variant"), [("large", "reformat"), ("medium", "original"), ("small", "reformat")]
)
def test_the_exported_network_gives_the_rounded_labels_of_the_trained_one(architecture, variant):
    pytest.importorskip("tensorflow")
    pytest.importorskip("tf_keras")
    pytest.importorskip("tomli_w")
    from gnetseg_zoo.exporting.keras_model import build_keras
    from gnetseg_zoo.exporting.quantise import quantise
    from gnetseg_zoo.scoring.runtime import check_tensor, interpreter_class

    torch.manual_seed(1)
    network = build(architecture, widths=(4, 8, 8, 8), variant=variant, size=32, classes=4)
    model = GnetSeg(network).eval()
    frames = [np.random.default_rng(n).integers(0, 256, (32, 32, 1), np.uint8) for n in range(20)]
    with torch.no_grad():
        # Spread the labels over the classes, as a trained network would.
        batch = torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2)).float()
        raw = model(batch)
        last = model.convs[-1].conv
        last.weight.mul_(1.5 / raw.std())
        last.bias.copy_((last.bias - raw.mean()) * 1.5 / raw.std() + 1.5)
        wanted = model(batch)[:, 0].clamp(0, 3).round().numpy()
    weights = [tuple(part.numpy() for part in conv.folded()) for conv in model.convs]
    interpreter = interpreter_class()(model_content=quantise(build_keras(network, weights), frames))
    interpreter.allocate_tensors()
    entry, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    check_tensor("input", entry, (1, 32, 32, 1))
    check_tensor("mask", out, (1, network.output_size, network.output_size, 1))
    agree = []
    for frame, labels in zip(frames, wanted, strict=True):
        interpreter.set_tensor(entry["index"], frame[None])
        interpreter.invoke()
        agree.append(np.mean(interpreter.get_tensor(out["index"])[0, :, :, 0] == labels))
    assert np.mean(agree) > 0.9
