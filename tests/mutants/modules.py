"""Which modules are mutated, and which unit tests must notice."""

from __future__ import annotations

LEAST_SHARE = 0.9  # of a module's mutants that its tests must kill, equivalent ones counted as survivors

MODULES: dict[str, tuple[str, ...]] = {
    "services/labeler_api/campaigns/slot.py": ("tests/unit/labeler_api/campaigns/test_slot.py",),
    "services/labeler_api/campaigns/campaign.py": ("tests/unit/labeler_api/campaigns/test_campaign.py",),
    "services/labeler_api/campaigns/prices.py": ("tests/unit/labeler_api/campaigns/test_prices.py",),
    "services/labeler_api/campaigns/plan.py": ("tests/unit/labeler_api/campaigns/test_plan.py",),
    "services/trainer/measures.py": ("tests/unit/trainer/test_measures.py",),
    "services/trainer/scores.py": ("tests/unit/trainer/test_scores.py",),
    "shared/imaging.py": ("tests/unit/shared/test_imaging.py", "tests/unit/shared/pictures/test_jpeg.py"),
    "shared/pictures/colour.py": ("tests/unit/shared/test_imaging.py", "tests/unit/shared/pictures/test_colour.py"),
    "shared/pictures/opacity.py": ("tests/unit/shared/test_imaging.py",),
    "shared/message.py": ("tests/unit/shared/test_message.py",),
    "shared/outcomes.py": ("tests/unit/shared/test_outcomes.py",),
}
"""Path of a module → its unit tests. A module belongs here if it neither waits nor reads or writes anything."""
