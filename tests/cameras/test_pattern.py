from __future__ import annotations

import itertools

import numpy as np
import pytest

from gnetsegd.cameras.pacing import wait_until
from gnetsegd.cameras.pattern import PatternCamera, PatternOptions, read_sequence, stamp_sequence
from gnetsegd.config import from_dict
from gnetsegd.errors import CameraStalled, ConfigError, EndOfVideo, TransientError
from gnetsegd.frame import PIXEL_FORMATS, Frame, FrameSpec
from gnetsegd.testing.clock import FakeClock


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_the_sequence_can_be_read_back_from_the_pixels(pixel_format, request_of):
    spec = FrameSpec(48, 32, pixel_format)
    camera, frame = PatternCamera(clock=FakeClock()), Frame(spec, 10)
    camera.open(request_of(spec))
    for expected in range(100):
        camera.capture(frame)
        assert frame.sequence == read_sequence(frame.pixels) == expected


@pytest.mark.parametrize("sequence", [0, 1, 255, 2**32 - 1, 2**32, 2**64 - 1])
def test_every_sequence_survives_the_stamp(sequence):
    pixels = np.full((16, 16), 99, np.uint8)
    stamp_sequence(pixels, sequence)
    assert read_sequence(pixels) == sequence


def test_the_stamp_survives_limited_range_and_noise():
    pixels = np.zeros((32, 32), np.uint8)
    stamp_sequence(pixels, 123456789)
    limited = (16 + pixels * (219 / 255) + np.random.default_rng(0).normal(0, 15, pixels.shape)).clip(0, 255)
    assert read_sequence(limited.astype(np.uint8)) == 123456789


@pytest.mark.parametrize("pixels", [np.zeros((32, 32), np.uint8), np.full((32, 32, 3), 255, np.uint8)])
def test_pixels_without_a_stamp_are_told_apart(pixels):
    with pytest.raises(ValueError, match="no sequence number"):
        read_sequence(pixels)


def test_a_single_wrong_bit_is_noticed():
    pixels = np.zeros((32, 32), np.uint8)
    stamp_sequence(pixels, 7)
    pixels[0, 5] ^= 255
    with pytest.raises(ValueError):
        read_sequence(pixels)


@pytest.mark.parametrize("pixel_format", PIXEL_FORMATS)
def test_the_scene_moves_and_fills_the_frame(pixel_format, request_of):
    spec = FrameSpec(64, 64, pixel_format)
    camera, first, second = PatternCamera(clock=FakeClock()), Frame(spec, 10), Frame(spec, 10)
    camera.open(request_of(spec))
    camera.capture(first)
    camera.capture(second)
    luma = (lambda p: p[8:64]) if pixel_format in ("Y", "YUV420") else (lambda p: p[8:, :, 0])
    assert np.array_equal(luma(second.pixels)[1:], luma(first.pixels)[:-1])
    assert luma(first.pixels).std() > 20


def test_paced_frames_come_at_their_due_time(request_of, frame):
    clock = FakeClock()
    camera = PatternCamera(clock=clock)
    info = camera.open(request_of(fps=50))
    assert info.fps == 50
    assert info.live
    stamps = []
    for expected in range(20):
        camera.capture(frame)
        assert frame.sequence == expected
        assert clock.now_ns() == frame.sensor_timestamp_ns
        stamps.append(frame.sensor_timestamp_ns)
    assert {b - a for a, b in itertools.pairwise(stamps)} == {20_000_000}


def test_a_late_taker_loses_frames_and_the_sequence_counts_them(request_of, frame):
    clock = FakeClock()
    camera = PatternCamera(clock=clock)
    camera.open(request_of(fps=100))
    camera.capture(frame)
    start_ns = frame.sensor_timestamp_ns
    clock.pass_s(0.0555)
    camera.capture(frame)
    assert frame.sequence == read_sequence(frame.pixels) == 5
    assert frame.sensor_timestamp_ns == start_ns + 50_000_000
    camera.capture(frame)
    assert frame.sequence == 6


@pytest.mark.parametrize(("rate", "fps"), [("max", 30), ("fps", 0)])
def test_as_fast_as_taken_loses_nothing_however_late(rate, fps, request_of, frame):
    clock = FakeClock()
    camera = PatternCamera(PatternOptions(rate=rate), clock)
    assert not camera.open(request_of(fps=fps)).live
    for expected in range(5):
        clock.pass_s(1)
        camera.capture(frame)
        assert frame.sequence == expected
        assert frame.sensor_timestamp_ns == clock.now_ns()


def test_it_ends_after_its_length_and_stays_ended(request_of, frame):
    camera = PatternCamera(PatternOptions(length_frames=3), FakeClock())
    camera.open(request_of())
    for _ in range(3):
        camera.capture(frame)
    for _ in range(2):
        with pytest.raises(EndOfVideo) as caught:
            camera.capture(frame)
        assert caught.value.exit_code == 0


def test_a_rate_slower_than_the_stall_timeout_is_refused(request_of):
    with pytest.raises(ConfigError, match=r"stall_timeout_s"):
        PatternCamera(clock=FakeClock()).open(request_of(fps=0.4))


def test_a_frame_too_small_for_the_stamp_is_refused(request_of):
    with pytest.raises(ConfigError, match="too small"):
        PatternCamera().open(request_of(FrameSpec(11, 11)))


def test_capture_needs_an_open_camera_and_close_may_be_repeated(request_of, frame):
    camera = PatternCamera(clock=FakeClock())
    camera.close()
    with pytest.raises(TransientError, match="not open"):
        camera.capture(frame)
    camera.open(request_of())
    camera.close()
    camera.close()
    with pytest.raises(TransientError, match="not open"):
        camera.capture(frame)


def test_waiting_never_outlasts_the_limit():
    clock = FakeClock()
    with pytest.raises(CameraStalled):
        wait_until(clock, clock.now_ns() + 3_000_000_000, 2.0, "it")
    assert clock.now_ns() == 3_000_000_000  # began at 1 s


def test_the_configuration_takes_its_options():
    config = from_dict({"camera": {"driver": "pattern", "pattern": {"length_frames": 5}}}, "test")
    assert config.camera.options["pattern"] == PatternOptions(length_frames=5)
    with pytest.raises(ConfigError, match=r"camera\.pattern\.rate.*fps, max"):
        from_dict({"camera": {"driver": "pattern", "pattern": {"rate": "fast"}}}, "test")
