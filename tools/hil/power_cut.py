#!/usr/bin/env python3
"""The emulated machine loses its power while it records: what is on its disk then (docs/testing.md).

The guest of ``run.py`` gets a disk of its own, with a file system whose journal is on. In it a daemon runs
and ``gnetsegctl record`` writes to that disk; QEMU is killed. Then the file system is checked, the recording
taken out of it (e2fsprogs, on a file of this machine), read as it is, finished, and opened by the mcap
library.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.path.insert(0, str(HERE.parents[1]))

from run import fill_share, guest, qemu_command, words  # noqa: E402

from gnetsegd.recordings.finishing import finish  # noqa: E402
from gnetsegd.recordings.reading import Recording  # noqa: E402

DISK_MB = 128
#: The emulated processor is slow: so long for the start, in s.
START_S = 300.0
RECORD_S = 15.0
#: A second of the recorder's, the disk's own time, and that of the emulated processor.
LOST_MAX_S = 2.5

SCRIPT = r"""
set -eu
exec >/host/logs/power-cut 2>&1
bash /host/install
mkdir -p /mnt /run/cut
mount -t ext4 /dev/vdb /mnt
python3 -m gnetsegd run --set camera.driver=pattern --set camera.fps=20 --set accelerator.driver=standin \
    --set model.bundle=/host/src/tests/data/models/threshold-32 \
    --set 'publish.endpoints=["ipc:///run/cut/m.sock"]' --set publish.frames=true &
sleep 1
until gnetsegctl record /mnt/drive.mcap --frames --endpoint ipc:///run/cut/m.sock --timeout 60
do sleep 1; done &
cat >/run/cut/now.py <<'END'
import os, time
from gnetsegd.client import MaskSubscriber
while not os.path.exists("/mnt/drive.mcap"):
    time.sleep(0.2)
with MaskSubscriber("ipc:///run/cut/m.sock") as masks:
    while True:
        mask = masks.receive(1.0)
        if mask is not None:
            # What was made until now, on the other machine's disk.
            with open("/host/now.new", "w") as file:
                file.write(f"{mask.sequence} {mask.wall_time_ns}")
            os.replace("/host/now.new", "/host/now")
END
exec python3 /run/cut/now.py
"""


def record_and_cut(image: Path, work: Path, disk: Path) -> tuple[int, int]:
    """(number, time of exposure) of the newest mask that was made before the power went."""
    share = work / "share"
    share.mkdir()
    fill_share(share, [])
    (share / "run").write_text(SCRIPT)
    command = qemu_command(image, share, work, False)
    # What the guest has flushed is on the disk, and nothing else.
    command += ["-drive", f"file={disk},format=raw,if=virtio,cache=writethrough"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + START_S
        while not (share / "now").exists():
            if time.monotonic() > deadline or process.poll() is not None:
                raise RuntimeError(words(share / "logs" / "power-cut") or "the guest did not start")
            time.sleep(0.2)
        time.sleep(RECORD_S)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    sequence, wall_ns = words(share / "now").split()
    return int(sequence), int(wall_ns)


def main() -> int:
    for tool in ("mke2fs", "e2fsck", "debugfs"):
        if not shutil.which(tool, path="/usr/sbin:/sbin:/usr/bin"):
            print(f"hil: {tool} is missing; run tools/setup/hil-packages.sh")
            return 1
    image = guest()
    with tempfile.TemporaryDirectory(prefix="hil-") as name:
        work = Path(name)
        disk, path = work / "disk", work / "drive.mcap"
        with disk.open("wb") as file:
            file.truncate(DISK_MB << 20)
        subprocess.run(["/usr/sbin/mke2fs", "-q", "-t", "ext4", disk], check=True)
        newest, wall_ns = record_and_cut(image, work, disk)
        # 1: the journal was replayed, as a boot would.
        if subprocess.run(["/usr/sbin/e2fsck", "-fp", disk], stdout=subprocess.DEVNULL).returncode > 1:
            print("hil: the file system did not survive")
            return 1
        subprocess.run(["/usr/sbin/debugfs", "-R", f"dump /drive.mcap {path}", disk], check=True, stderr=-3)
        return judge(path, newest, wall_ns)


def judge(path: Path, newest: int, wall_ns: int) -> int:
    from mcap.reader import make_reader

    there = Recording(path)
    masks = [message for message in there if message.kind == "mask"]
    if not masks:
        print("hil: power cut: nothing was recorded")
        return 1
    lost_s = (wall_ns - masks[-1].log_ns) / 1e9
    done = finish(path)
    with path.open("rb") as file:
        opened = sum(1 for _ in make_reader(file, validate_crcs=True).iter_messages())
    print(
        f"hil: power cut: {len(masks)} masks there, {lost_s:.1f} s lost of {newest} made; cut: {there.cut}; "
        f"whole again with {opened} messages"
    )
    good = there.cut and not done.was_whole and opened == done.messages > 0 and lost_s <= LOST_MAX_S
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
