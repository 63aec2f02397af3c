"""A JPEG's segments (ITU-T T.81, annex B): what its pixels need, what stands beside them, and whether it is whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from shared.errors import ImageUnsupported
from shared.pictures.kinds import NAMES
from shared.pictures.parts import Parts, damaged_header

_APP0, _APP1, _APP2, _APP11, _APP14, _APP15, _COMMENT = 0xE0, 0xE1, 0xE2, 0xEB, 0xEE, 0xEF, 0xFE
_SCAN, _END = 0xDA, 0xD9
_PROGRESSIVE = (0xC2, 0xC6, 0xCA, 0xCE)
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
_LS = 0xF7
_BARE = frozenset((0x01, 0xD8, *range(0xD0, 0xD8)))  # markers without a length
_MARKER = re.compile(rb"\xff+[^\x00\xff]")
_NEXT = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")  # in a scan's data, the first marker that is none of its own
_EXIF, _XMP, _ICC = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0", b"ICC_PROFILE\0"
_JUMBF, _BOX_BYTES, _C2PA = b"JP", 16, b"c2pa"  # ISO/IEC 19566-5, B.2; C2PA 2.1, A.3.1
MAX_XMP = 65_502  # bytes of XMP in a segment (ISO 16684-3, 1.1.3)
_JFIF_BYTES, _ADOBE_BYTES = 14, 12  # the least of what libjpeg takes for such a segment
_ZEROS = 2  # zeros that may be the last of a picture's data: blocks without detail are coded so
END_MARKER = b"\xff\xd9"
_BEGINNING = b"\xff\xd8\xff"


class Segment(NamedTuple):
    """A marker and what belongs to it, without its length."""

    marker: int
    body: bytes
    start: int  # of the marker, from the file's beginning
    end: int


def take_apart(data: bytes) -> Parts:
    """Take a JPEG apart. Raises ImageBroken where no scan is reached, ImageUnsupported for a rare kind of JPEG."""
    kept, exif, xmp, comments, profiles = [data[:2]], b"", b"", list[bytes](), list[bytes]()
    boxes = b""
    frame: Segment | None = None
    for segment in _segments(data, 2):
        marker, body, start, end = segment
        if marker == _SCAN:
            if frame is None:
                raise damaged_header()
            kept.append(data[start:])
            in_one_scan = body[:1] == frame.body[5:6] and frame.marker not in _PROGRESSIVE
            return Parts(
                b"".join(kept),
                exif=exif,
                xmp=xmp,
                manifest=boxes if _C2PA in boxes else b"",
                profile=_joined(profiles),
                comments=tuple(comments),
                scales=True,
                buffers_all=not in_one_scan,
            )
        if marker in _FRAMES or marker == _LS:
            _check_frame(marker, body)
            frame = segment
        if marker == _COMMENT:
            comments.append(body)
        elif marker == _APP1 and body.startswith(_EXIF):
            exif += body[len(_EXIF) :]  # one that is larger than a segment goes on in the next
        elif marker == _APP1 and body.startswith(_XMP):
            xmp = xmp or body[len(_XMP) :]
        elif marker == _APP11 and body.startswith(_JUMBF):
            boxes += body[_BOX_BYTES:]  # of one that needs several segments, each begins with its box's header
        elif marker == _APP2 and body.startswith(_ICC):
            profiles.append(body[len(_ICC) :])
        elif not _APP0 <= marker <= _APP15 or _tells_colours(marker, body):
            kept.append(data[start:end])
    raise damaged_header()


def with_xmp(data: bytes, packet: bytes) -> bytes:
    """A JPEG with an XMP packet of up to MAX_XMP bytes, in the place of its own. Raises ValueError for a larger one."""
    if len(packet) > MAX_XMP:
        raise ValueError("An XMP packet does not fit into a segment.")
    body = _XMP + packet
    written = bytes((0xFF, _APP1)) + (len(body) + 2).to_bytes(2, "big") + body
    place, is_first = 2, True
    for segment in _segments(data, 2):
        if segment.marker == _APP1 and segment.body.startswith(_XMP):
            return data[: segment.start] + written + data[segment.end :]
        is_first = is_first and (segment.marker == _APP0 or segment.body.startswith(_EXIF))
        if is_first:  # JFIF and EXIF want to be the first
            place = segment.end
    return data[:place] + written + data[place:]


def has_end(data: bytes) -> bool:
    """Whether a JPEG's own end marker is there; behind it may be other pictures, or a film."""
    if data.endswith(END_MARKER):
        return True
    at = 2
    for segment in _segments(data, 2):
        at = segment.start
    # In a scan's data, neither the end nor another picture's beginning can occur; scans that follow end so too.
    end, other = data.find(END_MARKER, at), data.find(_BEGINNING, at)
    return end >= 0 and not 0 <= other < end


def says_every_coefficient(data: bytes) -> bool:
    """Whether the scans that have begun in a JPEG cover every bit of every coefficient of every component.

    One that was cut off between two scans would show, coarsely, what the next ones refine.
    """
    precision: dict[int, list[int | None]] = {}  # of each component's 64 coefficients, the lowest bit that came
    for segment in _segments(data, 2, through_scans=True):
        if segment.marker in _FRAMES:
            precision = {number: [None] * 64 for number in segment.body[6::3]}
        elif segment.marker == _SCAN:
            count = segment.body[0]
            first, last, bits = segment.body[1 + 2 * count : 4 + 2 * count]
            for number in segment.body[1 : 1 + 2 * count : 2]:
                if number in precision:
                    precision[number][first : last + 1] = [bits & 15] * (last - first + 1)
    return bool(precision) and all(bit == 0 for bits in precision.values() for bit in bits)


def without_padding(data: bytes) -> bytes:
    """A JPEG that lacks its end marker, without what may stand for it: half a marker, or zeros of a disk."""
    bare = data.rstrip(b"\0")
    zeros = len(data) - len(bare)
    if zeros <= _ZEROS:
        bare = data
    elif bare.endswith(b"\xff"):
        bare += b"\0"  # of a scan's data, the byte 0xFF is written so
    return bare.rstrip(b"\xff")


def _segments(data: bytes, at: int, *, through_scans: bool = False) -> Iterator[Segment]:
    """The segments from a place on, up to the end marker, what is cut off, or, of a scan's, to its data."""
    while (found := _MARKER.search(data, at)) is not None:  # what is none is passed over, as libjpeg does
        start, at = found.end() - 2, found.end()
        marker = data[at - 1]
        if marker == _END:
            return
        if marker in _BARE:
            continue
        length = int.from_bytes(data[at : at + 2], "big")
        if length < 2 or at + length > len(data):
            return
        yield Segment(marker, data[at + 2 : at + length], start, at + length)
        at += length
        if marker == _SCAN:
            following = _NEXT.search(data, at) if through_scans else None
            if following is None:
                return
            at = following.start()


def _check_frame(marker: int, body: bytes) -> None:
    if marker == _LS:
        rare = "JPEG-LS"
    elif marker in _LOSSLESS:
        rare = "Lossless JPEG"
    elif body[:1] not in (b"\x08", b""):
        rare = f"JPEG with {body[0]} bits a sample"
    else:
        return
    raise ImageUnsupported(f"{rare} is not read.", advice=f"Send {NAMES}.")


def _tells_colours(marker: int, body: bytes) -> bool:
    if marker == _APP0:
        return body.startswith(b"JFIF\0") and len(body) >= _JFIF_BYTES
    return marker == _APP14 and body.startswith(b"Adobe") and len(body) >= _ADOBE_BYTES


def _joined(profiles: list[bytes]) -> bytes | None:
    """A profile from its pieces, each with its number and how many there are (ICC.1:2022, B.4); None: not all came."""
    pieces = {piece[0]: piece[2:] for piece in profiles if len(piece) > 2}
    counts = {piece[1] for piece in profiles if len(piece) > 2}
    if len(counts) != 1 or sorted(pieces) != list(range(1, counts.pop() + 1)):
        return None
    return b"".join(pieces[number] for number in sorted(pieces))
