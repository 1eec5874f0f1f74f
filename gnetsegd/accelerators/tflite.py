"""A TFLite network whose output tensor *is* the integer mask.

The same code serves the stand-in (in the daemon) and the device side (``firmware/``).
"""

from __future__ import annotations

import ctypes
import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ModelError, PermanentError
from ..model import ModelBundle
from ..text import clean
from . import scores
from .remarks import without_remarks
from .runtimes import AUTO, Runtime, find_runtime

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Scale 1.0 and zero point 0: the byte in the tensor is the value. For the input it is the
#: camera's Y byte, for the output the label of the pixel.
IDENTITY = (1.0, 0)

#: The runtime reads a buffer without verifying it and crashes the process on other files. A file
#: that was cut or changed after its export is found by its SHA-256 (``model.load_bundle``).
FILE_IDENTIFIER = b"TFL3"


class TfliteNetwork:
    """A loaded network. One thread at a time may call ``run``.

    Raises ``ModelError`` for a file that is no TFLite model, has float tensors, or whose tensors
    are not what the bundle promises, and ``PermanentError`` for a delegate that does not load.
    """

    def __init__(
        self,
        bundle: ModelBundle,
        threads: int,
        delegate: str = "",
        delegate_options: dict[str, str] | None = None,
        runtime: str = AUTO,
    ) -> None:
        self.runtime = find_runtime(runtime, bundle.cheaper_runtime)
        if bundle.content[4:8] != FILE_IDENTIFIER:
            raise ModelError(
                f"model {bundle.id}: its file is no TFLite model (its bytes 4 to 8 are not 'TFL3'); "
                "export it again"
            )
        delegates = [load_delegate(delegate, delegate_options or {}, self.runtime)] if delegate else []
        self._interpreter = load(self.runtime, bundle.content, f"model {bundle.id}", threads, delegates)
        entry, out = _only(self._interpreter, bundle)
        if bundle.gives_scores:
            self._enter, self._decide = scores.entrance(bundle, entry), scores.decision(bundle, out)
        else:
            _check_integers(self._interpreter, bundle, entry, out)
            self._enter, self._decide = _copy, _labels
        # Functions that give a view of the tensor's memory: the view must not outlive the call of
        # invoke(), so it is taken afresh for each frame.
        self._input = self._interpreter.tensor(self._interpreter.get_input_details()[0]["index"])
        self._output = self._interpreter.tensor(self._interpreter.get_output_details()[0]["index"])
        self._mask_shape = (bundle.mask.height, bundle.mask.width)
        #: How long the host itself took for the last picture, in s: copies, or the making of labels.
        self.host_s = 0.0
        self._id = bundle.id
        self._classes = bundle.mask.classes

    def run(self, pixels: NDArray[np.uint8], out: NDArray[np.uint8]) -> None:
        """Infer one picture.

        ``pixels``: uint8 of the bundle's input shape; ``out``: writable uint8 of ``height * width``
        or (height, width), which receives one label a pixel. Two copies are made, into and out of
        the tensors, since the interpreter owns their memory. Raises ``ModelError`` for a label that is no
        class of the bundle's.
        """
        begun = time.perf_counter()
        self._enter(self._input(), pixels)
        entered = time.perf_counter()
        self._interpreter.invoke()
        left = time.perf_counter()
        mask = self._decide(self._output()).reshape(self._mask_shape)
        highest = int(mask.max())
        if highest >= self._classes:
            raise ModelError(
                f"model {self._id}: it gives the label {highest}, but its model.toml names {self._classes} "
                "classes; complete mask.classes"
            )
        np.copyto(out.reshape(self._mask_shape), mask)
        self.host_s = entered - begun + time.perf_counter() - left


def load(runtime: Runtime, content: bytes, what: str, threads: int = 1, delegates: Sequence[Any] = ()) -> Any:
    """The interpreter of a network's file, its tensors allocated.

    Raises ``ModelError`` that begins with ``what``. A file that is damaged may crash the process.
    """
    try:
        with without_remarks():
            interpreter = runtime.module.Interpreter(
                model_content=content, num_threads=threads, experimental_delegates=list(delegates)
            )
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        reason = clean(next(iter(str(error).splitlines()), "no reason given"))
        raise ModelError(
            f"{what}: {runtime.words} cannot load its file ({reason}); export it again for this runtime"
        ) from None
    return interpreter


def _copy(into: NDArray[Any], pixels: NDArray[np.uint8]) -> None:
    np.copyto(into, pixels.reshape(into.shape))


def _labels(mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return mask


def load_delegate(
    library: str,
    options: dict[str, str],
    runtime: Runtime,
    setting: str = "accelerator.standin.delegate",
) -> Any:
    """The delegate of ``runtime`` out of ``library``.

    Raises ``PermanentError`` if that cannot be loaded; ``setting`` is where a person named it.
    """
    try:
        ctypes.CDLL(library)  # the runtime's own complaint about a missing library is a traceback
        return runtime.module.load_delegate(library, options)
    except (ValueError, OSError, RuntimeError, AttributeError) as error:
        raise PermanentError(
            f"the delegate library {library} cannot be loaded ({error}); mend {setting} or leave it empty",
            os.EX_CONFIG,
        ) from None


def _only(interpreter: Any, bundle: ModelBundle) -> tuple[dict[str, Any], dict[str, Any]]:
    """Its one input and its one output; ``ModelError``."""
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    if len(inputs) != 1 or len(outputs) != 1:
        raise ModelError(
            f"model {bundle.id}: it has {len(inputs)} inputs and {len(outputs)} outputs; "
            "a mask needs one each"
        )
    return inputs[0], outputs[0]


def _check_integers(
    interpreter: Any, bundle: ModelBundle, entry: dict[str, Any], out: dict[str, Any]
) -> None:
    floats = [t["name"] for t in interpreter.get_tensor_details() if np.issubdtype(t["dtype"], np.floating)]
    if floats:
        raise ModelError(
            f"model {bundle.id}: {len(floats)} of its tensors are float (the first is {floats[0]!r}); "
            "export it with full-integer quantisation, or import it with gnetsegctl model import"
        )
    channels = 1 if bundle.input.pixel_format == "Y" else 3
    wanted = (
        ("input", entry, (1, bundle.input.height, bundle.input.width, channels)),
        ("output", out, (1, bundle.mask.height, bundle.mask.width, 1)),
    )
    for side, tensor, shape in wanted:
        if tensor["dtype"] != np.uint8:
            raise ModelError(f"model {bundle.id}: its {side} is {tensor['dtype'].__name__}, not uint8")
        if tuple(tensor["shape"]) != shape:
            raise ModelError(
                f"model {bundle.id}: its {side} has the shape {tuple(int(n) for n in tensor['shape'])}, "
                f"model.toml promises {shape}"
            )
        if tuple(tensor["quantization"]) != IDENTITY:
            scale, zero_point = tensor["quantization"]
            raise ModelError(
                f"model {bundle.id}: its {side} has scale {scale:g} and zero point {zero_point}, "
                "not 1 and 0, so its bytes are not the labels; export it with integer encoding"
            )
