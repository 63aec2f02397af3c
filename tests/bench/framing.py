"""How much a model's answers change with what is beside the face, and with how the file is stored.

    python -m tests.bench.framing [MODEL.onnx] [--faces 40] [--preprocessing shared.preprocessing.face/1]

Without a model: the live one of `var/demo`. Each portrait (drawn faces, and the photographs where they are) is
predicted as it is, with borders of 5, 20 and 40%, off centre in a larger picture, and stored in the eight orientations
of EXIF. A verdict is whether a condition is present. Prints JSON: the largest difference of a probability between
orientations, the share of portraits of which no verdict changes with borders or place, and the mean difference.
"""

from __future__ import annotations

import argparse
import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from services.generator.procedural import draw
from services.model_server.predictor import Predictor
from shared.events import Subject
from shared.faces import FaceDetector
from shared.preprocessing import Preprocessing, prepare
from shared.taxonomy import AgeBand, Condition, Light, Severity, Sex, View
from tests.unit.model_server.pictures import oriented
from tests.unit.shared.portraits import photographs

SIDE = 512  # pixels of a drawn face
BORDERS = (0.05, 0.2, 0.4)  # of a picture's sides, on each side
PLACES = (
    (0.1, 0.1),
    (0.9, 0.2),
    (0.5, 0.9),
)  # of the rest of a picture that is half as large again
GROUND = (128, 120, 110)
ORIENTATIONS = range(1, 9)  # of EXIF

Probabilities = npt.NDArray[np.float64]


def drawn_faces(count: int) -> Iterator[Image.Image]:
    """Drawn faces of every kind, each with up to three conditions."""
    dice = random.Random(0)
    for number in range(count):
        subject = Subject(
            age_band=dice.choice(list(AgeBand)),
            skin_tone=1 + number % 10,
            sex=dice.choice(list(Sex)),
            light=dice.choice(list(Light)),
            view=dice.choice(list(View)),
        )
        shown = {c: dice.choice(list(Severity)) for c in dice.sample(list(Condition), dice.randint(0, 3))}
        yield Image.open(io.BytesIO(draw(shown, subject, number, SIDE))).convert("RGB")


def moved(image: Image.Image) -> Iterator[Image.Image]:
    """The picture with borders, and off centre in a larger one."""
    for border in BORDERS:
        width, height = (round(length * (1 + 2 * border)) for length in image.size)
        yield _pasted(image, (width, height), (0.5, 0.5))
    for place in PLACES:
        yield _pasted(image, (image.width * 3 // 2, image.height * 3 // 2), place)


def _pasted(image: Image.Image, size: tuple[int, int], place: tuple[float, float]) -> Image.Image:
    whole = Image.new("RGB", size, GROUND)
    corner = [round((length - own) * share) for length, own, share in zip(size, image.size, place, strict=True)]
    whole.paste(image, (corner[0], corner[1]))
    return whole


class Answers:
    """A model's probabilities of presence."""

    def __init__(self, model: bytes, preprocessing: Preprocessing | None) -> None:
        self._predictor = Predictor.load(model, threads=2)
        self._preprocessing = preprocessing or self._predictor.preprocessing
        self._detector = FaceDetector.load()
        metadata = self._predictor.metadata
        self.preprocessing = self._preprocessing.value
        self.thresholds = np.array([metadata.thresholds[condition] for condition in metadata.conditions])

    def to(self, data: bytes) -> Probabilities:
        """One probability for each condition."""
        size = self._predictor.metadata.input_size
        prepared = prepare(data, size, self._preprocessing, detector=self._detector)
        return 1 - self._predictor.predict(prepared.pixels[np.newaxis]).probabilities[0, :, 0].astype(np.float64)


def measure(answers: Answers, portraits: list[Image.Image]) -> dict[str, Any]:
    """The figures of some portraits."""
    turned, placed, kept, cells, same = [], [], 0, 0, 0
    for image in portraits:
        usual = answers.to(oriented(1, image))
        turned.append(max(float(np.abs(answers.to(oriented(number, image)) - usual).max()) for number in ORIENTATIONS))
        others = np.array([answers.to(oriented(1, other)) for other in moved(image)])
        placed.append(float(np.abs(others - usual).mean()))
        unchanged = (others >= answers.thresholds) == (usual >= answers.thresholds)
        kept += bool(unchanged.all())
        cells += unchanged.size
        same += int(unchanged.sum())
    return {
        "portraits": len(portraits),
        "orientations_largest_difference": round(max(turned), 4),
        "orientations_within_0.02": sum(difference <= 0.02 for difference in turned),
        "placed_mean_difference": round(float(np.mean(placed)), 4),
        "placed_without_a_changed_verdict": kept,
        "placed_verdicts_kept": round(same / cells, 4),
    }


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, help="an ONNX file of ours")
    parser.add_argument("--faces", type=int, default=40, help="drawn faces")
    parser.add_argument("--preprocessing", type=Preprocessing, help="in place of the model's own")
    arguments = parser.parse_args()
    model = arguments.model
    if model is None:
        store = Path("var/demo/store")
        model = store / json.loads((store / "models/live.json").read_text())["key"]
    answers = Answers(model.read_bytes(), arguments.preprocessing)
    sets = {"drawn": list(drawn_faces(arguments.faces))}
    if found := photographs("astronaut.png", "grace_hopper.jpg"):
        sets["photographs"] = found
    measured = {name: measure(answers, portraits) for name, portraits in sets.items()}
    print(json.dumps({"preprocessing": answers.preprocessing, **measured}, indent=2))


if __name__ == "__main__":
    main()
