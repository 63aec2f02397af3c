"""`evenskin reproduce` and `cross-validate` from outside: drawn faces, one's own folder, a dataset version; a kill."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from PIL import Image

from services.demo.experiments.arms import ARMS
from shared.manifest import dump_manifest
from shared.taxonomy import Condition, Severity
from tests.eventually import LONG_LIMIT_S
from tests.unit.trainer.squares import Dataset, dataset_of, drawn

QUICK: dict[str, Any] = {"images_seen": 300, "min_epochs": 2, "max_epochs": 2, "input_size": 32}
QUICK |= {"model": {"scales": 2, "cell": 8, "width": 8, "depth": 1}}
PLAIN = {"EVENSKIN_BACKBONE": "none", "EVENSKIN_FACES": "off"}
SCALE = ("--scale", "0.05")
START = {"start_plain", "start_sampled", "start", "start_leaking"}


def environment(tmp_path: Path, training: dict[str, Any]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("EVENSKIN_", "OPENAI_"))}
    own = {"EVENSKIN_TRAINING": json.dumps(training), "EVENSKIN_HOME": str(tmp_path / "home"), "HOME": str(tmp_path)}
    return {**kept, **PLAIN, **own}


def command(*words: str) -> list[str]:
    return [sys.executable, "-c", "from services.console.cli import main; main()", *words]


def evenskin(tmp_path: Path, *words: str, training: dict[str, Any] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*words),
        env=environment(tmp_path, training or QUICK),
        capture_output=True,
        text=True,
        timeout=LONG_LIMIT_S,
        check=False,
    )


def document(done: subprocess.CompletedProcess[str]) -> Any:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def write_folder(root: Path, dataset: Dataset) -> None:
    for image in dataset.images:
        ((condition, severity),) = image.labels.items()
        assert severity is not None
        path = root / condition / severity.label / f"{image.image_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(dataset.files[image.key])


def start_and_kill_in_mid_run(tmp_path: Path, out: Path) -> list[Path]:
    """Kill the experiment without warning once the first arm is measured. Returns what it left."""
    process = subprocess.Popen(
        command("reproduce", "--seeds", "1", *SCALE, "--out", str(out)),
        env=environment(tmp_path, QUICK),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + LONG_LIMIT_S
    while not list(out.glob("seed-*.json")) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert not (out / "results.json").exists(), "it was too late to interrupt anything"
    return list(out.glob("seed-*.json"))


def test_drawn_faces_with_a_kill_in_the_middle(tmp_path: Path) -> None:
    out = tmp_path / "out"
    left = {path: path.stat().st_mtime_ns for path in start_and_kill_in_mid_run(tmp_path, out)}
    assert 0 < len(left) < len(ARMS)
    found = document(evenskin(tmp_path, "reproduce", "--seeds", "1", *SCALE, "--out", str(out), "--json"))
    assert {path: path.stat().st_mtime_ns for path in left} == left
    assert {result["arm"] for result in found["results"]} == {arm.name for arm in ARMS}
    assert len(list(out.glob("seed-1-*.json"))) == len(ARMS)
    assert sum(found["sets"]["start"].values()) < sum(found["sets"]["balanced"].values())
    for result in found["results"]:
        size = sum(found["sets"]["start" if result["arm"] in START else "balanced"].values())
        assert result["pictures"] == size
        assert result["test"]["overall"]["n"] == 42  # the same six of each condition
        leaking = result["arm"].endswith("leaking")
        assert (result["own"]["overall"]["n"] > 0.25 * size) == leaking  # flips are in its own fold too
    assert (out / "results.md").read_text().count("|") > 100
    again = evenskin(tmp_path, "reproduce", "--seeds", "1", *SCALE, "--out", str(out))
    assert again.stdout == (out / "results.md").read_text()
    assert "seed 1," not in again.stderr  # nothing was trained again

    other = evenskin(
        tmp_path, "reproduce", "--seeds", "1", *SCALE, "--out", str(out), training=QUICK | {"learning_rate": 0.02}
    )
    assert (other.returncode, other.stderr.startswith("error[conflict]")) == (2, True)


def test_own_folder_loses_pictures_for_the_unbalanced_start(tmp_path: Path) -> None:
    dataset = dataset_of(20, list(Condition)[:3])
    write_folder(tmp_path / "data", dataset)
    clear = tmp_path / "data" / "clear"
    clear.mkdir()
    for number in range(8):
        (clear / f"{number}.png").write_bytes(drawn({}, 5000 + number))
    both = tmp_path / "data" / "acne" / "mild" / "both.png"  # the same file again, as another condition
    both.write_bytes(next(iter((tmp_path / "data" / "redness" / "mild").iterdir())).read_bytes())
    (tmp_path / "data" / "acne" / "mild" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    words = ("reproduce", "--data", str(tmp_path / "data"), "--seeds", "2", "--out", str(tmp_path / "out"))
    found = document(evenskin(tmp_path, *words, "--json"))
    assert found["conditions"] == ["acne", "redness", "pore_size"]
    assert list(found["left_out"]["unreadable"]) == ["acne/mild/broken.png"]
    assert found["left_out"]["several_conditions"] == 1
    start, balanced = found["sets"]["start"], found["sets"]["balanced"]
    assert start["acne"] > start["redness"]  # as the seed's start has it
    assert balanced["redness"] > start["redness"]
    assert max(max(counts.values()) for counts in found["sets"].values()) <= 16  # a fifth is the test fold
    assert [result["seed"] for result in found["results"]] == [1] * len(ARMS) + [2] * len(ARMS)
    assert {result["test"]["overall"]["n"] for result in found["results"]} == {4 + 4 + 4 + 2}
    for arm in found["arms"].values():
        assert arm["test"]["overall"]["balanced_accuracy"]["n"] == 2


def test_cross_validation_tests_every_picture_once(tmp_path: Path) -> None:
    dataset = dataset_of(12, list(Condition)[:3])
    write_folder(tmp_path / "data", dataset)
    copy = tmp_path / "data" / "acne" / "mild" / "copy.jpg"
    first = dataset.images[0]
    assert first.labels == {Condition.ACNE: Severity.MILD}
    with Image.open(io.BytesIO(dataset.files[first.key])) as image:
        image.save(copy, quality=95)  # the same face, encoded anew
    found = document(evenskin(tmp_path, "cross-validate", str(tmp_path / "data"), "--folds", "3", "--json"))
    assert (found["images"], found["roots"], len(found["folds"])) == (37, 36, 3)
    assert sum(fold["overall"]["n"] for fold in found["folds"]) == 37
    for condition, shown in (("acne", 13), ("redness", 12), ("pore_size", 12), ("aging", 0)):
        assert found["pooled"]["conditions"][condition]["positives"] == shown
        assert sum(fold["conditions"][condition]["positives"] for fold in found["folds"]) == shown
    assert found["pooled"]["overall"]["n"] == 37
    told = evenskin(tmp_path, "cross-validate", str(tmp_path / "data"), "-k", "3").stdout
    assert "37 pictures of 36 roots, 3 folds" in told
    assert "| redness " in told
    assert "aging" not in told


def test_cross_validation_of_a_dataset_version(tmp_path: Path) -> None:
    dataset = dataset_of(8, list(Condition)[:2])
    store = tmp_path / "home" / "store"
    for key, data in {**dataset.files, "datasets/d1/manifest.jsonl": dump_manifest(dataset.images)}.items():
        path = store / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    found = document(evenskin(tmp_path, "cross-validate", "d1", "--folds", "2", "--json"))
    assert (found["images"], found["roots"], len(found["folds"])) == (16, 16, 2)
