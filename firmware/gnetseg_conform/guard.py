"""Somebody else's pyusb backend, held to what pyusb asks of one: each call ends, and raises ``USBError``.

``usb.core.find(backend=Guard(backend))``. A call that does not return is left behind in its thread.
"""

from __future__ import annotations

import operator
import threading
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from gnetsegd.text import clean

if TYPE_CHECKING:
    from collections.abc import Callable

#: How much longer than its own time limit a call may take, in s.
GRACE_S = 5.0
#: Limit of a call that is given none: the kernel's own, in s.
_CALL_S = 5.0
_WORDS = 200
THREAD = "backend"
_DIRECTION_IN = 0x80
#: Where the buffer stands among the arguments of a transfer; its time limit in ms is the last one.
_BUFFER = {"bulk_read": 3, "bulk_write": 3, "ctrl_transfer": 5}
#: What is no more to be told when it fails: the device is let go.
_LETS_GO = frozenset({"release_interface", "close_device"})


def in_words(error: BaseException) -> str:
    """Its type and what it says, if it can say anything."""
    try:
        said = str(error)
    except Exception:  # whatever somebody else's exception does
        said = ""
    return clean(f"{type(error).__name__}: {said}" if said else type(error).__name__, _WORDS)


class Guard:
    """``backend`` behind its guard; see the module's docstring. For one thread at a time."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self._call: _Call | None = None

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return partial(self._guarded, name)

    def _guarded(self, name: str, *arguments: Any) -> Any:
        import usb.core

        place = _BUFFER.get(name)
        limit_s = (arguments[-1] / 1000 if place else 0) or _CALL_S
        try:
            found = self._within(limit_s, lambda: _whole(name, getattr(self._backend, name)(*arguments)))
            if place is None or (name == "ctrl_transfer" and not arguments[1] & _DIRECTION_IN):
                return found
            return _count(found, len(arguments[place]) * arguments[place].itemsize)
        except usb.core.USBError:
            if name in _LETS_GO:
                return None
            raise

    def _within(self, limit_s: float, call: Callable[[], Any]) -> Any:
        """What ``call`` returns; ``USBError`` if it takes too long, or raises what pyusb does not know."""
        import usb.core

        if self._call is not None and not self._call.wait():
            raise usb.core.USBError("an earlier call into the backend has not returned yet")
        self._call = _Call(call, limit_s + GRACE_S)
        if not self._call.wait():
            raise usb.core.USBError(
                f"the backend's call has not returned {GRACE_S:g} s after its time limit of {limit_s:g} s"
            )
        raised = self._call.raised
        if isinstance(raised, (usb.core.USBError, IndexError, NotImplementedError)):
            raise raised
        if raised is not None:
            raise usb.core.USBError(f"the backend raised {in_words(raised)}")
        return self._call.returned


class _Call(threading.Thread):
    """One call, begun at once, and what came of it."""

    def __init__(self, call: Callable[[], Any], limit_s: float) -> None:
        super().__init__(name=THREAD, daemon=True)
        self._made = call
        self._end_s = time.monotonic() + limit_s
        self.returned: Any = None
        self.raised: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self.returned = self._made()
        except BaseException as error:  # also SystemExit, which would end the run as if all were well
            self.raised = error

    def wait(self) -> bool:
        """Whether it has returned by the end of its limit."""
        self.join(max(0.0, self._end_s - time.monotonic()))
        return not self.is_alive()


def _whole(name: str, found: Any) -> Any:
    """Devices come one by one, from the backend's own code."""
    return list(found) if name == "enumerate_devices" else found


def _count(found: Any, size: int) -> int:
    """How many bytes a transfer says that it moved, of ``size``; ``USBError`` for what cannot be."""
    import usb.core

    try:
        count = operator.index(found)
    except TypeError:
        words = f"a {clean(type(found).__name__)}"
    else:
        if 0 <= count <= size:
            return count
        words = str(count) if abs(count) < 1 << 63 else "a number beyond 63 bits"
    raise usb.core.USBError(f"the backend returns {words} as the count of bytes; 0 to {size} are possible")
