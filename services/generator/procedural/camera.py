"""The photograph's own faults: colour cast, exposure, contrast, vignette, blur, sensor noise and JPEG."""

from __future__ import annotations

import cv2
import numpy as np

from services.generator.procedural.canvas import Picture, as_plane, blur, white_noise
from services.generator.procedural.traits import Traits


def photograph(picture: Picture, traits: Traits, rng: np.random.Generator) -> bytes:
    """Encode the linear picture (3, size, size) as a baseline JPEG in sRGB."""
    size = traits.pose.size
    # A camera meters for the face: deep skin is exposed longer, though not until it looks light.
    exposure = (1.0 + 0.85 * traits.darkness**1.5) * np.exp(rng.normal(0.0, 0.11)) * 0.97
    cast = np.exp(rng.normal(0.0, (0.055, 0.02, 0.075)))
    picture *= (exposure * cast / cast.mean()).astype(np.float32)[:, None, None]
    axis = (np.arange(size, dtype=np.float32) / np.float32(size) - 0.5) ** 2
    vignette = 1.0 - np.float32(rng.uniform(0.0, 0.5)) * (axis[:, None] + axis[None, :])
    sigma = float(abs(rng.normal(0.0, 0.42))) * size / 512
    grain = float(rng.uniform(0.5, 2.6))
    lift, contrast = rng.uniform(0.0, 0.012), float(rng.normal(1.0, 0.05))
    luminance = blur(white_noise(rng, size, 3), 0.55) * np.float32(grain * 1.5)
    display = []
    for channel in range(3):
        plane = blur(as_plane(picture[channel] * vignette), sigma)
        plane = np.sqrt(np.maximum(plane, 0.0) + np.float32(lift)) * np.float32(255.0)
        # A shoulder keeps highlights from clipping hard.
        plane = np.where(plane > 205, 205 + 50 * (1 - np.exp((205 - plane) / 50)), plane)
        plane = (plane - np.float32(110)) * np.float32(contrast) + np.float32(110)
        chroma = white_noise(rng, size, 1) * np.float32(0.45 * grain)
        display.append(as_plane(np.clip(plane + luminance + chroma, 0, 255)))
    frame = cv2.merge(display[::-1])
    quality = int(rng.integers(70, 96))
    sampling = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420 if rng.random() < 0.6 else cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, sampling]
    encoded, data = cv2.imencode(".jpg", np.round(frame).astype(np.uint8), options)
    if not encoded:
        raise RuntimeError("OpenCV could not encode a picture as JPEG")
    return data.tobytes()
