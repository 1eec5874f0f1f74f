"""Why nobody answers: what ZeroMQ knows of its handshake, and tells only who watches the socket."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import zmq
from zmq.utils.monitor import recv_monitor_message

from ..message import topic
from ..text import clean

if TYPE_CHECKING:
    from .session import Target

#: A handshake on the same machine or network takes a fraction of it.
HANDSHAKE_S = 0.5
#: In it this many milliseconds lie between two tries.
RETRY_MS = 50
#: After so many ends without a reason there is none.
UNCLEAR_TRIES = 5
_CLEAR_ENDS = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED,
    zmq.EVENT_HANDSHAKE_FAILED_AUTH,
    zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL,
)


def why_silent(target: Target) -> tuple[str, int] | None:
    """A sentence and an exit code where a handshake says more than that nobody answers."""
    found = _handshake(target)
    if found is None:
        return None
    event, value = found
    where = clean(target.endpoint)
    if event == zmq.EVENT_HANDSHAKE_SUCCEEDED:
        return (
            f"the daemon at {where} says nothing of camera {target.camera}; name another with --camera",
            os.EX_UNAVAILABLE,
        )
    if event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
        if target.public_key is None:
            return "the daemon permits only keys that it knows; give yours with --key", os.EX_NOPERM
        return (
            "the daemon does not permit this key; put its .key file into publish.curve_authorized_keys_dir",
            os.EX_NOPERM,
        )
    if event == zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL and value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
        if target.server_key is None:
            return "the daemon wants CURVE there; give its public key with --server-key", os.EX_NOPERM
        return "the daemon has no CURVE there; leave out --server-key and --key", os.EX_NOPERM
    if target.server_key is not None:
        return "--server-key is not the key of this daemon; give the .key file of its own", os.EX_NOPERM
    return f"what listens at {where} is no gnetsegd; name another --endpoint", os.EX_PROTOCOL


def _handshake(target: Target) -> tuple[int, int] | None:
    """(event, value) of how a handshake ended; None where there was none in time."""
    unclear: list[tuple[int, int]] = []
    with zmq.Context() as context, context.socket(zmq.SUB) as socket:
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, RETRY_MS)
        if target.server_key is not None:
            public, secret = target.public_key, target.secret_key
            if public is None or secret is None:
                public, secret = zmq.curve_keypair()
            socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
            socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
            socket.setsockopt(zmq.CURVE_SERVERKEY, target.server_key)
        # Not masks: that would wake the camera.
        socket.setsockopt(zmq.SUBSCRIBE, topic("status", target.camera))
        monitor = socket.get_monitor_socket()
        try:
            socket.connect(target.endpoint)
            deadline = time.monotonic() + HANDSHAKE_S
            while (left_s := deadline - time.monotonic()) > 0 and monitor.poll(int(left_s * 1000)):
                told = recv_monitor_message(monitor)
                event, value = int(told["event"]), int(told["value"])
                if event in _CLEAR_ENDS:
                    return event, value
                if event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
                    # A wrong server key; or the peer saw first what is wrong, and hung up. Then the next
                    # try tells.
                    unclear.append((event, value))
                    if len(unclear) == UNCLEAR_TRIES:
                        break
        finally:
            socket.disable_monitor()
            monitor.close(linger=0)
    return unclear[0] if unclear else None
