"""The perceptual hash: copies are near, other pictures are far, and bands find every near one."""

from __future__ import annotations

import io
import random
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest
from PIL import Image, ImageEnhance
from sqlalchemy.ext.asyncio import create_async_engine

from services.generator.procedural import draw as draw_face
from services.labeler_api.ledger.tables import band_table, image_table, metadata
from services.labeler_api.ledger.transaction import Transaction
from services.labeler_api.pictures import images
from services.labeler_api.pictures.perceptual_hash import (
    BANDS,
    IMPORT_BITS,
    NEAR_DUPLICATE_BITS,
    Look,
    bands,
    look,
    probes,
)
from shared.events import Subject
from shared.taxonomy import AgeBand, Light, Sex, View
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
        assert differing_bits(look(original).hash, look(copy).hash) <= NEAR_DUPLICATE_BITS


def test_other_pictures_are_far() -> None:
    looks = [look(noise(seed)) for seed in range(40)]
    hashes = [value for seen in looks for value in (seen.hash, seen.mirrored)]
    for number, one in enumerate(hashes):
        assert len(one) == 32
        assert all(differing_bits(one, other) > 2 * IMPORT_BITS for other in hashes[:number])


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


@pytest.mark.parametrize("most", [BANDS - 1, BANDS, IMPORT_BITS, 2 * BANDS - 1])
def test_probes_meet_every_hash_within_the_limit(most: int) -> None:
    draw = random.Random(3)
    for _ in range(300):
        value = draw.randbytes(32)
        assert set(probes(value, most)) & set(bands(flipped(value, draw.sample(range(256), most))))
    # At worst: one differing bit in each band that is looked up as it is only, two in each of the others.
    looked_up = set(probes(value, most))
    turned = [number for number in range(BANDS) if sum(band >> 16 == number for band in looked_up) > 1]
    bits = [255 - number - BANDS * row for number in range(BANDS) for row in range(2 if number in turned else 1)]
    assert len(bits) == most + 1
    assert not looked_up & set(bands(flipped(value, bits)))
    assert all(looked_up & set(bands(flipped(value, bits[:drop] + bits[drop + 1 :]))) for drop in range(len(bits)))


def test_more_than_probes_are_sure_to_find_is_refused() -> None:
    with pytest.raises(ValueError, match="32 bits"):
        probes(bytes(32), 2 * BANDS)


@pytest.mark.parametrize("kind", COPIES)
def test_a_mirrored_copy_looks_as_the_mirrored_hash_says(kind: str) -> None:
    for seed in range(5):
        original = noise(seed)
        mirrored = look(COPIES[kind](original.transpose(Image.Transpose.FLIP_LEFT_RIGHT)))
        assert differing_bits(look(original).mirrored, mirrored.hash) <= NEAR_DUPLICATE_BITS
        assert differing_bits(look(original).hash, mirrored.mirrored) <= NEAR_DUPLICATE_BITS


def test_drawn_faces_are_no_near_duplicates_mirrored_or_not() -> None:
    people = [
        Subject(age_band=age, skin_tone=tone, sex=sex, light=Light.DAYLIGHT, view=View.FRONTAL)
        for age, tone in zip(AgeBand, (2, 5, 7, 9), strict=True)
        for sex in Sex
    ]
    seeded = enumerate(people * 6)  # a seed is a composition: with the same one other people resemble each other
    looks = [look(Image.open(io.BytesIO(draw_face({}, person, seed, 160)))) for seed, person in seeded]
    for number, one in enumerate(looks):
        assert differing_bits(one.hash, one.mirrored) > IMPORT_BITS
        for other in looks[:number]:
            assert min(differing_bits(one.hash, value) for value in (other.hash, other.mirrored)) > IMPORT_BITS


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
        nothing = bytes(32)

        async def found(look: Look, itself: UUID, most: int = NEAR_DUPLICATE_BITS) -> list[tuple[UUID, bool]]:
            twins = await images.twins_of(Transaction(connection), look, of_other_than=itself, most=most)
            return [(twin.id, twin.stands) for twin in twins]

        assert await found(Look(target, nothing), uuid4()) == [(ids[-1], True)]
        assert await found(Look(nothing, target), uuid4()) == [(ids[-1], True)]  # its mirror image looks so
        assert await found(Look(target, nothing), ids[-1]) == []
        farther = flipped(near, draw.sample(range(256), IMPORT_BITS))
        assert await found(Look(farther, nothing), uuid4(), most=IMPORT_BITS - 1) == []
        assert await found(Look(farther, nothing), uuid4(), most=IMPORT_BITS) == [(ids[-1], True)]
        await connection.execute(image_table.update().where(image_table.c.id == ids[-1]).values(status="rejected"))
        assert await found(Look(target, nothing), uuid4()) == [(ids[-1], False)]
    await engine.dispose()
