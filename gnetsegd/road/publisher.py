"""The publisher: masks out on XPUB, one message part each (docs/messages.md).

A mask is sent from the buffer that it was received in: its header is written into the headroom in
front of it. With nobody listening nothing is built. A slow reader costs at most
``send_hwm_messages`` messages; what it misses is dropped for it alone.
"""

from __future__ import annotations

import logging
import os
import struct
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import zmq
import zmq.backend

from ..errors import ConfigError
from ..frame import Mask, ModelInfo
from ..message import FLAG_FALLBACK, HEADER, HEADER_SIZE, MAGIC, MAJOR, MINOR, new_session, pack_json, topic
from . import zmq_endpoints as endpoints

if TYPE_CHECKING:
    from ..config import PublishConfig

#: pyzmq's own ``send`` without the one around it, which looks for options that are not used here.
_send = zmq.backend.Socket.send

log = logging.getLogger(__name__)

LINGER_MS = 500
#: ``message.HEADER`` in three pieces: what is the same for all masks of a model stands before and behind
#: sequence, session, two times and two counters. Packing it so costs a third.
_HEADER = struct.Struct("<40sQQQQII48s")
#: Luminance of R, G and B (BT.601, full range).
BT601 = np.array([0.299, 0.587, 0.114], np.float32)


class Publisher:
    """The XPUB sockets. ``publish`` is called by the IN thread, the rest by the main thread.

    A ZeroMQ socket may be used by one thread at a time: ``_lock`` sees to that.
    """

    def __init__(self, camera: str) -> None:
        self.session = new_session()
        self.masks = 0
        self._camera = camera
        self._lock = threading.Lock()
        self._context = zmq.Context(io_threads=1)
        self._sockets: list[zmq.Socket[bytes]] = []
        self._bindings: list[endpoints.Binding] = []
        self._authenticator: Any = None
        self._subscriptions: list[set[bytes]] = []
        self._mask_topic = topic("mask", camera)
        self._frame_topic = topic("frame", camera)
        self._frames = False
        self.watched = False
        self._wants_mask = False
        self._wants_frame = False
        self._info: ModelInfo | None = None
        self._before = self._after = b""
        self._message_size = 0

    def open(self, config: PublishConfig) -> None:
        """Bind every endpoint. ``ConfigError`` or ``PermanentError`` with one sentence."""
        endpoints.check(config)
        curve = bool(config.curve_secret_key_file)
        local = [e for e in config.endpoints if not (curve and endpoints.is_tcp(e))]
        remote = [e for e in config.endpoints if e not in local]
        try:
            for group, keys in ((local, ""), (remote, config.curve_secret_key_file)):
                if group:
                    self._open_socket(group, keys, config)
        except Exception:
            self.close()
            raise
        self._frames = config.frames
        self._update_wants()

    def _open_socket(self, group: list[str], secret_key_file: str, config: PublishConfig) -> None:
        bound: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        self._sockets.append(bound)
        self._subscriptions.append(set())
        bound.setsockopt(zmq.SNDHWM, config.send_hwm_messages)
        bound.setsockopt(zmq.LINGER, LINGER_MS)
        if config.heartbeat_interval_s:
            interval_ms = int(config.heartbeat_interval_s * 1000)
            bound.setsockopt(zmq.HEARTBEAT_IVL, interval_ms)
            bound.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * interval_ms)
        if secret_key_file:
            self._use_curve(bound, secret_key_file, config.curve_authorized_keys_dir)
        for endpoint in group:
            binding = endpoints.Binding(endpoint)
            binding.bind(bound, int(config.ipc_mode, 8))
            self._bindings.append(binding)

    def _use_curve(self, bound: zmq.Socket[bytes], secret_key_file: str, keys_dir: str) -> None:
        from zmq.auth import CURVE_ALLOW_ANY, load_certificate
        from zmq.auth.thread import ThreadAuthenticator

        try:
            public, secret = load_certificate(secret_key_file)
        except (OSError, ValueError) as error:
            raise ConfigError(
                f"publish.curve_secret_key_file: {error}; make one with gnetsegctl keygen", os.EX_NOINPUT
            ) from None
        if secret is None:
            raise ConfigError(f"publish.curve_secret_key_file: {secret_key_file} holds no secret key")
        if keys_dir and not os.path.isdir(keys_dir):  # noqa: PTH112 - the text stays as it was configured
            raise ConfigError(f"publish.curve_authorized_keys_dir: {keys_dir} is not a folder")
        self._authenticator = ThreadAuthenticator(self._context)
        self._authenticator.start()
        self._authenticator.configure_curve(domain="*", location=keys_dir or CURVE_ALLOW_ANY)
        bound.setsockopt(zmq.CURVE_SECRETKEY, secret)
        bound.setsockopt(zmq.CURVE_PUBLICKEY, public)
        bound.setsockopt(zmq.CURVE_SERVER, 1)

    def bound_endpoints(self) -> list[str]:
        """The endpoints as they were bound, with the ports that were chosen for ``tcp://...:*``."""
        return [binding.bound for binding in self._bindings]

    def set_frames(self, frames: bool) -> None:
        """Publish the pictures too, or no longer."""
        self._frames = frames
        self._update_wants()

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
            for bound in self._sockets:
                if self._wants_mask:
                    _send(bound, message)
                if self._wants_frame:
                    self._send_frame(bound, mask)
        finally:
            self._lock.release()

    def _send_frame(self, bound: zmq.Socket[bytes], mask: Mask) -> None:
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
        bound.send(HEADER.pack(*fields) + luminance)

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

    def descriptors(self) -> list[int]:
        """Descriptors that become readable when somebody may have subscribed or left."""
        return [int(bound.getsockopt(zmq.FD)) for bound in self._sockets]

    def poll_subscriptions(self) -> None:
        """Take in who subscribed and who left; call it some times a second."""
        changed = False
        with self._lock:
            for bound, subscriptions in zip(self._sockets, self._subscriptions, strict=True):
                while True:
                    try:
                        event = bound.recv(zmq.NOBLOCK)
                    except zmq.Again:
                        break
                    if event[:1] == b"\1":
                        subscriptions.add(event[1:])
                        changed = True
                    elif event[:1] == b"\0":
                        subscriptions.discard(event[1:])
                        changed = True
        if changed:
            self._update_wants()

    def _update_wants(self) -> None:
        prefixes = set().union(*self._subscriptions)
        self._wants_mask = any(self._mask_topic.startswith(prefix) for prefix in prefixes)
        self._wants_frame = self._frames and any(self._frame_topic.startswith(p) for p in prefixes)
        self.watched = self._wants_mask or self._wants_frame

    def send_info(self, body: dict[str, Any]) -> None:
        """Send ``info`` and make it the welcome of those who come later."""
        message = pack_json("info", self._camera, body)
        with self._lock:
            for bound in self._sockets:
                bound.setsockopt(zmq.XPUB_WELCOME_MSG, message)
                bound.send(message)

    def send_status(self, body: dict[str, Any]) -> None:
        message = pack_json("status", self._camera, body)
        with self._lock:
            for bound in self._sockets:
                bound.send(message)

    def close(self) -> None:
        """Deliver what is on its way (at most ``LINGER_MS``) and free the endpoints."""
        if self._authenticator is not None:
            self._authenticator.stop()
            self._authenticator = None
        with self._lock:
            for bound in self._sockets:
                bound.close()
            self._sockets, self._subscriptions = [], []
        self._context.term()
        self._context = zmq.Context(io_threads=1)
        for binding in self._bindings:
            binding.release()
        self._bindings = []
        self._update_wants()
