"""The udev rule is for the device that the link is for, and opens it to nobody else."""

from __future__ import annotations

import runpy
from pathlib import Path

SYSTEMD = Path(__file__).parents[1] / "systemd"


def test_the_udev_rule_is_the_one_that_the_usb_ids_make() -> None:
    made = runpy.run_path(str(SYSTEMD / "udev_rule.py"))["rule"]()
    assert (SYSTEMD / "60-gnetsegd.rules").read_text() == made, "run systemd/udev_rule.py again"


def test_the_udev_rule_gives_the_device_to_a_group_and_not_to_the_world() -> None:
    rule = (SYSTEMD / "60-gnetsegd.rules").read_text()
    assert 'MODE="0660", GROUP="plugdev"' in rule
    assert "0666" not in rule
