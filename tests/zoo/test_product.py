"""Every architecture, variant, input, size and encoding goes all the way from PyTorch to a mask.

Seventy-two networks with random weights and the fewest channels: each is built, judged
by the chip's limits, exported, and run under both TFLite runtimes.
"""

from __future__ import annotations

from functools import cache
from itertools import product
from typing import NamedTuple

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")
pytest.importorskip("tf_keras")

from gnetseg_zoo.chip import check  # noqa: E402
from gnetseg_zoo.exporting.quantise import tflite_file  # noqa: E402
from gnetseg_zoo.exporting.runtimes import LITERT, TFLITE_RUNTIME, outputs, outputs_under, tensors  # noqa: E402
from gnetseg_zoo.networks import ARCHITECTURES, INPUT_CHANNELS, build  # noqa: E402
from gnetseg_zoo.scoring.runtime import check_tensor  # noqa: E402
from gnetseg_zoo.training.torch_model import GnetSeg  # noqa: E402

# A conversion takes a second or two on a free core, and a minute where many jobs share it.
pytestmark = pytest.mark.timeout(300)

WIDTHS = {"large": (8, 8, 8, 8), "medium": (8, 8, 8, 8), "small": (8, 8, 8, 8)}
# One convolution a major layer; two at the end of large, where 16 classes at 448 then are too many.
SUBLAYERS = {"large": (1, 1, 1, 1, 1, 1, 2), "medium": (1,) * 6, "small": (1,) * 5}
FRAMES = 2


class Case(NamedTuple):
    architecture: str
    variant: str
    input_format: str
    size: int
    encoding: str

    @property
    def classes(self):
        """16 where the encoding is softmax and the input Y, else 2."""
        return 16 if self.encoding == "softmax" and self.input_format == "Y" else 2

    def network(self):
        return build(
            self.architecture,
            widths=WIDTHS[self.architecture],
            sublayers=SUBLAYERS[self.architecture],
            variant=self.variant,
            input_format=self.input_format,
            size=self.size,
            classes=self.classes,
            encoding=self.encoding,
        )


CASES = [
    Case(*parts)
    for parts in product(
        ARCHITECTURES, ("original", "reformat"), INPUT_CHANNELS, (224, 448), ("integer", "softmax")
    )
]


class Exported(NamedTuple):
    content: bytes
    frames: np.ndarray
    raw: np.ndarray
    """What PyTorch gives for the same frames, float32 [FRAMES, h, w, mask channels]."""
    mask: np.ndarray
    """The exported file's, uint8 [FRAMES, h, w, 1], under LiteRT."""


def smooth_frames(size, channels):
    """uint8 [FRAMES, size, size, channels] of soft blobs, as a picture has, black and white among them."""
    rng = np.random.default_rng(3)
    coarse = torch.from_numpy(rng.uniform(0, 1, (FRAMES, channels, 8, 8)).astype(np.float32))
    fine = torch.nn.functional.interpolate(coarse, size=(size, size), mode="bicubic")
    fine = (fine - fine.min()) / (fine.max() - fine.min()) * 255
    return fine.to(torch.uint8).permute(0, 2, 3, 1).contiguous().numpy()


def decided_model(network, pixels):
    """Random weights, but values that spread in every layer and classes that all win somewhere."""
    torch.manual_seed(1)
    model = GnetSeg(network)
    for layer in model.convs[:-1]:
        layer.norm.momentum = 1.0  # the statistics of these pixels, not a share of them
    last, seen = model.convs[-1].conv, []
    hook = last.register_forward_hook(lambda _module, _inputs, out: seen.append(out))
    model(pixels)
    hook.remove()
    mean, std = seen[0].mean(dim=(0, 2, 3)), seen[0].std(dim=(0, 2, 3)).mean()
    last.bias.sub_(mean).div_(std).add_(0.5)
    last.weight.div_(std)
    return model.eval()


@cache
def export(case):
    network = case.network()
    frames = smooth_frames(case.size, INPUT_CHANNELS[case.input_format])
    pixels = torch.from_numpy(frames.transpose(0, 3, 1, 2)).float()
    with torch.no_grad():
        model = decided_model(network, pixels)
        raw = model(pixels)
    content = tflite_file(model, list(frames))
    return Exported(content, frames, raw.permute(0, 2, 3, 1).numpy(), outputs(content, frames, LITERT))


def doubt(case, raw, mask):
    """How far PyTorch is from giving each pixel of ``mask`` the same label; 0 where it does.

    Softmax: the score that the label lacks to be the highest, as a share of the scores'
    range. Integer: how far the value lies from what is rounded to the label.
    """
    if case.encoding == "integer":
        return np.maximum(np.abs(raw.clip(0, case.classes - 1) - mask) - 0.5, 0)
    chosen = np.take_along_axis(raw, mask.astype(np.int64), axis=-1)
    return (raw.max(axis=-1, keepdims=True) - chosen) / np.ptp(raw)


# Eight bits turn near ties, and random weights give many: a label counts as right if PyTorch is this
# close to giving it. Of integer labels (0 to 1) a tenth, of softmax scores 1 % of their range.
TOLERANCE = {"integer": 0.1, "softmax": 0.01}
RIGHT = {"integer": 0.97, "softmax": 0.99}
"""The share of the pixels that are right, at least."""
UNLIKE = {2: 0.04, 16: 0.1}
"""The share of the pixels that the two runtimes label differently, at most, by the number of classes."""


def right(case, raw, mask):
    """The share (0..1) of pixels whose label PyTorch gives too, or nearly."""
    return np.mean(doubt(case, raw, mask) <= TOLERANCE[case.encoding])


def name_of(case):
    return "-".join(str(part) for part in case)


def test_the_product_has_seventy_two_networks():
    assert len({case.network() for case in CASES}) == 3 * 2 * 3 * 2 * 2


def test_the_chip_computes_all_of_them_but_one_that_its_memory_does_not_hold():
    broken = {case: [v for v in check(case.network()) if not v.fits] for case in CASES}
    (case,) = (case for case, verdicts in broken.items() if verdicts)
    assert case == ("large", "reformat", "Y", 448, "softmax")
    (verdict,) = broken[case]
    # 64 channels are read and 64 written at 224x224.
    assert verdict.limit == "activation memory"
    assert verdict.reason.startswith("6,422,528, at most 4,816,896 values")


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_the_exported_mask_is_what_pytorch_computes(case):
    network, exported = case.network(), export(case)
    entry, out = tensors(exported.content, LITERT)
    check_tensor("input", entry, (1, case.size, case.size, INPUT_CHANNELS[case.input_format]))
    check_tensor("mask", out, (1, network.output_size, network.output_size, 1))
    assert len(np.unique(exported.mask)) > 1, "a mask of one label shows nothing"
    assert right(case, exported.raw, exported.mask) >= RIGHT[case.encoding]


@pytest.mark.parametrize("encoding", ["integer", "softmax"])
def test_a_mask_of_the_neighbouring_classes_would_be_found(encoding):
    case = Case("large", "reformat", "Y", 224, encoding)
    exported = export(case)
    assert right(case, exported.raw, (exported.mask + 1) % case.classes) < RIGHT[encoding] / 2


@pytest.mark.timeout(900)
def test_both_runtimes_give_the_same_masks():
    jobs = {name_of(case): (export(case).content, export(case).frames) for case in CASES}
    masks = outputs_under(TFLITE_RUNTIME, jobs)
    assert masks is not None, "tflite-runtime is in no environment here; run make .venv/.done"
    for case in CASES:
        exported, theirs = export(case), masks[name_of(case)]
        assert right(case, exported.raw, theirs) >= RIGHT[case.encoding], case
        assert np.mean(theirs != exported.mask) <= UNLIKE[case.classes], case
