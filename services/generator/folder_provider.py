"""The folder provider: fills slots with pictures that somebody made by hand, at no cost. Each is used once.

A picture is claimed by what is in it: `pictures/<sha256>.json`, put if absent, says which image it became. So the same
bytes under two names are one picture, replicas never use one twice, and neither does a restart; an order that comes
again gets its picture again. A picture that a review rejects is used up.
"""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from uuid import UUID

import structlog
from pydantic import BaseModel

from services.generator.picture_folder import Label, PictureFolder, read_pictures
from services.generator.provider import NotDone, Order, Picture
from shared.blobs import Blobs
from shared.errors import BlobNotFound, ConfigurationError, PreconditionFailed
from shared.events import FailureReason
from shared.imaging import MAX_BYTES

log = structlog.get_logger(__name__)

PREFIX = "pictures/"  # of the claims in the store
MODEL = "by-hand"


class Use(BaseModel):
    """What a picture is used for."""

    image_id: UUID
    file: str


class FolderProvider:
    """Gives each order a picture of its condition and severity that nothing was made of yet."""

    name = "folder"
    concurrency = 4
    images_per_minute: float | None = None
    price_usd = 0.0
    first_wait_s = 0.0

    def __init__(self, root: Path, blobs: Blobs) -> None:
        self._root = root
        self._blobs = blobs
        self._folder = read_pictures(root)
        self._used: dict[str, UUID] = {}  # image by digest
        self._digest_of: dict[UUID, str] = {}  # the reverse
        self._is_read = False  # whether the claims in the store are in these two
        self._taken: set[Path] = set()  # files that are used, so that each is read once
        self._choosing = asyncio.Lock()
        for path, reason in self._folder.passed_over.items():
            log.warning("picture_passed_over", file=str(path), reason=reason)

    async def generate(self, order: Order) -> Picture:
        """The bytes of a picture that is used for nothing else. Raises NotDone where there is none left."""
        label = (order.condition, order.severity)
        async with self._choosing:
            await self._read_claims()
            for _ in range(2):  # a second time where somebody has added pictures since
                found = await self._given(label, order.image_id) or await self._free(label, order.image_id)
                if found is not None:
                    path, data = found
                    name = path.relative_to(self._root).as_posix()
                    return Picture(data, f"The file {name}", MODEL, cost_usd=0.0, calls=0)
                self._folder = await self._read_again()
                self._taken.clear()
        raise self._none_left(label)

    async def _given(self, label: Label, image_id: UUID) -> tuple[Path, bytes] | None:
        """The picture that an image has already, of an earlier delivery."""
        given = self._digest_of.get(image_id)
        for path in self._folder.files.get(label, ()) if given else ():
            data = await asyncio.to_thread(_bytes_of, path)
            if data is not None and _digest(data) == given:
                return path, data
        return None

    async def _free(self, label: Label, image_id: UUID) -> tuple[Path, bytes] | None:
        """A picture that no image has, claimed for this one. Raises StoreUnavailable."""
        for path in self._folder.files.get(label, ()):
            if path in self._taken:
                continue
            data = await asyncio.to_thread(_bytes_of, path)
            if data is None:
                log.warning("picture_passed_over", file=str(path), reason="unreadable, or too large")
                continue
            digest = _digest(data)
            if digest not in self._used:
                self._note(digest, await self._claim(digest, Use(image_id=image_id, file=path.name)))
            self._taken.add(path)
            if self._used[digest] == image_id:
                return path, data
        return None

    def _note(self, digest: str, image_id: UUID) -> None:
        self._used[digest] = image_id
        self._digest_of[image_id] = digest

    async def _read_again(self) -> PictureFolder:
        try:
            return await asyncio.to_thread(read_pictures, self._root)
        except ConfigurationError as error:
            raise NotDone(error.message, FailureReason.PICTURES_EXHAUSTED) from error

    def _none_left(self, label: Label) -> NotDone:
        condition, severity = label
        there = len(self._folder.files.get(label, ()))
        what, place = "clear skin", f"{condition}/"
        if severity is not None:
            what, place = f"{severity.label} {condition}", f"{condition}/{severity.label}/"
        return NotDone(
            f"No picture of {what} is left in EVENSKIN_PICTURE_FOLDER: all {there} are used. "
            f"Put more into {place}, and resume the campaign.",
            FailureReason.PICTURES_EXHAUSTED,
        )

    async def _claim(self, digest: str, use: Use) -> UUID:
        """Claim a picture. Returns the image that has it then."""
        key = f"{PREFIX}{digest}.json"
        try:
            await self._blobs.put(key, use.model_dump_json().encode(), content_type="application/json", if_absent=True)
        except PreconditionFailed:
            return Use.model_validate_json((await self._blobs.get(key)).data).image_id
        return use.image_id

    async def _read_claims(self) -> None:
        """Read once what pictures are used for, as the store has it. Raises StoreUnavailable."""
        if self._is_read:
            return
        async for info in self._blobs.list(PREFIX):
            try:
                record = await self._blobs.get(info.key)
            except BlobNotFound:  # removed by hand, so that a picture can be used again
                continue
            digest = info.key.removeprefix(PREFIX).removesuffix(".json")
            self._note(digest, Use.model_validate_json(record.data).image_id)
        self._is_read = True

    async def close(self) -> None:
        """Nothing to release."""


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _bytes_of(path: Path) -> bytes | None:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError:
        return None
    return data if len(data) <= MAX_BYTES else None
