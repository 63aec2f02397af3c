"""Test servers are found, named, or their lack is told: never passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.eventually import LIMIT_S
from tests.servers import chromium, postgres, rabbitmq
from tests.servers.process import Process, ServerFailed


@pytest.mark.parametrize(("kind", "package"), [(rabbitmq, "rabbitmq-server"), (postgres, "postgresql")])
def test_where_no_server_can_be_had_the_error_says_what_to_install(
    kind: object, package: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("EVENSKIN_TEST_AMQP_URL", raising=False)
    monkeypatch.delenv("EVENSKIN_TEST_POSTGRES_URL", raising=False)
    for name, answer in (("installed", None), ("can_apt", False), ("docker_answers", False)):
        monkeypatch.setattr(kind, name, lambda answer=answer: answer)
    with pytest.raises(ServerFailed, match=f"apt-get install {package}.*EVENSKIN_TEST_"):
        kind.start(tmp_path)  # type: ignore[attr-defined]


def test_a_server_that_is_named_is_used_and_not_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVENSKIN_TEST_POSTGRES_URL", "postgresql+asyncpg://me@db.example/postgres")
    server = postgres.start(tmp_path)
    server.stop()
    assert server.facts == {"url": "postgresql://me@db.example/postgres"}


def test_a_process_that_ends_early_is_told_with_its_log(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo the reason; exit 3"], log=tmp_path / "log")
    with pytest.raises(ServerFailed, match=r"ended with 3:\nthe reason"):
        process.wait_until(lambda: False, timeout_s=LIMIT_S)


def test_a_process_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    process = Process(["sleep", "60"], log=tmp_path / "log")
    with pytest.raises(ServerFailed, match="not ready after"):
        process.wait_until(lambda: False, timeout_s=0.1)
    process.stop()


def test_where_no_browser_can_be_had_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServerFailed, match=f"apt-get install chromium.*{chromium.VARIABLE}"):
        chromium.executable()


@pytest.mark.parametrize("name", ["chromium", "chromium-browser", "google-chrome"])
def test_a_browser_on_the_path_is_found(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    (tmp_path / name).touch(mode=0o755)
    assert chromium.executable() == tmp_path / name


def test_a_browser_that_is_named_is_taken_or_its_lack_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = tmp_path / "my-browser"
    monkeypatch.setenv(chromium.VARIABLE, str(named))
    with pytest.raises(ServerFailed, match=r"my-browser', which cannot be run\. .*apt-get install chromium"):
        chromium.executable()
    named.touch(mode=0o755)
    assert chromium.executable() == named


def test_a_browser_is_installed_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(chromium.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(chromium, "can_apt", lambda: True)
    monkeypatch.setattr(chromium, "apt_install", lambda name: (tmp_path / name).touch(mode=0o755))
    assert chromium.executable() == tmp_path / "chromium"
    monkeypatch.setattr(chromium, "apt_install", lambda name: pytest.fail("It is there already."))
    chromium.prepare()
