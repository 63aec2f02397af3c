"""The vocabulary: names people use, folds, splits and ids."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest

from shared.errors import UnknownCondition, UnknownSeverity
from shared.taxonomy import (
    MONK_SRGB,
    MONK_TONES,
    Condition,
    Fold,
    Severity,
    derived_id,
    fold_of,
    generated_image_id,
    imported_image_id,
    parse_condition,
    parse_severity,
    severity_text,
    split_over_severities,
)

ROOT = UUID("0c5a2f6e-5d9e-4f5c-9a57-9d1f6c6f2a10")


def test_folds_are_divided_70_15_15() -> None:
    folds = Counter(fold_of(UUID(int=n)) for n in range(10_000))
    assert folds[Fold.TRAIN] == pytest.approx(7000, abs=150)
    assert folds[Fold.VALIDATION] == pytest.approx(1500, abs=120)
    assert folds[Fold.TEST] == pytest.approx(1500, abs=120)


def test_a_fold_never_changes() -> None:
    assert [fold_of(UUID(int=n)) for n in (0, 1, 5, 7)] == [fold_of(str(UUID(int=n))) for n in (0, 1, 5, 7)]
    # Written down: what an earlier release called a test image must never become a training image.
    first = {Fold.TRAIN: 0, Fold.VALIDATION: 3, Fold.TEST: 6}
    assert {fold: next(n for n in range(99) if fold_of(UUID(int=n)) is fold) for fold in Fold} == first


@pytest.mark.parametrize(
    ("name", "condition"),
    [
        ("acne", Condition.ACNE),
        (" Acne ", Condition.ACNE),
        ("Pore Size", Condition.PORE_SIZE),
        ("pore-size", Condition.PORE_SIZE),
        ("enlarged pores", Condition.PORE_SIZE),
        ("texture", Condition.TEXTURED_SKIN),
        ("Rosacea", Condition.REDNESS),
        ("dark spots", Condition.HYPERPIGMENTATION),
        ("wrinkles", Condition.FINE_LINES),
        ("ageing", Condition.AGING),
    ],
)
def test_conditions_by_their_other_names(name: str, condition: Condition) -> None:
    assert parse_condition(name) is condition


@pytest.mark.parametrize(
    ("name", "severity"),
    [("mild", 1), ("Slight", 1), ("low", 1), (1, 1), ("2", 2), ("medium", 2), ("SEVERE", 3), ("strong", 3), (3, 3)],
)
def test_severities_by_their_other_names(name: str | int, severity: int) -> None:
    assert parse_severity(name) is Severity(severity)


def test_unknown_names_say_what_is_known() -> None:
    for name in ("", "freckles", "acne\0", "clear"):
        with pytest.raises(UnknownCondition) as raised:
            parse_condition(name)
        assert all(condition in raised.value.advice for condition in Condition)
    for wrong in ("", "0", 0, 4, "deadly", "1.0"):
        with pytest.raises(UnknownSeverity, match="not a severity"):
            parse_severity(wrong)


def test_missing_images_are_split_as_evenly_as_can_be() -> None:
    expected = {134: [45, 45, 44], 130: [44, 43, 43], 122: [41, 41, 40], 1: [1, 0, 0], 0: [0, 0, 0]}
    for missing, shares in expected.items():
        assert list(split_over_severities(missing).values()) == shares


def test_only_texture_s_lowest_severity_is_slight() -> None:
    slight = [(c, s) for c in Condition for s in Severity if severity_text(c, s) != s.label]
    assert slight == [(Condition.TEXTURED_SKIN, Severity.MILD)]


def test_ids_follow_from_what_they_name() -> None:
    assert generated_image_id(ROOT, 1) == generated_image_id(ROOT, 1) != generated_image_id(ROOT, 2)
    assert imported_image_id("ab") == imported_image_id("ab") != imported_image_id("cd")
    assert derived_id("a", "b") == derived_id("a", "b") != derived_id("a", "c")
    assert {generated_image_id(ROOT, 1).version, imported_image_id("ab").version, derived_id("a").version} == {5}


def test_the_monk_scale_goes_from_light_to_dark() -> None:
    assert tuple(MONK_SRGB) == MONK_TONES == tuple(range(1, 11))
    brightness = [sum(MONK_SRGB[tone]) for tone in MONK_TONES]
    assert brightness[3:] == sorted(brightness[3:], reverse=True)
