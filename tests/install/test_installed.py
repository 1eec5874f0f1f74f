"""Installed with one command, in a booted Debian without a network: what was promised, from masks to purge.

The checks run in their order, on one machine. Its camera is the pattern camera, by a drop-in of the unit; the
configuration is as installed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import time
import tomllib
from pathlib import Path
from typing import Any

from .machine import (
    SOCKET,
    deb,
    exposed,
    first_mask,
    journal_lines,
    reader,
    sh,
    show,
    status,
    version,
    wait_for,
)

FRONT = "ipc:///run/gnetsegd-front/masks.sock"
CONFIG = Path("/etc/gnetsegd/gnetsegd.toml")
#: The package's own folder.
ZENOH = "/usr/lib/gnetseg-zenoh"


def test_masks_flow_without_a_line_of_configuration() -> None:
    assert first_mask().labels.shape
    assert "auto" in CONFIG.read_text()
    assert tomllib.loads(CONFIG.read_text())["camera"]["driver"] == "auto"
    assert show("gnetsegd", "UnitFileState") == "enabled"
    assert show("gnetsegd", "ActiveState") == "active"
    assert status()["backend"] == "standin"


def test_no_pip_no_venv_and_the_runtime_is_seen_by_nobody_else() -> None:
    assert sh("find / -xdev -name pyvenv.cfg -o -xdev -name pip | head -1") == ""
    out = sh("python3 -c 'import ai_edge_litert'", check=False)
    assert "ModuleNotFoundError" in out


def test_the_doctor_has_nothing_to_say_but_of_what_this_machine_lacks() -> None:
    found = json.loads(sh("gnetsegctl doctor --json", check=False))["faults"]
    # A container has no camera, and no network to set its clock by. Its disk is the host's.
    assert {fault["name"] for fault in found} <= {"camera-missing", "clock", "disk-full"}, found


def test_a_start_is_one_line_of_the_journal() -> None:
    sh("systemctl restart gnetsegd")
    first_mask()
    pid = show("gnetsegd", "MainPID")
    lines = [line for line in journal_lines(pid) if not line.startswith(("running", "idle"))]
    assert [line.partition(" ")[0] for line in lines] == ["ready:"], lines


def test_members_of_the_group_read_and_others_do_not() -> None:
    sh("useradd member --groups gnetsegd; useradd stranger")
    look = "gnetsegctl status --timeout 20"
    assert "state" in sh(f"runuser -u member -- {look}")
    out = sh(f"runuser -u stranger -- {look}", check=False)
    assert "this user may not open it" in out


def test_the_process_is_held_as_the_unit_says() -> None:
    kernel = exposed(show("gnetsegd", "MainPID"))
    assert kernel["NoNewPrivs"] == "1"
    assert kernel["Seccomp"] == "2"
    assert int(kernel["CapEff"], 16) == int(kernel["CapBnd"], 16) == 0
    assert kernel["Umask"] == "0077"
    assert kernel["Uid"].split()[0] == sh("id -u gnetsegd").strip()


def in_sandbox(code: str) -> str:
    """What Python code says under the unit's own restrictions."""
    unit = Path(sh("systemctl show gnetsegd --property=FragmentPath --value").strip()).read_text()
    keys = (
        "CapabilityBoundingSet", "DevicePolicy", "LockPersonality", "MemoryDenyWriteExecute",
        "NoNewPrivileges", "PrivateMounts", "PrivateTmp", "ProtectClock", "ProtectHome",
        "ProtectKernelTunables", "ProtectSystem", "RestrictAddressFamilies", "RestrictNamespaces",
        "RestrictRealtime", "RestrictSUIDSGID", "SystemCallArchitectures", "SystemCallErrorNumber",
        "SystemCallFilter", "TasksMax", "UMask", "User",
    )  # fmt: skip
    lines = [line for line in unit.splitlines() if line.partition("=")[0] in keys]
    given = " ".join(f"-p '{line}'" for line in lines)
    Path("/usr/local/lib/try.py").write_text(code)
    return sh(f"systemd-run --quiet --wait --pipe {given} python3 /usr/local/lib/try.py", check=False)


def test_what_is_forbidden_is_refused() -> None:
    calls = "import ctypes, os; libc = ctypes.CDLL(None, use_errno=True)\n"
    raises = "\nif r: raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))"
    tries = {
        "writable code": "import mmap; mmap.mmap(-1, 4096, prot=mmap.PROT_WRITE | mmap.PROT_EXEC)",
        "the system": "open('/usr/lib/x', 'w')",
        "the configuration": "open('/etc/gnetsegd/x', 'w')",
        "homes": "import os; os.listdir('/root')",
        "raw sockets": "import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)",
        "a namespace": f"{calls}r = libc.unshare(0x10000000){raises}",
        "a mount": f"{calls}r = libc.mount(b'x', b'/mnt', b'tmpfs', 0, None){raises}",
        "real time": "import os; os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))",
        "the clock": "import time; time.clock_settime(time.CLOCK_REALTIME, 0)",
        "another device": "open('/dev/fuse', 'rb')",
    }
    for what, code in tries.items():
        out = in_sandbox(code)
        assert "Error" in out, f"{what} was not refused: {out!r}"


def test_what_is_needed_is_permitted() -> None:
    works = {
        "tcp": "import socket; socket.create_server(('127.0.0.1', 0)).close()",
        "netlink": "import socket; socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15).close()",
        "callbacks": "import ctypes; ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 1)()",
        "the runtime": "from gnetsegd.accelerators.runtimes import find_runtime; find_runtime()",
        "a child": "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)",
    }
    for what, code in works.items():
        out = in_sandbox(code + "\nprint('done')")
        assert out.strip().endswith("done"), f"{what}: {out}"


def test_a_second_camera_by_the_template_comes_and_goes_without_the_first_noticing() -> None:
    file = Path("/etc/gnetsegd/front.toml")
    file.write_text('[camera]\ndriver = "pattern"\n[accelerator.standin]\nthreads = 1\n')
    with reader() as first:
        sh("systemctl start gnetsegd@front")
        assert first_mask(FRONT, "front").labels.shape
        assert "pattern" in sh("gnetsegctl status --camera front")
        sh("systemctl stop gnetsegd@front")
        assert not Path("/run/gnetsegd-front").exists()
        file.write_text("[camera]\nfsp = 3\n")
        sh("systemctl start gnetsegd@front", check=False)
        wait_for(lambda: show("gnetsegd@front", "ActiveState") == "failed")
        assert Path(SOCKET).is_socket()
        before = len(first.times_s)
        wait_for(lambda: len(first.times_s) > before + 10)
    assert show("gnetsegd", "NRestarts") == "0"
    sh("systemctl reset-failed gnetsegd@front; rm /etc/gnetsegd/front.toml")


def test_keys_are_made_added_and_taken_back_while_others_read() -> None:
    said = sh("gnetsegctl keys init")
    tables = said[said.index("[[publish.endpoint]]") :].replace("0.0.0.0", "127.0.0.1")
    before = CONFIG.read_text()
    sh(f"ip link set lo up || true; cat >>{CONFIG} <<'END'\n\n{tables}\nEND\n".replace("[publish]\n", ""))
    text = CONFIG.read_text()
    # The short form that is there already stays beside the table.
    CONFIG.write_text(text.replace('[[publish.endpoint]]\naddress = "ipc:///run/gnetsegd/masks.sock"\n', ""))
    sh("systemctl restart gnetsegd")
    first_mask()
    assert "robot may read" in sh("gnetsegctl keys add robot")
    sh("gnetsegctl keys add arm")
    keys = {}
    for name in ("robot", "arm"):
        given = tomllib.loads(sh(f"gnetsegctl keys show-client-config {name} --host 127.0.0.1"))
        keys[name] = {key: value.encode() for key, value in given.items() if key.endswith("_key")}
    tcp = "tcp://127.0.0.1:5555"
    with (
        reader(tcp, "cam0", **keys["robot"]) as robot,
        reader(tcp, "cam0", **keys["arm"]) as arm,
    ):
        assert "robot gets nothing more" in sh("gnetsegctl keys revoke robot")
        answered = len(robot.times_s)
        seen = len(arm.times_s)
        wait_for(lambda: len(arm.times_s) > seen + 20)
        assert len(robot.times_s) == answered
    assert "may no longer read" in sh("journalctl -u gnetsegd -o cat -n 50")
    CONFIG.write_text(before)
    sh("systemctl restart gnetsegd")


def test_a_socket_that_is_removed_is_there_again_and_a_folder_that_is_removed_too() -> None:
    first_mask()
    pid = show("gnetsegd", "MainPID")
    with reader() as here:
        Path(SOCKET).unlink()
        wait_for(Path(SOCKET).is_socket, 4.0)
        first_mask()
        seen = len(here.times_s)
        wait_for(lambda: len(here.times_s) > seen)
    assert show("gnetsegd", "MainPID") == pid
    sh("rm -rf /run/gnetsegd/* && mv /run/gnetsegd /run/elsewhere")
    wait_for(Path(SOCKET).is_socket, 30.0)
    first_mask()
    assert show("gnetsegd", "MainPID") != pid
    assert "its socket's folder is gone" in sh("journalctl -u gnetsegd -o cat -n 50")


def test_a_daemon_that_is_killed_comes_back() -> None:
    pid = show("gnetsegd", "MainPID")
    os.kill(int(pid), signal.SIGKILL)
    wait_for(lambda: show("gnetsegd", "MainPID") not in (pid, "0"))
    first_mask()


def test_a_full_disk_stops_no_masks() -> None:
    sh("mount -t tmpfs -o size=64k none /var/log && head -c 1M /dev/zero >/var/log/full || true")
    try:
        sh("systemctl restart gnetsegd")
        first_mask()
    finally:
        sh("umount -l /var/log")


def test_an_upgrade_keeps_the_configuration_and_takes_the_new_version() -> None:
    now = version("gnetsegd")
    CONFIG.write_text(CONFIG.read_text() + "\n# mine\n[camera.pattern]\nlength_frames = 0\n")
    out = sh("DEBIAN_FRONTEND=noninteractive apt-get install --yes --allow-downgrades /srv/old/*.deb")
    assert version("gnetsegd").startswith("0.0.9"), out
    assert "# mine" in CONFIG.read_text()
    first_mask()
    pid = show("gnetsegd", "MainPID")
    with reader() as here:
        sh(f"DEBIAN_FRONTEND=noninteractive apt-get install --yes {deb('gnetsegd_*.deb')} "
           f"{deb('python3-gnetsegd_*.deb')} {deb('gnetseg-runtime_*.deb')}")  # fmt: skip
        assert version("gnetsegd") == now
        wait_for(lambda: show("gnetsegd", "MainPID") not in (pid, "0"))
        seen = len(here.times_s)
        wait_for(lambda: len(here.times_s) > seen + 5)
        print(f"longest gap of the upgrade: {here.longest_gap_s:.1f} s")
    assert "# mine" in CONFIG.read_text()
    assert not list(Path("/etc/gnetsegd").glob("*.dpkg-*"))


def test_what_people_switch_on_themselves_is_off_and_says_what_it_needs() -> None:
    for name, package in (
        ("view", "python3-aiohttp"),
        ("presence", "python3-paho-mqtt"),
        ("exporter", "python3-prometheus-client"),
        ("zenoh", "gnetseg-zenoh"),
    ):
        assert show(f"gnetsegd-{name}", "UnitFileState") == "disabled"
        out = sh(
            f"timeout 20 gnetsegctl {name} {'--set mqtt.host=127.0.0.1' * (name == 'presence')}", check=False
        )
        assert package in out, out
        assert "Traceback" not in out


def test_zenoh_is_a_package_of_its_own_that_nobody_else_sees() -> None:
    sh(f"apt-get install --yes {deb('more/gnetseg-zenoh_*.deb')}")
    out = sh("timeout 20 gnetsegctl fleet watch --seconds 1", check=False)
    assert "no Zenoh router answers" in out
    assert "ModuleNotFoundError" in sh("python3 -c 'import zenoh'", check=False)
    tell_of_the_camera_as_the_unit_holds_it()
    sh("apt-get purge --yes gnetseg-zenoh")


#: Zenoh's own, in a Python process.
ROUTER = """
import json, time, zenoh
config = zenoh.Config()
for key, value in {"mode": "router", "listen/endpoints": ["tcp/127.0.0.1:7447"],
                   "scouting/multicast/enabled": False, "transport/shared_memory/enabled": False}.items():
    config.insert_json5(key, json.dumps(value))
session = zenoh.open(config)
time.sleep(600)
"""


def tell_of_the_camera_as_the_unit_holds_it() -> None:
    hosts = Path("/etc/hosts")
    if not hosts.exists():
        # As Debian's installer writes it.
        hosts.write_text("127.0.0.1 localhost\n")
    router = subprocess.Popen(["python3", "-c", ROUTER], env={**os.environ, "PYTHONPATH": ZENOH})
    try:
        # The router may come later, as here.
        sh("systemctl start gnetsegd-zenoh")

        def seen() -> list[dict[str, Any]]:
            out = sh("gnetsegctl fleet watch --json --seconds 3 2>/dev/null", check=False)
            rows = json.loads(out)["cameras"] if out else []
            return [row for row in rows if row["state"] == "running" and row["share"] is not None]

        (row,) = wait_for(seen)
        assert (row["host"], row["camera"], row["wrong"]) == (socket.gethostname(), "cam0", 0)
        pid = show("gnetsegd-zenoh", "MainPID")
        assert exposed(pid)["NoNewPrivs"] == "1"
        assert exposed(pid)["CapEff"] == "0000000000000000"
        assert show("gnetsegd-zenoh", "NRestarts") == "0"
        begun = time.monotonic()
        sh("systemctl stop gnetsegd-zenoh")
        assert time.monotonic() - begun < 5, "the unit's own limit"
        assert show("gnetsegd-zenoh", "Result") == "success", journal_lines(pid)
    finally:
        router.kill()
        router.wait()


def test_what_people_look_for_is_there() -> None:
    for path in (
        "/usr/share/man/man8/gnetsegd.8.gz", "/usr/share/man/man1/gnetsegctl.1.gz",
        "/usr/share/bash-completion/completions/gnetsegctl", "/usr/share/doc/gnetsegd/operating.md.gz",
        "/usr/share/doc/gnetseg-runtime/copyright",
    ):  # fmt: skip
        assert Path(path).exists() or Path(path.removesuffix(".gz")).exists(), path


def test_removed_it_leaves_its_configuration_and_purged_nothing_but_the_user() -> None:
    sh("systemctl stop gnetsegd; apt-get remove --yes gnetsegd")
    assert CONFIG.exists()
    assert not Path("/run/gnetsegd").exists()
    out = sh("apt-get purge --yes gnetsegd python3-gnetsegd gnetseg-runtime")
    assert "nothing is left but the user and group gnetsegd" in out
    assert sh("find / -xdev -iname '*gnetseg*' -not -path '/proc/*' -not -path '/srv/*' -not -path '/tmp/*' "
              "-not -path '/usr/local/*' -not -path '/var/log/*' -not -path '/var/cache/*'").split() in (
        [], ["/etc/systemd/system/gnetsegd.service.d"],
    )  # fmt: skip
    assert sh("id -un gnetsegd").strip() == "gnetsegd"
    # A name that systemd has not yet forgotten is no unit.
    units = sh("systemctl list-units --all 'gnetsegd*' --no-legend --plain", check=False).splitlines()
    assert [line for line in units if " not-found inactive dead" not in line] == []
