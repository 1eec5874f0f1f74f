"""Networks of other projects as labellers, each in a process of its own. Needs numpy.

They are found in the folders that :data:`ENVIRONMENT` names (several parted by ``:``) or, where npm has
it, fetched once into ``build/peers``, and run under LiteRT, in whichever of the environments that
``make`` makes has it. The process reads pictures
from its standard input and writes masks: ``python -m gnetseg_zoo.judging.peers KIND FILE``.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gnetseg_zoo.datasets.pictures import Pixels
from gnetseg_zoo.exporting.runtimes import LITERT, REPOSITORY, python_with
from gnetseg_zoo.files import write_whole
from gnetseg_zoo.scoring.labeller import PERSON, Labeller
from gnetseg_zoo.scoring.runtime import interpreter_class
from gnetsegd.errors import ModelError
from gnetsegd.frame import FrameSpec

ENVIRONMENT = "GNETSEG_PEERS"
FETCHED = REPOSITORY / "build" / "peers"
FETCH_LIMIT_S = 120
MEDIAPIPE, DEEPLAB = "mediapipe", "deeplab"
PERSON_FROM = 0.5
DEEPLAB_PERSON = 15
"""The label of PASCAL VOC."""
LONGEST_ANSWER_S = 60


@dataclass(frozen=True)
class Peer:
    """A network of others: its file, what makes masks of its output, and how to get it.

    ``npm``: the package that has the file, of this ``sha256``.
    """

    kind: str
    file: str
    size: int
    pixel_format: str
    remedy: str
    npm: str = ""
    sha256: str = ""


_SELFIE = (
    MEDIAPIPE,
    "selfie_segmentation.tflite",
    256,
)
_PACKAGE = "@mediapipe/selfie_segmentation@0.1.1675465747"
_SELFIE_FROM = (
    f"npm pack {_PACKAGE}, unpack it",
    _PACKAGE,
    "8d13b7fae74af625c641226813616a2117bd6bca19eb3b75574621fc08557f27",
)
PEERS = {
    "mediapipe-rgb": Peer(*_SELFIE, "RGB", *_SELFIE_FROM),
    "mediapipe-y": Peer(*_SELFIE, "Y", *_SELFIE_FROM),
    "deeplab": Peer(
        DEEPLAB,
        "deeplabv3_mnv2_pascal_quant.tflite",
        513,
        "RGB",
        "get it from github.com/google-coral/test_data",
    ),
}


def find(peer: Peer, folders: Sequence[Path]) -> Path:
    """The peer's file in one of ``folders`` or of those that the environment names, or fetched.

    Raises :class:`ModelError` with the way to get it.
    """
    named = [Path(part) for part in os.environ.get(ENVIRONMENT, "").split(os.pathsep) if part]
    for folder in (*folders, *named, FETCHED):
        if (folder / peer.file).is_file():
            return folder / peer.file
    why = _fetch(peer) if peer.npm else ""
    if not why and (FETCHED / peer.file).is_file():
        return FETCHED / peer.file
    missing = f"{peer.file} is not here" + (f" and could not be fetched ({why})" if why else "")
    raise ModelError(
        f"{missing}; {peer.remedy} and name its folder by --peers or in {ENVIRONMENT}",
        os.EX_NOINPUT,
    )


def _fetch(peer: Peer) -> str:
    """Put the file of the peer's package into :data:`FETCHED`; why not, or nothing."""
    FETCHED.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FETCHED) as folder:
        try:
            command = ["npm", "pack", "--silent", peer.npm]
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=FETCH_LIMIT_S)
            (package,) = Path(folder).glob("*.tgz")
            with tarfile.open(package) as archive:
                member = archive.extractfile(f"package/{peer.file}")
                content = member.read() if member is not None else b""
        except (OSError, ValueError, KeyError, tarfile.TarError, subprocess.SubprocessError) as error:
            return f"npm pack {peer.npm}: {error}"
        if hashlib.sha256(content).hexdigest() != peer.sha256:
            return f"{peer.npm} has another file than expected"
        write_whole(FETCHED / peer.file, content)
    return ""


@contextmanager
def open_peer(name: str, folders: Sequence[Path] = ()) -> Iterator[Labeller]:
    """The peer ``name`` of :data:`PEERS`. Raises :class:`ModelError` if it or LiteRT is not here."""
    if name not in PEERS:
        raise ModelError(f"--beside names {name!r}; there are {', '.join(PEERS)}", os.EX_USAGE)
    peer = PEERS[name]
    file = find(peer, folders).resolve()
    python = python_with(LITERT)
    if python is None:
        raise ModelError(f"{name} runs under ai-edge-litert, which is in no environment here; run make")
    command = [str(python), "-m", "gnetseg_zoo.judging.peers", peer.kind, str(file)]
    paths = os.pathsep.join(str(path) for path in (REPOSITORY, REPOSITORY / "tools"))
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=os.environ | {"PYTHONPATH": paths},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        size = peer.size
        spec = FrameSpec(size, size, peer.pixel_format)
        yield Labeller(name, spec, (size, size), ("background", PERSON), _asker(name, process, size))
    finally:
        process.kill()
        process.communicate()


def _asker(name: str, process: subprocess.Popen[bytes], size: int) -> Callable[[Pixels], Pixels]:
    entry, answer = process.stdin, process.stdout
    assert entry is not None
    assert answer is not None

    def ask(pixels: Pixels) -> Pixels:
        colour = np.broadcast_to(pixels.reshape(size, size, -1), (size, size, 3))
        try:
            entry.write(np.ascontiguousarray(colour).tobytes())
            entry.flush()
            mask = answer.read(size * size)
        except BrokenPipeError:
            mask = b""
        if len(mask) < size * size:
            _, said = process.communicate(timeout=LONGEST_ANSWER_S)
            reason = (said.decode(errors="replace").strip().splitlines() or ["it said nothing"])[-1]
            raise ModelError(f"{name} ended ({reason})")
        return np.frombuffer(mask, np.uint8).reshape(size, size)

    return ask


def _masks(kind: str, interpreter: Any, pixels: Pixels) -> npt.NDArray[np.bool_]:
    entry, out = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    given = pixels.astype(np.float32) / 255 if kind == MEDIAPIPE else pixels
    interpreter.set_tensor(entry["index"], given[None])
    interpreter.invoke()
    found = interpreter.get_tensor(out["index"])[0]
    if kind == MEDIAPIPE:
        return np.asarray(found[..., 0] >= PERSON_FROM)
    labels = found.reshape(len(pixels), len(pixels), -1)
    labels = labels[..., 0] if labels.shape[-1] == 1 else labels.argmax(-1)
    return np.asarray(labels == DEEPLAB_PERSON)


def main(arguments: list[str]) -> None:
    """Answer pictures with masks until standard input ends."""
    kind, file = arguments
    interpreter = interpreter_class(LITERT)(model_path=file, num_threads=1)
    interpreter.allocate_tensors()
    size = int(interpreter.get_input_details()[0]["shape"][1])
    while len(raw := sys.stdin.buffer.read(size * size * 3)) == size * size * 3:
        pixels = np.frombuffer(raw, np.uint8).reshape(size, size, 3)
        sys.stdout.buffer.write(_masks(kind, interpreter, pixels).astype(np.uint8).tobytes())
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
