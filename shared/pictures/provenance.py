"""How a picture was made, told in its file for programs (IPTC Photo Metadata, XMP), without touching its pixels.

`Iptc4xmpExt:DigitalSourceType` is the IPTC's, with a term of its vocabulary (cv.iptc.org/newscodes/digitalsourcetype);
model, campaign and the prompt's hash stand beside it in a namespace of our own. A C2PA manifest is somebody else's
signature on the file's bytes: a file that has one is never marked, since that would break it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from xml.sax.saxutils import escape, unescape

from shared.pictures import jpeg, png, webp
from shared.pictures.parts import Parts

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
NAMESPACE = "https://evenskin.invalid/ns/1.0/"

_WRITERS = {"JPEG": jpeg.with_xmp, "PNG": png.with_xmp, "WEBP": webp.with_xmp}
_END = b"</rdf:RDF>"
_MOST = 300  # characters of one of our values
_SOURCE = re.compile(rb"DigitalSourceType[^/]{0,60}https?://cv\.iptc\.org/newscodes/digitalsourcetype/(\w{1,60})")
_TERM = re.compile(rb"https?://cv\.iptc\.org/newscodes/digitalsourcetype/(\w{1,60})")
_OURS = re.compile(rb"""evenskin:(model|campaign|promptSha256)(?:="([^"<]{0,1800})"|>([^<]{0,1800})<)""")
_QUOTE = {'"': "&quot;"}


class SourceType(StrEnum):
    """Terms of the IPTC's vocabulary that pictures of ours have."""

    TRAINED = "trainedAlgorithmicMedia"  # by a model that was trained on pictures
    ALGORITHMIC = "algorithmicMedia"  # by a program alone


@dataclass(frozen=True)
class Marks:
    """What a file says of its making. `source_type`: a term of the vocabulary; None where it tells none."""

    source_type: str | None
    model: str | None = None
    campaign_id: str | None = None
    prompt_sha256: str | None = None


def marks_of(parts: Parts, *, is_stand_in: bool = False) -> Marks | None:
    """What a file says of its making; None where it says nothing.

    Where only a C2PA manifest says so, its first term counts. `is_stand_in`: it has the comment of a drawn face.
    """
    found = _SOURCE.search(parts.xmp) or _TERM.search(parts.manifest)
    ours = {
        match[1].decode(): unescape((match[2] or match[3] or b"").decode(errors="replace"), {"&quot;": '"'})
        for match in _OURS.finditer(parts.xmp)
    }
    source_type = found[1].decode() if found else SourceType.ALGORITHMIC.value if is_stand_in else None
    if source_type is None and not ours:
        return None
    return Marks(source_type, ours.get("model"), ours.get("campaign"), ours.get("promptSha256"))


def with_marks(data: bytes, picture_format: str, marks: Marks, *, beside: bytes = b"") -> bytes:
    """A JPEG, PNG or WebP that says how it was made; all else in it stays, to the bit.

    `beside`: the XMP that it has, which keeps what it says. Raises KeyError for another format.
    """
    write = _WRITERS[picture_format]
    told = _description(marks, has_source=_SOURCE.search(beside) is not None)
    if _END in beside:
        whole = beside.replace(_END, told + _END, 1)
        if picture_format != "JPEG" or len(whole) <= jpeg.MAX_XMP:
            return write(data, whole)
    return write(data, _packet(told))


def _description(marks: Marks, *, has_source: bool) -> bytes:
    values = {
        "evenskin:model": marks.model,
        "evenskin:campaign": marks.campaign_id,
        "evenskin:promptSha256": marks.prompt_sha256,
    }
    if marks.source_type is not None and not has_source:
        values["Iptc4xmpExt:DigitalSourceType"] = SOURCE_TYPES + marks.source_type
    told = "".join(f' {name}="{_escaped(value)}"' for name, value in values.items() if value is not None)
    return (
        '<rdf:Description rdf:about="" xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
        f' xmlns:evenskin="{NAMESPACE}"{told}/>'
    ).encode()


def _escaped(value: str) -> str:
    """A value as an attribute may have it: of what XML cannot say, nothing."""
    return escape("".join(each for each in value if each.isprintable())[:_MOST], _QUOTE)


def _packet(description: bytes) -> bytes:
    """An XMP packet (ISO 16684-1, 7.3) that is not for editing in place."""
    return (
        b'<?xpacket begin="\xef\xbb\xbf" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        b'<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        + description
        + b'</rdf:RDF></x:xmpmeta><?xpacket end="r"?>'
    )
