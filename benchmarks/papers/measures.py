"""What the papers measure, as functions of plain arrays: independent of models, files and figures."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from ganvae_core.builtin.sources.drawn import Grid, Modes, Ring

HIGH_QUALITY_SIGMAS = 3.0

MODES = {"ring": Ring.modes(), "grid": Grid.modes()}


def mode_coverage(points: np.ndarray, mixture: Modes) -> dict[str, float]:
    """How many modes points (N, 2) reach, how many of them lie well, and how evenly they are spread over the modes.

    As PacGAN evaluates (Lin et al. 2018): a point is of high quality within 3σ of its nearest mode; a mode counts
    from one such point on. ``mode_kl`` is KL(q ‖ uniform) in nats, q the shares of all points by their nearest mode.

    Returns:
        ``modes``, ``high_quality`` (percent) and ``mode_kl``.
    """
    distances = np.linalg.norm(points[:, None].astype(np.float64) - mixture.centres, axis=2)  # (N, modes)
    nearest = distances.argmin(1)
    good = distances.min(1) < HIGH_QUALITY_SIGMAS * mixture.deviation
    count = len(mixture.centres)
    return {
        "modes": float(len(np.unique(nearest[good]))),
        "high_quality": 100.0 * float(good.mean()),
        "mode_kl": divergence_from_uniform(np.bincount(nearest, minlength=count)),
    }


def combination_coverage(digits: np.ndarray, classes: int = 10) -> dict[str, float]:
    """How many of the ``classes``^C combinations rows of C classes (N, C) reach, as for stacked MNIST.

    Returns:
        ``modes`` and ``kl``, KL(q ‖ uniform) in nats. N rows that are drawn evenly from all combinations do not
        reach 0, but about (combinations - 1) / 2N.
    """
    combination = np.ravel_multi_index(tuple(digits.T), (classes,) * digits.shape[1])
    counts = np.bincount(combination, minlength=classes ** digits.shape[1])
    return {"modes": float((counts > 0).sum()), "kl": divergence_from_uniform(counts)}


def divergence_from_uniform(counts: np.ndarray) -> float:
    """KL(q ‖ uniform) in nats of the shares that counts (K,) make."""
    shares = counts[counts > 0] / counts.sum()
    return max(0.0, float((shares * np.log(shares * len(counts))).sum()))  # rounding goes below zero


def agreement(predicted: np.ndarray, wanted: np.ndarray) -> float:
    """Percent of rows on which two (N,) arrays of classes agree."""
    return 100.0 * float((predicted == wanted).mean())


def clustering_accuracy(clusters: np.ndarray, labels: np.ndarray) -> float:
    """Percent of rows (N,) in their label's cluster, by the best one-to-one assignment of clusters to labels."""
    size = int(max(clusters.max(), labels.max())) + 1
    counts = np.zeros((size, size), np.int64)
    np.add.at(counts, (clusters, labels), 1)
    rows, columns = linear_sum_assignment(counts, maximize=True)
    return 100.0 * float(counts[rows, columns].sum() / len(labels))


def frechet_distance(first: np.ndarray, second: np.ndarray) -> float:
    """The squared Fréchet distance of two Gaussians with the moments of features (N, F) and (M, F), in float64.

    ``|m₁ - m₂|² + tr(S₁ + S₂ - 2 (S₁^½ S₂ S₁^½)^½)`` (Dowson and Landau 1982), which Heusel et al. (2017) take over the
    features of Inception. Here the caller names the network. The symmetric form has real eigenvalues, which the
    square root of the product S₁S₂ need not have in floating point.
    """
    mean, covariance = _moments(first)
    other_mean, other_covariance = _moments(second)
    values, vectors = np.linalg.eigh(covariance)
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    middle = root @ other_covariance @ root
    overlap = np.sqrt(np.linalg.eigvalsh((middle + middle.T) / 2).clip(0)).sum()
    distance = np.square(mean - other_mean).sum() + np.trace(covariance) + np.trace(other_covariance)
    return max(0.0, float(distance - 2 * overlap))


def _moments(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values = features.astype(np.float64)
    return values.mean(0), np.cov(values, rowvar=False)
