"""What was lost on the way, told from what the daemon says it dropped itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..message import MaskHeader

_U32 = 0xFFFFFFFF


class LossCounter:
    """Tells what was lost on the way from what the daemon says it dropped itself.

    sequence delta = 1 + delta dropped_camera + delta dropped_daemon + transport loss
    """

    def __init__(self) -> None:
        self._first: MaskHeader | None = None
        self._last: MaskHeader | None = None
        self._received = 0
        self._dropped = 0
        self._lost = 0

    def update(self, header: MaskHeader) -> tuple[int, bool]:
        """(masks lost since the header before, whether this begins a session)."""
        first, last = self._first, self._last
        begins = first is None or last is None or header.session != last.session
        if first is None or last is None or begins or header.sequence <= last.sequence:
            # Nothing to compare with; a number that goes back is a publisher that began anew.
            self._first, self._last, self._received, self._dropped, self._lost = header, header, 1, 0, 0
            return 0, begins
        self._received += 1
        # The counters are 32 bits wide, and may wrap.
        self._dropped += (header.dropped_camera - last.dropped_camera) & _U32
        self._dropped += (header.dropped_daemon - last.dropped_daemon) & _U32
        self._last = header
        # From the first on, not from the last: a drop that is counted early is no gain.
        lost = header.sequence - first.sequence - (self._received - 1) - self._dropped
        since, self._lost = max(0, lost - self._lost), max(lost, self._lost)
        return since, False
