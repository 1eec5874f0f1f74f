"""Networks stand beside each other in one table, and integers beside their floats."""

from __future__ import annotations

import json

import numpy as np
import pytest
from gnetseg_zoo import compare
from gnetseg_zoo.datasets.samples import DataError, load_index
from gnetseg_zoo.evaluate import score_persons
from gnetseg_zoo.scoring.labeller import Labeller

from gnetsegd.errors import ModelError
from gnetsegd.frame import FrameSpec

PERSONS = ("background", "person")


def labeller(name, threshold, classes=PERSONS):
    """A network that takes every pixel brighter than ``threshold`` for a person."""
    return Labeller(name, FrameSpec(64, 64), (64, 64), classes, lambda p: (p[:, :, 0] > threshold) * 1)


@pytest.fixture
def networks(monkeypatch):
    """Bundles by name: "good" is right, "blind" sees nobody; the floats are as ``floats`` says."""
    found = {"good": labeller("good", 120), "blind": labeller("blind", 255)}
    found["floats"] = labeller("good (float)", 120)
    monkeypatch.setattr(compare, "load_bundle", lambda name: name)
    monkeypatch.setattr(compare, "of_bundle", lambda name: found[name])
    monkeypatch.setattr(compare, "_floats", lambda *_given, **_options: [found["floats"]])
    return found


@pytest.mark.usefixtures("networks")
def test_every_bundle_has_its_row(index, capsys):
    assert compare.main(["good", "blind", "--data", str(index), "--split", "train", "--json"]) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["portrait", "persons", "false", "person", "boundary", "F"]
    assert [line.split()[0] for line in lines[1:]] == ["good", "blind"]
    bundles = json.loads(last)["bundles"]
    assert bundles["good"]["persons"]["miou"] > 0.9 > bundles["blind"]["persons"]["miou"]


@pytest.mark.usefixtures("networks")
def test_integers_as_good_as_their_floats_pass(index, capsys):
    arguments = ["good", "--float", "good.toml", "--data", str(index), "--json"]
    assert compare.main(arguments) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (found["lost"], found["bound"]) == (0.0, 0.003)


@pytest.mark.usefixtures("networks")
def test_integers_that_lose_too_much_end_with_1_unless_a_wider_bound_is_given(index, capsys):
    arguments = ["blind", "--float", "good.toml", "--data", str(index)]
    assert compare.main(arguments) == 1
    assert "beyond the bound of 0.003" in capsys.readouterr().out
    assert compare.main([*arguments, "--bound", "0.9"]) == 0


def test_integers_better_than_their_floats_pass(networks, index):
    networks["floats"] = networks["blind"]
    assert compare.main(["good", "--float", "blind.toml", "--data", str(index)]) == 0


@pytest.mark.usefixtures("networks")
def test_two_bundles_of_one_name_and_a_split_without_persons_are_refused(index, capsys):
    assert compare.main(["good", "good", "--data", str(index)]) == 65
    assert "two bundles are called 'good'" in capsys.readouterr().err
    with pytest.raises(DataError, match="no photo with a person"):
        compare.headline({"empty": {"false_person": 0.1}})


def test_a_smaller_mask_is_enlarged_and_an_odd_one_refused(index):
    half = Labeller("half", FrameSpec(64, 64), (32, 32), PERSONS, lambda p: (p[::2, ::2, 0] > 120) * 1)
    assert score_persons(half, load_index(index, "train"))["persons"]["miou"] > 0.9
    odd = Labeller("odd", FrameSpec(64, 64), (30, 30), PERSONS, half.labels)
    with pytest.raises(ModelError, match="odd: takes 64x64 and gives 30x30"):
        score_persons(odd, load_index(index, "train"))


def test_the_floats_of_a_checkpoint_are_rounded_as_the_exported_network_does(tmp_path):
    torch = pytest.importorskip("torch")
    from gnetseg_zoo.config import load_config
    from gnetseg_zoo.scoring.float_network import of_checkpoint
    from gnetseg_zoo.training.checkpoint import CHECKPOINT, fingerprint, save_checkpoint
    from gnetseg_zoo.training.torch_model import GnetSeg

    path = tmp_path / "tiny.toml"
    path.write_text(
        """
name = "tiny"
title = "t"
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
minutes = 1.0
batch = 2
learning_rate = 1e-3
weight_decay = 0.0
ema_decay = 0.9
stages = [{ size = 32, until = 1.0 }]
[sources]
made_up = 1.0
"""
    )
    config = load_config(path)
    network = config.build_network()
    model, other = GnetSeg(network).eval(), GnetSeg(network)
    with torch.no_grad():
        model.convs[-1].conv.bias.fill_(0.5)
        model.convs[-1].conv.weight.mul_(10)
    states = {"average": model.state_dict(), "model": other.state_dict()}
    save_checkpoint(tmp_path / CHECKPOINT, states, fingerprint(network))
    frame = np.random.default_rng(1).integers(0, 256, (32, 32, 1), np.uint8)
    with torch.no_grad():
        raw = model(torch.from_numpy(frame.transpose(2, 0, 1)[None].astype(np.float32)))[0, 0].numpy()
    given = of_checkpoint(config, tmp_path).labels(frame)
    assert given.dtype == np.uint8
    assert 0 < given.mean() < 1
    assert np.array_equal(given, raw >= 0.5)


def test_the_rgb_twin_gives_what_the_yuv_network_gives_inside_the_picture():
    torch = pytest.importorskip("torch")
    from gnetseg_zoo.colour import OFFSET, YUV_OF_RGB
    from gnetseg_zoo.networks import build
    from gnetseg_zoo.scoring.float_network import make_rgb
    from gnetseg_zoo.training.torch_model import GnetSeg

    torch.manual_seed(1)
    model = GnetSeg(build("large", widths=(4, 4, 8, 8), input_format="YUV444", size=32))
    rgb = np.random.default_rng(1).integers(0, 256, (32, 32, 3)).astype(np.float64)
    yuv = rgb @ YUV_OF_RGB.T + OFFSET
    first = model.convs[0]
    first.norm.running_mean.uniform_(-1, 1)
    first.norm.running_var.uniform_(0.5, 2)
    first.eval()

    def inside(pixels):
        with torch.no_grad():
            out = first(torch.from_numpy(pixels.transpose(2, 0, 1)[None] / 255).float())
        return out[0, :, 1:-1, 1:-1].numpy()  # the outermost rows and columns read padding

    of_yuv = inside(yuv)
    make_rgb(model)
    assert np.abs(of_yuv).max() > 0.1
    assert np.allclose(inside(rgb), of_yuv, atol=1e-4)
