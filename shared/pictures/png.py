"""A PNG's chunks (W3C PNG, third edition): what its pixels need, and what stands beside them."""

from __future__ import annotations

import binascii
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from shared.pictures.parts import MAX_UNPACKED, CodePoints, Parts, damaged_header

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_END = b"\0\0\0\0IEND\xaeB`\x82"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_INDEXED = 3  # colour type: samples are entries of the palette
_HEADER_BYTES = 13
_MOST_COMMENTS = 16  # that are unpacked: a small file may hold thousands, each of which unpacks to a megabyte
_XMP = b"XML:com.adobe.xmp"  # keyword of the text (ISO 16684-3, 1.1.5)
_RAW_EXIF = (b"raw profile type exif", b"raw profile type app1")  # how ImageMagick writes it: in hexadecimal


class _Chunk(NamedTuple):
    kind: bytes
    body: memoryview
    whole: memoryview  # with its length and checksum
    is_sound: bool


def take_apart(data: bytes) -> Parts:
    """Take a PNG apart. Raises ImageBroken where its header, or the palette that its samples name, is damaged."""
    kept: list[bytes | memoryview] = [_SIGNATURE]
    texts: dict[bytes, list[tuple[bytes, bytes]]] = {}
    exif, profile, code_points, is_animated, colour_type = b"", None, None, False, None
    manifest = b""
    for kind, body, whole, is_sound in _chunks(data):
        if colour_type is None:
            if kind != b"IHDR" or not is_sound or len(body) != _HEADER_BYTES:
                raise damaged_header()
            colour_type = body[9]
            kept.append(whole)
        elif kind == b"IDAT":
            kept.append(whole)  # deflate has a checksum of its own
        elif kind == b"PLTE" and colour_type == _INDEXED:
            if not is_sound:
                raise damaged_header()
            kept.append(whole)
        elif not is_sound:
            continue
        elif kind == b"tRNS" and len(body) == {0: 2, 2: 6}.get(colour_type, len(body)):
            kept.append(whole)
        elif kind == b"iCCP":
            profile = _unpacked(bytes(body).partition(b"\0")[2][1:])
        elif kind == b"cICP" and len(body) == 4:
            code_points = CodePoints(body[0], body[1])
        elif kind == b"eXIf":
            exif = bytes(body)
        elif kind == b"caBX":  # C2PA 2.1, A.3.3
            manifest = bytes(body)
        elif kind == b"acTL" and len(body) == 8:
            is_animated = int.from_bytes(body[:4], "big") > 1
        elif kind in _TEXTS:
            keyword, _, rest = bytes(body).partition(b"\0")
            texts.setdefault(keyword.lower(), []).append((kind, rest))
    if colour_type is None:
        raise damaged_header()
    raw = [text for keyword in _RAW_EXIF for text in texts.get(keyword, ())][:1]
    return Parts(
        b"".join((*kept, _END)),
        exif=exif or b"".join(_from_hexadecimal(_text(*text)) for text in raw),
        xmp=b"".join(_text(*text) for text in texts.get(_XMP.lower(), ())[:1]),
        manifest=manifest,
        profile=profile,
        code_points=code_points,
        comments=tuple(_text(*text) for text in texts.get(b"comment", ())[:_MOST_COMMENTS]),
        is_animated=is_animated,
    )


def with_xmp(data: bytes, packet: bytes) -> bytes:
    """A PNG with an XMP packet in the place of its own, or behind its header. Raises ImageBroken without a header."""
    body = b"iTXt" + _XMP + bytes(5) + packet  # neither packed, nor in a language
    written = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    at = len(_SIGNATURE)
    place: tuple[int, int] | None = None
    for kind, text, whole, _ in _chunks(data):
        if place is None:
            place = (at + len(whole), at + len(whole))
        elif kind in _TEXTS and bytes(text[: len(_XMP) + 1]).lower() == _XMP.lower() + b"\0":
            place = (at, at + len(whole))
            break
        at += len(whole)
    if place is None:
        raise damaged_header()
    return data[: place[0]] + written + data[place[1] :]


def _chunks(data: bytes) -> Iterator[_Chunk]:
    """The chunks up to the end. Picture data that is cut off is the last; of other chunks, one that is cut off is not.

    The checksum of picture data is not looked at.
    """
    view, at = memoryview(data), len(_SIGNATURE)
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        whole = view[at : at + 12 + length]
        if kind == b"IEND" or (len(whole) < 12 + length and kind != b"IDAT"):
            return
        body = whole[8 : 8 + length]
        is_sound = kind == b"IDAT" or zlib.crc32(whole[4:-4]) == int.from_bytes(whole[-4:], "big")
        yield _Chunk(kind, body, whole, is_sound)
        at += 12 + length


def _text(kind: bytes, rest: bytes) -> bytes:
    """What stands behind a text's keyword (W3C PNG, 11.3.3); empty where it is damaged or large once unpacked."""
    if kind == b"tEXt":
        return rest
    if kind == b"zTXt":
        return _unpacked(rest[1:]) or b""
    is_packed, fields = rest[:1] == b"\1", rest[2:].split(b"\0", 2)  # language, keyword in it, text
    text = fields[2] if len(fields) == 3 else b""
    return (_unpacked(text) or b"") if is_packed else text


def _unpacked(packed: bytes) -> bytes | None:
    """What deflate packed; None where it is damaged, or more than is of use here."""
    inflate = zlib.decompressobj()
    try:
        content = inflate.decompress(packed, MAX_UNPACKED)
    except zlib.error:
        return None
    return content if inflate.eof else None


def _from_hexadecimal(text: bytes) -> bytes:
    try:
        return binascii.unhexlify(b"".join(text.split(b"\n")[3:]).replace(b" ", b""))
    except binascii.Error:
        return b""
