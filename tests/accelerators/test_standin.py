"""The stand-in: the network's output tensor is the mask, and what is not so is refused."""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import pytest

from gnetsegd.accelerators import tflite
from gnetsegd.accelerators.standin import StandinAccelerator, StandinOptions
from gnetsegd.accelerators.tflite import TfliteNetwork
from gnetsegd.errors import ModelError, PermanentError, TransientError
from gnetsegd.frame import Frame, Mask
from gnetsegd.model import load_bundle

pytestmark = pytest.mark.runtime
MODELS = Path(__file__).parents[1] / "data" / "models"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("float", "of its tensors are float"),
        ("signed", "its input is int8, not uint8"),
        ("scaled", "its output has scale 0.5 and zero point 0, not 1 and 0"),
        ("two-channels", r"its output has the shape \(1, 32, 32, 2\)"),
        ("other-size", r"its input has the shape \(1, 16, 16, 1\), model.toml promises \(1, 32, 32, 1\)"),
    ],
)
def test_a_network_that_breaks_a_promise_of_its_bundle_is_refused(name: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        TfliteNetwork(load_bundle(str(MODELS / name)), threads=1)


def test_a_file_that_is_no_network_is_refused_without_a_crash() -> None:
    bundle = load_bundle(str(MODELS / "threshold-32"))
    for content in (b"not a network", b"", bytes(4096)):
        with pytest.raises(ModelError, match="is no TFLite model"):
            TfliteNetwork(attrs.evolve(bundle, content=content), threads=1)


def test_a_delegate_that_cannot_be_loaded_is_named() -> None:
    bundle = load_bundle(str(MODELS / "threshold-32"))
    with pytest.raises(PermanentError, match=r"the delegate library libnone\.so\.1 cannot be loaded"):
        TfliteNetwork(bundle, 1, delegate="libnone.so.1", delegate_options={"a": "b"})


def test_without_a_runtime_the_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    for name in ("tflite_runtime", "ai_edge_litert"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(PermanentError, match=r"install gnetsegd\[standin\]"):
        tflite.runtime()


def test_the_mask_is_the_tensor_itself_each_for_its_own_frame() -> None:
    bundle = load_bundle(str(MODELS / "threshold-32"))
    accelerator = StandinAccelerator(bundle, StandinOptions(threads=1))
    info = accelerator.open()
    assert (info.backend, info.model_hash, info.fallback) == ("standin", bundle.sha256, False)
    random = np.random.default_rng(1)
    frames = [Frame(bundle.input, bundle.mask.size_bytes) for _ in range(20)]
    for number, frame in enumerate(frames):
        frame.sequence = number
        frame.pixels[:] = random.integers(0, 256, bundle.input.shape, np.uint8)
        assert accelerator.wait_for_credit(1)
        accelerator.submit(frame)
        mask = accelerator.collect(1)
        assert isinstance(mask, Mask)
        assert mask.frame is frame
    for frame in frames:
        expected = (frame.pixels >= 128).astype(np.uint8).tobytes()
        assert bytes(Mask(frame, info).payload) == expected
    accelerator.close()


def test_it_takes_no_second_frame_before_the_first_is_answered_and_gives_all_back_when_closed() -> None:
    bundle = load_bundle(str(MODELS / "threshold-32"))
    accelerator = StandinAccelerator(bundle, StandinOptions(threads=1))
    accelerator.open()
    frame = Frame(bundle.input, bundle.mask.size_bytes)
    assert accelerator.wait_for_credit(1)
    assert accelerator.wait_for_credit(1), "asking twice is not taking twice"
    accelerator.submit(frame)
    assert not accelerator.wait_for_credit(0.01)
    assert accelerator.collect(1) is not None
    assert accelerator.wait_for_credit(1)
    assert accelerator.collect(0.01) is None
    accelerator.submit(frame)
    assert accelerator.close() == [frame]


def test_a_network_that_fails_gives_its_frame_back_and_may_be_opened_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bundle = load_bundle(str(MODELS / "threshold-32"))
    accelerator = StandinAccelerator(bundle, StandinOptions(threads=1))
    accelerator.open()
    frame = Frame(bundle.input, bundle.mask.size_bytes)
    with monkeypatch.context() as broken:

        def fail(*_: object) -> None:
            raise RuntimeError("out of memory")

        broken.setattr(TfliteNetwork, "run", fail)
        assert accelerator.wait_for_credit(1)
        accelerator.submit(frame)
        with pytest.raises(TransientError, match="out of memory"):
            accelerator.collect(1)
        assert accelerator.close() == [frame]
    accelerator.open()
    assert accelerator.wait_for_credit(1)
    accelerator.submit(frame)
    assert isinstance(accelerator.collect(1), Mask)


def test_the_network_has_run_before_the_first_frame_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = []
    monkeypatch.setattr(TfliteNetwork, "run", lambda *arguments: runs.append(arguments))
    StandinAccelerator(load_bundle(str(MODELS / "threshold-32")), StandinOptions(threads=1)).open()
    assert runs


def test_the_shipped_network_finds_the_person_in_a_portrait(data_dir: Path) -> None:
    bundle = load_bundle("gnetseg-large-cpu30")
    network = TfliteNetwork(bundle, 1)
    photo = np.load(data_dir / "portrait.npz")
    mask = np.zeros(bundle.mask.size_bytes, np.uint8)
    network.run(photo["y"], mask)
    assert set(np.unique(mask)) <= {0, 1}
    labels, truth = mask.reshape(224, 224) == 1, photo["mask"] == 1
    overlap = (labels & truth).sum() / (labels | truth).sum()
    assert overlap > 0.85
