"""An image somebody uploads with its labels: read from its form, checked, stored."""

from __future__ import annotations

import hashlib
import io
import json
import unicodedata
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from aiohttp import BodyPartReader, web
from aiohttp.http_exceptions import HttpProcessingError
from pydantic import TypeAdapter, ValidationError

from services.labeler_api.ledger.ledger import Ledger
from services.labeler_api.pictures import gate
from services.labeler_api.pictures.images import NewImage
from services.labeler_api.pictures.perceptual_hash import Look, look
from shared.documents.requests import MAX_GROUP_CHARACTERS
from shared.errors import ImageTooLarge, InvalidRequest, PreconditionFailed
from shared.events import Labels
from shared.faces import FaceDetector
from shared.frames import Frame
from shared.framing import find_frame
from shared.imaging import EXTENSIONS, MAX_BYTES, MEDIA_TYPES, Decoded, decode, open_checked, stand_in_mark
from shared.message import first_problem
from shared.pictures.provenance import Marks, marks_of, with_marks
from shared.request_body import form_of
from shared.taxonomy import MONK_TONES, Fold, imported_image_id

_LABELS: TypeAdapter[dict[Any, Any]] = TypeAdapter(Labels)
_FIELD_BYTES = 16 * 1024  # of a form field: labels are far shorter
_OTHER_BYTES = 256 * 1024  # of a form beside its picture
_FIELDS = ("condition", "severity", "labels", "complete", "skin_tone", "group", "fold", "update")


_KEPT = ("JPEG", "PNG", "WEBP")  # formats that are kept as they came
PROCEDURAL = "procedural"  # provider of drawn faces, also of those that come back by import: models must say so


@dataclass
class Upload:
    """A multipart form, read."""

    file: bytes | None = None
    fields: dict[str, str] = field(default_factory=dict)


async def read_form(request: web.Request) -> Upload:
    """Read the form, with every part bounded. Raises InvalidRequest, ImageTooLarge."""
    if not request.content_type.startswith("multipart/"):
        raise InvalidRequest("The request is not a multipart form.", advice="Send 'file' and 'condition' as a form.")
    upload = Upload()
    try:
        async for part in await form_of(request, max_bytes=MAX_BYTES + _OTHER_BYTES):
            if not isinstance(part, BodyPartReader):
                raise InvalidRequest("The form has a nested form in it.")
            if part.name == "file" and upload.file is None:
                data = await _bounded(part, MAX_BYTES)
                if data is None:
                    raise ImageTooLarge(
                        f"The upload has more than {MAX_BYTES} bytes.", advice="Send a smaller picture."
                    )
                upload.file = data
            elif part.name in _FIELDS and part.name not in upload.fields:
                text = await _bounded(part, _FIELD_BYTES)
                if text is None:
                    raise InvalidRequest(f"The field '{part.name}' has more than {_FIELD_BYTES} bytes.")
                upload.fields[part.name] = text.decode(errors="replace")
            elif part.name in ("file", *_FIELDS):
                raise InvalidRequest(f"The form has the field '{part.name}' twice.")
            else:
                raise InvalidRequest(
                    f"The form has an unknown field '{part.name}'.", advice=f"Known: {', '.join(_FIELDS)}."
                )
    except (ValueError, AssertionError, HttpProcessingError) as error:  # aiohttp's reader on a malformed body
        raise InvalidRequest("The form is malformed.") from error
    return upload


async def _bounded(part: BodyPartReader, limit: int) -> bytes | None:
    """The part's bytes; None as soon as there are more than `limit`."""
    data = bytearray()
    while chunk := await part.read_chunk(64 * 1024):
        data += chunk
        if len(data) > limit:
            return None
    return bytes(data)


def labels_of(fields: dict[str, str]) -> dict[Any, Any]:
    """The labels that a form's fields say. Raises UnknownCondition, UnknownSeverity, InvalidRequest."""
    if "labels" in fields and "condition" in fields:
        raise InvalidRequest("The form has both 'labels' and 'condition'.", advice="Send one of them.")
    if "severity" in fields and "condition" not in fields:
        raise InvalidRequest("The form has a 'severity' without a 'condition'.", advice="Put it into 'labels'.")
    if "labels" in fields:
        try:
            return _LABELS.validate_python(json.loads(fields["labels"]))
        except ValidationError as error:
            raise InvalidRequest(f"labels: {first_problem(error)}.") from error
        except (ValueError, RecursionError) as error:
            raise InvalidRequest("'labels' is not JSON.", advice='Send {"acne": "mild"}.') from error
    if "condition" not in fields:
        raise InvalidRequest("The form says no condition.", advice="Send 'condition', or 'labels' ({} is clear skin).")
    return _LABELS.validate_python({fields["condition"]: fields.get("severity") or None})


def _skin_tone(fields: dict[str, str]) -> int | None:
    text = fields.get("skin_tone")
    if text is None:
        return None
    if text not in {str(tone) for tone in MONK_TONES}:
        raise InvalidRequest("'skin_tone' is not a step of the Monk scale.", advice="Send a whole number from 1 to 10.")
    return int(text)


def _group(fields: dict[str, str]) -> str | None:
    if "group" not in fields:
        return None
    group = unicodedata.normalize("NFC", fields["group"]).strip()  # a macOS folder's name is decomposed
    if not 0 < len(group) <= MAX_GROUP_CHARACTERS or not group.isprintable():
        raise InvalidRequest(
            "'group' is no name.",
            advice=f"Send 1 to {MAX_GROUP_CHARACTERS} printable characters, the same for each image.",
        )
    return group


def _fold(fields: dict[str, str]) -> Fold | None:
    text = fields.get("fold")
    if text is None:
        return None
    if text not in list(Fold):
        raise InvalidRequest("'fold' is not a fold.", advice=f"Send one of: {', '.join(Fold)}.")
    return Fold(text)


def _truth(fields: dict[str, str], name: str, default: bool) -> bool:
    text = fields.get(name, str(default)).lower()
    if text not in ("true", "false", "1", "0"):
        raise InvalidRequest(f"'{name}' is neither true nor false.")
    return text in ("true", "1")


@dataclass(frozen=True)
class _Examined:
    decoded: Decoded
    stored: bytes
    is_converted: bool
    extension: str
    media_type: str
    quality: dict[str, float]
    look: Look
    frame: Frame


def _examine(data: bytes, detector: FaceDetector | None) -> _Examined:
    marks = marks_of(open_checked(data).parts)  # opened: what others read whole must have no more than they decode
    decoded = decode(data, min_side=gate.LOOKED_AT_SIDE)
    is_converted = decoded.format not in _KEPT
    stored, picture_format = data, decoded.format
    if is_converted:
        stored, picture_format = _as_jpeg(decoded, marks), "JPEG"
    return _Examined(
        decoded,
        stored,
        is_converted,
        EXTENSIONS[picture_format],
        MEDIA_TYPES[picture_format],
        gate.measure(decoded.image),
        look(decoded.image),
        find_frame(decoded, detector).frame,
    )


def _as_jpeg(decoded: Decoded, marks: Marks | None) -> bytes:
    """A HEIC or AVIF as the dataset keeps it: as every reader, browser and flip takes it, and no larger than needed.

    `marks`: what it says of its making, which is kept.

    Measured on 24 megapixels, 2.7 MB of HEIC: JPEG of quality 95 is 6.9 MB in 0.6 s, 44 dB from what was decoded, and
    moves the model's input by 0.1 of 255 on average, by 1 at most; WebP of quality 95 is 5.0 MB in 11 s and moves it
    by 0.24; without loss it is 18.6 MB as WebP and 24.6 MB as PNG.
    """
    mark = stand_in_mark("JPEG") if decoded.is_stand_in else {}
    buffer = io.BytesIO()
    decoded.image.save(buffer, "JPEG", quality=95, subsampling="4:4:4", icc_profile=None, **mark)
    return buffer.getvalue() if marks is None else with_marks(buffer.getvalue(), "JPEG", marks)


async def _stored_bytes(ledger: Ledger, key: str, examined: _Examined) -> bytes:
    """Store the picture; returns the bytes that lie in the store then.

    What was converted is decided once: another release may have encoded other bytes, and told their hash.
    """
    try:
        await ledger.blobs.put(key, examined.stored, content_type=examined.media_type, if_absent=examined.is_converted)
    except PreconditionFailed:
        return (await ledger.blobs.get(key)).data
    return examined.stored


@dataclass(frozen=True)
class Incoming:
    """A picture that lies in the store, with what its form says of it, before the ledger has seen it.

    `update`: what it says replaces what the ledger says, if the picture is there already.
    """

    image: NewImage
    look: Look
    update: bool


async def take_in(ledger: Ledger, upload: Upload) -> Incoming:
    """Check and store an upload.

    Raises the image errors of `shared.imaging.decode`, InvalidRequest, UnknownCondition, UnknownSeverity.
    """
    if upload.file is None:
        raise InvalidRequest("The form has no 'file'.", advice="Send the picture as the field 'file'.")
    data, fields = upload.file, upload.fields
    labels, skin_tone, group, fold = labels_of(fields), _skin_tone(fields), _group(fields), _fold(fields)
    complete, update = _truth(fields, "complete", True), _truth(fields, "update", False)
    examined = await ledger.admission.run(data, partial(_examine, data, ledger.detector), min_side=gate.LOOKED_AT_SIDE)
    image_id = imported_image_id(hashlib.sha256(data).hexdigest())
    key = f"images/{image_id}/original.{examined.extension}"
    # The picture before its row: a crash between the two leaves a file that the next upload of it adopts.
    stored = await _stored_bytes(ledger, key, examined)
    image = NewImage(
        id=image_id,
        key=key,
        sha256=hashlib.sha256(stored).hexdigest(),
        media_type=examined.media_type,
        width=examined.decoded.width,
        height=examined.decoded.height,
        labels=labels,
        complete=complete,
        skin_tone=skin_tone,
        group_name=group,
        fold=fold,
        provider=PROCEDURAL if examined.decoded.is_stand_in else None,
        quality=examined.quality,
        frame=examined.frame,
        hash=examined.look.hash,
    )
    return Incoming(image, examined.look, update)
