"""What the objectives of this plugin have in common."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Literal

from torch import Tensor

from ganvae_core import (
    Batch,
    DataSpec,
    LatentPrior,
    Loss,
    Model,
    Posterior,
    Reconstruction,
    kl,
)


@dataclass(frozen=True)
class Terms:
    """The parts of the evidence lower bound of a batch.

    Args:
        posterior: q(z|x).
        z: (B, *Z) the draw from it.
        reconstruction: () -E log p(x|z), in nats.
        divergence: () KL(q(z|x) || p(z)), in nats.
    """

    posterior: Posterior
    z: Tensor
    reconstruction: Tensor
    divergence: Tensor

    def loss(self, value: Tensor, **further: Tensor) -> Loss:
        """A loss () of which these are terms, and further ones."""
        return Loss(value, {"reconstruction": self.reconstruction, "kl": self.divergence, **further})


def bound_terms(model: Model, batch: Batch, prior: LatentPrior | None = None) -> Terms:
    """The evidence lower bound of a batch, in its parts, under the model's prior or another one."""
    posterior = model.encode(batch.x, batch.condition)
    z = posterior.rsample()  # (B, *Z)
    reconstruction = -model.decode(z, batch.condition).log_prob(batch.x, batch.mask).mean()
    divergence = kl(posterior, model.prior if prior is None else prior, z=z, condition=batch.condition)
    return Terms(posterior, z, reconstruction, divergence.mean())


def needs_of(
    encoder: Literal["encoder", "posterior"], how: Reconstruction
) -> frozenset[Literal["prior", "encoder", "posterior", "likelihood", "labels"]]:
    """The needs of an objective that samples the prior, by how it measures reconstructions."""
    if how == "likelihood":
        return frozenset({"prior", encoder, "likelihood"})
    return frozenset({"prior", encoder})


def of_codes(latent_shape: tuple[int, ...]) -> DataSpec:
    """The specification of flattened codes, for a critic of them."""
    return DataSpec((prod(latent_shape),), None, "array")
