"""Generative adversarial networks: one game, of which each loss is a small function."""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import final

from torch import Tensor

from ganvae_core import Batch, ConfigurationError, Critic, DataSpec, Loss, Model, Objective, Phase
from ganvae_core.losses import minimax_generator, non_saturating_critic, non_saturating_generator


class AdversarialGame(Objective):
    """A critic that tells real rows from generated ones, and a generator that works against it.

    Subclasses give the generator's loss; the critic's is the cross-entropy of Goodfellow et al. 2014.
    """

    def __init__(
        self, model: Model, data: DataSpec, critic: Callable[[DataSpec], Critic], *, critic_steps: int = 1
    ) -> None:
        super().__init__()
        if critic_steps < 1:
            raise ConfigurationError(f"objective.critic_steps: {critic_steps} is not possible: at least 1.")
        self.model = model
        self.critic = critic(data)
        self.critic_steps = critic_steps
        if model.encoder is not None:
            model.encoder.requires_grad_(False)  # a GAN leaves an encoder as it is

    @abc.abstractmethod
    def generator_value(self, fake_logits: Tensor) -> Tensor:
        """() what the generator minimises, given (B,) logits of its rows."""

    def phases(self) -> list[Phase]:
        """The critic at every step, the generator at every ``critic_steps``-th."""
        return [
            Phase("critic", self.critic_loss, trains=[self.critic]),
            Phase("generator", self.generator_loss, trains=[self.model], every=self.critic_steps),
        ]

    def critic_loss(self, batch: Batch) -> Loss:
        """Cross-entropy () of telling real from generated, with both accuracies."""
        fake = self.model.sample(len(batch.x), batch.condition)
        real_logits = self.critic(batch.x, batch.condition)
        fake_logits = self.critic(fake.detach(), batch.condition)
        return Loss(
            non_saturating_critic(real_logits, fake_logits),
            {
                "real_accuracy": (real_logits > 0).float().mean(),
                "fake_accuracy": (fake_logits < 0).float().mean(),
            },
        )

    def generator_loss(self, batch: Batch) -> Loss:
        """What the generator minimises ()."""
        fake = self.model.sample(len(batch.x), batch.condition)
        return Loss(self.generator_value(self.critic(fake, batch.condition)))


@final
class NonSaturating(AdversarialGame):
    """The GAN whose generator maximises the critic's log-probability of "real".

    Critic: ``-E[log D(x)] - E[log(1 - D(G(z)))]``; generator: ``-E[log D(G(z))]``; D is the sigmoid of the
    critic's logit. Goodfellow et al., Generative Adversarial Nets, 2014.

    Args:
        critic_steps: updates of the critic for one of the generator.
    """

    def generator_value(self, fake_logits: Tensor) -> Tensor:
        """``E[-log D(G(z))]`` ()."""
        return non_saturating_generator(fake_logits)


@final
class Minimax(AdversarialGame):
    """The GAN as the zero-sum game of its theory; its generator learns little while the critic wins.

    Critic as for ``non-saturating``; generator: ``E[log(1 - D(G(z)))]``. Goodfellow et al., Generative Adversarial
    Nets, 2014.

    Args:
        critic_steps: updates of the critic for one of the generator.
    """

    def generator_value(self, fake_logits: Tensor) -> Tensor:
        """``E[log(1 - D(G(z)))]`` ()."""
        return minimax_generator(fake_logits)
