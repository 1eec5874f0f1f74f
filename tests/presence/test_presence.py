"""What is told of a camera's zones, and to whom."""

from __future__ import annotations

import http.server
import json
import re
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_publisher import FakeDaemon, person

from gnetsegd.client import MaskSubscriber
from gnetsegd.errors import ConfigError
from gnetsegd.services import zones
from gnetsegd.services.presence import config as configuration
from gnetsegd.services.presence import others, watcher
from gnetsegd.services.presence.broker import Broker
from gnetsegd.services.presence.config import MqttConfig, OccupancyConfig, load
from gnetsegd.services.presence.others import Teller
from gnetsegd.services.presence.topics import Topics, slug, state_payload
from gnetsegd.services.presence.watcher import WHOLE, Told, Watcher

pytestmark = pytest.mark.runtime

WAIT_S = 15.0
BOX = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]]
QUICK = OccupancyConfig(off_after_s=0.3)


def wait_until(condition: Callable[[], Any], timeout_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)


class Heard:
    """What a watcher told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, Told]] = []
        self.announced: list[list[str]] = []

    def tell(self, camera: str, zone: str, told: Told) -> None:
        self.told.append((camera, zone, told))

    def announce(self, _camera: str, names: list[str]) -> None:
        self.announced.append(names)

    def last(self, zone: str = WHOLE) -> Told | None:
        return next((told for _, name, told in reversed(self.told) if name == zone), None)

    def occupied(self, zone: str = WHOLE) -> bool | None:
        last = self.last(zone)
        return None if last is None else last.occupied


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Heard]]:
    made: list[Watcher] = []

    def begin(endpoint: str, config: OccupancyConfig = QUICK) -> Heard:
        heard = Heard()
        path = zones.path_of(tmp_path, "cam0")
        made.append(
            Watcher("cam0", lambda: MaskSubscriber(endpoint), path, config, heard.tell, heard.announce)
        )
        made[-1].start()
        return heard

    yield begin
    for one in made:
        one.stop(10)


def draw(folder: Path, *areas: tuple[str, str, Any]) -> None:
    rows = [{"name": name, "kind": kind, "points": points} for name, kind, points in areas]
    zones.write(zones.path_of(folder, "cam0"), zones.parse({"version": 1, "zones": rows}))


def test_a_person_is_told_with_share_blobs_and_centre(watch: Callable[..., Heard], ipc_endpoint: str) -> None:
    labels = person(64, 48)
    with FakeDaemon(ipc_endpoint, labels=labels):
        heard = watch(ipc_endpoint)
        wait_until(lambda: heard.occupied() is True)
        last = heard.last()
        assert last is not None
        assert last.share == pytest.approx(labels.mean())
        assert last.blobs == 1
        assert last.centre == pytest.approx((0.5, 0.69), abs=0.05)
    assert heard.announced == [[WHOLE]]


def test_an_empty_room_is_clear_and_never_on(watch: Callable[..., Heard], ipc_endpoint: str) -> None:
    with FakeDaemon(ipc_endpoint, labels=np.zeros((48, 64), np.uint8)):
        heard = watch(ipc_endpoint)
        wait_until(lambda: heard.occupied() is False)
        last = heard.last()
        assert last is not None
        assert (last.share, last.blobs, last.centre) == (0.0, 0, None)
        assert not any(told.occupied for _, _, told in heard.told)


@pytest.mark.parametrize(
    "status", [{"state": "no-camera", "reason": "gone"}, {"state": "no-accelerator", "reason": "gone"}]
)
def test_a_dead_part_is_unknown_and_never_clear(
    watch: Callable[..., Heard], ipc_endpoint: str, status: dict[str, str]
) -> None:
    daemon = FakeDaemon(ipc_endpoint, labels=person(64, 48))
    with daemon:
        heard = watch(ipc_endpoint)
        wait_until(lambda: heard.occupied() is True)
        daemon._masks = False
        daemon._status.update(status)
        wait_until(lambda: heard.occupied() is None, timeout_s=5)
        assert heard.last() == Told(None, "gone")
        assert not any(told.occupied is False for _, _, told in heard.told)
        daemon._masks = True
        daemon._status.clear()
        wait_until(lambda: heard.occupied() is True)
    wait_until(lambda: heard.occupied() is None, timeout_s=5)
    assert not any(told.occupied is False for _, _, told in heard.told)


def test_zones_are_followed_and_persons_in_ignored_areas_do_not_count(
    watch: Callable[..., Heard], ipc_endpoint: str, tmp_path: Path
) -> None:
    labels = np.zeros((48, 64), np.uint8)
    labels[20:40, 40:60] = 1  # in the right half
    with FakeDaemon(ipc_endpoint, labels=labels):
        heard = watch(ipc_endpoint)
        wait_until(lambda: heard.occupied() is True)
        draw(tmp_path, ("Left", "zone", BOX), ("Right", "zone", [[1 - x, y] for x, y in BOX]))
        wait_until(lambda: heard.occupied("Right") is True and heard.occupied("Left") is False)
        assert heard.announced[-1] == [WHOLE, "Left", "Right"]
        draw(tmp_path, ("Left", "zone", BOX), ("TV", "ignored", [[1 - x, y] for x, y in BOX]))
        wait_until(lambda: heard.occupied() is False)
        assert heard.announced[-1] == [WHOLE, "Left"]
        zones.path_of(tmp_path, "cam0").write_text("{")
        time.sleep(1.5)
        assert heard.announced[-1] == [WHOLE, "Left"], "a bad file changes nothing"


def test_a_zone_that_the_mask_does_not_show_is_unknown(
    watch: Callable[..., Heard], ipc_endpoint: str, tmp_path: Path
) -> None:
    draw(tmp_path, ("Left", "zone", BOX))
    daemon = FakeDaemon(ipc_endpoint, labels=person(64, 48))
    geometry = daemon.publisher.info_body()["geometry"] | {"x": 0.5, "width": 0.5}
    daemon.publisher.info_body = lambda body=daemon.publisher.info_body: body() | {"geometry": geometry}  # type: ignore[method-assign,misc]
    with daemon:
        heard = watch(ipc_endpoint)
        wait_until(lambda: heard.occupied() is True and heard.last("Left") is not None)
        assert heard.last("Left") == Told(None, "the mask shows nothing of this zone")


def test_a_network_that_knows_no_persons_is_unknown(watch: Callable[..., Heard], ipc_endpoint: str) -> None:
    daemon = FakeDaemon(ipc_endpoint)
    daemon.publisher.persons = []
    with daemon:
        heard = watch(ipc_endpoint)
        wait_until(lambda: heard.last() is not None and "knows no persons" in heard.last().reason)  # type: ignore[union-attr]
        assert heard.occupied() is None


# -- topics ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["Sofa", "sofa", "Tür ♥", "#", "+/+", "a/b#c", "x" * 40, " ", "沙发", "\x00"]
)
def test_names_of_any_letters_make_topics_of_few(name: str) -> None:
    assert re.fullmatch(r"[a-z0-9_]{1,31}", slug(name))


def test_no_two_names_share_a_topic() -> None:
    names = [
        "Sofa",
        "sofa",
        "SOFA",
        "sofa ",
        "so fa",
        "so_fa",
        "so-fa",
        "söfa",
        "#",
        "+",
        "/",
        "a/b",
        "a#b",
        "沙",
        "发",
    ]
    assert len({slug(name) for name in names}) == len(names)


def words_of(text: str) -> set[str]:
    return set(text.split())


#: What Home Assistant documents: device discovery, and the two platforms.
DISCOVERY = words_of("device origin components qos availability availability_mode state_topic encoding")
DEVICE = words_of(
    "identifiers name manufacturer model model_id sw_version hw_version serial_number configuration_url"
)
COMMON = words_of(
    "platform unique_id name state_topic value_template availability availability_mode enabled_by_default "
    "device_class entity_category expire_after force_update icon qos default_entity_id"
)
PLATFORMS = {
    "binary_sensor": COMMON | {"payload_on", "payload_off", "off_delay"},
    "sensor": COMMON | {"unit_of_measurement", "state_class", "suggested_display_precision", "options"},
}


def test_the_announcement_is_what_home_assistant_documents() -> None:
    topics = Topics(MqttConfig())
    assert topics.discovery("door") == "homeassistant/device/gnetsegd_door/config"
    body = topics.announcement("door", [WHOLE, "Sofa"], ["Old"])
    assert set(body) <= DISCOVERY
    assert {"device", "origin", "components"} <= set(body)
    assert set(body["device"]) <= DEVICE
    assert body["device"]["identifiers"]
    assert body["origin"]["name"]
    ids = set()
    for key, component in body["components"].items():
        assert re.fullmatch(r"[a-zA-Z0-9_-]+", key)
        if set(component) == {"platform"}:
            assert "old" in key, "a component with its platform alone is taken away"
            continue
        assert set(component) <= PLATFORMS[component["platform"]]
        assert component["availability_mode"] == "all"
        assert {"topic": "gnetsegd/availability"} in component["availability"]
        ids.add(component["unique_id"])
    assert len(ids) == 10
    assert sum(c.get("device_class") == "occupancy" for c in body["components"].values()) == 2
    assert json.loads(json.dumps(body)) == body
    assert Topics(MqttConfig(discovery_prefix="")).discovery("door") == ""


def test_a_state_says_on_or_off_and_numbers() -> None:
    assert json.loads(state_payload(Told(True, "", 0.1234, 2, (0.25, 0.5)))) == {
        "occupancy": "ON", "share": 12.3, "blobs": 2, "x": 25.0, "y": 50.0,
    }  # fmt: skip
    assert json.loads(state_payload(Told(False))) == {
        "occupancy": "OFF", "share": 0, "blobs": 0, "x": None, "y": None,
    }  # fmt: skip


# -- commands and addresses -----------------------------------------------------------------------


def test_a_command_runs_at_each_change_without_a_shell(tmp_path: Path) -> None:
    out = tmp_path / "out"
    script = tmp_path / "told.py"
    script.write_text(
        "import os, sys\n"
        "words = [os.environ['GNETSEGD_' + name] for name in ('CAMERA', 'ZONE', 'OCCUPANCY')]\n"
        "print(*words, sep='|', file=open(sys.argv[1], 'a'))\n"
    )
    teller = Teller(others.command(f"{sys.executable} {script} {out}"), "service.exec")
    told: list[str] = []
    try:
        for zone, occupied in (("$(reboot); #", True), ("$(reboot); #", False), ("b", None)):
            teller.tell("cam0", zone, Told(occupied))
            teller.tell("cam0", zone, Told(occupied, share=0.5))
            told.append(f"cam0|{zone}|{others.WORDS[occupied]}")
            wait_until(lambda: out.exists() and out.read_text().splitlines() == told)
    finally:
        teller.stop()


def test_a_command_that_fails_or_hangs_keeps_nobody_and_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(others, "EXEC_S", 0.2)
    for words in ("/nowhere/at/all", "false", f"{sys.executable} -c 'import time; time.sleep(60)'"):
        caplog.clear()
        teller = Teller(others.command(words), "service.exec")
        begin = time.monotonic()
        for number in range(1000):
            teller.tell("cam0", "zone", Told(number % 2 == 0))
        assert time.monotonic() - begin < 5, "whoever tells does not wait"
        assert len(teller._waiting) <= 1
        wait_until(lambda: "service.exec failed" in caplog.text)
        teller.stop()


@pytest.mark.parametrize("words", ["'", "", "  "])
def test_words_that_are_no_command_are_refused(words: str) -> None:
    with pytest.raises(ConfigError, match=r"service\.exec"):
        others.command(words)


def test_an_address_gets_each_change_and_is_not_followed_elsewhere(caplog: pytest.LogCaptureFixture) -> None:
    got: list[dict[str, Any]] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(302 if len(got) > 1 else 200)
            self.send_header("Location", "http://127.0.0.1:9/")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        teller = Teller(others.webhook(f"http://127.0.0.1:{server.server_port}/"), "service.webhook")
        teller.tell("cam0", "Sofa", Told(True, "", 0.25, 2))
        wait_until(lambda: len(got) == 1)
        teller.tell("cam0", "Sofa", Told(None, "no camera"))
        wait_until(lambda: "302" in caplog.text)
        teller.stop()
        server.shutdown()
    assert got == [
        {"camera": "cam0", "zone": "Sofa", "occupancy": "on", "reason": "", "share": 0.25, "blobs": 2},
        {
            "camera": "cam0",
            "zone": "Sofa",
            "occupancy": "unavailable",
            "reason": "no camera",
            "share": 0.0,
            "blobs": 0,
        },
    ]


# -- a broker that is none ------------------------------------------------------------------------


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Callable[[int], None]]:
    """Looks for a broker at a port of this machine, until the test ends."""
    made = []

    def begin(port: int) -> None:
        made.append(Broker(MqttConfig(host="127.0.0.1", port=port), tmp_path / "announced.json"))
        made[-1].start()

    yield begin
    for one in made:
        one.stop()


def test_a_broker_that_is_not_there_is_told(
    broker: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    broker(port)
    wait_until(lambda: f"127.0.0.1:{port} cannot be reached (Connection refused)" in caplog.text)


def test_a_broker_that_hangs_up_is_told(
    broker: Callable[[int], None], caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        broker(listener.getsockname()[1])
        listener.accept()[0].close()
        wait_until(lambda: "hangs up without an answer" in caplog.text)


# -- configuration --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("mqtt.prefix=a/#", "mqtt.prefix"), ("mqtt.prefix=a+b", "mqtt.prefix"), ("mqtt.port=-1", "mqtt.port"),
        ("mqtt.hots=x", "did you mean mqtt.host"), ("occupancy.on_share=2", "occupancy.on_share"),
        ("occupancy.off_share=0.5", "above on_share"), ("service.webhook=ftp://x", "service.webhook"),
        ("mqtt.host=mqtt://h", "without mqtt://"), ("mqtt.host=a..b", "can be no name"),
        ("mqtt.host=''", "nobody is told"), ("mqtt=1", "section.key"), ("broker.host=x", "key broker"),
    ],
)  # fmt: skip
def test_a_wrong_configuration_is_one_sentence(
    setting: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "DEFAULT_PATH", tmp_path / "none")
    with pytest.raises(ConfigError, match=words.replace(".", r"\.")):
        load(None, (setting,))


def test_a_file_and_settings_make_the_configuration(tmp_path: Path) -> None:
    path = tmp_path / "presence.toml"
    path.write_text("[mqtt]\nhost = 'broker'\nport = 1234\n[occupancy]\noff_after_s = 5\n")
    made = load(path, ("mqtt.port=99",))
    assert (made.mqtt.host, made.mqtt.port, made.occupancy.off_after_s) == ("broker", 99, 5.0)
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "nowhere.toml")
    path.write_text("[mqtt")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(path)
    assert watcher.MAX_AGE_S < 5
