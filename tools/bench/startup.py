"""From exec to READY with the stand-in, against merely importing what it needs.

The peer is a bare interpreter that imports numpy, zmq and the TFLite runtime. Both in alternation;
``ratio`` is the median, pair by pair. Resident memory is the daemon's, 3 s after READY.

    .venv/bin/python tools/bench/startup.py --json
"""

from __future__ import annotations

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from harness import Daemon, finish, spread

BARE = """
import numpy, zmq
try:
    import ai_edge_litert.interpreter
except ImportError:
    import tflite_runtime.interpreter
"""


def bare_s() -> float:
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", BARE], check=True, stderr=subprocess.DEVNULL)
    return time.monotonic() - start


def ready_s(settle_s: float) -> tuple[float, float]:
    """(seconds to READY, resident megabytes after ``settle_s`` more)"""
    with tempfile.TemporaryDirectory(prefix="gs") as folder:
        address = f"{folder}/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(address)
            notify.settimeout(30)
            os.environ["NOTIFY_SOCKET"] = address
            start = time.monotonic()
            settings = ("camera.driver=pattern", "accelerator.driver=standin")
            running = Daemon(Path(folder), settings, notify=True)
            try:
                while b"READY=1" not in notify.recv(4096):
                    running.check()
                seconds = time.monotonic() - start
                time.sleep(settle_s)
                return seconds, running.memory_mb() if settle_s else 0.0
            finally:
                running.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    bare_s(), ready_s(0)  # the file cache is warm afterwards
    bare, ready = [], []
    for number in range(options.pairs):
        for side in (0, 1) if number % 2 else (1, 0):
            if side:
                ready.append(ready_s(0)[0])
            else:
                bare.append(bare_s())
        if not options.json:
            print(f"pair {number + 1}: ready {ready[-1]:.3f} s, bare imports {bare[-1]:.3f} s", flush=True)
    ratios = [a / b for a, b in zip(ready, bare, strict=True)]
    finish(
        {
            "bench": "startup",
            "ready_s": spread(ready),
            "bare_imports_s": spread(bare),
            "ratio_spread": spread(ratios),
            "ratio": round(statistics.median(ratios), 3),
            "resident_mb": round(ready_s(3)[1], 1),
        },
        options.json,
    )


if __name__ == "__main__":
    main()
