"""What the transports at the end of a socket have in common."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace

import pytest
from gnetseg_device.device import MockDevice
from gnetseg_device.socket_device import SocketDevice
from gnetseg_device.transfer import Cancel


class Failing(SocketDevice[SimpleNamespace]):
    """Has a mistake in it."""

    def _run(self, transfer: SimpleNamespace) -> None:
        raise ZeroDivisionError(transfer)


@pytest.mark.parametrize("is_out", [True, False])
def test_a_mistake_in_one_endpoint_pulls_the_cable_and_is_told_of(
    is_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[type[BaseException]] = []
    monkeypatch.setattr(threading, "excepthook", lambda failed: told.append(failed.exc_type))
    ours, host = socket.socketpair()
    with ours, host:
        host.settimeout(5)
        mock = MockDevice()
        device = Failing(ours, mock.port, mock.port.attachment)
        with device._working():
            device._queue(1, SimpleNamespace(cancel=Cancel()), is_out=is_out)
            assert host.recv(1) == b"", "the host sees it leave; an endpoint that hangs tells nothing"
    assert told == [ZeroDivisionError]
