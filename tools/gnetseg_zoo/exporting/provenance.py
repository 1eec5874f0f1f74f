"""Whose work a network builds on: the bundle that its training began from, and its teacher."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from gnetseg_zoo.config import TrainingConfig
from gnetsegd.model import load_bundle

TEACHER = "MediaPipe selfie segmentation (mediapipe 0.10.21), Apache-2.0"

Source = dict[str, str | int]
"""name, photos, licence; ``through``: the bundle begun from, where only that one was trained on it."""


def provenance(training: TrainingConfig, state: Mapping[str, Any]) -> dict[str, str | float]:
    """What ``[training]`` says of both; the configuration's word where a checkpoint has none (older ones)."""
    out: dict[str, str | float] = {}
    begun = state.get("begin_from", {"name": training.begin_from})
    if begun and begun["name"]:
        out["begin_from"] = begun["name"]
        if "sha256" in begun:
            out["begin_from_sha256"] = begun["sha256"]
    share = state.get("distillation", training.distillation)
    if share > 0:
        out |= {"distillation": share, "teacher": TEACHER}
    return out


def with_inherited(own: list[Source], bundle: str) -> list[Source]:
    """``own`` sources and those of ``bundle`` (a shipped name) that are not among them.

    Raises :class:`~gnetsegd.errors.ModelError` if there is no such bundle.
    """
    table = tomllib.loads((load_bundle(bundle).path / "model.toml").read_text("utf-8"))
    names = {source["name"] for source in own}
    inherited = [s for s in table.get("data", {}).get("sources", []) if s["name"] not in names]
    return own + [source | {"through": bundle} for source in inherited]
