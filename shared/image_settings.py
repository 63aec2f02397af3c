"""The settings that say who makes pictures and how. labeler-api, which plans, and the generator must have the same."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from shared.events import Quality, stated
from shared.settings import Settings

ProviderName = Literal["procedural", "openai", "folder"]
ProviderProfile = Literal["openai", "localai", "sdcpp", "vllm", "azure"]
LOCAL_PROFILES = frozenset({"localai", "sdcpp", "vllm"})
"""Profiles of servers on a machine of one's own: no key is needed, and nothing is billed."""


class ImageSettings(Settings):
    """Who makes pictures, with which model, and at what price."""

    provider: ProviderName = "procedural"
    """Who makes the pictures: `procedural` draws stand-ins, `openai` is any server that speaks its Images API, `folder`
    takes pictures that somebody made by hand."""
    provider_profile: ProviderProfile = "openai"
    """What the server knows that is asked, where it is not OpenAI's: LocalAI, stable-diffusion.cpp's sd-server,
    vLLM-Omni, Azure. Nothing else is sent; the local ones need no key and cost nothing."""
    image_model: str = "gpt-image-2"
    """Model that is asked for pictures; at Azure, the deployment."""
    image_size: Annotated[str, stated(unit="pixels", bounds="`<width>x<height>`, as the model has them")] = "1024x1024"
    """Size that pictures are asked for with."""
    image_quality: Quality | None = None
    """Quality that pictures are asked for with; absent: the model's default."""
    image_price_usd: Annotated[float, stated(unit="US dollars")] = Field(default=0.03, ge=0, le=100)
    """Price of one picture of that model, size and quality, which plans and budgets reckon with; none is made for a
    campaign with a lower one."""

    @property
    def price_usd(self) -> float:
        """What one picture costs, US dollars."""
        return 0.0 if self.costs_nothing else self.image_price_usd

    @property
    def costs_nothing(self) -> bool:
        """Whether pictures come from a machine or a folder of one's own."""
        return self.provider == "folder" or (self.provider == "openai" and self.provider_profile in LOCAL_PROFILES)
