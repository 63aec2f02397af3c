"""What pictures cost by the list in `prices.toml`, and when the list or a model is too old to rely on. Pure."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path
from typing import Literal

from shared.errors import ConfigurationError

PriceWarning = Literal["model_retired", "prices_old", "quality_unset"]

OLD = timedelta(days=90)  # age from which the list may be wrong
SOON = timedelta(days=90)  # before its end, a model is about to be retired
PROMPT_TOKENS = 400  # reckoned for a prompt; ours have about half as many

_LIST = Path(__file__).with_name("prices.toml")


@dataclass(frozen=True)
class ModelPrices:
    """Prices of a model, US dollars. `text_in`, `image_out`: a million tokens; `images`: by size and quality."""

    text_in: float | None = None
    image_in: float | None = None
    image_out: float | None = None
    images: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    ends: date | None = None


@dataclass(frozen=True)
class PriceList:
    """Prices by model. `checked`: when they were last compared with the provider's."""

    checked: date
    models: Mapping[str, ModelPrices]

    def price_usd(self, model: str, size: str, quality: str | None) -> float:
        """What one picture and its prompt cost; where the model chooses the quality, its dearest one.

        Raises ConfigurationError where it is not known.
        """
        prices = self.models.get(model, ModelPrices())
        by_quality = prices.images.get(size, {})
        if is_left_to_the_model(quality):
            image_usd = max(by_quality.values(), default=None)
        else:
            image_usd = by_quality.get(str(quality))
        if image_usd is None or prices.text_in is None:
            named = "" if is_left_to_the_model(quality) else f" in quality '{quality}'"
            raise ConfigurationError(
                f"The price of a picture of {size} by '{model}'{named} is not known.",
                advice="Set EVENSKIN_IMAGE_PRICE_USD, alike for generator and labeler-api, to what the provider takes.",
            )
        return image_usd + PROMPT_TOKENS * prices.text_in / 1e6

    def end_of(self, model: str, today: date) -> str | None:
        """One sentence about a model that is shut down or will be soon, and what to do; None for any other."""
        ends = self.models.get(model, ModelPrices()).ends
        if ends is None or today < ends - SOON:
            return None
        how = f"was shut down on {ends}" if ends <= today else f"is shut down on {ends}"
        return f"The model '{model}' {how}. Set EVENSKIN_IMAGE_MODEL to another one, such as gpt-image-2."

    def is_old(self, today: date) -> bool:
        """Whether the list may be wrong by its age."""
        return today - self.checked > OLD


def is_left_to_the_model(quality: str | None) -> bool:
    """Whether the model chooses a picture's quality."""
    return quality in (None, "auto")


@cache
def price_list() -> PriceList:
    """The list that came with this program."""
    document = tomllib.loads(_LIST.read_text(encoding="utf-8"))
    return PriceList(document["checked"], {name: ModelPrices(**part) for name, part in document["models"].items()})
