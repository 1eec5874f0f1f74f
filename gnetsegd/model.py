"""A model bundle: a folder with ``model.toml`` and the network's file, and what they promise.

The promise is checked in two steps: here that the bundle agrees with itself (its keys, sizes and
the file's SHA-256), and by the stand-in that the network's tensors are what ``model.toml`` says.
"""

from __future__ import annotations

import hashlib
import os
import tomllib
from pathlib import Path
from typing import Any

import attrs

from .config import option, structure
from .errors import ConfigError, ModelError
from .frame import FrameSpec, MaskFormat

SCHEMA = 1
SHIPPED = Path(__file__).parent / "models"


@attrs.frozen
class InputTable:
    """``[input]``: the picture that the network takes, uint8."""

    width: int = option(0, "pixels", minimum=1, maximum=4096)
    height: int = option(0, "pixels", minimum=1, maximum=4096)
    format: str = option("Y", "pixel format", choices=("Y", "YUV444", "RGB"))


@attrs.frozen
class MaskTable:
    """``[mask]``: what comes out: the integer label of each pixel, label k is ``classes[k]``."""

    width: int = option(0, "pixels", minimum=1, maximum=4096)
    height: int = option(0, "pixels", minimum=1, maximum=4096)
    encoding: str = option("u8", "one byte a pixel", choices=("u8",))
    classes: list[str] = option([], "labels, from 0")


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


@attrs.frozen
class ModelBundle:
    """A bundle that agrees with itself. ``content`` is the network's file, ``sha256`` its digest."""

    id: str
    title: str
    licence: str
    path: Path
    sha256: bytes
    content: bytes
    input: FrameSpec
    mask: MaskFormat
    labels: tuple[str, ...]


def locate(name: str) -> Path:
    """The folder of a bundle given by name or path: a path has a slash, or is a folder here."""
    given = Path(name)
    if "/" in name or given.is_dir():
        return given
    return SHIPPED / name


def load_bundle(name: str) -> ModelBundle:
    """Read and check a bundle.

    Raises ``ModelError`` that names the bundle and what is wrong: not there (exit code 66), a key
    of ``model.toml``, an empty or truncated file, another file than the one it was made for.
    """
    folder = locate(name)
    manifest_path = folder / "model.toml"
    try:
        raw: dict[str, Any] = tomllib.loads(manifest_path.read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        shipped = ", ".join(sorted(path.parent.name for path in SHIPPED.glob("*/model.toml"))) or "none"
        raise ModelError(
            f"model {name}: there is no {manifest_path}; give a bundle's folder or one of: {shipped}",
            os.EX_NOINPUT,
        ) from None
    except PermissionError:
        raise ModelError(f"model {name}: this user may not read {manifest_path}", os.EX_NOPERM) from None
    except (OSError, ValueError) as error:
        raise ModelError(f"model {name}: {manifest_path} is not a readable TOML file: {error}") from None
    for free_form in ("data", "scores", "speed", "training"):
        raw.pop(free_form, None)
    missing = [key for key in ("schema", "id", "sha256", "input", "mask") if key not in raw]
    if missing:
        raise ModelError(f"model {name}: {manifest_path} lacks {', '.join(missing)}; export it again")
    try:
        manifest = structure(raw, _Manifest, str(manifest_path))
    except ConfigError as error:
        raise ModelError(f"model {name}: {error}") from None
    if not 2 <= len(manifest.mask.classes) <= 255:
        raise ModelError(
            f"model {name}: {manifest_path}: mask.classes has {len(manifest.mask.classes)} labels; "
            "allowed are 2 to 255"
        )
    file = folder / manifest.file
    try:
        content = file.read_bytes()
    except PermissionError:
        raise ModelError(
            f"model {name}: this user may not read {file}; mend its mode", os.EX_NOPERM
        ) from None
    except OSError as error:
        raise ModelError(
            f"model {name}: {file} cannot be read: {error.strerror}; install the bundle again", os.EX_NOINPUT
        ) from None
    if not content:
        raise ModelError(f"model {name}: {file} is empty (0 bytes); install the bundle again")
    digest = hashlib.sha256(content)
    if digest.hexdigest() != manifest.sha256:
        raise ModelError(
            f"model {name}: {file} is not the file that model.toml was made for "
            f"(SHA-256 {digest.hexdigest()[:12]}..., expected {manifest.sha256[:12]}...); "
            "install the bundle again"
        )
    return ModelBundle(
        id=manifest.id,
        title=manifest.title,
        licence=manifest.licence,
        path=folder,
        sha256=digest.digest(),
        content=content,
        input=FrameSpec(manifest.input.width, manifest.input.height, manifest.input.format),
        mask=MaskFormat(manifest.mask.width, manifest.mask.height, 8, len(manifest.mask.classes)),
        labels=tuple(manifest.mask.classes),
    )
