"""Writes a model's card and its dataset's datasheet as Markdown for people. Every figure is one of `card.json`.

The model card follows Mitchell et al. (2019, Model Cards for Model Reporting, FAT* '19:220-229), the datasheet Gebru et
al. (2021, Datasheets for Datasets, Communications of the ACM 64(12):86-92). What evenskin cannot know is said to be
for the dataset's owner to fill in. Subgroups are those of the evaluation, where there is one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from services.console.text import NONE, condition_text, percent
from shared.dataset_summary import IMPORTED, UNKNOWN, DatasetSummary, FoldSummary
from shared.model_card import ModelCard
from shared.taxonomy import Fold, Severity

CARD, DATASHEET = "MODEL_CARD.md", "DATASHEET.md"
FIGURES = {"balanced_accuracy": "balanced accuracy", "recall": "recall", "specificity": "specificity"}
FIGURES |= {"precision": "precision", "f1": "F1", "auc": "AUC"}
OWNER = "*Not known to evenskin; for the dataset's owner to fill in.*"
NOT_A_REASON = "Its answers are no reason to see a doctor, or not to."


def model_card(card: ModelCard, evaluation: Mapping[str, Any] | None = None) -> str:
    """The model card as Markdown. `evaluation`: the content of the version's `evaluation.json`, if it has one."""
    return _page(
        f"# Model card: {card.version}",
        "After Mitchell et al., 2019. Every figure is from `card.json`"
        + (" or `evaluation.json`" if evaluation else "")
        + "; shares are in percent.",
        *_details(card),
        *_use(card),
        *_factors(card, evaluation),
        *_measured_on(card),
        *_figures(card),
        *_subgroups(evaluation),
        *_gate(card),
        *_limits(card),
        *_provenance(card),
    )


def datasheet(card: ModelCard) -> str:
    """The datasheet, as Markdown, of the dataset version that a model was trained on."""
    dataset = card.dataset
    return _page(
        f"# Datasheet: {card.dataset_version}",
        "After Gebru et al., 2021. Every figure is from `card.json`.",
        "## Motivation",
        "To train and test a model that tells seven conditions of facial skin and their severity apart, with as many "
        "images of the rare ones as it takes.",
        f"Who had it made, and who paid: {OWNER}",
        "## Composition",
        *(_composition(dataset) if dataset else ["An older program made the model: its card does not count images."]),
        f"The images are listed, with labels, fold, root and SHA-256, in the manifest "
        f"`datasets/{card.dataset_version}/manifest.jsonl`"
        + (f" (SHA-256 `{card.metadata.manifest_sha256}`)." if card.metadata.manifest_sha256 else "."),
        *_left_out(card),
        "## Collection",
        "Imported images were brought in by an operator, labelled. Generated ones were asked for, one for each missing "
        "condition and severity, with a subject drawn from age bands, sexes, and the ten steps of the Monk scale.",
        f"Where imported images are from, whether the people on them agreed, and for what: {OWNER}",
        "## Preprocessing, cleaning, labelling",
        f"Images are kept as they came. Models see them as `{card.metadata.preprocessing}`.",
        "A label is a condition with its severity, or without one where nobody graded it. A condition that is not "
        "named is absent, or unknown where the labelling is marked incomplete. Images that look alike share a root; a "
        "root, its images and all their variants are in one fold.",
        "Generated images are reviewed by people, or accepted by rule where the campaign said so.",
        "## Uses",
        f"{card.intended_use} {NOT_A_REASON}",
        "Not for recognising, verifying or selecting people.",
        "## Distribution",
        f"Licence, and who may have it: {OWNER}",
        "## Maintenance",
        "A version never changes. A rebalance or an import makes another one; an image never changes its fold.",
        f"Whom to write to: {OWNER}",
    )


def _details(card: ModelCard) -> Iterable[str]:
    metadata = card.metadata
    yield "## Model details"
    rows = [
        ("Version", f"`{card.version}`, made {card.created_at:%Y-%m-%d %H:%M} UTC by run `{card.run_id}`"),
        ("File", f"`model.onnx`, SHA-256 `{card.sha256}`"),
        ("Answers", f"{', '.join(map(condition_text, metadata.conditions))}: {', '.join(metadata.severities)} each"),
        ("Input", f"{metadata.input_size}×{metadata.input_size} pixels; `{metadata.preprocessing}`"),
        ("Precision", metadata.precision + (f". {card.config['int8']['reason']}" if card.config.get("int8") else "")),
        ("Calibrated", "on the validation fold" if metadata.calibration else "no"),
        ("Trained on", f"dataset `{card.dataset_version}`"),
    ]
    if metadata.backbone:
        used = metadata.backbone
        rows.append(("Sees through", f"{used.name}, trained on {used.trained_on}; SHA-256 `{used.sha256}`"))
    if metadata.detector:
        rows.append(("Faces found by", f"{metadata.detector.name}; SHA-256 `{metadata.detector.sha256}`"))
    yield _table(("", ""), rows)


def _use(card: ModelCard) -> Iterable[str]:
    yield "## Intended use"
    yield f"{card.intended_use} {NOT_A_REASON}"
    yield from (f"> {warning}" for warning in card.metadata.warnings)
    yield "Out of scope: diagnosis, treatment, and any decision about a person."


def _factors(card: ModelCard, evaluation: Mapping[str, Any] | None) -> Iterable[str]:
    yield "## Factors"
    yield (
        "Answers may depend on skin tone, age, sex, light, camera, make-up and the head's pose. "
        + ("Groups that were measured apart are below." if _groups(evaluation) else "None was measured apart.")
    )


def _measured_on(card: ModelCard) -> Iterable[str]:
    yield "## Evaluation and training data"
    if card.dataset is None:
        yield "An older program made the model: its card does not count images."
        return
    folds = card.dataset.folds
    yield _table(
        ("fold", "originals", "variants", "faces", "clear skin", "of providers"),
        [(name.value, fold.images, fold.variants, fold.roots, fold.clear, _made(fold)) for name, fold in folds.items()],
    )
    yield (
        "Test and validation hold originals only, of faces that are in no other fold. Thresholds and calibration are "
        f"from the validation fold. More is in {DATASHEET}."
    )


def _figures(card: ModelCard) -> Iterable[str]:
    test = card.metrics.get("test")
    yield "## Metrics and quantitative analyses"
    if not test:
        yield "Nothing was measured."
        return
    yield (
        "A condition is called present where 1 − P(absent) reaches its threshold. Brackets: 95% intervals. Overall "
        "figures are means over the conditions; exact match is the share of images with no wrong answer."
    )
    overall, baseline = test["overall"], card.metrics.get("baseline", {}).get("test", {}).get("overall", {})
    names = {"exact_match": "exact match", **FIGURES}
    yield _table(
        (f"overall, {overall['n']} test images", "this model", "colour histograms"),
        [(text, _cell(overall, name), _cell(baseline, name)) for name, text in names.items() if name in overall],
    )
    yield _table(
        ("condition", "show it", "threshold", *FIGURES.values()),
        [
            (
                condition_text(condition),
                f"{test['conditions'][condition]['positives']} of {test['conditions'][condition]['n']}",
                f"{card.metadata.thresholds[condition]:.4f}",
                *(_cell(test["conditions"][condition], name) for name in FIGURES),
            )
            for condition in card.metadata.conditions
            if condition in test["conditions"]
        ],
    )


def _groups(evaluation: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    return (evaluation or {}).get("groups") or ()


def _subgroups(evaluation: Mapping[str, Any] | None) -> Iterable[str]:
    groups = _groups(evaluation)
    if not groups:
        return
    yield "### Subgroups"
    yield "All conditions' answers to the test pictures of one group together."
    shown = {"balanced_accuracy": "balanced accuracy", "recall": "recall", "false_positive_rate": "false-positive rate"}
    yield _table(
        ("kind", "group", "images", "faces", *shown.values()),
        [
            (
                condition_text(group["kind"]),
                group["name"],
                group["images"],
                group["roots"],
                *(_cell({**group["values"], "intervals": group["intervals"]}, name) for name in shown),
            )
            for group in groups
        ],
    )
    for gap in (evaluation or {}).get("gaps") or ():
        alarm = " **That is more than is tolerated.**" if gap["alarm"] else ""
        yield (
            f"By {condition_text(gap['kind'])}, {gap['worst']} is {percent(gap['gap'])} points below {gap['best']} in "
            f"balanced accuracy.{alarm}"
        )


def _gate(card: ModelCard) -> Iterable[str]:
    gate = card.config.get("gate")
    yield "### Against the live model"
    yield gate["reason"] if gate else "Nothing is known of it."


def _limits(card: ModelCard) -> Iterable[str]:
    yield "## Ethical considerations"
    yield (
        "Pictures of faces are personal data. A model can be worse on people of whom there were few pictures; figures "
        "of a whole fold hide that. Served by evenskin, pictures are neither kept nor logged."
    )
    yield "## Caveats and recommendations"
    yield (
        "One test fold of one dataset says nothing of other cameras, lights and people. Measure it on pictures of your "
        "own before you rely on it. The map of evidence shows where the model looked, not what is there."
    )
    if card.parity:
        found = card.parity
        yield (
            f"PyTorch and ONNX Runtime differed by at most {found['max_abs_difference']:.1e} on "
            f"{found['images']:.0f} encoded files ({found['tolerance']:.0e} is allowed)."
        )
    yield from _left_out(card)


def _left_out(card: ModelCard) -> Iterable[str]:
    if card.left_out:
        yield f"Left out, since a file could not be read: {len(card.left_out)} of the manifest's images."


def _provenance(card: ModelCard) -> Iterable[str]:
    metadata = card.metadata
    yield "## Provenance and licences"
    yield _table(("training originals from", "images"), sorted(metadata.providers.items()))
    if card.dataset:
        yield f"{card.dataset.generated} of {card.dataset.images} originals of all folds were generated or drawn."
    used = [
        (part, network.name, network.licence, network.source)
        for part, network in (("backbone, inside the model", metadata.backbone), ("face detector", metadata.detector))
        if network is not None
    ]
    if used:
        yield _table(("part", "name", "licence", "source"), used)
    yield f"Licence of the training images: {OWNER}"


def _composition(dataset: DatasetSummary) -> Iterable[str]:
    folds = dataset.folds
    yield (
        f"{dataset.images} original images of {dataset.roots} faces, each in one session; {dataset.generated} were "
        "generated or drawn. There are no names and no other data about a person."
    )
    names = [fold.value for fold in folds]
    yield _table(
        ("", *names),
        [
            (text, *(getattr(fold, name) for fold in folds.values()))
            for name, text in {
                "images": "originals",
                "variants": "flips and other variants",
                "roots": "faces",
                "clear": "clear skin",
                "incomplete": "labelled incompletely",
            }.items()
        ],
    )
    levels = (*(severity.label for severity in Severity), UNKNOWN)
    train = folds[Fold.TRAIN].conditions
    yield "Originals that show a condition, by severity (train, validation, test):"
    yield _table(
        ("condition", *(level if level != UNKNOWN else "not graded" for level in levels)),
        [
            (
                condition_text(condition),
                *(", ".join(str(fold.conditions[condition][level]) for fold in folds.values()) for level in levels),
            )
            for condition in train
        ],
    )
    for field, text in (("providers", "origin"), ("skin_tones", "step of the Monk scale")):
        kinds = sorted({kind for fold in folds.values() for kind in getattr(fold, field)})
        if kinds:
            yield _table((text, *names), [(k, *(getattr(f, field).get(k, 0) for f in folds.values())) for k in kinds])


def _made(fold: FoldSummary) -> int:
    return sum(number for name, number in fold.providers.items() if name != IMPORTED)


def _cell(figures: Mapping[str, Any], name: str) -> str:
    """A share in percent with its interval."""
    value, bounds = figures.get(name), figures.get("intervals", {}).get(name)
    if value is None:
        return NONE
    return percent(value) + (f" [{percent(bounds[0])}–{percent(bounds[1])}]" if bounds else "")


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def _page(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"
