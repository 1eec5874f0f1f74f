"""``gnetseg-gadget``: a Linux board with a USB device port is the accelerator (firmware/README.md)."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gnetsegd.errors import GnetsegError, PermanentError
from gnetsegd.process import logs, sd_notify

from .descriptors import Identity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .networks import NetworkFactory

log = logging.getLogger(__name__)

_BOARD_SERIAL = Path("/sys/firmware/devicetree/base/serial-number")
_MACHINE_ID = Path("/etc/machine-id")
#: If the endpoints take longer to come to rest, the process ends and the kernel takes the gadget down. What
#: else there is to take down may use the rest of the unit's TimeoutStopSec.
STOP_S = 5.0
#: Between two looks whether it is to stop.
LOOK_S = 1.0


def board_serial() -> str:
    """What tells this board from others: its own serial number, else a part of its machine id."""
    for path, length in ((_BOARD_SERIAL, 32), (_MACHINE_ID, 12)):
        try:
            text = path.read_text("ascii", "replace").strip("\0\n ")
        except OSError:
            continue
        if text:
            return text[:length]
    return "gnetseg-0001"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--udc", default="", help="The USB device controller, if there are several.")
@click.option("--model", metavar="BUNDLE", help="Have this model from the start; else it must be uploaded.")
@click.option(
    "--network",
    type=click.Choice(["tflite", "fake", "null"]),
    default="tflite",
    show_default=True,
    help="What computes the masks: the model itself, a deterministic fake, or a canned mask at no cost.",
)
@click.option(
    "--delegate",
    metavar="LIBRARY",
    default="",
    help="Compute the model with this TFLite delegate library, for example libedgetpu.so.1; else on the CPU.",
)
@click.option("--store", metavar="FOLDER", help="Keep uploaded models there; else only while it runs.")
@click.option(
    "--slots",
    type=click.IntRange(1, 16),
    default=3,
    show_default=True,
    help="How many frames may be in flight.",
)
@click.option("--serial", default="", help="Serial number; by default the board's own.")
def main(
    udc: str, model: str | None, network: str, delegate: str, store: str | None, slots: int, serial: str
) -> None:
    """Be a gnetseg accelerator on this board's USB device port, until SIGTERM or Ctrl-C."""
    logs.set_up_logging("info")
    try:
        _run(udc, model, networks(network, delegate), store, slots, serial or board_serial())
    except GnetsegError as error:
        click.echo(f"gnetseg-gadget: {error}", err=True)
        sys.exit(error.exit_code)


def networks(name: str, delegate: str) -> NetworkFactory:
    """What makes the networks; ``PermanentError`` for a delegate that is of no use."""
    from gnetsegd.accelerators.runtimes import find_runtime
    from gnetsegd.accelerators.tflite import load_delegate

    from .networks import by_name

    if delegate:
        if name != "tflite":
            raise PermanentError(
                f"--delegate is for the network tflite, not for {name}; leave one of the two out", os.EX_USAGE
            )
        # Now, while a person looks on: later it would only refuse one model after another.
        load_delegate(delegate, {}, find_runtime(), "--delegate")
    return by_name(name, delegate)


def _run(
    udc: str, model: str | None, network: NetworkFactory, store: str | None, slots: int, serial: str
) -> None:
    from gnetsegd.model import load_bundle

    from .device import install
    from .engine import Engine, Limits
    from .functionfs import FunctionFs
    from .functionfs_gadget import Gadget, controller
    from .model_store import FolderStore, ModelStore
    from .port import Port

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    notifier = sd_notify.Notifier()
    kept = FolderStore(Path(store)) if store else ModelStore()
    if model:
        install(kept, load_bundle(model))
    engine = Engine(kept, network, Limits(slots=slots, firmware="gnetseg-gadget"))
    identity = Identity(serial, product="gnetseg accelerator")
    port = Port(engine, identity)
    port.start_worker()
    where = controller(udc)
    gadget = Gadget(identity)
    gadget.create()
    try:
        try:
            function = FunctionFs(port, gadget.folder)
        except OSError as error:
            raise PermanentError(f"FunctionFS: {error.strerror}", os.EX_UNAVAILABLE) from None
        function.start()
        try:
            gadget.bind(where)
            log.info("serving %s on %s", serial, where)
            notifier.ready(f"serving {serial} on {where}")
            # With a limit: a signal that comes the moment before a call that blocks does not end it.
            while not stop.wait(LOOK_S):
                pass
            notifier.stopping()
        finally:
            with _last_resort():
                function.stop()
                gadget.unbind()
                function.close()
    finally:
        gadget.remove()
    port.stop_worker()


@contextlib.contextmanager
def _last_resort() -> Iterator[None]:
    """What takes longer than ``STOP_S`` does not hang the board: the kernel clears up after the process."""
    timer = threading.Timer(STOP_S, os._exit, (os.EX_SOFTWARE,))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


if __name__ == "__main__":
    main()
