"""Chooses the adapters of the two ports by the settings."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from shared.blobs import Blobs
from shared.bus import Bus
from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.errors import ConfigurationError
from shared.settings import Settings


def open_bus(settings: Settings, *, service: str) -> Bus:
    """RabbitMQ where EVENSKIN_AMQP_URL is set, else the in-process bus. Not started yet."""
    if settings.amqp_url is None:
        return InProcessBus(settings.home / "dead")
    from shared.remote.bus import RabbitBus  # a driver: loaded only where it is used

    return RabbitBus(settings.amqp_url.get_secret_value(), connection_name=service)


def open_blobs(settings: Settings) -> Blobs:
    """A directory or S3, as EVENSKIN_STORE_URL says. Raises ConfigurationError."""
    url = urlsplit(settings.store)
    if url.scheme == "file":
        return DirectoryBlobs(Path(unquote(url.path)))
    if url.scheme == "s3" and url.netloc:
        return open_bucket(settings.store, settings.s3_endpoint_url)
    raise ConfigurationError(
        f"EVENSKIN_STORE_URL is '{settings.store}'.", advice="Use file:///directory or s3://bucket/prefix."
    )


def open_bucket(url: str, endpoint_url: str | None) -> Blobs:
    """What lies at `s3://bucket/prefix`. Raises ConfigurationError for another address, or without the driver."""
    parts = urlsplit(url)
    if parts.scheme != "s3" or not parts.netloc:
        raise ConfigurationError(f"'{url}' is no bucket.", advice="Write it as s3://bucket/prefix.")
    try:
        from shared.remote.blobs import S3Blobs  # a driver: loaded only where it is used
    except ModuleNotFoundError as error:
        raise ConfigurationError("The driver for S3 is not installed.", advice="Install evenskin[remote].") from error
    return S3Blobs(parts.netloc, prefix=parts.path.strip("/"), endpoint_url=endpoint_url)
