"""Webhooks are signed as Standard Webhooks says, and go only where the settings say."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from services.labeler_api.settings import LabelerSettings
from services.labeler_api.webhooks.signing import headers_of, secret_bytes
from services.labeler_api.webhooks.targets import targets_of
from shared.errors import ConfigurationError

# The example of the specification's own libraries.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()
ONE, TWO = "https://example.org/hook?token=geheim", "http://127.0.0.1:9000/"


def settings(urls: str | None, secrets: str | None) -> LabelerSettings:
    given: dict[str, Any] = {"webhooks": urls, "webhook_secrets": secrets}
    return LabelerSettings.load(_env_file=None, **given)


def test_the_signature_is_that_of_the_specification() -> None:
    body = b'{"test": 2432232314}'
    assert headers_of("msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body, secret_bytes(SECRET)) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@pytest.mark.parametrize("wrong", ["", "secret", SECRET.removeprefix("whsec_"), "whsec_", "whsec_YWJj", "whsec_§"])
def test_what_is_no_secret_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 random bytes"):
        secret_bytes(wrong)


def test_each_address_has_its_secret_or_all_have_one() -> None:
    assert targets_of(settings(None, None)) == ()
    each = targets_of(settings(f"{ONE}, {TWO}", f"{SECRET},{OTHER}"))
    assert [(target.url, target.secret) for target in each] == [(ONE, secret_bytes(SECRET)), (TWO, bytes(range(32)))]
    shared = targets_of(settings(f"{ONE} {TWO}", SECRET))
    assert {target.secret for target in shared} == {secret_bytes(SECRET)}
    assert len({target.name for target in shared}) == 2
    assert "geheim" not in repr(each) + "".join(target.name for target in each)


@pytest.mark.parametrize(
    ("urls", "secrets"),
    [
        (ONE, None),
        (f"{ONE},{TWO},http://c/", f"{SECRET},{OTHER}"),
        (ONE, "secret"),
        (f"{ONE},{ONE}", SECRET),
        ("ftp://example.org/", SECRET),
        ("https://user:password@example.org/", SECRET),
        ("https:///path", SECRET),
        ("https://example.org/#part", SECRET),
        ("https://example.org:port/", SECRET),
        ("https://[::1/", SECRET),
    ],
)
def test_what_cannot_be_sent_is_refused_at_the_start_without_showing_it(urls: str, secrets: str | None) -> None:
    with pytest.raises(ConfigurationError, match="EVENSKIN_WEBHOOK") as refused:
        targets_of(settings(urls, secrets))
    assert refused.value.advice
    assert "geheim" not in str(refused.value)
