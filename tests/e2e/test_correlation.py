"""One id from the request to the served model: from outside, in the logs of all services."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from pathlib import Path
from typing import Any

from tests.eventually import LIMIT_S, LONG_LIMIT_S

QUICK_TRAINING = json.dumps({"images_seen": 100, "min_epochs": 1, "max_epochs": 1, "input_size": 64})
MAIN = "from services.console.cli import main; main()"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
CORRELATION = "from-the-outside-1"
# A fixed id: the images' ids follow from it, and so do their folds, of which 14, 6 and 8 images are.
REQUEST = {"target_per_condition": 4, "campaign_id": "00000000-0000-0000-0000-000000000007"}


def answer(url: str, body: object = None, headers: dict[str, str] | None = None) -> tuple[Any, dict[str, str]]:
    """One request's document and headers."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "application/json", **(headers or {})})
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answered:
        return json.load(answered), dict(answered.headers)


def wait_for(path: Path, process: subprocess.Popen[bytes]) -> dict[str, str]:
    """Where the services listen, once they do."""
    deadline = time.monotonic() + LIMIT_S
    while not path.exists():
        assert process.poll() is None
        assert time.monotonic() < deadline, "the services did not start"
        time.sleep(0.05)
    urls: dict[str, str] = json.loads(path.read_text())
    return urls


def test_one_id_leads_from_the_request_to_the_served_model(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVENSKIN_", "OTEL_"))}
    errors, home = tmp_path / "errors", tmp_path / "home"
    with errors.open("wb") as stream:
        process = subprocess.Popen(
            [sys.executable, "-c", MAIN, "serve", "all", "--home", home, "--port", "0", "--model-port", "0"],
            env={**kept, "EVENSKIN_TRAINING": QUICK_TRAINING},
            stdout=subprocess.DEVNULL,
            stderr=stream,
        )
    try:
        urls = wait_for(home / "run.json", process)
        campaign, headers = answer(
            f"{urls['labeler_url']}/v1/rebalances",
            REQUEST,
            {"X-Correlation-ID": CORRELATION, "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"},
        )
        assert headers["X-Correlation-ID"] == CORRELATION
        deadline = time.monotonic() + LONG_LIMIT_S
        while b'"model_served"' not in errors.read_bytes():
            assert process.poll() is None
            assert b'"event_dead"' not in errors.read_bytes(), errors.read_text()[-2000:]
            assert time.monotonic() < deadline, errors.read_text()[-2000:]
            time.sleep(0.2)
        model, _ = answer(f"{urls['model_url']}/v1/model")
        ended, _ = answer(f"{urls['labeler_url']}/v1/rebalances/{campaign['id']}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)

    lines = [json.loads(line) for line in errors.read_text().splitlines() if line.startswith("{")]
    said = defaultdict(set)
    for line in lines:
        if line.get("correlation_id") == CORRELATION:
            assert line["trace_id"] == TRACE
            said[line["service"]].add(line["event"])
    assert said["labeler-api"] >= {"request", "campaign_settled", "quota_met"}
    assert "image_generated" in said["generator"]
    assert "image_augmented" in said["augmenter"]
    assert said["trainer"] >= {"training_started", "model_stored"}
    assert "model_served" in said["model-server"]
    (served,) = (line for line in lines if line["event"] == "model_served")
    assert served["version"] == model["version"]
    assert ended["model"] is None or ended["model"]["version"] == model["version"]
    # Every image was made for this request, and what was not asked for by it says so.
    made = [line for line in lines if line["event"] == "image_generated"]
    assert len(made) >= 28
    assert {line["correlation_id"] for line in made} == {CORRELATION}
    assert all(line.get("correlation_id") != CORRELATION for line in lines if line["event"] == "service_started")
