"""How long a bundle's network takes on this machine. Needs numpy and a TFLite runtime."""

from __future__ import annotations

import platform
import statistics
import time
from pathlib import Path

import numpy as np

from gnetseg_zoo.scoring.runtime import RUNTIMES, Network, interpreter_class
from gnetsegd.model import ModelBundle

WARM_UP = 5
FRAMES = 50


def measure(bundle: ModelBundle, frames: int = FRAMES) -> dict[str, str | float]:
    """ms (median of ``frames``), runtime and machine: of one thread, on random pixels.

    The thread's processor time is taken, so that other work on the machine counts little.
    Raises :class:`~gnetsegd.errors.ModelError` for a bundle that breaks its promise.
    """
    network = Network(bundle, threads=1)
    channels = 1 if bundle.input.pixel_format == "Y" else 3
    shape = (bundle.input.height, bundle.input.width, channels)
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    times_ms = []
    for n in range(WARM_UP + frames):
        begun = time.thread_time()
        network.mask(pixels)
        if n >= WARM_UP:
            times_ms.append((time.thread_time() - begun) * 1000)
    return {
        "ms": round(statistics.median(times_ms), 1),
        "runtime": runtime_name(),
        "machine": machine(),
    }


def runtime_name() -> str:
    """The package of the runtime that :mod:`gnetseg_zoo.scoring.runtime` picks here."""
    chosen = interpreter_class().__module__
    return next((name.split(".")[0] for name in RUNTIMES if name == chosen), chosen).replace("_", "-")


def machine() -> str:
    """The processor in words: its name as Linux has it, or else its kind."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        lines = []
    names = (line.split(":", 1)[1].strip() for line in lines if line.startswith(("model name", "Model")))
    return next(names, "") or f"a {platform.machine()} processor"
