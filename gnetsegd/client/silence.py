"""While a daemon is not heard: to find out why, and to connect anew once it would talk."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..text import clean
from .connect import out_of_reach
from .probe import Finding, Probe

#: Nothing is asked before a daemon had the time to say something.
PATIENCE_S = 0.3
#: After so long it is asked again.
AGAIN_S = 2.0

_SENTENCES = {
    "not-permitted": "the daemon does not permit this key; it must be added there (gnetsegctl keys add)",
    "no-own-key": "the daemon permits only keys that it knows; give public_key and secret_key",
    "no-keys": "the daemon wants keys; give server_key, public_key and secret_key",
    "not-curve": "the daemon has no keys there; leave out server_key, public_key and secret_key",
    "wrong-server-key": "server_key is not the key of this daemon; give that of its own daemon.key",
    "foreign": "what listens there is no gnetsegd; mend the address",
    "silent": "no daemon answers there; start it (systemctl start gnetsegd), or mend the address",
}
#: What ``NoData.why`` calls it; the rest is silence.
_WHYS = {
    "not-permitted": "not-permitted",
    "no-own-key": "not-permitted",
    "no-keys": "no-keys",
    "wrong-server-key": "wrong-server-key",
    "wrong-camera": "wrong-camera",
}


class Silence:
    """Asks why, beside the subscriber's own connections. One thread's; never waits.

    ZeroMQ gives up for good where it was refused. ``connect_anew`` is called when the daemon would talk and
    is not heard all the same.
    """

    def __init__(
        self, endpoint: str, camera: str, make_probe: Callable[[], Probe], connect_anew: Callable[[], None]
    ) -> None:
        self._endpoint = endpoint
        self._camera = camera
        self._make_probe = make_probe
        self._connect_anew = connect_anew
        self._probe: Probe | None = None
        self._found: Finding | None = None
        self._ask_at = time.monotonic() + PATIENCE_S

    def why(self) -> tuple[str, str] | None:
        """(``NoData.why``, sentence) as far as is known; called while nothing is heard."""
        known = out_of_reach(self._endpoint)
        if known is not None:
            self.close()
            return known
        self._ask()
        found = self._found
        if found is None or found.why == "connected":
            return None
        if found.why == "wrong-camera":
            there = f"it has {', '.join(found.cameras)}" if found.cameras else "it names no other"
            return "wrong-camera", clean(f"the daemon says nothing of camera {self._camera}; {there}")
        return _WHYS.get(found.why, "silent"), _SENTENCES[found.why]

    def over(self) -> None:
        """Something was heard."""
        if self._found is not None or self._probe is not None:
            self._found = None
            self.close()
        self._ask_at = time.monotonic() + PATIENCE_S

    def _ask(self) -> None:
        now = time.monotonic()
        if self._probe is None:
            if now < self._ask_at:
                return
            self._probe = self._make_probe()
        found = self._probe.look()
        if found is None:
            return
        self._found = found
        self.close()
        self._ask_at = now + AGAIN_S
        if found.why == "connected":
            self._connect_anew()

    def close(self) -> None:
        """Again does no harm."""
        probe, self._probe = self._probe, None
        if probe is not None:
            probe.close()
