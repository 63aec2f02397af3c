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
from pathlib import Path
from shared.imaging import decode, needed_side
large, small = (Path(path).read_bytes() for path in sys.argv[1:3])
decode(small, min_side=needed_side(224))  # whatever is loaded for that
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
decode(large, min_side=needed_side(224) if sys.argv[3] == "scaled" else None)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
# A process's peak begins with that of whoever started it: a small one does.
_START = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-c', *sys.argv[1:]]))"


def test_48_megapixels_take_less_than_100_megabytes(tmp_path: Path) -> None:
    large, small = tmp_path / "large.jpg", tmp_path / "small.jpg"
    image = Image.effect_noise((1000, 750), 40).resize((8000, 6000), Image.Resampling.NEAREST).convert("RGB")
    large.write_bytes(encoded(image, quality=90))
    small.write_bytes(encoded(image.crop((0, 0, 300, 300))))
    megabytes = {}
    for way in ("scaled", "whole"):
        command = [sys.executable, "-c", _START, _MEMORY, str(large), str(small), way]
        told = subprocess.run(command, capture_output=True, text=True, check=True)
        megabytes[way] = int(told.stdout) / (1e6 if sys.platform == "darwin" else 1e3)
    assert megabytes["scaled"] < 50  # beside what the process has anyway
    assert megabytes["whole"] > 100  # else this measures nothing
