"""Find a camera or an accelerator by its name.

The project's own are looked up in a table, which costs nothing; only for a foreign name are the
entry points of the installed packages read (tens of milliseconds on a Pi).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .errors import PermanentError
from .text import clean

_OWN = {
    "gnetsegd.cameras": {
        "auto": "gnetsegd.cameras.auto:AutoCamera",
        "picamera2": "gnetsegd.cameras.picamera2:Picamera2Camera",
        "v4l2": "gnetsegd.cameras.v4l2:V4l2Camera",
        "video": "gnetsegd.cameras.video:VideoCamera",
        "network": "gnetsegd.cameras.network:NetworkCamera",
        "recorded": "gnetsegd.cameras.recorded:RecordedCamera",
        "pattern": "gnetsegd.cameras.pattern:PatternCamera",
    },
    "gnetsegd.accelerators": {
        "auto": "gnetsegd.accelerators.auto:AutoAccelerator",
        "usb": "gnetsegd.accelerators.usb:UsbAccelerator",
        "standin": "gnetsegd.accelerators.standin:StandinAccelerator",
    },
}


def own(group: str) -> dict[str, str]:
    """The project's own entries of a group, name to ``module:class``, as setup.py declares them."""
    return dict(_OWN[group])


def is_known(group: str, name: str) -> bool:
    """Is there one of this name? Entry points are read only where the project has none."""
    return name in _OWN[group] or name in names(group)


def names(group: str) -> list[str]:
    """Every name of the group that is installed, the project's own first."""
    from importlib.metadata import entry_points

    return list(dict.fromkeys([*_OWN[group], *(entry.name for entry in entry_points(group=group))]))


def find(group: str, name: str) -> Any:
    """The class behind a name.

    ``PermanentError`` when there is none of that name, or when it cannot be imported: the sentence
    names what is missing.
    """
    target = _OWN[group].get(name)
    try:
        if target is not None:
            module, _, attribute = target.partition(":")
            return getattr(import_module(module), attribute)
        from importlib.metadata import entry_points

        for entry in entry_points(group=group, name=name):
            return entry.load()
    except ImportError as error:
        raise PermanentError(
            f"{group.removeprefix('gnetsegd.')}: {name} needs a package that is not here "
            f"({clean(str(error))}); install it"
        ) from None
    except Exception as error:
        words = f"{type(error).__name__}: {clean(str(error))}"
        raise PermanentError(
            f"{group.removeprefix('gnetsegd.')}: {name} cannot be imported ({words}); "
            "install versions of its packages that fit each other"
        ) from None
    raise PermanentError(f"{group}: there is no {name!r}; installed are {', '.join(names(group))}")
