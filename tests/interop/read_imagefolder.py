"""`python read_imagefolder.py DIR`: reads an export of folders as datumaro does, each picture with its folder's label.

Runs in the tools' environment, without evenskin.
"""

from __future__ import annotations

import sys
from pathlib import Path

import datumaro
from datumaro.components.annotation import AnnotationType


def main(folder: Path) -> None:
    """Raise AssertionError where datumaro reads something else than is there."""
    read = datumaro.Dataset.import_from(str(folder), "imagenet")
    names = read.categories()[AnnotationType.label]
    found = set()
    for item in read:
        (label,) = item.annotations
        assert item.media.data.shape[2] == 3
        found.add((names[label.label].name, item.id.rpartition(":")[2]))
    files = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
    assert files
    assert found == {(path.parent.as_posix(), path.stem) for path in files}


if __name__ == "__main__":
    main(Path(sys.argv[1]))
