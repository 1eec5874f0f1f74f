"""``auto``: a CSI camera by picamera2 if there is one, else the first webcam, else the one that comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from ..errors import AbsentError, PermanentError, TransientError
from . import Camera, CameraInfo, CaptureRequest, discover
from .v4l2 import V4l2Camera, V4l2Options

if TYPE_CHECKING:
    from ..frame import Frame


@attrs.frozen
class AutoOptions:
    """``[camera.auto]``; the tables of the drivers that it takes hold here, too."""


class AutoCamera:
    """Chosen at each ``open``; then that camera's, call by call."""

    Options: ClassVar[type[Any]] = AutoOptions
    #: The tables ``[camera.picamera2]`` and ``[camera.v4l2]`` hold here.
    uses: ClassVar[tuple[str, ...]] = ("picamera2", "v4l2")
    makes_pictures: ClassVar[bool] = True
    request_limit_s: ClassVar[float] = V4l2Camera.request_limit_s

    def __init__(self, options: dict[str, Any]) -> None:
        """``options``: of the drivers, by name. Imports picamera2 where it is installed."""
        self._options = options
        self._camera: Any = None
        self._why_no_csi = "python3-picamera2 is not installed"
        self._csi: Camera | None = None
        if discover.has_picamera2():
            from .picamera2 import Picamera2Camera

            try:
                self._csi = Picamera2Camera(options["picamera2"])
            except PermanentError as error:
                self._why_no_csi = str(error)

    @classmethod
    def from_options(cls, driver: str, options: dict[str, Any]) -> AutoCamera:
        """One made from the tables of the configuration, by name."""
        del driver
        return cls(options)

    def open(self, request: CaptureRequest) -> CameraInfo:
        """``AbsentError``: none is here yet, or none that this user may open. Else as the camera's own."""
        self.close()
        if self._csi is not None:
            try:
                return self._begin(self._csi, request)
            except AbsentError:
                self._why_no_csi = "none is connected"
        wanted: V4l2Options = self._options["v4l2"]
        named = wanted.device != V4l2Options().device
        webcams, refused = discover.webcams()
        if named or webcams:
            path = wanted.device if named else webcams[0].path
            return self._begin(V4l2Camera(attrs.evolve(wanted, device=path)), request)
        told = f"no CSI camera ({self._why_no_csi}) and no webcam"
        if refused:
            told += f" ({refused[0].path}: {refused[0].reason})"
        raise AbsentError(f"there is no camera: {told}; plug one in, gnetsegctl cameras shows what is here")

    def _begin(self, camera: Camera, request: CaptureRequest) -> CameraInfo:
        if not getattr(camera, "makes_pictures", False):
            request = request._replace(picture_width=0)
        info = camera.open(request)
        self._camera = camera
        return info

    def capture(self, frame: Frame) -> None:
        if self._camera is None:
            raise TransientError("the camera is not open")
        self._camera.capture(frame)

    @property
    def info(self) -> CameraInfo | None:
        found: CameraInfo | None = getattr(self._camera, "info", None)
        return found

    @property
    def lost(self) -> dict[str, int]:
        found: dict[str, int] = getattr(self._camera, "lost", {})
        return found

    @property
    def wants_picture(self) -> bool:
        return bool(getattr(self._camera, "wants_picture", False))

    @wants_picture.setter
    def wants_picture(self, wanted: bool) -> None:
        if self._camera is not None:
            self._camera.wants_picture = wanted

    def picture(self) -> Any:
        return self._camera.picture()

    def close(self) -> None:
        camera, self._camera = self._camera, None
        if camera is not None:
            camera.close()
