"""The test of a density against draws: how often it is wrong about a right one, and what it notices."""

from __future__ import annotations

import math

import pytest
import torch
from ganvae_kit.checks import CheckFailure, NotChecked
from ganvae_kit.densities import FALSE_ALARMS, Evidence, compared
from torch import Tensor

import ganvae_core as gv

SEEDS = 30
RIGHT: dict[str, gv.LatentPrior] = {
    "one coordinate": gv.StandardNormal([1]),
    "two coordinates": gv.TruncatedNormal([2], bound=1.0),
    "classes": gv.Categorical([30]),
    "mixed": gv.Composite([3], parts=[gv.StandardNormal([1]), gv.Categorical([2])]),
    "circle": gv.Hypersphere([2], radius=2.0),
}


def evidence(prior: gv.LatentPrior, seed: int = 0, *, wider: float = 1.0, offset: float = 0.0) -> Evidence:
    torch.manual_seed(seed)
    return compared(
        lambda count: prior.sample(count) * wider,
        lambda z: prior.log_prob(z) + offset,
        on_sphere=prior.support == "sphere",
    )


@pytest.mark.parametrize("name", list(RIGHT))
def test_p_values_of_a_right_density_are_no_smaller_than_they_may_be(name: str) -> None:
    """Of 30 seeds, p values below 0.05 are binomial with a share of at most 0.05: 9 of them have a chance of 2e-5."""
    values = [evidence(RIGHT[name], seed).p_value for seed in range(SEEDS)]
    assert sum(value < 0.05 for value in values) < 9
    assert min(values) > FALSE_ALARMS
    assert max(values) > 0.2, "the test is so careful that it notices nothing"


@pytest.mark.parametrize("offset", [0.02, -0.02, 0.5, -3.0])
def test_a_density_that_is_off_by_a_factor_is_noticed(offset: float) -> None:
    assert evidence(gv.StandardNormal([2]), offset=0.0).message == ""
    found = evidence(gv.StandardNormal([2]), offset=offset)
    # With two per cent more, it might as well be the draws.
    assert ("adds up to" if offset > 0.1 else "do not follow") in found.message


@pytest.mark.parametrize("scale", [1.0, 1e-2, 1e-5])
def test_narrow_modes_that_lie_far_apart_are_integrated_over(scale: float) -> None:
    prior = gv.Mixture([1], components=4, spread=3.0)
    torch.nn.init.constant_(prior.log_scales, math.log(scale))
    torch.manual_seed(0)
    with torch.no_grad():
        found = compared(prior.double().sample, prior.log_prob)
    assert found.message == ""
    assert found.mass == pytest.approx(found.share, abs=0.01)


def test_a_density_that_cannot_be_integrated_over_is_left_alone() -> None:
    """Two coordinates that are one but for a ten-thousandth: between any two points of a grid the density is missed."""
    torch.manual_seed(0)

    def sample(count: int) -> Tensor:
        first = torch.randn(count, 1, dtype=torch.float64)
        return torch.cat([first, first + 1e-4 * torch.randn_like(first)], 1)

    def log_prob(z: Tensor) -> Tensor:
        normal = torch.distributions.Normal(0.0, 1.0)
        return normal.log_prob(z[:, 0]) + torch.distributions.Normal(z[:, 0], 1e-4).log_prob(z[:, 1])

    with pytest.raises(NotChecked, match="varies too quickly"):
        compared(sample, log_prob)


def test_of_many_classes_the_most_frequent_are_counted() -> None:
    found = evidence(gv.Categorical([1_000]))
    assert (found.cells, found.message) == (300, "")


@pytest.mark.parametrize("name", ["one coordinate", "two coordinates"])
def test_draws_that_are_too_wide_are_noticed(name: str) -> None:
    assert evidence(RIGHT[name], wider=0.9).message


def test_classes_that_are_not_equally_likely_are_noticed() -> None:
    torch.manual_seed(0)
    prior, shares = gv.Categorical([4]), torch.tensor([0.28, 0.24, 0.24, 0.24])

    def sample(count: int) -> Tensor:
        return torch.eye(4)[torch.multinomial(shares, count, replacement=True)]

    assert "do not follow" in compared(sample, prior.log_prob).message


def test_draws_of_unequal_length_are_on_no_sphere() -> None:
    with pytest.raises(CheckFailure, match="differ in length"):
        compared(gv.StandardNormal([2]).sample, lambda z: torch.zeros(len(z)), on_sphere=True)


def test_draws_where_the_density_is_zero_are_noticed() -> None:
    torch.manual_seed(0)
    with pytest.raises(CheckFailure, match="not finite"):
        compared(gv.StandardNormal([2]).sample, gv.Uniform([2]).log_prob)


def test_a_sphere_in_three_dimensions_is_integrated_over_its_area() -> None:
    sphere = gv.Hypersphere([3], radius=1.5)
    assert evidence(sphere).message == ""
    assert evidence(sphere).mass == pytest.approx(evidence(sphere).share, abs=0.02)
    assert evidence(sphere, offset=-math.log(1.5)).message, "the radius counts"


def test_more_dimensions_than_are_integrated_over_are_said() -> None:
    with pytest.raises(NotChecked, match="up to three"):
        evidence(gv.StandardNormal([4]))
    with pytest.raises(NotChecked, match="two and three"):
        evidence(gv.Hypersphere([5]))
