"""The node, with a stand-in for rclpy: which topics, with which qualities, and nothing without data.

There is no ROS where these tests run: whether rclpy takes it as it is was not seen.
"""

from __future__ import annotations

import importlib
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from fake_publisher import FakeDaemon

PACKAGE = Path(__file__).parents[2] / "ros2" / "gnetseg_ros"
LIMIT_S = 20.0


class Node:
    """What the node wants of rclpy's."""

    overrides: dict[str, Any] = {}  # noqa: RUF012

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent: dict[str, list[Any]] = {}
        self.qos: dict[str, Any] = {}
        self.logged: list[str] = []

    def declare_parameter(self, name: str, usual: Any, descriptor: Any) -> Any:
        value = self.overrides.get(name, usual)
        if not descriptor.dynamic_typing and type(value) is not type(usual):
            raise TypeError("rclpy takes no parameter of another type")
        return SimpleNamespace(value=value)

    def create_publisher(self, _: Any, topic: str, qos: Any) -> Any:
        self.sent[topic], self.qos[topic] = [], qos
        return SimpleNamespace(publish=self.sent[topic].append)

    def get_logger(self) -> Any:
        return SimpleNamespace(error=lambda words, **_: self.logged.append(words))

    def destroy_node(self) -> None:
        pass


@pytest.fixture
def node_module(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    def module(name: str, **names: Any) -> None:
        made = ModuleType(name)
        vars(made).update(names)
        monkeypatch.setitem(sys.modules, name, made)

    module("rclpy", init=lambda: None, spin=lambda _: None, try_shutdown=lambda: None, ok=lambda: True)
    module("rclpy.executors", ExternalShutdownException=type("ExternalShutdownException", (Exception,), {}))
    module("rclpy.node", Node=Node)
    module("rcl_interfaces")
    module("rcl_interfaces.msg", ParameterDescriptor=SimpleNamespace)
    qos = SimpleNamespace(BEST_EFFORT="best effort", RELIABLE="reliable", TRANSIENT_LOCAL="transient local")
    module("rclpy.qos", DurabilityPolicy=qos, ReliabilityPolicy=qos, QoSProfile=lambda **keys: keys)
    kinds = {
        "sensor_msgs": ("Image", "CompressedImage", "CameraInfo", "RegionOfInterest"),
        "vision_msgs": ("LabelInfo", "VisionClass"),
        "diagnostic_msgs": ("DiagnosticArray", "DiagnosticStatus", "KeyValue"),
        "std_msgs": ("Header",),
        "builtin_interfaces": ("Time",),
    }
    for package, names in kinds.items():
        module(package)
        module(f"{package}.msg", **{name: type(name, (SimpleNamespace,), {}) for name in names})
    monkeypatch.delitem(sys.modules, "gnetseg_ros.node", raising=False)
    yield importlib.import_module("gnetseg_ros.node")
    sys.modules.pop("gnetseg_ros.node", None)


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_masks_labels_and_pictures_come_each_with_its_qualities(
    node_module: Any, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Node, "overrides", {"endpoint": daemon.endpoint, "picture": True})
    node = node_module.Segmentation()
    try:
        wait_for(
            lambda: len(node.sent["/segmentation/mask"]) > 3 and node.sent["/segmentation/image/compressed"]
        )
        assert node.qos["/segmentation/mask"]["reliability"] == "best effort"
        labels = node.qos["/segmentation/label_info"]
        assert (labels["reliability"], labels["durability"]) == ("reliable", "transient local")
        assert len(node.sent["/segmentation/label_info"]) == 1, "told once, for who comes later too"
        mask = node.sent["/segmentation/mask"][0]
        assert (mask.encoding, len(mask.data)) == ("mono8", mask.width * mask.height)
        assert mask.data.typecode == "B"
        wait_for(lambda: node.sent["/diagnostics"])
        assert node.sent["/diagnostics"][-1].status[0].level in (b"\0", b"\2")
    finally:
        node.destroy_node()


def test_silence_is_told_as_an_error_and_never_as_an_empty_mask(
    node_module: Any, ipc_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Node, "overrides", {"endpoint": ipc_endpoint})
    node = node_module.Segmentation()
    try:
        wait_for(lambda: node.sent["/diagnostics"])
        assert node.sent["/diagnostics"][0].status[0].level == b"\2"
        assert node.sent["/segmentation/mask"] == []
    finally:
        node.destroy_node()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        ({"endpoint": "nonsense"}, "'nonsense'"),
        ({"fx": float("nan")}, "fx, fy, cx and cy are nan, 0.0"),
        ({"camera": 0}, "the parameter camera is 0; give one such as 'cam0'"),
        ({"picture": "yes"}, "the parameter picture is 'yes'; give one such as False"),
        ({"fx": True}, "the parameter fx is True; give one such as 0.0"),
    ],
)
def test_a_parameter_that_is_none_is_told_again_and_again(
    node_module: Any, monkeypatch: pytest.MonkeyPatch, overrides: dict[str, Any], words: str
) -> None:
    monkeypatch.setattr(node_module, "TELL_S", 0.02)
    monkeypatch.setattr(Node, "overrides", overrides)
    node = node_module.Segmentation()
    try:
        wait_for(lambda: len(node.sent["/diagnostics"]) > 2)
        (told,) = node.sent["/diagnostics"][-1].status
        assert told.level == b"\2"
        assert words in told.message
        assert node.logged
    finally:
        node.destroy_node()


def test_a_whole_number_is_a_number(
    node_module: Any, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``fx: 600`` is what people write; ROS tells it from 600.0."""
    monkeypatch.setattr(
        Node, "overrides", {"endpoint": daemon.endpoint, "fx": 600, "fy": 600, "max_age_s": 2}
    )
    node = node_module.Segmentation()
    try:
        wait_for(lambda: node.sent["/segmentation/camera_info"])
        assert node.sent["/segmentation/camera_info"][0].k[0] > 0
    finally:
        node.destroy_node()


def test_after_a_message_that_could_not_be_sent_it_goes_on(
    node_module: Any, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_module, "TELL_S", 0.02)
    monkeypatch.setattr(Node, "overrides", {"endpoint": daemon.endpoint})
    made, failures = node_module.conversions.mask_image, []

    def once(*arguments: Any) -> Any:
        if not failures:
            failures.append(1)
            raise RuntimeError("rclpy refuses it")
        return made(*arguments)

    monkeypatch.setattr(node_module.conversions, "mask_image", once)
    node = node_module.Segmentation()
    try:
        wait_for(lambda: node.sent["/segmentation/mask"])
        assert "rclpy refuses it" in [array.status[0].message for array in node.sent["/diagnostics"]]
    finally:
        node.destroy_node()


def test_a_launch_ends_it_without_a_word(node_module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    ended: list[str] = []

    def spin(_: Any) -> None:
        raise node_module.ExternalShutdownException

    monkeypatch.setattr(sys.modules["rclpy"], "spin", spin)
    monkeypatch.setattr(sys.modules["rclpy"], "try_shutdown", lambda: ended.append("shutdown"))
    monkeypatch.setattr(Node, "overrides", {"endpoint": "ipc:///nowhere"})
    node_module.main()
    assert ended == ["shutdown"]


def test_the_package_names_what_it_needs_and_has_what_it_installs() -> None:
    root = ET.parse(PACKAGE / "package.xml").getroot()
    needs = {item.text for item in root.findall("exec_depend")}
    assert {"rclpy", "rcl_interfaces", "std_msgs", "sensor_msgs", "vision_msgs", "diagnostic_msgs"} <= needs
    setup = (PACKAGE / "setup.py").read_text()
    for file in ("package.xml", "launch/segmentation.launch.py", "config/segmentation.yaml"):
        assert f'"{file}"' in setup
        assert (PACKAGE / file).exists()
    assert (PACKAGE / "resource" / "gnetseg_ros").exists()


def test_the_usual_parameters_are_those_of_the_node(
    node_module: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    declared: dict[str, Any] = {}

    def declare(_: Any, name: str, usual: Any, _descriptor: Any) -> Any:
        declared[name] = usual
        return SimpleNamespace(value="ipc:///nowhere" if name == "endpoint" else usual)

    monkeypatch.setattr(Node, "declare_parameter", declare)
    node_module.Segmentation().destroy_node()
    lines = (PACKAGE / "config" / "segmentation.yaml").read_text().splitlines()
    file = {
        line.split(":")[0].strip() for line in lines[2:] if ":" in line and not line.strip().startswith("#")
    }
    assert file == set(declared)
