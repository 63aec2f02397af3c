"""The INT8 copy of a model: what is quantised, when it is served, and what the worker leaves then."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from services.trainer import int8, worker
from services.trainer.backbone import load_backbone
from services.trainer.data import decode, load_folds
from services.trainer.evaluate import ExportedModel
from services.trainer.export import export, metadata_of
from services.trainer.features import Features
from services.trainer.model import ModelConfig, ServedNet, SkinNet
from services.trainer.spec import fp32_path, model_path
from shared.preprocessing import Preprocessing
from shared.taxonomy import Fold
from tests.unit.trainer.squares import TINY, Dataset, cache_of

SIZE = 64


def exported(path: Path, small: Dataset, backbone: str) -> Path:
    torch.manual_seed(2)
    features = Features(2, 16, load_backbone(backbone))
    config = ModelConfig(input_size=SIZE, scales=2, cell=16, width=8, depth=1)
    net = ServedNet(features, SkinNet(config, features.channels, features.statistics))
    export(net, metadata_of("v1", "d1", small.images, [0.5] * 7, SIZE, Preprocessing.MIDDLE_3), path)
    return path


@pytest.fixture(scope="module")
def pair(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model with a backbone, and its INT8 copy."""
    directory = tmp_path_factory.mktemp("int8")
    source, target = exported(directory / "model.onnx", small, "efficientnet-lite0"), directory / "int8.onnx"
    pictures = np.random.default_rng(1).integers(0, 256, (8, SIZE, SIZE, 3), dtype=np.uint8)
    assert int8.quantise(source, target, pictures)
    return source, target


def test_the_backbone_is_quantised_and_nothing_else(pair: tuple[Path, Path]) -> None:
    graph = onnx.load(pair[1]).graph
    kinds = {tensor.name: tensor.data_type for tensor in graph.initializer}
    weights = [name for name in kinds if name.startswith(int8.WEIGHTS) and name.endswith("weight_quantized")]
    assert len(weights) == 33  # the stem's, one block's two, ten blocks' three
    assert {kinds[name] for name in weights} == {onnx.TensorProto.INT8}
    others = [name for name in kinds if name.startswith(("net.", "features.filters"))]
    assert others
    assert all("quantized" not in name for name in others)
    assert pair[1].stat().st_size < 0.6 * pair[0].stat().st_size
    assert sorted(path.name for path in pair[1].parent.iterdir()) == ["int8.onnx", "model.onnx"]


def test_the_copy_says_that_it_is_one_and_answers_alike(pair: tuple[Path, Path]) -> None:
    fp32, copy = (ExportedModel.load(path, 1) for path in pair)
    assert (fp32.metadata.precision, copy.metadata.precision) == ("fp32", "int8")
    assert copy.metadata == fp32.metadata.model_copy(update={"precision": "int8"})
    pictures = np.random.default_rng(2).integers(0, 256, (4, SIZE, SIZE, 3), dtype=np.uint8)
    first, second = (model.run(pictures)[0] for model in (fp32, copy))
    assert 0 < np.abs(first - second).max() < 0.1


def test_a_model_without_a_backbone_has_no_copy(small: Dataset, tmp_path: Path) -> None:
    source = exported(tmp_path / "model.onnx", small, "none")
    assert not int8.quantise(source, tmp_path / "int8.onnx", np.zeros((1, SIZE, SIZE, 3), np.uint8))
    assert not (tmp_path / "int8.onnx").exists()


@pytest.mark.parametrize(
    ("validation", "test", "speedup", "chosen", "said"),
    [
        (0.0, 0.0, 1.5, True, "It is served."),
        (0.0049, -0.03, 1.1, True, "loses +0.5 points of mean balanced accuracy on the validation fold"),
        (0.0051, -0.02, 1.5, False, "on the validation fold, and answers 1.50 times"),
        (0.006, 0.0, 3.0, False, "More than 0.5 points is too much."),
        (0.0, 0.5, 1.5, True, "loses +0.0 points"),  # the test fold chooses nothing
        (0.0, 0.0, 1.09, False, "Less than 1.1 times is not worth it."),
    ],
)
def test_it_is_served_where_it_holds_and_is_faster(
    validation: float, test: float, speedup: float, chosen: bool, said: str
) -> None:
    choice = int8.decide({"validation": validation, "test": test}, speedup)
    assert choice.chosen is chosen
    assert said in choice.reason
    assert choice.losses == {"validation": validation, "test": test}


def test_what_is_lost_and_gained_is_measured(pair: tuple[Path, Path], small: Dataset, tmp_path: Path) -> None:
    small.write_encoded(tmp_path / "encoded")
    cache = cache_of(tmp_path / "cache", SIZE)
    assert decode(small.images, tmp_path / "encoded", cache, 1, None) == {}
    folds = load_folds(small.images, cache)
    fp32, copy = (ExportedModel.load(path, 1) for path in pair)
    measured = {fold.value: folds[fold] for fold in (Fold.VALIDATION, Fold.TEST)}
    assert int8.compare(fp32, fp32, measured).losses == {"validation": 0, "test": 0}
    found = int8.compare(fp32, copy, measured)
    first, second = (model.judge(folds[Fold.TEST]).metrics["overall"]["balanced_accuracy"] for model in (fp32, copy))
    assert found.losses["test"] == first - second
    assert found.speedup > 0
    assert len(int8.calibration_pictures(folds[Fold.TRAIN])) == min(128, len(folds[Fold.TRAIN]))


@pytest.mark.parametrize("chosen", [True, False])
def test_the_worker_leaves_the_one_that_is_served(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chosen: bool
) -> None:
    choice = int8.Choice(chosen, "because", {"test": 0.0}, 1.3)
    monkeypatch.setattr(int8, "compare", lambda *_: choice)
    config = TINY.model_copy(
        update={"input_size": SIZE, "max_epochs": 1, "min_epochs": 1, "model": {"scales": 2, "width": 8, "depth": 1}}
    )
    spec = small.spec(tmp_path, config).model_copy(update={"backbone": "efficientnet-lite0", "int8": True})
    result = worker.run(spec)
    served = model_path(spec.run_dir)
    assert result["sha256"] == hashlib.sha256(served.read_bytes()).hexdigest()
    assert result["config"]["int8"] == {**choice.json_object()}
    precision = "int8" if chosen else "fp32"
    assert ExportedModel.load(served, 1).metadata.precision == result["metadata"]["precision"] == precision
    assert fp32_path(spec.run_dir).exists() is chosen
    if chosen:
        assert ExportedModel.load(fp32_path(spec.run_dir), 1).metadata.precision == "fp32"
