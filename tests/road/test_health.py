"""Health is masks: what moves without giving one is not well, and does not feed the watchdog."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from gnetsegd.accelerators.watch import MaskWatch, limit_s
from gnetsegd.road import health


class Part:
    """Counters as a supervised thread writes them."""

    def __init__(self, state: str) -> None:
        self.state = state
        self.reason = f"{state} for a reason"
        self.signs = 0
        self.no_masks = self.resting = False
        self.info = SimpleNamespace(backend="standin", fallback=False)

    def describe(self) -> dict[str, str]:
        return {"falling_back_because": "unplugged"}

    def signs_of_life(self) -> int:
        return self.signs


def made_of(camera: str = "streaming", pipeline: str = "running") -> Any:
    return SimpleNamespace(
        camera=Part(camera), pipeline=Part(pipeline), publisher=SimpleNamespace(masks=0, watched=True)
    )


def judged(road: Any, ready: bool = True) -> str:
    return health.judge(road, ready).state


def test_each_state_is_told_for_what_it_is() -> None:
    assert judged(made_of()) == "running"
    assert judged(made_of(), ready=False) == "starting"
    assert judged(made_of("opening")) == "starting"
    assert judged(made_of(pipeline="opening")) == "starting"
    assert judged(made_of("sleeping")) == "idle"
    assert health.judge(made_of("lost"), True) == ("no-camera", "lost for a reason")
    assert health.judge(made_of(pipeline="lost"), True) == ("no-accelerator", "lost for a reason")


def test_frames_that_go_in_while_no_mask_comes_out_have_a_state_of_their_own() -> None:
    road = made_of()
    road.pipeline.no_masks = True
    assert judged(road) == "no-masks"
    road.pipeline.state = "lost"
    assert judged(road) == "no-masks", "while it is opened anew nothing has become better"
    road.camera.state = "lost"
    assert judged(road) == "no-camera", "no frame goes in any more"


def test_a_network_that_rests_is_idle_and_a_fallback_says_what_was_lost() -> None:
    road = made_of()
    road.pipeline.resting = True
    assert judged(road) == "idle"
    road.pipeline.resting = False
    road.pipeline.info.fallback = True
    assert health.judge(road, True) == ("running", "on the stand-in: unplugged")


def test_while_frames_flow_only_a_mask_is_progress() -> None:
    road, progress = made_of(), health.Progress()
    road.camera.signs += 100
    road.pipeline.signs += 100
    assert not progress.made(road), "motion is none"
    road.publisher.masks += 1
    assert progress.made(road)
    assert not progress.made(road)


@pytest.mark.parametrize("why", ["sleeping", "lost", "resting", "no accelerator"])
def test_in_an_honest_rest_each_thread_must_show_that_it_gets_on(why: str) -> None:
    road, progress = made_of(), health.Progress()
    if why == "resting":
        road.pipeline.resting = True
    elif why == "no accelerator":
        road.pipeline.state = "lost"
    else:
        road.camera.state = why
    for part in (road.camera, road.pipeline):
        part.signs += 1
        assert progress.made(road) is (part is road.pipeline), "one alone is not enough"
    assert not progress.made(road)


def test_an_accelerator_that_is_opened_again_and_again_without_a_mask_starves_the_watchdog() -> None:
    road, progress = made_of(pipeline="lost"), health.Progress()
    road.pipeline.no_masks = True
    for _ in range(3):
        road.camera.signs += 1
        road.pipeline.signs += 1
        assert not progress.made(road)


def test_the_limit_is_two_seconds_or_three_answers() -> None:
    assert [limit_s(answer_s) for answer_s in (0.01, 0.3, 1.0, 10.0)] == [2.0, 2.0, 3.0, 30.0]


def test_an_accelerator_that_keeps_its_frames_is_given_up_after_its_limit() -> None:
    watch = MaskWatch(100.0)
    watch.look(0, False, 2, 100.1)
    for now in (100.2, 101.0, 102.0):
        watch.look(0, False, 2, now)
        assert not watch.is_over(0.3)
    watch.look(0, False, 2, 102.2)
    assert watch.is_over(0.3)
    assert not watch.is_over(1.0), "one that declares a longer answer has longer"
    watch.look(1, False, 2, 103.0)
    assert not watch.is_over(0.3), "a mask begins it anew"


def test_an_accelerator_that_loses_every_frame_is_given_up_and_one_that_lost_one_is_not() -> None:
    watch = MaskWatch(0.0)
    watch.look(5, True, 0, 0.1)
    watch.look(5, True, 0, 3.0)
    assert not watch.is_over(0.3), "two losses may be a passing fault"
    watch.look(5, True, 0, 3.1)
    assert watch.is_over(0.3)


def test_time_in_which_nothing_was_asked_of_it_does_not_count() -> None:
    watch = MaskWatch(0.0)
    watch.look(5, True, 0, 1.0)
    for now in range(2, 3600):
        watch.look(5, False, 0, float(now))
    watch.look(5, False, 1, 3600.0)
    assert watch.lasts_s < 2
    assert not watch.is_over(0.3)
    watch.look(5, False, 1, 3603.0)
    assert watch.is_over(0.3)


def test_a_video_that_has_ended_lets_its_last_frame_wait_for_the_accelerator() -> None:
    road, progress = made_of("ended", "lost"), health.Progress()
    progress.made(road)
    assert not progress.made(road)
    road.pipeline.signs += 1
    assert progress.made(road)
    assert not progress.made(road), "an accelerator whose attempts do not end is no rest"
