"""Run a bundle's network in this process. Needs numpy and tflite-runtime or ai-edge-litert."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
import numpy.typing as npt

from gnetsegd.errors import ModelError
from gnetsegd.model import ModelBundle

RUNTIMES = ("tflite_runtime.interpreter", "ai_edge_litert.interpreter")


def interpreter_class(module: str | None = None) -> Any:
    """The ``Interpreter`` of ``module``, or of the first of :data:`RUNTIMES` that is installed.

    Raises :class:`ModelError` if none is.
    """
    for name in (module,) if module else RUNTIMES:
        try:
            return importlib.import_module(name).Interpreter
        except ImportError:
            continue
    raise ModelError("no TFLite runtime is installed; install tflite-runtime (Python 3.11) or ai-edge-litert")


class Network:
    """The bundle's network, ready to compute masks."""

    def __init__(self, bundle: ModelBundle, *, threads: int = 2, module: str | None = None) -> None:
        """Raises :class:`ModelError` if the file cannot be loaded or breaks the bundle's promise."""
        try:
            self._interpreter = interpreter_class(module)(model_content=bundle.content, num_threads=threads)
            self._interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            raise ModelError(f"{bundle.path}: cannot be loaded ({error}); export it again") from error
        self._input = self._interpreter.get_input_details()[0]
        self._output = self._interpreter.get_output_details()[0]
        channels = 1 if bundle.input.pixel_format == "Y" else 3
        entering = (1, bundle.input.height, bundle.input.width, channels)
        check_tensor(f"{bundle.path}: input", self._input, entering)
        check_tensor(f"{bundle.path}: mask", self._output, (1, bundle.mask.height, bundle.mask.width, 1))

    def mask(self, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """uint8 [height, width] class labels of ``pixels``, uint8 [height, width, channels]."""
        self._interpreter.set_tensor(self._input["index"], pixels[None])
        self._interpreter.invoke()
        out: npt.NDArray[np.uint8] = self._interpreter.get_tensor(self._output["index"])[0, :, :, 0]
        return out


def check_tensor(what: str, details: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Raises :class:`ModelError` unless the tensor is uint8 of ``shape`` with scale 1.0 and zero point 0."""
    scale, zero_point = details["quantization"]
    given_shape = tuple(int(n) for n in details["shape"])
    found = (given_shape, np.dtype(details["dtype"]).name, float(scale), int(zero_point))
    wanted = (shape, "uint8", 1.0, 0)
    if found != wanted:
        raise ModelError(
            f"{what} tensor is {found[1]} {list(given_shape)}, scale {found[2]:g}, zero point {found[3]}; "
            f"it must be uint8 {list(shape)} with scale 1 and zero point 0: export it again"
        )
