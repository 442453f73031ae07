"""Codes given observed entries, in closed form, where x is a linear function of z with normal noise."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor

from ganvae_core.interfaces import NormalData, NormalsPrior
from ganvae_core.model import Model

CHECKED_CODES = 64
TOLERANCE = 1e-4
"""By which a linear function may differ at these codes, as a share of its largest value."""


@dataclass(frozen=True, eq=False)
class LinearConditionals:
    """p(z | observed entries of x) for x = W z + b + noise, and z of a mixture of normal distributions.

    Bishop 2006, section 2.3.3; Tipping and Bishop 1999 for probabilistic principal components. In float64.

    Args:
        latent_shape: *Z, of D values.
        weights: (X, D), W.
        offset: (X,), b.
        variances: (X,) of the noise.
        shares: (K,) of the components.
        means: (K, D).
        precisions: (K, D, D) inverse covariances.
    """

    latent_shape: tuple[int, ...]
    weights: Tensor
    offset: Tensor
    variances: Tensor
    shares: Tensor
    means: Tensor
    precisions: Tensor

    def draw(self, x: Tensor, mask: Tensor) -> Tensor:
        """(B, *Z) codes, one for each row.

        Args:
            x: (B, *X).
            mask: (B, *X) bool, true where x was observed.
        """
        residual = (x.flatten(1).double() - self.offset) * mask.flatten(1) / self.variances  # (B, X)
        masks, which = mask.flatten(1).unique(dim=0, return_inverse=True)  # draws of a row share one
        scaled = self.weights.T / self.variances
        information = torch.stack([scaled * seen @ self.weights for seen in masks])  # (M, D, D)
        precisions = self.precisions + information[which, None]  # (B, K, D, D)
        pulls = (self.precisions @ self.means[..., None])[..., 0] + (residual @ self.weights)[:, None]
        factors = torch.linalg.cholesky(precisions)
        means = torch.cholesky_solve(pulls[..., None], factors)[..., 0]
        # log of (share · the observed entries' density under the component), without what all components share.
        own = torch.einsum("kd,kde,ke->k", self.means, self.precisions, self.means)
        log_shares = (
            self.shares.log()
            + 0.5 * (torch.logdet(self.precisions) - own + (pulls * means).sum(2))
            - factors.diagonal(dim1=2, dim2=3).log().sum(2)
        )
        chosen = torch.multinomial(log_shares.softmax(1), 1)[:, 0]
        rows = torch.arange(len(x), device=x.device)
        noise = torch.randn_like(means[:, 0, :, None])
        upper = factors[rows, chosen].mT
        z = means[rows, chosen] + torch.linalg.solve_triangular(upper, noise, upper=True)[..., 0]
        return z.to(x.dtype).reshape(len(x), *self.latent_shape)


@torch.no_grad()
def linear_conditionals(model: Model) -> LinearConditionals | None:
    """The closed form, or None where the model has none.

    The prior is a ``NormalsPrior``, and the observation is normal, with the same scale for all codes. That its mean is
    a linear function of codes is found by comparing at 64 draws of the prior.
    """
    prior = model.prior
    if not isinstance(prior, NormalsPrior) or model.conditions is not None:
        return None
    size = math.prod(prior.latent_shape)
    like = next(model.generator.parameters(), torch.zeros(()))
    if like.device.type == "mps":  # has no float64
        return None
    probes = torch.cat([like.new_zeros(1, size), torch.eye(size, dtype=like.dtype, device=like.device)])
    observed = model.decode(probes.reshape(-1, *prior.latent_shape))
    if not isinstance(observed, NormalData) or observed.log_scale.dim() == observed.mean.dim():
        return None
    made = observed.mean.flatten(1).double()
    offset, weights = made[0], (made[1:] - made[0]).T
    codes = prior.sample(CHECKED_CODES)
    exact = model(codes).flatten(1).double()
    linear = codes.flatten(1).double() @ weights.T + offset
    if cast(float, (linear - exact).abs().max().item()) > TOLERANCE * exact.abs().max().item():
        return None
    variances = (2 * observed.log_scale.double()).exp().expand(observed.mean.shape[1:]).flatten()
    normals = prior.normals()
    precisions = torch.cholesky_inverse(normals.scale_trils.double())
    shares, means = normals.weights.double(), normals.means.double()
    return LinearConditionals(prior.latent_shape, weights, offset, variances, shares, means, precisions)
