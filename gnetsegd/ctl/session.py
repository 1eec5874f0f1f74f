"""What the commands share: reaching the daemon, and saying so when it cannot be reached."""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..client import MaskSubscriber, StatusSubscriber
from ..errors import ConfigError, PermanentError
from ..text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

Subscriber = TypeVar("Subscriber", bound=StatusSubscriber)

#: A daemon says how it is each second. Where it has said nothing for so long a handshake may tell why.
PATIENCE_S = 0.3
#: libzmq ends the process, without a word of ours, where it may not open its own.
MIN_DESCRIPTORS = 32


@dataclass(frozen=True, slots=True)
class Target:
    """Whom to ask: ``endpoint``, ``camera``, CURVE keys in Z85, and how long to wait."""

    endpoint: str
    camera: str
    timeout_s: float
    server_key: bytes | None = None
    public_key: bytes | None = None
    secret_key: bytes | None = None

    def subscribe(self, newest_only: bool = True) -> MaskSubscriber:
        """A subscriber to masks, which wakes the camera.

        ``PermanentError`` or ``ConfigError`` where none can be.
        """
        return self._reach(lambda **keys: MaskSubscriber(self.endpoint, self.camera, newest_only, **keys))

    def look(self) -> StatusSubscriber:
        """A subscriber to info and status, which wakes nothing; errors as ``subscribe``."""
        return self._reach(lambda **keys: StatusSubscriber(self.endpoint, self.camera, **keys))

    def _reach(self, subscriber: Callable[..., Subscriber]) -> Subscriber:
        allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if 0 <= allowed < MIN_DESCRIPTORS:
            raise PermanentError(
                f"it may open {allowed} files, and needs {MIN_DESCRIPTORS}; raise the limit (ulimit -n)",
                os.EX_OSERR,
            )
        self._look_at_socket()
        try:
            return subscriber(
                server_key=self.server_key, public_key=self.public_key, secret_key=self.secret_key
            )
        except ValueError as error:
            raise ConfigError(
                f"{clean(str(error))}; see --endpoint, --server-key and --key", os.EX_USAGE
            ) from None

    def _look_at_socket(self) -> None:
        """ZeroMQ waits without a word for a socket that is not there, or that it may not open."""
        if not self.endpoint.startswith("ipc:///"):
            return
        path = self.endpoint.removeprefix("ipc://")
        # os.path's says no, where Path's raises, to a name that no file can have.
        if os.path.exists(path) and not os.access(path, os.R_OK | os.W_OK):  # noqa: PTH110
            raise PermanentError(
                f"{clean(path)}: this user may not open it; join the group that owns it, or try with sudo",
                os.EX_NOPERM,
            )

    def first_status(self, subscriber: StatusSubscriber) -> dict[str, Any]:
        """The daemon's words. ``PermanentError`` with why there are none, as soon as that is clear."""
        status = subscriber.status(min(self.timeout_s, PATIENCE_S))
        if status is not None:
            return status
        from .handshake import why_silent

        known = why_silent(self)
        if known is not None:
            raise PermanentError(*known)
        status = subscriber.status(max(0.0, self.timeout_s - PATIENCE_S))
        if status is None:
            raise self.silent()
        return status

    def silent(self) -> PermanentError:
        """The daemon has not answered, and why, as far as can be told."""
        from .handshake import why_silent

        known = why_silent(self)
        if known is not None:
            words, code = known
            return PermanentError(words, code)
        return PermanentError(
            f"no daemon answers for camera {self.camera} at {clean(self.endpoint)} within "
            f"{self.timeout_s:g} s; start it (systemctl start gnetsegd), or name its address with --endpoint "
            "and --camera"
        )
