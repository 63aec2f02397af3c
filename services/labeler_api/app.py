"""Puts labeler-api together; the only place here that chooses adapters."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from services.labeler_api.campaigns.closing import Closer
from services.labeler_api.campaigns.portions import Portions
from services.labeler_api.campaigns.reconciler import Reconciler
from services.labeler_api.handlers import HANDLERS
from services.labeler_api.ledger.database import Database
from services.labeler_api.ledger.group_commit import GroupCommit
from services.labeler_api.ledger.ledger import Ledger
from services.labeler_api.ledger.outbox import SOURCE
from services.labeler_api.ledger.relay import Relay
from services.labeler_api.metrics import LedgerMetrics
from services.labeler_api.settings import LabelerSettings
from services.labeler_api.web.guard import sign_in_guard
from services.labeler_api.web.http_api import LabelerHttp
from services.labeler_api.webhooks.sender import WebhookSender
from services.labeler_api.webhooks.targets import targets_of
from shared.adapters import open_blobs, open_bus
from shared.admission import PixelAdmission
from shared.blobs import Blobs
from shared.bus import Bus
from shared.faces import detector_from
from shared.imaging import MAX_BYTES
from shared.metrics import MetricRegistry
from shared.service import Service, subscribe_all

PREFETCH = 40  # events of a kind in hand at a time: what a transaction may find to share (group_commit.py)


def build(settings: LabelerSettings, *, bus: Bus | None = None, blobs: Blobs | None = None) -> Service:
    """The service, not yet started. `bus` and `blobs` are given where several services share them.

    Raises ConfigurationError where faces are to be looked for and what looks for them is not installed, where nobody
    knows what an image costs, and where a webhook's address or secret is none.
    """
    _ = settings.price_usd  # now, not with the first plan
    bus = bus or open_bus(settings, service=SOURCE)
    blobs = blobs or open_blobs(settings)
    database = Database(settings.database)
    relay = Relay(database, bus)
    closer = Closer(database, blobs, settings, relay)
    portions = Portions(database, settings, relay)
    reconciler = Reconciler(database, settings, relay)
    webhooks = [WebhookSender(database, target) for target in targets_of(settings)]
    group = GroupCommit(database)
    ledger = Ledger(
        database,
        group,
        blobs,
        settings,
        on_change=(relay.wake, portions.wake, closer.wake, *(sender.wake for sender in webhooks)),
        admission=PixelAdmission(settings.decode_pixels),
        detector=detector_from(settings.faces),
    )
    registry = MetricRegistry()
    metrics = LedgerMetrics(registry, database)

    @contextlib.asynccontextmanager
    async def ledger_open() -> AsyncIterator[None]:
        try:
            await database.migrate()
            await database.write(relay.unpark)
            if settings.amqp_url is None:
                await reconciler.expect_nothing()
            yield
        finally:
            await group.close()
            await database.close()

    return Service(
        name=SOURCE,
        settings=settings,
        bus=bus,
        blobs=blobs,
        subscriptions=subscribe_all(
            SOURCE,
            HANDLERS,
            ledger,
            prefetch=PREFETCH,
            settings=settings,
        ),
        loops={
            "relay": relay.run,
            "portions": portions.run,
            "closer": closer.run,
            "reconciler": reconciler.run,
            **{f"webhooks {number}": sender.run for number, sender in enumerate(webhooks, 1)},
        },
        configure_http=LabelerHttp(ledger, bus).configure,
        resources=[ledger_open()],
        ready=database.check,
        dependencies={"database": database.check},
        max_request_bytes=MAX_BYTES + 1024 * 1024,
        registry=registry,
        refresh_metrics=metrics.refresh,
        guard=None if settings.reviewers is None else sign_in_guard(settings.reviewers, settings.api_key),
    )
