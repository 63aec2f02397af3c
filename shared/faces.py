"""Finds faces in a picture: YuNet (Wu, Peng and Yu, Machine Intelligence Research 20, 2023) on ONNX Runtime.

Its file comes out of a package (`models.toml`). It looks twice: at the whole picture, and at the largest face upright
and at one size, because what it says of a face's place and roll depends on how large and how upright the face is.
"""

from __future__ import annotations

import math
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from shared.errors import ConfigurationError
from shared.frames import Face, Square, Turn, beyond_slack
from shared.inference_session import inference_session
from shared.installed_models import DIRECTORY, installed_model
from shared.squares import cut, to_picture

MODEL = "yunet"
MIN_SCORE = 0.7
"""Least score of a face. Measured: 10 photographs .93 to .94; 500 drawn faces .80 and above but for one (.44, darkest
tone); cheeks and foreheads cut from 250 of them .62 at most, noise .30, flat colours 0."""
LOOK_SIDE = 320  # pixels of the longer side for the first look; more finds smaller faces and misses close ones
FINE_SIDE = 640  # pixels for another look where the first found nothing and the picture has more than FINE_FROM:
FINE_FROM = 480  # a face is found from about 30 pixels on, which is a tenth of the longer side, then a twentieth
COARSE_SIDE = 160
"""Pixels for another look, where that is asked for. Of 840 drawn faces, 5 (severe acne, spots, pores) are below
MIN_SCORE and found so at .84 to .90, but for one; noses and cheeks cut from them score up to .92 as well."""
SECOND_SIDE = 192  # pixels of the second look, at a square SECOND_MARGIN times as large as the face's box
SECOND_MARGIN = 1.3
"""Measured on 30 drawn faces at −30 to 30 degrees: the first look's roll is drawn to upright by up to 9 degrees, the
second's by 4, and is ± 3 about that. On 40 faces with borders of 5 to 40% and off centre, the frame moves by 0.4% of
its side and changes by 1% (medians; 1.5 and 2.8% at most in 95 of 100), its roll by 1 degree (3)."""
TURN_MARGIN = 0.02
"""How much better a face must score in a turned picture for the turn to be believed. Measured on 250 drawn faces and
ten photographs: upright always scores best; it is this much better than all lying and 96% of standing on the head."""
SURE_SCORE = 0.9
"""Score with which an unturned face is taken for upright. Of the same faces, lying ones have 0.85 at most, and nine of
ten that stand on their head have less; upright ones that have less, one in fourteen, cost three more looks."""

_MIN_CANDIDATE = 0.3  # score of what may still count towards the mean of a face's candidates
_MAX_OVERLAP = 0.3  # intersection over union from which the lesser of two faces is the same face
_SAME_OVERLAP, _SAME_SCORE = 0.5, 0.5  # overlap, and share of the best score, from which a candidate counts in the mean
_STRIDES = (8, 16, 32)  # pixels between the cells of the three grids
_STEP = 32  # pixels: sides of what is looked at are multiples of it
_OUTPUTS = [f"{kind}_{stride}" for stride in _STRIDES for kind in ("cls", "obj", "bbox", "kps")]

# The file declares an input of 1×3×640×640, but its layers take any multiple of 32. In the declaration (the dimensions
# of onnx.proto's TensorShapeProto: field 1 is a number, 08 8005; field 2 a name, 12 01 xx) both 640 get a name.
_FIXED_SHAPE = bytes.fromhex("0a020801 0a020803 0a03088005 0a03088005")
_FREE_SHAPE = bytes.fromhex("0a020801 0a020803 0a03120168 0a03120177")

Floats = npt.NDArray[np.float64]


class FaceSearch(StrEnum):
    """EVENSKIN_FACES: whether faces are looked for."""

    ON = "on"
    OFF = "off"


class FaceDetector:
    """YuNet, loaded. Several threads may use one; each call runs on its caller's thread."""

    def __init__(self, model: bytes) -> None:
        """`model`: YuNet's ONNX file. Raises ConfigurationError where it is another file."""
        if model.count(_FIXED_SHAPE) != 1:
            raise ConfigurationError("The face detector's file is not the YuNet that this program knows.")
        freed = model.replace(_FIXED_SHAPE, _FREE_SHAPE)
        # At every run it would warn that the declared outputs are for 640 pixels, but for a session's quiet log.
        self._session: Any = inference_session(freed)

    @classmethod
    def load(cls, directory: Path = DIRECTORY) -> FaceDetector:
        """Load the installed file. Raises ConfigurationError where it is absent or another one."""
        return cls(installed_model(MODEL, directory))

    def detect(self, image: Image.Image, *, coarsely: bool = False) -> tuple[Face, ...]:
        """Find the faces in an upright RGB picture, largest first, in its pixels.

        The first one is looked at twice. An eye may lie outside the picture: see `Face.has_eyes_in`. `coarsely`: for
        pictures that ought to be portraits. Where nothing was found, the coarse features alone are looked at: they show
        a face whose skin or light hides it, and as easily what is none.
        """
        return self._complete(image, self._look(image, LOOK_SIDE), coarsely=coarsely)

    def detect_upright(self, image: Image.Image) -> tuple[Turn, tuple[Face, ...]]:
        """Find the faces in a picture whose file does not say how it was held.

        Returns the degrees clockwise that set it upright, 0 where that is unclear, and the faces in the turned picture.
        The other three ways are tried where the first leaves a doubt.
        """
        unturned = self._look(image, LOOK_SIDE)
        score = _best_score(unturned, image)
        if score < SURE_SCORE:
            turns: tuple[Turn, ...] = (90, 180, 270)
            looks = {turn: self._look(turned(image, turn), LOOK_SIDE) for turn in turns}
            scores = {turn: _best_score(faces, turned(image, turn)) for turn, faces in looks.items()}
            best = max(turns, key=lambda turn: scores[turn])
            if scores[best] >= max(MIN_SCORE, score + TURN_MARGIN):
                return best, self._complete(turned(image, best), looks[best])
        return 0, self._complete(image, unturned)

    def _complete(self, image: Image.Image, found: list[Face], *, coarsely: bool = False) -> tuple[Face, ...]:
        """What follows the first look."""
        if not found and max(image.size) > FINE_FROM:
            found = self._look(image, FINE_SIDE)
        if not found and coarsely:
            found = self._look(image, COARSE_SIDE)
        if not found:
            return ()
        largest, *others = sorted(found, key=lambda face: face.size, reverse=True)
        return (self.look_again(image, largest), *others)

    def look_again(self, image: Image.Image, face: Face) -> Face:
        """Look at a face that was found, upright to within ROLL_SLACK and at one size; as it was where not seen so."""
        square = Square(x=face.x, y=face.y, side=SECOND_MARGIN * face.size, roll=beyond_slack(face.roll))
        seen = self._look(cut(image, square, SECOND_SIDE, mirrored=False, fine=False), SECOND_SIDE)
        if not seen:
            return face
        nearer = max(seen, key=lambda face: face.size)
        scale = square.side / SECOND_SIDE
        places = to_picture(np.array([(nearer.x, nearer.y), *nearer.points]), square, SECOND_SIDE)
        return _face(face.score, places[0], (nearer.width * scale, nearer.height * scale), places[1:])

    def _look(self, image: Image.Image, side: int) -> list[Face]:
        """The faces in the picture brought to `side` pixels of its longer side, best first."""
        scale = side / max(image.size)
        width, height = (max(1, round(length * scale)) for length in image.size)
        if image.size != (width, height):
            resized = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=1.0)
        else:
            resized = image
        columns, rows = (-(-length // _STEP) * _STEP for length in (width, height))
        blue_green_red = np.zeros((1, 3, rows, columns), np.float32)
        for place, channel in enumerate(reversed(resized.split())):  # two thirds of the time of one turned array
            blue_green_red[0, place, :height, :width] = np.asarray(channel)
        candidates = _candidates(self._session.run(_OUTPUTS, {"input": blue_green_red}), columns)
        candidates[:, 1::2] *= image.width / width
        candidates[:, 2::2] *= image.height / height
        return [_face(row[0], row[1:3], row[3:5], row[5:].reshape(5, 2)) for row in _merged(candidates)]


def detector_from(setting: FaceSearch, directory: Path = DIRECTORY) -> FaceDetector | None:
    """The detector that EVENSKIN_FACES asks for; None where it is off.

    Raises ConfigurationError, which names the way out, where the detector's file is not installed.
    """
    if setting is FaceSearch.OFF:
        return None
    try:
        return FaceDetector.load(directory)
    except ConfigurationError as error:
        raise ConfigurationError(
            error.message, advice=f"{error.advice} Or set EVENSKIN_FACES=off: then no face is looked for."
        ) from error


def turned(image: Image.Image, turn: Turn) -> Image.Image:
    """The picture turned clockwise by 0, 90, 180 or 270 degrees, without loss."""
    if turn == 0:
        return image
    transpose = Image.Transpose
    return image.transpose({90: transpose.ROTATE_270, 180: transpose.ROTATE_180, 270: transpose.ROTATE_90}[turn])


def _best_score(faces: list[Face], image: Image.Image) -> float:
    """Score of the likeliest face whose eyes are in the picture; 0 without one."""
    return max((face.score for face in faces if face.has_eyes_in(*image.size)), default=0.0)


def _candidates(outputs: list[npt.NDArray[np.float32]], columns: int) -> Floats:
    """The network's outputs as rows (N, 15), best first: score, centre, width and height of the box, five points."""
    found = []
    for index, stride in enumerate(_STRIDES):
        classes, objects, boxes, points = (output[0] for output in outputs[4 * index : 4 * index + 4])
        scores = np.sqrt(np.clip(classes[:, 0], 0, 1) * np.clip(objects[:, 0], 0, 1))
        (which,) = np.nonzero(scores >= _MIN_CANDIDATE)
        cells = np.stack([which % (columns // stride), which // (columns // stride)], axis=1)
        centres, sizes = (cells + boxes[which, :2]) * stride, np.exp(boxes[which, 2:]) * stride
        places = (np.tile(cells, 5) + points[which]) * stride
        found.append(np.concatenate([scores[which, None], centres, sizes, places], axis=1))
    rows = np.concatenate(found).astype(np.float64)
    return rows[np.argsort(-rows[:, 0], kind="stable")]


def _merged(candidates: Floats) -> list[Floats]:
    """One row for each face: the weighted mean of the candidates that all but agree with its best one.

    Non-maximum suppression, but for the mean: neighbouring cells err differently (weighted boxes fusion: Solovyev, Wang
    and Gabruseva, Image and Vision Computing 107, 2021). A candidate's weight is 0 where it begins to count: one that
    comes or goes with a picture's noise moves nothing.
    """
    low, high = candidates[:, 1:3] - candidates[:, 3:5] / 2, candidates[:, 1:3] + candidates[:, 3:5] / 2
    scores, areas = candidates[:, 0], candidates[:, 3] * candidates[:, 4]
    left = scores >= MIN_SCORE
    faces = []
    while left.any():
        best = int(left.argmax())
        shared = np.clip(np.minimum(high, high[best]) - np.maximum(low, low[best]), 0, None).prod(axis=1)
        overlap = shared / (areas + areas[best] - shared)
        surplus = np.clip(scores - _SAME_SCORE * scores[best], 0, None)
        face = np.average(candidates, axis=0, weights=np.clip(overlap - _SAME_OVERLAP, 0, None) * surplus**2)
        face[0] = candidates[best, 0]
        faces.append(face)
        left &= overlap <= _MAX_OVERLAP
        left[best] = False
    return faces


def _face(score: float, centre: Floats, size: Floats | tuple[float, float], points: Floats) -> Face:
    eyes = points[1] - points[0]
    distance = math.hypot(*eyes) or 1.0
    yaw = (points[2] - (points[0] + points[1]) / 2) @ eyes / distance**2
    return Face(
        x=float(centre[0]),
        y=float(centre[1]),
        width=float(size[0]),
        height=float(size[1]),
        points=tuple((float(x), float(y)) for x, y in points),
        score=min(float(score), 1.0),
        roll=math.degrees(math.atan2(eyes[1], eyes[0])),
        yaw=float(yaw),
    )
