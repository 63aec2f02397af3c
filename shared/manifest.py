"""The manifest: an immutable JSON Lines file that names every image of one dataset version.

Written by labeler-api at `datasets/<version>/manifest.jsonl`, read by the trainer. One line per
original, ordered by image id, so that the same dataset gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from shared.errors import InvalidRequest
from shared.frames import Frame
from shared.taxonomy import AgeBand, Condition, Fold, Severity, Sex


class ManifestVariant(BaseModel):
    """A variant: it shares its original's labels and fold."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    operation: str
    key: str
    sha256: str


class ManifestImage(BaseModel):
    """One accepted original. A label's severity is None where it is present but not graded."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_id: UUID
    root_id: UUID
    key: str
    sha256: str
    fold: Fold
    labels: dict[Condition, Severity | None]
    complete: bool = True
    skin_tone: int | None = None
    provider: str | None = None  # None: imported from outside
    variants: tuple[ManifestVariant, ...] = ()
    # None: from before frames were kept. Left out then, so that such a dataset keeps its bytes, and its version.
    frame: Frame | None = Field(default=None, exclude_if=lambda frame: frame is None)
    # Who was asked for, of a generated image; None, and left out: nobody said.
    age_band: AgeBand | None = Field(default=None, exclude_if=lambda age_band: age_band is None)
    sex: Sex | None = Field(default=None, exclude_if=lambda sex: sex is None)


def dump_manifest(images: Iterable[ManifestImage]) -> bytes:
    """The manifest's bytes: one JSON object a line, ordered by image id."""
    return b"".join(
        image.model_dump_json().encode() + b"\n" for image in sorted(images, key=lambda image: str(image.image_id))
    )


def parse_manifest(data: bytes) -> Iterator[ManifestImage]:
    """The images of a manifest's bytes. Raises InvalidRequest with the number of the first wrong line."""
    for number, line in enumerate(data.splitlines(), start=1):
        try:
            yield ManifestImage.model_validate_json(line)
        except ValidationError as error:
            raise InvalidRequest(
                f"Line {number} of the manifest is not an image entry: {error.errors()[0]['msg']}"
            ) from error
