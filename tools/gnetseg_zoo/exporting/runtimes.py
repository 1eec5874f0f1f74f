"""The two TFLite runtimes side by side: do they give the same masks?

Each is installed in an environment of its own, since they need different versions of
numpy. ``python -m gnetseg_zoo.exporting.runtimes MODULE FOLDER`` runs every ``NAME.tflite`` of
FOLDER under MODULE on ``NAME.frames.npy`` and writes ``NAME.masks.npy``; this program
starts itself so in the other environment. Needs numpy and one runtime.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnetseg_zoo.scoring.runtime import RUNTIMES, interpreter_class
from gnetsegd.errors import ModelError

Pixels = npt.NDArray[np.uint8]
TFLITE_RUNTIME, LITERT = RUNTIMES
REPOSITORY = Path(__file__).parents[3]
ENVIRONMENTS = (".venv", ".venv-litert", ".venv-train")
"""Folders of the repository that ``make`` installs one runtime each in."""


def python_with(module: str) -> Path | None:
    """The Python that can import the runtime ``module``: this one, or of :data:`ENVIRONMENTS`; or none."""
    here = Path(sys.executable)
    for python in (here, *(REPOSITORY / name / "bin" / "python" for name in ENVIRONMENTS)):
        if python.is_file():
            tried = subprocess.run([python, "-c", f"import {module}"], capture_output=True)
            if tried.returncode == 0:
                return python
    return None


def outputs(content: bytes, frames: Pixels, module: str) -> Pixels:
    """What the TFLite file ``content`` gives on ``frames`` [n, h, w, channels], uint8 [n, h, w, ...]."""
    interpreter = interpreter_class(module)(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    entry, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    masks = []
    for frame in frames:
        interpreter.set_tensor(entry, frame[None])
        interpreter.invoke()
        masks.append(interpreter.get_tensor(out)[0])
    return np.stack(masks)


def tensors(content: bytes, module: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the runtime ``module`` says of the input and the output of the TFLite file ``content``."""
    interpreter = interpreter_class(module)(model_content=content)
    interpreter.allocate_tensors()
    (entry,), (out,) = interpreter.get_input_details(), interpreter.get_output_details()
    return entry, out


def outputs_under(module: str, jobs: Mapping[str, tuple[bytes, Pixels]]) -> dict[str, Pixels] | None:
    """:func:`outputs` of every named (file, frames), in one process that has ``module``.

    None if no environment has it. Raises :class:`ModelError` if the process fails.
    """
    python = python_with(module)
    if python is None:
        return None
    with tempfile.TemporaryDirectory(prefix="gnetseg-") as folder:
        for name, (content, frames) in jobs.items():
            (Path(folder) / f"{name}.tflite").write_bytes(content)
            np.save(Path(folder) / f"{name}.frames.npy", frames)
        command = [str(python), "-m", "gnetseg_zoo.exporting.runtimes", module, folder]
        done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise ModelError(f"the network cannot be run under {module} ({reason}); export it again")
        return {name: np.load(Path(folder) / f"{name}.masks.npy") for name in jobs}


def share_differing(content: bytes, frames: Pixels) -> float | None:
    """Share (0..1) of the values on ``frames`` in which the runtimes differ; None if only one is here."""
    masks = []
    for module in RUNTIMES:
        given = outputs_under(module, {"model": (content, frames)})
        if given is None:
            return None
        masks.append(given["model"])
    return float(np.mean(masks[0] != masks[1]))


def main(arguments: list[str]) -> None:
    """Run the files of a folder; see the module's text."""
    module, folder = arguments
    for path in sorted(Path(folder).glob("*.tflite")):
        frames = np.load(path.with_suffix(".frames.npy"))
        np.save(path.with_suffix(".masks.npy"), outputs(path.read_bytes(), frames, module))


if __name__ == "__main__":
    main(sys.argv[1:])
