"""What the link's codec promises to both sides."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link import constants as c
from gnetsegd.link import header as h
from gnetsegd.link import model_upload as m
from gnetsegd.link import requests as r
from gnetsegd.link.errors import IncompatibleDevice, LinkError

U32 = st.integers(0, 2**32 - 1)
U16 = st.integers(0, 2**16 - 1)
U8 = st.integers(0, 255)
#: The same cases each time, and a busy machine is no fault.
steady = settings(deadline=None, derandomize=True)
CAPABILITIES = r.Capabilities(3, 3, (1, 8), (0, 2), 0, 1 << 20, 1 << 24, 65536, None, "x")


def headered(**fields: int) -> bytearray:
    buffer = bytearray(32)
    given_fields = {"kind": 1, "epoch": 2, "sequence": 3, "length": 4} | fields
    h.write_header(buffer, 0, **given_fields)
    return buffer


@steady
@given(U8, U32, U32, U32, U8, U8, U8, U16, U16, U32, st.integers(0, 100))
def test_a_header_comes_back_as_it_was_written_at_any_offset(
    kind: int, epoch: int, sequence: int, length: int, flags: int, pixel: int, code: int,
    width: int, height: int, model_id: int, offset: int,
) -> None:  # fmt: skip
    buffer = bytearray(offset + 32)
    h.write_header(
        buffer, offset, kind, epoch, sequence, length,
        flags=flags, pixel=pixel, code=code, width=width, height=height, model_id=model_id,
    )  # fmt: skip
    assert h.Header(*h.read_header(memoryview(buffer), offset)) == h.Header(
        kind, flags, pixel, code, epoch, sequence, length, width, height, model_id
    )


@steady
@given(st.integers(0, 31), st.integers(0, 7))
def test_no_header_with_one_wrong_bit_is_read(byte: int, bit: int) -> None:
    buffer = headered()
    buffer[byte] ^= 1 << bit
    with pytest.raises(LinkError):
        h.read_header(memoryview(buffer))


@steady
@given(st.binary(max_size=80))
def test_arbitrary_bytes_are_no_header(data: bytes) -> None:
    with pytest.raises(LinkError):
        h.read_header(memoryview(data))


@steady
@given(st.integers(0, 5000), st.sampled_from([0, c.FLAG_CRC]))
def test_no_message_is_a_multiple_of_a_packet_so_it_ends_short(length: int, flags: int) -> None:
    data = h.pack_message(c.Type.RESULT, 1, 1, bytes(length), flags=flags)
    assert len(data) == h.message_size(length, flags)
    assert len(data) % 512
    assert len(data) <= h.in_buffer_size(length)
    assert h.in_buffer_size(length) % 512 == 0


def test_the_pad_is_there_for_multiples_of_a_packet_and_only_then() -> None:
    assert h.message_size(479, 0) == 511
    assert h.message_size(480, 0) == 516
    assert h.message_size(481, 0) == 513
    assert h.message_size(476, c.FLAG_CRC) == 516
    assert h.message_size(480, c.FLAG_CRC) == 516
    assert h.message_size(50176, 0) == 50208


def test_an_answer_fits_in_the_reply_buffer_of_a_frame() -> None:
    from gnetsegd.frame import HEADROOM, Frame

    for mask_bytes in (1, 476, 480, 484, 512, 6272, 50176, 50177):
        frame = Frame(FrameSpec(8, 8), mask_bytes, h.ROOM)
        assert HEADROOM - h.HEADER_SIZE + h.in_buffer_size(mask_bytes) <= len(frame.reply), mask_bytes


@pytest.mark.parametrize("flags", [0, c.FLAG_CRC])
def test_a_flagged_payload_with_a_wrong_bit_is_seen(flags: int) -> None:
    data = bytearray(h.pack_message(c.Type.RESULT, 1, 1, bytes(100), flags=flags))
    assert h.check_payload(memoryview(data), 32, 100, flags)
    data[77] ^= 4
    assert h.check_payload(memoryview(data), 32, 100, flags) is not bool(flags)


def test_a_header_may_be_longer_in_a_later_minor_version_but_not_without_bound() -> None:
    from zlib import crc32

    for length in (0, 28, 32, 34, 36, 64, 68):
        good = length in (32, 36, 64)
        buffer = headered()
        buffer[3] = length
        buffer[28:32] = crc32(buffer[:28]).to_bytes(4, "little")
        if good:
            assert h.Header(*h.read_header(memoryview(buffer))).header_length == length
        else:
            with pytest.raises(LinkError, match="claims a length"):
                h.read_header(memoryview(buffer))


def test_capabilities_of_an_older_minor_are_read_and_absent_fields_are_empty() -> None:
    old = r.Capabilities(0, 2, (8,), (0,), 0, 50176, 0, 0, None, "unseen", minor=0)
    data = old.pack()
    assert len(data) == 96
    assert r.parse_capabilities(data) == r.Capabilities(0, 2, (8,), (0,), 0, 50176, 0, 0, None, "", minor=0)


def test_capabilities_of_a_newer_minor_are_read_as_far_as_they_are_known() -> None:
    data = bytearray(CAPABILITIES.pack() + b"more")
    data[5] = 9
    data[6] = len(data)
    assert r.parse_capabilities(data).minor == 9
    assert r.parse_capabilities(data).firmware == "x"


def test_another_major_version_is_refused_with_both_versions_and_the_remedy() -> None:
    data = bytearray(CAPABILITIES.pack())
    data[4] = 2
    with pytest.raises(IncompatibleDevice, match=r"version 2\.1 .* this host 1\.1; update the host"):
        r.parse_capabilities(data)


@pytest.mark.parametrize("data", [b"", b"GSL", bytes(128), b"\x12\x01" * 64])
def test_a_device_that_is_not_ours_is_refused(data: bytes) -> None:
    with pytest.raises(IncompatibleDevice, match="no gnetseg accelerator"):
        r.parse_capabilities(data)


def test_lengths_over_the_cap_are_refused_before_anything_is_allocated() -> None:
    for offset, size, value in ((12, 1, 17), (16, 4, 0), (16, 4, (64 << 20) + 1)):
        data = bytearray(CAPABILITIES.pack())
        data[offset : offset + size] = value.to_bytes(size, "little")
        with pytest.raises(IncompatibleDevice, match="update its firmware"):
            r.parse_capabilities(data)


@steady
@given(st.binary(max_size=200))
def test_arbitrary_bytes_raise_nothing_but_the_links_own_errors(data: bytes) -> None:
    for parse in (r.parse_capabilities, r.parse_hello, r.parse_status, r.parse_epoch, m.parse_record):
        with contextlib.suppress(LinkError, IncompatibleDevice):
            parse(data)
    for parse_view in (m.parse_chunk, m.parse_progress):
        with contextlib.suppress(LinkError):
            parse_view(memoryview(data))


@steady
@given(st.binary(min_size=124, max_size=160))
def test_arbitrary_capabilities_behind_a_good_magic_never_break_the_reader(tail: bytes) -> None:
    try:
        caps = r.parse_capabilities(b"GSLK\x01" + tail)
    except (LinkError, IncompatibleDevice):
        return
    assert caps.slots <= c.MAX_SLOTS
    assert 0 < caps.max_payload <= c.MAX_PAYLOAD


def test_a_model_record_comes_back_and_nonsense_does_not() -> None:
    record = m.ModelRecord(bytes(range(32)), 9, FrameSpec(224, 160, "RGB"), MaskFormat(112, 80, 8, 21))
    assert m.parse_record(record.pack()) == record
    assert record.model_id == 0x03020100
    for offset, value in ((36, 0), (38, 5000), (40, 1), (40, 7), (42, 1), (42, 300), (44, 0), (46, 9999)):
        data = bytearray(record.pack())
        width = 1 if offset == 40 else 2
        data[offset : offset + width] = value.to_bytes(width, "little")
        with pytest.raises(LinkError):
            m.parse_record(data)


def test_progress_beyond_the_models_end_is_refused() -> None:
    assert m.parse_progress(m.pack_progress(9, 9)) == (9, 9)
    with pytest.raises(LinkError, match="wants byte 10 of a model of 9"):
        m.parse_progress(m.pack_progress(10, 9))


def test_requests_on_endpoint_0_come_back_as_they_were_packed() -> None:
    draw = random.Random(1)
    hello = r.Hello(draw.getrandbits(32), 4, 3)
    assert r.parse_hello(hello.pack()) == hello
    status = r.Status(2, 255, 16, 3, *(draw.getrandbits(32) for _ in range(11)))
    assert r.parse_status(status.pack()) == status
    assert r.parse_epoch(r.pack_epoch(7)) == 7
    assert r.parse_capabilities(CAPABILITIES.pack()) == CAPABILITIES
