"""The manifest: the same dataset is the same bytes, and what was written is read back."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.errors import InvalidRequest
from shared.manifest import ManifestImage, ManifestVariant, dump_manifest, parse_manifest
from shared.taxonomy import Condition, Fold, Severity

IMAGES = [
    ManifestImage(
        image_id=UUID(int=n),
        root_id=UUID(int=n // 2),
        key=f"images/{n}/original.png",
        sha256="0" * 64,
        fold=Fold.TRAIN,
        labels={Condition.ACNE: Severity.SEVERE, Condition.AGING: None} if n else {},
        complete=bool(n % 2),
        skin_tone=n or None,
        provider="procedural" if n else None,
        variants=(ManifestVariant(operation="hflip", key="k", sha256="1" * 64),) if n else (),
    )
    for n in range(3)
]


def test_what_was_written_is_read_back() -> None:
    data = dump_manifest(IMAGES)
    assert data.count(b"\n") == 3
    assert list(parse_manifest(data)) == IMAGES
    assert list(parse_manifest(b"")) == []


def test_the_order_in_which_images_came_does_not_matter() -> None:
    assert dump_manifest(reversed(IMAGES)) == dump_manifest(IMAGES)


@pytest.mark.parametrize("line", [b"{}", b"{", b"[]", b'{"image_id": 5}', b"\xff"])
def test_a_wrong_line_is_named(line: bytes) -> None:
    with pytest.raises(InvalidRequest, match="Line 2"):
        list(parse_manifest(dump_manifest(IMAGES[:1]) + line + b"\n"))
