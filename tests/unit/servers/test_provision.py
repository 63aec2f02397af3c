"""Test servers are found, named, or their lack is told: never passed over."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.servers import postgres, rabbitmq
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
        process.wait_until(lambda: False, timeout_s=10.0)


def test_a_process_that_is_never_ready_is_ended(tmp_path: Path) -> None:
    process = Process(["sleep", "60"], log=tmp_path / "log")
    with pytest.raises(ServerFailed, match="not ready after"):
        process.wait_until(lambda: False, timeout_s=0.1)
    process.stop()
