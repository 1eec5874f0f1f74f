"""What a peer wants to be talked to with is known even where it hangs up without a reason."""

from __future__ import annotations

import socket
import threading
import time

import pytest
import zmq

from gnetsegd.client.greeting import Greeting
from gnetsegd.client.probe import Finding, Probe


def mechanism(endpoint: str) -> str | None:
    with zmq.Context() as context:
        greeting = Greeting(context, endpoint)
        deadline = time.monotonic() + 20
        while (found := greeting.mechanism()) is None and time.monotonic() < deadline:
            time.sleep(0.01)
        greeting.close()
    return found


@pytest.mark.runtime
@pytest.mark.parametrize("transport", ["tcp://127.0.0.1:*", "ipc://*"])
@pytest.mark.parametrize("wanted", ["NULL", "CURVE"])
def test_the_mechanism_is_told_over_either_transport(transport: str, wanted: str) -> None:
    with zmq.Context() as context, context.socket(zmq.XPUB) as peer:
        if wanted == "CURVE":
            peer.curve_server = True
            peer.curve_publickey, peer.curve_secretkey = zmq.curve_keypair()
        peer.bind(transport)
        assert mechanism(peer.getsockopt_string(zmq.LAST_ENDPOINT)) == wanted


def test_what_is_no_greeting_is_none() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            peer, _ = listener.accept()
            with peer:
                peer.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                peer.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        assert mechanism(f"tcp://127.0.0.1:{listener.getsockname()[1]}") == ""
        thread.join(20)


def test_handshakes_that_end_without_a_reason_are_told_by_the_greeting(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unclear(probe: Probe) -> Finding | None:
        probe._unclear = 99
        return None

    monkeypatch.setattr(Probe, "_take_in", unclear)
    public, _ = zmq.curve_keypair()
    with zmq.Context() as context, context.socket(zmq.XPUB) as plain, context.socket(zmq.XPUB) as guarded:
        guarded.curve_server = True
        guarded.curve_publickey, guarded.curve_secretkey = zmq.curve_keypair()
        told = {}
        for name, peer in (("plain", plain), ("guarded", guarded)):
            port = peer.bind_to_random_port("tcp://127.0.0.1")
            for key in (None, public):
                with Probe(f"tcp://127.0.0.1:{port}", "cam0", server_key=key) as probe:
                    told[name, key is not None] = probe.wait().why
    assert told == {
        ("plain", False): "foreign",
        ("plain", True): "not-curve",
        ("guarded", False): "no-keys",
        ("guarded", True): "wrong-server-key",
    }
