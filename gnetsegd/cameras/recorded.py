"""The pictures of a recording as a camera: what a network was shown, for another one (docs/recording.md)."""

from __future__ import annotations

import os
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import numpy as np

from ..config import option
from ..errors import ConfigError, MessageError, PermanentError
from ..message import parse_header, parse_image
from ..recordings.reading import Recording
from . import exif, pyav
from .clips import Gap, Picture, named
from .geometry import View
from .losses import DAMAGED
from .pacing import NS_PER_S
from .planes import rows_of
from .video import LONGEST_REST_S, VideoCamera

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..frame import FrameSpec
    from ..recordings.reading import Recorded
    from . import CaptureRequest


#: Pictures in colour begin within this of the first luminance, where there are any.
_LOOK_NS = 30_000_000_000


@attrs.frozen
class RecordedOptions:
    """``[camera.recorded]``"""

    path: str = option("", "a recording that gnetsegctl record has made with --picture or --frames")
    rate: str = option(
        "file",
        "file: as it was; fps: at camera.fps; max: every picture, as fast as taken",
        choices=("file", "fps", "max"),
    )
    loop: bool = option(True, "begin again at the end; otherwise the daemon ends there")
    camera: str = option("", "whose pictures, where a recording has several cameras; empty: the first's")


class RecordedCamera(VideoCamera):
    """Played as a film is. Pictures in colour (``image/``) serve any network, those that a network
    saw (``frame/``) such as take Y.
    """

    Options: ClassVar[type[Any]] = RecordedOptions

    def _source(self, request: CaptureRequest) -> Any:
        options: Any = self._options
        if not options.path:
            raise ConfigError("recorded: no recording is named; set camera.recorded.path")
        return RecordedClip(Path(options.path), options.camera, request.spec)


class RecordedClip:
    """A recording's pictures as those of a ``Clip``.

    ``PermanentError`` for a file that is no recording, and for one without pictures that would serve.
    """

    is_pictures = False
    #: A whole one and one that was cut end alike: with their last whole message.
    damage: PermanentError | None = None

    def __init__(self, path: Path, camera: str, spec: FrameSpec) -> None:
        self.path = path
        with suppress(OSError):  # of a folder that may not be looked into the next one tells
            if not path.exists():
                raise PermanentError(f"{named(path)}: there is no such recording", os.EX_NOINPUT)
        self._av = pyav.load()
        self._recording = Recording(path)
        self._spec = spec
        first = self._choose(camera)
        self._kind, self._camera = first.kind, first.camera
        self.fps = self._rate()

    def _choose(self, camera: str) -> Recorded:
        """The first message of the kind that is taken."""
        frame = None
        for message in self._recording:
            if frame is not None and message.log_ns - frame.log_ns > _LOOK_NS:
                break
            if camera not in ("", message.camera):
                continue
            if message.kind == "image":
                return message
            if message.kind == "frame" and frame is None:
                frame = message
        if frame is None:
            of = f" of camera {camera}" if camera else ""
            raise PermanentError(
                f"{named(self.path)}: has no pictures{of}; record them with --picture or --frames",
                os.EX_DATAERR,
            )
        if self._spec.pixel_format != "Y":
            raise PermanentError(
                f"{named(self.path)}: has only the luminance that a network saw, and this one takes "
                f"{self._spec.pixel_format}; record with --picture, or set model.bundle to one that takes Y",
                os.EX_DATAERR,
            )
        return frame

    def _messages(self) -> Iterator[Recorded]:
        return (
            message
            for message in self._recording
            if (message.kind, message.camera) == (self._kind, self._camera)
        )

    def _rate(self) -> float:
        """By the first pictures' times; 0 where there is but one.

        Between two runs of its daemon a clock may have been set, by years: that is no step.
        """
        times = [message.log_ns for message, _ in zip(self._messages(), range(32), strict=False)]
        steps = [after - before for before, after in pairwise(times)]
        steps = [step_ns for step_ns in steps if 0 < step_ns <= LONGEST_REST_S * NS_PER_S]
        return len(steps) * NS_PER_S / sum(steps) if steps else 0.0

    def pictures(self) -> Iterator[Picture | Gap | None]:
        """From the first; one that cannot be decoded is a gap."""
        decoder = self._av.CodecContext.create("mjpeg", "r")
        decoder.options = pyav.options_of("mjpeg")
        found = False
        for message in self._messages():
            try:
                picture = self._decoded(message, decoder)
            except (self._av.FFmpegError, MessageError, ValueError) as error:
                yield Gap(DAMAGED, f"{named(self.path)}: a picture cannot be read ({error})")
                continue
            found = True
            yield picture
        if not found:
            raise PermanentError(f"{named(self.path)}: not one of its pictures can be read", os.EX_DATAERR)

    def _decoded(self, message: Recorded, decoder: Any) -> Picture:
        time_s = message.log_ns / 1e9
        if message.kind == "image":
            jpeg = message.data[parse_image(message.data).payload_offset :]
            images = decoder.decode(self._av.Packet(jpeg))
            if not images or images[0].is_corrupt:
                raise ValueError("it is damaged")
            return Picture(images[0], time_s, self.path, View(exif.turn_of(jpeg)))
        header = parse_header(message.data)
        width, height = header.format.width, header.format.height
        luma = np.frombuffer(message.data, np.uint8, offset=header.payload_offset).reshape(height, -1)
        image = self._av.VideoFrame(width, height, "gray")
        plane = image.planes[0]
        np.copyto(rows_of(plane, 0, plane.line_size, width, height), luma[:, :width])
        return Picture(image, time_s, self.path)
