"""Every shipped bundle keeps its promise: bytes in, integer labels out, nothing in between."""

from __future__ import annotations

import csv
import tomllib

import numpy as np
import pytest
from gnetseg_zoo.describe import named
from gnetseg_zoo.judging.photos import PERMITTED
from gnetseg_zoo.networks import Network
from gnetseg_zoo.scoring.runtime import RUNTIMES, interpreter_class
from gnetseg_zoo.scoring.runtime import Network as Runner
from gnetseg_zoo.selfie.plan import CONFIGS as SELFIE_CONFIGS
from gnetseg_zoo.selfie.plan import load_plan

from gnetsegd.errors import ModelError
from gnetsegd.model import SHIPPED, load_bundle

NAMES = sorted(path.parent.name for path in SHIPPED.glob("*/model.toml"))


@pytest.fixture(params=RUNTIMES)
def runtime(request):
    pytest.importorskip(request.param)
    return request.param


def test_the_default_model_is_shipped():
    assert "gnetseg-large-cpu30" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_bundle_calls_a_person_a_person(name):
    assert "person" in load_bundle(name).labels


@pytest.mark.parametrize("name", NAMES)
def test_input_and_mask_are_uint8_with_scale_1_and_zero_point_0(name, runtime):
    bundle = load_bundle(name)
    interpreter = interpreter_class(runtime)(model_content=bundle.content)
    interpreter.allocate_tensors()
    for details in (interpreter.get_input_details()[0], interpreter.get_output_details()[0]):
        assert details["dtype"] is np.uint8
        assert details["quantization"] == (1.0, 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_mask_holds_only_the_labels_of_its_classes(name, runtime):
    bundle = load_bundle(name)
    runner = Runner(bundle, module=runtime)
    rng = np.random.default_rng(0)
    shape = (bundle.input.height, bundle.input.width, 1 if bundle.input.pixel_format == "Y" else 3)
    for pixels in (
        np.zeros(shape, np.uint8),
        np.full(shape, 255, np.uint8),
        rng.integers(0, 256, shape, np.uint8),
    ):
        mask = runner.mask(pixels)
        assert mask.shape == (bundle.mask.height, bundle.mask.width)
        assert mask.max() < len(bundle.labels)


def selfie(name):
    """Whether the bundle is begun from MediaPipe's network."""
    return (SELFIE_CONFIGS / f"{name}.toml").is_file()


@pytest.mark.parametrize("name", [n for n in NAMES if not selfie(n)])
def test_the_bundle_is_of_the_network_that_its_configuration_describes(name):
    bundle, network = load_bundle(name), named(name)
    assert isinstance(network, Network)
    assert (bundle.input.width, bundle.input.pixel_format) == (network.size, network.input_format)
    assert (bundle.mask.width, bundle.mask.classes) == (network.output_size, network.classes)


@pytest.mark.parametrize("name", [n for n in NAMES if selfie(n)])
def test_the_bundle_has_the_input_that_its_configuration_trains(name):
    bundle, plan = load_bundle(name), load_plan(SELFIE_CONFIGS / f"{name}.toml")
    assert (bundle.input.width, bundle.input.pixel_format) == (plan.size, plan.input)
    assert (bundle.mask.width, bundle.labels) == (plan.size, ("background", "person"))


@pytest.mark.parametrize("name", NAMES)
def test_the_bundle_names_the_sources_of_its_photos_with_their_terms(name):
    table = tomllib.loads((SHIPPED / name / "model.toml").read_text("utf-8"))
    assert all(source["licence"] and source["photos"] for source in table["data"]["sources"])
    assert table["scores"]["split"] == ("test" if selfie(name) else "val")
    assert selfie(name) or "research use" in table["data"]["note"]


@pytest.mark.parametrize("name", [n for n in NAMES if selfie(n)])
def test_a_network_for_any_use_saw_only_photos_for_any_use_and_says_whose(name):
    table = tomllib.loads((SHIPPED / name / "model.toml").read_text("utf-8"))
    assert all(source["licence"].startswith(PERMITTED) for source in table["data"]["sources"])
    with (SHIPPED / name / "credits.csv").open(newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert len(lines) == sum(source["photos"] for source in table["data"]["sources"])
    assert all(row["origin"].startswith(("http", "github.com/")) for row in lines)


def test_a_network_of_another_size_than_its_bundle_is_refused(tmp_path):
    folder = SHIPPED / "gnetseg-large-cpu30"
    text = (folder / "model.toml").read_text("utf-8").replace("width = 224", "width = 200")
    (tmp_path / "model.toml").write_text(text)
    (tmp_path / "model.tflite").write_bytes((folder / "model.tflite").read_bytes())
    with pytest.raises(ModelError, match=r"input tensor is uint8 \[1, 224, 224, 1\]"):
        Runner(load_bundle(str(tmp_path)))
