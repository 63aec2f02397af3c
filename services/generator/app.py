"""Puts the generator together. Only this module chooses adapters and the provider."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from services.generator.claims import Claims
from services.generator.handlers import HANDLERS, SOURCE, Generation
from services.generator.pacing import Pacer
from services.generator.prompts import read_prompts
from services.generator.provider import Provider
from services.generator.settings import GeneratorSettings
from services.generator.shared_pace import SharedPace
from shared.adapters import open_blobs, open_bus
from shared.blobs import Blobs
from shared.bus import Bus
from shared.errors import ConfigurationError
from shared.image_settings import LOCAL_PROFILES
from shared.metrics import MetricRegistry
from shared.prices import ModelPrices, price_list
from shared.service import Service, subscribe_all

OPENAI_IMAGES_PER_MINUTE = 50.0  # of a tier-3 account (platform.openai.com/docs/guides/rate-limits)


def open_provider(settings: GeneratorSettings, blobs: Blobs) -> Provider:
    """The provider that the settings name. Raises ConfigurationError where its key or its folder is missing."""
    if settings.provider == "procedural":
        from services.generator.procedural_provider import ProceduralProvider  # OpenCV: only where it draws

        return ProceduralProvider(processes=settings.draw_processes, images_per_minute=settings.images_per_minute)
    if settings.provider == "folder":
        from services.generator.folder_provider import FolderProvider

        if settings.picture_folder is None:
            raise ConfigurationError(
                "EVENSKIN_PROVIDER is folder, and EVENSKIN_PICTURE_FOLDER is not set.",
                advice="Set it to a folder that holds <condition>/<severity>/ folders of pictures.",
            )
        return FolderProvider(settings.picture_folder, blobs)
    is_local = settings.provider_profile in LOCAL_PROFILES
    if is_local and settings.openai_base_url is None:
        raise ConfigurationError(
            f"EVENSKIN_PROVIDER_PROFILE is {settings.provider_profile}, and OPENAI_BASE_URL is not set.",
            advice="Set it to where your server is, such as http://localhost:8080/v1.",
        )
    if settings.openai_api_key is None and not is_local:
        raise ConfigurationError(
            "EVENSKIN_PROVIDER is openai, and OPENAI_API_KEY is not set.",
            advice="Set OPENAI_API_KEY (or OPENAI_API_KEY_FILE), or use EVENSKIN_PROVIDER=procedural.",
        )
    _check_url(settings.openai_base_url)
    from services.generator.openai_provider import OpenAIProvider, TokenPrices  # its client: only where it is called

    token_prices = None
    if settings.input_token_price_usd is not None and settings.output_token_price_usd is not None:
        token_prices = TokenPrices(settings.input_token_price_usd, settings.output_token_price_usd)
    elif settings.image_price_usd is None and settings.is_billed:  # a price that is set stands
        listed = price_list().models.get(settings.image_model, ModelPrices())
        if listed.text_in is not None and listed.image_out is not None:
            token_prices = TokenPrices(listed.text_in, listed.image_out)
    if settings.price_usd == 0 and token_prices is not None:
        raise ConfigurationError(
            "EVENSKIN_IMAGE_PRICE_USD is 0, and the prices of tokens are not.",
            advice="Set it to what one image may cost: budgets reckon with it.",
        )
    return OpenAIProvider(
        # A mounted secret ends in a new line. A local server needs none, but the client does.
        api_key="none" if settings.openai_api_key is None else settings.openai_api_key.get_secret_value().strip(),
        base_url=settings.openai_base_url,
        model=settings.image_model,
        size=settings.image_size,
        quality=settings.image_quality,
        price_usd=settings.price_usd,
        token_prices=token_prices,
        images_per_minute=settings.images_per_minute or OPENAI_IMAGES_PER_MINUTE,
        concurrency=settings.generator_concurrency,
        timeout_s=settings.image_timeout_s,
        image_hosts=settings.image_hosts.split(","),
        profile=settings.provider_profile,
        prompts=None if settings.prompt_file is None else read_prompts(settings.prompt_file),
    )


def _check_url(url: str | None) -> None:
    """Check a provider's base URL. Raises ConfigurationError where it is none."""
    if url is None:
        return
    try:
        parts = urlsplit(url)
        is_url = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0  # `port` raises ValueError
    except ValueError:
        is_url = False
    if not is_url:
        raise ConfigurationError(
            "OPENAI_BASE_URL is no URL of a server.", advice="Set it to one such as https://api.openai.com/v1."
        )


def build(
    settings: GeneratorSettings, *, bus: Bus | None = None, blobs: Blobs | None = None, provider: Provider | None = None
) -> Service:
    """The service, not yet started. The settings choose what is not given."""
    bus = bus or open_bus(settings, service=SOURCE)
    blobs = blobs or open_blobs(settings)
    chosen = provider or open_provider(settings, blobs)
    registry = MetricRegistry()
    claims = Claims(blobs, lease_s=settings.claim_lease_s)
    generation = Generation(
        chosen,
        bus,
        blobs,
        Pacer(chosen.images_per_minute, SharedPace(blobs, chosen.name)),
        claims,
        registry,
        drain_s=settings.drain_s,
        patience_s=settings.provider_wait_s,
    )

    @contextlib.asynccontextmanager
    async def provider_open() -> AsyncIterator[None]:
        try:
            yield
        finally:
            await generation.close()
            await chosen.close()

    return Service(
        name=SOURCE,
        settings=settings,
        bus=bus,
        blobs=blobs,
        subscriptions=subscribe_all(
            SOURCE,
            HANDLERS,
            generation,
            prefetch=chosen.concurrency,
            settings=settings,
        ),
        resources=[provider_open()],
        before_drain=generation.stop_paying,
        registry=registry,
    )
