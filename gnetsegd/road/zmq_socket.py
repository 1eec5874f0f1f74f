"""One XPUB socket with its endpoints, its keys and its peers.

Whoever speaks no ZMTP 3 is refused in the handshake: libzmq takes an HTTP request or the banner of SSH for a
subscription to everything in ZMTP 1.0, unless a ZAP domain is set.
"""

from __future__ import annotations

import logging
import select
import struct
import threading
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

import zmq

from ..quiet import Quiet
from ..text import clean
from . import zmq_endpoints as endpoints
from .zmq_keys import HANDSHAKES, Doorkeeper, KeyRing, Newcomers
from .zmq_peers import Peers

if TYPE_CHECKING:
    from ..config import EndpointConfig

log = logging.getLogger(__name__)

LINGER_MS = 500
#: That there is one makes libzmq refuse the peers that know no authentication: ZMTP 1.0 and 2.0.
ZAP_DOMAIN = "gnetsegd"
#: A connection that has not shaken hands by then is closed.
HANDSHAKE_MS = 5000
#: A longer message ends its connection. CURVE's longest handshake command has about 550 bytes.
MESSAGE_MAX_BYTES = 1024
#: No limit. Where one is reached libzmq stops reading, and ends the process ("Assertion failed: !_io_error")
#: if the peer then hangs up behind a PING, or before the next heartbeat.
RECEIVE_HWM_MESSAGES = 0
#: What the kernel keeps of what a TCP peer sends; by default it grows to megabytes.
RECEIVE_BUFFER_BYTES = 16_384
#: Deprecated in libzmq, and the only name of a connection that its messages carry.
_SRCFD = getattr(zmq, "SRCFD", 2)
EVENTS = zmq.EVENT_LISTENING | zmq.EVENT_ACCEPTED | zmq.EVENT_DISCONNECTED
_EVENT = struct.Struct("=Hi")


class PublishSocket:
    """An XPUB socket for ``tables``, which have the same settings.

    The publisher's lock guards ``xpub``. Peers and doors have a lock of their own: a peer that floods can
    keep libzmq inside a call on ``xpub`` for as long as it is not cut.
    """

    def __init__(
        self,
        tables: list[EndpointConfig],
        peers: Peers,
        noise: select.epoll,
        heartbeat_interval_s: float,
        ring: KeyRing | None = None,
    ) -> None:
        first = tables[0]
        self.kinds = frozenset(first.kinds)
        self.bindings: list[endpoints.Binding] = []
        self._peers = peers
        self._noise = noise
        self._peers_lock = threading.Lock()
        self._frames: list[zmq.Frame] = []
        self.tables = tables
        #: Who may come in, of a socket with CURVE.
        self.ring = ring
        self.closed = False
        # A context of its own: there is one doorkeeper for all sockets of a context.
        self._context = zmq.Context(io_threads=1)
        self._doorkeeper: Doorkeeper | None = None
        self._newcomers = Newcomers() if ring is not None else None
        self._quiet, self._quiet_door = Quiet(), Quiet()
        self.xpub: zmq.Socket[bytes] = self._context.socket(zmq.XPUB)
        for option, value in (
            (zmq.SNDHWM, first.send_hwm_messages),
            (zmq.RCVHWM, RECEIVE_HWM_MESSAGES),
            (zmq.LINGER, LINGER_MS),
            (zmq.MAXMSGSIZE, MESSAGE_MAX_BYTES),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.BACKLOG, endpoints.BACKLOG_CONNECTIONS),
            (zmq.RCVBUF, RECEIVE_BUFFER_BYTES),
            # Every subscription of every peer is told, not only the first and last of each topic.
            (zmq.XPUB_VERBOSER, 1),
            (zmq.ZAP_DOMAIN, ZAP_DOMAIN.encode()),
        ):
            self.xpub.setsockopt(option, value)
        if heartbeat_interval_s:
            interval_ms = int(heartbeat_interval_s * 1000)
            self.xpub.setsockopt(zmq.HEARTBEAT_IVL, interval_ms)
            self.xpub.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * interval_ms)
        address = "inproc://monitor"
        self.xpub.monitor(address, EVENTS if ring is None else EVENTS | HANDSHAKES)
        self._monitor: zmq.Socket[bytes] = self._context.socket(zmq.PAIR)
        # libzmq's thread waits where it is a thousand connections ahead of us (its own side keeps 1000).
        self._monitor.setsockopt(zmq.RCVHWM, 1)
        self._monitor.setsockopt(zmq.LINGER, 0)
        self._monitor.connect(address)
        #: Becomes readable when connections come or go.
        self.monitor_descriptor = int(self._monitor.getsockopt(zmq.FD))
        #: Becomes readable when a peer has sent something, unless ``xpub`` is used before it is looked at.
        self.descriptor = int(self.xpub.getsockopt(zmq.FD))

    def open(self) -> None:
        """Bind the endpoints. ``ConfigError`` or ``PermanentError`` with one sentence."""
        if self.ring is not None:
            self._use_curve(self.ring)
        for table in self.tables:
            binding = endpoints.Binding(table.address)
            binding.bind(self.xpub, int(table.mode, 8))
            self.bindings.append(binding)
        self._peers.names = {binding.local_name for binding in self.bindings}
        self.mind_the_door(())

    def _use_curve(self, ring: KeyRing) -> None:
        self._doorkeeper = Doorkeeper(self._context, ring, self._refused)
        self.xpub.setsockopt(zmq.CURVE_SECRETKEY, ring.secret)
        self.xpub.setsockopt(zmq.CURVE_PUBLICKEY, ring.public)
        self.xpub.setsockopt(zmq.CURVE_SERVER, 1)

    @property
    def is_shut(self) -> bool:
        """Whether nobody is let in for now; ``look_after_the_door`` ends that when there is room."""
        return any(binding.is_shut for binding in self.bindings)

    def topics(self) -> set[bytes]:
        """What anybody subscribes to here."""
        with self._peers_lock:
            return self._peers.topics()

    def receive(self, messages_max: int) -> bool:
        """Get messages of peers for ``judge``, until there are so many; whether there may be more."""
        if self.closed:
            return False
        try:
            while len(self._frames) < messages_max:
                self._frames.append(self.xpub.recv(zmq.NOBLOCK, copy=False))
        except zmq.Again:
            return False
        return True

    @property
    def has_received(self) -> bool:
        """Whether there is something to judge."""
        return bool(self._frames)

    def judge(self) -> bool:
        """Look at what was received, and cut who sends too much; whether subscriptions changed."""
        frames, self._frames = self._frames, []
        if not frames:
            return False
        with self._peers_lock:
            if self.closed:
                return False
            # First, and after they were received: so the connection of each is known.
            changed = self._take_in_connections()
            for frame in frames:
                try:
                    fd = int(frame.get(_SRCFD))
                except zmq.ZMQError:
                    continue  # the end of a connection, which the monitor tells, too
                if self._newcomers is not None:
                    self._newcomers.subscribed(fd)
                topics_changed, cut_for = self._peers.take_in(fd, frame.bytes)
                changed = changed or topics_changed
                if cut_for:
                    self._tell(f"{self._address(frame)} was cut: it sent {cut_for}")
        return changed

    def mind_the_door(self, noisy: Iterable[int]) -> bool:
        """Take in who came, went or was heard (descriptors ``noisy``); whether subscriptions changed."""
        with self._peers_lock:
            if self.closed:
                return False
            changed = self._take_in_connections()
            for fd in noisy:
                held, cut_for = self._peers.heard(fd)
                changed = changed or held
                if cut_for:
                    self._tell(f"a connection was cut: {cut_for}")
            if self._peers.are_full:
                self._peers.make_room()
            if self.is_shut and self._peers.have_room:
                for binding in self.bindings:
                    binding.open_again()
        return changed

    def _take_in_connections(self) -> bool:
        changed = False
        try:
            while True:
                event, value = _EVENT.unpack(self._monitor.recv(zmq.NOBLOCK))
                endpoint = self._monitor.recv(zmq.NOBLOCK).decode(errors="replace")
                if event == zmq.EVENT_DISCONNECTED:
                    self._ended(value)
                    changed = self._peers.closed(value) or changed
                elif event == zmq.EVENT_ACCEPTED:
                    self._accepted(value)
                elif event & HANDSHAKES and self._newcomers is not None:
                    self._newcomers.handshake(event, value)
                else:
                    for binding in self.bindings:
                        if binding.bound == endpoint:
                            binding.listener_fd = value
        except zmq.Again:
            pass
        return changed

    def _accepted(self, fd: int) -> None:
        if self._peers.accepted(fd):
            self._tell(f"a connection was cut: {self._peers.limit} are there, or too many came at once")
        else:
            # Edge-triggered: it tells of each arrival, not for as long as libzmq has not read it.
            with suppress(OSError):
                self._noise.register(fd, select.EPOLLIN | select.EPOLLET)
        if self._newcomers is not None:
            self._newcomers.accepted(fd, self._peers.address(fd))
        if self._peers.are_full:
            for binding in self.bindings:
                binding.shut()

    def _ended(self, fd: int) -> None:
        if self._newcomers is not None:
            address, why = self._newcomers.ended(fd)
            if why and not self._peers.is_cut(fd):
                self._refused(address, why)

    def _refused(self, address: str, why: str) -> None:
        """Somebody was not let in; also called by the doorkeeper's thread."""
        if self._quiet_door.may_say():
            where = clean(address) or "a client"
            log.warning("publish: %s was refused: %s%s", where, why, self._quiet_door.left_out())

    def _address(self, frame: zmq.Frame) -> str:
        try:
            return "subscriber " + clean(str(frame.get("Peer-Address")))
        except zmq.ZMQError:
            return "a subscriber"

    def _tell(self, words: str) -> None:
        if self._quiet.may_say():
            log.warning("publish: %s%s", words, self._quiet.left_out())

    def close(self, linger_ms: int = LINGER_MS) -> None:
        """Take no more; what is on its way is delivered by ``release`` (at most ``linger_ms``).

        The publisher's lock is held.
        """
        # libzmq's thread may be waiting to tell of a connection, and nobody could stop it then.
        self.mind_the_door(())
        with self._peers_lock:
            self.closed = True
            self.xpub.disable_monitor()
            self._monitor.close()
            self.xpub.close(linger=linger_ms)
        # Last: without a doorkeeper libzmq lets everybody in.
        if self._doorkeeper is not None:
            self._doorkeeper.stop()
            self._doorkeeper = None

    def release(self) -> None:
        """After ``close``: wait for what is on its way, and free the endpoints."""
        self._context.term()
        for binding in self.bindings:
            binding.release()
        self.bindings = []
