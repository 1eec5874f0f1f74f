"""The whole road over a mock device that fails at random: is any mask wrong, does it always come back?

Frames of ``--width`` x ``--height`` pixels carry their number in every pixel; a subscriber checks each
mask against its own frame, the order, and the gaps against the counters. All faults of
``gnetseg_device.faults.FAULTS`` that pass by themselves happen at random: on average
``--fault-rate`` of them a frame, in all. Half of the frames go without, half with a CRC around each
payload (without one, a turned bit in a mask cannot be seen).

``recovery_ms``: from the end of a fault (an unplugged device is back) to the publishing of the
first mask whose frame was made after it. ``growth_mb``: resident memory at the end over that after
warm-up: a twentieth of the frames, but at least 5000 (or half of the first leg).

    .venv/bin/python tools/bench/soak.py --frames 200000 --fault-rate 0.001 --seed 1 --json
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from gnetseg_device.bulk_endpoints import AWAY_S, REPLUG_AWAY_S
from gnetseg_device.device import MockDevice
from gnetseg_device.faults import FAULTS, Injector
from gnetseg_device.networks import FakeNetwork
from harness import finish, percentile

from gnetsegd.accelerators.usb import UsbAccelerator, UsbOptions
from gnetsegd.frame import FrameSpec, MaskFormat
from gnetsegd.link.model_upload import ModelRecord
from gnetsegd.model import ModelBundle
from gnetsegd.testing.road import Road, Seen

PASSING = [name for name, fault in FAULTS.items() if not fault.lasting]
#: An upload comes only after a reboot that lost the model: where it can be cut, it often is.
UPLOAD_RATE = 0.3
ANSWER_TIMEOUT_S = 0.1
GIVE_UP_S = 10.0
WARM_UP_SHARE = 20
WARM_UP_FRAMES = 5000
MODEL = b"soak"


def make_bundle(width: int, height: int) -> ModelBundle:
    """200 classes: a label tells nearly the whole luminance."""
    return ModelBundle(
        id="soak",
        title="",
        licence="",
        path=Path(),
        sha256=hashlib.sha256(MODEL).digest(),
        content=MODEL,
        input=FrameSpec(width, height),
        mask=MaskFormat(width, height, 8, 200),
        labels=tuple(map(str, range(200))),
    )


class Faults(Injector):
    """Notes when each fault will be over, and measures how long the next good mask takes from then."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.recoveries_ms: list[float] = []
        self._open: list[float] = []
        self._lock = threading.Lock()

    def draw(self, place: str, *, impossible: frozenset[str] = frozenset()) -> str:
        name = super().draw(place, impossible=impossible)
        if name:
            away = AWAY_S if name.startswith("unplug") else 0.0
            away = REPLUG_AWAY_S if name.startswith("replug") or name == "reboot-lost-model" else away
            with self._lock:
                self._open.append(time.monotonic() + away)
        return name

    def answered(self, seen: Seen) -> None:
        """A mask that was checked."""
        if not self._open:
            return
        with self._lock:
            over = [end for end in self._open if end < seen.made_at]
            self._open = [end for end in self._open if end >= seen.made_at]
        self.recoveries_ms += [(seen.received_at - end) * 1000 for end in over]

    @property
    def waiting(self) -> int:
        """Faults after which no new frame has been answered yet."""
        return len(self._open)

    def arm_all(self, rate: float) -> None:
        """All passing faults, so that ``rate`` of them happen a frame."""
        for name in PASSING:
            each = UPLOAD_RATE if FAULTS[name].place == "upload" else rate / (len(PASSING) - 1)
            self.arm(name, min(1.0, each))


def resident_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith("VmRSS:")) / 1024


class Leg:
    """Frames with one setting of ``payload_crc``."""

    def __init__(self, options: argparse.Namespace, frames: int, payload_crc: bool) -> None:
        self.frames = frames
        self.faults = Faults(options.seed + payload_crc)
        self._bundle = make_bundle(options.width, options.height)
        self._rate = options.fault_rate
        self.device = MockDevice(model=self._bundle)
        self.device.port.faults = self.device.port._shared.faults = self.faults
        usb = UsbOptions(mask_bits=8, payload_crc=payload_crc, answer_timeout_s=ANSWER_TIMEOUT_S)
        self.accelerator = UsbAccelerator(self._bundle, usb, backend=self.device.backend)
        self.unrecovered = 0

    def run(self, folder: str, warm_up: bool) -> dict[str, Any]:
        network = FakeNetwork(ModelRecord.of(self._bundle), MODEL)
        road = Road(
            self.accelerator,
            self._bundle,
            network,
            f"ipc://{folder}/masks.sock",
            on_mask=self.faults.answered,
        )
        before = 0.0
        warm = min(max(self.frames / WARM_UP_SHARE, WARM_UP_FRAMES), self.frames / 2)
        with road:
            road.wait_for_masks(1)
            self.faults.arm_all(self._rate)
            while road.camera.frames < self.frames:
                if warm_up and not before and road.camera.frames > warm:
                    before = resident_mb()
                masks = road.reader.masks
                deadline = time.monotonic() + GIVE_UP_S
                while road.reader.masks == masks and time.monotonic() < deadline:
                    time.sleep(0.05)
                if road.reader.masks == masks:
                    self.unrecovered += 1
                    break
            self.faults.clear()
            deadline = time.monotonic() + GIVE_UP_S
            while self.faults.waiting and time.monotonic() < deadline:
                time.sleep(0.02)
            self.unrecovered += self.faults.waiting
        found = {
            "frames": road.camera.frames,
            "masks": road.reader.masks,
            "losses": road.pipeline.losses,
            "reopens": road.pipeline.reopens,
            "wrong": road.reader.wrong,
            "problems": road.problems(),
            "resident_mb": before,
        }
        self.device.close()
        return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=200_000)
    parser.add_argument("--fault-rate", type=float, default=0.001, help="faults a frame, all kinds together")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--width", type=int, default=48, help="of a frame and of its mask, pixels")
    parser.add_argument("--height", type=int, default=32)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    # Each fault says its sentence; here they are counted.
    logging.getLogger("gnetsegd").setLevel(logging.CRITICAL)
    begun = time.monotonic()
    legs = [Leg(options, options.frames // 2, payload_crc) for payload_crc in (False, True)]
    with tempfile.TemporaryDirectory(prefix="gs") as folder:
        found = [leg.run(folder, warm_up=number == 0) for number, leg in enumerate(legs)]
    injected = sum((leg.device.injected for leg in legs), Counter[str]())
    counted = sum((Counter(leg.accelerator.describe()["faults"]) for leg in legs), Counter[str]())
    recoveries = [ms for leg in legs for ms in leg.faults.recoveries_ms]
    problems = [problem for one in found for problem in one["problems"]]
    growth = resident_mb() - found[0]["resident_mb"]
    result = {
        "bench": "soak",
        "picture": f"{options.width}x{options.height}",
        "seed": options.seed,
        "fault_rate": options.fault_rate,
        "frames": sum(one["frames"] for one in found),
        "masks": sum(one["masks"] for one in found),
        "losses": sum(one["losses"] for one in found),
        "seconds": round(time.monotonic() - begun, 1),
        "faults": sum(injected.values()),
        "faults_by_name": dict(sorted(injected.items())),
        "never_happened": sorted(set(PASSING) - set(injected)),
        "counted_by_the_driver": dict(sorted(counted.items())),
        "stale": sum(leg.accelerator.describe()["stale"] for leg in legs),
        "mended_in_place": sum(leg.accelerator.describe()["recoveries"] for leg in legs),
        "reopened": sum(one["reopens"] for one in found),
        "wrong_masks": sum(len(one["wrong"]) for one in found),
        "problems": problems,
        "unrecovered": sum(leg.unrecovered for leg in legs),
        "recovery_ms_median": round(percentile(recoveries, 0.5), 1) if recoveries else 0.0,
        "recovery_ms_max": round(max(recoveries, default=0.0), 1),
        "growth_mb": round(growth, 2),
        "answer_timeout_s": ANSWER_TIMEOUT_S,
    }
    finish(result, options.json)
    good = not (result["wrong_masks"] or problems or result["unrecovered"])
    return 0 if good and result["recovery_ms_max"] <= 2000 and growth <= 2 else 1


if __name__ == "__main__":
    sys.exit(main())
