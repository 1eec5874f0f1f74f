"""How fast a subscriber unpacks masks of 2 and 4 bits, against shifting each pixel into its place.

The peer is the plain way, one shift a pixel by broadcasting, on the same bytes, in alternation in one run.
``speedup`` is the median of the peer's times over the median of ours; ``again`` is what a second look at
``mask.labels`` costs of the first.

    .venv/bin/python tools/bench/unpack.py --json
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from harness import finish

from gnetsegd.client import ReceivedMask
from gnetsegd.frame import MaskFormat
from gnetsegd.message import HEADER_SIZE, MaskHeader, pack_mask, unpack_mask

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

#: How much faster it has to be, by bits.
BARS = {4: 3.0, 2: 8.0}


def shifted(payload: bytes, form: MaskFormat) -> NDArray[np.uint8]:
    """The peer."""
    rows = np.frombuffer(payload, np.uint8).reshape(form.height, form.stride)
    shifts = np.arange(8 - form.bits, -1, -form.bits, dtype=np.uint8)
    labels = (rows[:, :, None] >> shifts) & np.uint8((1 << form.bits) - 1)
    return labels.reshape(form.height, -1)[:, : form.width]


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def measure(bits: int, size: int, rounds: int) -> dict[str, float]:
    labels = np.random.default_rng(bits).integers(0, 1 << bits, (size, size)).astype(np.uint8)
    form, payload = MaskFormat(size, size, bits, 1 << bits), pack_mask(labels, bits)
    if not (
        np.array_equal(shifted(payload, form), labels) and np.array_equal(unpack_mask(payload, form), labels)
    ):
        raise RuntimeError("the two disagree")
    header = MaskHeader("cam0", form, 1, 1, 0, 0, 0, 0, "bench", bytes(16), False, HEADER_SIZE, len(payload))
    ours, peers, first, again = [], [], [], []
    for _ in range(rounds):
        peers.append(seconds(lambda: shifted(payload, form)))
        ours.append(seconds(lambda: unpack_mask(payload, form)))
        mask = ReceivedMask(header, 0, 0, 0, False, memoryview(payload))
        first.append(seconds(lambda: mask.labels))  # noqa: B023
        again.append(seconds(lambda: mask.labels))  # noqa: B023
    median = statistics.median
    return {
        "us": round(median(ours) * 1e6, 1),
        "peer_us": round(median(peers) * 1e6, 1),
        "speedup": round(median(peers) / median(ours), 1),
        "again": round(median(again) / median(first), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=224, help="of the masks, in pixels")
    parser.add_argument("--rounds", type=int, default=2000)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result: dict[str, Any] = {"bench": "unpack", "size": options.size}
    for bits, bar in BARS.items():
        result[f"bits_{bits}"] = found = measure(bits, options.size, options.rounds)
        found["bar"] = bar
    result["passed"] = all(result[f"bits_{bits}"]["speedup"] >= bar for bits, bar in BARS.items())
    finish(result, options.json)
    sys.exit(0 if result["passed"] else 1)


if __name__ == "__main__":
    main()
