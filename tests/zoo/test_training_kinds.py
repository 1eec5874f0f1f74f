"""Training takes either encoding, persons or scenes, a teacher, and several processes."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

# E402: these need torch and OpenCV, so they come after the skips.
from gnetseg_zoo import train  # noqa: E402
from gnetseg_zoo.config import load_config  # noqa: E402
from gnetseg_zoo.training.checkpoint import CHECKPOINT  # noqa: E402

CONFIG = """
name = "tiny"
title = "for tests"
licence = "CC0"
seed = 1
data = "{data}"
[network]
architecture = "{architecture}"
variant = "reformat"
input_format = "Y"
size = 32
encoding = "{encoding}"
classes = {classes}
down = "stride"
widths = [4, 4, 8, 8]
[training]
minutes = 0.02
batch = 4
learning_rate = 1e-3
weight_decay = 0.0
ema_decay = 0.9
distillation = {distillation}
balanced = true
stages = [{{ size = 16, until = 0.5 }}, {{ size = 32, until = 1.0 }}]
"""
PERSONS = '["background", "person"]'
SOURCES = '[sources]\nmade_up = 0.8\n"empty:rooms" = 0.2\n'


def written(folder: Path, sources: str = "", **values: object) -> Path:
    given = {"data": "persons", "encoding": "integer", "classes": PERSONS, "architecture": "large"}
    path = folder / "tiny.toml"
    path.write_text(CONFIG.format(**{"distillation": 0, **given, **values}) + sources)
    return path


def trained(config: Path, data: Path, *more: str) -> list[dict[str, str]]:
    """The lines of the log of a run of a second or two."""
    output = config.parent / "run"
    arguments = [str(config), "--data", str(data), "--output", str(output), "--threads", "1", *more]
    assert train.main(arguments) == 0
    with (output / "log.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.fixture
def camvid(tmp_path: Path) -> Path:
    """Three drives of one picture each, dark road below a bright sky."""
    lines = ["image,label,split,sequence"]
    for n, split in enumerate(("train", "val", "test")):
        label = np.full((36, 48), 3, np.uint8)
        label[:18] = 0
        Image.fromarray(np.where(label == 0, 200, 40).astype(np.uint8)).save(tmp_path / f"{n}.png")
        Image.fromarray(label).save(tmp_path / f"{n}_label.png")
        lines.append(f"{n}.png,{n}_label.png,{split},drive{n}")
    path = tmp_path / "camvid.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize("encoding", ["integer", "softmax"])
def test_persons_are_trained_in_either_encoding(tmp_path, index, encoding):
    log = trained(written(tmp_path, SOURCES, encoding=encoding), index)
    assert 0 <= float(log[-1]["portrait"]) <= 1


@pytest.mark.parametrize("encoding", ["integer", "softmax"])
def test_scenes_are_trained_in_either_encoding(tmp_path, camvid, encoding):
    from gnetseg_zoo.datasets.camvid import NAMES

    config = written(tmp_path, data="camvid", encoding=encoding, classes=str(list(NAMES)).replace("'", '"'))
    log = trained(config, camvid)
    assert 0 <= float(log[-1]["miou"]) <= 1
    assert float(log[-1]["pixel_accuracy"]) > 0


def test_scenes_are_trained_on_labels_in_the_order_of_the_configuration(tmp_path, camvid):
    from gnetseg_zoo.datasets.camvid import NAMES
    from gnetseg_zoo.training.tasks import open_task

    classes = ["road", *NAMES[1:3], "sky", *NAMES[4:]]
    config = load_config(
        written(tmp_path, data="camvid", encoding="integer", classes=str(classes).replace("'", '"'))
    )
    task = open_task(config, camvid, tmp_path / "cache", None)
    pixels, labels = task.batches(config.training.stages[-1])[0]
    bright, dark = labels[pixels[:, 0] > 150], labels[pixels[:, 0] < 90]
    assert np.median(bright) == classes.index("sky")
    assert np.median(dark) == classes.index("road")


def test_scenes_of_other_classes_are_refused_by_name(tmp_path, camvid, capsys):
    config = written(tmp_path, data="camvid", encoding="softmax")
    arguments = [str(config), "--data", str(camvid), "--output", str(tmp_path / "run")]
    assert train.main(arguments) == 65
    assert "has the classes sky, building" in capsys.readouterr().err


def test_distillation_without_masks_says_where_they_come_from(tmp_path, index, capsys):
    config = written(tmp_path, SOURCES, distillation=0.5)
    arguments = [str(config), "--data", str(index), "--output", str(tmp_path / "run")]
    assert train.main(arguments) == 65
    assert "--teacher" in capsys.readouterr().err


def failed(config: Path, data: Path, *more: str) -> int:
    """The exit status of a run that is expected to be refused."""
    return train.main([str(config), "--data", str(data), "--output", str(config.parent / "run"), *more])


def test_a_folder_without_a_teachers_masks_is_refused(tmp_path, index, capsys):
    config = written(tmp_path, SOURCES, distillation=0.5)
    assert failed(config, index, "--teacher", str(tmp_path / "nothing")) == 65
    assert "holds no mask of a teacher" in capsys.readouterr().err


def test_persons_in_another_order_of_classes_are_refused(tmp_path, index, capsys):
    config = written(tmp_path, SOURCES, classes='["person", "background"]')
    assert failed(config, index) == 65
    assert "a mask of persons has" in capsys.readouterr().err


@pytest.mark.parametrize(("option", "value"), [("--minutes", "0"), ("--minutes", "-1"), ("--device", "gpu")])
def test_an_option_that_makes_no_sense_is_named(tmp_path, index, capsys, option, value):
    assert failed(written(tmp_path, SOURCES), index, option, value) == 65
    assert option in capsys.readouterr().err


def test_a_finished_run_is_left_as_it_is(tmp_path, index):
    config = written(tmp_path, SOURCES)
    assert trained(config, index) == trained(config, index)


def test_the_run_of_another_configuration_is_not_gone_on_with(tmp_path, index, capsys):
    config = written(tmp_path, SOURCES)
    trained(config, index)
    other = tmp_path / "other.toml"
    other.write_text(config.read_text().replace('name = "tiny"', 'name = "other"'))
    assert failed(other, index) == 65
    assert "is of the configuration tiny" in capsys.readouterr().err


def test_a_bundle_to_begin_from_that_does_not_exist_is_named(tmp_path, index, capsys):
    config = written(tmp_path, SOURCES)
    config.write_text(config.read_text().replace("balanced = true", 'begin_from = "nothing"'))
    arguments = [str(config), "--data", str(index), "--output", str(tmp_path / "run")]
    assert train.main(arguments) == 65
    assert "nothing" in capsys.readouterr().err


def test_half_precision_trains_too(tmp_path, index):
    log = trained(written(tmp_path, SOURCES), index, "--bfloat16")
    assert np.isfinite(float(log[-1]["persons"]))


@pytest.mark.timeout(300)  # four processes that import PyTorch
def test_two_processes_train_one_network(tmp_path, index):
    config = written(tmp_path, SOURCES)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command += [
        "-m",
        "gnetseg_zoo.train",
        str(config),
        "--data",
        str(index),
        "--output",
        str(tmp_path / "run"),
    ]
    done = subprocess.run(
        [*command, "--threads", "1", "--device", "cpu"], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr[-2000:]
    state = torch.load(tmp_path / "run" / CHECKPOINT, weights_only=True)
    assert state["step"] > 0
    assert state["images"] == state["step"] * 4 * 2
    with (tmp_path / "run" / "log.csv").open() as file:
        steps = [line["step"] for line in csv.DictReader(file)]
    assert len(steps) == len(set(steps)), "only the first process writes the log"
