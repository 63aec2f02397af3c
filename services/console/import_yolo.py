"""Reads the labels of a dataset as YOLO and Label Studio's YOLO export lay it out, without sending anything.

`classes.txt` names a class a line: a condition, with a severity before or behind it or without one, or clear skin.
Pictures lie in folders `images`, with `train`, `val` or `test` above or below, and their labels in folders `labels`
beside those; or both lie together. A line of a picture's `.txt` begins with the number of a class, from 0; what follows
it, a box, is passed over: a label here is the whole picture's. A picture with an empty `.txt` is clear skin, as YOLO
has it. One without a `.txt` is passed over, and told: whether somebody looked at it is not known.
"""

from __future__ import annotations

from pathlib import Path

from services.console.file_names import shown
from services.console.folder_walk import PassedOver, walk
from services.console.import_folder import PICTURE_ENDINGS, SPLITS, Folder, Labels, Picture, merged
from shared.errors import InvalidRequest, UnknownCondition, UnknownSeverity
from shared.taxonomy import CLEAR_NAMES, Condition, Severity, normal_name, parse_condition, parse_severity

CLASSES = "classes.txt"
MAX_TEXT_BYTES = 1024 * 1024  # of classes.txt, or of one picture's labels: thousands of boxes


def is_yolo(path: Path) -> bool:
    """Whether a folder is laid out so."""
    return (path / CLASSES).is_file()


def read_yolo(root: Path) -> Folder:
    """Read the classes and every picture's labels. Sends and changes nothing.

    Raises InvalidRequest or UnknownCondition, which name the file and the line.
    """
    classes = _classes(root / CLASSES)
    tree = walk(root)
    there, read = set(tree.files), {root / CLASSES}
    found: list[Picture] = []
    passed_over = list(tree.passed_over)
    pictures = [path for path in tree.files if path.suffix.lower() in PICTURE_ENDINGS]
    for path in pictures:
        text = next((each for each in _where_labels_are(path, root) if each in there), None)
        if text is None:
            passed_over.append(PassedOver(path, "has no .txt with labels"))
            continue
        read.add(text)
        splits = {SPLITS[name] for name in map(normal_name, path.relative_to(root).parts[:-1]) if name in SPLITS}
        found.append(Picture(path, _labels(text, classes), splits=frozenset(splits)))
    others = there - read - set(pictures)
    passed_over += [PassedOver(path, "no picture, and no labels of one") for path in others]
    if not found:
        raise InvalidRequest(
            f"'{shown(root)}' has {CLASSES}, and no picture with labels.",
            advice="Put pictures into images/ and their .txt files into labels/.",
        )
    return Folder(root, merged(found), sorted(passed_over, key=lambda each: each.path))


def _where_labels_are(picture: Path, root: Path) -> list[Path]:
    """Where a picture's labels may be: in `labels`, where the picture is in `images`, or beside it."""
    beside = picture.with_suffix(".txt")
    parts = beside.relative_to(root).parts
    at = [index for index, name in enumerate(parts[:-1]) if name.lower() == "images"]
    return [*(root.joinpath(*parts[:index], "labels", *parts[index + 1 :]) for index in reversed(at)), beside]


def _classes(path: Path) -> list[tuple[Condition, Severity | None] | None]:
    """The condition and severity of each class, by its number; None: clear skin."""
    found = []
    for line, name in enumerate(_text(path).rstrip().splitlines(), start=1):
        try:
            found.append(_class(name.strip()))
        except UnknownCondition as error:
            advice = f"{error.advice} With a severity: acne_mild. Or: clear."
            raise UnknownCondition(f"{CLASSES}, line {line}: {error.message}", advice=advice) from None
    return found


def _class(name: str) -> tuple[Condition, Severity | None] | None:
    if normal_name(name) in CLEAR_NAMES:
        return None
    try:
        return parse_condition(name), None
    except UnknownCondition:
        words = normal_name(name).split("_")
        for condition, severity in (("_".join(words[:-1]), words[-1]), ("_".join(words[1:]), words[0])):
            try:
                return parse_condition(condition), parse_severity(severity)
            except (UnknownCondition, UnknownSeverity):
                continue
        raise


def _labels(path: Path, classes: list[tuple[Condition, Severity | None] | None]) -> Labels:
    """What a picture's boxes say together: of two severities, the higher one."""
    labels: Labels = {}
    is_clear = False
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        named = line.split()[0]
        if not (named.isascii() and named.isdigit() and len(named) < 6 and int(named) < len(classes)):
            raise InvalidRequest(
                f"'{shown(path)}', line {number}: there is no class '{shown(named[:40])}'.",
                advice=f"Begin lines with the number of a line of {CLASSES}, from 0.",
            )
        said = classes[int(named)]
        if said is None:
            is_clear = True
            continue
        condition, severity = said
        known = labels.get(condition)
        labels[condition] = severity if known is None else known if severity is None else max(known, severity)
    if is_clear and labels:
        raise InvalidRequest(f"'{shown(path)}' says clear skin, and a condition.", advice="Keep what is right.")
    return labels


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_TEXT_BYTES:
            raise InvalidRequest(f"'{shown(path)}' has more than {MAX_TEXT_BYTES:,} bytes.")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"'{shown(path)}' is not in UTF-8.", advice="Save it in UTF-8.") from error
    except OSError as error:
        raise InvalidRequest(f"'{shown(path)}' cannot be read: {error.strerror}.") from error
