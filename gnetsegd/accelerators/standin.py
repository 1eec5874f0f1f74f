"""The stand-in: a TFLite network on this machine's own CPU, or behind a TFLite delegate."""

from __future__ import annotations

import os
import time
from queue import Empty, SimpleQueue
from typing import Any, ClassVar

import attrs
import numpy as np

from ..config import option
from ..errors import ModelError, TransientError
from ..frame import HEADROOM, Frame, Loss, Mask, ModelInfo
from ..model import ModelBundle
from . import Accelerator
from .runtimes import AUTO, PACKAGES, find_runtime
from .tflite import TfliteNetwork


@attrs.frozen
class StandinOptions:
    """``[accelerator.standin]``"""

    threads: int = option(
        0,
        "CPU threads of one inference; 0 is half of the cores. More than there are idle cores make it slower",
        unit="threads",
        minimum=0,
        maximum=16,
    )
    runtime: str = option(
        AUTO,
        "which TFLite runtime: auto is LiteRT where it is installed, unless model.toml says that the other "
        "is cheaper for this network on this machine",
        choices=(AUTO, *PACKAGES),
    )
    delegate: str = option("", "TFLite delegate library, for example libedgetpu.so.1; empty is the CPU")
    delegate_options: dict[str, str] = option({}, "options for the delegate, as texts")


#: A network that takes longer than this for a picture is refused, in s: its masks would be of another world.
SLOWEST_S = 8.0


def _pictures(bundle: ModelBundle) -> list[Frame]:
    """A black picture, and one of noise, in which a network finds most of its classes."""
    black, noise = (Frame(bundle.input, bundle.mask.size_bytes) for _ in range(2))
    noise.pixels[...] = np.random.default_rng(0).integers(0, 256, bundle.input.shape, np.uint8)
    return [black, noise]


def _load(bundle: ModelBundle, threads: int, options: StandinOptions) -> TfliteNetwork:
    return TfliteNetwork(bundle, threads, options.delegate, options.delegate_options, options.runtime)


class StandinAccelerator(Accelerator):
    """Runs each frame's network inside ``collect``, in the thread that publishes.

    The next frame is asked for as soon as one is computed, so that it is already here when the mask
    has been published, and never lies waiting behind a whole inference.
    """

    Options: ClassVar[type[Any]] = StandinOptions
    on_cpu = True
    advice = "choose a smaller model if this one is too slow here"

    def __init__(self, bundle: ModelBundle, options: StandinOptions) -> None:
        self._bundle = bundle
        self._options = options
        self._network: TfliteNetwork | None = None
        self._threads = options.threads
        self._submitted: SimpleQueue[Frame] = SimpleQueue()

    def open(self) -> ModelInfo:
        self.close()
        self._free: SimpleQueue[None] = SimpleQueue()
        self._may_submit = False
        bundle, options = self._bundle, self._options
        self._threads = options.threads or max(1, len(os.sched_getaffinity(0)) // 2)
        self._network = _load(bundle, self._threads, options)
        self._info = ModelInfo(
            backend="standin",
            model_id=bundle.id,
            model_hash=bundle.sha256,
            input=bundle.input,
            mask=bundle.mask,
            labels=bundle.labels,
            runtime=self._network.runtime.words,
        )
        self.answer_limit_s = self._warm_up()
        self._free.put(None)
        return self._info

    def _warm_up(self) -> float:
        """Run it twice; the longest time in s.

        The first runs allocate and page in; the first frame of a camera should not pay for it.
        """
        longest_s = 0.0
        for picture in _pictures(self._bundle):
            begun = time.monotonic()
            self._run(picture)
            longest_s = max(longest_s, time.monotonic() - begun)
            self.progress += 1
        return longest_s

    @classmethod
    def prepare(cls, bundle: ModelBundle, driver: str, options: dict[str, Any]) -> None:
        del driver
        find_runtime(options["standin"].runtime, bundle.cheaper_runtime)

    @classmethod
    def prove(cls, bundle: ModelBundle, driver: str, options: dict[str, Any]) -> None:
        del driver
        mine: StandinOptions = options["standin"]
        network = _load(bundle, 1, mine)
        mask = np.empty(bundle.mask.height * bundle.mask.width, np.uint8)
        for picture in _pictures(bundle):
            begun = time.monotonic()
            network.run(picture.pixels, mask)
            took_s = time.monotonic() - begun
            if took_s > SLOWEST_S:
                raise ModelError(
                    f"model {bundle.id}: it takes {took_s:.0f} s a picture on one core of this machine, over "
                    f"{SLOWEST_S:g} s; {cls.advice}"
                )

    def wait_for_credit(self, timeout_s: float) -> bool:
        if not self._may_submit:
            try:
                self._free.get(timeout=timeout_s)
            except Empty:
                return False
            self._may_submit = True
        return True

    def submit(self, frame: Frame) -> None:
        self._may_submit = False
        self._submitted.put(frame)

    def collect(self, timeout_s: float) -> Mask | Loss | None:
        try:
            frame = self._submitted.get(timeout=timeout_s)
        except Empty:
            return None
        try:
            self._run(frame)
        except ModelError:
            self._submitted.put(frame)  # close() gives it back
            raise
        except Exception as error:
            self._submitted.put(frame)
            raise TransientError(f"the network failed on this machine: {error}") from error
        self._free.put(None)
        return Mask(frame, self._info)

    def _run(self, frame: Frame) -> None:
        assert self._network is not None, "open() comes first"
        mask = np.frombuffer(frame.reply, np.uint8, self._bundle.mask.size_bytes, HEADROOM)
        self._network.run(frame.pixels, mask)

    def describe(self) -> dict[str, Any]:
        network = self._network
        return {
            "threads": self._threads,
            "delegate": self._options.delegate,
            "runtime": network.runtime.words if network is not None else "",
            "host_ms": round(network.host_s * 1000, 2) if network is not None else 0.0,
        }

    def close(self) -> list[Frame]:
        self._network = None
        left = []
        while not self._submitted.empty():
            left.append(self._submitted.get())
        return left
