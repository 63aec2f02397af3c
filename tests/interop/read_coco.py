"""`python read_coco.py FILE`: reads a COCO file as pycocotools and datumaro do, and evaluates it against itself.

Runs in the tools' environment, without evenskin.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import datumaro
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval


def main(file: Path) -> None:
    """Raise AssertionError where a tool reads something else than is there."""
    coco = COCO(str(file))
    coco.info()
    found: list[dict[str, Any]] = coco.loadAnns(coco.getAnnIds())
    assert found
    for annotation in found:
        assert int(coco.annToMask(annotation).sum()) == annotation["area"]
    guesses = [{name: each[name] for name in ("image_id", "category_id", "bbox")} | {"score": 1.0} for each in found]
    evaluation = COCOeval(coco, coco.loadRes(guesses), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == 1.0  # mean average precision of the truth itself
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "images").mkdir()
        (Path(folder) / "annotations").mkdir()
        (Path(folder) / "annotations" / "instances_train.json").write_bytes(file.read_bytes())
        read = datumaro.Dataset.import_from(folder, "coco_instances")
        assert len(read) == len(coco.getImgIds())
        assert sum(bool(item.annotations) for item in read) == len({each["image_id"] for each in found})


if __name__ == "__main__":
    main(Path(sys.argv[1]))
