"""Whether a call is blocked is judged by whoever looks, and a pause of the whole process is none."""

from __future__ import annotations

import logging
import math
from typing import Any

import pytest

from gnetsegd.errors import TransientError
from gnetsegd.road.supervisor import Supervised

from .fakes import wait_until

LOG = logging.getLogger("gnetsegd.test")


class Part(Supervised):
    """Its sessions are what the test gives."""

    def __init__(self, *sessions: Any) -> None:
        super().__init__(LOG, "the part", 0.1, lambda: False, lambda: None, "part")
        self.sessions = list(sessions)
        self.begun = 0

    def _session(self) -> None:
        self.begun += 1
        if self.sessions:
            raise self.sessions.pop(0)
        self.state = "serving"
        self._stop.wait(10)


def look(part: Part, *times_s: float) -> list[str]:
    return [part.blocked(now) for now in times_s]


def test_a_call_is_blocked_once_it_outlasts_its_own_limit_without_a_beat() -> None:
    part = Part()
    part._enter("a call for bread", 2.5)
    assert look(part, 0.0, 0.5, 1.0, 1.5, 2.0, 2.5) == [""] * 6
    assert look(part, 2.6) == ["a call for bread has not returned for 2.6 s"]
    part.beats += 1
    assert look(part, 3.0, 4.0, 5.0) == [""] * 3
    part._enter("waiting", math.inf)
    assert look(part, *(float(now) for now in range(6, 100))) == [""] * 94


def test_a_pause_of_the_whole_process_is_no_call_that_blocks() -> None:
    part = Part()
    part._enter("a call for bread", 2.5)
    # Stopped and continued, or swapped out: of each pause half a second counts.
    assert look(part, 0.0, 0.5, 60.0, 120.0, 180.0, 240.0) == [""] * 6
    assert look(part, 240.1) == ["a call for bread has not returned for 2.6 s"]


def test_what_was_never_started_is_stopped_already() -> None:
    assert Part().stop(5)


def test_what_goes_wrong_while_it_stops_is_nobodys_business(caplog: pytest.LogCaptureFixture) -> None:
    class Ending(Part):
        def _session(self) -> None:
            super()._session()
            raise TransientError("cut off in the middle")

    part = Ending()
    part.start()
    wait_until(lambda: part.state == "serving")
    assert part.stop(5)
    assert (part.state, part.reopens, caplog.records) == ("serving", 0, [])


def test_the_same_reason_again_and_again_is_one_line_and_another_one_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    part = Part(*[TransientError("the lens cap is on")] * 3, TransientError("the lens is gone"))
    part.start()
    wait_until(lambda: part.state == "serving")
    assert part.stop(5)
    assert [record.getMessage() for record in caplog.records] == [
        "the part: the lens cap is on (attempt 1)",
        "the part: the lens is gone (attempt 4) (2 lines like this were left out)",
    ]


def test_words_of_an_error_are_one_clean_line_and_an_unforeseen_one_shows_where(
    caplog: pytest.LogCaptureFixture,
) -> None:
    part = Part(RuntimeError("a\x1b[2J\nb" + "c" * 1000))
    part.start()
    wait_until(lambda: part.state == "serving")
    assert part.stop(5)
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 600
    assert record.exc_info is not None


def test_a_part_is_back_once_after_it_failed_and_not_after_each_rest(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Rested(Part):
        served = 0

        def _session(self) -> None:
            self.begun += 1
            if self.sessions:
                raise self.sessions.pop(0)
            self._serving("serving")
            self.served += 1
            if self.served == 3:
                self._stop.wait(10)

    caplog.set_level(logging.INFO)
    part = Rested(*[TransientError("the lens cap is on")] * 2)
    part.start()
    wait_until(lambda: part.served == 3)
    assert part.stop(5)
    assert [record.getMessage() for record in caplog.records] == [
        "the part: the lens cap is on (attempt 1)",
        "the part: back after 2 failed attempts (1 lines like this were left out)",
    ]


@pytest.mark.parametrize(("served_s", "failures"), [(0.0, 3), (1000.0, 1)])
def test_stable_service_that_ends_in_a_rest_makes_the_failures_before_forgotten(
    served_s: float, failures: int
) -> None:
    class Rested(Part):
        def _session(self) -> None:
            self.begun += 1
            if self.begun != 3:
                raise TransientError("the lens cap is on")
            self._serving("serving")
            self._served_from -= served_s

    part = Rested()
    part.start()
    wait_until(lambda: part.reopens >= 3)
    assert part.stop(5)
    assert part._backoff.failures == failures + part.reopens - 3
