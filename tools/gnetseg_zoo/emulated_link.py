"""Masks a second over an emulated USB link, measured by ``tools/bench/link.py``.

Needs the repository (the benchmarks are not installed) and a mock device, no accelerator.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import attrs

from gnetseg_zoo.networks import Network
from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.model import ModelBundle, load_bundle

BENCH = Path(__file__).parents[1] / "bench"
IN_FLIGHT = 4
"""The daemon's own setting."""


@dataclass(frozen=True)
class Rates:
    """Masks a second. ``serial``: one frame after another with one byte a mask pixel, the
    paper's way. ``pipelined``: the daemon's road with the fewest bits a pixel. The bounds
    are what bytes and computing time allow."""

    serial: float
    serial_bound: float
    pipelined: float
    pipelined_bound: float


def bits_of(classes: int) -> int:
    """The fewest bits (1, 2, 4 or 8) that hold the labels of ``classes``."""
    return next(bits for bits in (1, 2, 4, 8) if classes <= 1 << bits)


def stand_in(network: Network) -> ModelBundle:
    """A bundle with the sizes of ``network``; its file is never run."""
    size = network.output_size
    return attrs.evolve(
        load_bundle(str(_bench().MODEL)),
        input=FrameSpec(network.size, network.size, network.input_format),
        mask=MaskFormat(size, size, 8, network.classes),
        labels=tuple(str(n) for n in range(network.classes)),
    )


def measure(network: Network, mbps: float, compute_ms: float, seconds: float) -> Rates:
    """Run the road for ``seconds`` each way over ``mbps`` 10^6 bytes a second and ``compute_ms`` a frame."""
    bench, bundle = _bench(), stand_in(network)
    whole = argparse.Namespace(mbps=mbps, compute_ms=compute_ms, mask_bits=8, seconds=seconds)
    packed = argparse.Namespace(**{**vars(whole), "mask_bits": bits_of(network.classes)})
    return Rates(
        serial=bench.serial_fps(bundle, whole, whole.mask_bits),
        serial_bound=bench.bound_fps(bundle, whole)[1],
        pipelined=bench.road_fps(bundle, packed, IN_FLIGHT),
        pipelined_bound=bench.bound_fps(bundle, packed)[0],
    )


def _bench() -> Any:
    if str(BENCH) not in sys.path:
        sys.path.insert(0, str(BENCH))
    try:
        return importlib.import_module("link")
    except ImportError as error:
        raise RuntimeError(
            f"the link cannot be emulated here ({error}); run this in the repository with the packages of "
            f"make .venv/.done, or give --no-link"
        ) from error
