"""The camera's thread: gaps are counted, stalls are mended, a blocked library is told."""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from gnetsegd import plugins
from gnetsegd.config import CameraConfig
from gnetsegd.errors import AccessRefused, CameraStalled, EndOfVideo, NotYet, PermanentError, TransientError
from gnetsegd.road.camera_loop import CameraLoop
from gnetsegd.road.mailbox import Mailbox, Pool

from .fakes import GEOMETRY, MASK, SPEC, NoOptions, Script, ScriptedCamera, wait_until

Make = Callable[..., tuple[CameraLoop, Mailbox, Pool, list[Any]]]


@pytest.fixture
def start() -> Iterator[Make]:
    loops = []

    def make(
        script: Script, hard: bool = False, take: bool = True, fps: float = 30.0, backoff_max_s: float = 0.1
    ) -> Any:
        config = CameraConfig(
            driver="scripted",
            fps=fps,
            stall_timeout_s=0.1,
            backoff_max_s=backoff_max_s,
            options={"scripted": NoOptions()},
        )
        pool, mailbox, taken = Pool(SPEC, MASK.size_bytes, 4), Mailbox(), []
        loop = CameraLoop(config, lambda: script(None), pool, mailbox, lambda: hard, lambda: None)
        loops.append(loop)

        def taker() -> None:
            while take and not loop._stop.is_set():
                frame = mailbox.take(0.05)
                if frame is not None:
                    taken.append((frame.sequence, frame.dropped_camera, frame.dropped_daemon))
                    pool.give(frame)

        threading.Thread(target=taker, daemon=True).start()
        loop.start()
        return loop, mailbox, pool, taken

    yield make
    for loop in loops:
        loop.stop(2)


def test_frames_that_the_camera_lost_are_counted_before_the_next_one(start: Make) -> None:
    loop, mailbox, _, taken = start(Script([0, 1, 4, 5, 9]))
    wait_until(lambda: loop.frames == 5 and not mailbox)
    by_sequence = {sequence: camera for sequence, camera, _ in taken}
    assert by_sequence[9] == 5
    assert loop.dropped == 5


def test_after_a_stall_the_camera_is_reopened_and_the_numbers_go_on(start: Make) -> None:
    script = Script([10, 11, CameraStalled("no frame for 0.1 s")], [0, 1])
    loop, mailbox, _, taken = start(script)
    wait_until(lambda: loop.frames == 4 and not mailbox)
    assert loop.next_sequence == 4
    assert loop.dropped == 0
    assert loop.reopens >= 1
    assert script.closed >= 1
    assert [sequence for sequence, _, _ in taken] == sorted({sequence for sequence, _, _ in taken})


def test_a_camera_that_cannot_come_back_says_so_and_is_tried_again(start: Make) -> None:
    script = Script([0], TransientError("gone"), TransientError("still gone"), [0])
    loop, _, _, _ = start(script)
    wait_until(lambda: loop.state == "lost")
    assert loop.reason
    wait_until(lambda: script.opened >= 4)


def test_an_error_that_nobody_foresaw_does_not_end_the_thread(start: Make) -> None:
    loop, _, _, _ = start(Script([0, RuntimeError("a bug")], [0, 1]))
    wait_until(lambda: loop.frames == 3)


@pytest.mark.parametrize("hard", [True, False])
def test_a_permanent_error_ends_it_only_before_the_daemon_is_ready(start: Make, hard: bool) -> None:
    script = Script(PermanentError("no such clip"), [0])
    loop, _, _, _ = start(script, hard=hard)
    if hard:
        wait_until(lambda: loop.fatal is not None)
        assert script.opened == 1
    else:
        wait_until(lambda: loop.frames == 1)


def test_the_end_of_a_video_is_no_error(start: Make) -> None:
    loop, _, _, _ = start(Script([0, EndOfVideo("the clip is over")]))
    wait_until(lambda: loop.state == "ended")
    assert loop.reason == "the clip is over"


def test_a_video_that_has_ended_is_no_call_that_blocks_while_its_last_masks_are_made(start: Make) -> None:
    loop, _, _, _ = start(Script([0, EndOfVideo("the clip is over")]))
    wait_until(lambda: loop.state == "ended")
    assert [loop.blocked(now / 2) for now in range(100)] == [""] * 100


def test_what_the_camera_shows_from_now_on_is_taken_over_with_its_first_frame(start: Make) -> None:
    going_on, script = threading.Event(), Script()
    other = script.info._replace(geometry=dataclasses.replace(GEOMETRY, sensor_width=32, rotation=90))
    script.sessions.append([0, going_on, other, 1, 2])
    loop, _, _, _ = start(script)
    wait_until(lambda: loop.frames == 1)
    assert loop.info == script.info
    going_on.set()
    wait_until(lambda: loop.frames == 3)
    assert loop.info is not None
    assert loop.info.geometry == other.geometry


def test_a_film_that_rests_is_asked_again_and_is_well(start: Make) -> None:
    going_on, over = threading.Event(), threading.Event()
    script = Script([0, NotYet("not due"), NotYet("not due"), going_on, NotYet("not due"), 1, 2, over])
    loop, _, _, _ = start(script)
    wait_until(lambda: loop.state == "resting")
    going_on.set()
    wait_until(lambda: loop.frames == 3)
    assert (script.opened, loop.reopens) == (1, 0)
    assert loop.state == "streaming"
    over.set()


@pytest.mark.parametrize(
    "error", [CameraStalled("stuck"), PermanentError("broken", 65), RuntimeError("a bug")], ids=str
)
def test_what_would_begin_anew_is_not_opened_again(start: Make, error: Exception) -> None:
    script = Script([0, 1, error], [0, 1])
    script.info = script.info._replace(may_sleep=False)
    loop, _, _, _ = start(script)
    wait_until(lambda: loop.state == "ended")
    assert (script.opened, loop.frames) == (1, 2)
    assert str(error) in loop.reason
    assert loop.end is not None
    assert loop.end.exit_code != 0


def test_a_slow_rate_is_no_fault_of_a_film(start: Make) -> None:
    script = Script([0, 1])
    script.info = script.info._replace(fps=0.2, rests=True)
    loop, _, _, _ = start(script, hard=True, fps=0.1)
    wait_until(lambda: loop.frames == 2)
    assert loop.fatal is None


def test_what_the_camera_lost_is_counted_by_kind_over_its_sessions(start: Make) -> None:
    loop, _, _, _ = start(Script([0, "damaged", 2, "cut", 4, TransientError("gone")], [0, "damaged", 2]))
    wait_until(lambda: loop.frames == 5)
    assert loop.lost() == {"damaged": 2, "cut": 1}


def test_a_call_that_does_not_return_is_told_with_its_name_and_no_second_camera_is_made(start: Make) -> None:
    blocked = threading.Event()
    script = Script([0, blocked, 1])
    loop, _, _, _ = start(script)
    wait_until(lambda: loop.frames == 1)
    wait_until(lambda: loop.blocked(time.monotonic()))
    assert "a call for the camera's next frame has not returned for" in loop.blocked(time.monotonic())
    assert script.opened == 1
    blocked.set()
    wait_until(lambda: loop.frames == 2)
    assert loop.blocked(time.monotonic()) == ""


@pytest.mark.parametrize(("step", "call"), [("open", "opening the camera"), ("close", "closing the camera")])
def test_a_camera_that_hangs_as_it_opens_or_closes_is_told(start: Make, step: str, call: str) -> None:
    leave = threading.Event()
    script = Script([0, TransientError("gone")])
    script.hang = (step, leave)
    loop, _, _, _ = start(script)
    wait_until(lambda: loop.blocked(time.monotonic()))
    assert loop.blocked(time.monotonic()).startswith(call)
    leave.set()


@pytest.mark.parametrize("step", ["open", "close"])
def test_a_camera_whose_kernel_ends_each_request_is_given_so_much_longer(
    start: Make, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    monkeypatch.setattr(ScriptedCamera, "request_limit_s", 5.0, raising=False)
    leave = threading.Event()
    script = Script([0, TransientError("gone")])
    script.hang = (step, leave)
    loop, _, _, _ = start(script)
    wait_until(lambda: (script.opened if step == "open" else script.closed) == 1)
    now = begun = time.monotonic()
    while not loop.blocked(now):
        now += 0.1
    assert 5.0 < now - begun < 7.0
    leave.set()


def test_a_thread_that_is_to_stop_is_not_called_blocked(start: Make) -> None:
    blocked = threading.Event()
    loop, _, _, _ = start(Script([0, blocked, 1]))
    wait_until(lambda: loop.blocked(time.monotonic()))
    assert not loop.stop(0.05), "and whoever stops it hears that it did not end"
    assert loop.blocked(time.monotonic()) == ""
    blocked.set()


def test_a_camera_that_flaps_is_opened_ever_more_rarely(start: Make) -> None:
    script = Script(*([0, TransientError("gone")] for _ in range(100)))
    loop, _, _, _ = start(script, backoff_max_s=60.0)
    time.sleep(1.0)
    # 0.1 + 0.2 + 0.4 + 0.8 s: one good frame each time is no stable service.
    assert script.opened <= 5
    assert loop.reopens >= 3


def test_a_frame_that_no_newer_one_will_replace_is_not_kept_for_later(start: Make) -> None:
    loop, mailbox, pool, _ = start(Script([0, 1, TransientError("gone")]), take=False)
    wait_until(lambda: loop.state == "lost")
    assert not mailbox
    assert len(pool) == 7
    assert mailbox.displaced == loop.frames == 2


def test_nor_is_it_where_the_camera_fails_as_it_is_closed(
    start: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_: ScriptedCamera) -> None:
        raise OSError("it cannot be closed")

    monkeypatch.setattr(ScriptedCamera, "close", fail)
    loop, mailbox, pool, _ = start(Script([0, 1, TransientError("gone")]), take=False)
    wait_until(lambda: loop.state == "lost")
    assert not mailbox
    assert len(pool) == 7


def test_a_missing_camera_stays_missing_and_keeps_its_reason_while_it_is_tried_again(start: Make) -> None:
    states = set()
    script = Script(*(TransientError("no camera is plugged in") for _ in range(50)))
    loop, _, _, _ = start(script)
    wait_until(lambda: loop.state == "lost")
    until = script.opened + 4
    while script.opened < until:
        states.add((loop.state, loop.reason))
    assert states == {("lost", "no camera is plugged in")}


def test_a_camera_that_is_opened_anew_is_told_as_opening_and_a_missing_one_never(start: Make) -> None:
    told = []

    class Telling(Script):
        def step(self, name: str) -> None:
            if name == "open":
                told.append((loop.state, loop.reason))

    loop: Any = None
    script = Telling(*(TransientError("no camera is plugged in") for _ in range(3)), list(range(100_000)))
    script.period_s = 0.001
    go = threading.Event()
    loop, _, _, _ = start(lambda _: (go.wait(10), script(None))[1])
    go.set()
    wait_until(lambda: loop.frames > 0)
    assert told == [("opening", ""), *[("lost", "no camera is plugged in")] * 3]
    loop.set_awake(False)
    wait_until(lambda: loop.state == "sleeping")
    loop.set_awake(True)
    wait_until(lambda: len(told) == 5)
    assert told[4] == ("opening", "")


def test_a_camera_that_was_missing_is_streaming_without_a_reason_once_it_is_there(start: Make) -> None:
    loop, _, _, _ = start(Script(TransientError("no camera is plugged in"), list(range(1000))))
    wait_until(lambda: loop.frames > 0)
    assert (loop.state, loop.reason) == ("streaming", "")


def test_a_cameras_own_words_are_cleaned_where_they_enter(start: Make) -> None:
    script = Script([0])
    make = script.__call__

    class Talking:
        def __init__(self) -> None:
            self._camera = make(None)
            self.capture, self.close = self._camera.capture, self._camera.close

        def open(self, request: Any) -> Any:
            return self._camera.open(request)._replace(description="cam\x1b[2J\nREADY=1", fps=float("nan"))

    loop, _, _, _ = start(lambda _: Talking())
    wait_until(lambda: loop.frames == 1)
    assert loop.info is not None
    assert (loop.info.description, loop.info.fps) == ("cam?[2J READY=1", 0.0)


@pytest.mark.parametrize("fps", [0.0001, 5.0])
def test_a_rate_that_can_only_stall_is_refused_for_every_camera(start: Make, fps: float) -> None:
    loop, _, _, _ = start(Script([0]), hard=True, fps=fps)
    wait_until(lambda: loop.fatal is not None)
    assert "raise camera.fps or camera.stall_timeout_s" in str(loop.fatal)


def test_an_unforeseen_error_before_ready_ends_it_with_a_sentence(start: Make) -> None:
    loop, _, _, _ = start(Script(ZeroDivisionError("denominator")), hard=True)
    wait_until(lambda: loop.fatal is not None)
    assert "ZeroDivisionError: denominator; this is an error of gnetsegd" in str(loop.fatal)


def test_a_sleeping_camera_is_closed_and_wakes_up_again(start: Make) -> None:
    script = Script(list(range(100_000)), [0, 1, 2])
    loop, _, _, _ = start(script)
    wait_until(lambda: loop.frames > 3)
    loop.set_awake(False)
    wait_until(lambda: loop.state == "sleeping")
    assert script.closed == 1
    frames = loop.frames
    loop.set_awake(True)
    wait_until(lambda: loop.frames == frames + 3)


def test_after_many_naps_it_is_still_told_why_the_camera_is_gone(
    start: Make, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "gnetsegd")
    naps = 8
    script = Script(*[list(range(100_000))] * naps, [0, TransientError("it was unplugged")], period_s=0.001)
    loop, _, _, _ = start(script)
    for _ in range(naps):
        frames = loop.frames
        wait_until(lambda seen=frames: loop.frames > seen)
        loop.set_awake(False)
        wait_until(lambda: loop.state == "sleeping")
        loop.set_awake(True)
    wait_until(lambda: loop.state == "lost")
    assert loop.stop(2)
    assert [record.getMessage() for record in caplog.records][:2] == [
        "camera cam0: scripted",
        "camera cam0 (scripted): it was unplugged (attempt 1)",
    ]


def test_without_a_taker_the_camera_still_gets_slots_and_the_newest_frame_waits(start: Make) -> None:
    loop, mailbox, _, _ = start(Script(list(range(500))), take=False)
    wait_until(lambda: loop.frames == 500)
    frame = mailbox.take(1)
    assert frame is not None
    assert (frame.sequence, frame.dropped_daemon) == (499, 499)


def test_a_wrong_password_is_tried_again_only_after_a_minute(start: Make) -> None:
    script = Script(AccessRefused("user or password is wrong"), [0])
    loop, _, _, _ = start(script, hard=True)
    wait_until(lambda: loop.state == "lost")
    assert loop.fatal is None
    assert loop._backoff.remaining_s() > 50


def test_the_projects_own_names_are_those_of_its_entry_points() -> None:
    from importlib.metadata import entry_points

    for group in ("gnetsegd.cameras", "gnetsegd.accelerators"):
        declared = {e.name: e.value for e in entry_points(group=group) if e.value.startswith("gnetsegd.")}
        assert plugins.own(group) == declared
