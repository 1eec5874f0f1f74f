"""A training configuration: one TOML file, one model. Needs attrs and cattrs."""

from __future__ import annotations

import dataclasses
import math
import tomllib
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Literal

import attrs
import cattrs

from gnetseg_zoo.errors import ZooError
from gnetseg_zoo.networks import ARCHITECTURES, Down, Encoding, InputFormat, Network, Variant, build
from gnetseg_zoo.training.rates import Rates


class ConfigError(ZooError, ValueError):
    """A configuration that cannot be used; the message names file, key and remedy."""


DataKind = Literal["photos", "persons", "matting_human", "camvid", "cityscapes"]
"""What ``--data`` names: an index.csv of photos of persons (``photos``: several, by kinds of
``judging.photos``), or a published data set's folder (``camvid``: or its index.csv)."""
PERSON_DATA = ("persons", "matting_human")


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
    zoom: float = attrs.field(default=1.0, validator=attrs.validators.gt(0))


@attrs.frozen
class Shape:
    """Widths and sublayers of a network, as in :class:`NetworkConfig`."""

    widths: list[int]
    sublayers: list[int]


@attrs.frozen
class TrainingConfig:
    """How a network is trained.

    ``empty_weight``: how much a person-free picture counts against one with a person.
    ``begin_from``: a bundle whose convolutions are taken over where they fit, also into wider and
    deeper layers (``training/warm_start.py``); ``begin_as``: the widths and sublayers that it has,
    where they are not those of its own configuration of today.
    ``distillation``: how much (0..1) of a photo's target is the teacher's mask, where there is one.
    ``balanced``: rare classes count more (softmax of scenes only).
    """

    minutes: float = attrs.field(validator=attrs.validators.gt(0))
    batch: int = attrs.field(validator=attrs.validators.ge(2))
    learning_rate: float = attrs.field(validator=attrs.validators.gt(0))
    weight_decay: float = attrs.field(validator=attrs.validators.ge(0))
    ema_decay: float = attrs.field(validator=[attrs.validators.gt(0), attrs.validators.lt(1)])
    stages: list[Stage] = attrs.field(validator=attrs.validators.min_len(1))
    empty_weight: float = 1.0
    begin_from: str = ""
    begin_as: Shape | None = None
    distillation: float = attrs.field(default=0.0, validator=[attrs.validators.ge(0), attrs.validators.le(1)])
    balanced: bool = False


@attrs.frozen
class Config:
    """One file of ``configs/``.

    ``accelerator``: the network is for the chip, whose limits it must keep (``chip.py``).
    ``sources``: how often a picture begins with a photo of each source of an index.csv;
    ``kinds``: of each kind of ``selfie.pictures``, for data = "photos".
    """

    name: str
    title: str
    licence: str
    seed: int = attrs.field(validator=attrs.validators.ge(0))
    network: NetworkConfig
    training: TrainingConfig
    sources: dict[str, float] = attrs.field(factory=dict)
    kinds: dict[str, float] = attrs.field(factory=dict)
    augmentation: Rates = attrs.field(factory=Rates)
    data: DataKind = "persons"
    accelerator: bool = False

    def build_network(self, shape: Shape | None = None) -> Network:
        """The network, or one of another ``shape``. Raises :class:`gnetseg_zoo.networks.NetworkError`."""
        n = self.network
        if shape is not None:
            n = attrs.evolve(n, widths=shape.widths, sublayers=shape.sublayers)
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
    fault = next(_disagreements(config, path.stem), None)
    if fault is not None:
        raise ConfigError(f"{path}: {fault}")
    return config


def _disagreements(config: Config, stem: str) -> Iterator[str]:
    """What no single key can be blamed for at once; ``stem``: the file's name without its ending."""
    stages = config.training.stages
    ends = [0.0, *(stage.until for stage in stages)]
    if any(a >= b for a, b in pairwise(ends)) or ends[-1] != 1.0:
        yield "training.stages must rise in 'until' from above 0 and end at 1.0"
    plan = ARCHITECTURES.get(config.network.architecture)
    if plan is not None:  # else building the network says so
        multiple = 2 ** plan.pattern.count("DOWN")
        for size in (stage.size for stage in stages):
            if size < 1 or size % multiple:
                yield (
                    f"training.stages: the size {size} is not a multiple of {multiple}, which "
                    f"{config.network.architecture} needs"
                )
    for key, rate in dataclasses.asdict(config.augmentation).items():
        if not 0 <= rate <= 1:
            yield f"augmentation.{key} is {rate:g}; give how often the change is made, 0 to 1"
    for source, weight in config.sources.items():
        if not 0 <= weight < math.inf:
            yield f"[sources] {source!r} is {weight:g}; give its share of the pictures, 0 or more"
    if (config.data in PERSON_DATA or config.sources) and not sum(config.sources.values()) > 0:
        yield "[sources] is empty or all 0; give each source of the data its share of the pictures"
    if (config.data == "photos") != (sum(config.kinds.values()) > 0):
        yield "[kinds] goes with data = 'photos': give each kind of picture its share there, and only there"
    if config.name != stem:
        yield f"name is {config.name!r}; give it the name of the file, {stem!r}, or rename the file"


def _fault(error: BaseException, kind: type | None) -> str:
    """A validator's own words (they name key, value and bound), else cattrs' for the kind of error."""
    if type(error) is ValueError and error.args:
        return str(error.args[0])
    return cattrs.v.format_exception(error, kind)
