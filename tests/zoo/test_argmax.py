"""A softmax mask leaves the exported file as the integer mask does: one label a pixel."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorflow")
pytest.importorskip("tf_keras")
pytest.importorskip("tomli_w")

from gnetseg_zoo.export import write_scores_bundle  # noqa: E402
from gnetseg_zoo.exporting.argmax import with_argmax  # noqa: E402
from gnetseg_zoo.exporting.keras_model import build_keras, channels_within_blocks  # noqa: E402
from gnetseg_zoo.exporting.quantise import folded_weights, lifted, lowest_score, tflite_file  # noqa: E402
from gnetseg_zoo.networks import NetworkError, build  # noqa: E402
from gnetseg_zoo.scoring.runtime import check_tensor, interpreter_class  # noqa: E402
from gnetseg_zoo.training.torch_model import GnetSeg  # noqa: E402

from gnetsegd.accelerators.tflite import TfliteNetwork  # noqa: E402
from gnetsegd.errors import ModelError  # noqa: E402
from gnetsegd.frame import FrameSpec, MaskFormat  # noqa: E402
from gnetsegd.model import ModelBundle, load_bundle  # noqa: E402

SIZE = 32


@pytest.fixture(scope="module")
def frames():
    rng = np.random.default_rng(1)
    return [rng.integers(0, 256, (SIZE, SIZE, 1), np.uint8) for _ in range(8)]


def random_model(classes, variant="reformat", encoding="softmax"):
    torch.manual_seed(1)
    widths = (4, 8, 8, 8)
    network = build("medium", widths=widths, size=SIZE, classes=classes, variant=variant, encoding=encoding)
    return GnetSeg(network).eval()


def torch_scores(model, frames):
    with torch.no_grad():
        batch = torch.from_numpy(np.stack(frames).transpose(0, 3, 1, 2)).float()
        return model(batch).numpy().transpose(0, 2, 3, 1)


def run(content, frames):
    interpreter = interpreter_class()(model_content=content)
    interpreter.allocate_tensors()
    entry, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    masks = []
    for frame in frames:
        interpreter.set_tensor(entry["index"], frame[None])
        interpreter.invoke()
        masks.append(interpreter.get_tensor(out["index"])[0])
    return entry, out, np.stack(masks)


@pytest.mark.parametrize("variant", ["original", "reformat"])
@pytest.mark.parametrize("classes", [2, 5, 16])
def test_the_exported_mask_is_the_class_of_the_highest_score(classes, variant, frames):
    model = random_model(classes, variant)
    entry, out, masks = run(tflite_file(model, frames), frames)
    check_tensor("input", entry, (1, SIZE, SIZE, 1))
    check_tensor("mask", out, (1, SIZE, SIZE, 1))
    wanted = torch_scores(model, frames).argmax(axis=-1)
    assert len(np.unique(wanted)) > 1
    # Random weights give scores that lie close together: 8 bits turn some of the winners.
    assert np.mean(masks[..., 0] == wanted) > 0.9


def test_pytorch_and_tensorflow_put_the_same_channel_into_the_same_pixel(frames):
    model = random_model(5)
    keras_model = build_keras(model.network, folded_weights(model))
    ours = keras_model(frames[0][None].astype(np.float32)).numpy()
    np.testing.assert_allclose(ours, np.maximum(torch_scores(model, frames[:1]), 0), atol=1e-4)


def test_a_kernel_is_put_in_the_order_of_tensorflow():
    # Two channels of 2x2 pixels: channel 0 holds 0 to 3, channel 1 holds 4 to 7.
    assert channels_within_blocks(np.arange(8.0), 2).tolist() == [0, 4, 1, 5, 2, 6, 3, 7]
    assert channels_within_blocks(np.arange(3.0), 1).tolist() == [0, 1, 2]


def test_among_equal_scores_the_lowest_class_wins(frames):
    model = random_model(4)
    with torch.no_grad():
        model.convs[-1].conv.weight.zero_()
        # Classes 1 and 3 are equal everywhere, and above the rest.
        model.convs[-1].conv.bias.copy_(torch.tensor([0.0, 1.0, 0.5, 1.0]).repeat_interleave(4))
    _, _, masks = run(tflite_file(model, frames), frames)
    assert np.unique(masks).tolist() == [1]


def test_scores_are_lifted_so_that_relu_cuts_none_off(frames):
    model = random_model(5)
    lowest = lowest_score(model, frames)
    assert lowest < 0, "the test shows nothing"
    keras_model = build_keras(model.network, lifted(folded_weights(model), lowest))
    scores = keras_model(np.stack(frames[:1]).astype(np.float32)).numpy()
    np.testing.assert_allclose(scores, torch_scores(model, frames[:1]) - lowest, atol=1e-4)


def test_a_file_without_scores_gets_no_argmax(frames):
    model = random_model(2, encoding="integer")
    with pytest.raises(ValueError, match="scores must be int8"):
        with_argmax(tflite_file(model, frames))


def test_an_integer_mask_has_no_scores_to_give(frames):
    with pytest.raises(NetworkError, match="an integer mask has no scores"):
        tflite_file(random_model(2, encoding="integer"), frames, scores=True)


def test_the_scores_themselves_can_be_had(frames):
    model = random_model(5)
    _, out, scores = run(tflite_file(model, frames, scores=True), frames)
    scale, zero_point = out["quantization"]
    real = (scores.astype(np.float32) - zero_point) * scale
    wanted = torch_scores(model, frames)
    assert scores.shape == wanted.shape
    assert np.abs(real - (wanted - lowest_score(model, frames))).mean() < 4 * scale


def claimed(content, classes):
    """A bundle that promises a mask, as the daemon holds it."""
    return ModelBundle(
        id="claimed",
        title="",
        licence="",
        path=Path(),
        sha256=b"",
        content=content,
        input=FrameSpec(SIZE, SIZE, "Y"),
        mask=MaskFormat(SIZE, SIZE, 8, classes),
        labels=tuple(str(n) for n in range(classes)),
    )


def test_the_daemon_takes_a_softmax_mask_as_it_takes_an_integer_one(frames):
    content = tflite_file(random_model(5), frames)
    mask = np.zeros((SIZE, SIZE), np.uint8)
    TfliteNetwork(claimed(content, 5), 1).run(frames[0][..., 0], mask)
    np.testing.assert_array_equal(mask, run(content, frames[:1])[2][0, ..., 0])


def test_scores_run_on_the_host_and_are_refused_where_they_are_called_a_mask(tmp_path, frames):
    content = tflite_file(random_model(2), frames, scores=True)
    table = {
        "schema": 1,
        "id": "scores-of-two",
        "file": "model.tflite",
        "sha256": hashlib.sha256(content).hexdigest(),
        "input": {"width": SIZE, "height": SIZE, "format": "Y"},
        "mask": {"width": SIZE, "height": SIZE, "encoding": "u8", "classes": ["a", "b"]},
    }
    write_scores_bundle(tmp_path / "scores-of-two", content, table)
    network = TfliteNetwork(load_bundle(str(tmp_path / "scores-of-two")), 1)
    scores = np.stack([frames[0]] * 1)
    mask = np.empty((SIZE, SIZE), np.uint8)
    network.run(scores[0], mask)
    assert set(np.unique(mask)) <= {0, 1}
    # Whoever rewrites model.toml is told by the tensors.
    with pytest.raises(ModelError, match=r"claimed: its output has the shape \(1, 32, 32, 2\)"):
        TfliteNetwork(claimed(content, 2), 1)
