"""Tables 1 and 2 of the GnetSeg paper as data, and what is inferred of their USB links."""

from __future__ import annotations

from dataclasses import dataclass

from gnetseg_zoo.networks import Encoding, InputFormat

SPEED_GMACS = 2142.0
"""Multiply-accumulates a second of the chip, in 10^9: VGG16's 15.3 at 140 FPS (section 1)."""


@dataclass(frozen=True)
class Row:
    """One line: GnetSeg-Large, reformat variant, on the 224 mW chip."""

    table: int
    size: int
    """Width and height of the input in pixels."""
    input_format: InputFormat
    encoding: Encoding
    classes: int
    host: str
    bus: str
    fps: float
    """As printed: the chip's time and the transfers', one frame after another."""
    miou: float
    """On Matting Human (table 1) or Cityscapes with 16 classes (table 2)."""

    @property
    def name(self) -> str:
        """As the paper writes it, 'SoftMax' and '2cls' in plain words."""
        return f"Large {self.size} {self.input_format} {self.encoding} {self.classes}"


@dataclass(frozen=True)
class Link:
    """What the emulated link stands for: 10^6 bytes a second in both directions together."""

    mbps: float
    source: str


DATA = {1: "Matting Human", 2: "Cityscapes, 16 classes"}
"""The paper's data of each table."""

I5, I7, RK, PI = "i5-7300HQ", "i7-8700K", "RK3399", "Raspberry Pi 3B"
ROWS = (
    Row(1, 448, "Y", "integer", 2, I5, "USB3.0", 109.19, 0.971),
    Row(1, 224, "Y", "integer", 2, I5, "USB3.0", 318.72, 0.968),
    Row(1, 224, "YUV444", "integer", 2, PI, "USB2.0", 109.57, 0.970),
    Row(1, 224, "Y", "integer", 2, PI, "USB2.0", 189.87, 0.968),
    Row(2, 448, "RGB", "softmax", 16, I7, "USB3.0", 37.50, 0.533),
    Row(2, 448, "Y", "softmax", 16, I7, "USB3.0", 43.82, 0.527),
    Row(2, 224, "RGB", "softmax", 16, I7, "USB3.0", 143.51, 0.453),
    Row(2, 448, "Y", "softmax", 16, I7, "USB2.0", 15.54, 0.527),
    Row(2, 224, "RGB", "softmax", 16, I7, "USB2.0", 53.27, 0.453),
    Row(2, 224, "RGB", "softmax", 16, RK, "USB3.0", 53.57, 0.453),
    Row(2, 224, "RGB", "softmax", 16, RK, "USB2.0", 25.77, 0.453),
    Row(2, 448, "Y", "softmax", 16, PI, "USB2.0", 7.03, 0.527),
    Row(2, 224, "RGB", "softmax", 16, PI, "USB2.0", 25.78, 0.453),
)

# The paper gives no rates. These make its FPS out of its bytes (one a channel and pixel,
# each way) and a few milliseconds in the chip.
_USB3_DESKTOP = Link(150.0, "inferred: the three USB3.0 rows of table 2, within a tenth")
LINKS = {
    (I5, "USB3.0"): _USB3_DESKTOP,
    (I7, "USB3.0"): _USB3_DESKTOP,
    (I7, "USB2.0"): Link(53.2, "the bound of USB 2.0 bulk transfers"),
    (RK, "USB3.0"): Link(57.0, "inferred: its own row"),
    (RK, "USB2.0"): Link(26.0, "inferred: as fast as the Raspberry Pi 3B"),
    (PI, "USB2.0"): Link(26.0, "inferred: its two rows of table 1, with 1.4 ms in the chip"),
}
COMPUTE_MS = {row: 1.4 for row in ROWS if row.table == 1 and row.host == PI}
"""Milliseconds in the chip where two rows of one host let them be told from the link's."""


def link(row: Row) -> Link:
    """The link of a row's host and bus."""
    return LINKS[row.host, row.bus]


def compute_ms(row: Row, macs: int) -> tuple[float, str]:
    """(milliseconds in the chip, where from) of a network of ``macs``, on this row's machine."""
    if row in COMPUTE_MS:
        return COMPUTE_MS[row], "inferred"
    return macs / SPEED_GMACS / 1e6, "estimated"
