"""Addresses of TCP, as ZeroMQ has them: libzmq takes any number for a port, and uses another in its place."""

from __future__ import annotations

import ipaddress

PORT_MAX = 65535


def has_port(address: str) -> bool:
    """Whether ``address`` ends with ``:1`` to ``:65535``, or with ``:*``, for any that is free."""
    port = address.rpartition(":")[2] if ":" in address else ""
    digits = port.isascii() and port.isdigit() and len(port) <= len(str(PORT_MAX))
    return port == "*" or (digits and 1 <= int(port) <= PORT_MAX)


def lacks_port(endpoint: str) -> bool:
    """Whether ``endpoint`` is one of TCP, and has no such port."""
    return endpoint.startswith("tcp://") and not has_port(endpoint)


def is_loopback(address: str) -> bool:
    """Whether ``address``, with its port, is reached from this machine alone."""
    host = address.rpartition(":")[0].strip("[]")
    if host in ("localhost", "lo"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
