"""The mailbox: the newest frame wins, and what gives way is counted."""

from __future__ import annotations

import itertools
import threading

from gnetsegd.frame import Frame, FrameSpec
from gnetsegd.road.mailbox import Mailbox, Pool

SPEC = FrameSpec(8, 8)


def frame(sequence: int) -> Frame:
    made = Frame(SPEC, 64)
    made.sequence = sequence
    return made


def test_the_newest_frame_wins_and_the_older_one_comes_back_for_its_slot() -> None:
    box, old, new = Mailbox(), frame(1), frame(2)
    assert box.put(old) is None
    assert box.put(new) is old
    assert box.take(0) is new
    assert box.take(0) is None


def test_a_frame_carries_how_many_gave_way_before_it_and_not_after_it() -> None:
    box = Mailbox()
    for sequence in range(3):
        box.put(frame(sequence))
    first = box.take(0)
    for sequence in range(3, 5):
        box.put(frame(sequence))
    second = box.take(0)
    assert first is not None
    assert second is not None
    assert (first.sequence, first.dropped_daemon) == (2, 2)
    assert (second.sequence, second.dropped_daemon) == (4, 3)


def test_a_stolen_frame_counts_as_displaced() -> None:
    box, only = Mailbox(), frame(7)
    box.put(only)
    assert box.steal() is only
    assert box.steal() is None
    assert box.displaced == 1
    assert not box


def test_the_pool_has_a_slot_for_each_station_of_the_road_and_no_more() -> None:
    pool = Pool(SPEC, 64, depth_frames=2)
    slots = [pool.take() for _ in range(6)]
    assert sum(slot is not None for slot in slots) == 5
    assert slots[0] is not None
    pool.give(slots[0])
    assert pool.take() is slots[0]


def test_no_frame_is_lost_or_counted_twice_between_two_threads() -> None:
    box, count = Mailbox(), 20_000
    taken: list[Frame] = []

    def take() -> None:
        while not taken or taken[-1].sequence < count - 1:
            if (found := box.take(0.1)) is not None:
                taken.append(found)

    taker = threading.Thread(target=take)
    taker.start()
    displaced = [old.sequence for number in range(count) if (old := box.put(frame(number))) is not None]
    taker.join(30)
    assert not taker.is_alive()
    assert sorted(displaced + [one.sequence for one in taken]) == list(range(count))
    assert box.displaced == len(displaced)
    lost = 0
    for before, after in itertools.pairwise(taken):
        lost += after.sequence - before.sequence - 1
        assert after.dropped_daemon - taken[0].dropped_daemon == lost
