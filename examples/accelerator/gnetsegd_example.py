"""An accelerator of your own, as small as it can be: a pixel that is bright enough has label 1."""

from queue import Empty, SimpleQueue
from threading import Event

import attrs
import numpy as np

from gnetsegd.accelerators import Accelerator
from gnetsegd.config import option
from gnetsegd.frame import HEADROOM, Mask, ModelInfo


@attrs.frozen
class Options:
    threshold: int = option(128, "luminance of label 1", minimum=0, maximum=255)


class ExampleAccelerator(Accelerator):
    Options = Options

    def __init__(self, bundle, options):
        self._bundle, self._options = bundle, options

    def open(self):  # find your chip, load bundle.content into it; raise TransientError if it is not there
        b = self._bundle
        self._frames, self._room = SimpleQueue(), Event()
        self._room.set()
        self._info = ModelInfo("example", b.id, b.sha256, b.input, b.mask, b.labels, depth_frames=1)
        return self._info

    def wait_for_credit(self, timeout_s):  # thread OUT
        return self._room.wait(timeout_s)

    def submit(self, frame):  # thread OUT
        self._room.clear()
        self._frames.put(frame)

    def collect(self, timeout_s):  # thread IN: the mask goes behind the headroom of the frame's reply
        try:
            frame = self._frames.get(timeout=timeout_s)
        except Empty:
            return None
        mask = np.frombuffer(frame.reply, bool, self._bundle.mask.size_bytes, HEADROOM)
        np.greater_equal(frame.pixels.reshape(-1), self._options.threshold, out=mask)
        self._room.set()
        return Mask(frame, self._info)

    def describe(self):
        return {"threshold": self._options.threshold}

    def close(self):  # every frame that never came back
        return [self._frames.get() for _ in range(self._frames.qsize())] if hasattr(self, "_frames") else []
