"""Accelerators: each one file, found by name through the entry-point group
``gnetsegd.accelerators``.

To the pipeline they are all alike, software or USB. Two threads use one: OUT calls ``wait_for_credit`` and
``submit``, IN calls ``collect``; ``open`` and ``close`` are called while neither runs.

The promise that everything rests on: **each frame that was submitted comes back exactly once**,
in the order of submission, as a ``Mask`` made from that very frame or as a ``Loss``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self

from ..frame import NO_ROOM, Frame, Loss, Mask, ModelInfo, Room
from ..model import ModelBundle

GROUP = "gnetsegd.accelerators"


class Accelerator(ABC):
    """One accelerator. Its constructor takes a ``ModelBundle`` and an instance of ``Options``."""

    #: attrs class of the table ``[accelerator.<name>]``; fields made with ``gnetsegd.config.option``
    Options: ClassVar[type[Any]]
    #: For one that is made of others: whose tables hold here, too. It overrides ``from_options``.
    uses: ClassVar[tuple[str, ...]] = ()
    #: Made of two, of which the preferred one may be missing. Its ``from_options`` takes a second bundle, for
    #: the one that falls in for it, and it overrides ``alone`` and ``finder``.
    falls_back: ClassVar[bool] = False
    #: The network runs on this machine's own processor.
    on_cpu: ClassVar[bool] = False
    #: What its transport needs around picture and mask in each frame.
    room: ClassVar[Room] = NO_ROOM
    #: What a person can do when it takes frames and gives no mask: the end of a sentence.
    advice: ClassVar[str] = "restart the accelerator"

    #: How long the answer to the oldest frame in flight may take, in s: declared, or measured by ``open``.
    #: After three times that without a mask (2 s at least) the accelerator is given up.
    answer_limit_s: float = 1.0
    #: Which device it wants, to compare: of another setting it is another.
    wanted_device: object = None
    #: That device was opened once since this process began, so that its absence is a loss.
    was_there: bool = False
    #: Grows with every sign that a long ``open`` or ``collect`` gets on, such as a piece of a model uploaded.
    progress: int = 0

    def signs_of_life(self) -> int:
        """A number that changes while a long call gets on."""
        return self.progress

    @classmethod
    def from_options(cls, bundle: ModelBundle, driver: str, options: dict[str, Any]) -> Self:
        """One made from the tables of the configuration, by name; ``driver`` is its own."""
        return cls(bundle, options[driver])  # type: ignore[call-arg]  # each class has its own constructor

    @classmethod
    def alone(cls, bundle: ModelBundle, options: dict[str, Any]) -> Accelerator:
        """Of one that falls back: what serves where the preferred one has never been."""
        raise NotImplementedError

    @classmethod
    def finder(cls, driver: str, options: dict[str, Any]) -> Callable[[], bool]:
        """Of one that falls back: tells whether there is a preferred one; cheap, opens nothing.

        It is plugged in, or it is named by a setting, so that it is missed where it is not.
        """
        raise NotImplementedError

    def succeed(self, former: Accelerator) -> None:
        """Called before ``open`` with the one that it takes the place of: what it should remember of that."""
        if former.wanted_device == self.wanted_device:
            self.was_there = former.was_there

    @classmethod  # noqa: B027 - most need nothing
    def prepare(cls, bundle: ModelBundle, driver: str, options: dict[str, Any]) -> None:
        """Import what ``prove`` needs; called before that, in the process that goes on."""

    @classmethod  # noqa: B027 - most have nothing to prove
    def prove(cls, bundle: ModelBundle, driver: str, options: dict[str, Any]) -> None:
        """Load and run the network once, as far as that may crash the process; called in a child of it.

        Raises ``PermanentError`` with the sentence that says why it cannot be used. A driver whose network
        runs elsewhere has nothing to prove.
        """

    def attachments(self) -> frozenset[tuple[int, int]]:
        """What is plugged in that may be this accelerator, by (bus, address); empty if there is none.

        Cheap, and opens nothing: it is asked twice a second. One that cannot tell says that there is one.
        """
        return frozenset({(0, 0)})

    def interrupt(self) -> None:  # noqa: B027 - most open quickly
        """Let an ``open`` that runs in another thread end soon, with an error; ``close`` takes this back."""

    def rested(self) -> None:  # noqa: B027 - most do not judge
        """Nothing was asked of it since the last ``collect``: that time says nothing about it."""

    @abstractmethod
    def open(self) -> ModelInfo:
        """Make ready to infer: load and warm up the network, or find and greet the device.

        May be called again after ``close``: so a device can be found again by its serial number.

        Raises ``ModelError`` or another ``PermanentError`` for what a person has to mend,
        ``AbsentError`` where there is none, another ``TransientError`` for what may come back.
        """

    @abstractmethod
    def wait_for_credit(self, timeout_s: float) -> bool:
        """Wait until one more frame may be submitted; False if that did not come in time."""

    @abstractmethod
    def submit(self, frame: Frame) -> None:
        """Hand over one frame, after ``wait_for_credit`` said True. The slot belongs to the accelerator now.

        Never raises for the device's sake: what goes wrong comes out of ``collect``.
        """

    @abstractmethod
    def collect(self, timeout_s: float) -> Mask | Loss | None:
        """The next answer, or None if none came in time.

        Raises ``TransientError`` or ``PermanentError`` when the device is gone for good; then
        ``close`` gives back the frames that are still out.
        """

    @abstractmethod
    def describe(self) -> dict[str, Any]:
        """Counters and words for ``status``: JSON types only, cheap, from any thread."""

    @abstractmethod
    def close(self) -> list[Frame]:
        """Free the device; the frames that were submitted and never came back."""
