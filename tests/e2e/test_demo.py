"""The whole loop from outside: `evenskin demo` on a smaller dataset, interrupted once, then served."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from services.demo.starting_set import UNBALANCED
from shared.model_card import SYNTHETIC_WARNING
from shared.taxonomy import Condition
from tests.eventually import LIMIT_S, LONG_LIMIT_S

SCALE = 0.1
QUICK_TRAINING = json.dumps({"images_seen": 400, "min_epochs": 2, "max_epochs": 2, "input_size": 96})


def environment(tmp_path: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVENSKIN_", "OPENAI_"))}
    return {**kept, "EVENSKIN_TRAINING": QUICK_TRAINING, "EVENSKIN_LOG_LEVEL": "ERROR", "HOME": str(tmp_path)}


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from services.console.cli import main; main()", *words]


def evenskin(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words), env=environment(tmp_path), capture_output=True, text=True, timeout=LONG_LIMIT_S, check=False
    )


def interrupt_once(tmp_path: Path, home: Path) -> None:
    """Start the demo and kill it without warning while it imports or trains."""
    process = subprocess.Popen(
        command("demo", "--home", str(home), "--scale", str(SCALE)),
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + LONG_LIMIT_S
    ledger = home / "ledger.sqlite3"
    while not ledger.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    time.sleep(1.5)
    process.kill()
    process.wait()
    assert ledger.exists(), "it was killed before it began to import"
    assert not (home / "report.json").exists(), "it was too late to interrupt anything"


@contextmanager
def served(tmp_path: Path, home: Path) -> Iterator[dict[str, str]]:
    process = subprocess.Popen(
        command("serve", "all", "--home", str(home), "--port", "0", "--model-port", "0"),
        env=environment(tmp_path),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + LIMIT_S
        while not (home / "run.json").exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        yield json.loads((home / "run.json").read_text())
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(LIMIT_S) == 0


def get(url: str, data: bytes | None = None) -> Any:
    request = urllib.request.Request(url, data=data, headers={"Content-Type": "image/jpeg"} if data else {})
    with urllib.request.urlopen(request, timeout=LIMIT_S) as answer:
        return json.load(answer)


@pytest.mark.timeout(3 * LONG_LIMIT_S)  # of three commands
def test_demo_runs_the_loop_goes_on_after_a_kill_and_is_served(tmp_path: Path) -> None:
    home = tmp_path / "home"
    interrupt_once(tmp_path, home)

    done = evenskin(tmp_path, "demo", "--home", str(home), "--scale", str(SCALE), "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    on_disk = json.loads((home / "report.json").read_text())
    assert on_disk["models"] == report["models"]

    # The dataset is exactly what was planned, whatever was interrupted.
    before = {condition.value: max(12, round(n * SCALE)) for condition, n in UNBALANCED.items()}
    assert report["dataset"]["before"] == before
    target = max(*before.values(), round(200 * SCALE))
    grown = {"redness", "pore_size", "textured_skin", "hyperpigmentation"}
    assert report["dataset"]["after"] == {c: target if c in grown else n for c, n in before.items()}
    assert report["plan"]["total"] == sum(target - before[c] for c in grown)
    assert report["plan"]["cost_usd"] == pytest.approx(0.03 * report["plan"]["total"])
    originals = sum(report["dataset"]["after"].values())
    assert report["dataset"]["variants"] == originals  # one flip each

    # Both models were measured on the same pictures, and nothing was dropped while they were swapped.
    models = report["models"]
    assert set(models["before"]["conditions"]) == set(models["after"]["conditions"]) == {c.value for c in Condition}
    for condition in Condition:
        one, other = (models[which]["conditions"][condition.value] for which in ("before", "after"))
        assert one["n"] == other["n"] > 0
        assert {"accuracy", "balanced_accuracy", "recall", "f1"} <= set(other)
    assert report["swap"]["sent"] > 0
    assert report["swap"]["failed"] == 0
    assert len(report["prediction"]["conditions"]) == len(Condition)
    assert set(report["seconds"]) >= {"draw", "import", "train_before", "train_after", "predict"}
    assert report["peak_memory_mb"] > 0

    # Both models say that they were trained on drawings, the imported ones included.
    cards = [json.loads(path.read_text()) for path in (home / "store/models").glob("*/card.json")]
    assert len(cards) == 2
    for card in cards:
        assert set(card["metadata"]["providers"]) == {"procedural"}
        assert SYNTHETIC_WARNING in card["metadata"]["warnings"]

    page = (home / "report.html").read_text()
    assert models["after"]["version"] in page
    exported = [path for path in (home / "dataset").rglob("*") if path.is_file()]
    assert len(exported) == 2 * originals
    assert {path.relative_to(home / "dataset").parts[0] for path in exported} == {c.value for c in Condition}

    # What it leaves is served, and a second demo has nothing left to do but tell.
    with served(tmp_path, home) as urls:
        balance = get(f"{urls['labeler_url']}/v1/balance")
        assert balance["images"] == {"accepted": originals, "pending": 0, "rejected": balance["images"]["rejected"]}
        picture = (home / "prediction.jpg").read_bytes()
        answer = get(f"{urls['model_url']}/v1/predictions", picture)
        live = json.loads((home / "store/models/live.json").read_text())
        assert answer["model_version"] == live["version"]
    again = evenskin(tmp_path, "demo", "--home", str(home), "--scale", str(SCALE), "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["models"]["after"]["version"] == models["after"]["version"]


def test_another_scale_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/demo.json").write_text('{"identity": "x", "scale": 1.0, "seconds": {}}')
    done = evenskin(tmp_path, "demo", "--home", str(tmp_path / "home"), "--scale", "0.5")
    assert done.returncode == 2
    assert done.stderr.startswith("error[conflict]")
    assert "Traceback" not in done.stderr
