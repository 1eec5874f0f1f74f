"""From a camera's ``info`` and ``status`` to metrics: base units, counters end in ``_total``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from ...message import STATES
from ...text import clean
from . import host

#: Bytes a second of high-speed USB.
LINK_BYTES_PER_S = 480e6 / 8
#: Kinds of faults of one accelerator that are told.
KINDS_MAX = 32


class Seen(NamedTuple):
    """What a camera's daemon says; ``status`` and ``info`` None: nothing yet."""

    camera: str
    is_alive: bool
    status: dict[str, Any] | None
    info: dict[str, Any] | None


def families(cameras: Iterable[Seen]) -> Iterator[Any]:
    """Metric families of all cameras and of this machine."""
    seen = list(cameras)
    up = GaugeMetricFamily("gnetsegd_up", "1: the daemon has said how it is within 3 s.", labels=["camera"])
    for one in seen:
        up.add_metric([one.camera], float(one.is_alive))
    yield up
    # What a daemon that is gone has said is not true any more.
    alive = [(one.camera, one.status, one.info) for one in seen if one.is_alive and one.status is not None]
    yield _info(alive)
    yield from _states(alive)
    yield from _gauges(alive)
    yield from _counters(alive)
    yield from _accelerator(alive)
    yield from _host()


_Alive = list[tuple[str, dict[str, Any], dict[str, Any] | None]]


def _info(alive: _Alive) -> Any:
    family = InfoMetricFamily("gnetsegd", "What runs.", labels=["camera"])
    for camera, status, info in alive:
        values = {"backend": clean(status["backend"]), "driver": clean(status["camera_device"]["driver"])}
        if info is not None:
            values |= {"version": clean(info["version"]), "model": clean(info["model"]["id"])}
            values |= {"persons": str(bool(info["persons"])).lower()}
        family.add_metric([camera], values)
    return family


def _states(alive: _Alive) -> Iterator[Any]:
    state = GaugeMetricFamily("gnetsegd_state", "1: the daemon is in this state.", labels=["camera", "state"])
    for camera, status, _ in alive:
        for name in dict.fromkeys((*STATES, clean(status["state"]))):
            state.add_metric([camera, name], float(name == status["state"]))
    yield state


def _gauges(alive: _Alive) -> Iterator[Any]:
    for name, text, value in (
        ("masks_per_second", "Masks of the last second.", lambda status, _: status["fps"]),
        ("nominal_masks_per_second", "0: no fixed rate.", lambda _, info: info and info["fps_nominal"]),
        ("fallback", "1: the backend stands in for the preferred one.", lambda status, _: status["fallback"]),
        ("watched", "1: somebody subscribes to masks or pictures.", lambda status, _: status["subscribers"]),
        ("uptime_seconds", "Since the daemon began.", lambda status, _: status["uptime_s"]),
    ):  # fmt: skip
        family = GaugeMetricFamily(f"gnetsegd_{name}", text, labels=["camera"])
        for camera, status, info in alive:
            found = value(status, info)
            if found is not None:
                family.add_metric([camera], float(found))
        yield family


def _counters(alive: _Alive) -> Iterator[Any]:
    for name, text, key in (
        ("frames", "Frames that the camera gave.", "frames"),
        ("masks", "Masks that were computed.", "masks"),
        ("losses", "Frames that the accelerator lost.", "losses"),
    ):
        family = CounterMetricFamily(f"gnetsegd_{name}", text, labels=["camera"])
        for camera, status, _ in alive:
            family.add_metric([camera], status["counters"][key])
        yield family
    for name, text, label, pattern in (
        ("dropped_frames", "Frames without a mask, by where they were dropped.", "place", "dropped_{}"),
        ("reopens", "How often a part was lost or could not be opened.", "part", "{}_reopens"),
    ):
        family = CounterMetricFamily(f"gnetsegd_{name}", text, labels=["camera", label])
        for camera, status, _ in alive:
            for part in ("camera", "daemon") if label == "place" else ("camera", "accelerator"):
                family.add_metric([camera, part], status["counters"][pattern.format(part)])
        yield family


def _accelerator(alive: _Alive) -> Iterator[Any]:
    faults = CounterMetricFamily(
        "gnetsegd_accelerator_faults", "Faults of the link, by kind.", labels=["camera", "kind"]
    )
    recoveries = CounterMetricFamily(
        "gnetsegd_accelerator_recoveries", "How often the link was mended.", labels=["camera"]
    )
    changes = CounterMetricFamily(
        "gnetsegd_backend_changes", "Changes between accelerator and stand-in.", labels=["camera"]
    )
    rate = GaugeMetricFamily(
        "gnetsegd_link_bytes_per_second",
        "Pictures and masks on USB, by their rate and size.",
        labels=["camera"],
    )
    share = GaugeMetricFamily(
        "gnetsegd_link_utilisation_ratio", "The same, of what high-speed USB carries.", labels=["camera"]
    )
    for camera, status, info in alive:
        words = status["accelerator"]
        link = words.get("preferred") if isinstance(words.get("preferred"), dict) else words
        # An accelerator's own words are free in form.
        for kind, count in list(_dictionary(link.get("faults")).items())[:KINDS_MAX]:
            if _is_number(count):
                faults.add_metric([camera, clean(str(kind), 60)], count)
        for family, value in ((recoveries, link.get("recoveries")), (changes, words.get("changes"))):
            if _is_number(value):
                family.add_metric([camera], value)
        if info is not None and status["backend"] == "usb":
            bytes_per_s = status["fps"] * (
                _picture_bytes(info) + info["mask"]["stride"] * info["mask"]["height"]
            )
            rate.add_metric([camera], bytes_per_s)
            share.add_metric([camera], bytes_per_s / LINK_BYTES_PER_S)
    yield from (faults, recoveries, changes, rate, share)


def _picture_bytes(info: dict[str, Any]) -> float:
    place = info["input"]
    per_pixel = {"Y": 1.0, "YUV420": 1.5}.get(place["pixel_format"], 3.0)
    return float(place["width"] * place["height"] * per_pixel)


def _dictionary(value: Any) -> dict[Any, Any]:
    return value if isinstance(value, dict) else {}


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300


def _host() -> Iterator[Any]:
    temperature = host.temperature_celsius()
    if temperature is not None:
        yield GaugeMetricFamily("gnetsegd_host_temperature_celsius", "Of the processor.", value=temperature)
    reasons = host.throttled()
    if reasons:
        family = GaugeMetricFamily(
            "gnetsegd_host_throttled", "1: the Pi is throttled for this reason now.", labels=["reason"]
        )
        for reason, is_so in reasons.items():
            family.add_metric([reason], float(is_so))
        yield family
