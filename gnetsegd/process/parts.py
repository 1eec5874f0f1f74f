"""From the configuration to the parts of a road."""

from __future__ import annotations

from typing import Any, NamedTuple

import attrs

from ..accelerators import Accelerator
from ..config import AcceleratorConfig, CameraConfig, Config
from ..errors import PermanentError
from ..model import ModelBundle
from ..plugins import find
from ..road.road import Network, Source


class Setup(NamedTuple):
    """What the daemon runs with: the configuration, and the network that it names."""

    config: Config
    bundle: ModelBundle


def make_source(section: CameraConfig) -> Source:
    """The camera of ``section``, looked up when it is opened, since its package may be slow to import."""
    return Source(section, lambda: find("gnetsegd.cameras", section.driver)(section.options[section.driver]))


def make_network(section: AcceleratorConfig, bundle: ModelBundle) -> Network:
    """The accelerator of ``section``; ``PermanentError`` where it is none of ours."""
    kind = find("gnetsegd.accelerators", section.driver)
    if not (isinstance(kind, type) and issubclass(kind, Accelerator)):
        raise PermanentError(
            f"accelerator.driver {section.driver}: its class is no gnetsegd.accelerators.Accelerator; "
            "update the package that it comes from"
        )
    made = kind.from_options(bundle, section.driver, section.options)
    return Network(made, bundle.input, bundle.mask.size_bytes, section.backoff_max_s)


def in_use(section: Any) -> Any:
    """A section without the options of drivers that are not in use."""
    group = attrs.fields_dict(type(section))["options"].metadata["table"]
    used = {section.driver, *getattr(find(group, section.driver), "uses", ())}
    return attrs.evolve(section, options={name: section.options[name] for name in used})
