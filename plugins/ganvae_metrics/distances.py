"""Distances between two samples, as functions of arrays of features, independent of models and files.

N and M are numbers of rows, F the number of features. Sums run in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

BLOCK_VALUES = 2**22
"""Distances that are held at once."""
DIRECTIONS_AT_ONCE = 128


class Estimate(NamedTuple):
    """A value and its standard error."""

    value: float
    error: float


def frechet_distance(first: Tensor, second: Tensor) -> float:
    """The squared Fréchet distance of two Gaussians with the moments of features (N, F) and (M, F).

    ``|m₁ - m₂|² + tr(S₁ + S₂ - 2 (S₁^½ S₂ S₁^½)^½)`` (Dowson and Landau 1982; Heusel et al. 2017 over the features of
    Inception). It is biased upwards by few rows: compare figures of equal counts only. The symmetric form has real
    eigenvalues, which the square root of the product S₁S₂ need not have in floating point.
    """
    first, second = first.double(), second.double()
    if first.shape[1] == 1:
        apart = first.mean() - second.mean()
        return float(apart.square() + (first.std() - second.std()).square())
    covariance, other = torch.cov(first.T), torch.cov(second.T)
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    middle = root @ other @ root
    overlap = torch.linalg.eigvalsh((middle + middle.T) / 2).clamp(min=0).sqrt().sum()
    distance = (first.mean(0) - second.mean(0)).square().sum() + covariance.trace() + other.trace()
    return max(0.0, float(distance - 2 * overlap))


def kernel_distance(first: Tensor, second: Tensor, own: Tensor | None = None) -> Estimate:
    """The squared maximum mean discrepancy with the kernel ``(x·y / F + 1)³``, unbiased (Bińkowski et al. 2018).

    Over all pairs of features (N, F) and (M, F), each sample with itself left out, so it is negative at times. The
    standard error is the jackknife's over the rows of both (Efron and Stein 1981), which is rather too large than too
    small.

    Args:
        first: features of the data.
        second: features of samples.
        own: what ``own_kernel`` gives for the first, where it is known.
    """
    first, second = first.double(), second.double()
    sides = [own_kernel(first) if own is None else own, own_kernel(second)]
    across = [torch.zeros(len(rows), dtype=torch.float64) for rows in (first, second)]
    block = _block(second)
    for start in range(0, len(first), block):
        found = _kernel(first[start : start + block], second)
        across[0][start : start + block] = found.sum(1)
        across[1] += found.sum(0)
    between = float(across[0].sum())
    value, variance = -2 * between / (len(first) * len(second)), 0.0
    for inside, outside, others in zip(sides, across, (len(second), len(first)), strict=True):
        count, total = len(inside), inside.sum()
        value += float(total) / (count * (count - 1))
        # The distance without each row in turn, but for what does not depend on the row.
        without = (total - 2 * inside) / ((count - 1) * (count - 2)) - 2 * (between - outside) / (
            (count - 1) * others
        )
        variance += float(without.var()) * (count - 1) ** 2 / count
    return Estimate(value, variance**0.5)


def own_kernel(rows: Tensor) -> Tensor:
    """(N,) the sums of the kernel of each row (N, F) with all others."""
    rows = rows.double()
    sums, block = torch.zeros(len(rows), dtype=torch.float64), _block(rows)
    for start in range(0, len(rows), block):  # a pair counts twice, and is computed once
        end = start + block
        inside, later = _kernel(rows[start:end], rows[start:end]), _kernel(rows[start:end], rows[end:])
        sums[start:end] += inside.sum(1) - inside.diagonal() + later.sum(1)
        sums[end:] += later.sum(0)
    return sums


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    return (first @ second.T / first.shape[1] + 1).pow(3)


class Manifolds(NamedTuple):
    """Shares by which samples lie on the data's manifold, and data on that of the samples."""

    precision: float
    recall: float
    density: float
    coverage: float


def manifolds(real: Tensor, made: Tensor, nearest: int = 5, reach: Tensor | None = None) -> Manifolds:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    Around each row lies a ball that reaches to its ``nearest``-th neighbour in its own set. Precision is the share of
    made rows in any real ball, recall the share of real rows in any made ball, density the number of real balls that a
    made row lies in over ``nearest``, coverage the share of real balls with a made row in them.

    Args:
        real: (N, F).
        made: (M, F).
        nearest: at most N - 1 and M - 1.
        reach: (N,) what ``reach_of`` gives for the real rows, where it is known.
    """
    real_reach, made_reach = reach_of(real, nearest) if reach is None else reach, reach_of(made, nearest)
    covered, recalled = (torch.zeros(len(real), dtype=torch.bool) for _ in range(2))
    inside, precise = 0, 0
    for start, apart in _distances(made, real):
        near = apart < real_reach
        covered |= near.any(0)
        inside += int(near.sum())
        precise += int(near.any(1).sum())
        recalled |= (apart < made_reach[start : start + len(apart), None]).any(0)
    return Manifolds(
        precise / len(made), float(recalled.double().mean()), inside / (nearest * len(made)),
        float(covered.double().mean()),
    )  # fmt: skip


def reach_of(rows: Tensor, nearest: int) -> Tensor:
    """(N,) the distance of each row (N, F) to the ``nearest``-th other row."""
    # A row is the nearest to itself.
    found = [apart.topk(nearest + 1, largest=False).values[:, -1] for _, apart in _distances(rows, rows)]
    return torch.cat(found)


def _distances(rows: Tensor, others: Tensor) -> Iterator[tuple[int, Tensor]]:
    """Euclidean distances (B, M) of blocks of rows to all others, with the number of the first row."""
    rows, others = rows.float(), others.float()
    block = _block(others)
    for start in range(0, len(rows), block):
        yield start, torch.cdist(rows[start : start + block], others)


def _block(others: Tensor) -> int:
    """How many rows are compared with all others at once."""
    return max(1, BLOCK_VALUES // len(others))


def nearest_distances(rows: Tensor, others: Tensor) -> Tensor:
    """(N,) the distance of each row (N, F) to its nearest other row (M, F)."""
    return torch.cat([apart.amin(1) for _, apart in _distances(rows, others)])


def sliced_wasserstein(first: Tensor, second: Tensor, directions: int = 512) -> float:
    """The squared sliced 2-Wasserstein distance, E_w W₂²(w · x, w · y) over directions w of length 1.

    Bonneel et al. 2015. Two Gaussians that differ by a shift s have |s|² / F. Rows beyond the smaller count are left
    out. The directions are the same at each call.
    """
    count = min(len(first), len(second))
    first, second = first[:count].double(), second[:count].double()
    total, generator = 0.0, torch.Generator().manual_seed(0)
    for start in range(0, directions, DIRECTIONS_AT_ONCE):
        size = min(DIRECTIONS_AT_ONCE, directions - start)
        chosen = torch.randn(first.shape[1], size, dtype=torch.float64, generator=generator)
        chosen = chosen / chosen.norm(dim=0)
        apart = (first @ chosen).sort(0).values - (second @ chosen).sort(0).values
        total += float(apart.square().mean(0).sum())
    return total / directions


def two_sample_accuracy(real: Tensor, made: Tensor, reach: Tensor | None = None) -> float:
    """Share of rows whose nearest other row is of their own sample (Lopez-Paz and Oquab 2017).

    One half where the samples are of one distribution, 1 where they are apart, less than one half where made rows are
    copies of real ones. Of equally near rows the real one counts.

    Args:
        real: (N, F).
        made: (N, F): both samples count alike.
        reach: (N,) what ``reach_of`` gives for the nearest other real row, where it is known.
    """
    real_reach, made_reach = reach_of(real, 1) if reach is None else reach, reach_of(made, 1)
    to_made, right = torch.full((len(real),), torch.inf), 0
    for start, apart in _distances(made, real):
        right += int((made_reach[start : start + len(apart)] < apart.amin(1)).sum())
        to_made = torch.minimum(to_made, apart.amin(0))
    return (right + int((real_reach <= to_made).sum())) / (len(real) + len(made))


def different_bins(real: Tensor, made: Tensor, known: Tensor, bins: int, significance: float = 0.05) -> float:
    """Share of bins that samples fill otherwise than data does: NDB / K (Richardson and Weiss 2018).

    Bins are the cells of k-means over known rows. A bin differs where a two-sided test of two proportions says so.
    Samples of the data's distribution differ in about ``significance`` of the bins.

    Args:
        real: (N, F) rows that the bins were not made from.
        made: (M, F).
        known: (L, F) rows that the bins are made from.
        bins: K.
        significance: of each test.
    """
    from scipy.special import ndtri
    from sklearn.cluster import KMeans

    cells = KMeans(bins, n_init=1, random_state=0).fit(known.double().numpy())  # pyright: ignore
    shares, counts = [], (len(real), len(made))
    for rows in (real, made):
        assigned = cells.predict(np.ascontiguousarray(rows.double().numpy()))
        shares.append(np.bincount(assigned, minlength=bins) / len(rows))
    pooled = (shares[0] * counts[0] + shares[1] * counts[1]) / sum(counts)
    deviation = np.sqrt(pooled * (1 - pooled) * (1 / counts[0] + 1 / counts[1]))
    differs = np.abs(shares[0] - shares[1]) > deviation * ndtri(1 - significance / 2)
    return float(differs.mean())


def mean_distance(rows: Tensor) -> float:
    """The mean Euclidean distance of two different rows (N, F)."""
    total = sum(float(apart.double().sum()) for _, apart in _distances(rows, rows))
    return total / (len(rows) * (len(rows) - 1))


def mode_coverage(points: Tensor, centres: Tensor, deviation: float) -> dict[str, float]:
    """How many modes points reach, how many of them lie well, and how evenly they are spread over the modes.

    As PacGAN evaluates (Lin et al. 2018): a point is of high quality within three deviations of its nearest mode, and a
    mode counts from one such point on.

    Args:
        points: (N, D).
        centres: (M, D) of the modes.
        deviation: of either coordinate around its centre.

    Returns:
        ``modes``, ``high_quality`` (percent) and ``mode_kl``, the divergence in nats of the shares of all points by
        their nearest mode from the uniform distribution.
    """
    apart = torch.cdist(points.double(), centres.double(), compute_mode="donot_use_mm_for_euclid_dist")
    reach, nearest = apart.min(1)
    good = reach < 3 * deviation
    return {
        "modes": float(len(nearest[good].unique())),
        "high_quality": 100 * float(good.double().mean()),
        "mode_kl": divergence_from_uniform(torch.bincount(nearest, minlength=len(centres))),
    }


def divergence_from_uniform(counts: Tensor) -> float:
    """KL(q || uniform) in nats of the shares that counts (K,) make."""
    shares = counts[counts > 0].double() / counts.sum()
    return max(0.0, float((shares * (shares * len(counts)).log()).sum()))  # rounding goes below zero
