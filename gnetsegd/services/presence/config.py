"""What the presence service does: one TOML file, checked as the daemon's is."""

from __future__ import annotations

from pathlib import Path

import attrs

from ...config import option, structure
from ...errors import ConfigError
from ...files import read_regular
from ...text import clean
from .. import settings as settings_file

DEFAULT_PATH = Path("/etc/gnetsegd/presence.toml")
#: Of a password.
PASSWORD_BYTES = 4096


@attrs.frozen
class MqttConfig:
    """The broker."""

    host: str = option(
        "localhost",
        "its name or address; empty: no MQTT",
        pattern="[A-Za-z0-9_.:%-]{0,253} (a name or an address alone, without mqtt://)",
    )
    port: int = option(0, "0 is 1883, with tls 8883", minimum=0, maximum=65535)
    user: str = option("", "empty: none")
    password_file: str = option("", "a file with the password, readable by this service alone")
    tls: bool = option(False, "encrypt, and check the broker's certificate")
    ca_file: str = option("", "with tls: who signed it; empty: those that the system trusts")
    prefix: str = option("gnetsegd", "topics begin with this", pattern="[^#+\\x00-\\x1f ]{1,100}")
    discovery_prefix: str = option(
        "homeassistant", "of Home Assistant's discovery; empty: none", pattern="[^#+\\x00-\\x1f ]{0,100}"
    )


@attrs.frozen
class OccupancyConfig:
    """When a zone is occupied."""

    on_share: float = option(0.02, "so much of the zone must be person, 0 to 1", minimum=0.0001, maximum=1)
    off_share: float = option(0.01, "and less than this is nobody", minimum=0, maximum=1)
    on_after_frames: int = option(3, "on after so many masks in a row", minimum=1, maximum=1000)
    off_after_s: float = option(10.0, "off after so long without", unit="s", minimum=0, maximum=86400)
    blob_share: float = option(
        0.005, "smaller parts of the picture are not counted as blobs", minimum=0, maximum=1
    )


@attrs.frozen
class ServiceConfig:
    """What is watched, and who else is told."""

    endpoints: list[str] = option([], "of daemons; empty: all of this machine")
    zones_dir: str = option("/var/lib/gnetsegd-view/zones", "the page's zones, a file a camera")
    exec: str = option("", "a command to run at each change, with GNETSEGD_CAMERA, _ZONE and _OCCUPANCY set")
    webhook: str = option("", "an address to POST each change to, as JSON", pattern="(https?://.*)?")


@attrs.frozen
class PresenceConfig:
    """The whole file."""

    service: ServiceConfig = attrs.field(factory=ServiceConfig)
    mqtt: MqttConfig = attrs.field(factory=MqttConfig)
    occupancy: OccupancyConfig = attrs.field(factory=OccupancyConfig)


def load(path: Path | None, settings: tuple[str, ...] = ()) -> PresenceConfig:
    """Read the file (None: the usual one if it is there) and ``--set``; ``ConfigError`` with one sentence."""
    raw, where = settings_file.read(path, DEFAULT_PATH, settings, "mqtt.host")
    config = structure(raw, PresenceConfig, where)
    try:
        config.mqtt.host.encode("idna")
    except UnicodeError:
        raise ConfigError(
            f"{where}: mqtt.host is {config.mqtt.host}, which can be no name; mend it"
        ) from None
    if config.occupancy.off_share > config.occupancy.on_share:
        raise ConfigError(
            f"{where}: occupancy.off_share is {config.occupancy.off_share:g}, above on_share; lower it"
        )
    if not (config.mqtt.host or config.service.exec or config.service.webhook):
        raise ConfigError(f"{where}: nobody is told; set mqtt.host, service.exec or service.webhook")
    return config


def read_password(config: MqttConfig) -> str | None:
    """The password; None where none is configured. ``ConfigError`` where its file cannot be read."""
    if not config.password_file:
        return None
    path = Path(config.password_file)
    try:
        return read_regular(path, PASSWORD_BYTES).decode().strip("\r\n")
    except OSError as error:
        raise ConfigError(
            f"mqtt.password_file: {clean(str(path))} cannot be read ({error.strerror})"
        ) from None
    except ValueError as error:
        raise ConfigError(f"mqtt.password_file: {clean(str(path))} {clean(str(error))}") from None
