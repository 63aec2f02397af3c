"""The report of a model: its curves, its worst errors, distorted pictures, and the page that tells of them."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image
from sklearn import metrics as sk

from services.console.client import LabelerClient
from services.console.commands import report as command
from services.report.curves import precision_recall, roc
from services.report.distortions import DISTORTIONS, MEANING, SIDE, STRENGTHS, distorted, encoded, reduced
from services.report.mistakes import MOST, worst_mistakes
from services.report.render import Shown, answers_by_condition, bounds_text, render, value_text
from services.report.robustness import STEPS, chosen, measure_robustness
from services.trainer.evaluate import ExportedModel
from services.trainer.measures import ConditionAnswers
from shared.errors import ConfigurationError, EvenskinError, NotFound
from shared.evaluation import Evaluation
from shared.preprocessing import Preprocessing
from tests.unit.model_server.tiny_model import SIZE, tiny_model
from tests.unit.report.evaluations import IMAGES, evaluation
from tests.unit.trainer.squares import drawn

MIDDLE = Preprocessing.MIDDLE_3.described(SIZE)


def answers(seed: int, n: int = 60) -> ConditionAnswers:
    random = np.random.default_rng(seed)
    present = random.random(n) < 0.4
    score = np.round(0.3 * present + 0.7 * random.random(n), 1)
    nothing = np.zeros(n, np.int64)
    return ConditionAnswers(present, score >= 0.5, score, nothing, nothing)


@pytest.mark.parametrize("seed", range(4))
def test_the_curves_are_scikit_learns(seed: int) -> None:
    found = answers(seed)
    false_positives, recall, _ = sk.roc_curve(found.present, found.score, drop_intermediate=False)
    curve = roc(found)
    assert curve is not None
    assert curve.x == pytest.approx(false_positives)
    assert curve.y == pytest.approx(recall)
    precision, recall, _ = sk.precision_recall_curve(found.present, found.score)
    curve = precision_recall(found)
    assert curve is not None
    wanted = sorted(zip(recall[:-1], precision[:-1], strict=True))
    assert sorted(zip(curve.x[1:], curve.y[1:], strict=True)) == pytest.approx(np.array(wanted))


def test_without_a_positive_there_is_no_curve() -> None:
    found = answers(1)
    none = ConditionAnswers(found.present & False, found.predicted, found.score, found.severity, found.said)
    assert roc(none) is None
    assert precision_recall(none) is None


def test_the_worst_errors_are_the_surest_ones() -> None:
    made = evaluation()
    found = worst_mistakes(made, most=10**6)
    assert [mistake.margin for mistake in found] == sorted((mistake.margin for mistake in found), reverse=True)
    wrong = {
        picture.image_id
        for picture in made.pictures
        for label, shares, each in zip(picture.labels, picture.probabilities, made.conditions.values(), strict=True)
        if (label != 0) != (1 - shares[0] >= each.threshold)
    }
    assert {mistake.picture.image_id for mistake in found} == wrong
    assert len(found) == len(wrong) > 5
    for mistake in found:
        assert mistake.shown == (mistake.probability < mistake.threshold)
        assert 0 <= mistake.margin <= 1
    assert worst_mistakes(made, most=3) == found[:3]
    assert len(worst_mistakes(made)) <= MOST


def test_what_nobody_knows_is_no_error() -> None:
    made = evaluation()
    unknown = [picture.model_copy(update={"labels": (-2,) * 7}) for picture in made.pictures]
    assert worst_mistakes(made.model_copy(update={"pictures": tuple(unknown)})) == []


def picture(seed: int = 1, size: tuple[int, int] = (400, 300)) -> Image.Image:
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (30, 40, 3)).astype(np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


@pytest.mark.parametrize("name", DISTORTIONS)
def test_a_stronger_distortion_changes_more_and_the_same_each_time(name: str) -> None:
    image = picture()
    before = np.asarray(image, dtype=np.float64)
    changes = []
    for strength in STRENGTHS:
        changed = distorted(image, name, strength)
        assert (changed.size, changed.mode) == (image.size, "RGB")
        assert changed.tobytes() == distorted(image, name, strength).tobytes()
        changes.append(float(np.abs(np.asarray(changed) - before).mean()))
    assert 0 < changes[0] < changes[1] < changes[2]
    assert np.asarray(image).tobytes() == before.astype(np.uint8).tobytes()  # the picture itself stays
    assert name in MEANING


def test_large_pictures_are_reduced_and_small_ones_left() -> None:
    assert reduced(picture(size=(1600, 1200))).size == (640, SIDE)
    assert reduced(picture()).size == (400, 300)


def test_an_encoded_picture_loses_nothing(tmp_path: Path) -> None:
    (tmp_path / "picture").write_bytes(encoded(picture()))
    assert Image.open(tmp_path / "picture").tobytes() == picture().tobytes()


def test_the_pictures_are_chosen_by_their_ids() -> None:
    made = evaluation()
    few = chosen(made.pictures, 10)
    assert few == chosen(list(reversed(made.pictures)), 10)
    assert few == chosen(made.pictures, 20)[:10]
    assert len(chosen(made.pictures, 1000)) == IMAGES


def asked(path: Path, count: int) -> Any:
    path.write_bytes(tiny_model(preprocessing=MIDDLE))
    made = evaluation(images=count)
    pairs = [(judged, drawn({}, number)) for number, judged in enumerate(made.pictures)]
    return ExportedModel.load(path, 1), pairs


def test_every_distortion_is_measured_on_the_same_pictures(tmp_path: Path) -> None:
    model, pairs = asked(tmp_path / "model.onnx", 10)
    steps: list[int] = []
    found = measure_robustness(model, None, [*pairs, (pairs[0][0], b"no picture")], 99, lambda: steps.append(1))
    assert (found.images, found.of, len(steps)) == (10, 99, len(STEPS))
    assert [(cell.distortion, cell.strength) for cell in found.cells] == list(STEPS)
    assert len(STEPS) == 1 + 7 * 3
    assert len({json.dumps(cell.values) for cell in found.cells}) > 3  # the model sees the difference
    assert found == measure_robustness(model, None, pairs, 99)


def page(made: Evaluation) -> str:
    return render(made, robustness=None, mistakes=[Shown(mistake, None) for mistake in worst_mistakes(made)])


def test_the_page_tells_every_measure_and_loads_nothing() -> None:
    made = evaluation()
    html = page(made)
    for figures in (made.overall, *made.conditions.values()):
        for name, value in figures.values.items():
            if name in ("exact_match", "clear_recall"):
                continue
            bounds = bounds_text(figures.intervals[name], name=name)
            assert f"<td>{value_text(value, name=name)}<small>{bounds}</small></td>" in html, name
    for condition, each in made.conditions.items():
        said = f"Sees {condition.replace('_', ' ')} in <b>{value_text(each.values['false_positive_rate'])}%</b> of the"
        assert said in html
    assert "made-up model" in html
    assert html.count("<svg") == 7  # two confusions, two curves, reliability, groups, training
    assert not re.search(r"<script|<link|@import|url\((?!#)|(?:src|href)=\"(?!data:|#)", html)
    assert "sex male" in html


def test_an_unequal_model_is_told_first() -> None:
    made = evaluation(images=120)
    assert [gap.alarm for gap in made.gaps] == [True]
    assert "<b>Unequal:</b> sex male" in page(made)
    assert "Unequal" not in page(made.model_copy(update={"gaps": ()}))


def test_names_are_escaped_and_the_same_figures_give_the_same_page() -> None:
    made = evaluation(dataset_version="<b>").model_copy(update={"dataset_version": "<script>"})
    assert "<script>" not in page(made)
    assert page(made) == page(made)


def test_a_fold_that_knows_little_still_has_a_page() -> None:
    made = evaluation(images=2)
    html = page(made.model_copy(update={"history": (), "groups": (), "gaps": ()}))
    assert html.count("<svg") == 5


def test_the_answers_are_read_back_as_they_were_measured() -> None:
    made = evaluation()
    for condition, found in answers_by_condition(made).items():
        each = next(each for name, each in made.conditions.items() if name.value == condition)
        table = [[int((~found.present & ~found.predicted).sum()), int((~found.present & found.predicted).sum())]]
        assert list(each.presence[0]) == table[0]
        assert found.present.sum() == each.positives


class Store:
    """A labeler-api that has one version, and all but one of its pictures."""

    def __init__(self, made: Evaluation) -> None:
        self.made = made
        self.asked: list[str] = []

    async def model_file(self, version: str, name: str) -> bytes:
        if version != "v1":
            raise NotFound(f"There is no model '{version}'.")
        return self.made.model_dump_json().encode() if name == "evaluation.json" else tiny_model(preprocessing=MIDDLE)

    async def image_content(self, image_id: str) -> bytes:
        self.asked.append(image_id)
        if image_id == "image-0":
            raise NotFound("It is gone.")
        return drawn({}, int(image_id.removeprefix("image-")))


def read(written: dict[str, Any]) -> tuple[str, Any]:
    return Path(written["html"]).read_text(), json.loads(Path(written["json"]).read_text())


async def test_the_report_is_written_with_pictures_and_numbers(tmp_path: Path) -> None:
    store = Store(evaluation(preprocessing=MIDDLE))
    written = await command.write_report(cast("LabelerClient", store), "v1", tmp_path / "new" / "report", 5)
    html, document = read(written)
    assert Evaluation.model_validate(document["evaluation"]) == store.made
    assert document["robustness"]["images"] <= 5
    assert len(document["robustness"]["cells"]) == len(STEPS)
    assert len(store.asked) == len(set(store.asked)) <= MOST + 5
    there = sum(error["image_id"] != "image-0" for error in document["worst_errors"])
    assert html.count("data:image/jpeg;base64,") == there > 0
    assert sorted(path.name for path in (tmp_path / "new" / "report").iterdir()) == ["report.html", "report.json"]


async def test_distortion_is_left_out_where_nobody_asks_for_it(tmp_path: Path) -> None:
    store = Store(evaluation(preprocessing=MIDDLE))
    written = await command.write_report(cast("LabelerClient", store), "v1", tmp_path, 0)
    html, document = read(written)
    assert document["robustness"] is None
    assert "Robustness" not in html


async def test_what_cannot_be_written_or_found_is_told(tmp_path: Path) -> None:
    store = cast("LabelerClient", Store(evaluation(preprocessing=MIDDLE)))
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EvenskinError) as raised:
        await command.write_report(store, "v1", tmp_path / "file" / "report", 0)
    assert (raised.value.code, raised.value.exit_status) == ("report_failed", 2)
    with pytest.raises(NotFound):
        await command.write_report(store, "v2", tmp_path / "report", 0)
    assert not (tmp_path / "report").exists()


def test_what_is_not_installed_is_told_before_anything_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    command.check_installed()
    monkeypatch.setattr(command, "_NEEDED", ("matplotlib", "no_such_package"))
    with pytest.raises(ConfigurationError, match="no_such_package") as raised:
        command.check_installed()
    assert "evenskin[report]" in raised.value.advice
