from __future__ import annotations

import inspect
import sys

import numpy as np
import pytest

from gnetsegd.cameras.picamera2 import Picamera2Camera, Picamera2Options
from gnetsegd.config import from_dict
from gnetsegd.errors import AbsentError, CameraStalled, ConfigError, PermanentError, TransientError
from gnetsegd.frame import PIXEL_FORMATS, Frame, FrameSpec
from gnetsegd.testing import fake_picamera2
from gnetsegd.testing.clock import FakeClock
from gnetsegd.testing.fake_picamera2 import FakePicamera2, Rig, luminance

SPEC = FrameSpec(224, 224)

#: Of picamera2 0.3.38: the methods that are used, their parameters and how many have defaults.
SIGNATURES = {
    "__init__": (["self", "camera_num", "verbose_console", "tuning", "allocator"], 4),
    "global_camera_info": ([], 0),
    "create_video_configuration": (
        [
            *("self", "main", "lores", "raw", "transform", "colour_space", "buffer_count", "controls"),
            *("display", "encode", "queue", "sensor", "use_case"),
        ],
        12,
    ),
    "configure": (["self", "camera_config"], 1),
    "set_controls": (["self", "controls"], 0),
    "start": (["self", "config", "show_preview"], 2),
    "stop": (["self"], 0),
    "close": (["self"], 0),
    "capture_request": (["self", "wait", "signal_function", "flush"], 3),
    "wait": (["self", "job", "timeout"], 1),
    "cancel_all_and_flush": (["self"], 0),
}


@pytest.fixture
def rig():
    rig = Rig(clock=FakeClock())
    with fake_picamera2.installed(rig):
        yield rig


@pytest.fixture
def frame():
    return Frame(SPEC, 10)


def opened(request, options=None):
    camera = Picamera2Camera(options)
    return camera, camera.open(request)


def test_the_fake_has_the_signatures_of_the_real_one():
    for name, (parameters, defaults) in SIGNATURES.items():
        found = inspect.signature(getattr(FakePicamera2, name)).parameters
        assert list(found) == parameters, name
        assert sum(p.default is not inspect.Parameter.empty for p in found.values()) == defaults, name
    assert isinstance(inspect.getattr_static(FakePicamera2, "global_camera_info"), staticmethod)
    assert isinstance(inspect.getattr_static(FakePicamera2, "camera_controls"), property)


@pytest.mark.parametrize("pad", [64, 32, 256, 1])
@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_pixels_are_read_with_the_real_stride(rig, request_of, pad, pixel_format):
    rig.pad_stride_to = pad
    frame = Frame(FrameSpec(224, 224, pixel_format), 10)
    camera, _ = opened(request_of(frame.spec, fps=30))
    camera.capture(frame)
    camera.capture(frame)
    luma = luminance(1, 224, 224)
    blue, red = luma[::2, ::2] // 2, 255 - luma[::2, ::2] // 2
    if pixel_format == "Y":
        assert np.array_equal(frame.pixels, luma)
    elif pixel_format == "YUV420":
        assert np.array_equal(frame.pixels[:224], luma)
        assert np.array_equal(frame.pixels[224:].reshape(2, 112, 112), [blue, red])
    elif pixel_format == "YUV444":
        wide = [plane.repeat(2, axis=0).repeat(2, axis=1) for plane in (blue, red)]
        assert np.array_equal(frame.pixels, np.dstack([luma, *wide]))
    else:
        assert np.array_equal(frame.pixels, np.dstack([luma, luma // 2, 255 - luma]))
    camera.close()


def test_one_small_full_range_stream_is_asked_for_and_nothing_else(rig, request_of):
    opened(request_of(SPEC, fps=30, geometry="center-crop"))
    config = rig.cameras[0].camera_config
    assert config["main"]["format"] == "YUV420"
    assert config["main"]["size"] == (224, 224)  # not rounded to what libcamera likes best
    assert config["colour_space"].name == "Sycc"
    assert (config["lores"], config["raw"]) == (None, None)
    assert (config["display"], config["encode"], config["queue"]) == (None, None, False)
    assert config["buffer_count"] == 4


@pytest.mark.parametrize(
    ("fps", "limits"), [(30, (33333, 33333)), (100, (10000, 10000)), (500, (4855, 4855))]
)
def test_the_rate_is_set_by_the_frame_duration_within_what_the_sensor_can(rig, request_of, fps, limits):
    camera, info = opened(request_of(SPEC, fps=fps))
    assert rig.cameras[0].controls["FrameDurationLimits"] == limits
    assert info.fps == pytest.approx(1e6 / limits[0])
    assert info.live
    camera.close()


def test_the_cameras_own_rate_lets_it_vary_with_the_light(rig, request_of):
    _, info = opened(request_of(SPEC, fps=0))
    assert rig.cameras[0].controls["FrameDurationLimits"] == (4855, 66667)
    assert info.fps == pytest.approx(206, abs=0.1)


@pytest.mark.parametrize(
    ("mode", "crop", "size"),
    [
        ("center-crop", (1160, 752, 960, 960), (224, 224)),
        ("stretch", (1000, 752, 1280, 960), (224, 224)),
        ("letterbox", (1000, 752, 1280, 960), (224, 168)),
    ],
)
@pytest.mark.parametrize("has_scaler_crops", [False, True])
def test_the_isp_crops_and_the_region_of_the_sensor_is_told(
    rig, request_of, mode, crop, size, has_scaler_crops
):
    rig.has_scaler_crops = has_scaler_crops
    camera, info = opened(request_of(SPEC, fps=30, geometry=mode))
    controls = rig.cameras[0].controls
    # libcamera prefers ScalerCrops where it knows it.
    assert (controls["ScalerCrops"][0] if has_scaler_crops else controls["ScalerCrop"]) == crop
    assert rig.cameras[0].camera_config["main"]["size"] == size
    geometry = info.geometry
    assert (geometry.sensor_width, geometry.sensor_height) == (3280, 2464)
    assert geometry.x == pytest.approx(crop[0] / 3280)
    assert geometry.width == pytest.approx(crop[2] / 3280)
    above = (224 - size[1]) / 2 / size[1] * crop[3]
    assert geometry.y == pytest.approx((crop[1] - above) / 2464)
    assert geometry.height == pytest.approx((crop[3] + 2 * above) / 2464)
    camera.close()


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
@pytest.mark.usefixtures("rig")
def test_a_letterbox_is_padded_with_mid_grey(request_of, pixel_format):
    frame = Frame(FrameSpec(224, 224, pixel_format), 10)
    frame.pixels.fill(7)
    camera, _ = opened(request_of(frame.spec, fps=30, geometry="letterbox"))
    camera.capture(frame)
    luma = frame.pixels[:224] if frame.pixels.ndim == 2 else frame.pixels[..., 0]
    assert (luma[:28] == 128).all()
    assert (luma[196:224] == 128).all()
    assert np.array_equal(luma[28:196], luminance(0, 224, 168))
    assert not (frame.pixels == 7).all(axis=None)


def test_the_sensor_mode_can_be_chosen_for_the_full_field_of_view(rig, request_of):
    options = Picamera2Options(sensor_width=1640, sensor_height=1232)
    _, info = opened(request_of(SPEC, fps=30, geometry="center-crop"), options)
    assert rig.cameras[0].camera_config["sensor"] == {"output_size": (1640, 1232)}
    assert info.geometry.height == 1


def test_time_and_sequence_are_the_sensors(rig, request_of, frame):
    camera, _ = opened(request_of(SPEC, fps=100))
    for expected in range(50):
        camera.capture(frame)
        assert frame.sequence == expected
        assert frame.sensor_timestamp_ns == rig.clock.now_ns()


@pytest.mark.parametrize("fault", ["lose", "skip"])
@pytest.mark.parametrize("fps", [30, 200])
def test_frames_that_the_sensor_or_the_taker_lost_are_counted(rig, request_of, frame, fault, fps):
    camera, _ = opened(request_of(SPEC, fps=fps))
    camera.capture(frame)
    setattr(rig, fault, 3)
    camera.capture(frame)
    assert frame.sequence == 4
    camera.capture(frame)
    assert frame.sequence == 5


def test_a_late_taker_gets_the_newest_frame(rig, request_of, frame):
    camera, _ = opened(request_of(SPEC, fps=100))
    camera.capture(frame)
    rig.clock.pass_s(0.1)
    camera.capture(frame)
    assert frame.sequence == 10
    assert np.array_equal(frame.pixels, luminance(10, 224, 224))


def test_every_request_is_given_back(rig, request_of, frame):
    camera, _ = opened(request_of(SPEC, fps=100))
    for _ in range(20):  # more than there are buffers
        camera.capture(frame)
        assert rig.outstanding == 0


def test_a_request_that_cannot_be_read_is_given_back_too(rig, request_of, frame):
    camera, _ = opened(request_of(SPEC, fps=100))
    rig.unusable = 1
    with pytest.raises(TransientError, match="unreadable buffer"):
        camera.capture(frame)
    assert rig.outstanding == 0
    camera.close()


def test_a_stall_ends_at_the_time_limit_and_the_camera_can_be_closed(rig, request_of, frame):
    camera, _ = opened(request_of(SPEC, fps=100, timeout_s=1.5))
    camera.capture(frame)
    rig.stalled = True
    before_ns = rig.clock.now_ns()
    with pytest.raises(CameraStalled, match="cable"):
        camera.capture(frame)
    assert rig.clock.now_ns() - before_ns == 1_500_000_000
    camera.close()  # the fake refuses while a job is waiting, as the real one may hang
    assert not rig.cameras[0].is_open
    rig.stalled = False
    again, _ = opened(request_of(SPEC, fps=100))
    again.capture(frame)
    assert frame.sequence == 0


def test_an_error_of_the_library_is_transient(rig, request_of, frame):
    camera, _ = opened(request_of(SPEC, fps=100))
    rig.error = RuntimeError("Connection to ISP lost")
    with pytest.raises(TransientError, match="ISP lost"):
        camera.capture(frame)
    camera.close()  # it fails inside, and says so only in the log
    camera.close()


def test_a_camera_that_is_not_there_is_named_with_exit_code_66_and_may_come(rig, request_of, frame):
    camera, _ = opened(request_of(SPEC, fps=100))
    rig.present = False
    with pytest.raises(CameraStalled):
        camera.capture(frame)
    camera.close()
    with pytest.raises(AbsentError, match=r"there is no camera 0.*cable") as caught:
        opened(request_of(SPEC))
    assert caught.value.exit_code == 66
    rig.present = True
    opened(request_of(SPEC))[0].capture(frame)


def test_a_camera_in_use_is_told_with_exit_code_75(rig, request_of):
    rig.busy = True
    with pytest.raises(TransientError, match="in use by another program") as caught:
        opened(request_of(SPEC))
    assert caught.value.exit_code == 75


@pytest.mark.usefixtures("rig")
def test_a_camera_that_this_process_itself_still_holds_is_told_apart(request_of):
    first, _ = opened(request_of(SPEC))
    with pytest.raises(TransientError, match="still open in this process; restart"):
        opened(request_of(SPEC))
    first.close()
    opened(request_of(SPEC))


@pytest.mark.parametrize("error", [MemoryError("no memory"), TypeError("no buffer")])
def test_an_error_while_a_picture_is_copied_leaves_the_camera_free(
    rig, request_of, frame, monkeypatch, error
):
    camera, _ = opened(request_of(SPEC, fps=100))

    def rows_of(memory, *_args, **_options):
        view = np.frombuffer(memory, np.uint8)
        assert view.size
        raise error

    monkeypatch.setattr("gnetsegd.cameras.picamera2.rows_of", rows_of)
    with pytest.raises(TransientError, match="unreadable buffer: no ") as caught:
        camera.capture(frame)
    camera.close()  # while the error, with all that it holds, is still there
    assert caught.value.__cause__ is error
    assert rig.outstanding == 0
    assert rig.owner is None
    assert not rig.cameras[0].is_open


def test_a_camera_that_failed_while_it_was_made_is_free_again(rig, request_of):
    rig.fails = {"_initialize_camera"}
    with pytest.raises(TransientError, match="_initialize_camera failed") as caught:
        opened(request_of(SPEC))
    assert rig.owner is None, caught.value  # while the error, with all that it holds, is still there
    rig.fails = set()
    opened(request_of(SPEC))


def test_a_request_that_cannot_be_given_back_does_not_hide_the_first_error(
    rig, request_of, frame, monkeypatch
):
    camera, _ = opened(request_of(SPEC, fps=100))

    def release(_self):
        raise RuntimeError("negative ref_count")

    monkeypatch.setattr(fake_picamera2.CompletedRequest, "release", release)
    with pytest.raises(TransientError, match="ref_count"):
        camera.capture(frame)
    rig.unusable = 1
    with pytest.raises(TransientError, match="unreadable buffer"):
        camera.capture(frame)


def test_close_frees_the_camera_also_when_a_part_of_it_fails(rig, request_of):
    camera, _ = opened(request_of(SPEC))
    rig.fails = {"cancel_all_and_flush"}
    camera.close()
    assert rig.owner is None


@pytest.mark.parametrize("part", ["cancel_all_and_flush", "stop", "close"])
def test_close_never_raises(rig, request_of, part):
    camera, _ = opened(request_of(SPEC))
    rig.fails = {part}
    camera.close()
    camera.close()


def test_words_of_the_library_are_cleaned(rig, request_of, frame, caplog):
    rig.model = "imx\x1b[2J\n219"
    camera, info = opened(request_of(SPEC, fps=100))
    assert info.description.startswith("imx?[2J 219 ")
    rig.error = RuntimeError("\x1b]0;gone\x07\nWATCHDOG=1")
    with pytest.raises(TransientError) as caught:
        camera.capture(frame)
    assert str(caught.value) == "camera 0: ?]0;gone? WATCHDOG=1"
    with pytest.raises(TransientError) as caught:
        opened(request_of(SPEC))
    assert str(caught.value).isprintable()
    rig.error, rig.fails = None, {"close"}
    camera.close()
    assert all(record.message.isprintable() for record in caplog.records)


@pytest.mark.parametrize("wrong", [{"sensor_width": 640}, {"sensor_height": 480}])
def test_a_sensor_mode_of_half_a_size_is_refused_with_the_file_and_both_keys(wrong):
    table = {"camera": {"driver": "picamera2", "picamera2": wrong}}
    words = r"test: camera\.picamera2\.sensor_width .* camera\.picamera2\.sensor_height .*both"
    with pytest.raises(ConfigError, match=words):
        from_dict(table, "test")


@pytest.mark.parametrize("error", [SystemError, AttributeError, ValueError])
def test_a_picamera2_that_does_not_fit_is_told_as_one_that_is_missing(monkeypatch, error):
    def broken(_name):
        raise error("compiled for another numpy")

    monkeypatch.setattr("gnetsegd.cameras.picamera2.import_module", broken)
    with pytest.raises(PermanentError, match=r"another numpy.*apt install python3-picamera2"):
        Picamera2Camera()


def test_a_failure_while_opening_leaves_nothing_open(rig, request_of, monkeypatch):
    def start(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(FakePicamera2, "start", start)
    camera = Picamera2Camera()
    with pytest.raises(TransientError, match="no memory"):
        camera.open(request_of(SPEC))
    assert not rig.cameras[0].is_open
    camera.close()


def test_without_picamera2_the_sentence_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)
    with pytest.raises(PermanentError, match="apt install python3-picamera2") as caught:
        Picamera2Camera()  # and not within the limited time of open
    assert caught.value.exit_code == 69


@pytest.mark.usefixtures("rig")
def test_capture_needs_an_open_camera(request_of, frame):
    camera = Picamera2Camera()
    with pytest.raises(TransientError, match="not open"):
        camera.capture(frame)
    camera.open(request_of(SPEC))
    camera.close()
    camera.close()
    with pytest.raises(TransientError, match="not open"):
        camera.capture(frame)


def test_the_configuration_takes_its_options_without_picamera2():
    table = {"camera": {"driver": "picamera2", "picamera2": {"hflip": True, "buffer_count": 6}}}
    made = from_dict(table, "test").camera.options["picamera2"]
    assert made == Picamera2Options(hflip=True, buffer_count=6)
