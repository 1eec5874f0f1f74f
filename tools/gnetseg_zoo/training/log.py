"""The log that a training run leaves beside its checkpoint: a csv, a line a checkpoint."""

from __future__ import annotations

LOG = "log.csv"
RUN_COLUMNS = ("minutes", "step", "images", "size", "learning_rate", "loss", "images_per_s")
PERSON_COLUMNS = ("portrait", "fullbody", "persons", "false_person")
PHOTO_COLUMNS = ("portrait", "fullbody", "half-length", "scene", "group", "mean", "empty")
SCENE_COLUMNS = ("miou", "pixel_accuracy")
"""Scores of the averaged weights, as floats, on the validation split."""
