"""The configuration: TOML in, typed and checked objects out.

Every key is an attrs field made by ``option``, which carries its meaning, unit, range and default;
docs/configuration.md is written from these (``python -m gnetsegd.config_doc``). An unknown key is
an error that names the nearest known one; a wrong value names the file, the key, what was given
and what is allowed.
"""

from __future__ import annotations

import math
import os
import re
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

import attrs
import cattrs

from .errors import ConfigError
from .files import NoTextError, parse_toml, read_regular
from .message import CAMERA_NAME
from .text import clean

T = TypeVar("T")

DEFAULT_PATH = Path("/etc/gnetsegd/gnetsegd.toml")
#: More than any needs.
MAX_FILE_BYTES = 1 << 20


#: What an endpoint may serve (docs/messages.md).
KINDS = ("mask", "info", "status", "frame", "image")


def option(
    default: Any,
    doc: str,
    *,
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    choices: tuple[str, ...] | tuple[int, ...] = (),
    pattern: str = "",
) -> Any:
    """A configuration key: an attrs field with its default, meaning, unit and range.

    A list or dict as the default is copied for each instance; ``attrs.NOTHING`` makes a key that must be
    given. Of a list, ``choices`` are the choices of each item.
    """
    metadata = {
        "doc": doc,
        "unit": unit,
        "minimum": minimum,
        "maximum": maximum,
        "choices": choices,
        "pattern": pattern,
    }
    if isinstance(default, list | dict):
        kind = type(default)
        return attrs.field(factory=lambda: kind(default), metadata=metadata)
    return attrs.field(default=default, metadata=metadata)


@attrs.frozen
class CameraConfig:
    """Where the frames come from."""

    driver: str = option(
        "auto",
        "which camera: auto (a CSI camera by picamera2, else the first webcam, else the one that comes), "
        "picamera2, v4l2, video, network, recorded, pattern, or one that a package adds",
    )
    name: str = option(
        "cam0", "name in the topics (mask/NAME)", pattern=f"{CAMERA_NAME.pattern} (at most 8 characters)"
    )
    fps: float = option(30.0, "wanted rate; 0 is the camera's own", unit="frames/s", minimum=0, maximum=1000)
    geometry: str = option(
        "center-crop",
        "how the picture is fitted to the network's square: cut the sides, pad with grey, or stretch",
        choices=("center-crop", "letterbox", "stretch"),
    )
    rotate: int = option(
        0,
        "the camera is mounted so that its pictures must be turned by this, clockwise",
        unit="degrees",
        choices=(0, 90, 180, 270),
    )
    flip: bool = option(False, "mirror the picture left to right, after it is turned")
    stall_timeout_s: float = option(
        2.0,
        "without a frame for so long the camera is reopened; the process ends where its library hangs",
        unit="s",
        minimum=0.1,
        maximum=60,
    )
    backoff_max_s: float = option(
        2.0, "the longest pause between two attempts to reopen it", unit="s", minimum=0.1, maximum=600
    )
    options: Any = attrs.field(factory=dict, metadata={"table": "gnetsegd.cameras"})


@attrs.frozen
class AcceleratorConfig:
    """What computes the masks."""

    driver: str = option(
        "auto",
        "which accelerator: auto (usb when it is there, else standin), usb (never falls back), standin "
        "(the network on this CPU), or one that a package adds",
    )
    backoff_max_s: float = option(
        0.5, "the longest pause between two attempts to reopen it", unit="s", minimum=0.1, maximum=600
    )
    options: Any = attrs.field(factory=dict, metadata={"table": "gnetsegd.accelerators"})


@attrs.frozen
class ModelConfig:
    """Which network."""

    bundle: str = option(
        "auto",
        "a bundle shipped with gnetsegd, by name, or the path of a folder; auto is person on a machine "
        "without an accelerator, with one gnetseg-large-224y there and person-gray on the CPU in its stead",
    )
    fallback: str = option(
        "",
        "the bundle for the CPU while the accelerator is missing (accelerator.driver auto), of the same "
        "input and mask; empty is the same bundle",
    )


@attrs.frozen
class EndpointConfig:
    """One endpoint with settings of its own."""

    address: str = option(attrs.NOTHING, "what to bind: ipc:///path or tcp://address:port")
    kinds: list[str] = option(
        [*KINDS],
        "what is sent here; frame and image only while publish.frames and publish.images are on",
        choices=KINDS,
    )
    mode: str = option("0660", "access mode of an ipc socket, octal", pattern="0[0-7]{3}")
    send_hwm_messages: int = option(
        2, "messages kept for a slow reader", unit="messages", minimum=1, maximum=1000
    )
    curve_secret_key_file: str = option("", "CURVE, for tcp: the daemon's .key_secret file; empty is off")
    curve_authorized_keys_dir: str = option(
        "",
        "CURVE: folder of the .key files of permitted clients; empty permits all who know the daemon's key",
    )


@attrs.frozen
class PublishConfig:
    """Where the masks go."""

    endpoints: list[str] = option(
        ["ipc:///run/gnetsegd/masks.sock"],
        "ZeroMQ endpoints to bind: ipc:///path or tcp://address:port; the short form of [[publish.endpoint]]",
    )
    ipc_mode: str = option("0660", "access mode of ipc sockets, octal", pattern="0[0-7]{3}")
    send_hwm_messages: int = option(
        2,
        "messages kept for a slow reader before its oldest road drops new ones",
        unit="messages",
        minimum=1,
        maximum=1000,
    )
    heartbeat_interval_s: float = option(
        5.0,
        "ZeroMQ heartbeat on TCP, so that dead peers are forgotten; 0 is off",
        unit="s",
        minimum=0,
        maximum=3600,
    )
    frames: bool = option(False, "also publish each mask's own picture on frame/NAME (think of privacy)")
    images: bool = option(
        False,
        "also publish the camera's whole picture in colour on image/NAME, while somebody wants it (think of "
        "privacy)",
    )
    image_width: int = option(
        640,
        "pictures are made so wide at most; 0 is the camera's own size. A webcam's own JPEG stays as it is",
        unit="pixels",
        minimum=0,
        maximum=16384,
    )
    image_fps: float = option(
        10.0, "pictures that are made at most", unit="pictures/s", minimum=4, maximum=120
    )
    image_quality: int = option(
        5, "of their JPEG, as FFmpeg counts: 2 is the best and largest", minimum=2, maximum=31
    )
    status_interval_s: float = option(
        1.0, "how often info and status are sent", unit="s", minimum=0.1, maximum=60
    )
    allow_plain_tcp: bool = option(
        False, "permit TCP off this machine without CURVE: everyone on the network sees the masks"
    )
    curve_secret_key_file: str = option("", "CURVE: the daemon's .key_secret file; empty is off")
    curve_authorized_keys_dir: str = option(
        "",
        "CURVE: folder of the .key files of permitted clients; empty permits all who know the daemon's key",
    )
    endpoint: list[EndpointConfig] = option([], "endpoints with settings of their own")

    def all_endpoints(self) -> list[EndpointConfig]:
        """Every endpoint as one table: first those of the short form, CURVE only for tcp, then the others."""
        short = []
        for address in self.endpoints:
            tcp = address.startswith("tcp://")
            short.append(
                EndpointConfig(
                    address=address,
                    mode=self.ipc_mode,
                    send_hwm_messages=self.send_hwm_messages,
                    curve_secret_key_file=self.curve_secret_key_file if tcp else "",
                    curve_authorized_keys_dir=self.curve_authorized_keys_dir if tcp else "",
                )
            )
        return [*short, *self.endpoint]


@attrs.frozen
class IdleConfig:
    """What happens while nobody listens."""

    rest: bool = option(True, "let the network rest while no one subscribes to mask, frame or image")
    sleep: bool = option(True, "put the camera to sleep, too, when that lasts")
    linger_s: float = option(
        60.0,
        "how long after the last subscriber has gone the camera sleeps",
        unit="s",
        minimum=0,
        maximum=3600,
    )


@attrs.frozen
class LogConfig:
    """What is written to the journal, or to stderr without one."""

    level: str = option("info", "the least that is written", choices=("debug", "info", "warning", "error"))


@attrs.frozen
class Config:
    """The whole configuration."""

    camera: CameraConfig = attrs.field(factory=CameraConfig)
    accelerator: AcceleratorConfig = attrs.field(factory=AcceleratorConfig)
    model: ModelConfig = attrs.field(factory=ModelConfig)
    publish: PublishConfig = attrs.field(factory=PublishConfig)
    idle: IdleConfig = attrs.field(factory=IdleConfig)
    log: LogConfig = attrs.field(factory=LogConfig)


def _strict(value: Any, kind: type[T]) -> T:
    # cattrs would turn "3" into 3 and 1 into True; a configuration says what it means.
    if kind is float and type(value) is int:
        return typing.cast("T", float(value))
    if type(value) is not kind:
        raise TypeError
    return value


_converter = cattrs.Converter()
for _kind in (bool, int, float, str):
    _converter.register_structure_hook(_kind, _strict)

_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def allowed(field: attrs.Attribute[Any], kind: Any) -> str:
    """What a field takes, in words: for errors and for the documentation."""
    meta = field.metadata
    if meta.get("choices"):
        one_of = "one of " + ", ".join(map(str, meta["choices"]))
        return f"a list, each {one_of}" if typing.get_origin(kind) is list else one_of
    words = _WORDS.get(kind)
    if words is None:
        inner = typing.get_args(kind)
        words = (
            f"a list, each {_WORDS.get(inner[0], 'a value')}"
            if typing.get_origin(kind) is list
            else "a table"
        )
    low, high = meta.get("minimum"), meta.get("maximum")
    if low is not None and high is not None:
        words += f" from {low:g} to {high:g}"
    elif low is not None:
        words += f" of at least {low:g}"
    if meta.get("pattern"):
        words += f" like {meta['pattern']}"
    return words + (f" ({meta['unit']})" if meta.get("unit") else "")


def _in_range(field: attrs.Attribute[Any], value: Any) -> bool:
    meta = field.metadata
    if isinstance(value, float) and not math.isfinite(value):
        return False
    if meta.get("choices"):
        items = value if isinstance(value, list) else [value]
        return all(item in meta["choices"] for item in items)
    if meta.get("pattern") and not re.fullmatch(meta["pattern"].split(" (")[0], value):
        return False
    low, high = meta.get("minimum"), meta.get("maximum")
    return (low is None or value >= low) and (high is None or value <= high)


def _nearest(name: str, known: list[str], section: str = "") -> str:
    """Advice for a name that is not known."""
    import difflib

    if not known:
        return "there are no keys here"
    near = difflib.get_close_matches(name[:100], known, n=1, cutoff=0.5)
    if not near:
        return f"known are {', '.join(known)}"
    return f"did you mean {section}.{near[0]}?" if section else f"did you mean {near[0]}?"


def structure(table: dict[str, Any], kind: type[T], where: str, prefix: str = "") -> T:
    """Make ``kind`` (an attrs class of options) from a TOML table.

    ``where`` names the file, ``prefix`` the table, for the sentence of the ``ConfigError`` that is
    raised at the first unknown key or wrong value.
    """
    attributes = attrs.fields_dict(typing.cast("Any", kind))
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in table.items():
        field, name = attributes.get(key), f"{prefix}{key}"
        if field is None or "table" in field.metadata:
            known = [known for known, field in attributes.items() if "table" not in field.metadata]
            advice = _nearest(key, known, prefix.rstrip("."))
            raise ConfigError(f"{where}: unknown key {clean(name)}: {advice}")
        wanted = hints[key]
        if attrs.has(wanted):
            values[key] = structure(_table(value, where, name), wanted, where, f"{name}.")
            continue
        row = row_class(wanted)
        if row is not None:
            values[key] = _structure_rows(value, row, where, name)
            continue
        try:
            # cattrs would take a text for a list of letters.
            container = typing.get_origin(wanted)
            values[key] = _converter.structure(value, wanted)
            fits = _in_range(field, values[key]) and (container is None or isinstance(value, container))
        except Exception:  # cattrs wraps what a hook raises, in a class that changed with versions
            fits = False
        if not fits:
            raise ConfigError(f"{where}: {name} is {_shown(value)}; allowed is {allowed(field, wanted)}")
    for key, field in attributes.items():
        if field.default is attrs.NOTHING and key not in values:
            raise ConfigError(f"{where}: {prefix}{key} is missing; it is {field.metadata['doc']}")
    try:
        return kind(**values)
    except ConfigError as error:  # values that do not go together
        raise ConfigError(f"{where}: {error}") from None


def _shown(value: Any) -> str:
    """A value that somebody wrote, for a sentence about it: whatever it is, on one line and not long."""
    try:
        return clean(repr(value))
    except (RecursionError, ValueError):  # nested deep, or a number of thousands of digits
        return f"a {type(value).__name__} beyond measure"


def row_class(kind: Any) -> Any:
    """The attrs class whose tables a list holds, ``[[section.key]]`` in TOML; None for any other type."""
    if typing.get_origin(kind) is not list:
        return None
    (inner,) = typing.get_args(kind)
    return inner if attrs.has(inner) else None


def _structure_rows(value: Any, kind: type[T], where: str, name: str) -> list[T]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise ConfigError(f"{where}: {name} is {_shown(value)}; it must be tables, each under [[{name}]]")
    return [structure(row, kind, where, f"{name}[{n}].") for n, row in enumerate(value, 1)]


def _table(value: Any, where: str, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{where}: {name} is {_shown(value)}; it must be a table, [{name}]")
    return value


def _structure_driver(table: dict[str, Any], kind: type[T], where: str, section: str, group: str) -> T:
    """A section with a ``driver`` and one table of options for each driver."""
    from .plugins import find, is_known, names

    own = attrs.fields_dict(typing.cast("Any", kind))
    plain = {key: value for key, value in table.items() if not isinstance(value, dict) or key in own}
    made: Any = structure(plain, kind, where, f"{section}.")
    tables = {key: value for key, value in table.items() if key not in plain}
    for name in tables:
        if not is_known(group, name):
            advice = _nearest(name, [*names(group), *own], section)
            raise ConfigError(f"{where}: unknown table {section}.{clean(name)}: {advice}")
    if not is_known(group, made.driver):
        raise ConfigError(
            f"{where}: {section}.driver is {_shown(made.driver)}, which is not installed: "
            f"{_nearest(made.driver, names(group))}"
        )
    options: dict[str, Any] = {}
    uses = getattr(find(group, made.driver), "uses", ())
    for name in {*tables, made.driver, *uses}:
        # Every table is checked, also one of a driver that is not in use just now.
        options_class = find(group, name).Options
        options[name] = structure(tables.get(name, {}), options_class, where, f"{section}.{name}.")
    return typing.cast("T", attrs.evolve(made, options=options))


def from_dict(raw: dict[str, Any], where: str) -> Config:
    """A ``Config`` from parsed TOML; ``where`` names the source in errors (``ConfigError``)."""
    sections = attrs.fields_dict(Config)
    hints = typing.get_type_hints(Config)
    made: dict[str, Any] = {}
    for name in raw:
        if name not in sections:
            raise ConfigError(f"{where}: unknown table [{clean(name)}]: {_nearest(name, [*sections])}")
    for name, kind in hints.items():
        table = _table(raw.get(name, {}), where, name)
        if name == "publish" and "endpoint" in table and "endpoints" not in table:
            # Whoever writes tables means these, and not the default of the short form besides.
            table = {**table, "endpoints": []}
        group = attrs.fields_dict(kind).get("options")
        if group is None:
            made[name] = structure(table, kind, where, f"{name}.")
        else:
            made[name] = _structure_driver(table, kind, where, name, group.metadata["table"])
    return Config(**made)


def parse_setting(setting: str) -> dict[str, Any]:
    """``a.b=value`` from the command line as a nested table; the value is TOML, or else a text."""
    key, equals, value = setting.partition("=")
    if not equals or not key:
        raise ConfigError(f"--set {_shown(setting)} is not of the form key=value, such as camera.fps=15")
    try:
        parsed: Any = parse_toml(f"v = {value}".encode())["v"]
    except ValueError:
        parsed = value
    for part in reversed(key.split(".")):
        parsed = {part: parsed}
    return typing.cast("dict[str, Any]", parsed)


def _is_given(raw: dict[str, Any], path: list[str]) -> bool:
    """Whether a file says something of the key at ``path``."""
    table: Any = raw
    for part in path:
        if not isinstance(table, dict) or part not in table:
            break
        table = table[part]
    else:
        return True
    # Tables of endpoints replace the default of the short form.
    return path == ["publish", "endpoints"] and "endpoint" in raw.get("publish", {})


def _merge(base: dict[str, Any], over: dict[str, Any]) -> None:
    for key, value in over.items():
        if isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value)
        else:
            base[key] = value


def _read(path: Path) -> dict[str, Any]:
    shown = clean(str(path))
    try:
        content = read_regular(path, MAX_FILE_BYTES)
    except FileNotFoundError:
        raise ConfigError(
            f"{shown}: there is no such configuration file; name one with --config", os.EX_NOINPUT
        ) from None
    except PermissionError:
        raise ConfigError(
            f"{shown}: this user may not read it; mend its owner or mode", os.EX_NOPERM
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{shown}: cannot be read: {error.strerror}; name another with --config", os.EX_NOINPUT
        ) from None
    except ValueError as error:
        raise ConfigError(
            f"{shown}: cannot be read: it {error}; name another with --config", os.EX_NOINPUT
        ) from None
    try:
        return parse_toml(content)
    except NoTextError as error:
        raise ConfigError(f"{shown}: cannot be read: {error}", os.EX_NOINPUT) from None
    except ValueError as error:
        raise ConfigError(f"{shown}: not valid TOML: {clean(str(error))}") from None


def find_file(named: Path | None) -> Path | None:
    """The configuration file: the one that was named, else the usual one if it is there, else none."""
    return named if named is not None or not DEFAULT_PATH.exists() else DEFAULT_PATH


def load(path: Path | None, settings: typing.Sequence[str] = ()) -> Config:
    """Read ``path`` (None: only defaults), put the ``--set`` settings on top, check everything.

    ``KEY?=VALUE`` holds only where the file says nothing of the key.

    Raises ``ConfigError`` with one sentence; nothing is half applied.
    """
    raw = {} if path is None else _read(path)
    where = clean(str(path)) if path is not None else "defaults"
    for setting in settings:
        key, conditional, value = setting.partition("?=")
        if conditional and "=" not in key:
            if _is_given(raw, key.split(".")):
                continue
            setting = f"{key}={value}"
        _merge(raw, parse_setting(setting))
    if settings:
        where += " with --set"
    return from_dict(raw, where)


def type_name(kind: Any) -> str:
    """A field's type as a person writes it in TOML."""
    if typing.get_origin(kind) is list:
        return f"list of {type_name(typing.get_args(kind)[0])}"
    if isinstance(kind, types.UnionType):
        return " or ".join(type_name(part) for part in typing.get_args(kind))
    return {bool: "boolean", int: "integer", float: "number", str: "text", dict: "table"}.get(
        typing.get_origin(kind) or kind, str(kind)
    )
