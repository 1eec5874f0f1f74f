"""The whole road over an emulated USB link: frames in, masks received by a subscriber.

The device is the mock in this process, behind an emulated half-duplex bus of ``--mbps`` megabytes a
second and a chip of ``--compute-ms`` a frame. The real camera loop (with a camera that gives each slot
back at once), USB driver, pipeline and publisher run over it; the subscriber is a process of its own.

``serial`` is the paper's way: one loop that takes a frame, sends it, waits for its mask and passes it
on. ``pipelined`` is the daemon's road. They are measured in alternation. ``bound`` is what the bus and
the chip allow. ``serial_8bit`` is the serial way with one byte a pixel, as in the paper, whatever
``--mask-bits`` says: what packing and pipelining bring together is ``pipelined/serial_8bit``.

With ``--mbps 0 --compute-ms 0`` nothing is emulated: ``ceiling`` is the road's own limit, and
``bare`` the same transfers and sends in one loop without road, driver or threads.

Python runs one of its threads at a time, so at its ceiling the road is bound by handing over from one
to the next. Where that wakes an idle core, it costs several times more than on one core (``--one-core``)
or beside other work: the ratio of ceiling and bare depends on it.

    .venv/bin/python tools/bench/link.py --mbps 26 --compute-ms 1.4 --mask-bits 8 --json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from gnetseg_device.device import MockDevice
from gnetseg_device.engine import Limits
from gnetseg_device.networks import NullNetwork
from harness import finish, spread

from gnetsegd.accelerators.usb import UsbAccelerator, UsbOptions
from gnetsegd.accelerators.usb_port import UsbPort, find
from gnetsegd.accelerators.usb_session import Session
from gnetsegd.cameras import Camera, CameraInfo, CaptureRequest
from gnetsegd.config import CameraConfig, PublishConfig
from gnetsegd.frame import HEADROOM, Frame, Geometry, Mask
from gnetsegd.link.header import ROOM, message_size
from gnetsegd.link.model_upload import ModelRecord
from gnetsegd.model import ModelBundle, load_bundle
from gnetsegd.road.publisher import Publisher
from gnetsegd.road.road import Network, Road, Source

ALL_CORES = os.sched_getaffinity(0)
MODEL = Path(__file__).parents[2] / "tests" / "data" / "models" / "threshold-224"

SUBSCRIBER = """
import os, sys, time, zmq
os.sched_setaffinity(0, eval(sys.argv[3]))
reader = zmq.Context().socket(zmq.SUB)
reader.setsockopt(zmq.RCVHWM, 1000)
reader.setsockopt(zmq.SUBSCRIBE, b"mask/")
reader.connect(sys.argv[1])
seconds = float(sys.argv[2])
for _ in range(30):
    assert reader.poll(20000), "no mask came"
    reader.recv()
start, count = time.monotonic(), 0
while time.monotonic() - start < seconds:
    reader.recv()
    count += 1
print(count / (time.monotonic() - start))
"""


class StillCamera(Camera):
    """Gives every slot back as it is, with a new number: the road is measured, not a camera."""

    Options = object

    def __init__(self) -> None:
        self._next = 0

    def open(self, request: CaptureRequest) -> CameraInfo:
        size = request.spec.width, request.spec.height
        return CameraInfo(0.0, Geometry("stretch", 0.0, 0.0, 1.0, 1.0, *size), "still", live=False)

    def capture(self, frame: Frame) -> None:
        frame.sequence = self._next
        frame.sensor_timestamp_ns = time.monotonic_ns()
        self._next += 1

    def close(self) -> None:
        pass


def make_device(bundle: ModelBundle, mbps: float, compute_s: float) -> MockDevice:
    return MockDevice(
        model=bundle, network=NullNetwork, link_mbytes_per_s=mbps, compute_s=compute_s, limits=Limits(slots=3)
    )


def count_masks(endpoint: str, seconds: float) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", SUBSCRIBER, endpoint, str(seconds), repr(ALL_CORES)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def received(subscriber: subprocess.Popen[str], publisher: Publisher) -> float:
    """What the subscriber counted, a second; the publisher is looked after meanwhile."""
    while subscriber.poll() is None:
        publisher.poll_subscriptions()
        time.sleep(0.05)
    assert subscriber.stdout is not None
    return float(json.loads(subscriber.stdout.read()))


def road_fps(bundle: ModelBundle, options: argparse.Namespace, in_flight: int) -> float:
    """Masks a second through the whole road."""
    device = make_device(bundle, options.mbps, options.compute_ms / 1000)
    usb = UsbOptions(mask_bits=options.mask_bits, frames_in_flight=in_flight, answer_timeout_s=5.0)
    publisher = Publisher("cam0")
    accelerator = UsbAccelerator(bundle, usb, backend=device.backend)
    road = Road(
        Source(CameraConfig(driver="still"), StillCamera),
        Network(accelerator, bundle.input, bundle.mask.size_bytes, backoff_max_s=1.0),
        publisher,
        may_fail_hard=lambda: True,
        wake=lambda: None,
    )
    with tempfile.TemporaryDirectory(prefix="gs") as folder:
        endpoint = f"ipc://{folder}/masks.sock"
        publisher.open(PublishConfig(endpoints=[endpoint], send_hwm_messages=1000))
        subscriber = count_masks(endpoint, options.seconds)
        road.start()
        try:
            fps = received(subscriber, publisher)
        finally:
            road.stop(camera_s=2, drain_s=0, pipeline_s=5)
            publisher.close()
            device.close()
    assert not accelerator.describe()["faults"], "the link was to be without faults"
    return fps


def serial_fps(bundle: ModelBundle, options: argparse.Namespace, mask_bits: int) -> float:
    """Masks a second, one frame after another in one thread, with the same driver and publisher."""
    device = make_device(bundle, options.mbps, options.compute_ms / 1000)
    usb = UsbOptions(mask_bits=mask_bits, frames_in_flight=1, answer_timeout_s=5.0)
    accelerator = UsbAccelerator(bundle, usb, backend=device.backend)
    info = accelerator.open()
    camera, frame = StillCamera(), Frame(bundle.input, bundle.mask.size_bytes, ROOM)
    publisher = Publisher("cam0")
    with tempfile.TemporaryDirectory(prefix="gs") as folder:
        endpoint = f"ipc://{folder}/masks.sock"
        publisher.open(PublishConfig(endpoints=[endpoint], send_hwm_messages=1000))
        subscriber = count_masks(endpoint, options.seconds)
        try:
            while subscriber.poll() is None:
                for _ in range(20):
                    camera.capture(frame)
                    accelerator.wait_for_credit(5.0)
                    accelerator.submit(frame)
                    accelerator.collect(5.0)
                    publisher.publish(Mask(frame, info), 0)
                publisher.poll_subscriptions()
            assert subscriber.stdout is not None
            return float(json.loads(subscriber.stdout.read()))
        finally:
            accelerator.close()
            publisher.close()
            device.close()


def bare_fps(bundle: ModelBundle, options: argparse.Namespace) -> float:
    """The same transfers and sends, one after another in one loop."""
    import zmq

    device = make_device(bundle, options.mbps, options.compute_ms / 1000)
    (found,) = find((0x1209, 0x0001), device.backend)
    session = Session(UsbPort(found), bundle, 5.0)
    session.begin(options.mask_bits, payload_crc=False)
    frame = Frame(bundle.input, bundle.mask.size_bytes, ROOM)
    publisher = Publisher("cam0")
    with tempfile.TemporaryDirectory(prefix="gs") as folder:
        endpoint = f"ipc://{folder}/masks.sock"
        publisher.open(PublishConfig(endpoints=[endpoint], send_hwm_messages=1000))
        subscriber = count_masks(endpoint, options.seconds)
        (bound,) = publisher._sockets
        message = frame.reply_view[: HEADROOM + session.mask.size_bytes]
        message[:5] = b"mask/"
        try:
            while subscriber.poll() is None:
                for _ in range(100):
                    session.write_request(frame)
                    session.port.bulk_out(frame.request_memory, 1000)
                    session.port.bulk_in(frame.reply_memory, 1000)
                    bound.send(message, zmq.NOBLOCK)
            assert subscriber.stdout is not None
            return float(json.loads(subscriber.stdout.read()))
        finally:
            publisher.close()
            device.close()


def bound_fps(bundle: ModelBundle, options: argparse.Namespace) -> tuple[float, float]:
    """(pipelined, serial): what the bytes on the bus and the time in the chip allow."""
    record = ModelRecord.of(bundle)
    picture = message_size(record.input.size_bytes, 0)
    mask = message_size(record.mask.height * ((record.mask.width * options.mask_bits + 7) // 8), 0)
    bus_s, chip_s = (picture + mask) / (options.mbps * 1e6), options.compute_ms / 1000
    return 1 / max(bus_s, chip_s), 1 / (bus_s + chip_s)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--mbps", type=float, default=26.0, help="of the bus, in 10^6 bytes a second; 0 is none"
    )
    parser.add_argument("--compute-ms", type=float, default=1.4)
    parser.add_argument("--mask-bits", type=int, choices=(1, 2, 4, 8), default=8)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each measurement")
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument(
        "--one-core", action="store_true", help="keep this process on one core; the subscriber has them all"
    )
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.one_core:
        os.sched_setaffinity(0, {min(ALL_CORES)})
    bundle = load_bundle(str(MODEL))
    result: dict[str, Any] = {
        "bench": "link",
        "link": "emulated" if options.mbps else "none",
        "mbps": options.mbps,
        "compute_ms": options.compute_ms,
        "mask_bits": options.mask_bits,
        "one_core": options.one_core,
    }
    road, serial, serial_8bit, bare = [], [], [], []
    measures: list[tuple[list[float], Callable[[], float]]] = [(road, lambda: road_fps(bundle, options, 4))]
    if options.mbps:
        measures.append((serial, lambda: serial_fps(bundle, options, options.mask_bits)))
        if options.mask_bits != 8:
            measures.append((serial_8bit, lambda: serial_fps(bundle, options, 8)))
    else:
        measures.append((bare, lambda: bare_fps(bundle, options)))
    for number in range(options.pairs):
        # The order changes, so that none profits from a machine that slows down.
        for results, measure in measures if number % 2 else reversed(measures):
            results.append(measure())
        if not options.json:
            print(f"round {number + 1}: {[round(results[-1], 1) for results, _ in measures]} FPS", flush=True)

    def ratio(one: list[float], other: list[float]) -> float:
        return round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 4)

    median = statistics.median
    if options.mbps:
        bound, serial_bound = bound_fps(bundle, options)
        paper = serial_8bit or serial
        result |= {
            "serial": round(median(serial), 2),
            "serial_8bit": round(median(paper), 2),
            "pipelined": round(median(road), 2),
            "bound": round(bound, 2),
            "serial_bound": round(serial_bound, 2),
            "pipelined_spread": spread(road),
            "serial_spread": spread(serial),
            "pipelined/bound": round(median(road) / bound, 4),
            "pipelined/serial": ratio(road, serial),
            "pipelined/serial_8bit": ratio(road, paper),
            "serial_8bit/paper_189.87": round(median(paper) / 189.87, 4),
        }
    else:
        result |= {
            "ceiling": round(median(road), 1),
            "bare": round(median(bare), 1),
            "ceiling_spread": spread(road),
            "bare_spread": spread(bare),
            "ceiling/bare": ratio(road, bare),
        }
    finish(result, options.json)


if __name__ == "__main__":
    main()
