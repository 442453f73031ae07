"""Pictures: what lies where in a grid, and what is told of what could not be drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from ganvae_core.types import DataSpec
from ganvae_core.views.pictures import (
    BACKGROUND,
    BAND_GAP,
    GAP,
    HEADING,
    TILE,
    draw_reconstructions,
    draw_samples,
    image_grid,
)


def tiles(count: int, *, channels: int = 1) -> np.ndarray:
    """(count, channels, 56, 56) images, each of one brightness: 20, 40 … of 255."""
    brightness = 20 * np.arange(1, count + 1) / 255
    return np.broadcast_to(brightness[:, None, None, None], (count, channels, TILE, TILE))


def test_a_grid_has_a_tile_for_each_image_with_gaps_between() -> None:
    grid = np.asarray(image_grid(tiles(6), columns=3))
    assert grid.shape == (2 * TILE + GAP, 3 * TILE + 2 * GAP)
    assert (grid[:TILE, TILE : TILE + GAP] == BACKGROUND).all()
    for number in range(6):
        top, left = number // 3 * (TILE + GAP), number % 3 * (TILE + GAP)
        assert (grid[top : top + TILE, left : left + TILE] == 20 * (number + 1)).all()


def test_headings_stand_above_their_columns_and_change_nothing_below() -> None:
    plain = np.asarray(image_grid(tiles(6), columns=3))
    headed = np.asarray(
        image_grid(tiles(6), columns=3, headings=["first", "", "a name that is too long for it"])
    )
    assert np.array_equal(headed[HEADING:], plain)
    dark = headed[:HEADING] < 128
    columns = [dark[:, number * (TILE + GAP) :][:, :TILE] for number in range(3)]
    assert columns[0].any()
    assert not columns[1].any()
    assert columns[2].any()
    assert not dark[:, TILE : TILE + GAP].any()  # what is too long is cut off
    assert image_grid(tiles(1), columns=1, headings=["in two\nlines"]).size == (TILE, TILE + HEADING)
    assert image_grid(tiles(2, channels=3), columns=2, headings=["a", "b"]).mode == "RGB"
    assert image_grid(tiles(2, channels=4), columns=2, headings=["a", "b"]).mode == "RGBA"


def test_rows_that_belong_together_are_set_apart_from_the_next_ones() -> None:
    grid = np.asarray(image_grid(tiles(8), columns=2, rows_together=2))
    assert len(grid) == 4 * TILE + 3 * GAP + BAND_GAP
    third = 2 * (TILE + GAP) + BAND_GAP
    assert (grid[third - GAP - BAND_GAP : third] == BACKGROUND).all()
    assert (grid[third : third + TILE, :TILE] == 100).all()


def test_few_reconstructions_make_a_narrow_picture_and_gaps_are_no_images(tmp_path: Path) -> None:
    draw_reconstructions(tiles(2), tiles(2), tmp_path / "two.png")
    with Image.open(tmp_path / "two.png") as picture:
        assert picture.size == (2 * TILE + GAP, 2 * TILE + GAP)
    draw_reconstructions(tiles(3), tiles(3), tmp_path / "three.png", columns=2)
    with Image.open(tmp_path / "three.png") as picture:
        grid = np.asarray(picture)
    assert grid.shape == (4 * TILE + 3 * GAP, 2 * TILE + GAP)
    assert (grid[2 * (TILE + GAP) :, TILE:] == BACKGROUND).all()


def test_points_of_classes_have_their_colours(tmp_path: Path) -> None:
    spec = DataSpec((2,), None, "points", (3,), classes=("a", "b", "c"))
    made = np.repeat(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 50, axis=0)
    draw_samples(made, None, spec, tmp_path / "one.png")
    draw_samples(made, None, spec, tmp_path / "many.png", labels=np.repeat(np.arange(3), 50))

    def hues(name: str) -> set[str]:
        """Which of red, green and blue stands out in the coloured pixels."""
        with Image.open(tmp_path / name) as picture:
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
        return {"rgb"[number] for number in pixels[np.ptp(pixels, axis=1) > 80].argmax(1)}

    assert hues("one.png") == {"b"}
    assert hues("many.png") == {"r", "g", "b"}
