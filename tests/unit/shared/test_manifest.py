"""The manifest: the same dataset is the same bytes, and what was written is read back."""

from __future__ import annotations

import json
from uuid import UUID

import pytest

from shared.errors import InvalidRequest
from shared.frames import middle_frame
from shared.manifest import ManifestImage, ManifestVariant, dump_manifest, parse_manifest
from shared.taxonomy import AgeBand, Condition, Fold, Severity, Sex

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


def test_a_frame_is_read_back_and_one_that_is_not_known_is_left_out() -> None:
    frame = middle_frame(300, 400, 90)
    (line,) = (data := dump_manifest([IMAGES[0].model_copy(update={"frame": frame})])).splitlines()
    assert json.loads(line)["frame"]["square"]["side"] == 300
    assert [image.frame for image in parse_manifest(data)] == [frame]
    assert "frame" not in json.loads(dump_manifest(IMAGES[:1]))
    assert [image.frame for image in parse_manifest(dump_manifest(IMAGES[:1]))] == [None]


def test_who_was_asked_for_is_read_back_and_left_out_where_nobody_said() -> None:
    told = IMAGES[0].model_copy(update={"age_band": AgeBand.SENIOR, "sex": Sex.FEMALE})
    (line,) = (data := dump_manifest([told])).splitlines()
    assert (json.loads(line)["age_band"], json.loads(line)["sex"]) == ("60-75", "female")
    assert list(parse_manifest(data)) == [told]
    assert not {"age_band", "sex"} & set(json.loads(dump_manifest(IMAGES[:1])))


def test_the_order_in_which_images_came_does_not_matter() -> None:
    assert dump_manifest(reversed(IMAGES)) == dump_manifest(IMAGES)


@pytest.mark.parametrize("line", [b"{}", b"{", b"[]", b'{"image_id": 5}', b"\xff"])
def test_a_wrong_line_is_named(line: bytes) -> None:
    with pytest.raises(InvalidRequest, match="Line 2"):
        list(parse_manifest(dump_manifest(IMAGES[:1]) + line + b"\n"))
