"""Prints 60-gnetsegd.rules, made from the link's USB id."""

from __future__ import annotations

from gnetsegd.link.constants import USB_ID

RULE = """\
# Written by systemd/udev_rule.py: change it there.
# The accelerator is for members of plugdev, the daemon among them, and for nobody else. It is never
# suspended: waking up costs more than the time of a frame, and some hubs lose the device over it.
# With another accelerator.usb.id, copy this file to /etc/udev/rules.d and change the two numbers.
ACTION!="remove", SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", \\
  ATTR{{idVendor}}=="{vendor:04x}", ATTR{{idProduct}}=="{product:04x}", \\
  MODE="0660", GROUP="plugdev", TEST=="power/control", ATTR{{power/control}}="on"
"""


def rule() -> str:
    """The text of the file."""
    vendor, product = USB_ID
    return RULE.format(vendor=vendor, product=product)


if __name__ == "__main__":
    print(rule(), end="")
