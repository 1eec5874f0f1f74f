"""What FunctionFS is told is what the other transports say; the rest needs a kernel (tests/hil)."""

from __future__ import annotations

import os
import struct
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner
from gnetseg_device import functionfs, functionfs_aio, functionfs_gadget, functionfs_main
from gnetseg_device import functionfs_wire as wire
from gnetseg_device.descriptors import configuration_descriptor
from gnetseg_device.device import MockDevice

from gnetsegd.accelerators import tflite
from gnetsegd.errors import ModelError, PermanentError, TransientError
from gnetsegd.link.model_upload import ModelRecord
from gnetsegd.model import load_bundle

SETUP = struct.pack("<BBHHHB3x", 0xC1, 0x01, 0, 0, 512, wire.Event.SETUP)


def test_the_high_speed_descriptors_are_those_of_every_transport() -> None:
    data = wire.pack_descriptors()
    magic, length, flags, full, high, super_ = struct.unpack_from("<6I", data)
    assert (magic, length, flags) == (3, len(data), 7)
    assert (full, high, super_) == (3, 3, 5)
    size = 9 + 7 + 7
    # Only the interface's name is more: there the gadget has one.
    ours = bytearray(data[24 + size : 24 + 2 * size])
    assert ours[8] == 1
    ours[8] = 0
    assert bytes(ours) == configuration_descriptor()[9:]


def test_each_speed_has_the_packets_that_usb_prescribes() -> None:
    data, size = wire.pack_descriptors()[24:], 9 + 7 + 7
    full, high, super_ = data[:size], data[size : 2 * size], data[2 * size :]
    assert [struct.unpack_from("<H", speed, 9 + 4)[0] for speed in (full, high, super_)] == [64, 512, 1024]
    assert len(super_) == size + 2 * 6


def test_the_strings_are_one_in_english() -> None:
    data = wire.pack_strings()
    assert struct.unpack_from("<IIIIH", data) == (2, len(data), 1, 1, 0x0409)
    assert data[18:] == b"gnetseg link\0"


def test_an_event_carries_its_request() -> None:
    kind, setup = wire.parse_event(SETUP)
    assert kind == wire.Event.SETUP
    assert (setup.request_type, setup.request, setup.length) == (0xC1, 1, 512)


def test_it_can_be_stopped_before_any_host_came(tmp_path: Path) -> None:
    for name in ("ep0", "ep1", "ep2"):
        os.mkfifo(tmp_path / name)
    mock = MockDevice()
    function = functionfs.FunctionFs(mock.port, tmp_path)
    try:
        assert mock.port.attachment == 0, "no host has chosen the configuration"
        # What a kernel would have taken; here it would come back as events.
        os.read(function._ep0, 1 << 16)
        function.start()
        function.stop()
    finally:
        closing = threading.Thread(target=function.close)
        closing.start()
        closing.join(5)
    assert not closing.is_alive()


def test_a_board_without_a_switched_on_port_is_told_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(functionfs_gadget, "CONTROLLERS", tmp_path)
    with pytest.raises(PermanentError, match="dtoverlay=dwc2"):
        functionfs_gadget.controller()
    (tmp_path / "fe980000.usb").mkdir()
    assert functionfs_gadget.controller() == "fe980000.usb"
    (tmp_path / "dummy_udc.0").mkdir()
    with pytest.raises(PermanentError, match="--udc"):
        functionfs_gadget.controller()
    with pytest.raises(TransientError, match="no USB device controller nowhere"):
        functionfs_gadget.controller("nowhere")


def test_a_board_has_a_serial_number(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functionfs_main, "_BOARD_SERIAL", tmp_path / "serial")
    monkeypatch.setattr(functionfs_main, "_MACHINE_ID", tmp_path / "machine-id")
    assert functionfs_main.board_serial() == "gnetseg-0001"
    (tmp_path / "machine-id").write_text("0123456789abcdef0123456789abcdef\n")
    assert functionfs_main.board_serial() == "0123456789ab"
    (tmp_path / "serial").write_bytes(b"10000000deadbeef\0")
    assert functionfs_main.board_serial() == "10000000deadbeef"


class FakeRuntime:
    """A TFLite runtime that takes note of what it is asked for."""

    def __init__(self, error: Exception | None = None) -> None:
        self._error = error
        self.loaded: list[str] = []
        self.delegates: list[str] = []

    def load_delegate(self, library: str, options: dict[str, str]) -> str:
        if self._error:
            raise self._error
        assert options == {}
        self.loaded.append(library)
        return library

    def Interpreter(self, experimental_delegates: list[str], **_: object) -> None:  # noqa: N802
        self.delegates = experimental_delegates
        raise RuntimeError("this far is enough")

    __name__ = "fake_runtime"


def library_of_this_machine() -> str:
    """One that the loader finds."""
    return "libc.so.6"


def test_the_networks_are_computed_by_the_delegate(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRuntime()
    monkeypatch.setattr(tflite, "runtime", lambda: fake)
    make = functionfs_main.networks("tflite", library_of_this_machine())
    assert fake.loaded == [library_of_this_machine()], "it is tried at once"
    bundle = load_bundle("gnetseg-large-cpu30")
    with pytest.raises(ModelError, match="this far is enough"):
        make(ModelRecord.of(bundle), bundle.content)
    assert fake.delegates == [library_of_this_machine()]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--delegate", "libnone.so.1"], "the delegate library libnone.so.1 cannot be loaded"),
        (["--delegate", library_of_this_machine()], "libc.so.6 cannot be loaded (no plugin in it)"),
        (["--delegate", "x.so", "--network", "fake"], "--delegate is for the network tflite, not for fake"),
    ],
)
def test_a_delegate_that_is_of_no_use_is_one_sentence(
    arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tflite, "runtime", lambda: FakeRuntime(ValueError("no plugin in it")))
    result = CliRunner().invoke(functionfs_main.main, arguments)
    assert result.exit_code in (os.EX_CONFIG, os.EX_USAGE)
    assert said in result.output
    assert len(result.output.strip().splitlines()) == 1, result.output


def test_transfers_are_posted_ahead_and_taken_in_their_order(tmp_path: Path) -> None:
    (tmp_path / "data").write_bytes(b"abc")
    file = os.open(tmp_path / "data", os.O_RDWR)
    queue = functionfs_aio.Queue(file, functionfs_aio.Operation.READ, 3)
    try:
        buffers = [memoryview(bytearray(size)) for size in (1, 2, 8)]
        for buffer in buffers:
            queue.submit(buffer)
        assert queue.full
        assert [bytes(queue.take()) for _ in buffers] == [b"a", b"ab", b"abc"], "short counts are told"
        assert queue.pending == 0
    finally:
        queue.close()
        os.close(file)


def test_a_transfer_that_fails_is_an_error_of_that_one_alone() -> None:
    reader, writer = os.pipe2(os.O_NONBLOCK)
    queue = functionfs_aio.Queue(writer, functionfs_aio.Operation.WRITE, 3)
    try:
        queue.submit(memoryview(bytearray(4)))
        os.close(reader)
        queue.submit(memoryview(bytearray(4)))
        assert len(queue.take()) == 4
        queue.cancel()  # it has ended: nothing to cancel
        with pytest.raises(BrokenPipeError):
            queue.take()
    finally:
        queue.close()
        os.close(writer)


def test_a_machine_whose_system_calls_are_not_known_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functionfs_aio, "_NUMBERS", {})
    with pytest.raises(PermanentError, match="asynchronous I/O are not known for"):
        functionfs_aio.Queue(0, functionfs_aio.Operation.READ, 1)
