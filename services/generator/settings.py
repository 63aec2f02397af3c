"""Settings of the generator."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr

from services.generator.calls import PATIENCE_S
from services.generator.claims import LEASE_S
from shared.events import stated
from shared.image_settings import ImageSettings
from shared.settings import Port, Seconds

TokenPrice = Annotated[float, stated(unit="US dollars a million tokens")]


class GeneratorSettings(ImageSettings):
    """The generator's own settings, beside those that every service has."""

    port: Port = 8001
    """Port of health and metrics; 0 takes a free one."""
    drain_s: Annotated[Seconds, stated(bounds="0 or more")] = 190.0
    """Time that work in hand gets to finish after SIGTERM: no request is sent any more, and one that is under way at
    OpenAI is answered or given up within EVENSKIN_IMAGE_TIMEOUT_S; compose kills after 210."""
    openai_api_key: SecretStr | None = Field(default=None, validation_alias="OPENAI_API_KEY")
    """Key of the OpenAI API."""
    openai_base_url: str | None = Field(default=None, validation_alias="OPENAI_BASE_URL")
    """Another endpoint that speaks the OpenAI API."""
    prompt_file: Path | None = None
    """File of the prompts that OpenAI is sent, in the form of `services/generator/prompts.toml`; absent: that one."""
    picture_folder: Path | None = None
    """Folder of the folder provider: pictures in `<condition>/<severity>/`, each of which fills one slot, once."""
    input_token_price_usd: TokenPrice | None = Field(default=None, ge=0, le=1000)
    """Price of the prompt's tokens, from the model's page at the provider. With the output's price, what an answer says
    of its tokens decides what it cost; else every image costs its price."""
    output_token_price_usd: TokenPrice | None = Field(default=None, ge=0, le=1000)
    """Price of a picture's tokens, from the model's page at the provider."""
    images_per_minute: Annotated[float | None, stated(unit="images a minute")] = Field(default=None, gt=0)
    """Most pictures started a minute, by all replicas of a store together; absent: 50 for OpenAI, else no limit. Where
    the provider refuses too many requests, all slow down. Of replicas that disagree, the lowest number holds."""
    image_timeout_s: Seconds = Field(default=180.0, ge=1, le=3600)
    """Time that one request at OpenAI may take, all in all: high-quality images take up to two minutes. What is not
    answered by then is booked as paid, and its attempt has failed."""
    provider_wait_s: Seconds = Field(default=PATIENCE_S, ge=0, le=86_400)
    """Time waited for one picture in all where the provider is busy and asks for it; then its campaign is paused."""
    image_hosts: Annotated[str, stated(bounds="names or addresses, with a port or without, separated by commas")] = ""
    """Hosts that a picture is fetched from where an answer has its URL, beside that of OPENAI_BASE_URL."""
    generator_concurrency: Annotated[int, stated(unit="requests")] = Field(default=32, ge=1, le=500)
    """Most requests under way at OpenAI: 50 a minute at 30 seconds each are 25."""
    claim_lease_s: Seconds = Field(default=LEASE_S, ge=1, le=3600)
    """Time without a sign of life after which another generator takes over an image that one was paying for."""
    draw_processes: Annotated[int, stated(unit="processes")] = Field(
        default_factory=lambda: os.cpu_count() or 1, ge=1, le=256
    )
    """Processes that the procedural provider draws with; absent: one a core."""
