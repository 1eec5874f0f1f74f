"""Who may come in over the network: the keys in force, and libzmq's questions about each newcomer (ZAP)."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from pathlib import Path

import zmq
from zmq.utils import z85

from .. import curve
from ..curve import Folder, Permitted
from ..errors import ConfigError
from ..quiet import Quiet

log = logging.getLogger(__name__)

#: https://rfc.zeromq.org/spec/27: each question is answered at once, or the newcomer waits.
_ADDRESS = "inproc://zeromq.zap.01"
_VERSION = b"1.0"
#: How often a folder of keys is looked at, in s.
LOOK_S = 0.5


def load_keys(secret_key_file: str, keys_dir: str) -> tuple[bytes, bytes]:
    """The public and the secret key; ``ConfigError`` where they or the readers' folder cannot be opened."""
    try:
        public, secret = curve.load(Path(secret_key_file))
    except ConfigError as error:
        raise ConfigError(f"publish.curve_secret_key_file: {error}", error.exit_code) from None
    if secret is None:
        raise ConfigError(f"publish.curve_secret_key_file: {secret_key_file} holds no secret key")
    if keys_dir and not os.path.isdir(keys_dir):  # noqa: PTH112 - the text stays as it was configured
        raise ConfigError(f"publish.curve_authorized_keys_dir: {keys_dir} is not a folder")
    return public, secret


class KeyRing:
    """The daemon's own keys, and the clients that may come in; without a folder all who know the daemon's.

    ``permits`` is asked by the doorkeeper's thread, ``look`` called by the one that follows the folder.
    """

    def __init__(self, secret_key_file: str, folder: str) -> None:
        """``ConfigError`` where the keys or the folder cannot be opened."""
        self.public, self.secret = load_keys(secret_key_file, folder)
        self._folder = Folder(Path(folder)) if folder else None
        self._keys: Permitted | None = None
        #: Of the set to which every connection that stands has been held.
        self.in_force = ""
        self._quiet = Quiet()
        if self._folder is not None:
            self._folder.look()
            self._take(self._folder.now)
            self.in_force = self._folder.now.digest

    def permits(self, key: bytes) -> bool:
        """Whether who holds this public key (Z85) may come in."""
        return self._folder is None or (self._keys is not None and key in self._keys.names)

    def look(self) -> bool:
        """Take over what has changed; whether somebody was permitted before and is no longer.

        Whoever comes from now on is held to the new set. ``settle`` is to be called when the connections that
        stand are, too.
        """
        if self._folder is None or not self._folder.look():
            return False
        before = set(self._keys.names if self._keys is not None else ())
        self._take(self._folder.now)
        return bool(before - set(self._folder.now.names))

    def settle(self) -> None:
        """Every connection that stands is held to the newest set."""
        if self._keys is not None:
            self.in_force = self._keys.digest

    def _take(self, new: Permitted) -> None:
        old, self._keys = self._keys, new
        assert self._folder is not None
        for words in new.bad:
            if self._quiet.may_say():
                log.warning("keys: %s: %s%s", self._folder.path, words, self._quiet.left_out())
        if old is None:
            return
        for sign, keys in (
            ("", set(new.names) - set(old.names)),
            (" no longer", set(old.names) - set(new.names)),
        ):
            names = sorted((new if not sign else old).names[key] for key in keys)
            if names:
                log.info("keys: %s may%s read", ", ".join(names), sign)


#: What libzmq's monitor tells of handshakes.
HANDSHAKES = (
    zmq.EVENT_HANDSHAKE_SUCCEEDED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
)


class Newcomers:
    """Connections that have not subscribed yet, and why one of them was not let in.

    libzmq's monitor names the connection when it begins and when it ends, not when its handshake does. One
    thread tells all of it, in order: a handshake that fails for its form is followed by the end of the same
    connection.
    """

    def __init__(self) -> None:
        self._addresses: dict[int, str] = {}
        self._why = ""
        #: Handshakes that are over, of connections that have not subscribed; the doorkeeper tells of these.
        self._over = 0

    def accepted(self, fd: int, address: str) -> None:
        """A connection from ``address``, empty if it has ended already."""
        self._addresses[fd] = address

    def handshake(self, event: int, value: int) -> None:
        """A handshake is over."""
        if event in (zmq.EVENT_HANDSHAKE_SUCCEEDED, zmq.EVENT_HANDSHAKE_FAILED_AUTH):
            self._over += 1
        elif event == zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL:
            # Both sides see that they do not fit, and the other may be the first to hang up.
            self._why = "it broke off the handshake; perhaps it shows no CURVE key, or is no client of ours"
        elif value == zmq.PROTOCOL_ERROR_ZMTP_MECHANISM_MISMATCH:
            self._why = "it shows no CURVE key"
        elif value == zmq.PROTOCOL_ERROR_ZMTP_CRYPTOGRAPHIC:
            self._why = "it has another key for this daemon"
        else:
            self._why = "it speaks no ZMTP 3 with CURVE"

    def subscribed(self, fd: int) -> None:
        """A connection has shaken hands for certain."""
        if self._addresses.pop(fd, None) is not None:
            self._over = max(0, self._over - 1)

    def ended(self, fd: int) -> tuple[str, str]:
        """(address, why it was refused) of a connection that has ended; no reason where it was not."""
        address, why, self._why = self._addresses.pop(fd, None), self._why, ""
        if why or address is None:
            return address or "", why
        if self._over:
            self._over -= 1
            return address, ""
        return address, "it speaks no ZMTP 3, or ended before its handshake did"


class Doorkeeper:
    """A thread that answers ZAP for all sockets of ``context``.

    ``refused`` is called by it with the address of a newcomer and the reason.
    """

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], ring: KeyRing, refused: Callable[[str, str], None]
    ) -> None:
        self._ring = ring
        self._refused = refused
        self._questions: zmq.Socket[bytes] = context.socket(zmq.REP)
        self._questions.setsockopt(zmq.LINGER, 0)
        self._questions.bind(_ADDRESS)
        self._ending: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._ending.bind("inproc://doorkeeper")
        self._end: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        self._end.connect("inproc://doorkeeper")
        self._thread = threading.Thread(target=self._run, name="doorkeeper", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread; it waits for nothing but questions."""
        self._end.send(b"")
        self._thread.join()
        for socket in (self._end, self._ending, self._questions):
            socket.close(linger=0)

    def _run(self) -> None:
        poller = zmq.Poller()
        poller.register(self._questions, zmq.POLLIN)
        poller.register(self._ending, zmq.POLLIN)
        while True:
            ready = dict(poller.poll())
            if self._ending in ready:
                return
            try:
                self._questions.send_multipart(self._answer(self._questions.recv_multipart()))
            except Exception:
                log.exception("a newcomer's key could not be looked at")

    def _answer(self, question: list[bytes]) -> list[bytes]:
        version, request, _domain, address, _identity, mechanism, *credentials = question
        known = version == _VERSION and mechanism == b"CURVE" and len(credentials) == 1
        key = z85.encode(credentials[0]) if known and len(credentials[0]) == 32 else b""
        if key and self._ring.permits(key):
            return [_VERSION, request, b"200", b"OK", b"", b""]
        self._refused(
            address.decode("ascii", "replace"),
            f"its key ({key.decode('ascii', 'replace')[:8]}...) is not permitted"
            if key
            else "it shows no CURVE key",
        )
        return [_VERSION, request, b"400", b"this key is not permitted", b"", b""]
