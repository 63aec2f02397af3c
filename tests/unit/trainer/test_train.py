"""Targets and masks, determinism, resuming, early stopping, the network's form."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from services.trainer import train as training_module
from services.trainer.augment import MAX_GAMMA, augment
from services.trainer.data import UNGRADED, UNKNOWN, FoldData, decode, load_folds
from services.trainer.features import Answers, FeatureReader, Features
from services.trainer.filters import LOG_COLOURS, NOISE, FilterAnswers
from services.trainer.losses import ordinal_loss, ordinal_targets, positive_weights
from services.trainer.model import ModelConfig, ServedNet, SkinNet
from services.trainer.spec import TrainingConfig
from services.trainer.train import Epoch, Trained, train
from shared.errors import LossNotFinite
from shared.taxonomy import Fold
from tests.unit.trainer.squares import TINY, Dataset, cache_of, dataset_of


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> dict[Fold, FoldData]:
    directory = tmp_path_factory.mktemp("folds")
    dataset: Dataset = dataset_of(16)
    dataset.write_encoded(directory / "encoded")
    cache = cache_of(directory / "cache", 32)
    assert decode(dataset.images, directory / "encoded", cache, 1, None) == {}
    return load_folds(dataset.images, cache)


def fit(folds: dict[Fold, FoldData], checkpoint: Path, config: TrainingConfig = TINY, **options: Any) -> Trained:
    return train(folds[Fold.TRAIN], folds[Fold.VALIDATION], config, Features(2, 8), checkpoint, **options)


def weights_of(trained: Trained) -> list[np.ndarray[Any, Any]]:
    return [tensor.numpy() for tensor in trained.net.state_dict().values()]


def same(one: Trained, other: Trained) -> bool:
    return one.history == other.history and all(
        np.array_equal(a, b) for a, b in zip(weights_of(one), weights_of(other), strict=True)
    )


def test_targets_and_masks() -> None:
    targets, mask = ordinal_targets(torch.tensor([[0, 1, 2, 3, UNGRADED, UNKNOWN]]))
    assert (targets * mask)[0].tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 0, 0]]
    assert mask[0].tolist() == [[1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 0, 0], [0, 0, 0]]


def test_focal_loss_is_the_one_of_its_paper_and_ordinary_at_exponent_nought() -> None:
    severity, weights = torch.tensor([[1, 0], [0, 3]]), torch.ones(2, 3)
    logits = torch.randn(2, 2, 3, generator=torch.Generator().manual_seed(1))
    targets, _ = ordinal_targets(severity)
    right = torch.where(targets > 0.5, logits.sigmoid(), 1 - logits.sigmoid())
    expected = (-((1 - right) ** 2) * right.log()).mean()
    assert ordinal_loss(logits, severity, weights, gamma=2.0).item() == pytest.approx(expected.item(), rel=1e-5)
    assert ordinal_loss(logits, severity, weights, gamma=0.0) == ordinal_loss(logits, severity, weights)


def test_a_share_of_a_batch_is_its_share_of_the_loss() -> None:
    severity = torch.tensor([[1, UNKNOWN], [0, 3], [2, 0]])
    logits = torch.randn(3, 2, 3, generator=torch.Generator().manual_seed(2))
    weights, known = torch.ones(2, 3), ordinal_targets(severity)[1].sum()
    parts = [ordinal_loss(logits[part], severity[part], weights, known=known) for part in (slice(0, 1), slice(1, 3))]
    assert torch.stack(parts).sum().item() == pytest.approx(ordinal_loss(logits, severity, weights).item())


def test_what_is_unknown_teaches_nothing() -> None:
    severity = torch.tensor([[1, UNKNOWN, UNGRADED]])
    logits = torch.zeros(1, 3, 3, requires_grad=True)
    ordinal_loss(logits, severity, torch.ones(3, 3)).backward()  # type: ignore[no-untyped-call]
    assert logits.grad is not None
    touched = logits.grad[0] != 0
    assert touched.tolist() == [[True, True, True], [False, False, False], [True, False, False]]


def test_rare_and_common_answers_weigh_alike() -> None:
    severity = np.array([[1]] * 2 + [[0]] * 8, np.int8)
    weights = positive_weights(severity)
    assert weights[0, 0] == 4
    at_even_odds = torch.zeros(10, 1, 3, requires_grad=True)
    ordinal_loss(at_even_odds, torch.from_numpy(severity), weights).backward()  # type: ignore[no-untyped-call]
    assert at_even_odds.grad is not None
    assert at_even_odds.grad[:, 0, 0].sum().abs() < 1e-7


def test_severities_never_contradict_each_other() -> None:
    torch.manual_seed(0)
    features = Features(2, 8)
    net = SkinNet(
        ModelConfig(input_size=32, scales=2, cell=8, width=8, depth=1), features.channels, features.statistics
    ).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_()
        pixels = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
        logits, _ = net(*features(pixels))
        probabilities, evidence = ServedNet(features, net)(pixels)
    assert probabilities.shape == (5, 7, 4)
    assert evidence.shape[:2] == (5, 7)
    assert (logits.diff(dim=-1) <= 0).all()
    assert (probabilities >= 0).all()
    assert torch.allclose(probabilities.sum(-1), torch.ones(5, 7), atol=1e-6)


def test_it_learns_the_coloured_squares(folds: dict[Fold, FoldData], tmp_path: Path) -> None:
    longer = TINY.model_copy(update={"images_seen": 3500, "max_epochs": 30, "patience": 30})
    trained = fit(folds, tmp_path / "checkpoint.pt", longer)
    assert trained.history[-1].validation_loss < 0.6 * trained.history[0].validation_loss
    assert trained.history[-1].metrics["validation_accuracy"] > 0.8


def test_the_same_seed_gives_the_same_model_and_another_another(folds: dict[Fold, FoldData], tmp_path: Path) -> None:
    first = fit(folds, tmp_path / "first.pt")
    assert same(first, fit(folds, tmp_path / "second.pt"))
    assert not same(first, fit(folds, tmp_path / "third.pt", TINY.model_copy(update={"seed": 4})))


def test_a_run_killed_in_mid_epoch_ends_as_an_undisturbed_one(
    folds: dict[Fold, FoldData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = fit(folds, tmp_path / "undisturbed.pt")
    calls = 0

    def dying(*arguments: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        if calls == 15:  # the second epoch has begun and is not through
            raise KeyboardInterrupt
        return augment(*arguments)

    monkeypatch.setattr(training_module, "augment", dying)
    with pytest.raises(KeyboardInterrupt):
        fit(folds, tmp_path / "killed.pt")
    monkeypatch.undo()
    torch.rand(17)  # whatever the process did meanwhile
    told: list[Epoch] = []
    resumed = fit(folds, tmp_path / "killed.pt", on_epoch=told.append)
    assert same(resumed, undisturbed)
    assert 0 < len(told) < len(undisturbed.history)  # it went on, it did not start over


def test_a_finished_run_is_not_trained_again(folds: dict[Fold, FoldData], tmp_path: Path) -> None:
    finished = fit(folds, tmp_path / "checkpoint.pt")
    told: list[Epoch] = []
    assert same(fit(folds, tmp_path / "checkpoint.pt", on_epoch=told.append), finished)
    assert not told


@pytest.mark.parametrize("damage", ["other run", "torn"])
def test_a_checkpoint_that_does_not_fit_is_passed_over(
    folds: dict[Fold, FoldData], tmp_path: Path, damage: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    if damage == "torn":
        fit(folds, path)
        path.write_bytes(path.read_bytes()[:1000])
    else:
        fit(folds, path, TINY.model_copy(update={"seed": 4}))
    assert same(fit(folds, path), fit(folds, tmp_path / "fresh.pt"))


def test_it_stops_early_and_keeps_the_best(folds: dict[Fold, FoldData], tmp_path: Path) -> None:
    wild = TINY.model_copy(update={"learning_rate": 3.0, "patience": 1, "images_seen": 4000, "ema_decay": 0.0})
    trained = fit(folds, tmp_path / "checkpoint.pt", wild)
    losses = [epoch.validation_loss for epoch in trained.history]
    assert len(trained.history) < trained.history[0].epochs
    assert trained.best_epoch == losses.index(min(losses)) + 1
    validation = folds[Fold.VALIDATION]
    answers = FeatureReader(Features(2, 8), 32, tmp_path, 1).read(validation, tmp_path)
    grid, _ = answers.tensors(np.arange(len(validation)))
    with torch.inference_mode():
        logits, _ = trained.net.convolutional(grid)
    weights = positive_weights(folds[Fold.TRAIN].severity)
    loss = ordinal_loss(logits, torch.from_numpy(validation.severity), weights).item()
    assert loss == pytest.approx(min(losses), rel=1e-5)


def test_the_best_weights_so_far_are_kept_at_the_time_limit_and_a_higher_one_goes_on(
    folds: dict[Fold, FoldData], tmp_path: Path
) -> None:
    limited = TINY.model_copy(update={"time_limit_s": 1e-6})
    first = fit(folds, tmp_path / "checkpoint.pt", limited)
    assert (len(first.history), first.best_epoch) == (1, 1)
    assert same(fit(folds, tmp_path / "checkpoint.pt", limited), first)  # the time is used up, in this try as well
    more = fit(folds, tmp_path / "checkpoint.pt", TINY)
    assert more.history[:1] == first.history
    assert len(more.history) == more.history[0].epochs


@pytest.mark.parametrize(
    "changes",
    [{"class_weights": False}, {"sampling": "balanced"}, {"focal_gamma": 2.0}],
    ids=["no class weights", "balanced sampling", "focal loss"],
)
def test_each_tool_against_imbalance_trains_another_model(
    folds: dict[Fold, FoldData], tmp_path: Path, changes: dict[str, Any]
) -> None:
    changed = fit(folds, tmp_path / "changed.pt", TINY.model_copy(update=changes))
    assert all(math.isfinite(epoch.validation_loss) for epoch in changed.history)
    assert not same(changed, fit(folds, tmp_path / "plain.pt"))


def test_a_loss_that_is_not_a_number_ends_the_run_and_names_its_step(
    folds: dict[Fold, FoldData], tmp_path: Path
) -> None:
    with pytest.raises(LossNotFinite, match=r"step [2-9] of epoch 1 is not a finite number, with the images "):
        fit(folds, tmp_path / "checkpoint.pt", TINY.model_copy(update={"learning_rate": 1e30}))


def test_an_image_that_gives_no_number_is_named_with_its_batch(
    folds: dict[Fold, FoldData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = folds[Fold.TRAIN]
    read = FeatureReader.read

    def poisoned(reader: FeatureReader, data: FoldData, directory: Path) -> Answers:
        answers = read(reader, data, directory)
        if data is training:
            answers.grid[5] = np.nan
        return answers

    monkeypatch.setattr(FeatureReader, "read", poisoned)
    with pytest.raises(LossNotFinite) as caught:
        fit(folds, tmp_path / "checkpoint.pt")
    named = caught.value.message.partition("with the images ")[2].rstrip(".").split(", ")
    assert training.image_ids[5] in named
    assert 1 < len(named) <= TINY.batch_size
    assert caught.value.code == "loss_not_finite"
    assert "learning rate" in caught.value.advice
    assert not (tmp_path / "checkpoint.pt").exists()


def test_a_validation_loss_that_is_not_a_number_ends_the_run(
    folds: dict[Fold, FoldData], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("services.trainer.train._validate", lambda *_: (math.nan, {}))
    with pytest.raises(LossNotFinite, match="epoch 1"):
        fit(folds, tmp_path / "checkpoint.pt", TINY)
    assert not (tmp_path / "checkpoint.pt").exists()


def test_epochs_follow_from_the_budget() -> None:
    config = TrainingConfig(images_seen=1000, min_epochs=2, max_epochs=20)
    assert [config.epochs(images) for images in (10, 100, 250, 5000)] == [20, 10, 4, 2]


def test_augmentation_is_by_its_generator_alone() -> None:
    answers = torch.rand(4, 9, 8, 8)
    one, two = (augment(answers, torch.Generator().manual_seed(5), 9) for _ in range(2))
    assert torch.equal(one, two)
    assert one.shape == answers.shape
    assert not torch.equal(one, augment(answers, torch.Generator().manual_seed(6), 9))


def test_a_picture_is_changed_alike_in_any_part_of_its_batch() -> None:
    answers = torch.rand(5, 9, 8, 8)

    def changed(part: slice) -> torch.Tensor:
        return augment(answers[part], torch.Generator().manual_seed(6), 7, part, 5)

    whole = changed(slice(None))
    for part in (slice(0, None, 2), slice(1, None, 2)):
        assert torch.equal(changed(part), whole[part])


def test_augmentation_changes_no_label_by_much() -> None:
    answers = torch.ones(200, 9, 8, 8)
    changed = augment(answers, torch.Generator().manual_seed(5), 9) - answers
    assert changed[:, 3:].abs().max() <= MAX_GAMMA + 1e-6
    assert changed.mean().abs() < 0.02


def test_only_a_backbone_s_maps_are_made_noisy_and_each_by_its_own_spread() -> None:
    filters, slope = torch.ones(3, 8, 8), torch.arange(64.0).reshape(8, 8) / 64
    answers = torch.cat([filters, torch.stack([slope, 10 * slope, torch.full((8, 8), 3.0)])]).repeat(400, 1, 1, 1)
    changed = augment(answers, torch.Generator().manual_seed(5), 3)
    assert changed[:, :3].std((2, 3)).max() < 1e-5  # other light, but no noise
    assert torch.allclose(changed[:, 5], answers[:, 5])  # a map that is the same everywhere has no spread
    one, tenfold = (changed[:, channel].mean((1, 2)).std() for channel in (3, 4))
    assert 0.4 * slope.std() < one < 0.65 * slope.std()  # what all cells have in common
    assert tenfold / one == pytest.approx(10, rel=0.15)


def test_the_filters_do_not_see_the_strength_or_colour_of_the_light() -> None:
    filters = FilterAnswers(3, 16)
    pixels = torch.randint(60, 120, (2, 64, 64, 3)).float()
    light = torch.tensor([2.0, 1.5, 1.0])
    plain, lit = (filters(picture - NOISE) for picture in (pixels, pixels * light))
    assert torch.allclose(plain[:, LOG_COLOURS:], lit[:, LOG_COLOURS:], atol=1e-3)
    assert torch.allclose((lit - plain)[:, :LOG_COLOURS], light.log()[:, None, None].expand(2, 3, 4, 4), atol=1e-3)
