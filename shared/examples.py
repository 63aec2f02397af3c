"""One example of every event, as its sender publishes it: together, the way of one campaign and one of its images.

The reference pages and schemas show them; a test sends each.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from uuid import UUID, uuid5

from shared.events import (
    CampaignChange,
    Event,
    FailureReason,
    ImageAugmented,
    ImageFailed,
    ImageGenerated,
    ImageLabeled,
    ImageRequested,
    ModelPromoted,
    ModelTrained,
    QuotaMet,
    RebalanceChangeRequested,
    RebalanceRejected,
    RebalanceRequested,
    Subject,
    TrainingFailed,
    TrainingFailure,
    TrainingProgressed,
    Variant,
    Verdict,
)
from shared.message import Message
from shared.taxonomy import AgeBand, Condition, Light, Severity, Sex, View, generated_image_id

CAMPAIGN = UUID("6f1d3c0a-8b57-4a0e-9c5e-2f6f0d1b7a44")
SLOT = uuid5(CAMPAIGN, "slot-0")
FAILED_SLOT = uuid5(CAMPAIGN, "slot-1")
GATE_REASON = (
    "Mean balanced accuracy +3.7 points from the live model's, between +0.2 and +7.1 (90% interval), on the same 176 "
    "test images, over 7 conditions. It is not worse."
)
IMAGE = generated_image_id(SLOT, 1)


def example_message(event: Event, source: str) -> Message:
    """The example in its envelope, the same whenever it is asked for."""
    return Message(
        event,
        source,
        id="b2c6a5de-6a0f-4d7e-9a39-1f4b8f2f9c10",
        time=datetime(2026, 11, 23, 9, 30, tzinfo=UTC),
        correlation_id="rebalance-november",
        traceparent="00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
    )


def examples() -> dict[str, Event]:
    """The example of every event, by the event's name."""
    events = (*_asking(), *_making(), *_training())
    return {event.name(): event for event in events}


def _asking() -> tuple[Event, ...]:
    return (
        RebalanceRequested(
            target_per_condition=200, conditions=("acne", "redness"), campaign_id=CAMPAIGN, max_cost_usd=25.0
        ),
        RebalanceChangeRequested(campaign_id=CAMPAIGN, change=CampaignChange.PAUSE, reason="the key is being renewed"),
        RebalanceRejected(
            campaign_id=UUID("0d9c1f52-53a7-4f0e-8d3b-7f3f3f2a9e21"),
            code="over_budget",
            reason="520 images cost $15.60; the budget is $10.00. Raise max_cost_usd, or lower the targets.",
        ),
        ImageRequested(
            campaign_id=CAMPAIGN,
            slot_id=SLOT,
            attempt=1,
            image_id=IMAGE,
            condition=Condition.ACNE,
            severity=Severity.MODERATE,
            subject=Subject(
                age_band=AgeBand.ADULT, skin_tone=6, sex=Sex.FEMALE, light=Light.DAYLIGHT, view=View.FRONTAL
            ),
            price_usd=0.03,
            quality="medium",
        ),
    )


def _making() -> tuple[Event, ...]:
    return (
        ImageGenerated(
            campaign_id=CAMPAIGN,
            slot_id=SLOT,
            attempt=1,
            image_id=IMAGE,
            key=f"images/{IMAGE}/original.png",
            sha256=_digest("original"),
            width=1024,
            height=1024,
            media_type="image/png",
            prompt="A realistic, unretouched close-up smartphone photograph of the face of one woman, 30-44 years …",
            prompts_sha256=_digest("prompts"),
            provider="openai",
            model="gpt-image-2",
            provider_request_id="req_7d1f0c9be2a84b5c",
            cost_usd=0.03,
            quality={"provider_calls": 1.0},
        ),
        ImageFailed(
            campaign_id=CAMPAIGN,
            slot_id=FAILED_SLOT,
            attempt=1,
            image_id=generated_image_id(FAILED_SLOT, 1),
            reason=FailureReason.MODERATION_BLOCKED,
            detail="The request was rejected by the provider's safety system.",
        ),
        ImageLabeled(
            image_id=IMAGE,
            key=f"images/{IMAGE}/original.png",
            verdict=Verdict.ACCEPTED,
            labels={Condition.ACNE: Severity.MODERATE},
            reviewer="gate",
        ),
        ImageAugmented(
            image_id=IMAGE,
            variants=(
                Variant(
                    operation="hflip",
                    key=f"images/{IMAGE}/hflip.png",
                    sha256=_digest("hflip"),
                    width=1024,
                    height=1024,
                ),
            ),
        ),
    )


def _training() -> tuple[Event, ...]:
    dataset, run, version = "ds-3b0c44298fc1c149", "run-5f2a9c01d7e4", "m-5f2a9c01d7e4"
    key, sha256 = f"models/{version}/model.onnx", _digest("model")
    candidate = {"overall": {"n": 176, "balanced_accuracy": 0.837, "recall": 0.79, "f1": 0.649}}
    live = {"overall": {"n": 176, "balanced_accuracy": 0.8, "recall": 0.731, "f1": 0.605}}
    return (
        QuotaMet(
            campaign_id=CAMPAIGN,
            dataset_version=dataset,
            manifest_key=f"datasets/{dataset}/manifest.jsonl",
            counts=dict.fromkeys(Condition, 160) | {Condition.ACNE: 200, Condition.REDNESS: 200},
            images=1174,
            variants=1172,
            without_variants=2,
        ),
        TrainingProgressed(
            run_id=run,
            campaign_id=CAMPAIGN,
            epoch=3,
            epochs=17,
            train_loss=0.521,
            validation_loss=0.548,
            metrics={"validation_accuracy": 0.752, "validation_balanced_accuracy": 0.731},
        ),
        TrainingFailed(
            run_id="run-81c3de0a9b24",
            campaign_id=UUID("c2a6f0de-1f0b-4b1e-8a53-2f7f3f0c9d11"),
            dataset_version="ds-9c1185a5c5e9fc54",
            reason=TrainingFailure.DATASET_TOO_SMALL,
            detail="The test fold has 1 images; 2 are needed. Import or generate more images, and train again.",
        ),
        ModelTrained(
            run_id=run,
            campaign_id=CAMPAIGN,
            dataset_version=dataset,
            version=version,
            key=key,
            sha256=sha256,
            metrics={"test": candidate, "best_epoch": 12},
            comparison={
                "fold": "test",
                "candidate": candidate,
                "live": live,
                "live_version": "m-0c77b1a2e9d3",
                "difference": {
                    "difference": 0.037,
                    "lower": 0.002,
                    "upper": 0.071,
                    "conditions": list(Condition),
                    "left_out": [],
                    "images": 176,
                    "roots": 176,
                },
                "verdict": "not_worse",
                "reason": GATE_REASON,
            },
            promoted=True,
            reason=GATE_REASON,
        ),
        ModelPromoted(
            version=version,
            key=key,
            sha256=sha256,
            generation=4,
            promoted_at=datetime(2026, 11, 23, 10, 15, tzinfo=UTC),
            reason=GATE_REASON,
        ),
    )


def _digest(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()
