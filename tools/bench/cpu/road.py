"""Run by cpu.py inside the emulated process: the road over Debian's pyusb and libusb.

    road.py LIBUSB MODEL ENDPOINT FRAMES MODE:MASK_BITS ...

MODE ``threads``: the daemon's own threads, a frame every ``PACE_S``, so that each thread has gone to
sleep when its next frame comes. MODE ``calls``: the same calls in one thread, one after another.
MODE ``steps``: as ``calls``, and each of them counted apart (which itself costs instructions).
"""

from __future__ import annotations

import os
import sys
import threading
import time
from typing import Any

import usb.backend.libusb1

from gnetsegd.accelerators.usb import UsbAccelerator, UsbOptions
from gnetsegd.cameras import Camera, CameraInfo, CaptureRequest
from gnetsegd.config import CameraConfig, PublishConfig
from gnetsegd.frame import Frame, Geometry, Mask
from gnetsegd.model import load_bundle
from gnetsegd.road.publisher import Publisher
from gnetsegd.road.road import Network, Road, Source

PACE_S = 0.02
WARM_UP = 30

#: What count.c knows; the other steps of a frame are told by PART.
ROLE, BEGIN, END, PAUSE, RESUME, _, PART = range(1, 8)
ROLES = {"camera": "c", "out": "o", "in": "i", "MainThread": "m"}
PARTS = ("take slot", "put", "wait", "take", "submit", "collect", "publish", "give slot", "mark")


def mark(kind: int, value: int = 0) -> None:
    os.umask(0x5E << 24 | kind << 16 | value << 9 | 0o022)


#: Ready-made for the camera, in whose thread even the marks' own instructions count.
umask = os.umask
PAUSED, RESUMED = (0x5E << 24 | kind << 16 | 0o022 for kind in (PAUSE, RESUME))


class StillCamera(Camera):
    """Gives every slot back as it is, with a new number; what it does itself is not counted."""

    Options = object

    def __init__(self) -> None:
        self._next = 0
        self._due = 0.0

    def open(self, request: CaptureRequest) -> CameraInfo:
        size = request.spec.width, request.spec.height
        return CameraInfo(0.0, Geometry("stretch", 0.0, 0.0, 1.0, 1.0, *size), "still", live=True)

    def capture(self, frame: Frame) -> None:
        umask(PAUSED)
        now = time.monotonic()
        self._due = max(self._due + PACE_S, now)
        time.sleep(self._due - now)
        frame.sequence = self._next
        frame.sensor_timestamp_ns = time.monotonic_ns()
        self._next += 1
        umask(RESUMED)

    def close(self) -> None:
        pass


def name_threads() -> None:
    """Have every thread tell its role when it begins."""
    run = threading.Thread.run

    def named(self: threading.Thread) -> None:
        mark(ROLE, ord(ROLES[self.name]))
        run(self)

    threading.Thread.run = named  # type: ignore[method-assign]


def by_threads(road: Road, frames: int) -> int:
    """Count over about ``frames`` frames; how many masks were published meanwhile."""
    road.start()
    publisher = road.publisher
    until = publisher.masks + WARM_UP
    while publisher.masks < until:
        time.sleep(0.01)
    mark(BEGIN)
    first = publisher.masks
    time.sleep(frames * PACE_S)
    masks = publisher.masks - first
    mark(END)
    road.stop(camera_s=5, drain_s=0, pipeline_s=5)
    return int(masks)


def by_calls(road: Road, accelerator: UsbAccelerator, frames: int, in_steps: bool) -> int:
    """Count the calls that the threads make for a frame, and the sum of each kind if ``in_steps``."""
    pool, mailbox, publisher = road.pool, road.mailbox, road.publisher
    accelerator.open()
    mark(ROLE, ord("a"))

    def part(number: int) -> None:
        if in_steps:
            mark(PART, number)

    for number in range(frames + WARM_UP):
        if number == WARM_UP:
            mark(BEGIN)
        part(1)
        slot = pool.take()
        slot.sequence = number
        part(2)
        mailbox.put(slot)
        part(3)
        accelerator.wait_for_credit(1.0)
        part(4)
        frame = mailbox.take(1.0)
        part(5)
        accelerator.submit(frame)
        part(6)
        mask = accelerator.collect(1.0)
        part(7)
        publisher.publish(mask, 0)
        part(8)
        pool.give(mask.frame)
        part(9)
        assert isinstance(mask, Mask)
    mark(END)
    accelerator.close()
    return frames


def measure(backend: Any, model: str, publisher: Publisher, mode: str, mask_bits: int, frames: int) -> int:
    """One measurement; how many frames it was."""
    bundle = load_bundle(model)
    options = UsbOptions(mask_bits=mask_bits, answer_timeout_s=5.0)
    accelerator = UsbAccelerator(bundle, options, backend)
    road = Road(
        Source(CameraConfig(driver="still"), StillCamera),
        Network(accelerator, bundle.input, bundle.mask.size_bytes, backoff_max_s=1.0),
        publisher,
        may_fail_hard=lambda: True,
        wake=lambda: None,
    )
    return (
        by_threads(road, frames)
        if mode == "threads"
        else by_calls(road, accelerator, frames, mode == "steps")
    )


def main() -> None:
    libusb, model, endpoint, frames, *measurements = sys.argv[1:]
    backend = usb.backend.libusb1.get_backend(find_library=lambda _name: libusb)
    publisher = Publisher("cam0")
    publisher.open(PublishConfig(endpoints=[endpoint]))
    print("BOUND", flush=True)
    while not publisher.watched:
        publisher.poll_subscriptions()
        time.sleep(0.01)
    name_threads()
    for measurement in measurements:
        mode, _, mask_bits = measurement.partition(":")
        masks = measure(backend, model, publisher, mode, int(mask_bits), int(frames))
        print("FRAMES", masks, mode, mask_bits, file=sys.stderr, flush=True)
    os._exit(0)  # the emulated threads need not be ended one by one


if __name__ == "__main__":
    main()
