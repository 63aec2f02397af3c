"""The page on pictures: what is read, framed, advised and marked. Its limits and measures are the code's."""

from __future__ import annotations

import json
from typing import Any

from docs.fields import table
from shared import frames, imaging, portraits, preprocessing
from shared.documents.predictions import NOTICE
from shared.errors import NoFace
from shared.pictures.kinds import EXTENSIONS, MEDIA_TYPES
from shared.pictures.provenance import NAMESPACE, SOURCE_TYPES, SourceType
from shared.portraits import Advice, AdviceCode, Portrait
from shared.preprocessing import Preprocessing
from shared.taxonomy import Condition

_NO_FACE = Advice(
    code=AdviceCode.NO_FACE,
    measure="faces",
    value=0,
    limit=1,
    message="No face was found; send a picture of one face.",
)
_TOO_SMALL = Advice(
    code=AdviceCode.FACE_TOO_SMALL,
    measure="inter_eye_distance",
    value=48.3,
    limit=portraits.MIN_EYE_DISTANCE,
    message="The eyes are 48 pixels apart, and at least 60 show skin; come nearer or send a larger picture.",
)


def example_answer() -> dict[str, Any]:
    """An answer of `POST /v1/predictions`, as the page shows it."""
    levels = {"absent": 0.118, "mild": 0.213, "moderate": 0.561, "severe": 0.108}
    absent = {"absent": 0.931, "mild": 0.052, "moderate": 0.012, "severe": 0.005}
    return {
        "notice": NOTICE,
        "model_version": "20261127-1",
        "preprocessing": Preprocessing.FACE_1.value,
        "conditions": [
            {
                "condition": condition.value,
                "present": condition is Condition.REDNESS,
                "probability": 0.882 if condition is Condition.REDNESS else 0.069,
                "abstained": False,
                "severity": "moderate" if condition is Condition.REDNESS else None,
                "severity_probabilities": levels if condition is Condition.REDNESS else absent,
            }
            for condition in Condition
        ],
        "image": {
            "width": 700,
            "height": 900,
            "format": "JPEG",
            "orientation": 6,
            "crop": {"left": 273.5, "top": 323.5, "width": 153.0, "height": 153.0},
        },
        "face_search": "on",
        "face": {
            "x": 350.2,
            "y": 404.1,
            "width": 103.6,
            "height": 124.3,
            "points": [[326.0, 391.4], [374.2, 390.1], [351.7, 415.8], [331.3, 436.0], [371.5, 434.9]],
            "score": 0.9231,
            "roll": -1.5,
            "yaw": 0.026,
        },
        "frame": {
            "found": True,
            "width": 700,
            "height": 900,
            "turn": 0,
            "square": {"x": 350.0, "y": 400.0, "side": 153.0, "roll": 0.0},
        },
        "advice": [_TOO_SMALL.model_dump(mode="json")],
        "warnings": [_TOO_SMALL.message],
        "timing_ms": {"decode": 9.41, "inference": 2.87, "total": 12.96},
    }


def example_refusal() -> dict[str, Any]:
    """What a picture without a face is answered with EVENSKIN_FACE_POLICY=require."""
    portrait = Portrait(faces=0, brightest=201.0, under_exposed=0.004, over_exposed=0.0)
    return NoFace(
        _NO_FACE.message, reasons=[_NO_FACE.model_dump(mode="json")], portrait=portrait.model_dump(mode="json")
    ).problem()


def page(note: str) -> str:
    """The page's text."""
    return "\n".join([note, *_read(), *_framed(), *_steady(), *_advised(), *_answered(), *_marked()])


def _read() -> list[str]:
    million = 1_000_000
    rows = "\n".join(
        f"| {'HEIC' if name == 'HEIF' else name} | `.{EXTENSIONS[name]}` | `{media_type}` | {_SCALES[name]} |"
        for name, media_type in MEDIA_TYPES.items()
    )
    return [
        "# Pictures\n",
        "From a phone's file to the square that a model sees. `evenskin look FILE…` draws all of this for any "
        "picture, without a service:\n",
        "![Drawn faces with the box and points of the face that was found, the frame, what a model sees of it, and "
        "advice](framing.jpg)\n",
        "## What is read\n",
        f"| format | kept as | media type | decoded |\n| --- | --- | --- | --- |\n{rows}\n",
        "The bytes count, not a name or a content type. What comes out is upright sRGB: EXIF's orientation, a colour "
        "profile (or the colours that nclx or cICP name) are applied, transparency is laid on white. Of a file with "
        "several pictures the primary one is read.\n",
        f"- At most {imaging.MAX_BYTES // 2**20} MiB (`EVENSKIN_MAX_IMAGE_BYTES`); at least {imaging.MIN_SIDE} pixels "
        "on the shorter side.",
        f"- At most {imaging.MAX_PIXELS // million} megapixels are decoded (`EVENSKIN_MAX_IMAGE_PIXELS`). A JPEG is "
        "decoded at a half, a quarter or an eighth of its size, as small as its use allows, and may have "
        f"{imaging.MAX_SCALED_PIXELS // million}; where its face is small, once more at up to "
        f"{preprocessing.FINER_PIXELS / million:g} megapixels.",
        "- Passed over: everything beside the pixels that is damaged or odd, such as EXIF, profiles, thumbnails and "
        "what a camera appended. A JPEG that lacks only its end marker is read, with a warning.",
        "- Refused: `image_broken` where data is missing or damaged; `image_animated` for animations; "
        "`image_unsupported`, by its name, for JPEG XL, GIF, TIFF, raw formats, video and what else is known.\n",
    ]


_SCALES = {
    "JPEG": "as small as is needed",
    "PNG": "whole",
    "WEBP": "whole",
    "HEIF": "whole",
    "AVIF": "whole",
}


def _framed() -> list[str]:
    versions = "\n".join(f"- `{version.described(224)}`" for version in Preprocessing)
    return [
        "## How it is framed\n",
        "YuNet finds faces, each with a box, five points (eyes, tip of the nose, corners of the mouth) and a score; "
        "the largest one with both eyes in the picture counts. It is looked at twice, then at one size and about "
        f"upright. The frame is a square, upright to within {frames.ROLL_SLACK:g}°, {frames.MARGIN:g} times "
        "as large as the face's box and a little higher, so that forehead and chin stay in; where it leaves the "
        "picture, the picture is mirrored at its "
        "edge. A picture that lies on its side is turned where EXIF is silent and the face leaves no doubt. Without a "
        "face the middle square is taken, and the answer says so.\n",
        "A frame is `x`, `y` (its centre), `side` and `roll` (degrees clockwise), in pixels of the upright picture: "
        "after EXIF's orientation and after `turn`. To lay a heatmap over the picture, centre it on `x` and `y`, make "
        "it `side` wide and turn it by `roll`:\n",
        "```html\n"
        '<svg viewBox="0 0 {frame.width} {frame.height}">\n'
        '  <image href="data:image/png;base64,{heatmap}" x="{x - side / 2}" y="{y - side / 2}" width="{side}" '
        'height="{side}"\n         transform="rotate({roll} {x} {y})" preserveAspectRatio="none" />\n'
        "</svg>\n```\n",
        "How a model wants its pictures is a version in its metadata. A server serves every version that it knows, so "
        "that a rollback works, and refuses at loading a model of one that it does not know:\n",
        f"{versions}\n",
    ]


def _steady() -> list[str]:
    return [
        "## How steady answers are\n",
        "A demo's model was asked about 30 drawn faces, each encoded anew in EXIF's eight orientations. Of how many "
        "no probability of presence changes by more than 0.02, and the largest change:\n",
        "| what differs | faces | largest |\n| --- | --- | --- |\n"
        "| the encoding, in one frame | 22 | 0.13 |\n"
        "| the frame, moved by 0.03 of the model's pixels, of one file | 17 | 0.10 |\n"
        "| the frame, moved by 0.2 of the model's pixels, of one file | 12 | 0.27 |\n"
        "| both, each frame found anew, before candidates' weights began at 0 | 12 | 0.28 |\n"
        "| both, each frame found anew as it is now | 13 | 0.15 |\n",
        "So what remains is the model's: the last of a backbone's maps, by themselves, give nearly all of it. Training "
        "therefore adds noise to a backbone's maps. Of two models trained alike but for that, with half of the usual "
        "pictures shown: within 0.02 in one frame 25 without and 27 with it, in a frame moved by 0.1 pixels 13 and 17, "
        "each frame found anew 13 and 16; no verdict changed by borders of 5 to 40% or an off-centre place on 20 and "
        "27 of 32 portraits (all on frames as they were found before). Balanced accuracy is "
        "0.914 and 0.916. `python -m tests.bench.framing MODEL.onnx` "
        "measures the whole way.\n",
    ]


def _advised() -> list[str]:
    rows = "\n".join(
        f"| `{code}` | `{measure}` | {limit} |"
        for code, measure, limit in (
            (AdviceCode.NO_FACE, "faces", "at least 1"),
            (AdviceCode.MULTIPLE_FACES, "single_face_present", f"at most {portraits.MAX_OTHER_FACE:g}"),
            (AdviceCode.FACE_TOO_SMALL, "inter_eye_distance", f"at least {portraits.MIN_EYE_DISTANCE:g} pixels"),
            (AdviceCode.FACE_CUT, "has_eyes", "true"),
            (AdviceCode.FACE_CUT, "side_margin", f"at least {portraits.MIN_SIDE_MARGIN:g}"),
            (AdviceCode.FACE_CUT, "margin_above", f"at least {portraits.MIN_MARGIN_ABOVE:g}"),
            (AdviceCode.FACE_CUT, "margin_below", f"at least {portraits.MIN_MARGIN_BELOW:g}"),
            (AdviceCode.FACE_TURNED, "head_pose_yaw", f"at most {portraits.MAX_YAW:g} to either side"),
            (AdviceCode.TOO_BLURRY, "sharpness", f"at least {portraits.MIN_SHARPNESS:g}"),
            (AdviceCode.TOO_DARK, "brightest", f"at least {portraits.MIN_BRIGHTEST:g} of 255"),
            (
                AdviceCode.TOO_BRIGHT,
                "over_exposed",
                f"at most {portraits.MAX_OVER_EXPOSED:g}; of a picture without a face {portraits.MAX_WHITE:g}",
            ),
        )
    )
    schema = Portrait.model_json_schema()
    return [
        "## What is advised\n",
        "Whether skin can be judged on a picture. Each advice has a code, the measure that says so, its value and "
        "limit, and a sentence for the person who took it.\n",
        f"| code | measure | right |\n| --- | --- | --- |\n{rows}\n",
        "What is done about it, the model-server's settings say:\n",
        "- `EVENSKIN_FACE_POLICY=warn` (default): `advice` stands beside the answer, and its sentences among "
        "`warnings`, where clients find them that know no `advice`. `require`: a picture with any advice is refused "
        "with 422 and the code of the first; `reasons` has all, `portrait` every measure. `off`: nothing is measured "
        "or advised; a face is framed all the same.",
        "- `EVENSKIN_MULTIPLE_FACES=largest` (default): of several faces the largest is judged, and `multiple_faces` "
        "is advice under either policy. `refuse`: it is a refusal under either.",
        "- `EVENSKIN_FACES=off`: no face is looked for; the middle square is judged, nothing is advised, and every "
        "answer says `face_search: off`.\n",
        "The measures follow ISO/IEC 29794-5, as its open reference OFIQ computes them, where one fits:\n",
        table(schema, schema.get("$defs", {})),
        "",
    ]


def _answered() -> list[str]:
    return [
        "## What is answered\n",
        "`curl -s -H 'Content-Type: image/jpeg' --data-binary @me.jpg http://127.0.0.1:8080/v1/predictions`. The "
        "description is at `/openapi.json`; [more examples](predictions.md), in Python and JavaScript and of "
        "several pictures at once, have a page of their own. A client passes over fields that it does not know.\n",
        _json(example_answer()),
        "`severity` is the likeliest of the three given that the condition is present, by the probabilities that are "
        "shown. With `?heatmap=1` each condition has a small grey map of its evidence, with `?heatmap=overlay` one in "
        "colours, clear where evidence is weak. `image.crop` is for older clients: what of the frame lies in the "
        "picture as displayed, without its roll.\n",
        "Refused by `EVENSKIN_FACE_POLICY=require`:\n",
        _json(example_refusal()),
    ]


def _marked() -> list[str]:
    return [
        "## How it says that it was made\n",
        "A generated picture's file says so to programs, in XMP and without being encoded anew: JPEG in APP1, PNG in "
        "iTXt, WebP in its chunk. The SHA-256 that is kept is of the file with these marks; the same request for the "
        "same picture gives the same bytes.\n",
        "| property | says |\n| --- | --- |\n"
        f"| `Iptc4xmpExt:DigitalSourceType` | `{SOURCE_TYPES}…`: `{SourceType.TRAINED}` from OpenAI's and other "
        f"servers' models, `{SourceType.ALGORITHMIC}` of drawn faces |\n"
        f"| `model`, `campaign`, `promptSha256` of `{NAMESPACE}` | the model's name, the campaign's id, the SHA-256 of "
        "the prompt in UTF-8 |\n",
        "- XMP that came with the picture stays beside them; a source type that it names stands.",
        "- A picture that came with a C2PA manifest stays as it came, to the bit, without marks: they would break what "
        "the manifest signs. `c2pa: true` in its `ImageGenerated` and `generation.json` says so. evenskin looks only "
        "whether there is one, checks no signature and signs nothing.",
        "- A flip has the same marks, of a picture with a manifest the source type that the manifest names; the "
        "manifest itself would not hold for it, and is dropped.",
        "- Exports hold the files as they are kept; COCO and Label Studio name them by URL.",
        "- Pictures that were brought in stay as they came; so do those of `EVENSKIN_PROVIDER=folder`, of which nobody "
        "knows how they were made. A HEIC or AVIF keeps its source type as the JPEG that it becomes.\n",
    ]


def _json(document: dict[str, Any]) -> str:
    return f"```json\n{json.dumps(document, indent=2, ensure_ascii=False)}\n```\n"
