"""Divergences from samples against sums in plain Python, closed forms and torch.distributions, in float64."""

from __future__ import annotations

import math
from itertools import permutations, product

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import ganvae_core as gv
from ganvae_core import divergences


def sample(rows: int, *event: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(rows, *event, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("kernel", ["rbf", "imq"])
def test_the_discrepancy_is_the_sum_over_all_pairs(kernel: str) -> None:
    x, y, bandwidths = sample(4, 2, 3), sample(5, 2, 3, seed=1) + 1, (0.5, 2.0)

    def k(a: torch.Tensor, b: torch.Tensor) -> float:
        square = sum((p - q) ** 2 for p, q in zip(a.flatten().tolist(), b.flatten().tolist(), strict=True))
        each = [
            math.exp(-square / 2 / h**2) if kernel == "rbf" else 1 / (1 + square / h**2) for h in bandwidths
        ]
        return sum(each) / len(each)

    expected = sum(k(a, b) for a, b in permutations(x, 2)) / (4 * 3)
    expected += sum(k(a, b) for a, b in permutations(y, 2)) / (5 * 4)
    expected -= 2 * sum(k(a, b) for a, b in product(x, y)) / (4 * 5)
    found = divergences.maximum_mean_discrepancy(x, y, kernel=kernel, bandwidths=bandwidths)  # pyright: ignore
    assert found.item() == pytest.approx(expected, rel=1e-12)


def test_the_discrepancy_of_two_normal_samples_estimates_its_closed_form() -> None:
    """Averages of 200 estimates lie within five standard errors: fewer than 2 false alarms in a million seeds."""
    size, shift, h = 3, 0.7, 1.5
    between = (h**2 / (h**2 + 2)) ** (size / 2)
    for moved in (0.0, shift):
        exact = 2 * between * (1 - math.exp(-size * moved**2 / (2 * (h**2 + 2))))
        torch.manual_seed(0)
        draws = torch.randn(200, 2, 30, size, dtype=torch.float64)
        estimates = torch.stack([
            divergences.maximum_mean_discrepancy(x, y + moved, bandwidths=(h,)) for x, y in draws
        ])  # fmt: skip
        assert abs(estimates.mean().item() - exact) < 5 * estimates.std().item() / 200**0.5


def test_the_sliced_distance_is_the_average_over_its_directions() -> None:
    x, y = sample(6, 2, 2), sample(6, 2, 2, seed=1) * 2
    torch.manual_seed(3)
    found = divergences.sliced_wasserstein(x, y, directions=7)
    torch.manual_seed(3)
    drawn = torch.randn(4, 7, dtype=torch.float64)
    total = 0.0
    for direction in drawn.T:
        unit = direction / direction.square().sum().sqrt()
        first = sorted(float(row.flatten() @ unit) for row in x)
        second = sorted(float(row.flatten() @ unit) for row in y)
        total += sum((a - b) ** 2 for a, b in zip(first, second, strict=True)) / 6
    assert found.item() == pytest.approx(total / 7, rel=1e-12)


def test_the_sliced_distance_of_a_shift_is_its_square_over_the_dimensions() -> None:
    """E (w · shift)² = ||shift||² / D over directions w, within five standard errors of 4,000 directions."""
    x, shift = sample(8, 5), torch.tensor([3.0, 0.0, 0.0, 4.0, 0.0], dtype=torch.float64)
    torch.manual_seed(0)
    found = divergences.sliced_wasserstein(x, x + shift, directions=4000)
    deviation = 25 * math.sqrt(3 / (5 * 7) - 1 / 25)  # of (w · shift)²: E w₁⁴ = 3 / D(D + 2)
    assert abs(found.item() - 5) < 5 * deviation / 4000**0.5


def test_total_correlation_is_that_of_the_mixture_of_the_batchs_posteriors() -> None:
    location, log_variance = sample(6, 2, 2), sample(6, 2, 2, seed=1)
    posterior, z = gv.DiagonalNormal(location, log_variance), sample(6, 2, 2, seed=2)
    means, scales, codes = location.flatten(1), (log_variance / 2).exp().flatten(1), z.flatten(1)
    equal = Categorical(torch.ones(6, dtype=torch.float64))
    joint = MixtureSameFamily(equal, Independent(Normal(means, scales), 1)).log_prob(codes)
    each = sum(
        MixtureSameFamily(equal, Normal(means[:, d], scales[:, d])).log_prob(codes[:, d]) for d in range(4)
    )
    for count in (6, 1000):
        # Each posterior of the batch stands for count / 6 rows, so that every density is divided by count.
        expected = (joint - each).mean() + 3 * math.log(count)
        torch.testing.assert_close(divergences.total_correlation(posterior, z, count), expected)


def test_gradients_agree_with_finite_differences() -> None:
    x, y = sample(4, 2).requires_grad_(), sample(4, 2, seed=1)
    assert torch.autograd.gradcheck(lambda x: divergences.maximum_mean_discrepancy(x, y, kernel="imq"), (x,))
    assert torch.autograd.gradcheck(
        lambda x: divergences.total_correlation(gv.DiagonalNormal(x, y), x + 0.1, 10), (x,)
    )


def test_samples_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(gv.ConfigurationError, match="two rows"):
        divergences.maximum_mean_discrepancy(sample(1, 2), sample(5, 2))
    with pytest.raises(gv.ConfigurationError, match="kernel"):
        divergences.maximum_mean_discrepancy(sample(4, 2), sample(5, 2), kernel="linear")  # pyright: ignore
    with pytest.raises(gv.ConfigurationError, match="same number"):
        divergences.sliced_wasserstein(sample(4, 2), sample(5, 2))
