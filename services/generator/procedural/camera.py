"""The photograph's own faults: colour cast, exposure, contrast, vignette, blur, sensor noise and JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from services.generator.procedural.canvas import Picture, blur, smooth_noise, strips, white_noise
from services.generator.procedural.traits import Traits
from shared.imaging import STAND_IN_COMMENT


def photograph(picture: Picture, traits: Traits, rng: np.random.Generator) -> bytes:
    """Encode the linear picture (3, size, size) as a baseline JPEG in sRGB."""
    size = traits.pose.size
    # A camera meters for the face: deep skin is exposed longer, though not until it looks light.
    exposure = (1.0 + 1.15 * traits.darkness**1.5) * np.exp(rng.normal(0.0, 0.11)) * 0.97
    cast = np.exp(rng.normal(0.0, (0.055, 0.02, 0.075)))
    gains = exposure * cast / cast.mean()
    axis = (np.arange(size, dtype=np.float32) / np.float32(size) - 0.5) ** 2
    vignette = 1.0 - np.float32(rng.uniform(0.0, 0.5)) * (axis[:, None] + axis[None, :])
    vignette *= 1.0 + np.float32(rng.uniform(0.0, 0.06)) * smooth_noise(rng, size, size / 2.5)  # uneven light
    sigma = float(abs(rng.normal(0.0, 0.42))) * size / 512
    grain = float(rng.uniform(0.5, 2.6))
    lift, contrast = rng.uniform(0.0, 0.012), float(rng.normal(1.0, 0.05))
    luminance = blur(white_noise(rng, size, 3), 0.55) * np.float32(grain * 1.5)
    frame = np.empty((size, size, 3), dtype=np.uint8)
    for channel in range(3):
        source, chroma = blur(picture[channel], sigma), white_noise(rng, size, 1)
        for part in strips((slice(0, size), slice(0, size))):
            plane = np.maximum(source[part] * (vignette[part] * np.float32(gains[channel])), 0.0)
            plane = np.sqrt(plane + np.float32(lift)) * np.float32(255.0)
            # A shoulder keeps highlights from clipping hard.
            above = np.maximum(plane - np.float32(205), 0.0)
            plane = np.minimum(plane, np.float32(205)) + above / (1 + above * np.float32(1 / 50))
            plane = (plane - np.float32(110)) * np.float32(contrast) + np.float32(110)
            plane += luminance[part] + chroma[part] * np.float32(0.45 * grain)
            frame[part][..., 2 - channel] = np.clip(plane + np.float32(0.5), 0, 255)
    quality = int(rng.integers(70, 96))
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if rng.random() < 0.6 else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    encoded, data = cv2.imencode(".jpg", frame, options)
    if not encoded:
        raise RuntimeError("OpenCV could not encode a picture as JPEG")
    return _commented(data.tobytes())


def _commented(jpeg: bytes) -> bytes:
    """The JPEG with a comment segment (ITU-T T.81, B.2.4.5) right after its start that says it is drawn."""
    length = (2 + len(STAND_IN_COMMENT)).to_bytes(2, "big")
    return jpeg[:2] + b"\xff\xfe" + length + STAND_IN_COMMENT + jpeg[2:]
