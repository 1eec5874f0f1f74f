"""Which network runs: the one that was named, or the one that fits this machine.

``model.bundle = "auto"`` is decided by whether there is an accelerator. A machine that has none gets the best
network for its processor. One that has, gets a pair: the accelerator's own, and for the processor one
that takes the same frames and gives the same masks, so that either may take over at any frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ..config import AcceleratorConfig, Config
from ..errors import ConfigError
from ..model import ModelBundle, load_bundle
from ..plugins import find

AUTO = "auto"
ON_CPU = "person"
ON_ACCELERATOR = "gnetseg-large-224y"
IN_ITS_STEAD = "person-gray"


class Bundles(NamedTuple):
    """``main`` is for the accelerator that is preferred, ``fallback`` for the processor: often the same."""

    main: ModelBundle
    fallback: ModelBundle

    def of(self, digest: bytes) -> ModelBundle:
        """The one whose network has this SHA-256: the one that makes the masks just now."""
        return self.fallback if self.fallback.sha256 == digest else self.main


class Choice(NamedTuple):
    """Names of bundles, and whether the first accelerator that comes would change them."""

    main: str
    fallback: str
    until_one_comes: bool


def choose(config: Config, accelerator_seen: bool) -> Choice:
    """What to run. ``accelerator_seen``: there is one, or was one since this process began.

    Raises ``ConfigError`` for ``model.fallback`` where nothing falls back.
    """
    model, kind = config.model, find("gnetsegd.accelerators", config.accelerator.driver)
    if model.fallback and not getattr(kind, "falls_back", False):
        raise ConfigError(
            "model.fallback is for an accelerator.driver that falls back, such as auto, and not for "
            f"{config.accelerator.driver}; leave it empty"
        )
    if model.bundle != AUTO:
        return Choice(model.bundle, model.fallback or model.bundle, False)
    if getattr(kind, "on_cpu", False):
        return Choice(ON_CPU, ON_CPU, False)
    if not getattr(kind, "falls_back", False):
        return Choice(ON_ACCELERATOR, ON_ACCELERATOR, False)
    if accelerator_seen:
        return Choice(ON_ACCELERATOR, model.fallback or IN_ITS_STEAD, False)
    return Choice(ON_CPU, ON_CPU, True)


def choices(config: Config) -> list[Choice]:
    """All that may come of ``config`` on a machine to which an accelerator comes."""
    found = [choose(config, seen) for seen in (False, True)]
    return found if found[0] != found[1] else found[:1]


def load(choice: Choice) -> Bundles:
    """Read them. Raises ``ModelError``, or ``ConfigError`` for two that cannot take each other's place."""
    main = load_bundle(choice.main)
    fallback = main if choice.fallback == choice.main else load_bundle(choice.fallback)
    for what, ours, theirs in (
        ("input", _picture(main), _picture(fallback)),
        ("mask", f"{main.mask.width}x{main.mask.height}", f"{fallback.mask.width}x{fallback.mask.height}"),
        ("labels", ", ".join(main.labels), ", ".join(fallback.labels)),
    ):
        if ours != theirs:
            raise ConfigError(
                f"the models {main.id} and {fallback.id} cannot take each other's place: their {what} are "
                f"{ours} and {theirs}; name another model.fallback"
            )
    return Bundles(main, fallback)


def _picture(bundle: ModelBundle) -> str:
    return f"{bundle.input.pixel_format} {bundle.input.width}x{bundle.input.height}"


def finder(section: AcceleratorConfig) -> Callable[[], bool]:
    """Tells whether the accelerator that ``section`` prefers is there; no where none is looked for."""
    kind = find("gnetsegd.accelerators", section.driver)
    if not getattr(kind, "falls_back", False):
        return lambda: False
    found: Callable[[], bool] = kind.finder(section.driver, section.options)
    return found
