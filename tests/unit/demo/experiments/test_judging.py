"""What is measured: first choice, recall of clear skin, spreads, differences; and mirror images as they are seen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from services.demo.experiments.arms import ARMS
from services.demo.experiments.figures import markdown_table, points, spread, spreads
from services.demo.experiments.judging import SCORES, first_choice, measure, train_judge
from services.demo.experiments.reproduce_report import CONTRASTS, markdown, summary
from services.demo.experiments.seeing import Seeing, part, with_mirror_images
from services.trainer.data import UNGRADED, UNKNOWN
from services.trainer.settings import TrainerSettings
from services.trainer.train import logits_of
from shared.faces import FaceSearch
from shared.taxonomy import Condition
from tests.unit.trainer.squares import TINY, dataset_of

A, B = 0, 1  # columns of two conditions


def answers(*present: dict[int, float]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Severity probabilities of pictures, from the probability that each condition is present; else 0.1."""
    found = np.zeros((len(present), len(Condition), 4), np.float32)
    for row, shown in enumerate(present):
        for c in range(len(Condition)):
            found[row, c, :2] = 1 - shown.get(c, 0.1), shown.get(c, 0.1)
    return found


def labels(*shown: dict[int, int]) -> np.ndarray[Any, np.dtype[np.int8]]:
    found = np.zeros((len(shown), len(Condition)), np.int8)
    for row, each in enumerate(shown):
        for c, severity in each.items():
            found[row, c] = severity
    return found


def test_first_choice_is_what_is_spoken_for_most_where_one_condition_shows() -> None:
    severity = labels({A: 1}, {A: UNGRADED}, {B: 3}, {A: 1, B: 1}, {}, {A: 1, B: UNKNOWN})
    probabilities = answers({A: 0.4, B: 0.3}, {A: 0.4, B: 0.5}, {B: 0.2}, {A: 0.9}, {A: 0.9}, {B: 0.9})
    found = first_choice(severity, probabilities, [0.5] * 7)
    assert found[A] == 0.5
    assert found[B] == 1.0
    assert found[2:-1] == [None] * 5
    assert found[-1] == pytest.approx(2 / 3)
    often = first_choice(severity, probabilities, [0.5, 0.8, *[0.5] * 5])  # B is said so often that it tells little
    assert (often[A], often[B]) == (1.0, 0.0)
    assert first_choice(severity, probabilities, [0.9, *[0.5] * 6])[A] == 0.0


def test_measures_are_the_trainers_and_clear_skin_counts() -> None:
    severity = labels({A: 1}, {B: 1}, {}, {})
    found = measure(severity, answers({A: 0.9}, {A: 0.9}, {}, {B: 0.7}), [0.5] * 7, [0.5] * 7, list("abcd"))
    acne, redness = (found["conditions"][condition] for condition in ("acne", "redness"))
    assert (acne["recall"], acne["specificity"], acne["accuracy"]) == (1.0, pytest.approx(2 / 3), 0.75)
    assert (redness["recall"], redness["positives"]) == (0.0, 1)
    assert found["overall"]["recall"] == 0.5  # over the two that are shown
    assert found["overall"]["clear_recall"] == 0.5
    by_picture = np.full((4, 7), 0.5)
    by_picture[3, B] = 0.8  # a threshold of its own
    again = measure(severity, answers({A: 0.9}, {A: 0.9}, {}, {B: 0.7}), by_picture, [0.5] * 7, list("abcd"))
    assert again["overall"]["clear_recall"] == 1.0


def test_spreads() -> None:
    assert spread([0.5, 0.7, None]) == {"mean": pytest.approx(0.6), "sd": pytest.approx(2**0.5 / 10), "n": 2}
    assert spread([0.5])["sd"] is None
    assert spread([])["mean"] is None
    assert points(spread([0.5, 0.7])) == "60.0 ± 14.1"
    assert points(spread([0.012]), signed=True) == "+1.2"
    assert points(spread([])) == "–"
    one, other = ({"overall": {"auc": v}, "conditions": {"acne": {"auc": None}}} for v in (0.2, 0.4))
    assert spreads([one, other], ["auc"])["overall"]["auc"]["mean"] == pytest.approx(0.3)
    assert markdown_table(["a", "b"], [["1", "22"]]) == "| a | b  |\n| - | -- |\n| 1 | 22 |\n"


def results(seeds: int) -> list[dict[str, Any]]:
    """Results of every arm whose scores say which arm, fold and seed they are of."""
    found = []
    for seed in range(seeds):
        for number, arm in enumerate(ARMS):

            def scores(base: float) -> dict[str, Any]:
                value = dict.fromkeys(SCORES, base)
                return {"overall": {"n": 9, **value}, "conditions": {c.value: dict(value) for c in Condition}}

            base = 0.5 + number / 100 + seed / 10
            found.append(
                {"arm": arm.name, "seed": seed, "pictures": 9, "test": scores(base), "own": scores(base + 0.05)}
            )
    return found


def test_differences_are_those_of_the_same_seed() -> None:
    found = summary(results(3))
    numbers = {arm.name: number for number, arm in enumerate(ARMS)}
    for title, better, other in CONTRASTS:
        difference = found["contrasts"][title]["auc"]
        assert difference["mean"] == pytest.approx((numbers[better] - numbers[other]) / 100)
        assert difference["sd"] == pytest.approx(0, abs=1e-12)  # though each arm's own is 10 points
    assert found["arms"]["start"]["test"]["overall"]["auc"]["sd"] == pytest.approx(0.1)
    assert found["leakage"]["start_leaking"]["recall"]["mean"] == pytest.approx(0.05)


def test_the_page_has_the_seeds_table_beside_ours() -> None:
    runs = results(2)
    sets = {"start": {"acne": 654}, "balanced": {"acne": 1174}}
    page = markdown({"conditions": list(Condition), "seeds": 2, "sets": sets, "results": runs, **summary(runs)})
    assert "654 pictures unbalanced, 1,174 balanced" in page
    (redness,) = [line for line in page.splitlines() if line.startswith("| redness ") and "~50" in line]
    assert "90–95" in redness
    assert "55.0 ± 7.1" in redness  # start_plain: 50 and 60
    assert all(arm.title in page for arm in ARMS)


def test_mirror_images_are_those_of_the_square_that_is_seen(tmp_path: Path) -> None:
    dataset = dataset_of(3, [Condition.ACNE, Condition.REDNESS])
    dataset.write_encoded(tmp_path / "encoded")
    settings = TrainerSettings(home=tmp_path, training=TINY, backbone="none", faces=FaceSearch.OFF)
    sample = Seeing(settings, tmp_path).sample(dataset.images, tmp_path / "encoded")
    count = len(dataset.images)
    assert len(sample.data) == len(sample.answers) == 2 * count
    rows = np.arange(count)
    assert np.array_equal(sample.data.batch(rows + count), sample.data.batch(rows)[:, :, ::-1])
    assert np.array_equal(sample.data.severity[:count], sample.data.severity[count:])
    grid = sample.answers.grid
    assert np.allclose(grid[count:, :, :, :3], grid[:count, :, ::-1, :3], atol=1e-2)  # mean colours of the cells
    some = part(sample, with_mirror_images(np.array([1, 4]), count))
    assert some.data.image_ids == [str(dataset.images[row].image_id) for row in (1, 4)] * 2
    assert np.array_equal(some.answers.grid[3], grid[4 + count])


def test_without_class_weights_what_is_rare_is_seen_less_often(tmp_path: Path) -> None:
    dataset = dataset_of(16, [Condition.ACNE, Condition.REDNESS])
    for number in range(100):
        dataset.add({}, 5000 + number)
    dataset.write_encoded(tmp_path / "encoded")
    settings = TrainerSettings(home=tmp_path, training=TINY, backbone="none", faces=FaceSearch.OFF)
    seeing = Seeing(settings, tmp_path)
    sample = seeing.sample(dataset.images, tmp_path / "encoded")
    rows = np.arange(len(dataset.images))
    scores = {}
    for weighted in (True, False):
        judge = train_judge(
            part(sample, rows[rows % 3 > 0]),
            part(sample, rows[rows % 3 == 0]),
            TINY.model_copy(update={"class_weights": weighted}),
            seeing.filters,
            tmp_path / f"{weighted}.pt",
        )
        _, convolutional = logits_of(judge.trained.net, sample.answers)  # as learnt, before any calibration
        scores[weighted] = convolutional[:, :2, 0].mean().item()
        assert len(judge.thresholds) == len(Condition)
    assert scores[True] > scores[False] + 0.5
