"""On the emulated board: prints one JSON object a figure. ``guest.py litert|tflite-runtime|input``.

The board's clock advances a nanosecond an instruction, so a difference of it is a count.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

MODULES = {"litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
REPEATS = 3
CAMERA = (640, 480)


def count(work: Callable[[], object]) -> int:
    """Instructions of one call of ``work``, the first of which does not count."""
    work()
    begin = time.monotonic_ns()
    for _ in range(REPEATS):
        work()
    return (time.monotonic_ns() - begin) // REPEATS


def say(name: str, what: str, instructions: int | None) -> None:
    """One figure."""
    print(json.dumps({"name": name, "what": what, "instructions": instructions}), flush=True)


def networks(runtime: str) -> None:
    """Every model under ``runtime``; null for one that it does not load."""
    interpreter = importlib.import_module(MODULES[runtime]).Interpreter
    for path in sorted(Path("/models").glob("*.tflite")):
        try:
            network = interpreter(model_path=str(path), num_threads=1)
            network.allocate_tensors()
            entry = network.get_input_details()[0]
            pixels = np.random.default_rng(1).integers(0, 255, entry["shape"]).astype(entry["dtype"])
            network.set_tensor(entry["index"], pixels)
            say(path.stem, runtime, count(network.invoke))
        except (ValueError, RuntimeError):
            say(path.stem, runtime, None)


def inputs() -> None:
    """Making each network's input of a camera's picture, as the daemon does."""
    import av

    from gnetsegd.cameras.scale import Scaler
    from gnetsegd.frame import FrameSpec

    width, height = CAMERA
    planes = np.random.default_rng(0).integers(0, 255, (height * 3 // 2, width), dtype=np.uint8)
    picture = av.VideoFrame.from_ndarray(planes, format="yuv420p")
    for name, (pixel_format, size) in json.loads(Path("/models/inputs.json").read_text()).items():
        spec = FrameSpec(size, size, pixel_format)
        scaler, out = Scaler(spec, "center-crop"), np.empty(spec.shape, np.uint8)

        def make(scaler: Scaler = scaler, out: np.ndarray = out) -> None:  # type: ignore[type-arg]
            scaler.scale(picture, out)

        say(name, "input", count(make))


if __name__ == "__main__":
    inputs() if sys.argv[1] == "input" else networks(sys.argv[1])
