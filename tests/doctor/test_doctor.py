"""Each fault that is planted is named, with the command that mends it, and no other is."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from gnetsegd.ctl.doctor import examine
from gnetsegd.ctl.doctor.machine import Machine, Said, run

from .patient import GROUP, NODE, THROTTLED, USB, Patient

ROOT = Path(__file__).parents[2]
Plant = Callable[[Patient], object]


@pytest.fixture
def patient(tmp_path: Path) -> Patient:
    return Patient(tmp_path)


def check_config(code: int, sentence: str) -> Plant:
    return lambda p: p.programs.update({sys.executable: Said(code, "", f"a warning\ngnetsegd: {sentence}\n")})


def firmware(flags: str) -> Plant:
    return lambda p: p.programs.update(vcgencmd=Said(0, f"throttled={flags}\n"))


def unit(**properties: str) -> Plant:
    return lambda p: p.unit.update(properties)


def daemon(**words: object) -> Plant:
    return lambda p: p.status.update(words) if p.status is not None else None


def foreign(name: str) -> Plant:
    """A file whose group is not the one that it should be."""

    def plant(p: Patient) -> None:
        wanted = {NODE: "plugdev", "/dev/video0": "video", "/run/gnetsegd/masks.sock": "gnetsegd"}[name]
        lines = (p.root / "etc/group").read_text()
        p.write("/etc/group", lines.replace(f"{wanted}:x:{GROUP}:", f"{wanted}:x:{GROUP + 1}:"))
        p.groups.append(GROUP + 1)

    return plant


def with_keys(then: Plant) -> Plant:
    def plant(p: Patient) -> None:
        p.use_keys()
        then(p)

    return plant


def at_connector(then: Plant) -> Plant:
    def plant(p: Patient) -> None:
        p.use_connector()
        then(p)

    return plant


def unreadable_key(p: Patient) -> None:
    (p.root / "etc/gnetsegd/keys/daemon.key_secret").chmod(0o600)
    p.write("/etc/passwd", f"gnetsegd:x:{os.geteuid() + 1}:{GROUP}::/:/usr/sbin/nologin\n")


PLANTED: list[tuple[str, Plant, str, str]] = [
    ("camera-missing", lambda p: p.webcams.clear(), "no camera is here", "plug in a webcam"),
    (
        "camera-missing",
        lambda p: p.configure('[camera]\ndriver = "v4l2"\n[camera.v4l2]\ndevice = "/dev/video7"\n'),
        "/dev/video7",
        "gnetsegctl cameras",
    ),
    (
        "camera-missing",
        lambda p: p.configure('[camera]\ndriver = "picamera2"\n'),
        "no camera answers at the Pi's connector",
        "reseat the cable",
    ),
    ("camera-busy", lambda p: p.hold("/dev/video0", 4711, "firefox"), "firefox (process 4711)", "kill 4711"),
    ("camera-rights", foreign("/dev/video0"), "/dev/video0", "udevadm trigger"),
    (
        "camera-rights",
        lambda p: (p.root / "dev/video0").chmod(0o600),
        "not open to the group video",
        "udevadm trigger",
    ),
    (
        "picamera2-missing",
        at_connector(lambda p: setattr(p, "has_picamera2", False)),
        "imx708",
        "apt install python3-picamera2",
    ),
    (
        "picamera2-broken",
        at_connector(lambda p: setattr(p, "picamera2_error", ValueError("numpy.dtype size changed"))),
        "numpy.dtype size changed",
        "pip uninstall numpy",
    ),
    (
        "accelerator-missing",
        lambda p: (p.configure('[accelerator]\ndriver = "usb"\n'), p.write(f"{USB}/idProduct", "0002\n")),
        "1209:0001",
        "plug it in",
    ),
    ("usb-rule-missing", lambda p: p.remove("/usr/lib/udev/rules.d/60-gnetsegd.rules"), "60-gnetsegd.rules",
     "apt install --reinstall gnetsegd"),
    ("usb-slow", lambda p: p.write(f"{USB}/speed", "12\n"), "12 Mbit/s", "another port"),
    ("usb-autosuspend", lambda p: p.write(f"{USB}/power/control", "auto\n"), "sleep", "udevadm trigger"),
    ("usb-rights", lambda p: (p.root / NODE[1:]).chmod(0o644), NODE, "udevadm trigger"),
    ("usb-rights", foreign(NODE), NODE, "udevadm trigger"),
    (
        "usb-memory",
        lambda p: p.write("/sys/module/usbcore/parameters/usbfs_memory_mb", "1\n"),
        "1 MiB",
        "sudo tee /sys/module/usbcore/parameters/usbfs_memory_mb",
    ),
    ("undervoltage", firmware("0x10001"), "right now", "power supply"),
    ("undervoltage-since-boot", firmware("0x10000"), "since the last boot", "power supply"),
    (
        "undervoltage",
        lambda p: (p.programs.update(vcgencmd=None), p.write(THROTTLED, "10001\n")),
        "right now",
        "power supply",
    ),
    (
        "undervoltage",
        lambda p: (
            p.programs.update(vcgencmd=None),
            p.write("/sys/class/hwmon/hwmon1/name", "rpi_volt\n"),
            p.write("/sys/class/hwmon/hwmon1/in0_lcrit_alarm", "1\n"),
        ),
        "right now",
        "power supply",
    ),
    ("throttled", firmware("0x4"), "because it is hot", "heat sink"),
    ("capped", firmware("0x2"), "capped", "power supply"),
    ("throttled-since-boot", firmware("0x40000"), "since the last boot", "heat sink"),
    ("hot", lambda p: p.write("/sys/class/thermal/thermal_zone1/temp", "84500\n"), "84 degrees", "heat sink"),
    (
        "clock",
        lambda p: p.programs.update(timedatectl=Said(0, "NTP=no\nNTPSynchronized=no\n")),
        "not synchronised",
        "timedatectl set-ntp true",
    ),
    (
        "clock",
        lambda p: p.programs.update(timedatectl=Said(0, "NTP=yes\nNTPSynchronized=no\n")),
        "not synchronised",
        "timesync-status",
    ),
    ("configuration", check_config(78, "/etc/x: unknown key camera.fsp"), "camera.fsp", "check-config"),
    ("network", check_config(65, "model mine: cut off"), "model mine: cut off", "[model]"),
    (
        "runtime",
        check_config(69, "tflite-runtime 2.14 needs numpy below 2"),
        "needs numpy below 2",
        "apt install --reinstall gnetseg-runtime python3-numpy",
    ),
    ("unit-missing", unit(LoadState="not-found"), "not installed", "apt install gnetsegd"),
    ("unit-disabled", unit(UnitFileState="disabled"), "not enabled", "enable --now gnetsegd.service"),
    ("unit-masked", unit(UnitFileState="masked"), "masked", "systemctl unmask gnetsegd.service"),
    ("unit-changed", unit(NeedDaemonReload="yes"), "has not read", "systemctl daemon-reload"),
    (
        "unit-failing",
        unit(ActiveState="failed", Result="exit-code", ExecMainStatus="78"),
        "exit code 78",
        "journalctl -u gnetsegd.service",
    ),
    (
        "unit-failing",
        unit(ActiveState="activating", SubState="auto-restart", ExecMainStatus="75", NRestarts="2"),
        "exit code 75",
        "journalctl -u gnetsegd.service",
    ),
    ("unit-stopped", unit(ActiveState="inactive", SubState="dead"), "does not run", "systemctl start"),
    ("unit-restarts", unit(NRestarts="12"), "12 times", "journalctl"),
    (
        "watchdog",
        lambda p: (
            p.unit.update(NRestarts="1"),
            p.programs.update(journalctl=Said(0, "gnetsegd.service: Watchdog timeout (limit 20s)!\n")),
        ),
        "watchdog",
        "journalctl -b",
    ),
    ("user-missing", lambda p: p.write("/etc/passwd", ""), "no user gnetsegd", "systemd-sysusers"),
    ("daemon-no-masks", daemon(state="no-masks", reason="it is silent"), "it is silent", "journalctl"),
    ("fallback", daemon(fallback=True), "stands in", "plug the accelerator in"),
    ("old-process", daemon(version="0.0.9"), "0.0.9 runs", "systemctl restart gnetsegd.service"),
    ("socket-missing", lambda p: p.remove("/run/gnetsegd/masks.sock"), "masks.sock", "systemctl restart"),
    ("socket-mode", lambda p: (p.root / "run/gnetsegd/masks.sock").chmod(0o600), "0600", "systemctl restart"),
    ("socket-group", foreign("/run/gnetsegd/masks.sock"), "not the group gnetsegd's", "systemctl restart"),
    ("socket-folder", lambda p: (p.root / "run/gnetsegd").chmod(0o750), "only its owner", "DirectoryMode"),
    ("reader-not-member", lambda p: setattr(p, "user", "guest"), "guest is", "usermod -aG gnetsegd guest"),
    ("reader-old-login", lambda p: p.groups.clear(), "logged in before", "log out"),
    (
        "network-open",
        lambda p: p.configure(
            '[publish]\nallow_plain_tcp = true\n'
            'endpoints = ["ipc:///run/gnetsegd/masks.sock", "tcp://0.0.0.0:5555"]\n'
        ),
        "unencrypted",
        "gnetsegctl keys init",
    ),
    (
        "key-missing",
        with_keys(lambda p: p.remove("/etc/gnetsegd/keys/daemon.key_secret")),
        "daemon.key_secret is not there",
        "gnetsegctl keys init",
    ),
    ("key-unreadable", with_keys(unreadable_key), "may not read", "chown root:gnetsegd"),
    (
        "key-exposed",
        with_keys(lambda p: (p.root / "etc/gnetsegd/keys/daemon.key_secret").chmod(0o644)),
        "everybody",
        "chmod 0640",
    ),
    (
        "keys-none",
        with_keys(lambda p: p.remove("/etc/gnetsegd/keys/clients/robot.key")),
        "no client is permitted",
        "gnetsegctl keys add",
    ),
    (
        "keys-of-anybody",
        with_keys(
            lambda p: p.configure(
                '[publish]\nendpoints = ["ipc:///run/gnetsegd/masks.sock", "tcp://0.0.0.0:5555"]\n'
                'curve_secret_key_file = "/etc/gnetsegd/keys/daemon.key_secret"\n'
            )
        ),
        "every client",
        "curve_authorized_keys_dir",
    ),
    ("disk-full", lambda p: setattr(p, "free", 0.004), "0.4%", "journalctl --vacuum-size"),
    ("memory", lambda p: p.write("/proc/meminfo", "MemAvailable: 20480 kB\n"), "20 MiB", "smaller network"),
    ("out-of-memory", unit(Result="oom-kill"), "want of memory", "smaller network"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "plant", "text", "remedy"),
    PLANTED,
    ids=[f"{n}-{planted[0]}" for n, planted in enumerate(PLANTED)],
)
def test_a_planted_fault_is_named_with_its_remedy_and_no_other_is(
    patient: Patient, name: str, plant: Plant, text: str, remedy: str
) -> None:
    plant(patient)
    (fault,) = patient.faults()
    assert fault.name == name
    assert text in fault.text
    assert remedy in fault.remedy


@pytest.mark.parametrize("change", [lambda _: None, Patient.use_connector, Patient.use_keys])
def test_a_sound_machine_gets_no_word_and_0(
    patient: Patient, change: Plant, capsys: pytest.CaptureFixture[str]
) -> None:
    change(patient)
    assert examine.show("", False, patient.machine()) == 0
    assert capsys.readouterr().out == ""
    assert examine.show("", True, patient.machine()) == 0
    assert json.loads(capsys.readouterr().out) == {"faults": []}


def test_faults_are_told_to_people_and_programs_and_end_with_1(
    patient: Patient, capsys: pytest.CaptureFixture[str]
) -> None:
    patient.free = 0.0
    patient.user = "guest"
    assert examine.show("", False, patient.machine()) == 1
    said = capsys.readouterr().out
    assert "disk-full: " in said
    assert "\n    sudo usermod -aG gnetsegd guest" in said
    assert examine.show("", True, patient.machine()) == 1
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert [fault["name"] for fault in faults] == ["reader-not-member", "disk-full"]
    assert all(set(fault) == {"name", "text", "remedy"} for fault in faults)


def test_a_machine_that_tells_nothing_but_its_camera_has_no_fault(tmp_path: Path) -> None:
    silent = Machine(
        tmp_path, lambda *_: None, lambda *_: None, lambda: (Patient(tmp_path / "x").webcams, [])
    )
    assert examine.examine(silent) == []


def test_what_a_library_or_the_daemon_says_is_one_clean_line(patient: Patient) -> None:
    daemon(state="no-camera", reason="a\x1b[2J\nb")(patient)
    check_config(78, "evil \x1b[2J")(patient)
    assert all("\x1b" not in fault.text and "\n" not in fault.text for fault in patient.faults())


def test_another_camera_of_the_machine_has_its_own_unit_and_file(patient: Patient) -> None:
    asked = []

    def run_(command: list[str], limit_s: float = 1.0) -> Said:
        asked.append([*command])
        assert limit_s > 0
        return Said(0, "LoadState=not-found\n")

    patient.write("/etc/gnetsegd/front.toml", "")
    machine = attrs.evolve(patient.machine(), run=run_, ask=lambda *_: None)
    (fault,) = examine.examine(machine, "front")
    assert "gnetsegd@front.service" in fault.text
    assert asked[0][2] == "gnetsegd@front.service"
    assert asked[1][-1] == "/etc/gnetsegd/front.toml"


def test_every_fault_is_on_the_page() -> None:
    page = (ROOT / "docs" / "operating.md").read_text("utf-8")
    code = "".join(file.read_text("utf-8") for file in (ROOT / "gnetsegd/ctl/doctor").glob("*.py"))
    names = set(re.findall(r'Fault\(\s*f?"([a-z0-9-]+)', code))
    assert len(names) > 40
    assert {name for name in names if f"`{name}" not in page} == set()


def test_a_program_that_is_missing_or_does_not_end_tells_nothing() -> None:
    assert run(["/no/such/program"]) is None
    assert run([sys.executable, "-c", "import time; time.sleep(60)"], 0.1) is None
    assert run([sys.executable, "-c", "print(1)"]) == Said(0, "1\n", "")
