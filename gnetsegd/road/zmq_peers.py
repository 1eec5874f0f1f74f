"""The connections of one XPUB socket: how many there may be, and what each of them may send.

libzmq accepts whoever comes and queues whatever they subscribe to, both without limit; at the limit of open
files its ipc listener even ends the process. It names the descriptor of each connection, though, in the
socket monitor's events and with each subscription, and shutdown(2) on that ends one peer and no other. A
peer is judged by what it subscribed to, as far as that is known, and by what the kernel holds of it.
"""

from __future__ import annotations

import fcntl
import os
import resource
import socket
import stat
import struct
import sys
import termios
import time
from collections.abc import Collection

import attrs

from ..errors import PermanentError

#: Connections that one socket takes. A reader has one for each topic (docs/messages.md).
CONNECTIONS_MAX = 128
#: New connections in a second, after ``CONNECTIONS_MAX`` at once. libzmq's clients come again.
CONNECTIONS_PER_S = 16
#: The door is opened again for as many at once.
ROOM_CONNECTIONS = 8
#: Subscriptions that one connection may hold; a reader needs four at most.
TOPICS_MAX = 16
#: The longest topic that may be subscribed to; ours have 16 bytes.
TOPIC_MAX_BYTES = 64
#: Subscriptions, unsubscriptions and other messages that one connection may send in ``EVENTS_WINDOW_S``.
EVENTS_MAX = 32
EVENTS_WINDOW_S = 10.0
#: Bytes that a connection may have waiting in the kernel. A reader's whole life has fewer.
WAITING_MAX_BYTES = 4096
#: How often a connection may be heard in ``EVENTS_WINDOW_S``; a reader may send a PING ten times a second.
NOISES_MAX = 200
#: What a flood costs all who want to come: so many connections fewer are let in for a while.
FLOOD_CONNECTIONS = 64
#: With the house full, a connection that has subscribed to nothing for so long makes room for a new one.
SILENT_S = 2.0

#: What a connection that is cut has in the kernel's buffer is thrown away, with at most so many reads.
DISCARD_READS = 64
DISCARD_READ_BYTES = 65_536
_NO_LINGER = struct.pack("@ii", 1, 0)

#: With a lower hard limit of open files a burst of connections could reach it before it is cut.
DESCRIPTORS_MIN = 512
#: The soft limit is raised to the hard one, up to this many.
DESCRIPTORS_WANTED = 65_536


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open files as far as it is of use, and return it.

    ``PermanentError`` if the hard limit is below ``DESCRIPTORS_MIN``.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(hard, DESCRIPTORS_WANTED)
    if wanted < DESCRIPTORS_MIN:
        raise PermanentError(
            f"this process may open {hard} files, and gnetsegd needs {DESCRIPTORS_MIN} to withstand many "
            "connections; raise LimitNOFILE in the unit, or ulimit -n",
            os.EX_CONFIG,
        )
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


@attrs.define
class _Peer:
    accepted_s: float
    topics: set[bytes] = attrs.field(factory=set)
    window_s: float = 0.0
    events: int = 0
    noises: int = 0

    def renew(self, now: float) -> None:
        """Begin to count anew if it is time to."""
        if now - self.window_s > EVENTS_WINDOW_S:
            self.window_s, self.events, self.noises = now, 0, 0

    cut: bool = False


class Peers:
    """Who is connected to one socket. Not safe for threads: its ``PublishSocket`` guards it."""

    def __init__(self, descriptors: int, sockets: int) -> None:
        #: Connections beyond this are cut.
        self.limit = max(1, min(CONNECTIONS_MAX, descriptors // 8) // sockets)
        #: What getsockname(2) gives of the socket's own connections (``Binding.local_name``).
        self.names: Collection[str | int] = ()
        self._peers: dict[int, _Peer] = {}
        self._live = 0
        self._admissions = float(CONNECTIONS_MAX)
        self._admitted_s = time.monotonic()

    @property
    def are_full(self) -> bool:
        """Whether one more would be too many, of all or in this second."""
        self._refill()
        return self._live >= self.limit or self._admissions < 1

    @property
    def have_room(self) -> bool:
        """Whether some more may come: a few at once, rather than one by one."""
        self._refill()
        return self._live < self.limit and self._admissions >= min(ROOM_CONNECTIONS, CONNECTIONS_MAX)

    def _refill(self) -> None:
        now = time.monotonic()
        more = (now - self._admitted_s) * CONNECTIONS_PER_S
        self._admissions = min(self._admissions + more, CONNECTIONS_MAX)
        self._admitted_s = now

    def accepted(self, fd: int) -> bool:
        """A new connection; whether it was cut, being one too many."""
        self.closed(fd)
        full = self.are_full
        peer = self._peers[fd] = _Peer(self._admitted_s)
        self._live += 1
        if full:
            self._cut(fd, peer)
        else:
            self._admissions -= 1
        return full

    def make_room(self) -> None:
        """Cut who has been there for a while and subscribed to nothing."""
        long_ago = time.monotonic() - SILENT_S
        silent = [
            (fd, peer)
            for fd, peer in self._peers.items()
            if not (peer.topics or peer.cut) and peer.accepted_s < long_ago
        ]
        for fd, peer in silent:
            self._cut(fd, peer)

    def closed(self, fd: int) -> bool:
        """A connection has ended; whether it held a subscription."""
        peer = self._peers.pop(fd, None)
        if peer is None:
            return False
        self._live -= not peer.cut
        return bool(peer.topics)

    def take_in(self, fd: int, message: bytes) -> tuple[bool, str]:
        """What connection ``fd`` sent: (whether its subscriptions changed, for what it was cut or "").

        ``fd`` may have ended already, and then means nothing.
        """
        peer = self._peers.get(fd)
        if peer is None or peer.cut:
            return False, ""
        changed, topic = False, message[1:]
        if message[:1] == b"\1":
            if len(topic) > TOPIC_MAX_BYTES:
                return self._cut(fd, peer), f"a subscription to {len(topic)} bytes"
            changed = topic not in peer.topics
            peer.topics.add(topic)
            if len(peer.topics) > TOPICS_MAX:
                return self._cut(fd, peer), f"more than {TOPICS_MAX} subscriptions"
        elif message[:1] == b"\0":
            changed = topic in peer.topics
            peer.topics.discard(topic)
        peer.renew(time.monotonic())
        peer.events += 1
        if peer.events > EVENTS_MAX:
            return self._cut(fd, peer), f"more than {EVENTS_MAX} messages in {EVENTS_WINDOW_S:g} s"
        return changed, ""

    def heard(self, fd: int) -> tuple[bool, str]:
        """Something came on connection ``fd``: (whether subscriptions ended, for what it was cut or "")."""
        peer = self._peers.get(fd)
        if peer is None or peer.cut:
            return False, ""
        peer.renew(time.monotonic())
        peer.noises += 1
        if peer.noises > NOISES_MAX:
            return self._cut(fd, peer), f"it sent {NOISES_MAX} times in {EVENTS_WINDOW_S:g} s"
        waiting = bytearray(4)
        try:
            fcntl.ioctl(fd, termios.FIONREAD, waiting)
        except OSError:
            return False, ""
        if int.from_bytes(waiting, sys.byteorder) <= WAITING_MAX_BYTES:
            return False, ""
        self._refill()
        self._admissions = max(self._admissions - FLOOD_CONNECTIONS, -FLOOD_CONNECTIONS)
        return self._cut(fd, peer), f"more than {WAITING_MAX_BYTES} bytes of it were waiting"

    def topics(self) -> set[bytes]:
        """What anybody subscribes to."""
        return set().union(*(peer.topics for peer in self._peers.values()))

    def is_cut(self, fd: int) -> bool:
        """Whether the connection was ended here."""
        peer = self._peers.get(fd)
        return peer is not None and peer.cut

    def address(self, fd: int) -> str:
        """Where the connection comes from, if it still stands."""
        try:
            with socket.socket(fileno=os.dup(fd)) as connection:
                name, remote = connection.getsockname(), connection.getpeername()
        except OSError:
            return ""
        if isinstance(name, str) or name[1] not in self.names:
            return ""  # the number is another's by now
        return f"[{remote[0]}]:{remote[1]}" if ":" in remote[0] else f"{remote[0]}:{remote[1]}"

    def _cut(self, fd: int, peer: _Peer) -> bool:
        """End a connection; whether it held a subscription. libzmq then closes the descriptor."""
        held = bool(peer.topics)
        peer.cut = True
        peer.topics.clear()
        self._live -= 1
        try:
            copy = os.dup(fd)
        except OSError:
            return held
        # Between the event and this moment it may have ended, and the number may be somebody else's.
        if not stat.S_ISSOCK(os.fstat(copy).st_mode):
            os.close(copy)
            return held
        with socket.socket(fileno=copy) as connection:
            try:
                name = connection.getsockname()
                if (name if isinstance(name, str) else name[1]) in self.names:
                    # TCP: with RST, so that the kernel keeps nothing of it.
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                    connection.shutdown(socket.SHUT_RDWR)
                    # libzmq would still read what it sent before.
                    for _ in range(DISCARD_READS):
                        if not connection.recv(DISCARD_READ_BYTES, socket.MSG_DONTWAIT):
                            break
            except OSError:
                pass
        return held
