"""Each message goes through ROS' own encoding and comes back equal, and says what the mask said."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from gnetseg_ros import conversions
from gnetseg_ros.conversions import Intrinsics

from gnetsegd.client import NoData, ReceivedMask

FRAME = "camera_optical_frame"


@pytest.fixture
def make(store: Any) -> Any:
    return lambda name, /, **fields: store.types[name](**fields)


def there_and_back(store: Any, message: Any) -> Any:
    """Through CDR, as DDS has it; equal in every field."""
    name = message.__msgtype__
    back = store.deserialize_cdr(store.serialize_cdr(message, name), name)
    assert_equal(message, back)
    return back


def assert_equal(one: Any, other: Any) -> None:
    """Of two messages, in every field down to numbers and texts; arrays in their type, too."""
    assert type(one) is type(other)
    if dataclasses.is_dataclass(one):
        for field in dataclasses.fields(one):
            assert_equal(getattr(one, field.name), getattr(other, field.name))
    elif isinstance(one, list):
        assert len(one) == len(other)
        for item, same in zip(one, other, strict=True):
            assert_equal(item, same)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        assert np.array_equal(one, other)
    else:
        assert one == other


def test_a_mask_is_an_image_of_its_labels(store: Any, make: Any, mask: ReceivedMask) -> None:
    back = there_and_back(store, conversions.mask_image(make, mask, FRAME))
    assert (back.encoding, back.width, back.height, back.step) == (
        "mono8",
        mask.width,
        mask.height,
        mask.width,
    )
    assert np.array_equal(back.data.reshape(mask.height, mask.width), mask.labels)
    assert back.header.frame_id == FRAME
    assert back.header.stamp.sec * 10**9 + back.header.stamp.nanosec == mask.wall_time_ns


def test_labels_have_their_names(store: Any, make: Any, mask: ReceivedMask) -> None:
    back = there_and_back(store, conversions.label_info(make, mask.info, 5, FRAME))
    assert [(item.class_id, item.class_name) for item in back.class_map] == [(0, "background"), (1, "person")]


def test_the_picture_is_its_jpeg_with_the_masks_own_stamp(store: Any, make: Any, mask: ReceivedMask) -> None:
    back = there_and_back(store, conversions.picture(make, mask, FRAME))
    assert back.format == "jpeg"
    assert mask.jpeg is not None
    assert back.data.tobytes() == bytes(mask.jpeg)
    assert back.header == conversions.mask_image(make, mask, FRAME).header


def test_intrinsics_follow_the_crop_and_the_scale(store: Any, make: Any, mask: ReceivedMask) -> None:
    place = mask.geometry
    given = Intrinsics(fx=500.0, fy=510.0, cx=place.sensor_width / 2 - 0.5, cy=place.sensor_height / 2 - 0.5)
    back = there_and_back(store, conversions.camera_info(make, mask, given, FRAME))
    k = back.k.reshape(3, 3)
    assert k[0, 0] == pytest.approx(500 * mask.width / (place.width * place.sensor_width))
    assert k[1, 1] == pytest.approx(510 * mask.height / (place.height * place.sensor_height))
    # The same ray: a point to the right of the axis, on the sensor and, by to_sensor, on the mask.
    for ray in ((0.0, 0.0), (0.1, -0.05), (-0.2, 0.1)):
        u, v = (k @ [ray[0], ray[1], 1.0])[:2]
        # A pixel of ROS is its centre, one of to_sensor its left top corner: half a pixel apart.
        x, y = mask.to_sensor(u + 0.5, v + 0.5)
        assert x * place.sensor_width - 0.5 == pytest.approx(given.cx + 500 * ray[0])
        assert y * place.sensor_height - 0.5 == pytest.approx(given.cy + 510 * ray[1])
    assert (back.p.reshape(3, 4)[:, :3] == k).all()
    assert (back.height, back.width) == (mask.height, mask.width)


def test_without_a_calibration_it_says_so_as_ros_does(store: Any, make: Any, mask: ReceivedMask) -> None:
    back = there_and_back(store, conversions.camera_info(make, mask, Intrinsics(), FRAME))
    assert not back.k.any()
    assert not back.p.any()


@pytest.mark.parametrize(
    "numbers",
    [
        (500, 0, 1, 1),
        (0, 500, 1, 1),
        (-1, -1, 1, 1),
        (math.nan, 1, 1, 1),
        (1, math.inf, 1, 1),
        (1, 1, math.nan, 1),
    ],
)
def test_intrinsics_that_no_camera_has_are_refused(numbers: tuple[float, ...]) -> None:
    with pytest.raises(
        ValueError, match=r"the parameters fx, fy, cx and cy are .*; give fx and fy in pixels"
    ):
        Intrinsics(*numbers)


@pytest.mark.parametrize(
    "place", [{"sensor_width": 0}, {"height": 0.0}, {"width": -1.0}, {"width": 5e-324, "sensor_width": 1}]
)
def test_a_picture_of_no_size_is_one_that_nobody_has_calibrated(
    store: Any, make: Any, mask: ReceivedMask, place: dict[str, float]
) -> None:
    """An info of another program may say so: the mask goes on."""
    info = mask.info | {"geometry": mask.info["geometry"] | place}
    odd = dataclasses.replace(mask, _find_info=lambda _: info)
    back = there_and_back(store, conversions.camera_info(make, odd, Intrinsics(500, 500, 1, 1), FRAME))
    assert not back.k.any()
    assert not back.r.any()
    assert not back.p.any()


@pytest.mark.parametrize("time_ns", [2**31 * 10**9, -(2**31) * 10**9 - 1, 2**70])
def test_a_time_beyond_what_a_stamp_holds_is_told(make: Any, time_ns: int) -> None:
    with pytest.raises(ValueError, match="is beyond what a stamp of ROS holds; set the clock"):
        conversions.header(make, time_ns, FRAME)


@pytest.mark.parametrize("time_ns", [2**31 * 10**9 - 1, -(2**31) * 10**9, -1, 0])
def test_the_first_and_the_last_time_of_a_stamp_are_kept(store: Any, make: Any, time_ns: int) -> None:
    stamp = there_and_back(store, conversions.header(make, time_ns, FRAME)).stamp
    assert stamp.sec * 10**9 + stamp.nanosec == time_ns


@pytest.mark.parametrize(
    ("status", "no_data", "level", "words"),
    [
        ({"fps": 29.97, "state": "running"}, None, conversions.OK, "30.0 masks per second"),
        ({"fallback": True, "reason": "the stick is gone"}, None, conversions.WARN, "the stick is gone"),
        ({"state": "no-camera"}, NoData("no-camera", "it was pulled"), conversions.ERROR, "it was pulled"),
        (
            None,
            NoData("silent", "no daemon has answered yet"),
            conversions.ERROR,
            "no daemon has answered yet",
        ),
    ],
)
def test_silence_is_an_error_and_a_stand_in_a_warning(
    store: Any, make: Any, status: dict[str, Any] | None, no_data: NoData | None, level: int, words: str
) -> None:
    back = there_and_back(store, conversions.diagnostics(make, "gnetsegd: cam0", status, no_data, 7))
    (told,) = back.status
    assert (told.level, told.message, told.name) == (level, words, "gnetsegd: cam0")


def test_what_a_file_or_a_device_says_is_fit_for_ros_and_a_terminal(
    store: Any, make: Any, mask: ReceivedMask
) -> None:
    """Half a surrogate pair is good JSON, and no text that ROS could encode."""
    info = mask.info | {"labels": ["\ud800", "a\x1b[31m"]}
    names = [
        item.class_name
        for item in there_and_back(store, conversions.label_info(make, info, 5, FRAME)).class_map
    ]
    assert names == ["?", "a?[31m"]
    status = {
        "fallback": True,
        "reason": "\ud800\x1b",
        "camera_device": {"description": "\udfff"},
        "state": "\n",
    }
    (told,) = there_and_back(store, conversions.diagnostics(make, "gnetsegd: cam0", status, None, 7)).status
    assert (told.message, told.hardware_id) == ("??", "?")
