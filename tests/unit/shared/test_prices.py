"""Prices: what is known is reckoned with, what is not is asked for, what is old is told."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import pytest

from shared.errors import ConfigurationError
from shared.image_settings import LOCAL_PROFILES, ImageSettings
from shared.prices import OLD, PROMPT_TOKENS, SOON, ModelPrices, PriceList, price_list

DAY = date(2026, 11, 27)
LIST = PriceList(
    DAY,
    {
        "painter": ModelPrices(
            text_in=5.0, image_out=30.0, images={"64x64": {"low": 0.01, "high": 0.2}}, ends=DAY + timedelta(days=200)
        ),
        "by-token": ModelPrices(text_in=5.0, image_out=30.0),
        "gone": ModelPrices(ends=DAY),
    },
)
PROMPT_USD = PROMPT_TOKENS * 5e-6


def settings(**changes: Any) -> ImageSettings:
    return ImageSettings.load(_env_file=None, **changes)


@pytest.mark.parametrize(("quality", "usd"), [("low", 0.01), ("high", 0.2), (None, 0.2), ("auto", 0.2)])
def test_a_price_is_the_picture_s_and_its_prompt_s_and_the_dearest_where_the_model_chooses(
    quality: str | None, usd: float
) -> None:
    assert LIST.price_usd("painter", "64x64", quality) == pytest.approx(usd + PROMPT_USD)


@pytest.mark.parametrize(
    ("model", "size", "quality"),
    [
        ("painter", "64x64", "medium"),
        ("painter", "128x128", "low"),
        ("painter", "128x128", None),
        ("by-token", "64x64", "low"),
        ("gone", "64x64", None),
        ("unheard-of", "64x64", "low"),
    ],
)
def test_what_is_not_known_is_asked_for(model: str, size: str, quality: str | None) -> None:
    with pytest.raises(ConfigurationError) as caught:
        LIST.price_usd(model, size, quality)
    assert model in caught.value.message
    assert size in caught.value.message
    assert "EVENSKIN_IMAGE_PRICE_USD" in caught.value.advice


def test_a_model_s_end_is_told_before_it_and_after() -> None:
    ends = DAY + timedelta(days=200)
    assert LIST.end_of("painter", ends - SOON - timedelta(days=1)) is None
    assert "is shut down on" in str(LIST.end_of("painter", ends - SOON))
    assert "was shut down on" in str(LIST.end_of("painter", ends))
    assert "EVENSKIN_IMAGE_MODEL" in str(LIST.end_of("gone", DAY))
    assert LIST.end_of("by-token", DAY) is LIST.end_of("unheard-of", DAY) is None


def test_a_list_grows_old() -> None:
    assert not LIST.is_old(DAY + OLD)
    assert LIST.is_old(DAY + OLD + timedelta(days=1))


def test_the_list_that_comes_along_makes_sense() -> None:
    prices = price_list()
    assert set(prices.models) >= {
        "gpt-image-2",
        *(f"gpt-image-{version}-{kind}" for version in ("2.5", "2.6") for kind in ("flare", "sunburst")),
    }
    for name, model in prices.models.items():
        for qualities in model.images.values():
            assert 0 < qualities["low"] < qualities["medium"] < qualities["high"] < 1, name
        assert model.ends is not None or (model.text_in, model.image_in, model.image_out) == (5.0, 8.0, 30.0)
    # The price of a picture agrees with that of its tokens (7,024 for a square one in high quality).
    assert prices.models["gpt-image-2"].images["1024x1024"]["high"] == pytest.approx(7024 * 30 / 1e6, abs=0.0005)


@pytest.mark.parametrize(
    ("changes", "usd"),
    [
        ({}, 0.03),
        ({"image_price_usd": 0.5}, 0.5),
        ({"provider": "folder"}, 0.0),
        ({"provider": "openai", "image_quality": "medium"}, 0.055),
        ({"provider": "openai", "image_quality": "low", "image_size": "1024x1536"}, 0.007),
        ({"provider": "openai"}, 0.213),
        ({"provider": "openai", "image_price_usd": 0.04}, 0.04),
        ({"provider": "openai", "image_price_usd": 0.0}, 0.0),
        *(({"provider": "openai", "provider_profile": profile}, 0.0) for profile in sorted(LOCAL_PROFILES)),
        ({"provider": "openai", "provider_profile": "localai", "image_price_usd": 0.001}, 0.001),
        ({"provider": "openai", "provider_profile": "azure", "image_price_usd": 0.06}, 0.06),
    ],
)
def test_the_settings_say_what_a_picture_costs(changes: dict[str, Any], usd: float) -> None:
    assert settings(**changes).price_usd == pytest.approx(usd)


@pytest.mark.parametrize(
    "changes", [{"image_model": "gpt-image-2.6-flare"}, {"image_size": "2048x2048"}, {"provider_profile": "azure"}]
)
def test_settings_that_no_list_knows_need_a_price(changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        _ = settings(provider="openai", **changes).price_usd
    assert "EVENSKIN_IMAGE_PRICE_USD" in caught.value.message + caught.value.advice


@pytest.mark.parametrize(
    ("changes", "days", "codes"),
    [
        ({"image_quality": "low"}, 0, []),
        ({}, 0, ["quality_unset"]),
        ({"image_quality": "low"}, OLD.days + 1, ["prices_old"]),
        ({"image_price_usd": 0.05}, OLD.days + 1, []),
        ({"image_model": "gpt-image-1.5", "image_price_usd": 0.05}, 0, ["model_retired"]),
        ({"image_model": "gpt-image-1-mini", "image_quality": "low"}, OLD.days + 1, ["model_retired", "prices_old"]),
        ({"provider_profile": "azure", "image_model": "gpt-image-1"}, 1000, []),
        ({"provider_profile": "vllm"}, 1000, []),
    ],
)
def test_what_to_know_before_paying_is_told(changes: dict[str, Any], days: int, codes: list[str]) -> None:
    told = settings(provider="openai", **changes).price_warnings(price_list().checked + timedelta(days=days))
    assert [code for code, _ in told] == codes
    assert all("Set EVENSKIN_" in text or "set EVENSKIN_" in text for _, text in told)


@pytest.mark.parametrize("provider", ["procedural", "folder"])
def test_who_takes_no_money_has_no_warnings(provider: str) -> None:
    assert settings(provider=provider).price_warnings(DAY + timedelta(days=1000)) == ()
