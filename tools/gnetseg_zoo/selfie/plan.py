"""A configuration of ``selfie/configs``. Needs only the standard library."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from gnetseg_zoo.datasets.samples import DataError

CONFIGS = Path(__file__).parent / "configs"
WEIGHTS = "weights.npz"
LOG = "log.csv"
"""Their names in the folder of a run."""


@dataclass(frozen=True)
class Plan:
    """A configuration: sizes with their shares, kinds with their shares.

    ``begin``: the configuration that it goes on from; none: MediaPipe's own weights.
    ``every_licence``: of photos for research, too.
    """

    name: str
    title: str
    begin: str
    input: str
    int8: bool
    sizes: dict[int, float]
    kinds: dict[str, float]
    minutes: float
    learning_rate: float
    batch: int
    ema_decay: float
    seed: int
    most_differing: float
    every_licence: bool
    folder: Path
    bfloat16: bool

    @property
    def begin_input(self) -> str:
        """The input of what this network goes on from. Raises :class:`DataError` for an unknown one."""
        return load_plan(self.folder / f"{self.begin}.toml").input if self.begin else "RGB"

    @property
    def size(self) -> int:
        """The size that is validated: the one that is trained most."""
        return max(self.sizes, key=lambda size: self.sizes[size])


def load_plan(path: Path) -> Plan:
    """Raises :class:`DataError` for a configuration that cannot be used."""
    try:
        with path.open("rb") as file:
            given = tomllib.load(file)
        return Plan(
            name=path.stem,
            title=given.get("title", ""),
            begin=given.get("begin", ""),
            input=given["input"],
            int8=given["int8"],
            sizes={int(k): float(v) for k, v in given["sizes"].items()},
            kinds={k: float(v) for k, v in given["kinds"].items()},
            minutes=float(given["minutes"]),
            learning_rate=float(given["learning_rate"]),
            batch=int(given["batch"]),
            ema_decay=float(given["ema_decay"]),
            seed=int(given["seed"]),
            bfloat16=bool(given.get("bfloat16", False)),
            most_differing=float(given.get("most_differing", 0.005)),
            every_licence=bool(given.get("every_licence", False)),
            folder=path.parent,
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path}: is no configuration of this training ({error!r})") from error
