"""Shapes and filters of the drawing, against what geometry says."""

from __future__ import annotations

import math

import numpy as np
import pytest

from services.generator.procedural.filters import blur, distance_inside, resize, slopes
from services.generator.procedural.shapes import Mask, Points, polygon_coverage

SIZE = 128


def ellipse(x: float, y: float, wide: float, tall: float) -> Points:
    angles = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return np.stack([x + wide * np.cos(angles), y + tall * np.sin(angles)], axis=1)


@pytest.mark.parametrize("turn", [1, -1])
def test_a_polygon_covers_its_area(turn: int) -> None:
    polygon = ellipse(60.3, 50.8, 40.0, 25.5)[::turn]
    x, y = polygon.T
    area = abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
    cover = polygon_coverage(SIZE, polygon)
    assert cover.sum() == pytest.approx(area, rel=2e-3)
    assert (cover.min(), cover.max()) == (0.0, 1.0)
    rows, columns = np.mgrid[:SIZE, :SIZE]
    assert [(cover * columns).sum() / area, (cover * rows).sum() / area] == pytest.approx([60.3, 50.8], abs=0.1)


def test_a_polygon_on_whole_pixels_has_sharp_edges() -> None:
    cover = polygon_coverage(SIZE, np.array([(9.5, 19.5), (29.5, 19.5), (29.5, 39.5), (9.5, 39.5)]))
    expected = np.zeros((SIZE, SIZE))
    expected[20:40, 10:30] = 1
    np.testing.assert_allclose(cover, expected, atol=1e-5)


@pytest.mark.parametrize(("x", "y"), [(0, 60), (127, 60), (60, 0), (60, 127), (-5, -5), (140, 140)])
@pytest.mark.parametrize("softness", [0.0, 2.0, 6.0])
def test_what_crosses_the_picture_s_edge_is_cut_there(x: float, y: float, softness: float) -> None:
    def draw(size: int, shift: float) -> Mask:
        mask = Mask(size)
        mask.fill(ellipse(x + shift, y + shift, 20.0, 15.0))
        mask.stroke(np.array([(x - 30.0, y - 12.0), (x + 30.0, y + 12.0)]) + shift, 5.0)
        return mask

    whole = draw(SIZE + 128, 64.0).coverage(softness)[64:-64, 64:-64]
    # A wide blur is done at a quarter of the size, whose grid begins elsewhere on the other picture.
    np.testing.assert_allclose(draw(SIZE, 0.0).coverage(softness), whole, atol=0.02 if softness < 4 else 0.05)


def test_shapes_outside_the_picture_leave_nothing() -> None:
    mask = Mask(SIZE)
    mask.fill(ellipse(400, 60, 20, 20))
    mask.stroke(np.array([(-90.0, -90.0), (-40.0, -60.0)]), 3.0)
    assert not mask.coverage(1.0).any()
    assert not Mask(SIZE).coverage(1.0).any()


def test_a_line_is_as_strong_and_as_wide_as_it_is_told() -> None:
    def mass(width: float, value: float = 255.0) -> float:
        mask = Mask(SIZE)
        mask.stroke(np.array([(20.3, 30.1), (100.7, 70.9)]), width, value)
        cover = mask.coverage()
        assert cover.max() <= value / 255 + 1e-6
        return float(cover.sum())

    masses = [mass(width) for width in (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)]
    assert masses == sorted(masses)
    assert mass(0.5) == pytest.approx(2.5 * mass(0.2), rel=0.05)
    assert mass(2.0, 51.0) == pytest.approx(mass(2.0) / 5, rel=1e-3)


def test_lines_that_cross_are_no_stronger_than_one() -> None:
    mask = Mask(SIZE)
    mask.strokes(
        np.array([[(20.0, 64.0), (108.0, 64.0)], [(64.0, 20.0), (64.0, 108.0)]]), np.full(2, 3.0), np.full(2, 128.0)
    )
    assert mask.coverage().max() == pytest.approx(128 / 255)


def test_a_tapered_line_runs_out_at_both_ends() -> None:
    mask = Mask(SIZE)
    mask.tapered([np.stack([np.linspace(20, 100, 9), np.full(9, 64.0)], axis=1)], np.array([3.0]), np.array([255.0]))
    across = mask.coverage().sum(axis=0)
    assert across[25] < 0.6 * across[60] > across[95]


@pytest.mark.parametrize("sigma", [0.6, 1.3, 3.0, 7.0])
def test_a_blur_spreads_a_dot_by_its_sigma(sigma: float) -> None:
    plane = np.zeros((SIZE, SIZE + 5), dtype=np.float32)
    plane[60:64, 70:74] = 1 / 16
    rows, columns = np.mgrid[:SIZE, : SIZE + 5]
    spread = blur(plane, sigma)
    assert spread.shape == plane.shape
    assert spread.sum() == pytest.approx(1.0, abs=0.01)
    for axis, middle in ((rows, 61.5), (columns, 71.5)):
        assert (spread * axis).sum() == pytest.approx(middle, rel=0.01)
        # The dot itself has a variance of 15 / 12; the Gaussian is cut at three sigmas, which takes 3% of its variance.
        variance = float((spread * (axis - middle) ** 2).sum()) - 15 / 12
        assert math.sqrt(variance) == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize("shape", [(3, 200), (45, 61), (97, 64), (512, 33)])
@pytest.mark.parametrize("sigma", [0.1, 0.8, 5.0])
def test_an_even_plane_stays_even(shape: tuple[int, int], sigma: float) -> None:
    plane = np.full(shape, 0.7, dtype=np.float32)
    np.testing.assert_allclose(blur(plane, sigma), plane, rtol=1e-5)
    np.testing.assert_allclose(resize(plane, 150, 90), 0.7, rtol=1e-5)


@pytest.mark.parametrize("smooth", [True, False])
def test_a_ramp_stays_a_ramp_at_any_size(smooth: bool) -> None:
    across = np.broadcast_to(np.arange(32, dtype=np.float32), (20, 32))
    wide = resize(across, 200, 77, smooth=smooth)
    expected = (np.arange(200) + 0.5) * 32 / 200 - 0.5
    inner = slice(15, -15)
    np.testing.assert_allclose(wide[:, inner], np.broadcast_to(expected[inner], (77, 170)), atol=0.06)
    np.testing.assert_allclose(resize(across.T, 77, 200, smooth=smooth), wide.T, atol=1e-4)


def test_slopes_are_per_pixel() -> None:
    rows, columns = np.mgrid[:50, :70].astype(np.float32)
    along_x, along_y = slopes(2 * columns - 3 * rows)
    np.testing.assert_allclose(along_x[1:-1, 1:-1], 2, rtol=1e-5)
    np.testing.assert_allclose(along_y[1:-1, 1:-1], -3, rtol=1e-5)


def test_the_distance_is_to_the_nearest_place_outside() -> None:
    rng = np.random.default_rng(3)
    inside = rng.random((40, 30)) > 0.02
    outside, places = np.argwhere(~inside), np.argwhere(inside)
    nearest = np.sqrt(((places[:, None] - outside[None]) ** 2).sum(axis=2)).min(axis=1)
    found = distance_inside(inside, 6)
    np.testing.assert_allclose(found[inside], np.minimum(nearest, 6), rtol=1e-5)
    assert not found[~inside].any()


@pytest.mark.parametrize("away", [0.5, 4.0, 7.0, 8.0, 9.0, 10.0, 12.0, 14.0, 20.0])
@pytest.mark.parametrize("turns", [0, 1, 2, 3], ids=["left", "top", "right", "bottom"])
def test_a_shape_beside_the_picture_covers_what_its_blur_reaches(turns: int, away: float) -> None:
    beside = np.array([(-8.0, 40.0), (0.0, 40.0), (0.0, 90.0), (-8.0, 90.0)]) - (away, 0.0)
    middle = (SIZE - 1) / 2
    for _ in range(turns):
        beside = np.stack([2 * middle - beside[:, 1], beside[:, 0]], axis=1)

    def draw(size: int, shift: float) -> Mask:
        mask = Mask(size)
        mask.fill(beside + shift)
        return mask

    whole = draw(SIZE + 128, 64.0).coverage(2.0)[64:-64, 64:-64]
    np.testing.assert_allclose(draw(SIZE, 0.0).coverage(2.0), whole, atol=0.02)
