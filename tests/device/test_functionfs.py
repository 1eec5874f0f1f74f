"""What FunctionFS is told is what the other transports say; the rest needs a kernel (tests/hil)."""

from __future__ import annotations

import errno
import os
import signal
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from gnetseg_device import functionfs, functionfs_aio, functionfs_gadget, functionfs_main
from gnetseg_device import functionfs_wire as wire
from gnetseg_device.descriptors import configuration_descriptor
from gnetseg_device.device import MockDevice
from gnetseg_device.networks import by_name
from gnetseg_device.transfer import Cancel, Reason, TransferError

from gnetsegd.accelerators import runtimes, tflite
from gnetsegd.accelerators.runtimes import Runtime
from gnetsegd.errors import ModelError, PermanentError, TransientError
from gnetsegd.link.constants import REQUEST_OUT, Request
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


def _serve(monkeypatch: pytest.MonkeyPatch, fake: FakeRuntime) -> None:
    """Every network and every delegate gets ``fake``."""
    for module in (runtimes, tflite):
        monkeypatch.setattr(module, "find_runtime", lambda *_: Runtime("fake", "1", fake))


def library_of_this_machine() -> str:
    """One that the loader finds."""
    return "libc.so.6"


def test_the_networks_are_computed_by_the_delegate(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeRuntime()
    _serve(monkeypatch, fake)
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
    _serve(monkeypatch, FakeRuntime(ValueError("no plugin in it")))
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


class FakeQueue:
    """What the kernel holds of one endpoint; ``take`` and ``submit`` do first what the test says."""

    def __init__(self, _file: int, _operation: functionfs_aio.Operation, depth: int) -> None:
        self._depth = depth
        self.under_way: list[bytes] = []
        #: What was neither cancelled nor taken by the host.
        self.kept: list[bytes] = []
        self.on_take: Callable[[], None] = lambda: None
        self.on_submit: Callable[[], None] = lambda: None

    @property
    def full(self) -> bool:
        return len(self.under_way) == self._depth

    def submit(self, buffer: memoryview) -> None:
        self.on_submit()
        self.under_way.append(bytes(buffer[:1]))
        self.kept.append(bytes(buffer[:1]))

    def take(self) -> memoryview:
        self.on_take()
        self.under_way.pop(0)
        raise OSError(errno.ECONNRESET, "cancelled")

    def cancel(self) -> None:
        self.kept.clear()

    def close(self) -> None:
        pass


class ScriptedPort:
    """Gives what the test has put into ``answers``, one after another, then ends the test's IN thread."""

    attachment = 1

    def __init__(self) -> None:
        self.answers: list[Callable[[memoryview, Cancel], int]] = []
        self.end: Callable[[], None]

    def unplug(self) -> None:
        pass

    plug = unplug

    def cancel(self, cancel: Cancel) -> None:
        cancel.wanted = True

    def control_out(self, *_: object) -> None:
        pass

    def bulk_in(self, _attachment: int, view: memoryview, _timeout_s: float, cancel: Cancel) -> int:
        if self.answers:
            return self.answers.pop(0)(view, cancel)
        self.end()
        raise TransferError(Reason.CANCELLED)


class Gadget:
    """A function with a scripted port and a fake kernel, enabled; its IN thread is the test's."""

    def __init__(self, folder: Path) -> None:
        for name in ("ep0", "ep1", "ep2"):
            os.mkfifo(folder / name)
        self.port = ScriptedPort()
        self.function = functionfs.FunctionFs(self.port, folder)  # type: ignore[arg-type]
        os.read(self.function._ep0, 1 << 16)
        self.kernel: FakeQueue = self.function._going  # type: ignore[assignment]
        self.port.end = self.function._stopping.set
        self.event(wire.Event.ENABLE)

    def event(self, kind: wire.Event) -> None:
        self.function._handle(kind, wire.Setup(0, 0, 0, 0, 0))

    def abort(self) -> None:
        """As endpoint 0's thread serves it."""
        os.write(self.function._ep0, bytes(4))
        self.function._handle(wire.Event.SETUP, wire.Setup(REQUEST_OUT, Request.ABORT, 0, 0, 4))

    def replug(self) -> None:
        self.event(wire.Event.DISABLE)
        self.event(wire.Event.ENABLE)

    def reconfigure(self) -> None:
        """The kernel drops the DISABLE if it was not read in time."""
        self.event(wire.Event.ENABLE)


@pytest.fixture
def gadget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gadget]:
    monkeypatch.setattr(functionfs, "Queue", FakeQueue)
    made = Gadget(tmp_path)
    yield made
    made.function._close_files()


def answer(data: bytes, size: int = 10, meanwhile: Callable[[], None] = lambda: None) -> Callable[..., int]:
    """An answer that begins with ``data``; ``meanwhile`` happens when the port has given it."""

    def give(view: memoryview, _cancel: Cancel) -> int:
        view[:size] = (data * size)[:size]
        meanwhile()
        return size

    return give


@pytest.mark.parametrize("change", [Gadget.abort, Gadget.replug, Gadget.reconfigure])
def test_an_answer_that_is_fetched_just_before_its_epoch_ends_does_not_go_out(
    gadget: Gadget, change: Callable[[Gadget], None]
) -> None:
    gadget.port.answers = [answer(b"o", meanwhile=lambda: change(gadget)), answer(b"n")]
    gadget.function._serve_in()
    assert gadget.kernel.kept == [b"n"]


def test_the_rest_of_an_answer_does_not_go_out_after_its_epoch_ended(gadget: Gadget) -> None:
    long = 6 * functionfs._PIECE
    gadget.port.answers = [answer(b"o", long), answer(b"n")]
    gadget.kernel.on_take = lambda: gadget.abort() if gadget.port.answers else None
    gadget.function._serve_in()
    assert gadget.kernel.kept == [b"n"]


def test_an_epoch_that_ends_while_a_transfer_is_submitted_cancels_that_one_too(gadget: Gadget) -> None:
    aborting = threading.Thread(target=gadget.abort)

    def submit() -> None:
        aborting.start()
        aborting.join(0.1)

    gadget.kernel.on_submit = submit
    gadget.port.answers = [answer(b"o")]
    gadget.function._serve_in()
    aborting.join()
    assert gadget.kernel.kept == []


def test_the_first_answer_of_an_epoch_is_not_lost_for_having_been_waited_for_since_before(
    gadget: Gadget,
) -> None:
    def wait(_view: memoryview, cancel: Cancel) -> int:
        gadget.abort()
        assert cancel.wanted, "the wait of the old epoch ends with it"
        raise TransferError(Reason.CANCELLED)

    gadget.port.answers = [wait, answer(b"n")]
    gadget.function._serve_in()
    assert gadget.kernel.kept == [b"n"]


def test_files_are_closed_though_the_kernel_refuses_to_end_a_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_queue: FakeQueue) -> None:
        raise OSError(errno.EINVAL, "io_destroy")

    monkeypatch.setattr(functionfs, "Queue", FakeQueue)
    gadget = Gadget(tmp_path)
    files = tuple(gadget.function._files)
    monkeypatch.setattr(FakeQueue, "close", refuse)
    with pytest.raises(OSError, match="io_destroy"):
        gadget.function._close_files()
    for file in files:
        with pytest.raises(OSError, match="Bad file descriptor"):
            os.fstat(file)


class Board:
    """Takes the place of the gadget, of the function and of what ends the process; ``seen`` is in order."""

    folder = Path()

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seen: list[str] = []
        self.on: dict[str, Callable[[], None]] = {}
        self.handlers: dict[int, Callable[[], None]] = {}
        for name in ("create", "bind", "unbind", "remove", "start", "stop", "close"):
            setattr(self, name, lambda *_, name=name: self.do(name))
        monkeypatch.setattr(functionfs, "FunctionFs", lambda *_: self)
        monkeypatch.setattr(functionfs_gadget, "Gadget", lambda *_: self)
        monkeypatch.setattr(functionfs_gadget, "controller", lambda _: "udc")
        monkeypatch.setattr(os, "_exit", lambda code: self.do(f"exit {code}"))
        monkeypatch.setattr(signal, "signal", self.handlers.__setitem__)
        monkeypatch.delenv("NOTIFY_SOCKET", raising=False)

    def do(self, name: str) -> None:
        self.seen.append(name)
        self.on.get(name, lambda: None)()

    def terminate(self) -> None:
        self.handlers[signal.SIGTERM]()

    def serve(self) -> None:
        functionfs_main._run("", None, by_name("null", ""), None, 1, "serial")


def test_a_gadget_that_cannot_be_bound_is_taken_down_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    board = Board(monkeypatch)

    def refuse() -> None:
        raise PermanentError("another gadget may have it")

    board.on["bind"] = refuse
    with pytest.raises(PermanentError, match="another gadget"):
        board.serve()
    assert board.seen == ["create", "start", "bind", "stop", "unbind", "close", "remove"]


def test_only_endpoints_that_do_not_come_to_rest_end_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(functionfs_main, "STOP_S", 0.2)
    board = Board(monkeypatch)
    board.on["bind"] = board.terminate
    board.on["remove"] = lambda: time.sleep(0.4)
    board.serve()
    assert board.seen == ["create", "start", "bind", "stop", "unbind", "close", "remove"]
    ended = threading.Event()
    board.on["close"] = lambda: ended.wait(5) and None
    board.on[f"exit {os.EX_SOFTWARE}"] = ended.set
    board.serve()
    assert board.seen[-3:] == ["close", f"exit {os.EX_SOFTWARE}", "remove"]
