"""A zone means the same place after another crop; a smoother mixes only what belongs together."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fake_publisher import HASH, FakePublisher

from gnetsegd.client import ReceivedMask, Smoother, Zone
from gnetsegd.frame import Geometry

pytestmark = pytest.mark.runtime

WHOLE = Geometry("stretch", 0.0, 0.0, 1.0, 1.0, 640, 480)
#: The middle three quarters of a 4:3 sensor, as a square.
CROP = Geometry("center-crop", 0.125, 0.0, 0.75, 1.0, 640, 480)
LETTERBOX = Geometry("letterbox", 0.0, -1 / 6, 1.0, 4 / 3, 640, 480)


def received(
    labels: Any, at_s: float = 0.0, geometry: Geometry = WHOLE, session: int = 7, **changes: Any
) -> ReceivedMask:
    """A mask of ``labels``, exposed at ``at_s``, as a subscriber gives it."""
    labels = np.array(labels, np.uint8)
    with FakePublisher("inproc://unused") as speaker:
        header = speaker.header(
            labels, 1, session=session, sensor_timestamp_ns=int((100 + at_s) * 1e9), **changes
        )
        info = speaker.info_body()
    info["geometry"] = {name: getattr(geometry, name) for name in info["geometry"]}
    return ReceivedMask(header, 0, 0, 0, False, memoryview(labels.tobytes()), lambda _: info)


EMPTY = np.zeros((8, 8), np.uint8)


# -- zones ----------------------------------------------------------------------------------------


def test_a_box_is_the_pixels_whose_centres_lie_in_it() -> None:
    inside = Zone((0.25, 0.5, 0.75, 1.0)).pixels(WHOLE, 8, 4)
    assert inside.shape == (4, 8)
    assert inside.nonzero()[0].tolist() == [2] * 4 + [3] * 4
    assert sorted(set(inside.nonzero()[1].tolist())) == [2, 3, 4, 5]


def test_a_polygon_is_filled_by_the_even_odd_rule() -> None:
    triangle = Zone([(0, 0), (1.01, 0), (0, 1.01)]).pixels(WHOLE, 40, 40)
    y, x = np.mgrid[0:40, 0:40]
    assert np.array_equal(triangle, x + y < 40)
    star = Zone([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0), (0.25, 0.25), (0.75, 0.25), (0.75, 0.75),
                 (0.25, 0.75), (0.25, 0.25)])  # fmt: skip
    hole = star.pixels(WHOLE, 8, 8)
    assert not hole[2:6, 2:6].any()
    assert hole.sum() == 64 - 16


@pytest.mark.parametrize("geometry", [WHOLE, CROP, LETTERBOX])
@pytest.mark.parametrize("zone", [Zone((0.3, 0.2, 0.6, 0.9)), Zone([(0.2, 0.9), (0.5, 0.1), (0.8, 0.9)])])
def test_a_zone_survives_another_crop(zone: Zone, geometry: Geometry) -> None:
    width = height = 200
    inside = zone.pixels(geometry, width, height)
    mask = received(np.zeros((height, width)), geometry=geometry)
    fine = zone.pixels(WHOLE, 1000, 1000)
    wrong = 0
    for y, x in np.ndindex(20, 20):
        u, v = mask.to_sensor(x * 10 + 5.5, y * 10 + 5.5)
        on_sensor = 0 <= u < 1 and 0 <= v < 1
        truth = bool(on_sensor and fine[int(v * 1000), int(u * 1000)])
        wrong += inside[y * 10 + 5, x * 10 + 5] != truth
    assert wrong <= 2, "a pixel on the border may fall to either side"
    assert 0 < inside.sum() < inside.size


def test_the_same_person_has_the_same_share_of_a_zone_in_every_crop() -> None:
    # A person in the left half of the zone, drawn on the sensor and seen through three crops.
    zone = (0.3, 0.25, 0.5, 0.75)
    for geometry in (WHOLE, CROP, LETTERBOX):
        y, x = (np.mgrid[0:240, 0:240] + 0.5) / 240
        u, v = geometry.x + x * geometry.width, geometry.y + y * geometry.height
        mask = received((u >= 0.2) & (u < 0.4) & (v >= 0.25) & (v < 0.75), geometry=geometry)
        assert mask.share(zone) == pytest.approx(0.5, abs=0.02)
        found = mask.box(zone)
        assert found is not None
        assert mask.to_sensor(found.left, found.top) == pytest.approx((0.3, 0.25), abs=0.01)
        assert mask.to_sensor(found.right, found.bottom) == pytest.approx((0.4, 0.75), abs=0.01)
        middle = mask.centroid(zone)
        assert middle is not None
        assert mask.to_sensor(*middle) == pytest.approx((0.35, 0.5), abs=0.01)
        assert [blob.box for blob in mask.blobs(0, zone)] == [found]


def test_the_edge_of_a_letterboxed_picture_is_where_the_picture_ends() -> None:
    labels = np.zeros((240, 240), np.uint8)
    labels[30:60, 100:120] = 1
    assert received(labels, geometry=LETTERBOX).touches_edge() == ("top",)
    assert received(labels, geometry=WHOLE).touches_edge() == ()


def test_padding_beside_the_picture_is_in_no_zone() -> None:
    pillars = Geometry("letterbox", -0.25, -0.25, 1.5, 1.5, 640, 640)
    inside = Zone((-1, -1, 2, 2)).pixels(pillars, 60, 60)
    assert inside[10:50, 10:50].all()
    assert inside.sum() == 40 * 40


def test_a_zone_that_the_crop_leaves_out_is_an_error_and_not_clear() -> None:
    mask = received(EMPTY, geometry=CROP)
    for ask in (mask.share, mask.box, mask.zone):
        with pytest.raises(ValueError, match="shows nothing of Zone"):
            ask((0.0, 0.0, 0.1, 1.0))


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ((0.5, 0, 0.5, 1), "left, top, right, bottom"),
        ((0.6, 0, 0.5, 1), "left, top, right, bottom"),
        ([(0, 0), (1, 1)], "3 to 256 corners, not 2"),
        ([(0, 0)] * 300, "3 to 256 corners, not 300"),
        ([], "corners"),
        ((1, 2, 3), "corners"),
        ("zone", "corners"),
        (None, "corners"),
        ([(0, 0), (1, 0), (0,)], "corners"),
        ([(0, 0), (1, 0), (float("nan"), 1)], "not a number"),
        ((0, 0, float("inf"), 1), "not a number"),
        ((1.0, 0, 2, 1), "beside the sensor's picture"),
        ([(100, 100), (200, 100), (200, 200)], "fractions of it"),
        ([(0.1, 0.1), (0.1, 0.5), (0.1, 0.9)], "on a line"),
        ([(0.1, 0.1), (0.5, 0.5), (0.9, 0.9), (0.3, 0.3)], "on a line"),
        ([(0, 0), (1, 0), (10**400, 1)], "corners"),
    ],
)
def test_what_encloses_nothing_is_a_sentence(shape: Any, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Zone(shape)


def test_zones_are_values() -> None:
    assert Zone((0, 0, 1, 1)) == Zone([(0, 0), (1, 0), (1, 1), (0, 1)])
    assert len({Zone((0, 0, 1, 1)), Zone((0, 0, 1, 1)), Zone((0, 0, 1, 0.5))}) == 2
    assert Zone(np.array([[0, 0], [1, 0], [1, 1]])) == Zone([(0, 0), (1, 0), (1, 1)])  # type: ignore[arg-type]


# -- smoothing ------------------------------------------------------------------------------------

FULL = np.ones((8, 8), np.uint8)


def test_smoothing_follows_the_sensors_time_whatever_the_rate() -> None:
    for step_s in (0.02, 0.1, 0.5):
        smoother = Smoother(1.0)
        smoother(received(EMPTY))
        for i in range(1, round(1 / step_s) + 1):
            average = smoother(received(FULL, i * step_s))
        assert average.dtype == np.float32
        assert average == pytest.approx(1 - math.exp(-1), abs=1e-4)


def test_a_flicker_of_one_mask_does_not_turn_a_pixel() -> None:
    smoother = Smoother(0.5)
    for i in range(20):
        smoother(received(FULL, i / 30))
    assert (smoother(received(EMPTY, 20 / 30)) > 0.9).all()


def test_the_lag_is_the_average_age_of_what_the_answer_is_made_of() -> None:
    smoother = Smoother(0.5)
    smoother(received(FULL))
    assert smoother.lag_s == 0
    smoother(received(FULL, 0.1))
    assert smoother.lag_s == pytest.approx(0.1 * math.exp(-0.2))
    for i in range(2, 60):
        smoother(received(FULL, i / 10))
    assert smoother.lag_s == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize(
    "next_mask",
    [
        received(EMPTY, 0.2 + 0.51),
        received(EMPTY, 0.1),
        received(EMPTY, 0.3, session=8),
        received(EMPTY, 0.3, model_hash=HASH[::-1]),
        received(EMPTY, 0.3, geometry=CROP),
        received(np.zeros((6, 6), np.uint8), 0.3),
    ],
    ids=["gap", "back", "session", "network", "crop", "size"],
)
def test_a_smoother_starts_anew_where_the_past_says_nothing(next_mask: ReceivedMask) -> None:
    smoother = Smoother(0.3)
    smoother(received(FULL))
    smoother(received(FULL, 0.2))
    assert not smoother.restarted
    assert not smoother(next_mask).any()
    assert (smoother.restarted, smoother.lag_s) == (True, 0.0)


def test_the_same_mask_again_changes_nothing() -> None:
    smoother = Smoother(0.3)
    smoother(received(EMPTY))
    mask = received(FULL, 0.1)
    first, lag_s = smoother(mask), smoother.lag_s
    assert np.array_equal(first, smoother(mask))
    assert (smoother.lag_s, smoother.restarted) == (lag_s, False)
    with pytest.raises(ValueError, match="read-only"):
        first[0, 0] = 1


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_a_smoother_of_no_time_is_a_sentence(seconds: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        Smoother(seconds)


def test_geometry_is_compared_as_a_value() -> None:
    assert received(EMPTY).geometry == replace(WHOLE)
