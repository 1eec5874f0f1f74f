"""Networks that give scores: the host makes bytes into what they take, and scores into labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from gnetsegd.accelerators.scores import decision, entrance
from gnetsegd.accelerators.standin import StandinAccelerator, StandinOptions
from gnetsegd.accelerators.tflite import TfliteNetwork
from gnetsegd.accelerators.usb import UsbAccelerator, UsbOptions
from gnetsegd.config import from_dict
from gnetsegd.errors import ConfigError, ModelError
from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.model import ModelBundle, load_bundle
from gnetsegd.process.networks import Bundles
from gnetsegd.process.parts import Setup, make_network

pytestmark = pytest.mark.runtime
MODELS = Path(__file__).parents[1] / "data" / "models"


def bundle(labels: int = 2, content: bytes = b"", **fields: Any) -> ModelBundle:
    names = tuple(f"l{n}" for n in range(labels))
    made = ModelBundle(
        id="mine", title="", licence="", path=Path(), sha256=bytes(32), content=content,
        input=FrameSpec(24, 16, "RGB"), mask=MaskFormat(24, 16, 8, labels), labels=names, encoding="scores",
    )  # fmt: skip
    return attrs.evolve(made, **fields)


def tensor(kind: Any, *shape: int, quantization: tuple[float, int] = (0.0, 0)) -> dict[str, Any]:
    return {"name": "t", "dtype": kind, "shape": np.array(shape), "quantization": quantization}


def picture() -> Any:
    return np.random.default_rng(3).integers(0, 256, (16, 24, 3), np.uint8)


@pytest.mark.parametrize(
    ("kind", "quantization", "scale", "offset", "wanted"),
    [
        (np.float32, (0.0, 0), 1 / 255, 0.0, lambda p: p / 255),
        (np.float32, (0.0, 0), 2 / 255, -1.0, lambda p: p / 127.5 - 1),
        (np.uint8, (1 / 128, 128), 1 / 128, -1.0, lambda p: p),
        (np.int8, (1 / 255, -128), 1 / 255, 0.0, lambda p: p.astype(int) - 128),
        (np.uint8, (1 / 64, 0), 1 / 128, 0.0, lambda p: np.rint(p / 2)),
        (np.uint8, (1 / 512, 0), 1 / 128, 0.0, lambda p: np.minimum(255, p * 4.0)),
    ],
)
def test_a_byte_becomes_what_the_network_takes_for_it(
    kind: Any, quantization: tuple[float, int], scale: float, offset: float, wanted: Any
) -> None:
    enter = entrance(
        bundle(scale=scale, offset=offset), tensor(kind, 1, 16, 24, 3, quantization=quantization)
    )
    into, pixels = np.empty((1, 16, 24, 3), kind), picture()
    enter(into, pixels)
    assert np.allclose(into[0], wanted(pixels), atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 16, 24, 1), (1, 16, 24)])
@pytest.mark.parametrize(
    ("kind", "quantization"), [(np.float32, (0.0, 0)), (np.uint8, (1 / 256, 0)), (np.int8, (1 / 256, -128))]
)
def test_one_score_is_a_person_over_the_threshold(
    shape: tuple[int, ...], kind: Any, quantization: tuple[float, int]
) -> None:
    real = np.random.default_rng(4).uniform(0, 0.99, (16, 24))
    scale, zero = quantization if quantization[0] else (1.0, 0)
    values = real if kind is np.float32 else np.floor(real / scale) + zero
    decide = decision(bundle(threshold=0.25), tensor(kind, *shape, quantization=quantization))
    labels = decide(values.astype(kind).reshape(shape))
    given = values if kind is np.float32 else (values - zero) * scale
    assert labels.dtype == np.uint8
    assert np.array_equal(labels, given > 0.25)
    assert 0.5 < labels.mean() < 0.9


def test_of_one_score_a_class_the_highest_wins_and_the_lowest_among_equals() -> None:
    decide = decision(bundle(5), tensor(np.float32, 1, 16, 24, 5))
    scores = np.random.default_rng(5).normal(size=(1, 16, 24, 5)).astype(np.float32)
    scores[0, 0, 0] = 7
    labels = decide(scores)
    assert np.array_equal(labels, scores[0].argmax(-1))
    assert labels[0, 0] == 0


@pytest.mark.parametrize("kind", [np.int64, np.int32])
def test_labels_are_taken_as_they_are(kind: Any) -> None:
    decide = decision(bundle(9), tensor(kind, 1, 16, 24))
    given = np.random.default_rng(6).integers(0, 9, (1, 16, 24)).astype(kind)
    assert np.array_equal(decide(given), given[0])


@pytest.mark.parametrize("wrong", [-1, 256, 1 << 40])
def test_a_label_that_is_no_byte_is_refused(wrong: int) -> None:
    decide = decision(bundle(9), tensor(np.int64, 1, 16, 24))
    given = np.zeros((1, 16, 24), np.int64)
    given[0, 3, 3] = wrong
    with pytest.raises(ModelError, match=f"it gives the label {wrong}; labels are 0 to 255"):
        decide(given)


@pytest.mark.parametrize(
    ("labels", "out", "sentence"),
    [
        (
            2,
            tensor(np.float32, 1, 16, 24, 3),
            r"shape \(1, 16, 24, 3\), model.toml promises \(1, 16, 24, 2\)",
        ),
        (
            3,
            tensor(np.float32, 1, 16, 24, 1),
            "one score a pixel, so its model.toml must name 2 classes; it names 3",
        ),
        (2, tensor(np.float32, 1, 8, 24, 1), r"shape \(1, 8, 24, 1\), model.toml promises \(1, 16, 24, 1\)"),
        (2, tensor(np.float64, 1, 16, 24, 1), "is float64; possible are float32, uint8, int8"),
        (2, tensor(np.int64, 1, 16, 24, 2), r"shape \(1, 16, 24, 2\), model.toml promises \(1, 16, 24, 1\)"),
    ],
)
def test_scores_that_the_labels_do_not_cover_are_refused(labels: int, out: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        decision(bundle(labels), out)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        (tensor(np.float32, 1, 16, 24, 1), r"input has the shape \(1, 16, 24, 1\)"),
        (tensor(np.int32, 1, 16, 24, 3), "input 't' is int32"),
    ],
)
def test_an_input_that_is_no_such_picture_is_refused(entry: Any, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        entrance(bundle(), entry)


def run(name: str, **fields: Any) -> Any:
    content = (MODELS / "foreign" / f"{name}.tflite").read_bytes()
    network, mask = TfliteNetwork(bundle(content=content, **fields), 1), np.empty(16 * 24, np.uint8)
    network.run(picture(), mask)
    assert network.host_s > 0
    return mask.reshape(16, 24)


def test_a_network_of_each_kind_runs() -> None:
    pixels = picture().astype(float)
    # The mean of three bytes, in thirds: no mean lies on the threshold itself.
    assert np.array_equal(run("score", threshold=100.1), pixels.mean(-1) > 100.1)
    for name in ("classes", "labels"):
        found = run(name, labels=3)
        assert np.array_equal(found, picture().argmax(-1)), name


def test_a_label_without_a_name_is_refused() -> None:
    with pytest.raises(ModelError, match=r"it gives the label 2, but its model.toml names 2 classes"):
        run("labels")


def test_float_tensors_without_scores_are_refused_with_the_way_out() -> None:
    with pytest.raises(ModelError, match=r"are float .* or import it with gnetsegctl model import"):
        TfliteNetwork(load_bundle(str(MODELS / "float")), 1)


def test_an_accelerator_refuses_scores_and_auto_runs_them_on_the_cpu() -> None:
    mine = bundle(content=(MODELS / "foreign" / "score.tflite").read_bytes())
    with pytest.raises(ConfigError, match="model mine gives scores, of which the host makes labels: no acc"):
        UsbAccelerator(mine, UsbOptions())
    config = from_dict({"camera": {"driver": "pattern"}, "accelerator": {"driver": "auto"}}, "here")
    made = make_network(Setup(config, Bundles(mine, mine)))
    assert isinstance(made.accelerator, StandinAccelerator)


def test_a_network_that_takes_ten_seconds_a_picture_is_refused_at_its_trial(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]

    def slow(*_: object) -> None:
        now[0] += 10.0

    monkeypatch.setattr(TfliteNetwork, "run", slow)
    monkeypatch.setattr("gnetsegd.accelerators.standin.time.monotonic", lambda: now[0])
    mine = load_bundle(str(MODELS / "threshold-32"))
    with pytest.raises(
        ModelError, match="it takes 10 s a picture on one core of this machine, over 8 s; choose"
    ):
        StandinAccelerator.prove(mine, "standin", {"standin": StandinOptions(threads=1)})
