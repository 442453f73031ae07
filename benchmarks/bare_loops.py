"""Training loops as one would write them by hand for one model: what the engine is measured against.

They hold the same networks, data and optimizer as the engine, average the weights (at each step; the engine's long
averages take every fourth one's) and compute the same gradient norm. They have no phases, logs, positions or resuming.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ganvae_core import Critic, Encoder, Generator

EMA_WEIGHT = 0.01


class Batches:
    """Shuffled batches of images that lie in memory as uint8, normalised to [0, 1] as they are read."""

    def __init__(self, images: np.ndarray, batch_size: int) -> None:
        self.images = torch.from_numpy(images)
        self.batch_size = batch_size
        self.order = torch.randperm(len(self.images))
        self.position = 0

    def next(self) -> Tensor:
        """(B, C, H, W) float32."""
        if self.position + self.batch_size > len(self.order):
            self.order = torch.randperm(len(self.images))
            self.position = 0
        index = self.order[self.position : self.position + self.batch_size]
        self.position += self.batch_size
        return self.images.index_select(0, index).float().div_(255)


class WeightAverage:
    """An exponential moving average of the parameters of some modules."""

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        averaged = copy.deepcopy(nn.ModuleList(modules))
        self.averaged = [parameter.data for parameter in averaged.parameters()]
        self.trained = [parameter.data for module in modules for parameter in module.parameters()]

    def update(self) -> None:
        """Take in the weights of this step."""
        torch._foreach_lerp_(self.averaged, self.trained, EMA_WEIGHT)


class VAELoop:
    """A VAE with a Bernoulli observation."""

    def __init__(self, encoder: Encoder, generator: Generator, batches: Batches, lr: float) -> None:
        self.encoder, self.generator, self.batches = encoder, generator, batches
        self.parameters = [*generator.parameters(), *encoder.parameters()]
        self.optimizer = torch.optim.Adam(self.parameters, lr=lr, fused=True)
        self.average = WeightAverage([generator, encoder])

    def step(self) -> Tensor:
        """One update; returns the loss ()."""
        x = self.batches.next()
        self.optimizer.zero_grad()
        loss = self.loss(x)
        loss.backward()
        gradient_norm(self.parameters)
        self.optimizer.step()
        self.average.update()
        return loss.detach()

    def loss(self, x: Tensor) -> Tensor:
        """Negative evidence lower bound (), nats a row."""
        posterior = self.encoder(x)
        mean, log_variance = posterior.location, posterior.log_variance
        z = mean + torch.randn_like(mean) * (0.5 * log_variance).exp()
        reconstruction = F.binary_cross_entropy_with_logits(self.generator(z), x, reduction="sum")
        divergence = -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum()
        return (reconstruction + divergence) / len(x)


class GANLoop:
    """A non-saturating GAN: an update of the critic, then one of the generator.

    Args:
        generator: codes to logits of tanh.
        critic: images in [0, 1] to logits.
        batches: of real images.
        latent_size: width of a code.
        lr: of both optimizers.
        betas: of both optimizers.
        reuse_fakes: draw the generated images once a step, as PyTorch's DCGAN example does, and not anew for the
            generator's update, as Goodfellow et al. (2014) and the engine do. The example also computes gradients of
            the critic in the generator's update, which nobody uses.
    """

    def __init__(
        self,
        generator: Generator,
        critic: Critic,
        batches: Batches,
        latent_size: int,
        *,
        lr: float,
        betas: tuple[float, float],
        reuse_fakes: bool = False,
    ) -> None:
        self.generator, self.critic, self.batches = generator, critic, batches
        self.latent_size, self.reuse_fakes = latent_size, reuse_fakes
        self.generator_parameters = list(generator.parameters())
        self.critic_parameters = list(critic.parameters())
        self.generator_optimizer = torch.optim.Adam(self.generator_parameters, lr=lr, betas=betas, fused=True)
        self.critic_optimizer = torch.optim.Adam(self.critic_parameters, lr=lr, betas=betas, fused=True)
        self.average = WeightAverage([generator])

    def step(self) -> Tensor:
        """One update of each network; returns the critic's loss ()."""
        real = self.batches.next()
        if self.reuse_fakes:
            fake = self.generated(len(real))
        else:
            with torch.no_grad():
                fake = self.generated(len(real))

        self.critic_optimizer.zero_grad()
        critic_loss = F.softplus(-self.critic(real)).mean() + F.softplus(self.critic(fake.detach())).mean()
        critic_loss.backward()
        gradient_norm(self.critic_parameters)
        self.critic_optimizer.step()

        if not self.reuse_fakes:
            self.critic.requires_grad_(False)
            fake = self.generated(len(real))
        self.generator_optimizer.zero_grad()
        generator_loss = F.softplus(-self.critic(fake)).mean()
        generator_loss.backward()
        gradient_norm(self.generator_parameters)
        self.generator_optimizer.step()
        if not self.reuse_fakes:
            self.critic.requires_grad_(True)

        self.average.update()
        return critic_loss.detach()

    def generated(self, count: int) -> Tensor:
        """(count, C, H, W) images in [0, 1]."""
        return self.generator(torch.randn(count, self.latent_size)).tanh() * 0.5 + 0.5


def gradient_norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    """() the norm of the gradient of all parameters."""
    return nn.utils.get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
