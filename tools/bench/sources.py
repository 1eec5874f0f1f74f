"""Every film and camera that people have: turned, stretched, damaged, joined, resting, over a network.

Each case is played once by the road of the daemon (camera loop, stand-in, shipped network), and every mask is
compared with that of the same picture given plainly. For each: ``masks`` and how many are ``expected``;
``iou`` with the plain pictures' masks (mean over those with a person; null where nothing can be compared);
``stale``: masks of what was no picture, of another moment, or at a time that cannot be; ``doubled``: pictures
given twice; ``exit``: with which code a daemon would end. It passes when all are as they should be. A network
camera is looked at for so many masks, and each is compared with the picture of the clip that it is most like.

    .venv/bin/python tools/bench/sources.py --json
    .venv/bin/python tools/bench/sources.py --only exif-6-jpeg --log
"""

from __future__ import annotations

import argparse
import itertools
import logging
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
import sources_made as made
import sources_network
from harness import finish

from gnetsegd.cameras import CameraInfo, CaptureRequest
from gnetsegd.cameras.turn import Turn, configured, from_exif
from gnetsegd.cameras.v4l2 import V4l2Camera, V4l2Options
from gnetsegd.cameras.video import VideoCamera, VideoOptions
from gnetsegd.config import CameraConfig, from_dict
from gnetsegd.errors import EndOfVideo, GnetsegError
from gnetsegd.frame import Frame, Mask
from gnetsegd.message import unpack_mask
from gnetsegd.process.parts import make_network, make_setup
from gnetsegd.road.road import Network, Road, Source
from gnetsegd.testing.fake_v4l2 import FakeWebcam

BUNDLE = "person-fast"
PERSON = 1
#: A mask must be so much like that of the plain picture; a picture that was turned or stretched, too.
IOU_MIN = 0.97
#: A frame that differs by more from its plain picture (mean of 0 to 255) is another one, or half of one.
SAME_PICTURE = 8.0
#: A case takes no longer.
LIMIT_S = 60.0


class Case(NamedTuple):
    """``make`` writes the source and gives its camera; ``shows`` are the plain pictures' numbers in order."""

    make: Callable[[Path], Callable[[], Any]]
    shows: list[int]
    exit: int = 0
    config: CameraConfig | None = None
    iou_min: float | None = IOU_MIN
    #: It begins anywhere in the clip, and may leave pictures out.
    live: bool = False


class Seen(NamedTuple):
    sequence: int
    time_ns: int
    pixels: NDArray[np.uint8]
    labels: NDArray[np.uint8]


class Collector:
    """A publisher that keeps every mask with its picture."""

    watched = True
    session = 1
    images = None  # nobody wants pictures in colour

    def __init__(self) -> None:
        self.masks = 0
        self.seen: list[Seen] = []

    def publish(self, mask: Mask, losses: int) -> None:
        del losses
        frame = mask.frame
        labels = unpack_mask(mask.payload, mask.info.mask).copy()  # the slot is used again
        self.seen.append(Seen(frame.sequence, frame.sensor_timestamp_ns, frame.pixels.copy(), labels))
        self.masks += 1


class Bounded:
    """A camera that ends after ``frames``, and waits for its taker: so that each of its frames is seen."""

    Options: ClassVar[type[Any]] = object

    def __init__(self, camera: Any, frames: int) -> None:
        self._camera, self._left = camera, frames
        self.lost = camera.lost
        self.info: CameraInfo | None = None

    def open(self, request: CaptureRequest) -> CameraInfo:
        self.info = self._camera.open(request)._replace(live=False)
        return self.info

    def capture(self, frame: Frame) -> None:
        if not self._left:
            raise EndOfVideo("enough")
        self._camera.capture(frame)
        self._left -= 1

    def close(self) -> None:
        self._camera.close()


def play(camera: Callable[[], Any], config: CameraConfig, network: Network) -> tuple[list[Seen], int]:
    """Every mask of one camera, and the code with which the daemon would end."""
    collector = Collector()
    source = Source(config, camera)
    road = Road(source, network, collector, lambda: not collector.masks, lambda: None)  # type: ignore[arg-type]
    road.pipeline.start()
    deadline = time.monotonic() + LIMIT_S
    try:
        while road.pipeline.state != "running":
            _wait(deadline)
        road.camera.start()
        while road.camera.fatal is None and not (road.camera.state == "ended" and road.drained):
            _wait(deadline)
    finally:
        road.stop(5.0, 5.0, 5.0)
    failure: GnetsegError | None = road.camera.fatal or road.camera.end
    return collector.seen, failure.exit_code if failure is not None else 0


def _wait(deadline: float) -> None:
    if time.monotonic() > deadline:
        raise TimeoutError(f"it did not end within {LIMIT_S:g} s")
    time.sleep(0.005)


def iou(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float | None:
    """Of the persons in two masks; None where there is none in either."""
    union = np.count_nonzero((one == PERSON) | (other == PERSON))
    return np.count_nonzero((one == PERSON) & (other == PERSON)) / union if union else None


def judged(case: Case, seen: list[Seen], code: int, plain: list[Seen]) -> tuple[dict[str, Any], bool]:
    """The figures of one case, and whether they are as they should be."""
    stale = doubled = 0
    likeness = []
    numbers = [_most_like(mask, plain) for mask in seen] if case.live else case.shows
    for mask, number in zip(seen, numbers, strict=False):
        if case.iou_min is None:
            continue
        apart = np.abs(mask.pixels.astype(int) - plain[number].pixels).mean()
        stale += bool(apart > SAME_PICTURE)
        value = iou(mask.labels, plain[number].labels)
        if value is not None:
            likeness.append(value)
    for before, after in itertools.pairwise(seen):
        doubled += after.sequence <= before.sequence
        stale += after.time_ns <= before.time_ns
    mean = round(float(np.mean(likeness)), 4) if likeness else None
    figures = {
        "masks": len(seen), "expected": len(case.shows), "iou": mean, "stale": stale, "doubled": doubled,
        "exit": code,
    }  # fmt: skip
    good = len(seen) == len(case.shows) and not stale and not doubled and code == case.exit
    return figures, good and (mean is None or mean >= (case.iou_min or 0.0))


def _most_like(mask: Seen, plain: list[Seen]) -> int:
    return min(
        range(len(plain)), key=lambda k: float(np.abs(mask.pixels.astype(int) - plain[k].pixels).mean())
    )


# -- the cases -------------------------------------------------------------------------------------

Maker = Callable[[Path], Path]


def reads(maker: Maker, **options: Any) -> Callable[[Path], Callable[[], Any]]:
    """A file played once, every picture of it."""

    def make(folder: Path) -> Callable[[], Any]:
        path = maker(folder)
        return lambda: VideoCamera(
            VideoOptions(**({"path": str(path), "loop": False, "rate": "max"} | options))
        )

    return make


def address(path: str) -> Callable[[Path], Callable[[], Any]]:
    return lambda _: lambda: VideoCamera(VideoOptions(path=path, loop=False))


def writes(name: str, data: bytes) -> Maker:
    def maker(folder: Path) -> Path:
        (folder / name).write_bytes(data)
        return folder / name

    return maker


def folder_of(files: dict[str, bytes]) -> Maker:
    def maker(folder: Path) -> Path:
        for name, data in files.items():
            (folder / name).write_bytes(data)
        return folder

    return maker


def mounted(rotate: int, flip: bool) -> CameraConfig:
    return CameraConfig(rotate=rotate, flip=flip)


def films(shown: list[made.Picture]) -> Iterator[tuple[str, Case]]:
    every = list(range(len(shown)))
    for name, codec, options in (
        ("h264.mp4", "libx264", {}),
        ("h264.mkv", "libx264", {}),
        ("h264.ts", "libx264", {}),
        ("hevc.mp4", "libx265", {}),
        ("hevc-10bit.mkv", "libx265", {"pix_fmt": "yuv420p10le"}),
        ("mpeg4.avi", "mpeg4", {}),
        ("mpeg2.ts", "mpeg2video", {}),
        ("mjpeg.avi", "mjpeg", {"pix_fmt": "yuvj420p"}),
        ("vp8.webm", "libvpx", {}),
        ("vp9.webm", "libvpx-vp9", {}),
        ("ffv1.mkv", "ffv1", {}),
    ):
        yield (
            name.replace(".", "-"),
            Case(
                reads(lambda folder, n=name, c=codec, o=options: made.film(folder / n, shown, c, **o)), every
            ),
        )
    for rotation in (0, 90, 180, 270):
        for mirrored in (False, True):
            turn = Turn(rotation, mirrored)
            name = f"phone-{rotation}" + "-mirrored" * mirrored
            yield name, Case(reads(lambda f, t=turn: made.phone_film(f / "phone.mp4", shown, t)), every)
    for name, aspect, width in (
        ("2-1", Fraction(2, 1), 160),
        ("1-2", Fraction(1, 2), 640),
        ("4-3", Fraction(4, 3), 240),
    ):
        squeezed = [made.resized(picture, (width, 240)) for picture in shown]
        yield (
            f"sar-{name}",
            Case(
                reads(lambda f, s=squeezed, a=aspect: made.film(f / "sar.mp4", s, aspect=a)),
                every,
                iou_min=0.94,
            ),
        )
    turn = Turn(90)
    narrow = [made.resized(picture, (320, 120)) for picture in shown]  # lying it is half as wide
    yield (
        "sar-2-1-phone-90",
        Case(
            reads(lambda f: made.phone_film(f / "sar.mp4", narrow, turn, aspect=Fraction(2, 1))),
            every,
            iou_min=0.94,
        ),
    )


def joined(shown: list[made.Picture]) -> Iterator[tuple[str, Case]]:
    every = list(range(len(shown)))
    small = [made.resized(picture, (240, 180)) for picture in shown]

    def two(
        first: list[made.Picture], second: list[made.Picture], part: float, name: str, codec: str
    ) -> Maker:
        def maker(folder: Path) -> Path:
            options = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {}
            one = made.film(folder / f"1{name}", first, codec, **options).read_bytes()
            other = made.film(folder / f"2{name}", second, codec, **options).read_bytes()
            cut = int(len(one) * part) // 188 * 188 if part < 1 else len(one)
            (folder / f"joined{name}").write_bytes(one[:cut] + other)
            return folder / f"joined{name}"

        return maker

    yield "joined-ts", Case(reads(two(shown, shown, 1.0, ".ts", "libx264")), every * 2)
    yield (
        "joined-ts-two-sizes",
        Case(reads(two(shown, small, 1.0, ".ts", "libx264")), every * 2),
    )
    yield "joined-ts-mpeg2", Case(reads(two(shown, shown, 1.0, ".ts", "mpeg2video")), every * 2)
    yield (
        "joined-mjpeg-two-sizes",
        Case(reads(two(shown, small, 1.0, ".mjpeg", "mjpeg")), every * 2),
    )


def damaged(shown: list[made.Picture]) -> Iterator[tuple[str, Case]]:
    count = len(shown)
    every = list(range(count))
    fast = {"movflags": "faststart"}

    def hurt(codec: str, at: int, part: float = 1.0, name: str = "film.mp4") -> Maker:
        def maker(folder: Path) -> Path:
            options = {"pix_fmt": "yuvj420p"} if codec == "mjpeg" else {"b_frames": 0}
            path = made.film(folder / name, shown, codec, mux=fast, **options)
            start, size = made.packets(path)[at]
            made.overwrite(path, start + int(size * (1 - part)), int(size * part))
            return path

        return maker

    def cut(at: int, inside: int) -> Maker:
        def maker(folder: Path) -> Path:
            path = made.film(folder / "film.mp4", shown, b_frames=0, mux=fast)
            start, size = made.packets(path)[at]
            path.write_bytes(path.read_bytes()[: start + size * inside // 2])
            return path

        return maker

    def without(first: int, last: int) -> list[int]:
        return [number for number in every if not first <= number < last]

    group = made.GROUP
    yield "packet-h264", Case(reads(hurt("libx264", 9)), without(9, 2 * group))
    yield "packet-h264-half", Case(reads(hurt("libx264", 9, 0.6)), without(9, 2 * group))
    yield "packet-h264-key", Case(reads(hurt("libx264", group)), without(group, 2 * group))
    yield "packet-h264-last", Case(reads(hurt("libx264", count - 1)), every[:-1], exit=65)
    yield "packet-mpeg4", Case(reads(hurt("mpeg4", 9)), without(9, 2 * group))
    yield "packet-mjpeg", Case(reads(hurt("mjpeg", 9)), without(9, 10))
    yield "packet-mjpeg-half", Case(reads(hurt("mjpeg", 9, 0.5)), without(9, 10))
    yield (
        "two-threads",
        Case(
            reads(hurt("libx264", 9), decoder_threads=2),
            without(9, 2 * group),
        ),
    )
    yield "cut-in-a-packet", Case(reads(cut(10, 1)), every[:10], exit=65)
    yield "cut-between-packets", Case(reads(cut(10, 0)), every[:10], exit=65)
    yield (
        "mjpeg-hole",
        Case(
            reads(_mjpeg_with_cut_pictures(shown, {4: b"", 9: b"\xff\xd9"})), without(4, 5)[:8] + every[10:]
        ),
    )


def _mjpeg_with_cut_pictures(shown: list[made.Picture], ends: dict[int, bytes]) -> Maker:
    """A dump of JPEG pictures, some cut in half."""

    def maker(folder: Path) -> Path:
        data = b""
        for number, picture in enumerate(shown):
            whole = made.photo(picture, "JPEG")
            data += whole[: len(whole) // 2] + ends[number] if number in ends else whole
        (folder / "dump.mjpeg").write_bytes(data)
        return folder / "dump.mjpeg"

    return maker


def photos(shown: list[made.Picture]) -> Iterator[tuple[str, Case]]:
    first = shown[0]

    def photo(kind: str, orientation: int, **options: Any) -> bytes:
        return made.photo(made.lying(from_exif(orientation), first), kind, orientation, **options)

    for orientation in range(1, 9):
        yield f"exif-{orientation}-jpeg", Case(reads(writes("photo.jpg", photo("JPEG", orientation))), [0])
    for kind, suffix in (("PNG", "png"), ("WEBP", "webp"), ("TIFF", "tif")):
        yield f"exif-6-{suffix}", Case(reads(writes(f"photo.{suffix}", photo(kind, 6))), [0])
    yield "exif-6-big-endian", Case(reads(writes("photo.jpg", photo("JPEG", 6, order=">"))), [0])
    yield "cmyk-jpeg", Case(reads(writes("photo.jpg", photo("JPEG", 1, mode="CMYK"))), [0], iou_min=0.9)
    jpeg, png = photo("JPEG", 1), photo("PNG", 1)
    yield "half-jpeg", Case(reads(writes("half.jpg", jpeg[: len(jpeg) // 2])), [], exit=65)
    yield (
        "half-jpeg-with-end",
        Case(reads(writes("half.jpg", jpeg[: len(jpeg) // 2] + b"\xff\xd9")), [], exit=65),
    )
    yield "half-png", Case(reads(writes("half.png", png[: len(png) // 2])), [], exit=65)
    yield "png-100000-x-100000", Case(reads(writes("bomb.png", made.huge_png(100_000))), [], exit=65)
    yield "png-16000-x-16000", Case(reads(writes("bomb.png", made.huge_png(16_000))), [], exit=65)
    yield "png-1-x-1", Case(reads(writes("dot.png", made.photo(first[:1, :1], "PNG"))), [0], iou_min=None)
    moving = BytesIO()
    Image.fromarray(first).save(moving, "WEBP", save_all=True, append_images=[Image.fromarray(shown[9])])
    yield "animated-webp", Case(reads(writes("moves.webp", moving.getvalue())), [], exit=65)

    several = {f"{number:02}.jpg": made.photo(picture, "JPEG") for number, picture in enumerate(shown[:6])}
    yield "folder", Case(reads(folder_of(several)), list(range(6)))
    yield "folder-with-an-empty-file", Case(reads(folder_of(several | {"03.jpg": b""})), [0, 1, 2, 4, 5])
    yield "folder-first-is-bad", Case(reads(folder_of(several | {"00.jpg": b"no picture"})), [1, 2, 3, 4, 5])
    yield (
        "folder-last-is-half",
        Case(reads(folder_of(several | {"05.jpg": several["05.jpg"][:9000]})), [0, 1, 2, 3, 4]),
    )
    yield "folder-all-bad", Case(reads(folder_of(dict.fromkeys(several, b""))), [], exit=65)
    small = {
        f"{number:02}-small.jpg": made.photo(made.resized(shown[number], (240, 180)), "JPEG")
        for number in (1, 4)
    }
    yield "folder-two-sizes", Case(reads(folder_of(several | small)), [0, 1, 1, 2, 3, 4, 4, 5])
    yield "folder-empty", Case(reads(folder_of({})), [], exit=66)


def others(shown: list[made.Picture]) -> Iterator[tuple[str, Case]]:
    every = list(range(len(shown)))
    cover = made.photo(shown[0], "JPEG")
    yield "cover-picture", Case(reads(lambda folder: made.song(folder / "song.flac", cover)), [], exit=65)
    yield "text-as-mp4", Case(reads(writes("film.mp4", b"no film " * 500)), [], exit=65)
    yield "missing", Case(reads(lambda folder: folder / "none.mp4"), [], exit=66)
    yield "address-rtsp", Case(address("rtsp://user:secret@192.0.2.1/s"), [], exit=78)
    yield "address-http", Case(address("http://user:secret@192.0.2.1/v.mp4"), [], exit=78)
    rests = [number + 30 * (number > 2) for number in range(6)]
    at_file_rate = {"rate": "file"}
    yield "resting", Case(
        reads(lambda f: made.film(f / "rest.mkv", shown[:6], times=rests), **at_file_rate), every[:6],
        config=CameraConfig(stall_timeout_s=1.0),
    )  # fmt: skip
    yield "one-picture-in-3-s", Case(
        reads(lambda f: made.film(f / "slow.mkv", shown[:3], times=[0, 30, 60]), **at_file_rate), every[:3],
        config=CameraConfig(stall_timeout_s=2.0),
    )  # fmt: skip
    yield (
        "10000-a-second",
        Case(
            reads(lambda f: made.film(f / "fast.mp4", shown, fps=10_000, b_frames=0), **at_file_rate), every
        ),
    )
    jump = [number + 36_000 * (number > 2) for number in range(6)]
    yield (
        "jumping-times",
        Case(reads(lambda f: made.film(f / "jump.mkv", shown[:6], times=jump), **at_file_rate), every[:6]),
    )
    for rotate, flip in ((90, False), (180, False), (270, False), (0, True), (90, True)):
        turn = configured(rotate, flip)
        lying = [made.lying(turn, picture) for picture in shown]
        yield (
            f"mounted-{rotate}" + "-flip" * flip,
            Case(reads(lambda f, s=lying: made.film(f / "film.mp4", s)), every, config=mounted(rotate, flip)),
        )


def webcams(shown: list[made.Picture]) -> Iterator[tuple[str, Case]]:
    count = len(shown)
    whole = [made.photo(picture, "JPEG") for picture in shown]
    hour_ns = 3600 * 10**9

    def webcam(
        sent: list[bytes], frames: int, stamp: Callable[[int], int] = lambda time_ns: time_ns
    ) -> Callable[[Path], Callable[[], Any]]:
        def camera() -> Any:
            device, coming = FakeWebcam(("MJPG",), (made.SIZE,)), iter(sent)
            device.jpeg = lambda _: next(coming)
            device.stamp = stamp
            return Bounded(V4l2Camera(V4l2Options(), device.open, device.clock), frames)

        return lambda _: camera

    def cut(numbers: tuple[int, ...], end: bytes = b"") -> list[bytes]:
        return [data[: len(data) // 2] + end if n in numbers else data for n, data in enumerate(whole)]

    left = [number for number in range(count) if number not in (3, 9, 10)]
    yield "webcam", Case(webcam(whole, count), list(range(count)))
    yield "webcam-cut-pictures", Case(webcam(cut((3, 9, 10)), count - 3), left)
    yield "webcam-cut-pictures-with-end", Case(webcam(cut((3, 9, 10), b"\xff\xd9"), count - 3), left)
    sizes = [
        made.photo(made.resized(picture, (240, 180)), "JPEG") if number % 4 > 1 else whole[number]
        for number, picture in enumerate(shown)
    ]
    yield "webcam-changes-its-size", Case(webcam(sizes, count), list(range(count)))
    for name, stamp in (
        ("zero", lambda _: 0),
        ("constant", lambda _: 1000),
        ("an-hour-ahead", lambda time_ns: time_ns + hour_ns),
        ("going-back", lambda time_ns: hour_ns - time_ns),
    ):
        yield f"webcam-times-{name}", Case(webcam(whole[:8], 8, stamp), list(range(8)))
    upside_down = [made.photo(made.turned(Turn(180), picture), "JPEG") for picture in shown[:8]]
    yield "webcam-upside-down", Case(webcam(upside_down, 8), list(range(8)), config=mounted(180, False))


def networks(shown: list[made.Picture]) -> Iterator[tuple[str, Case]]:
    count = 2 * len(shown)
    for name, make in sources_network.sources(shown):

        def bounded(folder: Path, make: Callable[[Path], Callable[[], Any]] = make) -> Callable[[], Any]:
            camera = make(folder)
            return lambda: Bounded(camera(), count)

        yield name, Case(bounded, [0] * count, live=True)


def cases(shown: list[made.Picture]) -> dict[str, Case]:
    """All of them, by name."""
    found: dict[str, Case] = {}
    for kind in (films, joined, damaged, photos, others, webcams, networks):
        found |= dict(kind(shown))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", action="store_true", help="only the JSON object")
    parser.add_argument("--only", action="append", metavar="NAME", help="only this case; may be repeated")
    parser.add_argument("--list", action="store_true", help="the names of the cases")
    parser.add_argument("--log", action="store_true", help="what the daemon would log, on stderr")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO if given.log else logging.CRITICAL)
    shown = made.pictures()
    chosen = cases(shown)
    if given.list:
        print("\n".join(chosen))
        return 0
    chosen = {name: chosen[name] for name in given.only} if given.only else chosen
    config = from_dict({"accelerator": {"driver": "standin"}, "model": {"bundle": BUNDLE}}, "sources")
    network = make_network(make_setup(config, False))
    result: dict[str, Any] = {"cases": {}, "passed": 0, "failed": 0}
    with tempfile.TemporaryDirectory(prefix="gnetseg-sources-") as root:
        plain_folder = Path(root) / "plain"
        plain_folder.mkdir()
        everything = {f"{n:02}.png": made.photo(picture, "PNG") for n, picture in enumerate(shown)}
        camera = reads(folder_of(everything))(plain_folder)
        plain, _ = play(camera, CameraConfig(fps=0.0), network)
        for name, case in chosen.items():
            folder = Path(root) / name
            folder.mkdir()
            try:
                seen, code = play(case.make(folder), case.config or CameraConfig(fps=0.0), network)
                figures, good = judged(case, seen, code, plain)
            except Exception as error:  # a case that breaks is one that failed
                logging.exception("%s", name)
                figures, good = {"error": f"{type(error).__name__}: {error}"}, False
            finally:
                sources_network.SERVERS.close()
            result["cases"][name] = figures
            result["passed" if good else "failed"] += 1
            if not given.json or not good:
                print(f"{'ok ' if good else 'BAD'} {name:32} {figures}", file=sys.stderr, flush=True)
    finish(result, given.json)
    return 1 if result["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
