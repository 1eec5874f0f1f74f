"""What is right, computed on the machine outside: the pictures and their masks."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from cable import bundle
from daemon import Received
from numpy.typing import NDArray

from gnetsegd.accelerators.tflite import TfliteNetwork
from gnetsegd.cameras import CaptureRequest
from gnetsegd.cameras.pattern import PatternCamera, read_sequence
from gnetsegd.frame import Frame
from gnetsegd.model import ModelBundle, load_bundle
from gnetsegd.testing.clock import FakeClock


@functools.cache
def _bundle() -> ModelBundle:
    return load_bundle(str(bundle(Path(os.environ["GNETSEGD_HIL_PI"]))))


@functools.cache
def _network() -> TfliteNetwork:
    return TfliteNetwork(_bundle(), threads=1)


def right_picture(sequence: int) -> NDArray[np.uint8]:
    """The pattern camera's picture of that number, uint8 of (height, width)."""
    spec = _bundle().input
    clock = FakeClock()
    camera = PatternCamera(clock=clock)
    camera.open(CaptureRequest(spec, fps=1.0, geometry="center-crop", timeout_s=10.0))
    frame = Frame(spec, mask_bytes=spec.size_bytes)
    camera.capture(frame)
    if sequence:
        clock.pass_s(sequence)
        camera.capture(frame)
    return frame.pixels.copy()


def right_labels(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The mask that the model gives for ``picture`` here, uint8 of (height, width)."""
    mask = _bundle().mask
    labels = np.zeros((mask.height, mask.width), np.uint8)
    _network().run(picture, labels)
    return labels


def check(masks: Iterable[Received]) -> int:
    """Are they the masks of the camera's pictures, to the last bit? How many of their pixels are persons."""
    persons = 0
    for header, labels, picture in masks:
        stamp = read_sequence(picture)
        assert (picture == right_picture(stamp)).all(), f"picture {stamp} is not the camera's"
        wrong = int((labels != right_labels(picture)).sum())
        assert wrong == 0, f"mask {header.sequence}: {wrong} of {labels.size} labels are wrong"
        persons += int(labels.sum())
    return persons
