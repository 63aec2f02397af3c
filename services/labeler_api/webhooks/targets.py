"""Where webhooks go: the URLs that the operator set, each with its secret."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from services.labeler_api.settings import LabelerSettings
from services.labeler_api.webhooks.signing import PREFIX, secret_bytes
from shared.errors import ConfigurationError

_ADVICE = (
    "EVENSKIN_WEBHOOKS takes http:// or https:// addresses, EVENSKIN_WEBHOOK_SECRETS one secret for all of them or one "
    f"for each, in their order: '{PREFIX}' and the output of `openssl rand -base64 32`."
)


@dataclass(frozen=True)
class Target:
    """One address. `name` stands for it in the ledger and in metrics, for a URL may itself hold a secret."""

    url: str = field(repr=False)
    secret: bytes = field(repr=False)
    name: str


def targets_of(settings: LabelerSettings) -> tuple[Target, ...]:
    """The targets that are set, none by default. Raises ConfigurationError."""
    urls = _listed("" if settings.webhooks is None else settings.webhooks.get_secret_value())
    secrets = _listed("" if settings.webhook_secrets is None else settings.webhook_secrets.get_secret_value())
    if len(set(urls)) != len(urls):
        raise ConfigurationError("EVENSKIN_WEBHOOKS names an address twice.", advice=_ADVICE)
    if urls and len(secrets) not in (1, len(urls)):
        raise ConfigurationError(
            f"EVENSKIN_WEBHOOKS names {len(urls)} addresses, EVENSKIN_WEBHOOK_SECRETS {len(secrets)} secrets.",
            advice=_ADVICE,
        )
    try:
        keys = [secret_bytes(secret) for secret in secrets]
    except ValueError as error:
        raise ConfigurationError(f"EVENSKIN_WEBHOOK_SECRETS: {error}", advice=_ADVICE) from None
    return tuple(_target(url, keys[number % len(keys)]) for number, url in enumerate(urls))


def target_name(url: str) -> str:
    """The host of a URL, and what tells it from others there."""
    return f"{urlsplit(url).hostname}/{hashlib.sha256(url.encode()).hexdigest()[:8]}"


def _listed(text: str) -> list[str]:
    return [part for part in re.split(r"[\s,]+", text) if part]


def _target(url: str, secret: bytes) -> Target:
    try:
        parts = urlsplit(url)
        is_address = parts.scheme in ("http", "https") and bool(parts.hostname) and "@" not in parts.netloc
        _ = parts.port
    except ValueError:
        is_address = False
    if not is_address or parts.fragment:
        raise ConfigurationError("EVENSKIN_WEBHOOKS holds what is no address.", advice=_ADVICE)
    return Target(url, secret, target_name(url))
