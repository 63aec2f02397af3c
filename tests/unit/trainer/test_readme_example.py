"""The README's ten lines run an exported model, in a process that knows nothing of evenskin."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from services.trainer.evaluate import ExportedModel
from services.trainer.export import export, metadata_of
from services.trainer.features import Features
from services.trainer.model import ModelConfig, ServedNet, SkinNet
from shared.preprocessing import Preprocessing, prepare
from shared.taxonomy import Condition, Severity
from tests.unit.trainer.squares import Dataset

README = Path(__file__).parents[3] / "README.md"


def example() -> str:
    (found,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    return str(found)


def test_the_example_is_ten_lines_of_plain_python() -> None:
    assert len([line for line in example().splitlines() if line]) == 10
    assert "shared" not in example()
    assert "services" not in example()


def test_the_example_answers_as_evenskin_does(small: Dataset, tmp_path: Path) -> None:
    torch.manual_seed(4)
    features = Features(2, 8)
    config = ModelConfig(input_size=32, scales=2, cell=8, width=8, depth=1)
    net = ServedNet(features, SkinNet(config, features.channels, features.statistics))
    middle = Preprocessing.MIDDLE_3
    path = tmp_path / "model.onnx"
    export(net, metadata_of("v1", "d1", small.images, [0.5] * 7, 32, middle, manifest_sha256="ab" * 32), path)
    pixels = np.random.default_rng(5).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    # Bicubic of noise differs between libraries: blocks do not.
    Image.fromarray(np.kron(pixels[:4, :4], np.ones((16, 16, 1), np.uint8))).save(tmp_path / "selfie.jpg", quality=95)

    model = ExportedModel.load(path, 1)
    prepared = prepare((tmp_path / "selfie.jpg").read_bytes(), 32, middle).pixels
    levels = model.run(prepared[None])[0][0]
    scores = 1 - levels[:, 0]
    cut = float(np.sort(scores)[2:4].mean())  # so that some conditions are there and some are not
    export(net, metadata_of("v1", "d1", small.images, [cut] * 7, 32, middle, manifest_sha256="ab" * 32), path)
    names = [severity.label for severity in Severity]
    expected = [
        f"{condition.value} {names[int(chances[1:].argmax())] if 1 - chances[0] >= cut else 'absent'}"
        for condition, chances in zip(Condition, levels, strict=True)
    ]
    done = subprocess.run(
        [sys.executable, "-I", "-c", example()], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == expected
    assert len({line.split()[1] == "absent" for line in expected}) == 2
    about = json.loads(ExportedModel.load(path, 1).metadata.model_dump_json())
    named = {"version", "conditions", "severities", "input_size", "preprocessing", "thresholds", "calibration"}
    assert named | {"dataset_version", "manifest_sha256"} <= set(about)
    assert about["manifest_sha256"] == "ab" * 32
