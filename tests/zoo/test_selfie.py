"""The network begun from MediaPipe's: rewriting changes nothing, and the integers give what was trained."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

torch = pytest.importorskip("torch")
pytest.importorskip("cv2")

from gnetseg_zoo.datasets.samples import DataError  # noqa: E402
from gnetseg_zoo.judging.photos import FULL_BODY, TRAIN, VAL, load_photos  # noqa: E402
from gnetseg_zoo.selfie import train  # noqa: E402
from gnetseg_zoo.selfie.graph import (  # noqa: E402
    Step,
    cheaper,
    for_bytes,
    for_grey,
    for_yuv,
    load_ranges,
    load_weights,
    mega_macs,
    read_tflite,
    save_weights,
)
from gnetseg_zoo.selfie.pictures import COMPOSED, HALF_LENGTH, Batches, Pictures, know  # noqa: E402
from gnetseg_zoo.selfie.plan import CONFIGS, load_plan  # noqa: E402
from gnetseg_zoo.selfie.torch_model import SelfieNet, watch  # noqa: E402
from gnetseg_zoo.selfie.validation import Validation  # noqa: E402

pytestmark = pytest.mark.timeout(300)

STEPS = [
    Step("convolution", (0,), 1, "c00", 2),
    Step("hard_swish", (1,), 2),
    Step("depthwise", (2,), 3, "c01", 2),
    Step("relu", (3,), 4),
    Step("enlarge", (4,), 5),
    Step("convolution", (5,), 6, "c02"),
    Step("add", (2, 6), 7),
    Step("pool", (7,), 8),
    Step("convolution", (8,), 9, "c03"),
    Step("sigmoid", (9,), 10),
    Step("multiply", (2, 10), 11),
    Step("add", (11, 6), 12),
    Step("head", (12,), 13, "c04"),
]
SHAPES = {
    "c00": (8, 3, 3, 3),
    "c01": (8, 1, 3, 3),
    "c02": (8, 8, 1, 1),
    "c03": (8, 8, 1, 1),
    "c04": (4, 8, 1, 1),
}
SIZE = 32


def weights():
    """Random ones of the smallest network that has every operator."""
    rng = np.random.default_rng(4)
    return {
        k: (rng.normal(0, 0.5, shape).astype(np.float32), rng.normal(0, 0.3, shape[0]).astype(np.float32))
        for k, shape in SHAPES.items()
    }


def scores(steps, given, x):
    with torch.no_grad():
        return SelfieNet(steps, given).eval()(x)


def blobs(count=4):
    """float32 [count, 3, SIZE, SIZE] of soft shapes, 0 to 1."""
    rng = np.random.default_rng(5)
    coarse = torch.from_numpy(rng.uniform(0, 1, (count, 3, 5, 5)).astype(np.float32))
    fine = torch.nn.functional.interpolate(coarse, size=(SIZE, SIZE), mode="bicubic")
    return (fine - fine.min()) / (fine.max() - fine.min())


def test_the_cheaper_order_of_operators_computes_the_same_for_less():
    x, given = blobs(), weights()
    assert torch.allclose(scores(STEPS, given, x), scores(cheaper(STEPS), given, x), atol=1e-4)
    assert mega_macs(cheaper(STEPS), given, SIZE) < mega_macs(STEPS, given, SIZE)


def test_grey_weights_see_a_grey_picture_as_the_colour_ones_do():
    grey = blobs().mean(1, keepdim=True)
    found = scores(STEPS, for_grey(weights()), grey)
    assert torch.allclose(found, scores(STEPS, weights(), grey.repeat(1, 3, 1, 1)), atol=1e-4)


def test_yuv_weights_see_a_yuv_picture_as_those_for_rgb_see_the_same_in_rgb():
    from gnetseg_zoo.colour import YUV_OF_RGB

    x, shape = blobs(), (1, 3, 1, 1)
    yuv = torch.einsum("yc,nchw->nyhw", torch.from_numpy(YUV_OF_RGB).float(), x)
    yuv = yuv + torch.tensor([0.0, 128 / 255, 128 / 255]).reshape(shape)
    first = STEPS[:1]
    there, here = scores(first, for_yuv(weights()), yuv), scores(first, weights(), x)
    # The outermost row and column read padding, which is no colour in the one and green in the other.
    assert torch.allclose(there[..., :-1, :-1], here[..., :-1, :-1], atol=1e-4)


def test_weights_and_ranges_come_back_as_they_were_saved(tmp_path):
    save_weights(tmp_path / "w.npz", weights(), {3: (-1.0, 2.0)})
    back = load_weights(tmp_path / "w.npz")
    assert all(np.array_equal(a, b) for k in SHAPES for a, b in zip(back[k], weights()[k], strict=True))
    assert load_ranges(tmp_path / "w.npz") == {3: (-1.0, 2.0)}


def test_a_file_that_holds_no_weights_is_named(tmp_path):
    (tmp_path / "w.npz").write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"w\.npz: holds no weights"):
        load_weights(tmp_path / "w.npz")


def test_a_file_that_is_no_network_is_named(tmp_path):
    pytest.importorskip("tensorflow")
    (tmp_path / "f.tflite").write_bytes(b"nothing of the kind")
    with pytest.raises(DataError, match="is no TFLite network"):
        read_tflite(tmp_path / "f.tflite")


def test_rare_values_do_not_widen_a_range_and_a_hard_swish_needs_nothing_below_minus_three():
    network = SelfieNet(STEPS, weights()).eval()
    batches = [blobs() for _ in range(3)]
    usual = watch(network, batches)
    glaring = blobs()
    glaring[0, :, 3, 3] = 1000
    assert watch(network, [*batches * 5, glaring])[2][1] < 2 * usual[2][1]
    assert usual[1][0] >= -3.2
    assert usual[10] == (0.0, 255 / 256)


def test_training_with_rounding_still_moves_every_weight():
    network = SelfieNet(STEPS, weights())
    network.ranges = watch(network, [blobs()])
    loss = train.loss_of(network(blobs())[:, 0], torch.ones(4, SIZE, SIZE), torch.ones(4, SIZE, SIZE))
    loss.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in network.kernels.parameters())


def test_what_weighs_nothing_does_not_count():
    given, target = torch.randn(1, 8, 8), torch.zeros(1, 8, 8)
    weight = torch.ones(1, 8, 8)
    weight[:, :4] = 0
    changed = given.clone()
    changed[:, :4] += 9
    assert float(train.loss_of(changed, target, weight)) == pytest.approx(
        float(train.loss_of(given, target, weight))
    )


def test_the_exported_integers_give_the_mask_that_was_trained():
    pytest.importorskip("tensorflow")
    pytest.importorskip("tf_keras")
    from gnetseg_zoo.exporting.quantise import quantise
    from gnetseg_zoo.exporting.runtimes import LITERT, outputs, tensors
    from gnetseg_zoo.scoring.runtime import check_tensor
    from gnetseg_zoo.selfie.keras_model import build_keras

    steps, given = cheaper(STEPS), weights()
    bytes_ = (blobs() * 255).round().to(torch.uint8)
    x = bytes_.float() / 255
    kernel, bias = given["c04"]
    middle = float(scores(steps, given, x).median())
    given["c04"] = (kernel, bias - np.float32(middle))
    network = SelfieNet(steps, given).eval()
    network.ranges = watch(network, [x])
    with torch.no_grad():
        wanted = network(x)[:, 0].numpy()
    frames = list(bytes_.permute(0, 2, 3, 1).contiguous().numpy())
    frames[0][0, 0], frames[0][-1, -1] = 0, 255
    content = quantise(build_keras(steps, for_bytes(given), SIZE, network.ranges), frames)
    entry, out = tensors(content, LITERT)
    check_tensor("input", entry, (1, SIZE, SIZE, 3))
    check_tensor("mask", out, (1, SIZE, SIZE, 1))
    masks = outputs(content, np.stack(frames), LITERT)[..., 0]
    sure = np.abs(wanted) > 0.05 * np.ptp(wanted)
    assert 0.2 < masks.mean() < 0.8
    assert np.mean((masks == (wanted > 0))[sure]) > 0.99


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda p: p.stem)
def test_every_configuration_can_be_read_and_its_sizes_divide_by_sixteen(path):
    plan = load_plan(path)
    assert all(size % 16 == 0 for size in plan.sizes)
    assert plan.begin_input in ("RGB", plan.input)


@pytest.fixture
def photos(mixed):
    """Clean photos of a full body, a scene and an empty room."""
    mixed.write_text(mixed.read_text().replace('houses,"none stated",none', 'houses,"CC0",none'))
    return load_photos([mixed], TRAIN)


def test_training_pictures_follow_the_masks(photos, tmp_path):
    kinds = {HALF_LENGTH: 1.0, FULL_BODY: 1.0}
    pixels, targets, weight = Pictures(photos, tmp_path, kinds, size=48, seed=1).batch(16, 48)
    assert pixels.shape == (16, 48, 48, 3)
    inside, outside = targets > 229, targets < 25
    assert weight.min() >= 0
    assert inside.any()
    assert outside.any()
    assert pixels.mean(-1)[inside].mean() > pixels.mean(-1)[outside].mean() + 40


def test_composed_pictures_show_persons_of_full_body_photos(photos, tmp_path):
    _, targets, _ = Pictures(photos, tmp_path, {COMPOSED: 1.0}, size=48, seed=1).batch(8, 48)
    assert (targets.max((1, 2)) > 127).sum() >= 6


def test_a_steps_pictures_are_the_same_whatever_was_made_before(photos, tmp_path):
    pictures = Pictures(photos, tmp_path, {FULL_BODY: 1.0, COMPOSED: 1.0}, size=48, seed=1)
    batches = Batches(pictures, {48: 0.5, 32: 0.5}, batch=3, seed=7, pixel_format="Y")
    first = [batches[step] for step in (3, 4)]
    again = batches[4]
    assert all(np.array_equal(a, b) for a, b in zip(first[1], again, strict=True))
    assert not np.array_equal(first[0][1], first[1][1])
    assert first[1][0].shape[1] == 1, "Y has one channel"


def test_a_drawn_portrait_is_taught_by_both_and_counts_less_where_they_differ(mixed, tmp_path):
    (portrait,) = (p for p in load_photos([mixed], TRAIN, every_licence=True) if p.sample.source == "eg1800")
    drawn = know(portrait, tmp_path)
    assert drawn.weight.min() == 255
    Image.fromarray(np.zeros(drawn.target.shape, np.uint8)).save(tmp_path / f"{portrait.key}.png")
    taught = know(portrait, tmp_path)
    person = drawn.target == 255
    assert set(np.unique(taught.target[person])) == {153}
    assert taught.weight[person].max() < 90
    assert taught.weight[~person].min() == 255


def test_a_domain_of_few_photos_is_scored_but_does_not_count_in_the_mean(mixed):
    validation = Validation(load_photos([mixed], VAL), 16)
    validation.domains = np.array(["portrait"] * 10 + ["room"])
    truth = np.zeros((11, 16, 16), bool)
    truth[:, 4:8] = True
    validation.truths, validation.known = truth, np.ones_like(truth)
    predicted = truth.copy()
    predicted[10] = ~predicted[10]
    found = validation.score(predicted)
    assert (found["portrait"], found["room"], found["mean"]) == (1.0, 0.0, 1.0)


def test_empty_pictures_show_nobody(photos, tmp_path):
    _, targets, _ = Pictures(photos, tmp_path, {"empty": 1.0}, size=48, seed=1).batch(8, 48)
    assert targets.max() == 0


def test_photos_that_lack_a_kind_are_refused_in_a_sentence(mixed, tmp_path):
    with pytest.raises(DataError, match="no training photo is of empty"):
        Pictures(load_photos([mixed], TRAIN), tmp_path, {FULL_BODY: 1.0}, size=48, seed=1)


PLAN = """
input = "{input}"
{begin}
int8 = {int8}
minutes = 0.01
learning_rate = 1e-3
batch = 2
ema_decay = 0.9
seed = 1
[sizes]
48 = 1.0
[kinds]
fullbody = 1.0
"""


def trained(folder, name, index, **changes):
    """Train the made-up network for half a second; the weights."""
    plan = {"input": "RGB", "begin": "", "int8": "false"} | changes
    (folder / f"{name}.toml").write_text(PLAN.format(**plan))
    given = [
        "--data",
        str(index),
        "--source",
        "made-up",
        "--teacher",
        str(folder),
        "--output",
        str(folder / name),
    ]
    assert train.main([str(folder / f"{name}.toml"), *given]) == 0
    return load_weights(folder / name / "weights.npz")


@pytest.mark.usefixtures("photos")
def test_training_goes_from_colour_to_grey_to_integers_and_on_where_it_was_stopped(
    mixed, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(train, "read_tflite", lambda _: (STEPS, weights()))
    floats = trained(tmp_path, "floats", mixed)
    assert not np.allclose(floats["c02"][0], weights()["c02"][0], atol=1e-6)
    assert trained(tmp_path, "grey", mixed, input="Y", begin='begin = "floats"')["c00"][0].shape[1] == 1
    trained(tmp_path, "integers", mixed, begin='begin = "floats"', int8="true", input="YUV444")
    assert load_ranges(tmp_path / "integers" / "weights.npz")
    assert not load_ranges(tmp_path / "floats" / "weights.npz")
    capsys.readouterr()
    trained(tmp_path, "floats", mixed)
    assert "from 0.0 minutes on" in capsys.readouterr().out
    lines = (tmp_path / "floats" / "log.csv").read_text().splitlines()
    assert int(lines[-1].split(",")[1]) == int(lines[2].split(",")[1]) > 0, "a finished run trains no further"
