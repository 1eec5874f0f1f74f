"""The fakes fail as hardware does: each row of docs/cameras.md, "Cameras for your tests"."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import attrs
import pytest

from gnetsegd.cameras.pattern import read_sequence
from gnetsegd.cameras.picamera2 import Picamera2Camera
from gnetsegd.cameras.v4l2 import V4l2Camera, V4l2Options
from gnetsegd.errors import AbsentError, CameraStalled, TransientError
from gnetsegd.frame import Frame, FrameSpec
from gnetsegd.testing import fake_camera, fake_picamera2
from gnetsegd.testing.clock import FakeClock
from gnetsegd.testing.fake_camera import FakeCamera, FakeOptions, install
from gnetsegd.testing.fake_v4l2 import FakeWebcam

SPEC = FrameSpec(64, 48)
REPOSITORY = Path(__file__).parents[2]
SECTION = (REPOSITORY / "docs" / "cameras.md").read_text("utf-8").split("\n## Cameras for your tests\n")[1]


@pytest.fixture
def frame():
    return Frame(SPEC, 10)


@pytest.fixture
def webcam():
    webcam = FakeWebcam(("NV12",), ((64, 48),), fps=50)
    yield webcam
    webcam.hang.end()


@pytest.fixture
def rig():
    rig = fake_picamera2.Rig(clock=FakeClock())
    with fake_picamera2.installed(rig):
        yield rig
    rig.hang.end()


def webcam_camera(webcam, **options):
    return V4l2Camera(V4l2Options(**options), webcam.open, webcam.clock)


def in_thread(call, *arguments):
    thread = threading.Thread(target=call, args=arguments, daemon=True)
    thread.start()
    return thread


# --- fake_v4l2 -----------------------------------------------------------------------------------


def test_a_webcam_is_streamed_from_by_one_at_a_time(webcam, frame, request_of):
    first, second = webcam_camera(webcam), webcam_camera(webcam)
    first.open(request_of(SPEC))
    with pytest.raises(TransientError, match="in use by another program") as caught:
        second.open(request_of(SPEC))
    assert caught.value.exit_code == os.EX_TEMPFAIL
    assert webcam.opened == 1
    first.capture(frame)  # and the first is not disturbed
    first.close()
    second.open(request_of(SPEC))
    second.capture(frame)


def test_a_webcam_may_be_held_by_another_program(webcam, request_of):
    webcam.held = True
    with pytest.raises(TransientError, match="in use by another program"):
        webcam_camera(webcam).open(request_of(SPEC))
    webcam.held = False
    webcam_camera(webcam).open(request_of(SPEC))


@pytest.mark.parametrize("call", ["open", "QUERYCAP", "S_FMT", "STREAMON"])
def test_a_webcam_hangs_while_it_is_opened(call, webcam, request_of):
    webcam.hang.calls.add(call)
    thread = in_thread(webcam_camera(webcam).open, request_of(SPEC))
    assert webcam.hang.reached.wait(10)
    assert thread.is_alive()
    webcam.hang.end()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("call", ["wait", "DQBUF", "QBUF"])
def test_a_webcam_blocks_within_a_capture(call, webcam, frame, request_of):
    camera = webcam_camera(webcam)
    camera.open(request_of(SPEC))
    camera.capture(frame)
    webcam.hang.calls.add(call)
    thread = in_thread(camera.capture, frame)
    assert webcam.hang.reached.wait(10)
    assert thread.is_alive()
    with pytest.raises(TransientError, match="in use"):  # what a second thread would get
        webcam_camera(webcam).open(request_of(SPEC))
    webcam.hang.end()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("call", ["STREAMOFF", "close"])
def test_a_webcam_hangs_at_close_and_stays_in_use(call, webcam, request_of):
    camera = webcam_camera(webcam)
    camera.open(request_of(SPEC))
    webcam.hang.calls.add(call)
    thread = in_thread(camera.close)
    assert webcam.hang.reached.wait(10)
    assert webcam.owner is not None
    webcam.hang.end()
    thread.join(10)
    assert webcam.owner is None


@pytest.mark.parametrize("absent_opens", [0, 2])
def test_a_webcam_flaps(absent_opens, webcam, frame, request_of):
    webcam.flap_after_frames, webcam.absent_opens = 3, absent_opens
    for _ in range(3):
        camera = webcam_camera(webcam)
        for _ in range(absent_opens if webcam.pluggings else 0):
            with pytest.raises(AbsentError, match="no such camera"):
                camera.open(request_of(SPEC))
        camera.open(request_of(SPEC))
        for _ in range(3):
            camera.capture(frame)
        with pytest.raises(TransientError, match="unplugged"):
            camera.capture(frame)
        camera.close()
        assert (webcam.opened, webcam.mapped, webcam.owner) == (0, 0, None)


def test_a_webcam_that_came_back_does_not_revive_what_was_open(webcam, frame, request_of):
    camera = webcam_camera(webcam)
    camera.open(request_of(SPEC))
    webcam.vanished = True
    webcam.vanished = False
    with pytest.raises(TransientError, match="unplugged"):
        camera.capture(frame)


def test_a_webcam_is_absent_and_comes_later(webcam, frame, request_of):
    webcam.vanished = True
    camera = webcam_camera(webcam)
    with pytest.raises(AbsentError):
        camera.open(request_of(SPEC))
    webcam.vanished = False
    camera.open(request_of(SPEC))
    camera.capture(frame)


def test_a_webcam_comes_back_under_another_node(webcam, frame, request_of):
    webcam.node = "/dev/video0"
    camera = webcam_camera(webcam)
    camera.open(request_of(SPEC))
    webcam.vanished = True
    webcam.vanished, webcam.node = False, "/dev/video1"
    with pytest.raises(TransientError, match="unplugged"):
        camera.capture(frame)
    with pytest.raises(AbsentError):
        camera.open(request_of(SPEC))
    camera = webcam_camera(webcam, device="/dev/video1")
    camera.open(request_of(SPEC))
    camera.capture(frame)


# --- fake_picamera2 ------------------------------------------------------------------------------


def test_a_camera_of_the_pi_is_acquired_by_one_at_a_time(rig, request_of):
    camera = Picamera2Camera()
    camera.open(request_of(SPEC))
    import picamera2

    with pytest.raises(RuntimeError, match="did not complete") as caught:
        picamera2.Picamera2(0)
    assert str(caught.value.__cause__) == (
        "Camera in Running state trying acquire() requiring state Available"
    )
    camera.close()
    assert rig.owner is None
    picamera2.Picamera2(0).close()


@pytest.mark.parametrize("call", ["__init__", "configure", "start"])
def test_a_camera_of_the_pi_hangs_while_it_is_opened(call, rig, request_of):
    rig.hang.calls.add(call)
    thread = in_thread(Picamera2Camera().open, request_of(SPEC))
    assert rig.hang.reached.wait(10)
    assert thread.is_alive()
    rig.hang.end()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("call", ["capture_request", "wait"])
def test_a_camera_of_the_pi_blocks_within_a_capture(call, rig, frame, request_of):
    camera = Picamera2Camera()
    camera.open(request_of(SPEC))
    rig.hang.calls.add(call)
    thread = in_thread(camera.capture, frame)
    assert rig.hang.reached.wait(10)
    assert thread.is_alive()
    with pytest.raises(TransientError, match="still open in this process"):
        Picamera2Camera().open(request_of(SPEC))
    rig.hang.end()
    thread.join(10)
    assert not thread.is_alive()


@pytest.mark.parametrize("call", ["cancel_all_and_flush", "stop", "close"])
def test_a_camera_of_the_pi_hangs_at_close_and_stays_acquired(call, rig, request_of):
    camera = Picamera2Camera()
    camera.open(request_of(SPEC))
    rig.hang.calls.add(call)
    thread = in_thread(camera.close)
    assert rig.hang.reached.wait(10)
    assert rig.owner is not None
    rig.hang.end()
    thread.join(10)
    assert rig.owner is None


@pytest.mark.parametrize("absent_looks", [0, 2])
def test_a_camera_of_the_pi_flaps(absent_looks, rig, frame, request_of):
    rig.flap_after_frames, rig.absent_looks = 3, absent_looks
    camera = Picamera2Camera()
    for again in range(3):
        for _ in range(absent_looks if again else 0):
            with pytest.raises(AbsentError, match="there is no camera 0"):
                camera.open(request_of(SPEC))
        camera.open(request_of(SPEC))
        for _ in range(3):
            camera.capture(frame)
        with pytest.raises(CameraStalled):
            camera.capture(frame)


# --- fake_camera ---------------------------------------------------------------------------------


@pytest.fixture
def blocked(monkeypatch):
    """In place of waiting for ever: the test goes on by an error."""

    class Blocked(BaseException):
        pass

    def block():
        raise Blocked

    monkeypatch.setattr(fake_camera, "block", block)
    return Blocked


def test_a_fake_camera_without_faults_is_the_pattern_camera(frame, request_of):
    camera = FakeCamera(clock=FakeClock())
    camera.open(request_of(SPEC, fps=50))
    for expected in range(5):
        camera.capture(frame)
        assert frame.sequence == read_sequence(frame.pixels) == expected
    camera.close()
    camera.close()
    with pytest.raises(TransientError, match="not open"):
        camera.capture(frame)


def test_a_fake_camera_is_locked_while_it_is_open(tmp_path, request_of):
    lock = str(tmp_path / "lock")
    first, second = (FakeCamera(FakeOptions(exclusive_lock=lock)) for _ in range(2))
    first.open(request_of(SPEC))
    for _ in range(2):
        with pytest.raises(TransientError, match="in use by another program") as caught:
            second.open(request_of(SPEC))
        assert caught.value.exit_code == os.EX_TEMPFAIL
    first.close()
    second.open(request_of(SPEC))


def test_a_fake_camera_is_plugged_in_and_out_by_a_file(tmp_path, frame, request_of):
    plug = tmp_path / "plug"
    camera = FakeCamera(FakeOptions(absent_until_file=str(plug)), FakeClock())
    with pytest.raises(AbsentError, match="no such camera") as caught:
        camera.open(request_of(SPEC))
    assert caught.value.exit_code == os.EX_NOINPUT
    plug.touch()
    camera.open(request_of(SPEC))
    camera.capture(frame)
    plug.unlink()
    with pytest.raises(TransientError, match="unplugged"):
        camera.capture(frame)


def test_a_fake_camera_flaps(frame, request_of):
    camera = FakeCamera(FakeOptions(flap_after_frames=2), FakeClock())
    for _ in range(3):
        camera.open(request_of(SPEC))
        camera.capture(frame)
        camera.capture(frame)
        with pytest.raises(TransientError, match="unplugged"):
            camera.capture(frame)
        camera.close()


@pytest.mark.parametrize("once", [False, True])
def test_a_fake_camera_blocks_for_ever_or_once(once, tmp_path, frame, request_of, blocked):
    options = FakeOptions(block_after_frames=2, block_once=str(tmp_path / "noted") if once else "")
    camera = FakeCamera(options, FakeClock())
    camera.open(request_of(SPEC))
    camera.capture(frame)
    camera.capture(frame)
    with pytest.raises(blocked):
        camera.capture(frame)
    again = FakeCamera(options, FakeClock())
    again.open(request_of(SPEC))
    again.capture(frame)
    again.capture(frame)
    if once:
        again.capture(frame)
    else:
        with pytest.raises(blocked):
            again.capture(frame)


def test_a_fake_camera_hangs_at_open_with_the_camera_held(tmp_path, request_of, blocked, monkeypatch):
    lock, held = str(tmp_path / "lock"), []

    def block():
        with pytest.raises(TransientError, match="in use"):
            FakeCamera(FakeOptions(exclusive_lock=lock)).open(request_of(SPEC))
        held.append(True)
        raise blocked

    monkeypatch.setattr(fake_camera, "block", block)
    with pytest.raises(blocked):
        FakeCamera(FakeOptions(hang_at_open=True, exclusive_lock=lock)).open(request_of(SPEC))
    assert held


def test_a_fake_camera_hangs_at_close_with_the_camera_held(tmp_path, request_of, blocked):
    lock = str(tmp_path / "lock")
    camera = FakeCamera(FakeOptions(hang_at_close=True, exclusive_lock=lock))
    camera.close()  # it was not open
    camera.open(request_of(SPEC))
    with pytest.raises(blocked):
        camera.close()
    with pytest.raises(TransientError, match="in use"):
        FakeCamera(FakeOptions(exclusive_lock=lock)).open(request_of(SPEC))


#: A process that finds the camera by its entry point, opens it and takes ten frames.
TAKER = """
import sys
from gnetsegd.cameras import CaptureRequest
from gnetsegd.config import load
from gnetsegd.frame import Frame, FrameSpec
from gnetsegd.plugins import find

config = load(None, ["camera.driver=fake", *sys.argv[1:]])
camera = find("gnetsegd.cameras", "fake")(config.camera.options["fake"])
frame = Frame(FrameSpec(64, 48), 10)
camera.open(CaptureRequest(frame.spec, 0.0, "stretch", 2.0))
for _ in range(10):
    camera.capture(frame)
print(frame.sequence)
"""


@pytest.fixture
def taker(tmp_path):
    """Starts a process that takes ten frames of the installed fake; ends what has not ended."""
    install(tmp_path / "plugins")
    path = os.pathsep.join([str(tmp_path / "plugins"), str(REPOSITORY)])
    running = []

    def start(**options):
        settings = [f"camera.fake.{name}={value}" for name, value in options.items()]
        command = [sys.executable, "-c", TAKER, *settings]
        running.append(
            subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                env=dict(os.environ, PYTHONPATH=path),
            )
        )  # fmt: skip
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_blocked_fake_camera_is_in_use_until_its_process_ends_and_then_works(tmp_path, taker):
    options = {"exclusive_lock": tmp_path / "lock", "block_after_frames": 5, "block_once": tmp_path / "noted"}
    first = taker(**options)
    deadline = time.monotonic() + 30
    while not options["block_once"].exists():
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    second = taker(**options)
    assert "in use by another program" in second.communicate(timeout=30)[1]
    assert first.poll() is None
    first.kill()
    first.wait()
    assert taker(**options).communicate(timeout=30) == ("9\n", "")


def test_a_fake_camera_crashes_its_process(tmp_path, taker):
    options = {"crash_after_frames": 5, "block_once": tmp_path / "noted"}
    first = taker(**options)
    first.communicate(timeout=30)
    assert first.returncode == -signal.SIGSEGV
    assert taker(**options).communicate(timeout=30) == ("9\n", "")


# --- docs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *(field.name for field in attrs.fields(FakeOptions)),
        *("hang", "held", "flap_after_frames", "absent_opens", "absent_looks", "node", "present", "vanished"),
    ],
)
def test_each_fault_is_documented(name):
    assert f"`{name}`" in SECTION
