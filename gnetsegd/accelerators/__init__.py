"""Accelerators: each one file, found by name through the entry-point group
``gnetsegd.accelerators``.

To the pipeline they are all alike, software or USB. Two threads use one: OUT calls ``wait`` and
``submit``, IN calls ``collect``; ``open`` and ``close`` are called while neither runs.

The promise that everything rests on: **each frame that was submitted comes back exactly once**,
in the order of submission, as a ``Mask`` made from that very frame or as a ``Loss``.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol

from ..frame import Frame, Loss, Mask, ModelInfo

GROUP = "gnetsegd.accelerators"


class Accelerator(Protocol):
    """One accelerator. Its constructor takes a ``ModelBundle`` and an instance of ``Options``.

    One that is made of others names their tables in ``uses`` and is made by a class method
    ``from_options(bundle, options)``, with the options of each by name.
    """

    #: attrs class of the table ``[accelerator.<name>]``; fields made with ``gnetsegd.config.option``
    Options: ClassVar[type[Any]]

    def open(self) -> ModelInfo:
        """Make ready to infer: load and warm up the network, or find and greet the device.

        May be called again after ``close``: so a device can be found again by its serial number.

        Raises ``ModelError`` or another ``PermanentError`` for what a person has to mend,
        ``TransientError`` for what may come back.
        """

    def wait(self, timeout_s: float) -> bool:
        """Wait until one more frame may be submitted; False if that did not come in time."""

    def submit(self, frame: Frame) -> None:
        """Hand over one frame, after ``wait`` said True. The slot belongs to the accelerator now.

        Never raises for the device's sake: what goes wrong comes out of ``collect``.
        """

    def collect(self, timeout_s: float) -> Mask | Loss | None:
        """The next answer, or None if none came in time.

        Raises ``TransientError`` or ``PermanentError`` when the device is gone for good; then
        ``close`` gives back the frames that are still out.
        """

    def describe(self) -> dict[str, Any]:
        """Counters and words for ``status``: JSON types only, cheap, from any thread."""

    def close(self) -> list[Frame]:
        """Free the device; the frames that were submitted and never came back."""
