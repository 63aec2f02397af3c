"""Take a JPEG file apart: segments, frame header, quantization tables (ITU-T T.81, annex B).

What is private in its metadata (places, dates, thumbnails) is told from what decides on its colours.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

from PIL import Image

from services.augmenter.orientation import exif_block
from shared.errors import ImageBroken
from shared.imaging import STAND_IN_COMMENT

SOI, SOS, DQT, DHT, COM = 0xD8, 0xDA, 0xDB, 0xC4, 0xFE
BASELINE, EXTENDED, PROGRESSIVE = FRAMES = (0xC0, 0xC1, 0xC2)  # SOF markers, all with Huffman codes
_STUFFED = 0x00  # behind 0xFF: not a marker
_APP0, _APP1, _APP2, _APP14, _APP15 = 0xE0, 0xE1, 0xE2, 0xEE, 0xEF
_STANDALONE = (0x01, *range(0xD0, 0xD8))  # TEM and the restart markers have no length


@dataclass(frozen=True)
class Segment:
    """A marker and what stands behind its length."""

    marker: int
    body: bytes

    def __bytes__(self) -> bytes:
        return struct.pack(">BBH", 0xFF, self.marker, len(self.body) + 2) + self.body

    @property
    def is_metadata(self) -> bool:
        """Whether it is an application segment or a comment."""
        return _APP0 <= self.marker <= _APP15 or self.marker == COM


@dataclass(frozen=True)
class Frame:
    """What the frame header (SOF) says."""

    marker: int
    precision: int
    width: int
    height: int
    components: tuple[tuple[int, int, int, int], ...]  # identifier, horizontal and vertical sampling, table

    def mcu_side(self, axis: int) -> int:
        """Pixels of the smallest coded unit along the axis: 0 is vertical, 1 horizontal."""
        if len(self.components) == 1:
            return 8  # one component is never interleaved: its unit is a block (T.81, A.2.2)
        return 8 * self._max_sampling(axis)

    def blocks(self, component: int, axis: int) -> int:
        """Blocks of a component along the axis (T.81, A.1.1). Raises ZeroDivisionError for a damaged header."""
        side = (self.height, self.width)[axis]
        return -(-side * self._sampling(component, axis) // (8 * self._max_sampling(axis)))

    def _sampling(self, component: int, axis: int) -> int:
        return self.components[component][2 - axis]

    def _max_sampling(self, axis: int) -> int:
        return max(self._sampling(each, axis) for each in range(len(self.components)))


def split_header(data: bytes) -> tuple[list[Segment], int]:
    """The segments between SOI and the first scan, and where that begins.

    What stands between segments without a marker is passed over, as every decoder does. Raises struct.error, IndexError
    and ValueError where it is cut off.
    """
    segments, at = list[Segment](), 2
    while True:
        marker = data[at + 1]
        if data[at] != 0xFF or marker == 0xFF:  # padding, or a fill byte
            at += 1
        elif marker == _STUFFED or marker in _STANDALONE:
            at += 2
        elif marker == SOS:
            return segments, at
        else:
            (length,) = struct.unpack_from(">H", data, at + 2)
            if length < 2 or at + 2 + length > len(data):
                raise ValueError("a segment is cut off")
            segments.append(Segment(marker, data[at + 4 : at + 2 + length]))
            at += 2 + length


def frame_of(segments: list[Segment]) -> Frame | None:
    """The frame header; None where there is none that is understood."""
    for segment in segments:
        if segment.marker in FRAMES:
            precision, height, width, count = struct.unpack_from(">BHHB", segment.body)
            if len(segment.body) != 6 + 3 * count:
                return None
            components = tuple(
                (identifier, sampling >> 4, sampling & 15, table)
                for identifier, sampling, table in struct.iter_unpack("BBB", segment.body[6:])
            )
            return Frame(segment.marker, precision, width, height, components)
    return None


def quantization_tables(segments: list[Segment]) -> list[tuple[int, int]]:
    """(precision, slot) of each table: precision 0 is 8 bits, 1 is 16."""
    tables = []
    for segment in segments:
        at = 0
        while segment.marker == DQT and at < len(segment.body):
            precision, slot = segment.body[at] >> 4, segment.body[at] & 15
            tables.append((precision, slot))
            at += 1 + 64 * (1 + precision)
    return tables


def colour_metadata(segments: list[Segment], orientation: int, *, stand_in: bool) -> list[Segment]:
    """What a flip keeps of the metadata: JFIF, Adobe and colour profile, the orientation alone of EXIF.

    `stand_in`: whether the comment of a drawn face follows.
    """
    kept = [kept for segment in segments if (kept := _without_private_data(segment)) is not None]
    told = [segment for segment in kept if segment.marker == _APP0]  # JFIF must come first
    if exif := exif_block(orientation):
        told.append(Segment(_APP1, exif))
    told += [segment for segment in kept if segment.marker != _APP0]
    if stand_in:
        told.append(Segment(COM, STAND_IN_COMMENT))
    return told


def _without_private_data(segment: Segment) -> Segment | None:
    """The segment without thumbnails if it decides on colours; None for all others, which may be private."""
    if segment.marker == _APP0 and segment.body.startswith(b"JFIF\0") and len(segment.body) >= 14:
        return Segment(_APP0, segment.body[:12] + b"\0\0")
    if segment.marker == _APP2 and segment.body.startswith(b"ICC_PROFILE\0"):
        return segment
    if segment.marker == _APP14 and segment.body.startswith(b"Adobe"):
        return segment
    return None


def check_decodes(data: bytes) -> None:
    """Raise ImageBroken for damaged data, which readers of coefficients silently fill with grey.

    Decoding at an eighth of the size reads everything and computes hardly anything.
    """
    try:
        with Image.open(io.BytesIO(data), formats=["JPEG"]) as image:
            image.draft("L", (1, 1))
            image.load()
    except Exception as error:  # Pillow raises OSError, SyntaxError and others
        raise broken() from error


def broken() -> ImageBroken:
    """The refusal of data that cannot be trusted."""
    return ImageBroken("The JPEG's data is damaged or cut off.", advice="Send it again.")
