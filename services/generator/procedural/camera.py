"""The photograph's own faults: colour cast, exposure, contrast, vignette, blur, sensor noise and JPEG."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from services.generator.procedural.canvas import Picture, smooth_noise, strips, white_noise
from services.generator.procedural.filters import blur
from services.generator.procedural.traits import Traits
from shared.imaging import STAND_IN_COMMENT

_GRAIN_SIGMA = 0.55  # pixels over which the grain of the luminance is correlated


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
    luminance = white_noise(rng, size, 3, _GRAIN_SIGMA) * np.float32(grain * 1.5)
    frame = np.empty((3, size, size), dtype=np.uint8)
    for channel in range(3):
        source, chroma = blur(picture[channel], sigma), white_noise(rng, size, 1)
        for part in strips((slice(0, size), slice(0, size))):
            plane = source[part] * vignette[part]
            plane *= np.float32(gains[channel])
            np.maximum(plane, np.float32(0.0), out=plane)
            plane += np.float32(lift)
            np.sqrt(plane, out=plane)
            plane *= np.float32(255.0)
            # A shoulder keeps highlights from clipping hard.
            above = plane - np.float32(205)
            np.maximum(above, np.float32(0.0), out=above)
            np.minimum(plane, np.float32(205), out=plane)
            plane += above / (1 + above * np.float32(1 / 50))
            plane *= np.float32(contrast)
            plane += np.float32(110.5 - 110 * contrast)
            plane += luminance[part]
            plane += chroma[part] * np.float32(0.45 * grain)
            np.maximum(plane, np.float32(0.0), out=plane)
            frame[channel][part] = np.minimum(plane, np.float32(255.0), out=plane)
    quality = int(rng.integers(70, 96))
    sampling = "4:2:0" if rng.random() < 0.6 else "4:4:4"
    encoded = io.BytesIO()
    image = Image.merge("RGB", [Image.fromarray(plane) for plane in frame])
    image.save(encoded, "JPEG", quality=quality, subsampling=sampling, comment=STAND_IN_COMMENT)
    return encoded.getvalue()
