"""The boxes of a HEIC or AVIF (ISO/IEC 14496-12 and 23008-12): what they say of the picture that the file is about."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

from shared.pictures.parts import PRIMARIES, TRANSFERS, CodePoints, Parts

_PASSED_OVER = b"free"  # a type of item that no decoder looks into
_UNSPECIFIED = b"\0\2"  # of a code point (ITU-T H.273)
_MOST_ITEMS = 100_000  # a 50-megapixel picture has a hundred tiles


def take_apart(data: bytes) -> Parts:
    """Take a HEIC or AVIF apart. What cannot be understood here is left to the decoder."""
    meta = _Meta(data)
    with contextlib.suppress(struct.error, IndexError, ValueError):  # cut off or damaged: what was found before counts
        meta.read()
    return Parts(
        meta.without_metadata(),
        exif=meta.exif(),
        xmp=meta.item(meta.xmp_item),
        profile=meta.profile,
        code_points=meta.code_points,
        is_turned=meta.is_turned,
    )


@dataclass
class _Meta:
    """What the box `meta` says: of items their types and places, and the properties of the primary one."""

    data: bytes
    primary: int = 0
    exif_item: int = 0
    xmp_item: int = 0
    types_at: list[int] = field(default_factory=list)  # where the types of metadata items stand
    unknown_at: list[int] = field(default_factory=list)  # where code points stand that nobody has defined
    places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # offset and length, of each item's parts
    derived: dict[int, int] = field(default_factory=dict)  # of items that are made of others, the first of these
    profile: bytes | None = None
    code_points: CodePoints | None = None
    is_turned: bool = False

    def read(self) -> None:
        """Read the box. Raises struct.error, IndexError and ValueError where it is damaged."""
        for kind, start, end in self._boxes(0, len(self.data)):
            if kind != b"meta":
                continue
            inside = {kind: (start, end) for kind, start, end in self._boxes(start + 4, end)}
            if b"pitm" in inside:
                start, _ = inside[b"pitm"]
                self.primary = self._number(start + 4, 4 if self.data[start] else 2)
            for kind, read in (
                (b"iinf", self._read_items),
                (b"iloc", self._read_places),
                (b"iref", self._read_references),
                (b"iprp", self._read_properties),
            ):
                if kind in inside:
                    read(*inside[kind])
            return

    def without_metadata(self) -> bytes:
        """The file with the metadata's items of a type that is passed over: damaged ones would cost the picture.

        So would code points that the decoder does not know; they are unspecified here.
        """
        if not self.types_at and not self.unknown_at:
            return self.data
        changed = bytearray(self.data)
        for at in self.types_at:
            changed[at : at + 4] = _PASSED_OVER
        for at in self.unknown_at:
            changed[at : at + 2] = _UNSPECIFIED
        return bytes(changed)

    def item(self, number: int) -> bytes:
        """An item's bytes; empty where there is none, or not all of it."""
        parts = [self.data[start : start + length] for start, length in self.places.get(number, [])]
        wanted = sum(length for _, length in self.places.get(number, []))
        return b"".join(parts) if sum(map(len, parts)) == wanted else b""

    def exif(self) -> bytes:
        """The EXIF block; its item says first how many bytes to pass over (ISO/IEC 23008-12, A.2.1)."""
        content = self.item(self.exif_item)
        for skipped in (4 + int.from_bytes(content[:4], "big"), 4, 0):
            if content[skipped : skipped + 4] in (b"II*\0", b"MM\0*", b"Exif"):
                return content[skipped:]
        return b""

    def _boxes(self, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
        """Each box's type, and where its content starts and ends."""
        while start + 8 <= end:
            length, kind = struct.unpack_from(">I4s", self.data, start)
            content = start + 8
            if length == 1:
                length, content = self._number(content, 8), content + 8
            elif length == 0:
                length = end - start
            if length < content - start or start + length > end:
                return
            yield kind, content, start + length
            start += length

    def _number(self, at: int, size: int) -> int:
        if at + size > len(self.data):
            raise ValueError("cut off")
        return int.from_bytes(self.data[at : at + size], "big")

    def _read_items(self, start: int, end: int) -> None:
        first = start + (8 if self.data[start] else 6)
        for kind, at, item_end in self._boxes(first, end):
            version = self.data[at]
            if kind != b"infe" or version < 2:
                continue
            size = 2 if version == 2 else 4
            number, type_at = self._number(at + 4, size), at + 4 + size + 2
            item_type = self.data[type_at : type_at + 4]
            is_xmp = item_type == b"mime" and b"application/rdf+xml\0" in self.data[type_at:item_end]
            if item_type == b"Exif":
                self.exif_item = self.exif_item or number
            elif is_xmp:
                self.xmp_item = self.xmp_item or number
            if item_type in (b"Exif", b"mime"):
                self.types_at.append(type_at)

    def _read_places(self, start: int, _end: int) -> None:
        version = self.data[start]
        sizes = self.data[start + 4 : start + 6]
        offset_size, length_size, base_size = sizes[0] >> 4, sizes[0] & 15, sizes[1] >> 4
        index_size = sizes[1] & 15 if version else 0
        wide = 4 if version == 2 else 2
        count, at = self._number(start + 6, wide), start + 6 + wide
        for _ in range(min(count, _MOST_ITEMS)):
            number = self._number(at, wide)
            at += wide
            method = self._number(at, 2) & 15 if version else 0
            at += 2 + (2 if version else 0)  # behind it, in which file
            base = self._number(at, base_size)
            parts = self._number(at + base_size, 2)
            at += base_size + 2
            for _ in range(parts):
                at += index_size
                offset, length = self._number(at, offset_size), self._number(at + offset_size, length_size)
                at += offset_size + length_size
                if method == 0:  # in this file, from its beginning
                    self.places.setdefault(number, []).append((base + offset, length))

    def _read_references(self, start: int, end: int) -> None:
        size = 4 if self.data[start] else 2
        for kind, at, _ in self._boxes(start + 4, end):
            if kind == b"dimg":
                self.derived[self._number(at, size)] = self._number(at + size + 2, size)

    def _read_properties(self, start: int, end: int) -> None:
        properties: list[tuple[bytes, int, int]] = []
        for kind, at, box_end in self._boxes(start, end):
            if kind == b"ipco":
                properties += self._boxes(at, box_end)
                self._find_unknown(properties)
            elif kind == b"ipma":
                of_items = self._associations(at)
                own = [properties[index - 1] for index in of_items.get(self.primary, ()) if index > 0]
                tile = [properties[index - 1] for index in of_items.get(self.derived.get(self.primary, 0), ()) if index]
                self.is_turned = any(kind in (b"irot", b"imir") for kind, _, _ in own)
                self._read_colours(own)
                if self.profile is None and self.code_points is None:
                    self._read_colours(tile)  # of a grid, some writers say it of the tiles alone

    def _find_unknown(self, properties: list[tuple[bytes, int, int]]) -> None:
        for kind, at, _ in properties:
            if kind == b"colr" and self.data[at : at + 4] == b"nclx":
                for place, known in ((at + 4, PRIMARIES), (at + 6, TRANSFERS)):
                    if self._number(place, 2) not in known:
                        self.unknown_at.append(place)

    def _associations(self, at: int) -> dict[int, list[int]]:
        """Of each item, the numbers of its properties, from 1 on."""
        version, wide = self.data[at], self.data[at + 3] & 1
        size, step = (4 if version else 2), (2 if wide else 1)
        found: dict[int, list[int]] = {}
        count, at = self._number(at + 4, 4), at + 8
        for _ in range(min(count, _MOST_ITEMS)):
            number, properties = self._number(at, size), self._number(at + size, 1)
            at += size + 1
            mask = 0x7FFF if wide else 0x7F  # the first bit says whether it is essential
            indices = [self._number(at + step * index, step) & mask for index in range(properties)]
            found.setdefault(number, []).extend(indices)
            at += step * properties
        return found

    def _read_colours(self, properties: list[tuple[bytes, int, int]]) -> None:
        for kind, at, end in properties:
            if kind != b"colr":
                continue
            if self.data[at : at + 4] in (b"prof", b"rICC") and self.profile is None:
                self.profile = self.data[at + 4 : end]
            elif self.data[at : at + 4] == b"nclx" and self.code_points is None:
                self.code_points = CodePoints(self._number(at + 4, 2), self._number(at + 6, 2))
