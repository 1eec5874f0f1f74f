"""A V4L2 camera that a kernel driver makes (vivid), through gnetsegd's own v4l2 camera."""

from __future__ import annotations

import json
import subprocess
import time
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
{more}
[model]
bundle = "{model}"
[accelerator]
driver = "standin"
[publish]
endpoints = ["{socket}"]
frames = true
"""


NODE = Path("/dev/video0")
DRIVER = Path("/sys/bus/platform/drivers/vivid")
#: Lines in the journal about a camera that is missing, and comes.
LINES_MAX = 6


def load_vivid() -> None:
    """A camera of 448x448 among others, as a capture card has it."""
    call("modprobe vivid n_devs=1 node_types=0x1")
    eventually("no video device", NODE.exists)
    call("udevadm settle")


def configuration(**of_camera: object) -> str:
    """With the vivid camera at its HDMI input, and 448x448 unless ``of_camera`` has other keys of v4l2."""
    keys = {"input": HDMI, "width": 448, "height": 448} | of_camera
    more = "".join(f"{key} = {json.dumps(value)}\n" for key, value in keys.items() if value is not None)
    return CONFIGURATION.format(more=more, socket=SOCKET, model=bundle_of(QUICK))


def camera_lines(unit: Unit) -> list[str]:
    """What its process has logged about the camera."""
    return [line for line in unit.journal().splitlines() if line.startswith("camera ")]


@pytest.fixture(scope="module")
def vivid(daemon: Unit) -> Iterator[None]:
    """The driver is loaded, from the first check on that needs it."""
    load_vivid()
    yield
    daemon.configure()
    daemon.apply()
    call("modprobe -r vivid")


def test_a_camera_whose_driver_is_loaded_after_the_start_is_used_without_a_restart(daemon: Unit) -> None:
    daemon.stop()
    # As on a machine that never had a camera: the kernel does not know what a video device is.
    call("modprobe -r vivid")
    call("modprobe -r videodev")
    assert " video4linux\n" not in Path("/proc/devices").read_text()
    daemon.write(configuration())
    daemon.apply()  # it is READY without a camera
    pid = daemon.pid
    with Listener() as listener:
        status = listener.wait_for(
            "several attempts", lambda status: status["counters"]["camera_reopens"] >= 4
        )
        assert status["state"] == "no-camera"
        assert "/dev/video0: there is no such camera" in status["reason"]
        load_vivid()
        begun = time.monotonic()
        listener.check_masks("standin", 1)
        print(f"masks {time.monotonic() - begun:.1f} s after the camera")
        listener.wait_for("it runs", lambda status: status["state"] == "running")
    assert daemon.pid == pid
    assert len(camera_lines(daemon)) <= LINES_MAX, camera_lines(daemon)


@pytest.mark.usefixtures("vivid")
@pytest.mark.parametrize("pixel_format", ["GREY", "NV12", "YUYV", "auto"])
def test_its_pictures_are_taken_at_448x448(daemon: Unit, pixel_format: str) -> None:
    daemon.write(configuration(pixel_format=pixel_format))
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
    daemon.write(configuration(input=0, width=None, height=None))
    daemon.apply()
    with Listener() as listener:
        listener.check_masks("standin", 3)


@pytest.mark.usefixtures("vivid")
def test_a_camera_that_is_pulled_is_opened_again_by_the_same_process(daemon: Unit) -> None:
    daemon.write(configuration())
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


@pytest.mark.usefixtures("vivid")
def test_a_camera_that_leaves_the_kernel_and_comes_back_is_used_by_the_same_process(daemon: Unit) -> None:
    daemon.write(configuration())
    daemon.apply()
    pid = daemon.pid
    with Listener() as listener:
        listener.mask("standin")
        lines = len(camera_lines(daemon))
        # The driver lets go of it, as at an unplug: its node vanishes under the daemon's hands.
        (DRIVER / "unbind").write_text("vivid.0")
        status = listener.wait_for("no camera", lambda status: "no such camera" in status["reason"])
        assert status["state"] == "no-camera"
        assert not NODE.exists()
        (DRIVER / "bind").write_text("vivid.0")
        listener.wait_for("the camera", lambda status: status["state"] == "running")
        listener.drain()
        listener.check_masks("standin", 2)
    assert daemon.pid == pid
    said = camera_lines(daemon)[lines:]
    assert len(said) <= LINES_MAX, said


NETWORK = """
[camera]
driver = "network"
fps = 0
[camera.network]
url = "http://127.0.0.1:{port}/stream"
[model]
bundle = "{model}"
[accelerator]
driver = "standin"
[publish]
endpoints = ["{socket}"]
frames = true
"""
PORT = 8080


@pytest.mark.usefixtures("vivid")
def test_a_streamer_of_motion_jpeg_is_a_camera_and_read_again_when_it_is_back(daemon: Unit) -> None:
    daemon.write(NETWORK.format(port=PORT, model=bundle_of(QUICK), socket=SOCKET))
    daemon.apply()  # there is no streamer yet
    pid = daemon.pid
    command = [
        "ustreamer",
        "--device=/dev/video0",
        "--host=127.0.0.1",
        f"--port={PORT}",
        "--resolution=640x480",
    ]
    with Listener() as listener:
        for _ in range(2):
            streamer = subprocess.Popen(
                [*command, "--desired-fps=5", "--format=YUYV"], stderr=subprocess.DEVNULL
            )
            try:
                listener.wait_for("it runs", lambda status: status["state"] == "running")
                listener.drain()
                listener.check_masks("standin", 2)
                _, _, picture = listener.pair("standin")
                assert picture.std() > 20, "colour bars"
            finally:
                streamer.kill()
                streamer.wait()
            status = listener.wait_for("no camera", lambda status: status["state"] == "no-camera")
            assert f"http://127.0.0.1:{PORT}/stream" in status["reason"]
    assert daemon.pid == pid
