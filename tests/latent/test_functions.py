"""Functions on latent spaces: paths, ranked dimensions, neighbours, maps."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import ganvae_core as gv
from ganvae_core.distributions import DiagonalNormal
from ganvae_core.latent import (
    axes,
    coordinate_kl,
    decoded_plane,
    interpolate,
    nearest,
    output_change,
    project,
    traverse,
)

DATA = gv.DataSpec((3,), None)


class Scaled(gv.Generator):
    """x = A z, with nothing to learn."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = nn.Parameter(matrix, requires_grad=False)

    def forward(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
        return z.flatten(1) @ self.matrix.T


class Split(gv.Encoder):
    """The first two entries of x are the means of two coordinates, whose variances are fixed."""

    def forward(self, x: Tensor, condition: Tensor | None = None) -> DiagonalNormal:
        return DiagonalNormal(x[:, :2], torch.tensor([0.0, -4.0]).expand(len(x), 2))


def linear_model(prior: gv.LatentPrior | None = None, encoder: gv.Encoder | None = None) -> gv.Model:
    matrix = torch.tensor([[1.0, 0.0], [0.0, 3.0], [0.0, 0.0]])
    return gv.Model(Scaled(matrix), prior or gv.StandardNormal([2]), gv.Point(DATA), encoder).eval()


def test_every_path_ends_where_it_should_and_a_straight_one_has_equal_steps() -> None:
    start, end = torch.tensor([[3.0, 0.0], [1.0, 1.0]]), torch.tensor([[0.0, 1.0], [2.0, 2.0]])
    for path in ("linear", "spherical", "auto"):
        codes = interpolate(linear_model(), start, end, 5, path=path)
        torch.testing.assert_close(codes[0], start)
        torch.testing.assert_close(codes[-1], end)
    line = interpolate(linear_model(), start, end, 5, path="linear")
    torch.testing.assert_close(line.diff(dim=0), ((end - start) / 4).expand(4, 2, 2))


def test_a_great_circle_stays_on_the_sphere_and_turns_evenly() -> None:
    prior = gv.Hypersphere([2], radius=2.0)
    start, end = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 2.0]])
    codes = interpolate(linear_model(prior), start, end, 7)[:, 0]  # auto
    torch.testing.assert_close(codes.norm(dim=1), torch.full((7,), 2.0))
    angles = torch.atan2(codes[:, 1], codes[:, 0])
    torch.testing.assert_close(angles, torch.linspace(0, math.pi / 2, 7), atol=1e-5, rtol=0)
    opposite = interpolate(linear_model(prior), start, -start, 3)  # no circle of its own
    assert opposite.isfinite().all()


def test_the_path_of_a_flow_is_a_circle_in_its_noise() -> None:
    class Stretched(gv.LatentPrior):
        support = "real"
        latent_shape = (2,)

        def sample(self, count: int, condition: Tensor | None = None) -> Tensor:
            return self.from_noise(torch.randn(count, 2))

        def log_prob(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
            return torch.distributions.Normal(0.0, 5.0).log_prob(z).sum(1)

        def to_noise(self, z: Tensor, condition: Tensor | None = None) -> Tensor:
            return z / 5

        def from_noise(self, noise: Tensor, condition: Tensor | None = None) -> Tensor:
            return noise * 5

    codes = interpolate(linear_model(Stretched()), torch.tensor([[5.0, 0.0]]), torch.tensor([[0.0, 5.0]]), 3)
    torch.testing.assert_close(codes[1, 0], torch.full((2,), 5 / math.sqrt(2)))


def test_paths_that_do_not_exist_are_refused() -> None:
    one = torch.zeros(1, 1)
    model = gv.Model(Scaled(torch.ones(3, 1)), gv.StandardNormal([1]), gv.Point(DATA))
    assert interpolate(model, one, one + 1, 3).shape == (3, 1, 1)  # auto takes the line
    with pytest.raises(gv.ConfigurationError, match="no great circle"):
        interpolate(model, one, one, 3, path="spherical")
    with pytest.raises(gv.ConfigurationError, match="neither a sphere nor a flow"):
        interpolate(model, one, one, 3, path="prior")
    with pytest.raises(gv.ConfigurationError, match="at least 2 codes"):
        interpolate(model, one, one, 1)


def test_dimensions_are_ranked_by_kl_where_there_is_a_posterior_and_by_change_otherwise() -> None:
    x = torch.tensor([[0.0, 0.0, 0.0], [2.0, 0.0, 0.0]])
    model = linear_model(encoder=Split())
    nats = coordinate_kl(model, x)
    assert nats is not None
    torch.testing.assert_close(nats, torch.tensor([1.0, 0.5 * (math.exp(-4) + 4 - 1)]))
    codes = torch.zeros(2, 2)
    torch.manual_seed(0)
    assert [axis.start for axis in axes(model, codes, x=x)] == [1, 0]
    by_change = axes(model, codes)
    assert [axis.start for axis in by_change] == [1, 0]  # the second coordinate is three times as strong
    assert by_change[0].score / by_change[1].score == pytest.approx(3.0, rel=0.1)
    assert coordinate_kl(linear_model(gv.Uniform([2]), Split()), x) is None
    with pytest.raises(gv.ConfigurationError, match="cannot be ranked by KL"):
        axes(linear_model(), codes, by="kl")


def test_a_traversal_changes_one_coordinate_and_goes_through_all_classes() -> None:
    prior = gv.Composite([4], parts=[gv.StandardNormal([1]), gv.Categorical([3])])
    matrix = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 2.0, 3.0], [0, 0, 0, 0]])
    model = gv.Model(Scaled(matrix), prior, gv.Point(DATA)).eval()
    codes = torch.tensor([[0.5, 1.0, 0.0, 0.0]])
    classes, line = axes(model, codes, steps=4)
    assert (classes.name, classes.discrete, classes.start) == ("classes 1–3", True, 1)
    made = traverse(model, codes, classes)
    assert made.shape == (1, 3, 3)
    assert made[0, :, :2].tolist() == [[0.5, 1.0], [0.5, 2.0], [0.5, 3.0]]
    swept = traverse(model, codes, line)[0]
    assert (swept[:, 0].diff() > 0).all()
    assert (swept[:, 1] == 1).all()
    assert output_change(model, codes, [classes]).shape == (1,)
    infogan = gv.Composite([4], parts=[gv.StandardNormal([3]), gv.Uniform([1])])
    model = gv.Model(
        Scaled(torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.1]))[:3]), infogan, gv.Point(DATA)
    ).eval()
    assert [axis.name for axis in axes(model, torch.zeros(1, 4))] == [
        "code 3", "dimension 0", "dimension 1", "dimension 2",
    ]  # fmt: skip


def test_the_nearest_rows_come_first() -> None:
    rows = torch.tensor([[0.0], [1.0], [5.0]])
    distances, numbers = nearest(torch.tensor([[4.0], [0.4]]), rows, 2)
    assert numbers.tolist() == [[2, 1], [0, 1]]
    torch.testing.assert_close(distances, torch.tensor([[1.0, 3.0], [0.4, 0.6]]))
    with pytest.raises(gv.ConfigurationError, match="3 rows"):
        nearest(rows, rows, 4)


def test_a_projection_keeps_the_directions_of_most_variance() -> None:
    generator = np.random.default_rng(0)
    codes = generator.normal(size=(50, 4)) * [0.1, 5.0, 0.1, 2.0]
    places = project(codes)
    centred = codes - codes.mean(0)
    assert abs(np.corrcoef(places[:, 0], centred[:, 1])[0, 1]) > 0.99
    assert abs(np.corrcoef(places[:, 1], centred[:, 3])[0, 1]) > 0.97
    np.testing.assert_array_equal(project(codes[:, :2]), codes[:, :2])
    assert project(codes[:12], "tsne").shape == (12, 2)
    with pytest.raises(gv.ConfigurationError, match="one dimension"):
        project(codes[:, :1])


def test_a_decoded_grid_lies_as_a_plot_does() -> None:
    made = decoded_plane(linear_model(), (0.0, 0.0), (1.0, 1.0), 2)
    assert made[:, :2].tolist() == [[0.0, 3.0], [1.0, 3.0], [0.0, 0.0], [1.0, 0.0]]
    three = gv.Model(Scaled(torch.ones(3, 3)), gv.StandardNormal([3]), gv.Point(DATA))
    with pytest.raises(gv.ConfigurationError, match="two values"):
        decoded_plane(three, (0.0, 0.0), (1.0, 1.0), 2)
