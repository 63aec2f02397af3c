"""Marking: a picture says in its file how it was made, in which campaign, by which model and prompt."""

from __future__ import annotations

import hashlib

from services.generator.provider import Picture
from shared.errors import ImageError
from shared.events import ImageRequested
from shared.imaging import open_checked
from shared.pictures.provenance import Marks, with_marks

STORED = ("PNG", "JPEG", "WEBP")  # formats that the dataset keeps


def marked(picture: Picture, request: ImageRequested) -> bytes:
    """The bytes of a provider's picture with marks: the same for the same picture and request.

    Bytes stay as they came where the provider does not know how the picture was made, where a C2PA manifest signs
    them, and where they are no JPEG, PNG or WebP.
    """
    if picture.source_type is None:
        return picture.data
    try:
        opened = open_checked(picture.data)
    except ImageError:  # whoever keeps the picture refuses it
        return picture.data
    if opened.parts.manifest or opened.format not in STORED:
        return picture.data
    marks = Marks(
        picture.source_type,
        model=picture.model,
        campaign_id=str(request.campaign_id),
        prompt_sha256=hashlib.sha256(picture.prompt.encode(errors="replace")).hexdigest(),
    )
    return with_marks(picture.data, opened.format, marks, beside=opened.parts.xmp)
