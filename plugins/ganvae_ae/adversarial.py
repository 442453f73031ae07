"""Autoencoders with a critic of images: reconstructions that a critic cannot tell from data are sharp."""

from __future__ import annotations

import abc
import math
from collections.abc import Callable
from typing import ClassVar, final

import torch
from torch import Tensor

from ganvae_core import (
    Batch,
    Critic,
    DataSpec,
    Loss,
    Model,
    Objective,
    Phase,
    Schedule,
    as_schedule,
    in_range,
    kl,
    losses,
    penalties,
    squared_error,
)

CRITIC_WEIGHT = 0.05
"""Weight of the critic's term for each value of x: docs/results.md, a critic of images on MNIST."""


class WithCritic(Objective):
    """An autoencoder and a critic of rows, with the relativistic pairing loss and both zero-centred penalties.

    The critic judges each row against what is made in its place: E -log sigmoid(C(x) - C(made)), with R1 and R2
    (Huang et al. 2024). It needs no start step that is tuned by hand, since its gradient is bounded from the first
    step on.

    Args:
        r1_weight: γ of γ/2 E ||∇C||² on real rows, or a schedule of it.
        r2_weight: the same on those that are made.
    """

    def __init__(
        self,
        model: Model,
        data: DataSpec,
        critic: Callable[[DataSpec], Critic],
        r1_weight: Schedule | float,
        r2_weight: Schedule | float,
    ) -> None:
        super().__init__()
        self.model, self.critic = model, critic(data)
        self.penalties = penalties.Penalties(r1=r1_weight, r2=r2_weight)
        self.penalties.check_critic(self.critic)

    def critic_phase(self) -> Phase:
        """The critic's phase."""
        return Phase("critic", self.critic_loss, [self.critic], second_order=self.penalties.active)

    def judged(self, made: Tensor, batch: Batch) -> Tensor:
        """(B,) logits of rows that were made."""
        return self.critic(_as_observed(made, batch), batch.condition)

    @abc.abstractmethod
    def made(self, batch: Batch) -> Tensor:
        """(B, *X) what the critic compares with the batch."""

    def critic_loss(self, batch: Batch) -> Loss:
        """The critic's loss () with its penalties; ``accuracy`` is the share of pairs in the right order."""
        real = batch.x.detach().clone().requires_grad_(self.penalties.uses("r1"))
        fake = self.made(batch).detach().requires_grad_(self.penalties.uses("r2"))

        def judge(x: Tensor) -> Tensor:
            return self.critic(x, batch.condition)

        real_logits, fake_logits = judge(real), self.judged(fake, batch)
        value = losses.relativistic_critic(real_logits, fake_logits)
        accuracy = (real_logits > fake_logits).to(value.dtype).mean()
        further = self.penalties.terms(judge, real, fake, real_logits, fake_logits, batch.samples_seen)
        for term in further.values():
            value = value + term
        return Loss(value, {"accuracy": accuracy, **further})


@final
class AdversarialAutoencoder(WithCritic):
    """Reconstruction and a critic of images: the autoencoder whose codes latent diffusion works on.

    Minimises

        E || x - made ||² + weight E -log sigmoid(C(made) - C(x)) + kl_weight KL(q(z|x) || p(z))

    Esser et al., Taming Transformers, 2021, and Rombach et al., Latent Diffusion, 2022, with the loss and the penalties
    of R3GAN (Huang et al. 2024) in place of a hinge loss that starts at a tuned step.

    Args:
        weight: of the critic's term, or a schedule of it; null: 0.05 for each value of x, since the squared error is a
            sum over them.
        kl_weight: of the KL term, for an encoder with a density; 0 leaves it out.
        r1_weight: γ of γ/2 E ||∇C||² on real rows, or a schedule of it.
        r2_weight: the same on reconstructions.

    Raises:
        ConfigurationError: a weight is negative, or the critic has batch norm.
    """

    needs: ClassVar = frozenset({"encoder"})

    def __init__(
        self,
        model: Model,
        data: DataSpec,
        critic: Callable[[DataSpec], Critic],
        *,
        weight: Schedule | float | None = None,
        kl_weight: float = 0.0,
        r1_weight: Schedule | float = 1.0,
        r2_weight: Schedule | float = 1.0,
    ) -> None:
        super().__init__(model, data, critic, r1_weight, r2_weight)
        in_range("objective.", kl_weight=kl_weight)
        weight = CRITIC_WEIGHT * math.prod(data.shape) if weight is None else weight
        self.weight, self.kl_weight = as_schedule(weight), kl_weight
        if kl_weight:
            self.needs = frozenset({"prior", "posterior"})  # pyright: ignore[reportAttributeAccessIssue]
            self.accepts = frozenset({"real"})  # pyright: ignore[reportAttributeAccessIssue]

    def phases(self) -> list[Phase]:
        """The critic, then the autoencoder."""
        return [self.critic_phase(), Phase("autoencoder", self.loss, trains=[self.model])]

    def made(self, batch: Batch) -> Tensor:
        """(B, *X) its reconstruction."""
        z = self.model.encode(batch.x, batch.condition).rsample()
        return self.model.decode(z, batch.condition).mean

    def loss(self, batch: Batch) -> Loss:
        """Squared error () and the weighted further terms."""
        posterior = self.model.encode(batch.x, batch.condition)
        z = posterior.rsample()
        observed = self.model.decode(z, batch.condition)
        error = squared_error(observed, batch.x, batch.mask)
        real, fake = self.critic(batch.x, batch.condition), self.judged(observed.mean, batch)
        deception = losses.relativistic_generator(real, fake)
        value = error + self.weight(batch.samples_seen) * deception
        terms = {"reconstruction": error, "deception": deception}
        if self.kl_weight:
            terms["kl"] = kl(posterior, self.model.prior, z=z, condition=batch.condition).mean()
            value = value + self.kl_weight * terms["kl"]
        return Loss(value, terms)


@final
class VAEGAN(WithCritic):
    """A VAE that measures its error in the features of a critic: VAE-GAN.

    With f the critic's features, x̃ the reconstruction of x and x_p a sample from the prior,

        encoder     ½ || f(x) - f(x̃) ||² + KL(q(z|x) || p(z))
        generator   weight · ½ || f(x) - f(x̃) ||² + E -log sigmoid(C(made) - C(x))
        critic      E -log sigmoid(C(x) - C(made)), with R1 and R2

    Larsen et al., Autoencoding beyond Pixels Using a Learned Similarity Metric, 2016, whose adversarial loss was the
    plain one. What is made is x̃ or x_p, by the toss of a coin for each row.

    Args:
        weight: of the error of features in the generator's loss, γ in the paper.
        r1_weight: γ of γ/2 E ||∇C||² on real rows, or a schedule of it.
        r2_weight: the same on those that are made.

    Raises:
        ConfigurationError: a weight is negative, or the critic has batch norm.
    """

    accepts: ClassVar = frozenset({"real"})
    needs: ClassVar = frozenset({"prior", "posterior"})

    def __init__(
        self,
        model: Model,
        data: DataSpec,
        critic: Callable[[DataSpec], Critic],
        *,
        weight: float = 1.0,
        r1_weight: Schedule | float = 1.0,
        r2_weight: Schedule | float = 1.0,
    ) -> None:
        super().__init__(model, data, critic, r1_weight, r2_weight)
        in_range("objective.", weight=weight)
        self.weight = weight

    def phases(self) -> list[Phase]:
        """The critic, the encoder with the prior, and the generator with the observation."""
        model = self.model
        assert model.encoder is not None
        return [
            self.critic_phase(),
            Phase("encoder", self.encoder_loss, trains=[model.encoder, model.prior]),
            Phase("generator", self.generator_loss, trains=[model.generator, model.observation]),
        ]

    def made(self, batch: Batch) -> Tensor:
        """(B, *X) reconstructions and samples, half and half on average."""
        z = self.model.encode(batch.x, batch.condition).rsample()
        drawn = self.model.prior.sample(len(z), batch.condition).to(z)
        coins = torch.rand(len(z), *[1] * (z.dim() - 1), device=z.device) < 0.5
        return self.model.decode(torch.where(coins, z, drawn), batch.condition).mean

    def encoder_loss(self, batch: Batch) -> Loss:
        """Error of features () and KL."""
        posterior = self.model.encode(batch.x, batch.condition)
        z = posterior.rsample()
        divergence = kl(posterior, self.model.prior, z=z, condition=batch.condition).mean()
        error = self._error(z, batch)
        return Loss(error + divergence, {"reconstruction": error, "kl": divergence})

    def generator_loss(self, batch: Batch) -> Loss:
        """Error of features () and the pairing loss."""
        z = self.model.encode(batch.x, batch.condition).rsample().detach()
        error = self._error(z, batch)
        deception = losses.relativistic_generator(
            self.critic(batch.x, batch.condition), self.judged(self.made(batch), batch)
        )
        return Loss(self.weight * error + deception, {"reconstruction": error, "deception": deception})

    def _error(self, z: Tensor, batch: Batch) -> Tensor:
        """() ½ ||f(x) - f(x̃)||², summed over the features."""
        made = _as_observed(self.model.decode(z, batch.condition).mean, batch)
        real = self.critic.features(batch.x, batch.condition)
        distance = self.critic.features(made, batch.condition) - real
        return 0.5 * distance.square().sum(1).mean()


def _as_observed(made: Tensor, batch: Batch) -> Tensor:
    """Rows whose entries that were not observed are zero, as in the data."""
    return made if batch.mask is None else made.where(batch.mask, 0)
