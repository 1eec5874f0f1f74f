"""A network that begins from a bundle computes what the bundle does, also when it is wider or deeper."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("ai_edge_litert.schema_py_generated")

from gnetseg_zoo.config import load_config  # noqa: E402
from gnetseg_zoo.describe import CONFIGS  # noqa: E402
from gnetseg_zoo.networks import build  # noqa: E402
from gnetseg_zoo.scoring.runtime import Network  # noqa: E402
from gnetseg_zoo.training.torch_model import GnetSeg  # noqa: E402
from gnetseg_zoo.training.warm_start import begin_from, bundle_convolutions  # noqa: E402

from gnetsegd.model import load_bundle  # noqa: E402

NAME = "gnetseg-large-cpu30"


@pytest.fixture(scope="module")
def bundle():
    return load_bundle(NAME)


@pytest.fixture(scope="module")
def frames():
    """float32 [4, 1, 224, 224], 0..255: a bright person-like shape before noise."""
    rng = np.random.default_rng(1)
    out = rng.normal(80, 20, (4, 1, 224, 224)).clip(0, 255).astype(np.uint8)
    for n in range(4):
        out[n, 0, 60 + 10 * n :, 70:150] = 180
        out[n, 0, 20 + 10 * n : 60 + 10 * n, 90:130] = 200
    return torch.from_numpy(out.astype(np.float32))


def begun(network, bundle, frames):
    torch.manual_seed(1)
    model = GnetSeg(network)
    source = load_config(CONFIGS / f"{NAME}.toml").build_network()
    taken = begin_from(model, source, bundle_convolutions(bundle.content), frames)
    return model.eval(), taken


def raw(model, frames):
    with torch.no_grad():
        return model(frames)


@pytest.fixture(scope="module")
def same(bundle, frames):
    model, taken = begun(load_config(CONFIGS / f"{NAME}.toml").build_network(), bundle, frames)
    assert taken == len(model.convs)
    return raw(model, frames)


def test_the_floats_give_the_masks_of_the_eight_bit_network(bundle, frames, same):
    network = Network(bundle)
    for frame, value in zip(frames, same, strict=True):
        mask = network.mask(frame.numpy().astype(np.uint8).transpose(1, 2, 0))
        assert np.mean((value[0].numpy() >= 0.5) == (mask == 1)) > 0.99


def test_a_wider_and_deeper_network_begins_as_the_original(bundle, frames, same):
    network = build("large", widths=[16, 48, 64, 96], sublayers=[1, 2, 2, 7, 2, 2, 2], last_width=8)
    model, taken = begun(network, bundle, frames)
    assert taken == len(model.convs)
    assert torch.allclose(raw(model, frames), same, atol=0.02)
    kernel = model.convs[4].conv.weight
    assert not torch.allclose(kernel[:, :32], kernel[:, 32:64]), "copies would learn the same for ever"


def test_a_convolution_more_before_the_reformat_changes_nothing_at_first(bundle, frames):
    shape = {"widths": [8, 16, 32, 48], "last_width": 4}
    source = build("large", sublayers=[1, 1, 2, 5, 2, 1, 1], **shape)
    convolutions = bundle_convolutions(bundle.content)
    kernel, bias = convolutions.pop()
    del convolutions[-1]
    convolutions.append((np.tile(kernel, (1, 2, 1, 1))[:, :16], bias))
    models = []
    for last in (1, 2):
        torch.manual_seed(1)
        model = GnetSeg(build("large", sublayers=[2, 1, 2, 5, 2, 1, last], **shape))
        assert begin_from(model, source, convolutions, frames) == len(model.convs)
        models.append(raw(model.eval(), frames))
    # The convolution more has passed a ReLU before it.
    assert torch.allclose(models[1], models[0].clamp_min(0), atol=1e-3)
    assert models[0].max() > 0.1


def test_a_network_in_colour_begins_with_the_brightness_alone(bundle, frames, same):
    config = load_config(CONFIGS / "gnetseg-large-yuv.toml")
    model, _ = begun(config.build_network(), bundle, frames.repeat(1, 3, 1, 1))
    colourful = torch.cat([frames, torch.rand(4, 2, 224, 224) * 255], dim=1)
    assert torch.allclose(raw(model, colourful), same, atol=0.02)


def test_what_has_no_counterpart_begins_at_random(bundle, frames):
    network = build("large", widths=[8, 16, 32, 48], sublayers=[1, 1, 2, 5, 2, 1, 2], classes=11)
    model, taken = begun(network, bundle, frames)
    assert taken == len(model.convs) - 2
    assert torch.isfinite(raw(model, frames)).all()
