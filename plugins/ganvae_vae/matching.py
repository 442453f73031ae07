"""Autoencoders whose codes, all together, are held to the prior: Wasserstein, sliced and adversarial ones."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence
from math import prod
from typing import ClassVar, final

from torch import Tensor

from ganvae_core import (
    Batch,
    ConfigurationError,
    Critic,
    DataSpec,
    Loss,
    Model,
    Objective,
    Phase,
    Reconstruction,
    Schedule,
    as_schedule,
    divergences,
    in_range,
    kl,
    losses,
    reconstruction_error,
)
from ganvae_vae.terms import needs_of, of_codes


class MatchedCodes(Objective):
    """Reconstruction, and a distance between the codes of a batch and as many draws from the prior.

    Minimises

        E c(x, decode(z)) + weight D(q(z), p(z)) + kl_weight KL(q(z|x) || p(z))

    where z is the code of x, or a draw from its posterior, and q(z) the distribution of all codes.

    Args:
        weight: of the distance, or a schedule of it.
        kl_weight: of the KL term, for an encoder with a density; 0 leaves it out, as in a Wasserstein autoencoder.
        reconstruction: squared-error (with any observation) or likelihood, in nats.

    Raises:
        ConfigurationError: a weight is negative, or the encoder has no density for a KL term.
    """

    needs: ClassVar = frozenset({"prior", "encoder"})

    def __init__(
        self,
        model: Model,
        *,
        weight: Schedule | float = 10.0,
        kl_weight: float = 0.0,
        reconstruction: Reconstruction = "squared-error",
    ) -> None:
        super().__init__()
        in_range("objective.", weight=weight, kl_weight=kl_weight)
        self.model, self.kl_weight = model, kl_weight
        self.reconstruction: Reconstruction = reconstruction
        self.weight = as_schedule(weight)
        self.needs = needs_of("posterior" if kl_weight else "encoder", reconstruction)  # pyright: ignore[reportAttributeAccessIssue]
        if kl_weight and model.prior.support != "real":
            raise ConfigurationError(
                f"objective.kl_weight needs a prior over all real codes, and this one is {model.prior.support}.",
                "leave it out:  objective.kl_weight=0",
            )

    @abc.abstractmethod
    def distance(self, z: Tensor, drawn: Tensor) -> Tensor:
        """() between codes (B, *Z) and draws (B, *Z) from the prior."""

    def phases(self) -> list[Phase]:
        """One phase that trains the whole model, on batches that are not split."""
        return [Phase("matching", self.loss, trains=[self.model], couples_rows=True)]

    def loss(self, batch: Batch) -> Loss:
        """Reconstruction error () and the weighted distance."""
        posterior = self.model.encode(batch.x, batch.condition)
        z = posterior.rsample()
        error = reconstruction_error(
            self.model.decode(z, batch.condition), batch.x, batch.mask, self.reconstruction
        )
        distance = self.distance(z, self.model.prior.sample(len(z), batch.condition).to(z))
        value = error + self.weight(batch.samples_seen) * distance
        terms = {"reconstruction": error, "distance": distance}
        if self.kl_weight:
            terms["kl"] = kl(posterior, self.model.prior, z=z, condition=batch.condition).mean()
            value = value + self.kl_weight * terms["kl"]
        return Loss(value, terms)


@final
class MMD(MatchedCodes):
    """A Wasserstein autoencoder, WAE-MMD: the distance is the maximum mean discrepancy of codes and prior.

    Tolstikhin et al., Wasserstein Auto-Encoders, 2018, with their kernel: the sum of k(z, z') = s 2D / (s 2D + ||z -
    z'||²) over s = .1, .2, .5, 1, 2, 5, 10, for codes of D numbers. With a posterior and ``kl_weight`` it is InfoVAE
    (Zhao, Song and Ermon 2019): kl_weight = 1 - α, and weight = α + λ - 1.
    """

    SCALES: ClassVar = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

    def distance(self, z: Tensor, drawn: Tensor) -> Tensor:
        size = prod(z.shape[1:])
        bandwidths = [(2 * size * scale) ** 0.5 for scale in self.SCALES]
        mean = divergences.maximum_mean_discrepancy(z, drawn, kernel="imq", bandwidths=bandwidths)
        return len(self.SCALES) * mean


@final
class Sliced(MatchedCodes):
    """A sliced-Wasserstein autoencoder, SWAE: codes and prior are compared on random lines.

    Kolouri et al., Sliced-Wasserstein Autoencoder, 2018.
    """

    def distance(self, z: Tensor, drawn: Tensor) -> Tensor:
        return divergences.sliced_wasserstein(z, drawn)


@final
class Adversarial(Objective):
    """An adversarial autoencoder, AAE: a critic of codes separates those of data from draws of the prior.

    The autoencoder minimises the reconstruction error and, with codes in the place of generated rows, the
    non-saturating loss of a GAN; the critic minimises its cross-entropy. Makhzani et al., Adversarial Autoencoders,
    2015.

    Args:
        weight: of the adversarial term, or a schedule of it.
        reconstruction: squared-error (with any observation) or likelihood, in nats.

    Raises:
        ConfigurationError: the weight is negative.
    """

    needs: ClassVar = frozenset({"prior", "encoder"})

    def __init__(
        self,
        model: Model,
        latent_shape: Sequence[int],
        critic: Callable[[DataSpec], Critic],
        *,
        weight: Schedule | float = 1.0,
        reconstruction: Reconstruction = "squared-error",
    ) -> None:
        super().__init__()
        in_range("objective.", weight=weight)
        self.model, self.critic = model, critic(of_codes(tuple(latent_shape)))
        self.weight = as_schedule(weight)
        self.reconstruction: Reconstruction = reconstruction
        self.needs = needs_of("encoder", reconstruction)  # pyright: ignore[reportAttributeAccessIssue]

    def phases(self) -> list[Phase]:
        """The critic, then the autoencoder."""
        return [
            Phase("critic", self.critic_loss, trains=[self.critic]),
            Phase("autoencoder", self.loss, trains=[self.model]),
        ]

    def critic_loss(self, batch: Batch) -> Loss:
        """Cross-entropy () of the prior's draws against codes; ``accuracy`` is the share of rightly ordered pairs."""
        z = self.model.encode(batch.x, batch.condition).rsample().detach()
        drawn = self.model.prior.sample(len(z), batch.condition).to(z)
        real, fake = self.critic(drawn.flatten(1)), self.critic(z.flatten(1))
        return Loss(losses.non_saturating_critic(real, fake), {"accuracy": (real > fake).to(z.dtype).mean()})

    def loss(self, batch: Batch) -> Loss:
        """Reconstruction error () and the weighted adversarial term."""
        z = self.model.encode(batch.x, batch.condition).rsample()
        error = reconstruction_error(
            self.model.decode(z, batch.condition), batch.x, batch.mask, self.reconstruction
        )
        deception = losses.non_saturating_generator(self.critic(z.flatten(1)))
        value = error + self.weight(batch.samples_seen) * deception
        return Loss(value, {"reconstruction": error, "deception": deception})
