"""The settings that say who makes pictures and how. labeler-api, which plans, and the generator must have the same."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from pydantic import Field

from shared.errors import ConfigurationError
from shared.events import Quality, stated
from shared.prices import PriceWarning, is_left_to_the_model, price_list
from shared.settings import Settings

ProviderName = Literal["procedural", "openai", "folder"]
ProviderProfile = Literal["openai", "localai", "sdcpp", "vllm", "azure"]
STAND_IN_PRICE_USD = 0.03
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
    image_price_usd: Annotated[float | None, stated(unit="US dollars")] = Field(default=None, ge=0, le=100)
    """Price of one picture of that model, size and quality, which plans and budgets reckon with; none is made for a
    campaign with a lower one. Absent: the price list's, for OpenAI; 0 for a server or a folder of one's own; 0.03 for
    drawn stand-ins, which cost nothing, so that an exercise has something to reckon with."""

    @property
    def price_usd(self) -> float:
        """What one picture costs, US dollars. Raises ConfigurationError where neither the settings nor a list say."""
        if self.image_price_usd is not None:
            return self.image_price_usd
        if self.provider == "procedural":
            return STAND_IN_PRICE_USD
        if not self.is_billed:
            return 0.0
        if self.provider_profile != "openai":  # the list is OpenAI's
            raise ConfigurationError(
                f"EVENSKIN_PROVIDER_PROFILE is {self.provider_profile}, and EVENSKIN_IMAGE_PRICE_USD is not set.",
                advice="Set it, alike for generator and labeler-api, to what one picture costs there.",
            )
        return price_list().price_usd(self.image_model, self.image_size, self.image_quality)

    @property
    def is_billed(self) -> bool:
        """Whether somebody takes money for pictures: they do not come from a machine or a folder of one's own."""
        return self.provider == "openai" and self.provider_profile not in LOCAL_PROFILES

    def price_warnings(self, today: date) -> tuple[tuple[PriceWarning, str], ...]:
        """What to know before one pays, as codes and sentences."""
        if not self.is_billed or self.provider_profile != "openai":
            return ()
        prices, warnings = price_list(), list[tuple[PriceWarning, str]]()
        end = prices.end_of(self.image_model, today)
        if end is not None:
            warnings.append(("model_retired", end))
        if self.image_price_usd is None and prices.is_old(today):
            told = f"The price list is of {prices.checked}. Compare the price, and set EVENSKIN_IMAGE_PRICE_USD."
            warnings.append(("prices_old", told))
        if self.image_price_usd is None and is_left_to_the_model(self.image_quality):
            told = "The model chooses the quality, so that its dearest is reckoned with. Set EVENSKIN_IMAGE_QUALITY."
            warnings.append(("quality_unset", told))
        return tuple(warnings)
