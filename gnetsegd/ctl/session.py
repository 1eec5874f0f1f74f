"""What the commands share: reaching the daemon, and saying so when it cannot be reached."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..client import MaskSubscriber
from ..errors import ConfigError, PermanentError


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
        """A subscriber; ``PermanentError`` or ``ConfigError`` where none can be."""
        self._look_at_socket()
        try:
            return MaskSubscriber(
                self.endpoint,
                self.camera,
                newest_only,
                server_key=self.server_key,
                public_key=self.public_key,
                secret_key=self.secret_key,
            )
        except ValueError as error:
            raise ConfigError(f"{error}; name one as in publish.endpoints", os.EX_USAGE) from None

    def _look_at_socket(self) -> None:
        """ZeroMQ waits without a word for a socket that is not there, or that it may not open."""
        if not self.endpoint.startswith("ipc:///"):
            return
        path = Path(self.endpoint.removeprefix("ipc://"))
        if path.exists() and not os.access(path, os.R_OK | os.W_OK):
            raise PermanentError(
                f"{path}: this user may not open it; join the group that owns it, or try with sudo",
                os.EX_NOPERM,
            )

    def silent(self) -> PermanentError:
        """The daemon has not answered."""
        return PermanentError(
            f"no daemon answers for camera {self.camera} at {self.endpoint} within {self.timeout_s:g} s; "
            "start it (systemctl start gnetsegd), or name its address with --endpoint and --camera"
        )


def plain(text: object) -> str:
    """``text`` from the network made fit for a terminal: no control characters."""
    return "".join(c if c.isprintable() else "�" for c in str(text)).encode("utf-8", "replace").decode()
