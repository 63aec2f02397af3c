"""The frame: where in an upright picture the face is, and the square that a model sees of it.

A frame is found once and kept with the image; trainer and model-server cut the same square. Everything is in pixels of
the whole picture as displayed: after EXIF's orientation and after `turn`, whatever size it was decoded at. Like
`shared.events`, this needs only pydantic.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

MARGIN = 1.35  # side of the frame by the size of the face's box, which ends at brow and chin: forehead and chin stay in
RISE = 0.04  # of the box's size that the frame's centre lies above the box's: a forehead is longer than a chin
ROLL_SLACK = 4.0
"""Degrees of roll that a frame does not follow: as much as the detector errs by. Of 30 drawn faces with borders of 5 to
40% and off centre, one model changes no verdict on 25 with this slack, on 22 without."""
EYE_EDGE = 0.07
"""Of the box's size that an eye must lie inside the picture: of a face cut below the eyes, YuNet guesses them at the
edge (−0.11 to +0.06, on the lower halves of 213 drawn faces and two photographs)."""
_DECIMALS = 2  # of what is kept: a hundredth of a pixel, of a degree

Pixels = Annotated[float, Field(allow_inf_nan=False, json_schema_extra={"x-unit": "pixels"})]
Length = Annotated[float, Field(gt=0, allow_inf_nan=False, json_schema_extra={"x-unit": "pixels"})]
Degrees = Annotated[float, Field(ge=-180, le=180, json_schema_extra={"x-unit": "degrees"})]
Turn = Literal[0, 90, 180, 270]
Point = tuple[Pixels, Pixels]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class Square(_Model):
    """A square in a picture."""

    x: Pixels
    """Centre, from the left edge."""
    y: Pixels
    """Centre, from the top edge."""
    side: Length
    """Length of a side."""
    roll: Degrees = 0.0
    """How far it is turned about its centre, clockwise as displayed."""

    def scaled(self, factor: float) -> Self:
        """The same square in a copy of the picture that is `factor` times as large."""
        return self.model_copy(update={name: getattr(self, name) * factor for name in ("x", "y", "side")})


class Face(_Model):
    """A face that was found in a picture."""

    x: Pixels
    """Centre of its box, from the left edge."""
    y: Pixels
    """Centre of its box, from the top edge."""
    width: Length
    """Width of its box, which is turned about its centre by `roll`."""
    height: Length
    """Height of its box, from the brow to the chin."""
    points: tuple[Point, Point, Point, Point, Point]
    """Eye, eye, tip of the nose, corner and corner of the mouth, each from left to right in an upright picture."""
    score: Annotated[float, Field(ge=0, le=1)]
    """How sure the detector is."""
    roll: Degrees
    """Turn of the line through both eyes, clockwise as displayed."""
    yaw: float
    """How far the tip of the nose lies right of the middle between the eyes, along their line, in distances between
    the eyes. A measure of the head's turn to its left: on drawn faces it grows by 0.0065 with each degree (r = .96)."""

    @property
    def size(self) -> float:
        """Pixels: side of the square with the box's area. Unlike the distance between the eyes it hardly depends on
        the pose."""
        return math.sqrt(self.width * self.height)

    @property
    def eye_distance(self) -> float:
        """Pixels between both eyes."""
        return math.dist(self.points[0], self.points[1])

    def scaled(self, factor: float) -> Self:
        """The same face in a copy of the picture that is `factor` times as large."""
        lengths = {name: getattr(self, name) * factor for name in ("x", "y", "width", "height")}
        return self.model_copy(update={**lengths, "points": tuple((x * factor, y * factor) for x, y in self.points)})

    def has_eyes_in(self, width: float, height: float) -> bool:
        """Whether both eyes lie inside a picture of this size, and not at its very edge."""
        edge = EYE_EDGE * self.size
        return all(edge <= x <= width - edge and edge <= y <= height - edge for x, y in self.points[:2])


class Frame(_Model):
    """Where the face is in a picture, and the square that is cut out of it for a model."""

    found: bool | None
    """Whether there is a face to frame; null where nobody looked. Without one, the square is the picture's middle."""
    width: Annotated[int, Field(ge=1, json_schema_extra={"x-unit": "pixels"})]
    """Width of the picture, upright."""
    height: Annotated[int, Field(ge=1, json_schema_extra={"x-unit": "pixels"})]
    """Height of the picture, upright."""
    turn: Turn = 0
    """Degrees clockwise that the picture is turned by after EXIF's orientation, to be upright."""
    square: Square
    """What is cut. It may leave the picture, which is then mirrored at its edge."""
    face: Face | None = None
    """The face that is framed, the largest one; null without one."""

    def mirrored(self) -> Self:
        """The frame of the picture's mirror image, left and right exchanged."""
        turn = (360 - self.turn) % 360  # a mirror image is turned the other way
        square = self.square.model_copy(update={"x": self.width - self.square.x, "roll": -self.square.roll})
        if self.face is None:
            return self.model_copy(update={"turn": turn, "square": square})
        left, right, nose, mouth_left, mouth_right = ((self.width - x, y) for x, y in self.face.points)
        face = self.face.model_copy(
            update={
                "x": self.width - self.face.x,
                "points": (right, left, nose, mouth_right, mouth_left),
                "roll": -self.face.roll,
                "yaw": -self.face.yaw,
            }
        )
        return self.model_copy(update={"turn": turn, "square": square, "face": face})


def frame_of(face: Face, width: int, height: int, turn: Turn = 0) -> Frame:
    """Frame a face: a square with a margin that keeps forehead and chin, upright to within ROLL_SLACK.

    `width`, `height`: pixels of the upright picture, which the face's figures are in.
    """
    turned = math.radians(face.roll)
    rise = RISE * face.size
    square = Square(
        x=round(face.x + math.sin(turned) * rise, _DECIMALS),
        y=round(face.y - math.cos(turned) * rise, _DECIMALS),
        side=round(MARGIN * face.size, _DECIMALS),
        roll=round(beyond_slack(face.roll), _DECIMALS),
    )
    return Frame(found=True, width=width, height=height, turn=turn, square=square, face=_rounded(face))


def beyond_slack(roll: float) -> float:
    """Degrees of roll beyond ROLL_SLACK, 0 within: without a step, so that what follows it varies smoothly."""
    return roll - max(-ROLL_SLACK, min(ROLL_SLACK, roll))


def middle_frame(width: int, height: int, turn: Turn = 0, *, found: bool | None = False) -> Frame:
    """The middle square of a picture without a face. `found=None`: of a picture in which nobody looked for one."""
    square = Square(x=width / 2, y=height / 2, side=min(width, height))
    return Frame(found=found, width=width, height=height, turn=turn, square=square)


def _rounded(face: Face) -> Face:
    return Face(
        points=tuple((round(x, _DECIMALS), round(y, _DECIMALS)) for x, y in face.points),
        score=round(face.score, 4),
        yaw=round(face.yaw, 3),
        **{name: round(getattr(face, name), _DECIMALS) for name in ("x", "y", "width", "height", "roll")},
    )
