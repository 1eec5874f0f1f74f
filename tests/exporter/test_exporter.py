"""Metrics say what the daemon says, nothing where it is silent, and wake nobody."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_publisher import FakeDaemon, FakePublisher, person
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from gnetsegd.message import STATUS_FIELDS
from gnetsegd.services import zones
from gnetsegd.services.exporter import host, metrics
from gnetsegd.services.exporter.run import Cameras, Options

pytestmark = pytest.mark.runtime

WAIT_S = 15.0
ROOT = Path(__file__).parents[2]

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


class Exporter:
    """Scraped without a server."""

    def __init__(self, endpoint: str, folder: Path, masks: bool) -> None:
        self.registry = CollectorRegistry()
        self.cameras = Cameras(Options((endpoint,), "", 0, masks, folder), self.registry)
        self.cameras.look()

    def scrape(self) -> Samples:
        text = generate_latest(self.registry).decode()
        return {
            (sample.name, frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def value(self, name: str, **labels: str) -> float | None:
        return self.scrape().get((f"gnetsegd_{name}", frozenset({"camera": "cam0", **labels}.items())))


@pytest.fixture
def export(tmp_path: Path) -> Iterator[Callable[..., Exporter]]:
    made: list[Exporter] = []

    def make(endpoint: str, masks: bool = False) -> Exporter:
        made.append(Exporter(endpoint, tmp_path / "zones", masks))
        return made[-1]

    yield make
    for one in made:
        one.cameras.stop()


def wait_until(condition: Callable[[], Any], timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def test_a_scrape_has_what_the_status_says(export: Callable[..., Exporter], ipc_endpoint: str) -> None:
    accelerator = {
        "preferred": {"faults": {"stall-in": 3, "x\x1b[2J": 1, "text": "many"}, "recoveries": 2},
        "changes": 5,
    }  # fmt: skip
    with FakeDaemon(ipc_endpoint, status={"accelerator": accelerator, "fallback": True}):
        exporter = export(ipc_endpoint)
        wait_until(lambda: exporter.value("up") == 1 and exporter.value("nominal_masks_per_second"))
        assert exporter.value("state", state="running") == 1
        assert exporter.value("state", state="no-camera") == 0
        assert exporter.value("masks_total") == 991
        assert exporter.value("dropped_frames_total", place="daemon") == 7
        assert exporter.value("reopens_total", part="camera") == 0
        assert exporter.value("fallback") == 1
        assert exporter.value("accelerator_faults_total", kind="stall-in") == 3
        assert exporter.value("accelerator_faults_total", kind="x?[2J") == 1
        assert exporter.value("accelerator_recoveries_total") == 2
        assert exporter.value("backend_changes_total") == 5
        info = {
            "backend": "standin",
            "driver": "pattern",
            "model": "fake",
            "persons": "true",
            "version": "0.1.0",
        }
        assert exporter.value("info", **info) == 1


def test_of_a_daemon_that_is_silent_there_is_nothing_but_that(
    export: Callable[..., Exporter], ipc_endpoint: str
) -> None:
    with FakeDaemon(ipc_endpoint):
        exporter = export(ipc_endpoint)
        wait_until(lambda: exporter.value("up") == 1)
    wait_until(lambda: exporter.value("up") == 0, timeout_s=6)
    assert {name for name, labels in exporter.scrape() if labels} <= {
        "gnetsegd_up",
        "gnetsegd_host_throttled",
    }


def test_a_scrape_asks_for_no_masks_and_between_scrapes_there_is_nothing(
    export: Callable[..., Exporter], ipc_endpoint: str
) -> None:
    with FakePublisher(ipc_endpoint) as publisher:
        exporter = export(ipc_endpoint)
        for _ in range(3):
            publisher.status()
            exporter.scrape()
            exporter.cameras.look()
        publisher.read_events()
        assert {topic.partition(b"/")[0] for topic in publisher.asked} <= {b"info", b"status"}


def test_with_masks_there_are_latency_and_zones_and_none_without_data(
    export: Callable[..., Exporter], ipc_endpoint: str, tmp_path: Path
) -> None:
    rows = [
        {"name": "Left", "kind": "zone", "points": [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]},
        {"name": "TV", "kind": "ignored", "points": [[0.5, 0], [1, 0], [1, 1], [0.5, 1]]},
    ]
    zones.write(zones.path_of(tmp_path / "zones", "cam0"), zones.parse({"version": 1, "zones": rows}))
    labels = person(64, 48)
    with FakeDaemon(ipc_endpoint, labels=labels):
        exporter = export(ipc_endpoint, masks=True)
        wait_until(lambda: exporter.value("zone_person_ratio", zone="Left") is not None)
        left = labels[:, :32]
        assert exporter.value("zone_person_ratio", zone="Left") == pytest.approx(left.mean())
        assert exporter.value("zone_person_ratio", zone="picture") == pytest.approx(left.sum() / labels.size)
        assert exporter.value("zone_person_ratio", zone="TV") is None
        wait_until(lambda: (exporter.value("mask_latency_seconds_count") or 0) > 10)
        # The fake's masks are sent 20 ms after their exposure.
        assert exporter.value("mask_latency_seconds_bucket", le="0.01") == 0
        assert (exporter.value("mask_latency_seconds_bucket", le="0.05") or 0) > 0
    wait_until(lambda: exporter.value("zone_person_ratio", zone="Left") is None, timeout_s=8)


def test_the_link_is_counted_where_masks_come_over_it() -> None:
    info = {
        "input": {"width": 224, "height": 224, "pixel_format": "YUV420"},
        "mask": {"stride": 28, "height": 224},
        "fps_nominal": 30.0, "version": "1", "model": {"id": "m"}, "persons": [1],
    }  # fmt: skip
    status = {
        "backend": "usb", "state": "running", "fps": 30.0, "fallback": False, "subscribers": True,
        "uptime_s": 1.0,
        "camera_device": {"driver": "x"}, "accelerator": {"faults": "none", "recoveries": "no"},
        "counters": dict.fromkeys(STATUS_FIELDS["counters"], 0),
    }  # fmt: skip
    found = {
        sample.name: sample.value
        for family in metrics.families([metrics.Seen("cam0", True, status, info)])
        for sample in family.samples
    }
    size = 224 * 224 * 1.5 + 28 * 224
    assert found["gnetsegd_link_bytes_per_second"] == pytest.approx(30 * size)
    assert found["gnetsegd_link_utilisation_ratio"] == pytest.approx(30 * size / 60e6)
    assert "gnetsegd_accelerator_recoveries_total" not in found


def test_every_metric_is_on_the_page_and_what_is_on_the_page_is_a_metric(
    export: Callable[..., Exporter], ipc_endpoint: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, text in (("TEMPERATURE", "48312\n"), ("THROTTLED", "50005\n")):
        file = tmp_path / name
        file.write_text(text)
        monkeypatch.setattr(host, name, file)
    assert host.temperature_celsius() == pytest.approx(48.312)
    assert [reason for reason, is_so in host.throttled().items() if is_so] == ["under-voltage", "throttled"]
    with FakeDaemon(ipc_endpoint, labels=np.zeros((48, 64), np.uint8)):
        exporter = export(ipc_endpoint, masks=True)
        wait_until(lambda: exporter.value("zone_person_ratio", zone="picture") is not None)
        text = generate_latest(exporter.registry).decode()
    made = set(re.findall(r"^# TYPE (\S+) ", text, re.M))
    made = {name for name in made if not name.endswith("_created")}
    page = (ROOT / "docs" / "grafana" / "README.md").read_text()
    named = {
        name
        for row in page.splitlines()
        if row.startswith("| `gnetsegd")
        for name in re.findall(r"`(gnetsegd_\w+)`", row.split("|")[1])
    }
    assert named == made
    shown = json.loads((ROOT / "docs" / "grafana" / "gnetsegd.json").read_text())
    rules = (ROOT / "docs" / "grafana" / "alerts.yml").read_text()
    asked = " ".join(target["expr"] for panel in shown["panels"] for target in panel["targets"]) + rules
    used = {re.sub("_(bucket|count|sum)$", "", name) for name in re.findall(r"gnetsegd_\w+", asked)}
    assert used <= made
