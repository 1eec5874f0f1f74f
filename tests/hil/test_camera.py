"""A V4L2 camera that a kernel driver makes (vivid), through gnetsegd's own v4l2 camera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import QUICK, SOCKET, Listener, Unit, bundle_of, call, eventually

#: vivid's fourth input is HDMI: the only one that scales to any size.
HDMI = 3

CONFIGURATION = """
[camera]
driver = "v4l2"
fps = 0
[camera.v4l2]
device = "/dev/video0"
input = {input}
{more}
[model]
bundle = "{model}"
[accelerator]
driver = "standin"
[publish]
endpoints = ["{socket}"]
frames = true
"""


@pytest.fixture(scope="module")
def vivid(daemon: Unit) -> Iterator[Path]:
    """A camera of 448x448 among others, as a capture card has it."""
    call("modprobe vivid n_devs=1 node_types=0x1")
    node = Path("/dev/video0")
    eventually("no video device", node.exists)
    call("udevadm settle")
    yield node
    daemon.configure()
    daemon.apply()
    call("modprobe -r vivid")


@pytest.mark.usefixtures("vivid")
@pytest.mark.parametrize("pixel_format", ["GREY", "NV12", "YUYV", "auto"])
def test_its_pictures_are_taken_at_448x448(daemon: Unit, pixel_format: str) -> None:
    more = f'pixel_format = "{pixel_format}"\nwidth = 448\nheight = 448'
    daemon.write(CONFIGURATION.format(input=HDMI, more=more, socket=SOCKET, model=bundle_of(QUICK)))
    daemon.apply()
    with Listener() as listener:
        listener.check_masks("standin", 3)
        status = listener.wait_for("status", lambda status: status["camera_device"]["fps"] >= 0)
        description = status["camera_device"]["description"]
        assert "448x448" in description
        _, _, picture = listener.pair("standin")
        # Colour bars: neither black nor one grey.
        assert picture.std() > 20
    if pixel_format != "auto":
        assert f" {pixel_format} " in description


@pytest.mark.usefixtures("vivid")
def test_a_webcam_input_is_taken_at_a_size_that_it_has(daemon: Unit) -> None:
    daemon.write(CONFIGURATION.format(input=0, more="", socket=SOCKET, model=bundle_of(QUICK)))
    daemon.apply()
    with Listener() as listener:
        listener.check_masks("standin", 3)


@pytest.mark.usefixtures("vivid")
def test_a_camera_that_is_pulled_is_opened_again_by_the_same_process(daemon: Unit) -> None:
    daemon.write(
        CONFIGURATION.format(
            input=HDMI, more="width = 448\nheight = 448", socket=SOCKET, model=bundle_of(QUICK)
        )
    )
    daemon.apply()
    pid = daemon.pid
    with Listener() as listener:
        listener.mask("standin")
        before = listener.wait_for("status", bool)["counters"]["camera_reopens"]
        # A button of vivid's: the device is gone (ENODEV) for whoever has it, until all have closed it.
        call("v4l2-ctl -d /dev/video0 --set-ctrl=disconnect=1")
        listener.wait_for("another opening", lambda status: status["counters"]["camera_reopens"] > before)
        assert "/dev/video0: the camera has been unplugged" in daemon.journal()
        listener.drain()
        listener.check_masks("standin", 2)
    assert daemon.pid == pid
