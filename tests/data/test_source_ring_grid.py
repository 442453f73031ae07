"""The 2-D mixtures of PacGAN: where their modes are, and that rows are drawn from them.

Each statistical test would fail for one seed in a million if rows are drawn as they should be (``RARE``, shared among
the comparisons of a test); the seed is fixed.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from scipy import stats

from ganvae_core.builtin.sources.drawn import Grid, Modes, PlanarMixture, Ring
from ganvae_core.config.build import open_data
from ganvae_core.data.codec import in_own_units
from ganvae_core.data.split import split
from ganvae_core.data.stream import DataStream
from ganvae_core.errors import ConfigurationError, DataError
from ganvae_core.plugins import installed_plugins

RARE = 1e-6
SOURCES = {"ring": Ring, "grid": Grid}

both = pytest.mark.parametrize("kind", list(SOURCES.values()), ids=list(SOURCES))


def drawn(source: PlanarMixture) -> tuple[np.ndarray, np.ndarray, Modes]:
    """All rows, their labels, and the modes."""
    x, labels = source.rows(slice(None)).x, source.labels(slice(None))
    assert labels is not None
    return x, labels, source.modes()


def test_the_ring_has_eight_different_modes_on_the_circle_of_radius_one() -> None:
    modes = Ring.modes()
    assert modes.deviation == 0.01
    places = modes.centres[:, 0] + 1j * modes.centres[:, 1]
    np.testing.assert_allclose(places**8, 1, atol=1e-14)
    assert np.abs(places[:, None] - places + 9 * np.eye(8)).min() == pytest.approx(2 * np.sin(np.pi / 8))
    assert modes.names == (
        "(1, 0)", "(0.71, 0.71)", "(0, 1)", "(-0.71, 0.71)", "(-1, 0)", "(-0.71, -0.71)", "(0, -1)", "(0.71, -0.71)",
    )  # fmt: skip


def test_the_grid_has_its_25_modes_exactly() -> None:
    modes = Grid.modes()
    assert modes.deviation == 0.05
    expected = set(itertools.product((-4, -2, 0, 2, 4), repeat=2))
    assert len(modes.centres) == 25
    assert {(x, y) for x, y in modes.centres.tolist()} == expected
    assert set(modes.names) == {f"({x}, {y})" for x, y in expected}


@both
def test_rows_are_points_in_their_own_units(kind: type[PlanarMixture]) -> None:
    source = kind()
    spec = source.spec
    x, labels, modes = drawn(source)
    assert len(source) == spec.count == len(x) == len(labels) == 100_000
    assert (spec.shape, spec.range, spec.modality) == ((2,), None, "points")
    assert x.dtype.name == spec.units.dtype == "float32"
    assert spec.classes == modes.names
    assert spec.condition == (len(modes.centres),)
    assert np.array_equal(in_own_units(x, spec), x)


@both
def test_each_row_is_labelled_with_the_mode_next_to_it(kind: type[PlanarMixture]) -> None:
    x, labels, modes = drawn(kind())
    distances = np.linalg.norm(x[:, None] - modes.centres, axis=-1)
    assert np.array_equal(distances.argmin(1), labels)


@both
def test_modes_are_equally_likely(kind: type[PlanarMixture]) -> None:
    _, labels, modes = drawn(kind())
    counts = np.bincount(labels, minlength=len(modes.centres))
    assert stats.chisquare(counts).pvalue > RARE


@both
def test_each_mode_has_its_mean_and_deviation(kind: type[PlanarMixture]) -> None:
    x, labels, modes = drawn(kind())
    for mode, centre in enumerate(modes.centres):
        noise = (x[labels == mode] - centre) / modes.deviation  # N(0, I), if all is right
        # Two coordinates, a mean and a variance each, and both tails of each.
        share = RARE / (len(modes.centres) * 8)
        means = stats.norm.sf(np.abs(noise.mean(0)) * np.sqrt(len(noise)))
        squares = (noise**2).sum(0)
        spread = np.minimum(stats.chi2.sf(squares, len(noise)), stats.chi2.cdf(squares, len(noise)))
        assert (means > share).all(), f"mean of mode {modes.names[mode]}"
        assert (spread > share).all(), f"deviation of mode {modes.names[mode]}"


@both
def test_the_noise_is_normal_and_its_coordinates_independent(kind: type[PlanarMixture]) -> None:
    x, labels, modes = drawn(kind())
    noise = (x - modes.centres[labels]) / modes.deviation
    assert stats.kstest(noise.ravel(), "norm").pvalue > RARE / 2
    assert stats.pearsonr(noise[:, 0], noise[:, 1]).pvalue > RARE / 2


@both
def test_as_many_real_points_are_of_high_quality_as_a_gaussian_has_within_three_deviations(
    kind: type[PlanarMixture],
) -> None:
    x, _, modes = drawn(kind())
    nearest = np.linalg.norm(x[:, None] - modes.centres, axis=-1).min(1)
    close = int((nearest <= 3 * modes.deviation).sum())
    assert stats.binomtest(close, len(x), 1 - np.exp(-4.5)).pvalue > RARE  # 98.9 %


@both
def test_the_seed_alone_decides_which_rows_there_are(kind: type[PlanarMixture]) -> None:
    first = kind(count=500, seed=3)
    np.random.default_rng(3).normal(size=9)
    torch.rand(3)
    again, other = kind(count=500, seed=3), kind(count=500, seed=4)
    for one, same, different in zip(*(drawn(source)[:2] for source in (first, again, other)), strict=True):
        assert np.array_equal(one, same)
        assert not np.array_equal(one, different)


@both
def test_rows_by_slice_are_views_and_the_same_as_by_number(kind: type[PlanarMixture]) -> None:
    source = kind(count=100)
    x, labels, _ = drawn(source)
    some, theirs = source.rows(slice(10, 30, 2)).x, source.labels(slice(10, 30, 2))
    chosen = np.array([28, 10, 10])
    assert np.shares_memory(some, x)
    assert np.array_equal(some, x[10:30:2])
    assert np.array_equal(theirs, labels[10:30:2])
    assert np.array_equal(source.rows(chosen).x, x[chosen])
    assert np.array_equal(source.rows(chosen).labels, labels[chosen])


@pytest.mark.parametrize("name", list(SOURCES))
@pytest.mark.parametrize("conditional", [False, True])
def test_a_model_sees_the_raw_coordinates_of_rows_that_are_not_held_out(name: str, conditional: bool) -> None:
    layer = {"data": {"name": name, "count": 1_000, "seed": 5, "condition": conditional}}
    choice, data = open_data(installed_plugins(), layer)
    assert choice.id == f"builtin/{name}"
    assert len(data.training) == 900
    assert sorted([*data.training, *data.held_out]) == list(range(1_000))
    again = split(SOURCES[name](count=1_000, seed=6))
    assert np.array_equal(again.held_out, data.held_out), "another draw, the same split"

    x, labels, modes = drawn(SOURCES[name](count=1_000, seed=5))
    batch = DataStream(data, 64, 0, torch.device("cpu")).batch_at(0)
    assert set(batch.index.tolist()) <= set(data.training.tolist())
    assert np.array_equal(batch.x.numpy(), x[batch.index])
    if not conditional:
        assert batch.condition is None
        return
    assert batch.condition is not None
    assert np.array_equal(batch.condition.numpy(), np.eye(len(modes.centres))[labels[batch.index]])


@both
def test_impossible_options_are_refused(kind: type[PlanarMixture]) -> None:
    with pytest.raises(ConfigurationError, match=r"data\.count: 0 is not possible"):
        kind(count=0)
    with pytest.raises(ConfigurationError, match=r"data\.seed: -1 is not possible"):
        kind(seed=-1)
    with pytest.raises(DataError, match=r"data\.count: 1,000,000,000,000,000 rows take .* GiB"):
        kind(count=10**15)
