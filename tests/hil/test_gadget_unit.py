"""gnetseg-gadget.service as it is shipped, on dummy_hcd: the board's side of the cable under systemd."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import Listener, Service, Unit, call, eventually

GADGETS = Path("/sys/kernel/config/usb_gadget")
#: The unit starts without a model: the daemon brings it along.
STORE = Path("/var/lib/gnetseg-gadget")


@pytest.fixture(scope="module")
def board() -> Iterator[Service]:
    """The unit, READY; each check leaves it so."""
    call("modprobe dummy_hcd")
    unit = Service("gnetseg-gadget.service")
    unit.start()
    yield unit
    unit.stop()


@pytest.fixture
def running(board: Service, daemon: Unit) -> Unit:
    """The daemon on the board, with the stand-in to fall back to."""
    assert board.active
    daemon.configure("auto")
    daemon.apply()
    return daemon


def test_systemd_finds_nothing_wrong_with_the_unit() -> None:
    assert call("systemd-analyze verify gnetseg-gadget.service") == ""


def test_it_takes_a_model_and_serves_its_masks_to_the_last_bit(board: Service, running: Unit) -> None:
    with Listener() as listener:
        listener.mask("usb")
        listener.check_masks("usb", 2)
    assert any(STORE.iterdir()), "the model is kept for the next start"
    assert running.active
    assert board.show("NRestarts") == "0"


def test_killed_in_mid_traffic_it_comes_back_and_the_stand_in_serves_meanwhile(
    board: Service, running: Unit
) -> None:
    daemon = running.pid
    with Listener() as listener:
        listener.mask("usb")
        pid = board.pid
        board.kill(signal.SIGKILL)
        assert listener.mask("standin").fallback
        board.wait_for_another(pid)
        listener.mask("usb")
        listener.check_masks("usb", 2)
    assert running.pid == daemon, "one process of the daemon through all of it"


def test_stopped_in_mid_traffic_it_leaves_nothing_behind(board: Service, running: Unit) -> None:
    with Listener() as listener:
        listener.mask("usb")
        board.stop()
        assert board.show("Result") == "success"
        assert list(GADGETS.iterdir()) == []
        assert "gnetseg-gadget" not in Path("/proc/mounts").read_text()
        eventually("the host still has the device", lambda: "1209:0001" not in call("lsusb"))
        assert listener.mask("standin").fallback
        board.start()
        listener.mask("usb")
    assert running.active
