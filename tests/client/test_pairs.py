"""A mask has its own picture or none, never another's; waiting has an end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from fake_publisher import FakePublisher, person

from gnetsegd.client import MaskSubscriber, ReceivedMask
from gnetsegd.client.pairs import PAIR_WAIT_S, WAITING_MAX, Pairs
from gnetsegd.errors import MessageError
from gnetsegd.message import Region, parse_image

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.runtime

WAIT_S = 10.0


@pytest.fixture
def speaker() -> Iterator[FakePublisher]:
    with FakePublisher("inproc://unused") as fake:
        yield fake


class Played:
    """Pairs, with masks and pictures of numbers; a picture's pixels are its number."""

    def __init__(
        self, speaker: FakePublisher, newest_only: bool, kinds: tuple[str, ...] = ("frame",)
    ) -> None:
        self.pairs = Pairs(newest_only, kinds)
        self._speaker = speaker
        self.now = 0.0

    def mask(self, *numbers: int, session: int = 7, **changes: Any) -> None:
        labels = person(8, 6)
        for number in numbers:
            header = self._speaker.header(labels, number, session=session)
            mask = ReceivedMask(header, 0, 0, 0, changes.get("begins", False), memoryview(labels.tobytes()))
            self.pairs.add_mask(mask, self.now)

    def frame(self, *numbers: int, session: int = 7) -> None:
        for number in numbers:
            picture = np.full((4, 4), number % 256, np.uint8)
            header = self._speaker.header(picture, number, session=session, kind="frame")
            self.pairs.add("frame", session, number, (header.format, memoryview(picture.tobytes())))

    def image(self, number: int, colours: Any = None, damage: str = "", **changes: Any) -> None:
        colours = np.full((8, 8, 3), number, np.uint8) if colours is None else colours
        message = self._speaker.image_message(number, colours, **changes)
        if damage == "cut":
            message = message[:-30]
            message = message[:112] + (len(message) - 160).to_bytes(4, "little") + message[116:]
        elif damage == "size":
            message = message[:30] + b"\7\0" + message[32:]
        elif damage == "noise":
            message = message[:170] + bytes(len(message) - 170)
        header = parse_image(message)
        part = header, memoryview(message)[header.payload_offset :]
        self.pairs.add("image", header.session, number, part)

    def taken(self) -> list[tuple[int, int | None]]:
        """(mask, the number in its picture) of all that can be had now."""
        found = []
        while (mask := self.pairs.take(self.now)) is not None:
            pixels = mask.picture if mask.frame is None else mask.frame
            found.append((mask.sequence, None if pixels is None else int(pixels.flat[0])))
        return found


@pytest.mark.parametrize("newest_only", [True, False])
def test_a_picture_belongs_to_the_mask_of_its_number(speaker: FakePublisher, newest_only: bool) -> None:
    played = Played(speaker, newest_only)
    played.mask(1)
    assert played.taken() == []
    played.frame(1)
    assert played.taken() == [(1, 1)]
    played.frame(2)
    assert played.taken() == []
    played.mask(2)
    assert played.taken() == [(2, 2)]


def test_the_newest_pair_is_given_and_what_it_replaced_is_counted(speaker: FakePublisher) -> None:
    played = Played(speaker, newest_only=True)
    played.mask(1, begins=True)
    played.mask(2, 3, 4)
    played.frame(1, 3)
    mask = played.pairs.take(0.0)
    assert mask is not None
    assert (mask.sequence, mask.skipped, mask.new_session) == (3, 2, True)
    assert played.taken() == []
    played.frame(4)
    assert played.taken() == [(4, 4)]


def test_every_mask_keeps_its_order_and_none_waits_for_a_lost_picture(speaker: FakePublisher) -> None:
    played = Played(speaker, newest_only=False)
    played.mask(1, 2, 3)
    played.frame(1, 3)
    assert played.taken() == [(1, 1), (2, None), (3, 3)]


def test_the_same_number_of_another_run_is_another_picture(speaker: FakePublisher) -> None:
    played = Played(speaker, newest_only=False)
    played.mask(1)
    played.frame(1, 2, session=8)
    assert played.taken() == []
    played.mask(1, session=8)
    played.now = PAIR_WAIT_S["frame"]
    assert played.taken() == [(1, None), (1, 1)]


@pytest.mark.parametrize("newest_only", [True, False])
def test_where_no_pictures_come_only_the_first_mask_waits(speaker: FakePublisher, newest_only: bool) -> None:
    played = Played(speaker, newest_only)
    played.mask(1)
    assert played.pairs.due == PAIR_WAIT_S["frame"]
    played.now = PAIR_WAIT_S["frame"]
    assert played.taken() == [(1, None)]
    played.mask(2)
    assert played.taken() == [(2, None)]
    played.frame(3)
    played.mask(4)
    assert played.taken() == [], "pictures come again: it waits again"


def test_what_waits_is_bounded(speaker: FakePublisher) -> None:
    played = Played(speaker, newest_only=True)
    played.mask(*range(3 * WAITING_MAX))
    played.frame(*range(1000, 1000 + 3 * WAITING_MAX), session=9)
    assert len(played.pairs._masks) == len(played.pairs._parts["frame"].by_key) == WAITING_MAX
    assert played.pairs.full


# -- over ZeroMQ ----------------------------------------------------------------------------------


@pytest.mark.parametrize("newest_only", [True, False])
def test_a_subscriber_gives_each_mask_its_own_picture(publisher: FakePublisher, newest_only: bool) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=newest_only, frames=True) as masks:
        publisher.wait_for("mask", "frame", "info", "status")
        for number in range(1, 31):
            times = 2 if number == 30 else 1
            publisher.mask(number, times=times)
            publisher.frame(number, np.full((12, 16), number, np.uint8), times)
        seen = []
        deadline = time.monotonic() + WAIT_S
        while not seen or seen[-1] != 30:
            assert time.monotonic() < deadline
            mask = masks.receive(0.1)
            if mask is not None:
                assert mask.frame is not None
                assert mask.frame.shape == (12, 16)
                assert (mask.frame == mask.sequence).all()
                assert not mask.frame.flags.writeable
                seen.append(mask.sequence)
        assert newest_only or seen == list(range(1, 31))


def test_latest_has_its_picture_too(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False, frames=True) as masks:
        publisher.wait_for("mask", "frame", "info", "status")
        publisher.info()
        publisher.status()
        publisher.mask(5)
        publisher.frame(5, np.full((4, 4), 5, np.uint8))
        deadline = time.monotonic() + WAIT_S
        while (mask := masks.latest()) is None:
            assert time.monotonic() < deadline, masks.no_data
            time.sleep(0.005)
        assert mask.frame is not None
        assert mask.frame[0, 0] == 5


def test_a_bad_picture_is_counted_and_its_mask_comes_without(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False, frames=True) as masks:
        publisher.wait_for("mask", "frame", "info", "status")
        publisher.mask(1)
        publisher.raw(b"frame/cam0".ljust(16, b"\0") + b"nonsense")
        mask = masks.receive(WAIT_S)
        assert mask is not None
        assert mask.frame is None
        assert masks.bad_messages == 1


def test_without_frames_no_picture_is_asked_for(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False) as masks:
        publisher.wait_for("mask", "info", "status")
        publisher.mask(1)
        mask = masks.receive(WAIT_S)
    assert mask is not None
    assert mask.frame is None
    assert not any(topic.startswith(b"frame/") for topic in publisher.asked)


# -- pictures in colour ---------------------------------------------------------------------------


def test_pictures_that_are_rarer_than_masks_come_with_their_own(speaker: FakePublisher) -> None:
    played = Played(speaker, newest_only=True, kinds=("image",))
    for number in range(1, 31):
        played.now = number / 30
        played.mask(number)
        if number % 6 == 0:
            assert played.taken() == [], "none is given before a picture comes"
            played.image(number)
            assert played.taken() == [(number, number)]


def test_every_mask_is_given_in_order_where_not_all_have_a_picture(speaker: FakePublisher) -> None:
    played = Played(speaker, newest_only=False, kinds=("image",))
    played.mask(1, 2, 3, 4)
    played.image(1)
    played.image(4)
    assert played.taken() == [(1, 1), (2, None), (3, None), (4, 4)]


def test_a_mask_waits_for_both_of_its_pictures(speaker: FakePublisher) -> None:
    played = Played(speaker, newest_only=True, kinds=("frame", "image"))
    played.mask(1)
    played.frame(1)
    assert played.pairs.take(0.0) is None
    played.image(1)
    mask = played.pairs.take(0.0)
    assert mask is not None
    assert mask.frame is not None
    assert mask.picture is not None


def test_one_kind_that_does_not_come_keeps_the_other_back_once(speaker: FakePublisher) -> None:
    played = Played(speaker, newest_only=True, kinds=("frame", "image"))
    played.mask(1)
    played.frame(1)
    played.now = PAIR_WAIT_S["image"]
    mask = played.pairs.take(played.now)
    assert mask is not None
    assert (mask.frame is not None, mask.jpeg) == (True, None)
    played.mask(2)
    assert played.pairs.take(played.now) is None
    played.frame(2)
    assert played.pairs.take(played.now) is not None, "the frame alone is waited for"


def test_a_picture_is_decoded_upright_and_the_mask_laid_over_it(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False, picture=True) as masks:
        publisher.wait_for("mask", "image", "info", "status")
        # The mask shows the left three quarters of the sensor's picture, the picture all of it.
        publisher.info(geometry=publisher.info_body()["geometry"] | {"width": 0.75})
        labels = np.zeros((6, 9), np.uint8)
        labels[:, :3] = 1
        publisher.mask(3, labels)
        colours = np.zeros((6, 12, 3), np.uint8)
        colours[:, :6] = (250, 10, 10)
        publisher.image(3, colours)
        mask = masks.receive(WAIT_S)
        assert mask is not None
        assert mask.picture is not None
        assert mask.jpeg is not None
        assert mask.picture.shape == (6, 12, 3)
        assert mask.picture[2, 2, 0] > 180 > 70 > mask.picture[2, 10, 0]
        assert not mask.picture.flags.writeable
        assert mask.picture_region == Region(0, 0, 1, 1)
        over = mask.on_picture(mask.person)
        assert over.shape == (6, 12)
        assert over.any(axis=0).tolist() == [True] * 3 + [False] * 9


def test_a_picture_with_an_orientation_is_turned_by_it(speaker: FakePublisher) -> None:
    lying = np.zeros((16, 32, 3), np.uint8)
    lying[:, :16] = 255  # its left half is white: after a turn by 90 degrees clockwise the upper half
    played = Played(speaker, newest_only=True, kinds=("image",))
    played.mask(1)
    played.image(1, lying, orientation=6, size=(16, 32))
    mask = played.pairs.take(0.0)
    assert mask is not None
    assert mask.picture is not None
    assert mask.picture.shape == (32, 16, 3)
    assert mask.picture[4].min() > 200 > 50 > mask.picture[28].max()


@pytest.mark.parametrize("damage", ["cut", "size", "noise"])
def test_a_damaged_picture_is_told_when_it_is_decoded(speaker: FakePublisher, damage: str) -> None:
    played = Played(speaker, newest_only=True, kinds=("image",))
    played.mask(1)
    played.image(1, damage=damage)
    mask = played.pairs.take(0.0)
    assert mask is not None
    assert mask.jpeg is not None
    with pytest.raises(MessageError, match="the picture of mask 1"):
        _ = mask.picture


def test_a_message_that_is_no_picture_is_counted_and_its_mask_comes_without(publisher: FakePublisher) -> None:
    with MaskSubscriber(publisher.endpoint, newest_only=False, picture=True) as masks:
        publisher.wait_for("mask", "image", "info", "status")
        publisher.info()
        publisher.mask(1)
        publisher.raw(b"image/cam0".ljust(16, b"\0") + b"nonsense")
        mask = masks.receive(WAIT_S)
        assert mask is not None
        assert (mask.picture, mask.jpeg, mask.picture_region) == (None, None, None)
        assert masks.bad_messages == 1
        with pytest.raises(ValueError, match=r"has no picture; see picture=True and publish\.images"):
            mask.on_picture(mask.person)
