"""Each fault does on the wire what its row in the table says, once, and then the device works on."""

from __future__ import annotations

import errno
import time

import pytest
import usb.core
import usb.util
from gnetseg_device.device import MockDevice
from gnetseg_device.faults import DEFECT, FAULTS, Injector

from gnetsegd.errors import PermanentError
from gnetsegd.link import constants as c
from gnetsegd.link.constants import Request, Type
from gnetsegd.link.errors import LinkError
from gnetsegd.link.header import HEADER_SIZE, Header, check_payload, message_size, pack_message, read_header
from gnetsegd.link.model_upload import ModelRecord, pack_chunk
from gnetsegd.link.requests import parse_capabilities

from .host import EPOCH, UsbHost, bundle, expected, frame_message, picture

MODEL = bundle()
PICTURES = [picture(MODEL, seed) for seed in range(4)]
MASKS = [expected(MODEL, pixels).tobytes() for pixels in PICTURES]

#: What a host sees that sends three frames and reads three answers: one word each, up to the first fault.
SEEN = {
    "unplug-idle": ["ENODEV"],
    "unplug-out": ["ENODEV"],
    "unplug-in": ["sent", "sent", "sent", "ENODEV"],
    "replug": ["ENODEV"],
    "replug-elsewhere": ["ENODEV"],
    "reboot-lost-model": ["ENODEV"],
    "stall-out": ["EPIPE"],
    "stall-in": ["sent", "sent", "sent", "EPIPE"],
    "timeout": ["sent", "sent", "sent", "ETIMEDOUT"],
    "timeout-out": ["ETIMEDOUT"],
    "short-read": ["sent", "sent", "sent", "short message"],
    "short-write": ["short write"],
    "zero-length-packet": ["sent", "sent", "sent", "short header"],
    "garbage-header": ["sent", "sent", "sent", "bad header"],
    "bad-header-crc": ["sent", "sent", "sent", "bad header"],
    "bad-payload-crc": ["sent", "sent", "sent", "bad payload"],
    "wrong-sequence": ["sent", "sent", "sent", "sequence 1001"],
    "duplicate-sequence": ["sent", "sent", "sent", "mask 1", "sequence 1"],
    "missing-sequence": ["sent", "sent", "sent", "sequence 2"],
    "reordered-sequence": ["sent", "sent", "sent", "sequence 2"],
    "stale-epoch": ["sent", "sent", "sent", "stale", "sequence 2"],
    "over-cap-length": ["sent", "sent", "sent", "over cap"],
    "mask-size": ["sent", "sent", "sent", "wrong size"],
    "error-reply": ["sent", "sent", "sent", "error 11", "mask 2", "mask 3"],
    "no-memory": ["ENOMEM"],
    "mute": ["sent", "sent", "sent", "ETIMEDOUT"],
    "slow": ["sent", "sent", "sent", "ETIMEDOUT"],
}
ELSEWHERE = {
    "unplug-upload",
    "older-minor",
    "other-major",
    "not-ours",
    "no-credit",
    "permission",
    "busy",
    "full-speed",
}


def opened(mock: MockDevice, epoch: int = EPOCH) -> UsbHost:
    host = UsbHost(mock)
    usb.util.claim_interface(host.device, 0)
    host.hello(epoch, features=c.Feature.PAYLOAD_CRC)
    return host


def look(data: bytes, epoch: int, sequence: int) -> str:
    """One answer through all the checks that docs/protocol.md demands of a host."""
    view = memoryview(data)
    if len(view) < HEADER_SIZE:
        return "short header"
    try:
        header = Header(*read_header(view))
    except LinkError:
        return "bad header"
    if header.epoch != epoch:
        return "stale"
    if header.sequence != sequence:
        return f"sequence {header.sequence}"
    if header.length > 4096:
        return "over cap"
    if len(view) != message_size(header.length, header.flags):
        return "short message"
    if not check_payload(view, HEADER_SIZE, header.length, header.flags):
        return "bad payload"
    if header.type == Type.ERROR:
        return f"error {header.code}"
    if header.length != MODEL.mask.size_bytes:
        return "wrong size"
    assert bytes(view[HEADER_SIZE : HEADER_SIZE + header.length]) == MASKS[sequence], (
        "a wrong mask got through"
    )
    return f"mask {sequence}"


def drive(host: UsbHost, epoch: int = EPOCH) -> list[str]:
    """Three frames, three answers; what was seen, up to the first fault."""
    seen = []
    try:
        for sequence in (1, 2, 3):
            message = frame_message(MODEL, PICTURES[sequence], sequence, epoch=epoch, flags=c.FLAG_CRC)
            count = host.write(message, timeout_ms=20)
            seen.append("sent" if count == len(message) else "short write")
            if count != len(message):
                return seen
        sequence = 1
        while sequence <= 3:
            word = look(host.read(2048, timeout_ms=20), epoch, sequence)
            seen.append(word)
            if word == "stale":
                continue
            if not word.startswith(("mask ", "error")):
                return seen
            sequence += 1
    except usb.core.USBError as error:
        seen.append(errno.errorcode[error.errno])
    return seen


def recover(mock: MockDevice, host: UsbHost, epoch: int) -> UsbHost:
    """ABORT and clear halt; if the device is gone, wait for it and open it anew."""
    try:
        host.abort(epoch)
        host.device.clear_halt(0x01)
        host.device.clear_halt(0x81)
        return host
    except usb.core.USBError as error:
        if error.errno != errno.ENODEV:
            raise
    deadline = time.monotonic() + 5
    while not mock.port.attachment:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return opened(mock, epoch)


def test_every_fault_of_the_table_is_tested_here() -> None:
    """Defects are in test_defects.py."""
    assert set(SEEN) | ELSEWHERE == {name for name, fault in FAULTS.items() if fault.place != DEFECT}


@pytest.mark.parametrize("name", list(SEEN))
def test_the_host_sees_what_the_table_says_and_no_wrong_mask_and_then_it_works(name: str) -> None:
    mock = MockDevice(model=MODEL, seed=3)
    host = opened(mock)
    mock.inject(name)
    assert drive(host) == SEEN[name]
    assert mock.injected[name] >= 1
    mock.clear()
    host = recover(mock, host, EPOCH + 1)
    if name == "reboot-lost-model":
        capabilities = parse_capabilities(host.ask(Request.CAPABILITIES))
        assert capabilities.model is None
        return
    assert drive(host, EPOCH + 1) == ["sent"] * 3 + ["mask 1", "mask 2", "mask 3"]


def test_replug_elsewhere_comes_back_on_another_port_of_another_bus() -> None:
    mock = MockDevice(model=MODEL)
    host = opened(mock)
    mock.inject("replug-elsewhere")
    drive(host)
    again = recover(mock, host, 9)
    assert again.device.bus != host.device.bus
    assert again.device.port_number != host.device.port_number
    assert again.device.serial_number == host.device.serial_number


def test_unplug_during_an_upload_leaves_the_old_model_and_no_half_of_the_new_one() -> None:
    mock = MockDevice(model=MODEL)
    host = opened(mock)
    new = bundle(bytes(3000))
    mock.inject("unplug-upload")
    host.write(pack_message(Type.MODEL_BEGIN, EPOCH, 1, ModelRecord.of(new).pack(), flags=c.FLAG_CRC))
    host.read()
    with pytest.raises(usb.core.USBError) as caught:
        host.write(pack_message(Type.MODEL_CHUNK, EPOCH, 2, pack_chunk(0, new.content), flags=c.FLAG_CRC))
    assert caught.value.errno == errno.ENODEV
    host = recover(mock, host, 9)
    assert mock.engine.uploading is False
    assert drive(host, 9)[3:] == ["mask 1", "mask 2", "mask 3"]


def test_an_older_minor_is_read_and_another_major_refused() -> None:
    mock = MockDevice(model=MODEL)
    host = UsbHost(mock)
    mock.inject("older-minor")
    old = parse_capabilities(host.ask(Request.CAPABILITIES))
    assert (old.minor, old.firmware, old.slots) == (0, "", 3)
    mock.clear()
    mock.inject("other-major")
    with pytest.raises(PermanentError, match=r"version 2\.0"):
        parse_capabilities(host.ask(Request.CAPABILITIES))
    mock.clear()
    assert parse_capabilities(host.ask(Request.CAPABILITIES)).minor == 1


def test_no_credit_grants_no_slots_and_a_foreign_product_stalls() -> None:
    mock = MockDevice(model=MODEL)
    host = UsbHost(mock)
    mock.inject("no-credit")
    assert parse_capabilities(host.ask(Request.CAPABILITIES)).slots == 0
    mock.clear()
    mock.inject("not-ours")
    with pytest.raises(usb.core.USBError, match="Pipe"):
        host.ask(Request.CAPABILITIES)


def test_permission_busy_and_full_speed_are_what_libusb_says() -> None:
    mock = MockDevice(model=MODEL)
    for name, number in (("permission", errno.EACCES), ("busy", errno.EBUSY)):
        device = usb.core.find(backend=mock.backend, idVendor=0x1209)
        mock.inject(name)
        with pytest.raises(usb.core.USBError) as caught:
            usb.util.claim_interface(device, 0)
        assert caught.value.errno == number
        mock.clear()
        usb.util.claim_interface(device, 0)
        usb.util.dispose_resources(device)
    mock.inject("full-speed")
    assert usb.core.find(backend=mock.backend).speed == usb.util.SPEED_FULL


def test_a_slow_device_gives_the_right_masks_to_a_host_that_waits() -> None:
    mock = MockDevice(model=MODEL)
    host = opened(mock)
    mock.inject("slow")
    host.write(frame_message(MODEL, PICTURES[1], 1, flags=c.FLAG_CRC))
    begun = time.monotonic()
    assert look(host.read(2048, timeout_ms=5000), EPOCH, 1) == "mask 1"
    assert time.monotonic() - begun > 0.04


def test_the_same_seed_gives_the_same_faults() -> None:
    def run(seed: int) -> list[str]:
        injector = Injector(seed)
        injector.arm("timeout", 0.1)
        injector.arm("stall-in", 0.1)
        return [injector.draw("in") for _ in range(200)]

    assert run(1) == run(1) != run(2)
    assert 5 < sum(word == "timeout" for word in run(1)) < 40


def test_a_fault_happens_as_often_as_it_was_armed_for_and_when() -> None:
    injector = Injector()
    injector.arm("timeout", count=2, after=3)
    assert [injector.draw("in") for _ in range(7)] == ["", "", "", "timeout", "timeout", "", ""]
    assert injector.injected == {"timeout": 2}
    injector.arm("timeout")
    injector.clear("timeout")
    assert not injector.armed
    with pytest.raises(KeyError):
        injector.arm("nonsense")
    with pytest.raises(ValueError, match="not 0 to 1"):
        injector.arm("timeout", 2)


def test_what_cannot_be_seen_is_not_counted_as_injected() -> None:
    mock = MockDevice(model=MODEL)
    host = UsbHost(mock)
    host.hello()
    mock.inject("bad-payload-crc")
    mock.inject("reordered-sequence")
    host.write(frame_message(MODEL, PICTURES[1], 1))
    assert look(host.read(), EPOCH, 1) == "mask 1"
    assert not mock.injected
