"""A model bundle: a folder with ``model.toml`` and the network's file, and what they promise.

The promise is checked in two steps: here that the bundle agrees with itself (its keys, sizes and
the file's SHA-256), and by the stand-in that the network's tensors are what ``model.toml`` says.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from .config import option, structure
from .errors import ConfigError, ModelError
from .files import hidden_from_service, parse_toml, read_regular
from .frame import FrameSpec, MaskFormat
from .text import clean

SCHEMA = 1
ENCODINGS = ("u8", "scores")
#: More than any of them needs, and less than hurts this machine.
MANIFEST_MAX_BYTES = 1 << 20
NETWORK_MAX_BYTES = 256 << 20
#: Labels of these names are persons, where ``model.toml`` does not say which are. Who rides is one.
PERSONS = ("person", "pedestrian", "bicyclist", "rider")
#: As ``accelerators/runtimes.py`` names them.
RUNTIMES = ("litert", "tflite-runtime")
SHIPPED = Path(__file__).parent / "models"


@attrs.frozen
class InputTable:
    """``[input]``: the picture that the network takes, uint8; of scores, byte * ``scale`` + ``offset``."""

    width: int = option(0, "pixels", minimum=1, maximum=4096)
    height: int = option(0, "pixels", minimum=1, maximum=4096)
    format: str = option("Y", "pixel format", choices=("Y", "YUV444", "RGB"))
    scale: float = option(1.0, "what the network takes for a byte: byte * scale + offset", minimum=1e-9)
    offset: float = option(0.0, "what it takes for the byte 0")


@attrs.frozen
class MaskTable:
    """``[mask]``: what comes out; label k is ``classes[k]``.

    ``u8``: the integer label of each pixel, one byte. ``scores``: what the host has to turn into labels.
    """

    width: int = option(0, "pixels", minimum=1, maximum=4096)
    height: int = option(0, "pixels", minimum=1, maximum=4096)
    encoding: str = option("u8", "labels, one byte a pixel, or scores", choices=ENCODINGS)
    threshold: float = option(0.5, "of one score a pixel: over it is label 1")
    classes: list[str] = option([], "labels, from 0")
    persons: list[str] = option([], "labels that are persons; if empty, those of the names of PERSONS")


@attrs.frozen
class RuntimeTable:
    """``[runtime]``: the TFLite runtime under which it is cheaper, where that is not LiteRT."""

    aarch64: str = option("litert", "on 64-bit Arm", choices=RUNTIMES)
    x86_64: str = option("litert", "on x86-64", choices=RUNTIMES)


@attrs.frozen
class _Manifest:
    schema: int = option(0, "version of this form", minimum=SCHEMA, maximum=SCHEMA)
    id: str = option("", "name", pattern="[A-Za-z0-9._-]{1,64}")
    title: str = option("", "one line for people")
    file: str = option("model.tflite", "the network", pattern="[A-Za-z0-9._-]+")
    sha256: str = option("", "of the network's file", pattern="[0-9a-f]{64}")
    licence: str = option("", "of the weights")
    input: InputTable = attrs.field(factory=InputTable)
    mask: MaskTable = attrs.field(factory=MaskTable)
    runtime: RuntimeTable = attrs.field(factory=RuntimeTable)


@attrs.frozen
class ModelBundle:
    """A bundle that agrees with itself.

    ``content`` is the network's file, ``sha256`` its digest; ``persons`` are those of ``labels`` that are
    persons; ``cheaper_runtime`` names the runtime that runs it for least, by machine. With the ``encoding``
    "scores" the network takes byte * ``scale`` + ``offset``; one score a pixel is label 1 over ``threshold``.
    """

    id: str
    title: str
    licence: str
    path: Path
    sha256: bytes
    content: bytes
    input: FrameSpec
    mask: MaskFormat
    labels: tuple[str, ...]
    persons: tuple[str, ...] = ()
    cheaper_runtime: Mapping[str, str] = attrs.field(factory=dict)
    encoding: str = "u8"
    scale: float = 1.0
    offset: float = 0.0
    threshold: float = 0.5

    @property
    def gives_scores(self) -> bool:
        """Whether the host has to make the labels: then only its own processor can run it."""
        return self.encoding == "scores"


def locate(name: str) -> Path:
    """The folder of a bundle given by name or path: a path has a slash, or is a folder here."""
    # os.path's says no, where Path's raises, to a name that no file can have.
    if "/" in name or os.path.isdir(name):  # noqa: PTH112
        return Path(name)
    return SHIPPED / name


def _shipped() -> str:
    return ", ".join(sorted(path.parent.name for path in SHIPPED.glob("*/model.toml"))) or "none"


def load_bundle(name: str) -> ModelBundle:
    """Read and check a bundle.

    Raises ``ModelError`` that names the bundle and what is wrong: not there (exit code 66), a key
    of ``model.toml``, an empty or truncated file, another file than the one it was made for, something
    that is no plain file or larger than ``MANIFEST_MAX_BYTES`` or ``NETWORK_MAX_BYTES``. It never waits.
    """
    if not name or "\0" in name:
        raise ModelError(f"model.bundle names no bundle; give a bundle's folder or one of: {_shipped()}")
    folder = locate(name)
    name = clean(name)
    manifest_path = folder / "model.toml"
    where = clean(str(manifest_path))
    try:
        raw = parse_toml(_read(manifest_path, MANIFEST_MAX_BYTES, name))
    except FileNotFoundError:
        raise ModelError(
            f"model {name}: there is no {where}; give a bundle's folder or one of: {_shipped()}"
            f"{hidden_from_service(manifest_path)}",
            os.EX_NOINPUT,
        ) from None
    except ValueError as error:
        raise ModelError(
            f"model {name}: {where} is not a readable TOML file: {clean(str(error))}; export it again"
        ) from None
    try:
        manifest = _manifest(raw, where)
    except ConfigError as error:
        raise ModelError(f"model {name}: {error}") from None
    except RecursionError:
        raise ModelError(f"model {name}: {where} is nested too deep; install the bundle again") from None
    content = _network(folder / manifest.file, name, manifest.sha256)
    return ModelBundle(
        id=manifest.id,
        # Words of a file: from here on they go into messages, to devices and onto terminals.
        title=clean(manifest.title),
        licence=clean(manifest.licence),
        path=folder,
        sha256=bytes.fromhex(manifest.sha256),
        content=content,
        input=FrameSpec(manifest.input.width, manifest.input.height, manifest.input.format),
        mask=MaskFormat(manifest.mask.width, manifest.mask.height, 8, len(manifest.mask.classes)),
        labels=tuple(clean(label) for label in manifest.mask.classes),
        persons=tuple(clean(label) for label in _persons(manifest.mask)),
        cheaper_runtime=attrs.asdict(manifest.runtime),
        encoding=manifest.mask.encoding,
        scale=manifest.input.scale,
        offset=manifest.input.offset,
        threshold=manifest.mask.threshold,
    )


def _manifest(raw: dict[str, Any], where: str) -> _Manifest:
    """``model.toml`` as it has to be; ``ConfigError`` that begins with ``where``."""
    for free_form in ("data", "scores", "speed", "training"):
        raw.pop(free_form, None)
    missing = [key for key in ("schema", "id", "sha256", "input", "mask") if key not in raw]
    if missing:
        raise ConfigError(f"{where} lacks {', '.join(missing)}; export it again")
    manifest = structure(raw, _Manifest, where)
    if not 2 <= len(manifest.mask.classes) <= 255:
        raise ConfigError(
            f"{where}: mask.classes has {len(manifest.mask.classes)} labels; allowed are 2 to 255"
        )
    if manifest.mask.encoding == "u8" and (manifest.input.scale, manifest.input.offset) != (1.0, 0.0):
        raise ConfigError(
            f"{where}: input.scale and input.offset are for mask.encoding 'scores'; 'u8' takes bytes"
        )
    strange = [label for label in manifest.mask.persons if label not in manifest.mask.classes]
    if strange:
        raise ConfigError(f"{where}: mask.persons names {clean(strange[0])!r}, which is none of mask.classes")
    return manifest


def _persons(mask: MaskTable) -> list[str]:
    return mask.persons or [label for label in mask.classes if label.lower() in PERSONS]


def _read(file: Path, max_bytes: int, name: str) -> bytes:
    """A file of the bundle; ``FileNotFoundError``, or ``ModelError`` for whatever else is wrong."""
    where = clean(str(file))
    try:
        return read_regular(file, max_bytes)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError from None
    except PermissionError:
        raise ModelError(
            f"model {name}: this user may not read {where}; mend its mode{hidden_from_service(file)}",
            os.EX_NOPERM,
        ) from None
    except OSError as error:
        raise ModelError(f"model {name}: {where} cannot be read: {error.strerror}", os.EX_NOINPUT) from None
    except ValueError as error:
        raise ModelError(f"model {name}: {where} {error}; install the bundle again") from None


def _network(file: Path, name: str, sha256: str) -> bytes:
    """The network's file, if it is the one of this digest; ``ModelError``."""
    where = clean(str(file))
    try:
        content = _read(file, NETWORK_MAX_BYTES, name)
    except FileNotFoundError:
        raise ModelError(
            f"model {name}: {where} cannot be read: it is not there; install the bundle again", os.EX_NOINPUT
        ) from None
    if not content:
        raise ModelError(f"model {name}: {where} is empty (0 bytes); install the bundle again")
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise ModelError(
            f"model {name}: {where} is not the file that model.toml was made for "
            f"(SHA-256 {digest[:12]}..., expected {sha256[:12]}...); install the bundle again"
        )
    return content
