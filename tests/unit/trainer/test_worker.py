"""Export, parity and the whole worker, in this process and as the child process that it is."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from services.trainer import worker
from services.trainer.abstention import NEVER_LEARNT
from services.trainer.data import parity_pictures
from services.trainer.evaluate import ExportedModel
from services.trainer.export import check_parity, export, metadata_of
from services.trainer.features import Features
from services.trainer.model import ModelConfig, ServedNet, SkinNet
from services.trainer.spec import FAILED_STATUS, RunSpec, checkpoint_path, model_path, result_path
from shared.errors import DatasetTooSmall, ModelInvalid, ParityFailed
from shared.model_card import METADATA_KEY, SYNTHETIC_WARNING, ModelMetadata
from shared.preprocessing import Preprocessing, prepare
from shared.taxonomy import Condition, Fold, Severity
from tests.unit.trainer.squares import TINY, Dataset, dataset_of, plain


@pytest.fixture(scope="module")
def net() -> ServedNet:
    torch.manual_seed(1)
    features = Features(2, 8)
    config = ModelConfig(input_size=32, scales=2, cell=8, width=8, depth=1)
    return ServedNet(features, SkinNet(config, features.channels, features.statistics)).eval()


@pytest.fixture(scope="module")
def exported(net: ServedNet, small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    export(net, metadata_of("v1", "d1", small.images, [0.4] * 7, 32, Preprocessing.MIDDLE_3), path)
    return path


@pytest.fixture
def files(small: Dataset) -> list[bytes]:
    return [small.files[picture.key] for picture in parity_pictures(small.images)]


def test_the_graph_is_what_the_contract_says(exported: Path) -> None:
    graph = onnx.load(exported)
    assert graph.opset_import[0].version >= 18
    session = onnxruntime.InferenceSession(exported)
    (image,) = session.get_inputs()
    assert (image.name, image.type, image.shape[1:]) == ("image", "tensor(uint8)", [32, 32, 3])
    assert [output.name for output in session.get_outputs()] == ["severity_probabilities", "activation"]
    for count in (1, 2, 5):
        probabilities, activation = session.run(None, {"image": np.zeros((count, 32, 32, 3), np.uint8)})
        assert probabilities.shape == (count, 7, 4)
        assert activation.shape[:2] == (count, 7)
        assert np.allclose(probabilities.sum(-1), 1, atol=1e-5)
    assert [path.name for path in exported.parent.iterdir()] == ["model.onnx"]  # no data beside it


def test_the_metadata_is_in_the_file(exported: Path) -> None:
    stored = {entry.key: entry.value for entry in onnx.load(exported).metadata_props}
    metadata = ModelMetadata.model_validate_json(stored[METADATA_KEY])
    assert metadata == ExportedModel.load(exported, 1).metadata
    assert metadata.conditions == tuple(Condition)
    assert metadata.thresholds == dict.fromkeys(Condition, 0.4)
    assert metadata.severities == ("absent", "mild", "moderate", "severe")


def test_drawn_training_images_bring_their_warning() -> None:
    dataset = Dataset([], {})
    dataset.add({Condition.ACNE: Severity.MILD}, 1, fold=Fold.TRAIN)
    dataset.add({Condition.ACNE: Severity.MILD}, 2, fold=Fold.TEST, provider="procedural")
    clean = metadata_of("v1", "d1", dataset.images, [0.5] * 7, 32, Preprocessing.MIDDLE_3)
    assert (clean.providers, clean.warnings) == ({"imported": 1}, ())
    dataset.add({Condition.ACNE: Severity.MILD}, 3, fold=Fold.TRAIN, provider="procedural")
    drawn = metadata_of("v1", "d1", dataset.images, [0.5] * 7, 32, Preprocessing.MIDDLE_3)
    assert (drawn.providers, drawn.warnings) == ({"imported": 1, "procedural": 1}, (SYNTHETIC_WARNING,))


def test_parity_holds_from_encoded_files_on(net: ServedNet, exported: Path, files: list[bytes]) -> None:
    parity = check_parity(net, ExportedModel.load(exported, 1), files, Preprocessing.MIDDLE_3, None)
    assert parity["max_abs_difference"] < 1e-5
    assert parity["images"] == len(files) > 0


def test_parity_catches_changed_weights(net: ServedNet, exported: Path, files: list[bytes], tmp_path: Path) -> None:
    graph = onnx.load(exported)
    weights = max(graph.graph.initializer, key=lambda tensor: len(tensor.raw_data))
    changed = onnx.numpy_helper.to_array(weights) * 1.01
    weights.CopyFrom(onnx.numpy_helper.from_array(changed, weights.name))
    onnx.save(graph, tmp_path / "broken.onnx")
    with pytest.raises(ParityFailed, match="differ"):
        check_parity(net, ExportedModel.load(tmp_path / "broken.onnx", 1), files, Preprocessing.MIDDLE_3, None)


def test_parity_catches_another_preprocessing(
    net: ServedNet, exported: Path, files: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ExportedModel.load(exported, 1)
    run = model.run
    monkeypatch.setattr(model, "run", lambda pixels: run(np.ascontiguousarray(pixels[..., ::-1])))  # BGR
    with pytest.raises(ParityFailed):
        check_parity(net, model, files, Preprocessing.MIDDLE_3, None)


def test_pictures_that_differ_by_their_tint_alone_give_the_same_answers_everywhere(tmp_path: Path) -> None:
    """What is the same in all of them is rounding, which a model must not take for evidence."""
    dataset = Dataset([], {})
    for number in range(40):
        dataset.add({list(Condition)[number % 2]: Severity.MILD}, number, draw=plain)
    config = TINY.model_copy(update={"images_seen": 100, "min_epochs": 2, "max_epochs": 2})
    parity = worker.run(dataset.spec(tmp_path, config))["parity"]
    assert parity["max_abs_difference"] < 5e-5


def test_parity_needs_files(net: ServedNet, exported: Path) -> None:
    with pytest.raises(ParityFailed, match="no image"):
        check_parity(net, ExportedModel.load(exported, 1), [], Preprocessing.MIDDLE_3, None)


@pytest.mark.parametrize("content", [b"", b"not a model", None])
def test_a_file_that_is_no_model_is_told(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "model.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ModelInvalid, match=r"model\.onnx"):
        ExportedModel.load(path, 1)


@pytest.fixture(scope="module")
def finished(small: Dataset, tmp_path_factory: pytest.TempPathFactory) -> tuple[RunSpec, dict[str, Any]]:
    """A run in this process, with no live model."""
    spec = small.spec(tmp_path_factory.mktemp("finished"))
    return spec, worker.run(spec)


def test_a_run_measures_model_and_baseline_on_the_test_fold(finished: tuple[RunSpec, dict[str, Any]]) -> None:
    spec, result = finished
    metrics = result["metrics"]
    for measured in (metrics["test"], metrics["baseline"]["test"]):
        assert {"accuracy", "balanced_accuracy", "recall", "f1", "n", "intervals"} <= set(measured["overall"])
        assert list(measured["conditions"]) == list(Condition)
    assert metrics["baseline"]["test"]["overall"]["n"] == metrics["test"]["overall"]["n"]
    assert result["comparison"] is None
    assert (result["promoted"], result["verdict"]) == (True, "first")
    assert result["left_out"] == []
    assert len(metrics["history"]) == metrics["history"][-1]["epoch"]
    json.dumps(result, allow_nan=False)
    model = ExportedModel.load(model_path(spec.run_dir), 1)
    assert model.metadata.version == spec.version
    for condition in list(Condition)[4:]:  # of which the dataset has no image
        assert model.metadata.abstention[condition] == NEVER_LEARNT


def test_the_live_model_is_measured_on_the_same_images_at_its_own_size(
    finished: tuple[RunSpec, dict[str, Any]], small: Dataset, tmp_path: Path
) -> None:
    live, before = finished
    larger = TINY.model_copy(update={"input_size": 48, "max_epochs": 3})
    spec = small.spec(tmp_path, larger).model_copy(
        update={"live": model_path(live.run_dir), "live_version": live.version}
    )
    result = worker.run(spec)
    comparison = result["comparison"]
    assert comparison["live_version"] == live.version
    assert comparison["fold"] == "test"
    assert comparison["live"] == before["metrics"]["test"]
    assert comparison["candidate"]["overall"]["n"] == comparison["live"]["overall"]["n"]
    difference = comparison["difference"]
    assert difference["images"] == sum(image.fold is Fold.TEST for image in small.images)
    assert set(difference["conditions"]) | set(difference["left_out"]) == set(Condition)
    assert (comparison["verdict"], comparison["reason"]) == (result["verdict"], result["reason"])


def test_a_live_model_that_cannot_be_opened_does_not_stand_in_the_way(small: Dataset, tmp_path: Path) -> None:
    (tmp_path / "live.onnx").write_bytes(b"damaged")
    spec = small.spec(tmp_path).model_copy(update={"live": tmp_path / "live.onnx", "live_version": "v0"})
    result = worker.run(spec)
    assert result["promoted"]
    assert result["comparison"] is None


def test_a_picture_that_cannot_be_read_is_left_out_of_training_and_parity(small: Dataset, tmp_path: Path) -> None:
    dataset = Dataset(list(small.images), dict(small.files))
    broken = dataset.add_broken(Fold.TEST)
    result = worker.run(dataset.spec(tmp_path))
    (entry,) = result["left_out"]
    assert (entry["image_id"], entry["key"]) == (str(broken.image_id), broken.key)
    assert entry["reason"]
    assert result["metrics"]["test"]["overall"]["n"] == sum(image.fold is Fold.TEST for image in small.images)
    assert result["parity"]["images"] == len(parity_pictures(small.images))


def test_a_dataset_that_is_too_small_is_told(tmp_path: Path) -> None:
    spec = dataset_of(1, [Condition.ACNE]).spec(tmp_path)
    with pytest.raises(DatasetTooSmall):
        worker.run(spec)


def start(spec: RunSpec) -> subprocess.Popen[bytes]:
    path = spec.run_dir / "spec.json"
    path.write_text(spec.model_dump_json())
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "services.trainer.worker", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def told(process: subprocess.Popen[bytes]) -> Iterator[dict[str, Any]]:
    assert process.stdout is not None
    for line in process.stdout:
        yield json.loads(line)


def test_a_killed_worker_is_resumed_and_ends_as_an_undisturbed_one(
    finished: tuple[RunSpec, dict[str, Any]], small: Dataset, tmp_path: Path
) -> None:
    undisturbed = finished[1]
    spec = small.spec(tmp_path)
    with start(spec) as process:
        assert next(told(process))["epoch"] == 1
        process.send_signal(signal.SIGKILL)
    assert checkpoint_path(spec.run_dir).exists()
    assert not result_path(spec.run_dir).exists()
    with start(spec) as process:
        messages = list(told(process))
        assert process.stderr is not None
        assert process.stderr.read() == b""
    assert process.returncode == 0
    assert messages[-1] == {"done": spec.version}
    assert messages[0]["epoch"] > 1
    result = json.loads(result_path(spec.run_dir).read_text())
    assert result["metrics"] == undisturbed["metrics"]
    assert result["metadata"]["thresholds"] == undisturbed["metadata"]["thresholds"]


def test_the_worker_says_what_went_wrong(tmp_path: Path) -> None:
    spec = dataset_of(1, [Condition.ACNE]).spec(tmp_path)
    with start(spec) as process:
        (message,) = told(process)
    assert process.returncode == FAILED_STATUS
    assert message["failed"] == "dataset_too_small"
    assert "fold" in message["message"]


def test_the_served_pixels_are_the_trained_ones(exported: Path, net: ServedNet, files: list[bytes]) -> None:
    pixels = np.stack([prepare(file, 32).pixels for file in files])
    answers, _ = ExportedModel.load(exported, 1).run(pixels)
    assert answers.shape == (len(files), 7, 4)
