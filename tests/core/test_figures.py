"""Pictures and files of the builtin views: what lies where in a grid, and what is drawn in which colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ganvae_core as gv
from ganvae_core.types import Drawing, Units
from ganvae_core.views.curves import PANEL, draw_losses
from ganvae_core.views.figures import DPI, span
from ganvae_core.views.image import (
    BACKGROUND,
    BAND_GAP,
    GAP,
    HEADING,
    TILE,
    ImageView,
    columns_for,
    image_grid,
    pair_grid,
    unit_range,
)
from ganvae_core.views.points import PointsView
from ganvae_core.views.table import TableView, bar_edges


def tiles(count: int, *, channels: int = 1) -> np.ndarray:
    """(count, channels, 56, 56) images, each of one brightness: 20, 40 … of 255."""
    brightness = 20 * np.arange(1, count + 1) / 255
    return np.broadcast_to(brightness[:, None, None, None], (count, channels, TILE, TILE))


def test_bars_hold_equally_many_values_of_a_rounded_column() -> None:
    for low, high, step in ((137, 206, 0.01), (17, 90, 1.0), (0, 4_000, 0.5)):
        values = np.arange(low, high + 1) * step
        counts, _ = np.histogram(values, bar_edges(*span(values), step))
        assert len(set(np.trim_zeros(counts)[1:-1].tolist())) == 1
        assert counts.sum() == len(values)
        assert len(np.trim_zeros(counts)) <= 41


def test_the_bar_of_a_constant_column_is_in_the_middle() -> None:
    for value, step in ((7.0, 1.0), (0.0, 1.0), (3.5, 0.1), (700.0, 100.0)):
        low, high = span(np.array([value]))
        edges = bar_edges(low, high, step)
        assert edges[0] + edges[-1] == pytest.approx(2 * value, abs=1e-6)


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


def test_a_heading_may_span_several_columns() -> None:
    grid = np.asarray(image_grid(tiles(6), columns=3, headings=["over all of them"]))
    dark = np.flatnonzero((grid[:HEADING] < 128).any(axis=0))
    assert dark.min() < TILE < 2 * TILE < dark.max()
    assert abs(dark.min() + dark.max() - grid.shape[1]) <= 2  # in the middle


def test_few_reconstructions_make_a_narrow_picture_and_gaps_are_no_images() -> None:
    width, height = pair_grid(tiles(2), tiles(2), 8, ("original", "inversion")).size
    beside = width - (2 * TILE + GAP)
    assert height == 2 * TILE + GAP
    named = np.asarray(pair_grid(tiles(3), tiles(3) / 2, 2, ("original", "inversion")))
    lines = [named[top : top + TILE, :beside] < 128 for top in (0, TILE + GAP)]
    assert all(line[:, 1:-1].any() for line in lines)  # each line has its name
    assert not np.array_equal(*lines)
    grid = named[:, beside:]
    assert grid.shape == (4 * TILE + 3 * GAP + BAND_GAP, 2 * TILE + GAP)
    lines = [grid[top, :: TILE + GAP].tolist() for top in (0, TILE + GAP)]
    assert lines == [[20, 40], [10, 20]]
    assert (grid[2 * (TILE + GAP) + BAND_GAP :, TILE:] == BACKGROUND).all()


def test_a_grid_is_nearly_square_and_full_where_it_can_be() -> None:
    assert [columns_for(count) for count in (1, 2, 3, 5, 9, 10, 32, 64, 100)] == [1, 2, 3, 5, 3, 5, 8, 8, 10]
    assert columns_for(13) == 7  # a prime number of images fills no grid: one gap, and not three


def test_images_are_drawn_by_the_range_of_the_data_and_not_by_their_own() -> None:
    spec = gv.DataSpec((1, 1, 2), (-1.0, 1.0), "image", units=Units((8.0,), (8.0,), "uint8"))
    assert unit_range(np.array([[[[0, 12]]]], np.uint8), spec).ravel().tolist() == [0.0, 0.75]
    unbounded = gv.DataSpec((1, 1, 2), None, "image")
    assert unit_range(np.array([[[[-3.0, 5.0]]]]), unbounded).ravel().tolist() == [0.0, 1.0]


def test_a_folder_has_a_png_of_each_image_in_its_own_size(tmp_path: Path) -> None:
    spec = gv.DataSpec((1, 2, 3), modality="image", units=Units(scale=(255.0,), dtype="uint8"))
    rows = np.arange(12, dtype=np.uint8).reshape(2, 1, 2, 3) * 20
    ImageView().write(rows, spec, tmp_path / "made", {})
    for number, row in enumerate(rows):
        with Image.open(tmp_path / "made" / f"{number:05d}.png") as picture:
            assert np.array_equal(np.asarray(picture), row[0])


@pytest.mark.parametrize(("highest", "wanted"), [(2, [0, 1, 2]), (1, [51, 204, 204])])
def test_a_folder_of_masks_has_their_own_values_and_of_bits_shades_of_grey(
    tmp_path: Path, highest: int, wanted: list[int]
) -> None:
    spec = gv.DataSpec((1, 1, 3), (0.0, 1.0), "image", units=Units(scale=(float(highest),), dtype="uint8"))
    rows = np.array([[[[0.2, 0.8, 0.8 * highest]]]])  # pictures show means, which are not rounded
    ImageView().write(rows, spec, tmp_path / "made", {})
    with Image.open(tmp_path / "made/00000.png") as picture:
        assert np.asarray(picture)[0].tolist() == wanted


def test_points_of_classes_have_their_colours(tmp_path: Path) -> None:
    spec = gv.DataSpec((2,), None, "points", (3,), classes=("a", "b", "c"))
    made = np.repeat(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), 50, axis=0)
    view = PointsView()
    view.draw(Drawing(made), spec, tmp_path / "one.png")
    view.draw(Drawing(made, labels=np.repeat(np.arange(3), 50)), spec, tmp_path / "many.png")

    def hues(name: str) -> set[str]:
        """Which of red, green and blue stands out in the coloured pixels."""
        with Image.open(tmp_path / name) as picture:
            pixels = np.asarray(picture.convert("RGB")).reshape(-1, 3).astype(int)
        return {"rgb"[number] for number in pixels[np.ptp(pixels, axis=1) > 80].argmax(1)}

    assert hues("one.png") == {"b"}
    assert hues("many.png") == {"r", "g", "b"}


def test_a_view_draws_over_real_rows_and_beside_originals(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    for view, columns in ((PointsView(), 2), (TableView(), 14)):
        spec = gv.DataSpec((columns,), None, "x", units=Units(whole=(0,)))
        rows = generator.normal(size=(50, columns))
        rows[:, 0] = generator.integers(0, 4, 50)
        rows[:, -1] = 1e17  # a constant that a bar of an ordinary width vanishes beside
        pictures: set[bytes] = set()
        for drawing in (Drawing(rows), Drawing(rows, real=rows[:20]), Drawing(rows, originals=rows + 1)):
            view.draw(drawing, spec, tmp_path / "drawn.png")
            pictures.add((tmp_path / "drawn.png").read_bytes())
        assert len(pictures) == 3


def test_the_curves_of_a_run_lie_within_their_picture(tmp_path: Path) -> None:
    """With long names, wide numbers, a second stage, and a best value."""
    records = [
        {"step": 100 * at, "stage": at // 5, "a/loss": -1e6 * at, "a/gradient_norm": 1e-7 * at,
         "held_out/error": 3.0 - at, "a_long_phase/with_a_term_of_a_long_name": 5e5}
        for at in range(9)
    ]  # fmt: skip
    figures = [gv.Figure("error", "error of rows", "nats", "lower")]
    draw_losses(records, tmp_path / "losses.png", "nats", figures)
    with Image.open(tmp_path / "losses.png") as picture:
        dark = np.asarray(picture.convert("L")) < 128
    assert not dark[[0, -1]].any()
    assert not dark[:, [0, -1]].any()
    height, width = dark.shape
    assert height > 3 * PANEL * DPI  # a panel each for losses, results and norms
    assert dark[:, : width // 10].any()
    assert dark[:, -width // 10 :].any()
