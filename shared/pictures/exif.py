"""The two facts of EXIF and XMP that count here. What is damaged beside them costs nothing."""

from __future__ import annotations

import re
import struct

ORIENTATION, DESCRIPTION = 0x0112, 0x010E  # EXIF 2.3, table 4
_BYTE, _ASCII, _SHORT, _LONG = 1, 2, 3, 4  # types of a value (TIFF 6.0, section 2)
_WHOLE_NUMBERS = {_BYTE: "B", _SHORT: "H", _LONG: "I"}
_XMP_ORIENTATION = re.compile(rb"""tiff:Orientation\s*(?:=\s*["']|>\s*)([1-8])""")


def orientation_of(exif: bytes, xmp: bytes = b"") -> int | None:
    """How a picture is stored, 1 to 8 (EXIF 2.3, table 4); None where neither EXIF nor, in its stead, XMP says so."""
    told = _tags(exif).get(ORIENTATION)
    if told is None and (found := _XMP_ORIENTATION.search(xmp)):
        told = int(found[1])
    return told if isinstance(told, int) and 1 <= told <= 8 else None


def description_of(exif: bytes) -> bytes:
    """The text that describes a picture; empty where there is none."""
    told = _tags(exif).get(DESCRIPTION, b"")
    return told if isinstance(told, bytes) else b""


def _tags(exif: bytes) -> dict[int, int | bytes]:
    """The two tags of the first directory of a TIFF structure, as far as it can be read (TIFF 6.0, section 2)."""
    exif = exif.removeprefix(b"Exif\0\0")
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(exif[:4])
    found: dict[int, int | bytes] = {}
    if order is None:
        return found
    try:
        (at,) = struct.unpack_from(f"{order}I", exif, 4)
        (entries,) = struct.unpack_from(f"{order}H", exif, at)
        for entry in range(at + 2, at + 2 + 12 * entries, 12):
            tag, kind, count = struct.unpack_from(f"{order}HHI", exif, entry)
            if tag == ORIENTATION and kind in _WHOLE_NUMBERS and count == 1:
                (found[tag],) = struct.unpack_from(order + _WHOLE_NUMBERS[kind], exif, entry + 8)
            elif tag == DESCRIPTION and kind == _ASCII:
                start = entry + 8 if count <= 4 else struct.unpack_from(f"{order}I", exif, entry + 8)[0]
                found[tag] = exif[start : start + count].rstrip(b"\0")
    except struct.error:
        pass  # cut off: what was found before counts
    return found
