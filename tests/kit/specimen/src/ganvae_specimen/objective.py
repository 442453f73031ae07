"""A least-squares GAN whose critic sees real rows with noise."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import ClassVar, final

import torch
from torch import Tensor

from ganvae_core import Batch, Critic, DataSpec, Loss, Model, Objective, Phase


@final
class Contrast(Objective):
    """Critic: ``E (C(x + noise) - 1)² + E C(G(z))²``; generator: ``E (C(G(z)) - 1)²``.

    Args:
        noise: standard deviation of the noise on real rows, at the start; it follows the critic's logits.
    """

    accepts: ClassVar = frozenset({"real"})
    needs: ClassVar = frozenset({"prior"})
    noise: Tensor

    def __init__(
        self, model: Model, data: DataSpec, critic: Callable[[DataSpec], Critic], *, noise: float = 0.1
    ) -> None:
        super().__init__()
        self.model = model
        self.critic = critic(data)
        self.register_buffer("noise", torch.tensor(noise))

    def phases(self) -> list[Phase]:
        """The critic, which adapts the noise, and the generator."""
        return [
            Phase("critic", self.critic_loss, trains=[self.critic], after=self.adapt),
            Phase("generator", self.generator_loss, trains=[self.model.generator]),
        ]

    def critic_loss(self, batch: Batch) -> Loss:
        """The critic's loss ()."""
        fake = self.model.sample(len(batch.x), batch.condition).detach()
        real = batch.x + self.noise * torch.randn_like(batch.x)
        real_logits = self.critic(real, batch.condition)
        fake_logits = self.critic(fake, batch.condition)
        value = ((real_logits - 1).square() + fake_logits.square()).mean()
        return Loss(value, {"real": real_logits.mean()})

    def adapt(self, averages: Mapping[str, Tensor]) -> None:
        """More noise while the critic is sure of real rows."""
        self.noise.mul_(torch.where(averages["real"] > 0.5, 1.01, 0.99))

    def generator_loss(self, batch: Batch) -> Loss:
        """The generator's loss ()."""
        fake = self.model.sample(len(batch.x), batch.condition)
        logits = self.critic(fake, batch.condition)
        return Loss((logits - 1).square().mean(), {"fake": logits.mean()})
