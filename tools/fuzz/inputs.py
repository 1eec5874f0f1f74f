"""Films, photos, streams and webcams with hostile bytes: no crash, no hang, bounded memory, only sentences.

    .venv/bin/python tools/fuzz/inputs.py --seconds 60 --json
    .venv/bin/python tools/fuzz/inputs.py --case 12345   one again

Each case is made from its number. Cases run in child processes with a limit of memory; one that dies,
outlasts its limit, or raises anything that is no sentence of the daemon's own is a failure, and its number
is told.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import logging
import os
import random
import resource
import select
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "bench"))
import sources_made as made
from harness import finish

from gnetsegd.cameras import CaptureRequest, exif, holes, pyav
from gnetsegd.cameras import v4l2_ioctl as v4l2
from gnetsegd.cameras.h264_order import Order
from gnetsegd.cameras.turn import from_display_matrix
from gnetsegd.cameras.v4l2 import V4l2Camera, V4l2Options
from gnetsegd.cameras.video import VideoCamera, VideoOptions
from gnetsegd.cameras.whole import Whole
from gnetsegd.errors import GnetsegError, NotYet
from gnetsegd.frame import Frame, FrameSpec
from gnetsegd.testing.fake_v4l2 import FakeDevice, FakeWebcam

#: A case may take so long, in s, and its process so much memory more than at its start.
CASE_LIMIT_S = 20.0
MEMORY_MAX_BYTES = 1 << 30
#: Cases of one child process.
CASES_A_CHILD = 200
#: Of a film or webcam so many frames are taken.
FRAMES = 40

SPEC = FrameSpec(64, 48)
FILMS = (
    ("a.mp4", "libx264", {}), ("a.mkv", "libx264", {}), ("a.ts", "libx264", {}), ("a.mov", "mpeg4", {}),
    ("a.avi", "mjpeg", {"pix_fmt": "yuvj420p"}), ("a.ts", "mpeg2video", {}), ("a.webm", "libvpx", {}),
    ("a.mjpeg", "mjpeg", {"pix_fmt": "yuvj420p"}), ("a.h264", "libx264", {}), ("a.mp4", "libx265", {}),
)  # fmt: skip
PHOTOS = ("JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF")


class Seeds:
    """Good inputs, made once."""

    def __init__(self) -> None:
        shown = [made.resized(picture, (96, 72)) for picture in made.pictures()[:8]]
        self.films: list[tuple[str, bytes]] = []
        with tempfile.TemporaryDirectory() as folder:
            for number, (name, codec, options) in enumerate(FILMS):
                path = Path(folder) / f"{number}{name}"
                self.films.append((name, made.film(path, shown, codec, **options).read_bytes()))
        self.photos = [
            (kind.lower(), made.photo(shown[0], kind, orientation))
            for kind in PHOTOS
            for orientation in (1, 6)
        ]
        with pyav.load().open(io.BytesIO(self.films[8][1]), format="h264") as container:
            self.packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]


def hurt(data: bytes, dice: random.Random) -> bytes:
    """``data`` as bad cards, cables and people leave it."""
    content = bytearray(data)
    for _ in range(dice.choice((1, 1, 2, 4, 16))):
        if not content:
            break
        # Most of what is interesting stands at the front.
        at = dice.randrange(len(content)) if dice.random() < 0.6 else dice.randrange(min(len(content), 256))
        length = dice.choice((1, 2, 4, 8, 64, 512))
        match dice.randrange(7):
            case 0:
                content[at] ^= 1 << dice.randrange(8)
            case 1:
                content[at : at + length] = dice.randbytes(length)
            case 2:
                content[at : at + length] = bytes(length)
            case 3:
                content[at : at + length] = b"\xff" * length
            case 4:
                del content[at : at + length]
            case 5:
                content[at:at] = content[dice.randrange(len(content)) :][:length]
            case 6:
                del content[at:]
    return bytes(content)


def drain(camera: Any) -> None:
    """Open it, and take what it gives; sentences are what it may raise."""
    frame = Frame(SPEC, 10)
    try:
        camera.open(CaptureRequest(SPEC, 0.0, "center-crop", 2.0))
        for _ in range(FRAMES):
            with suppress(NotYet):
                camera.capture(frame)
    except GnetsegError as error:
        if not str(error).isprintable():
            raise RuntimeError("its sentence has control characters") from None
    finally:
        camera.close()


def film(seeds: Seeds, dice: random.Random, folder: Path) -> None:
    name, data = dice.choice(seeds.films)
    path = folder / name
    path.write_bytes(hurt(data, dice))
    drain(VideoCamera(VideoOptions(path=str(path), loop=False, rate="max")))


def photo(seeds: Seeds, dice: random.Random, folder: Path) -> None:
    name, data = dice.choice(seeds.photos)
    path = folder / f"a.{name}"
    path.write_bytes(hurt(data, dice))
    drain(VideoCamera(VideoOptions(path=str(path), loop=False, rate="max")))


def metadata(seeds: Seeds, dice: random.Random, folder: Path) -> None:
    del folder
    for _ in range(50):
        _, data = dice.choice(seeds.photos)
        exif.turn_of(hurt(data, dice))
        exif.is_animated_webp(hurt(data, dice))
        from_display_matrix(dice.randbytes(dice.choice((0, 35, 36, 37))))
        packet = hurt(dice.choice(seeds.packets), dice)
        holes.has_hole("h264", packet, dice.randrange(5))
        holes.unit_length_bytes(dice.choice(("h264", "hevc")), dice.randbytes(dice.randrange(40)))


def stream(seeds: Seeds, dice: random.Random, folder: Path) -> None:
    del folder
    av = pyav.load()
    decoder = av.CodecContext.create("h264", "r")
    decoder.options = pyav.STRICT
    whole, order = Whole(decoder, is_live=True), Order(dice.randbytes(dice.randrange(60)))
    for number, data in enumerate(seeds.packets):
        content = hurt(data, dice) if dice.random() < 0.4 else data
        if content:
            packet = av.Packet(content)
            packet.pts = dice.choice((number, number, None, -(1 << 40), 1 << 60))
            order.has_gap(content)
            list(whole.feed(packet, dice.random() < 0.5))


def webcam(seeds: Seeds, dice: random.Random, folder: Path) -> None:
    """A driver that fills its structures with anything."""
    del folder
    formats = ("YUYV", "MJPG", "NV12", "H264", "GREY", "Y16 ", "422P", "XR24", "BA81")
    cam = FakeWebcam(tuple(dice.sample(formats, 3)), ((96, 72), (64, 48)))
    cam.jpeg = lambda _: hurt(dice.choice(seeds.photos[:2])[1], dice)[: 96 * 72]
    cam.h264 = lambda number: hurt(seeds.packets[number % len(seeds.packets)], dice)[: 96 * 72]
    real, chance = FakeDevice.ioctl, dice.choice((0.0, 0.02, 0.2))

    def ioctl(device: Any, request: int, argument: Any) -> None:
        real(device, request, argument)
        if request != v4l2.QBUF and dice.random() < chance and isinstance(argument, ctypes.Structure):
            size = ctypes.sizeof(argument)
            view = memoryview(argument).cast("B")
            at = dice.randrange(size)
            view[at : at + 4] = dice.choice((b"\xff", b"\0", b"\x7f", b"\x01"))[:1] * len(view[at : at + 4])

    device = SimpleNamespace(opened=None)

    def opening(path: str) -> Any:
        device.opened = cam.open(path)
        hostile = device.opened
        hostile.ioctl = lambda request, argument: ioctl(hostile, request, argument)
        return hostile

    with suppress(
        IndexError, KeyError, AssertionError
    ):  # of the fake itself, where it is asked for what it has not
        drain(V4l2Camera(V4l2Options(), opening, cam.clock))


KINDS: dict[str, Callable[[Seeds, random.Random, Path], None]] = {
    "film": film, "photo": photo, "metadata": metadata, "stream": stream, "webcam": webcam,
}  # fmt: skip


def child(kind: str | None, first: int, cases: int) -> None:
    """Says the number of each case before it begins, on stdout, and why one failed."""
    logging.disable(logging.CRITICAL)
    seeds, names = Seeds(), list(KINDS)
    pages = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (pages + MEMORY_MAX_BYTES,) * 2)
    with tempfile.TemporaryDirectory(prefix="gnetseg-fuzz-") as folder:
        for number in range(first, first + cases):
            name = kind or names[number % len(names)]
            print(number, name, flush=True)
            try:
                KINDS[name](seeds, random.Random(number), Path(folder))
            except MemoryError:
                pass  # its limit held, and it said so
            except Exception:
                last = traceback.format_exc().strip().splitlines()
                print("failed", number, name, " | ".join(last[-3:]), flush=True)
    print("done", flush=True)


def run(kind: str | None, seed: int, seconds: float, cases: int) -> dict[str, Any]:
    end = time.monotonic() + seconds
    failures: list[str] = []
    count, first = 0, seed
    while time.monotonic() < end:
        command = [sys.executable, __file__, "--child", "--case", str(first), "--cases", str(cases)]
        command += ["--kind", kind] if kind else []
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        running, said, over = "", b"", False
        while not over:
            limit_s = CASE_LIMIT_S if time.monotonic() < end else 0.0
            if not select.select([process.stdout], [], [], limit_s or 0.2)[0]:
                if limit_s:
                    failures.append(f"{running}: outlasts {CASE_LIMIT_S:g} s")
                break
            piece = os.read(process.stdout.fileno(), 1 << 16)
            over = not piece
            *lines, said = (said + piece).split(b"\n")
            for line in lines:
                words = line.decode(errors="replace")
                if words.startswith("failed "):
                    failures.append(words)
                elif words != "done":
                    running, count = words, count + 1
            if time.monotonic() >= end:
                break
        if over and process.wait() != 0:
            failures.append(f"{running}: its process ended with {process.returncode}")
        process.kill()
        process.wait()
        process.stdout.close()
        first += cases
    return {"cases": count, "seed": seed, "failures": failures, "failed": len(failures)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0, help="the number of the first case")
    parser.add_argument("--case", type=int, help="this one alone")
    parser.add_argument("--kind", choices=[*KINDS], help="of this kind alone")
    parser.add_argument("--cases", type=int, default=1, help=argparse.SUPPRESS)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.child or given.case is not None:
        child(given.kind, given.case, given.cases)
        return 0
    result = run(given.kind, given.seed, given.seconds, CASES_A_CHILD)
    finish(result, given.json)
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
