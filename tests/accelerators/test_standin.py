"""The stand-in: the network's output tensor is the mask, and what is not so is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import attrs
import numpy as np
import pytest

from gnetsegd.accelerators import runtimes, standin
from gnetsegd.accelerators.runtimes import find_runtime
from gnetsegd.accelerators.standin import StandinAccelerator, StandinOptions
from gnetsegd.accelerators.tflite import TfliteNetwork
from gnetsegd.errors import ModelError, PermanentError, TransientError
from gnetsegd.frame import Frame, Mask
from gnetsegd.model import ModelBundle, load_bundle

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
    with pytest.raises(PermanentError, match=r"pip install 'gnetsegd\[standin\]'"):
        find_runtime()


@pytest.mark.parametrize(
    "error",
    [
        SystemError("initialization failed"),
        AttributeError("_ARRAY_API"),
        ValueError("numpy.dtype size changed"),
        ImportError("undefined symbol"),
    ],
)
def test_a_runtime_that_was_made_for_another_numpy_is_a_sentence_that_names_both(
    monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def fail(_name: str) -> None:
        raise error

    monkeypatch.setattr(runtimes, "import_module", fail)
    with pytest.raises(PermanentError) as raised:
        find_runtime()
    words = str(raised.value)
    assert f"with numpy {np.__version__}: {type(error).__name__}: {error}" in words
    assert "install a runtime and a numpy that fit each other" in words
    assert raised.value.exit_code == 69


def _with_one_class() -> ModelBundle:
    """A card that names fewer classes than the network gives: it gives 0 and 1."""
    bundle = load_bundle(str(MODELS / "threshold-32"))
    mask = dataclasses.replace(bundle.mask, classes=1)
    return attrs.evolve(bundle, mask=mask, labels=bundle.labels[:1])


SENTENCE = "it gives the label 1, but its model.toml names 1 classes; complete mask.classes"


def test_labels_that_are_no_class_are_refused_at_the_trial_and_at_the_warm_up() -> None:
    bundle, options = _with_one_class(), StandinOptions(threads=1)
    with pytest.raises(ModelError, match=SENTENCE):
        StandinAccelerator.prove(bundle, "standin", {"standin": options})
    with pytest.raises(ModelError, match=SENTENCE):
        StandinAccelerator(bundle, options).open()


def test_a_label_that_is_no_class_is_never_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    # A network may pass the warm-up and give it for one picture in a thousand.
    monkeypatch.setattr(standin, "_pictures", lambda bundle: [Frame(bundle.input, bundle.mask.size_bytes)])
    bundle = _with_one_class()
    accelerator = StandinAccelerator(bundle, StandinOptions(threads=1))
    accelerator.open()
    frame = Frame(bundle.input, bundle.mask.size_bytes)
    frame.pixels[...] = 255
    before = bytes(frame.reply)
    assert accelerator.wait_for_credit(1)
    accelerator.submit(frame)
    with pytest.raises(ModelError, match=SENTENCE):
        accelerator.collect(1)
    assert bytes(frame.reply) == before
    assert accelerator.close() == [frame]


def test_how_long_an_answer_may_take_is_measured_at_the_warm_up_and_each_run_is_a_sign_of_life(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now, runs = [50.0], [0.7, 0.2]

    def run(*_: object) -> None:
        now[0] += runs.pop(0)

    monkeypatch.setattr(TfliteNetwork, "run", run)
    monkeypatch.setattr(standin, "time", SimpleNamespace(monotonic=lambda: now[0]))
    accelerator = StandinAccelerator(load_bundle(str(MODELS / "threshold-32")), StandinOptions(threads=1))
    before = accelerator.signs_of_life()
    accelerator.open()
    assert accelerator.answer_limit_s == pytest.approx(0.7)
    assert accelerator.signs_of_life() == before + 2


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
