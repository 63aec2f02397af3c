"""The parts of a picture's file: what its pixels need, and what stands beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from shared.errors import ImageBroken

# bytes of a profile or text once unpacked: a small file may unpack to gigabytes. Profiles of cameras and screens have
# at most some hundred kilobytes
MAX_UNPACKED = 1024 * 1024


# Code points that are defined (ITU-T H.273, tables 2 and 3).
PRIMARIES = frozenset((1, 2, *range(4, 13), 22))
TRANSFERS = frozenset((1, 2, *range(4, 19)))


class CodePoints(NamedTuple):
    """How colours are coded, in the numbers of ITU-T H.273 (tables 2 and 3), as `nclx` and `cICP` have them."""

    primaries: int
    transfer: int


@dataclass(frozen=True)
class Parts:
    """A picture's file, taken apart. What is damaged beside the pixels is missing here.

    `manifest`: what of a C2PA manifest can be searched for words.
    `pixels`: a file of the same format with nothing but what its pixels need, the size and mode of these included.
    `exif`: a TIFF structure; `profile`: of the ICC; `comments`: texts that are marked as such. `is_turned`: the
    container itself says how the picture is turned, and its decoder does it. `is_animated`: there are several frames.
    `buffers_all`: the decoder holds the whole picture, whatever the scale it is decoded at. `scales`: it can decode at
    a smaller scale.
    """

    pixels: bytes
    exif: bytes = b""
    xmp: bytes = b""
    manifest: bytes = b""
    profile: bytes | None = None
    code_points: CodePoints | None = None
    comments: tuple[bytes, ...] = ()
    is_turned: bool = False
    is_animated: bool = False
    scales: bool = False
    buffers_all: bool = True


def damaged_header() -> ImageBroken:
    """The error of a file that cannot be taken apart."""
    return ImageBroken("The picture's header is damaged.", advice="Export it again.")
