"""A USB webcam through the kernel's uvcvideo: for gnetsegd's v4l2 camera, and for libcamera."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import QUICK, SOCKET, Listener, Unit, bundle_of, call, eventually
from transports import ask_outside

NAME = "hil webcam"
CONFIGURATION = f"""
[camera]
driver = "v4l2"
fps = 0
[camera.v4l2]
device = "/dev/v4l/by-id/{{link}}"
[model]
bundle = "{bundle_of(QUICK)}"
[accelerator]
driver = "standin"
[publish]
endpoints = ["{SOCKET}"]
frames = true
"""


def nodes() -> list[Path]:
    """Its device nodes: pictures, and metadata of them."""
    names = Path("/sys/class/video4linux").glob("*/name")
    return sorted(Path("/dev") / name.parent.name for name in names if NAME in name.read_text())


@pytest.fixture(scope="module")
def webcam(daemon: Unit) -> Iterator[Path]:
    """The link that udev makes for its pictures; it stays the same over an unplug."""
    ask_outside("webcam")
    eventually("no video device", nodes)
    call("udevadm settle")
    links = [link for link in Path("/dev/v4l/by-id").iterdir() if link.name.endswith("-video-index0")]
    assert len(links) == 1, links
    yield links[0]
    daemon.configure()
    daemon.apply()
    ask_outside("unplug")
    eventually("the kernel still has the camera", lambda: not nodes())


@pytest.fixture
def running(webcam: Path, daemon: Unit) -> Unit:
    """The daemon with that camera."""
    daemon.write(CONFIGURATION.format(link=webcam.name))
    daemon.apply()
    return daemon


@pytest.mark.usefixtures("running")
def test_its_pictures_are_taken_at_448x448() -> None:
    with Listener() as listener:
        listener.check_masks("standin", 3)
        description = listener.wait_for("status", bool)["camera_device"]["description"]
        assert " YUYV 448x448" in description
        _, _, picture = listener.pair("standin")
        # The ramp: rows are alike, and it rises (it may begin anew once).
        assert (picture == picture[0]).all()
        assert picture.std() > 20


@pytest.mark.parametrize("pixel_format", ["YUYV", "MJPG"])
def test_its_pictures_of_640x480_are_brought_to_the_networks_size(
    webcam: Path, daemon: Unit, pixel_format: str
) -> None:
    more = f'width = 640\nheight = 480\npixel_format = "{pixel_format}"\n[model]'
    daemon.write(CONFIGURATION.format(link=webcam.name).replace("[model]", more))
    daemon.apply()
    with Listener() as listener:
        listener.check_masks("standin", 3)
        status = listener.wait_for("it runs", lambda status: status["state"] == "running")
        description = status["camera_device"]["description"]
        assert f" {pixel_format} 640x480" in description, description
        # The first one may have begun before the camera was asked for it.
        assert sum(status["camera_device"]["lost"].values()) <= 1, status
        _, _, picture = listener.pair("standin")
        # The ramp, by what a JPEG leaves of it.
        assert abs(picture.astype(int) - picture[0]).max() <= 8
        assert picture.std() > 20


def test_pulled_and_plugged_in_again_it_is_used_by_the_same_process(running: Unit) -> None:
    pid = running.pid
    with Listener() as listener:
        listener.mask("standin")
        ask_outside("unplug")
        assert listener.wait_for("no camera", lambda status: status["state"] == "no-camera")["reason"]
        ask_outside("webcam")
        listener.wait_for("the camera", lambda status: status["state"] == "running")
        listener.check_masks("standin", 2)
    assert running.pid == pid


def test_one_that_hangs_is_told_of_and_used_again_when_it_wakes_up(running: Unit) -> None:
    pid = running.pid
    with Listener() as listener:
        listener.mask("standin")
        ask_outside("freeze")
        try:
            assert listener.wait_for("no camera", lambda status: status["state"] == "no-camera")["reason"]
            listener.wait_for("it stays so", lambda status: status["counters"]["camera_reopens"] >= 2)
        finally:
            ask_outside("thaw")
        listener.wait_for("the camera", lambda status: status["state"] == "running")
        listener.drain()
        listener.check_masks("standin", 2)
    assert running.pid == pid


def test_libcamera_takes_pictures_of_it(webcam: Path, daemon: Unit) -> None:
    daemon.configure()
    daemon.apply()  # it lets go of the camera
    assert webcam.exists()
    assert NAME in call("cam --list")
    said = call("cam --camera=1 --stream=width=448,height=448,pixelformat=YUYV --capture=3")
    assert said.count("bytesused: 401408") == 3, said
