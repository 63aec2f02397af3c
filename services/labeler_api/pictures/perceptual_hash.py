"""Perceptual hash: which pictures look alike, whatever their encoding, and mirrored or not.

The sign of the lowest frequencies of the discrete cosine transform against their median, after Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), with 256 bits instead of 64
because faces resemble each other.

Mirroring a picture changes the sign of its odd horizontal frequencies (DCT-II: cos(πk(2(N - 1 - n) + 1)/2N) =
(-1)^k cos(πk(2n + 1)/2N)), and so their median. Hence the hash of the mirrored picture does not follow from the hash,
but from the same frequencies: both are made at once, and a look finds a copy either way with one hash in the index.

The index: bands, equal ones of which are looked up (Norouzi, Punjani & Fleet, "Fast Search in Hamming Space with
Multi-Index Hashing", CVPR 2012). Two hashes that differ in fewer bits than there are bands share a band. Of two that
differ in BANDS - 1 + m bits and share none, each band differs in a bit at least; so one of any m bands differs in no
more than one: those are looked up with each one bit turned round as well. That is how `probes` is sure of a radius.

The radius of imports, 24 bits, is the largest without a false pair among 1,200 distinct photographs (at 40 bits there
was one of 719,400). A false pair puts two faces into one fold or, of a million images, keeps one of them out of all; a
missed one lets a copy cross folds. What it finds, of 150 drawn faces: every re-encoding, half size, change of light and
mirror image; 99% of cuts of 1% (15 bits: 83%), 26% of 2% (none); 80% of turns by 1° (23%), 18% by 2° (1%). No two of
500 drawn faces, mirrored or not, differ in fewer than 42 bits. A look among a million images like them reads 16,000
hashes in 18 ms in SQLite, 20 ms in PostgreSQL; 31 bits, which find 65% of cuts of 2%, would read 57,000 in 54 and 30.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 64  # pixels the picture is reduced to
FREQUENCIES = 16  # lowest frequencies kept along each axis: 16 × 16 bits
_MIDDLE = (FREQUENCIES**2 // 2 - 1, FREQUENCIES**2 // 2)  # the two whose mean is the median
BANDS = 16  # of 16 bits
BAND_BITS = 16
NEAR_DUPLICATE_BITS = (
    15  # most differing bits of a generated picture that is refused: the most that bands alone are sure to find
)
IMPORT_BITS = 24  # most differing bits of what is of one root, imported or generated


_TURNED = (*range(BANDS - 2, -1, -2), *range(BANDS - 1, 0, -2))
"""Bands that are looked up with a bit turned round, in this order. A band is a horizontal frequency, and faces are
symmetric: the even frequencies, which are those of odd number here, are alike among them, and so looked up last. On
500 drawn faces, two share one of the nine first bands 3.7 times as often as by chance, one of the others 33 times."""


def _dct_matrix() -> npt.NDArray[np.float64]:
    """Rows 1 to FREQUENCIES of the DCT-II matrix: the constant row 0 says nothing but brightness."""
    k = np.arange(1, FREQUENCIES + 1)[:, None]
    n = np.arange(SIDE)[None, :]
    return np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE))


_DCT = _dct_matrix()
_MIRROR = np.where(np.arange(1, FREQUENCIES + 1) % 2, -1.0, 1.0)  # of the horizontal frequencies, the columns


@dataclass(frozen=True)
class Look:
    """How a picture looks: its hash, and that of its mirror image, 32 bytes each."""

    hash: bytes
    mirrored: bytes


def look(image: Image.Image) -> Look:
    """The hashes of a picture, and of its mirror image."""
    gray = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    frequencies = _DCT @ gray @ _DCT.T
    return Look(_signs(frequencies), _signs(frequencies * _MIRROR))


def _signs(frequencies: npt.NDArray[np.float64]) -> bytes:
    values = frequencies.ravel()
    lower, upper = np.partition(values, _MIDDLE)[list(_MIDDLE)]
    return np.packbits(values > (lower + upper) / 2).tobytes()


def packed(hashes: bytes) -> npt.NDArray[np.uint64]:
    """Hashes, joined, as `near_duplicates` compares them: a column each, shape (4, hashes)."""
    return np.frombuffer(hashes, dtype=np.uint64).reshape(-1, 4).T.copy()


def near_duplicates(value: bytes, others: npt.NDArray[np.uint64], most: int = NEAR_DUPLICATE_BITS) -> list[bytes]:
    """Those of other hashes, packed, that differ from this one in at most so many bits, each once."""
    differing = np.bitwise_count(others ^ np.frombuffer(value, dtype=np.uint64)[:, None]).sum(axis=0, dtype=np.uint16)
    near = np.flatnonzero(differing <= most)
    return list({others[:, column].tobytes() for column in near})


def bands(value: bytes) -> list[int]:
    """The hash's bands, each with its number in front: equal numbers are equal bands.

    A band takes every 16th bit, so that all have coarse and fine bits; the coarse ones alone are often
    alike among faces.
    """
    bits = np.unpackbits(np.frombuffer(value, dtype=np.uint8)).reshape(-1, BANDS)
    packed = np.frombuffer(np.packbits(bits.T, axis=1).tobytes(), dtype=">u2")
    return [(number << 16) | int(band) for number, band in enumerate(packed)]


def probes(value: bytes, most: int) -> list[int]:
    """The bands to look up so that every hash is found that differs in at most so many bits.

    Raises ValueError beyond 2 * BANDS - 1 bits, which one turned bit a band is not sure to find.
    """
    if most >= 2 * BANDS:
        raise ValueError(f"{most} bits are more than a turned bit in each band is sure to find.")
    own = bands(value)
    turned = _TURNED[: max(0, most - BANDS + 1)]
    return own + [own[number] ^ (1 << bit) for number in turned for bit in range(BAND_BITS)]


def look_ups(look: Look, most: int) -> list[int]:
    """The bands to look up for whatever differs from a picture, or from its mirror image, in at most so many bits."""
    return [*probes(look.hash, most), *probes(look.mirrored, most)]
