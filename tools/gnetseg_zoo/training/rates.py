"""How often training pictures are changed, and how. Needs only the standard library."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace


@dataclass(frozen=True)
class Rates:
    """How often (0..1) each change is made."""

    half_length: float = 0.6
    """A full-body photo is cropped from head to waist."""
    composite: float = 0.35
    """A person is cut out and put before a person-free photo."""
    group: float = 0.0
    """A full-body photo gives way to a group: one to four persons, near and far, cut out and
    put before a person-free photo."""
    decoy: float = 0.2
    """A person-free photo gets a person-shaped piece of another one, so that the
    network does not take the seams of composites for persons."""
    flip: float = 0.5
    rotate: float = 0.5
    tone: float = 0.8
    low_light: float = 0.12
    shade: float = 0.2
    blur: float = 0.2
    noise: float = 0.3
    jpeg: float = 0.08

    def scaled(self, strength: float) -> Rates:
        """The same with every change that harms a picture made rarer (``strength`` 0..1).

        Crops and mirrored pictures stay: they are as natural as the photo.
        """
        harmless = ("half_length", "flip")
        rarer = {f.name: getattr(self, f.name) * strength for f in fields(self) if f.name not in harmless}
        return replace(self, **rarer)
