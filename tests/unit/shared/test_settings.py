"""Settings: where a value comes from, and how a wrong one is told."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from services.generator.settings import GeneratorSettings
from services.labeler_api.settings import LabelerSettings
from shared.adapters import open_blobs, open_bus
from shared.embedded.blobs import DirectoryBlobs
from shared.embedded.bus import InProcessBus
from shared.errors import ConfigurationError
from shared.settings import Settings


@pytest.fixture(autouse=True)
def _empty_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in os.environ:
        if variable.startswith(("EVENSKIN_", "OPENAI_")) and not variable.startswith("EVENSKIN_TEST_"):
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)


def test_defaults_need_nothing(tmp_path: Path) -> None:
    settings = LabelerSettings.load()
    assert settings.home == Path("var")
    assert settings.amqp_url is None
    assert settings.store == (tmp_path / "var" / "store").as_uri()
    assert settings.database == f"sqlite:///{tmp_path}/var/ledger.sqlite3"
    assert isinstance(open_bus(settings, service="test"), InProcessBus)
    assert isinstance(open_blobs(settings), DirectoryBlobs)


def test_the_order_of_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("EVENSKIN_API_KEY=from-dotenv\nEVENSKIN_PORT=1\nSOMETHING_ELSE=1\n")
    secret = tmp_path / "secret"
    secret.write_text("from-file\n")

    def key() -> str:
        found = Settings.load().api_key
        assert found is not None
        return found.get_secret_value()

    assert key() == "from-dotenv"
    assert Settings.load().port == 1
    monkeypatch.setenv("EVENSKIN_API_KEY_FILE", str(secret))
    assert key() == "from-file"
    monkeypatch.setenv("EVENSKIN_API_KEY", "")  # compose passes empty ones for those that are not set
    assert key() == "from-file"
    monkeypatch.setenv("EVENSKIN_API_KEY", "from-environment")
    assert key() == "from-environment"
    assert Settings.load(port=7).port == 7


def test_variables_with_names_of_their_own_are_read_from_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "openai"
    secret.write_text("sk-file\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(secret))
    found = GeneratorSettings.load().openai_api_key
    assert found is not None
    assert found.get_secret_value() == "sk-file"


def test_secrets_are_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENSKIN_API_KEY", "hunter2")
    monkeypatch.setenv("EVENSKIN_AMQP_URL", "amqp://user:hunter2@host/")
    monkeypatch.setenv("EVENSKIN_DATABASE_URL", "postgresql://user:hunter2@host/name")
    assert "hunter2" not in repr(LabelerSettings.load())


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("EVENSKIN_PORT", "http"),
        ("EVENSKIN_DRAIN_S", "soon"),
        ("EVENSKIN_IMAGE_PRICE_USD", "-1"),
        ("EVENSKIN_IMAGES_PER_MINUTE", "0"),
        ("EVENSKIN_REQUEST_DEADLINE_S", "0"),
    ],
)
def test_a_wrong_value_names_its_variable(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(ConfigurationError) as raised:
        LabelerSettings.load()
    assert raised.value.message.startswith(variable)
    assert variable in raised.value.advice
    assert raised.value.exit_status == 2


def test_a_secret_s_file_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENSKIN_API_KEY_FILE", "/nowhere/key")
    with pytest.raises(ConfigurationError, match=r"EVENSKIN_API_KEY_FILE.*/nowhere/key"):
        Settings.load()


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://", "nonsense"])
def test_a_store_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="EVENSKIN_STORE_URL"):
        open_blobs(Settings.load(store_url=url))
