"""What a daemon does when something fails: whole processes, scenario by scenario.

Each scenario starts ``gnetsegd run`` under a small systemd (``service_manager.py``) that restarts it as
its unit file says, with a camera that only one may open and that fails on demand (``recovery_camera.py``),
and with the real ``auto`` on a mock device (``gnetsegd.testing.mock_accelerator``). A subscriber
recomputes every mask (``judge.py``).

``back_s``: from the fault to the first right mask of a frame that was exposed after it, from whichever
backend; where service breaks off again, the longest break. ``limit_s``: what it may be. ``log_lines``:
lines on stderr from the fault to the end. ``state_told_truth``: ``status`` was never silent, ``running``
while masks came and not while none came, and named the right backend; the watchdog was not fed for
nothing. A scenario that fails says why on stderr.

    .venv/bin/python tools/bench/recovery.py --json
    .venv/bin/python tools/bench/recovery.py --only kill-9 --log
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import judge
import recovery_camera
from gnetseg_device.remote import ask
from harness import finish
from judge import Observer
from service_manager import Service, Unit, inherited

from gnetsegd.model import load_bundle
from gnetsegd.road.camera_loop import OPEN_EXTRA_S
from gnetsegd.testing import mock_accelerator

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "tests" / "data" / "models"
UNIT = ROOT / "systemd" / "gnetsegd.service"
FPS = 30.0

#: The shipped configuration's own limits, in s.
STALL_S = 2.0
ANSWER_S = 0.3
#: The camera's library blocks: the stall limit and 5 s for the restart.
CAMERA_LIMIT_S = STALL_S + 5.0
#: The accelerator is given up within max(2 s, three answers); the stand-in, which is loaded, takes over with
#: the next frame: 1 s for that and for a machine that is shared.
GIVEN_UP_S = max(2.0, 3 * ANSWER_S)
ACCELERATOR_LIMIT_S = GIVEN_UP_S + 1.0
#: docs/accelerators.md: a device that goes, or is back, takes a second.
CHANGE_LIMIT_S = 1.0
#: From the start of a process, or from the camera's coming, to the first mask.
START_LIMIT_S = 5.0
#: Nothing is to break off at all: a frame may be late on a machine that is shared.
STEADY_LIMIT_S = 1.0
#: How long is looked on after the fault.
WATCH_S = 10.0
#: Of the full rate, in the last seconds of each scenario.
RATE_SHARE, RATE_S = 0.5, 3.0
LOG_LINES_MAX = 20
#: How long a daemon gets from its start to steady masks before the fault begins.
WARM_S = 20.0


class NotWarm(Exception):
    """The scenario could not begin."""


@dataclass(frozen=True)
class Scenario:
    """One fault and what is expected of the daemon.

    ``play`` brings the run to the fault, calls ``Run.fault`` and does what comes after; ``watch_s`` after
    its end the scenario ends. ``device``: an accelerator is plugged in at the start, with ``faults``;
    ``camera`` are options of the camera. ``ends_on`` names the backends that may serve at the end.
    ``same_process``: it has no reason to end.
    """

    name: str
    play: Callable[[Run], None]
    limit_s: float
    device: bool = False
    faults: tuple[str, ...] = ()
    camera: tuple[str, ...] = ()
    plugged: bool = True
    settings: tuple[str, ...] = ()
    ends_on: tuple[str, ...] = ("standin",)
    same_process: bool = True
    watch_s: float = WATCH_S
    log_lines_max: int = LOG_LINES_MAX
    rate_share: float = RATE_SHARE
    bundle: str = "threshold-32"
    #: Fallback is not judged: whether a device that is still being prepared is one is a matter of words.
    fallback_open: bool = False


class Run:
    """One scenario as it is played."""

    def __init__(self, scenario: Scenario, folder: Path) -> None:
        self.scenario = scenario
        self.folder = folder
        self.fault_at = 0.0
        self.problems: list[str] = []
        self.plug, self.lock, self.note = (folder / name for name in ("plug", "lock", "note"))
        self.remote = folder / "device"
        if scenario.plugged:
            self.plug.touch()
        self.bundle = narrow_bundle(folder) if scenario.bundle == "narrow" else MODELS / scenario.bundle
        self.config = folder / "gnetsegd.toml"
        self.config.write_text(self.good_config())
        packages = folder / "packages"
        mock_accelerator.install(packages)
        recovery_camera.install(packages)
        path = [str(packages), str(Path(__file__).parent), str(ROOT), str(ROOT / "firmware")]
        endpoint = f"ipc://{folder}/m.sock"
        settings = (
            f'publish.endpoints=["{endpoint}"]',
            "camera.driver=timed",
            f"camera.timed.exclusive_lock={self.lock}",
            f"camera.timed.absent_until_file={self.plug}",
            f"camera.timed.block_once={self.note}",
            *(f"camera.timed.{option}" for option in scenario.camera),
            "accelerator.driver=mock",
            "accelerator.mock.network=tflite",
            "accelerator.mock.has_model=false",
            f"accelerator.mock.plugged={str(scenario.device).lower()}",
            f"accelerator.mock.faults={json.dumps(scenario.faults)}",
            f"accelerator.mock.remote_socket={self.remote}",
            *scenario.settings,
        )
        command = [sys.executable, "-m", "gnetsegd", "run", "--config", str(self.config)]
        for setting in settings:
            command += ["--set", setting]
        self.observer = Observer(endpoint, load_bundle(str(self.bundle)).input)
        self.service = Service(command, Unit.read(UNIT), folder, inherited(PYTHONPATH=":".join(path)))

    def good_config(self) -> str:
        return (
            f'[camera]\nfps = {FPS}\n[accelerator.standin]\nthreads = 1\n[model]\nbundle = "{self.bundle}"\n'
        )

    # -- for the scenarios ------------------------------------------------------------------------

    def start(self) -> None:
        self.service.start()

    def fault(self) -> None:
        """The fault begins now."""
        self.fault_at = time.monotonic()

    def warm(self, backend: str = "") -> None:
        """Start, and wait for a second of steady masks (of ``backend``); statuses come then as well."""
        self.start()
        if not backend:
            backend = "usb" if self.scenario.device else "standin"
        self.wait_steady(WARM_S, backend)

    def wait_steady(self, limit_s: float, backend: str = "") -> None:
        """Wait for a second of masks at nearly the full rate."""
        deadline = time.monotonic() + limit_s
        while True:
            now = time.monotonic()
            recent = [mask for mask in self.observer.masks[-100:] if mask.at > now - 1]
            fits = len(recent) >= judge.STEADY_SHARE * FPS and {mask.backend for mask in recent} <= {
                backend or recent[-1].backend
            }
            if fits and self.observer.statuses:
                return
            if now > deadline:
                raise NotWarm(f"no steady masks{' of ' + backend if backend else ''} within {limit_s:g} s")
            time.sleep(0.05)

    def expect(self, what: str, condition: Callable[[], bool], limit_s: float) -> None:
        """A problem unless ``condition`` comes true within ``limit_s``."""
        deadline = time.monotonic() + limit_s
        while not condition():
            if time.monotonic() > deadline:
                self.problems.append(f"{what} did not come within {limit_s:g} s")
                return
            time.sleep(0.05)

    def reload_well(self) -> None:
        """Put the good configuration back and reload: systemd hears of both its ends."""
        if not self.config.is_file():
            self.config.unlink()
        self.config.write_text(self.good_config())
        since = time.monotonic()
        self.service.reload()
        service = self.service
        self.expect("RELOADING=1", lambda: service.count("RELOADING", since) > 0, 5)
        self.expect("READY=1 of the good reload", lambda: service.count("READY", since) > 0, 10)

    # -- its end ----------------------------------------------------------------------------------

    def judge(self, end_at: float, stop_s: float) -> dict[str, Any]:
        scenario, masks, statuses = self.scenario, self.observer.masks, self.observer.statuses
        events, fault_at = self.service.events, self.fault_at
        wrong = [mask for mask in masks if mask.wrong]
        back_s = judge.longest_wait(masks, fault_at, end_at)
        log_lines = sum(fault_at <= at <= end_at for at, _ in self.service.log)
        ready = [event.at for event in events if event.kind == "READY"]
        fed = [event.at for event in events if event.kind == "WATCHDOG"]
        # A process that has just begun owes no mask yet.
        begun = [*ready, *(event.at for event in events if event.kind == "start")]
        untrue = [
            *judge.lies(masks, statuses, FPS, fault_at, end_at),
            *judge.status_gaps(statuses, lives(events, end_at)),
            *judge.fed_for_nothing(masks, statuses, fed, begun),
            *self.observer.garbage,
            *self._control_characters(),
            *self._untrue_fallback(end_at),
        ]
        problems = [*self.problems]
        problems += [f"mask {mask.sequence} ({mask.backend}): {mask.wrong}" for mask in wrong[:5]]
        if back_s > scenario.limit_s:
            problems.append(f"masks were away for {back_s:.1f} s; {scenario.limit_s:g} s are allowed")
        rate = judge.rate(masks, end_at - RATE_S, end_at)
        if rate < scenario.rate_share * FPS:
            problems.append(f"at the end {rate:.1f} masks came a second, of {FPS:g}")
        last = {mask.backend for mask in masks if end_at - 1 < mask.at <= end_at}
        if not last <= set(scenario.ends_on):
            problems.append(
                f"at the end {' and '.join(sorted(last))} served, not {' or '.join(scenario.ends_on)}"
            )
        if log_lines > scenario.log_lines_max:
            problems.append(f"{log_lines} lines were logged; {scenario.log_lines_max} are allowed")
        ended = [e for e in events if e.kind in ("exit", "kill", "failed") and e.at <= end_at]
        if ended and scenario.same_process:
            problems.append("the process ended: " + ", ".join(f"{e.kind} {e.words}" for e in ended))
        problems += [f"the manager killed it: {e.words}" for e in ended if e.kind == "kill"]
        problems += untrue[:5]
        if stop_s > self.service.unit.stop_s:
            problems.append(f"SIGTERM was obeyed after {stop_s:.1f} s only")
        if self.service.count("failed"):
            problems.append("the service failed for good")
        return {
            "wrong_masks": len(wrong),
            "back_s": round(back_s, 2),
            "limit_s": scenario.limit_s,
            "log_lines": log_lines,
            "state_told_truth": not untrue,
            "problems": problems,
        }

    def _control_characters(self) -> list[str]:
        """Foreign text that went through as it was: into the log, to systemd, into ``status``."""
        said = {
            "the log": [line for _, line in self.service.log],
            "what systemd heard": [event.words for event in self.service.events],
            "status": [status.reason for status in self.observer.statuses],
        }
        return [
            f"control characters in {where}: {line!r}"
            for where, lines in said.items()
            for line in lines
            if not line.isprintable()
        ][:3]

    def _untrue_fallback(self, end_at: float) -> list[str]:
        """A fallback is told of where an accelerator was, or is and cannot be used, and nowhere else."""
        masks = [mask for mask in self.observer.masks if mask.at <= end_at]
        statuses = [status for status in self.observer.statuses if status.at <= end_at]
        if any(mask.fallback for mask in masks if mask.backend == "usb"):
            return ["masks of usb were flagged as those of a fallback"]
        if not self.scenario.device:
            told = [s for s in statuses if s.fallback or (s.state == "running" and s.reason)]
            if told or any(mask.fallback for mask in masks):
                reason = f": {told[0].reason}" if told else ""
                return [f"a fallback was told of where there never was an accelerator{reason}"]
            return []
        standin = masks and masks[-1].backend == "standin" and not self.scenario.fallback_open
        if standin and not (
            masks[-1].fallback and statuses and statuses[-1].fallback and statuses[-1].reason
        ):
            return ["the stand-in served for a device that is there or was, and no fallback was told of"]
        return []


def lives(events: Any, end_at: float) -> list[tuple[float, float]]:
    """(READY, end) of each process."""
    found: list[tuple[float, float]] = []
    begun: float | None = None
    for event in events:
        if event.kind == "start":
            begun = None
        elif event.kind == "READY" and begun is None:
            begun = event.at
        elif event.kind in ("exit", "STOPPING", "kill") and begun is not None:
            found.append((begun, min(event.at, end_at)))
            begun = None
    return found if begun is None else [*found, (begun, end_at)]


def narrow_bundle(folder: Path) -> Path:
    """``threshold-32`` made 30 pixels wide: with 1 bit a pixel each row ends in padding."""
    source, made = MODELS / "threshold-32", folder / "narrow"
    made.mkdir()
    content, manifest = (source / "model.tflite").read_bytes(), (source / "model.toml").read_text()
    wide, narrow = (b"".join(n.to_bytes(4, "little") for n in (1, 32, width, 1)) for width in (32, 30))
    put(made, content.replace(wide, narrow), manifest.replace("width = 32", "width = 30"), content)
    return made


def put(bundle: Path, content: bytes, manifest: str, before: bytes) -> None:
    """Write a bundle whose manifest names the SHA-256 of ``content``, where it named that of ``before``."""
    sums = [hashlib.sha256(data).hexdigest() for data in (before, content)]
    (bundle / "model.tflite").write_bytes(content)
    (bundle / "model.toml").write_text(manifest.replace(*sums))


# -- what happens --------------------------------------------------------------------------------------


def from_the_start(run: Run) -> None:
    """The fault is there when the daemon starts."""
    run.fault()
    run.start()


def device_fault(name: str) -> Callable[[Run], None]:
    """The device gets a fault while it serves."""

    def play(run: Run) -> None:
        run.warm()
        run.fault()
        ask(run.remote, f"inject {name}")

    return play


def unplug(run: Run) -> None:
    run.warm()
    run.fault()
    ask(run.remote, "unplug")


def unplug_and_replug(command: str) -> Callable[[Run], None]:
    def play(run: Run) -> None:
        unplug(run)
        time.sleep(4)
        since = time.monotonic()
        ask(run.remote, command)
        run.expect(
            "a mask of usb",
            lambda: any(mask.at > since and mask.backend == "usb" for mask in run.observer.masks[-60:]),
            CHANGE_LIMIT_S,
        )

    return play


def kill_9(run: Run) -> None:
    run.warm()
    run.fault()
    run.service.signal(signal.SIGKILL)


def camera_breaks(run: Run) -> None:
    """The camera blocks or crashes by itself after some frames: it leaves a note as it does."""
    run.warm()
    run.expect("the camera's fault", run.note.exists, 10)
    run.fault()


def camera_hangs_at_close(run: Run) -> None:
    """It is pulled for a moment, and its library does not close it."""
    run.warm()
    run.fault()
    run.plug.unlink()
    run.expect("the camera's fault", run.note.exists, 5)
    run.plug.touch()


def camera_flaps(run: Run) -> None:
    from_the_start(run)
    time.sleep(20)


def camera_comes(run: Run) -> None:
    """The daemon starts without one: it is READY and says so; the time counts from when it comes."""
    run.start()
    service = run.service
    run.expect("READY without a camera", lambda: service.count("READY") > 0, START_LIMIT_S)
    time.sleep(12)
    no_camera(run)
    if len(service.log) > 12:
        run.problems.append(f"{len(service.log)} lines were logged without a camera; 12 are allowed")
    run.fault()
    run.plug.touch()


def camera_replugged(run: Run) -> None:
    """Unplugged for some seconds; the time counts from when it comes back."""
    run.warm()
    run.plug.unlink()
    time.sleep(6)
    no_camera(run)
    run.fault()
    run.plug.touch()


def camera_taken(run: Run) -> None:
    """Another program has the camera at the start, and gives it up after some seconds."""
    descriptor = os.open(run.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    run.start()
    time.sleep(6)
    no_camera(run)
    run.fault()
    os.close(descriptor)


def no_camera(run: Run) -> None:
    """A problem unless ``status`` has said so for some seconds, and the process lives."""
    states = {status.state for status in run.observer.statuses if status.at > time.monotonic() - 3}
    if states != {"no-camera"}:
        run.problems.append(f"without a camera the state was {' and '.join(sorted(states)) or 'not told'}")
    if run.service.count("exit"):
        run.problems.append("the process ended for want of a camera")


def bad_reload(spoil: Callable[[Run], None]) -> Callable[[Run], None]:
    """SIGHUP with what ``spoil`` has left, then with a good file again: nothing breaks off."""

    def play(run: Run) -> None:
        run.warm()
        spoil(run)
        run.fault()
        run.service.reload()
        time.sleep(6)
        run.reload_well()

    return play


def many_digits(run: Run) -> None:
    run.config.write_text(run.good_config() + "[idle]\nlinger_s = " + "1" * 5000 + "\n")


def many_brackets(run: Run) -> None:
    run.config.write_text(run.good_config() + "[idle]\nlinger_s = " + "[" * 3000 + "\n")


def fifo_for_config(run: Run) -> None:
    run.config.unlink()
    os.mkfifo(run.config)


def fifo_for_model(run: Run) -> None:
    bundle = run.folder / "other"
    bundle.mkdir()
    (bundle / "model.toml").write_text((MODELS / "threshold-32" / "model.toml").read_text())
    os.mkfifo(bundle / "model.tflite")
    run.config.write_text(run.good_config().replace(str(run.bundle), str(bundle)))


def damaged_network(run: Run) -> None:
    """Half a network under its right SHA-256: TFLite runtimes crash as they load it."""
    bundle, source = run.folder / "other", MODELS / "threshold-32"
    bundle.mkdir()
    content = (source / "model.tflite").read_bytes()
    put(bundle, content[: len(content) // 2], (source / "model.toml").read_text(), content)
    run.config.write_text(run.good_config().replace(str(run.bundle), str(bundle)))


def on_device(name: str, *ends_on: str, **more: Any) -> Scenario:
    """A device that serves and then is like this, for so long that ``auto`` may try it several times."""
    more = {"watch_s": 25.0, "log_lines_max": 30, **more}
    return Scenario(
        name, device_fault(name), ACCELERATOR_LIMIT_S, device=True, ends_on=ends_on or EITHER, **more
    )


def broken_device(name: str, *ends_on: str, **more: Any) -> Scenario:
    """A device that is like this when the daemon starts."""
    return Scenario(
        name, from_the_start, START_LIMIT_S, device=True, faults=(name,), ends_on=ends_on or EITHER, **more
    )


EITHER = ("usb", "standin")
BLOCKS = {"limit_s": CAMERA_LIMIT_S, "same_process": False}
RELOAD = {"limit_s": STEADY_LIMIT_S}

SCENARIOS = (
    on_device("flap-after"),
    on_device("proof-only"),
    on_device("few-then-hang"),
    on_device("error-all"),
    on_device("lost-all"),
    on_device("stale-all"),
    on_device("late-answer"),
    on_device("mute-control"),
    on_device("stall-control"),
    on_device("bad-labels", settings=("accelerator.usb.mask_bits=8",)),
    on_device("bad-padding", settings=("accelerator.usb.mask_bits=1",), bundle="narrow"),
    broken_device("slow-flash", fallback_open=True),
    broken_device("later-minor", "usb"),
    broken_device("zero-chunk", "standin"),
    broken_device("foul-text", fallback_open=True),
    Scenario("unplug", unplug, CHANGE_LIMIT_S, device=True),
    Scenario("replug", unplug_and_replug("plug"), CHANGE_LIMIT_S, device=True, ends_on=("usb",)),
    Scenario(
        "replug-elsewhere", unplug_and_replug("plug elsewhere"), CHANGE_LIMIT_S, device=True,
        ends_on=("usb",),
    ),
    Scenario("accelerator-never-there", from_the_start, START_LIMIT_S),
    Scenario("kill-9", kill_9, START_LIMIT_S, same_process=False),
    Scenario("kill-9-with-device", kill_9, START_LIMIT_S, device=True, ends_on=("usb",), same_process=False),
    Scenario("camera-blocks", camera_breaks, camera=("block_after_frames=90",), **BLOCKS),
    Scenario("camera-crashes", camera_breaks, camera=("crash_after_frames=90",), **BLOCKS),
    Scenario("camera-hangs-at-close", camera_hangs_at_close, camera=("hang_at_close=true",), **BLOCKS),
    # To open a camera may take longer than to wait for one frame.
    Scenario(
        "camera-hangs-at-open", from_the_start, CAMERA_LIMIT_S + OPEN_EXTRA_S, camera=("hang_at_open=true",),
        watch_s=15.0, same_process=False,
    ),
    # The pause between two attempts grows to 2 s, and some good frames do not shorten it.
    Scenario(
        "camera-flaps", camera_flaps, START_LIMIT_S, camera=("flap_after_frames=10",),
        settings=("camera.backoff_max_s=2",), log_lines_max=30, rate_share=0.0,
    ),
    Scenario("camera-comes-later", camera_comes, START_LIMIT_S, plugged=False),
    Scenario("camera-replugged", camera_replugged, START_LIMIT_S),
    Scenario("camera-taken-by-another", camera_taken, START_LIMIT_S),
    Scenario("reload-5000-digits", bad_reload(many_digits), **RELOAD),
    Scenario("reload-3000-brackets", bad_reload(many_brackets), **RELOAD),
    Scenario("reload-fifo-for-config", bad_reload(fifo_for_config), **RELOAD),
    Scenario("reload-fifo-for-model", bad_reload(fifo_for_model), **RELOAD),
    Scenario("reload-damaged-network", bad_reload(damaged_network), **RELOAD),
)  # fmt: skip


def play(scenario: Scenario, keep_log: bool) -> dict[str, Any]:
    """Play one; its figures, and ``problems``: why it failed, in sentences."""
    with tempfile.TemporaryDirectory(prefix="gs") as name:
        run = Run(scenario, Path(name))
        began = time.monotonic()
        try:
            try:
                scenario.play(run)
            except NotWarm as error:
                run.fault()
                run.problems.append(f"the scenario did not begin: {error}")
            else:
                time.sleep(scenario.watch_s)
            end_at = time.monotonic()
        finally:
            stop_s = run.service.stop()
            run.observer.close()
        result = run.judge(end_at, stop_s)
        if keep_log or result["problems"]:
            tell(run, began, result, whole=keep_log)
        return result


def tell(run: Run, began: float, result: dict[str, Any], whole: bool) -> None:
    """Why a scenario failed, and its log, on stderr."""
    words = [f"-- {run.scenario.name}: {'failed' if result['problems'] else 'passed'}", *result["problems"]]
    log = [(at, f"log    {line}") for at, line in run.service.log]
    spoken = [e for e in run.service.events if e.kind not in ("WATCHDOG", "STATUS", "MONOTONIC_USEC")]
    log += [(event.at, f"event  {event.kind} {event.words}") for event in spoken]
    log += [
        (status.at, f"status {status.state} on {status.backend}: {status.reason}")
        for before, status in zip([None, *run.observer.statuses], run.observer.statuses, strict=False)
        if before is None or before[1:] != status[1:]
    ]
    log.append((run.fault_at, "------ the fault"))
    lines = [f"   {at - began:6.2f} {line}" for at, line in sorted(log)]
    text = "\n".join([*words, *(lines if whole else lines[-40:])])
    printable = "".join(c if c == "\n" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    print(printable, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", action="append", metavar="NAME", help="this scenario; may be given again")
    parser.add_argument("--jobs", type=int, default=2, help="scenarios side by side (default: 2)")
    parser.add_argument("--log", action="store_true", help="also the logs of those that pass, on stderr")
    parser.add_argument("--list", action="store_true", help="name the scenarios and end")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.list:
        print("\n".join(scenario.name for scenario in SCENARIOS))
        return
    known = {scenario.name: scenario for scenario in SCENARIOS}
    for name in options.only or ():
        if name not in known:
            parser.error(f"there is no scenario {name}; --list names them")
    chosen = [known[name] for name in options.only] if options.only else list(SCENARIOS)

    def one(scenario: Scenario) -> dict[str, Any]:
        try:
            result = play(scenario, options.log)
        except Exception:  # the bench's own error fails the scenario and leaves the others alone
            result = {"problems": [traceback.format_exc()], "wrong_masks": 0, "back_s": 0.0,
                      "limit_s": scenario.limit_s, "log_lines": 0, "state_told_truth": False}  # fmt: skip
            print(f"-- {scenario.name}: {result['problems'][0]}", file=sys.stderr, flush=True)
        if not options.json:
            print(f"{scenario.name:28} {'failed' if result['problems'] else 'passed'} {result}", flush=True)
        return result

    with ThreadPoolExecutor(options.jobs) as pool:
        results = dict(zip((scenario.name for scenario in chosen), pool.map(one, chosen), strict=True))
    failed = sum(bool(result.pop("problems")) for result in results.values())
    finish({"scenarios": results, "passed": len(results) - failed, "failed": failed}, options.json)
    sys.exit(failed > 0)


if __name__ == "__main__":
    main()
