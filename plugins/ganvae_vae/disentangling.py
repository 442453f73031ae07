"""Objectives that want the coordinates of codes to be independent of each other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar, Literal, final

import torch
from torch import Tensor

from ganvae_core import (
    Batch,
    ConfigurationError,
    Critic,
    DataSpec,
    DiagonalNormal,
    FactorisedPosterior,
    Loss,
    Model,
    Objective,
    Phase,
    Schedule,
    as_schedule,
    divergences,
    in_range,
    losses,
)
from ganvae_vae.terms import bound_terms, of_codes


@final
class TotalCorrelation(Objective):
    """The evidence lower bound with a weight on the total correlation of the codes: β-TC-VAE.

    Minimises, in nats a row,

        -E_q(z|x)[log p(x|z)] + KL(q(z|x) || p(z)) + (beta - 1) KL(q(z) || Π q(z_d))

    The last term is a part of the second one; so its weight is beta in all, and those of the other two parts,
    information and the KL of each coordinate, are 1. Chen et al., Isolating Sources of Disentanglement in VAEs, 2018.

    Args:
        beta: weight of the total correlation, or a schedule of it.
        sampling: of the estimate of q(z) from a batch: weighted or stratified.

    Raises:
        ConfigurationError: beta is negative.
    """

    accepts: ClassVar = frozenset({"real"})
    needs: ClassVar = frozenset({"prior", "posterior", "likelihood"})

    def __init__(
        self,
        model: Model,
        data: DataSpec,
        *,
        beta: Schedule | float = 6.0,
        sampling: Literal["weighted", "stratified"] = "weighted",
    ) -> None:
        super().__init__()
        in_range("objective.", beta=beta)
        self.model = model
        # Weighted sampling takes the number of rows for a constant, which is left out: then the estimate is that of the
        # batch, in nats.
        self.rows = data.count if sampling == "stratified" else 1
        self.sampling: Literal["weighted", "stratified"] = sampling
        self.beta = as_schedule(beta)

    def phases(self) -> list[Phase]:
        """One phase that trains the whole model, on batches that are not split."""
        return [Phase("tc", self.loss, trains=[self.model], couples_rows=True)]

    def loss(self, batch: Batch) -> Loss:
        """Negative bound () in nats, with the further weight on the total correlation."""
        found = bound_terms(self.model, batch)
        if not isinstance(found.posterior, FactorisedPosterior):
            raise ConfigurationError(
                "the total correlation needs a posterior with independent coordinates.",
                "set:  encoder.posterior=normal",
            )
        correlation = divergences.total_correlation(
            found.posterior, found.z, self.rows, sampling=self.sampling
        )
        value = found.reconstruction + found.divergence + (self.beta(batch.samples_seen) - 1) * correlation
        return found.loss(value, total_correlation=correlation)


@final
class Factor(Objective):
    """The evidence lower bound with a penalty on the total correlation, which a critic of codes estimates: FactorVAE.

    The critic separates codes z from codes whose coordinates are permuted over the batch, each by itself; its logit
    estimates log q(z) / Π q(z_d). The model minimises, in nats a row,

        -E_q(z|x)[log p(x|z)] + KL(q(z|x) || p(z)) + weight E C(z)

    Kim and Mnih, Disentangling by Factorising, 2018, who permute the codes of a second batch; here those of the same
    batch are permuted.

    Args:
        weight: of the total correlation, γ in the paper; or a schedule of it.

    Raises:
        ConfigurationError: the weight is negative.
    """

    accepts: ClassVar = frozenset({"real"})
    needs: ClassVar = frozenset({"prior", "posterior", "likelihood"})

    def __init__(
        self,
        model: Model,
        latent_shape: Sequence[int],
        critic: Callable[[DataSpec], Critic],
        *,
        weight: Schedule | float = 10.0,
    ) -> None:
        super().__init__()
        in_range("objective.", weight=weight)
        self.model, self.critic = model, critic(of_codes(tuple(latent_shape)))
        self.weight = as_schedule(weight)

    def phases(self) -> list[Phase]:
        """The critic, whose batches are not split, then the model."""
        return [
            Phase("critic", self.critic_loss, trains=[self.critic], couples_rows=True),
            Phase("factor", self.loss, trains=[self.model]),
        ]

    def critic_loss(self, batch: Batch) -> Loss:
        """Cross-entropy () of codes against permuted ones; ``accuracy`` is the share of pairs in the right order."""
        z = self.model.encode(batch.x, batch.condition).rsample().flatten(1).detach()
        together, apart = self.critic(z), self.critic(permuted(z))
        value = losses.non_saturating_critic(together, apart)
        return Loss(value, {"accuracy": (together > apart).to(value.dtype).mean()})

    def loss(self, batch: Batch) -> Loss:
        """Negative bound () in nats, with the estimate of the total correlation."""
        found = bound_terms(self.model, batch)
        correlation = self.critic(found.z.flatten(1)).mean()
        value = found.reconstruction + found.divergence + self.weight(batch.samples_seen) * correlation
        return found.loss(value, total_correlation=correlation)


@final
class DIP(Objective):
    """The evidence lower bound with a penalty on the covariance of the codes: DIP-VAE.

    Adds to the negative bound, in nats a row,

        off_diagonal Σ_{d ≠ e} C_de²  +  diagonal Σ_d (C_dd - 1)²

    where C is the covariance of the posterior's mean over the data (kind one), or of the codes, which adds the average
    variance of the posterior (kind two). Kumar, Sattigeri and Balakrishnan, Variational Inference of Disentangled
    Latent Concepts from Unlabeled Observations, 2018.

    Args:
        kind: one or two.
        off_diagonal: weight of the covariances.
        diagonal: weight of the variances' distance from 1; null is ten times off_diagonal for kind one and as much
            for two.

    Raises:
        ConfigurationError: a weight is negative, or kind two has no normal posterior.
    """

    accepts: ClassVar = frozenset({"real"})
    needs: ClassVar = frozenset({"prior", "posterior", "likelihood"})

    def __init__(
        self,
        model: Model,
        *,
        kind: Literal["one", "two"] = "two",
        off_diagonal: float = 10.0,
        diagonal: float | None = None,
    ) -> None:
        super().__init__()
        in_range("objective.", off_diagonal=off_diagonal, diagonal=diagonal)
        self.model, self.kind, self.off_diagonal = model, kind, off_diagonal
        self.diagonal = (10 if kind == "one" else 1) * off_diagonal if diagonal is None else diagonal

    def phases(self) -> list[Phase]:
        """One phase that trains the whole model, on batches that are not split."""
        return [Phase("dip", self.loss, trains=[self.model], couples_rows=True)]

    def loss(self, batch: Batch) -> Loss:
        """Negative bound () in nats, with the penalty."""
        found = bound_terms(self.model, batch)
        means = found.posterior.mean.flatten(1)
        centred = means - means.mean(0)
        covariance = centred.T @ centred / len(means)  # (D, D)
        variances = covariance.diagonal()
        off_diagonal = covariance.square().sum() - variances.square().sum()
        if self.kind == "two":
            if not isinstance(found.posterior, DiagonalNormal):
                raise ConfigurationError(
                    "objective.kind=two needs a normal posterior.", "take  objective.kind=one"
                )
            variances = variances + found.posterior.log_variance.flatten(1).exp().mean(0)
        penalty = self.off_diagonal * off_diagonal + self.diagonal * (variances - 1).square().sum()
        value = found.reconstruction + found.divergence + penalty
        return found.loss(value, covariance=penalty)


def permuted(z: Tensor) -> Tensor:
    """(B, D) with each column permuted by itself, so that coordinates are independent."""
    return z.gather(0, torch.rand_like(z).argsort(0))
