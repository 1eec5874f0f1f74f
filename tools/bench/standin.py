"""The whole daemon with the stand-in, against the bare interpreter on the same frames.

Both take the pattern camera's frames with the same number of threads. They run in alternation;
``ratio`` is the median of daemon FPS over bare FPS, pair by pair.

    .venv/bin/python tools/bench/standin.py --json
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

import zmq

sys.path.insert(0, str(Path(__file__).parent))
from harness import daemon, finish, spread

BARE = """
import json, sys, time
import numpy as np
from gnetsegd.accelerators.runtimes import find_runtime
from gnetsegd.cameras import CaptureRequest
from gnetsegd.cameras.pattern import PatternCamera, PatternOptions
from gnetsegd.frame import Frame
from gnetsegd.model import load_bundle

bundle, threads, seconds = load_bundle(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
camera = PatternCamera(PatternOptions(rate="max"))
camera.open(CaptureRequest(bundle.input, 0.0, "stretch", 1.0))
frames = [Frame(bundle.input, bundle.mask.size_bytes) for _ in range(16)]
for frame in frames:
    camera.capture(frame)
runtime = find_runtime("auto", bundle.cheaper_runtime).module
interpreter = runtime.Interpreter(model_content=bundle.content, num_threads=threads)
interpreter.allocate_tensors()
picture = interpreter.get_input_details()[0]
mask = interpreter.get_output_details()[0]["index"]

def infer(frame):
    interpreter.set_tensor(picture["index"], frame.pixels.reshape(picture["shape"]))
    interpreter.invoke()
    interpreter.get_tensor(mask)

for frame in frames:
    infer(frame)
start, count = time.monotonic(), 0
while time.monotonic() - start < seconds:
    infer(frames[count % 16])
    count += 1
print(json.dumps(count / (time.monotonic() - start)))
"""


def bare_fps(model: str, threads: int, seconds: float) -> float:
    done = subprocess.run(
        [sys.executable, "-c", BARE, model, str(threads), str(seconds)],
        check=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    return float(json.loads(done.stdout))


def daemon_fps(model: str, threads: int, seconds: float) -> float:
    """Masks per second that a subscriber over ipc receives."""
    settings = (
        "camera.driver=pattern",
        "camera.pattern.rate=max",
        "accelerator.driver=standin",
        f"accelerator.standin.threads={threads}",
        f"model.bundle={model}",
        "publish.send_hwm_messages=100",
    )
    with daemon(*settings) as running, zmq.Context() as context, context.socket(zmq.SUB) as reader:
        reader.setsockopt(zmq.SUBSCRIBE, b"mask/")
        reader.connect(running.endpoint)
        deadline = time.monotonic() + 20
        while not reader.poll(100):
            running.check()
            if time.monotonic() > deadline:
                raise RuntimeError("no mask came from the daemon")
        for _ in range(16):
            reader.recv()
        start, count = time.monotonic(), 0
        while time.monotonic() - start < seconds:
            reader.recv()
            count += 1
        return count / (time.monotonic() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="gnetseg-large-cpu30")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bare, whole = [], []
    for number in range(options.pairs):
        # The order changes, so that neither profits from a machine that slows down.
        for side in (0, 1) if number % 2 else (1, 0):
            measure, results = ((bare_fps, bare), (daemon_fps, whole))[side]
            results.append(measure(options.model, options.threads, options.seconds))
        if not options.json:
            print(f"pair {number + 1}: daemon {whole[-1]:.1f}, bare {bare[-1]:.1f} FPS", flush=True)
    ratios = [a / b for a, b in zip(whole, bare, strict=True)]
    finish(
        {
            "bench": "standin",
            "threads": options.threads,
            "daemon_fps": spread(whole),
            "bare_fps": spread(bare),
            "ratio_spread": spread(ratios),
            "ratio": round(statistics.median(ratios), 4),
        },
        options.json,
    )


if __name__ == "__main__":
    main()
