"""``auto`` takes the camera that is here, or the one that comes; ``gnetsegctl cameras`` lists them."""

from __future__ import annotations

import errno
import json
import sys
import tomllib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from gnetsegd.cameras import auto as module
from gnetsegd.cameras import discover
from gnetsegd.cameras import v4l2_ioctl as v4l2
from gnetsegd.cameras.auto import AutoCamera
from gnetsegd.cameras.v4l2 import V4l2Camera
from gnetsegd.config import Config, from_dict
from gnetsegd.ctl.main import cli
from gnetsegd.errors import AbsentError, TransientError
from gnetsegd.plugins import find
from gnetsegd.testing import fake_picamera2
from gnetsegd.testing.fake_picamera2 import Rig
from gnetsegd.testing.fake_v4l2 import FakeWebcam


class Machine:
    """Video nodes and the webcams behind them, and perhaps a CSI camera."""

    def __init__(self, folder: Path) -> None:
        self.dev = folder
        self.nodes: dict[str, FakeWebcam] = {}
        self.opened: list[str] = []

    def plug(self, number: int, webcam: FakeWebcam | None = None) -> FakeWebcam:
        path = self.dev / f"video{number}"
        path.touch()
        self.nodes[str(path)] = webcam or FakeWebcam()
        return self.nodes[str(path)]

    def open(self, path: str) -> Any:
        self.opened.append(path)
        if path not in self.nodes:
            raise OSError(errno.ENOENT, "No such file or directory")
        return self.nodes[path].open(path)

    def camera(self, **tables: Any) -> AutoCamera:
        config = from_dict({"camera": {"driver": "auto", **tables}}, "here").camera
        made: AutoCamera = find("gnetsegd.cameras", "auto").from_options("auto", config.options)
        return made


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    here = Machine(tmp_path)
    real = discover.webcams
    monkeypatch.setattr(discover, "webcams", lambda: real(here.open, here.dev))

    def camera(options: Any) -> V4l2Camera:
        return V4l2Camera(options, here.open, here.nodes[options.device].clock)

    monkeypatch.setattr(module, "V4l2Camera", camera)
    monkeypatch.setitem(sys.modules, "picamera2", None)
    return here


@pytest.fixture
def csi(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Installs a fake picamera2; gives its rig."""
    with ExitStack() as stack:

        def install() -> Rig:
            monkeypatch.delitem(sys.modules, "picamera2", raising=False)
            return stack.enter_context(fake_picamera2.installed(Rig()))

        yield install


def test_it_is_the_default() -> None:
    assert Config().camera.driver == "auto"


def test_a_csi_camera_comes_before_a_webcam(machine: Machine, csi: Any, request_of: Any, frame: Any) -> None:
    rig = csi()
    machine.plug(0)
    camera = machine.camera()
    info = camera.open(request_of(frame.spec))
    assert rig.model in info.description
    camera.capture(frame)
    camera.close()
    assert machine.opened == []


def test_the_first_webcam_is_taken_where_there_is_no_csi_camera(
    machine: Machine, csi: Any, request_of: Any, frame: Any
) -> None:
    csi().present = False
    machine.plug(10)
    machine.plug(2)
    camera = machine.camera()
    assert str(machine.dev / "video2") in camera.open(request_of(frame.spec)).description
    camera.capture(frame)
    assert camera.info is not None
    assert camera.lost == {}
    camera.close()
    assert camera.info is None


def test_a_webcam_that_comes_is_taken_at_the_next_attempt(
    machine: Machine, request_of: Any, frame: Any
) -> None:
    camera = machine.camera()
    with pytest.raises(AbsentError) as raised:
        camera.open(request_of(frame.spec))
    words = str(raised.value)
    assert "no CSI camera (python3-picamera2 is not installed) and no webcam" in words
    assert words.endswith("gnetsegctl cameras shows what is here")
    with pytest.raises(TransientError, match="not open"):
        camera.capture(frame)
    machine.plug(0)
    camera.open(request_of(frame.spec))
    camera.capture(frame)
    camera.close()


def test_a_webcam_that_this_user_may_not_open_is_named(machine: Machine, request_of: Any, frame: Any) -> None:
    machine.plug(0).open_errno = errno.EACCES
    with pytest.raises(AbsentError, match=r"video0: Permission denied"):
        machine.camera().open(request_of(frame.spec))


def test_a_picamera2_that_does_not_fit_is_no_end_where_there_is_a_webcam(
    machine: Machine, request_of: Any, frame: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(discover, "has_picamera2", lambda: True)
    camera = machine.camera()
    with pytest.raises(AbsentError, match="apt install python3-picamera2"):
        camera.open(request_of(frame.spec))
    machine.plug(0)
    camera.open(request_of(frame.spec))
    camera.close()


def test_the_tables_of_the_drivers_hold(machine: Machine, request_of: Any, frame: Any) -> None:
    machine.plug(0)
    machine.plug(5)
    named = machine.camera(v4l2={"device": str(machine.dev / "video5"), "pixel_format": "MJPG"})
    assert "video5 MJPG" in named.open(request_of(frame.spec)).description
    named.close()


@pytest.mark.parametrize("what", ["metadata", "output", "pipeline", "no formats"])
def test_a_node_that_is_no_camera_is_passed_over(machine: Machine, what: str) -> None:
    other = machine.plug(0)
    if what == "metadata":
        other.capabilities = v4l2.CAP_STREAMING
    elif what == "output":
        other.capabilities = v4l2.CAP_VIDEO_CAPTURE
    elif what == "pipeline":
        other.driver = b"bcm2835-isp"
    else:
        other.formats = ("BG10",)
    machine.plug(1)
    found, refused = discover.webcams()
    assert [webcam.path for webcam in found] == [str(machine.dev / "video1")]
    assert refused == []


def test_every_node_that_was_looked_at_is_closed_again(machine: Machine) -> None:
    webcam = machine.plug(0)
    for _ in range(3):
        discover.webcams()
    assert webcam.owner is None
    assert (machine.dev / "video0").exists()


def test_the_command_lists_what_is_here_with_the_lines_that_choose_it(machine: Machine, csi: Any) -> None:
    csi()
    machine.plug(0)
    machine.plug(1).open_errno = errno.EACCES
    said = CliRunner().invoke(cli, ["cameras"]).output
    assert 'driver = "picamera2"\n    picamera2.camera_num = 0' in said
    assert f'driver = "v4l2"\n    v4l2.device = "{machine.dev / "video0"}"' in said
    assert "YUYV 640x480 at 30/s, 320x240 at 30/s" in said
    assert "video1: cannot be looked at (Permission denied); be in the group video" in said
    config = said.split("\n    [camera]\n", 2)[2].split("\n")[:2]
    lines = "[camera]\n" + "\n".join(config)
    assert from_dict(tomllib.loads(lines), "here").camera.driver == "v4l2", "the lines are good as they stand"


@pytest.mark.usefixtures("machine")
def test_the_command_says_what_is_missing_where_nothing_is_here() -> None:
    said = CliRunner().invoke(cli, ["cameras"]).output
    assert said == "No camera is here. CSI cameras need python3-picamera2, which is not installed.\n"
    told = json.loads(CliRunner().invoke(cli, ["cameras", "--json"]).output)
    assert (told["csi"], told["webcams"], told["refused"]) == ([], [], [])


def test_the_list_for_programs_has_the_modes(machine: Machine) -> None:
    machine.plug(3)
    (webcam,) = json.loads(CliRunner().invoke(cli, ["cameras", "--json"]).output)["webcams"]
    assert webcam["path"].endswith("video3")
    assert {"pixel_format": "YUYV", "width": 640, "height": 480, "fps": 30.0} in webcam["modes"]
