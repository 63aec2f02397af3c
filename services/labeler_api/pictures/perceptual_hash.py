"""Perceptual hash: which pictures look alike, whatever their encoding.

The sign of the lowest frequencies of the discrete cosine transform against their median, after Zauner,
"Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), with 256 bits instead of 64
because faces resemble each other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image

SIDE = 64  # pixels the picture is reduced to
FREQUENCIES = 16  # lowest frequencies kept along each axis: 16 × 16 bits
_MIDDLE = (FREQUENCIES**2 // 2 - 1, FREQUENCIES**2 // 2)  # the two whose mean is the median
BANDS = 16  # of 16 bits; two hashes that differ in fewer bits than there are bands share a band
NEAR_DUPLICATE_BITS = 15  # most differing bits of a near-duplicate: the most that BANDS is sure to find


def _dct_matrix() -> npt.NDArray[np.float64]:
    """Rows 1 to FREQUENCIES of the DCT-II matrix: the constant row 0 says nothing but brightness."""
    k = np.arange(1, FREQUENCIES + 1)[:, None]
    n = np.arange(SIDE)[None, :]
    return np.cos(np.pi * k * (2 * n + 1) / (2 * SIDE))


_DCT = _dct_matrix()


def perceptual_hash(image: Image.Image) -> bytes:
    """The picture's hash: 32 bytes."""
    gray = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), dtype=np.float64)
    frequencies = (_DCT @ gray @ _DCT.T).ravel()
    lower, upper = np.partition(frequencies, _MIDDLE)[list(_MIDDLE)]
    return np.packbits(frequencies > (lower + upper) / 2).tobytes()


def packed(hashes: bytes) -> npt.NDArray[np.uint64]:
    """Hashes, joined, as `near_duplicates` compares them: a column each, shape (4, hashes)."""
    return np.frombuffer(hashes, dtype=np.uint64).reshape(-1, 4).T.copy()


def near_duplicates(value: bytes, others: npt.NDArray[np.uint64]) -> list[bytes]:
    """Those of other hashes, packed, that differ from this one in at most NEAR_DUPLICATE_BITS bits, each once."""
    differing = np.bitwise_count(others ^ np.frombuffer(value, dtype=np.uint64)[:, None]).sum(axis=0, dtype=np.uint16)
    near = np.flatnonzero(differing <= NEAR_DUPLICATE_BITS)
    return list({others[:, column].tobytes() for column in near})


def bands(value: bytes) -> list[int]:
    """The hash's bands, each with its number in front: equal numbers are equal bands.

    A band takes every 16th bit, so that all have coarse and fine bits; the coarse ones alone are often
    alike among faces.
    """
    bits = np.unpackbits(np.frombuffer(value, dtype=np.uint8)).reshape(-1, BANDS)
    packed = np.frombuffer(np.packbits(bits.T, axis=1).tobytes(), dtype=">u2")
    return [(number << 16) | int(band) for number, band in enumerate(packed)]
