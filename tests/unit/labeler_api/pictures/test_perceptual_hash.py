"""The perceptual hash: copies are near, other pictures are far, and bands find every near one."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from uuid import uuid4

import pytest
from PIL import Image, ImageEnhance
from sqlalchemy.ext.asyncio import create_async_engine

from services.labeler_api.ledger.tables import band_table, image_table, metadata
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.pictures import images
from services.labeler_api.pictures.perceptual_hash import NEAR_DUPLICATE_BITS, bands, perceptual_hash
from tests.fakes.pictures import encoded, noise

COPIES: dict[str, Callable[[Image.Image], Image.Image]] = {
    "jpeg": lambda image: Image.open(io.BytesIO(encoded(image, "JPEG", quality=60))),
    "webp": lambda image: Image.open(io.BytesIO(encoded(image, "WEBP", quality=60))),
    "smaller": lambda image: image.resize((128, 128)),
    "larger": lambda image: image.resize((700, 700), Image.Resampling.BICUBIC),
    "brighter": lambda image: ImageEnhance.Brightness(image).enhance(1.1),
    "fainter": lambda image: ImageEnhance.Contrast(image).enhance(0.8),
    "grey": lambda image: image.convert("L"),
}


def differing_bits(one: bytes, other: bytes) -> int:
    """In how many bits two hashes differ."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


@pytest.mark.parametrize("kind", COPIES)
def test_a_copy_is_near(kind: str) -> None:
    for seed in range(5):
        original = noise(seed)
        copy = COPIES[kind](original)
        assert differing_bits(perceptual_hash(original), perceptual_hash(copy)) <= NEAR_DUPLICATE_BITS


def test_other_pictures_are_far() -> None:
    hashes = [perceptual_hash(noise(seed)) for seed in range(40)]
    hashes.append(perceptual_hash(noise(0).transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
    for number, one in enumerate(hashes):
        assert len(one) == 32
        assert all(differing_bits(one, other) > 4 * NEAR_DUPLICATE_BITS for other in hashes[:number])


def flipped(value: bytes, bits: list[int]) -> bytes:
    """A hash with some bits turned round."""
    number = int.from_bytes(value, "big")
    for bit in bits:
        number ^= 1 << bit
    return number.to_bytes(32, "big")


def test_hashes_within_the_limit_always_share_a_band() -> None:
    draw = random.Random(1)
    for _ in range(300):
        value = draw.randbytes(32)
        near = flipped(value, draw.sample(range(256), NEAR_DUPLICATE_BITS))
        assert differing_bits(value, near) == NEAR_DUPLICATE_BITS
        assert set(bands(value)) & set(bands(near))
    assert len(set(bands(bytes(32)))) == 16  # equal bits in two bands are not equal bands


async def test_the_ledger_finds_what_is_near_among_many_that_share_bands() -> None:
    draw = random.Random(2)
    target = draw.randbytes(32)
    engine = create_async_engine("sqlite+aiosqlite://")
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
        # Faces are alike: many share coarse bits, and so some bands, without being near.
        keep = int.from_bytes(target, "big") >> 128 << 128
        others = [(keep | draw.getrandbits(128)).to_bytes(32, "big") for _ in range(300)]
        near = flipped(target, draw.sample(range(256), NEAR_DUPLICATE_BITS))
        ids = [uuid4() for _ in range(301)]
        for image_id, value in zip(ids, [*others, near], strict=True):
            await connection.execute(
                image_table.insert().values(
                    id=image_id,
                    status="accepted",
                    key="k",
                    sha256="s",
                    media_type="image/png",
                    width=1,
                    height=1,
                    labels={},
                    complete=True,
                    root_id=image_id,
                    fold="train",
                    quality={},
                    perceptual_hash=value,
                    created_at=0.0,
                )
            )
            await connection.execute(
                band_table.insert(),
                [{"band": band, "image_id": image_id, "perceptual_hash": value} for band in bands(value)],
            )
        assert await images.near_duplicate(Transaction(connection), target, of_other_than=uuid4()) == ids[-1]
        assert await images.near_duplicate(Transaction(connection), target, of_other_than=ids[-1]) is None
        await connection.execute(image_table.update().where(image_table.c.id == ids[-1]).values(status="rejected"))
        assert await images.near_duplicate(Transaction(connection), target, of_other_than=uuid4()) is None
    await engine.dispose()
