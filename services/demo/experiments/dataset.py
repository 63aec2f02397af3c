"""The images of a dataset version in the store, and the files that its manifest names."""

from __future__ import annotations

import asyncio
from pathlib import Path

from services.trainer.data import fetch, read_manifest, readable_images
from services.trainer.pixel_cache import PixelCache
from shared.adapters import open_blobs
from shared.errors import BlobNotFound, EvenskinError, NotFound, first_error
from shared.manifest import ManifestImage
from shared.settings import Settings


def read_dataset(
    settings: Settings, version: str, encoded: Path, cache: PixelCache
) -> tuple[list[ManifestImage], dict[str, str]]:
    """The images of a version, of all folds, and why others are left out, by the file's SHA-256.

    Fetches into `encoded` what is not decoded in `cache` yet. Raises NotFound where there is no such version,
    StoreUnavailable, and ImagesUnreadable where more are missing than a training may leave out.
    """
    return asyncio.run(_read(settings, version, encoded, cache))


async def _read(
    settings: Settings, version: str, encoded: Path, cache: PixelCache
) -> tuple[list[ManifestImage], dict[str, str]]:
    blobs = open_blobs(settings)
    try:
        try:
            manifest = (await blobs.get(f"datasets/{version}/manifest.jsonl")).data
        except BlobNotFound:
            raise NotFound(
                f"'{version}' is neither a folder nor a dataset version of this home.",
                advice="`evenskin models list --json` names the version that each model was trained on.",
            ) from None
        # Without variants: mirror images are made of the squares.
        images = [image.model_copy(update={"variants": ()}) for image in read_manifest(manifest)]
        try:
            missing = await fetch(blobs, images, encoded, [cache])
        except* EvenskinError as errors:
            raise first_error(errors) from errors
    finally:
        await blobs.close()
    return readable_images(images, missing), missing
