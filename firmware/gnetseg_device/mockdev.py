"""``gnetseg-mockdev``: a mock accelerator for hardware-in-loop tests (docs/mock-device.md)."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, NoReturn

import click

from gnetsegd.command_line import tell
from gnetsegd.errors import GnetsegError

from . import faults
from .faults import DEFAULT_RATE, FAULTS

if TYPE_CHECKING:
    from gnetsegd.model import ModelBundle

    from .device import MockDevice
    from .model_store import ModelStore
    from .networks import NetworkFactory
    from .remote import RemoteControl
    from .usbip_server import UsbipServer
    from .usbredir import UsbredirPeer

DEFAULT_ADDRESS = "127.0.0.1:3240"
#: Between two looks whether it is to stop.
LOOK_S = 0.5


def parse_address(text: str) -> tuple[str, int]:
    """``HOST:PORT``, ``[IPv6]:PORT`` or ``:PORT``; ``BadParameter`` that says what is wrong."""
    host, colon, port = text.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{text!r} is not HOST:PORT, for example {DEFAULT_ADDRESS}")
    return host.strip("[]") or "127.0.0.1", int(port)


def parse_fault(text: str) -> tuple[str, float, float | None]:
    """``faults.parse_fault`` for the command line: ``BadParameter`` with its sentence."""
    try:
        return faults.parse_fault(text)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def fault_table() -> str:
    """The table of faults, as docs/mock-device.md has it."""
    rows = ["| name | what it does | what a host must do |", "|---|---|---|"]
    rows += [f"| `{fault.name}` | {fault.does} | {fault.outcome} |" for fault in FAULTS.values()]
    return "\n".join(rows)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--usbip",
    "address",
    metavar="HOST:PORT",
    is_flag=False,
    flag_value=DEFAULT_ADDRESS,
    default=DEFAULT_ADDRESS,
    show_default=True,
    type=parse_address,
    help="Serve USB/IP there.",
)
@click.option(
    "--usbredir", metavar="SOCKET", help="Plug into the QEMU that listens at this Unix socket instead."
)
@click.option("--model", metavar="BUNDLE", help="Have this model from the start; else it must be uploaded.")
@click.option(
    "--network",
    type=click.Choice(["tflite", "fake", "null"]),
    default="tflite",
    show_default=True,
    help="What computes the masks: the model itself, a deterministic fake, or a canned mask at no cost.",
)
@click.option("--store", metavar="FOLDER", help="Keep uploaded models there; else only while it runs.")
@click.option(
    "--link-mbps",
    type=click.FloatRange(0, 10000),
    default=0.0,
    show_default=True,
    help="Emulate a half-duplex bus of so many Mbyte/s; 0 is off.",
)
@click.option(
    "--compute-ms",
    type=click.FloatRange(0, 60000),
    default=0.0,
    show_default=True,
    help="Emulate a chip that takes so long for each frame; 0 is off.",
)
@click.option(
    "--slots",
    type=click.IntRange(1, 16),
    default=3,
    show_default=True,
    help="How many frames may be in flight.",
)
@click.option(
    "--fault",
    "injected",
    metavar="NAME[:NUMBER]",
    multiple=True,
    type=parse_fault,
    help=f"Inject a fault, with a probability at each opportunity (default {DEFAULT_RATE:g}, or always "
    "for a lasting one); for some the number is of frames or seconds. May be given again.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the faults' random numbers.")
@click.option("--serial", default="mock-0001", show_default=True, help="The device's serial number.")
@click.option(
    "--remote", metavar="SOCKET", help="Make a Unix socket there that plugs, unplugs and injects faults."
)
@click.option("--list-faults", is_flag=True, help="Show the faults and end.")
def main(
    address: tuple[str, int],
    usbredir: str | None,
    model: str | None,
    network: str,
    store: str | None,
    link_mbps: float,
    compute_ms: float,
    slots: int,
    injected: tuple[tuple[str, float, float | None], ...],
    seed: int,
    serial: str,
    remote: str | None,
    list_faults: bool,
) -> None:  # fmt: skip
    """A mock gnetseg accelerator: plug it in with `usbip attach` or QEMU, until SIGTERM or Ctrl-C.

    It speaks the protocol of docs/protocol.md, emulates a bus and a chip of a given speed, and can
    do whatever a cable does.
    """
    if list_faults:
        tell(fault_table(), "gnetseg-mockdev")
        return
    try:
        bundle = _load(model)
        kept, networks = _store(store), _networks(network)
    except GnetsegError as error:
        _fail(str(error), error.exit_code)
    from .device import MockDevice
    from .engine import Limits

    device = MockDevice(
        model=bundle, network=networks, serial=serial, link_mbytes_per_s=link_mbps,
        compute_s=compute_ms / 1000, limits=Limits(slots=slots), store=kept, seed=seed,
    )  # fmt: skip
    for name, rate, value in injected:
        device.inject(name, rate, count=None, value=value)
    control = _control(remote, device) if remote else None
    device.port.start_worker()
    server, words = _plug_into(usbredir, device) if usbredir else _serve_usbip(address, device)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    click.echo(words)
    sys.stdout.flush()
    serving = threading.Thread(target=server.serve, name="serving", daemon=True)
    serving.start()
    # With a limit: a signal that comes the moment before a call that blocks does not end it.
    while serving.is_alive() and not stop.wait(LOOK_S):
        pass
    server.close()
    serving.join()
    if control:
        control.close()
    device.close()
    for name, count in sorted(device.injected.items()):
        click.echo(f"fault {name}: {count}")


def _serve_usbip(address: tuple[str, int], device: MockDevice) -> tuple[UsbipServer, str]:
    """(the server, what to tell people)"""
    from .usbip_server import UsbipServer
    from .usbip_wire import bus_id

    try:
        server = UsbipServer([device.port], address)
    except OSError as error:
        _fail(
            f"cannot listen on {address[0]}:{address[1]} ({error.strerror}); give another --usbip HOST:PORT",
            os.EX_UNAVAILABLE,
        )
    host, port = server.address
    name = bus_id(device.port.place).decode()
    serial = device.port.identity.serial
    return server, f"serving {serial} on {host}:{port}; attach it with: usbip attach -r {host} -b {name}"


def _plug_into(path: str, device: MockDevice) -> tuple[UsbredirPeer, str]:
    """(the peer, what to tell people)"""
    from .usbredir import UsbredirPeer

    serial = device.port.identity.serial
    return UsbredirPeer(device.port, path), f"plugging {serial} into the QEMU at {path}"


def _control(path: str, device: MockDevice) -> RemoteControl:
    from .remote import RemoteControl

    try:
        return RemoteControl(device, path)
    except OSError as error:
        _fail(f"--remote {path}: {error.strerror or error}; give a path that is free", os.EX_CANTCREAT)


def _load(model: str | None) -> ModelBundle | None:
    if model is None:
        return None
    from gnetsegd.model import load_bundle

    return load_bundle(model)


def _store(folder: str | None) -> ModelStore | None:
    if folder is None:
        return None
    from pathlib import Path

    from gnetsegd.errors import PermanentError

    from .model_store import FolderStore

    try:
        return FolderStore(Path(folder))
    except OSError as error:
        raise PermanentError(
            f"--store {folder}: {error.strerror}; give a folder that this user may write to", os.EX_CANTCREAT
        ) from None


def _networks(name: str) -> NetworkFactory:
    from .networks import by_name

    if name == "tflite":
        from gnetsegd.accelerators.runtimes import find_runtime

        find_runtime()  # a sentence now, rather than with the first model
    return by_name(name)


def _fail(sentence: str, code: int) -> NoReturn:
    click.echo(f"gnetseg-mockdev: {sentence}", err=True)
    raise SystemExit(code)


if __name__ == "__main__":
    main()
