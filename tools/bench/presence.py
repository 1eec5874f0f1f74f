"""Does whoever sits still stay, does nobody come where nobody is, and is it told what died?

    .venv/bin/python tools/bench/presence.py --json

Stillness and emptiness are made of a real clip with its own sensor noise, and played by sensor time, faster
than life, through the shipped network and the service's own arithmetic. What dies are whole processes, with
a real broker (Debian's mosquitto). The last line is one JSON object; exit code 1 where a limit is not kept.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import av
import numpy as np
from gnetseg_device.remote import ask
from mqtt_broker import Broker, Observer
from processes import CLIP, Process

from gnetsegd.accelerators.tflite import TfliteNetwork
from gnetsegd.cameras.scale import Scaler
from gnetsegd.frame import FrameSpec
from gnetsegd.model import load_bundle
from gnetsegd.services.presence.config import OccupancyConfig
from gnetsegd.services.presence.occupancy import Occupancy
from gnetsegd.testing import fake_camera, mock_accelerator

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "tests" / "data" / "models"
BUNDLE = "person"
#: Played time of each still, in s, and masks a second of it.
STILL_S, FPS = 600, 5
#: Pictures of the clip that are held still, and made empty.
STILLS = 3
#: Light changes slowly by so much, from lamps and clouds, in levels.
DRIFT_LEVELS = 6.0
#: Around the person, what is filled with the wall beside it, in pixels.
MARGIN = 14
LIMIT_S = 5.0
WAIT_S = 60.0
SERVICE = "gnetsegd/availability"
AVAILABLE, STATE = "gnetsegd/cam0/picture/availability", "gnetsegd/cam0/picture/state"


# -- stillness and emptiness ----------------------------------------------------------------------


class Eyes:
    """The shipped network: how much of a picture is person."""

    def __init__(self, threads: int) -> None:
        self.bundle = load_bundle(BUNDLE)
        self._network = TfliteNetwork(self.bundle, threads)
        self._labels = np.zeros((self.bundle.mask.height, self.bundle.mask.width), np.uint8)
        self._persons = [n for n, label in enumerate(self.bundle.labels) if label in self.bundle.persons]

    @property
    def spec(self) -> FrameSpec:
        return self.bundle.input

    def person(self, pixels: Any) -> Any:
        self._network.run(pixels, self._labels)
        return np.isin(self._labels, self._persons)


def pictures(spec: FrameSpec) -> list[Any]:
    """The clip's pictures as the network gets them."""
    scaler, found = Scaler(spec, "center-crop"), []
    with av.open(str(CLIP)) as clip:
        for picture in clip.decode(video=0):
            pixels = np.zeros(spec.shape, np.uint8)
            scaler.scale(picture, pixels)
            found.append(pixels)
    return found


def noise_levels(clip: list[Any], person: Any) -> float:
    """The standard deviation of the clip's own noise where nobody is, in levels."""
    still = ~person
    steps = [
        (after[still].astype(float) - before[still])
        for before, after in zip(clip[:-1:5], clip[1::5], strict=False)
    ]
    return float(np.median([np.std(step) for step in steps])) / 2**0.5


def emptied(pixels: Any, person: Any) -> Any:
    """The room without the person: each row's hole is filled from the wall at both of its sides."""
    made, hole = pixels.copy(), person.copy()
    for _ in range(MARGIN):
        hole[:, 1:] |= hole[:, :-1]
        hole[:, :-1] |= hole[:, 1:]
        hole[1:] |= hole[:-1]
    for row, gap in zip(made, hole, strict=True):
        known = np.flatnonzero(~gap)
        if known.size and gap.any():
            for channel in row.reshape(len(row), -1).T:
                channel[gap] = np.interp(np.flatnonzero(gap), known, channel[known])
    return made


def play(eyes: Eyes, still: Any, noise: float, seed: int) -> tuple[int, int, list[float]]:
    """(changes to on, changes to off, shares) of ten minutes of one still."""
    random, zone = np.random.default_rng(seed), Occupancy(OccupancyConfig())
    on = off = 0
    shares = []
    for number in range(STILL_S * FPS):
        drift = DRIFT_LEVELS * np.sin(2 * np.pi * number / FPS / 97)
        seen = still + (random.standard_normal(still.shape, np.float32) * noise + drift)
        share = float(eyes.person(np.clip(seen + 0.5, 0, 255).astype(np.uint8)).mean())
        shares.append(share)
        if zone.add(share, number * 1_000_000_000 // FPS):
            on, off = on + (zone.occupied is True), off + (zone.occupied is False)
    return on, off, shares


def stillness(say: Callable[[str], None]) -> dict[str, int]:
    """``false_off`` of persons who sit still, ``false_on`` of empty rooms."""
    eyes = Eyes(os.cpu_count() or 1)
    clip = pictures(eyes.spec)
    noise = noise_levels(clip, eyes.person(clip[0]))
    say(f"the clip's noise is {noise:.2f} levels")
    false_off = false_on = 0
    for number in range(STILLS):
        picture = clip[number * len(clip) // STILLS]
        person = eyes.person(picture).copy()
        on, off, shares = play(eyes, picture, noise, number)
        # On once, and never off.
        false_off += off + (on != 1)
        say(f"still {number}: {np.min(shares):.1%} to {np.max(shares):.1%} person, on {on}, off {off}")
        on, off, shares = play(eyes, emptied(picture, person), noise, number)
        false_on += on
        say(f"emptied {number}: {np.min(shares):.1%} to {np.max(shares):.1%} person, on {on}, off {off}")
    return {"false_off": false_off, "false_on": false_on}


# -- what dies ------------------------------------------------------------------------------------


class House:
    """A broker, a daemon with driver ``usb`` on a mock device and a camera with a plug, and the service."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.plug = folder / "plug"
        self.plug.touch()
        self.remote = folder / "device"
        packages = folder / "packages"
        fake_camera.install(packages)
        mock_accelerator.install(packages)
        path = [str(packages), str(ROOT), str(ROOT / "firmware"), os.environ.get("PYTHONPATH", "")]
        os.environ["PYTHONPATH"] = ":".join(path)
        self.processes: list[Process] = []
        self.broker = Broker(self.start, folder)
        self.observer = Observer(self.broker.port)
        self.endpoint = f"ipc://{folder}/m.sock"
        self.daemon = self.run(
            "run", f'publish.endpoints=["{self.endpoint}"]', "camera.driver=fake",
            f"camera.fake.absent_until_file={self.plug}", f"model.bundle={MODELS / 'threshold-32'}",
            "accelerator.driver=mock-usb", "accelerator.mock-usb.network=tflite",
            f"accelerator.mock-usb.remote_socket={self.remote}",
        )  # fmt: skip
        self.service = self.run(
            "presence", "mqtt.host=127.0.0.1", f"mqtt.port={self.broker.port}",
            f'service.endpoints=["{self.endpoint}"]', f"service.zones_dir={folder}/zones",
        )  # fmt: skip

    def start(self, *words: str, log: str = "") -> Process:
        self.processes.append(Process([*words], self.folder / (log or f"{len(self.processes)}.log")))
        return self.processes[-1]

    def run(self, command: str, *settings: str) -> Process:
        module = "gnetsegd" if command == "run" else "gnetsegd.ctl.main"
        words = [sys.executable, "-m", module, command]
        words += ["--state", str(self.folder / "state")] if command == "presence" else []
        for setting in settings:
            words += ["--set", setting]
        return self.start(*words, log=f"{command}.log")

    def close(self) -> None:
        self.observer.close()
        for process in reversed(self.processes):
            process.end()


@contextmanager
def house() -> Iterator[House]:
    with tempfile.TemporaryDirectory(prefix="gp") as folder:
        made = House(Path(folder))
        try:
            yield made
        finally:
            made.close()


def is_there(now: dict[str, str]) -> bool:
    return now.get(SERVICE) == now.get(AVAILABLE) == "online" and '"ON"' in now.get(STATE, "")


def unplug_camera(house: House) -> str:
    house.plug.unlink()
    return AVAILABLE


def unplug_accelerator(house: House) -> str:
    ask(house.remote, "unplug")
    return AVAILABLE


def kill_daemon(house: House) -> str:
    house.daemon.kill()
    return AVAILABLE


def kill_presence(house: House) -> str:
    house.service.kill()
    return SERVICE


FAULTS = {
    "camera": unplug_camera,
    "accelerator": unplug_accelerator,
    "daemon": kill_daemon,
    "presence": kill_presence,
}


def deaths(say: Callable[[str], None]) -> tuple[dict[str, float], int]:
    """(how long each death takes to be told, in s; how often it was told as clear)."""
    took_s, clear = {}, 0
    for name, fault in FAULTS.items():
        with house() as one:
            one.observer.wait_for(is_there, WAIT_S)
            began = time.monotonic()
            topic = fault(one)
            one.observer.wait_for(lambda now, topic=topic: now[topic] == "offline", WAIT_S)
            took_s[name] = round(time.monotonic() - began, 2)
            time.sleep(1)
            clear += sum(topic == STATE and '"OFF"' in payload for _, topic, payload in one.observer.log)
        say(f"{name}: told after {took_s[name]} s")
    return took_s, clear


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="nothing but the last line on stdout")
    arguments = parser.parse_args()

    def say(words: str) -> None:
        print(words, file=sys.stderr if arguments.json else sys.stdout, flush=True)

    result: dict[str, Any] = stillness(say)
    result["unavailable_after_s"], clear = deaths(say)
    result["false_off"] += clear
    print(json.dumps(result))
    late = [name for name, seconds in result["unavailable_after_s"].items() if seconds > LIMIT_S]
    return int(bool(late or result["false_off"] or result["false_on"]))


if __name__ == "__main__":
    sys.exit(main())
