"""Cameras of other machines: what is sent is heard, who is lost is told, nonsense is not believed."""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from fake_publisher import FakeDaemon, FakePublisher, person, status_body

from gnetsegd.errors import ConfigError, TransientError
from gnetsegd.message import pack_header, pack_json, pack_mask, parse_header, topic, unpack_mask
from gnetsegd.recordings import waiting
from gnetsegd.recordings.reading import Recording
from gnetsegd.recordings.writing import RecordingWriter
from gnetsegd.services.fleet import bridge, link, packing, run
from gnetsegd.services.fleet import fleet as fleet_module
from gnetsegd.services.fleet.bridge import Bridge, Pace
from gnetsegd.services.fleet.config import FleetConfig, LinkConfig, SendConfig, Wish, host_name, load
from gnetsegd.services.fleet.fleet import Fleet, Seen
from gnetsegd.services.fleet.run import row

from ..recordings.made import info_of, mask_of
from .conftest import free_port, publisher_at, put, router_at, wait_for_a_listener, zenoh

LIMIT_S = 30.0
TLS = Path(__file__).parents[1] / "data" / "tls"


def wait_for(condition: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)
    return found


@pytest.fixture
def heard() -> list[tuple[str, str, str, bytes]]:
    return []


@pytest.fixture
def fleet(router: LinkConfig, heard: list[tuple[str, str, str, bytes]]) -> Iterator[Fleet]:
    session = link.open_session(router)
    made = Fleet(session, lambda *message: heard.append(message))
    yield made
    made.close()
    session.close()


class Machine:
    """A daemon with its bridge."""

    def __init__(self, router: LinkConfig, endpoint: str, host: str = "robot1", **send: Any) -> None:
        self.daemon = FakeDaemon(endpoint, labels=person())
        self.daemon.start()
        self.session = link.open_session(router)
        config = FleetConfig(router, SendConfig(endpoints=[endpoint], zones_dir="/nowhere", **send))
        self.bridge = Bridge(self.session, host, config)
        wait_for(lambda: self.bridge.look() or self.bridge._cameras)

    def close(self) -> None:
        self.bridge.stop()
        self.session.close()
        if self.daemon.is_alive():
            self.daemon.stop()


@pytest.fixture
def machine(router: LinkConfig, ipc_endpoint: str) -> Iterator[Callable[..., Machine]]:
    made: list[Machine] = []

    def make(host: str = "robot1", **send: Any) -> Machine:
        made.append(Machine(router, f"{ipc_endpoint}{len(made)}", host, **send))
        return made[-1]

    yield make
    for one in made:
        one.close()


def kinds(heard: list[tuple[str, str, str, bytes]]) -> set[str]:
    return {kind for _, kind, _, _ in heard}


def test_masks_info_and_status_are_those_of_the_daemon(
    fleet: Fleet, machine: Callable[..., Machine], heard: list[tuple[str, str, str, bytes]]
) -> None:
    machine(mask_hz=100.0, mask_bits=8)
    wait_for(lambda: kinds(heard) == {"mask", "info", "status"} and len(heard) > 20)
    assert {(host, camera) for host, _, camera, _ in heard} == {("robot1", "cam0")}
    masks = [parse_header(data) for _, kind, _, data in heard if kind == "mask"]
    assert [header.sequence for header in masks] == sorted({header.sequence for header in masks})
    (seen,) = fleet.cameras()
    assert seen.alive
    assert seen.status["state"] == "running"
    assert (seen.wrong, fleet.nonsense) == (0, 0)
    age_s = seen.age_s()
    assert age_s is not None
    assert 0 <= age_s < LIMIT_S


def test_by_default_only_presence_and_how_it_is_go_out(
    fleet: Fleet,
    machine: Callable[..., Machine],
    heard: list[tuple[str, str, str, bytes]],
    router: LinkConfig,
) -> None:
    told: list[dict[str, Any]] = []
    session = link.open_session(router)
    subscriber = session.declare_subscriber(
        "gnetseg/*/*/presence", lambda sample: told.append(json.loads(bytes(sample.payload)))
    )
    machine(presence_hz=20.0)
    wait_for(lambda: len(told) > 2 and kinds(heard) == {"info", "status"})
    assert 0.2 < told[-1]["share"] < 0.6
    assert fleet.nonsense == 0
    (seen,) = fleet.cameras()
    wait_for(lambda: seen.presence)
    assert row(seen, time.monotonic())["share"] == pytest.approx(told[-1]["share"], abs=0.01)
    subscriber.undeclare()
    session.close()


@pytest.mark.usefixtures("fleet")
def test_masks_are_sent_no_more_often_than_wanted_and_in_one_bit(
    machine: Callable[..., Machine], heard: list[tuple[str, str, str, bytes]]
) -> None:
    begun = time.monotonic()
    machine(mask_hz=5.0)
    wait_for(lambda: sum(kind == "mask" for _, kind, _, _ in heard) >= 6)
    assert time.monotonic() - begun >= 0.9
    data = next(data for _, kind, _, data in heard if kind == "mask")
    header = parse_header(data)
    assert header.format.bits == 1
    assert np.array_equal(unpack_mask(data[header.payload_offset :], header.format), person())


def test_a_daemon_that_goes_is_a_message_and_so_is_its_return(
    fleet: Fleet, machine: Callable[..., Machine]
) -> None:
    made = machine()
    wait_for(lambda: [event.what for event in fleet.events()] == ["here"])
    made.daemon.stop()
    (event,) = wait_for(fleet.events)
    assert (event.what, event.host, event.camera) == ("lost", "robot1", "cam0")
    made.daemon = FakeDaemon(made.daemon.endpoint)
    made.daemon.start()
    (event,) = wait_for(fleet.events)
    assert event.what == "here"


def test_a_bridge_that_is_stopped_leaves_no_thread(machine: Callable[..., Machine], fleet: Fleet) -> None:
    made = machine()
    wait_for(fleet.events)
    made.bridge.stop()
    assert not [
        thread.name
        for camera in made.bridge._cameras.values()
        for thread in camera._threads
        if thread.is_alive()
    ]


def test_a_machine_that_goes_takes_its_tokens_along(fleet: Fleet, machine: Callable[..., Machine]) -> None:
    made = machine()
    wait_for(fleet.events)
    made.session.close()
    (event,) = wait_for(fleet.events)
    assert event.what == "lost"


def test_nonsense_under_our_keys_is_counted_and_not_believed(
    fleet: Fleet, router: LinkConfig, ipc_endpoint: str, heard: list[tuple[str, str, str, bytes]]
) -> None:
    session = link.open_session(router)
    with FakePublisher(ipc_endpoint) as publisher:
        good = pack_header(publisher.header(person(8, 6), 5)) + pack_mask(person(8, 6), 8)
    presence = {
        "schema": 1, "session": 7, "sequence": 5, "sensor_timestamp_ns": 9,
        "share": 0.5, "zones": {"door": None},
    }  # fmt: skip
    wrong = {
        "gnetseg/robot9/cam0/presence": b"{}",
        "gnetseg/robot9/cam2/presence": json.dumps(presence | {"share": 2}).encode(),
        "gnetseg/robot9/cam3/presence": json.dumps(presence | {"share": float("nan")}).encode(),
        "gnetseg/robot9/cam4/presence": json.dumps(presence | {"zones": {"door": "\x1b"}}).encode(),
        "gnetseg/robot9/cam5/presence": json.dumps(presence | {"zones": {"x" * 70_000: None}}).encode(),
        "gnetseg/robot9/cam6/presence": b"[" * 60_000,
        "gnetseg/robot9/cam0/mask": b"rubbish",
        "gnetseg/robot9/cam1/mask": good,  # another camera's
        "gnetseg/robot9/cam0/status": topic("status", "cam0") + b"{}",
        "gnetseg/robot9/cam0/info": good,
        "gnetseg/robot9/cam0/else": good,
        "gnetseg/a b/cam0/mask": good,
        "gnetseg/robot9/" + "x" * 40 + "/mask": good,
    }
    for key, data in wrong.items():
        put(session, key, data)
    put(session, "gnetseg/robot9/cam0/mask", good)
    wait_for(lambda: fleet.nonsense == len(wrong) and heard)
    put(session, "gnetseg/robot9/cam0/mask", good)
    (seen,) = fleet.cameras()  # what was never right makes no camera
    wait_for(lambda: seen.wrong == 1)
    assert seen.masks == 1, "twice the same mask is one"
    assert len(heard) == 1, "and is passed on once"
    for _ in range(2):
        put(session, "gnetseg/robot9/cam0/presence", json.dumps(presence))
    wait_for(lambda: seen.wrong == 2)
    assert seen.presence["share"] == 0.5
    session.close()


def test_a_camera_at_two_sockets_is_told_of_once(
    fleet: Fleet,
    machine: Callable[..., Machine],
    ipc_endpoint: str,
    caplog: pytest.LogCaptureFixture,
    heard: list[tuple[str, str, str, bytes]],
) -> None:
    """Two cameras have one name; or a daemon's second socket is heard while its first one is silent."""
    caplog.set_level("INFO")
    other = f"{ipc_endpoint}-other"
    with FakeDaemon(other, session=99) as second:
        made = machine(mask_hz=50.0)
        made.bridge._config.send.endpoints.append(other)
        for _ in range(3):
            made.bridge.look()
        wait_for(lambda: len([1 for _, kind, _, _ in heard if kind == "mask"]) > 10)
        (seen,) = fleet.cameras()
        assert seen.wrong == 0
        assert [record for record in caplog.messages if "left out" in record] == [
            f"camera cam0 is told of from {made.daemon.endpoint}; {other} has the name, too, and is left "
            "out: if that is another camera, give it a name of its own (camera.name)"
        ]
        # The first has gone: the other may speak.
        made.daemon.stop()
        wait_for(lambda: "lost" in [event.what for event in fleet.events()])
        wait_for(lambda: made.bridge.look() or made.bridge._cameras["cam0"].endpoint == other)
        wait_for(lambda: "here" in [event.what for event in fleet.events()])
        assert second.is_alive()


def test_two_machines_of_one_name_are_told_and_the_later_one_is_believed(
    fleet: Fleet, machine: Callable[..., Machine], router: LinkConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gnetsegd.services.fleet.fleet._LATE_S", 0.2)
    # However long this machine takes, the other has not gone.
    monkeypatch.setattr("gnetsegd.services.fleet.fleet._GONE_S", 3600.0)
    machine(mask_hz=50.0)
    wait_for(lambda: [seen for seen in fleet.cameras() if seen.masks and seen.alive])
    (seen,) = fleet.cameras()
    wait_for(lambda: run.row(seen, time.monotonic())["state"] == "running")
    other = link.open_session(router)
    put(other, "gnetseg/robot1/cam0/status", pack_json("status", "cam0", status_body("cam0", 99)))
    wait_for(lambda: run.row(seen, time.monotonic())["state"] == "two of one name")
    assert seen.wrong > 0
    assert seen.status["session"] == 99
    other.close()


def test_of_two_machines_of_one_name_the_one_that_stays_is_believed_again(fleet: Fleet) -> None:
    seen = Seen("robot1", "cam0")

    def is_believed(session: int, at_s: float) -> bool:
        status = pack_json("status", "cam0", status_body("cam0", session))
        return fleet._believe(seen, "status", status, int(at_s * 1e9))

    assert is_believed(1, 100.0)
    assert is_believed(2, 101.0)
    assert not is_believed(1, 102.0)
    assert is_believed(2, 105.0)
    assert not is_believed(1, 109.9)
    # The other has gone, or was one message of nobody's.
    assert is_believed(1, 110.1)
    assert seen.status["session"] == 1
    assert is_believed(1, 111.0)
    assert not is_believed(2, 112.0)


def test_the_rate_of_a_camera_that_has_just_been_found_is_no_less() -> None:
    seen = Seen("robot1", "cam0")
    assert seen.rate_hz(100.0) == 0.0
    for number in range(100):
        header = parse_header(mask_of(1, 1, 2, sequence=number))
        assert seen.add_mask(header, int((100 + number / 10) * 1e9))
        if number == 20:
            assert seen.rate_hz(102.0) == pytest.approx(10, rel=0.1)
    assert seen.rate_hz(109.95) == pytest.approx(10, rel=0.1)
    assert seen.rate_hz(120.0) == 0.0


def test_a_clock_that_is_set_makes_no_step_in_a_fleets_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = run.FleetWriter(RecordingWriter(tmp_path / "a.mcap"))
    writer.take("robot1", "mask", "cam0", mask_of(1, 1, 2))
    hours_later_ns = time.time_ns() + 10 * 3600 * 10**9
    monkeypatch.setattr(time, "time_ns", lambda: hours_later_ns)
    writer.take("robot1", "mask", "cam0", mask_of(1, 3, 4, sequence=1))
    writer.finish()
    first, second = (message.publish_ns for message in Recording(tmp_path / "a.mcap"))
    assert 0 <= second - first < 3600 * 10**9


def test_where_thousands_are_lost_at_once_each_is_told(fleet: Fleet) -> None:
    for kind in (zenoh.SampleKind.PUT, zenoh.SampleKind.DELETE):
        for number in range(3000):
            fleet._token(SimpleNamespace(key_expr=f"gnetseg/robot{number}/cam0", kind=kind))
    told = [(event.what, event.host) for event in fleet.events()]
    assert len(told) == 6000
    assert {host for what, host in told if what == "lost"} == {f"robot{number}" for number in range(3000)}


def test_of_what_a_peer_puts_into_a_message_little_is_kept(fleet: Fleet) -> None:
    seen, much = Seen("robot1", "cam0"), "x" * 50_000
    info = info_of(1, 0)
    status = status_body("cam0", 1) | {"state": much, "more": [much] * 10}
    presence = {
        "schema": 1, "session": 1, "sequence": 1, "sensor_timestamp_ns": 1,
        "share": 0.5, "zones": {much: 0.5},
    }  # fmt: skip
    assert fleet._believe(seen, "info", info[:-1] + b', "more": "' + much.encode() + b'"}', 1)
    assert fleet._believe(seen, "status", pack_json("status", "cam0", status), 2)
    assert fleet._believe(seen, "presence", json.dumps(presence).encode(), 3)
    assert row(seen, 0.0)["share"] == 0.5
    assert len(repr(vars(seen))) < 5000


def test_a_camera_that_zenoh_had_trouble_with_goes_on(
    fleet: Fleet, machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "ERROR_PAUSE_S", 0.05)
    failures: list[int] = []
    live = bridge.Camera._live

    def once(camera: bridge.Camera, now: float, state: str) -> None:
        if not failures:
            failures.append(1)
            raise RuntimeError("Zenoh has trouble")
        live(camera, now, state)

    monkeypatch.setattr(bridge.Camera, "_live", once)
    machine()
    (event,) = wait_for(fleet.events)
    assert (event.what, failures) == ("here", [1])


@pytest.mark.parametrize(("made_hz", "wanted_hz"), [(10, 10), (30, 30), (30, 10), (5, 2), (5, 10), (30, 29)])
def test_of_so_many_as_are_wanted_none_is_left_out_and_never_more_are_sent(
    made_hz: int, wanted_hz: int
) -> None:
    jitter, pace = random.Random(1), Pace(1 / wanted_hz)
    # From a camera that is punctual to a third of its period.
    times = [number / made_hz + jitter.uniform(0, 0.3) / made_hz for number in range(20 * made_hz)]
    sent = sum(pace.is_due(100 + at) for at in times)
    assert 0.98 <= sent / (20 * min(made_hz, wanted_hz)) <= 1.0 + 1 / (20 * wanted_hz)


@pytest.mark.usefixtures("fleet")
def test_a_state_that_flaps_does_not_flood_the_link(
    machine: Callable[..., Machine], heard: list[tuple[str, str, str, bytes]]
) -> None:
    made = machine(status_hz=1.0)
    (camera,) = made.bridge._cameras.values()
    wait_for(lambda: kinds(heard) >= {"status"})
    put: list[str] = []
    camera._put = lambda kind, _: put.append(kind)  # type: ignore[method-assign]
    message = next(data for _, kind, _, data in heard if kind == "status")
    for _ in range(100):
        camera._take("status", message)
    assert put.count("status") < 10


def test_a_camera_that_is_silent_or_lost_is_not_shown_as_running() -> None:
    seen, now = Seen("robot1", "cam0"), 100.0
    seen.status = {"state": "running", "fps": 5.0}
    seen.alive, seen.heard_at = True, now - 1
    assert row(seen, now)["state"] == "running"
    seen.heard_at = now - 6
    assert row(seen, now)["state"] == "silent"
    seen.alive = False
    assert row(seen, now)["state"] == "lost"


def test_rates_may_be_read_while_masks_come() -> None:
    """Zenoh's thread writes while another one reads: under one lock."""
    session = SimpleNamespace(
        declare_subscriber=lambda *_: None,
        liveliness=lambda: SimpleNamespace(declare_subscriber=lambda *_, **__: None),
    )
    fleet = Fleet(session)
    fleet._keep(Seen("robot1", "cam0"))

    def reader(_: Seen) -> bool:
        return fleet._lock.acquire(blocking=False)

    assert fleet.read(reader) == [False]


@pytest.mark.parametrize(
    ("wish", "wanted"),
    [
        (Wish(), {("site1-a", "mask"), ("site1-a", "status"), ("site2-a", "mask"), ("site2-a", "status")}),
        (Wish("site1-"), {("site1-a", "mask"), ("site1-a", "status")}),
        (Wish(masks=False), {("site1-a", "status"), ("site2-a", "status")}),
        (Wish("site2-a", masks=False), {("site2-a", "status")}),
    ],
)
def test_who_listens_gets_what_he_wishes_and_no_more(
    router: LinkConfig, ipc_endpoint: str, wish: Wish, wanted: set[tuple[str, str]]
) -> None:
    session, heard = link.open_session(router), list[tuple[str, str]]()
    fleet = Fleet(session, lambda host, kind, *_: heard.append((host, kind)), wish)
    with FakePublisher(ipc_endpoint) as publisher:
        mask = pack_header(publisher.header(person(8, 6), 5)) + pack_mask(person(8, 6), 8)
    status = pack_json("status", "cam0", status_body("cam0", 7))
    sender = link.open_session(router)
    tokens = [sender.liveliness().declare_token(f"gnetseg/{host}/cam0") for host in ("site1-a", "site2-a")]
    # The status, which all of them wish for, comes last: the rest would have come by then.
    sent = [
        (publisher_at(sender, f"gnetseg/{host}/cam0/{kind}"), (host, kind), data)
        for host in ("site1-a", "site2-a")
        for kind, data in (("mask", mask), ("status", status))
    ]
    for to, name, _ in sent:
        if name in wanted:
            wait_for_a_listener(to)
    for to, _, data in sent:
        to.put(data)
    wait_for(lambda: len(heard) >= len(wanted))
    assert set(heard) == wanted
    hosts = {host for host, _ in wanted}
    wait_for(lambda: {seen.host for seen in fleet.cameras() if seen.alive} == hosts)
    del tokens
    fleet.close()
    sender.close()
    session.close()


def test_hosts_that_no_name_begins_with_are_told() -> None:
    found = ctl("fleet", "watch", "--hosts", "a/*", "--seconds", "1")
    assert found.returncode == 64
    assert found.stderr == "gnetsegctl: --hosts a/*: a name has a-z, 0-9, . _ - alone; give its beginning\n"


def test_every_gap_is_counted(ipc_endpoint: str) -> None:
    seen = Seen("robot1", "cam0")
    with FakePublisher(ipc_endpoint) as publisher:
        for sequence, dropped in ((1, 0), (2, 0), (5, 1), (6, 1), (3, 1), (10, 1)):
            seen.add_mask(
                publisher.header(person(8, 6), sequence, dropped_daemon=dropped), time.monotonic_ns()
            )
    assert (seen.masks, seen.lost, seen.wrong) == (5, 4, 1)


@pytest.mark.parametrize(
    ("classes", "bits"), [(1, 1), (2, 1), (3, 2), (4, 2), (5, 4), (16, 4), (17, 8), (255, 8)]
)
def test_a_mask_has_as_few_bits_as_its_labels_need(classes: int, bits: int) -> None:
    assert packing.bits_for(classes) == bits


def test_a_label_beyond_the_classes_leaves_the_mask_as_it_is(ipc_endpoint: str) -> None:
    with FakePublisher(ipc_endpoint) as publisher:
        labels = np.full((6, 8), 3, np.uint8)
        header = publisher.header(labels, 5)
    data = pack_header(header) + pack_mask(labels, 8)
    assert packing.packed(data, parse_header(data), 0) == data


def ctl(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "gnetsegd.ctl", *arguments], capture_output=True, text=True, timeout=60
    )


def test_the_commands_watch_and_record_a_fleet(
    router: LinkConfig, machine: Callable[..., Machine], tmp_path: Path
) -> None:
    machine("robot1", mask_hz=20.0)
    machine("robot2", mask_hz=20.0)
    path = tmp_path / "fleet.mcap"
    reach = ("--connect", router.connect[0], "--seconds", "3")
    results: dict[str, subprocess.CompletedProcess[str]] = {}
    commands = {
        "record": ("fleet", "record", str(path), *reach),
        "watch": ("fleet", "watch", "--json", *reach),
    }
    threads = [
        threading.Thread(target=lambda name=name: results.update({name: ctl(*commands[name])}))
        for name in commands
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results["watch"].returncode == 0, results["watch"].stderr
    rows = json.loads(results["watch"].stdout)["cameras"]
    assert [(row["host"], row["camera"], row["state"]) for row in rows] == [
        ("robot1", "cam0", "running"),
        ("robot2", "cam0", "running"),
    ]
    assert all(row["received_hz"] > 0 for row in rows)
    assert results["record"].returncode == 0, results["record"].stderr
    assert "2 cameras" in results["record"].stderr
    assert "left out (mask_hz) or lost on the way" in results["record"].stderr
    recording = Recording(path)
    assert {message.kind for message in recording} == {"mask", "info", "status"}
    assert (recording.cut, recording.foreign) == (False, 0)


def test_the_list_of_a_fleet_is_whole_lines_in_a_pipe(
    router: LinkConfig, machine: Callable[..., Machine]
) -> None:
    machine("a-robot-with-a-name-of-some-forty-characters", mask_hz=20.0)
    done = ctl("fleet", "watch", "--connect", router.connect[0], "--seconds", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n")
    here, head, line = done.stdout.splitlines()
    assert here == "a-robot-with-a-name-of-some-forty-characters/cam0 is here"
    assert head.split() == [
        "host",
        "camera",
        "state",
        "person",
        "makes/s",
        "masks/s",
        "age",
        "lost",
        "last",
        "seen",
    ]
    assert line.split()[:2] == ["a-robot-with-a-name-of-some-forty-characters", "cam0"]
    assert "\x1b" not in done.stdout


def test_a_narrow_terminal_shows_whole_columns_and_host_camera_and_state_always() -> None:
    cells = ("robot7", "cam0", "two of one name", "33%", "30.0", "10.0", "12 ms", "0", "0.1 s")
    rows = [dict(zip(run.columns([], 1000), cells, strict=True))]
    assert len(run.columns(rows, 83)) == 9
    assert run.columns(rows, 82) == [name for name in run.columns([], 1000) if name != "makes/s"]
    assert run.columns(rows, 50) == ["host", "camera", "state", "last seen"]
    assert run.columns(rows, 10) == ["host", "camera", "state"]


def test_a_fleets_recording_takes_the_next_name_and_mends_the_one_that_was_cut(
    router: LinkConfig, machine: Callable[..., Machine], tmp_path: Path
) -> None:
    path = tmp_path / "fleet.mcap"
    cut = RecordingWriter(path)
    cut.tick(0.0)
    cut.tick(2.0)
    cut.abandon()
    machine(mask_hz=20.0)
    done = ctl("fleet", "record", str(path), "--connect", router.connect[0], "--seconds", "1.5")
    assert done.returncode == 0, done.stderr
    assert "fleet.mcap: was left without its end, and is whole again" in done.stderr
    assert "robot1/cam0 is here" in done.stderr
    assert not Recording(path).cut
    assert len(list(Recording(tmp_path / "fleet-2.mcap"))) > 5


def test_a_full_disk_ends_a_fleets_recording_and_the_file_has_what_is_said(
    tmp_path: Path, machine: Callable[..., Machine], router: LinkConfig
) -> None:
    machine(mask_hz=50.0)
    path, before = tmp_path / "fleet.mcap", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        done = ctl("fleet", "record", str(path), "--connect", router.connect[0], "--seconds", "120")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert done.returncode == os.EX_IOERR
    assert "File too large; the file is whole up to the last seconds" in done.stderr
    assert f"the file has up to {len(list(Recording(path)))} messages" in done.stderr


def test_what_waits_for_a_fleets_disk_is_bounded_in_bytes_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waiting, "WAITING_MAX_BYTES", 1000)
    writer = run.FleetWriter(RecordingWriter(tmp_path / "a.mcap"))
    for _ in range(20):
        writer.take("robot1", "info", "cam0", b"x" * 300)
    assert writer.no_room == 16
    writer.finish()
    assert len(list(Recording(tmp_path / "a.mcap"))) == 4


def test_cameras_with_new_names_find_room(
    machine: Callable[..., Machine], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bridge, "MAX_CAMERAS", 2)
    monkeypatch.setattr(bridge, "SILENT_S", 0.0)
    made = machine()
    for name in ("a", "b", "c"):
        monkeypatch.setattr(bridge, "listen", lambda *_, name=name, **__: {"ipc:///nobody": [name]})
        made.bridge.look()
    assert list(made.bridge._cameras) == ["b", "c"]


def test_without_a_router_it_is_said_and_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "CONNECT_MS", 300)
    monkeypatch.setattr(link, "RETRY_S", 0.1)
    nowhere = LinkConfig(connect=[f"tcp/127.0.0.1:{free_port()}"])
    with pytest.raises(TransientError, match="no Zenoh router answers at tcp/127"):
        link.open_session(nowhere)
    told: list[str] = []
    stop = threading.Event()
    thread = threading.Thread(target=link.wait_for_session, args=(nowhere, stop, told.append))
    thread.start()
    wait_for(lambda: told)
    session = router_at(nowhere.connect[0])
    thread.join(LIMIT_S)
    assert not thread.is_alive()
    assert len(told) == 1
    session.close()


def test_a_router_with_anothers_certificate_is_not_talked_to(tmp_path: Path) -> None:
    address, tls = f"tls/localhost:{free_port()}", "transport/link/tls"
    files = {
        f"{tls}/listen_certificate": str(TLS / "good.pem"),
        f"{tls}/listen_private_key": str(TLS / "key.pem"),
    }
    router = router_at(address, **files)
    path = tmp_path / "zenoh.json5"
    signed_by = {"root_ca_certificate": str(TLS / "expired.pem")}
    path.write_text(json.dumps({"transport": {"link": {"tls": signed_by}}}))
    with pytest.raises(
        TransientError, match=r"no Zenoh router answers at tls/localhost.*or its certificate is not"
    ):
        link.open_session(LinkConfig(connect=[address], config_file=str(path)))
    router.close()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            ('zenoh.connect=["nonsense"]',),
            r"zenoh\.connect: 'nonsense' is no address; one is like tcp/localhost:7447$",
        ),
        (('zenoh.connect=["tcp/router"]',), "is no address"),
        (('zenoh.connect=["tcp/router:70000"]',), "is no address"),
        (('zenoh.connect=["http://router:7447"]',), "is no address"),
        (
            ('zenoh.config_file="/nowhere"',),
            r"zenoh\.config_file /nowhere: No such file or directory; name another$",
        ),
        (('zenoh.config_file="/dev/zero"',), "zenoh\\.config_file /dev/zero: .*; name another$"),
        (('zenoh.config_file="/tmp"',), "zenoh\\.config_file /tmp: .*; name another$"),
        (('zenoh.config_file="a\\u0000"',), r"zenoh\.config_file a\?: .*; name another$"),
    ],
)
def test_a_configuration_that_zenoh_does_not_take_is_told(settings: tuple[str, ...], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        link.configuration(load(None, settings).zenoh)


def test_what_zenohs_own_file_has_wrong_is_told_without_its_inner_parts(tmp_path: Path) -> None:
    path = tmp_path / "zenoh.json5"
    path.write_text("{nonsense: 1}")
    with pytest.raises(ConfigError, match=r"zenoh\.json5: unknown field `nonsense`$"):
        link.configuration(LinkConfig(config_file=str(path)))


@pytest.mark.parametrize("name", ["root_ca_certificate", "connect_certificate", "connect_private_key"])
def test_a_certificate_that_cannot_be_read_is_told_and_not_waited_for(tmp_path: Path, name: str) -> None:
    path = tmp_path / "zenoh.json5"
    for file, words in (("/nowhere.pem", "No such file or directory"), ("/dev/zero", "")):
        path.write_text(json.dumps({"transport": {"link": {"tls": {name: file}}}}))
        with pytest.raises(ConfigError, match=f"zenoh.json5: {name} {file}: {words}.*; name another, or let"):
            link.configuration(LinkConfig(config_file=str(path)))


def test_a_pipe_for_zenohs_own_file_is_told_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "zenoh.json5")
    with pytest.raises(ConfigError, match=r"zenoh\.json5: .*; name another$"):
        link.configuration(LinkConfig(config_file=str(tmp_path / "zenoh.json5")))


def test_zenohs_own_file_names_the_routers_unless_we_do(tmp_path: Path) -> None:
    path = tmp_path / "zenoh.json5"
    path.write_text('{connect: {endpoints: ["tls/router.local:7447"]}}')
    assert link.where(link.configuration(LinkConfig(config_file=str(path)))) == "tls/router.local:7447"
    assert link.where(link.configuration(LinkConfig(config_file=str(path), connect=["tcp/a:1"]))) == "tcp/a:1"
    assert link.where(link.configuration(LinkConfig())) == "tcp/localhost:7447"


@pytest.mark.parametrize("service", ["zenoh", "presence"])
def test_an_endpoint_that_cannot_be_one_is_told(service: str) -> None:
    section = {"zenoh": "send", "presence": "service"}[service]
    done = ctl(service, "--set", f'{section}.endpoints=["ipc/run/masks.sock"]')
    assert done.returncode == os.EX_CONFIG
    assert f"{section}.endpoints: 'ipc/run/masks.sock' is no endpoint; one is like ipc:///" in done.stderr


def test_keys_of_the_configuration_are_checked(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"send\.mask_bits"):
        load(None, ("send.mask_bits=3",))
    with pytest.raises(ConfigError, match="cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("[")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load(tmp_path / "bad.toml")
    assert host_name(LinkConfig(host="robot-1")) == "robot-1"


def test_masks_go_over_the_network_and_not_by_the_machines_own_memory() -> None:
    made = link.configuration(LinkConfig())
    assert json.loads(made.get_json("transport/shared_memory/enabled")) is False
    assert json.loads(made.get_json("scouting/multicast/enabled")) is False


def test_a_link_that_is_full_keeps_few_bytes_unless_the_file_says_otherwise(tmp_path: Path) -> None:
    """What waits is older than what is dropped: tools/bench/fleet.py --modes."""
    made = link.configuration(LinkConfig())
    for protocol in ("tcp", "tls"):
        assert json.loads(made.get_json(f"transport/link/{protocol}/so_sndbuf")) == link.SEND_BUFFER_BYTES
    assert json.loads(made.get_json("transport/link/tx/queue/size/data_low")) == 1
    path = tmp_path / "zenoh.json5"
    path.write_text("{transport: {link: {tcp: {so_sndbuf: 500000}}}}")
    made = link.configuration(LinkConfig(config_file=str(path)))
    assert json.loads(made.get_json("transport/link/tcp/so_sndbuf")) == 500000


def test_a_listener_whose_router_goes_is_told_so_and_of_its_return(
    ipc_endpoint: str,
) -> None:
    address = f"tcp/127.0.0.1:{free_port()}"
    router, reach = router_at(address), LinkConfig(connect=[address])
    session = link.open_session(reach)
    fleet = Fleet(session)
    made = Machine(reach, ipc_endpoint)
    assert [event.what for event in wait_for(fleet.events)] == ["here"]
    router.close()
    assert [event.what for event in wait_for(fleet.events)] == ["lost"]
    router = router_at(address)
    assert [event.what for event in wait_for(fleet.events)] == ["here"]
    made.close()
    fleet.close()
    session.close()
    router.close()


def test_what_nobody_of_ours_would_send_takes_no_memory(fleet: Fleet, router: LinkConfig) -> None:
    """Anybody may put; 300 MB of JSON would be gigabytes to who listens."""
    config = json.loads(link.configuration(LinkConfig()).get_json("transport/link/rx"))
    assert config["max_message_size"] == link.MESSAGE_BYTES_MAX
    sender = zenoh.Config()
    sender.insert_json5("connect/endpoints", json.dumps(router.connect))
    sender.insert_json5("mode", '"client"')
    session = zenoh.open(sender)
    body = status_body("cam0", 7)
    huge = topic("status", "cam0") + json.dumps(body | {"reason": "x" * fleet_module.JSON_BYTES_MAX}).encode()
    put(session, "gnetseg/robot9/cam0/status", huge)
    wait_for(lambda: fleet.nonsense == 1)
    assert not fleet.cameras()
    beyond = bytes(link.MESSAGE_BYTES_MAX + (1 << 20))
    put(session, "gnetseg/robot9/cam0/mask", beyond)
    put(session, "gnetseg/robot9/cam0/status", pack_json("status", "cam0", body))
    wait_for(fleet.cameras)
    assert fleet.nonsense == 1, "it did not come as far as we"
    session.close()
