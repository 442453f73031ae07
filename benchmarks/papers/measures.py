"""What the papers measure beside the metrics of ganvae, as functions of plain arrays."""

from __future__ import annotations

import numpy as np
import torch
from ganvae_metrics.distances import divergence_from_uniform
from scipy.optimize import linear_sum_assignment

from ganvae_core.builtin.sources.drawn import Grid, Ring

MODES = {"ring": Ring.modes(), "grid": Grid.modes()}


def combination_coverage(digits: np.ndarray, classes: int = 10) -> dict[str, float]:
    """How many of the ``classes``^C combinations rows of C classes (N, C) reach, as for stacked MNIST.

    Returns:
        ``modes`` and ``kl``, KL(q ‖ uniform) in nats. N rows that are drawn evenly from all combinations do not
        reach 0, but about (combinations - 1) / 2N.
    """
    combination = np.ravel_multi_index(tuple(digits.T), (classes,) * digits.shape[1])
    counts = np.bincount(combination, minlength=classes ** digits.shape[1])
    return {"modes": float((counts > 0).sum()), "kl": divergence_from_uniform(torch.from_numpy(counts))}


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
