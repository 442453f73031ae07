"""Divergences that are estimated from samples.

They compare rows with each other: a phase that uses one is declared ``couples_rows=True``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from ganvae_core.builtin.option_checks import one_of
from ganvae_core.errors import ConfigurationError
from ganvae_core.interfaces import FactorisedPosterior


def maximum_mean_discrepancy(
    x: Tensor, y: Tensor, *, kernel: Literal["rbf", "imq"] = "rbf", bandwidths: Sequence[float] = (1.0,)
) -> Tensor:
    """() the squared maximum mean discrepancy of two samples, E k(x, x') + E k(y, y') - 2 E k(x, y).

    The unbiased estimate of Gretton et al., A Kernel Two-Sample Test, 2012 (lemma 6), which is negative at times. The
    kernel is the average over the bandwidths h of

        rbf     exp(-||x - y||² / 2h²)
        imq     h² / (h² + ||x - y||²), with heavier tails

    Wasserstein autoencoders take ``imq`` with h² = 2 D s for D dimensions and several s around 1 (Tolstikhin et al.
    2018).

    Args:
        x: (N, *Z), two rows or more.
        y: (M, *Z), two rows or more.
        kernel: rbf or imq.
        bandwidths: of the kernel, in units of x.

    Raises:
        ConfigurationError: a sample of fewer than two rows, or an unknown kernel.
    """
    one_of("kernel", kernel, ("rbf", "imq"))
    if min(len(x), len(y)) < 2:
        raise ConfigurationError(
            f"the discrepancy needs at least two rows of each sample, not {len(x)} and {len(y)}."
        )
    x, y = x.flatten(1), y.flatten(1)

    def mean_kernel(first: Tensor, second: Tensor) -> Tensor:
        same = first is second
        # Differences and not inner products, which cancel where rows are close.
        squares = (first.unsqueeze(1) - second.unsqueeze(0)).square().sum(2)
        values = torch.stack([_kernel(squares, kernel, bandwidth) for bandwidth in bandwidths]).mean(0)
        if not same:
            return values.mean()
        return (values.sum() - values.diagonal().sum()) / (len(first) * (len(first) - 1))

    return mean_kernel(x, x) + mean_kernel(y, y) - 2 * mean_kernel(x, y)


def sliced_wasserstein(x: Tensor, y: Tensor, *, directions: int = 50) -> Tensor:
    """() the squared sliced 2-Wasserstein distance of two samples, E_w W₂²(w · x, w · y).

    On each of some random directions w of length 1 the rows are sorted and compared in pairs (Bonneel et al. 2015;
    Kolouri et al., Sliced-Wasserstein Autoencoder, 2018).

    Args:
        x: (N, *Z).
        y: (N, *Z), as many rows.
        directions: number of directions, drawn anew at each call.

    Raises:
        ConfigurationError: the samples have different numbers of rows.
    """
    if len(x) != len(y):
        raise ConfigurationError(f"the samples must have the same number of rows, not {len(x)} and {len(y)}.")
    x, y = x.flatten(1), y.flatten(1)
    chosen = torch.randn(x.shape[1], directions, dtype=x.dtype, device=x.device)
    chosen = chosen / chosen.norm(dim=0)
    return ((x @ chosen).sort(0).values - (y @ chosen).sort(0).values).square().mean()


def total_correlation(
    posterior: FactorisedPosterior,
    z: Tensor,
    count: int,
    *,
    sampling: Literal["weighted", "stratified"] = "weighted",
) -> Tensor:
    """() nats: how far the coordinates of codes depend on each other, KL(q(z) || Π q(z_d)).

    An estimate of Chen et al., Isolating Sources of Disentanglement in VAEs, 2018: the density of all codes is
    estimated from the posteriors of the batch. ``weighted`` weights them alike, which adds a constant that depends on
    ``count`` alone. ``stratified`` weights the code's own row as one of all rows and the others
    as a sample of the rest, which is unbiased for the densities. (Their appendix C gives one of the others a smaller
    weight, with the same expectation.)

    Args:
        posterior: q(z|x) of a batch, whose coordinates are independent.
        z: (B, *Z) a draw from it.
        count: number of rows of the training data.
        sampling: weighted or stratified.

    Raises:
        ConfigurationError: stratified sampling of fewer than two rows, or of more than there are.
    """
    one_of("sampling", sampling, ("weighted", "stratified"))
    each = posterior.coordinate_log_prob(z.unsqueeze(1).expand(-1, len(z), *z.shape[1:])).flatten(
        2
    )  # (B, B, D)
    if sampling == "weighted":
        log_weights = each.new_full(each.shape[:2], -math.log(count * len(z)))
    else:
        log_weights = _stratified_weights(len(z), count).log().to(each)
    joint = (each.sum(2) + log_weights).logsumexp(1)
    product = (each + log_weights.unsqueeze(2)).logsumexp(1).sum(1)
    return (joint - product).mean()


def _stratified_weights(rows: int, count: int) -> Tensor:
    """(B, B) weights of the batch's posteriors in the density at each row's code; each row of weights adds up to 1."""
    if not 2 <= rows <= count:
        raise ConfigurationError(
            f"stratified sampling takes batches of 2 to {count:,} rows, and this one has {rows}.",
            "take  sampling: weighted",
        )
    weights = torch.full((rows, rows), (count - 1) / (count * (rows - 1)))
    return weights.fill_diagonal_(1 / count)


def _kernel(squares: Tensor, kernel: str, bandwidth: float) -> Tensor:
    if kernel == "rbf":
        return (squares / (-2 * bandwidth**2)).exp()
    return bandwidth**2 / (bandwidth**2 + squares)
