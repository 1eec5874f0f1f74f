"""The first accelerator that comes is noticed once, and looked for only while it would change something."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from gnetsegd.config import Config
from gnetsegd.process import arrival as module
from gnetsegd.process.arrival import Arrival
from gnetsegd.process.parts import Setup


@pytest.fixture
def found(monkeypatch: pytest.MonkeyPatch) -> Any:
    """``there`` is set when one is plugged in; ``asked`` counts the looks, ``woken`` is set by a call."""
    here = SimpleNamespace(there=threading.Event(), woken=threading.Event(), asked=threading.Semaphore(0))

    def is_there() -> bool:
        here.asked.release()
        return here.there.is_set()

    monkeypatch.setattr(module, "LOOK_S", 0.001)
    monkeypatch.setattr(module.networks, "finder", lambda _: is_there)
    return here


def setup(until_one_comes: bool) -> Setup:
    return Setup(Config(), None, until_one_comes)  # type: ignore[arg-type]


def looks(found: Any, count: int = 3) -> bool:
    return all(found.asked.acquire(timeout=10) for _ in range(count))


def test_it_is_told_once_when_it_comes_and_wakes_the_main_thread(found: Any) -> None:
    arrival = Arrival(found.woken.set)
    arrival.follow(setup(True))
    assert looks(found)
    assert not arrival.take()
    found.there.set()
    assert found.woken.wait(10)
    assert arrival.take()
    assert not arrival.take()
    arrival.stop()


def test_nothing_is_looked_for_where_it_would_change_nothing(found: Any) -> None:
    found.there.set()
    arrival = Arrival(found.woken.set)
    arrival.follow(setup(False))
    assert not found.woken.wait(0.05)
    assert not arrival.take()


def test_after_a_reload_that_no_longer_wants_it_an_arrival_is_nothing(found: Any) -> None:
    arrival = Arrival(found.woken.set)
    arrival.follow(setup(True))
    assert looks(found)
    arrival.follow(setup(False))
    found.there.set()
    found.woken.wait(0.05)
    assert not arrival.take()


def test_where_nothing_came_of_it_the_next_one_that_is_plugged_in_is_told_again(found: Any) -> None:
    arrival, same = Arrival(found.woken.set), setup(True)
    found.there.set()
    arrival.follow(same)
    assert found.woken.wait(10)
    assert arrival.take()
    found.woken.clear()
    arrival.follow(same)  # the reload has failed: the setup is that of before
    assert looks(found, 20)
    assert not arrival.take(), "the one that is there was tried"
    found.there.clear()
    while found.asked.acquire(blocking=False):
        pass
    assert looks(found, 2), "one look at least has seen that it is gone"
    found.there.set()
    assert found.woken.wait(10)
    assert arrival.take()
    arrival.stop()


def test_the_same_setup_starts_no_second_look(found: Any) -> None:
    arrival, same = Arrival(found.woken.set), setup(True)
    found.there.set()
    arrival.follow(same)
    assert found.woken.wait(10)
    arrival.follow(same)
    assert arrival.take(), "what was found is not forgotten"
    found.woken.clear()
    arrival.follow(same)
    assert not found.woken.wait(0.05), "and not found again"
    arrival.stop()
