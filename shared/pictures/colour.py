"""Colours as their profile or their code points mean them → sRGB."""

from __future__ import annotations

import io
import struct
from functools import cache

import numpy as np
from PIL import Image, ImageCms

from shared.errors import ImageUnsupported
from shared.pictures.parts import CodePoints

_SRGB = ImageCms.createProfile("sRGB")

# x and y of red, green, blue and white, of the colours that have a number (ITU-T H.273, table 2).
_D65, _C = (0.3127, 0.3290), (0.310, 0.316)
_PRIMARIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060), _D65),
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    7: ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65),
    8: ((0.681, 0.319), (0.243, 0.692), (0.145, 0.049), _C),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
_OF_SRGB = 1  # primaries
# Transfers (ITU-T H.273, table 3). That of television (1, 6, 7, 14, 15) is taken as sRGB's: a still picture that is so
# marked was looked at on a screen for sRGB when it was made.
_LIKE_SRGB = frozenset((1, 2, 6, 7, 13, 14, 15))
_GAMMAS = {4: 2.2, 5: 2.8, 8: 1.0}
_HIGH_RANGE = {16: "PQ (SMPTE ST 2084)", 18: "HLG (ARIB STD-B67)"}
# sRGB's curve as an ICC profile has it: exponent, slope, offset, slope and limit of the straight part (IEC 61966-2-1).
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)

# From any white to that of ICC profiles, D50 (ICC.1:2022, annex E, the linearised Bradford model).
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
_D50 = np.array([0.9642, 1.0, 0.8249])


def check_range(profile: bytes | None, code_points: CodePoints | None) -> None:
    """Raise ImageUnsupported for a picture of high dynamic range that only its code points describe."""
    name = None if profile or code_points is None else _HIGH_RANGE.get(code_points.transfer)
    if name is not None:
        raise ImageUnsupported(
            f"A picture of high dynamic range, coded as {name}, is not read.",
            advice="Export it in standard range (SDR).",
        )


def to_srgb(image: Image.Image, profile: bytes | None, code_points: CodePoints | None) -> Image.Image:
    """Colours in sRGB, mode RGB. A profile goes before code points; what is unusable says nothing about the pixels."""
    if profile is None and code_points is not None:
        profile = _profile_of(*code_points)
        if profile is not None and image.mode != "RGB":
            image = image.convert("RGB")
    rgb = image if profile is None else _from_profile(image, profile)
    return rgb if rgb.mode == "RGB" else rgb.convert("RGB")


def _from_profile(image: Image.Image, profile_bytes: bytes) -> Image.Image:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(profile_bytes))
        mode = {"GRAY": "L", "RGB": "RGB"}.get(profile.profile.xcolor_space.strip(), image.mode)
        if {image.mode, mode} == {"L", "RGB"}:
            image = image.convert(mode)  # grey that Pillow gives as colours, or that somebody gave colours' profile
        converted = ImageCms.profileToProfile(image, profile, _SRGB, outputMode="RGB")
    except (ImageCms.PyCMSError, OSError, ValueError):
        return image  # an unusable profile says nothing about the pixels: take them as sRGB
    return image if converted is None else converted


@cache
def _profile_of(primaries: int, transfer: int) -> bytes | None:
    """An ICC profile (version 4, ICC.1:2022) of colours that code points describe.

    None where they are sRGB's, or nothing that there is a profile for.
    """
    is_like_srgb = transfer in _LIKE_SRGB
    if primaries not in _PRIMARIES or (primaries == _OF_SRGB and is_like_srgb):
        primaries = _OF_SRGB
    if transfer not in _GAMMAS and (primaries == _OF_SRGB or not is_like_srgb):
        return None
    parameters, function = ((_GAMMAS[transfer],), 0) if transfer in _GAMMAS else (_SRGB_CURVE, 3)
    curve = struct.pack(">4s4xH2x", b"para", function) + _fixed(*parameters)
    places = [b"XYZ \0\0\0\0" + _fixed(*column) for column in _to_d50(primaries).T]
    white = b"XYZ \0\0\0\0" + _fixed(*_D50)
    contents = (white, *places, curve)
    names = ((b"wtpt",), (b"rXYZ",), (b"gXYZ",), (b"bXYZ",), (b"rTRC", b"gTRC", b"bTRC"))
    tags, body, offset = b"", b"", 128 + 4 + 12 * sum(map(len, names))
    for content, shared in zip(contents, names, strict=True):
        for name in shared:
            tags += struct.pack(">4sII", name, offset + len(body), len(content))
        body += content
    count = len(tags) // 12
    header = struct.pack(">I4xI4s4s4s12x4s28x", offset + len(body), 0x04300000, b"mntr", b"RGB ", b"XYZ ", b"acsp")
    return (header + _fixed(*_D50)).ljust(128, b"\0") + struct.pack(">I", count) + tags + body


def _to_d50(number: int) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    """The matrix from linear light in these primaries to XYZ under D50 (SMPTE RP 177)."""
    *colours, white = (np.array([x / y, 1.0, (1 - x - y) / y]) for x, y in _PRIMARIES[number])
    columns = np.stack(colours, axis=1)
    to_xyz = columns * np.linalg.solve(columns, white)
    scale = (_BRADFORD @ _D50) / (_BRADFORD @ white)
    result: np.ndarray[tuple[int, int], np.dtype[np.float64]] = (
        np.linalg.inv(_BRADFORD) @ np.diag(scale) @ _BRADFORD @ to_xyz
    )
    return result


def _fixed(*numbers: float) -> bytes:
    """Numbers as an ICC profile has them: signed, 16 bits before the point and 16 behind."""
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)
