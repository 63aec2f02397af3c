"""How a picture was made, in its file: read back by others, kept beside what is there, and no pixel is touched."""

from __future__ import annotations

import io
import random
import struct
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from shared.errors import ImageBroken
from shared.imaging import Opened, open_checked
from shared.pictures import jpeg, png, webp
from shared.pictures.provenance import NAMESPACE, Marks, SourceType, marks_of, with_marks
from tests.unit.shared.pictures.test_beside import chunk, exif, with_chunks, with_segments

MARKS = Marks(SourceType.TRAINED, "gpt-image-2", "0c5a2f6e-5d9e-4f5c-9a57-9d1f6c6f2a10", "ab" * 32)
SOURCE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
TRAINED = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
OTHERS = (
    '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"'
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">%s</rdf:Description></rdf:RDF></x:xmpmeta>'
)


def noisy(mode: str, size: tuple[int, int] = (91, 70)) -> Image.Image:
    """A picture in which every pixel counts; sides that no block divides."""
    generator = np.random.default_rng(5)
    channels = len(Image.new(mode, (1, 1)).getbands())
    if mode == "I;16":
        return Image.fromarray(generator.integers(0, 65536, size[::-1], dtype=np.uint16))
    if mode == "1":
        return Image.fromarray(generator.integers(0, 256, size[::-1], dtype=np.uint8)).convert("1")
    samples = generator.integers(0, 256, (*size[::-1], channels), dtype=np.uint8)
    if mode == "P":
        image = Image.fromarray(samples[:, :, 0]).convert("P")
        image.putpalette(generator.integers(0, 256, 768, dtype=np.uint8).tobytes())
        return image
    return Image.frombytes(mode, size, samples.tobytes())


def saved(mode: str, picture_format: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    noisy(mode).save(buffer, picture_format, **options)
    return buffer.getvalue()


PICTURES = {
    "jpeg": ("JPEG", saved("RGB", "JPEG", quality=90)),
    "jpeg, progressive": ("JPEG", saved("RGB", "JPEG", progressive=True, subsampling="4:2:0")),
    "jpeg, grey": ("JPEG", saved("L", "JPEG")),
    "jpeg, CMYK": ("JPEG", saved("CMYK", "JPEG")),
    "jpeg, with all": ("JPEG", saved("RGB", "JPEG", exif=exif(), icc_profile=PROFILE, comment=b"a comment")),
    "png": ("PNG", saved("RGB", "PNG")),
    "png, palette": ("PNG", saved("P", "PNG", transparency=3)),
    "png, two tones": ("PNG", saved("1", "PNG")),
    "png, 16 bits": ("PNG", saved("I;16", "PNG")),
    "png, with all": ("PNG", saved("RGBA", "PNG", exif=exif(), icc_profile=PROFILE)),
    "webp": ("WEBP", saved("RGB", "WEBP", quality=80)),
    "webp, clear": ("WEBP", saved("RGBA", "WEBP", quality=80)),
    "webp, lossless": ("WEBP", saved("RGB", "WEBP", lossless=True)),
    "webp, lossless, clear": ("WEBP", saved("RGBA", "WEBP", lossless=True, exact=True)),
    "webp, with all": ("WEBP", saved("RGB", "WEBP", exif=exif(), icc_profile=PROFILE)),
}
WRITERS = {"JPEG": jpeg.with_xmp, "PNG": png.with_xmp, "WEBP": webp.with_xmp}
every = pytest.mark.parametrize("name", PICTURES)


def shown(data: bytes) -> tuple[Any, ...]:
    """All that Pillow reads of a picture but its XMP."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        info = {key: image.info.get(key) for key in ("exif", "icc_profile", "comment", "transparency")}
        return image.format, image.size, image.mode, image.tobytes(), image.getpalette(), info


def told(data: bytes) -> dict[str, str]:
    """The properties in a picture's XMP, as others find and parse it."""
    with Image.open(io.BytesIO(data)) as image:
        image.load()
        packet = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
    found: dict[str, str] = {}
    for element in ET.fromstring(packet).iter("{http://www.w3.org/1999/02/22-rdf-syntax-ns#}Description"):
        found |= element.attrib | {child.tag: child.text or "" for child in element}
    return found


def opened(data: bytes) -> Opened:
    return open_checked(data)


@every
def test_marks_are_read_back_and_no_pixel_is_touched(name: str) -> None:
    picture_format, plain = PICTURES[name]
    marked = with_marks(plain, picture_format, MARKS)
    assert shown(marked) == shown(plain)
    properties = told(marked)
    assert properties[SOURCE] == TRAINED
    assert {key: properties[f"{{{NAMESPACE}}}{key}"] for key in ("model", "campaign", "promptSha256")} == {
        "model": MARKS.model,
        "campaign": MARKS.campaign_id,
        "promptSha256": MARKS.prompt_sha256,
    }
    assert marks_of(opened(marked).parts) == MARKS
    assert len(marked) - len(plain) < 900
    assert marked == with_marks(plain, picture_format, MARKS)  # no clock, no chance
    assert marks_of(opened(plain).parts) is None


@every
def test_later_marks_take_the_place_of_earlier_ones(name: str) -> None:
    picture_format, plain = PICTURES[name]
    once = with_marks(plain, picture_format, MARKS)
    again = with_marks(with_marks(plain, picture_format, Marks("digitalCapture")), picture_format, MARKS)
    assert again == once


@every
@pytest.mark.parametrize(
    ("source", "told_source"),
    [
        ("", TRAINED),
        (
            "<Iptc4xmpExt:DigitalSourceType>http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
            "</Iptc4xmpExt:DigitalSourceType>",
            "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture",
        ),
    ],
)
def test_what_a_file_says_itself_stays_beside_the_marks(name: str, source: str, told_source: str) -> None:
    picture_format, plain = PICTURES[name]
    before = WRITERS[picture_format](plain, (OTHERS % source).encode())
    marked = with_marks(before, picture_format, MARKS, beside=opened(before).parts.xmp)
    assert shown(marked) == shown(plain)
    properties = told(marked)
    assert properties["{http://ns.adobe.com/tiff/1.0/}Orientation"] == "6"
    assert properties[SOURCE] == told_source
    assert properties[f"{{{NAMESPACE}}}model"] == "gpt-image-2"
    found = marks_of(opened(marked).parts)
    assert found is not None
    assert (found.source_type, found.model) == (told_source.rpartition("/")[2], "gpt-image-2")


def test_a_packet_that_would_not_fit_beside_theirs_is_ours_alone() -> None:
    theirs = (OTHERS % ("x" * (jpeg.MAX_XMP - len(OTHERS)))).encode()
    before = jpeg.with_xmp(PICTURES["jpeg"][1], theirs)
    assert opened(before).parts.xmp == theirs
    assert marks_of(opened(with_marks(before, "JPEG", MARKS, beside=theirs)).parts) == MARKS
    with pytest.raises(ValueError, match="does not fit"):
        jpeg.with_xmp(before, bytes(jpeg.MAX_XMP + 1))


@every
def test_names_of_models_may_hold_anything(name: str) -> None:
    picture_format, plain = PICTURES[name]
    model = """a "model" <of> 'ours' & yours, größer \U0001f600"""
    marks = Marks(SourceType.ALGORITHMIC, model + "\0\n\ud800")
    marked = with_marks(plain, picture_format, marks)
    assert told(marked)[f"{{{NAMESPACE}}}model"] == model
    assert marks_of(opened(marked).parts) == Marks(SourceType.ALGORITHMIC, model)


C2PA = b"\0\0\0\x1ejumdc2pa\0\x11\0\x10\x80\0\0\xaa\0\x38\x9b\x71\x03c2pa\0" + TRAINED.encode()


def with_manifest(picture_format: str, manifest: bytes = C2PA) -> bytes:
    """A picture with what stands for a manifest where each format has it."""
    if picture_format == "JPEG":
        header = struct.pack(">2sHII4s", b"JP", 1, 1, 8 + len(manifest), b"jumb")
        return with_segments((0xEB, header + manifest))
    if picture_format == "PNG":
        return with_chunks(chunk(b"caBX", manifest))
    plain = PICTURES["webp, with all"][1]
    body = plain[8:] + b"C2PA" + struct.pack("<I", len(manifest)) + manifest + bytes(len(manifest) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize("picture_format", ["JPEG", "PNG", "WEBP"])
def test_a_manifest_is_noticed_and_tells_the_kind_of_source(picture_format: str) -> None:
    found = opened(with_manifest(picture_format)).parts
    assert found.manifest
    assert marks_of(found) == Marks("trainedAlgorithmicMedia")
    assert not opened(PICTURES[picture_format.lower()][1]).parts.manifest


def test_other_boxes_of_a_jpeg_are_no_manifest() -> None:
    data = with_manifest("JPEG", C2PA.replace(b"c2pa", b"jpxt"))
    assert not opened(data).parts.manifest


def test_a_manifest_of_several_segments_is_searched_as_one() -> None:
    cut = C2PA.index(b"digitalsource")
    header = struct.pack(">2sHII4s", b"JP", 1, 1, 8 + len(C2PA), b"jumb")
    data = with_segments((0xEB, header + C2PA[:cut]), (0xEB, header[:7] + b"\2" + header[8:] + C2PA[cut:]))
    assert marks_of(opened(data).parts) == Marks("trainedAlgorithmicMedia")


def test_a_drawn_face_is_marked_by_its_comment_alone() -> None:
    plain = opened(PICTURES["jpeg"][1]).parts
    assert marks_of(plain, is_stand_in=True) == Marks(SourceType.ALGORITHMIC)


@every
def test_a_damaged_file_is_marked_or_refused(name: str) -> None:
    picture_format, plain = PICTURES[name]
    chance = random.Random(name)
    for _ in range(200):
        damaged = bytearray(plain[: chance.randrange(12, len(plain))])
        for _ in range(chance.choice((0, 1, 5))):
            damaged[chance.randrange(12, len(damaged) + 1) - 1] = chance.randrange(256)
        try:
            marked = with_marks(bytes(damaged), picture_format, MARKS)
        except ImageBroken:
            continue
        assert b"trainedAlgorithmicMedia" in marked
