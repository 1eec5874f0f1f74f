"""docs/configuration.md, written from the configuration's own classes.

``python -m gnetsegd.config_doc > docs/configuration.md``; a test holds the two together.
"""

from __future__ import annotations

import typing
from typing import Any

import attrs

from .config import Config, allowed, row_class, type_name
from .plugins import find, own

HEAD = """\
# Configuration

*Written by `python -m gnetsegd.config_doc`: change the text in the code, not here.*

One TOML file, by default `/etc/gnetsegd/gnetsegd.toml`. Every key has a default; an unknown key or
a wrong value is refused with a sentence that names it.

    gnetsegd check-config FILE                    is this file good? opens what the daemon would open
    gnetsegd check-config --no-load FILE          the same for another machine's file
    gnetsegd run --config FILE --set camera.fps=15

`systemctl reload gnetsegd` (SIGHUP) takes over a changed file: it is checked first, with the network that
it names, and a bad one changes nothing and says so in the journal. The camera is reopened only when
`[camera]` or the size of the network's input changed, the accelerator only when `[accelerator]` or
`[model]` changed. `camera.name` and, in `[publish]`, all but `frames` and `status_interval_s` need a
restart.
"""

ENDPOINTS = """
`publish.endpoints` gives all its endpoints the same settings. Where they differ, each is a table of its
own. A subscription to what an endpoint does not serve wakes nothing. Tables without `endpoints` replace its
default.

    [[publish.endpoint]]
    address = "ipc:///run/gnetsegd/masks.sock"

    [[publish.endpoint]]                          # the network learns the state, never who is where
    address = "tcp://0.0.0.0:5555"
    kinds = ["status"]
    curve_secret_key_file = "/etc/gnetsegd/keys/daemon.key_secret"

Each socket takes at most 128 connections (fewer where few files may be open), and 16 new ones a second after
the first 128. A connection may hold 16 subscriptions, of at most 64 bytes each, and send 32 messages in 10 s:
whoever sends more is cut. So is who speaks no ZMTP 3 (libzmq 4 or later), such as a browser or a port scan.

The folder of permitted clients is followed: one whose `.key` file was added gets masks within two seconds,
and one whose file was removed gets none any more; `gnetsegctl keys` makes and removes them
([network.md](network.md)). The daemon's own key is read at the start.
"""

CODES = """
## Exit codes

Before it is ready, an error ends the daemon with a sentence and one of these (sysexits.h). After
that a stop ends it, the end of a video that does not loop, a call into a camera or an accelerator
that does not return, or the loss of its ipc socket's folder.

| code | means |
|---|---|
| 0 | stopped by SIGTERM or SIGINT, or the video is over |
| 64 | wrong command line |
| 65 | a clip or a model is damaged |
| 66 | a file, clip or model is not there |
| 69 | a package or a device that is needed is not there |
| 70 | an error of gnetsegd itself |
| 71 | this machine has no more memory, open files or threads to give |
| 73 | the socket's folder is missing or not writable |
| 74 | a disk is full, or a device or an output failed |
| 75 | the socket is another's or its folder is gone, something may come back, or a call never returns |
| 77 | this user may not read or open something |
| 78 | the configuration is wrong |
"""


def _default(field: attrs.Attribute[Any]) -> str:
    default = field.default
    factory = getattr(default, "factory", None)
    value = factory() if factory else default
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    return "{}" if isinstance(value, dict) else f"{value:g}"


def _table(name: str, kind: Any, rows_of: bool = False) -> list[str]:
    doc = (kind.__doc__ or "").strip().splitlines()[0].rstrip(".")
    lines = [f"\n## [[{name}]]\n" if rows_of else f"\n## [{name}]\n"]
    if doc and not doc.startswith("``["):
        lines.append(f"{doc}.\n")
    hints = typing.get_type_hints(kind)
    rows = [
        field
        for field in attrs.fields(kind)
        if "table" not in field.metadata and row_class(hints[field.name]) is None
    ]
    if not rows:
        return [*lines, "No keys."]
    lines += ["| key | type | default | allowed | meaning |", "|---|---|---|---|---|"]
    for field in rows:
        hint = hints[field.name]
        cells = (
            f"`{field.name}`",
            type_name(hint),
            f"`{_default(field)}`" if field.default is not attrs.NOTHING else "must be given",
            allowed(field, hint),
            field.metadata["doc"],
        )
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return lines


def render() -> str:
    """The whole page, as Markdown."""
    lines = [HEAD]
    for section in attrs.fields(Config):
        kind = typing.get_type_hints(Config)[section.name]
        lines += _table(section.name, kind)
        for name, hint in typing.get_type_hints(kind).items():
            row = row_class(hint)
            if row is not None:
                lines += _table(f"{section.name}.{name}", row, rows_of=True)
        if section.name == "publish":
            lines += [ENDPOINTS.rstrip()]
        drivers = attrs.fields_dict(kind).get("options")
        if drivers is not None:
            group = drivers.metadata["table"]
            for name in own(group):
                lines += _table(f"{section.name}.{name}", find(group, name).Options)
    return "\n".join(lines) + "\n" + CODES


if __name__ == "__main__":
    print(render(), end="")
