"""Whether the two TFLite runtimes agree is measured, or it is said that it was not."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from gnetseg_zoo.exporting import runtimes
from gnetseg_zoo.scoring.runtime import RUNTIMES

from gnetsegd.errors import ModelError
from gnetsegd.model import SHIPPED

CONTENT = (SHIPPED / "gnetseg-large-cpu30" / "model.tflite").read_bytes()
FRAMES = np.random.default_rng(1).integers(0, 256, (2, 224, 224, 1), np.uint8)


@pytest.fixture
def installed():
    """The runtime that this environment has."""
    for module in RUNTIMES:
        if runtimes.python_with(module) == Path(sys.executable):
            return module
    return pytest.fail("no TFLite runtime is installed here")


def test_the_other_process_gives_what_this_one_gives(installed):
    theirs = runtimes.outputs_under(installed, {"a": (CONTENT, FRAMES), "b": (CONTENT, FRAMES[:1])})
    ours = runtimes.outputs(CONTENT, FRAMES, installed)
    np.testing.assert_array_equal(theirs["a"], ours)
    np.testing.assert_array_equal(theirs["b"], ours[:1])


def test_a_file_that_cannot_be_run_is_an_error_that_names_the_runtime(installed):
    with pytest.raises(ModelError, match=f"cannot be run under {installed}"):
        runtimes.outputs_under(installed, {"a": (b"no network", FRAMES)})


def test_the_share_is_of_the_pixels_that_differ(monkeypatch):
    masks = {RUNTIMES[0]: np.zeros((1, 2, 2, 1), np.uint8), RUNTIMES[1]: np.zeros((1, 2, 2, 1), np.uint8)}
    masks[RUNTIMES[1]][0, 0, 0] = 1
    monkeypatch.setattr(runtimes, "outputs_under", lambda module, _jobs: {"model": masks[module]})
    assert runtimes.share_differing(CONTENT, FRAMES) == 0.25


def test_where_a_runtime_is_missing_nothing_is_claimed(monkeypatch):
    monkeypatch.setattr(runtimes, "python_with", lambda module: None if module == RUNTIMES[0] else Path("x"))
    monkeypatch.setattr(runtimes, "ENVIRONMENTS", ())
    assert runtimes.share_differing(CONTENT, FRAMES) is None
