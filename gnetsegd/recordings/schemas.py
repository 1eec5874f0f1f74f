"""What the bytes of each kind mean, as text: the schemas of a recording's channels (docs/messages.md)."""

from __future__ import annotations

from ..errors import MessageError
from ..message import parse_topic
from ..vendor.mcap.records import Channel, Message, Schema
from . import ENCODING

_HEADER = """\
little-endian, without padding
offset bytes type  field
0      16    text  topic, padded with NUL
16     4     bytes magic: GSEG
20     1     u8    major: 1
21     1     u8    minor
22     2     u16   header size: offset of the payload
24     4     u32   flags; bit 0: fallback
28     1     u8    bits of a pixel: 8, 4, 2 or 1 (image: 0)
29     1     u8    classes
30     2     u16   width, pixels
32     2     u16   height, pixels
34     2     u16   stride: bytes of a row
36     4     u32   reserved
40     8     u64   sequence
48     8     u64   session
56     8     u64   sensor timestamp: exposure, ns, CLOCK_MONOTONIC
64     8     u64   publish timestamp, ns, CLOCK_MONOTONIC
72     4     u32   dropped camera
76     4     u32   dropped daemon
80     16    text  backend
96     16    bytes model hash
112    4     u32   payload size, bytes
116    12    bytes reserved
"""
_MASK = "then: one label a pixel, rows from the top, the leftmost pixel in the most significant bits\n"
_FRAME = "then: luminance, one byte a pixel, rows from the top\n"
_IMAGE = "128    32    f64   region x, y, width, height, fractions of the sensor's picture\nthen: a JPEG\n"
_JSON = "0 16 text topic, padded with NUL; then: a JSON object\n"

SCHEMAS = {
    "mask": _HEADER + _MASK,
    "frame": _HEADER + _FRAME,
    "image": _HEADER + _IMAGE,
    "info": _JSON,
    "status": _JSON,
}


def definition_of(message: Message) -> tuple[Schema, Channel] | None:
    """Of a message whose channel's own definition is lost, by what it says itself; None: not ours."""
    try:
        kind, camera = parse_topic(message.data)
    except MessageError:
        return None
    # Numbers of schemas are given from 1 on; these are beyond.
    number = 0xFF00 + list(SCHEMAS).index(kind)
    schema = Schema(id=number, data=SCHEMAS[kind].encode(), encoding=ENCODING, name=f"gnetsegd.{kind}")
    topic = f"{kind}/{camera}"
    return schema, Channel(message.channel_id, topic, ENCODING, {}, number)
