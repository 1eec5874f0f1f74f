"""What a slow reader costs: itself, the other readers, the daemon.

The daemon publishes 190 masks of 224x224 a second (pattern camera, a one-layer network). One
newest-only reader sleeps 100 ms after each message; a brisk one reads every mask; a third
subscribes and never reads at all. Measured over ipc and over tcp: how old the message is that
the slow reader gets right after its sleep (from the daemon's send to the read), whether the brisk
one misses anything, and how the daemon's memory grows. The peer is the same run with the slow
readers absent.

    .venv/bin/python tools/bench/slow_reader.py --json
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path
from typing import Any

import zmq

sys.path.insert(0, str(Path(__file__).parent))
from harness import daemon, finish, percentile

from gnetsegd.message import parse_header

MODEL = str(Path(__file__).parents[2] / "tests" / "data" / "models" / "threshold-224")
SLEEP_S = 0.1


class Brisk(threading.Thread):
    """Reads every mask: how old they are, and how many were lost on the way."""

    def __init__(self, context: zmq.Context[Any], endpoint: str) -> None:
        super().__init__(daemon=True)
        self._socket = context.socket(zmq.SUB)
        self._socket.setsockopt(zmq.SUBSCRIBE, b"mask/")
        self._socket.connect(endpoint)
        self.ages_ms: list[float] = []
        self.lost = 0
        self.stop = False
        self.start()

    def run(self) -> None:
        last = None
        while not self.stop:
            if not self._socket.poll(100):
                continue
            header = parse_header(self._socket.recv())
            self.ages_ms.append((time.monotonic_ns() - header.publish_timestamp_ns) / 1e6)
            dropped = header.dropped_camera + header.dropped_daemon
            if last is not None:
                self.lost += header.sequence - last[0] - 1 - (dropped - last[1])
            last = (header.sequence, dropped)
        self._socket.close()


def newest_only(context: zmq.Context[Any], endpoint: str) -> Any:
    reader = context.socket(zmq.SUB)
    reader.setsockopt(zmq.CONFLATE, 1)
    reader.setsockopt(zmq.SUBSCRIBE, b"mask/")
    reader.connect(endpoint)
    return reader


def measure(transport: str, fps: float, seconds: float, slow: bool) -> dict[str, float]:
    settings = [
        "camera.driver=pattern",
        f"camera.fps={fps}",
        "accelerator.driver=standin",
        "accelerator.standin.threads=1",
        f"model.bundle={MODEL}",
    ]
    port = _free_port()
    if transport == "tcp":
        settings.append(f'publish.endpoints=["tcp://127.0.0.1:{port}"]')
    with daemon(*settings) as running, zmq.Context() as context:
        endpoint = f"tcp://127.0.0.1:{port}" if transport == "tcp" else running.endpoint
        brisk = Brisk(context, endpoint)
        while len(brisk.ages_ms) < 50:
            running.check()
            time.sleep(0.05)
        before_mb, first = running.memory_mb(), len(brisk.ages_ms)
        never = newest = None
        if slow:
            never = context.socket(zmq.SUB)
            never.setsockopt(zmq.SUBSCRIBE, b"mask/")
            never.setsockopt(zmq.RCVHWM, 10)
            never.connect(endpoint)
            newest = newest_only(context, endpoint)
        ages, start = [], time.monotonic()
        while time.monotonic() - start < seconds:
            time.sleep(SLEEP_S)
            if newest is not None:
                header = parse_header(newest.recv())
                ages.append((time.monotonic_ns() - header.publish_timestamp_ns) / 1e6)
        elapsed = time.monotonic() - start
        growth_mb = running.memory_mb() - before_mb
        brisk_fps = (len(brisk.ages_ms) - first) / elapsed
        brisk.stop = True
        brisk.join()
        for reader in (never, newest):
            if reader is not None:
                reader.close(linger=0)
    result = {
        "brisk_fps": round(brisk_fps, 1),
        "brisk_lost": brisk.lost,
        "brisk_age_ms_p50": round(percentile(brisk.ages_ms, 0.5), 2),
        "brisk_age_ms_p99": round(percentile(brisk.ages_ms, 0.99), 2),
        "daemon_growth_mb": round(growth_mb, 2),
    }
    if ages:
        result["age_ms_p50"] = round(percentile(ages[2:], 0.5), 2)
        result["age_ms_p99"] = round(percentile(ages[2:], 0.99), 2)
    return result


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fps", type=float, default=190.0)
    parser.add_argument("--seconds", type=float, default=12.0, help="of each of the four measurements")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {"bench": "slow_reader", "reader_sleep_ms": SLEEP_S * 1000}
    for transport in ("ipc", "tcp"):
        result[f"{transport}_without_slow_readers"] = measure(transport, options.fps, options.seconds, False)
        result[transport] = measure(transport, options.fps, options.seconds, True)
        if not options.json:
            print(transport, result[transport], flush=True)
    result["age_ms_p99_worst"] = max(result["ipc"]["age_ms_p99"], result["tcp"]["age_ms_p99"])
    finish(result, options.json)


if __name__ == "__main__":
    main()
