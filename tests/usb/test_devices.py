"""Which device is used, what is said about one that cannot be, and what a restart leaves behind."""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import usb.core
import usb.util
from gnetseg_device.device import MockDevice
from gnetseg_device.engine import Limits
from gnetseg_device.model_store import ModelStore
from gnetseg_device.pyusb_backend import Host, PyusbBackend, usb_error
from gnetseg_device.transfer import Reason

from gnetsegd.accelerators.usb import UsbOptions
from gnetsegd.config import AcceleratorConfig
from gnetsegd.errors import PermanentError, TransientError
from gnetsegd.link.constants import Feature, Request
from gnetsegd.link.requests import parse_status

from ..device.host import bundle
from ..road.fakes import wait_until
from .conftest import MakeRoad
from .model import MODEL, RECOVERY_S, driver, recovers

Words = Callable[[], str]


def two_devices() -> tuple[MockDevice, MockDevice]:
    host = Host()
    one = MockDevice(model=MODEL, serial="one", host=host)
    return one, MockDevice(model=MODEL, serial="two", host=host)


def sessions(device: MockDevice) -> int:
    """How often a host has greeted it since power-up."""
    return parse_status(device.engine.control_in(Request.GET_STATUS, 64)).sessions


def occupy(device: MockDevice) -> PyusbBackend:
    """Another process claims it and keeps it."""
    process = device.new_process()
    serial = device.port.identity.serial
    found = usb.core.find(backend=process, custom_match=lambda d: d.serial_number == serial)
    assert found is not None
    usb.util.claim_interface(found, 0)
    # It lives as long as its process, and no longer: kill() frees it.
    process.keep = found
    return process


# -- two devices


def test_the_one_with_the_configured_serial_number_is_used_and_the_other_left_alone(road: MakeRoad) -> None:
    one, two = two_devices()
    taken = occupy(one)
    accelerator = driver(two, serial="two")
    with road(accelerator) as running:
        running.wait_for_masks(20)
        two.unplug(0.05, elsewhere=True)
        recovers(running, time.monotonic() + 0.05)
        assert accelerator.describe()["serial"] == "two"
    assert sessions(one) == 0
    # That another program uses the other one is no fault.
    assert "busy" not in accelerator.describe()["faults"]
    taken.kill()


def test_without_a_serial_number_a_busy_device_is_passed_over(road: MakeRoad) -> None:
    one, two = two_devices()
    taken = occupy(one)
    with road(driver(two)) as running:
        running.wait_for_masks(20)
        assert running.accelerator.describe()["serial"] == "two"
    taken.kill()


@pytest.mark.parametrize("name", ["other-major", "not-ours", "no-credit", "permission", "mute"])
def test_without_a_serial_number_a_device_that_cannot_be_used_is_passed_over(
    name: str, road: MakeRoad
) -> None:
    one, two = two_devices()
    one.inject(name)
    with road(driver(two)) as running:
        running.wait_for_masks(20)
        assert running.accelerator.describe()["serial"] == "two"


def test_without_a_serial_number_the_other_device_takes_over_and_stays(road: MakeRoad) -> None:
    one, two = two_devices()
    with road(driver(one)) as running:
        running.wait_for_masks(20)
        assert running.accelerator.describe()["serial"] == "one"
        one.unplug()
        recovers(running, time.monotonic())
        assert running.accelerator.describe()["serial"] == "two"
        # The one that served last is preferred.
        one.plug()
        two.unplug(0.02, elsewhere=True)
        wait_until(lambda: running.pipeline.reopens >= 2)
        recovers(running, time.monotonic())


def test_after_a_replug_the_device_that_served_is_preferred() -> None:
    one, two = two_devices()
    two_only = driver(two, serial="two")
    two_only.open()
    two_only.close()
    any_device = driver(one)
    one.unplug()
    any_device.open()
    assert any_device.describe()["serial"] == "two"
    one.plug()
    any_device.close()
    any_device.open()
    assert any_device.describe()["serial"] == "two"
    any_device.close()


def test_a_spare_device_is_neither_claimed_nor_greeted() -> None:
    one, two = two_devices()
    accelerator = driver(one)
    accelerator.open()
    assert sessions(two) == 0
    occupy(two).kill()
    accelerator.close()


def test_a_serial_number_that_is_not_there_is_named_with_those_that_are(road: MakeRoad) -> None:
    one, _ = two_devices()
    accelerator = driver(one, serial="three")
    with road(accelerator) as running:
        wait_until(lambda: running.pipeline.reopens >= 2)
        assert running.pipeline.reason == (
            "no USB accelerator with the serial number three is plugged in (there is one, two); "
            "plug it in or change usb.serial"
        )
        assert accelerator.describe()["faults"]["absent"] >= 2
        three = MockDevice(model=MODEL, serial="three", host=one.host)
        recovers(running, time.monotonic())
        assert sessions(three) == 1
    assert running.reader.masks > 0


# -- nothing there


def test_no_device_is_said_and_never_replaced_by_something_else(road: MakeRoad) -> None:
    device = MockDevice(model=MODEL)
    device.unplug()
    accelerator = driver(device)
    with road(accelerator) as running:
        wait_until(lambda: running.pipeline.reopens >= 3)
        assert running.pipeline.state == "lost"
        assert "no USB accelerator 1209:0001 is plugged in; plug one in, or set" in running.pipeline.reason
        assert running.reader.masks == 0
        assert accelerator.describe()["faults"] == {"absent": accelerator.describe()["faults"]["absent"]}
        device.plug()
        recovers(running, time.monotonic())


def test_as_shipped_a_device_that_was_away_for_long_is_back_within_two_seconds() -> None:
    """The longest pause between two searches, and the time that one takes with a device that hangs."""
    assert AcceleratorConfig().backoff_max_s + UsbOptions().answer_timeout_s <= RECOVERY_S - 0.5


def test_without_pyusb_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    accelerator = driver(MockDevice(model=MODEL))
    monkeypatch.setitem(__import__("sys").modules, "usb.core", None)
    with pytest.raises(PermanentError, match=r"needs pyusb; install gnetsegd\[usb\] or python3-usb"):
        accelerator.open()


def test_without_libusb_one_sentence_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_backend(**_: Any) -> None:
        raise usb.core.NoBackendError("No backend available")

    monkeypatch.setattr(usb.core, "find", no_backend)
    with pytest.raises(PermanentError, match=r"pyusb finds no libusb; apt install libusb-1.0-0"):
        driver(MockDevice(model=MODEL)).open()


# -- what a restart leaves behind


def test_a_host_that_was_killed_in_mid_transfer_is_followed_by_one_that_works(road: MakeRoad) -> None:
    device = MockDevice(model=MODEL, link_mbytes_per_s=2.0)
    killed = driver(device)
    with road(killed) as running:
        running.wait_for_masks(10)
        device.backend.kill()
        # What is left of the process sees no device any more; to the device it never said goodbye.
        wait_until(lambda: running.pipeline.state == "lost")
        again = driver(device, device.new_process())
        info = again.open()
        assert info.depth_frames == 3
        again.close()


def test_a_host_that_was_killed_leaves_frames_and_half_a_message_that_no_mask_is_made_of(
    road: MakeRoad,
) -> None:
    device = MockDevice(model=MODEL)
    first = driver(device)
    first.open()
    session = first._session
    assert session is not None
    for number in range(3):
        session.write_request(first._probe)
        if number == 2:
            first._probe.request_memory.size = 512
        session.port.bulk_out(first._probe.request_memory, 100)
    device.backend.kill()
    assert device.engine.in_flight == 2
    with road(driver(device, device.new_process())) as running:
        running.wait_for_masks(20)
        assert running.pipeline.losses == 0


def test_a_device_that_restarted_without_leaving_the_bus_is_greeted_anew(road: MakeRoad) -> None:
    device = MockDevice(model=MODEL)
    with road(driver(device)) as running:
        running.wait_for_masks(20)
        device.port.reset(device.port.attachment)
        recovers(running, time.monotonic())
        assert sessions(device) == 1


@pytest.mark.parametrize("request_", [Request.ABORT, Request.HELLO])
def test_a_refusal_that_shows_only_as_a_missing_answer_is_outlasted(
    request_: Request, road: MakeRoad, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As through FunctionFS: a request with data is acknowledged with them, before anybody can refuse it.
    device = MockDevice(model=MODEL)
    refused = [request_]
    with road(driver(device)) as running:
        running.wait_for_masks(5)
        take = device.engine.control_out

        def without_a_stall(request: int, data: bytes) -> None:
            if request in refused:
                refused.remove(request_)
            else:
                take(request, data)

        monkeypatch.setattr(device.engine, "control_out", without_a_stall)
        take(Request.SOFT_RESET, b"")  # no session: nothing is answered before the next HELLO
        recovers(running, time.monotonic())
        assert not refused, "that step of the ladder was climbed"


def test_a_device_that_lost_its_model_without_leaving_the_bus_gets_it_again(
    road: MakeRoad, words: Words
) -> None:
    device = MockDevice(model=MODEL)
    with road(driver(device)) as running:
        running.wait_for_masks(20)
        with device.port._lock:
            device.store.wipe()
            device.engine._make_layout()
            device.engine.power_cycle()
        recovers(running, time.monotonic())
    assert "uploading model" in words()


# -- the model


def test_a_device_without_the_model_gets_it_before_the_first_frame(road: MakeRoad) -> None:
    big = bundle(bytes(range(256)) * 1000, width=48, height=32, classes=200)
    device = MockDevice(model=MODEL)
    with road(driver(device, bundle=big), big) as running:
        running.wait_for_masks(20)
    assert device.store.active is not None
    assert device.store.active.content == big.content
    # Kept by its hash: the next session uploads nothing.
    assert "refused" not in running.accelerator.describe()["faults"]


def test_an_upload_that_was_cut_off_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    big = bundle(bytes(range(256)) * 1000, width=48, height=32, classes=200)
    device = MockDevice()
    device.inject("timeout-out", after=3)
    monkeypatch.setattr("gnetsegd.accelerators.usb_upload.STEP_TIMEOUT_S", 0.05)
    accelerator = driver(device, bundle=big)
    with pytest.raises(TransientError, match="did not answer in time"):
        accelerator.open()
    held, size = device.store.progress
    assert 0 < held < size == len(big.content)
    written: list[int] = []
    write = device.store.write
    monkeypatch.setattr(
        device.store, "write", lambda offset, data: written.append(offset) or write(offset, data)
    )
    accelerator.open()
    assert written[0] == held
    accelerator.close()


def raising(_record: Any, content: bytes) -> Any:
    raise ValueError(f"cannot load {len(content)} bytes")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"store": ModelStore(capacity=4)},
            r"has 7 bytes, the device holds at most 4; choose a smaller model",
        ),
        (
            {"limits": Limits(max_payload=1000)},
            r"a picture for model fake has 1536 bytes, the device takes at most 1000; choose a smaller",
        ),
        (
            {"limits": Limits(pixel_formats=(2, 3))},
            r"model fake needs pictures in Y, the device takes YUV444, RGB; choose another model",
        ),
        ({"limits": Limits(max_chunk=0)}, r"in pieces of at most 0 bytes .*; update its firmware"),
        ({"network": raising}, r"MODEL_REFUSED: ValueError: cannot load 7 bytes; choose another model"),
        ({"limits": Limits(features=0)}, r"another model than fake and takes none; configure its own model"),
        (
            {"limits": Limits(mask_bits=(1, 2))},
            r"masks of 200 classes in 8 bits a pixel are not what the device offers \(1, 2\); change usb",
        ),
        ({"limits": Limits(features=Feature.MODEL_UPLOAD)}, r"knows no payload CRC; set usb.payload_crc = f"),
    ],
)
def test_a_device_that_cannot_serve_this_model_is_refused_in_one_sentence(
    options: dict[str, Any], sentence: str
) -> None:
    device = MockDevice(**options)
    accelerator = driver(device, payload_crc="payload_crc" in sentence)
    with pytest.raises(TransientError, match=sentence) as caught:
        accelerator.open()
    assert str(caught.value).startswith("USB accelerator mock-0001: ")
    (counted,) = accelerator.describe()["faults"].values()
    assert counted == 1
    assert accelerator.describe()["last_fault"] in str(caught.value)
    occupy(device).kill()  # it was let go


def test_a_model_that_was_refused_is_not_uploaded_again_and_again_but_after_a_replug() -> None:
    loads = []

    def refuse_twice(record: Any, content: bytes) -> Any:
        from gnetseg_device.networks import FakeNetwork

        loads.append(len(content))
        if len(loads) < 2:
            raise ValueError("out of memory")
        return FakeNetwork(record, content)

    device = MockDevice(network=refuse_twice)
    accelerator = driver(device)
    for _ in range(3):
        with pytest.raises(TransientError, match="MODEL_REFUSED"):
            accelerator.open()
    assert len(loads) == 1
    device.unplug()
    device.plug()
    accelerator.open()
    accelerator.close()


# -- opening that fails half-way


def test_whatever_fails_while_opening_the_device_is_let_go_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each call of the backend fails once, with each error: no claim is left, and the next one works."""
    device = MockDevice(model=MODEL)
    calls: list[str] = []
    plan: tuple[int, Reason] = (0, Reason.STALL)

    def watched(name: str) -> None:
        real = getattr(PyusbBackend, name)

        def call(self: Any, *arguments: Any) -> Any:
            calls.append(name)
            if len(calls) == plan[0]:
                raise usb_error(plan[1])
            return real(self, *arguments)

        monkeypatch.setattr(PyusbBackend, name, call)

    for name in ("open_device", "claim_interface", "ctrl_transfer", "clear_halt", "bulk_write", "bulk_read"):
        watched(name)
    accelerator = driver(device, answer_timeout_s=0.02)
    accelerator.open()
    accelerator.close()
    assert len(calls) >= 8
    before, refused = threading.active_count(), 0
    for plan in itertools.product(range(1, len(calls) + 1), Reason):  # noqa: B007 - read by call()
        calls.clear()
        with contextlib.suppress(TransientError):
            accelerator.open()
        if not device.host.claims:
            refused += 1
            assert accelerator._session is None
        accelerator.close()
        assert not device.host.claims
    # Most are refused; from some of them, such as a STALL of HELLO, the ladder leads out.
    assert refused > 30
    plan = (0, Reason.STALL)
    accelerator.open()
    accelerator.close()
    assert threading.active_count() == before
