"""From gnetsegd's masks to the fields of ROS messages. No ROS is needed for it.

``make(name, **fields)`` makes a message. Arrays are numpy's (uint8, float64). Stamps are the time
of exposure, in the time of the system's clock.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from gnetsegd.client import NoData, ReceivedMask
from gnetsegd.message import TEXT_CHARACTERS
from gnetsegd.text import clean

Make = Callable[..., Any]

#: diagnostic_msgs/DiagnosticStatus.
OK, WARN, ERROR, STALE = 0, 1, 2, 3
_NS = 1_000_000_000
#: What a stamp's seconds hold: 1901 to 2038.
_SECONDS = 1 << 31


@dataclass(frozen=True)
class Intrinsics:
    """Of the sensor's whole upright picture, in its pixels; all 0: nobody has calibrated it.

    ``ValueError`` for numbers that no camera has.
    """

    fx: float = 0.0
    fy: float = 0.0
    cx: float = 0.0
    cy: float = 0.0

    def __post_init__(self) -> None:
        numbers = (self.fx, self.fy, self.cx, self.cy)
        focal = (self.fx > 0 and self.fy > 0) or self.fx == self.fy == 0
        if not focal or not all(map(math.isfinite, numbers)):
            raise ValueError(
                "the parameters fx, fy, cx and cy are {}, {}, {} and {}; give fx and fy in pixels, or leave "
                "all of them at 0".format(*numbers)
            )


def header(make: Make, time_ns: int, frame_id: str) -> Any:
    """``time_ns`` since 1970. ``ValueError`` for a time that ROS' stamps do not hold."""
    sec, nanosec = divmod(time_ns, _NS)
    if not -_SECONDS <= sec < _SECONDS:
        raise ValueError(
            f"the time {sec} s since 1970 is beyond what a stamp of ROS holds; set the clock of the daemon's "
            "machine"
        )
    stamp = make("builtin_interfaces/msg/Time", sec=sec, nanosec=nanosec)
    return make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)


def mask_image(make: Make, mask: ReceivedMask, frame_id: str) -> Any:
    """sensor_msgs/Image, mono8: the label of each pixel, as ``label_info`` names them."""
    labels = np.ascontiguousarray(mask.labels)
    return make(
        "sensor_msgs/msg/Image",
        header=header(make, mask.wall_time_ns, frame_id),
        height=mask.height,
        width=mask.width,
        encoding="mono8",
        is_bigendian=0,
        step=mask.width,
        data=labels.reshape(-1),
    )


def label_info(make: Make, info: dict[str, Any], time_ns: int, frame_id: str) -> Any:
    """vision_msgs/LabelInfo: the name of each label. There is no confidence, hence no threshold."""
    # Names come from a network's file: half a surrogate pair, say, is no text of ROS.
    classes = [
        make("vision_msgs/msg/VisionClass", class_id=number, class_name=clean(name))
        for number, name in enumerate(info["labels"])
    ]
    return make(
        "vision_msgs/msg/LabelInfo",
        header=header(make, time_ns, frame_id),
        class_map=classes,
        threshold=0.0,
    )


def picture(make: Make, mask: ReceivedMask, frame_id: str) -> Any | None:
    """sensor_msgs/CompressedImage: the camera's whole picture, a JPEG; None where it did not come with it."""
    if mask.jpeg is None:
        return None
    return make(
        "sensor_msgs/msg/CompressedImage",
        header=header(make, mask.wall_time_ns, frame_id),
        format="jpeg",
        data=np.frombuffer(mask.jpeg, np.uint8),
    )


def camera_info(make: Make, mask: ReceivedMask, intrinsics: Intrinsics, frame_id: str) -> Any:
    """sensor_msgs/CameraInfo of the mask's pixels: the intrinsics, cropped and scaled as the mask is.

    All of K and P is 0 where the intrinsics are (uncalibrated, as sensor_msgs has it), or where the daemon
    does not say which part of which picture the mask shows.
    """
    place = mask.geometry
    k = np.zeros((3, 3))
    is_known = min(place.width, place.height) > 0 and min(place.sensor_width, place.sensor_height) > 0
    if intrinsics.fx and intrinsics.fy and is_known:
        # Pixels of the mask for each of the sensor's.
        scale_x = mask.width / (place.width * place.sensor_width)
        scale_y = mask.height / (place.height * place.sensor_height)
        k[0, 0], k[1, 1], k[2, 2] = intrinsics.fx * scale_x, intrinsics.fy * scale_y, 1.0
        # A pixel's centre is at a whole number: half a pixel lies between the two grids.
        k[0, 2] = (intrinsics.cx + 0.5 - place.x * place.sensor_width) * scale_x - 0.5
        k[1, 2] = (intrinsics.cy + 0.5 - place.y * place.sensor_height) * scale_y - 0.5
    if not np.isfinite(k).all():
        k = np.zeros((3, 3))
    r = np.eye(3) if k.any() else np.zeros((3, 3))
    roi = make(
        "sensor_msgs/msg/RegionOfInterest", x_offset=0, y_offset=0, height=0, width=0, do_rectify=False
    )
    return make(
        "sensor_msgs/msg/CameraInfo",
        header=header(make, mask.wall_time_ns, frame_id),
        height=mask.height,
        width=mask.width,
        distortion_model="plumb_bob",
        d=np.zeros(5),
        k=k.reshape(-1),
        r=r.reshape(-1),
        p=np.hstack([k, np.zeros((3, 1))]).reshape(-1),
        binning_x=0,
        binning_y=0,
        roi=roi,
    )


def diagnostics(
    make: Make, name: str, status: dict[str, Any] | None, no_data: NoData | None, time_ns: int
) -> Any:
    """diagnostic_msgs/DiagnosticArray. No data is an ERROR with its reason, a stand-in a WARN.

    ``status`` is the daemon's newest; its texts, which a device or a file may have said, are cleaned.
    """
    status = status or {}
    level, words = OK, f"{status.get('fps', 0.0):.1f} masks per second"
    if no_data is not None:
        level, words = ERROR, clean(no_data.reason, TEXT_CHARACTERS)
    elif status.get("fallback"):
        level, words = WARN, clean(status.get("reason", ""), TEXT_CHARACTERS) or "on the stand-in"
    counters = status.get("counters", {})
    facts = {"state": status.get("state", ""), "backend": status.get("backend", ""), **counters}
    values = [
        make("diagnostic_msgs/msg/KeyValue", key=clean(key), value=clean(str(value)))
        for key, value in facts.items()
    ]
    told = make(
        "diagnostic_msgs/msg/DiagnosticStatus",
        level=level,
        name=name,
        message=words,
        hardware_id=clean(str(status.get("camera_device", {}).get("description", ""))),
        values=values,
    )
    return make("diagnostic_msgs/msg/DiagnosticArray", header=header(make, time_ns, ""), status=[told])
