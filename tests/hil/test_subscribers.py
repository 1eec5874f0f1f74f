"""A subscriber that is stopped for a while: nobody else notices, and it is never behind afterwards."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from guest import SOCKET, Listener, Unit, eventually

MASKS = 20
#: Says the number and the age of each mask that it gets, as a robot's program would take them.
READER = f"""
from gnetsegd.client import MaskSubscriber
with MaskSubscriber("{SOCKET}") as masks:
    while mask := masks.receive():
        print(mask.sequence, mask.age_s, flush=True)
"""
#: Masks come four times a second; what is older has waited behind others.
FRESH_S = 15.0


class Reader:
    """Such a program."""

    def __init__(self) -> None:
        self._process = subprocess.Popen([sys.executable, "-c", READER], stdout=subprocess.PIPE, text=True)

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def stopped(self) -> bool:
        stat = Path(f"/proc/{self._process.pid}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] == "T"

    def next(self) -> tuple[int, float]:
        """(sequence, age in seconds) of the next mask that it tells of."""
        assert self._process.stdout
        sequence, age_s = self._process.stdout.readline().split()
        return int(sequence), float(age_s)

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def reader() -> Iterator[Reader]:
    made = Reader()
    yield made
    made.close()


def test_a_stopped_subscriber_costs_the_others_nothing_and_gets_fresh_masks_again(
    daemon: Unit, reader: Reader
) -> None:
    daemon.configure()
    daemon.apply()
    pid = daemon.pid
    with Listener() as others:
        reader.next()
        reader.signal(signal.SIGSTOP)
        eventually("it does not stop", reader.stopped)
        before = others.wait_for("status", bool)["counters"]
        sequences = [others.mask().sequence for _ in range(MASKS)]
        after = others.wait_for("status", bool)["counters"]
        # What the camera or the daemon dropped, it has counted; the listener lost nothing beyond it.
        gaps = sequences[-1] - sequences[0] + 1 - MASKS
        dropped = sum(after[name] - before[name] for name in ("dropped_camera", "dropped_daemon"))
        assert gaps <= dropped
        reader.signal(signal.SIGCONT)
        # Some masks were under way to it when it was stopped; it is not handed the whole queue of them.
        told = [reader.next()]
        while told[-1][0] <= sequences[-1]:
            assert len(told) < MASKS // 2, f"{told}; the others have had {sequences}"
            told.append(reader.next())
        sequence, age_s = reader.next()
        assert sequence > told[-1][0]
        assert age_s < FRESH_S
    assert daemon.pid == pid
