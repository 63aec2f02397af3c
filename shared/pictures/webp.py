"""A WebP's chunks (RFC 9649, section 2): what its pixels need, and what stands beside them."""

from __future__ import annotations

from collections.abc import Iterator

from shared.pictures.parts import Parts, damaged_header

_ALPHA = 0x10  # flag of VP8X
_HEADER_BYTES = 12


def take_apart(data: bytes) -> Parts:
    """Take a WebP apart. Raises ImageBroken where its picture is not whole."""
    first: dict[bytes, bytes] = {}
    frames = 0
    for kind, body in _chunks(data):
        first.setdefault(kind, body)
        frames += kind == b"ANMF"
    exif, xmp, profile = first.get(b"EXIF", b""), first.get(b"XMP ", b""), first.get(b"ICCP")
    if frames:
        return Parts(data, exif=exif, xmp=xmp, profile=profile, is_animated=frames > 1)
    picture = [kind for kind in (b"VP8 ", b"VP8L") if kind in first][:1]
    if not picture:
        raise damaged_header()
    kept: list[tuple[bytes, bytes]] = [(picture[0], first[picture[0]])]
    canvas = first.get(b"VP8X", b"")
    if len(canvas) == 10:  # what it says is there besides is there no more
        if b"ALPH" in first:
            kept.insert(0, (b"ALPH", first[b"ALPH"]))
        kept.insert(0, (b"VP8X", bytes([canvas[0] & _ALPHA, 0, 0, 0]) + canvas[4:]))
    return Parts(_joined(kept), exif=exif, xmp=xmp, profile=profile)


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
