"""How a ZeroMQ peer wants to be talked to: by its greeting, which it sends to who says that he speaks ZMTP 3.

A handshake that fails for the peer's mechanism ends without a reason where the peer was first to hang up. The
greeting (ZMTP 3, 64 bytes) names the mechanism, and comes before either side can be displeased.
"""

from __future__ import annotations

from contextlib import suppress

import zmq

#: The signature, and that version 3 is spoken: for that a peer gives its own greeting whole.
_OURS = b"\xff" + bytes(8) + b"\x7f\x03"
_MECHANISM = slice(12, 32)
_SIZE = 64


class Greeting:
    """Asks at ``endpoint`` (tcp or ipc, as it was connected to before). ``close`` it."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], endpoint: str) -> None:
        self._socket: zmq.Socket[bytes] = context.socket(zmq.STREAM)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._theirs = b""

    def close(self) -> None:
        self._socket.close(linger=0)

    def mechanism(self) -> str | None:
        """``NULL``, ``CURVE`` or another; empty for what is no greeting; None if it has not come yet."""
        with suppress(zmq.ZMQError):
            # What is clear stays so, also when the peer hangs up.
            while self._is_open_question() and self._socket.poll(0):
                peer, data = self._socket.recv_multipart(zmq.NOBLOCK)
                if data:
                    self._theirs = (self._theirs + data)[:_SIZE]
                else:  # it is connected, or was until now
                    self._theirs = b""
                    self._socket.send_multipart([peer, _OURS], zmq.NOBLOCK)
        if self._is_open_question():
            return None
        if self._theirs[:1] != b"\xff":
            return ""
        return self._theirs[_MECHANISM].rstrip(b"\0").decode("ascii", "replace")

    def _is_open_question(self) -> bool:
        return self._theirs[:1] in (b"", b"\xff") and len(self._theirs) < _MECHANISM.stop
