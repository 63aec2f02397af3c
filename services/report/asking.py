"""A version's ONNX file, and what it needs to be asked about encoded pictures as a server asks it."""

from __future__ import annotations

import base64
import io
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from services.report.robustness import Robustness, measure_robustness
from services.trainer.evaluate import ExportedModel
from shared.errors import ImageError
from shared.evaluation import Judged
from shared.faces import FaceDetector, FaceSearch, detector_from
from shared.preprocessing import prepare, preprocessing_of


@dataclass(frozen=True)
class Asked:
    """A model, and the face detector that its pictures are prepared with; None: it wants the middle square."""

    model: ExportedModel
    detector: FaceDetector | None

    @classmethod
    def of(cls, data: bytes) -> Asked:
        """Open an ONNX file's bytes.

        Raises ModelInvalid where they are none that this program knows, ConfigurationError where the detector that it
        needs is not installed.
        """
        with tempfile.TemporaryDirectory() as place:
            path = Path(place) / "model.onnx"
            path.write_bytes(data)
            model = ExportedModel.load(path)
        way = preprocessing_of(model.metadata.preprocessing)
        return cls(model, detector_from(FaceSearch.ON if way.frames_the_face else FaceSearch.OFF))

    def seen(self, files: Mapping[str, bytes]) -> dict[str, str]:
        """What the model sees of encoded pictures, as data URIs by their names; one that cannot be read is left out."""
        size, way = self.model.metadata.input_size, preprocessing_of(self.model.metadata.preprocessing)
        found = {}
        for name, file in files.items():
            try:
                pixels = prepare(file, size, way, detector=self.detector).pixels
            except ImageError:
                continue
            found[name] = _data_uri(Image.fromarray(pixels))
        return found

    def robustness(
        self, pictures: Sequence[tuple[Judged, bytes]], of: int, on_step: Callable[[], None] = lambda: None
    ) -> Robustness:
        """How its test changes when these pictures, of so many, are distorted; as `measure_robustness`."""
        return measure_robustness(self.model, self.detector, pictures, of, on_step)


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
