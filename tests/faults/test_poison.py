"""6. Poison of every kind on every queue: a bounded number of tries, a dead letter each, and the campaign goes on."""

from __future__ import annotations

import json
from uuid import uuid4

from shared.events import (
    EVENTS,
    Event,
    FailureReason,
    ImageAugmented,
    ImageFailed,
    ImageGenerated,
    ImageLabeled,
    ModelPromoted,
    ModelTrained,
    QuotaMet,
    RebalanceRequested,
    Verdict,
)
from shared.message import STRUCTURED_CONTENT_TYPE, Message, encode
from shared.schemas import ROUTES
from shared.taxonomy import derived_id
from tests.faults import end_state
from tests.faults.deployment import Deployment
from tests.faults.end_state import Dead

HEARD_BY_ALL = ModelPromoted.name()  # every replica hears it: nobody keeps what is wrong with it
MAX_TRIES = 3


def malformed(event: str) -> list[tuple[str, bytes]]:
    """Bodies that no handler of an event ever sees, with their content types.

    A rebalance's data that does not fit is none of them: it is answered with RebalanceRejected.
    """
    envelope = {"specversion": "1.0", "id": str(uuid4()), "source": "/poison", "datacontenttype": "application/json"}
    unfit = [] if event == RebalanceRequested.name() else [{**envelope, "type": event, "data": {"image_id": 7}}]
    return [
        ("application/json", b"\xff\xfe not JSON {"),
        (STRUCTURED_CONTENT_TYPE, b"not JSON either"),
        (STRUCTURED_CONTENT_TYPE, b"[]"),
        *((STRUCTURED_CONTENT_TYPE, json.dumps(body).encode()) for body in unfit),
        (STRUCTURED_CONTENT_TYPE, json.dumps({**envelope, "type": "ImageEaten", "data": {}}).encode()),
        (STRUCTURED_CONTENT_TYPE, json.dumps({**envelope, "type": _other(event), "data": {}}).encode()),
    ]


def _other(event: str) -> str:
    return next(name for name in EVENTS if name != event)


def never_handled() -> list[tuple[Event, bool]]:
    """Events of the right shape whose handlers raise whenever they come; whether all their tries are used up."""
    ids = {"campaign_id": uuid4(), "slot_id": uuid4(), "attempt": 1, "image_id": uuid4()}
    missing = "images/no-such-image/original.png"
    generated = ImageGenerated(
        **ids,
        key=missing,
        sha256="0" * 64,
        width=256,
        height=256,
        media_type="image/png",
        prompt="",
        provider="poison",
        model="poison",
        cost_usd=1.0,
    )
    failed = ImageFailed(**ids, reason=FailureReason.TIMEOUT, detail="", cost_usd=1.0)
    labeled = ImageLabeled(image_id=uuid4(), key=missing, verdict=Verdict.ACCEPTED, labels={}, reviewer="poison")
    trained = ModelTrained(  # the database itself refuses so long a version
        run_id="run",
        campaign_id=uuid4(),
        dataset_version="ds-0",
        version="m" * 1000,
        key="models/m/model.onnx",
        sha256="0" * 64,
        metrics={},
        promoted=False,
    )
    return [
        (generated, True),
        (failed, False),
        (ImageAugmented(image_id=uuid4(), variants=()), False),
        (labeled, True),
        (trained, True),
    ]


async def test_poison_ends_in_the_dead_letters_and_nowhere_else(deployment: Deployment) -> None:
    deployment.settings["EVENSKIN_MAX_TRIES"] = str(MAX_TRIES)
    await deployment.start()
    campaign_id = await deployment.request(6)
    dead: list[Dead] = []
    for name, (_, receivers) in ROUTES.items():
        for content_type, body in malformed(name) if receivers != ("operator",) else ():
            await deployment.publish(name, body, content_type)
            if name != HEARD_BY_ALL:
                dead += [Dead(f"{receiver}.{name}", body.decode(errors="replace")) for receiver in receivers]
    tries: dict[str, int] = {}
    for event, all_tries in never_handled():
        wire = encode(Message(event, "poison"))
        await deployment.publish(wire.routing_key, wire.body, wire.content_type)
        (receiver,) = ROUTES[event.name()][1]
        dead.append(Dead(f"{receiver}.{event.name()}", wire.body.decode()))
        tries[wire.body.decode()] = MAX_TRIES if all_tries else 1
    # A dataset that is not there is no poison: its training is given up, and the ledger is told.
    met = QuotaMet(
        campaign_id=uuid4(), dataset_version="ds-0", manifest_key="no/such.jsonl", counts={}, images=0, variants=0
    )
    wire = encode(Message(met, "poison"))
    await deployment.publish(wire.routing_key, wire.body, wire.content_type)
    given_up = frozenset({f"run-{derived_id('training', met.campaign_id, met.dataset_version).hex[:12]}"})
    await end_state.check(deployment, campaign_id, dead=tuple(dead), tries=tries, given_up=given_up)
