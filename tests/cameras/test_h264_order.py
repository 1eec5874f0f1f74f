"""The numbers of H.264 tell which pictures are missing, and hostile ones tell nothing."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from gnetsegd.cameras.h264_order import Order

from .helpers import av, picture_of


def encoded(count=30, **options):
    codec = av.CodecContext.create("libx264", "w")
    codec.width, codec.height, codec.pix_fmt = 64, 48, "yuv420p"
    codec.time_base, codec.framerate = Fraction(1, 30), Fraction(30)
    codec.options = {"g": "12", "threads": "1", "sc_threshold": "0"} | options
    made = []
    for number in range(count):
        image = picture_of(np.full((48, 64), 20 + 5 * number, np.uint8))
        image.pts = number
        made += [bytes(packet) for packet in codec.encode(image)]
    return made + [bytes(packet) for packet in codec.encode(None)]


KINDS = {
    "a camera's": {"tune": "zerolatency", "profile": "baseline"},
    "slices": {"tune": "zerolatency", "slices": "4"},
    "B-frames": {"bf": "2"},
    "a pyramid of B-frames": {"bf": "3", "b-pyramid": "normal"},
    "several references": {"refs": "4", "bf": "0"},
    "fields": {"x264-params": "interlaced=1:bframes=0"},
    "no key frames but refreshed in columns": {"intra-refresh": "1", "bf": "0"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_missing_from_a_whole_stream(kind):
    order = Order()
    assert not any(order.has_gap(packet) for packet in encoded(60, **KINDS[kind]))


@pytest.mark.parametrize("kind", ["a camera's", "slices", "several references"])
def test_each_picture_that_others_are_made_from_is_missed(kind):
    packets = encoded(**KINDS[kind])
    for lost in range(1, len(packets) - 1):
        order, gaps = Order(), []
        for number, packet in enumerate(packets):
            if number != lost and order.has_gap(packet):
                gaps.append(number)
        # A key frame needs none, so what is lost just before one is missed by nobody.
        assert gaps == ([] if lost % 12 == 11 else [lost + 1])


def test_of_b_frames_nobody_misses_any():
    packets = encoded(**KINDS["B-frames"])
    sizes = [len(packet) for packet in packets]
    order = Order()
    # Those that nothing is made from are told by their first byte.
    left = [packet for packet in packets if packet[packet.index(b"\0\0\1") + 3] & 0x60]
    assert len(left) < len(sizes)
    assert not any(order.has_gap(packet) for packet in left)


def test_parameters_may_come_ahead_of_the_stream():
    first, *packets = encoded(**KINDS["a camera's"])
    order = Order(first)
    assert [order.has_gap(packet) for packet in packets[2:5]] == [True, False, False]


def test_hostile_bytes_tell_nothing_and_end():
    random = np.random.default_rng(3)
    packets = encoded()
    order = Order(b"\0\0\1\x67")
    for _ in range(3000):
        data = bytearray(packets[random.integers(len(packets))][:200])
        for _ in range(random.integers(1, 20)):
            data[random.integers(len(data))] = random.integers(256)
        order.has_gap(bytes(data[: random.integers(len(data) + 1)]))
    assert not order.has_gap(b"\0\0\1" * 100_000)
    assert not order.has_gap(b"\0\0\1\x67" + b"\0" * 100)
    assert not order.has_gap(b"\0\0\1\x41" + b"\xff" * 100)
