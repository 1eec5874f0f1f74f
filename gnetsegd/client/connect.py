"""A socket for one topic: how to reach a daemon, and why it may be out of reach."""

from __future__ import annotations

import os

import zmq

from ..curve import is_key
from ..message import topic
from ..tcp import PORT_MAX, lacks_port

DEFAULT_ENDPOINT = "ipc:///run/gnetsegd/masks.sock"

#: Where the daemon of another camera of the machine publishes, unless its configuration says otherwise.
INSTANCE_ENDPOINT = "ipc:///run/gnetsegd-{camera}/masks.sock"

#: Messages kept for a reader of every mask that is slow for a while; the oldest road then drops new ones.
QUEUE_MESSAGES = 256
#: ZeroMQ pings a silent TCP peer so often, and reconnects when three go unanswered.
HEARTBEAT_MS = 2000


def subscribe(
    endpoint: str,
    kind: str,
    camera: str = "cam0",
    *,
    newest_only: bool = True,
    queue_messages: int = QUEUE_MESSAGES,
    context: zmq.Context[zmq.Socket[bytes]] | None = None,
    server_key: bytes | None = None,
    public_key: bytes | None = None,
    secret_key: bytes | None = None,
) -> zmq.Socket[bytes]:
    """A connected SUB socket for one topic, for those who want messages rather than masks.

    ``kind`` is ``mask``, ``info``, ``status`` or ``frame``. With ``newest_only`` it holds one
    message, the newest; else up to ``queue_messages``. ``server_key`` (Z85) switches CURVE on; without
    a key pair of its own the client makes one for the time being. ``ValueError`` for an endpoint,
    camera or key that cannot be one, and for half a pair of keys; a daemon that is not there is waited for.
    """
    prefix = topic(kind, camera)
    if lacks_port(endpoint):
        raise ValueError(f"cannot subscribe at {endpoint!r}: it has no port of 1 to {PORT_MAX}")
    _check_keys(server_key, public_key, secret_key)
    socket: zmq.Socket[bytes] = (context or zmq.Context.instance()).socket(zmq.SUB)
    try:
        if newest_only:
            socket.setsockopt(zmq.CONFLATE, 1)
        else:
            socket.setsockopt(zmq.RCVHWM, queue_messages)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
        socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 3 * HEARTBEAT_MS)
        if server_key is not None:
            if public_key is None or secret_key is None:
                public_key, secret_key = zmq.curve_keypair()
            socket.setsockopt(zmq.CURVE_PUBLICKEY, public_key)
            socket.setsockopt(zmq.CURVE_SECRETKEY, secret_key)
            socket.setsockopt(zmq.CURVE_SERVERKEY, server_key)
        # Before connecting: the daemon greets each new connection with info, and only once.
        socket.setsockopt(zmq.SUBSCRIBE, prefix)
        socket.connect(endpoint)
    except zmq.ZMQError as error:
        socket.close()
        raise ValueError(f"cannot subscribe at {endpoint!r}: {error}") from None
    return socket


def usual_endpoint(camera: str) -> str:
    """Where the daemon of this camera publishes on this machine: in its own folder, if that is there."""
    own = INSTANCE_ENDPOINT.format(camera=camera)
    return own if os.path.exists(own.removeprefix("ipc://")) else DEFAULT_ENDPOINT  # noqa: PTH110


def _check_keys(server: bytes | None, public: bytes | None, secret: bytes | None) -> None:
    """``ValueError`` for keys with which the talk would not be what they were given for."""
    if (public is None) != (secret is None):
        raise ValueError(f"a {'secret' if public is None else 'public'} key alone is half a pair; give both")
    if public is not None and server is None:
        # Without it CURVE is off, and all would be readable on the way.
        raise ValueError("a key pair of one's own needs the server's public key, too")
    for name, key in (("server", server), ("public", public), ("secret", secret)):
        if key is not None and not is_key(key):
            raise ValueError(f"the {name} key is no CURVE key: that is 40 characters of Z85")


def out_of_reach(endpoint: str) -> tuple[str, str] | None:
    """(why, sentence) where this machine itself tells that nothing can come from ``endpoint``."""
    if not endpoint.startswith("ipc:///"):
        return None
    path = endpoint.removeprefix("ipc://")
    # os.path's says no, where Path's raises, to a name that no file can have.
    if not os.path.exists(path):  # noqa: PTH110
        return "silent", "there is no such socket; start the daemon (systemctl start gnetsegd)"
    if not os.access(path, os.R_OK | os.W_OK):
        return "not-permitted", "this user may not open it; join the group that owns it"
    return None
