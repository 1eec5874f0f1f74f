"""A picture is that of its mask or none; masks wait for nothing here; nothing grows."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import zmq

from gnetsegd.cameras.full_picture import FullPicture
from gnetsegd.config import PublishConfig
from gnetsegd.errors import PermanentError
from gnetsegd.frame import Geometry
from gnetsegd.message import Region, parse_header, parse_image
from gnetsegd.road import images as module
from gnetsegd.road.images import WAITING_MAX, Images
from gnetsegd.road.publisher import Publisher

from .fakes import wait_until
from .test_publisher import context, mask, publish_config, publisher, receive, subscribe

__all__ = ["context", "publisher"]  # fixtures

GEOMETRY = Geometry("stretch", 0.25, 0.0, 0.5, 1.0, 32, 16)


def picture(number: int) -> FullPicture:
    return FullPicture(np.full((16, 16), number % 256, np.uint8), GEOMETRY, pixel_format="Y")


class Sent:
    """What was sent; ``gate`` keeps the thread of pictures inside ``send``."""

    def __init__(self) -> None:
        self.headers: list[bytes] = []
        self.regions: list[Region] = []
        self.gate = threading.Event()
        self.gate.set()
        self.inside = threading.Event()

    def __call__(self, header: bytes, _jpeg: Any, region: Region) -> None:
        self.inside.set()
        assert self.gate.wait(20)
        self.headers.append(header)
        self.regions.append(region)


@pytest.fixture
def sent() -> Sent:
    return Sent()


@pytest.fixture
def images(sent: Sent) -> Iterator[Images]:
    made = Images(sent)
    made.configure(PublishConfig(image_fps=100))
    made.want(True)
    made.start()
    yield made
    sent.gate.set()
    made.stop()


def offer(images: Images, number: int) -> None:
    images.look(number, lambda: picture(number))


def masked(images: Images, number: int) -> None:
    images.masked(number, number * 1_000_000_000, b"%d" % number)


@pytest.mark.parametrize("first", ["picture", "mask"])
def test_mask_and_picture_find_each_other_whichever_is_first(images: Images, sent: Sent, first: str) -> None:
    steps: list[Callable[[Images, int], None]] = [offer, masked] if first == "picture" else [masked, offer]
    for number in range(5):
        for step in steps:
            step(images, number)
        wait_until(lambda done=number + 1: len(sent.headers) == done)
    assert sent.headers == [b"0", b"1", b"2", b"3", b"4"]
    assert sent.regions[0] == Region(0.25, 0.0, 0.5, 1.0)


def test_a_frame_without_a_mask_has_no_picture(images: Images, sent: Sent) -> None:
    for number in range(3):
        offer(images, number)
    masked(images, 2)
    wait_until(lambda: len(sent.headers) == 1)
    masked(images, 1)
    images.forget(7)
    offer(images, 8)
    images.forget(8)
    masked(images, 8)
    assert sent.headers == [b"2"]
    assert not images._pictures


def test_masks_go_on_while_a_picture_is_being_made_and_the_newest_is_next(images: Images, sent: Sent) -> None:
    sent.gate.clear()
    offer(images, 0)
    masked(images, 0)
    assert sent.inside.wait(10)
    for number in range(1, 1000):  # none of these calls waits for the thread that hangs
        offer(images, number)
        masked(images, number)
    assert len(images._pictures) + len(images._headers) == 0
    sent.gate.set()
    wait_until(lambda: len(sent.headers) == 2)
    assert sent.headers == [b"0", b"999"]


def test_what_waits_for_its_other_half_is_bounded(images: Images) -> None:
    for number in range(1000):
        offer(images, number)
    assert len(images._pictures) == WAITING_MAX
    for number in range(2000, 3000):
        masked(images, number)
    assert len(images._headers) == WAITING_MAX
    images.want(False)
    assert not images._pictures
    assert not images._headers


def test_no_more_pictures_are_made_than_asked_for_and_none_in_a_burst(sent: Sent) -> None:
    images = Images(sent)
    images.configure(PublishConfig(image_fps=10))
    images.want(True)
    taken = []
    for number in range(90):  # three seconds at 30 a second, and no thread that would take them
        offer(images, number)
        images.masked(number, number * 1_000_000_000 // 30, b"%d" % number)
        if images._newest is not None:
            taken.append(number)
            images._newest = None
    assert taken == list(range(0, 90, 3))
    later = 1_000_000_000_000
    for number in range(100, 110):  # after a pause
        offer(images, number)
        images.masked(number, later + number, b"")
        if images._newest is not None:
            taken.append(number)
            images._newest = None
    assert taken[30:] == [100]
    offer(images, 200)
    images.masked(200, 0, b"")
    assert images._newest is not None, "a clock that went back"


def test_a_picture_that_cannot_be_made_is_counted_and_told_seldom(
    images: Images, sent: Sent, caplog: pytest.LogCaptureFixture
) -> None:
    def fails() -> FullPicture:
        raise ValueError("torn\x1b[2J")

    for number in range(100):
        images.look(number, fails)
    bad = FullPicture(b"no JPEG", GEOMETRY)
    for number in range(100, 120):
        images.look(number, lambda: bad)
        masked(images, number)
        wait_until(lambda done=number + 1: images.failures == done)
    offer(images, 200)
    masked(images, 200)
    wait_until(lambda: sent.headers == [b"200"])
    assert 0 < len(caplog.messages) < 10
    assert "no picture could be made (torn?[2J)" in caplog.messages[0]


# -- over ZeroMQ ----------------------------------------------------------------------------------


def test_a_picture_goes_out_only_where_it_is_switched_on_and_wanted(
    publisher: Publisher, context: zmq.Context[Any], ipc_endpoint: str
) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint], send_hwm_messages=10))
    pictures = subscribe(context, ipc_endpoint, b"image/cam0\0")
    masks = subscribe(context, ipc_endpoint, b"mask/")
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)
    assert not publisher.images.wanted
    publisher.set_pictures(PublishConfig(images=True, image_fps=100))
    wait_until(lambda: publisher.poll_subscriptions() or publisher.images.wanted)
    publisher.images.look(5, lambda: picture(5))
    publisher.publish(mask(5), 0)
    message = receive(pictures)
    image, of_mask = parse_image(message), parse_header(receive(masks))
    for field in ("sequence", "session", "sensor_timestamp_ns", "dropped_camera", "backend", "model_hash"):
        assert getattr(image.mask, field) == getattr(of_mask, field), field
    assert image.mask.publish_timestamp_ns >= of_mask.publish_timestamp_ns
    assert (image.width, image.height) == (16, 16)
    publisher.set_pictures(PublishConfig())
    assert not publisher.images.wanted
    assert publisher.watched


def test_an_endpoint_serves_pictures_only_if_its_kinds_say_so(
    publisher: Publisher, context: zmq.Context[Any], ipc_endpoint: str
) -> None:
    plain = f"{ipc_endpoint}2"
    publisher.open(
        publish_config(
            f"[publish]\nimages = true\n[[publish.endpoint]]\naddress = '{ipc_endpoint}'\nkinds = ['image']\n"
            f"[[publish.endpoint]]\naddress = '{plain}'\nkinds = ['mask', 'info', 'status']"
        )
    )
    barred = subscribe(context, plain, b"image/")
    watching = subscribe(context, plain, b"mask/")
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)
    assert not publisher.images.wanted
    allowed = subscribe(context, ipc_endpoint, b"image/")
    wait_until(lambda: publisher.poll_subscriptions() or publisher.images.wanted)
    publisher.images.look(5, lambda: picture(5))
    publisher.publish(mask(5), 0)
    assert parse_image(receive(allowed)).sequence == 5
    assert parse_header(receive(watching)).sequence == 5
    assert not barred.poll(0)
    allowed.close()
    wait_until(lambda: publisher.poll_subscriptions() or not publisher.images.wanted)


def test_without_pyav_there_is_a_sentence_at_the_start(
    publisher: Publisher, ipc_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(_name: str) -> None:
        raise ImportError("no module av")

    monkeypatch.setattr("gnetsegd.cameras.pyav.import_module", missing)
    with pytest.raises(
        PermanentError, match=r"PyAV is needed for publish\.images and .*apt install python3-av"
    ):
        publisher.open(PublishConfig(endpoints=[ipc_endpoint], images=True))


def test_a_thread_that_hangs_does_not_keep_the_end(sent: Sent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "STOP_S", 0.05)
    images = Images(sent)
    images.configure(PublishConfig())
    images.want(True)
    images.start()
    sent.gate.clear()
    offer(images, 0)
    masked(images, 0)
    assert sent.inside.wait(10)
    images.stop()
    assert not images.wanted
    sent.gate.set()
