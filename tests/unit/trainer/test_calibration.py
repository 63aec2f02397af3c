"""The linear judge, the weights of both judges, calibrated probabilities."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from services.trainer.calibration import calibrate, calibration_of, neutral_probabilities
from services.trainer.data import CONDITIONS, UNKNOWN, FoldData, Severities
from services.trainer.features import Answers
from services.trainer.linear import fit
from services.trainer.losses import positive_weights
from services.trainer.model import LinearJudge, ModelConfig, SkinNet, severity_probabilities

FACES = 3000


@pytest.fixture
def net() -> SkinNet:
    return SkinNet(ModelConfig(width=4, depth=1), 2, 4)


def rare(share: float, seed: int) -> tuple[Severities, Tensor]:
    """Labels of which so many are present, and scores about ±1 of them, the same for all conditions."""
    random = np.random.default_rng(seed)
    present = random.random((FACES, 7)) < share
    severity = np.where(present, random.integers(1, 4, (FACES, 7)), 0).astype(np.int8)
    score = np.where(present, 1.0, -1.0) + random.normal(0, 1.5, (FACES, 7))
    return severity, torch.from_numpy(score.astype(np.float32))[..., None] - torch.tensor([0.0, 0.5, 1.0])


def test_probabilities_can_be_taken_at_their_word(net: SkinNet) -> None:
    severity, logits = rare(0.1, 1)
    weights = positive_weights(severity)
    calibrate(net, 4 * logits, torch.zeros_like(logits), severity, weights, [1.0])  # far too sure of itself
    others, scores = rare(0.1, 2)
    probability = 1 - severity_probabilities(net.mixed(4 * scores, torch.zeros_like(scores)))[..., 0].numpy()
    for low, high in ((0, 0.05), (0.05, 0.15), (0.15, 0.3), (0.3, 1)):
        group = (probability >= low) & (probability < high)
        assert group.sum() > 300
        assert (others[group] >= 1).mean() == pytest.approx(probability[group].mean(), abs=0.04)
    assert [round(value, 1) for value in neutral_probabilities(net)] == [0.1] * 7


def test_a_small_fold_hardly_changes_what_the_judges_say(net: SkinNet) -> None:
    severity = np.array([[1] * 7, [0] * 7], np.int8)
    logits = torch.full((2, 7, 3), 0.0)
    calibrate(net, logits, logits, severity, torch.ones(7, 3))
    assert torch.allclose(net.slopes, torch.ones(7), atol=0.05)
    assert torch.allclose(net.shifts[:, 0], torch.zeros(7), atol=0.05)


@pytest.mark.parametrize(("better", "share"), [("linear", 1.0), ("convolutional", 0.0), ("neither", 0.5)])
def test_the_judge_that_is_right_has_the_say(net: SkinNet, better: str, share: float) -> None:
    severity, good = rare(0.3, 3)
    noise = torch.randn(good.shape[:2], generator=torch.Generator().manual_seed(1))[..., None] * 3 - torch.arange(3.0)
    judges = {"linear": (good, noise), "convolutional": (noise, good), "neither": (good, good)}[better]
    calibrate(net, *judges, severity, positive_weights(severity))
    assert net.share.item() == share


def test_severities_keep_their_order_and_what_is_unknown_counts_for_nothing(net: SkinNet) -> None:
    severity, logits = rare(0.2, 4)
    severity[: FACES // 2] = UNKNOWN
    weights = positive_weights(severity)
    calibrate(net, logits, logits, severity, weights)
    known = net.shifts.clone()
    logits[: FACES // 2] += 100
    calibrate(net, logits, logits, severity, weights)
    assert torch.equal(net.shifts, known)
    assert (net.shifts.diff(dim=-1) < 0).all()
    stored = calibration_of(net)
    assert tuple(stored) == CONDITIONS
    assert stored[CONDITIONS[2]].shifts == pytest.approx(known[2].tolist())


def test_the_linear_judge_finds_what_tells_conditions_apart() -> None:
    random = np.random.default_rng(5)
    severity = random.integers(0, 4, (400, 7)).astype(np.int8)
    statistics = random.normal(0, 1, (400, 40)).astype(np.float32) * 50 + 7
    statistics[:, :7] += 60.0 * severity
    statistics[:, 39] = 3.0  # the same everywhere
    answers = Answers(np.zeros((400, 1, 1, 2), np.float16), statistics)
    ids = [str(number) for number in range(400)]
    training = FoldData(ids, ids, np.arange(400), severity, None)  # type: ignore[arg-type]
    judge = LinearJudge(40, 7)
    fit(judge, answers, training, positive_weights(severity))
    logits = judge(torch.from_numpy(statistics))
    assert (logits.diff(dim=-1) < 0).all()
    right = (logits[..., 0] > 0).numpy() == (severity >= 1)
    assert right.mean() > 0.8
    assert judge.weights[:7].diagonal().abs().min() > 3 * judge.weights[7:].abs().mean()
    assert judge.weights[39].abs().max() < 1e-3
