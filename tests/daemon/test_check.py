"""``gnetsegd check-config`` opens what the daemon would open, and says what is wrong in one sentence."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from gnetsegd.cameras import CameraInfo, CaptureRequest
from gnetsegd.errors import GnetsegError, PermanentError, TransientError
from gnetsegd.process import check as module
from gnetsegd.process.check import check
from gnetsegd.road.road import Source

from ..road.fakes import Script, ScriptedCamera
from .conftest import MODELS

pytestmark = pytest.mark.runtime
GOOD = (
    "camera.driver=pattern", "accelerator.driver=standin", "accelerator.standin.threads=1",
    f"model.bundle={MODELS / 'threshold-32'}",
)  # fmt: skip


def checked(*settings: str, load: bool = True, in_use: bool = False) -> list[str]:
    return check(None, (*GOOD, *settings), load=load, in_use=in_use)


def test_what_would_run_is_good_and_named() -> None:
    assert checked() == ["defaults: good (pattern camera, standin accelerator, threshold-32)"]


@pytest.mark.parametrize(
    ("setting", "sentence", "code"),
    [
        (f"model.bundle={MODELS / 'float'}", "of its tensors are float", 65),
        ("accelerator.standin.delegate=libnone.so.1", "libnone.so.1 cannot be loaded", 78),
    ],
)
def test_a_network_or_a_delegate_that_would_not_run_here_is_no_good_unless_it_is_for_another_machine(
    setting: str, sentence: str, code: int
) -> None:
    with pytest.raises(PermanentError, match=sentence) as raised:
        checked(setting)
    assert raised.value.exit_code == code
    assert "good" in checked(setting, load=False)[-1]
    with pytest.raises(PermanentError, match=sentence):
        checked(setting, in_use=True)


def test_what_has_the_place_of_a_socket_is_no_good_unless_it_is_for_another_machine(tmp_path: Path) -> None:
    setting = f'publish.endpoints=["ipc://{tmp_path}"]'
    for in_use in (False, True):
        with pytest.raises(PermanentError, match="is there and is no socket") as raised:
            checked(setting, in_use=in_use)
        assert raised.value.exit_code == 73
    assert "good" in checked(setting, load=False)[-1]
    assert "good" in checked(f'publish.endpoints=["ipc://{tmp_path}/masks.sock"]')[-1]


def test_every_network_that_may_come_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[str] = []
    monkeypatch.setattr(module, "prove", lambda bundle, *_: tried.append(bundle.id))
    told = check(None, ("camera.driver=pattern",), load=True, in_use=True)
    assert tried == ["person", "person-gray"]
    assert told[-1].endswith("person, or with one gnetseg-large-224y and person-gray in its stead)")


def test_a_camera_that_a_person_has_to_mend_is_no_good_unless_it_is_for_another_machine() -> None:
    settings = ("camera.driver=video", "camera.video.path=/nowhere/clip.mp4")
    with pytest.raises(PermanentError, match=r"/nowhere/clip\.mp4"):
        checked(*settings)
    assert "good (video camera" in checked(*settings, load=False)[-1]
    assert "good (video camera" in checked(*settings, in_use=True)[-1], "a daemon runs with its camera"


def camera(monkeypatch: pytest.MonkeyPatch, script: Script) -> Script:
    monkeypatch.setattr(module, "make_source", lambda config: Source(config.camera, lambda: script(None)))
    return script


def test_the_camera_is_opened_once_and_closed_again(monkeypatch: pytest.MonkeyPatch) -> None:
    script = camera(monkeypatch, Script([0]))
    assert checked()[-1].startswith("defaults: good")
    assert (script.opened, script.closed) == (1, 1)


@pytest.mark.parametrize(("serial", "picture"), [("", "YUV444 256x256"), ("seven", "Y 224x224")])
def test_the_camera_is_opened_for_the_network_that_would_run_just_now(
    monkeypatch: pytest.MonkeyPatch, serial: str, picture: str
) -> None:
    asked: list[str] = []

    class Noted(ScriptedCamera):
        def open(self, request: CaptureRequest) -> CameraInfo:
            asked.append(f"{request.spec.pixel_format} {request.spec.width}x{request.spec.height}")
            return super().open(request)

    monkeypatch.setattr(
        module, "make_source", lambda config: Source(config.camera, lambda: Noted(Script([0])))
    )
    monkeypatch.setattr(module, "prove", lambda *_: None)
    settings = ("camera.driver=pattern", "accelerator.usb.id=dead:beef", f"accelerator.usb.serial={serial}")
    check(None, settings, load=True, in_use=False)
    assert asked == [picture]


def test_a_camera_that_is_busy_or_not_plugged_in_is_a_warning_only(monkeypatch: pytest.MonkeyPatch) -> None:
    script = camera(monkeypatch, Script(TransientError("another program uses it; end that one")))
    warning, good = checked()
    assert warning == "warning: camera cam0: another program uses it; end that one"
    assert "good" in good
    assert script.closed == 1


def test_keys_that_the_daemon_could_not_open_are_no_good_unless_it_is_for_another_machine(
    tmp_path: Path,
) -> None:
    from zmq.auth import create_certificates

    public, secret = create_certificates(tmp_path, "gnetsegd")
    address = 'publish.endpoints=["tcp://0.0.0.0:5999"]'
    for file, folder, sentence in (
        (
            "/nowhere/own.key_secret",
            "",
            r"/nowhere/own\.key_secret: no CURVE key file: .*; make one with gnetsegctl keygen",
        ),
        (public, "", "holds no secret key"),
        (secret, "/nowhere/readers", "/nowhere/readers is not a folder"),
    ):
        settings = (
            address, f"publish.curve_secret_key_file={file}", f"publish.curve_authorized_keys_dir={folder}",
        )  # fmt: skip
        with pytest.raises(GnetsegError, match=sentence):
            checked(*settings)
        assert "good" in checked(*settings, load=False)[-1]
    assert "good" in checked(address, f"publish.curve_secret_key_file={secret}")[-1]


def test_what_its_readers_would_take_for_dead_is_a_warning_only() -> None:
    warning, good = checked("publish.status_interval_s=10")
    assert "readers take a daemon for dead that is silent for 3 s" in warning
    assert "good" in good


def test_a_file_is_read_and_named(tmp_path: Path) -> None:
    file = tmp_path / "g.toml"
    file.write_text("[camera]\nfps = 15\n")
    assert check(file, GOOD, load=False, in_use=False)[-1].startswith(f"{file}: good")
    file.write_text("[camera]\nfsp = 15\n")
    with pytest.raises(GnetsegError, match=r"did you mean camera\.fps"):
        check(file, GOOD, load=False, in_use=False)


def test_an_accelerator_that_is_none_of_ours_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from gnetsegd.process import parts

    real: Any = parts.find
    monkeypatch.setattr(
        parts, "find", lambda group, name: threading.Thread if "accel" in group else real(group, name)
    )
    with pytest.raises(PermanentError, match=r"its class is no gnetsegd\.accelerators\.Accelerator"):
        checked(load=False)
