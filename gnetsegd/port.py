"""The port of an address: libzmq takes any number for one, and uses another in its place."""

from __future__ import annotations

PORT_MAX = 65535


def has_port(address: str) -> bool:
    """Whether ``address`` ends with ``:1`` to ``:65535``, or with ``:*``, for any that is free."""
    port = address.rpartition(":")[2] if ":" in address else ""
    digits = port.isascii() and port.isdigit() and len(port) <= len(str(PORT_MAX))
    return port == "*" or (digits and 1 <= int(port) <= PORT_MAX)


def lacks_port(endpoint: str) -> bool:
    """Whether ``endpoint`` is one of TCP, and has no such port."""
    return endpoint.startswith("tcp://") and not has_port(endpoint)
