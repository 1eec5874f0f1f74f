"""The network on the Pi's own processor."""

from __future__ import annotations

from collections.abc import Callable

import reference
from cable import MODEL
from daemon import Daemon


def test_the_stand_ins_masks_are_those_of_the_machine_outside(
    daemon: Daemon, record_property: Callable[[str, object], None]
) -> None:
    daemon.configure("standin")
    masks = daemon.masks(2, backend="standin")
    wrong = [int((mask.labels != reference.right_labels(mask.picture)).sum()) for mask in masks]
    record_property("pixels that differ", f"{wrong} of {masks[0].labels.size}, {MODEL}")
    assert reference.check(masks) > 0
