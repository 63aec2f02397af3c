"""Settings: environment variables `EVENSKIN_…`, a `.env` file, and for secrets also `…_FILE`.

Each service has one class that extends `Settings`. It is read once, in the service's `__main__`, and handed down.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared.errors import ConfigurationError
from shared.events import stated
from shared.message import first_problem

PREFIX = "EVENSKIN_"

Port = Annotated[int, stated(bounds="0 to 65535")]
Seconds = Annotated[float, stated(unit="seconds")]


class _FileSource(PydanticBaseSettingsSource):
    """Reads a value from the file that `<VARIABLE>_FILE` names, as container secrets are given."""

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = variable(field, field_name)
        path = os.environ.get(f"{name}_FILE")
        if not path:
            return None, field_name, False
        try:
            return Path(path).read_text().strip(), _key(field, field_name), False
        except OSError as error:
            raise ConfigurationError(f"{name}_FILE names '{path}', which cannot be read: {error.strerror}.") from error

    def __call__(self) -> dict[str, Any]:
        found = (self.get_field_value(field, name) for name, field in self.settings_cls.model_fields.items())
        return {key: value for value, key, _ in found if value is not None}


def _key(field: FieldInfo, name: str) -> str:
    return field.validation_alias if isinstance(field.validation_alias, str) else name


def variable(field: FieldInfo, name: str) -> str:
    """The environment variable of a setting."""
    return field.validation_alias if isinstance(field.validation_alias, str) else f"{PREFIX}{name.upper()}"


class Settings(BaseSettings):
    """The settings that every service has."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        extra="ignore",
        frozen=True,
        env_ignore_empty=True,
        populate_by_name=True,
        protected_namespaces=(),
        use_attribute_docstrings=True,  # docs/settings.md is written from them
    )

    home: Path = Path("var")
    """Directory of everything the embedded adapters keep."""
    amqp_url: SecretStr | None = None
    """Broker; absent: the in-process bus."""
    store_url: str | None = None
    """`file:///…` or `s3://bucket/prefix`; absent: `store/` under home."""
    s3_endpoint_url: str | None = None
    """Endpoint of an S3-compatible store; absent: Amazon's."""
    api_key: SecretStr | None = None
    """If set, every HTTP request but health, readiness and metrics must carry it as a bearer token."""
    allowed_hosts: Annotated[str, stated(bounds="names without a port, separated by commas")] = ""
    """Names that the HTTP server answers to without an API key, beside localhost, every address, and EVENSKIN_HOST."""
    host: str = "127.0.0.1"
    """Address that the HTTP server listens on."""
    port: Port = 8000
    """Port of the HTTP server; 0 takes a free one."""
    log_level: Annotated[str, stated(bounds="DEBUG, INFO, WARNING, ERROR or CRITICAL; another word is INFO")] = "INFO"
    """Least severe level that is logged."""
    log_format: Annotated[str, stated(bounds="json or console")] = "json"
    """`json` for machines, `console` for people."""
    drain_s: Annotated[Seconds, stated(bounds="0 or more")] = 25.0
    """Time that work in hand gets to finish after SIGTERM; compose kills after 30 seconds."""
    retry_delay_s: Annotated[Seconds, stated(bounds="0 or more")] = 5.0
    """Time before a failed event is tried again."""
    max_tries: Annotated[int, stated(unit="tries", bounds="1 or more")] = 5
    """Tries of an event before it goes to the dead-letter queue."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the environment, then `…_FILE`, then `.env`."""
        return init_settings, env_settings, _FileSource(settings_cls), dotenv_settings

    @classmethod
    def load(cls, **overrides: Any) -> Self:
        """Read the settings. Raises ConfigurationError, which names the wrong variable."""
        try:
            return cls(**overrides)
        except ValidationError as error:
            first = error.errors()[0]
            name = str(first["loc"][0]) if first["loc"] else ""
            field = cls.model_fields.get(name)
            wrong = variable(field, name) if field else name
            raise ConfigurationError(
                f"{wrong}: {first_problem(error)}.", advice=f"Correct {wrong} in the environment or in .env."
            ) from error

    @property
    def further_hosts(self) -> frozenset[str]:
        """The names in `allowed_hosts`."""
        return frozenset(name for part in self.allowed_hosts.lower().split(",") if (name := part.strip()))

    @property
    def store(self) -> str:
        """URL of the object store."""
        return self.store_url or (self.home.resolve() / "store").as_uri()
