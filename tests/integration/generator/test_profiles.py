"""Servers that know less than OpenAI's are sent no more than they know, need no key, and cost nothing."""

from __future__ import annotations

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
from tests.fakes.openai_server import KNOWN, OpenAIServer, error, file, picture_at
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
