"""Pictures larger than can be decoded whole, and what they take of memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from shared.errors import ImageTooManyPixels
from shared.imaging import MAX_PIXELS, decode, open_checked
from tests.unit.model_server.pictures import encoded


def test_a_large_jpeg_is_read_at_the_scale_that_is_needed() -> None:
    large = Image.new("L", (9000, 7000), 90)
    baseline, progressive = encoded(large, "JPEG", quality=20), encoded(large, "JPEG", quality=20, progressive=True)
    decoded = decode(baseline, min_side=258)
    assert (decoded.width, decoded.height, decoded.image.size) == (9000, 7000, (1125, 875))
    for data, min_side in ((baseline, None), (baseline, 4000), (progressive, 258), (encoded(large, "PNG"), 258)):
        with pytest.raises(ImageTooManyPixels, match=str(MAX_PIXELS)):
            open_checked(data, min_side=min_side)
    assert open_checked(progressive, max_pixels=63_000_000).width == 9000


_MEMORY = """
import resource, sys
from shared.imaging import decode, model_input
data = open(sys.argv[1], "rb").read()
decode(open(sys.argv[2], "rb").read(), min_side=258)  # what the first one loads
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert model_input(data, 224).shape == (224, 224, 3)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_48_megapixels_take_less_than_100_megabytes(tmp_path: Path) -> None:
    paths = [tmp_path / "large.jpg", tmp_path / "small.jpg"]
    tile = Image.effect_noise((1000, 750), 40).resize((8000, 6000), Image.Resampling.NEAREST).convert("RGB")
    for path, image in zip(paths, (tile, tile.crop((0, 0, 300, 300))), strict=True):
        path.write_bytes(encoded(image, quality=90))
    told = subprocess.run([sys.executable, "-c", _MEMORY, *paths], capture_output=True, text=True, check=True)
    kilobytes = int(told.stdout) if sys.platform != "darwin" else int(told.stdout) // 1024
    assert kilobytes < 50_000  # of its own; the process has some 40 MB more
