from __future__ import annotations

import itertools
import os
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gnetsegd.cameras import pyav
from gnetsegd.cameras.clips import Clip, Picture
from gnetsegd.cameras.films import Film
from gnetsegd.cameras.video import VideoCamera, VideoOptions
from gnetsegd.config import from_dict
from gnetsegd.errors import CameraStalled, EndOfVideo, NotYet, PermanentError, TransientError
from gnetsegd.frame import Frame, FrameSpec
from gnetsegd.testing.clock import FakeClock

from .helpers import av, level, picture_of


@pytest.fixture
def camera_of(request):
    """An opened camera of a path, on a clock of its own; closed at the end."""

    def make(path, capture_request, **options):
        clock = FakeClock()
        camera = VideoCamera(VideoOptions(path=str(path), **options), clock)
        request.addfinalizer(camera.close)
        return camera, clock, camera.open(capture_request)

    return make


def shows(frame: Frame, index: int) -> bool:
    """Whether this is frame ``index`` of a clip of ``make_clip``."""
    return abs(float(frame.pixels.mean()) - level(index)) <= 2.5


def captured(camera, frame, limit=1000):
    """Sequence numbers until the camera raises; and what it raised."""
    seen = []
    try:
        for _ in range(limit):
            camera.capture(frame)
            seen.append(frame.sequence)
    except Exception as error:
        return seen, error
    return seen, None


def test_a_clip_is_replayed_at_its_own_rate(make_clip, camera_of, request_of, frame):
    camera, clock, info = camera_of(make_clip(fps=10), request_of(fps=25), loop=False)
    assert info.fps == 10
    assert info.live
    stamps = []
    for expected in range(20):
        camera.capture(frame)
        assert frame.sequence == expected
        assert shows(frame, expected)
        assert clock.now_ns() == frame.sensor_timestamp_ns
        stamps.append(frame.sensor_timestamp_ns)
    assert {b - a for a, b in itertools.pairwise(stamps)} == {100_000_000}
    with pytest.raises(EndOfVideo) as caught:
        camera.capture(frame)
    assert caught.value.exit_code == 0


def test_frames_that_are_not_taken_in_time_are_lost_and_counted(make_clip, camera_of, request_of, frame):
    camera, clock, _ = camera_of(make_clip(fps=10), request_of())
    camera.capture(frame)
    start_ns = frame.sensor_timestamp_ns
    clock.pass_s(0.45)
    camera.capture(frame)
    assert frame.sequence == 4
    assert shows(frame, 4)
    assert frame.sensor_timestamp_ns == start_ns + 400_000_000
    camera.capture(frame)
    assert frame.sequence == 5
    assert frame.sensor_timestamp_ns == start_ns + 500_000_000


def test_as_fast_as_taken_gives_every_frame(make_clip, camera_of, request_of, frame):
    camera, clock, info = camera_of(make_clip(), request_of(fps=30), rate="max", loop=False)
    assert not info.live
    for expected in range(20):
        clock.pass_s(0.7)
        camera.capture(frame)
        assert frame.sequence == expected
        assert shows(frame, expected)
        assert frame.sensor_timestamp_ns == clock.now_ns()


def test_a_given_rate_replaces_the_clips_own(make_clip, camera_of, request_of, frame):
    camera, _, info = camera_of(make_clip(fps=10), request_of(fps=50), rate="fps")
    assert info.fps == 50
    camera.capture(frame)
    start_ns = frame.sensor_timestamp_ns
    camera.capture(frame)
    assert frame.sensor_timestamp_ns - start_ns == 20_000_000
    assert shows(frame, 1)


def test_a_loop_begins_again_and_the_sequence_goes_on(make_clip, camera_of, request_of, frame):
    camera, _, _ = camera_of(make_clip(frames=5, fps=10), request_of())
    stamps = []
    for expected in range(12):
        camera.capture(frame)
        assert frame.sequence == expected
        assert shows(frame, expected % 5)
        stamps.append(frame.sensor_timestamp_ns)
    assert {b - a for a, b in itertools.pairwise(stamps)} == {100_000_000}


def test_a_jump_in_the_files_own_time_stops_nothing(make_clip, camera_of, request_of, frame):
    path = make_clip("jump.mkv", fps=10, pts=lambda index: index + (36000 if index >= 3 else 0))
    camera, _, _ = camera_of(path, request_of())
    stamps = []
    for _ in range(6):
        camera.capture(frame)
        stamps.append(frame.sensor_timestamp_ns)
    assert {b - a for a, b in itertools.pairwise(stamps)} == {100_000_000}


def test_an_uneven_rate_of_the_file_is_kept(make_clip, camera_of, request_of, frame):
    path = make_clip("uneven.mkv", fps=10, pts=lambda index: index + (index >= 3) * 2)
    camera, _, _ = camera_of(path, request_of())
    stamps = []
    for _ in range(6):
        camera.capture(frame)
        stamps.append(frame.sensor_timestamp_ns // 1_000_000)
    assert [b - a for a, b in itertools.pairwise(stamps)] == [100, 100, 300, 100, 100]


def slow_pictures(clock, decode_s, count=10_000):
    def pictures(self):
        for index in range(count):
            clock.pass_s(decode_s)
            yield Picture(picture_of(np.full((48, 64), 100, np.uint8)), index / 10, self.path)

    return pictures


def test_a_decoder_slower_than_the_film_loses_nothing(make_clip, request_of, frame, monkeypatch):
    clock = FakeClock()
    camera = VideoCamera(VideoOptions(path=str(make_clip(fps=10))), clock)
    monkeypatch.setattr(Clip, "pictures", slow_pictures(clock, 0.25))
    camera.open(request_of(fps=10))
    for expected in range(20):
        camera.capture(frame)
        assert frame.sequence == expected
        assert clock.now_ns() - frame.sensor_timestamp_ns < 100_000_000


def test_catching_up_after_a_long_pause_does_not_outlast_the_limit(make_clip, request_of, frame, monkeypatch):
    clock = FakeClock()
    camera = VideoCamera(VideoOptions(path=str(make_clip(fps=10))), clock)
    monkeypatch.setattr(Clip, "pictures", slow_pictures(clock, 0.05))
    camera.open(request_of(fps=10, timeout_s=2))
    camera.capture(frame)
    clock.pass_s(600)
    before_ns = clock.now_ns()
    camera.capture(frame)
    assert clock.now_ns() - before_ns <= 2_000_000_000
    assert frame.sequence > 1
    assert clock.now_ns() - frame.sensor_timestamp_ns < 100_000_000


def test_a_folder_of_pictures_of_any_size_and_format_is_taken_by_name(tmp_path, camera_of, request_of, frame):
    image = pytest.importorskip("PIL.Image")
    image.new("L", (64, 64), 50).save(tmp_path / "b%03d.png")
    image.new("RGB", (100, 30), (200, 200, 200)).save(tmp_path / "a.jpg")
    image.new("RGBA", (31, 77), (90, 90, 90, 255)).save(tmp_path / "c.png")
    (tmp_path / "notes.txt").write_text("not a picture")
    camera, clock, info = camera_of(tmp_path, request_of(fps=4, geometry="center-crop"), loop=False)
    assert info.fps == 4
    levels = []
    for _ in range(3):
        camera.capture(frame)
        levels.append(round(float(frame.pixels.mean())))
    assert levels == pytest.approx([200, 50, 90], abs=2)
    assert clock.now_ns() == frame.sensor_timestamp_ns
    assert isinstance(captured(camera, frame)[1], EndOfVideo)


def test_one_picture_is_a_video_of_one_frame(tmp_path, camera_of, request_of, frame):
    image = pytest.importorskip("PIL.Image")
    image.new("L", (64, 64), 50).save(tmp_path / "one.png")
    camera, _, _ = camera_of(tmp_path / "one.png", request_of(fps=10))
    assert captured(camera, frame, 5)[0] == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("codec", "av_name"),
    [
        ("mjpeg", "yuvj420p"),
        ("ffv1", "yuv444p"),
        ("ffv1", "yuv422p"),
        ("ffv1", "gray"),
        ("ffv1", "yuv420p10le"),
    ],
)
def test_other_pixel_formats_are_taken(codec, av_name, make_clip, camera_of, request_of, frame, tmp_path):
    if av_name == "yuv420p10le":
        path = tmp_path / "ten.mkv"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("ffv1", rate=10)
            stream.width, stream.height, stream.pix_fmt = 64, 48, av_name
            picture = picture_of(np.full((48, 64), 126, np.uint8)).reformat(format=av_name)
            picture.pts = 0
            for packet in [*stream.encode(picture), *stream.encode(None)]:
                container.mux(packet)
        want = 128
    else:
        path = make_clip("other.mkv", codec=codec, av_name=av_name, frames=2)
        # The clip maker writes limited range; what is full range by its format stays as written.
        want = level(0) if av_name.startswith("yuv4") else round(16 + level(0) * 219 / 255)
    camera, _, _ = camera_of(path, request_of())
    camera.capture(frame)
    assert abs(float(frame.pixels.mean()) - want) <= 2.5


def opening(path, capture_request, **options):
    camera = VideoCamera(VideoOptions(path=str(path), **options), FakeClock())
    with pytest.raises(PermanentError) as caught:
        camera.open(capture_request)
    camera.close()
    return caught.value


def test_a_missing_file_is_named_with_exit_code_66(tmp_path, request_of):
    error = opening(tmp_path / "none.mp4", request_of())
    assert error.exit_code == os.EX_NOINPUT
    assert "none.mp4" in str(error)
    assert "camera.video.path" in str(error)


def test_a_film_that_the_service_cannot_see_is_told_so(request_of, monkeypatch):
    monkeypatch.setenv("INVOCATION_ID", "f" * 32)
    camera = VideoCamera(VideoOptions(path="/home/nobody-at-all/street.mp4"), FakeClock())
    with pytest.raises(PermanentError, match=r"no such file; .* \(a service sees nothing of /home and /tmp"):
        camera.open(request_of())


def test_no_path_at_all_is_an_error_of_the_configuration(request_of):
    assert opening("", request_of()).exit_code == os.EX_CONFIG


def test_an_empty_folder_says_what_to_put_there(tmp_path, request_of):
    error = opening(tmp_path, request_of())
    assert error.exit_code == os.EX_NOINPUT
    assert ".png" in str(error)


def test_a_device_is_not_read_for_ever(request_of):
    assert opening("/dev/zero", request_of()).exit_code == os.EX_NOINPUT


@pytest.mark.parametrize("name", ["film.mp4", "picture.jpg"])
def test_an_empty_file_is_said_to_be_empty(name, tmp_path, request_of):
    (tmp_path / name).touch()
    camera = VideoCamera(VideoOptions(path=str(tmp_path / name)), FakeClock())
    with pytest.raises(PermanentError, match=f"{name}: is empty; copy it again") as raised:
        camera.open(request_of())
    assert raised.value.exit_code == os.EX_DATAERR


def test_a_file_of_the_kernel_is_not_waited_for(request_of):
    camera = VideoCamera(VideoOptions(path="/proc/self/status"), FakeClock())
    with pytest.raises(PermanentError, match="status: is empty"):
        camera.open(request_of())


@pytest.mark.parametrize("name", ["a.png", "b.png"], ids=["the first", "a later one"])
def test_a_pipe_among_pictures_is_passed_over_and_not_waited_for(name, tmp_path, request_of, frame, caplog):
    image = pytest.importorskip("PIL.Image")
    os.mkfifo(tmp_path / name)
    for other in {"a.png", "b.png"} - {name}:
        image.new("L", (64, 64), 50).save(tmp_path / other)
    camera = VideoCamera(VideoOptions(path=str(tmp_path), loop=False), FakeClock())
    camera.open(request_of(fps=10))
    seen, end = captured(camera, frame)
    assert (len(seen), end.exit_code) == (1, 0)
    assert camera.lost == {"unreadable": 1}
    assert f"{name}: is no file" in caplog.text


def test_a_name_that_no_file_can_have_is_one_that_is_not_there(request_of):
    assert opening("a\0b.mp4", request_of()).exit_code == os.EX_NOINPUT


def test_names_of_files_are_cleaned_in_sentences(tmp_path, request_of):
    (tmp_path / "a\x1b[2J\nWATCHDOG=1.png").write_bytes(b"no picture")
    error = opening(tmp_path, request_of())
    assert str(error).isprintable()
    assert "a?[2J WATCHDOG=1.png: cannot be decoded" in str(error)


def test_a_picture_that_cannot_be_converted_is_lost_and_said_in_clean_words(
    make_clip, camera_of, request_of, frame, monkeypatch, caplog
):
    camera, _, _ = camera_of(make_clip(frames=5), request_of(), loop=False)

    def scale(*_):
        raise av.error.InvalidDataError(1, "bad\x1b[2J\ndata")

    monkeypatch.setattr("gnetsegd.cameras.scale.Scaler.scale", scale)
    seen, _ = captured(camera, frame, 3)
    assert seen == []
    assert camera.lost["damaged"] > 1
    assert "cannot be converted ([Errno 1] bad?[2J data)" in caplog.text


def test_a_picture_that_cannot_be_converted_is_told_at_opening(make_clip, request_of, monkeypatch):
    def fit(*_):
        raise av.error.InvalidDataError(1, "no filter")

    monkeypatch.setattr("gnetsegd.cameras.scale.Scaler.fit", fit)
    assert opening(make_clip(), request_of()).exit_code == os.EX_DATAERR


@pytest.mark.parametrize(("step_s", "found"), [(0.4, True), (6, False)])
def test_a_video_is_searched_for_its_first_picture_only_so_long(
    step_s, found, make_clip, request_of, monkeypatch
):
    clock = FakeClock()
    camera = VideoCamera(VideoOptions(path=str(make_clip())), clock)
    real = Film.images

    def slow(self):
        for _ in range(3):
            clock.pass_s(step_s)
            yield None
        yield from real(self)

    monkeypatch.setattr(Film, "images", slow)
    if found:
        camera.open(request_of())
        return
    with pytest.raises(CameraStalled, match=r"no picture in it is found within 3 s"):
        camera.open(request_of())


def test_searching_and_waiting_together_keep_to_the_time_limit(make_clip, request_of, frame, monkeypatch):
    clock = FakeClock()
    camera = VideoCamera(VideoOptions(path=str(make_clip())), clock)
    camera.open(request_of(timeout_s=2.0))
    begun_ns, take = clock.now_ns(), camera._take

    def searched():
        picture, sequence, _ = take()
        clock.pass_s(0.5)
        return picture, sequence, clock.now_ns() + 1_800_000_000

    monkeypatch.setattr(camera, "_take", searched)
    with pytest.raises(NotYet):
        camera.capture(frame)
    assert clock.now_ns() - begun_ns == 2_000_000_000
    camera.capture(frame)  # and it comes when it is due
    assert clock.now_ns() - begun_ns == 2_300_000_000
    assert shows(frame, 0)


def test_close_never_raises(make_clip, request_of, caplog):
    camera = VideoCamera(VideoOptions(path=str(make_clip())), FakeClock())
    camera.open(request_of())

    class Broken:
        def close(self):
            raise ValueError("generator already executing")

    camera._pictures = Broken()
    camera.close()
    assert "closing it failed: generator already executing" in caplog.text


def test_an_unreadable_file_is_named_with_exit_code_77(make_clip, request_of, monkeypatch):
    # Root may read everything: so the refusal is made up.
    def refuse(name, *_):
        raise PermissionError(13, "Permission denied", name)

    path = make_clip()
    monkeypatch.setattr("gnetsegd.cameras.clips.os.open", refuse)
    error = opening(path, request_of())
    assert error.exit_code == os.EX_NOPERM
    assert "clip.mp4" in str(error)


@pytest.mark.parametrize("content", [b"", b"hello " * 500, b"\0" * 5000], ids=["empty", "text", "zeros"])
@pytest.mark.parametrize("name", ["a.mp4", "a.png"])
def test_what_is_no_video_is_named_with_exit_code_65(content, name, tmp_path, request_of):
    (tmp_path / name).write_bytes(content)
    error = opening(tmp_path / name, request_of())
    assert error.exit_code == os.EX_DATAERR
    assert name in str(error)


def test_sound_alone_is_no_video(tmp_path, request_of):
    path = tmp_path / "sound.wav"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        sound.sample_rate = 8000
        for packet in [*stream.encode(sound), *stream.encode(None)]:
            container.mux(packet)
    error = opening(path, request_of())
    assert error.exit_code == os.EX_DATAERR
    assert "no video" in str(error)


def test_a_picture_that_vanishes_from_a_looping_folder_is_passed_over_and_named(
    tmp_path, camera_of, request_of, frame, caplog
):
    image = pytest.importorskip("PIL.Image")
    for name in ("a.png", "b.png"):
        image.new("L", (64, 64), 50).save(tmp_path / name)
    camera, _, _ = camera_of(tmp_path, request_of(fps=10))
    camera.capture(frame)
    (tmp_path / "b.png").unlink()
    camera.capture(frame)
    assert frame.sequence == 2  # the lost one has its number
    assert "b.png: there is no such file" in caplog.text
    (tmp_path / "a.png").unlink()
    with pytest.raises(PermanentError, match=r"a\.png") as caught:
        camera.capture(frame)
    assert caught.value.exit_code == os.EX_NOINPUT


def test_the_part_of_the_picture_that_is_seen_is_told(make_clip, camera_of, request_of):
    _, _, info = camera_of(make_clip(size=(64, 48)), request_of(geometry="center-crop"))
    geometry = info.geometry
    assert (geometry.sensor_width, geometry.sensor_height) == (64, 48)
    assert (geometry.x, geometry.width) == (8 / 64, 48 / 64)


def test_files_are_closed_also_after_errors_and_close_may_be_repeated(make_clip, request_of, frame, tmp_path):
    def open_files():
        return len(list(Path("/proc/self/fd").iterdir()))

    path = make_clip()
    (tmp_path / "bad.mp4").write_bytes(b"hello " * 500)
    before = open_files()
    camera = VideoCamera(VideoOptions(path=str(path)), FakeClock())
    for _ in range(3):
        camera.open(request_of())
        camera.capture(frame)
        camera.close()
        camera.close()
        opening(tmp_path / "bad.mp4", request_of())
    assert open_files() == before
    with pytest.raises(TransientError, match="not open"):
        camera.capture(frame)


def patient(camera, frame):
    """Capture as the road does: where nothing is due it asks again; how often that was."""
    for asked in range(100):
        try:
            camera.capture(frame)
        except NotYet:
            continue
        return asked
    raise AssertionError("no frame came")


def test_a_film_of_one_picture_in_five_seconds_is_played_as_it_is(make_clip, camera_of, request_of, frame):
    path = make_clip("slow.mkv", fps=10, frames=4, pts=lambda index: 50 * index)
    camera, _, info = camera_of(path, request_of(timeout_s=1.6), loop=False)
    assert info.rests
    assert info.fps == pytest.approx(0.2)
    stamps = []
    for expected in range(4):
        assert patient(camera, frame) == (3 if expected else 0)
        assert frame.sequence == expected
        assert shows(frame, expected)
        stamps.append(frame.sensor_timestamp_ns // 1_000_000)
    assert [b - a for a, b in itertools.pairwise(stamps)] == [5000, 5000, 5000]


def test_the_picture_on_which_a_film_rests_is_shown_also_when_it_is_taken_late(
    make_clip, camera_of, request_of, frame
):
    path = make_clip("rest.mkv", fps=10, frames=6, pts=lambda index: index + (index >= 3) * 100)
    camera, clock, _ = camera_of(path, request_of())
    camera.capture(frame)
    clock.pass_s(0.75)
    assert patient(camera, frame) == 0
    assert frame.sequence == 2
    assert shows(frame, 2)
    assert patient(camera, frame) > 0
    assert frame.sequence == 3


@pytest.mark.parametrize("rate", [30, 90_000])
def test_a_rate_that_the_pictures_times_contradict_is_not_believed(
    rate, make_clip, camera_of, request_of, monkeypatch
):
    path = make_clip("rate.mkv", fps=10)
    monkeypatch.setattr("gnetsegd.cameras.pyav.frame_rate", lambda _: rate if rate < 1000 else 0.0)
    _, _, info = camera_of(path, request_of())
    assert info.fps == pytest.approx(10)


def test_over_a_thousand_a_second_is_no_rate():
    stream = SimpleNamespace(average_rate=None, base_rate=90_000)
    assert pyav.frame_rate(stream) == 0
    assert pyav.frame_rate(SimpleNamespace(average_rate=25, base_rate=90_000)) == 25


def test_colour_models_get_colour_frames(make_clip, camera_of, request_of):
    frame = Frame(FrameSpec(32, 32, "RGB"), 10)
    camera, _, _ = camera_of(make_clip(), request_of(frame.spec))
    camera.capture(frame)
    assert abs(frame.pixels.astype(int) - level(0)).max() <= 4


def test_the_configuration_takes_its_options():
    table = {"camera": {"driver": "video", "video": {"path": "/a.mp4", "rate": "max", "loop": False}}}
    made = from_dict(table, "test").camera.options["video"]
    assert made == VideoOptions(path="/a.mp4", rate="max", loop=False)
