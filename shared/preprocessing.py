"""From an encoded file to what a model sees of it: one way for trainer, model-server and parity check, with a version.

A model names its version in its metadata. Every version that a model in a store may name stays known, so that a
rollback works; the trainer makes the newest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from PIL import Image

from shared.errors import InvalidRequest, ModelInvalid
from shared.faces import LOOK_SIDE, FaceDetector, turned
from shared.frames import Face, Frame, frame_of, middle_frame
from shared.framing import find_frame, turned_size
from shared.imaging import MAX_PIXELS, Decoded, Pixels, decode, needed_side
from shared.squares import cut_frame

FINER_PIXELS = 12_500_000  # that are decoded for a small face: half the sides of 48 megapixels, 40 MB
_FACE_SHARE = 0.6  # side of the frame by the picture's shorter side, from which a portrait is decoded once


class Preprocessing(StrEnum):
    """What a model can name. The text of a version never changes; neither does what it means."""

    MIDDLE_1 = "shared.imaging.square/1"  # the middle square, upright sRGB, bicubic: /1 to /3 differ in odd files alone
    MIDDLE_2 = "shared.imaging.square/2"
    MIDDLE_3 = "shared.imaging.square/3"
    FACE_1 = "shared.preprocessing.face/1"  # the frame on the face, else the middle square

    @property
    def frames_the_face(self) -> bool:
        """Whether it cuts the frame on the face; else the middle square."""
        return self is Preprocessing.FACE_1

    def described(self, size: int) -> str:
        """What a model that takes `size` pixels says in its metadata."""
        what = "framed on the face, else the centre-cropped square" if self.frames_the_face else "centre-cropped square"
        return f"{self.value}: upright sRGB, {what}, bicubic to {size} px, RGB uint8"


NEWEST = Preprocessing.FACE_1


def preprocessing_of(text: str) -> Preprocessing:
    """The preprocessing that a model's metadata names, before a colon and its description.

    Raises ModelInvalid for one that this program does not know.
    """
    name = text.partition(":")[0].strip()
    try:
        return Preprocessing(name)
    except ValueError:
        known = ", ".join(Preprocessing)
        raise ModelInvalid(
            f"The model wants its pictures preprocessed by '{name[:80]}'; this program knows {known}.",
            advice="Serve it with the program's version that made it, or a newer one.",
        ) from None


@dataclass(frozen=True)
class Prepared:
    """A picture as a model sees it, and what was found on the way.

    `pixels`: uint8 (S, S, 3), RGB. `decoded`: the picture, upright as its file says, perhaps smaller than it is;
    `upright` is its image after `frame.turn`. `faces`: those that were found, largest first, in pixels of the whole
    upright picture; None where nobody looked.
    """

    pixels: Pixels
    frame: Frame
    decoded: Decoded
    upright: Image.Image
    faces: tuple[Face, ...] | None


def prepare(
    data: bytes,
    size: int,
    preprocessing: Preprocessing = NEWEST,
    *,
    detector: FaceDetector | None = None,
    frame: Frame | None = None,
    max_bytes: int | None = None,
    max_pixels: int = MAX_PIXELS,
) -> Prepared:
    """Prepare an encoded picture for a model that takes `size` × `size` pixels.

    `frame`: what is known of the picture already; nobody looks for a face then. `detector`: None where no face is
    looked for: the frame is the middle square then, and its `found` null. `max_bytes`, `max_pixels`: as for `decode`.

    The picture is decoded once, at `first_side`, and once more where its face turns out to be small. Raises what
    `decode` raises, and InvalidRequest for the frame of another picture.
    """
    if frame is not None:
        return _along(data, size, preprocessing, frame, max_bytes, max_pixels)
    least = first_side(size, looks=detector is not None)
    decoded = decode(data, max_bytes=max_bytes, max_pixels=max_pixels, min_side=least)
    if detector is None:
        middle = middle_frame(decoded.width, decoded.height, found=None)
        return Prepared(cut_frame(decoded.image, middle, size), middle, decoded, decoded.image, None)
    framed = find_frame(decoded, detector, may_lie=preprocessing.frames_the_face)
    frame, face, upright, faces = framed.frame, framed.face, framed.upright, framed.faces or ()
    if face is None or not preprocessing.frames_the_face:
        middle = middle_frame(frame.width, frame.height, frame.turn, found=frame.found)
        return Prepared(cut_frame(upright, middle, size), middle, decoded, upright, faces)
    needed = _side_for(frame, size, max_pixels)
    if needed > min(decoded.image.size) and decoded.scale < 1:
        decoded = decode(data, max_bytes=max_bytes, max_pixels=max_pixels, min_side=needed)
        upright = turned(decoded.image, frame.turn)
        nearer = detector.look_again(upright, face.scaled(decoded.scale)).scaled(1 / decoded.scale)
        faces = tuple(nearer if other is face else other for other in faces)
        frame = frame_of(nearer, frame.width, frame.height, frame.turn)
    return Prepared(cut_frame(upright, frame, size), frame, decoded, upright, faces)


def first_side(size: int, *, looks: bool) -> int:
    """Pixels of the shorter side that `prepare` decodes first. `looks`: whether it has a detector, and no frame."""
    return max(math.ceil(needed_side(size) / _FACE_SHARE), LOOK_SIDE) if looks else needed_side(size)


def _along(
    data: bytes, size: int, preprocessing: Preprocessing, frame: Frame, max_bytes: int | None, max_pixels: int
) -> Prepared:
    """Prepare a picture whose frame is known."""
    if not preprocessing.frames_the_face:
        decoded = decode(data, max_bytes=max_bytes, max_pixels=max_pixels, min_side=needed_side(size))
        middle = middle_frame(decoded.width, decoded.height, found=frame.found)
        return Prepared(cut_frame(decoded.image, middle, size), middle, decoded, decoded.image, None)
    decoded = decode(data, max_bytes=max_bytes, max_pixels=max_pixels, min_side=_side_for(frame, size, max_pixels))
    if turned_size(decoded, frame.turn) != (frame.width, frame.height):
        raise InvalidRequest(
            f"The frame is of a picture of {frame.width}×{frame.height} pixels, not {decoded.width}×{decoded.height}."
        )
    upright = turned(decoded.image, frame.turn)
    return Prepared(cut_frame(upright, frame, size), frame, decoded, upright, None)


def _side_for(frame: Frame, size: int, max_pixels: int) -> int:
    """Pixels of the picture's shorter side at which its frame has those that a cut of `size` needs.

    Of a JPEG that would have more than FINER_PIXELS (or `max_pixels`) then, those of a smaller scale.
    """
    shorter, scale = min(frame.width, frame.height), 1
    while frame.width * frame.height > min(FINER_PIXELS, max_pixels) * scale**2:
        scale *= 2
    return min(math.ceil(needed_side(size) * shorter / frame.square.side), shorter // scale)
