"""A network camera for two minutes: how old its masks are, how it comes back, and what lost packets cost.

GStreamer's RTSP server sends a film of 1080p whose every picture says which one it is, over TCP; the daemon's
road reads it and masks it with a shipped network. The server is killed again and again; then it sends over
UDP, where 2 % of the packets are dropped in a network namespace of its own (root, or user namespaces); and
over TCP again, on a link that carries a third of it.

    tools/setup/services-packages.sh
    .venv/bin/python tools/bench/rtsp.py --json

``age_p99_ms``: of a mask at its publishing, since the picture was sent (RTCP); ``decode_p99_ms``: of one
picture; ``interval_ms``: between two; ``growth_mb``: of the process, after the first 20 s; ``back_s_max``:
from the server's return to the first mask; ``concealed_masks``: of pictures that differ from what was sent;
``keys_whole`` and ``keys_masked``: key frames that arrived whole over UDP, and those that were masked;
``slow_masks``, ``slow_age_s_max``: on the slow link, and the oldest of them, since it was taken;
``slow_untrue_s_max``: of a mask's time, against the place of its picture in the film.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

sys.path.insert(0, str(Path(__file__).parent))
import numbered
from fleet_network import run
from harness import finish

from gnetsegd.cameras import network_decoder
from gnetsegd.cameras.network import NetworkCamera, NetworkOptions
from gnetsegd.cameras.network_lag import BEHIND_FOR_S, BEHIND_MAX_S
from gnetsegd.cameras.scale import Scaler
from gnetsegd.cameras.whole import Whole
from gnetsegd.config import CameraConfig, from_dict
from gnetsegd.frame import FrameSpec, Mask
from gnetsegd.model import load_bundle
from gnetsegd.process.parts import make_network, make_setup
from gnetsegd.road.road import Road, Source

BUNDLE = "person-fast"
FPS, GROUP, UNITS = 30, 30, 150
#: Of the picture that a network gets; more (mean of 0 to 255) is another picture, or a repaired one.
SAME_PICTURE = 1.5
SETTLE_S = 20.0
#: On a link that is too slow: a connection is left once it is so far behind for so long.
SLOW_AGE_MAX_S = 2 * (BEHIND_MAX_S + BEHIND_FOR_S)
#: What the fastest packet of a connection took on the way is not known.
SLOW_UNTRUE_MAX_S = 1.0
DEBIAN_PYTHON = "/usr/bin/python3"
SERVER = Path(__file__).with_name("rtsp_server.py")


class Server:
    """GStreamer's, a process of its own."""

    def __init__(self, film: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"rtsp://127.0.0.1:{self.port}/cam"
        self._launch = (
            f"filesrc location={film} ! tsdemux ! h264parse ! rtph264pay name=pay0 pt=96 config-interval=1"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Returns once it serves."""
        command = [DEBIAN_PYTHON, str(SERVER), str(self.port), self._launch]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != b"ready":
            raise RuntimeError("the RTSP server does not start; run tools/setup/services-packages.sh")

    def kill(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGKILL)
            process.wait()


class Collector:
    """A publisher that looks at every mask's picture."""

    watched = True
    session = 1
    images = None  # nobody wants pictures in colour

    def __init__(self, references: list[NDArray[np.uint8]]) -> None:
        self._references = references
        self.masks = 0
        self.came = threading.Condition()
        self.ages_ms: list[float] = []
        self.concealed = 0
        self.keys = 0
        #: Of each connection: (when it was taken by its time stamp, picture's number), both of the first.
        self._firsts: dict[int, tuple[float, int]] = {}
        self.untrue_s_max = 0.0

    def publish(self, mask: Mask, losses: int) -> None:
        del losses
        frame = mask.frame
        self.ages_ms.append((time.monotonic_ns() - frame.sensor_timestamp_ns) / 1e6)
        number = numbered.number_of(frame.pixels)
        known = number < len(self._references)
        apart = np.abs(frame.pixels.astype(np.int16) - self._references[number]).mean() if known else 255.0
        self.concealed += bool(apart > SAME_PICTURE)
        if apart > SAME_PICTURE:
            logging.warning(
                "mask %d is of no picture that was sent: %d, %.1f apart", frame.sequence, number, apart
            )
        self.keys += number % GROUP == 0
        taken_s = frame.sensor_timestamp_ns / 1e9
        first_s, first = self._firsts.setdefault(Timed.connections, (taken_s, number))
        period_s = len(self._references) / FPS
        untrue_s = (taken_s - first_s - (number - first) / FPS + period_s / 2) % period_s - period_s / 2
        self.untrue_s_max = max(self.untrue_s_max, abs(untrue_s))
        with self.came:
            self.masks += 1
            self.came.notify_all()

    def wait_for(self, masks: int, limit_s: float) -> float:
        """Seconds until there are so many more; ``TimeoutError``."""
        begun, goal = time.monotonic(), self.masks + masks
        with self.came:
            if not self.came.wait_for(lambda: self.masks >= goal, limit_s):
                raise TimeoutError(f"no mask within {limit_s:g} s")
        return time.monotonic() - begun


class Timed(Whole):
    """The decoder, with a clock, and with a look at which key frames arrive whole."""

    took_ms: list[float] = []  # noqa: RUF012 - one run, one list
    sent: set[int] = set()  # noqa: RUF012
    keys_whole = 0
    connections = 0

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        Timed.connections += 1

    def feed(self, packet: Any, is_key: bool) -> Any:
        whole = is_key and hash(slices_of(bytes(packet))) in self.sent
        begun = time.perf_counter()
        found = list(super().feed(packet, is_key))
        Timed.keys_whole += whole
        Timed.took_ms.append(1e3 * (time.perf_counter() - begun))
        return iter(found)


def slices_of(unit: bytes) -> bytes:
    """What is pixels of an access unit: its parameters may be sent along with it or not."""
    parts = unit.replace(b"\0\0\0\1", b"\0\0\1").split(b"\0\0\1")
    return b"".join(part for part in parts if part and part[0] & 31 in (1, 5))


def references(units: list[bytes], spec: FrameSpec) -> list[NDArray[np.uint8]]:
    """Each picture as the network gets it when nothing is lost."""
    scaler, made = Scaler(spec, "stretch"), []
    for image in numbered.decoded(units):
        pixels = np.empty(spec.shape, np.uint8)
        scaler.scale(image, pixels)
        made.append(pixels)
    return made


def running(
    server: Server, transport: str, refs: list[NDArray[np.uint8]], work: Callable[[Collector], None]
) -> Collector:
    """``work`` while the daemon's road reads from the server."""
    collector = Collector(refs)
    config = CameraConfig(driver="network", fps=0.0, geometry="stretch")
    options = NetworkOptions(url=server.url, transport=transport)
    setup = make_setup(
        from_dict({"accelerator": {"driver": "standin"}, "model": {"bundle": BUNDLE}}, "rtsp"), False
    )
    network = make_network(setup)
    source = Source(config, lambda: NetworkCamera(options))
    road = Road(source, network, collector, lambda: False, lambda: None)  # type: ignore[arg-type]
    road.pipeline.start()
    road.camera.start()
    try:
        collector.wait_for(1, 30.0)
        work(collector)
    finally:
        road.stop(5.0, 5.0, 5.0)
    return collector


def resident_mb() -> float:
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    return 0.0


def steady(server: Server, refs: list[NDArray[np.uint8]], seconds: float) -> dict[str, Any]:
    grown = 0.0

    def work(collector: Collector) -> None:
        nonlocal grown
        time.sleep(SETTLE_S)
        collector.ages_ms.clear()
        Timed.took_ms.clear()
        before = resident_mb()
        time.sleep(seconds)
        grown = resident_mb() - before

    server.start()
    collector = running(server, "tcp", refs, work)
    return {
        "masks": len(collector.ages_ms),
        "age_p50_ms": round(float(np.percentile(collector.ages_ms, 50)), 1),
        "age_p99_ms": round(float(np.percentile(collector.ages_ms, 99)), 1),
        "decode_p99_ms": round(float(np.percentile(Timed.took_ms, 99)), 1),
        "interval_ms": round(1000 / FPS, 1),
        "growth_mb": round(grown, 1),
        "concealed_masks": collector.concealed,
    }


def killed(server: Server, refs: list[NDArray[np.uint8]], times: int) -> dict[str, Any]:
    back_s: list[float] = []

    def work(collector: Collector) -> None:
        for _ in range(times):
            time.sleep(3.0)
            server.kill()
            time.sleep(random.uniform(0.3, 3.0))
            server.start()
            back_s.append(collector.wait_for(1, 30.0))

    server.start()
    collector = running(server, "tcp", refs, work)
    return {
        "back_s_max": round(max(back_s), 2),
        "killed": len(back_s),
        "concealed_masks": collector.concealed,
    }


def lossy(server: Server, refs: list[NDArray[np.uint8]], seconds: float, percent: int) -> dict[str, Any]:
    """In a network namespace of its own."""
    run(
        "ip link set lo up",
        "nft add table inet bench",
        "nft add chain inet bench out { type filter hook output priority 0; }",
        f"nft add rule inet bench out udp length > 200 numgen random mod 100 < {percent} drop",
    )
    server.start()
    collector = running(server, "udp", refs, lambda _: time.sleep(seconds))
    return {
        "udp_masks": collector.masks,
        "keys_whole": Timed.keys_whole,
        "keys_masked": collector.keys,
        "concealed_masks": collector.concealed,
    }


def slow(server: Server, refs: list[NDArray[np.uint8]], seconds: float, units: list[bytes]) -> dict[str, Any]:
    """In a network namespace of its own, whose link carries a third of what is sent."""
    sent_bits = 8 * sum(map(len, units)) / len(units) * FPS
    run(
        "ip link set lo mtu 1500 up",
        f"tc qdisc add dev lo root tbf rate {round(sent_bits / 3)}bit burst 32kbit latency 400ms",
    )
    server.start()
    collector = running(server, "tcp", refs, lambda _: time.sleep(seconds))
    return {
        "slow_masks": collector.masks,
        "slow_age_s_max": round(max(collector.ages_ms) / 1000, 2),
        "slow_untrue_s_max": round(collector.untrue_s_max, 2),
        "concealed_masks": collector.concealed,
    }


PHASES = ("steady", "killed", "lossy", "slow")


def phase(name: str, film: Path, given: argparse.Namespace) -> dict[str, Any]:
    """One part, in a process of its own: what making the film took of the memory is none of its."""
    network_decoder.Whole = Timed  # type: ignore[misc]
    units = numbered.read_film(film, UNITS)
    Timed.sent = {hash(slices_of(unit)) for unit in units}
    refs, server = references(units, load_bundle(BUNDLE).input), Server(film)
    try:
        if name == "steady":
            return steady(server, refs, given.seconds)
        if name == "killed":
            return killed(server, refs, given.kills)
        if name == "lossy":
            return lossy(server, refs, given.seconds / 2, given.loss)
        return slow(server, refs, given.seconds / 2, units)
    finally:
        server.kill()


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long it is looked at")
    parser.add_argument("--kills", type=int, default=20, help="how often the server is killed")
    parser.add_argument("--loss", type=int, default=2, help="percent of the packets that are lost over UDP")
    parser.add_argument("--size", default="1920x1080", help="of the pictures")
    parser.add_argument("--log", action="store_true", help="what the daemon would log, on stderr")
    parser.add_argument("--phase", choices=PHASES, help=argparse.SUPPRESS)
    parser.add_argument("--film", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO if given.log else logging.CRITICAL)
    if given.phase:
        print(json.dumps(phase(given.phase, given.film, given)))
        return 0
    width, height = map(int, given.size.split("x"))
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="gnetseg-rtsp-") as root:
        film = Path(root) / "film.ts"
        made = numbered.encode(UNITS, width, height, FPS, GROUP)
        repeat = int((given.seconds + SETTLE_S + 30) * FPS / UNITS) + 1
        numbered.write_film(film, made, (width, height), FPS, repeat)
        for name in PHASES:
            command = ["unshare", "-rn"] if name in ("lossy", "slow") else []
            command += [sys.executable, __file__, *sys.argv[1:], "--phase", name, "--film", str(film)]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
            if done.returncode:
                finish(result, given.json)
                raise RuntimeError(
                    f"the part {name} failed; tools/setup/services-packages.sh brings what it needs"
                )
            part = json.loads(done.stdout.splitlines()[-1])
            part["concealed_masks"] += result.get("concealed_masks", 0)
            result |= part
    finish(result, given.json)
    good = (
        result["age_p99_ms"] <= 2 * result["interval_ms"] + result["decode_p99_ms"]
        and result["growth_mb"] <= 5
        and result["back_s_max"] <= 3
        and not result["concealed_masks"]
        and result["keys_masked"] >= result["keys_whole"] > 0
        and result["slow_age_s_max"] <= SLOW_AGE_MAX_S
        and result["slow_untrue_s_max"] <= SLOW_UNTRUE_MAX_S
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
