"""How a case ends other than well."""

from __future__ import annotations


class Broken(Exception):
    """The device does not do as the page says; the sentence tells what it did."""


class Skip(Exception):
    """The case does not apply to this device, or may not be run; the sentence tells why."""


class TransferFailed(Broken):
    """A transfer or a request that did not end as it has to."""


class Stalled(TransferFailed):
    """The request was STALLed, or the endpoint is halted."""


class OutOfTime(TransferFailed):
    """Nothing came, or nothing was taken, within the time limit."""


class Gone(TransferFailed):
    """The device has left the bus."""


def demand(met: bool, words: str) -> None:
    """``Broken`` with ``words`` unless ``met``."""
    if not met:
        raise Broken(words)
