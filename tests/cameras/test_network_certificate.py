"""A camera with another's certificate, an old one or nobody's is called so before anything is said to it."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gnetsegd.cameras import network_certificate
from gnetsegd.errors import ConfigError, TransientError

TLS = Path(__file__).parents[1] / "data" / "tls"
GOOD = str(TLS / "good.pem")


@contextmanager
def camera(certificate: str = "good.pem", host: str = "127.0.0.1") -> Iterator[str]:
    """Shakes hands with one who comes; its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / certificate, TLS / "key.pem")
    with socket.create_server((host, 0)) as listener:

        def serve() -> None:
            plain, _ = listener.accept()
            with plain:
                try:
                    context.wrap_socket(plain, server_side=True).close()
                except OSError:  # it was refused
                    return

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"rtsps://{host}:{listener.getsockname()[1]}/cam"
        thread.join(10)


def test_a_good_one_is_good() -> None:
    with camera() as address:
        network_certificate.check(address, "cam", GOOD, 10.0)


@pytest.mark.parametrize(
    ("certificate", "host", "signed_by", "words"),
    [
        ("good.pem", "127.0.0.1", "", "self-signed|self signed"),
        ("good.pem", "127.0.0.2", GOOD, "IP address mismatch"),
        ("expired.pem", "127.0.0.1", str(TLS / "expired.pem"), "expired"),
    ],
)
def test_what_is_wrong_with_it_is_said(certificate: str, host: str, signed_by: str, words: str) -> None:
    with (
        camera(certificate, host) as address,
        pytest.raises(TransientError, match=f"not good .*({words})") as caught,
    ):
        network_certificate.check(address, "cam", signed_by, 10.0)
    assert "camera.network.verify = false" in str(caught.value)


def test_what_speaks_no_tls_is_left_to_who_reads_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        thread = threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True)
        thread.start()
        network_certificate.check(f"rtsps://127.0.0.1:{port}/cam", "cam", GOOD, 10.0)
        thread.join(10)
    network_certificate.check(f"rtsps://127.0.0.1:{port}/cam", "cam", GOOD, 10.0)  # nobody listens any more


def test_a_file_without_certificates_is_a_fault_of_the_configuration() -> None:
    with pytest.raises(ConfigError, match="holds no certificates"):
        network_certificate.check("rtsps://127.0.0.1:9/cam", "cam", "/nowhere", 1.0)
