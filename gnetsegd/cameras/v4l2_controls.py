"""The controls of a webcam: exposure, focus, gain and the like, by the names that v4l2-ctl shows."""

from __future__ import annotations

import errno
import re
from typing import NamedTuple

from ..errors import ConfigError, PermanentError
from ..text import clean
from . import v4l2_ioctl as v4l2

#: A driver's list is read up to here; webcams have some dozens.
CONTROLS_MAX = 256
#: What a driver says to a value that it cannot take now, such as an exposure while that is automatic.
_NOT_NOW = (errno.EACCES, errno.EBUSY, errno.EINVAL, errno.EIO, errno.EPERM, errno.ERANGE)


class _Control(NamedTuple):
    number: int
    minimum: int
    maximum: int
    is_read_only: bool


def set_controls(device: v4l2.Device, path: str, wanted: dict[str, int]) -> None:
    """Set what ``wanted`` names.

    ``ConfigError`` for a control that the webcam has not, and for a value outside of its range;
    ``PermanentError`` for one that its driver refuses.
    """
    if not wanted:
        return
    known = _known(device)
    for name, value in wanted.items():
        key, control = f"camera.v4l2.controls.{clean(name)}", known.get(name)
        if control is None:
            raise ConfigError(f"{key}: {path} has no such control; it has {', '.join(known) or 'none'}")
        if not control.minimum <= value <= control.maximum:
            raise ConfigError(f"{key} is {value}; allowed is {control.minimum} to {control.maximum}")
        if control.is_read_only:
            raise ConfigError(f"{key}: {path} does not let it be changed; leave it out")
    # Some can be set only after others, whatever the order of the keys.
    refused = [name for name in wanted if not _set(device, known[name], wanted[name])]
    for name in refused:
        if not _set(device, known[name], wanted[name]):
            raise PermanentError(
                f"{path}: refuses camera.v4l2.controls.{clean(name)} = {wanted[name]}; it may depend on "
                "another one, such as an automatic one that must be switched off (v4l2-ctl --list-ctrls)"
            )


def _set(device: v4l2.Device, control: _Control, value: int) -> bool:
    try:
        device.ioctl(v4l2.S_CTRL, v4l2.Control(id=control.number, value=value))
    except OSError as error:
        if error.errno not in _NOT_NOW:
            raise
        return False
    return True


def _known(device: v4l2.Device) -> dict[str, _Control]:
    found: dict[str, _Control] = {}
    entry = v4l2.QueryCtrl(id=v4l2.CTRL_FLAG_NEXT_CTRL)
    for _ in range(CONTROLS_MAX):
        try:
            device.ioctl(v4l2.QUERYCTRL, entry)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTTY):
                raise
            break
        if entry.type in v4l2.CTRL_TYPES_WITH_VALUE and not entry.flags & v4l2.CTRL_FLAG_DISABLED:
            read_only = bool(entry.flags & v4l2.CTRL_FLAG_READ_ONLY)
            found[_name(entry.name)] = _Control(entry.id, entry.minimum, entry.maximum, read_only)
        entry.id |= v4l2.CTRL_FLAG_NEXT_CTRL
    return found


def _name(words: bytes) -> str:
    """As v4l2-ctl makes them: small letters and digits, everything else becomes one ``_``."""
    return re.sub(r"[^a-z0-9]+", "_", words.decode("ascii", "replace").lower()).strip("_")
