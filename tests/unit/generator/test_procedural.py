"""The procedural provider's drawing: deterministic, graded, on skin only, at every size and tone."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cache
from io import BytesIO
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from services.generator.procedural import draw
from services.generator.procedural.anatomy import face_outline
from services.generator.procedural.shapes import polygon_coverage
from services.generator.procedural.traits import sample_traits
from shared.errors import InvalidRequest
from shared.imaging import decode
from shared.taxonomy import MONK_TONES, AgeBand, Condition, Light, Severity, Sex, View

SIZE = 192
Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Person:
    """The least a subject is."""

    age_band: AgeBand = AgeBand.ADULT
    skin_tone: int = 4
    sex: Sex = Sex.FEMALE
    light: Light = Light.DAYLIGHT
    view: View = View.FRONTAL


def pixels(data: bytes) -> Pixels:
    with Image.open(BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.float32)


@cache
def clear_picture(person: Person, seed: int) -> Pixels:
    return pixels(draw({}, person, seed, SIZE))


def face_cover(person: Person, seed: int, size: int = SIZE) -> Pixels:
    """1 where the face lies with the sag of the worst aging, as drawn."""
    return polygon_coverage(size, face_outline(sample_traits(person, seed, size), 1.12))


def test_same_arguments_give_the_same_bytes_on_any_thread() -> None:
    labels = {Condition.ACNE: Severity.SEVERE, Condition.AGING: Severity.MODERATE}
    expected = draw(labels, Person(), 7, SIZE)
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda _: draw(labels, Person(), 7, SIZE), range(6)))
    assert set(again) == {expected}


def test_order_of_labels_does_not_matter() -> None:
    labels = {Condition.REDNESS: Severity.MILD, Condition.PORE_SIZE: Severity.SEVERE}
    assert draw(labels, Person(), 3, SIZE) == draw(dict(reversed(labels.items())), Person(), 3, SIZE)


def test_another_seed_gives_another_picture() -> None:
    pictures = [pixels(draw({}, Person(), seed, SIZE)) for seed in range(5)]
    for i, one in enumerate(pictures):
        for other in pictures[i + 1 :]:
            assert float(np.abs(one - other).mean()) > 8.0


def test_seeds_of_64_bits_and_negative_ones_work() -> None:
    assert draw({}, Person(), 2**64 - 1, 128) != draw({}, Person(), -2, 128)


@pytest.mark.parametrize("tone", [2, 9])
@pytest.mark.parametrize("condition", list(Condition))
def test_effect_grows_with_severity(condition: Condition, tone: int) -> None:
    """Mean over a few people, because a single one's mild may come near another one's moderate."""
    effects = np.zeros(4)
    for seed in (11, 12):
        person = Person(skin_tone=tone)
        clear = clear_picture(person, seed)
        for severity in Severity:
            drawn = pixels(draw({condition: severity}, person, seed, SIZE))
            effects[severity] += float(np.square(drawn - clear).mean())
    assert 0.0 < effects[1] < effects[2] < effects[3]


@pytest.mark.parametrize("condition", list(Condition))
@pytest.mark.parametrize("view", [View.FRONTAL, View.LEFT])
def test_conditions_lie_on_skin_only(condition: Condition, view: View) -> None:
    person = Person(view=view)
    clear = clear_picture(person, 21)
    severe = pixels(draw({condition: Severity.SEVERE}, person, 21, SIZE))
    # A JPEG block of 16 pixels and the camera's blur carry a change that far over the face's edge.
    near = polygon_coverage(SIZE, face_outline(sample_traits(person, 21, SIZE), 1.12), 7.0) > 1e-4
    background = ~near
    assert background.mean() > 0.05
    difference = np.abs(severe - clear)
    assert float(difference[background].max()) <= 2.0
    assert float(difference[face_cover(person, 21) > 0.99].mean()) > 0.3


def test_several_conditions_and_none() -> None:
    everything = {condition: Severity.SEVERE for condition in Condition}
    clear, full = pixels(draw({}, Person(), 5, SIZE)), pixels(draw(everything, Person(), 5, SIZE))
    assert clear.std() > 10
    assert float(np.abs(full - clear).mean()) > 3


@pytest.mark.parametrize("size", [128, 176, 512, 1024])
def test_sizes(size: int) -> None:
    data = draw({Condition.TEXTURED_SKIN: Severity.MODERATE}, Person(view=View.LEFT), 9, size)
    with Image.open(BytesIO(data)) as image:
        assert (image.format, image.size, image.mode) == ("JPEG", (size, size), "RGB")
        assert not image.info.get("progressive")
        image.load()


@pytest.mark.parametrize("size", [0, 112, 500, 1040])
def test_a_size_it_cannot_draw_is_refused(size: int) -> None:
    with pytest.raises(InvalidRequest):
        draw({}, Person(), 1, size)


def test_tones_get_darker_along_the_monk_scale() -> None:
    luminance = []
    for tone in MONK_TONES:
        person = Person(skin_tone=tone)
        skin = pixels(draw({}, person, 1, 128))[face_cover(person, 1, 128) > 0.99]
        luminance.append(float(skin.mean()))
    assert luminance[0] > luminance[-1] + 60
    # The published swatches of steps 2 and 3 are equally light.
    assert luminance[1] == pytest.approx(luminance[2], abs=4)
    assert all(darker < lighter for lighter, darker in pairwise(luminance[:2] + luminance[3:]))


@pytest.mark.parametrize("view", list(View))
@pytest.mark.parametrize("light", list(Light))
def test_every_subject_can_be_drawn(view: View, light: Light) -> None:
    for index, age in enumerate((AgeBand.YOUNG_ADULT, AgeBand.SENIOR)):
        person = replace(Person(view=view, light=light), age_band=age, sex=list(Sex)[index], skin_tone=1 + 9 * index)
        picture = pixels(draw({Condition.FINE_LINES: Severity.MILD}, person, index, 128))
        assert 15 < picture.mean() < 240


def test_faces_do_not_share_a_perceptual_hash() -> None:
    """A difference hash of 256 bits: even for the same kind of person, no two pictures within 32 bits of each other."""
    hashes = []
    for seed in range(16):
        with Image.open(BytesIO(draw({}, Person(), seed, 128))) as image:
            small = np.asarray(image.convert("L").resize((17, 16), Image.Resampling.LANCZOS), dtype=np.int16)
        hashes.append((small[:, 1:] > small[:, :-1]).ravel())
    distances = [int(np.sum(a != b)) for i, a in enumerate(hashes) for b in hashes[i + 1 :]]
    assert min(distances) > 32


def test_a_drawn_face_says_that_it_is_one() -> None:
    assert decode(draw({}, Person(), seed=1, size=128)).is_stand_in


def test_the_generator_needs_neither_opencv_nor_a_decoder_of_heic() -> None:
    code = (
        "import sys, services.generator.app, services.generator.procedural_provider\n"
        "print({'cv2', 'pillow_heif'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "set()"
