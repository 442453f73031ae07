"""Distances of samples against closed forms, enumerations and constructed cases."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from ganvae_metrics import distances
from ganvae_metrics.representations import (
    dci_disentanglement,
    factor_vae_score,
    mutual_information_gap,
    separated_predictability,
)
from ganvae_metrics.tables import Column, marginal, pair
from torch import Tensor


def normal(count: int, features: int, seed: int = 0) -> Tensor:
    return torch.randn(count, features, generator=torch.Generator().manual_seed(seed))


def test_the_frechet_distance_is_that_of_two_gaussians() -> None:
    """Rows with exact moments: m₁ - m₂ = (3, 0), deviations (1, 2) and (2, 2): 9 + (2 - 1)² = 10."""
    corners = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64) * math.sqrt(3 / 4)
    first = corners * torch.tensor([1.0, 2])
    second = corners * torch.tensor([2.0, 2]) + torch.tensor([3.0, 0])
    assert distances.frechet_distance(first, second) == pytest.approx(10.0, abs=1e-9)
    assert distances.frechet_distance(first, first) == pytest.approx(0.0, abs=1e-9)


def test_the_frechet_distance_of_correlated_features_is_the_textbook_formula() -> None:
    first, second = normal(50, 3).double(), normal(60, 3, seed=1).double() @ normal(3, 3, seed=2).double()
    covariances = [np.cov(rows.numpy(), rowvar=False) for rows in (first, second)]
    values = np.linalg.eigvals(covariances[0] @ covariances[1])
    expected = float((first.mean(0) - second.mean(0)).square().sum()) + sum(
        np.trace(part) for part in covariances
    )
    expected -= 2 * float(np.sqrt(values.real).sum())
    assert distances.frechet_distance(first, second) == pytest.approx(expected, abs=1e-9)


def test_one_feature_has_a_frechet_distance() -> None:
    first, second = torch.tensor([[0.0], [2.0]]), torch.tensor([[5.0], [9.0]])
    assert distances.frechet_distance(first, second) == pytest.approx(
        36 + 2, abs=1e-5
    )  # deviations √2 and 2√2


def test_the_kernel_distance_is_the_sum_over_all_pairs() -> None:
    first, second = normal(7, 2).double(), normal(5, 2, seed=1).double()

    def kernel(x: Tensor, y: Tensor) -> float:
        return (float(x @ y) / 2 + 1) ** 3

    own = sum(kernel(x, y) for i, x in enumerate(first) for j, y in enumerate(first) if i != j) / 42
    other = sum(kernel(x, y) for i, x in enumerate(second) for j, y in enumerate(second) if i != j) / 20
    cross = sum(kernel(x, y) for x in first for y in second) / 35
    found = distances.kernel_distance(first, second)
    assert found.value == pytest.approx(own + other - 2 * cross, abs=1e-12)
    variance = 0.0
    for at, rows in enumerate((first, second)):
        without = []
        for left in range(len(rows)):
            sides = [first, second]
            sides[at] = torch.cat([rows[:left], rows[left + 1 :]])
            without.append(distances.kernel_distance(*sides).value)
        variance += (len(rows) - 1) / len(rows) * float(np.square(without - np.mean(without)).sum())
    assert found.error == pytest.approx(variance**0.5)


def test_the_kernel_distance_of_one_distribution_is_zero_within_its_error() -> None:
    """Fixed seeds; a deviation of 4 standard errors has a chance of less than 1 in 10,000."""
    found = distances.kernel_distance(normal(2000, 4), normal(2000, 4, seed=1))
    assert abs(found.value) < 4 * found.error
    assert distances.kernel_distance(normal(2000, 4), normal(2000, 4, seed=1) + 0.5).value > 10 * found.error


def test_the_error_of_the_kernel_distance_is_its_deviation_over_draws() -> None:
    """40 draws know a deviation to 11 %. Rows are sorted by their classes, as those of a folder are."""
    centres = torch.tensor([[2.0, 0], [-2, 0]])
    found = [distances.kernel_distance(normal(80, 2, seed=draw) + centres.repeat_interleave(40, 0),
                                       normal(60, 2, seed=100 + draw) + 0.5) for draw in range(40)]  # fmt: skip
    values, errors = torch.tensor(found).T
    assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.35)
    same = [
        distances.kernel_distance(normal(80, 2, seed=draw), normal(60, 2, seed=100 + draw))
        for draw in range(40)
    ]
    values, errors = torch.tensor(same).T
    assert float(errors.mean()) == pytest.approx(float(values.std()), rel=0.35)


def test_manifolds_by_hand() -> None:
    """Real rows at 0, 1, 2, 10 have balls (k = 1) of radius 1, 1, 1, 8; made rows at 0.5, 1.5, 30 of 1, 1, 28.5."""
    real, made = torch.tensor([[0.0], [1], [2], [10]]), torch.tensor([[0.5], [1.5], [30.0]])
    found = distances.manifolds(real, made, nearest=1)
    assert found.precision == pytest.approx(2 / 3)
    # 0.5 lies in the balls of 0 and 1, 1.5 in those of 1 and 2; both are within 8 of 10 only from 2 on: no.
    assert found.density == pytest.approx(4 / 3)
    assert found.coverage == pytest.approx(3 / 4)
    # 0, 1 and 2 lie within 1 of a made row; 10 is within 28.5 of 30.
    assert found.recall == pytest.approx(1.0)


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real, made = normal(23, 3), normal(19, 3, seed=1)
    whole = (distances.manifolds(real, made), distances.kernel_distance(real, made).value,
             distances.two_sample_accuracy(real, made), distances.mean_distance(real))  # fmt: skip
    monkeypatch.setattr(distances, "BLOCK_VALUES", 5 * 23)
    parts = (distances.manifolds(real, made), distances.kernel_distance(real, made).value,
             distances.two_sample_accuracy(real, made), distances.mean_distance(real))  # fmt: skip
    assert parts[0] == whole[0]
    assert parts[1:] == pytest.approx(whole[1:], abs=1e-6)


def test_the_sliced_distance_of_a_shift_is_its_square_over_the_features() -> None:
    """Exact in expectation over directions; 512 of them are within 10 % with a chance of more than 99 %."""
    rows, shift = normal(50, 8), torch.full((8,), 2.0)
    assert distances.sliced_wasserstein(rows, rows) == 0
    torch.manual_seed(0)
    assert distances.sliced_wasserstein(rows, rows + shift) == pytest.approx(32 / 8, rel=0.1)


def test_two_samples_that_are_apart_are_told_apart_and_copies_are_below_one_half() -> None:
    rows = normal(100, 2)
    assert distances.two_sample_accuracy(rows, rows + 100) == 1.0
    assert distances.two_sample_accuracy(rows, rows + 1e-6) == 0.0
    assert distances.two_sample_accuracy(normal(1000, 2), normal(1000, 2, seed=1)) == pytest.approx(
        0.5, abs=0.05
    )


def test_bins_differ_where_samples_leave_one_out() -> None:
    centres = torch.tensor([[0.0, 0], [100, 0], [0, 100], [100, 100]])
    known, real = centres.repeat(25, 1) + normal(100, 2), centres.repeat(50, 1) + normal(200, 2, seed=1)
    assert distances.different_bins(real, real.clone(), known, bins=4) == 0
    # One mode empty, the three others with a third instead of a quarter, which 200 rows cannot tell.
    without = centres[:3].repeat(67, 1) + normal(201, 2, seed=2)
    assert distances.different_bins(real, without, known, bins=4) == 0.25


def test_mean_distance_of_two_rows() -> None:
    assert distances.mean_distance(torch.tensor([[0.0, 0], [3, 4]])) == pytest.approx(5.0)


def factors(count: int = 400) -> np.ndarray:
    generator = np.random.default_rng(0)
    return np.stack([generator.integers(4, size=count), generator.integers(5, size=count)], axis=1)


def test_codes_that_are_the_factors_are_disentangled() -> None:
    known = factors()
    codes = np.column_stack([known, np.random.default_rng(1).normal(size=len(known))]).astype(float)
    assert mutual_information_gap(codes, known) > 0.9
    assert separated_predictability(codes, known) > 0.95
    assert factor_vae_score(codes, known, 50, np.random.default_rng(0)) == 1.0
    assert dci_disentanglement(codes, known) > 0.95


def test_codes_that_mix_the_factors_are_not() -> None:
    known = factors()
    centred = known - known.mean(0)
    codes = centred / centred.std(0) @ np.array([[1.0, 1], [1, -1]])
    assert mutual_information_gap(codes, known) < 0.1
    assert separated_predictability(codes, known) < 0.1
    assert dci_disentanglement(codes, known) < 0.5


def test_similarity_of_columns_by_hand() -> None:
    numbers = [Column(np.array(values), False) for values in ([1.0, 2, 3, 4], [3.0, 4, 5, 6])]
    assert marginal(*numbers) == pytest.approx(0.5)  # two of four lie below 3
    classes = [Column(np.array(values), True) for values in ([0, 0, 1, 2], [0, 1, 1, 1])]
    assert marginal(*classes) == pytest.approx(0.5)  # shares (1/2, 1/4, 1/4) and (1/4, 3/4, 0)


def test_similarity_of_pairs_by_hand() -> None:
    up, down = np.arange(5.0), -np.arange(5.0)
    alike = (Column(up, False), Column(up, False))
    assert pair(alike, alike) == pytest.approx(1.0)
    assert pair(alike, (Column(up, False), Column(down, False))) == pytest.approx(0.0)
    missing, one, other = Column(np.full(4, np.inf), True), np.zeros(4), np.array([0.0, 0, 1, 1])
    assert pair((missing, Column(other, True)), (missing, Column(one, True))) == pytest.approx(0.5)
    tied = (Column(np.array([0, 0, 1, 1]), True), Column(np.array([0, 0, 1, 1]), True))
    independent = (Column(np.array([0, 0, 1, 1]), True), Column(np.array([0, 1, 0, 1]), True))
    assert pair(tied, independent) == pytest.approx(0.5)
