"""Looks for the face in a decoded picture: what its frame is, and what else was found.

The one place that decides which face is framed and whether a picture lies on its side.
"""

from __future__ import annotations

from dataclasses import dataclass

from PIL import Image

from shared.faces import FaceDetector, turned
from shared.frames import Face, Frame, Turn, frame_of, middle_frame
from shared.imaging import Decoded


@dataclass(frozen=True)
class Framed:
    """What was found in a picture.

    `upright`: the decoded image after `frame.turn`. `faces`: those that were found, largest first, and `face` the one
    that is framed, in pixels of the whole upright picture, as the frame's figures are; None where nobody looked.
    """

    frame: Frame
    upright: Image.Image
    faces: tuple[Face, ...] | None = None
    face: Face | None = None


def find_frame(
    decoded: Decoded, detector: FaceDetector | None, *, may_lie: bool = True, coarsely: bool = False
) -> Framed:
    """Find the frame of a picture that was decoded to `shared.faces.LOOK_SIDE` pixels or more.

    Without a detector, nobody looks: the frame is the picture's middle, and its `found` null. `may_lie`: where the file
    does not say how the picture was held, the face does; False of pictures that nobody held. `coarsely`: as for
    `FaceDetector.detect`, of pictures that do not lie.
    """
    if detector is None:
        return Framed(middle_frame(decoded.width, decoded.height, found=None), decoded.image)
    turn: Turn = 0
    if may_lie and decoded.exif_is_silent:
        turn, seen = detector.detect_upright(decoded.image)
    else:
        seen = detector.detect(decoded.image, coarsely=coarsely)
    faces = tuple(face.scaled(1 / decoded.scale) for face in seen)
    width, height = turned_size(decoded, turn)
    face = main_face(faces, width, height)
    frame = middle_frame(width, height, turn) if face is None else frame_of(face, width, height, turn)
    return Framed(frame, turned(decoded.image, turn), faces, face)


def turned_size(decoded: Decoded, turn: Turn) -> tuple[int, int]:
    """Width and height of the whole picture after a quarter turn, in pixels."""
    return (decoded.width, decoded.height) if turn in (0, 180) else (decoded.height, decoded.width)


def main_face(faces: tuple[Face, ...], width: int, height: int) -> Face | None:
    """The largest face that has both eyes in the picture, or None.

    `width`, `height`: pixels of the upright picture, which the faces' figures are in.
    """
    return next((face for face in faces if face.has_eyes_in(width, height)), None)
