"""Which requests are the same one: those of one source and id, or what a broker delivers again; no others."""

from __future__ import annotations

import json
from typing import Any

import pytest
from structlog.testing import CapturingLogger

from services.labeler_api.ledger import inbox
from services.labeler_api.ledger.inbox import REDELIVERED_WITHIN_S
from shared.message import STRUCTURED_CONTENT_TYPE, Wire, likeness_of
from tests.eventually import eventually
from tests.integration.labeler_api.support import Labeler

NOTHING_MISSING = {"target_per_condition": 0}
BARE = Wire("RebalanceRequested", "", {}, json.dumps(NOTHING_MISSING).encode())
AGAIN = Wire("RebalanceRequested", "", {}, BARE.body, is_redelivered=True)


def cloud_event(source: str, id_: str, data: dict[str, Any] | None = None) -> Wire:
    """A request as a tool sends it that speaks CloudEvents."""
    document = {"specversion": "1.0", "type": "RebalanceRequested", "source": source, "id": id_}
    body = json.dumps({**document, "data": data or NOTHING_MISSING}).encode()
    return Wire("RebalanceRequested", STRUCTURED_CONTENT_TYPE, {}, body)


async def handled(running: Labeler, *wires: Wire) -> int:
    """Publish requests one after the other. Returns how many campaigns there are once they are handled."""
    for wire in wires:
        before = running.handled("RebalanceRequested", "done")
        await running.bus.publish_wire(wire)
        await eventually(lambda before=before: running.handled("RebalanceRequested", "done") > before)
    return len(await running.rows("campaigns"))


async def test_two_tools_that_number_from_1_are_both_heard(both: Labeler) -> None:
    assert await handled(both, cloud_event("/one", "1"), cloud_event("/other", "1")) == 2
    assert await handled(both, cloud_event("/one", "1"), cloud_event("/other", "1")) == 2
    assert await handled(both, cloud_event("/one", "2")) == 3
    assert await handled(both, cloud_event("/a/b", "c"), cloud_event("/a", "b/c"), cloud_event("/a%2Fb", "c")) == 6
    assert await handled(both, cloud_event("/\0" * 200, "1"), cloud_event("/\0" * 200, "2")) == 8


async def test_a_bare_request_that_the_broker_delivers_again_is_one(
    both: Labeler, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = CapturingLogger()
    monkeypatch.setattr(inbox, "log", told)
    assert await handled(both, BARE, AGAIN, AGAIN) == 1
    assert {(call.method_name, *call.args) for call in told.calls} == {("info", "message_dropped_by_likeness")}
    assert [call.kwargs["event_id"] for call in told.calls] == [likeness_of(BARE.body)] * 2


async def test_two_bare_requests_that_are_sent_on_purpose_are_two(both: Labeler) -> None:
    assert await handled(both, BARE, BARE) == 2
    assert await handled(both, AGAIN) == 2


async def test_a_bare_request_that_was_delivered_before_and_not_handled_is_handled(both: Labeler) -> None:
    assert await handled(both, AGAIN) == 1
    assert await handled(both, AGAIN) == 1
    assert await handled(both, BARE) == 2


async def test_a_redelivery_is_not_taken_for_the_same_words_of_long_ago(both: Labeler) -> None:
    assert await handled(both, BARE) == 1
    async with both.database.reading() as connection:
        await connection.exec_driver_sql(f"UPDATE inbox SET received_at = received_at - {REDELIVERED_WITHIN_S + 60}")
        await connection.commit()
    assert await handled(both, AGAIN) == 2


async def test_a_message_id_is_one_request_however_often_it_is_sent(both: Labeler) -> None:
    first, second = (Wire("RebalanceRequested", "", {}, BARE.body, message_id=number) for number in "12")
    assert await handled(both, first, first, second) == 2
    other_words = json.dumps({"target_per_condition": 0, "review": "manual"}).encode()
    assert await handled(both, Wire("RebalanceRequested", "", {}, other_words, message_id="1")) == 3
