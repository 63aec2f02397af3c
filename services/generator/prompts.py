"""The prompt of an order, in the words that dermatology texts use for each severity."""

from __future__ import annotations

from services.generator.provider import Order
from shared.events import FailureReason
from shared.taxonomy import Condition, Severity, Sex, View

_ABOUT_NO_PICTURE = frozenset(FailureReason) - {FailureReason.MODERATION_BLOCKED}
"""Reasons of lost attempts that no other picture would mend: a prompt that told them would only confuse."""

_SIGNS: dict[Condition, dict[Severity, str]] = {
    Condition.ACNE: {
        Severity.MILD: "a few comedones and small papules on cheeks and forehead",
        Severity.MODERATE: "many papules and some pustules on cheeks, forehead and chin",
        Severity.SEVERE: "dense inflamed papules, pustules and nodules over cheeks, forehead and chin",
    },
    Condition.REDNESS: {
        Severity.MILD: "faint diffuse erythema of cheeks and nose",
        Severity.MODERATE: "clearly visible diffuse erythema of cheeks, nose and chin",
        Severity.SEVERE: "intense diffuse erythema of the central face with visible fine vessels",
    },
    Condition.PORE_SIZE: {
        Severity.MILD: "slightly enlarged pores on the nose",
        Severity.MODERATE: "clearly enlarged pores on nose and inner cheeks",
        Severity.SEVERE: "very large, conspicuous pores over nose and cheeks",
    },
    Condition.TEXTURED_SKIN: {
        Severity.MILD: "slightly uneven skin texture with small bumps",
        Severity.MODERATE: "uneven skin texture with bumps and shallow scars",
        Severity.SEVERE: "rough, markedly uneven skin texture with many bumps and pitted scars",
    },
    Condition.HYPERPIGMENTATION: {
        Severity.MILD: "a few faint brown patches",
        Severity.MODERATE: "several clearly visible brown patches on cheeks and forehead",
        Severity.SEVERE: "large, dark, irregular brown patches on cheeks, forehead and upper lip",
    },
    Condition.FINE_LINES: {
        Severity.MILD: "faint fine lines at the outer corners of the eyes",
        Severity.MODERATE: "visible fine lines around eyes and mouth",
        Severity.SEVERE: "many pronounced fine lines around eyes, mouth and on the forehead",
    },
    Condition.AGING: {
        Severity.MILD: "early signs of ageing: slight nasolabial folds",
        Severity.MODERATE: "moderate signs of ageing: nasolabial folds, under-eye bags and forehead furrows",
        Severity.SEVERE: "advanced signs of ageing: deep folds, under-eye bags, furrows and sagging jowls",
    },
}

_VIEWS = {
    View.FRONTAL: "facing the camera",
    View.LEFT: "head turned slightly left",
    View.RIGHT: "head turned slightly right",
}


def prompt_of(order: Order) -> str:
    """The prompt of an order. Reasons of earlier rejections become instructions, so that a retry differs."""
    subject = order.subject
    person = "woman" if subject.sex is Sex.FEMALE else "man"
    sentences = [
        f"A realistic, unretouched close-up smartphone photograph of the face of one {person}, "
        f"{subject.age_band.value} years old, skin tone {subject.skin_tone} of 10 on the Monk skin tone scale "
        "(1 lightest, 10 darkest).",
        f"The skin shows {order.severity.label} {order.condition.value.replace('_', ' ')}: "
        f"{_SIGNS[order.condition][order.severity]}. No other skin condition.",
        f"{_VIEWS[subject.view].capitalize()}, {subject.light.value.replace('_', ' ')} light, whole face in frame, "
        "in focus, natural skin detail, no beauty filter, no text.",
    ]
    reasons = [told for told in order.earlier_rejections if told.partition(":")[0] not in _ABOUT_NO_PICTURE]
    if reasons:
        told = "; ".join(reasons[-3:])
        sentences.append(f"Earlier pictures were rejected for this: {told}. Avoid that.")
    return " ".join(sentences)
