"""A WebP's chunks (RFC 9649, section 2): what its pixels need, and what stands beside them."""

from __future__ import annotations

from collections.abc import Iterator

from shared.pictures.parts import Parts, damaged_header

_ALPHA, _XMP = 0x10, 0x04  # flags of VP8X
_HEADER_BYTES = 12


def take_apart(data: bytes) -> Parts:
    """Take a WebP apart. Raises ImageBroken where its picture is not whole."""
    first: dict[bytes, bytes] = {}
    frames = 0
    for kind, body in _chunks(data):
        first.setdefault(kind, body)
        frames += kind == b"ANMF"
    manifest = first.get(b"C2PA", b"")  # C2PA 2.1, A.3.7
    exif, xmp, profile = first.get(b"EXIF", b""), first.get(b"XMP ", b""), first.get(b"ICCP")
    if frames:
        return Parts(data, exif=exif, xmp=xmp, manifest=manifest, profile=profile, is_animated=frames > 1)
    picture = [kind for kind in (b"VP8 ", b"VP8L") if kind in first][:1]
    if not picture:
        raise damaged_header()
    kept: list[tuple[bytes, bytes]] = [(picture[0], first[picture[0]])]
    canvas = first.get(b"VP8X", b"")
    if len(canvas) == 10:  # what it says is there besides is there no more
        if b"ALPH" in first:
            kept.insert(0, (b"ALPH", first[b"ALPH"]))
        kept.insert(0, (b"VP8X", bytes([canvas[0] & _ALPHA, 0, 0, 0]) + canvas[4:]))
    return Parts(_joined(kept), exif=exif, xmp=xmp, manifest=manifest, profile=profile)


def with_xmp(data: bytes, packet: bytes) -> bytes:
    """A WebP with an XMP packet in the place of its own, or at its end. Raises ImageBroken without a picture."""
    chunks = [(kind, body) for kind, body in _chunks(data) if kind != b"XMP "]
    if not chunks:
        raise damaged_header()
    kind, body = chunks[0]
    if kind == b"VP8X":
        chunks[0] = (kind, bytes([body[0] | _XMP]) + body[1:])
    else:
        chunks.insert(0, (b"VP8X", _canvas(kind, body)))
    return _joined([*chunks, (b"XMP ", packet)])


def _canvas(kind: bytes, body: bytes) -> bytes:
    """The extended header of a file that has none: flags, and the size that its picture tells, less one, in pixels."""
    if kind == b"VP8L" and len(body) >= 5:  # RFC 9649, 3.4: after a byte, 14 bits of each side less one, and of alpha
        told = int.from_bytes(body[1:5], "little")
        width, height, has_alpha = told & 0x3FFF, told >> 14 & 0x3FFF, told >> 28 & 1
    elif kind == b"VP8 " and len(body) >= 10:  # RFC 6386, 9.1: after 6 bytes, 14 bits of each side, and two of scale
        width, height, has_alpha = *(int.from_bytes(body[at : at + 2], "little") % 0x4000 - 1 for at in (6, 8)), 0
    else:
        raise damaged_header()
    flags = _XMP | (_ALPHA if has_alpha else 0)
    return bytes([flags, 0, 0, 0]) + width.to_bytes(3, "little") + height.to_bytes(3, "little")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The chunks that are whole, up to the first that is not."""
    at = _HEADER_BYTES
    while at + 8 <= len(data):
        kind, length = data[at : at + 4], int.from_bytes(data[at + 4 : at + 8], "little")
        if at + 8 + length > len(data):
            return
        yield kind, data[at + 8 : at + 8 + length]
        at += 8 + length + length % 2


def _joined(chunks: list[tuple[bytes, bytes]]) -> bytes:
    body = b"".join(
        kind + len(content).to_bytes(4, "little") + content + bytes(len(content) % 2) for kind, content in chunks
    )
    return b"RIFF" + (4 + len(body)).to_bytes(4, "little") + b"WEBP" + body
