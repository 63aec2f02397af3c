"""The `evenskin` command from outside: what it prints where, its exit status, and what it does with nonsense."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tracemalloc
import types
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partialmethod
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from services.console import all_in_one as all_services
from services.console import cli
from services.console.client import LabelerClient
from services.console.commands import campaigns, importing, serving
from services.console.commands.watching import Pace
from services.console.import_folder import read_folder
from services.console.tables import Look, campaign_view, look_line, plan_table
from shared.documents.rebalances import Campaign, PlanDocument, PlanWarning, QuotaDocument
from shared.errors import DatabaseUnavailable, NoModel, Overloaded, StoreFull, Unauthorized
from shared.model_card import ModelCard
from shared.sign_in import Person, Role, SignIn, accounts_in
from shared.taxonomy import MONK_TONES, Condition
from tests.eventually import LIMIT_S
from tests.fakes.evenskin_server import (
    CAMPAIGN_ID,
    FakeServer,
    campaign_document,
    export_tar,
    finished_campaign,
    image_document,
    live_document,
    model_document,
    serve_in_thread,
)
from tests.fakes.model_cards import MODEL, comparison
from tests.fakes.model_cards import card as model_card

JPEG = b"\xff\xd8 a picture"

Invoke = Callable[..., "Ran"]


class Ran:
    """One command line's exit status and output."""

    def __init__(self, status: int, out: str, err: str) -> None:
        self.status, self.out, self.err = status, out, err

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    yield from serve_in_thread(FakeServer())


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No setting of the machine or the repository reaches a test."""
    for name in [name for name in os.environ if name.startswith("EVENSKIN_")]:
        monkeypatch.delenv(name)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return work


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str]) -> Invoke:
    """Run a command line in this process."""

    def invoke(*arguments: str | Path) -> Ran:
        status = cli.invoke([str(argument) for argument in arguments])
        sys.stdout.flush()
        sys.stderr.flush()
        captured = capfd.readouterr()
        assert "Traceback" not in captured.err
        return Ran(status, captured.out, captured.err)

    return invoke


@pytest.fixture
def told(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> FakeServer:
    """The fake server, named by the environment."""
    monkeypatch.setenv("EVENSKIN_LABELER_URL", server.url)
    monkeypatch.setenv("EVENSKIN_MODEL_URL", server.url)
    return server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "faces"
    for name in ("acne/mild/a.jpg", "acne/b.jpg", "redness/severe/c.png", "clear/d.webp", "clear/notes.txt"):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
    return root


# Help and usage


@pytest.mark.parametrize(
    "command",
    [
        "demo",
        "serve",
        "import",
        "plan",
        "rebalance",
        "train",
        "status",
        "reviews",
        "token",
        "predict",
        "look",
        "sheet",
        "export",
        "models list",
        "models compare",
        "models export",
        "models promote",
        "models rollback",
        "dead list",
        "dead replay",
    ],
)
def test_every_command_has_help(run: Invoke, command: str) -> None:
    ran = run(*command.split(), "--help")
    assert ran.status == 0
    assert "Usage: evenskin " + command in ran.out


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import sys; from services.console import cli; cli.invoke(['--help']);"
        "sys.exit(','.join({'aiohttp', 'pydantic', 'numpy', 'torch', 'PIL', 'rich'} & set(sys.modules)))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=_root(), check=False)
    assert ran.stderr.strip() == ""


def _root() -> Path:
    return Path(cli.__file__).parents[2]


@pytest.mark.parametrize(
    "arguments",
    [
        ["fly"],
        ["plan", "many"],
        ["plan", "--tagret", "5"],
        ["predict"],
        ["look"],
        ["models", "promote"],
        ["serve"],
        ["demo", "--scale", "7"],
    ],
)
def test_a_wrong_command_line_is_the_users_to_mend(run: Invoke, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith("error[usage]: ")
    assert "  → See `evenskin" in ran.err
    told = run(*arguments, "--json")
    assert told.status == 2
    assert told.json["code"] in ("usage", "invalid_request")


@pytest.mark.parametrize("arguments", [[], ["models"], ["dead"]])
def test_no_command_shows_the_help(run: Invoke, arguments: list[str]) -> None:
    ran = run(*arguments)
    assert ran.status == 2
    assert "Usage: evenskin" in ran.err


# sheet


@pytest.fixture
def shelf(told: FakeServer) -> FakeServer:
    """A server that has 230 images of two conditions and all tones, whose thumbnails are red."""
    buffer = io.BytesIO()
    Image.new("RGB", (120, 160), "red").save(buffer, "WEBP", lossless=True)
    told.thumbnail = buffer.getvalue()
    for number in range(230):
        labels = {"acne" if number % 2 else "redness": ("mild", "severe")[number % 4 // 2]}
        image = image_document(f"image-{number:04d}", labels, complete=True, skin_tone=1 + number % 10)
        told.images[image["id"]] = image | {"status": "rejected" if number % 5 == 0 else "accepted"}
    return told


def test_a_sheet_shows_a_hundred_images_at_a_glance(run: Invoke, shelf: FakeServer, tmp_path: Path) -> None:
    ran = run("sheet", "--out", tmp_path / "all.png")
    assert (ran.status, ran.err) == (0, "")
    assert "100 images: all, drawn on" in ran.out
    with Image.open(tmp_path / "all.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB"))
    # Ten by ten pictures of 120 by 160, red, each in a square of 160 on the sheet.
    red = (pixels == (255, 0, 0)).all(axis=2)
    assert red.sum() == 100 * 120 * 160
    assert (red.any(axis=0).sum(), red.any(axis=1).sum()) == (10 * 120, 10 * 160)


@pytest.mark.parametrize(
    ("options", "fits"),
    [
        (["-c", "acne"], lambda image: "acne" in image["labels"]),
        (["-c", "rosacea", "--severity", "strong"], lambda image: image["labels"].get("redness") == "severe"),
        (
            ["--tone", "7", "--state", "accepted"],
            lambda image: (image["skin_tone"], image["status"]) == (7, "accepted"),
        ),
        (["--limit", "1000"], lambda image: True),
        (["--limit", "3"], lambda image: image["id"] < "image-0003"),
    ],
)
def test_a_sheet_shows_what_is_selected_in_the_order_it_came(
    run: Invoke, shelf: FakeServer, tmp_path: Path, options: list[str], fits: Callable[[dict[str, Any]], bool]
) -> None:
    document = run("sheet", *options, "-o", tmp_path / "sheet.jpg", "--json").json
    expected = [image["id"] for image in shelf.images.values() if fits(image)]
    assert document["images"] == expected[: 1000 if "--limit" in options else 100]
    assert document["without_picture"] == []
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.format == "JPEG"


def test_an_image_without_its_picture_has_an_empty_place(run: Invoke, shelf: FakeServer, tmp_path: Path) -> None:
    shelf.without_picture = {"image-0001"}
    ran = run("sheet", "--limit", "4", "-o", tmp_path / "s.webp")
    assert ran.status == 1
    assert "1 of them without a picture" in ran.out
    assert (tmp_path / "s.webp").exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--tone", "11"], "invalid_request"),
        (["--severity", "mild"], "invalid_request"),
        (["--limit", "0"], "invalid_request"),
        (["--limit", "1001"], "invalid_request"),
        (["-c", "freckles"], "unknown_condition"),
        (["-c", "acne", "--severity", "awful"], "unknown_severity"),
        (["-c", "aging"], "not_found"),
        (["-o", "sheet.pdf"], "invalid_request"),
        (["-o", "no/such/folder/sheet.jpg"], "invalid_request"),
    ],
)
def test_a_sheet_of_nothing_or_nowhere_is_told(
    run: Invoke, shelf: FakeServer, nowhere: Path, options: list[str], code: str
) -> None:
    ran = run("sheet", *options)
    assert ran.status == 2
    assert f"error[{code}]" in ran.err
    assert not list(nowhere.glob("*sheet*"))


# plan


def test_the_plan_is_shown_with_cost_and_duration(run: Invoke, told: FakeServer) -> None:
    ran = run("plan", "200", "-c", "redness", "-c", "pore_size,textured_skin", "-c", "hyperpigmentation")
    assert (ran.status, ran.err) == (0, "")
    assert "$15.60" in ran.out
    assert "520 images" in ran.out
    assert "about 10 min 24 s at 50 a minute" in " ".join(ran.out.split())
    redness = next(line.split() for line in ran.out.splitlines() if line.strip().startswith("redness"))
    assert redness == ["redness", "200", "134", "45", "45", "44", "$4.02"]


def test_the_plan_shows_each_severity_s_skin_tones_below_those_that_are_there(run: Invoke, told: FakeServer) -> None:
    out = run("plan", "200", "-c", "redness").out
    lines = [line.split() for line in out[out.index("Skin tones") :].splitlines()]
    assert ["condition", *map(str, MONK_TONES)] in lines
    assert ["redness", "there", "66", *["–"] * 9] in lines
    assert ["+", "mild", "–", "45", *["–"] * 8] in lines
    assert ["+", "severe", "–", "44", *["–"] * 8] in lines


def test_what_to_know_about_the_price_is_shown_under_the_plan() -> None:
    told = PlanDocument(
        targets={Condition.ACNE: 1},
        missing={Condition.ACNE: 1},
        quotas=(QuotaDocument(condition=Condition.ACNE, severity="mild", count=1),),
        total=1,
        price_usd=0.03,
        cost_usd=0.03,
        worst_cost_usd=0.03,
        max_attempts=1,
        provider="openai",
        images_per_minute=1,
        duration_s=60,
        warnings=(PlanWarning(code="prices_old", message="The list is old."),),
    )
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(plan_table(told))
    assert "Note: The list is old." in console.export_text()


def test_the_plan_for_scripts_is_the_services_document(run: Invoke, told: FakeServer) -> None:
    plan = run("plan", "--targets", "redness=200, wrinkles:130", "--max-attempts", "2", "--json").json
    assert plan["targets"] == {**dict.fromkeys(plan["targets"], 0), "redness": 200, "fine_lines": 130}
    assert (plan["total"], plan["max_attempts"]) == (138, 2)


def test_nothing_missing_is_said(run: Invoke, told: FakeServer) -> None:
    assert "Nothing is missing" in run("plan", "--target", "0").out


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["plan"], "invalid_request"),
        (["plan", "--target", "-1"], "invalid_target"),
        (["plan", "100001"], "invalid_target"),
        (["plan", "5", "-c", "freckles"], "unknown_condition"),
        (["plan", "-c", "acne"], "invalid_request"),
        (["plan", "--targets", "acne"], "invalid_request"),
        (["plan", "--targets", "acne=x"], "invalid_request"),
        (["plan", "--targets", "acne=1,acne=2"], "invalid_request"),
        (["plan", "--targets", "acne=-1"], "invalid_target"),
        (["plan", "--targets", "freckles=3"], "unknown_condition"),
        (["plan", "5", "--max-attempts", "0"], "invalid_request"),
        (["rebalance", "5", "--max-attempts", "21"], "invalid_request"),
        (["rebalance", "5", "--review", "never"], "invalid_request"),
        (["rebalance", "5", "--max-cost", "-1"], "usage"),
    ],
)
def test_nonsense_targets_reach_no_service(run: Invoke, told: FakeServer, arguments: list[str], code: str) -> None:
    ran = run(*arguments)
    assert (ran.status, ran.out) == (2, "")
    assert ran.err.startswith(f"error[{code}]: ")
    assert told.queries == []
    assert run(*arguments, "--json").json["code"] == code


# rebalance and train


def test_a_rebalance_is_published(run: Invoke, told: FakeServer) -> None:
    ran = run("rebalance", "70", "-c", "redness", "--max-attempts", "2", "--max-cost", "5", "--review", "manual")
    assert ran.status == 0
    assert CAMPAIGN_ID in ran.out
    assert "4 images from procedural: $0.12" in ran.err
    sent = told.rebalances[0]
    assert sent.pop("campaign_id")
    assert sent == {
        "target_per_condition": 70,
        "conditions": ["redness"],
        "max_attempts": 2,
        "max_cost_usd": 5.0,
        "review": "manual",
    }


def test_a_rebalance_is_followed_to_its_model(run: Invoke, told: FakeServer) -> None:
    ran = run("rebalance", "70", "-c", "redness", "--wait")
    assert ran.status == 0
    assert "Model v2 is live. balanced accuracy 75.0 %" in ran.out
    assert "running: 50 % of 4 images" in ran.err
    assert "training: epoch 1 of 2" in ran.err
    assert run("rebalance", "70", "--wait", "--json").json["model"]["version"] == "v2"


def test_a_model_that_was_not_promoted_says_why(run: Invoke, told: FakeServer) -> None:
    last = told.streamed[-1]
    comparison = {"verdict": "undecided", "reason": "The evidence is too thin. The live model stays."}
    told.streamed[-1] = {**last, "model": {**last["model"], "promoted": False, "comparison": comparison}}
    ran = run("train")
    assert ran.status == 0
    assert "Model v2 was not promoted." in ran.out
    assert "The evidence is too thin. The live model stays." in ran.out


def test_training_is_a_rebalance_to_zero(run: Invoke, told: FakeServer) -> None:
    assert run("train", "--json").json["model"]["version"] == "v2"
    assert told.rebalances[0]["target_per_condition"] == 0


@pytest.mark.parametrize("state", ["exhausted", "rejected"])
def test_a_campaign_that_fails_is_told(run: Invoke, told: FakeServer, state: str) -> None:
    told.streamed = [campaign_document(state=state, reason="Nothing more could be generated.")]
    ran = run("rebalance", "70", "--wait")
    assert ran.status == 1
    assert "Nothing more could be generated." in ran.out


def test_a_training_that_failed_ends_the_wait(run: Invoke, told: FakeServer) -> None:
    told.streamed = [campaign_document(state="met"), campaign_document(state="met", reason="not trained: too small")]
    ran = run("train")
    assert ran.status == 1
    assert "not trained: too small" in ran.out


@pytest.mark.usefixtures("_quick")
def test_watching_ends_with_a_training_that_failed(run: Invoke, told: FakeServer) -> None:
    counted = {"total": 4, "counted": 4, "failed": 0, "open": 0}
    told.shown = [
        campaign_document(state="met", slots=counted, reason=reason) for reason in (None, "not trained: too small")
    ]
    ran = run("status", "--watch")
    assert ran.status == 1
    assert "met: 4 of 4 images, $0.00 spent, not trained: too small" in ran.out.splitlines()
    told.listed = [campaign_document(state="met", reason="not trained: too small")]
    assert "not trained: too small" in run("status", "--json").json["rebalances"][0]["reason"]


def test_a_training_that_was_given_up_ends_the_wait(
    run: Invoke, told: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(campaigns, "LOOK_S", 0.05)
    told.streamed = [campaign_document(state="met")]
    letter = {"id": "1", "queue": "trainer.QuotaMet", "event": "QuotaMet", "tries": 1, "died_at": "2026-01-01"}
    told.dead = [{**letter, "error": "DatasetTooSmall: 3 images", "body": json.dumps({"campaign_id": CAMPAIGN_ID})}]
    ran = run("train")
    assert ran.status == 1
    assert ran.err.splitlines()[-2:] == [
        "error[training_failed]: The training was given up: DatasetTooSmall: 3 images",
        "  → When the cause is mended, `evenskin dead replay` tries it again.",
    ]


def test_a_plan_over_the_budget_starts_nothing(run: Invoke, told: FakeServer) -> None:
    ran = run("rebalance", "200", "--max-cost", "1", "--json")
    assert ran.status == 2
    assert ran.json["code"] == "over_budget"
    assert told.rebalances == []


@pytest.mark.parametrize(("answer", "status", "started"), [("y\n", 0, 1), ("n\n", 1, 0), ("", 130, 0)])
def test_what_costs_is_asked_for_on_a_terminal(
    run: Invoke, told: FakeServer, monkeypatch: pytest.MonkeyPatch, answer: str, status: int, started: int
) -> None:
    _on_a_terminal(monkeypatch, answer)
    ran = run("rebalance", "70")
    assert ran.status == status
    assert "$" in ran.err
    assert len(told.rebalances) == started


def test_yes_and_a_price_of_nothing_are_not_asked(
    run: Invoke, told: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    _on_a_terminal(monkeypatch, "")
    assert run("rebalance", "70", "--yes").status == 0
    told.price_usd = 0.0
    assert run("rebalance", "70").status == 0


def _on_a_terminal(monkeypatch: pytest.MonkeyPatch, answer: str) -> None:
    class Terminal:
        """Says it is one and knows what will be typed."""

        def __init__(self, stream: Any) -> None:
            self._stream = stream

        def isatty(self) -> bool:
            return True

        def readline(self, *_: int) -> str:
            return answer

        def __getattr__(self, name: str) -> Any:
            return getattr(self._stream, name)

    monkeypatch.setattr("sys.stdin", Terminal(sys.stdin))
    monkeypatch.setattr("sys.stderr", Terminal(sys.stderr))

    def typed(prompt: str = "") -> str:
        if not answer:
            raise KeyboardInterrupt
        return answer.strip()

    monkeypatch.setattr("builtins.input", typed)


# import


def test_a_folder_is_imported_once(run: Invoke, told: FakeServer, folder: Path) -> None:
    ran = run("import", folder)
    assert ran.status == 0
    assert "4 imported, 0 already there, 0 refused (1 other file passed over" in ran.out
    labels = [image["labels"] for image in told.images.values()]
    assert {"acne": "mild"} in labels
    assert {"acne": None} in labels
    assert {} in labels
    assert all(image["complete"] for image in told.images.values())
    again = run("import", folder, "--json")
    assert again.json == {
        "imported": 0,
        "already_there": 4,
        "copies": 0,
        "copied_files": [],
        "passed_over": 1,
        "passed_over_files": [{"path": "clear/notes.txt", "reason": "no picture, by its ending"}],
        "near_duplicates": [],
        "kept_out": [],
        "split": None,
        "other_fold": [],
        "unread_columns": [],
        "refused": [],
    }


@pytest.mark.parametrize("name", [":smile:.png", "[red].png", "[bold].png"])
def test_names_are_shown_as_they_are(run: Invoke, told: FakeServer, folder: Path, name: str) -> None:
    (folder / "clear" / name).touch()
    assert f"clear/{name}: " in run("import", folder).out
    assert f"{name}: " in run("predict", folder / "clear" / name, "--url", told.url).err


@pytest.mark.parametrize("arguments", [["status"], ["status", "--json"], ["plan", "200"], ["models", "list"]])
def test_a_terminal_without_every_character_ends_no_command(told: FakeServer, arguments: list[str]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "services.console.cli", *arguments],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "EVENSKIN_LABELER_URL": told.url, "PYTHONPATH": str(_root())},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.isascii()


def test_names_that_are_no_text_are_told_as_text(run: Invoke, told: FakeServer, folder: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(folder) + b"/clear/caf\xe9\n.png"))
    odd.touch()
    ran = run("import", folder, "--json")
    assert ran.status == 1
    assert [entry["path"] for entry in ran.json["refused"]] == [r"clear/caf\xe9\n.png"]
    assert r"caf\xe9\n.png" in run("import", folder).out
    (answer,) = run("predict", odd, "--json").json["predictions"]
    assert answer["file"].endswith(r"clear/caf\xe9\n.png")


def test_an_import_may_be_incomplete(run: Invoke, told: FakeServer, folder: Path) -> None:
    assert run("import", folder, "--incomplete").status == 0
    assert not any(image["complete"] for image in told.images.values())


def test_a_foreign_split_is_not_taken_over_silently(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    for name in ("train/acne/a.png", "val/acne/b.png", "test/clear/c.png"):
        (dataset / name).parent.mkdir(parents=True)
        (dataset / name).write_text(name)
    ran = run("import", dataset)
    assert "Their split (1 train, 1 validation, 1 test) is not kept" in ran.out
    assert "--keep-folds" in ran.out
    assert {image["fold"] for image in told.images.values()} == {"train"}
    ran = run("import", dataset, "--keep-folds")  # an image never changes its fold
    assert "is kept, but for 2." in ran.out
    assert "val/acne/b.png: train, not validation" in ran.out
    told.images.clear()
    ran = run("import", dataset, "--keep-folds", "--json")
    assert ran.json["split"] == {"found": {"train": 1, "validation": 1, "test": 1}, "kept": True}
    assert ran.json["other_fold"] == []
    assert {image["fold"] for image in told.images.values()} == {"train", "validation", "test"}


def test_a_table_is_imported(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    dataset = tmp_path / "dataset"
    (dataset / "images").mkdir(parents=True)
    (dataset / "images" / "a.png").write_text("a")
    table = dataset / "labels.csv"
    table.write_text("file,condition,severity,skin_tone,group,complete,camera\na.png,acne,2,4,Anna,no,X100\n")
    for named in (table, dataset):
        told.images.clear()
        ran = run("import", named)
        assert "1 imported" in ran.out
        assert "Columns that are not read: camera." in ran.out
        (image,) = told.images.values()
        assert (image["labels"], image["skin_tone"]) == ({"acne": "moderate"}, 4)
        assert (image["group"], image["complete"]) == ("Anna", False)
    refused = run("import", table, "--groups", "folder")
    assert refused.status == 2
    assert "column 'group'" in refused.err


def test_what_is_laid_out_as_for_yolo_is_imported(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    for name, text in {"classes.txt": "acne_mild\n", "images/val/a.png": "a", "labels/val/a.txt": "0 1 1 1 1"}.items():
        (tmp_path / "yolo" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "yolo" / name).write_text(text)
    ran = run("import", tmp_path / "yolo", "--keep-folds")
    assert "1 imported" in ran.out
    (image,) = told.images.values()
    assert (image["labels"], image["fold"]) == ({"acne": "mild"}, "validation")
    assert run("import", tmp_path / "yolo", "--groups", "folder").status == 2


def test_what_was_corrected_in_label_studio_is_reviewed(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    ids = [str(UUID(int=number)) for number in range(4)]
    for image_id in ids[:3]:
        told.images[image_id] = image_document(image_id, {"acne": "mild"}, complete=True)
    told.images[ids[2]]["status"] = "rejected"

    def task(image_id: str, choice: str) -> dict[str, Any]:
        result = {"from_name": "condition", "to_name": "image", "type": "choices", "value": {"choices": [choice]}}
        annotation = {"completed_by": {"email": "anna@example.org"}, "result": [result]}
        return {"id": 1, "data": {"image_id": image_id}, "annotations": [annotation]}

    choices = ("acne:severe", "acne:mild", "acne:severe", "clear")
    tasks = tmp_path / "tasks.json"
    tasks.write_text(json.dumps([task(*each) for each in zip(ids, choices, strict=True)]))
    ran = run("import", tasks)
    assert ran.status == 1
    assert "1 image corrected, 1 as they were, 2 refused (0 tasks without an annotation)" in ran.out
    assert f"{ids[2]}: It was rejected" in ran.out
    assert f"{ids[3]}: There is no such image." in ran.out
    changed = told.images[ids[0]]
    assert (changed["labels"], changed["reviewer"]) == ({"acne": "severe"}, "anna@example.org")
    again = run("import", tasks, "--json").json
    assert (again["corrected"], again["unchanged"], len(again["refused"])) == (0, 2, 2)


def test_label_studios_tasks_are_exported_with_their_configuration(
    run: Invoke, told: FakeServer, tmp_path: Path
) -> None:
    for name, options in (("false", []), ("true", ["--annotators"])):
        assert run("export", tmp_path / name, "--format", "labelstudio", *options).status == 0
        assert json.loads((tmp_path / name / "labelstudio.json").read_text()) == [{"annotators": name}]
        assert "acne:severe" in (tmp_path / name / "labelstudio.xml").read_text()


def test_refused_pictures_are_listed_and_do_not_stop_the_others(run: Invoke, told: FakeServer, folder: Path) -> None:
    told.refuse = frozenset({"c.png"})
    (folder / "clear" / "empty.jpg").touch()
    with (folder / "acne" / "huge.jpg").open("wb") as file:
        file.truncate(64 * 1024 * 1024)
    ran = run("import", folder)
    assert ran.status == 1
    assert "3 imported, 0 already there, 3 refused" in ran.out
    assert "redness/severe/c.png: The picture's data is damaged or cut off. [image_broken]" in ran.out
    refused = run("import", folder, "--json").json["refused"]
    assert [(entry["path"], entry["code"]) for entry in refused] == [
        ("acne/huge.jpg", "image_too_large"),
        ("clear/empty.jpg", "image_empty"),
        ("redness/severe/c.png", "image_broken"),
    ]


def test_an_import_under_other_labels_lists_what_differs(run: Invoke, told: FakeServer, folder: Path) -> None:
    assert run("import", folder).status == 0
    (folder / "redness" / "severe").rename(folder / "redness" / "mild")
    ran = run("import", folder)
    assert ran.status == 1
    assert "redness/mild/c.png: It has other labels. [labels_differ]" in ran.out
    (refused,) = run("import", folder, "--json").json["refused"]
    assert (refused["stored"], refused["sent"]) == ({"redness": "severe"}, {"redness": "mild"})
    assert run("import", folder, "--update").status == 0
    assert {"redness": "mild"} in [image["labels"] for image in told.images.values()]


def test_a_folder_names_a_group(run: Invoke, told: FakeServer, folder: Path) -> None:
    for path in ("acne/mild/anna/1.jpg", "acne/severe/anna/2.jpg", "clear/anna/3.jpg", "redness/unknown/x/ben/4.jpg"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(path.encode())
    assert run("import", folder, "--groups", "folder").status == 0
    groups = Counter(image["group"] for image in told.images.values())
    assert groups == {None: 4, "anna": 3, "ben": 1}


def test_a_picture_in_two_groups_is_refused(run: Invoke, told: FakeServer, folder: Path) -> None:
    for path in ("acne/mild/anna/1.jpg", "redness/mild/ben/1.jpg", "aging/mild/1.jpg"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"the same")
    refused = run("import", folder, "--groups", "folder", "--json").json["refused"]
    assert [(entry["path"], entry["code"]) for entry in refused] == [("acne/mild/anna/1.jpg", "invalid_request")]
    assert run("import", folder).status == 0


def test_an_import_tells_what_looks_the_same(run: Invoke, told: FakeServer, folder: Path) -> None:
    told.alike = {
        "c.png": {"near_duplicate_of": "other"},
        "a.jpg": {"near_duplicate_of": "other", "status": "rejected", "reason": "two_folds: train and test"},
    }
    ran = run("import", folder)
    assert ran.status == 0
    assert "1 of them look the same as another image, and share its fold:\n  redness/severe/c.png: as image" in ran.out
    assert "1 of them are kept out of the dataset:\n  acne/mild/a.jpg: two_folds: train and test" in ran.out
    told.images.clear()
    outcome = run("import", folder, "--json").json
    assert outcome["near_duplicates"] == [{"path": "redness/severe/c.png", "near_duplicate_of": "other"}]
    assert [entry["path"] for entry in outcome["kept_out"]] == ["acne/mild/a.jpg"]


def test_an_import_names_copies(run: Invoke, told: FakeServer, folder: Path) -> None:
    for name in ("aging/mild/1.jpg", "redness/mild/2.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"the same")
    ran = run("import", folder)
    assert "Copies:\n  redness/mild/2.jpg: of aging/mild/1.jpg" in ran.out
    outcome = run("import", folder, "--json").json
    assert outcome["copies"] == 1
    assert outcome["copied_files"] == [{"path": "redness/mild/2.jpg", "copy_of": "aging/mild/1.jpg"}]


async def test_an_import_holds_no_more_pictures_than_are_on_their_way(tmp_path: Path) -> None:
    size, files = 256 * 1024, 400
    for number in range(files):
        path = tmp_path / "pictures" / "acne" / "mild" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(number.to_bytes(4, "big") + bytes(size))
    image = types.SimpleNamespace(status="accepted", near_duplicate_of=None, fold="train")
    sent: set[bytes] = set()

    class Client:
        async def add_image(self, data: bytes, **_: object) -> tuple[object, bool]:
            sent.add(data[:4])
            await asyncio.sleep(0)
            return image, True

    folder = read_folder(tmp_path / "pictures")
    tracemalloc.start()
    try:
        outcome = await importing.upload_folder(Client(), folder)  # type: ignore[arg-type]
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert outcome.new == len(sent) == files
    assert peak < 3 * importing.UPLOADS * size  # of 100 MiB


def test_one_bad_file_among_many_is_listed_at_the_end_and_stops_nothing(
    run: Invoke, told: FakeServer, tmp_path: Path
) -> None:
    for number in range(200):
        path = tmp_path / "many" / "acne" / "mild" / f"{number:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"" if number in (7, 150) else str(number).encode())
    ran = run("import", tmp_path / "many")
    assert ran.status == 1
    assert "198 imported, 0 already there, 2 refused" in ran.out
    assert [line.split(":")[0].strip() for line in ran.out.splitlines() if "acne/mild/" in line] == [
        "acne/mild/007.jpg",
        "acne/mild/150.jpg",
    ]
    again = run("import", tmp_path / "many", "--json").json
    assert (again["imported"], again["already_there"], len(again["refused"])) == (0, 198, 2)


@pytest.mark.parametrize(("name", "code"), [("freckles/mild", "unknown_condition"), ("acne/awful", "unknown_severity")])
def test_a_wrong_folder_imports_nothing(run: Invoke, told: FakeServer, folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir(parents=True)
    ran = run("import", folder)
    assert ran.status == 2
    assert ran.err.startswith(f"error[{code}]: The folder '{folder / name.split('/')[0]}")
    assert told.images == {}


@pytest.mark.parametrize("error", [StoreFull("The disk is full."), Unauthorized("No key.")])
def test_a_server_in_trouble_stops_the_import(
    run: Invoke, told: FakeServer, folder: Path, error: StoreFull | Unauthorized
) -> None:
    told.fail["/v1/images"] = error
    ran = run("import", folder)
    assert ran.status == error.exit_status
    assert ran.err.startswith(f"error[{error.code}]: {error.message}\n")
    assert "0 of 4 pictures are in; run it again" in ran.err


def test_an_overloaded_server_is_asked_again(
    run: Invoke, told: FakeServer, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importing, "PAUSE_S", 0.0)
    told.fail["/v1/images"] = Overloaded("Too much at once.")
    assert run("import", folder).status == 1
    assert len([query for query in told.queries]) >= importing.UPLOAD_TRIES


# status, models, dead letters


def test_status_shows_balance_campaigns_and_models(run: Invoke, told: FakeServer) -> None:
    ran = run("status")
    assert ran.status == 0
    assert "654 accepted images, 654 variants" in ran.out
    assert "No model yet" in ran.out
    assert CAMPAIGN_ID[:8] in ran.out
    told.models = [_model("v1", live=True)]
    assert "v1" in run("status").out
    assert set(run("status", "--json").json) == {"balance", "rebalances", "models"}


def test_status_shows_which_one_model_is_live(run: Invoke, told: FakeServer) -> None:
    told.models = [_model("v2", live=False), _model("v1", live=True)]
    promoted = {"promoted": True, "metrics": {}, "comparison": None}
    told.listed = [campaign_document(state="met", model={"version": version, **promoted}) for version in ("v2", "v1")]
    of_campaigns = run("status").out.partition("Models")[0]
    assert (of_campaigns.count("(live)"), "v1 (live)" in of_campaigns) == (1, True)


@pytest.mark.parametrize(
    ("state", "reason"),
    [
        ("paused", "provider_unauthorized: Incorrect API key provided: sk-[red]…"),
        ("exhausted", "3 of 4 slots used up their attempts or the budget"),
        ("rejected", "The rebalance names no target."),
    ],
)
def test_why_a_rebalance_stopped_is_told_in_full(run: Invoke, told: FakeServer, state: str, reason: str) -> None:
    told.listed = [campaign_document(state=state, reason=reason)]
    assert run("status", "--json").json["rebalances"][0]["reason"] == reason
    assert f"{CAMPAIGN_ID[:8]} {state}: {reason}" in " ".join(run("status").out.split())
    assert reason in look_line(Look(Campaign.model_validate(told.listed[0]), None, 0))


@pytest.fixture
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.console.commands.watching.LOOK_S", 0.01)


@pytest.mark.usefixtures("_quick")
def test_a_rebalance_is_watched_to_its_model(run: Invoke, told: FakeServer) -> None:
    told.shown = finished_campaign()
    ran = run("status", "--watch")
    assert ran.status == 0
    lines = ran.out.splitlines()
    assert lines[0].startswith("running: 2 of 4 images")
    assert "met: 4 of 4 images, $0.00 spent, training starts" in lines
    assert any("training: epoch 1 of 2" in line for line in lines)
    assert any("model v2 is live" in line for line in lines)
    assert lines[-1].startswith("Model v2 is live. balanced accuracy 75.0 %")


@pytest.mark.usefixtures("_quick")
def test_a_watched_rebalance_is_one_object_a_line_for_scripts(run: Invoke, told: FakeServer) -> None:
    told.shown = finished_campaign()
    ran = run("status", "--watch", "--json")
    looks = [json.loads(line) for line in ran.out.splitlines()]
    assert [look["campaign"]["slots"]["counted"] for look in looks] == [2, 4, 4, 4]
    assert looks[-1]["campaign"]["model"]["version"] == "v2"
    assert {frozenset(look) for look in looks} == {
        frozenset(("campaign", "images_per_minute", "remaining_s", "dead_letters"))
    }
    assert looks[0]["images_per_minute"] is None
    assert looks[1]["images_per_minute"] > 0


@pytest.mark.usefixtures("_quick")
def test_the_rebalance_under_way_is_watched_and_else_the_last_one(run: Invoke, told: FakeServer) -> None:
    told.listed = [campaign_document(id="another", state="rejected"), campaign_document()]
    told.shown = [campaign_document(state="exhausted", reason="2 slots used up their attempts")]
    ran = run("status", "--watch")
    assert ran.status == 1
    assert "2 slots used up their attempts" in ran.out
    told.listed = []
    ran = run("status", "--watch")
    assert ran.status == 0
    assert "No rebalance was started yet" in ran.out


@pytest.mark.usefixtures("_quick")
def test_watching_ends_with_a_training_that_was_given_up(run: Invoke, told: FakeServer) -> None:
    letter = {
        "id": "1",
        "queue": "trainer.QuotaMet",
        "event": "QuotaMet",
        "tries": 5,
        "died_at": "2026-01-01T00:00:00Z",
    }
    told.dead = [{**letter, "error": "too small", "body": CAMPAIGN_ID}]
    told.shown = [campaign_document(state="met")]
    ran = run("status", "--watch")
    assert ran.status == 1
    assert ran.err.startswith("error[training_failed]: The training was given up: too small")
    assert "1 dead letter" in ran.out


@pytest.mark.usefixtures("_quick")
def test_ctrl_c_ends_watching_without_a_traceback(
    run: Invoke, told: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def interrupted(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("services.console.client.LabelerClient.dead_letters", interrupted)
    ran = run("status", "--watch")
    assert (ran.status, ran.err) == (130, "Interrupted.\n")


def test_a_pace_is_measured_over_the_last_minute() -> None:
    pace = Pace()
    pace.note(0.0, 100)
    assert pace.per_minute() is None
    pace.note(30.0, 110)
    assert pace.per_minute() == 20.0
    pace.note(75.0, 140)
    assert pace.per_minute() == 40.0
    pace.note(80.0, 130)  # a review took some back
    assert pace.per_minute() == pytest.approx(24.0)


def test_the_live_view_shows_quotas_curve_and_dead_letters() -> None:
    history = [
        {"epoch": n, "epochs": 8, "train_loss": 1.0 / n, "validation_loss": 0.5, "metrics": {}} for n in range(1, 4)
    ]
    document = campaign_document(
        slots={"total": 4, "counted": 1, "failed": 1, "open": 2},
        training={"run_id": "r", **history[-1], "history": history},
    )
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(campaign_view(Look(Campaign.model_validate(document), 4.0, 2)))
    text = console.export_text()
    assert "redness" in text
    assert "1 of 4 images, 1 failed, 4.0 a minute, about 30 s left" in text
    assert "█▃▁ 0.333" in text
    assert "2 dead letters: see `evenskin dead list`." in text


def _model(version: str, *, live: bool) -> dict[str, Any]:
    return model_document(version, live=live, metrics={"overall": {"balanced_accuracy": 0.7134}})


def test_models_are_listed_promoted_and_rolled_back(run: Invoke, told: FakeServer) -> None:
    assert "No model yet" in run("models", "list").out
    told.models = [_model("v2", live=True), _model("v1", live=False)]
    assert "71.3" in run("models", "list").out
    assert run("models", "list", "--json").json["live"]["version"] == "v2"
    assert run("models", "promote", "v1", "--reason", "steadier").out == "Model v1 is live.\n"
    assert told.promotions == [{"version": "v1", "reason": "steadier"}]
    assert run("models", "rollback", "--json").json == live_document("v0")
    ran = run("models", "promote", "v9")
    assert ran.status == 2
    assert ran.err.startswith("error[not_found]: No model has the version 'v9'.")


def _has_model(told: FakeServer, card: ModelCard, model: bytes = MODEL) -> None:
    told.model_files |= {
        f"{card.version}/card.json": card.model_dump_json().encode(),
        f"{card.version}/model.onnx": model,
    }


def test_a_removed_model_is_told(run: Invoke, told: FakeServer) -> None:
    told.models = [_model("v2", live=True), {**_model("v1", live=False), "stored": False}]
    lines = [line.split() for line in run("models", "list").out.splitlines()]
    assert ["removed" in line for line in lines if line[:1] in (["v1"], ["v2"])] == [False, True]


def test_models_that_the_gate_compared_are_compared_on_the_same_pictures(run: Invoke, told: FakeServer) -> None:
    old, new = model_card("v1"), model_card("v2", comparison=comparison("v1"), dataset_version="ds-2")
    _has_model(told, old)
    _has_model(told, new)
    found = run("models", "compare", "v1", "v2", "--json").json
    assert found["paired"] == {"difference": 0.0371, "lower": 0.0024, "upper": 0.0713}
    assert found["same_pictures"] is True
    before, after = (comparison("v1")[part]["overall"] for part in ("live", "candidate"))
    assert found["overall"]["f1"]["first"] == before["f1"]
    assert found["overall"]["f1"]["second_interval"] == after["intervals"]["f1"]
    assert found["overall"]["f1"]["difference"] == pytest.approx(after["f1"] - before["f1"])
    assert set(found["conditions"]) == set(Condition)
    shown = run("models", "compare", "v1", "v2").out
    assert "+3.7 points, 90% interval +0.2 to +7.1" in shown
    back = run("models", "compare", "v2", "v1", "--json").json
    assert back["paired"] == {"difference": -0.0371, "lower": -0.0713, "upper": -0.0024}
    assert back["overall"]["f1"]["second"] == before["f1"]


def test_models_of_different_datasets_are_compared_with_a_warning(run: Invoke, told: FakeServer) -> None:
    _has_model(told, model_card("v1"))
    _has_model(told, model_card("v2", dataset_version="ds-2"))
    assert "different test pictures" in run("models", "compare", "v1", "v2").out
    found = run("models", "compare", "v1", "v2", "--json").json
    assert (found["same_pictures"], found["paired"]) == (False, None)
    ran = run("models", "compare", "v1", "v9")
    assert (ran.status, "error[not_found]" in ran.err) == (2, True)


def test_a_model_is_exported_with_what_is_known_of_it(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    card = model_card("v1")
    _has_model(told, card)
    directory = tmp_path / "exports" / "v1"
    assert "4 files written" in run("models", "export", "v1", directory).out
    assert {path.name for path in directory.iterdir()} == {"model.onnx", "card.json", "MODEL_CARD.md", "DATASHEET.md"}
    assert (directory / "model.onnx").read_bytes() == MODEL
    assert ModelCard.model_validate_json((directory / "card.json").read_bytes()) == card
    ran = run("models", "export", "v1", directory)
    assert (ran.status, "error[conflict]" in ran.err) == (2, True)
    told.model_files["v1/evaluation.json"] = b"{}"
    assert "evaluation.json" in run("models", "export", "v1", tmp_path / "more", "--json").json["files"]


def test_a_model_that_its_card_does_not_describe_is_not_exported(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    _has_model(told, model_card("v1"), b"another one")
    ran = run("models", "export", "v1", tmp_path / "out")
    assert "error[model_invalid]" in ran.err
    assert not (tmp_path / "out").exists()


def test_a_bucket_without_a_name_is_told(run: Invoke, told: FakeServer) -> None:
    assert "error[configuration_error]" in run("models", "export", "v1", "s3://").err


def test_the_agreement_of_reviewers_is_shown(run: Invoke, told: FakeServer) -> None:
    none = {"images": 0, "kappa": None}
    conditions = {condition.value: none for condition in Condition} | {"acne": {"images": 7, "kappa": 0.6789}}
    agreed = {"verdicts": {"images": 12, "kappa": -0.25}, "conditions": conditions}
    document = {
        "reviews_per_image": 2,
        "pending": 1200,
        "disputed": 3,
        **agreed,
        "pairs": [{"reviewers": ["Dr. A [1]", "Dr. B"], **agreed}],
    }
    told.raw["/v1/reviews/agreement"] = (200, json.dumps(document))
    ran = run("reviews")
    assert (ran.status, ran.err) == (0, "")
    assert "Dr. A [1] and Dr. B" in ran.out
    lines = {line.split()[0]: line.split() for line in ran.out.splitlines() if line.strip()}
    assert lines["acne"] == ["acne", "0.68", "7", "0.68", "7"]
    assert lines["redness"] == ["redness", "–", "0", "–", "0"]
    assert lines["whether"][-4:] == ["-0.25", "12", "-0.25", "12"]
    assert "1,200 images to review, 3 of them disputed." in ran.out
    assert run("reviews", "--json").json == document


def test_a_token_comes_with_the_entry_that_lets_it_in(run: Invoke) -> None:
    made = run("token", "Dr. Skin", "--operator", "--json").json
    assert (made["name"], made["role"]) == ("Dr. Skin", "operator")
    person = asyncio.run(SignIn(accounts_in(made["entry"])).person(made["token"], ""))
    assert person == Person("Dr. Skin", Role.OPERATOR)
    lines = run("token", "Dr. Skin").out.splitlines()
    assert asyncio.run(SignIn(accounts_in(lines[3])).person(lines[1], "")) == Person("Dr. Skin", Role.REVIEWER)
    assert "error[configuration_error]" in run("token", "a;b").err


def test_dead_letters_are_listed_and_replayed(run: Invoke, told: FakeServer) -> None:
    assert "No message" in run("dead", "list").out
    letter = {"id": "1", "queue": "trainer.QuotaMet", "event": "QuotaMet", "tries": 5, "body": "{}"}
    told.dead = [{**letter, "error": "boom [x]", "died_at": "2026-01-01T00:00:00Z"}]
    assert "boom [x]" in run("dead", "list").out
    assert run("dead", "list", "--queue", "other", "--json").json == {"dead_letters": []}
    assert run("dead", "replay").out == "1 message sent back.\n"


# predict


def test_pictures_are_predicted(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "me [1].jpg").write_bytes(JPEG)
    ran = run("predict", tmp_path / "me [1].jpg")
    assert (ran.status, ran.err) == (0, "")
    assert "me [1].jpg" in ran.out
    assert "drawn faces" in ran.out
    redness = next(line.split() for line in ran.out.splitlines() if line.strip().startswith("redness"))
    assert redness[1:4] == ["yes", "90.0", "%"]


def test_a_broken_picture_does_not_keep_the_others(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.jpg", tmp_path / "bad.jpg"
    good.write_bytes(JPEG)
    bad.write_bytes(b"nonsense")
    ran = run("predict", bad, good)
    assert ran.status == 2
    assert ran.err.startswith("error[image_broken]: ")
    assert "bad.jpg" in ran.err
    assert "redness" in ran.out
    answers = run("predict", bad, good, "--json").json["predictions"]
    assert [answer.get("error", {}).get("code") for answer in answers] == ["image_broken", None]
    assert answers[1]["model_version"] == "v1"


def test_a_missing_file_asks_nobody(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.jpg", tmp_path):
        ran = run("predict", path)
        assert ran.status == 2
        assert str(path) in ran.err
    assert told.queries == []


def test_no_model_is_told_with_what_to_do(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    told.fail["/v1/predictions"] = NoModel("No model is live yet.", advice="Train one.")
    (tmp_path / "a.jpg").write_bytes(JPEG)
    ran = run("predict", tmp_path / "a.jpg", "--json")
    assert ran.status == 1
    assert ran.err == "error[no_model]: No model is live yet.\n  → Train one.\n"
    assert ran.json["code"] == "no_model"


# export


def test_the_dataset_is_written_as_folders(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    target = tmp_path / "deep" / "dataset"
    assert run("export", target, "--json").json == {"directory": str(target), "format": "imagefolder", "files": 2}
    assert (target / "acne" / "mild" / "a.jpg").read_bytes() == b"abc"
    assert sorted(path.name for path in target.parent.iterdir()) == ["dataset"]


def test_other_formats_are_one_file(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert run("export", tmp_path / "out", "--format", "csv").status == 0
    assert (tmp_path / "out" / "images.csv").read_text() == "file,condition\n"
    assert run("export", tmp_path / "other", "--format", "yolo").status == 2
    assert not (tmp_path / "other").exists()


def test_nothing_is_exported_over_what_is_there(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path, tmp_path / "file"):
        assert run("export", path).status == 2
    assert told.queries == []
    assert run("export", tmp_path / "file" / "below").status == 2
    assert (tmp_path / "file").read_text() == "mine"


@pytest.fixture(params=["data filter", "as Python 3.11.2 has it"])
def tar_filter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """What tarfile checks by itself: newer ones what the data filter does, older ones nothing."""
    checks = {"filter": "data" if request.param == "data filter" else "fully_trusted"}
    monkeypatch.setattr("services.console.commands.export._DATA_FILTER", checks)


@pytest.mark.usefixtures("tar_filter")
@pytest.mark.parametrize(
    "archive", [export_tar(("../evil.txt",)), export_tar(("/tmp/evil.txt",)), export_tar()[:700], b"no tar at all"]
)
def test_a_bad_archive_leaves_nothing(run: Invoke, told: FakeServer, tmp_path: Path, archive: bytes) -> None:
    told.tar = lambda: archive
    ran = run("export", tmp_path / "a" / "out")
    assert ran.status == 2
    assert list((tmp_path / "a").iterdir()) == []


def _archive(*members: tuple[str, dict[str, Any]]) -> bytes:
    """A tar of members of three bytes each, with attributes of theirs set."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, attributes in members:
            member = tarfile.TarInfo(name)
            member.size = 3
            for attribute, value in attributes.items():
                setattr(member, attribute, value)
            archive.addfile(member, io.BytesIO(b"abc"))
    return buffer.getvalue()


@pytest.mark.usefixtures("tar_filter")
@pytest.mark.parametrize(
    ("archive", "words"),
    [
        (_archive(("../evil.txt", {})), "'../evil.txt', which lies outside"),
        (_archive(("/tmp/evil.txt", {})), "'/tmp/evil.txt', which lies outside"),
        (_archive(("a", {}), ("a", {})), "'a' twice"),
        (_archive(("a", {"pax_headers": {"path": "a\0b"}})), "damaged"),
        (_archive(("a", {"pax_headers": {"size": str(2**90)}})), "damaged"),
        (b"no tar at all", "damaged"),
    ],
)
def test_a_bad_archive_is_refused_in_a_sentence(
    run: Invoke, told: FakeServer, tmp_path: Path, archive: bytes, words: str
) -> None:
    told.tar = lambda: archive
    ran = run("export", tmp_path / "a" / "out", "--json")
    assert (ran.status, ran.json["code"]) == (2, "invalid_request")
    assert words in ran.json["detail"]
    assert str(tmp_path) not in ran.json["detail"]  # nor where it was unpacked for the time being
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.usefixtures("tar_filter")
def test_a_file_where_a_folder_is_needed_leaves_nothing(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    told.tar = lambda: _archive(("a", {}), ("a/b", {}))
    ran = run("export", tmp_path / "a" / "out", "--json")
    assert (ran.status, ran.json["code"]) == (1, "export_failed")
    assert list((tmp_path / "a").iterdir()) == []


@pytest.mark.usefixtures("tar_filter")
def test_only_plain_files_are_unpacked(run: Invoke, told: FakeServer, tmp_path: Path) -> None:
    told.tar = lambda: _archive(
        ("folder", {"type": tarfile.SYMTYPE, "linkname": str(tmp_path), "size": 0}),
        ("folder/a.jpg", {"mode": 0o6777}),
        ("pipe", {"type": tarfile.FIFOTYPE, "size": 0}),
        ("copy", {"type": tarfile.LNKTYPE, "linkname": "folder/a.jpg", "size": 0}),
    )
    target = tmp_path / "out"
    assert run("export", target, "--json").json["files"] == 1
    assert [path.name for path in target.rglob("*")] == ["folder", "a.jpg"]
    assert not (tmp_path / "a.jpg").exists()
    assert (target / "folder" / "a.jpg").stat().st_mode & 0o7022 == 0  # nobody else writes it, nobody becomes another


# Which service is talked to


def _write_run_file(home: Path, url: str, pid: int) -> None:
    home.mkdir(exist_ok=True)
    (home / "run.json").write_text(json.dumps({"pid": pid, "labeler_url": url, "model_url": url}))


def test_what_runs_on_the_home_is_talked_to(
    run: Invoke, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LabelerClient, "healthy", partialmethod(LabelerClient.healthy, timeout_s=LIMIT_S))
    _write_run_file(tmp_path / "home", server.url, os.getpid())
    assert run("plan", "200", "--home", tmp_path / "home", "--json").json["total"] == 746
    (tmp_path / "a.jpg").write_bytes(JPEG)
    assert run("predict", tmp_path / "a.jpg", "--home", tmp_path / "home").status == 0


@pytest.fixture
def own(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """In place of services that a command starts itself: the fake server; and what was asked to start."""
    started: list[dict[str, Any]] = []

    @contextlib.asynccontextmanager
    async def all_in_one(home: Path, **options: Any) -> AsyncIterator[Any]:
        started.append({"home": home, **options})
        yield types.SimpleNamespace(labeler_url=server.url, model_url=server.url)
        started[-1]["stopped"] = True

    module = types.ModuleType("services.console.all_in_one")
    module.all_in_one, module.ALL = all_in_one, all_services.ALL  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "services.console.all_in_one", module)
    return started


@pytest.mark.parametrize(
    "left_behind", ["", "{", "[]", '{"pid": 4194304999, "labeler_url": "http://127.0.0.1:9"}', "dead"]
)
def test_without_one_just_what_is_needed_is_started_and_stopped(
    run: Invoke, own: list[dict[str, Any]], nowhere: Path, left_behind: str
) -> None:
    home = nowhere / "var"
    home.mkdir()
    if left_behind == "dead":
        _write_run_file(home, "http://127.0.0.1:9", os.getpid())  # it lives, and does not answer
    else:
        (home / "run.json").write_text(left_behind)
    assert run("status").status == 0
    (started,) = own
    assert started["home"] == Path("var")
    assert list(started["services"]) == ["labeler-api"]
    assert started["stopped"]


@pytest.mark.parametrize(
    ("arguments", "services"),
    [
        (["train"], {"labeler-api", "generator", "augmenter", "trainer", "model-server"}),
        (["rebalance", "70", "--wait"], {"labeler-api", "generator", "augmenter", "trainer", "model-server"}),
        (["rebalance", "70"], {"labeler-api"}),
        (["predict", "a.jpg"], {"model-server"}),
    ],
)
def test_each_command_starts_its_services(
    run: Invoke, own: list[dict[str, Any]], nowhere: Path, arguments: list[str], services: set[str]
) -> None:
    (nowhere / "a.jpg").write_bytes(JPEG)
    ran = run(*arguments)
    assert ran.status == 0
    assert set(own[0]["services"]) == services
    assert ("evenskin serve all" in ran.err) == (arguments == ["rebalance", "70"])


@pytest.mark.parametrize("command", [["status", "--watch"], ["dead", "replay"]])
def test_what_needs_running_services_starts_none(run: Invoke, own: list[dict[str, Any]], command: list[str]) -> None:
    ran = run(*command)
    assert ran.status == 1
    assert ran.err.startswith("error[service_unreachable]: ")
    assert "evenskin serve all" in ran.err
    assert own == []


def test_with_a_broker_the_address_must_be_given(
    run: Invoke, own: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENSKIN_AMQP_URL", "amqp://localhost")
    ran = run("status")
    assert ran.status == 2
    assert "EVENSKIN_LABELER_URL" in ran.err
    assert own == []


def test_an_unreachable_service_is_told(run: Invoke) -> None:
    ran = run("status", "--url", "http://127.0.0.1:9", "--json")
    assert ran.status == 1
    assert ran.json["code"] == "service_unreachable"
    assert run("status", "--url", "nonsense").status == 2


def test_a_failing_service_is_told(run: Invoke, told: FakeServer) -> None:
    told.fail["/v1/balance"] = DatabaseUnavailable("The ledger does not answer.", advice="Look at its disk.")
    ran = run("status")
    assert ran.status == 1
    assert ran.err == "error[database_unavailable]: The ledger does not answer.\n  → Look at its disk.\n"


def test_the_api_key_is_sent(run: Invoke, told: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVENSKIN_API_KEY", "s3cret")
    run("status")
    assert told.headers[0]["Authorization"] == "Bearer s3cret"


# serve, demo, interrupts


def test_an_unknown_service_is_told(run: Invoke) -> None:
    ran = run("serve", "everything")
    assert ran.status == 2
    assert "labeler-api" in ran.err
    assert run("serve", "trainer", "--model-port", "1").status == 2


def test_one_service_is_built_from_its_settings(run: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ran: list[Any] = []

    async def run_service(service: Any) -> None:
        ran.append(service)

    monkeypatch.setattr(serving, "run_service", run_service)
    monkeypatch.setattr(serving, "configure_logs", lambda *_, **__: None)
    assert run("serve", "augmenter", "--home", tmp_path, "--port", "0").status == 0
    (service,) = ran
    assert (service.name, service.settings.home, service.settings.port) == ("augmenter", tmp_path, 0)


def test_the_demo_runs_in_its_own_home(run: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []
    module = types.ModuleType("services.demo.run")

    def demonstrate(home: Path, *, json_output: bool, scale: float) -> int:
        asked.append((home, json_output, scale))
        return 3

    module.run = demonstrate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "services.demo.run", module)
    assert run("demo", "--scale", "0.1", "--json").status == 3
    assert run("demo", "--home", tmp_path).status == 3
    assert asked == [(Path("var/demo"), True, 0.1), (tmp_path, False, 1.0)]


def test_an_interrupt_is_one_line(run: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: Any) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("services.console.cli.asyncio.run", interrupted)
    monkeypatch.setattr("services.console.commands.dataset.show_status", lambda **_: None)
    ran = run("status")
    assert (ran.status, ran.out, ran.err) == (130, "", "Interrupted.\n")
