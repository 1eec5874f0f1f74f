"""A publisher that says what a test wants: the daemon's side of docs/messages.md without a daemon.

By hand it publishes a moving person, for trying readers out:
``python tests/client/fake_publisher.py ipc:///tmp/masks.sock``
"""

from __future__ import annotations

import argparse
import io
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq
from PIL import Image

from gnetsegd.frame import MaskFormat
from gnetsegd.message import (
    HEADER_SIZE,
    MaskHeader,
    Region,
    image_header,
    pack_header,
    pack_json,
    pack_mask,
    topic,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

HASH = bytes(range(16))
WHOLE = Region(0, 0, 1, 1)


def person(width: int = 64, height: int = 48, shift: float = 0.0) -> NDArray[np.uint8]:
    """Labels of shape (height, width): 1 in a head and shoulders, else 0."""
    y, x = np.mgrid[0:height, 0:width]
    u, v = (x + 0.5) / width - 0.5 - shift, (y + 0.5) / height
    head = (u / 0.13) ** 2 + ((v - 0.35) / 0.18) ** 2 < 1
    body = (u / 0.3) ** 2 + ((v - 1.0) / 0.48) ** 2 < 1
    labels: NDArray[np.uint8] = (head | body).astype(np.uint8)
    return labels


class FakePublisher:
    """An XPUB socket; a test calls ``mask``, ``info``, ``status``, ``frame`` or ``raw``.

    ``wait_for`` returns when a subscription has arrived: what is sent from then on arrives. But a socket that
    keeps only the newest loses a message that comes in the very moment in which it is looked at (libzmq's
    dbuffer.hpp: the writer does not wait for the lock): for such readers what stands alone is sent twice.
    """

    def __init__(self, endpoint: str, camera: str = "cam0", session: int = 7) -> None:
        self.camera = camera
        self.session = session
        self.labels = ["background", "person"]
        self.persons = [1]
        self._context = zmq.Context()
        self.socket: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        self.socket.setsockopt(zmq.SNDHWM, 10_000)
        self.socket.setsockopt(zmq.XPUB_VERBOSE, 1)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(endpoint)
        self.endpoint = self.socket.getsockopt_string(zmq.LAST_ENDPOINT)
        self._subscribed: list[bytes] = []
        #: Every topic that anybody has subscribed to so far, as far as the events have been read.
        self.asked: set[bytes] = set()
        self._gone: list[bytes] = []

    def __enter__(self) -> FakePublisher:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close(linger=0)
        self._context.term()

    def wait_for(self, *kinds: str, timeout_s: float = 5.0) -> None:
        """Until a subscriber has asked for each of ``kinds``; ``TimeoutError``."""
        wanted = [topic(kind, self.camera) for kind in kinds]
        deadline = time.monotonic() + timeout_s
        while any(not any(full.startswith(asked) for asked in self._subscribed) for full in wanted):
            if not self.socket.poll(max(0, int((deadline - time.monotonic()) * 1000))):
                raise TimeoutError(f"nobody subscribed to {kinds}")
            self._take(self.socket.recv())
        self._subscribed.clear()

    def _take(self, event: bytes) -> None:
        if event[:1] == b"\1":
            self._subscribed.append(event[1:])
            self.asked.add(event[1:])
        elif event[:1] == b"\0":
            self._gone.append(event[1:])

    def read_events(self) -> None:
        """Take note of who came and who went, without waiting."""
        while self.socket.poll(0):
            self._take(self.socket.recv())

    def gone(self) -> list[bytes]:
        """The topics that nobody subscribes to any more, in the order in which they were left."""
        self.read_events()
        return self._gone

    def raw(self, *parts: bytes) -> None:
        self.socket.send_multipart(parts)

    def header(self, labels: NDArray[np.uint8], sequence: int, bits: int = 8, **changes: Any) -> MaskHeader:
        form = MaskFormat(labels.shape[1], labels.shape[0], bits, len(self.labels))
        now = time.monotonic_ns()
        header = MaskHeader(
            camera=self.camera,
            format=form,
            sequence=sequence,
            session=self.session,
            sensor_timestamp_ns=now - 20_000_000,
            publish_timestamp_ns=now,
            dropped_camera=0,
            dropped_daemon=0,
            backend="standin",
            model_hash=HASH,
            fallback=False,
            payload_offset=HEADER_SIZE,
            payload_size=form.size_bytes,
        )
        return replace(header, **changes)

    def mask(
        self,
        sequence: int,
        labels: NDArray[np.uint8] | None = None,
        bits: int = 8,
        times: int = 1,
        **changes: Any,
    ) -> None:
        labels = person(8, 6) if labels is None else labels
        message = pack_header(self.header(labels, sequence, bits, **changes)) + pack_mask(labels, bits)
        for _ in range(times):
            self.raw(message)

    def frame(self, sequence: int, luminance: NDArray[np.uint8], times: int = 1, **changes: Any) -> None:
        header = self.header(luminance, sequence, kind="frame", **changes)
        for _ in range(times):
            self.raw(pack_header(header) + luminance.tobytes())

    def image_message(
        self,
        sequence: int,
        colours: NDArray[np.uint8],
        orientation: int = 1,
        size: tuple[int, int] | None = None,
        region: Region = WHOLE,
    ) -> bytes:
        """``colours``: RGB of shape (height, width, 3) as it lies in the JPEG; ``size``: of it upright."""
        exif = Image.Exif()
        exif[0x0112] = orientation
        file = io.BytesIO()
        Image.fromarray(colours).save(file, "JPEG", quality=95, subsampling=0, exif=exif)
        jpeg = file.getvalue()
        width, height = size or (colours.shape[1], colours.shape[0])
        of_mask = pack_header(self.header(person(8, 6), sequence))
        return image_header(of_mask, width, height, region, time.monotonic_ns(), len(jpeg)) + jpeg

    def image(self, sequence: int, colours: NDArray[np.uint8], **changes: Any) -> None:
        self.raw(self.image_message(sequence, colours, **changes))

    def info_body(self) -> dict[str, Any]:
        return {
            "schema": 1,
            "version": "0.1.0",
            "camera": self.camera,
            "session": self.session,
            "backend": "standin",
            "model": {"id": "fake", "sha256": HASH.hex() * 2, "title": "A fake", "licence": "none"},
            "labels": self.labels,
            "persons": self.persons,
            "input": {"width": 64, "height": 48, "pixel_format": "Y"},
            "mask": {"width": 64, "height": 48, "bits": 8, "stride": 64},
            "geometry": {
                "mode": "center-crop",
                "x": 0.0,
                "y": 0.0,
                "width": 1.0,
                "height": 1.0,
                "sensor_width": 640,
                "sensor_height": 480,
            },
            "fps_nominal": 30.0,
            "monotonic_to_wall_offset_ns": time.time_ns() - time.monotonic_ns(),
        }

    def info(self, **changes: Any) -> None:
        message = pack_json("info", self.camera, self.info_body() | changes)
        self.socket.setsockopt(zmq.XPUB_WELCOME_MSG, message)
        for _ in range(2):
            self.raw(message)

    def status(self, **changes: Any) -> None:
        message = pack_json("status", self.camera, status_body(self.camera, self.session) | changes)
        for _ in range(2):
            self.raw(message)


def status_body(camera: str, session: int) -> dict[str, Any]:
    """What a daemon says that is well."""
    return {
        "schema": 1,
        "camera": camera,
        "session": session,
        "state": "running",
        "reason": "",
        "backend": "standin",
        "fallback": False,
        "fps": 30.0,
        "subscribers": True,
        "uptime_s": 61.5,
        "timestamp_ns": time.monotonic_ns(),
        "counters": {
            "frames": 1000,
            "masks": 991,
            "dropped_camera": 2,
            "dropped_daemon": 7,
            "losses": 1,
            "camera_reopens": 0,
            "accelerator_reopens": 0,
        },
        "camera_device": {"driver": "pattern", "description": "made of numbers", "fps": 30.0},
        "accelerator": {"threads": 2},
    }


class FakeDaemon(threading.Thread):
    """Publishes a person that walks to and fro, until ``stop``: for readers in other processes.

    Every ``lose_every``-th mask is lost on the way (0: none); ``labels`` stands still in the person's place.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        fps: float = 30.0,
        frames: bool = False,
        images: bool = False,
        masks: bool = True,
        lose_every: int = 0,
        width: int = 64,
        height: int = 48,
        labels: NDArray[np.uint8] | None = None,
        status: dict[str, Any] | None = None,
        session: int | None = None,
    ) -> None:
        super().__init__(daemon=True)
        self.publisher = FakePublisher(endpoint)
        if session is not None:
            self.publisher.session = session
        self.endpoint = self.publisher.endpoint
        self._fps = fps
        self._frames = frames
        self._images = images
        self._masks = masks
        self._lose_every = lose_every
        self._size = width, height
        self._labels = labels
        self._status = status or {}
        self._stopped = threading.Event()

    def __enter__(self) -> FakeDaemon:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        self.publisher.read_events()
        self.publisher.close()

    def run(self) -> None:
        sequence, told = 0, 0.0
        noise = np.random.default_rng(1).integers(0, 40, self._size[::-1]).astype(np.uint8)
        self.publisher.info(fps_nominal=self._fps)
        while not self._stopped.wait(1 / self._fps):
            self.publisher.read_events()
            sequence += 1
            if time.monotonic() - told > 0.2:
                told = time.monotonic()
                self.publisher.info(fps_nominal=self._fps)
                self.publisher.status(fps=self._fps, **self._status)
            if not self._masks or (self._lose_every and sequence % self._lose_every == 0):
                continue
            labels = self._labels
            if labels is None:
                labels = person(*self._size, 0.25 * np.sin(sequence / 20))
            self.publisher.mask(sequence, labels)
            if self._frames:
                self.publisher.frame(sequence, (90 + 100 * labels + noise).astype(np.uint8))
            if self._images:
                grey = (90 + 100 * labels + noise).astype(np.uint8)
                self.publisher.image(sequence, np.dstack([grey, grey // 2, 255 - grey]))


def main() -> None:
    parser = argparse.ArgumentParser(description="Publish a moving person, as gnetsegd would.")
    parser.add_argument("endpoint")
    parser.add_argument("--fps", type=float, default=30.0)
    parser.add_argument("--frames", action="store_true")
    parser.add_argument("--images", action="store_true")
    parser.add_argument("--lose-every", type=int, default=0)
    arguments = parser.parse_args()
    daemon = FakeDaemon(
        arguments.endpoint,
        fps=arguments.fps,
        frames=arguments.frames,
        images=arguments.images,
        lose_every=arguments.lose_every,
        width=224,
        height=224,
    )
    with daemon:
        print(f"publishing on {daemon.endpoint}", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()
