"""A program that goes by masks goes by nothing else: what is old, foreign or gone is never given as one."""

from __future__ import annotations

import math
import re
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fake_publisher import HASH, FakePublisher, person

from gnetsegd.client import MaskSubscriber, NoData, NoDataError, NoInfoError, ReceivedMask
from gnetsegd.client.no_data import WHYS
from gnetsegd.message import STATES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.runtime

WAIT_S = 10.0
TITLES = ("Four ways to read", "A mask")


@pytest.fixture
def masks(publisher: FakePublisher) -> Iterator[MaskSubscriber]:
    """A newest-only subscriber, connected."""
    with MaskSubscriber(publisher.endpoint) as subscriber:
        publisher.wait_for("mask", "info", "status")
        yield subscriber


def soon(what: Callable[[], Any]) -> Any:
    """What the callable gives, once that is true: messages take their time."""
    deadline = time.monotonic() + WAIT_S
    while not (found := what()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)
    return found


def why_not(
    masks: MaskSubscriber,
    wanted: str,
    max_age_s: float = 3.0,
    again: Callable[[], object] = lambda: None,
) -> NoData:
    """``latest`` gives None for this reason, as soon as what was sent is here; ``again`` sends it anew, since
    on a busy machine it may be old by then.
    """

    def gives() -> NoData | None:
        again()
        assert masks.latest(max_age_s) is None
        return masks.no_data if masks.no_data and masks.no_data.why == wanted else None

    found: NoData = soon(gives)
    assert found.reason
    return found


def well(publisher: FakePublisher, masks: MaskSubscriber, sequence: int = 1, **changes: Any) -> ReceivedMask:
    """Everything is sent as it should be, and the mask is there.

    It is sent anew each second: on a busy machine the subscriber may have connected anew meanwhile.
    """
    sent_at = -math.inf

    def there() -> ReceivedMask | None:
        nonlocal sent_at
        if time.monotonic() - sent_at > 1.0:
            sent_at = time.monotonic()
            publisher.info()
            publisher.status()
            publisher.mask(sequence, **changes)
        mask = masks.latest()
        return mask if mask is not None and mask.sequence == sequence else None

    found: ReceivedMask = soon(there)
    return found


# -- latest ---------------------------------------------------------------------------------------


def test_latest_gives_the_newest_mask_and_the_same_again_until_it_is_too_old(
    publisher: FakePublisher, masks: MaskSubscriber
) -> None:
    first = well(publisher, masks, 1)
    assert masks.latest() is first
    assert masks.no_data is None
    assert well(publisher, masks, 2).sequence == 2
    soon(lambda: masks.latest(0.05) is None)
    why_not(masks, "stale", max_age_s=0.05)
    assert masks.latest(30) is not None


def test_latest_never_waits(masks: MaskSubscriber, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    read = masks._read

    def watched(kind: str, timeout_s: float) -> memoryview | None:
        waits.append(timeout_s)
        return read(kind, min(timeout_s, 0.01))

    monkeypatch.setattr(masks, "_read", watched)
    monkeypatch.setattr(masks, "_wait_for", lambda *_: pytest.fail("it waits"))
    assert masks.latest() is None
    assert waits
    assert max(waits) <= 0


@pytest.mark.parametrize("exposed_s_ago", [4.0, 60.0])
def test_a_picture_of_long_ago_is_no_mask_however_late_it_was_sent(
    publisher: FakePublisher, masks: MaskSubscriber, exposed_s_ago: float
) -> None:
    well(publisher, masks)
    publisher.mask(2, times=2, sensor_timestamp_ns=time.monotonic_ns() - int(exposed_s_ago * 1e9))
    soon(lambda: masks.latest() is None)
    found = why_not(masks, "stale")
    assert found.age_s == pytest.approx(exposed_s_ago, abs=2)
    assert "allowed are 3 s" in found.reason


def test_a_picture_of_the_future_is_no_mask(publisher: FakePublisher, masks: MaskSubscriber) -> None:
    well(publisher, masks)
    publisher.mask(2, times=2, sensor_timestamp_ns=time.monotonic_ns() + int(60e9))
    soon(lambda: masks.latest() is None)
    assert why_not(masks, "clock").reason


@pytest.mark.parametrize("state", [*(state for state in STATES if state != "running"), "a state of 2031"])
def test_a_daemon_that_does_not_run_gives_no_mask_and_its_own_reason(
    publisher: FakePublisher, masks: MaskSubscriber, state: str
) -> None:
    well(publisher, masks)
    publisher.status(state=state, reason="the\x1b[2J cable")
    soon(lambda: masks.latest() is None)
    found = why_not(masks, state if state in STATES else "not-running")
    assert found.reason == "the?[2J cable"
    assert found.why in WHYS


def test_masks_of_the_run_before_are_none_of_the_new_one(
    publisher: FakePublisher, masks: MaskSubscriber
) -> None:
    well(publisher, masks)
    publisher.session = 8
    publisher.status()
    soon(lambda: masks.latest() is None)
    why_not(masks, "restarted")
    assert well(publisher, masks, 2).session == 8


def test_a_daemon_that_was_never_heard_is_silent(publisher: FakePublisher, masks: MaskSubscriber) -> None:
    assert "no daemon has answered yet" in why_not(masks, "silent").reason
    publisher.info()
    publisher.mask(1, times=2)
    why_not(masks, "no-status")
    publisher.session = 9
    publisher.status(timestamp_ns=time.monotonic_ns() - int(5e9))
    assert "the daemon is silent" in why_not(masks, "silent").reason


def test_a_socket_that_is_not_there_is_named(tmp_path: Path) -> None:
    with MaskSubscriber(f"ipc://{tmp_path}/none.sock") as masks:
        assert f"{tmp_path}/none.sock: there is no such socket" in why_not(masks, "silent").reason


def test_a_socket_that_this_user_may_not_open_is_not_permitted(
    masks: MaskSubscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)
    assert "join the group" in why_not(masks, "not-permitted").reason


def test_a_daemon_that_runs_and_sent_nothing_here_yet_has_no_mask(
    publisher: FakePublisher, masks: MaskSubscriber
) -> None:
    publisher.info()
    assert why_not(masks, "no-mask", again=publisher.status).age_s is None


def test_a_mask_without_info_is_not_gone_by_and_says_so(
    publisher: FakePublisher, masks: MaskSubscriber
) -> None:
    publisher.status()
    publisher.mask(1, times=2)
    why_not(masks, "no-info")
    publisher.info(session=99)
    soon(lambda: masks.info() and masks.info()["session"] == 99)  # type: ignore[index]
    why_not(masks, "no-info")
    publisher.info(model={"id": "x", "sha256": "ff" * 32, "title": "another network", "licence": ""})
    soon(lambda: masks.info() and masks.info()["model"]["id"] == "x")  # type: ignore[index]
    why_not(masks, "no-info")
    publisher.info()
    assert soon(masks.latest).share() == pytest.approx(person(8, 6).mean())


@pytest.mark.parametrize("age_s", [0, -1, float("nan")])
def test_an_age_that_lets_nothing_through_is_a_sentence(masks: MaskSubscriber, age_s: float) -> None:
    with pytest.raises(ValueError, match="one above 0"):
        masks.latest(age_s)
    with pytest.raises(ValueError, match="one above 0"):
        next(iter(masks.follow(age_s)))
    with pytest.raises(ValueError, match="one above 0"):
        MaskSubscriber(masks.endpoint, max_age_s=age_s)


def test_a_reader_of_every_mask_gets_the_newest_from_latest(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False) as masks:
        publisher.wait_for("mask", "info", "status")
        publisher.info()
        publisher.status()
        for sequence in range(1, 51):
            publisher.mask(sequence)
        assert soon(lambda: (mask := masks.latest()) and mask.sequence == 50 and mask)


def next_mask(events: Iterator[ReceivedMask | NoData]) -> ReceivedMask:
    return next(event for event in events if isinstance(event, ReceivedMask))


# -- loops ----------------------------------------------------------------------------------------


def test_follow_tells_of_trouble_and_goes_on_with_the_next_mask(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False) as masks:
        publisher.wait_for("mask", "info", "status")
        publisher.info()
        publisher.status()
        publisher.mask(1)
        events = masks.follow(max_age_s=30)
        assert next_mask(events).sequence == 1
        publisher.status(state="no-camera", reason="unplugged")
        problem = next(events)
        assert isinstance(problem, NoData)
        assert (problem.why, problem.reason) == ("no-camera", "unplugged")
        publisher.status()
        publisher.mask(2)
        assert next_mask(events).sequence == 2
        masks.close()
        assert list(events) == []


def test_follow_repeats_the_trouble_while_it_lasts(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False) as masks:
        events = masks.follow(repeat_s=0.01)
        assert all(isinstance(next(events), NoData) for _ in range(3))


def test_the_loop_ends_with_an_error_when_the_masks_stop(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False, max_age_s=1.0) as masks:
        publisher.wait_for("mask", "info", "status")
        publisher.info()
        publisher.status()
        publisher.mask(1)
        loop = iter(masks)
        assert next(loop).sequence == 1
        # The status stays good: the picture's age alone ends it.
        with pytest.raises(NoDataError, match="the newest mask's picture is") as raised:
            next(loop)
        assert raised.value.no_data.why == "stale"


def test_the_loop_says_what_the_daemon_says(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False) as masks:
        publisher.wait_for("mask", "info", "status")
        publisher.info()
        publisher.status()
        publisher.mask(1)
        loop = iter(masks)
        assert next(loop).sequence == 1
        publisher.status(state="no-accelerator", reason="the stick is gone")
        with pytest.raises(NoDataError, match="no masks: the stick is gone"):
            next(loop)


def test_the_loop_waits_at_the_beginning_and_not_for_ever(publisher: FakePublisher) -> None:
    with (
        MaskSubscriber(publisher.endpoint, start_timeout_s=0.2) as masks,
        pytest.raises(NoDataError, match="no daemon has answered yet"),
    ):
        next(iter(masks))
    with MaskSubscriber(publisher.endpoint, newest_only=False, max_age_s=WAIT_S) as masks:
        publisher.wait_for("mask", "info", "status")
        publisher.status(state="idle")
        seen = threading.Event()

        def late() -> None:
            # Again and again, as a daemon does: on a busy machine the subscriber connects anew meanwhile.
            while not seen.wait(0.5):
                publisher.info()
                publisher.status()
                publisher.mask(5)

        daemon = threading.Thread(target=late)
        daemon.start()
        try:
            assert next(iter(masks)).sequence == 5
        finally:
            seen.set()
            daemon.join()


def test_a_reader_that_fell_behind_skips_what_is_too_old(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False) as masks:
        publisher.wait_for("mask", "info", "status")
        publisher.info()
        publisher.status()
        old = time.monotonic_ns() - int(20e9)
        for sequence in range(1, 20):
            publisher.mask(sequence, sensor_timestamp_ns=old + sequence)
        publisher.mask(20)
        assert next(iter(masks)).sequence == 20


def test_the_guide_names_every_reason_and_every_name_of_a_mask() -> None:
    guide = (Path(__file__).parents[2] / "docs" / "client.md").read_text("utf-8")
    reasons, names = (guide.split(f"\n## {title}\n")[1].split("\n## ")[0] for title in TITLES)
    assert set(re.findall(r"`([a-z-]+)`", reasons.split("| means |")[1])) - {"reason"} == set(WHYS)
    named = {name for row in names.splitlines() if row.startswith("| `")
             for name in re.findall(r"`([a-z_]+)[`(]", row.split("|")[1])}  # fmt: skip
    public = {name for name in dir(ReceivedMask) if not name.startswith("_")}
    fields = {"missed", "skipped", "new_session"}
    # The header and the clock's offset are for the library's own parts.
    assert named == (public | fields) - {"header", "clock_offset_ns", "has_info"}


# -- what a mask says of itself -------------------------------------------------------------------


def test_the_pages_names_are_the_masks_own(publisher: FakePublisher, masks: MaskSubscriber) -> None:
    mask = well(publisher, masks, 3, dropped_camera=4, dropped_daemon=5, fallback=True)
    named = {
        "camera": "cam0", "sequence": 3, "session": 7, "width": 8, "height": 6, "bits": 8, "classes": 2,
        "stride": 8, "payload_size": 48, "dropped_camera": 4, "dropped_daemon": 5, "backend": "standin",
        "model_hash": HASH, "fallback": True,
    }  # fmt: skip
    assert {name: getattr(mask, name) for name in named} == named
    assert mask.publish_timestamp_ns - mask.sensor_timestamp_ns == 20_000_000


def test_age_is_of_now_and_wall_time_of_the_exposure(publisher: FakePublisher, masks: MaskSubscriber) -> None:
    mask = well(publisher, masks)
    first = mask.age_s
    soon(lambda: mask.age_s > first)
    assert mask.age_s == pytest.approx((time.monotonic_ns() - mask.sensor_timestamp_ns) / 1e9, abs=0.5)
    assert mask.wall_time_ns == pytest.approx(time.time_ns() - mask.age_s * 1e9, abs=1e9)


def test_another_machines_age_goes_on_from_the_estimate(publisher: FakePublisher) -> None:
    header = publisher.header(person(8, 6), 1)
    ahead_ns = int(500e9)
    mask = ReceivedMask(header, -ahead_ns, 0, 0, True, memoryview(b""))
    assert mask.age_s > 499


DRIVING = ["sky", "building", "pole", "pedestrian", "bicyclist"]


def test_a_building_is_no_person_whatever_its_label(publisher: FakePublisher, masks: MaskSubscriber) -> None:
    publisher.labels, publisher.persons = DRIVING, [3, 4]
    labels = np.array([[1, 1, 3], [1, 4, 0]], np.uint8)
    mask = well(publisher, masks, labels=labels)
    assert mask.persons == (3, 4)
    assert mask.person.tolist() == [[False, False, True], [False, True, False]]
    assert mask.share() == pytest.approx(2 / 6)
    assert mask.where("building", "sky").tolist() == [[True, True, False], [True, False, True]]
    with pytest.raises(ValueError, match="no label 'person'; there are sky, building"):
        mask.where("person")


def test_a_network_that_knows_no_persons_never_says_nobody(
    publisher: FakePublisher, masks: MaskSubscriber
) -> None:
    # 9 and -1 are none of its labels.
    publisher.labels, publisher.persons = ["sky", "building"], [9, -1]
    mask = well(publisher, masks)
    for ask in (lambda: mask.person, mask.share, mask.box, mask.centroid, mask.blobs, mask.touches_edge):
        with pytest.raises(ValueError, match="the network fake knows no persons, only sky, building"):
            ask()


def test_a_mask_without_info_knows_no_persons(publisher: FakePublisher, masks: MaskSubscriber) -> None:
    publisher.mask(1, times=2)
    mask = masks.receive(WAIT_S)
    assert mask is not None
    assert not mask.has_info
    with pytest.raises(NoInfoError, match="no info for mask 1"):
        _ = mask.person
    publisher.info()
    assert mask.person.any()


def test_info_stays_with_its_mask(publisher: FakePublisher, masks: MaskSubscriber) -> None:
    publisher.info()
    soon(masks.info)
    publisher.mask(1, times=2)
    mask = masks.receive(WAIT_S)
    assert mask is not None
    publisher.persons = [0]
    publisher.session = 8
    publisher.info()
    soon(lambda: (info := masks.info()) and info["session"] == 8)
    masks.close()
    assert mask.persons == (1,)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_arrays_are_read_only_and_decoded_once(
    publisher: FakePublisher, masks: MaskSubscriber, bits: int
) -> None:
    mask = well(publisher, masks, bits=bits)
    assert mask.labels is mask.labels
    assert mask.person is mask.person
    for array in (mask.labels, mask.person, mask.where("person"), mask.zone((0, 0, 1, 1))):
        with pytest.raises(ValueError, match="read-only"):
            array[0, 0] = 1
