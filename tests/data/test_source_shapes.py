"""The source of sprites with known factors."""

from __future__ import annotations

import numpy as np
import pytest

import ganvae_core as gv
from ganvae_core.builtin.sources.shapes import Shapes


def test_the_default_grid_is_that_of_dsprites() -> None:
    shapes = Shapes()
    assert len(shapes) == 737_280
    assert shapes.spec.details == {"factors": {"shape": 3, "scale": 6, "rotation": 40, "x": 32, "y": 32}}
    assert shapes.rows(np.array([0, 737_279])).x.shape == (2, 1, 64, 64)
    assert shapes.is_lazy  # a run does not wait for all of them
    assert not Shapes(side=16, scales=2, rotations=4, positions=4).is_lazy


def test_each_row_is_its_factors_drawn() -> None:
    shapes = Shapes(side=96, scales=2, rotations=4, positions=3)
    rows, factors = shapes.rows(slice(None)), shapes.factors()
    assert len(np.unique(factors, axis=0)) == len(shapes) == 3 * 2 * 4 * 9
    assert np.array_equal(rows.labels, factors[:, 0])
    lit = rows.x[:, 0] > 0
    assert set(np.unique(rows.x)) == {0, 255}
    assert not lit[:, [0, -1]].any(), "sprites are whole"
    assert not lit[:, :, [0, -1]].any(), "sprites are whole"
    area = lit.sum((1, 2))
    for shape in range(3):
        small, large = (area[(factors[:, 0] == shape) & (factors[:, 1] == scale)].mean() for scale in (0, 1))
        assert large / small == pytest.approx(4, rel=0.15), "twice the scale"
    places = np.arange(96) + 0.5
    centre_x = (lit.sum(1) * places).sum(1) / area
    centre_y = (lit.sum(2) * places).sum(1) / area
    assert np.abs(centre_x - (24 + 24 * factors[:, 3])).max() < 3
    assert np.abs(centre_y - (24 + 24 * factors[:, 4])).max() < 3
    heart = lit[(factors == [2, 1, 0, 1, 1]).all(1)][0]
    upside_down = lit[(factors == [2, 1, 2, 1, 1]).all(1)][0]
    assert np.array_equal(heart[::-1, ::-1], upside_down)
    assert heart[:48].sum() > heart[48:].sum(), "a heart is wide above"


def test_an_impossible_grid_is_refused() -> None:
    with pytest.raises(gv.DataError, match="0 rotations"):
        Shapes(rotations=0)
