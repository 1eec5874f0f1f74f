"""What all the services and readers together cost a daemon, against one subscriber.

At 30 masks a second of the test network ``threshold-224``, so that inference hides nothing: the page with one
viewer, presence, the exporter, and one subscriber each in Python, C++ and JavaScript. They come and go in
alternating windows of one run; figures are medians, pair by pair.

``cpu_ratio``: the daemon's user and system time a mask, with all of them over that with one subscriber, and
the same with pictures from a webcam's motion JPEG (``cpu_ratio_pictures``). ``latency_ratio``: the 99th of
100 masks' time from exposure to sending, likewise. ``lost``: masks that a reader of every mask missed.

    .venv/bin/python tools/bench/consumers.py --json
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).parent))
import consumers_camera
from harness import Daemon, daemon, finish, percentile
from idle import cpu_s
from mqtt_broker import Broker, free_port
from processes import Process

from gnetsegd.client import MaskSubscriber

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
BUNDLE = ROOT / "tests" / "data" / "models" / "threshold-224"
FPS = 30
#: After each change everybody gets so long to come or go, in s.
SETTLE_S = 4.0
#: Of the masks that a machine with time for all would make; with fewer the figures mean nothing.
LEAST_SHARE = 0.5
NICE = 10
CPU_MAX, CPU_PICTURES_MAX, LATENCY_MAX = 1.25, 1.4, 1.15


class Window(NamedTuple):
    """Of the daemon: CPU time a mask, in s; the 99th of 100 latencies, in s."""

    cpu_s: float
    latency_s: float


class Reader:
    """The one subscriber that is always there: every mask, counted."""

    def __init__(self, endpoint: str) -> None:
        self.missed = 0
        self._latencies: list[float] = []
        self._stop = False
        self._endpoint = endpoint
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with MaskSubscriber(self._endpoint, newest_only=False) as masks:
            while not self._stop:
                mask = masks.receive(0.2)
                if mask is not None:
                    self._latencies.append(mask.header.latency_ns / 1e9)
                    self.missed = masks.missed

    def take(self) -> list[float]:
        """The latencies since the last call."""
        found, self._latencies = self._latencies, []
        return found

    def close(self) -> None:
        self._stop = True
        self._thread.join()


class Viewer:
    """A browser's part: takes the page's live pictures as they come."""

    def __init__(self, port: int) -> None:
        self.pictures = 0
        self._stop = False
        self._port = port
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop:
            with contextlib.suppress(OSError):
                address = f"http://127.0.0.1:{self._port}/picture.mjpg"
                with urllib.request.urlopen(address, timeout=5) as stream:
                    while not self._stop and (data := stream.read1(1 << 16)):
                        self.pictures += data.count(b"--gnetsegd")
            time.sleep(0.1)

    def close(self) -> None:
        self._stop = True
        self._thread.join(6)


@contextlib.contextmanager
def all_consumers(endpoint: str, broker_port: int, folder: Path, cpp: Path) -> Iterator[Viewer]:
    """They run while it lasts."""
    view_port, exporter_port = free_port(), free_port()
    # As their units have it: services give way to the daemon.
    python, ctl = sys.executable, ["-m", "gnetsegd.ctl.main"]
    nice = ["nice", "-n", str(NICE)]
    words: list[list[str]] = [
        [*nice, python, *ctl, "view", "--endpoint", endpoint, "--port", str(view_port),
         "--state", f"{folder}/view"],
        [*nice, python, *ctl, "presence", "--state", f"{folder}/presence", "--set", "mqtt.host=127.0.0.1",
         "--set", f"mqtt.port={broker_port}", "--set", f'service.endpoints=["{endpoint}"]'],
        [*nice, python, *ctl, "exporter", "--endpoint", endpoint, "--port", str(exporter_port)],
        [python, str(EXAMPLES / "subscribe.py"), endpoint],
        [str(cpp), endpoint],
        ["node", str(EXAMPLES / "subscribe.mjs"), endpoint],
    ]  # fmt: skip
    made = [Process(line, folder / f"{number}.log") for number, line in enumerate(words)]
    viewer = Viewer(view_port)
    try:
        time.sleep(SETTLE_S)
        yield viewer
        for process in made:
            if process.has_ended:
                raise RuntimeError(f"a consumer ended: {process.log.read_text()}")
    finally:
        viewer.close()
        for process in made:
            process.end()


def measure(running: Daemon, reader: Reader, seconds: float) -> Window:
    running.check()
    reader.take()
    begun = cpu_s(running.process.pid)
    time.sleep(seconds)
    took_s, latencies = cpu_s(running.process.pid) - begun, reader.take()
    if len(latencies) < LEAST_SHARE * FPS * seconds:
        raise RuntimeError(f"only {len(latencies)} masks came in {seconds:g} s")
    return Window(took_s / len(latencies), percentile(latencies, 0.99))


class Compared(NamedTuple):
    """Ratios, pair by pair; masks that were missed; pictures that the viewer got."""

    cpu: list[float]
    latency: list[float]
    missed: int
    pictures: int


def compare(
    settings: list[str], rounds: int, seconds: float, folder: Path, broker_port: int, cpp: Path
) -> Compared:
    """One daemon, with one subscriber and with all, in turn."""
    cpu, latency, pictures = [], [], 0
    # A reader that this machine keeps from running for a moment is one that keeps up.
    common = ("accelerator.driver=standin", "publish.send_hwm_messages=30", f"camera.fps={FPS}")
    with daemon(*common, f"model.bundle={BUNDLE}", *settings) as running:
        reader = Reader(running.endpoint)
        time.sleep(SETTLE_S)
        try:
            for number in range(rounds):
                alone = measure(running, reader, seconds)
                place = folder / f"{len(settings)}-{number}"
                place.mkdir()
                with all_consumers(running.endpoint, broker_port, place, cpp) as viewer:
                    together = measure(running, reader, seconds)
                    pictures += viewer.pictures
                cpu.append(together.cpu_s / alone.cpu_s)
                latency.append(together.latency_s / alone.latency_s)
                time.sleep(SETTLE_S / 2)
        finally:
            reader.close()
    return Compared(cpu, latency, reader.missed, pictures)


def compiled(folder: Path) -> Path:
    """The C++ subscriber."""
    out = folder / "subscribe"
    command = ["c++", "-O2", "-x", "c++", "-o", str(out), str(EXAMPLES / "subscribe.c"), "-lzmq"]
    subprocess.run(command, check=True)
    return out


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=6.0, help="of a window")
    parser.add_argument("--json", action="store_true", help="nothing but the last line")
    arguments = parser.parse_args()
    if not (EXAMPLES / "node_modules" / "zeromq").is_dir():
        sys.exit("the JavaScript subscriber needs zeromq: npm install --prefix examples --no-save zeromq@6")
    with tempfile.TemporaryDirectory(prefix="gc") as name:
        folder = Path(name)
        consumers_camera.install(folder / "packages")
        path = [
            str(folder / "packages"),
            str(Path(__file__).parent),
            str(ROOT),
            os.environ.get("PYTHONPATH", ""),
        ]
        os.environ["PYTHONPATH"] = ":".join(path)
        started: list[Process] = []

        def start(*words: str, log: str = "") -> Process:
            started.append(Process([*words], folder / log))
            return started[-1]

        broker = Broker(start, folder)
        cpp = compiled(folder)
        try:
            rest = (arguments.rounds, arguments.seconds, folder, broker.port, cpp)
            plain = compare(["camera.driver=pattern"], *rest)
            webcam = compare(["camera.driver=mjpeg", "publish.images=true"], *rest)
        finally:
            for process in started:
                process.end()
    if not webcam.pictures:
        raise RuntimeError("the viewer got no pictures")
    result = {
        "cpu_ratio": round(statistics.median(plain.cpu), 3),
        "cpu_ratio_pictures": round(statistics.median(webcam.cpu), 3),
        "latency_ratio": round(statistics.median(plain.latency), 3),
        "lost": plain.missed + webcam.missed,
    }
    finish(result, arguments.json)
    kept = result["cpu_ratio"] <= CPU_MAX and result["cpu_ratio_pictures"] <= CPU_PICTURES_MAX
    return int(not (kept and result["latency_ratio"] <= LATENCY_MAX and not result["lost"]))


if __name__ == "__main__":
    sys.exit(main())
