"""From the configuration to the parts of a road."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs

from ..accelerators import Accelerator
from ..cameras import Camera
from ..config import CameraConfig, Config
from ..errors import PermanentError
from ..plugins import find
from ..road.road import Network, Source
from .networks import Bundles, choose, load

#: Where ``publish.image_width`` leaves it to the camera.
OWN_WIDTH = 1280


class Setup(NamedTuple):
    """What the daemon runs with: the configuration, and the networks that come of it.

    ``until_one_comes``: the first accelerator that is plugged in changes them.
    """

    config: Config
    bundles: Bundles
    until_one_comes: bool = False


def make_setup(config: Config, accelerator_seen: bool) -> Setup:
    """Choose and read the networks. Raises ``ModelError`` or ``ConfigError``."""
    choice = choose(config, accelerator_seen)
    return Setup(config, load(choice), choice.until_one_comes)


def make_source(config: Config) -> Source:
    """The camera of ``config``, looked up when it is opened, since its package may be slow to import."""
    section = config.camera
    return Source(
        section,
        lambda: _make_camera(section),
        picture_width(config),
    )


def _make_camera(section: CameraConfig) -> Camera:
    kind = find("gnetsegd.cameras", section.driver)
    if hasattr(kind, "from_options"):  # one that is made of others
        made: Camera = kind.from_options(section.driver, section.options)
    else:
        made = kind(section.options[section.driver])
    return made


def picture_width(config: Config) -> int:
    """How wide a camera that makes pictures for people itself is to make them; 0 for none."""
    makes_them = getattr(find("gnetsegd.cameras", config.camera.driver), "makes_pictures", False)
    return (config.publish.image_width or OWN_WIDTH) if makes_them and config.publish.images else 0


def make_network(setup: Setup) -> Network:
    """The accelerator of ``setup``; ``PermanentError`` where it is none of ours."""
    section, (main, fallback) = setup.config.accelerator, setup.bundles
    kind = find("gnetsegd.accelerators", section.driver)
    if not (isinstance(kind, type) and issubclass(kind, Accelerator)):
        raise PermanentError(
            f"accelerator.driver {section.driver}: its class is no gnetsegd.accelerators.Accelerator; "
            "update the package that it comes from"
        )
    if setup.until_one_comes or (getattr(kind, "falls_back", False) and main.gives_scores):
        # The one would change the network, the other no accelerator can run.
        made = kind.alone(main, section.options)
    elif fallback is not main:
        made = kind.from_options(main, section.driver, section.options, fallback)  # type: ignore[call-arg]
    else:
        made = kind.from_options(main, section.driver, section.options)
    return Network(made, main.input, main.mask.size_bytes, section.backoff_max_s)


def in_use(section: Any) -> Any:
    """A section without the options of drivers that are not in use."""
    group = attrs.fields_dict(type(section))["options"].metadata["table"]
    used = {section.driver, *getattr(find(group, section.driver), "uses", ())}
    return attrs.evolve(section, options={name: section.options[name] for name in used})
