"""The publisher: masks out on XPUB, one message part each (docs/messages.md).

A mask is sent from the buffer that it was received in: its header is written into the headroom in
front of it. With nobody listening nothing is built. A slow reader costs at most
``send_hwm_messages`` messages; what it misses is dropped for it alone.
"""

from __future__ import annotations

import logging
import os
import select
import struct
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import zmq
import zmq.backend

from ..cameras import pyav
from ..frame import Mask, ModelInfo
from ..message import (
    FLAG_FALLBACK,
    HEADER,
    HEADER_SIZE,
    MAGIC,
    MAJOR,
    MINOR,
    Region,
    image_header,
    new_session,
    pack_json,
    topic,
)
from ..quiet import Quiet
from . import zmq_endpoints as endpoints
from .images import Images
from .zmq_keys import LOOK_S, KeyRing
from .zmq_peers import Peers, raise_descriptor_limit
from .zmq_socket import PublishSocket

if TYPE_CHECKING:
    from ..cameras.jpeg import Jpeg
    from ..config import EndpointConfig, PublishConfig

#: pyzmq's own ``send`` without the one around it, which looks for options that are not used here.
_send = zmq.backend.Socket.send

log = logging.getLogger(__name__)

#: What ``poll_subscriptions`` takes in from each socket, so that the sockets' lock is held for milliseconds.
EVENTS_PER_POLL = 1024
#: Between two looks at connections while they come and go in numbers.
DOOR_PAUSE_S = 0.0002
#: With a door shut: between two looks whether somebody can come in.
SHUT_S = 2.0
#: After an error that nobody foresaw.
DOOR_ERROR_PAUSE_S = 0.5
#: For the thread that looks after connections to end.
DOOR_STOP_S = 1.0
#: ``message.HEADER`` in three pieces: what is the same for all masks of a model stands before and behind
#: sequence, session, two times and two counters. Packing it so costs a third.
_HEADER = struct.Struct("<40sQQQQII48s")
#: Luminance of R, G and B (BT.601, full range).
BT601 = np.array([0.299, 0.587, 0.114], np.float32)


def _key_ring(table: EndpointConfig) -> KeyRing | None:
    """The keys of a socket with CURVE. ``ConfigError`` where they cannot be opened."""
    if not table.curve_secret_key_file:
        return None
    return KeyRing(table.curve_secret_key_file, table.curve_authorized_keys_dir)


class Publisher:
    """The XPUB sockets. ``publish`` is called by the IN thread, the rest by the main thread.

    A ZeroMQ socket may be used by one thread at a time: ``_lock`` sees to that. A third thread, which costs
    nothing while nobody comes or goes, cuts connections that are too many: they come faster than a tick.
    """

    def __init__(self, camera: str) -> None:
        self.session = new_session()
        self.masks = 0
        self._camera = camera
        self._lock = threading.Lock()
        self._outlets: list[PublishSocket] = []
        self._door: threading.Thread | None = None
        self._keys: threading.Thread | None = None
        self._end_of_keys = threading.Event()
        #: Of the socket that is just being replaced.
        self._renewing: list[KeyRing] = []
        self._welcome = b""
        self._quiet = Quiet()
        #: Wakes the thread that minds the door.
        self._bell = -1
        self._closing = False
        #: Readable while there is something to take in of which no socket's descriptor tells.
        self._pending = -1
        self._changed = False
        self._mask_topic = topic("mask", camera)
        self._frame_topic = topic("frame", camera)
        self._image_topic = topic("image", camera)
        #: Makes pictures in colour while somebody wants them.
        self.images = Images(self._send_image)
        self._frames = False
        self._images = False
        self.watched = False
        self._mask_sockets: list[zmq.Socket[bytes]] = []
        self._frame_sockets: list[zmq.Socket[bytes]] = []
        self._image_sockets: list[zmq.Socket[bytes]] = []
        self._info: ModelInfo | None = None
        self._before = self._after = b""
        self._message_size = 0

    def open(self, config: PublishConfig) -> None:
        """Bind every endpoint. ``ConfigError`` or ``PermanentError`` with one sentence."""
        endpoints.check(config)
        groups: dict[Any, list[EndpointConfig]] = {}
        for table in config.all_endpoints():
            equal = (
                frozenset(table.kinds), table.send_hwm_messages,
                table.curve_secret_key_file, table.curve_authorized_keys_dir,
            )  # fmt: skip
            groups.setdefault(equal, []).append(table)
        self._descriptors, self._heartbeat_s = raise_descriptor_limit(), config.heartbeat_interval_s
        self._pending, self._bell = (os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(2))
        self._noise = select.epoll()
        self._noise.register(self._bell, select.EPOLLIN)
        self._closing = False
        self._end_of_keys.clear()
        try:
            for tables in groups.values():
                made = self._make_outlet(tables, _key_ring(tables[0]), len(groups))
                self._outlets.append(made)
                made.open()
                self._noise.register(made.monitor_descriptor, select.EPOLLIN)
        except Exception:
            self.close()
            raise
        self._set_pictures(config)
        self._door = threading.Thread(target=self._mind_the_door, name="connections", daemon=True)
        self._door.start()
        if any(outlet.ring is not None and outlet.ring.in_force for outlet in self._outlets):
            self._keys = threading.Thread(target=self._follow_keys, name="keys", daemon=True)
            self._keys.start()
        self._update_wants()

    def _make_outlet(self, tables: list[EndpointConfig], ring: KeyRing | None, outlets: int) -> PublishSocket:
        peers = Peers(self._descriptors, outlets)
        return PublishSocket(tables, peers, self._noise, self._heartbeat_s, ring)

    # -- keys -------------------------------------------------------------------------------------

    def keys_in_force(self) -> list[str]:
        """The digest (``curve.Permitted``) of each set of keys to which every connection is held."""
        rings = {id(outlet.ring): outlet.ring for outlet in self._outlets if outlet.ring is not None}
        return [ring.in_force for ring in [*rings.values(), *self._renewing] if ring.in_force]

    def _follow_keys(self) -> None:
        """Hold everybody to the keys that are in the folders now; who is no longer permitted goes at once."""
        quiet = Quiet()
        while not self._end_of_keys.wait(LOOK_S):
            for outlet in self._outlets:
                ring = outlet.ring
                if ring is None:
                    continue
                try:
                    if ring.look():
                        self._renew(outlet, quiet)
                    ring.settle()
                except Exception as error:
                    if quiet.may_say():
                        log.exception("keys could not be followed: %s%s", error, quiet.left_out())

    def _renew(self, outlet: PublishSocket, quiet: Quiet) -> None:
        """A socket in place of ``outlet``: only the end of its connections ends a stream for good.

        Its permitted clients come again by themselves. No other socket is touched, and no lock held while it
        is bound.
        """
        assert outlet.ring is not None
        tables = [
            attrs.evolve(table, address=binding.bound)
            for table, binding in zip(outlet.tables, outlet.bindings, strict=True)
        ]
        began = time.monotonic()
        self._renewing = [outlet.ring]
        with self._lock:
            outlets = len(self._outlets)
            self._outlets = [other for other in self._outlets if other is not outlet]
            self._update_wants()
            # What is on its way is lost: some of it is for whoever is no longer permitted.
            outlet.close(linger_ms=0)
        outlet.release()
        while not self._end_of_keys.is_set():
            made = self._make_outlet(tables, outlet.ring, outlets)
            try:
                made.open()
                break
            except Exception as error:  # another program was quicker, or there are no descriptors just now
                made.close(linger_ms=0)
                made.release()
                if quiet.may_say():
                    log.error("keys: %s%s", error, quiet.left_out())
                self._end_of_keys.wait(LOOK_S)
        else:
            return
        with self._lock:
            if self._welcome and "info" in made.kinds:
                made.xpub.setsockopt(zmq.XPUB_WELCOME_MSG, self._welcome)
            self._outlets = [*self._outlets, made]
        self._renewing = []
        self._noise.register(made.monitor_descriptor, select.EPOLLIN)
        # Both other threads look anew: at its descriptors, and at who came meanwhile.
        os.eventfd_write(self._bell, 1)
        os.eventfd_write(self._pending, 1)
        took_ms = (time.monotonic() - began) * 1000
        log.info("keys: connections to %s begin anew (%.0f ms)", tables[0].address, took_ms)

    @property
    def _sockets(self) -> list[zmq.Socket[bytes]]:
        return [outlet.xpub for outlet in self._outlets]

    def _mind_the_door(self) -> None:
        quiet = Quiet()
        while True:
            shut = any(outlet.is_shut for outlet in self._outlets)
            noisy = [fd for fd, _ in self._noise.poll(SHUT_S if shut else None)]
            if self._closing:
                return
            try:
                if self._bell in noisy:
                    os.eventfd_read(self._bell)
                for outlet in self._outlets:
                    if outlet.mind_the_door(noisy):
                        self._changed = True
                        os.eventfd_write(self._pending, 1)
                # Many are taken in at once, rather than each with a change of threads.
                time.sleep(DOOR_PAUSE_S)
            except Exception:
                # Without this thread libzmq's would wait, and no mask would go out.
                if quiet.may_say():
                    log.exception("connections could not be looked after%s", quiet.left_out())
                time.sleep(DOOR_ERROR_PAUSE_S)

    def bound_endpoints(self) -> list[str]:
        """The endpoints as they were bound, with the ports that were chosen for ``tcp://...:*``."""
        return [binding.bound for outlet in self._outlets for binding in outlet.bindings]

    def mend_endpoints(self) -> str:
        """Make the file of a socket anew that somebody has removed: else no reader would find it.

        Returns the endpoint that cannot be mended, its folder being gone or the path another's; else empty.
        """
        for outlet in self._outlets:
            for binding in outlet.bindings:
                if binding.is_ours():
                    continue
                with self._lock:
                    if outlet.closed or not binding.bind_again(outlet.xpub):
                        return "" if outlet.closed else binding.endpoint
                if self._quiet.may_say():
                    log.warning(
                        "%s: its socket's file was gone, and is made anew%s",
                        binding.endpoint, self._quiet.left_out(),
                    )  # fmt: skip
        return ""

    def descriptors(self) -> list[int]:
        """To wait on with poll(2): while nobody watches one becomes readable as soon as somebody subscribes.

        ``poll_subscriptions`` makes them quiet again. While masks are sent the sockets' own are not among
        them, since they would wake for each mask that is on its way: a tick is early enough then.
        """
        if not self._outlets:
            return []
        sockets = [] if self.watched else [outlet.descriptor for outlet in self._outlets]
        return [*sockets, self._pending]

    def set_pictures(self, config: PublishConfig) -> None:
        """Publish pictures too, or no longer, as ``frames``, ``images`` and what goes with them say.

        ``PermanentError`` for ``images`` where PyAV is missing.
        """
        with self._lock:
            self._set_pictures(config)
            self._update_wants()
        if self._outlets:
            os.eventfd_write(self._pending, 1)

    def _set_pictures(self, config: PublishConfig) -> None:
        if config.images:
            pyav.load("publish.images")
        self._frames, self._images = config.frames, config.images
        self.images.configure(config)
        if config.images:
            self.images.start()

    def publish(self, mask: Mask, losses: int) -> None:
        """Send one mask, and its picture if that is wanted. ``losses``: frames lost before it."""
        self.masks += 1
        if not self.watched:
            return
        frame = mask.frame
        if mask.info is not self._info:
            self._remember(mask.info)
        _HEADER.pack_into(
            frame.reply, 0, self._before, frame.sequence, self.session, frame.sensor_timestamp_ns,
            time.monotonic_ns(), frame.dropped_camera & 0xFFFFFFFF,
            (frame.dropped_daemon + losses) & 0xFFFFFFFF, self._after,
        )  # fmt: skip
        message = frame.reply_view[: self._message_size]
        self._lock.acquire()
        try:
            for bound in self._mask_sockets:
                _send(bound, message)
            if self._frame_sockets:
                self._send_frame(mask)
        finally:
            self._lock.release()
        if self.images.wanted:
            header = bytes(frame.reply_view[:HEADER_SIZE])
            self.images.masked(frame.sequence, frame.sensor_timestamp_ns, header)

    def _send_frame(self, mask: Mask) -> None:
        """The luminance of the mask's own picture, under the mask's own header (so: after it)."""
        frame, spec = mask.frame, mask.frame.spec
        if spec.pixel_format in ("Y", "YUV420"):
            luminance = frame.pixels[: spec.height].tobytes()
        elif spec.pixel_format == "YUV444":
            luminance = frame.pixels[:, :, 0].tobytes()
        else:
            luminance = (frame.pixels @ BT601 + 0.5).astype(np.uint8).tobytes()
        header = bytearray(frame.reply[:HEADER_SIZE])
        header[: len(self._frame_topic)] = self._frame_topic
        fields = list(HEADER.unpack(header))
        fields[6:11] = [8, 0, spec.width, spec.height, spec.width]
        fields[-1] = spec.width * spec.height
        message = HEADER.pack(*fields) + luminance
        for bound in self._frame_sockets:
            bound.send(message)

    def _send_image(self, mask_header: bytes, jpeg: Jpeg, region: Region) -> None:
        """By the thread of pictures."""
        header = image_header(
            mask_header, jpeg.width, jpeg.height, region, time.monotonic_ns(), len(jpeg.data)
        )
        message = header + jpeg.data
        with self._lock:
            for bound in self._image_sockets:
                bound.send(message)

    def _remember(self, info: ModelInfo) -> None:
        mask = info.mask
        flags = FLAG_FALLBACK if info.fallback else 0
        header = HEADER.pack(
            self._mask_topic, MAGIC, MAJOR, MINOR, HEADER_SIZE, flags, mask.bits, mask.classes & 0xFF,
            mask.width, mask.height, mask.stride, 0, 0, 0, 0, 0, 0, 0,
            info.backend.encode()[:16], info.model_hash[:16], mask.size_bytes,
        )  # fmt: skip
        self._before, *_, self._after = _HEADER.unpack(header)
        self._message_size = HEADER_SIZE + mask.size_bytes
        self._info = info

    def poll_subscriptions(self) -> None:
        """Take in who subscribed and who left: some times a second, and when a descriptor is readable.

        It waits for nothing and takes in at most ``EVENTS_PER_POLL`` messages of each socket's peers.
        """
        if not self._outlets:
            return
        with suppress(BlockingIOError):
            os.eventfd_read(self._pending)
        for outlet in self._outlets:
            with self._lock:
                more = outlet.receive(EVENTS_PER_POLL)
            if outlet.judge():  # not |=: the other thread may set it meanwhile
                self._changed = True
            if more:
                os.eventfd_write(self._pending, 1)
            if outlet.is_shut:
                # By this thread, perhaps: the other one has to know.
                os.eventfd_write(self._bell, 1)
        if self._changed:
            self._changed = False
            with self._lock:
                self._update_wants()

    def _update_wants(self) -> None:
        masks, frames, images = [], [], []
        for outlet in self._outlets:
            prefixes = outlet.topics()
            if "mask" in outlet.kinds and any(map(self._mask_topic.startswith, prefixes)):
                masks.append(outlet.xpub)
            if self._frames and "frame" in outlet.kinds and any(map(self._frame_topic.startswith, prefixes)):
                frames.append(outlet.xpub)
            if self._images and "image" in outlet.kinds and any(map(self._image_topic.startswith, prefixes)):
                images.append(outlet.xpub)
        self._mask_sockets, self._frame_sockets, self._image_sockets = masks, frames, images
        self.watched = bool(masks or frames or images)
        self.images.want(bool(images))

    def send_info(self, body: dict[str, Any]) -> None:
        """Send ``info`` and make it the welcome of those who come later."""
        self._send_json("info", body)

    def send_status(self, body: dict[str, Any]) -> None:
        self._send_json("status", body)

    def _send_json(self, kind: str, body: dict[str, Any]) -> None:
        message = pack_json(kind, self._camera, body)
        with self._lock:
            for outlet in self._outlets:
                if kind in outlet.kinds:
                    if kind == "info":
                        self._welcome = message
                        outlet.xpub.setsockopt(zmq.XPUB_WELCOME_MSG, message)
                    outlet.xpub.send(message)
                # A message may hide from the descriptors that a peer has sent something.
                outlet.receive(EVENTS_PER_POLL)
                if outlet.has_received:
                    os.eventfd_write(self._pending, 1)

    def close(self) -> None:
        """Deliver what is on its way (at most ``zmq_socket.LINGER_MS``) and free the endpoints."""
        self.images.stop()
        self._end_of_keys.set()
        if self._keys is not None:
            self._keys.join(DOOR_STOP_S)
            self._keys = None
        if self._door is not None:
            self._closing = True
            os.eventfd_write(self._bell, 1)
            self._door.join(DOOR_STOP_S)
            self._door = None
        with self._lock:
            closed, self._outlets = self._outlets, []
            self._update_wants()
            for outlet in closed:
                outlet.close()
        for outlet in closed:
            outlet.release()
        if self._pending >= 0:
            self._noise.close()
            os.close(self._pending)
            os.close(self._bell)
            self._pending = self._bell = -1
