"""The counters, reckoned anew from the rows that they are about."""

from __future__ import annotations

import contextlib
from collections import Counter
from typing import Any, Protocol

from shared.taxonomy import Severity
from tests.eventually import eventually


class Ledger(Protocol):
    """Whatever can read the ledger's tables."""

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """Every row of a table."""
        ...


async def recount(ledger: Ledger) -> dict[str, int]:
    """What every counter must be, the money spent and the gate's verdicts aside."""
    expected: Counter[str] = Counter()
    images = {row["id"]: row for row in await ledger.rows("images")}
    for row in images.values():
        expected[f"images/{row['status']}"] += 1
        expected["unaugmented"] += row["status"] == "accepted" and row["augmented_at"] is None
    for row in await ledger.rows("image_labels"):
        status = images[row["image_id"]]["status"]
        expected[f"labels/{status}/{row['condition']}/{row['severity'] or 0}"] += 1
        expected[f"shows/{status}/{row['condition']}"] += 1
        tone = images[row["image_id"]]["skin_tone"]
        if status == "accepted" and tone is not None:
            expected[f"tones/{row['condition']}/{row['severity'] or 0}/{tone}"] += 1
    for row in images.values():
        if row["complete"] and not row["labels"]:
            expected[f"shows/{row['status']}/clear"] += 1
            if row["status"] == "accepted" and row["skin_tone"] is not None:
                expected[f"tones/clear/0/{row['skin_tone']}"] += 1
    for row in await ledger.rows("reviews"):
        expected[f"reviews/{row['verdict']}/person"] += 1
    for row in await ledger.rows("variants"):
        expected["variants"] += images[row["image_id"]]["status"] == "accepted"
    slots = await ledger.rows("slots")
    made = Counter((row["campaign_id"], row["condition"], row["severity"]) for row in slots)
    toned = Counter(
        (row["campaign_id"], row["condition"], row["severity"], row["subject"]["skin_tone"]) for row in slots
    )
    for campaign in await ledger.rows("campaigns"):
        for quota in campaign["quotas"]:
            condition = quota["condition"]
            severity = 0 if quota["severity"] is None else int(Severity[quota["severity"].upper()])
            unmade = quota["count"] - made[campaign["id"], condition, severity]
            if campaign["state"] in ("running", "paused"):
                expected[f"reserved/{condition}"] += unmade
                for tone, count in enumerate(quota.get("tones", ()), start=1):
                    left = count - toned[campaign["id"], condition, severity, tone]
                    expected[f"reserved_tones/{condition}/{severity}/{tone}"] += left
            else:  # only one that is cancelled can lack some
                expected[f"campaign/{campaign['id']}/failed/{condition}/{severity}"] += unmade
                assert unmade == 0 or campaign["state"] == "cancelled"
    for row in slots:
        if row["state"] in ("open", "review"):
            expected[f"reserved/{row['condition']}"] += 1
            expected[f"reserved_tones/{row['condition']}/{row['severity']}/{row['subject']['skin_tone']}"] += 1
        if row["state"] in ("counted", "failed"):
            expected[f"campaign/{row['campaign_id']}/{row['state']}/{row['condition']}/{row['severity']}"] += 1
    return {name: value for name, value in expected.items() if value}


async def counted(ledger: Ledger) -> dict[str, int]:
    """What the counters are, the money spent and the gate's verdicts aside."""
    found: Counter[str] = Counter()
    for row in await ledger.rows("counters"):
        found[row["name"]] += row["value"]
    aside = ("spent/", "paid", "reviews/accepted/gate", "reviews/rejected/gate")
    return {name: value for name, value in found.items() if value and not name.startswith(aside)}


async def assert_counters(ledger: Ledger) -> None:
    """Every counter is what its rows say, and labels are the same in both places that keep them.

    What is under way comes between two looks: they are repeated, since nothing mends what is wrong.
    """
    found: dict[str, int] = {}
    expected: dict[str, int] = {}

    async def agree() -> bool:
        nonlocal found, expected
        with contextlib.suppress(KeyError):  # an image came between
            found, expected = await counted(ledger), await recount(ledger)
            return found == expected
        return False

    with contextlib.suppress(AssertionError):  # for that the two are shown
        await eventually(agree, every_s=0.02)
    assert found == expected
    await eventually(lambda: _labels_agree(ledger), "Every image's labels are in both places", every_s=0.02)


async def _labels_agree(ledger: Ledger) -> bool:
    listed: dict[object, dict[str, int | None]] = {row["id"]: {} for row in await ledger.rows("images")}
    with contextlib.suppress(KeyError):
        for row in await ledger.rows("image_labels"):
            listed[row["image_id"]][row["condition"]] = row["severity"]
        return listed == {row["id"]: row["labels"] for row in await ledger.rows("images")}
    return False
