"""This machine's own: temperature and, on a Raspberry Pi, why it is throttled."""

from __future__ import annotations

from pathlib import Path

TEMPERATURE = Path("/sys/class/thermal/thermal_zone0/temp")
#: Of the Pi's firmware, in hex.
THROTTLED = Path("/sys/devices/platform/soc/soc:firmware/get_throttled")
#: By bit; those of 16 more are since the start.
REASONS = ("under-voltage", "frequency-capped", "throttled", "soft-temperature-limit")


def temperature_celsius() -> float | None:
    """Of the processor; None where this machine does not tell."""
    try:
        return int(TEMPERATURE.read_text("ascii")) / 1000
    except (OSError, ValueError):
        return None


def throttled() -> dict[str, bool]:
    """By reason, whether it is so now; empty on other machines."""
    try:
        bits = int(THROTTLED.read_text("ascii"), 16)
    except (OSError, ValueError):
        return {}
    return {reason: bool(bits >> bit & 1) for bit, reason in enumerate(REASONS)}
