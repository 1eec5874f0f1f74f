"""The in-process pyusb backend behaves as libusb over a cable does: counts, errors, unplugging."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import usb.backend.libusb1 as libusb1
import usb.core
import usb.util
from gnetseg_device.device import MockDevice
from gnetseg_device.pyusb_backend import Host, usb_error
from gnetseg_device.transfer import Reason

from gnetsegd.link import constants as c
from gnetsegd.link.constants import Code, Request, Type
from gnetsegd.link.header import HEADER_SIZE, in_buffer_size, pack_message
from gnetsegd.link.model_upload import pack_chunk
from gnetsegd.link.requests import parse_capabilities

from .host import EPOCH, UsbHost, bundle, expected, frame_message, picture, split

MODEL = bundle()
PIXELS = picture(MODEL)


def opened(**options: Any) -> tuple[MockDevice, UsbHost]:
    mock = MockDevice(model=MODEL, **options)
    host = UsbHost(mock)
    usb.util.claim_interface(host.device, 0)
    host.hello()
    return mock, host


def in_thread(call: Callable[[], Any]) -> tuple[threading.Thread, list[BaseException]]:
    raised: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    return thread, raised


@pytest.mark.parametrize("reason", list(Reason))
def test_errors_carry_the_code_errno_and_words_of_libusb(reason: Reason) -> None:
    error = usb_error(reason)
    assert error.errno == libusb1._libusb_errno[error.backend_error_code]
    words = libusb1._str_error_map[error.backend_error_code]
    assert error.strerror == words or reason is Reason.CANCELLED
    assert isinstance(error, usb.core.USBTimeoutError) is (reason is Reason.TIMEOUT)


def test_pyusb_finds_the_device_with_the_descriptors_of_the_protocol() -> None:
    mock, host = opened(serial="sn-7")
    device = host.device
    assert (device.idVendor, device.idProduct, device.serial_number) == (0x1209, 1, "sn-7")
    assert device.speed == usb.util.SPEED_HIGH
    interface = device.get_active_configuration()[(0, 0)]
    assert (interface.bInterfaceClass, interface.bInterfaceSubClass, interface.bInterfaceProtocol) == (
        0xFF, 0x47, 1,
    )  # fmt: skip
    assert [(ep.bEndpointAddress, ep.bmAttributes, ep.wMaxPacketSize) for ep in interface] == [
        (0x01, 2, 512), (0x81, 2, 512),
    ]  # fmt: skip
    assert mock.port.identity.serial == "sn-7"
    str(device)


def test_a_frame_goes_out_and_its_mask_comes_in() -> None:
    _, host = opened()
    message = frame_message(MODEL, PIXELS, 1)
    assert host.write(message) == len(message)
    header, payload = split(host.read())
    assert header.sequence == 1
    assert payload == expected(MODEL, PIXELS).tobytes()


def test_any_object_with_buffer_info_is_used_in_place() -> None:
    class Raw:
        itemsize = 1

        def __init__(self, pixels: Any) -> None:
            self.pixels = pixels

        def buffer_info(self) -> tuple[int, int]:
            return self.pixels.ctypes.data, self.pixels.nbytes

    mock, host = opened()
    handle = host.device._ctx.handle
    message = np.frombuffer(bytearray(frame_message(MODEL, PIXELS, 1)), np.uint8)
    answer = np.zeros(in_buffer_size(MODEL.mask.size_bytes), np.uint8)
    assert mock.backend.bulk_write(handle, 1, 0, Raw(message), 1000) == len(message)
    count = mock.backend.bulk_read(handle, 0x81, 0, Raw(answer), 1000)
    assert split(answer[:count].tobytes())[1] == expected(MODEL, PIXELS).tobytes()


def test_an_answer_longer_than_the_buffer_goes_on_in_the_next_transfer() -> None:
    _, host = opened()
    host.write(frame_message(MODEL, PIXELS, 1))
    first, second = host.read(512), host.read(512)
    assert (len(first), len(second)) == (512, 32)
    assert split(first + second)[1] == expected(MODEL, PIXELS).tobytes()


def test_a_buffer_that_is_not_whole_packets_overflows() -> None:
    _, host = opened()
    host.write(frame_message(MODEL, PIXELS, 1))
    with pytest.raises(usb.core.USBError) as caught:
        host.read(100)
    assert caught.value.backend_error_code == libusb1.LIBUSB_ERROR_OVERFLOW


def test_nothing_owed_times_out() -> None:
    _, host = opened()
    with pytest.raises(usb.core.USBTimeoutError):
        host.read(1024, timeout_ms=1)


def test_a_timeout_in_the_middle_gives_a_short_count_without_raising() -> None:
    # 1 kB/s: the 548 bytes would take over half a second.
    mock, host = opened(link_mbytes_per_s=0.02)
    big = bundle(width=64, height=64)
    message = frame_message(big, picture(big), 1)
    count = host.write(message, timeout_ms=60)
    assert 0 < count < len(message)
    assert count % 512 == 0
    assert mock.engine.in_flight == 0


def test_without_any_packet_passed_a_timeout_raises() -> None:
    _, host = opened(link_mbytes_per_s=0.01)
    with pytest.raises(usb.core.USBTimeoutError):
        host.write(frame_message(MODEL, PIXELS, 1), timeout_ms=1)


def test_an_unplug_ends_a_waiting_read_with_no_such_device() -> None:
    mock, host = opened()
    thread, raised = in_thread(lambda: host.read(1024, timeout_ms=30_000))
    mock.unplug()
    thread.join(10)
    assert not thread.is_alive()
    (error,) = raised
    assert isinstance(error, usb.core.USBError)
    assert (error.errno, error.backend_error_code) == (19, -4)


def test_an_unplug_ends_a_read_that_waits_for_a_slow_chip() -> None:
    mock, host = opened(compute_s=30.0)
    host.write(frame_message(MODEL, PIXELS, 1))
    thread, raised = in_thread(lambda: host.read(1024, timeout_ms=60_000))
    mock.unplug()
    thread.join(10)
    assert not thread.is_alive()
    assert getattr(raised[0], "errno", 0) == 19


def test_an_unplugged_device_is_not_found_and_its_old_handle_is_dead_after_a_replug() -> None:
    mock, host = opened()
    mock.unplug()
    assert usb.core.find(backend=mock.backend, idVendor=0x1209) is None
    before = (host.device.bus, host.device.port_number, host.device.address)
    mock.plug(elsewhere=True)
    with pytest.raises(usb.core.USBError, match="No such device"):
        host.ask(Request.CAPABILITIES)
    again = UsbHost(mock)
    assert (again.device.bus, again.device.port_number, again.device.address) != before
    assert again.device.serial_number == "mock-0001"
    assert parse_capabilities(again.ask(Request.CAPABILITIES)).model is not None
    with pytest.raises(usb.core.USBError):
        again.abort(5)
    again.hello(9)
    again.write(frame_message(MODEL, PIXELS, 1, epoch=9))
    assert split(again.read())[0].epoch == 9


def test_a_device_that_comes_back_by_itself_does_so() -> None:
    mock, _ = opened()
    mock.unplug(back_after_s=0.01)
    assert mock.port.attachment in (0, 2)
    while not mock.port.attachment:
        time.sleep(0.005)
    assert UsbHost(mock).ask(Request.CAPABILITIES)


def test_an_interface_that_another_process_has_claimed_is_busy_until_that_is_killed() -> None:
    mock, _ = opened()
    second = mock.new_process()
    other = UsbHost(mock, second)
    with pytest.raises(usb.core.USBError) as caught:
        usb.util.claim_interface(other.device, 0)
    assert (caught.value.errno, caught.value.backend_error_code) == (16, -6)
    mock.backend.kill()
    usb.util.claim_interface(other.device, 0)


def test_a_killed_host_leaves_a_mess_that_the_next_hello_reclaims() -> None:
    mock, host = opened()
    host.write(frame_message(MODEL, PIXELS, 1))
    host.write(frame_message(MODEL, PIXELS, 2)[:100])
    mock.backend.kill()
    with pytest.raises(usb.core.USBError, match="No such device"):
        host.read()
    other = UsbHost(mock, mock.new_process())
    usb.util.claim_interface(other.device, 0)
    other.hello(77)
    other.write(frame_message(MODEL, picture(MODEL, 5), 1, epoch=77))
    header, payload = split(other.read())
    assert header.epoch == 77
    assert payload == expected(MODEL, picture(MODEL, 5)).tobytes()


def test_two_devices_on_one_host_are_told_apart_by_their_serial_numbers() -> None:
    shared = Host()
    one = MockDevice(model=MODEL, serial="one", host=shared)
    two = MockDevice(model=bundle(b"model B"), serial="two", host=shared)
    found = {device.serial_number: device for device in usb.core.find(True, backend=one.backend)}
    assert set(found) == {"one", "two"}
    assert found["one"] != found["two"]
    for mock in (one, two):
        capabilities = parse_capabilities(UsbHost(mock, one.backend).ask(Request.CAPABILITIES))
        assert capabilities.model is not None
        assert mock.store.active is not None
        assert capabilities.model == mock.store.active.record


def test_reset_ends_the_session_but_not_the_attachment() -> None:
    mock, host = opened()
    host.write(frame_message(MODEL, PIXELS, 1))
    host.device.reset()
    with pytest.raises(usb.core.USBError, match="Pipe"):
        host.abort(3)
    host.hello(4)
    host.write(frame_message(MODEL, PIXELS, 1, epoch=4))
    assert split(host.read())[0].epoch == 4
    assert mock.port.attachment == 1


def test_abort_wakes_nobody_up_with_an_old_answer() -> None:
    _, host = opened(compute_s=0.02)
    host.write(frame_message(MODEL, PIXELS, 1))
    with pytest.raises(usb.core.USBTimeoutError):
        host.read(1024, timeout_ms=1)
    host.abort(EPOCH + 1)
    host.write(frame_message(MODEL, PIXELS, 1, epoch=EPOCH + 1))
    assert split(host.read())[0].epoch == EPOCH + 1


def test_an_abort_in_the_middle_of_an_in_transfer_ends_that_and_the_read_gets_the_next_answer() -> None:
    # 548 bytes take 27 ms here.
    mock, host = opened(link_mbytes_per_s=0.02)
    host.write(frame_message(MODEL, PIXELS, 1))
    got: list[bytes] = []
    thread, raised = in_thread(lambda: got.append(host.read(1024, timeout_ms=20_000)))
    time.sleep(0.01)
    host.abort(EPOCH + 1)
    host.write(frame_message(MODEL, PIXELS, 1, epoch=EPOCH + 1))
    thread.join(20)
    assert not raised
    header, payload = split(got[0])
    if header.epoch == EPOCH + 1:  # else the transfer was over before the ABORT came
        assert payload == expected(MODEL, PIXELS).tobytes()
        assert mock.engine.in_flight == 0


def test_out_and_in_go_on_at_the_same_time_in_two_threads_and_no_mask_is_another_frames() -> None:
    mock, host = opened(link_mbytes_per_s=20, compute_s=0.0005)
    free, total = threading.Semaphore(3), 200
    pictures = [picture(MODEL, seed) for seed in range(8)]
    masks = [expected(MODEL, pixels).tobytes() for pixels in pictures]

    def send() -> None:
        for sequence in range(1, total + 1):
            assert free.acquire(timeout=10)
            host.write(frame_message(MODEL, pictures[sequence % 8], sequence))

    def receive() -> None:
        buffer = array("B", bytes(1024))
        for sequence in range(1, total + 1):
            count = host.device.read(0x81, buffer, 10_000)
            header, payload = split(buffer[:count].tobytes())
            assert header.sequence == sequence
            assert payload == masks[sequence % 8]
            free.release()

    with ThreadPoolExecutor(2) as pool:
        for future in [pool.submit(send), pool.submit(receive)]:
            future.result(30)
    assert mock.engine.in_flight == 0


def test_a_worker_thread_computes_while_nobody_reads() -> None:
    mock, host = opened()
    mock.port.start_worker()
    host.write(frame_message(MODEL, PIXELS, 1))
    deadline = time.monotonic() + 10
    while mock.engine.answer() is None:
        assert time.monotonic() < deadline
        time.sleep(0.001)
    assert split(host.read())[1] == expected(MODEL, PIXELS).tobytes()
    mock.close()
    assert mock.port._worker is None


def test_a_model_goes_up_over_the_cable_in_chunks() -> None:
    mock = MockDevice()
    host = UsbHost(mock)
    host.hello()
    from gnetsegd.link.model_upload import ModelRecord

    steps = (
        (Type.MODEL_BEGIN, ModelRecord.of(MODEL).pack(), Type.MODEL_PROGRESS),
        (Type.MODEL_CHUNK, pack_chunk(0, MODEL.content), Type.MODEL_PROGRESS),
        (Type.MODEL_COMMIT, MODEL.sha256, Type.MODEL_READY),
    )
    for sequence, (kind, payload, answer) in enumerate(steps, 1):
        host.write(pack_message(kind, EPOCH, sequence, payload, flags=c.FLAG_CRC))
        assert split(host.read())[0].type == answer
    host.write(frame_message(MODEL, PIXELS, 4))
    assert split(host.read())[1] == expected(MODEL, PIXELS).tobytes()
    assert HEADER_SIZE == 32


@pytest.mark.parametrize("worker", [True, False])
def test_a_request_that_is_refused_when_its_turn_comes_is_answered_at_once(worker: bool) -> None:
    mock = MockDevice(model=MODEL)
    if worker:
        mock.port.start_worker()
    host = UsbHost(mock)
    host.hello()
    for sequence in (1, 2):
        host.write(pack_message(Type.MODEL_COMMIT, EPOCH, sequence, bytes(32), flags=c.FLAG_CRC))
        header, _ = split(host.read(timeout_ms=5000))
        assert (header.type, header.code, header.sequence) == (Type.ERROR, Code.NO_UPLOAD, sequence)
    mock.close()


def test_what_passed_before_the_time_was_over_is_answered_at_once() -> None:
    mock = MockDevice(model=MODEL, link_mbytes_per_s=1)
    host = UsbHost(mock)
    host.hello()
    host.write(frame_message(MODEL, picture(MODEL), 1))
    host.read()
    answers: list[bytes] = []
    reader = threading.Thread(target=lambda: answers.append(host.read(timeout_ms=20_000)))
    reader.start()
    # 100 ms of bytes, of which the first are no header.
    assert host.write(bytes(100_000), timeout_ms=20) < 100_000
    reader.join()
    header, _ = split(answers[0])
    assert (header.code, header.flags) == (Code.BAD_HEADER, c.FLAG_LOST)
