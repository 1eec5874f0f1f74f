"""One command makes the bundle of a checkpoint, or says in one sentence why not."""

from __future__ import annotations

import errno
import tomllib

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")
pytest.importorskip("tf_keras")
pytest.importorskip("tomli_w")

from gnetseg_zoo import export  # noqa: E402
from gnetseg_zoo.config import load_config  # noqa: E402
from gnetseg_zoo.datasets import camvid  # noqa: E402
from gnetseg_zoo.scoring.labeller import Labeller  # noqa: E402
from gnetseg_zoo.scoring.runtime import Network  # noqa: E402
from gnetseg_zoo.training.checkpoint import CHECKPOINT, fingerprint, save_checkpoint  # noqa: E402
from gnetseg_zoo.training.torch_model import GnetSeg  # noqa: E402

from gnetsegd.frame import FrameSpec  # noqa: E402
from gnetsegd.model import load_bundle  # noqa: E402

# A conversion takes a second or two on a free core, and a minute where many jobs share it.
pytestmark = pytest.mark.timeout(300)

PERSONS = """
name = "tiny"
title = "for tests"
licence = "CC0"
seed = 1
accelerator = false
[network]
architecture = "medium"
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
stages = [{ size = 32, until = 1.0 }]
"""
SOURCES = "[sources]\nmade_up = 1.0\n"
SOFTMAX = PERSONS.replace('"integer"', '"softmax"')
SCENES = SOFTMAX.replace('["background", "person"]', str(list(camvid.NAMES))).replace(
    'name = "tiny"', 'name = "tiny"\ndata = "camvid"'
)


@pytest.fixture
def photos(index):
    """The index of persons, with one photo that is half black and half white."""
    half = np.zeros((64, 48, 3), np.uint8)
    half[:, 24:] = 255
    Image.fromarray(half).save(index.parent / "0.png")
    return index


@pytest.fixture
def scenes(tmp_path):
    """An index of CamVid with two scenes: black and white halves, labelled sky and road."""
    (tmp_path / "scenes").mkdir()
    half, label = np.zeros((36, 48), np.uint8), np.zeros((36, 48), np.uint8)
    half[18:], label[18:] = 255, camvid.NAMES.index("road")
    lines = ["image,label,split,sequence"]
    for split in ("train", "val"):
        Image.fromarray(half).save(tmp_path / "scenes" / f"{split}.png")
        Image.fromarray(label).save(tmp_path / "scenes" / f"{split}_label.png")
        lines.append(f"{split}.png,{split}_label.png,{split},one")
    path = tmp_path / "scenes" / "index.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Writes a configuration and a checkpoint of random weights; gives the arguments of the export."""
    monkeypatch.setattr(export, "share_differing", lambda _content, _frames: 0.00123)

    def make(text, data):
        config = tmp_path / "tiny.toml"
        config.write_text(text)
        network = load_config(config).build_network()
        torch.manual_seed(1)
        state = {"average": GnetSeg(network).state_dict(), "elapsed_s": 60.0, "step": 1, "images": 4}
        (tmp_path / "run").mkdir(exist_ok=True)
        save_checkpoint(tmp_path / "run" / CHECKPOINT, state, fingerprint(network))
        folders = ["--run", str(tmp_path / "run"), "--output", str(tmp_path / "tiny")]
        return [str(config), "--data", str(data), *folders]

    return make


@pytest.mark.parametrize(("text", "encoding"), [(PERSONS, "integer"), (SOFTMAX, "softmax")])
def test_a_checkpoint_of_persons_becomes_a_bundle_that_is_scored(command, photos, tmp_path, text, encoding):
    assert export.main(command(text + SOURCES, photos)) == 0
    table = tomllib.loads((tmp_path / "tiny" / "model.toml").read_text("utf-8"))
    assert table["training"]["encoding"] == encoding
    assert table["training"]["runtimes_differ"] == 0.00123
    assert table["data"]["sources"] == [{"name": "made_up", "photos": 3, "licence": "CC0"}]
    assert "miou" in table["scores"]["portrait"]
    mask = Network(load_bundle(str(tmp_path / "tiny"))).mask(np.zeros((32, 32, 1), np.uint8))
    assert mask.shape == (32, 32)


def test_the_sources_of_the_bundle_begun_from_are_passed_on(command, photos, tmp_path):
    begun = PERSONS.replace("minutes =", 'begin_from = "gnetseg-large-cpu30"\nminutes =')
    assert export.main(command(begun + SOURCES, photos)) == 0
    table = tomllib.loads((tmp_path / "tiny" / "model.toml").read_text("utf-8"))
    assert table["training"]["begin_from"] == "gnetseg-large-cpu30"
    first, *others = table["data"]["sources"]
    assert first["name"] == "made_up"
    assert others
    assert all(source["through"] == "gnetseg-large-cpu30" for source in others)


def test_a_checkpoint_of_scenes_becomes_a_bundle_with_the_names_of_its_classes(command, scenes, tmp_path):
    assert export.main(command(SCENES, scenes)) == 0
    bundle = load_bundle(str(tmp_path / "tiny"))
    assert bundle.labels == camvid.NAMES
    table = tomllib.loads((tmp_path / "tiny" / "model.toml").read_text("utf-8"))
    assert table["data"]["sources"][0]["name"] == "camvid"
    assert "miou" in table["scores"]["all"]


def test_scores_are_exported_only_when_they_are_asked_for(command, photos, tmp_path):
    assert export.main([*command(SOFTMAX + SOURCES, photos), "--scores"]) == 0
    table = tomllib.loads((tmp_path / "tiny" / "model.toml").read_text("utf-8"))
    assert table["mask"]["encoding"] == "scores"
    assert "scores" not in table


def test_a_network_that_the_chip_cannot_compute_is_refused_for_the_accelerator(
    command, photos, tmp_path, capsys
):
    assert export.main(command(PERSONS.replace("= false", "= true") + SOURCES, photos)) == 65
    said = capsys.readouterr().err
    assert "tiny: the accelerator cannot compute this network: input size: 32 of [224, 448]" in said
    assert "accelerator = false" in said
    assert not (tmp_path / "tiny").exists()


def test_a_checkpoint_of_another_network_is_refused(command, photos, tmp_path, capsys):
    arguments = command(PERSONS + SOURCES, photos)
    (tmp_path / "tiny.toml").write_text(PERSONS.replace("[4, 4, 8, 8]", "[4, 8, 8, 8]") + SOURCES)
    assert export.main(arguments) == 65
    assert "is of another network" in capsys.readouterr().err


def test_a_checkpoint_that_is_not_there_is_named(command, photos, tmp_path, capsys):
    arguments = command(PERSONS + SOURCES, photos)
    (tmp_path / "run" / CHECKPOINT).unlink()
    assert export.main(arguments) == 65
    assert "there is no checkpoint; train first" in capsys.readouterr().err


def test_a_full_disk_leaves_the_former_bundle_and_says_so(command, photos, tmp_path, capsys, monkeypatch):
    arguments = command(PERSONS + SOURCES, photos)
    before = {"model.tflite": b"the former network", "model.toml": b"the former words"}
    (tmp_path / "tiny").mkdir()
    for name, content in before.items():
        (tmp_path / "tiny" / name).write_bytes(content)

    def full(path, _data):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(export, "write_whole", full)
    assert export.main(arguments) == 74
    assert "model.tflite: No space left on device" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (tmp_path / "tiny").iterdir()} == before


def test_runtimes_that_differ_too_much_stop_the_export(command, photos, tmp_path, capsys, monkeypatch):
    arguments = command(PERSONS + SOURCES, photos)
    monkeypatch.setattr(export, "share_differing", lambda _content, _frames: 0.02)
    assert export.main(arguments) == 65
    assert "differ on 2.00% of the mask's pixels (at most 0.50%)" in capsys.readouterr().err
    assert not (tmp_path / "tiny").exists()


def test_a_network_that_gives_one_label_everywhere_is_refused(command, photos, tmp_path, capsys, monkeypatch):
    arguments = command(PERSONS + SOURCES, photos)
    nobody = Labeller("tiny", FrameSpec(32, 32), (32, 32), ("a", "b"), lambda p: np.zeros_like(p[:, :, 0]))
    monkeypatch.setattr(export, "of_bundle", lambda _bundle: nobody)
    assert export.main(arguments) == 65
    assert "the mask is 'background' everywhere on all 3 calibration frames" in capsys.readouterr().err
    assert not (tmp_path / "tiny").exists()


def test_a_finished_run_begun_again_adds_nothing_to_the_curve(tmp_path):
    lines = ["minutes,images,persons", "1.0,10,0.5", "1.0,20,0.6", "1.0,20,0.6"]
    (tmp_path / "log.csv").write_text("\n".join(lines) + "\n")
    assert [row["images"] for row in export.learning_curve(tmp_path / "log.csv")] == [10, 20]


def test_a_looser_bound_is_asked_for_by_name_and_stands_in_the_bundle(command, photos, tmp_path, monkeypatch):
    arguments = command(PERSONS + SOURCES, photos)
    monkeypatch.setattr(export, "share_differing", lambda _content, _frames: 0.02)
    assert export.main([*arguments, "--most-differing", "0.03"]) == 0
    training = tomllib.loads((tmp_path / "tiny" / "model.toml").read_text("utf-8"))["training"]
    assert (training["runtimes_differ"], training["runtimes_differ_allowed"]) == (0.02, 0.03)


def test_a_missing_runtime_is_said_and_nothing_is_claimed(command, photos, tmp_path, capsys, monkeypatch):
    arguments = command(PERSONS + SOURCES, photos)
    monkeypatch.setattr(export, "share_differing", lambda _content, _frames: None)
    assert export.main(arguments) == 0
    assert "not checked: whether tflite-runtime and ai-edge-litert" in capsys.readouterr().out
    table = tomllib.loads((tmp_path / "tiny" / "model.toml").read_text("utf-8"))
    assert "runtimes_differ" not in table["training"]


def test_photos_without_black_and_white_are_refused(command, index, capsys):
    assert export.main(command(PERSONS + SOURCES, index)) == 65
    assert "no black or no white pixel" in capsys.readouterr().err
