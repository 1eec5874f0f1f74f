"""Presence at a real broker: what is dead is unavailable within 5 s, and never clear."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_publisher import FakeDaemon, person
from mqtt_broker import Broker, Observer, Wire
from processes import Daemon, Process

from gnetsegd.services import zones

LIMIT_S = 5.0
SERVICE = "gnetsegd/availability"
CONFIG = "homeassistant/device/gnetsegd_cam0/config"
WHOLE = "gnetsegd/cam0/picture"


@pytest.fixture
def broker(start: Callable[..., Process], tmp_path: Path) -> Broker:
    return Broker(start, tmp_path)


@pytest.fixture
def observer(broker: Broker) -> Iterator[Observer]:
    made = Observer(broker.port)
    yield made
    made.close()


@pytest.fixture
def presence(start: Callable[..., Process], tmp_path: Path) -> Callable[..., Process]:
    """Starts the service; ``port`` of the broker."""

    def begin(port: int, endpoint: str, *settings: str) -> Process:
        words = [sys.executable, "-m", "gnetsegd.ctl.main", "presence", "--state", str(tmp_path / "presence")]
        for setting in (
            "mqtt.host=127.0.0.1", f"mqtt.port={port}", f'service.endpoints=["{endpoint}"]',
            f"service.zones_dir={tmp_path / 'zones'}", "occupancy.off_after_s=1", *settings,
        ):  # fmt: skip
            words += ["--set", setting]
        return start(*words)

    return begin


def is_on(now: dict[str, str]) -> bool:
    return (
        now.get(SERVICE) == "online"
        and now.get(f"{WHOLE}/availability") == "online"
        and json.loads(now[f"{WHOLE}/state"])["occupancy"] == "ON"
    )


def never_clear(observer: Observer) -> bool:
    return not any(
        topic == f"{WHOLE}/state" and payload and json.loads(payload)["occupancy"] == "OFF"
        for _, topic, payload in observer.log
    )


def test_a_person_on_a_real_clip_is_told_and_a_killed_daemon_is_unavailable(
    broker: Broker, observer: Observer, presence: Callable[..., Process], daemon: Daemon
) -> None:
    presence(broker.port, daemon.endpoint)
    observer.wait_for(is_on)
    announced = json.loads(observer.now[CONFIG])
    for component in announced["components"].values():
        assert component["state_topic"] in observer.now
        assert all(one["topic"] in observer.now for one in component["availability"])
    daemon.process.kill()
    assert observer.wait_for(lambda now: now[f"{WHOLE}/availability"] == "offline") < LIMIT_S
    assert observer.now[SERVICE] == "online"
    daemon.start()
    observer.wait_for(is_on)
    assert never_clear(observer)


def test_a_service_that_is_killed_is_unavailable_by_its_will(
    broker: Broker, observer: Observer, presence: Callable[..., Process], ipc_endpoint: str
) -> None:
    with FakeDaemon(ipc_endpoint, labels=person(64, 48)):
        service = presence(broker.port, ipc_endpoint)
        observer.wait_for(is_on)
        service.kill()
        assert observer.wait_for(lambda now: now[SERVICE] == "offline") < LIMIT_S
        presence(broker.port, ipc_endpoint)
        observer.wait_for(is_on)
        assert never_clear(observer)


def test_what_an_earlier_run_said_is_not_true_again_because_the_service_is(
    broker: Broker, observer: Observer, presence: Callable[..., Process], ipc_endpoint: str
) -> None:
    with FakeDaemon(ipc_endpoint, labels=person(64, 48)):
        service = presence(broker.port, ipc_endpoint)
        observer.wait_for(is_on)
        service.kill()
        observer.wait_for(lambda now: now[SERVICE] == "offline")
    # The daemon has gone meanwhile, and what is retained still says online and ON.
    assert observer.now[f"{WHOLE}/availability"] == "online"
    presence(broker.port, ipc_endpoint)
    observer.wait_for(lambda now: now[SERVICE] == "online")
    assert observer.now[f"{WHOLE}/availability"] == "offline"
    order = [(topic, payload) for _, topic, payload in observer.log]
    unknown, again = (
        order[::-1].index((f"{WHOLE}/availability", "offline")),
        order[::-1].index((SERVICE, "online")),
    )
    assert unknown > again, "first what is not known any more, then that the service is there"


def test_after_a_restart_of_the_broker_all_is_there_again(
    broker: Broker, observer: Observer, presence: Callable[..., Process], ipc_endpoint: str
) -> None:
    with FakeDaemon(ipc_endpoint, labels=person(64, 48)):
        presence(broker.port, ipc_endpoint)
        observer.wait_for(is_on)
        before = set(observer.now)
        broker.process.kill()
        observer.now.clear()
        time.sleep(1)
        broker.start()
        observer.wait_for(lambda now: is_on(now) if SERVICE in now else False, timeout_s=15)
        assert set(observer.now) == before
        log = [json.loads(payload) for _, topic, payload in observer.log if topic == f"{WHOLE}/state"]
        assert all(state["occupancy"] == "ON" for state in log)


def test_a_network_that_is_away_is_unavailable_and_comes_back(
    broker: Broker, observer: Observer, presence: Callable[..., Process], ipc_endpoint: str
) -> None:
    wire = Wire(broker.port)
    with FakeDaemon(ipc_endpoint, labels=person(64, 48)):
        presence(wire.port, ipc_endpoint)
        observer.wait_for(is_on)
        wire.cut.set()
        assert observer.wait_for(lambda now: now[SERVICE] == "offline", timeout_s=20) < LIMIT_S + 1
        time.sleep(10)
        wire.cut.clear()
        observer.wait_for(is_on)
        assert never_clear(observer)
    wire.close()


def test_zones_of_any_name_are_announced_and_taken_away(
    broker: Broker, observer: Observer, presence: Callable[..., Process], ipc_endpoint: str, tmp_path: Path
) -> None:
    box = [[0, 0], [1, 0], [1, 1], [0, 1]]
    rows = [{"name": name, "kind": "zone", "points": box} for name in ("#", "a/+/b", "Tür ♥")]
    path = zones.path_of(tmp_path / "zones", "cam0")
    zones.write(path, zones.parse({"version": 1, "zones": rows}))
    with FakeDaemon(ipc_endpoint, labels=person(64, 48)):
        presence(broker.port, ipc_endpoint)
        observer.wait_for(lambda now: sum(t.endswith("/state") for t in now) == 4 and is_on(now))
        assert not any(sign in topic for topic in observer.now for sign in "#+ ♥")
        announced = json.loads(observer.now[CONFIG])
        assert {"#", "a/+/b", "Tür ♥"} <= {one["name"] for one in announced["components"].values()}
        zones.write(path, zones.parse({"version": 1, "zones": rows[:1]}))
        observer.wait_for(lambda now: sum(t.endswith("/state") and bool(p) for t, p in now.items()) == 2)
        configs = [
            json.loads(p) for _, t, p in observer.log if t == "homeassistant/device/gnetsegd_cam0/config"
        ]
        assert any({"platform": "binary_sensor"} in config["components"].values() for config in configs)
        assert "a/+/b" not in {one.get("name") for one in configs[-1]["components"].values()}


def test_a_password_is_needed_and_a_wrong_one_is_told(
    start: Callable[..., Process], presence: Callable[..., Process], ipc_endpoint: str, tmp_path: Path
) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["/usr/bin/mosquitto_passwd", "-b", "-c", str(passwords), "pi", "right"], check=True)
    broker = Broker(start, tmp_path, "allow_anonymous false", f"password_file {passwords}")
    secret = tmp_path / "secret"
    secret.write_text("wrong\n")
    with FakeDaemon(ipc_endpoint, labels=person(64, 48)):
        settings = ("mqtt.user=pi", f"mqtt.password_file={secret}")
        service = presence(broker.port, ipc_endpoint, *settings)
        assert "mend mqtt.user and mqtt.password_file" in service.wait_for("refuses")
        time.sleep(5)
        assert service.log.read_text().count("refuses") < 6, "not at each attempt for ever"
        service.end()
        secret.write_text("right\n")
        presence(broker.port, ipc_endpoint, *settings).wait_for("connected to the MQTT broker")
        observer = Observer(broker.port, user="pi", password="right")
        observer.wait_for(is_on)
        observer.close()


def test_tls_is_spoken_and_a_broker_of_another_name_is_refused(
    start: Callable[..., Process], presence: Callable[..., Process], ipc_endpoint: str, tmp_path: Path
) -> None:
    def certificate(name: str, folder: Path) -> tuple[str, str]:
        folder.mkdir()
        words = f"openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name}".split()
        words += [
            "-addext",
            f"subjectAltName=DNS:{name}",
            "-keyout",
            f"{folder}/key",
            "-out",
            f"{folder}/crt",
        ]
        subprocess.run(words, check=True, capture_output=True)
        return f"{folder}/crt", f"{folder}/key"

    crt, key = certificate("localhost", tmp_path / "good")
    broker = Broker(start, tmp_path, "allow_anonymous true", f"certfile {crt}", f"keyfile {key}")
    with FakeDaemon(ipc_endpoint, labels=person(64, 48)):
        settings: tuple[Any, ...] = ("mqtt.host=localhost", "mqtt.tls=true", f"mqtt.ca_file={crt}")
        presence(broker.port, ipc_endpoint, *settings).wait_for("connected to the MQTT broker")
        other, _ = certificate("other", tmp_path / "other")
        service = presence(broker.port, ipc_endpoint, *settings[:2], f"mqtt.ca_file={other}")
        time.sleep(4)
        assert "connected to" not in service.log.read_text()


def test_a_broker_that_is_not_there_is_waited_for(
    start: Callable[..., Process], presence: Callable[..., Process], ipc_endpoint: str, tmp_path: Path
) -> None:
    broker = Broker(start, tmp_path)
    broker.process.kill()
    with FakeDaemon(ipc_endpoint, labels=person(64, 48)):
        service = presence(broker.port, ipc_endpoint)
        service.wait_for("is watched")
        time.sleep(2)
        broker.start()
        service.wait_for("connected to the MQTT broker")
