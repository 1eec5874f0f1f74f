"""The publisher: what a subscriber gets, and who may be one."""

from __future__ import annotations

import os
import socket
import stat
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import zmq
from zmq.auth import create_certificates, load_certificate

from gnetsegd.config import PublishConfig, from_dict
from gnetsegd.errors import ConfigError, PermanentError
from gnetsegd.frame import HEADROOM, Frame, FrameSpec, Mask, ModelInfo
from gnetsegd.message import parse_header
from gnetsegd.road import zmq_endpoints as endpoints
from gnetsegd.road.publisher import Publisher

from .fakes import MASK, SPEC, wait_for_readers, wait_until

INFO = ModelInfo("echo", "m", b"\x11" * 32, SPEC, MASK, ("background", "person"))


def mask(sequence: int = 5, info: ModelInfo = INFO) -> Mask:
    frame = Frame(SPEC, MASK.size_bytes)
    frame.sequence, frame.sensor_timestamp_ns, frame.dropped_camera, frame.dropped_daemon = sequence, 77, 3, 4
    frame.reply[HEADROOM : HEADROOM + MASK.size_bytes] = bytes(range(256))
    frame.pixels[:] = 9
    return Mask(frame, info)


@pytest.fixture
def publisher() -> Iterator[Publisher]:
    made = Publisher("cam0")
    yield made
    made.close()


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    made = zmq.Context()
    yield made
    made.destroy(linger=0)


def subscribe(context: zmq.Context[Any], endpoint: str, *topics: bytes) -> Any:
    reader = context.socket(zmq.SUB)
    for topic in topics:
        reader.setsockopt(zmq.SUBSCRIBE, topic)
    reader.connect(endpoint)
    return reader


def receive(reader: Any) -> bytes:
    assert reader.poll(5000), "nothing came"
    return bytes(reader.recv())


def test_a_mask_goes_out_as_one_part_with_its_own_frames_numbers(
    publisher: Publisher, context: zmq.Context[Any], ipc_endpoint: str
) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint]))
    reader = subscribe(context, ipc_endpoint, b"mask/cam0\0")
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)
    publisher.publish(mask(), losses=2)
    message = receive(reader)
    assert not reader.getsockopt(zmq.RCVMORE)
    header = parse_header(message)
    assert (header.sequence, header.sensor_timestamp_ns) == (5, 77)
    assert (header.dropped_camera, header.dropped_daemon) == (3, 6)
    assert (header.backend, header.session, header.model_hash) == ("echo", publisher.session, b"\x11" * 16)
    assert message[header.payload_offset :] == bytes(range(256))


def test_the_backend_and_the_fallback_of_every_mask_are_its_own(
    publisher: Publisher, context: zmq.Context[Any], ipc_endpoint: str
) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint], send_hwm_messages=10))
    reader = subscribe(context, ipc_endpoint, b"mask/")
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)
    other = ModelInfo("other", "m", bytes(32), SPEC, MASK, ("a", "b"), fallback=True)
    for info in (INFO, other, INFO):
        publisher.publish(mask(info=info), 0)
    headers = [parse_header(receive(reader)) for _ in range(3)]
    assert [h.backend for h in headers] == ["echo", "other", "echo"]
    assert [h.fallback for h in headers] == [False, True, False]


def test_the_picture_goes_out_only_where_it_is_switched_on_and_wanted(
    publisher: Publisher, context: zmq.Context[Any], ipc_endpoint: str
) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint], send_hwm_messages=10))
    pictures = subscribe(context, ipc_endpoint, b"frame/")
    masks = subscribe(context, ipc_endpoint, b"mask/")
    wait_for_readers(publisher, 2)
    publisher.publish(mask(1), 0)
    assert parse_header(receive(masks)).sequence == 1
    assert not pictures.poll(50)
    publisher.set_pictures(PublishConfig(frames=True))
    publisher.publish(mask(2), 0)
    picture = receive(pictures)
    header = parse_header(picture)
    assert (header.sequence, header.sensor_timestamp_ns, header.format.classes) == (2, 77, 0)
    assert picture[header.payload_offset :] == b"\x09" * 256


def test_a_late_joiner_is_welcomed_with_info(
    publisher: Publisher, context: zmq.Context[Any], ipc_endpoint: str
) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint]))
    publisher.send_info({"labels": ["background", "person"]})
    reader = subscribe(context, ipc_endpoint, b"info/cam0\0")
    for _ in range(200):
        publisher.poll_subscriptions()
        if reader.poll(10):
            break
    assert b'"labels":["background","person"]' in receive(reader)


def test_it_knows_when_somebody_listens_and_when_the_last_one_has_gone(
    publisher: Publisher, context: zmq.Context[Any], ipc_endpoint: str
) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint]))
    info_only = subscribe(context, ipc_endpoint, b"info/")
    publisher.poll_subscriptions()
    assert not publisher.watched
    readers = [subscribe(context, ipc_endpoint, topic) for topic in (b"mask/", b"mask/cam0\0", b"")]
    wait_for_readers(publisher, 4)
    for reader in (*readers, info_only):
        assert publisher.watched
        reader.close()
        if reader is readers[-1]:
            wait_until(lambda: publisher.poll_subscriptions() or not publisher.watched)
            break
        publisher.poll_subscriptions()


def test_a_hostile_subscriber_message_is_ignored(
    publisher: Publisher, context: zmq.Context[Any], ipc_endpoint: str
) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint]))
    peer = context.socket(zmq.XSUB)
    peer.connect(ipc_endpoint)
    for junk in (b"", b"\xff" * 1000, b"\2hello", b"\1mask/"):
        peer.send(junk)
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)


def test_the_ipc_socket_has_the_configured_mode_whatever_the_umask(
    publisher: Publisher, ipc_endpoint: str
) -> None:
    before = os.umask(0)
    try:
        publisher.open(PublishConfig(endpoints=[ipc_endpoint], ipc_mode="0660"))
    finally:
        os.umask(before)
    mode = Path(ipc_endpoint.removeprefix("ipc://")).stat().st_mode
    assert stat.S_IMODE(mode) == 0o660


def test_the_ipc_socket_has_its_mode_from_the_first_moment_on(
    publisher: Publisher, ipc_endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    modes = []
    bind = endpoints.Binding._bind

    def spy(self: Any, bound: Any) -> None:
        bind(self, bound)
        modes.append(stat.S_IMODE(Path(ipc_endpoint.removeprefix("ipc://")).stat().st_mode))

    monkeypatch.setattr(endpoints.Binding, "_bind", spy)
    publisher.open(PublishConfig(endpoints=[ipc_endpoint], ipc_mode="0600"))
    assert modes == [0o600]


def test_after_a_clean_stop_the_sockets_file_is_gone(publisher: Publisher, ipc_endpoint: str) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint]))
    path = Path(ipc_endpoint.removeprefix("ipc://"))
    assert path.exists()
    publisher.close()
    assert not path.exists()


def test_a_slow_reader_is_kept_few_messages_and_a_dead_peer_is_noticed(
    publisher: Publisher, ipc_endpoint: str
) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint], send_hwm_messages=3, heartbeat_interval_s=2.0))
    (bound,) = publisher._sockets
    assert bound.getsockopt(zmq.SNDHWM) == 3
    assert bound.getsockopt(zmq.HEARTBEAT_IVL) == 2000
    assert bound.getsockopt(zmq.HEARTBEAT_TIMEOUT) == 6000


def test_a_curve_key_that_nothing_would_use_is_refused(publisher: Publisher, ipc_endpoint: str) -> None:
    with pytest.raises(ConfigError, match=r"none of publish\.endpoints is tcp"):
        publisher.open(PublishConfig(endpoints=[ipc_endpoint], curve_secret_key_file="/etc/key"))


def test_two_daemons_never_share_a_socket_and_the_second_one_says_which(
    publisher: Publisher, ipc_endpoint: str
) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint]))
    second = Publisher("cam0")
    with pytest.raises(PermanentError, match="belongs to a gnetsegd that is running") as caught:
        second.open(PublishConfig(endpoints=[ipc_endpoint]))
    assert caught.value.exit_code == os.EX_TEMPFAIL
    publisher.close()
    second.open(PublishConfig(endpoints=[ipc_endpoint]))
    second.close()


def test_a_socket_left_behind_by_a_killed_daemon_is_taken_over(publisher: Publisher, tmp_path: Path) -> None:
    path = tmp_path / "left.sock"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    publisher.open(PublishConfig(endpoints=[f"ipc://{path}"]))


def test_another_programs_socket_or_file_is_never_removed(publisher: Publisher, tmp_path: Path) -> None:
    path = tmp_path / "other.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(PermanentError, match="in use by another program"):
            publisher.open(PublishConfig(endpoints=[f"ipc://{path}"]))
    file = tmp_path / "notes.txt"
    file.write_text("mine")
    with pytest.raises(PermanentError, match="is there and is no socket"):
        publisher.open(PublishConfig(endpoints=[f"ipc://{file}"]))
    assert file.read_text() == "mine"


def test_a_folder_that_is_missing_is_named_with_the_remedy(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(PermanentError, match="create the folder") as caught:
        publisher.open(PublishConfig(endpoints=[f"ipc://{tmp_path}/none/masks.sock"]))
    assert caught.value.exit_code == os.EX_CANTCREAT


@pytest.mark.parametrize(
    ("endpoint", "sentence"),
    [
        ("tcp://0.0.0.0:5555", "whole network"),
        ("tcp://192.0.2.1:5555", "whole network"),
        ("tcp://*:5555", "whole network"),
        ("tcp://[::]:5555", "whole network"),
        ("udp://127.0.0.1:5555", "neither ipc"),
        ("ipc://relative.sock", "neither ipc"),
        ("tcp://127.0.0.1:99999", "1 to 65535"),
        ("tcp://127.0.0.1", "neither ipc"),
        ("ipc:///tmp/a\0b", "neither ipc"),
        ("ipc:///" + "x" * 120, "longer than 107 bytes"),
    ],
)
def test_an_endpoint_that_must_not_be_bound_is_refused(
    publisher: Publisher, endpoint: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        publisher.open(PublishConfig(endpoints=[endpoint]))


def test_tcp_on_loopback_needs_no_permission_and_a_taken_port_is_named(publisher: Publisher) -> None:
    with zmq.Context() as context, context.socket(zmq.PUB) as other:
        port = other.bind_to_random_port("tcp://127.0.0.1")
        with pytest.raises(PermanentError, match=f"127.0.0.1:{port} is in use"):
            publisher.open(PublishConfig(endpoints=[f"tcp://127.0.0.1:{port}"]))
    publisher.open(PublishConfig(endpoints=["tcp://127.0.0.1:*"]))


def test_with_curve_a_stranger_hears_nothing_and_a_known_client_hears_all(
    publisher: Publisher, context: zmq.Context[Any], tmp_path: Path
) -> None:
    keys, authorized = tmp_path / "keys", tmp_path / "authorized"
    keys.mkdir()
    authorized.mkdir()
    public_file, secret_file = create_certificates(str(keys), "server")
    client_public, client_secret = create_certificates(str(keys), "client")
    _, stranger_secret = create_certificates(str(keys), "stranger")
    os.rename(client_public, authorized / "client.key")  # noqa: PTH104
    publisher.open(
        PublishConfig(
            endpoints=["tcp://127.0.0.1:*"],
            curve_secret_key_file=secret_file,
            curve_authorized_keys_dir=str(authorized),
        )
    )
    endpoint = publisher.bound_endpoints()[0]
    server_key, _ = load_certificate(public_file)

    def reader(secret: str) -> Any:
        made = context.socket(zmq.SUB)
        made.curve_publickey, made.curve_secretkey = load_certificate(secret)
        made.curve_serverkey = server_key
        made.setsockopt(zmq.SUBSCRIBE, b"mask/")
        made.connect(endpoint)
        return made

    plain, stranger, known = (
        subscribe(context, endpoint, b"mask/"),
        reader(stranger_secret),
        reader(client_secret),
    )
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)
    publisher.publish(mask(), 0)
    assert parse_header(receive(known)).sequence == 5
    assert not plain.poll(100)
    assert not stranger.poll(100)


def test_a_wrong_key_file_is_named(publisher: Publisher, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="curve_secret_key_file"):
        publisher.open(
            PublishConfig(
                endpoints=["tcp://127.0.0.1:*"], curve_secret_key_file=str(tmp_path / "none.key_secret")
            )
        )


@pytest.mark.parametrize(
    ("pixel_format", "pixel", "luminance"),
    [("Y", 90, 90), ("YUV444", (90, 1, 2), 90), ("RGB", (10, 200, 50), 126), ("YUV420", 90, 90)],
)
def test_the_picture_is_the_luminance_whatever_the_network_takes(
    publisher: Publisher,
    context: zmq.Context[Any],
    ipc_endpoint: str,
    pixel_format: str,
    pixel: Any,
    luminance: int,
) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint], frames=True))
    reader = subscribe(context, ipc_endpoint, b"frame/")
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)
    spec = FrameSpec(16, 16, pixel_format)
    frame = Frame(spec, MASK.size_bytes)
    frame.pixels[:] = pixel
    publisher.publish(Mask(frame, ModelInfo("echo", "m", bytes(32), spec, MASK, ("a", "b"))), 0)
    message = receive(reader)
    assert message[parse_header(message).payload_offset :] == bytes([luminance]) * 256


# -- where: [[publish.endpoint]] ------------------------------------------------------------------------


def publish_config(text: str) -> PublishConfig:
    return from_dict(tomllib.loads(text), "test").publish


def test_an_endpoint_sends_only_the_kinds_that_it_serves(
    publisher: Publisher, context: zmq.Context[Any], tmp_path: Path
) -> None:
    whole, state = f"ipc://{tmp_path}/whole", f"ipc://{tmp_path}/state"
    publisher.open(
        publish_config(
            f"""
            [[publish.endpoint]]
            address = "{whole}"
            [[publish.endpoint]]
            address = "{state}"
            kinds = ["status"]
            """
        )
    )
    publisher.send_info({"labels": []})
    everything = subscribe(context, state, b"")
    reader = subscribe(context, whole, b"mask/")
    wait_until(lambda: publisher.poll_subscriptions() or len(subscribed(publisher)) == 2)
    publisher.send_info({"labels": []})
    publisher.publish(mask(3), 0)
    assert parse_header(receive(reader)).sequence == 3
    publisher.send_status({"state": "running"})
    assert receive(everything)[:7] == b"status/"


def subscribed(publisher: Publisher) -> set[bytes]:
    return set().union(*(outlet.topics() for outlet in publisher._outlets))


def test_a_subscription_to_what_an_endpoint_does_not_serve_wakes_nothing(
    publisher: Publisher, context: zmq.Context[Any], ipc_endpoint: str
) -> None:
    publisher.open(
        publish_config(f"[[publish.endpoint]]\naddress = '{ipc_endpoint}'\nkinds = ['status', 'frame']")
    )
    reader = subscribe(context, ipc_endpoint, b"mask/", b"frame/")
    wait_until(lambda: publisher.poll_subscriptions() or len(subscribed(publisher)) == 2)
    assert not publisher.watched
    publisher.set_pictures(PublishConfig(frames=True))
    assert publisher.watched
    publisher.publish(mask(4), 0)
    assert receive(reader)[:6] == b"frame/"


def test_each_endpoint_has_its_own_mode_and_limits_and_equal_ones_share_a_socket(
    publisher: Publisher, tmp_path: Path
) -> None:
    publisher.open(
        publish_config(
            f"""
            [publish]
            endpoints = ["ipc://{tmp_path}/a"]
            [[publish.endpoint]]
            address = "ipc://{tmp_path}/b"
            mode = "0600"
            [[publish.endpoint]]
            address = "ipc://{tmp_path}/c"
            send_hwm_messages = 7
            """
        )
    )
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in "abc"]
    assert modes == [0o660, 0o600, 0o660]
    assert [bound.getsockopt(zmq.SNDHWM) for bound in publisher._sockets] == [2, 7]
    assert publisher.bound_endpoints() == [f"ipc://{tmp_path}/{name}" for name in "abc"]


def test_an_endpoint_that_permits_everybody_opens_no_other_one(
    publisher: Publisher, context: zmq.Context[Any], tmp_path: Path
) -> None:
    keys, authorized = tmp_path / "keys", tmp_path / "authorized"
    keys.mkdir()
    authorized.mkdir()
    public_file, secret_file = create_certificates(str(keys), "server")
    _, stranger_secret = create_certificates(str(keys), "stranger")
    publisher.open(
        publish_config(
            f"""
            [[publish.endpoint]]
            address = "tcp://127.0.0.1:*"
            curve_secret_key_file = "{secret_file}"
            curve_authorized_keys_dir = "{authorized}"
            [[publish.endpoint]]
            address = "tcp://127.0.0.1:*"
            curve_secret_key_file = "{secret_file}"
            """
        )
    )

    def stranger(endpoint: str) -> Any:
        made = context.socket(zmq.SUB)
        made.curve_publickey, made.curve_secretkey = load_certificate(stranger_secret)
        made.curve_serverkey = load_certificate(public_file)[0]
        made.setsockopt(zmq.SUBSCRIBE, b"mask/")
        made.connect(endpoint)
        return made

    kept_out, let_in = (stranger(endpoint) for endpoint in publisher.bound_endpoints())
    wait_until(lambda: publisher.poll_subscriptions() or publisher.watched)
    publisher.publish(mask(), 0)
    assert parse_header(receive(let_in)).sequence == 5
    assert not kept_out.poll(100)


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        ("address = 'udp://x'", r"publish.endpoint\[1\]: 'udp://x' is neither"),
        (
            "address = 'tcp://0.0.0.0:5555'",
            r"publish.endpoint\[1\]: .* whole network; set curve_secret_key_file",
        ),
        ("address = 'ipc:///tmp/x'\nkinds = []", r"endpoint\[1\]: kinds is empty"),
        ("address = 'ipc:///tmp/x'\ncurve_secret_key_file = '/k'", "guarded by its mode"),
        ("address = 'tcp://127.0.0.1:5555'\ncurve_authorized_keys_dir = '/k'", "would guard nothing"),
        (
            "address = 'ipc:///tmp/x'\n[[publish.endpoint]]\naddress = 'ipc:///tmp/x'",
            r"publish.endpoint\[2\]: ipc:///tmp/x is named twice",
        ),
    ],
)
def test_an_endpoint_that_cannot_be_meant_is_refused_with_its_number(
    publisher: Publisher, rows: str, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        publisher.open(publish_config("[[publish.endpoint]]\n" + rows))


@pytest.mark.parametrize(
    ("setting", "instead"),
    [("ipc_mode = '0600'", "mode"), ("send_hwm_messages = 7", "send_hwm_messages")],
)
def test_a_setting_of_the_short_form_that_no_table_would_heed_is_refused(
    publisher: Publisher, tmp_path: Path, setting: str, instead: str
) -> None:
    table = f"[[publish.endpoint]]\naddress = 'ipc://{tmp_path}/a'"
    with pytest.raises(
        ConfigError, match=rf"none of those would use it; set {instead} in \[\[publish.endpoint"
    ):
        publisher.open(publish_config(f"[publish]\n{setting}\n{table}"))
    publisher.open(publish_config(f"[publish]\n{setting}\nendpoints = ['ipc://{tmp_path}/b']\n{table}"))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("[[publish.endpoint]]\nmode = '0600'", "publish.endpoint[1].address is missing; it is what to bind"),
        ("[[publish.endpoint]]\naddress = 3", "publish.endpoint[1].address is 3; allowed is a text"),
        (
            "[[publish.endpoint]]\naddress = 'ipc:///x'\n[[publish.endpoint]]\nadress = 'ipc:///y'",
            "unknown key publish.endpoint[2].adress: did you mean publish.endpoint[2].address?",
        ),
        (
            "[[publish.endpoint]]\naddress = 'ipc:///x'\nkinds = ['masks']",
            "kinds is ['masks']; allowed is a list, each one of mask, info, status, frame",
        ),
        (
            "[publish]\nendpoint = 3",
            "publish.endpoint is 3; it must be tables, each under [[publish.endpoint]]",
        ),
        ("[publish.endpoint]\naddress = 'x'", "it must be tables, each under [[publish.endpoint]]"),
    ],
)
def test_a_wrong_table_of_an_endpoint_is_named_with_what_is_allowed(text: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        publish_config(text)
    assert sentence in str(caught.value)


def test_tables_replace_the_default_endpoint_and_join_those_that_are_named() -> None:
    table = "[[publish.endpoint]]\naddress = 'ipc:///x'"
    addresses = [row.address for row in publish_config(table).all_endpoints()]
    assert addresses == ["ipc:///x"]
    both = publish_config("[publish]\nendpoints = ['ipc:///y']\nipc_mode = '0600'\n" + table)
    assert [(row.address, row.mode) for row in both.all_endpoints()] == [
        ("ipc:///y", "0600"),
        ("ipc:///x", "0660"),
    ]


# -- whose: the path of an ipc socket -------------------------------------------------------------------


def test_a_living_socket_whose_queue_is_full_is_refused_and_not_waited_for(
    publisher: Publisher, tmp_path: Path
) -> None:
    path = tmp_path / "busy.sock"
    waiting = []
    with socket.socket(socket.AF_UNIX) as busy:
        busy.bind(str(path))
        busy.listen(0)
        for _ in range(3):
            waiting.append(socket.socket(socket.AF_UNIX))
            waiting[-1].setblocking(False)
            with suppress(BlockingIOError):
                waiting[-1].connect(str(path))
        with pytest.raises(PermanentError, match="in use by another program"):
            publisher.open(PublishConfig(endpoints=[f"ipc://{path}"]))
        assert path.exists()
    for peer in waiting:
        peer.close()


def test_a_socket_of_another_kind_is_not_removed(publisher: Publisher, tmp_path: Path) -> None:
    path = tmp_path / "journal.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as other:
        other.bind(str(path))
        with pytest.raises(PermanentError, match="in use by another program"):
            publisher.open(PublishConfig(endpoints=[f"ipc://{path}"]))
    assert path.exists()


def test_the_lock_is_never_opened_through_a_symbolic_link(publisher: Publisher, tmp_path: Path) -> None:
    (tmp_path / "masks.sock.lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(PermanentError, match=r"masks\.sock\.lock is a symbolic link; remove it"):
        publisher.open(PublishConfig(endpoints=[f"ipc://{tmp_path}/masks.sock"]))
    assert not (tmp_path / "elsewhere").exists()


def test_a_daemon_that_ends_leaves_a_socket_that_is_no_longer_its_own(
    publisher: Publisher, ipc_endpoint: str
) -> None:
    publisher.open(PublishConfig(endpoints=[ipc_endpoint]))
    (binding,) = publisher._outlets[0].bindings
    path = Path(ipc_endpoint.removeprefix("ipc://"))
    assert binding.is_ours()
    path.unlink()
    path.with_name(path.name + ".lock").unlink()
    assert not binding.is_ours()
    second = Publisher("cam0")
    second.open(PublishConfig(endpoints=[ipc_endpoint]))
    assert not binding.is_ours()
    publisher.close()
    assert path.exists()
    assert second._outlets[0].bindings[0].is_ours()
    second.close()
    assert not path.exists()
