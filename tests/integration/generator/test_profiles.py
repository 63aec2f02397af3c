"""Servers that know less than OpenAI's are sent no more than they know, need no key, and cost nothing."""

from __future__ import annotations

import base64
from collections import deque
from pathlib import Path
from typing import get_args

import pytest

from services.generator.app import open_provider
from services.generator.calls import TRIES
from services.generator.settings import GeneratorSettings
from shared.errors import ConfigurationError
from shared.events import FailureReason, ImageFailed, ImageGenerated
from shared.image_settings import LOCAL_PROFILES, ImageSettings, ProviderProfile
from tests.fakes.blobs import FlakyBlobs
from tests.fakes.openai_server import KEY, KNOWN, OpenAIServer, document, error, file, picture_at, problem
from tests.integration.generator.serving import png, provider_for, requested, running


@pytest.mark.parametrize("profile", get_args(ProviderProfile))
async def test_a_server_is_sent_what_it_knows(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, profile: ProviderProfile
) -> None:
    server.speaks = profile
    async with running(tmp_path, blobs, provider_for(server, profile=profile, quality="high")) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    (sent,) = server.requests
    assert set(sent) <= KNOWN[profile]
    assert (sent["prompt"], sent["n"], sent["size"]) == (event.prompt, 1, "1024x1024")
    assert ("quality" in sent) == (profile in ("openai", "azure"))
    # LocalAI answers with a URL of its own unless it is told otherwise.
    assert (sent.get("response_format") == "b64_json") == (profile in ("localai", "vllm"))


async def test_a_local_server_needs_no_key_and_costs_nothing(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.speaks, server.wants_key = "localai", False
    server.otherwise = picture_at("/files/a.png")
    server.files["/files/a.png"] = deque([file(png())])
    settings = GeneratorSettings.load(provider="openai", provider_profile="localai", openai_base_url=server.url)
    provider = open_provider(settings, blobs)
    assert provider.price_usd == 0
    async with running(tmp_path, blobs, provider) as generator:
        await generator.bus.publish(requested(price_usd=0.0))
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert event.cost_usd == 0


@pytest.mark.parametrize("body", [{"error": "out of memory"}, {"detail": "out of memory"}])
async def test_what_a_local_server_fails_at_is_tried_again(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs, body: object
) -> None:
    server.speaks = "sdcpp"
    server.otherwise = error(500, body)
    async with running(tmp_path, blobs, provider_for(server, profile="sdcpp")) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert (event.reason, event.detail) == (FailureReason.PROVIDER_ERROR, "500 out of memory")
    assert (event.cost_usd, server.calls) == (0, TRIES)


async def test_a_server_that_knows_less_than_its_profile_says_so_in_words(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.speaks = "localai"
    async with running(tmp_path, blobs, provider_for(server)) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert event.reason is FailureReason.SETTINGS_REFUSED
    assert event.detail.endswith("Set EVENSKIN_PROVIDER_PROFILE to what the server is.")


@pytest.mark.parametrize("profile", sorted(LOCAL_PROFILES))
def test_a_local_profile_without_its_server_is_a_mistake_of_the_settings(profile: str, blobs: FlakyBlobs) -> None:
    settings = GeneratorSettings.load(provider="openai", provider_profile=profile, openai_base_url=None)
    with pytest.raises(ConfigurationError, match="OPENAI_BASE_URL"):
        open_provider(settings, blobs)


def test_an_unknown_profile_is_a_mistake_of_the_settings() -> None:
    with pytest.raises(ConfigurationError, match="EVENSKIN_PROVIDER_PROFILE"):
        ImageSettings.load(provider_profile="comfy")


USAGE = {"input_tokens": 180, "output_tokens": 200, "total_tokens": 380}


@pytest.mark.parametrize(
    ("set_usd", "usage", "cost_usd"),
    [(None, USAGE, (180 * 5 + 200 * 30) / 1e6), (None, None, 0.008), (0.05, USAGE, 0.05), (0.05, None, 0.05)],
)
async def test_what_a_picture_cost_is_told_by_its_tokens_else_by_the_list_and_by_a_price_that_is_set(
    tmp_path: Path,
    server: OpenAIServer,
    blobs: FlakyBlobs,
    set_usd: float | None,
    usage: dict[str, int] | None,
    cost_usd: float,
) -> None:
    server.otherwise = document({"data": [{"b64_json": base64.b64encode(png()).decode()}], "usage": usage})
    settings = GeneratorSettings.load(
        provider="openai",
        openai_base_url=server.url,
        openai_api_key=KEY,
        image_quality="low",
        image_price_usd=set_usd,
        images_per_minute=60_000,
    )
    async with running(tmp_path, blobs, open_provider(settings, blobs)) as generator:
        await generator.bus.publish(requested(price_usd=settings.price_usd))
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageGenerated)
    assert event.cost_usd == pytest.approx(cost_usd)
    assert server.requests[0]["quality"] == "low"


def test_a_picture_that_nobody_knows_the_price_of_is_a_mistake_of_the_settings(blobs: FlakyBlobs) -> None:
    settings = GeneratorSettings.load(provider="openai", openai_api_key=KEY, image_model="unheard-of")
    with pytest.raises(ConfigurationError, match="unheard-of") as caught:
        open_provider(settings, blobs)
    assert "EVENSKIN_IMAGE_PRICE_USD" in caught.value.advice


async def test_a_model_that_was_shut_down_is_told_so_with_what_to_set(
    tmp_path: Path, server: OpenAIServer, blobs: FlakyBlobs
) -> None:
    server.otherwise = problem(404, "model_not_found", param="model")
    async with running(tmp_path, blobs, provider_for(server, model="gpt-image-1")) as generator:
        await generator.bus.publish(requested())
        (event,) = await generator.answers(1)
    assert isinstance(event, ImageFailed)
    assert (event.reason, server.calls) == (FailureReason.MODEL_UNAVAILABLE, 1)
    assert "'gpt-image-1' was shut down on 2026-10-23. Set EVENSKIN_IMAGE_MODEL" in event.detail
