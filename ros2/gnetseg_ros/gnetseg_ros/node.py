"""The node ``gnetseg``: masks, labels, pictures and how the daemon is, as topics of ROS 2 (docs/ros2.md)."""

from __future__ import annotations

import array
import threading
import time
from contextlib import suppress
from importlib import import_module
from typing import Any

import numpy as np
import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from gnetsegd.client import MaskSubscriber, NoData
from gnetsegd.text import clean

from . import conversions
from .conversions import Intrinsics

#: Silence is looked at so often, and told as often; a daemon's status comes each second.
TELL_S = 1.0
_SENSOR = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
_LATCHED = QoSProfile(
    depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL
)
_TOPICS = {
    "/segmentation/mask": ("sensor_msgs/msg/Image", _SENSOR),
    "/segmentation/camera_info": ("sensor_msgs/msg/CameraInfo", _SENSOR),
    "/segmentation/label_info": ("vision_msgs/msg/LabelInfo", _LATCHED),
    "/segmentation/image/compressed": ("sensor_msgs/msg/CompressedImage", _SENSOR),
    "/diagnostics": ("diagnostic_msgs/msg/DiagnosticArray", QoSProfile(depth=10)),
}


def message_class(name: str) -> Any:
    """``sensor_msgs/msg/Image`` as ROS' own class."""
    package, kind, message = name.split("/")
    return getattr(import_module(f"{package}.{kind}"), message)


def make(name: str, /, **fields: Any) -> Any:
    """A message; arrays and bytes in the forms that rclpy takes."""
    made = message_class(name)()
    for key, value in fields.items():
        if isinstance(value, np.ndarray):
            value = array.array("B", value.tobytes()) if value.dtype == np.uint8 else value.tolist()
        if (name, key) == ("diagnostic_msgs/msg/DiagnosticStatus", "level"):
            value = bytes([value])
        setattr(made, key, value)
    return made


def fitting(name: str, value: Any, usual: Any) -> Any:
    """``value`` in the type of ``usual``; a whole number is one, too. ``ValueError`` for what is another."""
    if isinstance(usual, float) and type(value) is int:
        return float(value)
    if type(value) is not type(usual):
        raise ValueError(f"the parameter {name} is {value!r}; give one such as {usual!r}")
    return value


class Segmentation(Node):
    """Its thread reads masks; what cannot be gone by is not published, and diagnostics say why."""

    def __init__(self) -> None:
        super().__init__("gnetseg")
        self._usual = {
            "endpoint": "ipc:///run/gnetsegd/masks.sock",
            "camera": "cam0",
            "frame_id": "camera_optical_frame",
            "max_age_s": 0.5,
            "picture": False,
            "fx": 0.0,
            "fy": 0.0,
            "cx": 0.0,
            "cy": 0.0,
        }
        # rclpy would end the node where 600 stands for 600.0: the types are looked at where all else is.
        any_type = ParameterDescriptor(dynamic_typing=True)
        self._given = {
            name: self.declare_parameter(name, usual, any_type).value for name, usual in self._usual.items()
        }
        self._intrinsics = Intrinsics()
        self._outlets = {
            topic: self.create_publisher(message_class(name), topic, qos)
            for topic, (name, qos) in _TOPICS.items()
        }
        self._labels: Any = None
        self._told_at = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def destroy_node(self) -> Any:
        self._stop.set()
        self._thread.join(2 * TELL_S)
        return super().destroy_node()

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._read()
            except Exception as error:  # a parameter that is none, a message that rclpy refuses
                if self._stop.is_set() or not rclpy.ok():
                    return
                # A thread that ended would be a silence, which nobody could tell from a daemon at rest.
                words = clean(str(error)) or type(error).__name__
                self.get_logger().error(words, throttle_duration_sec=60.0)
                self._diagnose(None, NoData("error", words))
                self._stop.wait(TELL_S)

    def _read(self) -> None:
        given = {name: fitting(name, value, self._usual[name]) for name, value in self._given.items()}
        self._intrinsics = Intrinsics(*(given[name] for name in ("fx", "fy", "cx", "cy")))
        with MaskSubscriber(given["endpoint"], given["camera"], picture=given["picture"]) as masks:
            for found in masks.follow(given["max_age_s"], repeat_s=TELL_S):
                if self._stop.is_set():
                    return
                no_data = found if isinstance(found, NoData) else None
                if no_data is None:
                    self._publish(found)
                now = time.monotonic()
                if no_data is not None or now - self._told_at >= TELL_S:
                    self._told_at = now
                    self._diagnose(masks.status(), no_data)

    def _diagnose(self, status: dict[str, Any] | None, no_data: NoData | None) -> None:
        name = f"gnetsegd: {self._given['camera']}"
        self._send("/diagnostics", conversions.diagnostics(make, name, status, no_data, time.time_ns()))

    def _publish(self, mask: Any) -> None:
        frame_id = self._given["frame_id"]
        if mask.info["labels"] != self._labels:
            # Before the first mask that it explains.
            self._labels = mask.info["labels"]
            self._send(
                "/segmentation/label_info",
                conversions.label_info(make, mask.info, mask.wall_time_ns, frame_id),
            )
        self._send("/segmentation/mask", conversions.mask_image(make, mask, frame_id))
        self._send(
            "/segmentation/camera_info", conversions.camera_info(make, mask, self._intrinsics, frame_id)
        )
        picture = conversions.picture(make, mask, frame_id)
        if picture is not None:
            self._send("/segmentation/image/compressed", picture)

    def _send(self, topic: str, message: Any) -> None:
        self._outlets[topic].publish(message)


def main() -> None:
    rclpy.init()
    node = Segmentation()
    try:
        # Ctrl-C, and what a launch ends it with.
        with suppress(KeyboardInterrupt, ExternalShutdownException):
            rclpy.spin(node)
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
