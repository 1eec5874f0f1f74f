"""ROS' messages without ROS (rosbags), the package's own code, and a daemon that sends what a test says."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

TOP = Path(__file__).parents[2]
sys.path[:0] = [str(TOP / "tests" / "client"), str(TOP / "ros2" / "gnetseg_ros")]

from fake_publisher import FakeDaemon  # noqa: E402

from gnetsegd.client import MaskSubscriber, ReceivedMask  # noqa: E402

#: vision_msgs, which ROS' own set of messages does not have.
VISION = {
    "vision_msgs/msg/VisionClass": "uint16 class_id\nstring class_name\n",
    "vision_msgs/msg/LabelInfo": (
        "std_msgs/Header header\nvision_msgs/VisionClass[] class_map\nfloat32 threshold\n"
    ),
}


@pytest.fixture(scope="session")
def store() -> Any:
    """The types of ROS 2 Humble and of vision_msgs."""
    made = get_typestore(Stores.ROS2_HUMBLE)
    for name, text in VISION.items():
        made.register(get_types_from_msg(text, name))
    return made


@pytest.fixture
def daemon(ipc_endpoint: str) -> Iterator[FakeDaemon]:
    with FakeDaemon(ipc_endpoint, images=True) as made:
        yield made


@pytest.fixture
def mask(daemon: FakeDaemon) -> ReceivedMask:
    """With its picture."""
    with MaskSubscriber(daemon.endpoint, picture=True) as masks:
        for found in masks.follow():
            if isinstance(found, ReceivedMask) and found.jpeg is not None:
                return found
    raise AssertionError
