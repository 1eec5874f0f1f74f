"""Whatever gives a label to every pixel, behind one face: scores do not ask what computed a mask.

Needs numpy; of a bundle also a TFLite runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gnetseg_zoo.datasets.pictures import Pixels
from gnetseg_zoo.scoring.runtime import Network
from gnetsegd.errors import ModelError
from gnetsegd.frame import FrameSpec
from gnetsegd.model import ModelBundle

PERSON = "person"


@dataclass(frozen=True)
class Labeller:
    """``labels`` takes uint8 [height, width, channels] of ``input`` and gives uint8 labels [rows, columns].

    ``mask``: (columns, rows) of the labels; ``classes``: their names, from 0.
    """

    name: str
    input: FrameSpec
    mask: tuple[int, int]
    classes: tuple[str, ...]
    labels: Callable[[Pixels], Pixels]

    def person(self) -> int:
        """The label of the class "person". Raises :class:`ModelError` if there is none."""
        if PERSON not in self.classes:
            raise ModelError(
                f"{self.name}: has the classes {', '.join(self.classes)} and no 'person'; "
                "score it on data of its own"
            )
        return self.classes.index(PERSON)

    def enlargement(self) -> int:
        """How many input pixels a mask pixel is wide and high.

        Raises :class:`ModelError` unless the input is square and this is a whole number.
        """
        size, (columns, rows) = self.input.width, self.mask
        if self.input.height != size or columns != rows or size % columns:
            raise ModelError(
                f"{self.name}: takes {size}x{self.input.height} and gives {columns}x{rows}; persons are "
                "scored with a square input that is a multiple of the mask"
            )
        return size // columns


def of_bundle(bundle: ModelBundle, module: str | None = None, threads: int = 2) -> Labeller:
    """The bundle's network; ``module`` and the error as in :mod:`gnetseg_zoo.scoring.runtime`."""
    network = Network(bundle, module=module, threads=threads)
    mask = bundle.mask.width, bundle.mask.height
    return Labeller(bundle.id, bundle.input, mask, bundle.labels, network.mask)
