"""A fake of picamera2 and libcamera, as far as a camera loop needs them (written after 0.3.38).

    rig = Rig(pad_stride_to=256)
    with installed(rig):
        camera = Picamera2Camera()      # imports the fake now
        ...
        rig.stalled = True              # from now on no frame comes

The sensor is a Camera Module 2 (IMX219). A picture's luminance at (row, column) is
``(row + 2 * column + sequence) % 256`` with the sensor's sequence number; bytes of padding are 0xEE.
"""

# ruff: noqa: ARG002 - the signatures are those of the original

from __future__ import annotations

import mmap
import sys
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..cameras.pacing import Clock, MonotonicClock
from .hang import Hang

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

PADDING = 0xEE
PIXEL_ARRAY = (3280, 2464)

#: Sensor modes: size, its part of the pixel array, shortest frame in us.
MODES = (
    ((640, 480), (1000, 752, 1280, 960), 4855),
    ((1640, 1232), (0, 0, 3280, 2464), 23905),
    ((3280, 2464), (0, 0, 3280, 2464), 47183),
)
LONGEST_US = 11_767_556


class Rig:
    """What the fake camera does; change it at any time.

    Attributes
    ----------
    model : libcamera's name of the sensor
    present : whether there is a camera at all (False: unplugged, or never there)
    busy : another program holds it
    stalled : no frame comes, every wait runs into its limit
    error : raised by the next calls of the library
    fails : names of methods that raise, such as _initialize_camera, start, cancel_all_and_flush, close
    hang : methods that never return, such as __init__, start, wait, close
    flap_after_frames : so many frames after its start it is lost and comes back (0: never)
    absent_looks : how often libcamera finds no camera before it has come back
    owner : ``id`` of the object that has acquired the camera; a second one is refused
    unusable : how many of the next frames have a buffer too short to hold them
    lose : how many frames the sensor loses before the next one
    skip : how many frames complete before the next one while nobody asks for them
    pad_stride_to : rows are padded to a multiple of so many bytes
    has_scaler_crops : whether libcamera knows the control ScalerCrops
    outstanding : requests handed out and not yet released
    cameras : the objects made so far
    """

    def __init__(
        self, pad_stride_to: int = 64, has_scaler_crops: bool = False, clock: Clock | None = None
    ) -> None:
        self.model = "imx219"
        self.present = True
        self.busy = False
        self.stalled = False
        self.error: Exception | None = None
        self.fails: set[str] = set()
        self.hang = Hang()
        self.flap_after_frames = self.absent_looks = 0
        self.owner: int | None = None
        self.looks_left = 0
        self.unusable = 0
        self.lose = 0
        self.skip = 0
        self.pad_stride_to = pad_stride_to
        self.has_scaler_crops = has_scaler_crops
        self.clock: Clock = clock if clock is not None else MonotonicClock()
        self.outstanding = 0
        self.cameras: list[Any] = []


def luminance(sequence: int, width: int, height: int) -> NDArray[np.uint8]:
    """(height, width) uint8: what frame ``sequence`` of the fake sensor shows."""
    rows, columns = np.arange(height)[:, None], np.arange(width)
    return ((rows + 2 * columns + sequence) % 256).astype(np.uint8)


class Transform:
    """As ``libcamera.Transform``."""

    def __init__(self, rotation: int = 0, hflip: bool = False, vflip: bool = False, transpose: bool = False):
        self.hflip, self.vflip, self.rotation, self.transpose = hflip, vflip, rotation, transpose


class ColorSpace:
    """As ``libcamera.ColorSpace``: full-range BT.601 is Sycc."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def Sycc(cls) -> ColorSpace:  # noqa: N802 - libcamera's name
        return cls("Sycc")

    @classmethod
    def Smpte170m(cls) -> ColorSpace:  # noqa: N802 - libcamera's name
        return cls("Smpte170m")


class Buffer:
    """A libcamera.FrameBuffer; hashable by identity, as the original."""

    def __init__(self) -> None:
        self.metadata = SimpleNamespace(sequence=0)


class Job:
    """A promise of a frame."""

    def __init__(self) -> None:
        self.cancelled = False


class CompletedRequest:
    """As ``picamera2.request.CompletedRequest``."""

    def __init__(self, request: Any, picam2: FakePicamera2) -> None:
        self.request = request
        self.picam2 = picam2
        self.ref_count = 1
        self.stream_map = picam2.stream_map
        picam2.rig.outstanding += 1

    def acquire(self) -> None:
        if self.ref_count == 0:
            raise RuntimeError("CompletedRequest: acquiring lock with ref_count 0")
        self.ref_count += 1

    def release(self) -> None:
        self.ref_count -= 1
        if self.ref_count < 0:
            raise RuntimeError("CompletedRequest: lock now has negative ref_count")
        if self.ref_count == 0:
            self.picam2.rig.outstanding -= 1
            self.picam2.free.append(next(iter(self.request.buffers.values())))
            self.request = None


class FakePicamera2:
    """As ``picamera2.Picamera2``, the same signatures."""

    rig: ClassVar[Rig]

    def __init__(
        self, camera_num: int = 0, verbose_console: Any = None, tuning: Any = None, allocator: Any = None
    ) -> None:
        self.is_open = False
        self._check("__init__")
        if camera_num >= len(self.global_camera_info()):
            raise RuntimeError(f"No camera number {camera_num} found")
        try:
            if self.rig.busy:
                raise OSError(16, "Device or resource busy")
            if self.rig.owner is not None:
                raise RuntimeError("Camera in Running state trying acquire() requiring state Available")
        except (OSError, RuntimeError) as error:
            raise RuntimeError("Camera __init__ sequence did not complete.") from error
        self.rig.owner = id(self)
        self._check("_initialize_camera")  # one that fails here holds the camera until it is forgotten
        self.camera_config: dict[str, Any] = {}
        self.camera_properties = {
            "Model": self.rig.model,
            "PixelArraySize": PIXEL_ARRAY,
            "ColorFilterArrangement": 0,
        }
        self.stream_map: dict[str, Any] = {}
        self.allocator = SimpleNamespace(mapped_buffers={})
        self.free: list[Buffer] = []
        #: The buffer of the small stream that is filled together with one of the main stream.
        self._mates: dict[Buffer, Buffer] = {}
        self.started = False
        self.is_open = True
        self.controls: dict[str, Any] = {}
        self._mode = MODES[0]
        self._jobs: list[Job] = []
        self._given = 0  # frames since the start
        self._lost = False
        self._sensor_sequence = -1
        self._isp_sequence = -1
        self._last_ns = 0
        self.rig.cameras.append(self)

    @staticmethod
    def global_camera_info() -> list[dict[str, Any]]:
        raise NotImplementedError  # installed() binds it to a rig

    @property
    def camera_controls(self) -> dict[str, tuple[Any, Any, Any]]:
        crop = self._mode[1]
        controls: dict[str, tuple[Any, Any, Any]] = {
            "FrameDurationLimits": (self._mode[2], LONGEST_US, 33333),
            "ScalerCrop": ((0, 0, 64, 64), crop, crop),
        }
        if self.rig.has_scaler_crops:
            controls["ScalerCrops"] = ((0, 0, 64, 64), crop, crop)
        return controls

    def create_video_configuration(
        self,
        main: Any = {},  # noqa: B006 - as the original
        lores: Any = None,
        raw: Any = {},  # noqa: B006
        transform: Any = Transform(),  # noqa: B008
        colour_space: Any = None,
        buffer_count: int = 6,
        controls: Any = {},  # noqa: B006
        display: Any = "main",
        encode: Any = "main",
        queue: bool = True,
        sensor: Any = {},  # noqa: B006
        use_case: str = "video",
    ) -> dict[str, Any]:
        self._check("create_video_configuration")
        for key in main:
            if key not in ("format", "size", "stride", "preserve_ar"):
                raise ValueError(f"Bad key {key!r}")
        return {
            "use_case": use_case,
            "transform": transform,
            "colour_space": colour_space,
            "buffer_count": buffer_count,
            "queue": queue,
            "main": {"format": "XBGR8888", "size": (1280, 720), "preserve_ar": True} | main,
            "lores": lores,
            "raw": raw,
            "controls": {"FrameDurationLimits": (33333, 33333)} | controls,
            "sensor": sensor,
            "display": display,
            "encode": encode,
        }

    def configure(self, camera_config: Any = None) -> None:
        self._check("configure")
        if self.started:
            raise RuntimeError("Camera must be stopped before configuring")
        config = dict(camera_config, main=dict(camera_config["main"]))
        if not isinstance(config["colour_space"], ColorSpace):
            raise RuntimeError("Colour space has incorrect type")
        width, height = config["main"]["size"]
        if width % 2 or height % 2:
            raise RuntimeError("width and height should be even")
        wanted = (config["sensor"] or {}).get("output_size", (width, height))
        self._mode = min(MODES, key=lambda mode: abs(mode[0][0] - wanted[0]) + abs(mode[0][1] - wanted[1]))
        samples = 3 if config["main"]["format"] == "BGR888" else 1
        pad = self.rig.pad_stride_to
        stride = -(-width * samples // pad) * pad
        size = stride * height if samples == 3 else stride * height * 3 // 2
        config["main"] |= {"stride": stride, "framesize": size}
        self._unmap()
        self.stream_map = {"main": object(), "lores": None, "raw": None}
        self.free = [Buffer() for _ in range(config["buffer_count"])]
        self.allocator.mapped_buffers = {buffer: mmap.mmap(-1, size) for buffer in self.free}
        if config["lores"] is not None:
            self._configure_lores(config)
        self.camera_config = config
        self.controls = dict(config["controls"])

    def _configure_lores(self, config: dict[str, Any]) -> None:
        lores = config["lores"] = dict(config["lores"])
        (width, height), (main_width, main_height) = lores["size"], config["main"]["size"]
        if lores["format"] != "YUV420" or width > main_width or height > main_height:
            raise RuntimeError("lores stream dimensions may not exceed main stream, and it must be YUV")
        pad = self.rig.pad_stride_to
        lores |= {"stride": -(-width // pad) * pad}
        self.stream_map["lores"] = object()
        self._mates = {buffer: Buffer() for buffer in self.free}
        size = lores["stride"] * height * 3 // 2
        self.allocator.mapped_buffers |= {mate: mmap.mmap(-1, size) for mate in self._mates.values()}

    def set_controls(self, controls: Any) -> None:
        self._check("set_controls")
        for name in controls:
            if name not in self.camera_controls:
                raise RuntimeError(f"Control {name} is not advertised by libcamera")
        self.controls |= controls

    def start(self, config: Any = None, show_preview: Any = False) -> None:
        self._check("start")
        if config is not None:
            self.configure(config)
        if not self.camera_config:
            raise RuntimeError("Camera has not been configured")
        self.started = True
        self._given = 0
        self._last_ns = self.rig.clock.now_ns()

    def capture_request(self, wait: Any = None, signal_function: Any = None, flush: Any = None) -> Any:
        self._check("capture_request")
        job = Job()
        self._jobs.append(job)
        return job if wait is False else self.wait(job)

    def wait(self, job: Job, timeout: float | None = None) -> Any:
        self._check("wait")
        rig = self.rig
        if rig.flap_after_frames and self._given >= rig.flap_after_frames and not self._lost:
            self._lost = True
            rig.looks_left = rig.absent_looks
        if rig.stalled or self._lost or not rig.present or not self.started or not self.free:
            if timeout is None:
                raise AssertionError("this wait would never return")
            rig.clock.sleep_until(rig.clock.now_ns() + round(timeout * 1e9))
            raise TimeoutError
        self._jobs.remove(job)
        self._given += 1
        frame_ns = 1000 * self.controls["FrameDurationLimits"][0]
        # Frames that went by while nobody asked were completed and thrown away (queue=False).
        missed = max(0, (rig.clock.now_ns() - self._last_ns) // frame_ns - 1)
        self._sensor_sequence += 1 + rig.lose + rig.skip + missed
        self._isp_sequence += 1 + rig.skip + missed
        self._last_ns += frame_ns * (1 + rig.lose + rig.skip + missed)
        rig.lose = rig.skip = 0
        rig.clock.sleep_until(self._last_ns)
        return CompletedRequest(self._complete(), self)

    def cancel_all_and_flush(self) -> None:
        self._check("cancel_all_and_flush", outside=False)
        for job in self._jobs:
            job.cancelled = True
        self._jobs = []

    def stop(self) -> None:
        self._check("stop", outside=False)
        self.started = False

    def close(self) -> None:
        if not self.is_open:
            return
        if self._jobs:
            raise AssertionError("closed with a job still waiting: the real one might wait for ever")
        self._check("close", outside=False)
        self.stop()
        self._unmap()  # BufferError when someone still holds a view of a buffer
        self.is_open = False
        self.rig.owner = None

    def __del__(self) -> None:
        if self.rig.owner == id(self):
            self.rig.owner = None

    def _check(self, method: str, outside: bool = True) -> None:
        self.rig.hang.here(method)
        if outside and self.rig.error is not None:
            raise self.rig.error
        if method in self.rig.fails:
            raise RuntimeError(f"{method} failed")

    def _unmap(self) -> None:
        for memory in self.allocator.mapped_buffers.values():
            memory.close()
        self.allocator.mapped_buffers = {}

    def _complete(self) -> Any:
        buffer = self.free.pop(0)
        buffer.metadata.sequence = self._isp_sequence
        if self.rig.unusable:
            self.rig.unusable -= 1
            self.allocator.mapped_buffers[buffer] = mmap.mmap(-1, 64)
        else:
            self._paint(self.allocator.mapped_buffers[buffer], self.camera_config["main"])
        timestamp = {
            ControlId("ExposureTime"): 8000,
            ControlId("SensorTimestamp"): self._last_ns,
        }
        buffers = {self.stream_map["main"]: buffer}
        if self.stream_map["lores"] is not None:
            buffers[self.stream_map["lores"]] = mate = self._mates[buffer]
            mate.metadata.sequence = self._isp_sequence
            self._paint(self.allocator.mapped_buffers[mate], self.camera_config["lores"])
        return SimpleNamespace(buffers=buffers, metadata=timestamp)

    def _paint(self, memory: mmap.mmap, main: dict[str, Any]) -> None:
        (width, height), stride = main["size"], main["stride"]
        luma = luminance(self._sensor_sequence, width, height)
        flat = np.frombuffer(memory, np.uint8)
        flat[:] = PADDING
        rows = flat[: stride * height].reshape(height, stride)
        if main["format"] == "BGR888":
            rows[:, : width * 3] = np.dstack([luma, luma // 2, 255 - luma]).reshape(height, width * 3)
            return
        rows[:, :width] = luma
        chroma = flat[stride * height :].reshape(2, height // 2, stride // 2)
        chroma[0, :, : width // 2] = luma[::2, ::2] // 2
        chroma[1, :, : width // 2] = 255 - luma[::2, ::2] // 2


class ControlId:
    """A libcamera.ControlId: has a name, hashable by identity."""

    def __init__(self, name: str) -> None:
        self.name = name


@contextmanager
def installed(rig: Rig) -> Iterator[Rig]:
    """While it lasts, ``import picamera2`` and ``import libcamera`` give the fake of this rig."""

    def global_camera_info() -> list[dict[str, Any]]:
        if rig.error is not None:
            raise rig.error
        if not rig.present or rig.looks_left:
            rig.looks_left = max(0, rig.looks_left - 1)
            return []
        return [{"Model": rig.model, "Location": 2, "Rotation": 180, "Id": "i2c", "Num": 0}]

    bound = type(
        "Picamera2", (FakePicamera2,), {"rig": rig, "global_camera_info": staticmethod(global_camera_info)}
    )
    picamera2, libcamera = ModuleType("picamera2"), ModuleType("libcamera")
    picamera2.Picamera2 = bound  # type: ignore[attr-defined]
    libcamera.Transform, libcamera.ColorSpace = Transform, ColorSpace  # type: ignore[attr-defined]
    before = {name: sys.modules.get(name) for name in ("picamera2", "libcamera")}
    sys.modules.update({"picamera2": picamera2, "libcamera": libcamera})
    try:
        yield rig
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module
