"""The HTTP clients against a server that answers as ours do, and against ones that do not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from pydantic import SecretStr

from services.console.client import LabelerClient, ModelClient, problem_error, server_sent_data
from shared.documents.predictions import Prediction
from shared.errors import (
    ConfigurationError,
    EvenskinError,
    ImageBroken,
    NoModel,
    NotFound,
    OverBudget,
    Overloaded,
    ServiceUnreachable,
    StoreFull,
    Unauthorized,
)
from shared.taxonomy import Condition
from shared.tracing import Span, current_traceparent, trace_id, valid_traceparent
from tests.eventually import LIMIT_S
from tests.fakes.evenskin_server import CAMPAIGN_ID, FakeServer, campaign_document, model_document, serve_in_thread


@pytest.fixture
def server() -> Iterator[FakeServer]:
    yield from serve_in_thread(FakeServer())


@pytest.fixture
async def client(server: FakeServer) -> AsyncIterator[LabelerClient]:
    async with LabelerClient(server.url) as client:
        yield client


async def test_balance_and_plan_are_read(client: LabelerClient, server: FakeServer) -> None:
    balance = await client.balance()
    assert balance.conditions[Condition.REDNESS].accepted == 66
    plan = await client.plan(target_per_condition=200, conditions=("redness", "pore_size"), targets={"acne": 130})
    assert plan.total == 134 + 134 + 8
    assert server.queries[-1] == {
        "target_per_condition": "200",
        "conditions": "redness,pore_size",
        "targets": "acne:130",
    }


async def test_a_rebalance_is_posted_and_watched_to_its_model(client: LabelerClient, server: FakeServer) -> None:
    campaign = await client.rebalance({"target_per_condition": 70})
    assert server.rebalances == [{"target_per_condition": 70}]
    seen = []
    async with contextlib.aclosing(client.watch_campaign(campaign.id)) as watching:
        async for document in watching:
            seen.append((document.state, document.slots.counted))
            if document.model:
                break
    assert seen == [("running", 2), ("met", 4), ("met", 4), ("met", 4)]


async def test_a_stream_that_ends_is_taken_up_again(client: LabelerClient, server: FakeServer) -> None:
    server.streamed = server.streamed[:1]
    seen = 0
    async with contextlib.aclosing(client.watch_campaign(CAMPAIGN_ID, pause_s=0.0)) as watching:
        async for _ in watching:
            seen += 1
            if seen == 3:
                break
    assert seen == 3


async def test_a_stream_that_stays_cut_off_is_an_error(client: LabelerClient, server: FakeServer) -> None:
    server.fail[f"/v1/rebalances/{CAMPAIGN_ID}/stream"] = ServiceUnreachable("Gone.")
    with pytest.raises(ServiceUnreachable):
        async for _ in client.watch_campaign(CAMPAIGN_ID, pause_s=0.0):
            pass


async def test_an_image_is_new_once(client: LabelerClient) -> None:
    labels = {"acne": "mild", "redness": None}
    first, new = await client.add_image(b"bytes", filename="a.png", labels=labels)
    again, new_again = await client.add_image(b"bytes", filename="b.png", labels=labels)
    assert (new, new_again) == (True, False)
    assert first == again
    assert first.labels == labels
    page = await client.images(limit=1, status="accepted")
    assert [image.id for image in page.images] == [first.id]
    assert page.next_cursor is None


async def test_export_is_streamed(client: LabelerClient) -> None:
    async with client.export("imagefolder") as download:
        assert download.content_type == "application/x-tar"
        assert b"acne/mild/a.jpg" in b"".join([chunk async for chunk in download.chunks])


async def test_models_are_listed_promoted_and_rolled_back(client: LabelerClient, server: FakeServer) -> None:
    server.models = [model_document("v1", live=True)]
    models = await client.models()
    assert models.live is not None
    assert (models.live.version, [model.version for model in models.models]) == ("v1", ["v1"])
    assert (await client.promote("v1", reason="better")).version == "v1"
    assert server.promotions == [{"version": "v1", "reason": "better"}]
    assert (await client.rollback()).version == "v0"
    with pytest.raises(NotFound, match="v9"):
        await client.promote("v9", reason="")


async def test_dead_letters_are_listed_and_replayed(client: LabelerClient, server: FakeServer) -> None:
    letter = {"id": "1", "queue": "trainer.QuotaMet", "event": "QuotaMet", "error": "boom", "tries": 5}
    server.dead = [{**letter, "died_at": "2026-01-01T00:00:00Z", "body": "{}"}]
    assert [found.error for found in await client.dead_letters("trainer.QuotaMet")] == ["boom"]
    assert await client.dead_letters("other") == ()
    assert await client.replay() == 1


async def test_a_picture_is_predicted_or_refused(server: FakeServer) -> None:
    async with ModelClient(server.url) as client:
        assert (await client.predict(b"\xff\xd8 picture")).model_version == "v1"
        with pytest.raises(ImageBroken):
            await client.predict(b"no picture")
        server.fail["/v1/predictions"] = NoModel("No model is live yet.", advice="Train one.")
        with pytest.raises(NoModel) as caught:
            await client.predict(b"\xff\xd8 picture")
    assert (caught.value.advice, caught.value.status) == ("Train one.", 503)


async def test_several_pictures_have_an_answer_or_an_error_each(server: FakeServer) -> None:
    async with ModelClient(server.url) as client:
        first, second, third = await client.predict_batch([b"\xff\xd8 one", b"no picture", b"\xff\xd8 three"])
        assert isinstance(first, Prediction)
        assert (first.model_version, third) == ("v1", first)
        assert isinstance(second, ImageBroken)
        assert (second.status, second.advice) == (422, "Send it again.")
        server.fail["/v1/predictions/batch"] = Overloaded("Full.", advice="Later.")
        with pytest.raises(Overloaded):
            await client.predict_batch([b"\xff\xd8 one"])


async def test_the_kind_of_heatmap_is_asked_for(server: FakeServer) -> None:
    async with ModelClient(server.url) as client:
        await client.predict(b"\xff\xd8 picture", heatmap="overlay")
        await client.predict_batch([b"\xff\xd8 picture"], heatmap="grid")
        await client.predict(b"\xff\xd8 picture")
    assert server.queries[-3:] == [{"heatmap": "overlay"}, {"heatmap": "grid"}, {}]


async def test_an_apps_own_connections_carry_the_key_and_stay_open() -> None:
    for served in serve_in_thread(FakeServer(api_key=SecretStr("secret"))):
        async with aiohttp.ClientSession() as session:
            for _ in range(2):
                async with ModelClient(served.url, api_key="secret", session=session) as client:
                    assert (await client.predict(b"\xff\xd8 picture")).model_version == "v1"
            assert not session.closed


async def test_a_problem_comes_back_as_the_error_it_was(client: LabelerClient, server: FakeServer) -> None:
    sent = OverBudget("Too dear.", advice="Raise the budget.", worst_cost_usd=12.5)
    server.fail["/v1/plan"] = sent
    with pytest.raises(OverBudget) as caught:
        await client.plan(target_per_condition=1)
    assert caught.value.problem() == sent.problem()
    assert caught.value.exit_status == 2


def test_a_status_other_than_the_class_has_is_kept() -> None:
    error = problem_error(503, b'{"code": "store_full", "detail": "Full."}')
    assert isinstance(error, StoreFull)
    assert (error.status, error.message) == (503, "Full.")
    unknown = problem_error(418, b'{"code": "teapot", "title": "Short and stout"}')
    assert (unknown.code, unknown.status, unknown.message, unknown.exit_status) == ("teapot", 418, "Short and stout", 2)


@pytest.mark.parametrize("answer", [(502, "<html>Bad gateway</html>"), (404, "[]"), (200, "hello")])
async def test_a_server_that_is_not_ours_is_told(
    client: LabelerClient, server: FakeServer, answer: tuple[int, str]
) -> None:
    server.raw["/v1/balance"] = answer
    with pytest.raises(EvenskinError) as caught:
        await client.balance()
    assert caught.value.code == "unexpected_answer"


async def test_fields_that_a_newer_server_added_are_kept(client: LabelerClient, server: FakeServer) -> None:
    sent = campaign_document(colour="red", slots={"total": 4, "counted": 0, "failed": 0, "open": 4, "paused": 1})
    server.shown = [sent]
    assert (await client.campaign(CAMPAIGN_ID)).json_object() == sent


@pytest.mark.parametrize("missing", ["id", "state", "slots", "quotas"])
async def test_a_document_without_what_a_caller_may_rely_on_is_told(
    client: LabelerClient, server: FakeServer, missing: str
) -> None:
    server.shown = [{name: value for name, value in campaign_document().items() if name != missing}]
    with pytest.raises(EvenskinError) as caught:
        await client.campaign(CAMPAIGN_ID)
    assert caught.value.code == "unexpected_answer"


async def test_nobody_there_is_service_unreachable(server: FakeServer) -> None:
    async with LabelerClient("http://127.0.0.1:9") as client:
        assert not await client.healthy(timeout_s=LIMIT_S)
        with pytest.raises(ServiceUnreachable) as caught:
            await client.balance()
    assert "127.0.0.1:9" in caught.value.message
    assert caught.value.advice
    async with LabelerClient(server.url) as client:
        assert await client.healthy(timeout_s=LIMIT_S)


@pytest.mark.parametrize("url", ["localhost:8000", "", "ftp://x", "http://"])
async def test_what_is_no_address_is_told(url: str) -> None:
    with pytest.raises(ConfigurationError, match="not the address"):
        async with LabelerClient(url) as client:
            await client.balance()


async def test_the_key_is_sent_and_its_absence_told() -> None:
    for server in serve_in_thread(FakeServer(api_key=SecretStr("s3cret"))):
        async with LabelerClient(server.url, api_key="s3cret") as client:
            assert await client.balance()
        async with LabelerClient(server.url) as client:
            with pytest.raises(Unauthorized):
                await client.balance()


async def test_events_are_read_across_chunks() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for part in (b": hi\n\ndata: o", b"ne\r", b"\n\r\nevent: x\ndata:two\nda", b"ta: lines\n\n", b"data: cut"):
            yield part

    assert [data async for data in server_sent_data(chunks())] == ["one", "two\nlines"]


async def test_calls_say_what_they_belong_to(client: LabelerClient, server: FakeServer) -> None:
    with Span("command", correlation_id="c-1"):
        await client.balance()
        assert server.headers[-1]["X-Correlation-ID"] == "c-1"
        assert trace_id(server.headers[-1]["traceparent"]) == trace_id(current_traceparent())
    await client.balance()
    assert server.headers[-1]["X-Correlation-ID"] != "c-1"
    assert valid_traceparent(server.headers[-1]["traceparent"])
