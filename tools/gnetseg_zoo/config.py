"""A training configuration: one TOML file, one model. Needs attrs and cattrs."""

from __future__ import annotations

import tomllib
from pathlib import Path

import attrs
import cattrs

from gnetseg_zoo.networks import Down, Encoding, InputFormat, Network, Variant, build
from gnetseg_zoo.rates import Rates


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names file, key and remedy."""


@attrs.frozen
class NetworkConfig:
    """What :func:`gnetseg_zoo.networks.build` is given; ``classes`` are the labels' names."""

    architecture: str
    variant: Variant
    input_format: InputFormat
    size: int
    encoding: Encoding
    classes: list[str]
    down: Down
    widths: list[int]
    sublayers: list[int] | None = None
    last_width: int | None = None


@attrs.frozen
class Stage:
    """Train on pictures of ``size`` pixels until this share (0..1) of the minutes is over.

    ``strength`` (0..1) makes the augmentation's changes rarer: towards the end the
    pictures should look like those of a camera.
    """

    size: int
    until: float
    strength: float = attrs.field(default=1.0, validator=[attrs.validators.ge(0), attrs.validators.le(1)])


@attrs.frozen
class TrainingConfig:
    """``empty_weight``: how much a person-free picture counts against one with a person."""

    minutes: float = attrs.field(validator=attrs.validators.gt(0))
    batch: int = attrs.field(validator=attrs.validators.ge(2))
    learning_rate: float = attrs.field(validator=attrs.validators.gt(0))
    weight_decay: float = attrs.field(validator=attrs.validators.ge(0))
    ema_decay: float = attrs.field(validator=[attrs.validators.gt(0), attrs.validators.lt(1)])
    stages: list[Stage] = attrs.field(validator=attrs.validators.min_len(1))
    empty_weight: float = 1.0


@attrs.frozen
class Config:
    """One file of ``configs/``."""

    name: str
    title: str
    licence: str
    seed: int
    network: NetworkConfig
    training: TrainingConfig
    sources: dict[str, float]
    augmentation: Rates = attrs.field(factory=Rates)

    def build_network(self) -> Network:
        """The network; raises :class:`gnetseg_zoo.networks.NetworkError`."""
        n = self.network
        return build(
            n.architecture,
            widths=n.widths,
            variant=n.variant,
            input_format=n.input_format,
            size=n.size,
            classes=len(n.classes),
            encoding=n.encoding,
            down=n.down,
            sublayers=n.sublayers,
            last_width=n.last_width,
        )


def load_config(path: Path) -> Config:
    """Read and check ``path``. Raises :class:`ConfigError`."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigError(
            f"{path}: cannot be read as TOML ({error}); the shipped ones lie in configs/"
        ) from error
    converter = cattrs.Converter(forbid_extra_keys=True)
    try:
        config = converter.structure(values, Config)
    except cattrs.BaseValidationError as error:
        faults = cattrs.transform_error(error, path="config", format_exception=_fault)
        raise ConfigError(f"{path}: " + "; ".join(faults)) from error
    stages = config.training.stages
    if [s.until for s in stages] != sorted(s.until for s in stages) or stages[-1].until != 1.0:
        raise ConfigError(f"{path}: training.stages must rise in 'until' and end at 1.0")
    return config


def _fault(error: BaseException, kind: type | None) -> str:
    """A validator's own words (they name key, value and bound), else cattrs' for the kind of error."""
    if type(error) is ValueError and error.args:
        return str(error.args[0])
    return cattrs.v.format_exception(error, kind)
