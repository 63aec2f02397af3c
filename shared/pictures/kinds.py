"""What kind of file some bytes are, by how they begin: a format that is read, or one that is named in the refusal."""

from __future__ import annotations

import re

from shared.errors import ImageAnimated, ImageUnsupported

MEDIA_TYPES = {
    "JPEG": "image/jpeg",
    "PNG": "image/png",
    "WEBP": "image/webp",
    "HEIF": "image/heic",
    "AVIF": "image/avif",
}
EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp", "HEIF": "heic", "AVIF": "avif"}
FORMATS = tuple(MEDIA_TYPES)
NAMES = "JPEG, PNG, WebP, HEIC or AVIF"

_READ = {b"\xff\xd8\xff": "JPEG", b"\x89PNG\r\n\x1a\n": "PNG"}
_NAMED = {
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL \r\n\x87\n": "JPEG XL",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG 2000",
    b"\xff\x4f\xff\x51": "JPEG 2000",
    b"II\xbc": "JPEG XR",
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0\x10\0\0\0CR": "Canon raw (CR2)",
    b"II*\0": "TIFF (or a raw format such as DNG)",
    b"MM\0*": "TIFF (or a raw format such as DNG)",
    b"II+\0": "TIFF",
    b"MM\0+": "TIFF",
    b"IIRO": "Olympus raw (ORF)",
    b"IIRS": "Olympus raw (ORF)",
    b"IIU\0": "Panasonic raw (RW2)",
    b"FUJIFILMCCD-RAW": "Fujifilm raw (RAF)",
    b"FOVb": "Sigma raw (X3F)",
    b"\0\0\1\0": "ICO",
    b"8BPS": "Photoshop (PSD)",
    b"gimp xcf": "GIMP (XCF)",
    b"%PDF-": "PDF",
    b"%!PS": "PostScript",
    b"qoif": "QOI",
    b"DDS ": "DDS",
    b"\x76\x2f\x31\x01": "OpenEXR",
    b"#?RADIANCE": "Radiance HDR",
    b"\x8aMNG": "MNG",
    b"\x8bJNG": "JNG",
    b"P1\n": "PNM",
    b"P2\n": "PNM",
    b"P3\n": "PNM",
    b"P4\n": "PNM",
    b"P5\n": "PNM",
    b"P6\n": "PNM",
    b"\x1aE\xdf\xa3": "Matroska or WebM video",
    b"\0\0\1\xba": "MPEG video",
    b"\0\0\1\xb3": "MPEG video",
    b"FLV\1": "Flash video",
    b"PK\3\4": "A ZIP archive",
}
_HEIC = frozenset((b"heic", b"heix", b"heim", b"heis"))  # ISO/IEC 23008-12, annex B.4
_SEQUENCES = frozenset((b"avis", b"hevc", b"hevx", b"hevm", b"hevs", b"msf1"))
_VIDEO = re.compile(rb"isom|iso\d|mp4\d|avc1|qt  |M4V |3g[2gp]\w|dash|MSNV|f4v ")
_MARKUP = (
    (re.compile(rb"\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)*(<!DOCTYPE svg[^>]*>\s*)?<svg[\s>/]", re.S), "SVG"),
    (re.compile(rb"\s*(<!doctype html|<html|<head)", re.I), "A web page"),
)


def kind_of(data: bytes) -> str:
    """The format of a file, one of FORMATS.

    Raises ImageUnsupported, which names the format where it is known, and ImageAnimated.
    """
    for beginning, kind in _READ.items():
        if data.startswith(beginning):
            return kind
    if data[:4] == b"RIFF":
        if data[8:12] == b"WEBP":
            return "WEBP"
        raise _unread("AVI video" if data[8:12] == b"AVI " else None)
    if data[4:8] == b"ftyp":
        return _kind_of_boxes(data)
    for beginning, name in _NAMED.items():
        if data.startswith(beginning):
            raise _unread(name)
    for pattern, name in _MARKUP:
        if pattern.match(data[:4096]):
            raise _unread(name)
    raise _unread(None)


def not_here(name: str) -> ImageUnsupported:
    """The error of a format that is read elsewhere: its decoder is not installed."""
    return _unread(name, where=" here")


def animated() -> ImageAnimated:
    """The error of a file with several frames."""
    return ImageAnimated("The picture is animated.", advice="Send a still picture.")


def _kind_of_boxes(data: bytes) -> str:
    """By its brands (ISO/IEC 14496-12, 4.3): the first is what it is, the others are what it may be read as."""
    end = min(int.from_bytes(data[:4], "big"), 256)
    major, others = data[8:12], {data[at : at + 4] for at in range(16, end, 4)}
    if major in _SEQUENCES:
        raise animated()
    if major == b"avif" or (major in (b"mif1", b"miaf") and b"avif" in others):
        return "AVIF"
    if major in _HEIC or major in (b"mif1", b"mif2", b"miaf"):
        return "HEIF"
    if major == b"crx ":
        raise _unread("Canon raw (CR3)")
    if _VIDEO.match(major):
        raise _unread("Video (MP4 or QuickTime)")
    if others & _HEIC:
        return "HEIF"
    if b"avif" in others:
        return "AVIF"
    raise _unread(None)


def _unread(name: str | None, where: str = "") -> ImageUnsupported:
    said = "The upload is not a picture in a format that is read." if name is None else f"{name} is not read{where}."
    return ImageUnsupported(said, advice=f"Send {NAMES}.")
