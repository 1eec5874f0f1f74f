"""Every wait for a device has a limit, in each step and as a whole, and shows that it gets on."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from gnetseg_device.defects import FOUL_WORDS
from gnetseg_device.device import MockDevice
from gnetseg_device.engine import Limits
from gnetseg_device.pyusb_backend import Host, PyusbBackend

from gnetsegd.accelerators import usb_upload
from gnetsegd.accelerators.usb import REFUSALS_MAX, UsbAccelerator
from gnetsegd.accelerators.usb_port import CONTROL_TIMEOUT_MS, SPEEDS
from gnetsegd.config import from_dict
from gnetsegd.errors import ConfigError, TransientError
from gnetsegd.frame import Frame
from gnetsegd.link.constants import Request
from gnetsegd.link.header import ROOM

from ..device.host import bundle
from .model import MODEL, driver


class Waits(PyusbBackend):
    """Notes each request and each transfer, and how long the host was ready to wait for it."""

    def __init__(self, device: MockDevice) -> None:
        super().__init__(device.host)
        self.asked: list[tuple[str, int]] = []

    def ctrl_transfer(self, *arguments: Any) -> int:
        name = Request(arguments[2]).name if arguments[1] & 0x60 else "standard"
        self.asked.append((name, arguments[-1]))
        return super().ctrl_transfer(*arguments)

    def bulk_write(self, *arguments: Any) -> int:
        self.asked.append(("out", arguments[-1]))
        return super().bulk_write(*arguments)

    def bulk_read(self, *arguments: Any) -> int:
        self.asked.append(("in", arguments[-1]))
        return super().bulk_read(*arguments)


def send(accelerator: UsbAccelerator, frame: Frame) -> None:
    assert accelerator.wait_for_credit(1.0)
    accelerator.submit(frame)


def until_given_up(accelerator: UsbAccelerator) -> None:
    """Collect losses until it raises."""
    while True:
        accelerator.collect(1.0)


# -- endpoint 0


def test_a_device_that_is_mute_on_endpoint_0_is_given_up_within_a_second_of_waiting() -> None:
    """As shipped. What the host is ready to wait for is counted: that says it on a busy machine, too."""
    device = MockDevice(model=MODEL)
    backend = Waits(device)
    accelerator = driver(device, backend, answer_timeout_s=0.3)
    accelerator.open()
    device.inject("mute-control", value=0)
    frame = Frame(MODEL.input, MODEL.mask.size_bytes, ROOM)
    backend.asked.clear()
    send(accelerator, frame)
    with pytest.raises(TransientError, match="did not answer in time"):
        until_given_up(accelerator)
    names = [name for name, _ in backend.asked]
    assert names.count("ABORT") == 1, "it had just not been answered"
    assert sum(timeout_ms for _, timeout_ms in backend.asked) <= 1000
    assert accelerator.describe()["faults"]["mute"] == 1
    accelerator.close()


def test_a_device_that_stalls_endpoint_0_is_given_up_and_the_reason_said() -> None:
    device = MockDevice(model=MODEL)
    accelerator = driver(device)
    accelerator.open()
    device.inject("stall-control", value=0)
    send(accelerator, Frame(MODEL.input, MODEL.mask.size_bytes, ROOM))
    with pytest.raises(TransientError, match="looking for it again"):
        until_given_up(accelerator)
    accelerator.close()


def test_no_request_waits_longer_than_the_protocol_allows() -> None:
    device = MockDevice()
    backend = Waits(device)
    accelerator = driver(device, backend)
    accelerator.open()
    accelerator.close()
    requests = [(name, wait) for name, wait in backend.asked if name not in ("in", "out")]
    assert {name for name, _ in requests} >= {"CAPABILITIES", "HELLO"}
    assert all(0 < timeout_ms <= CONTROL_TIMEOUT_MS <= 1000 for _, timeout_ms in requests)
    assert all(timeout_ms > 0 for _, timeout_ms in backend.asked)


def test_a_hello_that_nobody_answers_is_not_followed_by_a_soft_reset(monkeypatch: pytest.MonkeyPatch) -> None:
    from gnetseg_device.pyusb_backend import usb_error
    from gnetseg_device.transfer import Reason

    device = MockDevice(model=MODEL)
    backend = Waits(device)
    real = PyusbBackend.ctrl_transfer

    def mute(self: Any, *arguments: Any) -> int:
        if arguments[1] & 0x60 and arguments[2] != Request.CAPABILITIES:
            raise usb_error(Reason.TIMEOUT)
        return int(real(self, *arguments))

    monkeypatch.setattr(PyusbBackend, "ctrl_transfer", mute)
    with pytest.raises(TransientError, match="does not answer even a request on endpoint 0"):
        driver(device, backend).open()
    names = [name for name, _ in backend.asked if name in Request.__members__]
    assert names == ["CAPABILITIES", "HELLO", "HELLO"]


# -- upload


def big(size: int = 200_000) -> Any:
    return bundle(
        bytes(itertools.islice(itertools.cycle(range(251)), size)), width=48, height=32, classes=200
    )


def test_each_piece_of_a_model_is_a_sign_of_life() -> None:
    accelerator = driver(MockDevice(limits=Limits(max_chunk=1000)), bundle=big())
    before = accelerator.progress
    accelerator.open()
    assert accelerator.progress - before >= 200
    accelerator.close()


def test_an_upload_is_bounded_as_a_whole_and_goes_on_at_the_next_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = MockDevice(limits=Limits(max_chunk=10_000))
    model = big()
    accelerator = driver(device, bundle=model)
    # A clock that goes on a second at each look.
    ticks = itertools.count()
    monkeypatch.setattr(usb_upload.time, "monotonic", lambda: time.perf_counter() + next(ticks))
    monkeypatch.setattr(usb_upload, "UPLOAD_LIMIT_S", 30.0)
    monkeypatch.setattr(usb_upload, "STEP_TIMEOUT_S", 100.0)
    monkeypatch.setattr(usb_upload, "COMMIT_TIMEOUT_S", 100.0)
    with pytest.raises(
        TransientError, match=r"after 30 s the device has \d+ of the 200000 bytes of model fake; it is given"
    ):
        accelerator.open()
    held, size = device.store.progress
    assert 0 < held < size == len(model.content)
    assert accelerator.describe()["faults"] == {"upload": 1}
    monkeypatch.undo()
    accelerator.open()
    assert device.store.active is not None
    assert device.store.active.content == model.content
    accelerator.close()


def test_a_device_that_takes_no_pieces_is_refused_before_anything_is_sent() -> None:
    device = MockDevice()
    device.inject("zero-chunk")
    backend = Waits(device)
    accelerator = driver(device, backend)
    with pytest.raises(TransientError, match=r"in pieces of at most 0 bytes .* update its firmware"):
        accelerator.open()
    assert "out" not in [name for name, _ in backend.asked]
    # One that has the model needs none.
    device = MockDevice(model=MODEL)
    device.inject("zero-chunk")
    accelerator = driver(device)
    accelerator.open()
    accelerator.close()


@pytest.mark.parametrize(
    "limits", [Limits(max_payload=1000), Limits(pixel_formats=(1, 2, 3)), Limits(pixel_formats=())]
)
def test_what_capabilities_rule_out_is_said_before_anything_is_sent(limits: Limits) -> None:
    device = MockDevice(model=MODEL, limits=limits)
    backend = Waits(device)
    with pytest.raises(TransientError, match=r"the device takes .*; choose a"):
        driver(device, backend).open()
    names = {name for name, _ in backend.asked}
    assert not names & {"out", "in", "HELLO"}


def test_pieces_fit_into_what_the_device_takes_in_one_message() -> None:
    device = MockDevice(limits=Limits(max_payload=2000, max_chunk=1 << 16))
    accelerator = driver(device, bundle=big(20_000))
    accelerator.open()
    assert device.store.active is not None
    accelerator.close()


def test_slow_flash_is_waited_for() -> None:
    device = MockDevice()
    device.inject("slow-flash", value=0.3)
    accelerator = driver(device, answer_timeout_s=0.05)
    accelerator.open()
    assert accelerator.describe()["faults"] == {}
    accelerator.close()


# -- refusals


def refuse(_record: Any, _content: bytes) -> Any:
    raise ValueError("no such operator")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_each_device_that_refuses_the_model_is_given_it_once(count: int) -> None:
    host = Host()
    loads: list[int] = []

    def refusing(number: int) -> Any:
        def load(record: Any, content: bytes) -> Any:
            loads.append(number)
            return refuse(record, content)

        return load

    devices = [MockDevice(serial=f"d{n}", host=host, network=refusing(n)) for n in range(count)]
    accelerator = driver(devices[0])
    for _ in range(5):
        with pytest.raises(TransientError, match="no such operator"):
            accelerator.open()
    assert sorted(loads) == list(range(count))


def test_refusals_that_are_remembered_are_bounded() -> None:
    device = MockDevice(network=refuse)
    accelerator = driver(device)
    for _ in range(3 * REFUSALS_MAX):
        with pytest.raises(TransientError):
            accelerator.open()
        device.unplug()
        device.plug()
    assert len(accelerator._refusals) <= REFUSALS_MAX


# -- answers that belong to nothing


def test_chatter_does_not_make_the_wait_for_an_answer_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    from gnetsegd.link.header import pack_message

    device = MockDevice(model=MODEL)
    accelerator = driver(device, answer_timeout_s=0.2)
    accelerator.open()
    session = accelerator._session
    assert session is not None
    waits: list[int] = []
    news = pack_message(0xA0, session.epoch, 0, b"news")

    def chatter(memory: Any, timeout_ms: int) -> int:
        waits.append(timeout_ms)
        time.sleep(0.04)
        memory.view()[: len(news)] = news
        return len(news)

    send(accelerator, Frame(MODEL.input, MODEL.mask.size_bytes, ROOM))
    monkeypatch.setattr(session.port, "bulk_in", chatter)
    with pytest.raises(TransientError, match="did not answer in time"):
        until_given_up(accelerator)
    # The wait that is left shrinks with each answer that belongs to nothing.
    assert waits[:3] == sorted(waits[:3], reverse=True)
    assert waits[2] <= 200 - 40
    accelerator.close()


# -- words and configuration


def test_no_control_character_of_a_device_reaches_any_words(caplog: pytest.LogCaptureFixture) -> None:
    from gnetsegd.frame import Loss

    caplog.set_level("DEBUG")
    device = MockDevice()
    device.inject("foul-text")
    accelerator = driver(device)
    accelerator.open()
    serial = accelerator.describe()["serial"]
    reasons: list[str] = []
    frame = Frame(MODEL.input, MODEL.mask.size_bytes, ROOM)
    while len(reasons) < 3:
        send(accelerator, frame)
        result = accelerator.collect(1.0)
        if isinstance(result, Loss):
            reasons.append(result.reason)
    device.inject("unplug-in")
    send(accelerator, frame)
    with pytest.raises(TransientError) as caught:
        accelerator.collect(1.0)
    said = [*reasons, str(caught.value), str(accelerator.describe()), *caplog.messages]
    assert all(words.isprintable() for words in said), [words for words in said if not words.isprintable()]
    assert "WATCHDOG_USEC=0" in serial, "the words themselves stay"
    accelerator.close()
    # And it can be configured as it is shown, or as it is.
    device.plug()
    for configured in (serial, device.port.identity.serial + FOUL_WORDS):
        again = driver(device, serial=configured)
        again.open()
        again.close()


@pytest.mark.parametrize("bits", [3, 5, 6, 7, 9, -1])
def test_bits_that_no_mask_has_are_refused_with_the_configuration(bits: int) -> None:
    with pytest.raises(ConfigError, match=rf"usb.mask_bits is {bits}; allowed is one of 0, 1, 2, 4, 8"):
        from_dict({"accelerator": {"usb": {"mask_bits": bits}}}, "x")


@pytest.mark.parametrize("bits", [0, 1, 2, 4, 8])
def test_bits_that_a_mask_has_are_taken(bits: int) -> None:
    config = from_dict({"accelerator": {"usb": {"mask_bits": bits}}}, "x")
    assert config.accelerator.options["usb"].mask_bits == bits


def test_bits_that_do_not_hold_the_models_classes_are_refused_at_once() -> None:
    with pytest.raises(ConfigError, match="mask_bits is 4, but model fake has 200 classes; set it to 0 or 8"):
        driver(MockDevice(), mask_bits=4)


@pytest.mark.parametrize(
    ("code", "words"),
    [(1, "1.5 Mbit/s"), (2, "12 Mbit/s"), (3, "480 Mbit/s"), (4, "5 Gbit/s"), (5, "10 Gbit/s"),
     (6, "20 Gbit/s"), (0, "unknown speed"), (99, "unknown speed"), (None, "unknown speed")],
)  # fmt: skip
def test_the_speed_of_the_link_is_told_in_words(
    code: int | None, words: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    device = MockDevice(model=MODEL)
    descriptor = PyusbBackend.get_device_descriptor

    def linked(self: Any, dev: Any) -> Any:
        found = descriptor(self, dev)
        found.speed = code
        return found

    monkeypatch.setattr(PyusbBackend, "get_device_descriptor", linked)
    accelerator = driver(device)
    accelerator.open()
    assert accelerator.describe()["speed"] == words
    # What is too slow is said: nobody looks into status while it works.
    assert (f"is linked at only {words}" in caplog.text) is (code in (1, 2))
    accelerator.close()
    assert set(SPEEDS) == {1, 2, 3, 4, 5, 6}
