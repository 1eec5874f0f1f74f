"""``accelerator.driver = "mock"`` or ``"mock-usb"``: a whole daemon on a mock device, for tests and benches.

The device lives in the daemon's process (``gnetseg_device.device.MockDevice``) and stays there over reloads;
the drivers are the real ones, ``auto`` and ``usb``, on that device's bus. They are not among the installed
entry points, so that no daemon runs on a mock by mistake: ``install`` declares them in a folder for
PYTHONPATH.
"""

from __future__ import annotations

import atexit
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import attrs
from gnetseg_device.device import MockDevice
from gnetseg_device.engine import Limits
from gnetseg_device.faults import parse_fault
from gnetseg_device.networks import by_name
from gnetseg_device.remote import RemoteControl

from ..accelerators import GROUP
from ..accelerators.auto import AutoAccelerator
from ..accelerators.standin import StandinAccelerator
from ..accelerators.usb import UsbAccelerator, usb_finder
from ..config import option
from ..errors import ConfigError
from ..frame import ModelInfo
from ..model import ModelBundle


@attrs.frozen
class MockOptions:
    """``[accelerator.mock]`` and ``[accelerator.mock-usb]``"""

    faults: list[str] = option(
        [], "faults from the start, NAME or NAME:NUMBER of docs/mock-device.md, a rate or in their own unit"
    )
    network: str = option(
        "fake",
        "what computes the masks: a deterministic function of picture and model, a canned mask, or the model",
        choices=("fake", "null", "tflite"),
    )
    has_model: bool = option(True, "the device has the model from the start; else it is uploaded")
    plugged: bool = option(True, "it is plugged in from the start")
    serial: str = option("mock-0001", "its serial number")
    slots: int = option(3, "how many frames may be in flight", unit="frames", minimum=1, maximum=16)
    link_mbytes_per_s: float = option(
        0.0, "an emulated bus; 0 is none", unit="Mbyte/s", minimum=0, maximum=10000
    )
    compute_s: float = option(0.0, "an emulated chip; 0 is none", unit="s", minimum=0, maximum=60)
    seed: int = option(0, "of the faults' random numbers")
    remote_socket: str = option(
        "", "a Unix socket that plugs, unplugs and injects faults (gnetseg_device.remote); empty is none"
    )


#: By serial number: a device outlives the drivers that a reload makes anew.
_devices: dict[str, MockDevice] = {}
#: Those that have their remote control.
_remotes: set[str] = set()


def _device(bundle: ModelBundle | None, options: MockOptions) -> MockDevice:
    """The device of that serial number, made at the first call. ``ConfigError`` for wrong words."""
    if options.serial not in _devices:
        try:
            faults = [parse_fault(text) for text in options.faults]
        except ValueError as error:
            raise ConfigError(f"faults of the mock accelerator: {error}") from None
        device = MockDevice(
            model=bundle if options.has_model else None,
            network=by_name(options.network), serial=options.serial,
            link_mbytes_per_s=options.link_mbytes_per_s, compute_s=options.compute_s,
            limits=Limits(slots=options.slots), seed=options.seed,
        )  # fmt: skip
        device.port.start_worker()
        for name, rate, value in faults:
            device.inject(name, rate, count=None, value=value)
        if not options.plugged:
            device.unplug()
        _devices[options.serial] = device
    return _devices[options.serial]


def _served(device: MockDevice, options: MockOptions) -> MockDevice:
    """``device`` with its remote control: only from use on, as a check of a configuration just makes it."""
    if options.remote_socket and options.serial not in _remotes:
        try:
            remote = RemoteControl(device, options.remote_socket)
        except OSError as error:
            raise ConfigError(f"remote_socket {options.remote_socket}: {error.strerror or error}") from None
        atexit.register(remote.close)
        _remotes.add(options.serial)
    return device


class MockAccelerator(AutoAccelerator):
    """``auto`` on the mock device of this process: the stand-in takes over when that is lost."""

    Options: ClassVar[type[Any]] = MockOptions
    uses: ClassVar[tuple[str, ...]] = ("auto", "usb", "standin")  # type: ignore[assignment]
    _serve: Callable[[], object]

    @classmethod
    def from_options(
        cls, bundle: ModelBundle, driver: str, options: dict[str, Any], fallback: ModelBundle | None = None
    ) -> MockAccelerator:
        device = _device(bundle, options[driver])
        usb = UsbAccelerator(bundle, options["usb"], device.backend)
        made = cls(usb, StandinAccelerator(fallback or bundle, options["standin"]), options["auto"])
        made._serve = lambda: _served(device, options[driver])
        return made

    def open(self) -> ModelInfo:
        self._serve()
        return super().open()

    @classmethod
    def finder(cls, driver: str, options: dict[str, Any]) -> Callable[[], bool]:
        device = _served(_device(None, options[driver]), options[driver])
        return usb_finder(options["usb"], device.backend)


class MockUsbAccelerator(UsbAccelerator):
    """``usb`` on the mock device of this process: it never falls back."""

    Options: ClassVar[type[Any]] = MockOptions
    uses = ("usb",)
    _serve: Callable[[], object]

    @classmethod
    def from_options(cls, bundle: ModelBundle, driver: str, options: dict[str, Any]) -> MockUsbAccelerator:
        device = _device(bundle, options[driver])
        made = cls(bundle, options["usb"], device.backend)
        made._serve = lambda: _served(device, options[driver])
        return made

    def open(self) -> ModelInfo:
        self._serve()
        return super().open()


def install(folder: Path) -> None:
    """Declare ``mock`` and ``mock-usb`` in ``folder``: what has it on its PYTHONPATH finds them by name."""
    metadata = folder / "gnetseg_mock-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: gnetseg-mock\nVersion: 1\n", "ascii")
    lines = [
        f"[{GROUP}]",
        f"mock = {__name__}:MockAccelerator",
        f"mock-usb = {__name__}:MockUsbAccelerator",
        "",
    ]
    (metadata / "entry_points.txt").write_text("\n".join(lines), "ascii")
