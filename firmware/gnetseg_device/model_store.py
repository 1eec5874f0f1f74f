"""Where a device keeps its models: by their SHA-256, with one of them active.

An upload is atomic: nothing of it is seen before ``activate``, and until then the old model is
the active one. An unfinished upload stays, so that it can be resumed.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from pathlib import Path
from typing import NamedTuple

from gnetsegd.link.constants import Code
from gnetsegd.link.errors import LinkError
from gnetsegd.link.model_upload import RECORD_SIZE, ModelRecord, parse_record


class Refused(Exception):
    """A request that is answered with an ERROR of ``code``; the text is for people."""

    def __init__(self, code: Code, text: str) -> None:
        super().__init__(text)
        self.code = code


class StoredModel(NamedTuple):
    """A complete model."""

    record: ModelRecord
    content: bytes


class ModelStore:
    """Models in memory; ``capacity`` bytes in all, of which one model may take all.

    ``survives_power_loss`` is what the mock device asks when its cable is pulled: True keeps the
    committed models, as a device with flash memory does. An unfinished upload is lost.
    """

    def __init__(self, capacity: int = 16 << 20, *, survives_power_loss: bool = True) -> None:
        self.capacity = capacity
        self.survives_power_loss = survives_power_loss
        self._kept: dict[bytes, StoredModel] = {}
        self._active: bytes | None = None
        self._upload: ModelRecord | None = None
        self._received = bytearray()

    @property
    def active(self) -> StoredModel | None:
        """The model that serves."""
        return self._kept[self._active] if self._active is not None else None

    @property
    def progress(self) -> tuple[int, int]:
        """(bytes held, size) of the unfinished upload; (0, 0) if there is none."""
        return (len(self._received), self._upload.size) if self._upload else (0, 0)

    def begin(self, record: ModelRecord) -> int:
        """Start or resume an upload; the offset that is wanted next.

        ``Refused`` for a model that is larger than ``capacity``: before anything is allocated.
        """
        if record.size > self.capacity:
            raise Refused(
                Code.MODEL_TOO_LARGE, f"the model has {record.size} bytes, this device holds {self.capacity}"
            )
        if self._upload != record:
            self._upload = record
            kept = self._kept.get(record.sha256)
            self._received = bytearray(kept.content) if kept and kept.record == record else bytearray()
        return len(self._received)

    def write(self, offset: int, data: memoryview) -> int:
        """Append ``data``; the offset wanted next. ``Refused`` for another offset than that, or too much."""
        if self._upload is None:
            raise Refused(Code.NO_UPLOAD, "MODEL_CHUNK without MODEL_BEGIN")
        if offset != len(self._received):
            raise Refused(Code.BAD_OFFSET, f"offset {offset} came, {len(self._received)} was due")
        if offset + len(data) > self._upload.size:
            raise Refused(Code.BAD_OFFSET, f"the model ends at {self._upload.size}")
        self._received += data
        return len(self._received)

    def complete(self, sha256: bytes) -> StoredModel:
        """The uploaded model, if all of it is here and it is what was announced.

        ``Refused`` if not; a wrong hash throws the upload away. Nothing becomes active yet.
        """
        upload = self._upload
        if upload is None or upload.sha256 != sha256:
            raise Refused(Code.NO_UPLOAD, "MODEL_COMMIT of a model that was not begun")
        if len(self._received) != upload.size:
            raise Refused(Code.NO_UPLOAD, f"MODEL_COMMIT after {len(self._received)} of {upload.size} bytes")
        content = bytes(self._received)
        if hashlib.sha256(content).digest() != sha256:
            self.discard_upload()
            raise Refused(Code.BAD_HASH, "the model's bytes do not have the announced SHA-256")
        return StoredModel(upload, content)

    def activate(self, model: StoredModel) -> None:
        """Keep a complete model and make it the active one; the upload is over.

        ``Refused`` if it cannot be written: then the old one stays active.
        """
        self._persist(model)
        self._kept[model.record.sha256] = model
        self._active = model.record.sha256
        self.discard_upload()
        self._make_room()

    def discard_upload(self) -> None:
        """Throw an unfinished upload away."""
        self._upload, self._received = None, bytearray()

    def power_loss(self) -> None:
        """What is left after the power was off."""
        self.discard_upload()
        if not self.survives_power_loss:
            self.wipe()

    def wipe(self) -> None:
        """Lose every model, as a device with broken flash memory does."""
        self.discard_upload()
        self._kept.clear()
        self._active = None

    def _make_room(self) -> None:
        total = sum(len(model.content) for model in self._kept.values())
        for sha256 in list(self._kept):  # oldest first
            if total <= self.capacity:
                break
            if sha256 != self._active:
                total -= len(self._kept.pop(sha256).content)
                self._unpersist(sha256)

    def _persist(self, model: StoredModel) -> None:
        """For subclasses: write ``model`` and that it is the active one."""

    def _unpersist(self, sha256: bytes) -> None:
        """For subclasses: forget a model that was written."""


class FolderStore(ModelStore):
    """Models in a folder: ``<sha256>.model`` (record, then bytes) and ``active`` (the SHA-256 in hex).

    Each file is written beside its place, synced and renamed, so that a loss of power leaves the
    old one or the new one. A damaged file is left out.
    """

    def __init__(self, folder: Path, capacity: int = 16 << 20) -> None:
        super().__init__(capacity)
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        for path in sorted(folder.glob("*.model"), key=lambda path: path.stat().st_mtime):
            model = _read_model(path, capacity)
            if model:
                self._kept[model.record.sha256] = model
        with contextlib.suppress(OSError, ValueError):
            active = bytes.fromhex((folder / "active").read_text("ascii"))
            self._active = active if active in self._kept else None

    def wipe(self) -> None:
        for sha256 in self._kept:
            self._unpersist(sha256)
        (self._folder / "active").unlink(missing_ok=True)
        super().wipe()

    def _persist(self, model: StoredModel) -> None:
        name = model.record.sha256.hex()
        try:
            _replace(self._folder / f"{name}.model", model.record.pack() + model.content)
            _replace(self._folder / "active", name.encode("ascii"))
        except OSError as error:
            raise Refused(Code.STORAGE_FULL, f"the model cannot be written: {error.strerror}") from None

    def _unpersist(self, sha256: bytes) -> None:
        # What cannot be removed is room that is lost, and no reason to lose the model that serves.
        with contextlib.suppress(OSError):
            (self._folder / f"{sha256.hex()}.model").unlink()


def _read_model(path: Path, capacity: int) -> StoredModel | None:
    try:
        if path.stat().st_size > RECORD_SIZE + capacity:
            return None
        data = path.read_bytes()
        record = parse_record(data[:RECORD_SIZE])
    except (OSError, LinkError):
        return None
    content = data[RECORD_SIZE:]
    good = len(content) == record.size and hashlib.sha256(content).digest() == record.sha256
    return StoredModel(record, content) if good else None


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(path.name + ".new")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()  # half a file would keep the room that is missing
        raise
