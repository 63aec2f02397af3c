"""The public entry: labels, subject and seed in, an encoded picture out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from services.generator.procedural import colour_conditions, line_conditions, nuisances, relief_conditions
from services.generator.procedural.anatomy import coarse_relief, face_outline, grid_cover
from services.generator.procedural.camera import photograph
from services.generator.procedural.canvas import blend, random_stream, shown_box
from services.generator.procedural.features import crease_features, eye_highlights, paint_features, shape_features
from services.generator.procedural.filters import as_plane
from services.generator.procedural.hair import draw_behind, draw_front, draw_stray, sample_style, shape_hair
from services.generator.procedural.lighting import light_skin, sample_lamp
from services.generator.procedural.scene import draw_background, draw_body, draw_ears
from services.generator.procedural.shapes import polygon_coverage
from services.generator.procedural.skin import Skin
from services.generator.procedural.traits import Subject, sample_traits
from shared.errors import InvalidRequest
from shared.taxonomy import Condition, Severity

__all__ = ["Subject", "draw"]

_SMALLEST, _LARGEST, _STEP = 128, 1024, 16  # sides in pixels; 16 is a JPEG block with halved colour


def draw(labels: Mapping[Condition, Severity], subject: Subject, seed: int, size: int = 512) -> bytes:
    """Draw a close-up portrait of `size` by `size` pixels and return it as a baseline sRGB JPEG.

    `labels` names the conditions that show and how strongly; none is clear skin. `subject` says who is drawn. The
    result is a function of the four arguments: the same bytes in every thread and process. With the same seed and
    subject, other labels give the same person in the same photograph.

    Raises InvalidRequest where `size` is not a multiple of 16 from 128 to 1024.
    """
    if size % _STEP or not _SMALLEST <= size <= _LARGEST:
        raise InvalidRequest(f"{size} is not a multiple of {_STEP} from {_SMALLEST} to {_LARGEST}.")
    traits = sample_traits(subject, seed, size)
    lamp = sample_lamp(subject.light, random_stream(seed, "lamp"))
    aging = _amount(line_conditions.AGING, labels.get(Condition.AGING), seed, "aging amount")

    skin = Skin.bare(traits)
    _draw_nuisances(skin, seed)
    _draw_conditions(skin, labels, aging, seed)

    droop = line_conditions.droop(traits, aging)
    features = shape_features(traits, random_stream(seed, "features"), droop)
    crease_features(skin, droop)
    face = polygon_coverage(size, face_outline(traits, aging), 0.6 * size / 512)
    bare = face * (1 - features.eyes) * (1 - features.brows) * (1 - 0.92 * features.lips) * (1 - features.nostrils)
    box = shown_box(face)
    albedo = skin.albedo(bare, box)
    for plane in (skin.shade, skin.gloss):
        plane *= 1 - features.eyes
    skin.relief *= face * (1 - features.eyes)
    paint_features(albedo, skin, features, random_stream(seed, "eyes and lips"))

    coarse = coarse_relief(traits, grid_cover(face, traits.pose.grid_size)) + skin.coarse_relief
    shade = skin.shade + traits.pose.enlarge(skin.coarse_shade)
    lit = light_skin(albedo, traits.pose, as_plane(coarse), skin.relief, shade, skin.gloss, lamp, box)
    eye_highlights(lit, traits, features, (lamp.direction[0], lamp.direction[1]))

    picture = draw_background(size, lamp, random_stream(seed, "background"))
    style = sample_style(traits, random_stream(seed, "hair style"))
    u, v = traits.pose.grid
    dome = np.clip(0.75 + 0.3 * lamp.direction[0] * u - 0.12 * v * (v < 0), 0.3, 1.3) * (lamp.key[1] + lamp.ambient[1])
    hair = shape_hair(traits, style, random_stream(seed, "hair"), traits.pose.enlarge(as_plane(dome)))
    draw_behind(picture, hair, style)
    draw_body(picture, traits, lamp, random_stream(seed, "clothes"))
    draw_ears(picture, traits, lamp, before=False)
    blend(picture, lit, face, box)
    draw_ears(picture, traits, lamp, before=True)
    draw_front(picture, hair, traits, traits.pose.scale)
    nuisances.glasses(picture, traits, random_stream(seed, "glasses"))
    draw_stray(picture, traits, style, random_stream(seed, "stray hair"))
    return photograph(picture, traits, random_stream(seed, "camera"))


def _amount(table: Mapping[Severity, float], severity: Severity | None, seed: int, purpose: str) -> float:
    """Strength 0..1 of a severity with a person's own variation; 0 where the condition is absent."""
    if severity is None:
        return 0.0
    return table[severity] * float(random_stream(seed, purpose).uniform(0.88, 1.12))


def _draw_nuisances(skin: Skin, seed: int) -> None:
    nuisances.complexion(skin, random_stream(seed, "complexion"))
    nuisances.gloss(skin, random_stream(seed, "gloss"))
    nuisances.marks(skin, random_stream(seed, "marks"))
    nuisances.stubble(skin, random_stream(seed, "stubble"))
    nuisances.blush(skin, random_stream(seed, "blush"))
    line_conditions.baseline_age(skin, random_stream(seed, "age"))


def _draw_conditions(skin: Skin, labels: Mapping[Condition, Severity], aging: float, seed: int) -> None:
    drawers = {
        Condition.ACNE: relief_conditions.draw_acne,
        Condition.REDNESS: colour_conditions.draw_redness,
        Condition.PORE_SIZE: relief_conditions.draw_pores,
        Condition.TEXTURED_SKIN: relief_conditions.draw_texture,
        Condition.HYPERPIGMENTATION: colour_conditions.draw_hyperpigmentation,
    }
    for condition, draw_condition in drawers.items():
        severity = labels.get(condition)
        if severity is not None:
            draw_condition(skin, severity, random_stream(seed, f"condition {condition}"))
    lines = _amount(line_conditions.FINE_LINES, labels.get(Condition.FINE_LINES), seed, "fine lines amount")
    if lines:
        line_conditions.draw_fine_lines(skin, lines, random_stream(seed, "condition fine_lines"))
    if aging:
        line_conditions.draw_aging(skin, aging, random_stream(seed, "condition aging"))
