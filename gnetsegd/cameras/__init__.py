"""Cameras: each one file, found by name through the entry-point group ``gnetsegd.cameras``.

A camera knows nothing of the network, of ZeroMQ or of other cameras. The camera thread calls
``open`` once, ``capture`` again and again, and ``close``; after any error it is closed and a fresh
object of the same class is made.
"""

from __future__ import annotations

from typing import Any, ClassVar, NamedTuple, Protocol

from ..config import CameraConfig
from ..frame import Frame, FrameSpec, Geometry
from .turn import UPRIGHT, Turn, configured

GROUP = "gnetsegd.cameras"

#: To open a camera may take so much longer than one ``capture``, where a driver can say so itself.
OPEN_EXTRA_S = 1.0

GEOMETRY_MODES = ("center-crop", "letterbox", "stretch")


class CaptureRequest(NamedTuple):
    """What the road wants of a camera.

    ``fps`` is the wanted rate, 0 for the camera's own; ``geometry`` is one of ``GEOMETRY_MODES``;
    ``timeout_s`` is how long one ``capture`` may wait for a frame, all its waiting together. ``turn`` is
    how the camera is mounted: applied after what the picture says of itself, before it is fitted.
    ``picture_width`` is how wide pictures for people are wanted, in pixels; 0 where they are switched off,
    and of cameras whose class does not set ``makes_pictures`` to True.
    """

    spec: FrameSpec
    fps: float
    geometry: str
    timeout_s: float
    turn: Turn = UPRIGHT
    picture_width: int = 0

    @classmethod
    def of(
        cls, spec: FrameSpec, config: CameraConfig, timeout_s: float, picture_width: int = 0
    ) -> CaptureRequest:
        """What ``[camera]`` wants."""
        turn = configured(config.rotate, config.flip)
        return cls(spec, config.fps, config.geometry, timeout_s, turn, picture_width)


class CameraInfo(NamedTuple):
    """What an opened camera gives: its rate (0 if unknown), what the frame shows, its own words.

    A ``live`` camera goes on whether its frames are taken or not: the newest frame wins. From one
    that is not live (a file read as fast as possible) every frame is taken: it is asked for the
    next one only when the road has room. One that would begin anew after a sleep, and so give again
    what it gave before, sets ``may_sleep`` to False: after an error it is not opened again, either. One
    that ``rests`` keeps a time of its own, whatever ``stall_timeout_s`` says.
    """

    fps: float
    geometry: Geometry
    description: str
    live: bool = True
    may_sleep: bool = True
    rests: bool = False


class Camera(Protocol):
    """One camera. Some attributes are optional. ``info``: the ``CameraInfo`` that holds for the frame that
    ``capture`` has just filled, the same object as long as nothing changes (else what ``open`` returned
    holds for all). ``lost``: a dict of how many pictures it lost, by kind in one word. ``picture()`` and
    ``wants_picture`` (a plain bool): while somebody wants pictures in colour the latter is set before each
    ``capture``, and the former asked after it, once the frame is on its way, for a ``FullPicture`` of that
    very frame (None where there is none). Of other cameras people see what the network sees.

    Its constructor takes an instance of its ``Options`` (an attrs class). One that is made of others
    names them in ``uses``, and ``from_options(driver, options)`` makes it from all their tables.

    The constructor imports what the driver always needs, which may take seconds (``PermanentError``
    where it is missing), and touches no device: that is for ``open``, which has a limit.

    A class may set ``request_limit_s``, in s: the kernel ends each request to a device that hangs after so
    long at most. ``open`` and ``close`` may then take so much longer before they are taken for blocked.
    """

    #: attrs class of the table ``[camera.<name>]``; fields made with ``gnetsegd.config.option``
    Options: ClassVar[type[Any]]

    def open(self, request: CaptureRequest) -> CameraInfo:
        """Start the stream.

        Raises ``AbsentError`` where the camera is simply not there (yet), ``PermanentError`` (with a
        sysexits code) for what a person has to mend, such as a file that is not there or a package
        that is missing, and ``TransientError`` for what may come back.
        """

    def capture(self, frame: Frame) -> None:
        """Wait for the next frame and fill ``pixels``, ``sequence``, ``sensor_timestamp_ns``.

        ``sequence`` is the camera's own number: it also counts what the camera lost, and goes on
        rising by exactly 1 a frame otherwise. Raises ``CameraStalled`` when no frame came within
        ``timeout_s``, ``NotYet`` when none is due so soon, ``EndOfVideo`` after the last frame of a
        source that ends, or ``TransientError``.
        """

    def close(self) -> None:
        """Stop the stream and free the device; may be called at any time and more than once.

        Never raises: it is called while an error is on its way, which must not be lost.
        """
