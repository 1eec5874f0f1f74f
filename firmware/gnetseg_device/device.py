"""A whole mock device in a few words: engine, network, store, port and host put together."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from .descriptors import Identity
from .engine import Engine, Limits
from .faults import Injector
from .model_store import ModelStore, StoredModel
from .networks import FakeNetwork
from .port import Port
from .pyusb_backend import Host, PyusbBackend

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from gnetsegd.model import ModelBundle

    from .networks import NetworkFactory


def install(store: ModelStore, bundle: ModelBundle) -> None:
    """Put a bundle into a store as its active model, as if it had been uploaded before."""
    from gnetsegd.link.model_upload import ModelRecord

    store.activate(StoredModel(ModelRecord.of(bundle), bundle.content))


class MockDevice:
    """A device in this process, plugged in from the start.

    ``model`` is a bundle that it has from the factory (None: it must be uploaded), ``network`` makes
    its networks (default: ``FakeNetwork``; ``networks.tflite_network()`` for the real one).
    ``link_mbytes_per_s`` and ``compute_s`` emulate bus and chip, 0 is none. ``host`` is the machine
    that it is plugged into: give one to several devices, or leave it out.
    """

    def __init__(
        self,
        *,
        model: ModelBundle | None = None,
        network: NetworkFactory = FakeNetwork,
        serial: str = "mock-0001",
        link_mbytes_per_s: float = 0.0,
        compute_s: float = 0.0,
        limits: Limits | None = None,
        store: ModelStore | None = None,
        seed: int = 0,
        host: Host | None = None,
        usb_id: tuple[int, int] | None = None,
    ) -> None:
        self.store = store if store is not None else ModelStore()
        if model:
            install(self.store, model)
        self.engine = Engine(self.store, network, limits)
        identity = Identity(serial) if usb_id is None else Identity(serial, *usb_id)
        self.host = host or Host()
        self.port = Port(
            self.engine,
            identity,
            bus_mbytes_per_s=link_mbytes_per_s,
            compute_s=compute_s,
            faults=Injector(seed),
            port=len(self.host.ports) + 1,
            addresses=self.host.addresses,
        )
        self.host.ports.append(self.port)
        self.backend = PyusbBackend(self.host)

    @contextlib.contextmanager
    def as_libusb(self) -> Iterator[MockDevice]:
        """While it lasts, code that asks pyusb for libusb gets this device's host instead.

        For code that cannot be handed a backend. Real devices are not seen meanwhile.
        """
        import usb.backend.libusb1 as libusb1

        real = libusb1.get_backend
        libusb1.get_backend = lambda find_library=None: self.backend  # noqa: ARG005 - pyusb's name
        try:
            yield self
        finally:
            libusb1.get_backend = real

    def new_process(self) -> PyusbBackend:
        """Another backend on the same host, as another process has it."""
        return PyusbBackend(self.host)

    def plug(self, *, elsewhere: bool = False) -> None:
        """Put the cable (back) in, ``elsewhere`` on another port of another bus."""
        self.port.plug(elsewhere=elsewhere)

    def unplug(self, back_after_s: float | None = None, *, elsewhere: bool = False) -> None:
        """Pull the cable; with ``back_after_s`` it comes back by itself."""
        self.port.unplug(back_after_s, elsewhere=elsewhere)

    def inject(
        self,
        name: str,
        rate: float = 1.0,
        *,
        count: int | None = 1,
        after: int = 0,
        value: float | None = None,
    ) -> None:
        """Arm a fault of ``faults.FAULTS``: by default it happens once, at the next opportunity.

        ``count=None`` is until ``clear``; a lasting fault is always that. ``value`` is a number in the
        fault's own unit, for those that have one.
        """
        from .faults import FAULTS

        lasting = FAULTS[name].lasting
        self.port.faults.arm(name, rate, count=None if lasting else count, after=after, value=value)

    def clear(self, name: str | None = None) -> None:
        """Disarm one fault, or all."""
        self.port.faults.clear(name)

    @property
    def injected(self) -> Counter[str]:
        """How often each fault has happened."""
        return self.port.faults.injected

    def close(self) -> None:
        """Unplug, and end the chip's thread if there is one."""
        self.port.unplug()
        self.port.stop_worker()
