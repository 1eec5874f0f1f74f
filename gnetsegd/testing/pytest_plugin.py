"""A pytest plugin: a USB accelerator in this process, for your hardware-in-loop tests.

See docs/mock-device.md. It is loaded into every pytest of an environment that has gnetsegd, so
it imports nothing until a test asks for the fixture.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gnetseg_device.device import MockDevice


class DeviceFactory(Protocol):
    """Makes devices; those of one test are plugged into one host."""

    def __call__(self, **options: Any) -> MockDevice:
        """Options are those of ``gnetseg_device.device.MockDevice``, and ``network`` may be a name."""


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "gnetseg_device(**options): options of the fixture gnetseg_device, for example "
        "link_mbytes_per_s=26, compute_s=0.0014, model=bundle, network='null', serial='sn-1'",
    )


@pytest.fixture
def make_gnetseg_device() -> Iterator[DeviceFactory]:
    """For more than one device in a test; they are all unplugged at its end."""
    from gnetseg_device.device import MockDevice
    from gnetseg_device.networks import by_name
    from gnetseg_device.pyusb_backend import Host

    made: list[MockDevice] = []
    host = Host()

    def make(**options: Any) -> MockDevice:
        if isinstance(options.get("network"), str):
            options["network"] = by_name(options["network"])
        options.setdefault("host", host)
        options.setdefault("serial", f"mock-{len(made) + 1:04}")
        made.append(MockDevice(**options))
        return made[-1]

    yield make
    for device in made:
        device.close()


@pytest.fixture
def gnetseg_device(request: pytest.FixtureRequest, make_gnetseg_device: DeviceFactory) -> MockDevice:
    """A mock accelerator, plugged in: plug, unplug and inject faults; ``backend`` is for pyusb.

    Without the marker ``gnetseg_device`` it has no model, computes with a deterministic fake, and
    emulates neither bus nor chip.
    """
    marker = request.node.get_closest_marker("gnetseg_device")
    return make_gnetseg_device(**(marker.kwargs if marker else {}))
