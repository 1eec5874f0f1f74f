"""The whole daemon as a process: masks out, systemd told the truth, signals obeyed."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gnetsegd.cameras.pattern import read_sequence
from gnetsegd.message import parse_json

from .conftest import MODELS, RunningDaemon

av = pytest.importorskip("av")

Start = Callable[..., RunningDaemon]
pytestmark = pytest.mark.runtime


def sequence_in(mask: bytes) -> int:
    """The pattern camera's number, which the threshold network leaves in the mask."""
    return read_sequence(np.frombuffer(mask, np.uint8).reshape(32, 32) * np.uint8(255))


def test_every_mask_of_the_real_network_shows_its_own_frames_number(start: Start) -> None:
    daemon = start("camera.fps=200", "publish.send_hwm_messages=1000")
    reader = daemon.subscribe()
    before = None
    for _ in range(300):
        header, mask = daemon.mask(reader)
        assert sequence_in(mask) == header.sequence % 2**64
        dropped = header.dropped_camera + header.dropped_daemon
        if before is not None:
            assert header.sequence - before[0] == 1 + dropped - before[1]
            assert header.sensor_timestamp_ns > before[2]
        before = header.sequence, dropped, header.sensor_timestamp_ns
        assert header.publish_timestamp_ns >= header.sensor_timestamp_ns


def test_ready_is_said_once_the_network_is_proven_and_status_names_rate_and_backend(start: Start) -> None:
    daemon = start("camera.fps=50")
    daemon.wait_for("READY=1")
    reader = daemon.subscribe()
    daemon.mask(reader)
    assert "ready: pattern with threshold-32 on standin" in daemon.words()
    time.sleep(0.3)
    assert sum("READY=1" in message for message in daemon.notified) == 1
    assert daemon.status()["counters"]["masks"] > 0
    daemon.wait_for("STATUS=running: ")
    assert any("masks/s from standin" in message for message in daemon.notified)


def test_sigterm_ends_it_within_two_seconds_and_the_last_mask_is_delivered(start: Start) -> None:
    daemon = start("camera.fps=100")
    reader, statuses = daemon.subscribe(), daemon.subscribe(b"status/")
    last = daemon.mask(reader)[0]
    assert statuses.poll(5000)
    code, seconds = daemon.stop()
    assert code == 0
    assert seconds < 2.0
    while reader.poll(100):
        last = daemon.mask(reader)[0]
    goodbye = None
    while statuses.poll(100):
        goodbye = statuses.recv()
    assert goodbye is not None
    assert b'"state":"stopping"' in goodbye
    counters = parse_json(goodbye)[2]["counters"]
    assert counters["losses"] == 0
    assert counters["frames"] == counters["masks"] + counters["dropped_daemon"]
    # Frame numbers begin at 0: what was not dropped has a mask, up to the last that was taken.
    assert last.sequence + 1 == counters["masks"] + last.dropped_camera + last.dropped_daemon
    assert any("STOPPING=1" in message for message in daemon.notified)


def test_the_end_of_a_video_is_a_clean_end_after_its_last_mask(start: Start) -> None:
    daemon = start("camera.fps=250", "camera.pattern.length_frames=500", "publish.send_hwm_messages=1000")
    reader = daemon.subscribe()
    first = daemon.mask(reader)[0].sequence
    last = first
    while reader.poll(1000):
        last = daemon.mask(reader)[0].sequence
    # A paced source passes over frames for which it is late, the last ones, too.
    assert 490 <= last <= 499
    assert daemon.process.wait(5) == 0


def test_a_film_whose_end_is_damaged_is_played_once_and_ends_with_65(start: Start, tmp_path: Path) -> None:
    film = tmp_path / "film.mp4"
    with av.open(str(film), "w", options={"movflags": "faststart"}) as container:
        stream = container.add_stream("mjpeg", rate=100)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuvj420p"
        for level in range(60):
            picture = av.VideoFrame.from_ndarray(np.full((96, 64), 2 * level, np.uint8), format="yuv420p")
            for packet in stream.encode(picture.reformat(format="yuvj420p")):
                container.mux(packet)
    with av.open(str(film)) as container:
        packets = [packet.pos for packet in container.demux(video=0) if packet.size]
    content = bytearray(film.read_bytes())
    content[packets[20] + 300] ^= 0xFF  # one in the middle
    film.write_bytes(content[: packets[50] + 100])  # and the end
    daemon = start(
        'camera.driver="video"',
        f'camera.video={{path="{film}", loop=false, rate="fps"}}',
        "camera.fps=100",
        "publish.send_hwm_messages=1000",
    )
    reader = daemon.subscribe()
    numbers = [daemon.mask(reader)[0].sequence]
    while reader.poll(1000):
        numbers.append(daemon.mask(reader)[0].sequence)
    assert daemon.process.wait(5) == os.EX_DATAERR
    assert numbers == sorted(set(numbers))
    assert numbers[-1] <= 49
    assert daemon.words().count("film.mp4: cannot be decoded (it is cut off)") == 1


def test_a_source_that_waits_for_its_taker_loses_no_frame(start: Start) -> None:
    daemon = start("camera.pattern.rate=max", "publish.send_hwm_messages=1000")
    reader = daemon.subscribe()
    numbers = []
    for _ in range(200):
        header, _ = daemon.mask(reader)
        numbers.append(header.sequence)
        assert header.dropped_daemon == header.dropped_camera == 0
    assert numbers == list(range(numbers[0], numbers[0] + 200))


CONFIG = """
[camera]
driver = "pattern"
fps = {fps}
[accelerator]
driver = "standin"
[model]
bundle = "{bundle}"
[publish]
status_interval_s = 0.1
frames = {frames}
"""


def config(fps: float = 100, frames: bool = False, bundle: str = "threshold-32") -> str:
    return CONFIG.format(fps=fps, frames=str(frames).lower(), bundle=MODELS / bundle)


def test_a_reload_takes_over_what_changed_without_reopening_the_camera(start: Start) -> None:
    daemon = start(config=config())
    daemon.wait_for("READY=1")
    pictures = daemon.subscribe(b"frame/")
    assert not pictures.poll(300)
    daemon.config.write_text(config(frames=True))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("RELOADING=1")
    assert pictures.poll(5000)
    assert daemon.words().count("camera cam0: pattern") == 1
    daemon.wait_for_log("reload: done")


def test_a_reload_before_it_is_ready_keeps_the_running_configuration_too(start: Start) -> None:
    absent = config() + '[accelerator.usb]\nserial = "none-such"\n'
    absent = absent.replace('driver = "standin"', 'driver = "usb"')
    assert '"usb"' in absent
    daemon = start(config=absent)
    daemon.wait_for_state("no-accelerator")
    daemon.config.write_text(
        absent.replace('driver = "pattern"', 'driver = "video"\nvideo.path = "/nowhere/clip.mp4"')
    )
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("the running configuration stays")
    daemon.wait_for_state("no-accelerator")
    assert "/nowhere/clip.mp4" in daemon.words()


def test_a_reload_of_the_camera_goes_on_with_the_numbers_and_the_same_socket(start: Start) -> None:
    daemon = start(config=config(fps=50))
    reader = daemon.subscribe()
    before = daemon.mask(reader)[0]
    daemon.config.write_text(config(fps=200))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("reload: done")
    deadline = time.monotonic() + 5
    while daemon.status()["camera_device"]["fps"] != 200 and time.monotonic() < deadline:
        pass
    header, last = before, before.sequence
    while reader.poll(100) and header.sequence < last + 200:
        header, _ = daemon.mask(reader)
        assert header.sequence > before.sequence
        assert header.session == before.session
        before = header
    assert daemon.words().count("camera cam0: pattern") == 2


def test_a_reload_to_another_network_size_changes_the_masks(start: Start) -> None:
    daemon = start(config=config())
    reader = daemon.subscribe()
    assert daemon.mask(reader)[0].format.width == 32
    daemon.config.write_text(config(bundle="threshold-224"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("reload: done")
    deadline = time.monotonic() + 10
    header = daemon.mask(reader)[0]
    while header.format.width == 32:
        assert time.monotonic() < deadline
        header = daemon.mask(reader)[0]
    assert header.format.width == 224
    info = daemon.subscribe(b"info/")
    assert info.poll(3000)


def test_over_a_reload_to_another_network_every_gap_is_counted(start: Start) -> None:
    hwm = "publish.send_hwm_messages=1000"
    daemon = start(hwm, config=config(fps=300))
    reader = daemon.subscribe()
    headers = [daemon.mask(reader)[0]]
    for bundle in ("threshold-224", "threshold-32", "threshold-224"):
        done = daemon.words().count("reload: done")
        daemon.config.write_text(config(fps=300, bundle=bundle))
        daemon.signal(signal.SIGHUP)
        deadline = time.monotonic() + 10
        while daemon.words().count("reload: done") == done:
            assert time.monotonic() < deadline
        width = int(bundle.removeprefix("threshold-"))
        while headers[-1].format.width != width:
            headers.append(daemon.mask(reader)[0])
        headers += [daemon.mask(reader)[0] for _ in range(30)]
    for before, now in itertools.pairwise(headers):
        dropped = now.dropped_daemon - before.dropped_daemon + now.dropped_camera - before.dropped_camera
        assert now.sequence - before.sequence == 1 + dropped
    assert {header.format.width for header in headers} == {32, 224}


def test_after_a_reload_while_it_sleeps_the_watchdog_is_still_fed_and_the_camera_still_sleeps(
    start: Start,
) -> None:
    idle = "\n[idle]\nsleep = true\nlinger_s = 0.1\n"
    daemon = start(config=config() + idle, watchdog_s=1.0)
    daemon.wait_for("READY=1")
    daemon.wait_for_state("idle")
    daemon.config.write_text(config(fps=50) + idle)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("reload: done")
    opened = daemon.words().count("camera cam0: pattern")
    daemon.notified.clear()
    daemon.wait_for("WATCHDOG=1")
    assert daemon.words().count("camera cam0: pattern") == opened


BAD = {
    "typo": ("[camera]\nfsp = 3", "did you mean camera.fps?"),
    "no such network": ("[model]\nbundle = 'nothing'", "there is no"),
    "another name": ("[camera]\ndriver = 'pattern'\nname = 'other'", "changes only with a restart"),
    "5,000 digits": (f"[camera]\nfps = {'9' * 5000}", "gnetsegd.toml"),
    "3,000 brackets": (f"[camera]\nname = {'[' * 3000}", "gnetsegd.toml"),
    "5,000 letters": (f"[model]\nbundle = '{'x' * 5000}'", "model x"),
    "no text": ("\0\1\2", "gnetsegd.toml"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_reload_keeps_the_running_configuration_and_says_so(start: Start, name: str) -> None:
    text, sentence = BAD[name]
    daemon = start(config=config())
    reader = daemon.subscribe()
    daemon.mask(reader)
    daemon.config.write_text(text)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("the running configuration stays")
    assert sentence in daemon.words()
    assert "Traceback" not in daemon.words()
    still_serves(daemon, reader)


def still_serves(daemon: RunningDaemon, reader: Any) -> None:
    while reader.poll(0):
        reader.recv()
    daemon.mask(reader)
    daemon.wait_for("reloaded")


def test_a_reload_whose_file_never_ends_leaves_masks_status_and_signals_as_they_were(start: Start) -> None:
    daemon = start(config=config())
    reader = daemon.subscribe()
    daemon.mask(reader)
    daemon.config.unlink()
    os.mkfifo(daemon.config)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("the running configuration stays")
    still_serves(daemon, reader)
    assert daemon.stop()[0] == 0


def test_a_camera_that_cannot_work_brings_the_one_before_back(start: Start) -> None:
    daemon = start(config=config())
    reader = daemon.subscribe()
    daemon.mask(reader)
    bad = config().replace('driver = "pattern"', 'driver = "video"\nvideo.path = "/nowhere/clip.mp4"')
    daemon.config.write_text(bad)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for_log("the running configuration stays")
    assert "/nowhere/clip.mp4" in daemon.words()
    still_serves(daemon, reader)
    assert daemon.status()["camera_device"]["driver"] == "pattern"


def test_with_nobody_listening_nothing_is_computed_and_the_first_reader_gets_a_fresh_mask(
    start: Start,
) -> None:
    daemon = start("camera.fps=30")
    daemon.wait_for("READY=1")
    status = daemon.wait_for_state("idle")
    assert "the network rests" in status["reason"]
    assert status["counters"]["masks"] == 0
    reader = daemon.subscribe()
    header, _ = daemon.mask(reader)
    assert header.publish_timestamp_ns - header.sensor_timestamp_ns < 1e9
    assert daemon.wait_for_state("running")["counters"]["masks"] > 0
    reader.close()
    daemon.wait_for_state("idle")


def test_with_nobody_listening_and_rest_switched_off_masks_are_computed(start: Start) -> None:
    daemon = start("camera.fps=100", "idle.rest=false", "idle.sleep=false")
    assert daemon.wait_for_state("running")["counters"]["masks"] >= 0
    daemon.wait_for("masks/s from standin")


def test_info_and_a_change_of_state_are_told_at_once_and_not_at_the_next_interval(start: Start) -> None:
    daemon = start("camera.fps=50", "publish.status_interval_s=60")
    infos, statuses = daemon.subscribe(b"info/"), daemon.subscribe(b"status/")
    daemon.wait_for("READY=1")
    assert infos.poll(20_000)
    seen: list[str] = []
    deadline = time.monotonic() + 20
    while seen[-2:] != ["running", "idle"]:
        assert time.monotonic() < deadline, f"only {seen} was told"
        # More than once, as the reader of status may be connected after the others.
        with daemon.subscribe() as reader:
            daemon.mask(reader)
        while statuses.poll(500):
            seen.append(parse_json(statuses.recv())[2]["state"])
    assert "readers take a daemon for dead" in daemon.words()


def test_without_a_camera_it_is_ready_says_so_once_and_takes_the_camera_when_it_comes(
    start: Start, tmp_path: Path
) -> None:
    device = tmp_path / "video7"
    daemon = start("camera.driver=v4l2", f"camera.v4l2.device={device}", watchdog_s=10.0)
    daemon.wait_for("READY=1")
    status = daemon.wait_for_state("no-camera")
    assert str(device) in status["reason"]
    daemon.notified.clear()
    daemon.wait_for("WATCHDOG=1")  # attempts that end are no hang
    assert daemon.words().count(str(device)) == 1
    device.write_text("")  # no camera, but the attempts are seen to go on
    status = daemon.wait_for_state("no-camera")
    while "is no" not in status["reason"] and "not a" not in status["reason"]:
        status = daemon.wait_for_state("no-camera")


def test_with_nobody_listening_the_camera_sleeps_if_configured_and_wakes_for_a_subscriber(
    start: Start,
) -> None:
    daemon = start("camera.fps=100", "idle.sleep=true", "idle.linger_s=0.2", watchdog_s=1.0)
    daemon.wait_for("READY=1")
    daemon.wait_for_log("going to sleep")
    status = daemon.wait_for_state("idle")
    while status["reason"] != "nobody is subscribed":
        status = daemon.wait_for_state("idle")
    frames = status["counters"]["frames"]
    daemon.notified.clear()
    daemon.wait_for("WATCHDOG=1")  # idle is not stuck
    assert daemon.wait_for_state("idle")["counters"]["frames"] == frames
    reader = daemon.subscribe()
    daemon.mask(reader)
    reader.close()
    daemon.wait_for_state("idle")


def test_the_watchdog_is_fed_by_masks(start: Start) -> None:
    daemon = start("camera.fps=100", watchdog_s=2.0)
    daemon.wait_for("READY=1")
    reader = daemon.subscribe()
    daemon.mask(reader)
    daemon.notified.clear()
    time.sleep(2.2)
    assert 3 <= sum("WATCHDOG=1" in message for message in daemon.notified) <= 5


def test_two_daemons_on_one_socket_the_second_says_so_and_the_first_goes_on(start: Start) -> None:
    first = start("camera.fps=50")
    first.wait_for("READY=1")
    second = start("camera.fps=50", f'publish.endpoints=["{first.endpoint}"]')
    assert second.process.wait(10) == 75
    assert "belongs to a gnetsegd that is running" in second.words()
    first.mask(first.subscribe())


@pytest.mark.parametrize("also", ["", ".lock"])
def test_a_socket_whose_file_is_removed_is_made_anew_and_nobody_is_cut(start: Start, also: str) -> None:
    daemon = start("camera.fps=50")
    daemon.wait_for("READY=1")
    reader = daemon.subscribe()
    before, _ = daemon.mask(reader)
    (daemon.folder / "m.sock").unlink()
    if also:
        (daemon.folder / f"m.sock{also}").unlink()
    daemon.wait_for_log("its socket's file was gone, and is made anew")
    late, _ = daemon.mask(daemon.subscribe())
    after, _ = daemon.mask(reader)
    assert before.session == late.session == after.session
    second = start("camera.fps=50", f'publish.endpoints=["{daemon.endpoint}"]')
    assert second.process.wait(10) == 75
    assert daemon.stop()[0] == 0
    assert not (daemon.folder / "m.sock").exists()


@pytest.mark.parametrize("taken", [False, True])
def test_a_daemon_whose_folder_is_gone_or_path_taken_ends_for_a_clean_one(
    start: Start, tmp_path_factory: pytest.TempPathFactory, taken: bool
) -> None:
    folder = tmp_path_factory.mktemp("run") / "gnetsegd"
    folder.mkdir()
    daemon = start("camera.fps=50", f'publish.endpoints=["ipc://{folder}/m.sock"]')
    daemon.wait_for("READY=1")
    if taken:
        (folder / "m.sock").unlink()
        (folder / "m.sock").write_text("another's")
    else:
        folder.rename(folder.with_name("elsewhere"))
    assert daemon.process.wait(10) == 75
    assert "its socket's folder is gone or its path another's" in daemon.words()
    if taken:
        assert (folder / "m.sock").read_text() == "another's"


def test_a_start_is_one_line_that_says_what_came_of_it(start: Start) -> None:
    daemon = start("camera.fps=50")
    daemon.wait_for("READY=1")
    reader = daemon.subscribe()
    daemon.mask(reader)
    daemon.wait_for_state("running")
    lines = [line for line in daemon.words().splitlines() if "gnetsegd" in line or " INFO " in line]
    assert [line for line in lines if "ready: " in line or "starting" in line or "camera" in line] == [
        line for line in lines if "ready: pattern with threshold-32 on standin, camera cam0: pattern" in line
    ]
    assert "publishing on ipc://" in lines[0]


@pytest.mark.parametrize(
    ("settings", "code", "sentence"),
    [
        (["model.bundle=nothing"], 66, "model nothing: there is no"),
        ([f"model.bundle={MODELS / 'float'}"], 65, "of its tensors are float"),
        ([f"model.bundle={MODELS / 'scaled'}"], 65, "its output has scale 0.5"),
        (["camera.driver=video", "camera.video.path=/nowhere/clip.mp4"], 66, "/nowhere/clip.mp4"),
        (["camera.driver=v4l2", "camera.v4l2.device=/dev/null"], 69, "/dev/null: is no video device"),
        (["camera.driver=picamera2"], 69, "python3-picamera2"),
        (["camera.driver=nothing"], 78, "camera.driver is 'nothing'"),
        (['publish.endpoints=["ipc:///nowhere/m.sock"]'], 73, "/nowhere/m.sock.lock cannot be written to"),
        (['publish.endpoints=["tcp://0.0.0.0:5555"]'], 78, "would show the masks to the whole network"),
        (["accelerator.standin.delegate=libnone.so"], 78, "libnone.so cannot be loaded"),
    ],
)
def test_what_cannot_start_ends_with_one_sentence_and_its_exit_code(
    start: Start, settings: list[str], code: int, sentence: str
) -> None:
    daemon = start(*settings)
    assert daemon.process.wait(20) == code, daemon.words()
    words = daemon.words()
    assert sentence in words
    assert "Traceback" not in words
    assert words.splitlines()[-1].startswith("gnetsegd: ")
    assert not any("READY=1" in message for message in daemon.notified)


def test_wrong_command_lines_end_with_64(tmp_path: Path) -> None:
    import subprocess
    import sys

    for arguments in (["run", "--no-such-option"], ["no-such-command"], ["check-config", "a", "b"]):
        command: list[Any] = [sys.executable, "-m", "gnetsegd", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert done.returncode == 64, done.stderr
        assert "Traceback" not in done.stderr
