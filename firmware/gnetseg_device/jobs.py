"""Requests on their way to an answer, and the slow part of them, which runs beside the transfers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gnetsegd.errors import GnetsegError
from gnetsegd.link.constants import Code, Type

from .model_store import Refused, StoredModel
from .pixels import upsample_yuv420
from .slots import YUV420, Slot

if TYPE_CHECKING:
    from .networks import Network, NetworkFactory

MODEL_REQUESTS = frozenset({Type.MODEL_BEGIN, Type.MODEL_CHUNK, Type.MODEL_COMMIT})


class Pending:
    """A request, in the order of arrival, until its answer has been sent.

    ``message`` is the answer's bytes, None until it is ready; ``tag`` is what the transport gave to
    ``Engine.receive``, for its own use.
    """

    __slots__ = ("aborted", "kind", "message", "model_id", "pixel", "sequence", "sha256", "slot", "tag")

    def __init__(self, kind: int, sequence: int, pixel: int = 0, model_id: int = 0) -> None:
        self.kind = kind
        self.sequence = sequence
        self.pixel = pixel
        self.model_id = model_id
        self.sha256 = b""
        self.slot: Slot | None = None
        self.message: memoryview | None = None
        self.tag = 0.0
        self.aborted = False

    @property
    def is_model_request(self) -> bool:
        return self.kind in MODEL_REQUESTS

    def release(self) -> None:
        """Give the slot back."""
        if self.slot:
            self.slot.release()
            self.slot = None


class FrameJob:
    """Computes the mask of one frame into its slot."""

    def __init__(self, request: Pending, slot: Slot, network: Network) -> None:
        self.request = request
        self.refused: Refused | None = None
        self._slot = slot
        self._network = network

    def run(self) -> None:
        """Once, without the engine's lock: touches only the slot and the layout's scratch. Never raises."""
        try:
            self._compute()
        except Exception as error:  # whatever a network throws ends this frame only
            self.refused = Refused(Code.NETWORK_FAILED, _sentence(error))

    def _compute(self) -> None:
        slot, layout = self._slot, self._slot.layout
        payload = slot.pixels[: layout.payload_sizes[self.request.pixel]]
        pixels = payload.reshape(layout.spec.shape) if self.request.pixel != YUV420 else layout.upsampled
        assert pixels is not None
        if self.request.pixel == YUV420:
            upsample_yuv420(payload.reshape(-1, layout.spec.width), pixels)
        if layout.packer is None:
            self._network.run(pixels, slot.mask)
        else:
            self._network.run(pixels, layout.labels)
            layout.packer.pack(layout.labels, slot.mask)


class CommitJob:
    """Loads the network of a model that is complete; ``network`` is there afterwards unless ``refused``."""

    def __init__(self, request: Pending, model: StoredModel, load_network: NetworkFactory) -> None:
        self.request = request
        self.model = model
        self.refused: Refused | None = None
        self.network: Network | None = None
        self._load_network = load_network

    def run(self) -> None:
        """Once, without the engine's lock. Never raises."""
        try:
            self.network = self._load_network(self.model.record, self.model.content)
        except Exception as error:  # a network that does not load is refused, and the old one serves on
            self.refused = Refused(Code.MODEL_REFUSED, _sentence(error))


Job = FrameJob | CommitJob


def _sentence(error: Exception) -> str:
    return str(error) if isinstance(error, GnetsegError) else f"{type(error).__name__}: {error}"
