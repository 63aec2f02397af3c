"""The document that says how far reviewers agree, as the ledger's reviews have it."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection

from services.labeler_api.campaigns.agreement import Agreed, Opinion, overall, pairs_of
from services.labeler_api.ledger import counters
from services.labeler_api.ledger.database import rows_of
from services.labeler_api.ledger.tables import image_table, review_table
from services.labeler_api.ledger.transaction import Row
from services.labeler_api.pictures.images import Status
from shared.documents.agreement import AgreedDocument, AgreementDocument, ReviewerPair
from shared.events import Verdict
from shared.taxonomy import Condition

_before = review_table.c.before
_INDEPENDENT = (  # of who adjudicates or corrects, the others' verdicts are known
    review_table.c.undone_at.is_(None),
    _before["status"].as_string() == Status.PENDING.value,
    _before["disputed"].as_boolean().is_(False),
)
_BY_SEVERAL = (
    sa.select(review_table.c.image_id)
    .where(*_INDEPENDENT)
    .group_by(review_table.c.image_id)
    .having(sa.func.count(review_table.c.reviewer.distinct()) > 1)
)
_OPINIONS = (
    sa.select(
        review_table.c.image_id,
        review_table.c.reviewer,
        review_table.c.verdict,
        review_table.c.labels,
        image_table.c.complete,
    )
    .join(image_table, image_table.c.id == review_table.c.image_id)
    .where(*_INDEPENDENT, review_table.c.image_id.in_(_BY_SEVERAL))
    .order_by(review_table.c.sequence)
)
_DISPUTED = sa.select(sa.func.count()).where(image_table.c.status == Status.PENDING.value, image_table.c.disputed)


async def agreement(connection: AsyncConnection, *, required: int) -> AgreementDocument:
    """How far reviewers agree. `required`: reviewers whose verdicts an image needs."""
    pairs = pairs_of(map(_opinion, await rows_of(connection, _OPINIONS)))
    pending = f"images/{Status.PENDING}"
    return AgreementDocument(
        reviews_per_image=required,
        pending=(await counters.totals(connection, pending)).get(pending, 0),
        disputed=(await connection.execute(_DISPUTED)).scalar_one(),
        verdicts=_document(overall([pair.verdicts for pair in pairs])),
        conditions={c: _document(overall([pair.conditions[c] for pair in pairs])) for c in Condition},
        pairs=tuple(
            ReviewerPair(
                reviewers=pair.reviewers,
                verdicts=_document(pair.verdicts),
                conditions={condition: _document(agreed) for condition, agreed in pair.conditions.items()},
            )
            for pair in pairs
        ),
    )


def _opinion(row: Row) -> Opinion:
    absent: int | None = 0 if row["complete"] else None
    said = {condition: row["labels"].get(condition.value, absent) for condition in Condition}
    return Opinion(
        image_id=row["image_id"],
        reviewer=row["reviewer"],
        accepted=row["verdict"] == Verdict.ACCEPTED,
        severities={condition: severity for condition, severity in said.items() if severity is not None},
    )


def _document(agreed: Agreed) -> AgreedDocument:
    return AgreedDocument(images=agreed.images, kappa=agreed.kappa)
