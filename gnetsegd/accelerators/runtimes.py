"""Which TFLite runtime runs a network: LiteRT where it is, unless the other one is cheaper for it."""

from __future__ import annotations

import contextlib
import io
import platform
import struct
import sys
from collections.abc import Mapping
from importlib import import_module, metadata
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..errors import PermanentError
from ..model import RUNTIMES
from ..text import clean

LITERT, TFLITE_RUNTIME = RUNTIMES
#: The package of each, the better one first: LiteRT takes half the instructions for depthwise networks.
PACKAGES = {LITERT: "ai_edge_litert", TFLITE_RUNTIME: "tflite_runtime"}
AUTO = "auto"
#: Where Debian's package has its part of LiteRT, which no other program sees.
PACKAGED = Path("/usr/lib/gnetseg-runtime")
#: A well-formed file of a version that there never was, without graphs: any runtime refuses it.
_REFUSED = struct.pack("<I4s5H2xiII", 20, b"TFL3", 10, 8, 0, 0, 4, 12, 4, 0)


class Runtime(NamedTuple):
    """``module`` has ``Interpreter`` and ``load_delegate``."""

    name: str
    version: str
    module: Any

    @property
    def words(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".strip()


def order(wanted: str, cheaper: Mapping[str, str]) -> list[str]:
    """The runtimes to try, best first. ``wanted``: a name, or "auto"; ``cheaper``: by machine."""
    if wanted != AUTO:
        return [wanted]
    first = cheaper.get(platform.machine(), LITERT)
    return [first, *(name for name in PACKAGES if name != first)]


def find_runtime(wanted: str = AUTO, cheaper: Mapping[str, str] | None = None) -> Runtime:
    """The first that can be imported.

    One that was made for another numpy, or is not there, is passed over. Raises ``PermanentError`` if that
    leaves none, with what each said.
    """
    if PACKAGED.is_dir() and str(PACKAGED) not in sys.path:
        sys.path.append(str(PACKAGED))  # last: one that somebody has installed besides is meant
    broken = []
    names = order(wanted, cheaper or {})
    for name in names:
        package = PACKAGES[name]
        try:
            # What numpy has to say of a runtime that was made for another one is a traceback.
            with contextlib.redirect_stderr(io.StringIO()):
                import_module(package)
                module = import_module(f"{package}.interpreter")
                _try_with_numpy(module)
            return Runtime(name, _version(package), module)
        except ModuleNotFoundError as error:
            if not (error.name or "").startswith(package):
                broken.append(f"{package} with numpy {np.__version__}: {error}")
        except Exception as error:  # made for another numpy it fails with SystemError, AttributeError, ...
            broken.append(f"{package} with numpy {np.__version__}: {type(error).__name__}: {error}")
    if broken:
        raise PermanentError(
            f"the TFLite runtime cannot be used ({clean('; '.join(broken))}); "
            "install a runtime and a numpy that fit each other, such as ai-edge-litert with numpy 2 or "
            "tflite-runtime with numpy below 2"
        )
    if wanted != AUTO:
        raise PermanentError(
            f"accelerator.standin.runtime is {wanted}, and {PACKAGES[wanted]} cannot be imported; "
            "install it, or set auto"
        )
    raise PermanentError(
        "the stand-in needs ai-edge-litert or tflite-runtime, and neither can be imported; "
        "apt install gnetseg-runtime, or pip install 'gnetsegd[standin]'"
    )


def _try_with_numpy(module: Any) -> None:
    """Raises ``ImportError`` where ``module`` can be imported beside this numpy, and not be used with it.

    One that was made for numpy 1 looks for numpy only when it makes its first interpreter.
    """
    try:
        module.Interpreter(model_content=_REFUSED)
    except (SystemError, ImportError, AttributeError) as error:
        raise ImportError(str(error.__cause__ or error)) from None
    except Exception as error:
        if isinstance(error.__cause__, ImportError):
            raise ImportError(str(error.__cause__)) from None


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # a copy in a folder of its own
        return ""
