"""What the HTTP API answers with: the ledger's rows as documents."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns.campaign import FILLING
from services.labeler_api.campaigns.plan import Quota
from services.labeler_api.campaigns.prices import usd, worst_cost
from services.labeler_api.ledger import counters
from services.labeler_api.ledger.database import row_of, rows_of
from services.labeler_api.ledger.paging import page_of
from services.labeler_api.ledger.tables import (
    campaign_table,
    dataset_table,
    epoch_table,
    image_table,
    label_table,
    model_table,
    review_table,
    variant_table,
)
from services.labeler_api.pictures.framing import frame_in
from services.labeler_api.pictures.images import Status
from shared.documents.balance import Balance, ConditionBalance, ImageCounts, Severities
from shared.documents.images import DatasetDocument, ImageDetail, ImageDocument, ImagePage, VariantDocument
from shared.documents.models import LiveModelDocument, Models, ModelSummary
from shared.documents.rebalances import (
    Campaign,
    CampaignList,
    CampaignQuota,
    EpochDocument,
    SlotCounts,
    TrainedModel,
    TrainingDocument,
)
from shared.errors import InvalidRequest, NotFound
from shared.model_card import LiveModel
from shared.taxonomy import CLEAR, Condition, Severity, severity_text

UNGRADED = "unknown"


def moment(seconds: float) -> datetime:
    """Seconds since the epoch as a time in UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def label_names(labels: Mapping[str, int | None]) -> dict[str, str | None]:
    """Labels with severities by name; None: present, not graded."""
    return {name: None if value is None else Severity(value).label for name, value in labels.items()}


async def balance(connection: AsyncConnection) -> Balance:
    """How many images each condition has, by status and severity."""
    found = await counters.totals(connection, "images/", "labels/accepted/", "shows/", "variants", "unaugmented")

    def of_condition(condition: Condition) -> ConditionBalance:
        accepted = {s.label: found.get(f"labels/accepted/{condition}/{int(s)}", 0) for s in Severity}
        ungraded = found.get(f"labels/accepted/{condition}/0", 0)
        shown = {s.value: found.get(f"shows/{s}/{condition}", 0) for s in Status}
        return ConditionBalance(**shown, severities=Severities(**accepted, unknown=ungraded))

    return Balance(
        conditions={condition: of_condition(condition) for condition in Condition},
        images=ImageCounts(**{s.value: found.get(f"images/{s}", 0) for s in Status}),
        clear=ImageCounts(**{s.value: max(0, found.get(f"shows/{s}/{CLEAR}", 0)) for s in Status}),
        variants=found.get("variants", 0),
        unaugmented=found.get("unaugmented", 0),
    )


async def campaign(connection: AsyncConnection, campaign_id: UUID) -> Campaign:
    """A campaign, its progress, its training and its model. Raises NotFound."""
    row = await row_of(connection, sa.select(campaign_table).where(campaign_table.c.id == campaign_id))
    if row is None:
        raise NotFound(f"There is no campaign {campaign_id}.")
    return await _campaign_document(connection, row)


async def campaign_list(connection: AsyncConnection, limit: int) -> CampaignList:
    """The latest campaigns, newest first, each with the last epoch of its training only."""
    query = sa.select(campaign_table).order_by(campaign_table.c.sequence.desc()).limit(limit)
    rows = await rows_of(connection, query)
    return CampaignList(rebalances=tuple([await _campaign_document(connection, row, history=False) for row in rows]))


async def _campaign_document(connection: AsyncConnection, row: Mapping[str, Any], *, history: bool = True) -> Campaign:
    ends = await counters.totals(connection, f"campaign/{row['id']}/")
    spent = await counters.totals(connection, f"spent/{row['id']}")
    quotas = []
    for quota in row["quotas"]:
        severity = Quota.of_document(quota).severity
        name = f"{quota['condition']}/{int(severity or 0)}"
        counted, failed = (ends.get(f"campaign/{row['id']}/{s}/{name}", 0) for s in ("counted", "failed"))
        told = {key: quota[key] for key in ("condition", "severity", "count")}
        quotas.append(CampaignQuota(**told, counted=counted, failed=failed))
    counted, failed = sum(quota.counted for quota in quotas), sum(quota.failed for quota in quotas)
    worst = row["committed_micro_usd"] if row["state"] not in FILLING else _worst(row)
    return Campaign(
        id=str(row["id"]),
        state=row["state"],
        reason=row["reason"],
        targets=row["targets"],
        review=row["review"],
        quotas=tuple(quotas),
        correlation_id=row["correlation_id"],
        slots=SlotCounts(total=row["total"], counted=counted, failed=failed, open=row["total"] - counted - failed),
        spent_usd=usd(sum(spent.values())),
        worst_cost_usd=usd(worst),
        max_attempts=row["max_attempts"],
        created_at=moment(row["created_at"]),
        met_at=None if row["met_at"] is None else moment(row["met_at"]),
        dataset_version=row["dataset_version"],
        training=await _training(connection, row["id"], history=history),
        model=await _model(connection, row["model_version"]),
    )


def _worst(row: Mapping[str, Any]) -> int:
    return worst_cost(row["total"], row["price_micro_usd"], row["max_attempts"], row["max_cost_micro_usd"])


async def _training(connection: AsyncConnection, campaign_id: UUID, *, history: bool) -> TrainingDocument | None:
    """The last epoch of a campaign's training, and with `history` every one."""
    query = sa.select(epoch_table).where(epoch_table.c.campaign_id == campaign_id)
    query = query.order_by(epoch_table.c.epoch.desc()).limit(None if history else 1)
    rows = (await rows_of(connection, query))[::-1]
    if not rows:
        return None
    epochs = tuple(EpochDocument(**{name: row[name] for name in EpochDocument.model_fields}) for row in rows)
    every = {"history": epochs} if history else {}
    return TrainingDocument(run_id=rows[-1]["run_id"], **dict(epochs[-1]), **every)


async def _model(connection: AsyncConnection, version: str | None) -> TrainedModel | None:
    if version is None:
        return None
    row = await row_of(connection, sa.select(model_table).where(model_table.c.version == version))
    return None if row is None else TrainedModel(**{name: row[name] for name in TrainedModel.model_fields})


async def models(connection: AsyncConnection, live: LiveModel | None, stored: Collection[str]) -> Models:
    """Every model that was trained, newest first, and the live one. `stored`: keys that the store has."""
    rows = await rows_of(connection, sa.select(model_table).order_by(model_table.c.created_at.desc()))
    summaries = (
        ModelSummary(
            version=row["version"],
            created_at=moment(row["created_at"]),
            dataset_version=row["dataset_version"],
            promoted=row["promoted"],
            sha256=row["sha256"],
            metrics=row["metrics"],
            reason=row["reason"],
            live=live is not None and row["version"] == live.version,
            stored=row["key"] in stored,
        )
        for row in rows
    )
    return Models(live=None if live is None else live_model(live), models=tuple(summaries))


def live_model(live: LiveModel) -> LiveModelDocument:
    """The live model, every field of it."""
    return LiveModelDocument(**dict(live))


async def dataset(connection: AsyncConnection, version: str) -> DatasetDocument:
    """A published dataset version. Raises NotFound."""
    row = await row_of(connection, sa.select(dataset_table).where(dataset_table.c.version == version))
    if row is None:
        raise NotFound(f"There is no dataset version '{version}'.")
    return DatasetDocument(**{**row, "created_at": moment(row["created_at"])})


async def image(connection: AsyncConnection, image_id: UUID) -> ImageDetail:
    """One image with its variants. Raises NotFound."""
    row = await image_row(connection, image_id)
    listed = sa.select(variant_table).where(variant_table.c.image_id == image_id).order_by(variant_table.c.operation)
    variants = (
        VariantDocument(**{name: found[name] for name in VariantDocument.model_fields})
        for found in await rows_of(connection, listed)
    )
    return ImageDetail(
        **dict(image_document(row)),
        prompt=row["prompt"],
        warnings=_warnings(row),
        variants=tuple(variants),
        frame=frame_in(row),
        frame_reviewer=row["square_reviewer"],
    )


def _warnings(row: Mapping[str, Any]) -> tuple[str, ...]:
    """What whoever brought an image in must know of it."""
    found = []
    twin = row["near_duplicate_of"]
    if twin is not None and row["root_id"] != row["id"]:
        found.append(f"near_duplicate: it looks the same as image {twin}, and shares its fold")
    elif twin is not None:
        found.append(
            f"two_folds: it looks the same as image {twin}, and belongs to another fold as well; so it is kept out of "
            "the dataset unless a person accepts it, and never in validation or test"
        )
    if row["frame"] is not None and row["frame"]["found"] is False:
        found.append("no_face: no face was found, so models see its middle square")
    return tuple(found)


async def image_row(connection: AsyncConnection, image_id: UUID) -> dict[str, Any]:
    """An image's row. Raises NotFound."""
    row = await row_of(connection, sa.select(image_table).where(image_table.c.id == image_id))
    if row is None:
        raise NotFound(f"There is no image {image_id}.")
    return row


def image_document(row: Mapping[str, Any]) -> ImageDocument:
    """One image, as lists show it."""
    shown = {
        name: severity_text(Condition(name), Severity(value)) if value else UNGRADED
        for name, value in row["labels"].items()
    }
    return ImageDocument(
        id=str(row["id"]),
        status=row["status"],
        labels=label_names(row["labels"]),
        labels_text=shown,
        complete=row["complete"],
        skin_tone=row["skin_tone"],
        fold=row["fold"],
        root_id=str(row["root_id"]),
        group=row["group_name"],
        near_duplicate_of=None if row["near_duplicate_of"] is None else str(row["near_duplicate_of"]),
        sha256=row["sha256"],
        media_type=row["media_type"],
        width=row["width"],
        height=row["height"],
        provider=row["provider"],
        cost_usd=usd(row["cost_micro_usd"]),
        quality=row["quality"],
        reviewer=row["reviewer"],
        reason=row["reason"],
        disputed=row["disputed"],
        augmented=row["augmented_at"] is not None,
        created_at=moment(row["created_at"]),
    )


async def image_list(
    connection: AsyncConnection,
    *,
    status: Status | None,
    condition: Condition | None,
    severity: Severity | None,
    tone: int | None,
    awaiting: str | None,
    disputed: bool,
    cursor: int,
    limit: int,
) -> ImagePage:
    """A page of images in the order they came, and the cursor of the next page.

    `awaiting`: only those that wait for this reviewer's verdict; `disputed`: only those on which reviewers disagree.
    """
    query = sa.select(image_table)
    if status is not None:
        query = query.where(image_table.c.status == status.value)
    if condition is not None:
        query = query.join(label_table, label_table.c.image_id == image_table.c.id).where(
            label_table.c.condition == condition.value
        )
        if severity is not None:
            query = query.where(label_table.c.severity == int(severity))
    elif severity is not None:
        raise InvalidRequest("'severity' needs 'condition'.")
    if tone is not None:
        query = query.where(image_table.c.skin_tone == tone)
    if awaiting is not None:
        mine = review_table.c.reviewer == awaiting
        said = sa.exists().where(review_table.c.image_id == image_table.c.id, mine, review_table.c.undone_at.is_(None))
        query = query.where(image_table.c.status == Status.PENDING.value, ~said)
    if disputed:  # which only a pending one is: the index on the status finds it
        query = query.where(image_table.c.status == Status.PENDING.value, image_table.c.disputed)
    rows, following = await page_of(connection, query, image_table, after=cursor, most=limit)
    return ImagePage(
        images=tuple(image_document(row) for row in rows),
        next_cursor=None if following is None else str(following),
    )
